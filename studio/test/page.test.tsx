/** Each view of the page in each of its states, drawn without a browser. */

import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";

import { Page } from "../src/app/App";
import type { Details } from "../src/shared/details";
import type { Feed } from "../src/shared/feed";
import { details, overview } from "./fixture";

function draw(feed: Feed, known: Details = details()): string {
  return renderToStaticMarkup(<Page feed={feed} retry={() => undefined} details={known} />);
}

/** What people read: the markup without its tags. */
function words(feed: Feed, known: Details = details()): string {
  return draw(feed, known)
    .replace(/<[^>]+>/g, "")
    .replaceAll("&#x27;", "'")
    .replaceAll("&quot;", '"');
}

function count(of: string, where: string): number {
  return where.split(of).length - 1;
}

test("a page that waits shows where each view will be", () => {
  const drawn = draw({ state: "loading" });
  expect(count('aria-busy="true"', drawn)).toBe(4);
  expect(count('class="skeleton"', drawn)).toBe(4);
});

test("a page without an answer says why, and asks to try again", () => {
  const told = words({ state: "failed", reason: "The node cannot be reached." });
  expect(told).toContain("The node cannot be reached.");
  expect(told).toContain("Ask now");
  expect(count("Not known while the node is silent.", told)).toBe(4);
});

test("an empty network says for each view what would fill it", () => {
  const nothing = { ...overview(), contributions: [], receipts: [], epochs: [], payouts: [] };
  const told = words({ state: "ready", overview: nothing, stale: undefined });
  for (const line of [
    "Nothing has been contributed yet.",
    "No question has been answered yet.",
    "Nobody has been paid yet",
    "No epoch is closed yet.",
  ]) {
    expect(told).toContain(line);
  }
});

test("a full page tells the whole thread", () => {
  const full = overview();
  const told = words({ state: "ready", overview: full, stale: undefined });
  for (const { prompt } of details().values()) expect(told).toContain(prompt);
  expect(told).toContain("openledger receipt verify receipt.json");
  expect(told).toContain("No words of this answer stand verbatim in a record.");
  expect(told).not.toContain("Last figures from");
});

test("a split without stakers says where their part goes", () => {
  const full = overview();
  const line = "Nobody has staked: their part goes to insurance.";
  expect(words({ state: "ready", overview: full, stale: undefined })).not.toContain(line);
  const known = details();
  for (const detail of known.values()) detail.entries = detail.entries.filter((entry) => entry.role !== "stakers");
  expect(count(line, words({ state: "ready", overview: full, stale: undefined }, known))).toBe(full.receipts.length);
});

test("figures that are not fresh are shown and said not to be", () => {
  const told = words({
    state: "ready",
    overview: overview(),
    stale: { since: new Date(0), reason: "The node cannot be reached." },
  });
  expect(told).toContain("Last figures from");
  expect(told).toContain("How do I find Polaris");
});

test("what contributors and models wrote never becomes markup", () => {
  const hostile = overview();
  const script = "<img src=x onerror=alert(1)>";
  const known = details();
  for (const detail of known.values()) {
    detail.prompt = script;
    detail.text = script;
    detail.spans = [];
  }
  for (const contribution of hostile.contributions) contribution.contributors = [script];
  expect(draw({ state: "ready", overview: hostile, stale: undefined }, known)).not.toContain("<img");
});

test("a reader without a key sees ids, sums and times, and who may read the rest", () => {
  const full = overview();
  const told = words({ state: "ready", overview: full, stale: undefined }, new Map());
  expect(count("Open this page with a key", told)).toBe(full.receipts.length);
  expect(told).toContain("lines of contributors");
  for (const { prompt } of details().values()) expect(told).not.toContain(prompt);
});
