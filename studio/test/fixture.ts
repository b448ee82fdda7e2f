/** The recorded overview and the details of its receipts. */

import { readFileSync } from "node:fs";

import type { Overview, ReceiptDetail } from "../src/shared/api";

/** A fresh copy each time, so that a test may change it. */
function recorded<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`fixtures/${name}.json`, import.meta.url), "utf8")) as T;
}

export function overview(): Overview {
  return recorded("overview");
}

export function details(): Map<string, ReceiptDetail> {
  return new Map(Object.entries(recorded<Record<string, ReceiptDetail>>("details")));
}
