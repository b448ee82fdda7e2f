/** Epochs, newest first: how many receipts each closed, what it paid, and whether it can still be challenged. */

import { Amount } from "../../shared/Amount";
import { readAmount } from "../../shared/amount";
import type { Epoch } from "../../shared/api";
import { Hash } from "../../shared/Hash";

export function Epochs({ epochs }: { epochs: readonly Epoch[] }) {
  const newest = [...epochs].sort((a, b) => b.number - a.number);
  return (
    <table>
      <caption className="unseen">Epochs, newest first</caption>
      <thead>
        <tr>
          <th scope="col">Epoch</th>
          <th scope="col">State</th>
          <th scope="col" className="figure">
            Receipts
          </th>
          <th scope="col" className="figure">
            Paid
          </th>
          <th scope="col">Payout root</th>
        </tr>
      </thead>
      <tbody>
        {newest.map((epoch) => (
          <tr key={epoch.number}>
            <th scope="row" data-label="Epoch">
              {epoch.number}
            </th>
            <td data-label="State">
              <span className="state" data-state={epoch.state}>
                {epoch.state}
              </span>
            </td>
            <td data-label="Receipts" className="figure">
              {epoch.receipts}
            </td>
            <td data-label="Paid" className="figure">
              <Amount units={readAmount(epoch.entries_total)} />
            </td>
            <td data-label="Payout root">
              <Hash value={epoch.payout_root} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
