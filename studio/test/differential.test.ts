/**
 * The seeded generator of `docs/formats.md`: its digests are those of `vectors/differential.json`, which Rust wrote
 * and Solidity computes too. `LONG=1` goes on to the second run of the file.
 */

import { readFileSync } from "node:fs";

import { bytesToHex, keccak256, stringToBytes } from "viem";
import { expect, test } from "vitest";

import { type Parties, type PerLayer, ROLES, type Score, split } from "../src/shared/split";
import { depth, governed } from "./formats";

interface Run {
  splits: number;
  splitsDigest: string;
  trees: number;
  treesDigest: string;
}

const committed = JSON.parse(readFileSync(new URL("../../vectors/differential.json", import.meta.url), "utf8")) as {
  seed: string;
  runs: Run[];
};
const runs = committed.runs.slice(0, process.env["LONG"] === "1" ? 2 : 1);
const MINUTES = 60_000 * (process.env["LONG"] === "1" ? 120 : 10);

/** The governed numbers that the cases are computed by. */
const GENESIS = governed("genesis");

const hashText = (text: string) => keccak256(stringToBytes(text), "bytes");
const REFUSED = new Uint8Array(32).fill(255);
const SUPPLY = 10n ** 27n;
const MOST = 2n ** 128n - 1n;

/** What is hashed, word after word. */
class Words {
  private bytes = new Uint8Array(8192);
  private view = new DataView(this.bytes.buffer);
  private end = 0;

  put(word: Uint8Array | bigint | number): this {
    if (this.end + 32 > this.bytes.length) {
      const more = new Uint8Array(this.bytes.length * 2);
      more.set(this.bytes);
      this.bytes = more;
      this.view = new DataView(more.buffer);
    }
    if (word instanceof Uint8Array) this.bytes.set(word, this.end);
    else {
      const number = BigInt(word);
      this.bytes.fill(0, this.end, this.end + 16);
      this.view.setBigUint64(this.end + 16, number >> 64n);
      this.view.setBigUint64(this.end + 24, number & 0xffff_ffff_ffff_ffffn);
    }
    this.end += 32;
    return this;
  }

  hash(): Uint8Array {
    const found = keccak256(this.bytes.subarray(0, this.end), "bytes");
    this.end = 0;
    return found;
  }
}

/** Draws of one case: the 64-bit pieces of `H(seed ‖ domain ‖ case ‖ 0)`, `H(seed ‖ domain ‖ case ‖ 1)`, … */
class Draws {
  private readonly input = new Uint8Array(128);
  private readonly counters = new DataView(this.input.buffer);
  private block = 0;
  private left = 0;
  private pieces: DataView = new DataView(new ArrayBuffer(32));

  constructor(domain: string, number: number) {
    this.input.set(hashText(committed.seed), 0);
    this.input.set(hashText(domain), 32);
    this.counters.setBigUint64(88, BigInt(number));
  }

  draw(): bigint {
    if (this.left === 0) {
      this.counters.setBigUint64(120, BigInt(this.block));
      const hash = keccak256(this.input, "bytes");
      this.pieces = new DataView(hash.buffer, hash.byteOffset, 32);
      this.block += 1;
      this.left = 4;
    }
    this.left -= 1;
    return this.pieces.getBigUint64(24 - 8 * this.left);
  }

  below(bound: number): number {
    return Number(this.draw() % BigInt(bound));
  }

  big(bound: number): bigint {
    return this.draw() % BigInt(bound);
  }

  wide(): bigint {
    const high = this.draw();
    return (high << 64n) | this.draw();
  }

  hash(): Uint8Array {
    const word = new DataView(new ArrayBuffer(32));
    for (let at = 0; at < 32; at += 8) word.setBigUint64(at, this.draw());
    return new Uint8Array(word.buffer);
  }
}

function price(draws: Draws): bigint {
  switch (draws.below(6)) {
    case 0:
      return draws.big(40);
    case 1:
      return draws.big(2 ** 32);
    case 2:
      return 2n ** 64n - 1n - draws.big(4);
    case 3:
      return draws.wide() % (SUPPLY + 1n);
    case 4:
      return MOST - draws.big(4);
    default:
      return draws.wide() % 10n ** 18n;
  }
}

function lambda(draws: Draws): bigint {
  const kind = draws.below(64);
  if (kind === 0) return 1_000_001n;
  if (kind <= 16) return 0n;
  return kind <= 32 ? 1_000_000n : draws.big(1_000_001);
}

function score(draws: Draws): Score {
  const layer = draws.below(4);
  const contribution = 1n + draws.big(8);
  draws.draw(); // which record of the contribution it is makes no difference to the split
  const kind = draws.below(4);
  return { layer, contribution, score: kind === 0 ? 0n : kind === 3 ? draws.draw() : 1n + draws.big(20) };
}

/* A list of draws has to be made in order, which `Array.from` promises. */
const list = <T>(length: number, one: (at: number) => T) => Array.from({ length }, (_, at) => one(at));

function foldSplit(words: Words, digest: Uint8Array, number: number): Uint8Array {
  const draws = new Draws("split", number);
  const amount = price(draws);
  const shares = { platform: draws.big(2002), model: 999n + draws.big(3003), stakers: draws.big(3002) };
  const [a, b] = [draws.big(10_001), draws.big(10_001)];
  const [low, high] = a < b ? [a, b] : [b, a];
  const mix: PerLayer = [low, high - low, 10_000n - high + (draws.below(32) === 0 ? 1n : 0n)];
  const coverage: PerLayer = [lambda(draws), lambda(draws), lambda(draws)];
  const holders = new Map<bigint, bigint>();
  for (let of = 1n; of <= 8n; of += 1n) {
    const holder = draws.big(5);
    if (holder !== 0n) holders.set(of, 0x1000n + holder);
  }
  const scores = list(draws.below(16), () => score(draws));
  const parents = list(draws.below(4), () => [0x2000n + draws.big(3), draws.big(2010)] as const);
  const stakers = draws.below(2) === 1 ? 6n : undefined;
  const parties: Parties = { treasury: 1n, validation: 2n, insurance: 3n, owner: 4n, node: 5n, stakers, parents };
  const lines = split(amount, { shares, mix, params: GENESIS }, coverage, scores, holders, parties);
  words.put(digest);
  if (lines === undefined) words.put(REFUSED);
  else
    for (const line of lines)
      words.put(ROLES.indexOf(line.role)).put(line.account).put(line.contribution).put(line.amount);
  return words.hash();
}

/* Trees by bytes rather than by the hexadecimal text of `formats.ts`, which takes three minutes for as many; both are
   written from the same prose. */
interface Node {
  hash: Uint8Array;
  sum: bigint;
}

const EMPTY: Node = { hash: new Uint8Array(32), sum: 0n };
const NODE = hashText("openledger/node/v1");
const SUM_NODE = hashText("openledger/sum-node/v1");
const scratch = new Words();

type Join = (left: Node, right: Node) => Node;

const plain: Join = (left, right) => ({ hash: scratch.put(NODE).put(left.hash).put(right.hash).hash(), sum: 0n });

/** The sums are known to fit: their total is looked at first, or the proof is refused beside it. */
const summed: Join = (left, right) => ({
  hash: scratch.put(SUM_NODE).put(left.hash).put(left.sum).put(right.hash).put(right.sum).hash(),
  sum: left.sum + right.sum,
});

/** The levels of a tree, leaves first. */
function levels(leaves: readonly Node[], join: Join): Node[][] {
  const all = [list(2 ** depth(leaves.length), (at) => leaves[at] ?? EMPTY)];
  for (let level = all[0]; level !== undefined && level.length > 1; level = all.at(-1)) {
    const below = level;
    all.push(list(below.length / 2, (at) => join(below[2 * at] ?? EMPTY, below[2 * at + 1] ?? EMPTY)));
  }
  return all;
}

interface Proof {
  index: number;
  siblings: Node[];
}

function holds(root: Node, leaf: Node, { index, siblings }: Proof, join: Join): boolean {
  if (index >= 2 ** siblings.length) return false;
  const found = siblings.reduce(
    (below, sibling, level) => ((index >> level) & 1 ? join(sibling, below) : join(below, sibling)),
    leaf,
  );
  return found.sum <= MOST && found.sum === root.sum && found.hash.every((byte, at) => byte === root.hash[at]);
}

interface Spoil {
  kind: number;
  index: number;
  level: number;
}

/** Root and siblings of the leaf at `at`; that the proof holds, and whether it does once it was spoilt. */
function fold(words: Words, leaves: readonly Node[], at: number, spoil: Spoil, join: Join, turn: (node: Node) => Node) {
  const all = levels(leaves, join);
  const root = all.at(-1)?.[0] ?? EMPTY;
  const leaf = leaves[at] ?? EMPTY;
  const siblings = all.slice(0, -1).map((level, height) => level[(at >> height) ^ 1] ?? EMPTY);
  expect(holds(root, leaf, { index: at, siblings }, join)).toBe(true);
  const other = spoil.kind === 0 ? turn(leaf) : leaf;
  const spoilt = siblings.map((node, level) => (spoil.kind === 3 && level === spoil.level ? turn(node) : node));
  const held = holds(root, other, { index: spoil.index, siblings: spoilt }, join);
  // Between two equal places a turned index proves the same; anything else that was spoilt is refused.
  if (held) expect(spoil.kind).toBe(2);
  for (const node of [root, ...siblings]) {
    words.put(node.hash);
    if (join === summed) words.put(node.sum);
  }
  const prefix = siblings.reduce((sum, node, level) => ((at >> level) & 1 ? sum + node.sum : sum), 0n);
  if (join === summed) words.put(prefix);
  words.put(held ? 1 : 0);
}

function foldTree(words: Words, digest: Uint8Array, number: number): Uint8Array {
  const draws = new Draws("tree", number);
  const count = draws.below(4) < 3 ? 1 + draws.below(8) : 1 + draws.below(64);
  const huge = draws.below(16) === 0;
  const leaves = list(count, (): Node => {
    const hash = draws.hash();
    return { hash, sum: draws.below(8) === 0 ? 0n : huge ? draws.wide() : draws.draw() };
  });
  const height = depth(count);
  const at = draws.below(2 ** height);
  const level = draws.below(Math.max(1, height));
  const kind = draws.below(height === 0 ? 2 : 4);
  const index = kind === 1 ? at | (1 << height) : kind === 2 ? at ^ (1 << level) : at;
  const spoil = { kind, index, level };
  words.put(digest);
  fold(
    words,
    leaves.map(({ hash }) => ({ hash, sum: 0n })),
    at,
    spoil,
    plain,
    (node) => ({ ...node, hash: turned(node.hash) }),
  );
  if (leaves.reduce((sum, leaf) => sum + leaf.sum, 0n) > MOST) words.put(REFUSED);
  else fold(words, leaves, at, spoil, summed, (node) => ({ ...node, sum: node.sum ^ 1n }));
  return words.hash();
}

/** The lowest bit of the last byte turned. */
function turned(hash: Uint8Array): Uint8Array {
  return hash.map((byte, at) => (at === 31 ? byte ^ 1 : byte));
}

function foldAll(one: (words: Words, digest: Uint8Array, number: number) => Uint8Array, counts: number[]): string[] {
  const words = new Words();
  let digest: Uint8Array = new Uint8Array(32);
  let done = 0;
  return counts.map((count) => {
    for (; done < count; done += 1) digest = one(words, digest, done);
    return bytesToHex(digest);
  });
}

test("generated splits fold to the committed digest", { timeout: MINUTES }, () => {
  expect(
    foldAll(
      foldSplit,
      runs.map((run) => run.splits),
    ),
  ).toEqual(runs.map((run) => run.splitsDigest));
});

test("generated trees fold to the committed digest", { timeout: MINUTES }, () => {
  expect(
    foldAll(
      foldTree,
      runs.map((run) => run.trees),
    ),
  ).toEqual(runs.map((run) => run.treesDigest));
});
