import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { parts, publicParts } from "../src/features/receipt/parts";
import { numbers, pieces, quote } from "../src/features/receipt/pieces";
import { recompute } from "../src/features/receipt/recompute";
import { readAmount } from "../src/shared/amount";
import type { Bundle, Entry, Span } from "../src/shared/api";
import { parseExact } from "../src/shared/json";
import { SCALARS } from "../src/shared/params";
import { ROLES } from "../src/shared/split";
import { details, overview } from "./fixture";

function span(start: number, end: number, record: string, more: Partial<Span> = {}): Span {
  return {
    start,
    end,
    record,
    contribution: "0x1",
    index: 0,
    contributors: ["river-gauge"],
    text: "",
    record_offset: 0,
    ...more,
  };
}

test("pieces joined are the answer, and each span covers exactly its bytes", () => {
  for (const receipt of details().values()) {
    const { pieces: cut, misplaced } = pieces(receipt.text, receipt.spans);
    expect(cut.map((piece) => piece.text).join("")).toBe(receipt.text);
    expect(misplaced).toBe(0);
    const bytes = Buffer.from(receipt.text);
    for (const span of receipt.spans) {
      const drawn = cut
        .filter((piece) => piece.spans.includes(span))
        .map((piece) => piece.text)
        .join("");
      expect(drawn).toBe(bytes.subarray(span.start, span.end).toString());
    }
  }
});

test("a span's words are the words it quotes in its record", () => {
  for (const receipt of details().values()) {
    for (const span of receipt.spans) {
      expect(quote(span).quoted).toBe(Buffer.from(receipt.text).subarray(span.start, span.end).toString());
    }
  }
});

test("overlapping spans share the piece they overlap in, and end where they end", () => {
  const [a, b] = [span(0, 6, "a"), span(3, 9, "b")];
  const { pieces: cut } = pieces("abcdefghij", [a, b]);
  expect(cut.map(({ text, spans }) => [text, spans.map((one) => one.record).join("")])).toEqual([
    ["abc", "a"],
    ["def", "ab"],
    ["ghi", "b"],
    ["j", ""],
  ]);
  expect(cut.map(({ ending }) => ending.map((one) => one.record).join(""))).toEqual(["", "a", "b", ""]);
});

test("a span that does not fall on characters is counted and not drawn", () => {
  const { pieces: cut, misplaced } = pieces("5 °C", [
    span(3, 4, "inside"),
    span(0, 99, "beyond"),
    span(1, 1, "nothing"),
  ]);
  expect(misplaced).toBe(3);
  expect(cut).toEqual([{ text: "5 °C", spans: [], ending: [] }]);
});

test("records are numbered in the order of the text, each once", () => {
  const { pieces: cut } = pieces("abcdef", [span(4, 5, "z"), span(0, 1, "y"), span(2, 3, "z")]);
  expect([...numbers(cut)]).toEqual([
    ["0x1/y", 1],
    ["0x1/z", 2],
  ]);
});

test("a long record is quoted with what stands around the span", () => {
  const text = `${"a".repeat(500)}WORDS${"b".repeat(500)}`;
  const { before, quoted, after } = quote(span(0, 5, "a", { text, record_offset: 500 }));
  expect(quoted).toBe("WORDS");
  expect(before).toBe(`…${"a".repeat(220)}`);
  expect(after).toBe(`${"b".repeat(220)}…`);
  expect(quote(span(0, 5, "a", { text: "short", record_offset: 90 }))).toEqual({
    before: "short",
    quoted: "",
    after: "",
  });
});

test("the four parts of every split are its price to the last unit", () => {
  for (const receipt of details().values()) {
    const split = parts(receipt.entries, overview().contributions);
    expect(split.map((part) => part.name)).toEqual(["contributors", "model", "stakers", "platform"]);
    expect(split.reduce((sum, part) => sum + part.amount, 0n)).toBe(readAmount(receipt.price));
    const open = publicParts(receipt.split).map(({ name, amount }) => [name, amount]);
    expect(open).toEqual(split.map(({ name, amount }) => [name, amount]));
    for (const part of split) expect(part.lines.reduce((sum, line) => sum + line.amount, 0n)).toBe(part.amount);
  }
});

test("lines of one account are one line, and a splitter is named after its contributors", () => {
  const entry = (account: string, name: string | null, contribution: string, amount: string): Entry => ({
    role: "contributor",
    account,
    name,
    contribution,
    amount,
  });
  const [both] = overview().contributions.filter((contribution) => contribution.contributors.length > 1);
  expect(both).toBeDefined();
  const entries = [
    entry("0xa", "river-gauge", "0x1", "1"),
    entry("0xb", null, both?.id ?? "", "9"),
    entry("0xa", "river-gauge", "0x2", "2"),
  ];
  const [contributors] = parts(entries, overview().contributions);
  expect(contributors?.lines.map((line) => [line.names, line.amount])).toEqual([
    [both?.contributors, 9n],
    [["river-gauge"], 3n],
  ]);
});

/** The bundle of a golden case of `vectors/split.json`, as far as a split needs it. */
function bundleOf(one: Record<string, any>): Bundle {
  const layers = ["spans", "influence", "retrieval", "rest"];
  const list = (name: string) => one[name] as string[];
  const governed: number[] = list("params").map(Number);
  const mixes = [0, 1, 2, 3].map((at) => {
    const [spans_bps, influence_bps, retrieval_bps] = governed.slice(17 + 3 * at, 20 + 3 * at);
    return { spans_bps, influence_bps, retrieval_bps };
  });
  const params = { ...Object.fromEntries(SCALARS.map((name, at) => [name, governed[at]])), mixes };
  const parents = list("parents").map((account, at) => [account, one["parentsBps"][at]]);
  const parties = {
    treasury: one["treasury"],
    validation: one["validation"],
    insurance: one["insurance"],
    owner: one["owner"],
    node: one["node"],
    stakers: /^0x0*$/.test(one["stakers"]) ? null : one["stakers"],
    parents,
  };
  const holders = Object.fromEntries(
    list("heldContributions").map((contribution, at) => [contribution, one["holders"][at]]),
  );
  const scores = list("scoreContributions").map((contribution, at) => ({
    layer: layers[one["scoreLayers"][at]],
    contribution,
    score: one["scores"][at],
  }));
  const coverage = {
    spans: one["coverageSpans"],
    influence: one["coverageInfluence"],
    retrieval: one["coverageRetrieval"],
  };
  const entries = list("lineAmounts").map((amount, at) => ({
    role: ROLES[one["lineRoles"][at]],
    account: one["lineAccounts"][at],
    contribution: one["lineContributions"][at],
    amount,
  }));
  const receipt = {
    price: one["price"],
    platform_bps: one["platformBps"],
    model_bps: one["modelBps"],
    stakers_bps: one["stakersBps"],
  };
  return {
    signed: { receipt },
    terms: { parties, holders },
    credits: { scores, coverage },
    params,
    entries,
  } as unknown as Bundle;
}

test("a bundle's split comes out the same, and a changed line is named", () => {
  const cases = (
    JSON.parse(readFileSync(new URL("../../vectors/split.json", import.meta.url), "utf8")) as {
      cases: Record<string, any>[];
    }
  ).cases;
  for (const one of cases) {
    const mix = {
      spans_bps: one["mixSpansBps"],
      influence_bps: one["mixInfluenceBps"],
      retrieval_bps: one["mixRetrievalBps"],
    };
    const bundle = bundleOf(one);
    expect(recompute(bundle, mix), one["name"]).toEqual({ state: "same", lines: bundle.entries.length });
    const [first, ...rest] = bundle.entries;
    if (first === undefined) continue;
    const changed = { ...bundle, entries: [{ ...first, amount: (BigInt(first.amount) + 1n).toString() }, ...rest] };
    expect(recompute(changed, mix), one["name"]).toMatchObject({
      state: "other",
      difference: expect.stringContaining("line 0"),
    });
    expect(recompute({ ...bundle, entries: rest }, mix).state, one["name"]).toBe("other");
  }
});

test("the bounds of new models do not bind the receipts of older ones", () => {
  const { cases } = JSON.parse(readFileSync(new URL("../../vectors/split.json", import.meta.url), "utf8")) as {
    cases: Record<string, any>[];
  };
  const one = cases.find(({ name }) => name === "the most to others") ?? {};
  const mix = {
    spans_bps: one["mixSpansBps"],
    influence_bps: one["mixInfluenceBps"],
    retrieval_bps: one["mixRetrievalBps"],
  };
  const bundle = bundleOf(one);
  const narrower = { ...bundle.params, max_platform_bps: 500, max_model_bps: 2_000, min_contributors_bps: 6_000 };
  expect(recompute({ ...bundle, params: narrower }, mix).state).toBe("same");
  const { receipt } = bundle.signed;
  for (const shares of [{ platform_bps: 2_001 }, { model_bps: 4_001 }, { stakers_bps: 1_001 }]) {
    const beyond = { ...bundle, signed: { ...bundle.signed, receipt: { ...receipt, ...shares } } };
    expect(recompute(beyond, mix)).toEqual({ state: "other", difference: "a share is out of its bounds" });
  }
});

test("a number beyond what a number holds keeps its digits", () => {
  expect(parseExact('{"score":18446744073709551615,"small":7,"text":"12345678901234567890 and \\"1"}')).toEqual({
    score: "18446744073709551615",
    small: 7,
    text: '12345678901234567890 and "1',
  });
});
