/**
 * The split rule in `bigint`: what a reader of a receipt recomputes from its price, shares, governed numbers and credits.
 *
 * Every part is rounded down, each payee's once a layer over all it holds; what the model's halves leave goes to the
 * owner, everything else that rounding leaves to insurance. So the lines sum to the price, to the unit, or there are none.
 * The `ledger` crate pays by the same rule and `docs/formats.md` binds both to the same digests.
 */

import { total } from "./amount";
import type { Params, Role } from "./api";

/** One number for each layer that pays by evidence, in the order of their numbers. */
export type PerLayer = readonly [spans: bigint, influence: bigint, retrieval: bigint];

/** Shares in basis points; contributors get what the others leave. */
export interface Shares {
  platform: bigint;
  model: bigint;
  stakers: bigint;
}

/** The number of the layer that pays by training weight, after those of `PerLayer`. */
const REST = 3;

export interface Score {
  layer: number;
  contribution: bigint;
  score: bigint;
}

export interface Parties {
  treasury: bigint;
  validation: bigint;
  insurance: bigint;
  owner: bigint;
  node: bigint;
  /** Absent where nobody has staked: their part goes to insurance. */
  stakers: bigint | undefined;
  /** Accounts and their basis points of the owner's line. */
  parents: readonly (readonly [account: bigint, bps: bigint])[];
}

export interface SplitLine {
  role: Role;
  account: bigint;
  /** Zero where no contribution earned the line. */
  contribution: bigint;
  amount: bigint;
}

/** The rules that a price is split by: the model's shares and mix, and the governed numbers of the receipt. */
export interface Rules {
  shares: Shares;
  mix: PerLayer;
  params: Pick<Params, "treasury_bps" | "validation_bps" | "node_bps" | "max_parents_bps">;
}

const BPS = 10_000n;
const MILLION = 1_000_000n;
/**
 * Bounds in basis points that no vote can move; the `ledger` crate holds the same ones. They are not
 * the governed ones of a receipt: those bind models registered under them, and an older model may
 * lie outside of them.
 */
const BOUNDS = { platformMost: 2000n, modelLeast: 1000n, modelMost: 4000n, stakersMost: 3000n, parentMost: 2000n };
/** The least that contributors are left, in basis points; no vote can move it either. */
const CONTRIBUTORS_LEAST = 3000n;
/** By number, as leaves have it. */
export const ROLES: readonly Role[] = [
  "treasury",
  "validation",
  "insurance",
  "owner",
  "node",
  "stakers",
  "contributor",
  "parent",
];

/** Whether every share, λ and parent is within its bounds, and the mix is a whole. */
export function isAllowed({ shares, mix, params }: Rules, coverage: PerLayer, parents: Parties["parents"]): boolean {
  const { platform, model, stakers } = shares;
  const parentsBps = parents.reduce((sum, [, bps]) => sum + bps, 0n);
  return (
    platform <= BOUNDS.platformMost &&
    model >= BOUNDS.modelLeast &&
    model <= BOUNDS.modelMost &&
    stakers <= BOUNDS.stakersMost &&
    platform + model + stakers <= BPS - CONTRIBUTORS_LEAST &&
    mix[0] + mix[1] + mix[2] === BPS &&
    coverage.every((lambda) => lambda <= MILLION) &&
    parents.every(([, bps]) => bps <= BOUNDS.parentMost) &&
    parentsBps <= BigInt(params.max_parents_bps)
  );
}

/**
 * The lines of `price`, by role, account and contribution, none zero; nothing where a share is out of bounds.
 * `holders` names the payee of each contribution; what nobody holds goes to insurance.
 */
export function split(
  price: bigint,
  rules: Rules,
  coverage: PerLayer,
  scores: readonly Score[],
  holders: ReadonlyMap<bigint, bigint>,
  parties: Parties,
): SplitLine[] | undefined {
  if (!isAllowed(rules, coverage, parties.parents)) return undefined;
  const { shares, mix, params } = rules;
  const platform = (price * shares.platform) / BPS;
  const model = (price * shares.model) / BPS;
  const stakers = (price * shares.stakers) / BPS;
  const pot = price - platform - model - stakers;
  const treasury = (platform * BigInt(params.treasury_bps)) / BPS;
  const validation = (platform * BigInt(params.validation_bps)) / BPS;
  const node = (model * BigInt(params.node_bps)) / BPS;
  const parents = new Map<bigint, bigint>();
  for (const [account, bps] of parties.parents) {
    parents.set(account, (parents.get(account) ?? 0n) + ((model - node) * bps) / BPS);
  }
  const owner = model - node - total(parents.values());
  const contributors = contributorLines(pot, mix, coverage, scores, holders);
  const paid = total(contributors.map((line) => line.amount));
  const staked = parties.stakers === undefined ? 0n : stakers;
  const insurance = price - treasury - validation - model - staked - paid;
  const fixed = (role: Role, account: bigint, amount: bigint): SplitLine => ({
    role,
    account,
    contribution: 0n,
    amount,
  });
  return [
    fixed("treasury", parties.treasury, treasury),
    fixed("validation", parties.validation, validation),
    fixed("insurance", parties.insurance, insurance),
    fixed("owner", parties.owner, owner),
    fixed("node", parties.node, node),
    fixed("stakers", parties.stakers ?? 0n, staked),
    ...contributors,
    ...ascending(parents).map(([account, amount]) => fixed("parent", account, amount)),
  ].filter((line) => line.amount > 0n);
}

/** Score by layer. */
type Layers = [bigint, bigint, bigint, bigint];
const none = (): Layers => [0n, 0n, 0n, 0n];

function contributorLines(
  pot: bigint,
  mix: PerLayer,
  coverage: PerLayer,
  scores: readonly Score[],
  holders: ReadonlyMap<bigint, bigint>,
) {
  const all = none();
  const payees = new Map<bigint, Map<bigint, Layers>>();
  for (const { layer, contribution, score } of scores) {
    if (score === 0n) continue;
    add(all, layer, score);
    const payee = holders.get(contribution);
    if (payee === undefined) continue;
    const holding = at(payees, payee, () => new Map<bigint, Layers>());
    add(at(holding, contribution, none), layer, score);
  }
  const pots = none();
  mix.forEach((bps, layer) => {
    // A layer that nobody scored in pays nothing live: its pot stays with the rest.
    if (all[layer] !== 0n) pots[layer] = (((pot * bps) / BPS) * (coverage[layer] ?? 0n)) / MILLION;
  });
  pots[REST] = pot - total(pots);
  const earned = (score: Layers) =>
    total(score.map((part, layer) => (part === 0n ? 0n : ((pots[layer] ?? 0n) * part) / (all[layer] ?? 1n))));
  return ascending(payees).flatMap(([account, holding]) => {
    const sum = none();
    for (const part of holding.values()) for (const [layer, score] of part.entries()) add(sum, layer, score);
    const lines = ascending(holding).map(
      ([contribution, part]): SplitLine => ({ role: "contributor", account, contribution, amount: earned(part) }),
    );
    // Floors of parts never exceed the floor of their sum; what they leave stands in the first line.
    const first = lines[0];
    if (first !== undefined) first.amount += earned(sum) - total(lines.map((line) => line.amount));
    return lines;
  });
}

function add(layers: Layers, layer: number, score: bigint) {
  layers[layer] = (layers[layer] ?? 0n) + score;
}

function at<K, V>(map: Map<K, V>, key: K, empty: () => V): V {
  const found = map.get(key) ?? empty();
  map.set(key, found);
  return found;
}

function ascending<V>(map: ReadonlyMap<bigint, V>): [bigint, V][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}
