/**
 * One stage of the thread: its name, what happens there, and a view in one of four states.
 *
 * Loading, failed, empty and full are decided here, so that no view can forget one.
 */

import type { ReactNode } from "react";
import type { Overview } from "./api";
import type { Feed } from "./feed";

interface Props<T> {
  id: string;
  title: string;
  lead: ReactNode;
  feed: Feed;
  /** The items this view shows. */
  pick: (overview: Overview) => readonly T[];
  /** What to say, and to do, when there are none. */
  empty: ReactNode;
  children: (items: readonly T[], overview: Overview) => ReactNode;
}

export function Section<T>({ id, title, lead, feed, pick, empty, children }: Props<T>) {
  const items = feed.state === "ready" ? pick(feed.overview) : [];
  return (
    <section id={id} className="stage" aria-labelledby={`${id}-title`} aria-busy={feed.state === "loading"}>
      <header className="stage-head">
        <h2 id={`${id}-title`}>
          {title}
          {items.length > 0 && <span className="tally">{items.length}</span>}
        </h2>
        <p>{lead}</p>
      </header>
      <div className="stage-body">
        {feed.state === "loading" && <Skeleton />}
        {feed.state === "failed" && <p className="note">Not known while the node is silent.</p>}
        {feed.state === "ready" &&
          (items.length === 0 ? <div className="note">{empty}</div> : children(items, feed.overview))}
      </div>
    </section>
  );
}

function Skeleton() {
  return (
    <div className="skeleton" role="status">
      <span className="unseen">Loading</span>
      <span style={{ width: "92%" }} />
      <span style={{ width: "78%" }} />
      <span style={{ width: "85%" }} />
    </div>
  );
}
