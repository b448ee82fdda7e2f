//! A chain for unit tests: blocks made by hand, and requests to withdraw from channels.
//!
//! Each block burns one base unit of the supply; the account of [`FakeChain::key`] holds the rest.
//! It takes no transactions. A view that no test has set is refused.

use std::sync::{Arc, Mutex, MutexGuard};

use openledger_chain::contracts::Addresses;
use openledger_chain::flow::Flow;
use openledger_chain::rpc::{ChainRpc, Client, RpcError, RpcFuture};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Sender};
use openledger_protocol::{Address, Amount, ChannelId, Key, Params, keccak, word};
use openledger_store::Store;
use serde_json::{Value, json};

use crate::chain_view::ChainView;
use crate::clock::Clock;
use crate::config::NodeClock;

/// The EIP-155 chain id.
const CHAIN_ID: u64 = 7;
/// The contract of channels.
const CHANNELS: Address = Address::repeat_byte(5);

/// The chain. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct FakeChain(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Number of the newest block.
    newest: u64,
    /// Looks at the newest block after which another one comes.
    looks_left: Option<u32>,
    /// Requests to withdraw: the block and the channel of each.
    requests: Vec<(u64, ChannelId)>,
    /// Reads of a balance before each of which another block comes.
    busy_reads: u32,
    /// The ranges of blocks whose logs were read.
    read: Vec<(u64, u64)>,
}

impl FakeChain {
    /// A chain whose newest block is number `newest`.
    pub(crate) fn with_blocks(newest: u64) -> Self {
        let chain = Self::default();
        chain.state().newest = newest;
        chain
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The time of a block, Unix seconds.
    pub(crate) fn time_of(number: u64) -> u64 {
        1_000 + 12 * number
    }

    /// The number of the newest block.
    pub(crate) fn newest(&self) -> u64 {
        self.state().newest
    }

    /// Adds a block right after the newest one was read `looks` more times.
    pub(crate) fn add_block_after_looks(&self, looks: u32) {
        self.state().looks_left = Some(looks);
    }

    /// Adds a block in which the payer of a channel asks the deposit back.
    pub(crate) fn ask_back(&self, channel: ChannelId) {
        let mut state = self.state();
        state.newest += 1;
        let block = state.newest;
        state.requests.push((block, channel));
    }

    /// Adds a block before each of the next `reads` reads of a balance.
    pub(crate) fn add_block_before_balances(&self, reads: u32) {
        self.state().busy_reads = reads;
    }

    /// The ranges of blocks whose logs were read, first and last block of each.
    pub(crate) fn logs_read(&self) -> Vec<(u64, u64)> {
        self.state().read.clone()
    }

    /// The node's view of this chain, by the account of [`FakeChain::key`].
    pub(crate) async fn view(&self, store: &Store) -> ChainView {
        let client = Client::new(Arc::new(self.clone()) as Arc<dyn ChainRpc>);
        let outbox = Arc::new(MemoryOutbox::default());
        let sender = Sender::new(client, outbox, Self::key(), FeePolicy::default()).await.unwrap();
        let at = |byte| Address::repeat_byte(byte);
        let addresses = Addresses {
            wopen: at(1),
            datanets: at(2),
            contributions: at(3),
            models: at(4),
            channels: CHANNELS,
            payouts: at(6),
            verifier: at(7),
            params: at(8),
        };
        let clock = Clock::of_machine(NodeClock::Wall);
        ChainView::new(Flow::new(Arc::new(sender), addresses), CHAIN_ID, None, clock, store.clone())
    }

    /// The node's key.
    pub(crate) fn key() -> Key {
        Key::demo(1, "node")
    }

    fn block(&self, number: u64) -> Value {
        if number > self.newest() {
            return Value::Null;
        }
        let hash = |number: u64| keccak(number.to_be_bytes());
        json!({
            "number": format!("{number:#x}"), "hash": hash(number), "parentHash": hash(number.wrapping_sub(1)),
            "timestamp": format!("{:#x}", Self::time_of(number)), "miner": Self::key().address(),
            "transactions": [], "baseFeePerGas": "0x1", "gasUsed": "0x1",
        })
    }

    /// The logs of some blocks.
    fn logs(&self, from: u64, to: u64) -> Value {
        let mut state = self.state();
        state.read.push((from, to));
        let topic = keccak("WithdrawalRequested(bytes32,uint128,uint64)");
        let data = [word(1u64), word(2_000u64)].concat();
        let asked = state.requests.iter().filter(|(block, _)| (from..=to).contains(block));
        let logs = asked.map(|(block, channel)| {
            json!({
                "address": CHANNELS, "topics": [topic, channel.0], "data": format!("0x{}", hex::encode(&data)),
                "blockNumber": format!("{block:#x}"), "blockHash": keccak(block.to_be_bytes()),
                "transactionHash": keccak(channel.0), "logIndex": "0x0",
            })
        });
        logs.collect()
    }

    /// What an account holds now, in base units.
    fn balance(&self, account: &str) -> Value {
        let mut state = self.state();
        if state.busy_reads > 0 {
            state.busy_reads -= 1;
            state.newest += 1;
        }
        let rich = account.parse::<Address>().is_ok_and(|account| account == Self::key().address());
        let held = if rich { Amount::SUPPLY.0 - u128::from(state.newest + 1) } else { 0 };
        json!(format!("{held:#x}"))
    }

    /// The newest block; another one may come right after it was read.
    fn newest_block(&self) -> Value {
        let block = self.block(self.newest());
        let mut state = self.state();
        state.looks_left = match state.looks_left {
            Some(1) => {
                state.newest += 1;
                None
            }
            looks => looks.map(|looks| looks - 1),
        };
        block
    }

    fn answer(&self, method: &str, params: &Value) -> Option<Value> {
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        Some(match method {
            "eth_chainId" => json!(format!("{CHAIN_ID:#x}")),
            "eth_blockNumber" => json!(format!("{:#x}", self.newest())),
            "eth_getBlockByNumber" => match params[0].as_str()? {
                "latest" | "finalized" => self.newest_block(),
                number_of => self.block(number(number_of)?),
            },
            "eth_getLogs" => {
                let bound = |name: &str| number(params[0][name].as_str()?);
                self.logs(bound("fromBlock")?, bound("toBlock")?)
            }
            "eth_getBalance" => self.balance(params[0].as_str()?),
            "eth_getTransactionCount" => json!("0x0"),
            "eth_call" => {
                let data = hex::decode(params[0]["data"].as_str()?.trim_start_matches("0x")).ok()?;
                let current = data.starts_with(&keccak("current()")[..4]);
                current.then(|| json!(format!("0x{}", hex::encode(Params::GENESIS.words().concat()))))?
            }
            _ => return None,
        })
    }
}

impl ChainRpc for FakeChain {
    fn call<'a>(&'a self, method: &'a str, params: Value) -> RpcFuture<'a, Value> {
        let refused = || RpcError::Refused { code: -32_000, message: format!("{method} is not set"), data: None };
        let answer = self.answer(method, &params).ok_or_else(refused);
        Box::pin(async move { answer })
    }
}
