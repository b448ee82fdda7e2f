/**
 * Amounts of OPEN: read from decimal strings, kept as `bigint` base units, written for people.
 *
 * Invariant: no amount is ever a `number`; a view rounds down and keeps the exact value beside it.
 */

/** Base units of one OPEN. */
const UNIT = 10n ** 18n;

/** Reads base units from the API's decimal string; anything else is refused, a number too. */
export function readAmount(value: unknown): bigint {
  if (typeof value !== "string" || !/^(0|[1-9]\d{0,38})$/.test(value)) {
    throw new TypeError(`an amount is a string of decimal digits, not ${JSON.stringify(value)}`);
  }
  return BigInt(value);
}

/** All decimals of an amount, in OPEN, without trailing zeros. */
export function exactOpen(units: bigint): string {
  const fraction = (units % UNIT).toString().padStart(18, "0").replace(/0+$/, "");
  return fraction === "" ? (units / UNIT).toString() : `${units / UNIT}.${fraction}`;
}

/** An amount in OPEN for reading: grouped, rounded down to `digits` decimals; what is smaller says so. */
export function shownOpen(units: bigint, digits = 4): string {
  const [whole = "0", fraction = ""] = exactOpen(units).split(".");
  const kept = fraction.slice(0, digits).replace(/0+$/, "");
  if (whole === "0" && kept === "" && units > 0n) return `<0.${"0".repeat(digits - 1)}1`;
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return kept === "" ? grouped : `${grouped}.${kept}`;
}

/**
 * `part` of `whole` in basis points, to the nearest; zero of nothing, and all only where it is all.
 * For widths and percentages, not for money.
 */
export function basisPoints(part: bigint, whole: bigint): number {
  if (whole === 0n) return 0;
  const nearest = Number((part * 10_000n + whole / 2n) / whole);
  return part < whole ? Math.min(nearest, 9_999) : nearest;
}

/** The sum of amounts. */
export function total(amounts: Iterable<bigint>): bigint {
  let sum = 0n;
  for (const amount of amounts) sum += amount;
  return sum;
}
