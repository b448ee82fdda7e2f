/** cast, as it comes, against the embedded chain. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { privateKeyToAddress } from "viem/accounts";

import { BYTECODE, demoKey, start } from "./network.mjs";

const run = promisify(execFile);
/** The native file of the pinned package; there is none for some machines. */
const program = (() => {
  try {
    return createRequire(import.meta.url).resolve("@foundry-rs/cast-linux-amd64/bin/cast");
  } catch {
    return undefined;
  }
})();
const skip = program === undefined && "no cast for this platform";
const faucet = privateKeyToAddress(demoKey("faucet"));
const stranger = privateKeyToAddress(demoKey("night-desk"));
let network, wopen;

/** What cast printed, its own way of telling large numbers (`700 [7e2]`) left out. */
async function cast(...given) {
  const { stdout } = await run(program, given, { timeout: 60_000, env: { ...process.env, ETH_RPC_URL: network.http } });
  return stdout.trim().replace(/ \[[^\]]*\]$/, "");
}

async function send(...given) {
  return JSON.parse(await cast("send", "--json", "--private-key", demoKey("faucet"), ...given));
}

before(async () => {
  if (program !== undefined) network = await start();
});

after(() => network?.stop());

test("an EIP-1559 transfer moves what it says", { skip }, async () => {
  const earlier = BigInt(await cast("balance", stranger));
  const receipt = await send(stranger, "--value", "2ether");
  assert.equal(BigInt(receipt.status), 1n);
  assert.equal(BigInt(receipt.type), 2n);
  assert.equal(BigInt(await cast("balance", stranger)), earlier + 2n * 10n ** 18n);
});

test("a contract is deployed, called, and its logs are found", { skip }, async () => {
  wopen = (await send("--create", BYTECODE)).contractAddress;
  const wrapped = await send(wopen, "deposit()", "--value", "700");
  assert.equal(await cast("call", wopen, "balanceOf(address)(uint256)", faucet), "700");
  const logs = JSON.parse(await cast("logs", "--json", "--from-block", "0", "--address", wopen, "Deposit(address indexed,uint256)"));
  assert.deepEqual(logs.map((log) => log.transactionHash), [wrapped.transactionHash]);
});

test("what a contract refuses comes back with its own error", { skip }, async () => {
  const selector = (await run(program, ["sig", "ERC20InsufficientBalance(address,uint256,uint256)"])).stdout.trim();
  await assert.rejects(cast("call", wopen, "transfer(address,uint256)(bool)", faucet, "1", "--from", stranger), (error) => {
    assert.match(error.stderr, new RegExp(`ERC20InsufficientBalance|${selector}`));
    return true;
  });
});

test("a permit signed as typed data is accepted on chain", { skip }, async () => {
  const chainId = Number(await cast("chain-id"));
  const field = (text) => ({ name: text.split(":")[0], type: text.split(":")[1] });
  const typed = {
    domain: { name: "Wrapped OPEN", version: "1", chainId, verifyingContract: wopen },
    types: {
      EIP712Domain: ["name:string", "version:string", "chainId:uint256", "verifyingContract:address"].map(field),
      Permit: ["owner:address", "spender:address", "value:uint256", "nonce:uint256", "deadline:uint256"].map(field),
    },
    primaryType: "Permit",
    message: { owner: faucet, spender: stranger, value: 25, nonce: 0, deadline: 2 ** 40 },
  };
  const signature = (await run(program, ["wallet", "sign", "--private-key", demoKey("faucet"), "--data", JSON.stringify(typed)])).stdout.trim();
  const [r, s, v] = [signature.slice(0, 66), `0x${signature.slice(66, 130)}`, `0x${signature.slice(130)}`];
  await send(wopen, "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", faucet, stranger, "25", String(2 ** 40), String(Number(v)), r, s);
  assert.equal(await cast("call", wopen, "allowance(address,address)(uint256)", faucet, stranger), "25");
});

test("fee history, account proofs and call traces have the shapes a client reads", { skip }, async () => {
  const history = JSON.parse(await cast("rpc", "eth_feeHistory", "0x3", "latest", "[50]"));
  assert.equal(history.baseFeePerGas.length, history.gasUsedRatio.length + 1);
  const proof = JSON.parse(await cast("proof", wopen, `0x${"0".repeat(63)}2`));
  assert.equal(BigInt(proof.storageProof[0].value), 700n);
  const burnt = await send(wopen, "withdraw(uint256)", "1");
  const trace = JSON.parse(await cast("rpc", "debug_traceTransaction", burnt.transactionHash, '{"tracer":"callTracer"}'));
  assert.equal(BigInt(trace.calls[0].value), 1n, "the coin that was sent back");
});
