/** The latest answers, each with its receipt: what it rests on, what it cost, and who is paid. */

import { Amount } from "../../shared/Amount";
import { readAmount } from "../../shared/amount";
import type { Contribution, Receipt } from "../../shared/api";
import { useDetail } from "../../shared/details";
import { ReceiptLink, receiptAnchor } from "../../shared/ReceiptLink";
import { Answer } from "./Answer";
import { CoverageMeters } from "./CoverageMeters";
import { useLinked } from "./linked";
import { RawReceipt } from "./RawReceipt";
import { Split } from "./Split";

interface Props {
  receipts: readonly Receipt[];
  contributions: readonly Contribution[];
}

export function Receipts({ receipts, contributions }: Props) {
  useLinked(receipts.map(({ id }) => id));
  return (
    <ol className="receipts">
      {receipts.map((receipt) => (
        <li key={receipt.id}>
          <ReceiptCard receipt={receipt} contributions={contributions} />
        </li>
      ))}
    </ol>
  );
}

function ReceiptCard({ receipt, contributions }: { receipt: Receipt; contributions: readonly Contribution[] }) {
  const anchor = receiptAnchor(receipt.id);
  const detail = useDetail(receipt.id);
  return (
    <article className="card" id={anchor} aria-labelledby={`${anchor}-asked`}>
      <header className="asked">
        <h3 id={`${anchor}-asked`} dir="auto">
          {detail === undefined ? <Unread receipt={receipt} /> : (detail.prompt ?? "(a request without text)")}
        </h3>
        <p className="meta">
          {receipt.model_name !== null && (
            <span>
              answered by <bdi>{receipt.model_name}</bdi>
            </span>
          )}
          <Moment seconds={receipt.time} />
        </p>
      </header>
      {detail === undefined ? <Private /> : <Answer detail={detail} />}
      <div className="receipt">
        <header className="receipt-head">
          <span>
            Receipt <ReceiptLink id={receipt.id} />
          </span>
          <span>{receipt.epoch === null ? "in the open epoch" : `in epoch ${receipt.epoch}`}</span>
          <span className="price">
            <Amount units={readAmount(receipt.price)} />
          </span>
        </header>
        <div className="receipt-body">
          <div>
            <h4>Who the price goes to</h4>
            <Split receipt={receipt} contributions={contributions} />
          </div>
          <div>
            <h4>Evidence per layer</h4>
            <CoverageMeters coverage={receipt.coverage} />
            <p className="note">What evidence does not cover is paid by training weight, never to the host.</p>
          </div>
        </div>
        <RawReceipt receipt={receipt} />
      </div>
    </article>
  );
}

/** What everybody may know of a question. */
function Unread({ receipt }: { receipt: Receipt }) {
  return (
    <>
      {receipt.tokens_in} tokens asked, {receipt.tokens_out} tokens answered
    </>
  );
}

/** Says who may read the rest, and how. */
function Private() {
  return (
    <p className="note">
      Prompt, answer and sources are for the payer and the node's operator. Open this page with a key:{" "}
      <code>#key=…</code>
    </p>
  );
}

/** When the receipt was signed, in the reader's own words; the exact time is in the markup. */
function Moment({ seconds }: { seconds: number }) {
  const date = new Date(seconds * 1_000);
  return (
    <time dateTime={date.toISOString()}>
      {date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })}
    </time>
  );
}
