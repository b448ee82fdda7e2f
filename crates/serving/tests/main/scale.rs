//! Many more adapters than memory: thousands registered, a few in memory, the rest on disk.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openledger_engine::{Lora, LoraConfig, Model, Target, draw};
use openledger_protocol::AdapterHash;
use openledger_serving::{Backend, Embedded, Limits};

use super::{request, server};

const REGISTERED: u64 = 2000;
const CACHED: usize = 64;

/// A small adapter of its own contents.
fn small(model: &Model, seed: u64, dir: &Path) -> PathBuf {
    let config = LoraConfig { rank: 1, alpha: 2.0, targets: vec![Target::Q], rslora: false };
    let mut lora = Lora::init(model, &config, seed).unwrap();
    let params: Vec<f32> =
        (0..lora.num_params()).map(|i| (draw(seed, 3, i as u64) % 2001) as f32 / 2000.0 - 0.5).collect();
    lora.set_params(&params).unwrap();
    let dir = dir.join(seed.to_string());
    lora.save_peft(&dir, "base").unwrap();
    dir
}

/// The place of `random` among weights of 1, 1/2, 1/3, …
fn zipf(random: u64, count: usize) -> usize {
    let all: f64 = (1..=count).map(|rank| 1.0 / rank as f64).sum();
    let mut left = all * (random as f64 / u64::MAX as f64);
    (1..=count)
        .position(|rank| {
            left -= 1.0 / rank as f64;
            left <= 0.0
        })
        .unwrap_or(count - 1)
}

#[test]
fn thousands_are_registered_and_the_most_recent_few_are_in_memory() {
    let (like, tmp, cache) = (server(0), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = {
        let hash = like.adapters().register(&small(like.model(), 0, tmp.path())).unwrap();
        like.adapters().keep_packed_in(cache.path()).unwrap();
        like.adapters().get(hash).unwrap().bytes()
    };
    // Room for the cache, for two that are in use beside it, and for one answer.
    let limits = Limits {
        memory_bytes: (CACHED + 2) * one + 3 * openledger_engine::KvCache::page_bytes(like.model()),
        idle_adapter_bytes: CACHED * one,
        ..Limits::default()
    };
    let (model, tokenizer) = (Arc::clone(like.model()), Arc::clone(like.tokenizer()));
    let server = Embedded::with_limits(model, tokenizer, like.chat_form().clone(), "base", &limits, Arc::new(|| 0));
    let store = server.adapters();
    store.keep_packed_in(cache.path()).unwrap();
    let hashes: Vec<AdapterHash> = (0..REGISTERED)
        .map(|seed| {
            let hash = store.register(&small(like.model(), seed, tmp.path())).unwrap();
            store.set_alias(&format!("a{seed}"), hash, None).unwrap();
            hash
        })
        .collect();
    let stats = store.stats();
    assert_eq!((stats.registered, stats.resident, server.memory_bytes()[0]), (REGISTERED as usize, 0, 0));

    // What a list of uses, most recent last, says should be in memory.
    let mut expected: VecDeque<AdapterHash> = VecDeque::new();
    let mut in_use = VecDeque::new();
    let mut cold = 0;
    for turn in 0..6000 {
        let hash = hashes[zipf(draw(1, 2, turn), 1000)];
        let lora = store.get(hash).unwrap();
        assert_eq!(lora.hash(), hash.0.0);
        cold += u64::from(!expected.contains(&hash));
        expected.retain(|other| *other != hash);
        expected.push_back(hash);
        in_use.push_back((hash, lora));
        while expected.len() > CACHED {
            let idle = expected.iter().position(|other| in_use.iter().all(|(held, _)| held != other)).unwrap();
            expected.remove(idle);
        }
        if in_use.len() > 1 {
            in_use.pop_front();
        }
        if turn % 50 == 0 {
            let resident: VecDeque<AdapterHash> = store.resident().into_iter().map(|stats| stats.adapter).collect();
            assert_eq!(resident, expected, "turn {turn}");
        }
    }
    drop(in_use);
    let stats = store.stats();
    assert_eq!((stats.loads, stats.hits, stats.evictions), (cold, 6000 - cold, cold - CACHED as u64));
    assert!(stats.resident == CACHED && stats.resident_bytes <= CACHED * one, "{stats:?}");
    let [_, peak, limit] = server.memory_bytes();
    assert!(peak <= (CACHED + 1) * one && peak <= limit, "{peak} bytes at most, of {limit}");
    assert_eq!(stats.originals_read, REGISTERED, "each was hashed once, and mapped ever after");

    for seed in [0, 1999] {
        let answer = server
            .complete(&request(&format!("a{seed}"), "the owl"), &mut |_| std::ops::ControlFlow::Continue(()))
            .unwrap();
        assert_eq!(answer.completion.adapter, hashes[seed]);
    }
    let [_, peak, limit] = server.memory_bytes();
    assert!(peak <= limit);
    // What is told of them does not grow with their number.
    let told = server.prometheus();
    assert!(told.lines().count() < 500, "{} lines", told.lines().count());
    assert!(told.contains("openledger_serving_adapters_registered 2000\n"), "{told}");
    let label = format!("openledger_serving_adapter_resident{{adapter=\"{}\"}} 1\n", hashes[1999]);
    assert!(told.contains(&label), "{told}");
}
