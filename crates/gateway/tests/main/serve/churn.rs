//! Adapters come, go and change names under traffic over HTTP: every answer has the bits of a quiet
//! server's.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openledger_engine::{Isa, KvCache, Model, NumericMode, Runtime, draw};
use openledger_serving::{Embedded, Limits};
use serde_json::{Value, json};

use super::client::{Response, Running, serve_embedded};
use super::{saved, server};

const ADAPTERS: u64 = 4;
const CLIENTS: u64 = 4;
const REQUESTS: u64 = 40;
const PROMPTS: [&str; 3] = ["the owl", "the owl sat on the stone by", "seven grey herons wait in"];

/// A server of the tests' base in `mode` on `threads`, with room for three adapters and four
/// answers: everything competes.
fn tight(like: &Embedded, mode: NumericMode, isa: Isa, threads: usize, cache: Option<&Path>) -> Embedded {
    let model = Model::init(like.model().config().clone(), 3).unwrap().with_mode(mode).unwrap();
    let model = model.with_runtime(Runtime::new(threads).with_isa(isa).unwrap());
    let adapter = super::adapter(&model, 1).bytes();
    let limits = Limits {
        memory_bytes: 3 * adapter + 4 * 3 * KvCache::page_bytes(&model),
        idle_adapter_bytes: adapter,
        slots: 4,
        overflow_slots: 1,
        prefill_rows: 8,
        ..Limits::default()
    };
    let tokenizer = Arc::clone(like.tokenizer());
    let form = like.chat_form().clone();
    let server = Embedded::with_limits(Arc::new(model), tokenizer, form, "base", &limits, Arc::new(|| 0));
    cache.into_iter().for_each(|cache| server.adapters().keep_packed_in(cache).unwrap());
    server
}

/// What is asked at that place of the traffic, without `model`.
fn asked(place: u64) -> Value {
    let chance = |stream: u64, below: u64| draw(place, stream, 1) % below;
    json!({
        "prompt": PROMPTS[chance(1, 3) as usize], "max_tokens": 4 + chance(2, 8), "temperature": 0.9, "ignore_eos": true,
        "seed": chance(3, 5), "logprobs": 1, "return_token_ids": true,
    })
}

/// Text, ids and likelihoods of an answer.
type Bits = (String, Vec<Value>, Vec<Value>);

/// Those of an answer that came whole or in events.
fn bits(response: &Response, streamed: bool) -> Bits {
    let parts = if streamed { response.events() } else { vec![response.json()] };
    let (mut text, mut ids, mut logprobs) = (String::new(), Vec::new(), Vec::new());
    for choice in parts.iter().filter_map(|part| part["choices"].get(0)) {
        text.push_str(choice["text"].as_str().unwrap());
        ids.extend(choice["token_ids"].as_array().into_iter().flatten().cloned());
        logprobs.extend(choice["logprobs"]["token_logprobs"].as_array().into_iter().flatten().cloned());
    }
    (text, ids, logprobs)
}

/// Loads, moves and unloads names until told to stop; how often.
fn churn(running: &Running, stop: &AtomicBool) -> u64 {
    let mut turns = 0;
    while !stop.load(Ordering::SeqCst) {
        let (adapter, other) = (1 + turns % ADAPTERS, 1 + draw(turns, 7, 7) % ADAPTERS);
        let load = |name: &str, adapter: u64| {
            let body = json!({ "lora_name": name, "lora_path": adapter.to_string(), "load_inplace": true });
            assert_eq!(running.post("/v1/load_lora_adapter", &body).status, 200);
        };
        load("moving", adapter);
        load("stays", 1 + turns % 2);
        if turns % 3 == 0 {
            let unloaded = running.post("/v1/unload_lora_adapter", &json!({ "lora_name": "moving" }));
            assert_eq!(unloaded.status, 200, "{}", unloaded.body);
            load("moving", other);
        }
        turns += 1;
    }
    turns
}

/// One client's requests, each compared with the quiet server's answer; how many were answered
/// whole.
fn client(running: &Running, client: u64, alone: &BTreeMap<(String, u64), Bits>) -> u64 {
    let mut whole = 0;
    for place in client * REQUESTS..(client + 1) * REQUESTS {
        let (mut body, streamed) = (asked(place), draw(place, 8, 1).is_multiple_of(2));
        body["model"] = ["moving", "stays", "base"][(draw(place, 9, 1) % 3) as usize].into();
        body["stream"] = streamed.into();
        if draw(place, 10, 1).is_multiple_of(8) {
            // Hangs up after the first bytes.
            let headers = "content-type: application/json\r\n";
            let mut stream = running.send("POST", "/v1/completions", headers, &body.to_string());
            let _ = stream.read(&mut [0; 64]).unwrap();
            continue;
        }
        let response = running.post("/v1/completions", &body);
        if response.status == 404 {
            // Unloaded a moment ago: an error, and never another model's answer.
            assert_ne!(body["model"], "base");
            assert_eq!(response.json()["error"]["code"], "model_not_found");
            continue;
        }
        assert_eq!(response.status, 200, "{}", response.body);
        let adapter = response.header("x-openledger-adapter").unwrap().to_owned();
        let got = bits(&response, streamed);
        assert_eq!(got, alone[&(adapter, place)], "place {place}, streamed: {streamed}");
        whole += 1;
    }
    whole
}

fn no_answer_differs(mode: NumericMode, isa: Isa, threads: usize, packed: bool) {
    let (like, tmp, cache) = (server(0), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    (1..=ADAPTERS).for_each(|seed| drop(saved(&like, tmp.path(), seed)));
    // One request at a time, one thread, the plainest instructions, nothing packed.
    let quiet = tight(&like, mode, Isa::Scalar, 1, None);
    let names: Vec<(String, String)> = quiet
        .adapters()
        .register_folders(tmp.path())
        .unwrap()
        .into_iter()
        .map(|(name, alias)| (name, alias.unwrap().adapter.to_string()))
        .chain([("base".to_owned(), format!("0x{}", "00".repeat(32)))])
        .collect();
    let asks = serve_embedded(&quiet, None);
    let mut alone = BTreeMap::new();
    let mut seen: BTreeMap<String, Bits> = BTreeMap::new();
    for place in 0..CLIENTS * REQUESTS {
        for (name, hash) in &names {
            let mut body = asked(place);
            body["model"] = name.as_str().into();
            // Places that ask the same have the same answer.
            let answer =
                seen.entry(body.to_string()).or_insert_with(|| bits(&asks.post("/v1/completions", &body), false));
            alone.insert((hash.clone(), place), answer.clone());
        }
    }
    asks.stop();

    let busy = tight(&like, mode, isa, threads, packed.then(|| cache.path()));
    let running = serve_embedded(&busy, Some(tmp.path().to_owned()));
    for name in ["moving", "stays"] {
        let body = json!({ "lora_name": name, "lora_path": "1" });
        assert_eq!(running.post("/v1/load_lora_adapter", &body).status, 200);
    }
    let stop = AtomicBool::new(false);
    let (whole, turns) = std::thread::scope(|scope| {
        let churns = scope.spawn(|| churn(&running, &stop));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                scope.spawn({
                    let (running, alone) = (&running, &alone);
                    move || client(running, n, alone)
                })
            })
            .collect();
        let whole: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::SeqCst);
        let turns = churns.join().unwrap();
        (whole.into_iter().map(Result::unwrap).sum::<u64>(), turns)
    });
    assert!(whole > CLIENTS * REQUESTS / 2 && turns > 10, "{whole} answers compared, {turns} turns of churn");
    let [_, peak, limit] = busy.memory_bytes();
    let stats = busy.adapters().stats();
    assert!(peak <= limit && stats.evictions > 20, "{stats:?}");
    running.stop();
}

#[test]
fn churn_under_traffic_changes_no_bit_in_exact_arithmetic() {
    no_answer_differs(NumericMode::F32Fma, Isa::detect(), 2, true);
}

#[test]
fn churn_under_traffic_changes_no_bit_in_eight_bit_arithmetic() {
    no_answer_differs(NumericMode::Q8, Isa::detect(), 2, false);
}
