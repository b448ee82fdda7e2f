/** A part of a whole as a percentage, drawn the same everywhere. */

/** `bps` in basis points; tenths of a percent are shown, rounded down. */
export function Share({ bps }: { bps: number }) {
  const tenths = Math.floor(bps / 10);
  return <span className="share">{`${Math.floor(tenths / 10)}.${tenths % 10} %`}</span>;
}

/** How full something is, as a bar; the figure stands beside it, so the bar itself is silent. */
export function Meter({ bps, hue }: { bps: number; hue?: number | undefined }) {
  return (
    <span className="meter" aria-hidden="true" data-hue={hue}>
      <span style={{ width: `${Math.min(bps, 10_000) / 100}%` }} />
    </span>
  );
}
