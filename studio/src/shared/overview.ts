/**
 * The document the page shows (`GET /api/v1/overview`), read once at the rim.
 *
 * Invariant: past `readOverview` every amount is a `bigint` and every member is there; a document of another shape
 * is refused by the name of the member that is wrong.
 */

import { readAmount } from "./amount";

export interface Network {
  chainId: string;
  node: string;
  base: string;
}

export interface Totals {
  records: number;
  contributors: number;
  receipts: number;
  paidIn: bigint;
  paidOut: bigint;
  claimed: bigint;
}

export interface Datanet {
  id: string;
  name: string;
  version: number;
  records: number;
  root: string | undefined;
}

export interface Contribution {
  id: string;
  datanet: string;
  contributors: string[];
  records: number;
  root: string;
  holder: string | undefined;
  block: number | undefined;
}

export interface Span {
  /** Byte range in the answer's UTF-8. */
  start: number;
  end: number;
  record: string;
  contribution: string;
  contributors: string[];
  /** The record's canonical text, and where in its bytes the span begins. */
  text: string;
  recordOffset: number | undefined;
}

export type Role = "treasury" | "validation" | "insurance" | "owner" | "node" | "stakers" | "contributor" | "parent";

export interface Entry {
  role: Role;
  account: string;
  name: string | undefined;
  contribution: string | undefined;
  amount: bigint;
}

/** λ of each layer in millionths. */
export interface Coverage {
  spans: number;
  influence: number;
  retrieval: number;
}

export interface Receipt {
  id: string;
  model: string | undefined;
  prompt: string | undefined;
  text: string;
  price: bigint;
  coverage: Coverage;
  spans: Span[];
  entries: Entry[];
  epoch: number | undefined;
  time: number;
}

export interface Epoch {
  number: number;
  state: string;
  receipts: number | undefined;
  paid: bigint | undefined;
  total: bigint;
  payoutRoot: string | undefined;
}

export interface Payout {
  account: string;
  name: string | undefined;
  earned: bigint;
  claimed: bigint;
}

export interface Overview {
  network: Network;
  totals: Totals;
  datanets: Datanet[];
  contributions: Contribution[];
  receipts: Receipt[];
  epochs: Epoch[];
  payouts: Payout[];
}

/** A document that is not what `docs/api.md` says, by the member that is wrong. */
export class UnexpectedShape extends Error {
  override name = "UnexpectedShape";
}

/** One member of the document, with the path that led to it. */
class Member {
  constructor(
    private readonly value: unknown,
    private readonly path: string,
  ) {}

  private wrong(wanted: string): UnexpectedShape {
    return new UnexpectedShape(`${this.path || "the document"} should be ${wanted}`);
  }

  get(name: string): Member {
    if (typeof this.value !== "object" || this.value === null || Array.isArray(this.value)) throw this.wrong("an object");
    return new Member((this.value as Record<string, unknown>)[name], this.path === "" ? name : `${this.path}.${name}`);
  }

  list<T>(read: (item: Member) => T): T[] {
    if (!Array.isArray(this.value)) throw this.wrong("a list");
    return this.value.map((item, at) => read(new Member(item, `${this.path}[${at}]`)));
  }

  text(): string {
    if (typeof this.value !== "string") throw this.wrong("a string");
    return this.value;
  }

  /** An id is a number where it is small and a string where it is a hash. */
  id(): string {
    return typeof this.value === "number" ? this.count().toString() : this.text();
  }

  count(): number {
    if (!Number.isSafeInteger(this.value) || (this.value as number) < 0) throw this.wrong("a whole number");
    return this.value as number;
  }

  amount(): bigint {
    try {
      return readAmount(this.value);
    } catch {
      throw this.wrong("an amount: a string of decimal digits");
    }
  }

  optional<T>(read: (member: Member) => T): T | undefined {
    return this.value === undefined || this.value === null ? undefined : read(this);
  }

  one<T extends string>(names: readonly T[]): T {
    const found = names.find((name) => name === this.value);
    if (found === undefined) throw this.wrong(`one of ${names.join(", ")}`);
    return found;
  }
}

const ROLES = ["treasury", "validation", "insurance", "owner", "node", "stakers", "contributor", "parent"] as const;

const text = (member: Member) => member.text();
const count = (member: Member) => member.count();
const amount = (member: Member) => member.amount();
const id = (member: Member) => member.id();

function readSpan(span: Member): Span {
  return {
    start: span.get("start").count(),
    end: span.get("end").count(),
    record: span.get("record").text(),
    contribution: span.get("contribution").id(),
    contributors: span.get("contributors").list(text),
    text: span.get("text").text(),
    recordOffset: span.get("record_offset").optional(count),
  };
}

function readEntry(entry: Member): Entry {
  return {
    role: entry.get("role").one(ROLES),
    account: entry.get("account").text(),
    name: entry.get("name").optional(text),
    contribution: entry.get("contribution").optional(id),
    amount: entry.get("amount").amount(),
  };
}

function readReceipt(receipt: Member): Receipt {
  const coverage = receipt.get("coverage");
  return {
    id: receipt.get("id").text(),
    model: receipt.get("model").optional(text),
    prompt: receipt.get("prompt").optional(text),
    text: receipt.get("text").text(),
    price: receipt.get("price").amount(),
    coverage: {
      spans: coverage.get("spans").count(),
      influence: coverage.get("influence").count(),
      retrieval: coverage.get("retrieval").count(),
    },
    spans: receipt.get("spans").list(readSpan),
    entries: receipt.get("entries").list(readEntry),
    epoch: receipt.get("epoch").optional(count),
    time: receipt.get("time").count(),
  };
}

/** Reads the document, or says which member is wrong. */
export function readOverview(value: unknown): Overview {
  const document = new Member(value, "");
  const network = document.get("network");
  const totals = document.get("totals");
  return {
    network: { chainId: network.get("chain_id").id(), node: network.get("node").text(), base: network.get("base").get("name").text() },
    totals: {
      records: totals.get("records").count(),
      contributors: totals.get("contributors").count(),
      receipts: totals.get("receipts").count(),
      paidIn: totals.get("paid_in").amount(),
      paidOut: totals.get("paid_out").amount(),
      claimed: totals.get("claimed").amount(),
    },
    datanets: document.get("datanets").list((datanet) => ({
      id: datanet.get("id").id(),
      name: datanet.get("name").text(),
      version: datanet.get("version").optional(count) ?? 0,
      records: datanet.get("records").count(),
      root: datanet.get("root").optional(text),
    })),
    contributions: document.get("contributions").list((contribution) => ({
      id: contribution.get("id").id(),
      datanet: contribution.get("datanet").id(),
      contributors: contribution.get("contributors").list(text),
      records: contribution.get("records").count(),
      root: contribution.get("root").text(),
      holder: contribution.get("holder").optional(text),
      block: contribution.get("block").optional(count),
    })),
    receipts: document.get("receipts").list(readReceipt),
    epochs: document.get("epochs").list((epoch) => ({
      number: epoch.get("number").count(),
      state: epoch.get("state").text(),
      receipts: epoch.get("receipts").optional(count),
      paid: epoch.get("entries_total").optional(amount),
      total: epoch.get("total").amount(),
      payoutRoot: epoch.get("payout_root").optional(text),
    })),
    payouts: document.get("payouts").list((payout) => ({
      account: payout.get("account").text(),
      name: payout.get("name").optional(text),
      earned: payout.get("cumulative").amount(),
      claimed: payout.get("claimed").amount(),
    })),
  };
}
