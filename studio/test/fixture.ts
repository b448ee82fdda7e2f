/** The recorded overview, as it came and as the page reads it. */

import { readFileSync } from "node:fs";

import { type Overview, readOverview } from "../src/shared/overview";

/** A fresh copy each time, so that a test may break it. */
export function recorded(): any {
  return JSON.parse(readFileSync(new URL("fixtures/overview.json", import.meta.url), "utf8"));
}

export function overview(): Overview {
  return readOverview(recorded());
}
