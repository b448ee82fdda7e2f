/**
 * The overview, kept fresh: asked again two seconds after each answer, and not at all while nobody looks.
 *
 * Invariant: what was known stays on the page when the node falls silent; the feed then says since when.
 */

import { useCallback, useEffect, useRef, useState } from "react";

import { type Overview, overview } from "./api";

/** Between an answer and the next question, in milliseconds. */
const PAUSE = 2_000;

export type Feed =
  | { state: "loading" }
  | { state: "failed"; reason: string }
  | { state: "ready"; overview: Overview; stale: { since: Date; reason: string } | undefined };

/** What the feed becomes when the node did not answer at `now`. */
export function failed(feed: Feed, reason: string, now: Date): Feed {
  if (feed.state !== "ready") return { state: "failed", reason };
  return { ...feed, stale: { since: feed.stale?.since ?? now, reason } };
}

export function useFeed(): { feed: Feed; retry: () => void } {
  const [feed, setFeed] = useState<Feed>({ state: "loading" });
  const ask = useRef<() => void>(() => undefined);

  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let asking = false;

    async function turn() {
      clearTimeout(timer);
      if (asking || document.hidden) return;
      asking = true;
      try {
        const fresh = await overview(stop.signal);
        setFeed({ state: "ready", overview: fresh, stale: undefined });
      } catch (error) {
        if (stop.signal.aborted) return;
        const reason = error instanceof Error ? error.message : String(error);
        setFeed((feed) => failed(feed, reason, new Date()));
      } finally {
        asking = false;
      }
      timer = setTimeout(() => void turn(), PAUSE);
    }

    ask.current = () => void turn();
    const seen = () => void turn();
    document.addEventListener("visibilitychange", seen);
    void turn();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, []);

  const retry = useCallback(() => ask.current(), []);
  return { feed, retry };
}
