/**
 * The governed numbers, as a receipt's bundle carries them. No value of theirs is copied here: a
 * split is recomputed by the numbers of its receipt.
 */

import type { Mix, Params } from "./api";

/** The number of mixes that a record has room for. */
const MIXES = 4;

/** The members before the mixes, in the order of the record's words. */
export const SCALARS = [
  "version",
  "max_platform_bps",
  "min_model_bps",
  "max_model_bps",
  "max_stakers_bps",
  "min_contributors_bps",
  "treasury_bps",
  "validation_bps",
  "node_bps",
  "max_parent_bps",
  "max_parents_bps",
  "challenger_bps",
  "harmed_bps",
  "spans_numerator",
  "spans_denominator",
  "influence_threshold",
  "retrieval_threshold",
] as const satisfies readonly (keyof Params)[];

/** The shares of a mix, in the order of their layers. */
const SHARES = ["spans_bps", "influence_bps", "retrieval_bps"] as const satisfies readonly (keyof Mix)[];

/** Reads the record; a member that is missing, unknown or no whole number is refused by name. */
export function readParams(value: unknown): Params {
  const members = object(value, "params", [...SCALARS, "mixes"]);
  const mixes = members["mixes"];
  if (!Array.isArray(mixes) || mixes.length !== MIXES) throw new TypeError(`mixes should be a list of ${MIXES}`);
  return {
    ...wholes(members, SCALARS, ""),
    mixes: mixes.map((mix: unknown, at) => {
      const path = `mixes[${at}]`;
      return wholes(object(mix, path, SHARES), SHARES, `${path}.`);
    }),
  };
}

/** The record as words, whose keccak-256 is its hash: the numbers, then the shares of each mix. */
export function paramsWords(params: Params): bigint[] {
  const numbers = [
    ...SCALARS.map((name) => params[name]),
    ...params.mixes.flatMap((mix) => SHARES.map((of) => mix[of])),
  ];
  return numbers.map(BigInt);
}

/** The whole numbers `names` of an object that stands at `path`. */
function wholes<K extends string>(members: Record<string, unknown>, names: readonly K[], path: string) {
  return Object.fromEntries(names.map((name) => [name, whole(members[name], path + name)])) as Record<K, number>;
}

function object(value: unknown, path: string, names: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new TypeError(`${path} should be an object`);
  const unknown = Object.keys(value).find((name) => !names.includes(name));
  if (unknown !== undefined) throw new TypeError(`${path} has no member ${unknown}`);
  return value as Record<string, unknown>;
}

function whole(value: unknown, path: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw new TypeError(`${path} should be a whole number`);
  return value;
}
