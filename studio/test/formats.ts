/**
 * `docs/formats.md` in TypeScript, written from its prose and not from the Rust: if the two agree on every golden
 * case, the prose says enough for a stranger. Used by tests; the page itself proves nothing.
 */

import { readFileSync } from "node:fs";

import { concat, type Hex, keccak256, pad, stringToBytes, toHex } from "viem";

import type { Params } from "../src/shared/api";
import { readParams } from "../src/shared/params";

export const ZERO = pad("0x", { size: 32 });

/** One 32-byte big-endian word: a number, or bytes padded to the left. */
export function word(value: Hex | number | bigint | string): Hex {
  if (typeof value === "string" && value.startsWith("0x")) return pad(value as Hex, { size: 32 });
  return toHex(BigInt(value), { size: 32 });
}

export function hash(...words: Hex[]): Hex {
  return keccak256(concat(words));
}

export function tag(name: string): Hex {
  return keccak256(stringToBytes(`openledger/${name}/v1`));
}

/** `H(H(TAG ‖ fields…))`. */
export function leaf(name: string, ...fields: (Hex | number | bigint | string)[]): Hex {
  return keccak256(hash(tag(name), ...fields.map(word)));
}

export function node(left: Hex, right: Hex): Hex {
  return hash(tag("node"), left, right);
}

/** Levels above `count` leaves, once they are padded to a power of two. */
export function depth(count: number): number {
  return count <= 1 ? 0 : 32 - Math.clz32(count - 1);
}

export function root(leaves: readonly Hex[]): Hex {
  if (leaves.length === 0) return ZERO;
  let level = [...leaves, ...Array<Hex>(2 ** depth(leaves.length) - leaves.length).fill(ZERO)];
  while (level.length > 1) level = pairs(level).map(([left, right]) => node(left, right));
  return level[0] ?? ZERO;
}

/** Whether `leaf` stands at `index` of the tree of `count` leaves with this root. */
export function proves(count: number, index: number, leaf: Hex, siblings: readonly Hex[], wanted: Hex): boolean {
  if (siblings.length !== depth(count) || index >= 2 ** siblings.length) return false;
  const found = siblings.reduce(
    (below, sibling, level) => ((index >> level) & 1 ? node(sibling, below) : node(below, sibling)),
    leaf,
  );
  return found === wanted;
}

export interface SumNode {
  hash: Hex;
  sum: bigint;
}

const EMPTY: SumNode = { hash: ZERO, sum: 0n };
const MOST = 2n ** 128n - 1n;

/** The node above two; none where the sum does not fit 128 bits. */
export function sumNode(left: SumNode, right: SumNode): SumNode | undefined {
  const sum = left.sum + right.sum;
  if (sum > MOST) return undefined;
  return { hash: hash(tag("sum-node"), left.hash, word(left.sum), right.hash, word(right.sum)), sum };
}

export function sumRoot(leaves: readonly SumNode[]): SumNode | undefined {
  if (leaves.length === 0) return EMPTY;
  let level: SumNode[] = [...leaves, ...Array<SumNode>(2 ** depth(leaves.length) - leaves.length).fill(EMPTY)];
  while (level.length > 1) {
    const above = pairs(level).map(([left, right]) => sumNode(left, right));
    if (above.some((found) => found === undefined)) return undefined;
    level = above as SumNode[];
  }
  return level[0];
}

/** The tree over lines, or one that a header commits to: two places at least. */
export function committedRoot(leaves: readonly SumNode[]): SumNode | undefined {
  return sumRoot([...leaves, ...Array<SumNode>(Math.max(0, 2 - leaves.length)).fill(EMPTY)]);
}

/** What stands to the left of a leaf, if the leaf stands at `index` under this root. */
export function sumPrefix(
  count: number,
  index: number,
  leaf: SumNode,
  siblings: readonly SumNode[],
  wanted: SumNode,
): bigint | undefined {
  if (siblings.length !== depth(count) || index >= 2 ** siblings.length) return undefined;
  let below: SumNode | undefined = leaf;
  let prefix = 0n;
  for (const [level, sibling] of siblings.entries()) {
    const right: boolean = ((index >> level) & 1) === 1;
    below = right ? sumNode(sibling, below) : sumNode(below, sibling);
    if (below === undefined) return undefined;
    if (right) prefix += sibling.sum;
  }
  return below.hash === wanted.hash && below.sum === wanted.sum ? prefix : undefined;
}

/** The governed numbers that `vectors/params.json` has under a name. */
export function governed(name: string): Params {
  const text = readFileSync(new URL("../../vectors/params.json", import.meta.url), "utf8");
  const { params } = JSON.parse(text) as { params: { name: string; members: string }[] };
  const found = params.find((one) => one.name === name);
  if (found === undefined) throw new Error(`params.json has no ${name}`);
  return readParams(JSON.parse(found.members));
}

/** Bytes of a chunk. */
const CHUNK = 256;

export function chunkLeaves(content: Hex, salt: Hex): Hex[] {
  const digits = content.slice(2);
  const chunks = digits.match(new RegExp(`.{1,${CHUNK * 2}}`, "g")) ?? [];
  return chunks.map((chunk, index) => leaf("chunk", salt, index, keccak256(`0x${chunk}`)));
}

export interface TypedMember {
  name: string;
  type: string;
}

/** The members of an EIP-712 type string such as `Voucher(bytes32 channel,uint128 cumulative)`. */
export function members(type: string): { name: string; members: TypedMember[] } {
  const [, name = "", list = ""] = /^(\w+)\((.*)\)$/.exec(type) ?? [];
  return {
    name,
    members: list.split(",").map((member) => {
      const [type = "", name = ""] = member.split(" ");
      return { name, type };
    }),
  };
}

function pairs<T>(level: readonly T[]): [T, T][] {
  return Array.from({ length: level.length / 2 }, (_, at) => [level[2 * at] as T, level[2 * at + 1] as T]);
}
