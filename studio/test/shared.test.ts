import { expect, test } from "vitest";

import { byteIndex } from "../src/shared/bytes";
import { withNames } from "../src/shared/colours";
import { failed } from "../src/shared/feed";
import { indentJson } from "../src/shared/json";
import { overview } from "./fixture";

test("byte offsets lead to characters, and into none of them", () => {
  const at = byteIndex("a°€😀z");
  expect([0, 1, 3, 6, 10, 11].map(at)).toEqual([0, 1, 2, 3, 5, 6]);
  for (const inside of [2, 4, 5, 7, 8, 9, 12]) expect(at(inside)).toBeUndefined();
});

test("indented JSON keeps every digit and every string", () => {
  expect(indentJson('{"seed":18446744073709551615,"a":[],"b":[1,{"c":"x, {\\"y\\": 1}"}],"d":{},"e":null}')).toBe(
    [
      "{",
      '  "seed": 18446744073709551615,',
      '  "a": [],',
      '  "b": [',
      "    1,",
      "    {",
      '      "c": "x, {\\"y\\": 1}"',
      "    }",
      "  ],",
      '  "d": {},',
      '  "e": null',
      "}",
    ].join("\n"),
  );
});

test("indented JSON says the same as the JSON", () => {
  const json = JSON.stringify(overview());
  expect(JSON.parse(indentJson(json))).toEqual(JSON.parse(json));
});

test("a contributor keeps the colour it was given first", () => {
  const first = withNames(new Map(), ["river-gauge", "night-desk", "river-gauge"]);
  const later = withNames(first, ["tide-clock", "night-desk"]);
  expect([...later]).toEqual([
    ["river-gauge", 0],
    ["night-desk", 1],
    ["tide-clock", 2],
  ]);
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
