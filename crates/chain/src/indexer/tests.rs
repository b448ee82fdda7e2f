//! The indexer on a network that replaces blocks, made by hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, B256, keccak256};
use serde_json::{Value, json};

use super::*;
use crate::contracts::bindings::datanets::Datanets;
use crate::rpc::{ChainRpc, RpcFuture};

const OURS: Address = Address::repeat_byte(0xd);

/// The time of a block.
fn time(number: u64) -> u64 {
    1_000 + 12 * number
}

/// A network of blocks that each hold one `DatanetCreated`; the seed of a block tells it from its
/// replacements.
#[derive(Default)]
struct Scripted {
    seeds: Mutex<BTreeMap<u64, u8>>,
    /// When set, the seed that replaces the newest block while logs are being read.
    moves: Mutex<Option<u8>>,
}

impl Scripted {
    fn set(&self, blocks: impl IntoIterator<Item = (u64, u8)>) {
        *self.seeds.lock().unwrap() = blocks.into_iter().collect();
    }

    fn head(&self) -> u64 {
        *self.seeds.lock().unwrap().keys().last().unwrap()
    }

    /// The hash of a block covers all seeds up to it.
    fn hash(&self, number: u64) -> B256 {
        let seeds = self.seeds.lock().unwrap();
        keccak256(seeds.range(..=number).flat_map(|(number, seed)| [*number as u8, *seed]).collect::<Vec<u8>>())
    }

    fn block(&self, number: u64) -> Value {
        if number > self.head() {
            return Value::Null;
        }
        let parent = number.checked_sub(1).map_or(B256::ZERO, |parent| self.hash(parent));
        json!({ "number": format!("{number:#x}"), "hash": self.hash(number), "parentHash": parent,
            "timestamp": format!("{:#x}", time(number)) })
    }

    fn log(&self, number: u64) -> Value {
        let seed = self.seeds.lock().unwrap()[&number];
        let event = Datanets::DatanetCreated {
            datanet: number,
            owner: Address::repeat_byte(seed),
            terms: B256::ZERO,
            uri: String::new(),
        };
        let data = alloy_sol_types::SolEvent::encode_log_data(&event);
        json!({
            "address": OURS, "topics": data.topics(), "data": data.data, "blockNumber": format!("{number:#x}"),
            "blockHash": self.hash(number), "transactionHash": B256::ZERO, "logIndex": "0x0",
        })
    }
}

impl ChainRpc for Scripted {
    fn call<'a>(&'a self, method: &'a str, params: Value) -> RpcFuture<'a, Value> {
        let number = |value: &Value| match value.as_str().unwrap() {
            "latest" | "finalized" => self.head(),
            number => u64::from_str_radix(number.strip_prefix("0x").unwrap(), 16).unwrap(),
        };
        let answer = match method {
            "eth_blockNumber" => json!(format!("{:#x}", self.head())),
            "eth_getBlockByNumber" => self.block(number(&params[0])),
            "eth_getLogs" => {
                let range = number(&params[0]["fromBlock"])..=number(&params[0]["toBlock"]);
                let logs = range.map(|number| self.log(number)).collect();
                if let Some(seed) = self.moves.lock().unwrap().take() {
                    let head = self.head();
                    self.seeds.lock().unwrap().insert(head, seed);
                }
                Value::Array(logs)
            }
            other => panic!("{other} is not scripted"),
        };
        Box::pin(async move { Ok(answer) })
    }
}

fn indexer(network: &Arc<Scripted>, batch: u64) -> Indexer {
    let addresses = Addresses {
        wopen: Address::ZERO,
        datanets: OURS,
        contributions: Address::repeat_byte(1),
        models: Address::repeat_byte(2),
        channels: Address::repeat_byte(3),
        payouts: Address::repeat_byte(4),
        verifier: Address::repeat_byte(5),
        params: Address::repeat_byte(6),
    };
    let client = Client::new(Arc::clone(network) as Arc<dyn ChainRpc>);
    Indexer::new(client, addresses, 0, Until::Latest).with_batch(batch)
}

/// Who created what, as the sink has it.
fn owners(sink: &MemorySink) -> Vec<(u64, u8)> {
    let owner = |event: &IndexedEvent| match &event.event {
        ChainEvent::Datanets(Datanets::DatanetsEvents::DatanetCreated(created)) => (created.datanet, created.owner[0]),
        other => panic!("{other:?}"),
    };
    sink.events().iter().map(owner).collect()
}

#[tokio::test]
async fn replaced_blocks_are_forgotten_and_their_replacements_read() {
    let network = Arc::new(Scripted::default());
    let indexer = indexer(&network, 2);
    let mut sink = MemorySink::default();
    network.set((0..6).map(|number| (number, 1)));
    indexer.catch_up(&mut sink).await.unwrap();
    assert_eq!(owners(&sink), (0..6).map(|number| (number, 1)).collect::<Vec<_>>());

    // Ranges ended at 1, 3 and 5; from block 3 on there is another history.
    network.set((0..8).map(|number| (number, if number < 3 { 1 } else { 2 })));
    let back = indexer.poll(&mut sink).await.unwrap();
    assert_eq!(back, Progress::RolledBack { to: Some(BlockRef { number: 1, hash: network.hash(1) }) });
    indexer.catch_up(&mut sink).await.unwrap();
    let mut rebuilt = MemorySink::default();
    indexer.catch_up(&mut rebuilt).await.unwrap();
    assert_eq!(owners(&sink), owners(&rebuilt));
    assert_eq!(owners(&sink)[2..4], [(2, 1), (3, 2)]);
}

#[tokio::test]
async fn a_range_replaced_while_it_is_read_is_not_kept() {
    let network = Arc::new(Scripted::default());
    let indexer = indexer(&network, 100);
    let mut sink = MemorySink::default();
    network.set((0..3).map(|number| (number, 1)));
    *network.moves.lock().unwrap() = Some(2);
    assert_eq!(indexer.poll(&mut sink).await.unwrap(), Progress::Moved);
    assert_eq!(sink.events().len(), 0);
    indexer.catch_up(&mut sink).await.unwrap();
    assert_eq!(owners(&sink), [(0, 1), (1, 1), (2, 2)]);
}

/// The sink of two processes: the other one appends the same range just before this one does.
struct Shared {
    sink: MemorySink,
    other: Vec<IndexedRange>,
}

impl EventSink for Shared {
    fn cursor(&mut self) -> SinkFuture<'_, Option<BlockRef>> {
        self.sink.cursor()
    }

    fn known_below(&mut self, number: u64) -> SinkFuture<'_, Option<BlockRef>> {
        self.sink.known_below(number)
    }

    fn append(&mut self, range: IndexedRange) -> SinkFuture<'_, bool> {
        Box::pin(async move {
            if let Some(other) = self.other.pop() {
                assert!(self.sink.append(other).await?);
            }
            self.sink.append(range).await
        })
    }

    fn rollback_to(&mut self, block: Option<BlockRef>) -> SinkFuture<'_, ()> {
        self.sink.rollback_to(block)
    }
}

#[tokio::test]
async fn a_range_that_another_process_read_meanwhile_is_not_kept_twice() {
    let network = Arc::new(Scripted::default());
    let indexer = indexer(&network, 100);
    network.set((0..3).map(|number| (number, 1)));
    let mut elsewhere = MemorySink::default();
    indexer.catch_up(&mut elsewhere).await.unwrap();
    let to = elsewhere.cursor().await.unwrap().unwrap();
    let first = IndexedRange { after: None, from: 0, to, events: elsewhere.events().to_vec() };
    let mut sink = Shared { sink: MemorySink::default(), other: vec![first] };
    assert_eq!(indexer.poll(&mut sink).await.unwrap(), Progress::Moved);
    assert_eq!(owners(&sink.sink), [(0, 1), (1, 1), (2, 1)]);
    network.set((0..5).map(|number| (number, 1)));
    indexer.catch_up(&mut sink).await.unwrap();
    assert_eq!(owners(&sink.sink), (0..5).map(|number| (number, 1)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_network_that_lags_is_waited_for_and_another_one_is_refused() {
    let network = Arc::new(Scripted::default());
    let indexer = indexer(&network, 1);
    let mut sink = MemorySink::default();
    network.set((0..6).map(|number| (number, 1)));
    let caught_up = indexer.catch_up(&mut sink).await.unwrap();
    assert_eq!((caught_up.at.unwrap().number, caught_up.events), (5, 6));
    network.set((0..4).map(|number| (number, 1)));
    let Progress::Idle { at: Some(shared) } = indexer.poll(&mut sink).await.unwrap() else { panic!("not idle") };
    assert_eq!((shared.number, shared.timestamp), (3, time(3)), "the newest block that both have");
    network.set((0..4).map(|number| (number, 9)));
    assert!(matches!(indexer.poll(&mut sink).await, Err(IndexError::OtherChain { block: 5 })));
    assert_eq!(sink.events().len(), 6);
}

#[tokio::test]
async fn an_event_of_ours_that_is_not_known_stops_the_indexer() {
    let network = Arc::new(Scripted::default());
    let mut indexer = indexer(&network, 1);
    // The log is a datanet's; at this address a model's is expected.
    (indexer.addresses.models, indexer.addresses.datanets) = (OURS, Address::ZERO);
    network.set([(0, 1)]);
    let mut sink = MemorySink::default();
    assert!(matches!(indexer.poll(&mut sink).await, Err(IndexError::Unknown { address: OURS, block: 0, .. })));
    assert_eq!(sink.cursor().await.unwrap(), None);
}
