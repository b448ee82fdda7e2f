//! What spans and influence cost: `cargo bench -p openledger-attribution`. Seeded inputs; prints
//! one figure a line.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use openledger_attribution::influence::{Cache, DAMPING, Gradients, Item, Method, Provenance};
use openledger_attribution::spans::{Answer, IndexedRecord, SpanIndex, SpanRules};
use openledger_engine::{Lora, LoraConfig, Model, ModelConfig, NUMERIC_MODE, Runtime, draw, uniform};

fn main() {
    spans(1_000_000);
    influence(448, 48);
    influence(2_000, 8);
}

/// Tokens by Zipf's law over 4,096 ids, as text of four letters each.
fn text(stream: u64, length: u64) -> IndexedRecord {
    let mut record = IndexedRecord { tokens: vec![], offsets: vec![], text: String::new() };
    for at in 0..length {
        let id = (4096f64.powf(uniform(1, stream, at)) - 1.0) as u32;
        let start = record.text.len() as u32;
        (0..4).for_each(|k| record.text.push(char::from(b'a' + (id >> (3 * k) & 7) as u8)));
        record.tokens.push(id);
        record.offsets.push((start, start + 4));
    }
    record
}

fn percentile(mut micros: Vec<f64>, part: f64) -> f64 {
    micros.sort_by(f64::total_cmp);
    micros[((micros.len() - 1) as f64 * part) as usize]
}

/// Processor seconds of this process so far, where the system says; wall clocks mean little on a
/// busy machine.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    stat.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The best of nine runs, in microseconds.
fn best(mut run: impl FnMut()) -> f64 {
    let mut timed = || {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e6
    };
    (0..9).map(|_| timed()).fold(f64::MAX, f64::min)
}

fn spans(tokens: u64) {
    let records: Vec<IndexedRecord> = (0..tokens / 200).map(|stream| text(stream, 200)).collect();
    let start = cpu();
    let index = SpanIndex::build(&records).unwrap();
    let seconds = cpu() - start;
    println!(
        "spans: index of {} tokens in {seconds:.2} CPU s, {:.1} M tokens/s",
        index.tokens(),
        tokens as f64 / seconds / 1e6
    );
    let start = cpu();
    println!("spans: root {} in {:.2} CPU s", index.root(), cpu() - start);

    let (mut query, mut count, mut found) = (vec![], vec![], 0);
    for stream in 0..200u64 {
        // 200 tokens stitched from snippets of 3 to 14 tokens of other texts of the same kind and
        // of the records.
        let mut output = IndexedRecord { tokens: vec![], offsets: vec![], text: String::new() };
        let mut part = 0;
        while output.tokens.len() < 200 {
            part += 1;
            let length = 3 + (draw(2, stream, 3 * part) % 12) as usize;
            let known = &records[(draw(2, stream, 3 * part + 1) % records.len() as u64) as usize];
            let fresh = text(1_000_000 + stream * 100 + part, 20);
            let source = if part % 2 == 0 { known } else { &fresh };
            let from = (draw(2, stream, 3 * part + 2) % (source.tokens.len() - length) as u64) as usize;
            output.tokens.extend_from_slice(&source.tokens[from..from + length]);
            output.text.push_str(&source.text[4 * from..4 * (from + length)]);
        }
        output.offsets = (0..output.tokens.len() as u32).map(|at| (4 * at, 4 * at + 4)).collect();
        let answer = Answer { ids: &output.tokens, text: &output.text, offsets: &output.offsets, prompt: "" };
        let rules = SpanRules::default();
        found += index.query(&answer, &rules).unwrap().spans.len();
        query.push(best(|| {
            let _ = std::hint::black_box(index.query(&answer, &rules));
        }));
        count.push(best(|| {
            let _ = std::hint::black_box(index.count(&output.tokens[100..105]));
        }));
    }
    println!("spans: {:.1} paid spans an answer", found as f64 / 200.0);
    println!(
        "spans: answer of 200 tokens p50 {:.1} us, p99 {:.1} us",
        percentile(query.clone(), 0.5),
        percentile(query, 0.99)
    );
    println!("spans: count of 5 tokens p50 {:.2} us", percentile(count, 0.5));
}

/// A model of 1.1 M parameters with 71,680 of LoRA.
fn influence(records: u64, queries: u64) {
    let config = ModelConfig {
        hidden: 128,
        ffn: 384,
        layers: 4,
        heads: 4,
        kv_heads: 2,
        head_dim: 32,
        vocab: 1536,
        max_positions: 128,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
        tied: true,
        bos: Some(0),
        eos: vec![],
        arch: Default::default(),
    };
    let model = Model::init(config, 1).unwrap().with_runtime(Runtime::new(1));
    let mut lora = Lora::init(&model, &LoraConfig::all_linear(8), 2).unwrap();
    let params: Vec<f32> = (0..lora.num_params() as u64).map(|at| 0.05 * (uniform(3, 0, at) as f32 - 0.5)).collect();
    lora.set_params(&params).unwrap();
    let item = |stream: u64| Item::record((0..22).map(|at| (draw(4, stream, at) % 1536) as u32).collect());
    let (items, asked): (Vec<_>, Vec<_>) =
        ((0..records).map(item).collect(), (0..queries).map(|q| item(q + 9_999_999)).collect());
    let mut none = |_: usize, _: usize| ();
    let start = cpu();
    let gradients = Gradients::compute(&model, &lora, &items, &mut none).unwrap();
    let first = cpu() - start;
    println!("influence: {records} gradients of {} parameters in {first:.2} CPU s", gradients.parameters());
    let provenance = Provenance {
        base: "base".into(),
        base_hash: model.hash().into(),
        adapter: "adapter".into(),
        adapter_hash: lora.hash().into(),
        numeric_mode: NUMERIC_MODE.into(),
    };
    let start = cpu();
    let cache = Cache::build(&gradients, Method::Fisher, DAMPING, 1, provenance).unwrap();
    println!("influence: Fisher over {records} records in {:.2} CPU s", cpu() - start);
    let start = cpu();
    let questions = Gradients::compute(&model, &lora, &asked, &mut none).unwrap();
    let backward = cpu() - start;
    let start = Instant::now();
    let scores = cache.score(&questions).unwrap();
    let scan = start.elapsed().as_secs_f64();
    let each = 1e3 / queries as f64;
    println!(
        "influence: {:.2} ms backward and {:.2} ms scan a query, of {}",
        backward * each,
        scan * each,
        scores.queries()
    );
}
