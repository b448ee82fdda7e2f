/**
 * The whole thread through a client generated from the node's document: from records to a paid claim.
 *
 * Every request and response below has the types of `src/api/schema.d.ts`; the stock client is `openapi-fetch`.
 */

import { readFileSync } from "node:fs";

import createClient from "openapi-fetch";
import { type Hex, keccak256, stringToBytes } from "viem";
import { expect, test } from "vitest";

import type { components, paths } from "../../src/api/schema";
import { recompute } from "../../src/features/receipt/recompute";
import { parseExact } from "../../src/shared/json";
import { Identity } from "./accounts";

type Schemas = components["schemas"];

const url = process.env["OPENLEDGER_URL"] ?? "";
const token = process.env["OPENLEDGER_TOKEN"] ?? "";
const seed = Number(process.env["OPENLEDGER_SEED"] ?? "1");
const OPEN = 10n ** 18n;
const YEAR = 365 * 24 * 3600;

const client = (key: string) =>
  createClient<paths, "application/json">({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });
const operator = client(token);

/** The data of an answer; an error fails the test with what the node said. */
function data<T>({ data, error }: { data?: T; error?: unknown }): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

const rights: Schemas["Rights"] = {
  license: "CC0-1.0",
  purposes: 223,
  attribution: true,
  share_alike: false,
  min_royalty_bps: 0,
};

/** keccak-256 of the terms' canonical JSON: members in the order of their names. */
function termsHash(): Hex {
  const sorted = Object.fromEntries(Object.entries(rights).sort(([a], [b]) => (a < b ? -1 : 1)));
  return keccak256(stringToBytes(JSON.stringify(sorted)));
}

/** Reads a job's events until it ends. */
async function followed(job: number): Promise<Schemas["JobEvent"][]> {
  const response = await fetch(`${url}/api/v1/jobs/${job}/events`, { headers: { Authorization: `Bearer ${token}` } });
  const text = await response.text();
  const lines = text.split("\n").filter((line) => line.startsWith("data:"));
  return lines.map((line) => JSON.parse(line.slice(5)) as Schemas["JobEvent"]);
}

test("a generated client drives the thread from records to a paid claim", async () => {
  const network = data(await operator.GET("/api/v1/network"));
  const at = network.addresses as Record<keyof Schemas["ContractAddresses"], Hex>;
  const who = (name: string) => new Identity(url, network.chain_id, seed, name);
  const [faucet, owner, builder, payer] = [who("faucet"), who("ts-owner"), who("ts-builder"), who("ts-payer")];
  for (const identity of [owner, builder, payer]) await faucet.pay(identity.address, 100n * OPEN);

  // Records: a title on chain, a file, signatures, a version, a grant.
  const created = await owner.call("Datanets", at.datanets, "create", [termsHash(), "openledger:datanet/ts"], {
    event: "DatanetCreated",
  });
  const id = Number(created["datanet"]);
  data(await operator.POST("/api/v1/datanets", { body: { id, name: "ts", description: "", rights } }));
  const sample = readFileSync(new URL("../../../samples/bicycle-repair.jsonl", import.meta.url), "utf8");
  const file = `${sample.split("\n").slice(0, 12).join("\n")}\n`;
  const records = file
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { contributor?: string; contributors?: string[] });
  const names = [...new Set(records.flatMap((record) => record.contributors ?? [record.contributor ?? ""]))];
  const signers = new Map(names.map((name) => [who(name).address, who(name)]));
  data(
    await operator.POST("/api/v1/handles", {
      body: { handles: names.map((name) => ({ name, address: who(name).address })) },
    }),
  );
  const report = data(
    await operator.POST("/api/v1/datanets/{id}/imports", {
      params: { path: { id } },
      body: file,
      bodySerializer: (body) => body,
      headers: { "Content-Type": "application/jsonl" },
    }),
  );
  expect(report.accepted).toBeGreaterThan(0);
  const signatures = await Promise.all(
    report.batches.map(async (batch) => {
      const signer = signers.get(batch.registrant as Hex);
      if (signer === undefined) throw new Error(`${batch.registrant} contributed nothing`);
      return { contribution: batch.contribution, signature: await signer.sign(batch.digest as Hex) };
    }),
  );
  const registered = data(
    await operator.POST("/api/v1/imports/{import}/signatures", {
      params: { path: { import: report.import } },
      body: { signatures },
    }),
  );
  expect(registered.registered.length).toBe(report.batches.length);
  const next = data(await operator.GET("/api/v1/datanets/{id}/next-version", { params: { path: { id } } }));
  const published = data(
    await operator.POST("/api/v1/datanets/{id}/versions", {
      params: { path: { id } },
      body: { signature: await owner.sign(next.digest as Hex) },
    }),
  );
  const grant = {
    datanet: id,
    version: published.version,
    grantee: network.node,
    purposes: 2 | 4 | 16,
    until: Math.floor(Date.now() / 1000) + 40 * YEAR,
    terms: termsHash(),
  };
  const members = [
    "uint64 datanet",
    "uint64 version",
    "address grantee",
    "uint32 purposes",
    "uint64 until",
    "bytes32 terms",
  ].map((member) => {
    const [type = "", name = ""] = member.split(" ");
    return { name, type };
  });
  const signature = await owner.signTyped(at.datanets, "Grant", members, {
    ...grant,
    datanet: BigInt(id),
    version: BigInt(grant.version),
    until: BigInt(grant.until),
  });
  data(await operator.POST("/api/v1/datanets/{id}/grants", { params: { path: { id } }, body: { grant, signature } }));

  // A model: a job, its events, a title on chain, an offer.
  const recipe = { rank: 2, max_steps: 3 };
  const mix = { spans_bps: 5_000, influence_bps: 5_000, retrieval_bps: 0 };
  const order: Schemas["JobOrder"] = {
    kind: "train",
    name: "ts-model",
    datanets: [{ datanet: id, version: published.version }],
    recipe,
    mix,
  };
  const { job } = data(await operator.POST("/api/v1/jobs", { body: order }));
  const events = await followed(job);
  expect(events.map((event) => event.seq)).toEqual(events.map((_, at) => at + 1));
  expect(events.at(-1)).toMatchObject({ type: "state", state: "done" });
  const { result } = data(await operator.GET("/api/v1/jobs/{job}", { params: { path: { job } } }));
  if (result === null) throw new Error("the job has no result");
  const model = {
    weights: result.adapter,
    manifest: result.manifest_hash,
    priceIn: OPEN / 2n,
    priceOut: 2n * OPEN,
    priceFlat: OPEN / 10n,
    parent: 0n,
    platformBps: 1_000,
    modelBps: 2_000,
    stakersBps: 2_000,
    parentBps: 0,
    stakeVault: `0x${"0".repeat(40)}`,
  };
  const title = await builder.call("Models", at.models, "register", [model, "openledger:model/ts"], {
    event: "ModelRegistered",
  });
  data(await operator.POST("/api/v1/models", { body: { id: Number(title["model"]), name: "ts-model", job } }));

  // An answer, paid by a channel.
  const salt = keccak256(stringToBytes("ts channel"));
  const session = data(await operator.POST("/api/v1/channels/keys", { body: { payer: payer.address, salt } }));
  const config = { payer: payer.address, authorizer: session.authorizer, node: network.node, withdraw_delay: 1, salt };
  const deposit = 20n * OPEN;
  await payer.call("WOPEN", at.wopen, "deposit", [], { value: deposit });
  await payer.call("WOPEN", at.wopen, "approve", [at.channels, deposit]);
  const onChain = {
    payer: payer.address,
    payerAuthorizer: session.authorizer,
    node: network.node,
    withdrawDelay: 1n,
    salt,
  };
  await payer.call("Channels", at.channels, "deposit", [onChain, deposit]);
  const channel = data(await operator.POST("/api/v1/channels", { body: { config } }));
  expect(BigInt(channel.deposited)).toBe(deposit);
  const payers = client(channel.api_key);
  const answer = data(
    await payers.POST("/v1/chat/completions", {
      body: {
        model: "ts-model",
        messages: [{ role: "user", content: "What torque does a cassette lockring need?" }],
        max_tokens: 8,
        temperature: 0,
        openledger: { attribution: "full" },
      },
    }),
  );
  const note = answer.openledger;
  if (note === undefined || note === null) throw new Error("the answer has no receipt");
  const path = { id: note.receipt_id };
  const detail = data(await payers.GET("/api/v1/receipts/{id}/detail", { params: { path } }));
  expect(detail.text).toBe(answer.choices[0]?.message.content);
  expect(detail.entries.reduce((sum, entry) => sum + BigInt(entry.amount), 0n)).toBe(BigInt(note.price));
  const bundle = data<string>(await payers.GET("/api/v1/receipts/{id}/bundle", { params: { path }, parseAs: "text" }));
  const manifest = data(
    await operator.GET("/api/v1/models/{name}/manifest", { params: { path: { name: "ts-model" } } }),
  );
  expect(recompute(parseExact(bundle) as Schemas["ReceiptBundle"], manifest.mix).state).toBe("same");
  const open = createClient<paths>({ baseUrl: url });
  expect(data(await open.GET("/api/v1/receipts/{id}", { params: { path } })).price).toBe(note.price);
  expect((await open.GET("/api/v1/receipts/{id}/detail", { params: { path } })).error?.code).toBe("unauthenticated");

  // Settlement, and everybody is paid.
  const settled = data(await operator.POST("/api/v1/epochs"));
  expect(settled.header.receipt_count).toBeGreaterThan(0);
  const { claims } = data(await operator.POST("/api/v1/claims", { body: {} }));
  const number = settled.header.epoch;
  const payouts = data(
    await open.GET("/api/v1/epochs/{number}/payouts", { params: { path: { number }, query: { limit: 500 } } }),
  );
  const owed = payouts.items.reduce((sum, payout) => sum + BigInt(payout.cumulative), 0n);
  expect(owed).toBe(BigInt(settled.header.total));
  expect(claims.length).toBe(payouts.items.length);
  const audit = data(await operator.GET("/api/v1/audit"));
  expect(audit.checks.filter((check) => !check.ok)).toEqual([]);
});
