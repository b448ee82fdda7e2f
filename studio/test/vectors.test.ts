/** The golden cases of `vectors/`, computed a third time: Rust wrote them, Solidity checks them, and so does this. */

import { readFileSync } from "node:fs";

import {
  concat,
  decodeAbiParameters,
  encodeAbiParameters,
  type Hex,
  hashTypedData,
  keccak256,
  recoverAddress,
  stringToBytes,
  toHex,
} from "viem";
import { expect, test } from "vitest";

import type { Params } from "../src/shared/api";
import { paramsWords, readParams } from "../src/shared/params";
import { type PerLayer, ROLES, type Score, split as splitPrice } from "../src/shared/split";
import {
  chunkLeaves,
  committedRoot,
  governed,
  hash,
  leaf,
  members,
  node,
  proves,
  root,
  sumNode,
  sumPrefix,
  sumRoot,
  tag,
  word,
} from "./formats";

/* Golden cases are flat objects; what a group's members are stands in vectors/README.md. */
type Case = Record<string, any>;
type Group = [Case, ...Case[]];

function read(file: string): Record<string, Group> {
  const found = JSON.parse(readFileSync(new URL(`../../vectors/${file}`, import.meta.url), "utf8")) as Record<
    string,
    Case[]
  >;
  for (const [group, cases] of Object.entries(found)) {
    if (cases.length === 0) throw new Error(`${file}: ${group} has no case`);
  }
  return found as Record<string, Group>;
}

/** All cases of a group; that a group is there is part of the test. */
function each(vectors: Record<string, Group>, group: string, check: (one: Case) => void) {
  const cases = vectors[group];
  expect(cases, group).toBeDefined();
  for (const one of cases ?? []) check(one);
}

const merkle = read("merkle.json");
const sums = read("sum-tree.json");
const leaves = read("leaves.json");
const signed = read("eip712.json");
const split = read("split.json");
const params = read("params.json");

const TYPES: Record<string, string> = {
  Voucher: "Voucher(bytes32 channel,uint128 cumulative)",
  Grant: "Grant(uint64 datanet,uint64 version,address grantee,uint32 purposes,uint64 until,bytes32 terms)",
  Register: "Register(uint64 datanet,bytes32 root,uint32 count,bytes32 contributors,bytes32 terms,uint64 nonce)",
  Publish: "Publish(uint64 datanet,uint64 expectedVersion,bytes32 root,uint64 records)",
};

/** The only domain of the golden cases. */
const domainCase = signed["domains"]?.[0] as Case;
const domain = {
  name: "OpenLedger",
  version: "1",
  chainId: domainCase["chainId"] as number,
  verifyingContract: domainCase["contract"] as Hex,
};

function digest(type: string, message: Record<string, unknown>): Hex {
  const { name, members: list } = members(type);
  return hashTypedData({ domain, types: { [name]: list }, primaryType: name, message });
}

/** Words as the members of a type, for viem to hash in its own way. */
function decode(type: string, words: Hex[]): Record<string, unknown> {
  const list = members(type).members;
  const values = decodeAbiParameters(list, concat(words)) as readonly unknown[];
  return Object.fromEntries(list.map((member, at) => [member.name, values[at]]));
}

async function signer(of: Case) {
  return (await recoverAddress({ hash: of["digest"], signature: of["signature"] })).toLowerCase();
}

test("Merkle nodes, roots and proofs", () => {
  each(merkle, "nodes", (one) => expect(node(one["left"], one["right"])).toBe(one["node"]));
  each(merkle, "roots", (one) => {
    expect(one["leaves"]).toHaveLength(one["count"]);
    expect(root(one["leaves"])).toBe(one["root"]);
  });
  each(merkle, "proofs", (one) => {
    expect(proves(one["count"], one["index"], one["leaf"], one["siblings"], one["root"]), JSON.stringify(one)).toBe(
      one["valid"],
    );
  });
});

test("Merkle sum trees, and the prefix that a proof tells", () => {
  each(sums, "roots", (one) => {
    const at = (one["leafHashes"] as Hex[]).map((hash, index) => ({ hash, sum: BigInt(one["leafSums"][index]) }));
    expect(sumRoot(at)).toEqual({ hash: one["root"], sum: BigInt(one["sum"]) });
  });
  each(sums, "proofs", (one) => {
    const siblings = (one["siblingHashes"] as Hex[]).map((hash, index) => ({
      hash,
      sum: BigInt(one["siblingSums"][index]),
    }));
    const wanted = { hash: one["root"], sum: BigInt(one["sum"]) };
    const told = sumPrefix(
      one["count"],
      one["index"],
      { hash: one["leaf"], sum: BigInt(one["leafSum"]) },
      siblings,
      wanted,
    );
    expect(told, JSON.stringify(one)).toBe(one["valid"] ? BigInt(one["prefix"]) : undefined);
  });
});

test("shares of amounts, rounded down and up", () => {
  each(sums, "mulDiv", (one) => {
    const [amount, numerator, denominator] = [
      BigInt(one["amount"]),
      BigInt(one["numerator"]),
      BigInt(one["denominator"]),
    ];
    expect((amount * numerator) / denominator).toBe(BigInt(one["down"]));
    expect((amount * numerator + denominator - 1n) / denominator).toBe(BigInt(one["up"]));
  });
});

test("tags, and the leaves of content, records and contributions", () => {
  each(leaves, "tags", (one) => expect(tag(one["name"])).toBe(one["tag"]));
  each(leaves, "contents", (one) => {
    expect((one["content"].length - 2) / 2).toBe(one["length"]);
    const chunks = chunkLeaves(one["content"], one["salt"]);
    expect(chunks).toEqual(one["leaves"]);
    expect(root(chunks)).toBe(one["root"]);
  });
  each(leaves, "records", (one) => {
    const fields = [
      one["chainId"],
      one["datanet"],
      one["contribution"],
      one["index"],
      one["contentRoot"],
      one["length"],
    ];
    expect(leaf("record", ...fields)).toBe(one["leaf"]);
  });
  each(leaves, "contributions", (one) => {
    expect(hash(word(one["chainId"]), word(one["contributions"]), word(one["registrant"]), word(one["nonce"]))).toBe(
      one["id"],
    );
    expect(leaf("contribution", one["datanet"], one["id"], one["root"], one["count"])).toBe(one["leaf"]);
  });
});

test("the leaves of spans and scores", () => {
  each(leaves, "spans", (one) => {
    const fields = ["datanet", "version", "contribution", "index", "recordOffset", "length", "outputOffset", "weight"];
    expect(leaf("span", ...fields.map((field) => one[field]))).toBe(one["leaf"]);
  });
  each(leaves, "scores", (one) => {
    expect(leaf("score", one["layer"], one["datanet"], one["contribution"], one["index"], one["score"])).toBe(
      one["leaf"],
    );
  });
});

test("the leaves of entries and payouts, and the words of an epoch", () => {
  each(leaves, "entries", (one) => {
    expect(
      leaf("entry", one["account"], one["receipt"], one["line"], one["role"], one["contribution"], one["amount"]),
    ).toBe(one["leaf"]);
  });
  each(leaves, "payouts", (one) => {
    expect(leaf("payout", one["chainId"], one["payouts"], one["account"], one["cumulative"])).toBe(one["leaf"]);
  });
  each(leaves, "epochs", (one) => {
    const fields = [
      "version",
      "node",
      "epoch",
      "cutoff",
      "receiptCount",
      "receiptsRoot",
      "receiptsTotal",
      "entriesRoot",
      "entriesTotal",
      "payoutRoot",
      "total",
    ];
    expect(fields.map((field) => word(one[field]))).toEqual(one["words"]);
    expect(hash(...(one["words"] as Hex[]))).toBe(one["hash"]);
  });
});

test("EIP-712 digests of vouchers, grants, registrations and publications, and who signed them", async () => {
  for (const one of signed["records"] ?? []) {
    const named = Object.entries(JSON.parse(one["members"]) as Record<string, unknown>);
    const message = Object.fromEntries(
      named.map(([name, value]) => [name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()), value]),
    );
    expect(digest(TYPES[one["record"]] ?? "", message), one["record"]).toBe(one["digest"]);
    expect(await signer(one)).toBe(one["signer"]);
  }
  expect(new Set(signed["records"]?.map((one) => one["record"]))).toEqual(new Set(Object.keys(TYPES)));
});

test("receipts: words, id, digest, leaf and signer", async () => {
  const type = domainCase["receiptType"] as string;
  const typehash = keccak256(stringToBytes(type));
  expect(typehash).toBe(domainCase["receiptTypehash"]);
  const names = members(type).members.map((member) => member.name);
  expect(names).toHaveLength(38);
  for (const one of signed["receipts"] ?? []) {
    const words = one["words"] as Hex[];
    const field = (name: string) => words[names.indexOf(name)] as Hex;
    expect(BigInt(field("version"))).toBe(2n);
    expect(hash(typehash, ...words)).toBe(one["structHash"]);
    expect(hash(field("node"), field("channel"), field("nonce"))).toBe(one["id"]);
    expect(digest(type, decode(type, words))).toBe(one["digest"]);
    const parts = [one["id"], one["structHash"], keccak256(one["signature"]), one["noteHash"]];
    expect(leaf("receipt", domain.chainId, domain.verifyingContract, ...parts)).toBe(one["leaf"]);
    expect(BigInt(field("price"))).toBe(BigInt(one["price"]));
    expect(await signer(one)).toBe(one["signer"]);
  }
});

test("credit notes: words, digest and signer, and the receipt that is filed with one", async () => {
  const type = domainCase["noteType"] as string;
  expect(keccak256(stringToBytes(type))).toBe(domainCase["noteTypehash"]);
  for (const one of signed["notes"] ?? []) {
    const words = one["words"] as [Hex, ...Hex[]];
    expect(hash(domainCase["noteTypehash"], ...words)).toBe(one["structHash"]);
    expect(digest(type, decode(type, words))).toBe(one["digest"]);
    expect(await signer(one)).toBe(one["signer"]);
    const filed = signed["receipts"]?.find((receipt) => receipt["noteHash"] === one["structHash"]);
    expect(filed?.["id"]).toBe(words[0]);
  }
});

test("the annex binds what a receipt's words leave out", () => {
  expect(keccak256(stringToBytes(domainCase["annexType"]))).toBe(domainCase["annexTypehash"]);
  each(signed, "annexes", (one) => {
    expect(one["words"]).toHaveLength(members(domainCase["annexType"]).members.length);
    expect(hash(domainCase["annexTypehash"], ...one["words"])).toBe(one["structHash"]);
  });
});

test("trees of receipts and of one receipt's lines, each with the two nodes that show its sum", () => {
  const check = (one: Case, amounts: string[], total: string) => {
    const at = (one["leaves"] as Hex[]).map((hash, index) => ({ hash, sum: BigInt(amounts[index] ?? "") }));
    const whole = { hash: one["root"], sum: BigInt(total) };
    expect(committedRoot(at)).toEqual(whole);
    const side = (name: string) => ({ hash: one[name] as Hex, sum: BigInt(one[`${name}Sum`]) });
    expect(sumNode(side("left"), side("right"))).toEqual(whole);
  };
  each(leaves, "receipts", (one) => check(one, one["prices"], one["total"]));
  each(leaves, "lines", (one) => check(one, one["amounts"], one["sum"]));
});

test("what a receipt follows from, and the salted hash of its principal", () => {
  each(leaves, "parents", (one) => {
    expect(root((one["ids"] as Hex[]).map((id) => leaf("parent", id)))).toBe(one["root"]);
  });
  each(leaves, "contexts", (one) => {
    const passages = (one["indexes"] as number[]).map((index, at) =>
      leaf(
        "context",
        one["datanet"],
        one["version"],
        one["contribution"],
        index,
        one["recordOffsets"][at],
        one["length"],
      ),
    );
    expect(passages).toEqual(one["leaves"]);
    expect(root(passages)).toBe(one["root"]);
  });
  each(leaves, "principals", (one) => {
    expect(keccak256(concat([tag("principal"), one["salt"], toHex(one["principal"] as string)]))).toBe(
      one["commitment"],
    );
  });
});

test("governed numbers: words and hash, and what is not one is refused by its name", () => {
  each(params, "params", (one) => {
    const words = paramsWords(readParams(JSON.parse(one["members"]))).map((value) => word(value));
    expect(words, one["name"]).toEqual(one["words"]);
    expect(hash(...words)).toBe(one["hash"]);
  });
  const members = JSON.parse(params["params"]?.[0]["members"]) as Record<string, unknown>;
  const refused: [string, Record<string, unknown>][] = [
    ["params has no member comment", { ...members, comment: 1 }],
    ["node_bps should be a whole number", { ...members, node_bps: "4000" }],
    ["mixes should be a list of 4", { ...members, mixes: [] }],
    ["mixes[0] should be an object", { ...members, mixes: [1, 2, 3, 4] }],
  ];
  for (const [message, value] of refused) expect(() => readParams(value)).toThrow(message);
});

test("ids of channels and slots of grants", () => {
  const encoded = (types: string[], values: unknown[]) =>
    keccak256(
      encodeAbiParameters(
        types.map((type) => ({ type })),
        values,
      ),
    );
  each(signed, "channels", (one) => {
    const fields = ["chainId", "channels", "payer", "authorizer", "node", "withdrawDelay", "salt"];
    const types = ["uint256", "address", "address", "address", "address", "uint64", "bytes32"];
    expect(
      encoded(
        types,
        fields.map((field) => one[field]),
      ),
    ).toBe(one["id"]);
  });
  each(signed, "grantSlots", (one) => {
    expect(encoded(["uint64", "address", "uint32"], [one["datanet"], one["grantee"], one["purpose"]])).toBe(
      one["slot"],
    );
  });
});

test("a split pays exactly its price, and its lines are the leaves they claim to be", () => {
  each(split, "cases", (one) => {
    const amounts = (one["lineAmounts"] as string[]).map(BigInt);
    expect(
      amounts.reduce((sum, amount) => sum + amount, 0n),
      one["name"],
    ).toBe(BigInt(one["price"]));
    const found = amounts.map((amount, line) =>
      leaf(
        "entry",
        one["lineAccounts"][line],
        one["receipt"],
        line,
        one["lineRoles"][line],
        one["lineContributions"][line],
        amount,
      ),
    );
    expect(found, one["name"]).toEqual(one["lineLeaves"]);
    const tree = committedRoot(found.map((hash, line) => ({ hash, sum: amounts[line] ?? 0n })));
    expect(tree, one["name"]).toEqual({ hash: one["lines"], sum: BigInt(one["price"]) });
  });
});

test("a split recomputed from price, rules and credits has the same lines", () => {
  const byWords = new Map<string, Params>();
  const of = (words: Hex[]): Params => {
    // The cases have other records than `params.json`: its first one with these words' numbers.
    const known = byWords.get(words.join());
    if (known !== undefined) return known;
    const numbers = words.map(BigInt);
    const genesis = governed("genesis");
    const names = Object.keys(genesis).filter((name) => name !== "mixes");
    const made = { ...genesis, ...Object.fromEntries(names.map((name, at) => [name, Number(numbers[at])])) } as Params;
    expect(paramsWords(made)).toEqual(numbers);
    byWords.set(words.join(), made);
    return made;
  };
  each(split, "cases", (one) => {
    const big = (name: string) => BigInt(one[name]);
    const layers = (prefix: string, suffix: string) =>
      ["Spans", "Influence", "Retrieval"].map((layer) => big(`${prefix}${layer}${suffix}`)) as unknown as PerLayer;
    const shares = { platform: big("platformBps"), model: big("modelBps"), stakers: big("stakersBps") };
    const rules = { shares, mix: layers("mix", "Bps"), params: of(one["params"]) };
    const scores = (one["scores"] as string[]).map(
      (score, at): Score => ({
        layer: one["scoreLayers"][at],
        contribution: BigInt(one["scoreContributions"][at]),
        score: BigInt(score),
      }),
    );
    const holders = new Map(
      (one["heldContributions"] as string[]).map((held, at) => [BigInt(held), BigInt(one["holders"][at])]),
    );
    const stakers = big("stakers") === 0n ? undefined : big("stakers");
    const parents = (one["parents"] as string[]).map(
      (parent, at) => [BigInt(parent), BigInt(one["parentsBps"][at])] as const,
    );
    const [treasury, validation, insurance] = [big("treasury"), big("validation"), big("insurance")];
    const parties = { treasury, validation, insurance, owner: big("owner"), node: big("node"), stakers, parents };
    const lines = splitPrice(big("price"), rules, layers("coverage", ""), scores, holders, parties);
    const expected = (one["lineAmounts"] as string[]).map((amount, line) => ({
      role: ROLES[one["lineRoles"][line]],
      account: BigInt(one["lineAccounts"][line]),
      contribution: BigInt(one["lineContributions"][line]),
      amount: BigInt(amount),
    }));
    expect(lines, one["name"]).toEqual(expected);
  });
});
