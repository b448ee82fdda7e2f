/** An amount of OPEN, drawn the same everywhere: short to read, exact in its title and value. */

import { exactOpen, shownOpen } from "./amount";

export function Amount({ units }: { units: bigint }) {
  return (
    <data className="amount" value={units.toString()} title={`${exactOpen(units)} OPEN`}>
      {shownOpen(units)}
      <span className="unit"> OPEN</span>
    </data>
  );
}
