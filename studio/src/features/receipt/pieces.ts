/**
 * Cuts an answer into pieces: stretches of text that rest on the same spans.
 *
 * Invariant: the pieces' texts, joined, are the answer. Spans may touch and overlap; one whose bytes do not fall on
 * characters of this text is counted, never drawn somewhere else.
 */

import type { Span } from "../../shared/api";
import { byteIndex } from "../../shared/bytes";

export interface Piece {
  text: string;
  /** What the piece rests on; nothing for text of the model's own. */
  spans: Span[];
  /** Those of them that end with it. */
  ending: Span[];
}

export function pieces(answer: string, spans: readonly Span[]): { pieces: Piece[]; misplaced: number } {
  const at = byteIndex(answer);
  const placed = spans.flatMap((span) => {
    const [from, to] = [at(span.start), at(span.end)];
    return from === undefined || to === undefined || from >= to ? [] : [{ from, to, span }];
  });
  const cuts = new Set([0, answer.length, ...placed.flatMap(({ from, to }) => [from, to])]);
  const places = [...cuts].sort((a, b) => a - b);
  const cut = places.slice(1).map((to, before) => {
    const from = places[before] ?? 0;
    const covering = placed.filter((one) => one.from <= from && to <= one.to);
    return {
      text: answer.slice(from, to),
      spans: covering.map(({ span }) => span),
      ending: covering.filter((one) => one.to === to).map(({ span }) => span),
    };
  });
  return { pieces: cut, misplaced: spans.length - placed.length };
}

/** A record as one string: ids are unique within a contribution only. */
export function recordKey(span: Span): string {
  return `${span.contribution}/${span.record}`;
}

/** The number of each record in an answer, from 1 in the order of the text. */
export function numbers(cut: readonly Piece[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const span of cut.flatMap((piece) => piece.spans)) {
    if (!found.has(recordKey(span))) found.set(recordKey(span), found.size + 1);
  }
  return found;
}

/** How much of a record is shown to each side of a span, in characters. */
const CONTEXT = 220;

export interface Quote {
  before: string;
  quoted: string;
  after: string;
}

/** The span within its record's text; all of it is `before` where the span is not found there. A text that the reader may not know is empty. */
export function quote(span: Span): Quote {
  const text = span.text ?? "";
  const at = byteIndex(text);
  const [from, to] = [at(span.record_offset), at(span.record_offset + span.end - span.start)];
  if (from === undefined || to === undefined) return { before: text, quoted: "", after: "" };
  const before = text.slice(0, from);
  const after = text.slice(to);
  return {
    before: before.length > CONTEXT ? `…${before.slice(-CONTEXT)}` : before,
    quoted: text.slice(from, to),
    after: after.length > CONTEXT ? `${after.slice(0, CONTEXT)}…` : after,
  };
}
