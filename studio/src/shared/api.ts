/** What the page asks the node that serves it. Reads only: whatever moves money needs a key and is not here. */

import { type Overview, readOverview } from "./overview";

/** The node did not answer as it should; the message is for people. */
export class NodeUnreachable extends Error {
  override name = "NodeUnreachable";
}

/** An answer that takes longer counts as none, in milliseconds. */
const PATIENCE = 10_000;

async function get(path: string, signal?: AbortSignal): Promise<string> {
  const late = AbortSignal.timeout(PATIENCE);
  let response: Response;
  try {
    response = await fetch(`/api/v1/${path}`, {
      headers: { Accept: "application/json" },
      signal: signal === undefined ? late : AbortSignal.any([signal, late]),
    });
  } catch (cause) {
    throw new NodeUnreachable(late.aborted ? "The node did not answer in time." : "The node cannot be reached.", { cause });
  }
  const body = await response.text();
  if (!response.ok) throw new NodeUnreachable(`The node answered ${response.status}${problem(body)}.`);
  return body;
}

/** The detail of a `problem+json` body, where it is one. */
function problem(body: string): string {
  try {
    const detail: unknown = (JSON.parse(body) as { detail?: unknown }).detail;
    return typeof detail === "string" ? `: ${detail}` : "";
  } catch {
    return "";
  }
}

export async function overview(signal: AbortSignal): Promise<Overview> {
  return readOverview(JSON.parse(await get("overview", signal)));
}

/** The address of a receipt's bundle, for reading and for saving. */
export function receiptPath(id: string): string {
  return `receipts/${encodeURIComponent(id)}`;
}

/** A receipt's bundle as the node sent it: text, since its numbers may exceed what a `number` holds. */
export async function receiptBundle(id: string): Promise<string> {
  return get(receiptPath(id));
}
