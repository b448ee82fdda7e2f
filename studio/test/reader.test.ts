/** The page's address: the reader's key, what the page asks for with it, and a linked receipt. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { type Arrival, arrive, hold } from "../src/features/receipt/linked";
import { NodeUnreachable, type ReceiptDetail } from "../src/shared/api";
import { type Failures, failedOnce, nextDetail } from "../src/shared/details";
import { forgetKey, storedKey, takeKey } from "../src/shared/key";

let kept: Map<string, string>;
let address: string;

/** A tab whose address ends with `hash`. */
function open(hash: string) {
  address = `/page?a=1${hash}`;
  vi.stubGlobal("location", { hash, pathname: "/page", search: "?a=1" });
}

beforeEach(() => {
  kept = new Map();
  vi.stubGlobal("sessionStorage", {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => kept.set(name, value),
    removeItem: (name: string) => kept.delete(name),
  });
  vi.stubGlobal("history", {
    replaceState: (_state: unknown, _title: string, to: string) => {
      address = to;
    },
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

test("a key is kept for the tab and leaves the address", () => {
  open("#key=olk_a%2Fb");
  expect(takeKey()).toBe(true);
  expect([storedKey(), address]).toEqual(["olk_a/b", "/page?a=1"]);
});

test("what cannot be a key leaves the address too and is not kept", () => {
  for (const given of ["%", "%zz", "", "two%20words", "%C3%A9", "line%0Aend"]) {
    open(`#key=${given}`);
    expect(takeKey(), given).toBe(false);
    expect([storedKey(), address], given).toEqual([undefined, "/page?a=1"]);
  }
});

test("a key that is forgotten is sent no more", () => {
  open("#key=wrong");
  expect(takeKey()).toBe(true);
  forgetKey();
  expect(storedKey()).toBeUndefined();
});

test("another fragment stays in the address", () => {
  open("#answers");
  expect(takeKey()).toBe(false);
  expect(address).toBe("/page?a=1#answers");
});

test("the page goes to the receipt that its address names, until the reader scrolls on", () => {
  const replace = vi.fn();
  let above = 700;
  const scrollIntoView = () => vi.stubGlobal("scrollY", above);
  vi.stubGlobal("document", { getElementById: (id: string) => (id === "receipt-0xbb" ? { scrollIntoView } : null) });
  const open = (hash: string) => {
    vi.stubGlobal("location", { hash, replace });
    return arrive(["0xaa", "0xbb"]);
  };
  for (const hash of ["", "#answers", "#receipt-0xcc", "#receipt-0xb"]) expect(open(hash)).toBeUndefined();
  expect(replace).not.toHaveBeenCalled();

  const arrived = open("#receipt-0xbb");
  expect(replace.mock.calls).toEqual([["#receipt-0xbb"]]);
  expect(arrived).toEqual({ anchor: "receipt-0xbb", top: 700 });
  above = 900;
  const held = hold(arrived as Arrival);
  expect(held.top).toBe(900);
  vi.stubGlobal("scrollY", 0);
  expect(hold(held)).toBe(held);
});

test("a receipt that the node refuses is not asked for again, one that failed otherwise is", () => {
  const none: Failures = new Map();
  for (const status of [401, 403, 404]) {
    const failures = failedOnce(none, "a", new NodeUnreachable("no", status));
    expect(nextDetail(["a"], new Map(), failures), `${status}`).toBeUndefined();
  }
  for (const reason of [new NodeUnreachable("late"), new NodeUnreachable("busy", 503), new TypeError("a defect")]) {
    expect(nextDetail(["a"], new Map(), failedOnce(none, "a", reason)), `${reason}`).toBe("a");
  }
});

test("receipts that failed wait for those that did not", () => {
  const late = new NodeUnreachable("late");
  const once = failedOnce(new Map(), "a", late);
  expect(nextDetail(["a", "b"], new Map(), once)).toBe("b");
  expect(nextDetail(["a", "b"], new Map([["b", {} as ReceiptDetail]]), once)).toBe("a");
  expect(nextDetail(["a", "b"], new Map(), failedOnce(failedOnce(once, "b", late), "b", late))).toBe("a");
});

test("an error carries the status of the node's answer", async () => {
  const problem = { status: 403, code: "forbidden", detail: "not yours" };
  const answer = (status: number) => new Response(JSON.stringify(problem), { status });
  // A browser completes the page's relative addresses.
  const Whole = class extends Request {
    constructor(input: string, init?: RequestInit) {
      super(new URL(input, "http://node.example"), init);
    }
  };
  vi.stubGlobal("Request", Whole);
  vi.resetModules();
  const { receiptDetail } = await import("../src/shared/api");
  const failure = (status: number | undefined) => {
    vi.stubGlobal("fetch", async () => {
      if (status === undefined) throw new TypeError("no connection");
      return answer(status);
    });
    return receiptDetail("0x1", new AbortController().signal).catch((error: unknown) => error);
  };
  expect(await failure(403)).toMatchObject({
    status: 403,
    isFinal: true,
    message: expect.stringContaining("not yours"),
  });
  expect(await failure(503)).toMatchObject({ status: 503, isFinal: false });
  expect(await failure(undefined)).toMatchObject({ status: undefined, isFinal: false });
});
