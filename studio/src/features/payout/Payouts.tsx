/** Who earned what since genesis, most first, and how much of it was claimed. */

import { Amount } from "../../shared/Amount";
import { basisPoints, readAmount } from "../../shared/amount";
import type { Payout } from "../../shared/api";
import { ContributorName } from "../../shared/ContributorName";
import { useHue } from "../../shared/colours";
import { useFirst } from "../../shared/first";
import { Hash } from "../../shared/Hash";
import { Meter, Share } from "../../shared/Share";

/** How many are shown before anyone asks for more. */
const FIRST = 10;

export function Payouts({ payouts }: { payouts: readonly Payout[] }) {
  const { shown, more } = useFirst(payouts, FIRST, "payouts");
  const most = payouts.reduce(
    (most, { cumulative }) => (readAmount(cumulative) > most ? readAmount(cumulative) : most),
    0n,
  );
  return (
    <>
      <table>
        <caption className="unseen">Payouts, most first</caption>
        <thead>
          <tr>
            <th scope="col">Who</th>
            <th scope="col" className="figure">
              Earned
            </th>
            <td className="wide" aria-hidden="true" />
            <th scope="col" className="figure">
              Claimed
            </th>
            <th scope="col" className="figure">
              Of it
            </th>
          </tr>
        </thead>
        <tbody>
          {shown.map((payout) => (
            <Row key={payout.account} payout={payout} most={most} />
          ))}
        </tbody>
      </table>
      {more}
    </>
  );
}

function Row({ payout, most }: { payout: Payout; most: bigint }) {
  const [earned, claimed] = [readAmount(payout.cumulative), readAmount(payout.claimed)];
  const names = payout.name?.split(" & ");
  const hue = useHue(names?.[0]);
  return (
    <tr>
      <th scope="row">{names === undefined ? <Hash value={payout.account} /> : <ContributorName names={names} />}</th>
      <td data-label="Earned" className="figure">
        <Amount units={earned} />
      </td>
      <td className="wide" aria-hidden="true">
        <Meter bps={basisPoints(earned, most)} hue={hue} />
      </td>
      <td data-label="Claimed" className="figure">
        <Amount units={claimed} />
      </td>
      <td data-label="Of it" className="figure">
        <Share bps={basisPoints(claimed, earned)} />
      </td>
    </tr>
  );
}
