import { expect, test } from "vitest";

import { byteIndex } from "../src/shared/bytes";
import { withNames } from "../src/shared/colours";
import { failed } from "../src/shared/feed";
import { indentJson } from "../src/shared/json";
import { readOverview } from "../src/shared/overview";
import { overview, recorded } from "./fixture";

test("byte offsets lead to characters, and into none of them", () => {
  const at = byteIndex("a°€😀z");
  expect([0, 1, 3, 6, 10, 11].map(at)).toEqual([0, 1, 2, 3, 5, 6]);
  for (const inside of [2, 4, 5, 7, 8, 9, 12]) expect(at(inside)).toBeUndefined();
});

test("the recorded overview is read with amounts as bigint", () => {
  const { totals, receipts, epochs, payouts } = overview();
  expect(totals.paidIn).toBe(100_000_000_000_000_000_000n);
  expect(receipts[0]?.epoch).toBeUndefined();
  expect(epochs.at(-1)?.total).toBe(totals.paidOut);
  expect(payouts.reduce((sum, payout) => sum + payout.earned, 0n)).toBe(totals.paidOut);
});

test("a document of another shape is refused by the name of the member", () => {
  const broken: [string, (document: any) => void][] = [
    ["totals.paid_in should be an amount", (document) => (document.totals.paid_in = 5)],
    ["receipts[1].spans[0].start should be a whole number", (document) => (document.receipts[1].spans[0].start = -1)],
    ["receipts[0].entries[0].role should be one of", (document) => (document.receipts[0].entries[0].role = "host")],
    ["contributions should be a list", (document) => delete document.contributions],
    ["payouts[0].account should be a string", (document) => (document.payouts[0].account = null)],
  ];
  for (const [message, breaks] of broken) {
    const document = recorded();
    breaks(document);
    expect(() => readOverview(document), message).toThrow(message);
  }
  expect(() => readOverview(null)).toThrow("the document should be an object");
});

test("members that only some nodes tell may be missing", () => {
  const document = recorded();
  delete document.contributions[0].block;
  delete document.receipts[0].model;
  document.receipts[0].prompt = null;
  const read = readOverview(document);
  expect(read.contributions[0]?.block).toBeUndefined();
  expect(read.receipts[0]?.prompt).toBeUndefined();
});

test("indented JSON keeps every digit and every string", () => {
  expect(indentJson('{"seed":18446744073709551615,"a":[],"b":[1,{"c":"x, {\\"y\\": 1}"}],"d":{},"e":null}')).toBe(
    ["{", '  "seed": 18446744073709551615,', '  "a": [],', '  "b": [', "    1,", "    {", '      "c": "x, {\\"y\\": 1}"', "    }", "  ],", '  "d": {},', '  "e": null', "}"].join("\n"),
  );
});

test("indented JSON says the same as the JSON", () => {
  const json = JSON.stringify(recorded());
  expect(JSON.parse(indentJson(json))).toEqual(JSON.parse(json));
});

test("a contributor keeps the colour it was given first", () => {
  const first = withNames(new Map(), ["river-gauge", "night-desk", "river-gauge"]);
  const later = withNames(first, ["tide-clock", "night-desk"]);
  expect([...later]).toEqual([["river-gauge", 0], ["night-desk", 1], ["tide-clock", 2]]);
  expect(withNames(later, ["tide-clock"])).toBe(later);
});

test("figures that were known stay when the node falls silent, with the time it fell silent", () => {
  const [then, later] = [new Date(1_000), new Date(5_000)];
  const ready = { state: "ready" as const, overview: overview(), stale: undefined };
  const stale = failed(ready, "no answer", then);
  expect(stale).toEqual({ ...ready, stale: { since: then, reason: "no answer" } });
  expect(failed(stale, "still none", later)).toEqual({ ...ready, stale: { since: then, reason: "still none" } });
  expect(failed({ state: "loading" }, "no answer", then)).toEqual({ state: "failed", reason: "no answer" });
});
