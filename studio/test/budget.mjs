/** Prints what a first load of the built Studio weighs, and fails above the budget. */

import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

/** Bytes, compressed, of everything a first load fetches. */
const BUDGET = 150_000;

const dist = new URL("../dist/", import.meta.url);
const files = readdirSync(dist, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
if (!files.some((file) => file.name.endsWith(".js"))) throw new Error("the build left no script in dist/");
const weight = files.reduce(
  (sum, file) => sum + gzipSync(readFileSync(`${file.parentPath}/${file.name}`), { level: 9 }).length,
  0,
);
console.log(`first load: ${(weight / 1_000).toFixed(1)} kB compressed, of at most ${BUDGET / 1_000} kB`);
if (weight > BUDGET) {
  console.error("the first load is over its budget: split a route off, or drop a dependency");
  process.exit(1);
}
