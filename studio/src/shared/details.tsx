/**
 * The private parts of receipts: prompt, answer, sources and lines, fetched with the reader's key.
 *
 * Invariant: without a key nothing is asked; a receipt that the node refuses is not asked for again.
 */

import { createContext, useContext, useEffect, useState } from "react";

import { type Receipt, type ReceiptDetail, receiptDetail } from "./api";
import { storedKey } from "./key";

export type Details = ReadonlyMap<string, ReceiptDetail>;

export const DetailsContext = createContext<Details>(new Map());

/** The detail of a receipt, where the reader may know it. */
export function useDetail(id: string): ReceiptDetail | undefined {
  return useContext(DetailsContext).get(id);
}

/** Fetches the details of `receipts` that are not known yet. */
export function useDetails(receipts: readonly Receipt[]): Details {
  const [details, setDetails] = useState<Details>(new Map());
  const [refused, setRefused] = useState<ReadonlySet<string>>(new Set());
  const next = receipts.find(({ id }) => !details.has(id) && !refused.has(id))?.id;

  useEffect(() => {
    if (next === undefined || storedKey() === undefined) return;
    const stop = new AbortController();
    receiptDetail(next, stop.signal).then(
      (detail) => setDetails((known) => new Map(known).set(next, detail)),
      () => {
        if (!stop.signal.aborted) setRefused((known) => new Set(known).add(next));
      },
    );
    return () => stop.abort();
  }, [next]);

  return details;
}
