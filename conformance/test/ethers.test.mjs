/** ethers 6, as it comes, against the embedded chain. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Contract, ContractFactory, JsonRpcProvider, parseEther, Signature, toBeHex, Wallet, WebSocketProvider } from "ethers";

import { BYTECODE, demoKey, start, WOPEN } from "./network.mjs";

let network, provider, socket, faucet, stranger, wopen;

before(async () => {
  network = await start();
  // Without its cache of a quarter of a second, which would answer a question about the block before.
  provider = new JsonRpcProvider(network.http, undefined, { cacheTimeout: -1, pollingInterval: 50 });
  faucet = new Wallet(demoKey("faucet"), provider);
  stranger = Wallet.createRandom(provider);
});

after(async () => {
  await socket?.destroy();
  provider?.destroy();
  await network?.stop();
});

/** The receipt of what was sent, as ethers waits for it. */
async function mined(sent) {
  return (await sent).wait();
}

test("a wallet with stock settings sends and waits, again and again", { timeout: 60_000 }, async () => {
  const stock = new JsonRpcProvider(network.http);
  const wallet = new Wallet(demoKey("faucet"), stock);
  for (let sends = 1; sends <= 12; sends++) {
    const since = Date.now();
    // ethers looks for the receipt once and then at each new block, of which none need follow.
    const receipt = await mined(wallet.sendTransaction({ to: stranger.address, value: 1n }));
    assert.equal(receipt.status, 1);
    assert.ok(Date.now() - since < 4_000, "no send waits for its poll of four seconds");
    // Its cache of a quarter of a second would answer the next question for a nonce as this one.
    await new Promise((done) => setTimeout(done, 300));
  }
  stock.destroy();
});

test("an EIP-1559 transfer moves what it says and costs what its receipt says", async () => {
  const [earlier, had] = [await provider.getBalance(faucet.address), await provider.getBalance(stranger.address)];
  const receipt = await mined(faucet.sendTransaction({ to: stranger.address, value: parseEther("2") }));
  assert.equal(receipt.status, 1);
  assert.equal(receipt.type, 2);
  assert.equal(await provider.getBalance(stranger.address), had + parseEther("2"));
  assert.equal(await provider.getBalance(faucet.address), earlier - parseEther("2") - receipt.fee);
});

test("a contract is deployed, called, and its logs are found", async () => {
  const deployed = await new ContractFactory(WOPEN.abi, BYTECODE, faucet).deploy();
  await mined(deployed.deploymentTransaction());
  wopen = new Contract(await deployed.getAddress(), WOPEN.abi, faucet);
  const wrapped = await mined(wopen.deposit({ value: 700n }));
  assert.equal(await wopen.balanceOf(faucet.address), 700n);
  const logs = await wopen.queryFilter(wopen.filters.Deposit(faucet.address), 0);
  assert.deepEqual(logs.map((log) => [log.args.amount, log.transactionHash]), [[700n, wrapped.hash]]);
});

test("what a contract refuses comes back as its own error", async () => {
  await assert.rejects(wopen.connect(stranger).transfer.staticCall(faucet.address, 1n), (error) => {
    assert.equal(error.code, "CALL_EXCEPTION");
    assert.equal(error.revert.name, "ERC20InsufficientBalance");
    assert.deepEqual([...error.revert.args], [stranger.address, 0n, 1n]);
    return true;
  });
});

test("a permit signed as typed data is accepted on chain", async () => {
  await mined(wopen.transfer(stranger.address, 30n));
  const { chainId } = await provider.getNetwork();
  const domain = { name: await wopen.name(), version: "1", chainId, verifyingContract: wopen.target };
  const members = ["owner:address", "spender:address", "value:uint256", "nonce:uint256", "deadline:uint256"];
  const types = { Permit: members.map((member) => ({ name: member.split(":")[0], type: member.split(":")[1] })) };
  const message = { owner: stranger.address, spender: faucet.address, value: 25n, nonce: await wopen.nonces(stranger.address), deadline: 2n ** 40n };
  const { v, r, s } = Signature.from(await stranger.signTypedData(domain, types, message));
  await mined(wopen.permit(message.owner, message.spender, message.value, message.deadline, v, r, s));
  await mined(wopen.transferFrom(stranger.address, faucet.address, 25n));
  assert.equal(await wopen.balanceOf(stranger.address), 5n);
});

test("new heads and logs arrive over a WebSocket", { timeout: 60_000 }, async () => {
  socket = new WebSocketProvider(network.socket);
  const heard = new Contract(wopen.target, WOPEN.abi, socket);
  const head = new Promise((resolve) => socket.on("block", resolve));
  const log = new Promise((resolve) => heard.on("Transfer", (from, to, value) => resolve({ from, to, value })));
  // A third question over the socket is answered behind the two subscriptions.
  await heard.listenerCount("Transfer");
  await socket.send("eth_blockNumber", []);
  await mined(wopen.transfer(stranger.address, 8n));
  assert.deepEqual(await log, { from: faucet.address, to: stranger.address, value: 8n });
  assert.ok((await head) > 0);
});

test("fee history, account proofs and call traces have the shapes a client reads", async () => {
  const fees = await provider.getFeeData();
  assert.ok(fees.maxFeePerGas >= fees.maxPriorityFeePerGas);
  const history = await provider.send("eth_feeHistory", [toBeHex(3), "latest", [50]]);
  assert.equal(history.baseFeePerGas.length, history.gasUsedRatio.length + 1);
  const proof = await provider.send("eth_getProof", [wopen.target, [`0x${"0".repeat(63)}2`], "latest"]);
  assert.equal(BigInt(proof.storageProof[0].value), 700n, "the supply stands in the third slot");
  const burnt = await mined(wopen.withdraw(1n));
  const trace = await provider.send("debug_traceTransaction", [burnt.hash, { tracer: "callTracer" }]);
  assert.equal(trace.to.toLowerCase(), wopen.target.toLowerCase());
  assert.equal(BigInt(trace.calls[0].value), 1n, "the coin that was sent back");
});
