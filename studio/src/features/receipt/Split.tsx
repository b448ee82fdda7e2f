/** How a price was split: one bar, and the amounts behind it. The bar is a picture of the list below it. */

import { Amount } from "../../shared/Amount";
import { basisPoints, readAmount } from "../../shared/amount";
import type { Contribution, Receipt } from "../../shared/api";
import { ContributorName } from "../../shared/ContributorName";
import { useHue } from "../../shared/colours";
import { useDetail } from "../../shared/details";
import { useFirst } from "../../shared/first";
import { Share } from "../../shared/Share";
import { type Line, type Part, parts, publicParts } from "./parts";

/** How many lines of a part are shown before anyone asks for more. */
const FIRST = 4;

export function Split({ receipt, contributions }: { receipt: Receipt; contributions: readonly Contribution[] }) {
  const detail = useDetail(receipt.id);
  const split = detail === undefined ? publicParts(receipt.split) : parts(detail.entries, contributions);
  const price = readAmount(receipt.price);
  return (
    <div className="split">
      <div className="bar" aria-hidden="true">
        {split.map((part) =>
          part.name === "contributors"
            ? part.lines.map((line) => <Segment key={line.key} line={line} price={price} />)
            : part.amount > 0n && (
                <span key={part.name} data-part={part.name} style={{ flexGrow: basisPoints(part.amount, price) }} />
              ),
        )}
      </div>
      <ul className="parts" aria-label="Split of the price">
        {split.map((part) => (
          <PartItem key={part.name} part={part} price={price} />
        ))}
      </ul>
    </div>
  );
}

function Segment({ line, price }: { line: Line; price: bigint }) {
  const hue = useHue(line.names[0]);
  return (
    <span data-part="contributors" data-hue={hue} style={{ flexGrow: Math.max(1, basisPoints(line.amount, price)) }} />
  );
}

function PartItem({ part, price }: { part: Part; price: bigint }) {
  const { shown, more } = useFirst(part.lines, FIRST, `lines of ${part.name}`);
  return (
    <li data-part={part.name}>
      <div className="part">
        <i className="key" data-part={part.name} aria-hidden="true" />
        <span className="part-name">{part.name}</span>
        <Share bps={basisPoints(part.amount, price)} />
        <Amount units={part.amount} />
      </div>
      {part.name === "stakers" && part.amount === 0n && price > 0n && (
        <p className="lines note">Nobody has staked: their part goes to insurance.</p>
      )}
      {(part.name === "contributors" || part.lines.length > 1) && (
        <ul className="lines">
          {shown.map((line) => (
            <li key={line.key}>
              {line.contributor ? <ContributorName names={line.names} /> : <span>{line.names.join(", ")}</span>}
              <Amount units={line.amount} />
            </li>
          ))}
          {more !== null && <li>{more}</li>}
        </ul>
      )}
    </li>
  );
}
