/** The totals of the network: what came in, what was answered, what was paid. */

import type { ReactNode } from "react";
import { Amount } from "../../shared/Amount";
import { readAmount } from "../../shared/amount";
import type { Totals as Figures } from "../../shared/api";
import type { Feed } from "../../shared/feed";

const FIGURES: { name: string; of: (totals: Figures) => ReactNode }[] = [
  { name: "records", of: (totals) => totals.records.toLocaleString() },
  { name: "contributors", of: (totals) => totals.contributors.toLocaleString() },
  { name: "answers", of: (totals) => totals.receipts.toLocaleString() },
  { name: "paid in", of: (totals) => <Amount units={readAmount(totals.paid_in)} /> },
  { name: "earned", of: (totals) => <Amount units={readAmount(totals.paid_out)} /> },
  { name: "claimed", of: (totals) => <Amount units={readAmount(totals.claimed)} /> },
];

export function Totals({ feed }: { feed: Feed }) {
  return (
    <dl className="totals" aria-label="Totals">
      {FIGURES.map(({ name, of }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{feed.state === "ready" ? of(feed.overview.totals) : <span className="unknown">–</span>}</dd>
        </div>
      ))}
    </dl>
  );
}
