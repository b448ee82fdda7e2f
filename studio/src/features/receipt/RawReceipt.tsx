/** The bundle a stranger verifies: fetched when opened, shown as the node sent it, with the commands that check it. */

import { useEffect, useState } from "react";

import { type Bundle, type Mix, modelMix, type Receipt, receiptBundle } from "../../shared/api";
import { indentJson, parseExact } from "../../shared/json";
import { type Recomputed, recompute } from "./recompute";

type Raw =
  | { state: "unasked" | "loading" }
  | { state: "failed"; reason: string }
  | { state: "ready"; text: string; shown: string; split: Recomputed | undefined };

export function RawReceipt({ receipt }: { receipt: Receipt }) {
  const [bundle, setBundle] = useState<Raw>({ state: "unasked" });

  async function load() {
    setBundle({ state: "loading" });
    try {
      const text = await receiptBundle(receipt.id);
      // A model that is not on offer any more has no manifest here.
      const mix = receipt.model_name === null ? undefined : await modelMix(receipt.model_name);
      const split = mix === undefined ? undefined : computed(text, mix);
      setBundle({ state: "ready", text, shown: indentJson(text), split });
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
          <Save text={bundle.text} />
          {bundle.split !== undefined && <Split split={bundle.split} />}
          <pre className="bundle" tabIndex={0} role="region" aria-label="Receipt bundle as JSON">
            <code>{bundle.shown}</code>
          </pre>
        </>
      )}
    </details>
  );
}

/** A link that saves `text` as it came; its object URL lives as long as the link. */
function Save({ text }: { text: string }) {
  const [file, setFile] = useState<string>();
  useEffect(() => {
    const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    setFile(url);
    return () => URL.revokeObjectURL(url);
  }, [text]);
  return (
    <p>
      <a href={file} download="receipt.json">
        Save receipt.json
      </a>
    </p>
  );
}

/** What comes out; a bundle that lacks what a split needs comes out otherwise. */
function computed(text: string, mix: Mix): Recomputed {
  try {
    return recompute(parseExact(text) as Bundle, mix);
  } catch (error) {
    return { state: "other", difference: error instanceof Error ? error.message : String(error) };
  }
}

function Split({ split }: { split: Recomputed }) {
  if (split.state === "same")
    return <p role="status">Computed again in this browser: the {split.lines} lines of the split come out the same.</p>;
  return <p role="alert">Computed again in this browser, the split comes out otherwise: {split.difference}.</p>;
}

function commands(receipt: Receipt): string {
  return [
    `openledger receipt show ${receipt.id} --json --api-key-file api.key > receipt.json`,
    `openledger model manifest ${receipt.model_name ?? "MODEL"} > manifest.json`,
    "openledger receipt verify receipt.json --manifest manifest.json",
  ].join("\n");
}
