/**
 * What the page asks the node that serves it. Reads only: a call that moves money is not here.
 *
 * The types come from `docs/openapi.json` (`npm run api` writes `src/api/schema.d.ts`).
 */

import createClient, { type Middleware } from "openapi-fetch";

import type { components, paths } from "../api/schema";
import { forgetKey, storedKey } from "./key";

type Schemas = components["schemas"];
export type Overview = Schemas["Overview"];
export type Totals = Schemas["Totals"];
export type Datanet = Schemas["DatanetView"];
export type Contribution = Schemas["ContributionView"];
export type Receipt = Schemas["ReceiptView"];
export type ReceiptDetail = Schemas["ReceiptDetail"];
export type RoleSum = Schemas["RoleSum"];
export type Span = Schemas["ReceiptSpan"];
export type Entry = Schemas["SplitLine"];
export type Role = Schemas["PayeeRole"];
export type Coverage = Schemas["Coverage"];
export type Epoch = Schemas["EpochView"];
export type Payout = Schemas["PayoutView"];
/** A bundle as `parseExact` reads it: numbers of 16 digits or more are strings. */
export type Bundle = Schemas["ReceiptBundle"];
export type Mix = Schemas["Mix"];
/** The governed numbers. Shares are in basis points. */
export type Params = Schemas["Params"];
type Problem = Schemas["Problem"];

/** The node did not answer as it should; the message is for people. */
export class NodeUnreachable extends Error {
  override name = "NodeUnreachable";
  /** The status of the answer; nothing where there was none. */
  readonly status: number | undefined;

  constructor(message: string, status?: number, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }

  /** Whether the answer stays the same for this reader: no access, or no such thing. */
  get isFinal(): boolean {
    return this.status === 401 || this.status === 403 || this.status === 404;
  }
}

/** An answer that takes longer counts as none, in milliseconds. */
const PATIENCE = 10_000;

async function patient(request: Request): Promise<Response> {
  const late = AbortSignal.timeout(PATIENCE);
  try {
    return await fetch(request, { signal: AbortSignal.any([request.signal, late]) });
  } catch (cause) {
    const message = late.aborted ? "The node did not answer in time." : "The node cannot be reached.";
    throw new NodeUnreachable(message, undefined, { cause });
  }
}

const withKey: Middleware = {
  onRequest({ request }) {
    const key = storedKey();
    if (key !== undefined) request.headers.set("Authorization", `Bearer ${key}`);
    return request;
  },
  onResponse({ response }) {
    if (response.status === 401) forgetKey();
  },
};

const client = createClient<paths>({ fetch: patient });
client.use(withKey);

interface Answer<T> {
  data?: T;
  error?: Problem;
  response: Response;
}

/** The data of an answer; an error is the problem's detail. */
function data<T>({ data, error, response }: Answer<T>): T {
  if (data !== undefined) return data;
  const detail = typeof error?.detail === "string" ? `: ${error.detail}` : "";
  throw new NodeUnreachable(`The node answered ${response.status}${detail}.`, response.status);
}

export async function overview(signal: AbortSignal): Promise<Overview> {
  return data(await client.GET("/api/v1/overview", { signal }));
}

export async function receiptDetail(id: string, signal: AbortSignal): Promise<ReceiptDetail> {
  return data(await client.GET("/api/v1/receipts/{id}/detail", { params: { path: { id } }, signal }));
}

/** How the contributors' line of a model's answers is divided, by its manifest. */
export async function modelMix(name: string): Promise<Mix> {
  return data(await client.GET("/api/v1/models/{name}/manifest", { params: { path: { name } } })).mix;
}

/** A receipt's bundle as the node sent it: text, since its numbers may exceed what a `number` holds. */
export async function receiptBundle(id: string): Promise<string> {
  return data<string>(await client.GET("/api/v1/receipts/{id}/bundle", { params: { path: { id } }, parseAs: "text" }));
}
