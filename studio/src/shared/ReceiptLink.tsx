/** A receipt by its short id, drawn the same everywhere; leads to the receipt on the page. */

import { shortHash } from "./Hash";

export function receiptAnchor(id: string): string {
  return `receipt-${id}`;
}

export function ReceiptLink({ id }: { id: string }) {
  return (
    <a className="hash" href={`#${receiptAnchor(id)}`} title={id}>
      {shortHash(id)}
    </a>
  );
}
