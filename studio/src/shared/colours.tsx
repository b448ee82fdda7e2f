/**
 * One colour for each contributor, the same in a span, a split and a payout.
 *
 * Invariant: a name keeps its colour while the page is open, whatever arrives later. Colours repeat after the
 * last, so nothing is told by colour alone.
 */

import { createContext, useContext } from "react";

/** How many colours there are; `colours.css` gives each its hue. */
export const PALETTE = 12;

/** `known` with the names that were not in it, in their order. The same map if there are none. */
export function withNames(known: ReadonlyMap<string, number>, names: Iterable<string>): ReadonlyMap<string, number> {
  let extended: Map<string, number> | undefined;
  for (const name of names) {
    if (known.has(name) || extended?.has(name)) continue;
    extended ??= new Map(known);
    extended.set(name, extended.size);
  }
  return extended ?? known;
}

export const Colours = createContext<ReadonlyMap<string, number>>(new Map());

/** The colour of a contributor; none for names that contributed nothing here. */
export function useHue(name: string | undefined): number | undefined {
  const at = useContext(Colours).get(name ?? "");
  return at === undefined ? undefined : at % PALETTE;
}
