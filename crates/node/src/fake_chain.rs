//! A chain for unit tests: blocks made by hand, and channels whose money tests set.
//!
//! It takes no transactions. A view that no test has set is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use openledger_chain::contracts::Addresses;
use openledger_chain::flow::Flow;
use openledger_chain::rpc::{ChainRpc, Client, RpcError, RpcFuture};
use openledger_chain::sender::{FeePolicy, MemoryOutbox, Sender};
use openledger_protocol::{Address, Amount, B256, ChannelId, Key, Params, keccak, word};
use openledger_store::Store;
use serde_json::{Value, json};

use crate::chain_view::ChainView;
use crate::clock::Clock;
use crate::config::NodeClock;

/// The EIP-155 chain id.
const CHAIN_ID: u64 = 7;

/// The chain. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct FakeChain(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Number of the newest block.
    newest: u64,
    /// Looks at the newest block after which another one comes.
    looks_left: Option<u32>,
    channels: BTreeMap<ChannelId, Money>,
    /// Channels of which every view fails.
    unreadable: BTreeSet<ChannelId>,
}

/// A channel's money on the chain.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Money {
    /// Deposits minus withdrawals.
    pub(crate) balance: Amount,
    /// When a withdrawal is due, Unix seconds; 0 while none is pending.
    pub(crate) ready_at: u64,
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

    /// Adds a block.
    pub(crate) fn add_block(&self) {
        self.state().newest += 1;
    }

    /// Adds a block right after the newest one was read `looks` more times.
    pub(crate) fn add_block_after_looks(&self, looks: u32) {
        self.state().looks_left = Some(looks);
    }

    /// Sets a channel's money.
    pub(crate) fn set_channel(&self, channel: ChannelId, money: Money) {
        self.state().channels.insert(channel, money);
    }

    /// Lets every view of a channel fail.
    pub(crate) fn fail_channel(&self, channel: ChannelId) {
        self.state().unreadable.insert(channel);
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
            channels: at(5),
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
            "timestamp": format!("{:#x}", Self::time_of(number)),
        })
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

    /// The words that a view returns, by its selector and first argument.
    fn words(&self, data: &[u8]) -> Option<Vec<B256>> {
        let is = |signature: &str| data.starts_with(&keccak(signature)[..4]);
        if is("current()") {
            return Some(Params::GENESIS.words().to_vec());
        }
        let channel = ChannelId(B256::from_slice(data.get(4..36)?));
        let state = self.state();
        let money = state.channels.get(&channel).copied().filter(|_| !state.unreadable.contains(&channel))?;
        if is("channels(bytes32)") {
            return Some(vec![word(money.balance.0), word(0u64)]);
        }
        is("withdrawals(bytes32)").then(|| vec![word(money.balance.0), word(money.ready_at)])
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
            "eth_getLogs" => json!([]),
            "eth_getTransactionCount" => json!("0x0"),
            "eth_call" => {
                let data = hex::decode(params[0]["data"].as_str()?.trim_start_matches("0x")).ok()?;
                let words = self.words(&data)?.concat();
                json!(format!("0x{}", hex::encode(words)))
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
