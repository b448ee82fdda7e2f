/** The floors of the Studio: `api` -> `shared` -> `features/<noun>` -> `app`; an import goes only to the left. */

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const SRC = fileURLToPath(new URL("../src", import.meta.url));
const FLOORS = ["api", "shared", "features", "app"];

/** `api`, `shared`, `features/<noun>` or `app`. */
function place(file: string): string {
  const [floor = "", noun = ""] = relative(SRC, file).split("/");
  return floor === "features" ? `${floor}/${noun}` : floor;
}

function floor(place: string): number {
  return FLOORS.indexOf(place.split("/")[0] ?? "");
}

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.tsx?$/.test(name))
  .map((name) => join(SRC, name));

const imports = files.flatMap((file) => {
  const found = readFileSync(file, "utf8").matchAll(/(?:from|import)\s+"(\.[^"]+)"/g);
  return [...found].map(([, path = ""]) => ({ file, to: resolve(dirname(file), path) }));
});

test("an import goes down a floor or stays in its folder; no feature imports a feature", () => {
  expect(imports.length).toBeGreaterThan(20);
  const wrong = imports.flatMap(({ file, to }) => {
    const [from, into] = [place(file), place(to)];
    return from === into || floor(into) < floor(from) ? [] : [`${relative(SRC, file)} (${from}) must not use ${into}`];
  });
  expect(wrong).toEqual([]);
});

test("every file stands on a floor, opens with what it is, and no folder is a barrel", () => {
  for (const file of files) {
    expect(floor(place(file)), file).toBeGreaterThanOrEqual(0);
    expect(readFileSync(file, "utf8"), file).toMatch(/^\/\*\*/);
    expect(file).not.toMatch(/\/index\.tsx?$/);
  }
});

test("nothing is fetched but from the node that serves the page", () => {
  const calls = files.filter((file) =>
    /\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|https?:\/\//.test(readFileSync(file, "utf8")),
  );
  expect(calls.map((file) => relative(SRC, file))).toEqual(["shared/api.ts"]);
});

test("no view turns text into markup", () => {
  for (const file of files) expect(readFileSync(file, "utf8"), file).not.toMatch(/dangerouslySetInnerHTML|innerHTML/);
});
