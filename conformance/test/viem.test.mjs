/** viem, as it comes, against the embedded chain. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { BaseError, ContractFunctionRevertedError, createPublicClient, createWalletClient, defineChain, http, parseEther, parseSignature, webSocket } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";

import { BYTECODE, demoKey, start, WOPEN } from "./network.mjs";

const abi = WOPEN.abi;
const faucet = privateKeyToAccount(demoKey("faucet"));
const stranger = privateKeyToAccount(generatePrivateKey());
let network, client, wallet, listener, wopen;

before(async () => {
  network = await start();
  const id = await createPublicClient({ transport: http(network.http) }).getChainId();
  const chain = defineChain({ id, name: "OpenLedger", nativeCurrency: { name: "OPEN", symbol: "OPEN", decimals: 18 }, rpcUrls: { default: { http: [network.http] } } });
  client = createPublicClient({ chain, transport: http(), pollingInterval: 50 });
  wallet = createWalletClient({ chain, transport: http(), account: faucet });
  listener = createPublicClient({ chain, transport: webSocket(network.socket) });
});

after(async () => {
  await listener?.transport.getRpcClient().then((socket) => socket.close());
  await network?.stop();
});

const mined = async (hash) => {
  const receipt = await client.waitForTransactionReceipt({ hash });
  assert.equal(receipt.status, "success");
  return receipt;
};

test("an EIP-1559 transfer moves what it says and costs what its receipt says", async () => {
  const earlier = await client.getBalance({ address: faucet.address });
  const receipt = await mined(await wallet.sendTransaction({ to: stranger.address, value: parseEther("2") }));
  assert.equal(receipt.type, "eip1559");
  assert.equal(await client.getBalance({ address: stranger.address }), parseEther("2"));
  const fee = receipt.gasUsed * receipt.effectiveGasPrice;
  assert.equal(await client.getBalance({ address: faucet.address }), earlier - parseEther("2") - fee);
  assert.equal(await client.getTransactionCount({ address: faucet.address }), (await client.getTransaction({ hash: receipt.transactionHash })).nonce + 1);
});

test("a contract is deployed, called, and its logs are found", async () => {
  const receipt = await mined(await wallet.deployContract({ abi, bytecode: BYTECODE }));
  wopen = receipt.contractAddress;
  assert.ok((await client.getCode({ address: wopen })).length > 1000);
  const wrapped = await mined(await wallet.writeContract({ address: wopen, abi, functionName: "deposit", value: 700n }));
  assert.equal(await client.readContract({ address: wopen, abi, functionName: "balanceOf", args: [faucet.address] }), 700n);
  const logs = await client.getContractEvents({ address: wopen, abi, eventName: "Deposit", args: { account: faucet.address }, fromBlock: receipt.blockNumber });
  assert.deepEqual(logs.map((log) => [log.args.amount, log.transactionHash]), [[700n, wrapped.transactionHash]]);
});

test("a filter tells what happened since it was last asked", async () => {
  const filter = await client.createContractEventFilter({ address: wopen, abi, eventName: "Transfer" });
  await mined(await wallet.writeContract({ address: wopen, abi, functionName: "transfer", args: [stranger.address, 30n] }));
  const changes = await client.getFilterChanges({ filter });
  assert.deepEqual(changes.map((log) => log.args.value), [30n]);
  assert.deepEqual(await client.getFilterChanges({ filter }), []);
  assert.equal(await client.uninstallFilter({ filter }), true);
});

test("what a contract refuses comes back as its own error", async () => {
  const asked = client.simulateContract({ address: wopen, abi, functionName: "transfer", args: [faucet.address, 31n], account: stranger });
  await assert.rejects(asked, (error) => {
    const reverted = error instanceof BaseError && error.walk((cause) => cause instanceof ContractFunctionRevertedError);
    assert.equal(reverted.data.errorName, "ERC20InsufficientBalance");
    assert.deepEqual(reverted.data.args.slice(1), [30n, 31n]);
    return true;
  });
});

test("a permit signed as typed data is accepted on chain", async () => {
  const [nonce, name] = await Promise.all(["nonces", "name"].map((functionName) => client.readContract({ address: wopen, abi, functionName, args: functionName === "nonces" ? [stranger.address] : [] })));
  const message = { owner: stranger.address, spender: faucet.address, value: 25n, nonce, deadline: 2n ** 40n };
  const signature = await stranger.signTypedData({
    domain: { name, version: "1", chainId: client.chain.id, verifyingContract: wopen },
    types: { Permit: ["owner:address", "spender:address", "value:uint256", "nonce:uint256", "deadline:uint256"].map((member) => ({ name: member.split(":")[0], type: member.split(":")[1] })) },
    primaryType: "Permit",
    message,
  });
  const { r, s, v } = parseSignature(signature);
  await mined(await wallet.writeContract({ address: wopen, abi, functionName: "permit", args: [message.owner, message.spender, message.value, message.deadline, Number(v), r, s] }));
  await mined(await wallet.writeContract({ address: wopen, abi, functionName: "transferFrom", args: [stranger.address, faucet.address, 25n] }));
  assert.equal(await client.readContract({ address: wopen, abi, functionName: "balanceOf", args: [stranger.address] }), 5n);
});

test("new heads and logs arrive over a WebSocket", { timeout: 60_000 }, async () => {
  const found = {};
  const both = new Promise((resolve, reject) => {
    const seen = (what) => (value) => {
      found[what] ??= value;
      if (found.head && found.logs) resolve();
    };
    found.stop = [
      listener.watchBlocks({ onBlock: seen("head"), onError: reject }),
      listener.watchContractEvent({ address: wopen, abi, eventName: "Transfer", onLogs: seen("logs"), onError: reject }),
    ];
  });
  // Both subscriptions are confirmed in the order they were asked for, so an answer over the same socket is behind them.
  await listener.getBlockNumber();
  await mined(await wallet.writeContract({ address: wopen, abi, functionName: "transfer", args: [stranger.address, 8n] }));
  await both;
  found.stop.forEach((stop) => stop());
  assert.equal(found.logs[0].args.value, 8n);
  assert.ok(found.head.number > 0n);
});

test("fee history, account proofs and call traces have the shapes a client reads", async () => {
  const history = await client.getFeeHistory({ blockCount: 3, rewardPercentiles: [25, 75] });
  assert.equal(history.baseFeePerGas.length, history.gasUsedRatio.length + 1);
  assert.ok(history.reward.every((row) => row.length === 2));
  const proof = await client.getProof({ address: wopen, storageKeys: [`0x${"0".repeat(63)}2`] });
  assert.equal(proof.storageProof[0].value, 700n, "the supply stands in the third slot");
  assert.ok(proof.accountProof.length > 0);
  const hash = await wallet.writeContract({ address: wopen, abi, functionName: "withdraw", args: [1n] });
  await mined(hash);
  const trace = await client.request({ method: "debug_traceTransaction", params: [hash, { tracer: "callTracer" }] });
  assert.equal(trace.to.toLowerCase(), wopen.toLowerCase());
  assert.equal(BigInt(trace.calls[0].value), 1n, "the coin that was sent back");
});
