/**
 * The first page: the thread from contributions over answers to payouts, live.
 *
 * The only place that knows all features; they know `shared`, and not each other.
 */

import { useRef } from "react";

import { Contributions } from "../features/contribution/Contributions";
import { Epochs } from "../features/epoch/Epochs";
import { Masthead } from "../features/network/Masthead";
import { Silence } from "../features/network/Silence";
import { Totals } from "../features/network/Totals";
import { Payouts } from "../features/payout/Payouts";
import { Receipts } from "../features/receipt/Receipts";
import type { Overview } from "../shared/api";
import { Colours, withNames } from "../shared/colours";
import { type Details, DetailsContext, useDetails } from "../shared/details";
import { type Feed, useFeed } from "../shared/feed";
import { Section } from "../shared/Section";

/** Keeps the page with the node that serves it. */
export function App() {
  const { feed, retry } = useFeed();
  const details = useDetails(feed.state === "ready" ? feed.overview.receipts : []);
  return <Page feed={feed} retry={retry} details={details} />;
}

interface Props {
  feed: Feed;
  retry: () => void;
  /** The private parts of the receipts that the reader may know. */
  details: Details;
}

/** The page for a given state of the feed. */
export function Page({ feed, retry, details }: Props) {
  const known = useRef<ReadonlyMap<string, number>>(new Map());
  if (feed.state === "ready") known.current = withNames(known.current, contributors(feed.overview, details));
  return (
    <DetailsContext value={details}>
      <Colours value={known.current}>
        <a className="skip" href="#answers">
          Skip to the answers
        </a>
        <div className="page">
          <Masthead feed={feed} />
          <main>
            <Silence feed={feed} retry={retry} />
            <h1>Every answer names the records it rests on, and pays for them.</h1>
            <Totals feed={feed} />
            <Section
              id="contributions"
              title="Contributed"
              lead="Records enter a datanet under terms. Each batch is a title; its root stands on chain."
              feed={feed}
              pick={(overview) => overview.contributions}
              empty={<Empty what="Nothing has been contributed yet." how="openledger demo" />}
            >
              {(contributions, { datanets }) => <Contributions contributions={contributions} datanets={datanets} />}
            </Section>
            <Section
              id="answers"
              title="Answered"
              lead={
                <>
                  Marked words stand verbatim in a record. Point at them, or walk them with <kbd>[</kbd> and{" "}
                  <kbd>]</kbd>.
                </>
              }
              feed={feed}
              pick={(overview) => overview.receipts}
              empty={<Empty what="No question has been answered yet." how='openledger ask --model MODEL "…"' />}
            >
              {(receipts, { contributions }) => <Receipts receipts={receipts} contributions={contributions} />}
            </Section>
            <Section
              id="payouts"
              title="Paid"
              lead="What each account earned since genesis, and how much of it was claimed on chain."
              feed={feed}
              pick={(overview) => overview.payouts}
              empty={<Empty what="Nobody has been paid yet: no epoch is closed." how="openledger epoch settle" />}
            >
              {(payouts) => <Payouts payouts={payouts} />}
            </Section>
            <Section
              id="epochs"
              title="Settled"
              lead="Receipts close into epochs. Their roots are proposed, may be challenged, and become final."
              feed={feed}
              pick={(overview) => overview.epochs}
              empty={<Empty what="No epoch is closed yet." how="openledger epoch settle" />}
            >
              {(epochs) => <Epochs epochs={epochs} />}
            </Section>
          </main>
          <footer className="foot">
            Amounts are exact in their titles and rounded down on the page. This page loads nothing from elsewhere.
          </footer>
        </div>
      </Colours>
    </DetailsContext>
  );
}

function Empty({ what, how }: { what: string; how: string }) {
  return (
    <p>
      {what} Start with <code>{how}</code>.
    </p>
  );
}

/** All contributors of the document, oldest contribution first, so that colours do not move when new ones arrive. */
function contributors(overview: Overview, details: Details): string[] {
  const contributed = overview.contributions.toReversed().flatMap((contribution) => contribution.contributors);
  const cited = overview.receipts.flatMap(
    ({ id }) => details.get(id)?.spans.flatMap((span) => span.contributors) ?? [],
  );
  return [...contributed, ...cited];
}
