import { expect, test } from "vitest";

import { parts } from "../src/features/receipt/parts";
import { numbers, pieces, quote } from "../src/features/receipt/pieces";
import type { Entry, Span } from "../src/shared/overview";
import { overview } from "./fixture";

function span(start: number, end: number, record: string, more: Partial<Span> = {}): Span {
  return { start, end, record, contribution: "0x1", contributors: ["river-gauge"], text: "", recordOffset: 0, ...more };
}

test("pieces joined are the answer, and each span covers exactly its bytes", () => {
  for (const receipt of overview().receipts) {
    const { pieces: cut, misplaced } = pieces(receipt.text, receipt.spans);
    expect(cut.map((piece) => piece.text).join("")).toBe(receipt.text);
    expect(misplaced).toBe(0);
    const bytes = Buffer.from(receipt.text);
    for (const span of receipt.spans) {
      const drawn = cut.filter((piece) => piece.spans.includes(span)).map((piece) => piece.text).join("");
      expect(drawn).toBe(bytes.subarray(span.start, span.end).toString());
    }
  }
});

test("a span's words are the words it quotes in its record", () => {
  for (const receipt of overview().receipts) {
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
  const { pieces: cut, misplaced } = pieces("5 °C", [span(3, 4, "inside"), span(0, 99, "beyond"), span(1, 1, "nothing")]);
  expect(misplaced).toBe(3);
  expect(cut).toEqual([{ text: "5 °C", spans: [], ending: [] }]);
});

test("records are numbered in the order of the text, each once", () => {
  const { pieces: cut } = pieces("abcdef", [span(4, 5, "z"), span(0, 1, "y"), span(2, 3, "z")]);
  expect([...numbers(cut)]).toEqual([["0x1/y", 1], ["0x1/z", 2]]);
});

test("a long record is quoted with what stands around the span", () => {
  const text = `${"a".repeat(500)}WORDS${"b".repeat(500)}`;
  const { before, quoted, after } = quote(span(0, 5, "a", { text, recordOffset: 500 }));
  expect(quoted).toBe("WORDS");
  expect(before).toBe(`…${"a".repeat(220)}`);
  expect(after).toBe(`${"b".repeat(220)}…`);
  expect(quote(span(0, 5, "a", { text: "short", recordOffset: 90 }))).toEqual({ before: "short", quoted: "", after: "" });
});

test("the four parts of every split are its price to the last unit", () => {
  const { receipts, contributions } = overview();
  for (const receipt of receipts) {
    const split = parts(receipt.entries, contributions);
    expect(split.map((part) => part.name)).toEqual(["contributors", "model", "stakers", "platform"]);
    expect(split.reduce((sum, part) => sum + part.amount, 0n)).toBe(receipt.price);
    for (const part of split) expect(part.lines.reduce((sum, line) => sum + line.amount, 0n)).toBe(part.amount);
  }
});

test("lines of one account are one line, and a splitter is named after its contributors", () => {
  const entry = (account: string, name: string | undefined, contribution: string, amount: bigint): Entry => ({
    role: "contributor",
    account,
    name,
    contribution,
    amount,
  });
  const [both] = overview().contributions.filter((contribution) => contribution.contributors.length > 1);
  expect(both).toBeDefined();
  const entries = [entry("0xa", "river-gauge", "0x1", 1n), entry("0xb", undefined, both?.id ?? "", 9n), entry("0xa", "river-gauge", "0x2", 2n)];
  const [contributors] = parts(entries, overview().contributions);
  expect(contributors?.lines.map((line) => [line.names, line.amount])).toEqual([
    [both?.contributors, 9n],
    [["river-gauge"], 3n],
  ]);
});
