/** The accounts of a local network's thread, and what they sign and send on chain. */

import { readFileSync } from "node:fs";

import {
  type Abi,
  createPublicClient,
  createWalletClient,
  decodeEventLog,
  type Hex,
  http,
  keccak256,
  stringToBytes,
} from "viem";
import { privateKeyToAccount, sign } from "viem/accounts";

/** The secret of a demo identity: worth nothing on a real network. */
function secret(seed: number, name: string): Hex {
  return keccak256(stringToBytes(`openledger demo identity\n${seed}\n${name}`));
}

export function abi(contract: string): Abi {
  const file = new URL(`../../../contracts/artifacts/${contract}.json`, import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { abi: Abi }).abi;
}

/** A demo identity of the network at `url`. */
export class Identity {
  private readonly key: Hex;
  readonly address: Hex;

  constructor(
    private readonly url: string,
    private readonly chainId: number,
    seed: number,
    name: string,
  ) {
    this.key = secret(seed, name);
    this.address = privateKeyToAccount(this.key).address.toLowerCase() as Hex;
  }

  private wallet() {
    const chain = {
      id: this.chainId,
      name: "local",
      nativeCurrency: { name: "OPEN", symbol: "OPEN", decimals: 18 },
      rpcUrls: { default: { http: [`${this.url}/rpc`] } },
    };
    const transport = http(`${this.url}/rpc`);
    const account = privateKeyToAccount(this.key);
    return {
      account,
      wallet: createWalletClient({ account, chain, transport }),
      reader: createPublicClient({ chain, transport, pollingInterval: 100 }),
    };
  }

  /** Signs a digest that the node names. */
  async sign(digest: Hex): Promise<Hex> {
    return sign({ hash: digest, privateKey: this.key, to: "hex" });
  }

  /** Signs a message of one of the contracts. */
  async signTyped(
    contract: Hex,
    primaryType: string,
    members: { name: string; type: string }[],
    message: Record<string, unknown>,
  ): Promise<Hex> {
    const domain = { name: "OpenLedger", version: "1", chainId: this.chainId, verifyingContract: contract };
    return this.wallet().account.signTypedData({ domain, types: { [primaryType]: members }, primaryType, message });
  }

  /** Sends coins. */
  async pay(to: Hex, value: bigint): Promise<void> {
    const { wallet, reader } = this.wallet();
    await reader.waitForTransactionReceipt({ hash: await wallet.sendTransaction({ to, value }) });
  }

  /** Calls a contract and returns the arguments of the event it emitted, if one is named. */
  async call(
    contract: string,
    at: Hex,
    functionName: string,
    args: unknown[],
    more: { value?: bigint; event?: string } = {},
  ): Promise<Record<string, unknown>> {
    const { wallet, reader } = this.wallet();
    const types = abi(contract);
    const hash = await wallet.writeContract({ address: at, abi: types, functionName, args, value: more.value ?? 0n });
    const receipt = await reader.waitForTransactionReceipt({ hash });
    if (receipt.status !== "success") throw new Error(`${contract}.${functionName} was reverted`);
    if (more.event === undefined) return {};
    for (const log of receipt.logs) {
      if (log.address.toLowerCase() !== at) continue;
      const { eventName, args } = decodeEventLog({ abi: types, data: log.data, topics: log.topics });
      if (eventName === more.event) return args as unknown as Record<string, unknown>;
    }
    throw new Error(`${contract}.${functionName} emitted no ${more.event}`);
  }
}
