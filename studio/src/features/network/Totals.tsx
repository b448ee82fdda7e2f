/** The totals of the network: what came in, what was answered, what was paid. */

import type { ReactNode } from "react";

import { Amount } from "../../shared/Amount";
import type { Feed } from "../../shared/feed";
import type { Totals as Figures } from "../../shared/overview";

const FIGURES: { name: string; of: (totals: Figures) => ReactNode }[] = [
  { name: "records", of: (totals) => totals.records.toLocaleString() },
  { name: "contributors", of: (totals) => totals.contributors.toLocaleString() },
  { name: "answers", of: (totals) => totals.receipts.toLocaleString() },
  { name: "paid in", of: (totals) => <Amount units={totals.paidIn} /> },
  { name: "earned", of: (totals) => <Amount units={totals.paidOut} /> },
  { name: "claimed", of: (totals) => <Amount units={totals.claimed} /> },
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
