/**
 * An answer with what it rests on: spans are marked in the text, and the chosen one's records stand beside it.
 *
 * A span is chosen by pointing, by focus, or by `[` and `]`. Where it ends stands its number, so colour is not needed.
 */

import { type KeyboardEvent, useMemo, useRef, useState } from "react";
import type { ReceiptDetail, Span } from "../../shared/api";
import { ContributorName } from "../../shared/ContributorName";
import { useHue } from "../../shared/colours";
import { numbers, type Piece, pieces, quote, recordKey } from "./pieces";

export function Answer({ detail }: { detail: ReceiptDetail }) {
  const { pieces: cut, misplaced } = useMemo(() => pieces(detail.text, detail.spans), [detail.text, detail.spans]);
  const numbered = useMemo(() => numbers(cut), [cut]);
  const marked = cut.flatMap((piece, at) => (piece.spans.length > 0 ? [at] : []));
  const [picked, setPicked] = useState<number | undefined>();
  const chosen = picked !== undefined && marked.includes(picked) ? picked : marked[0];
  const text = useRef<HTMLParagraphElement>(null);

  /** `[` and `]` walk the marks and stop at the ends. */
  function walk(event: KeyboardEvent) {
    const step = event.key === "]" ? 1 : event.key === "[" ? -1 : 0;
    if (step === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const marks = [...(text.current?.querySelectorAll<HTMLElement>("mark") ?? [])];
    marks[marks.indexOf(event.target as HTMLElement) + step]?.focus();
  }

  const sourcesId = `sources-${detail.id}`;
  return (
    <div className="answer">
      <p ref={text} className="answer-text" dir="auto" onKeyDown={walk}>
        {cut.map((piece, at) =>
          piece.spans.length === 0 ? (
            <span key={at}>{piece.text}</span>
          ) : (
            <Mark
              key={at}
              piece={piece}
              numbered={numbered}
              chosen={at === chosen}
              kin={chosen !== undefined && related(piece, cut[chosen])}
              sourcesId={sourcesId}
              choose={() => setPicked(at)}
            />
          ),
        )}
      </p>
      <div
        id={sourcesId}
        className="sources"
        role="group"
        aria-live="polite"
        aria-label="What the chosen words rest on"
      >
        {chosen === undefined ? (
          <p className="note">
            No words of this answer stand verbatim in a record. Its contributors are paid by influence and training
            weight.
          </p>
        ) : (
          cut[chosen]?.spans.map((span) => (
            <Source key={recordKey(span)} span={span} number={numbered.get(recordKey(span))} />
          ))
        )}
        {misplaced > 0 && <p className="note">{misplaced} span(s) do not fit this text and are not drawn.</p>}
      </div>
    </div>
  );
}

/** Overlaps cut a span into several pieces; they belong together still. */
function related(piece: Piece, other: Piece | undefined): boolean {
  return piece.spans.some((span) => other?.spans.includes(span));
}

interface MarkProps {
  piece: Piece;
  numbered: ReadonlyMap<string, number>;
  chosen: boolean;
  /** Part of a span that the chosen piece is a part of, too. */
  kin: boolean;
  sourcesId: string;
  choose: () => void;
}

function Mark({ piece, numbered, chosen, kin, sourcesId, choose }: MarkProps) {
  const hue = useHue(piece.spans[0]?.contributors[0]);
  const all = [...new Set(piece.spans.map((span) => numbered.get(recordKey(span))))];
  const ending = [...new Set(piece.ending.map((span) => numbered.get(recordKey(span))))];
  const words = piece.text.trimEnd();
  return (
    <mark
      role="button"
      tabIndex={0}
      data-hue={hue}
      data-kin={kin}
      aria-pressed={chosen}
      aria-controls={sourcesId}
      onFocus={choose}
      onMouseMove={(event) => {
        // A page that scrolls under a resting pointer must not take the choice from the keyboard.
        if (event.movementX !== 0 || event.movementY !== 0) choose();
      }}
      onClick={(event) => event.currentTarget.focus()}
      onKeyDown={(event) => {
        if (event.key === "Enter" || event.key === " ") event.preventDefault();
      }}
    >
      {words}
      <span className="unseen"> (record {all.join(", ")})</span>
      {ending.length > 0 && <sup aria-hidden="true">{ending.join(",")}</sup>}
      {piece.text.slice(words.length)}
    </mark>
  );
}

function Source({ span, number }: { span: Span; number: number | undefined }) {
  const hue = useHue(span.contributors[0]);
  const { before, quoted, after } = quote(span);
  return (
    <figure className="source" data-hue={hue}>
      <figcaption>
        <span className="number">{number}</span>
        <ContributorName names={span.contributors} />
        <code className="record">
          <bdi>{span.record}</bdi>
        </code>
      </figcaption>
      <blockquote dir="auto">
        {before}
        {quoted !== "" && <strong>{quoted}</strong>}
        {after}
      </blockquote>
    </figure>
  );
}
