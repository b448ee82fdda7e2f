import { expect, test } from "vitest";

import { basisPoints, exactOpen, readAmount, shownOpen } from "../src/shared/amount";

test("an amount is read from decimal digits only", () => {
  expect(readAmount("340282366920938463463374607431768211455")).toBe(340282366920938463463374607431768211455n);
  for (const wrong of [1, "1.5", "-1", "", "01", "0x10", " 1", null, undefined, "1e3"]) {
    expect(() => readAmount(wrong), String(wrong)).toThrow(TypeError);
  }
});

test("all eighteen decimals of an amount are kept", () => {
  expect(exactOpen(1n)).toBe("0.000000000000000001");
  expect(exactOpen(1_500_000_000_000_000_000n)).toBe("1.5");
  expect(exactOpen(10n ** 27n)).toBe("1000000000");
});

test("a shown amount is grouped and rounded down, and never shows zero for something", () => {
  expect(shownOpen(1_234_567_999_990_000_000_000_000n)).toBe("1,234,567.9999");
  expect(shownOpen(1n)).toBe("<0.0001");
  expect(shownOpen(0n)).toBe("0");
  expect(shownOpen(10n ** 18n + 1n)).toBe("1");
});

test("a share of nothing is none, shares are to the nearest, and only all is all", () => {
  expect(basisPoints(1n, 0n)).toBe(0);
  expect(basisPoints(2n, 3n)).toBe(6_667);
  expect(basisPoints(10n ** 27n / 2n - 1n, 10n ** 27n)).toBe(5_000);
  expect(basisPoints(10n ** 27n - 1n, 10n ** 27n)).toBe(9_999);
  expect(basisPoints(7n, 7n)).toBe(10_000);
});
