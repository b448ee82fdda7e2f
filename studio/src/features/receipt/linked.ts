/**
 * A link to a receipt. The browser looks for its target once, when the page is loaded and before
 * the node has sent a receipt. Answers that arrive later then push the target away.
 */

import { useEffect, useRef } from "react";

import { receiptAnchor } from "../../shared/ReceiptLink";

/** A linked receipt, and where the page stands that shows it. */
export interface Arrival {
  anchor: string;
  top: number;
}

/** Goes to the receipt that the page's address names, if it is one of `ids`. */
export function arrive(ids: readonly string[]): Arrival | undefined {
  const { hash } = location;
  const anchor = ids.map(receiptAnchor).find((anchor) => hash === `#${anchor}`);
  if (anchor === undefined) return undefined;
  // Makes the card the `:target`, which scrolling does not, and leaves the history as it is.
  location.replace(hash);
  return show(anchor);
}

/** Goes there again, unless the reader has scrolled on. */
export function hold(arrival: Arrival): Arrival {
  return scrollY === arrival.top ? show(arrival.anchor) : arrival;
}

function show(anchor: string): Arrival {
  document.getElementById(anchor)?.scrollIntoView();
  return { anchor, top: scrollY };
}

/** Leads to the linked receipt once `ids` are drawn, and keeps it in view while the page grows. */
export function useLinked(ids: readonly string[]): void {
  const arrival = useRef<Arrival | undefined | "ahead">("ahead");
  // After every drawing, since each may have brought an answer above it.
  useEffect(() => {
    const last = arrival.current;
    arrival.current = last === "ahead" ? arrive(ids) : last && hold(last);
  });
}
