/** Says that the node is silent, why, and since when; and offers to ask again. */

import type { Feed } from "../../shared/feed";

export function Silence({ feed, retry }: { feed: Feed; retry: () => void }) {
  const told =
    feed.state === "failed"
      ? { head: "The node does not answer", why: feed.reason }
      : feed.state === "ready" && feed.stale !== undefined
        ? { head: `Last figures from ${feed.stale.since.toLocaleTimeString()}`, why: feed.stale.reason }
        : undefined;
  return (
    <div role="alert">
      {told !== undefined && (
        <div className="silence">
          <p>
            <strong>{told.head}.</strong> {told.why} Asking again every two seconds.
          </p>
          <button type="button" onClick={retry}>
            Ask now
          </button>
        </div>
      )}
    </div>
  );
}
