/**
 * The governed numbers, as a receipt's bundle carries them. There is no copy of the values here: a split is recomputed by
 * the numbers of its receipt.
 */

/** One number for each layer that pays by evidence, in the order of their numbers. */
export type PerLayer = readonly [spans: bigint, influence: bigint, retrieval: bigint];

/** Shares are in basis points (1/10,000). The order is that of the record's words. */
export interface Params {
  /** Counts the changes, from 1. */
  version: bigint;
  /** The bounds of a new model's shares of the price. */
  maxPlatformBps: bigint;
  minModelBps: bigint;
  maxModelBps: bigint;
  maxStakersBps: bigint;
  minContributorsBps: bigint;
  /** Shares of the platform's part; insurance has the rest. */
  treasuryBps: bigint;
  validationBps: bigint;
  /** The node's share of the model's part; the owner has the rest. */
  nodeBps: bigint;
  /** The most of the owner's line for one parent of a new model, and for all ancestors together. */
  maxParentBps: bigint;
  maxParentsBps: bigint;
  /** Shares of a slashed bond; the rest is burned. */
  challengerBps: bigint;
  harmedBps: bigint;
  /** λ of spans is `min(1, numerator · covered / (denominator · written))`. */
  spansNumerator: bigint;
  spansDenominator: bigint;
  /** What an influence score must exceed, in 1/256 of a robust deviation. */
  influenceThreshold: bigint;
  /** The drop of the log probability that pays the whole retrieval pot, in micro-nats an output token. */
  retrievalThreshold: bigint;
  /** The mixes that a new model may declare; unused places are zero. */
  mixes: readonly PerLayer[];
}

/** The number of mixes that a record has room for. */
const MIXES = 4;

const SCALARS = [
  "version",
  "maxPlatformBps",
  "minModelBps",
  "maxModelBps",
  "maxStakersBps",
  "minContributorsBps",
  "treasuryBps",
  "validationBps",
  "nodeBps",
  "maxParentBps",
  "maxParentsBps",
  "challengerBps",
  "harmedBps",
  "spansNumerator",
  "spansDenominator",
  "influenceThreshold",
  "retrievalThreshold",
] as const;
const LAYERS = ["spans", "influence", "retrieval"] as const;

/** Reads the record of a bundle's JSON; a member that is missing, unknown or no whole number is refused by its name. */
export function readParams(value: unknown): Params {
  const members = object(value, "params", [...SCALARS.map(snake), "mixes"]);
  const scalars = Object.fromEntries(SCALARS.map((name) => [name, whole(members[snake(name)], snake(name))]));
  const mixes = members["mixes"];
  if (!Array.isArray(mixes) || mixes.length !== MIXES) throw new TypeError(`mixes should be a list of ${MIXES}`);
  const read = mixes.map((mix: unknown, at) => {
    const shares = object(
      mix,
      `mixes[${at}]`,
      LAYERS.map((layer) => `${layer}_bps`),
    );
    return LAYERS.map((layer) => whole(shares[`${layer}_bps`], `mixes[${at}].${layer}_bps`)) as unknown as PerLayer;
  });
  return { ...scalars, mixes: read } as unknown as Params;
}

/** The record as words: the numbers in order, then the three shares of each mix. Their keccak-256 is the record's hash. */
export function paramsWords(params: Params): bigint[] {
  return [...SCALARS.map((name) => params[name]), ...params.mixes.flat()];
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function object(value: unknown, path: string, names: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new TypeError(`${path} should be an object`);
  const unknown = Object.keys(value).find((name) => !names.includes(name));
  if (unknown !== undefined) throw new TypeError(`${path} has no member ${unknown}`);
  return value as Record<string, unknown>;
}

function whole(value: unknown, path: string): bigint {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw new TypeError(`${path} should be a whole number`);
  return BigInt(value);
}
