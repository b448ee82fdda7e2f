/** The head of the page: what this is, which network it shows, and whether the figures are fresh. */

import type { Feed } from "../../shared/feed";
import { Hash } from "../../shared/Hash";

export function Masthead({ feed }: { feed: Feed }) {
  return (
    <header className="masthead">
      <div className="wordmark">
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <path d="M16 2v8m0 12v8" />
          <circle cx="16" cy="16" r="6" />
        </svg>
        OpenLedger
      </div>
      {feed.state === "ready" && (
        <dl className="network">
          <div>
            <dt>Chain</dt>
            <dd>{feed.overview.network.chain_id}</dd>
          </div>
          <div>
            <dt>Node</dt>
            <dd>
              <Hash value={feed.overview.network.node} />
            </dd>
          </div>
          <div>
            <dt>Base</dt>
            <dd>{feed.overview.network.base.name}</dd>
          </div>
        </dl>
      )}
      <p className="pulse" data-state={pulse(feed)}>
        {{ loading: "Connecting", live: "Live", stale: "Not fresh", silent: "No answer" }[pulse(feed)]}
      </p>
    </header>
  );
}

function pulse(feed: Feed): "loading" | "live" | "stale" | "silent" {
  if (feed.state === "loading") return "loading";
  if (feed.state === "failed") return "silent";
  return feed.stale === undefined ? "live" : "stale";
}
