/**
 * The split of a receipt, computed again from its bundle: price, shares, governed numbers, credits, holders.
 *
 * Invariant: nothing that the node says about the lines is used to compute them.
 */

import type { Bundle, Mix } from "../../shared/api";
import { readParams } from "../../shared/params";
import { type Parties, type Score, type SplitLine, split } from "../../shared/split";

/** The numbers of the layers, by name. */
const LAYERS = ["spans", "influence", "retrieval", "rest"];

export type Recomputed = { state: "same"; lines: number } | { state: "other"; difference: string };

/** Compares the lines of a bundle with those that its price, credits and the model's `mix` give. */
export function recompute(bundle: Bundle, mix: Mix): Recomputed {
  const { signed, terms, credits, params } = bundle;
  const { receipt } = signed;
  const { parties: accounts } = terms;
  const parties: Parties = {
    treasury: BigInt(accounts.treasury),
    validation: BigInt(accounts.validation),
    insurance: BigInt(accounts.insurance),
    owner: BigInt(accounts.owner),
    node: BigInt(accounts.node),
    stakers: accounts.stakers === null || accounts.stakers === undefined ? undefined : BigInt(accounts.stakers),
    parents: accounts.parents.map(([account, bps]) => [BigInt(account), BigInt(bps)] as const),
  };
  const shares = {
    platform: BigInt(receipt.platform_bps),
    model: BigInt(receipt.model_bps),
    stakers: BigInt(receipt.stakers_bps),
  };
  const rules = {
    shares,
    mix: [BigInt(mix.spans_bps), BigInt(mix.influence_bps), BigInt(mix.retrieval_bps)] as const,
    params: readParams(params),
  };
  const { spans, influence, retrieval } = credits.coverage;
  const scores: Score[] = credits.scores.map(({ layer, contribution, score }) => ({
    layer: LAYERS.indexOf(layer),
    contribution: BigInt(contribution),
    score: BigInt(score),
  }));
  const holders = new Map(
    Object.entries(terms.holders).map(([contribution, holder]) => [BigInt(contribution), BigInt(holder)]),
  );
  const lines = split(
    BigInt(receipt.price),
    rules,
    [BigInt(spans), BigInt(influence), BigInt(retrieval)],
    scores,
    holders,
    parties,
  );
  if (lines === undefined) return { state: "other", difference: "a share is out of its bounds" };
  return compared(
    bundle.entries.map(({ role, account, contribution, amount }) => ({
      role,
      account: BigInt(account),
      contribution: BigInt(contribution),
      amount: BigInt(amount),
    })),
    lines,
  );
}

function compared(told: readonly SplitLine[], computed: readonly SplitLine[]): Recomputed {
  const keys = (lines: readonly SplitLine[]) =>
    lines.map(({ role, account, contribution, amount }) => `${role} ${account} ${contribution} ${amount}`);
  const [found, wanted] = [keys(told), keys(computed)];
  const at = wanted.findIndex((line, at) => line !== found[at]);
  if (at < 0 && found.length === wanted.length) return { state: "same", lines: wanted.length };
  const line = at < 0 ? wanted.length : at;
  return {
    state: "other",
    difference: `line ${line} is ${found[line] ?? "missing"}, computed ${wanted[line] ?? "none"}`,
  };
}
