/** The bundle a stranger verifies: fetched when opened, shown as the node sent it, with the commands that check it. */

import { useState } from "react";

import { receiptBundle, receiptPath } from "../../shared/api";
import { indentJson } from "../../shared/json";
import type { Receipt } from "../../shared/overview";

type Bundle = { state: "unasked" | "loading" } | { state: "failed"; reason: string } | { state: "ready"; text: string };

export function RawReceipt({ receipt }: { receipt: Receipt }) {
  const [bundle, setBundle] = useState<Bundle>({ state: "unasked" });

  async function load() {
    setBundle({ state: "loading" });
    try {
      setBundle({ state: "ready", text: indentJson(await receiptBundle(receipt.id)) });
    } catch (error) {
      setBundle({ state: "failed", reason: error instanceof Error ? error.message : String(error) });
    }
  }

  return (
    <details
      className="raw"
      onToggle={(event) => {
        if (event.currentTarget.open && bundle.state === "unasked") void load();
      }}
    >
      <summary>Receipt as signed, and how to check it</summary>
      <p>Anyone can compute all of it again, without this node:</p>
      <pre className="commands">
        <code>{commands(receipt)}</code>
      </pre>
      {bundle.state === "loading" && <p role="status">Loading…</p>}
      {bundle.state === "failed" && (
        <p role="alert">
          {bundle.reason}{" "}
          <button type="button" onClick={() => void load()}>
            Ask again
          </button>
        </p>
      )}
      {bundle.state === "ready" && (
        <>
          <p>
            <a href={`/api/v1/${receiptPath(receipt.id)}`} download="receipt.json">
              Save receipt.json
            </a>
          </p>
          <pre className="bundle" tabIndex={0} role="region" aria-label="Receipt bundle as JSON">
            <code>{bundle.text}</code>
          </pre>
        </>
      )}
    </details>
  );
}

function commands(receipt: Receipt): string {
  return [
    `openledger receipt show ${receipt.id} --json > receipt.json`,
    `openledger model manifest ${receipt.model ?? "MODEL"} > manifest.json`,
    "openledger receipt verify receipt.json --manifest manifest.json",
  ].join("\n");
}
