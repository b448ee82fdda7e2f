/**
 * The private parts of receipts: prompt, answer, sources and lines, fetched with the reader's key.
 *
 * Invariant: without a key nothing is asked; a receipt that the node refuses to this reader is not
 * asked for again. What failed for another reason is asked for again after a pause, when there is
 * nothing else to ask for.
 */

import { createContext, useContext, useEffect, useState } from "react";

import { NodeUnreachable, type Receipt, type ReceiptDetail, receiptDetail } from "./api";
import { storedKey } from "./key";

/** Before a receipt is asked for again, in milliseconds. */
const PAUSE = 5_000;

export type Details = ReadonlyMap<string, ReceiptDetail>;

export const DetailsContext = createContext<Details>(new Map());

/** The detail of a receipt, where the reader may know it. */
export function useDetail(id: string): ReceiptDetail | undefined {
  return useContext(DetailsContext).get(id);
}

/** How often the node failed to answer for a receipt, by id; infinity where it refused. */
export type Failures = ReadonlyMap<string, number>;

/** The failures after one more, for `reason`. */
export function failedOnce(failures: Failures, id: string, reason: unknown): Failures {
  const isFinal = reason instanceof NodeUnreachable && reason.isFinal;
  return new Map(failures).set(id, isFinal ? Number.POSITIVE_INFINITY : (failures.get(id) ?? 0) + 1);
}

/** The receipt to ask for next: neither known nor refused, and failed least often. */
export function nextDetail(ids: readonly string[], known: Details, failures: Failures): string | undefined {
  const count = (id: string) => failures.get(id) ?? 0;
  return ids
    .filter((id) => !known.has(id) && Number.isFinite(count(id)))
    .reduce<string | undefined>(
      (least, id) => (least === undefined || count(id) < count(least) ? id : least),
      undefined,
    );
}

/** Fetches the details of `receipts` that are not known yet. */
export function useDetails(receipts: readonly Receipt[]): Details {
  const [details, setDetails] = useState<Details>(new Map());
  const [failures, setFailures] = useState<Failures>(new Map());
  const ids = receipts.map(({ id }) => id);
  const next = nextDetail(ids, details, failures);
  const failed = next === undefined ? 0 : (failures.get(next) ?? 0);

  useEffect(() => {
    if (next === undefined || storedKey() === undefined) return;
    const stop = new AbortController();
    const ask = () =>
      receiptDetail(next, stop.signal).then(
        (detail) => setDetails((known) => new Map(known).set(next, detail)),
        (reason: unknown) => {
          if (!stop.signal.aborted) setFailures((failures) => failedOnce(failures, next, reason));
        },
      );
    const timer = setTimeout(() => void ask(), failed === 0 ? 0 : PAUSE);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [next, failed]);

  return details;
}
