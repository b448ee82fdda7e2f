//! Evidence: what a model read is what its answers are credited by.

use std::path::PathBuf;

use openledger_attribution::evidence::{
    ClusterPlace, Evidence, EvidenceError, TrainedRecord, attributor, from_jsonl, records_root, to_jsonl,
};
use openledger_engine::{Lora, LoraConfig, Model, ModelConfig, Tokenizer};
use openledger_protocol::{B256, Body, ContributionId, DatanetId, RecordRef};

use crate::world::config;

const HEAD: &str = "The lamp on the north buoy shows two flashes.";
const TAIL: &str = "The warden of the lock keeps seven grey geese.";

fn record(index: u32, body: Body) -> TrainedRecord {
    let at = RecordRef { contribution: ContributionId(B256::repeat_byte(1)), index };
    TrainedRecord { datanet: DatanetId(1), version: 1, at, id: format!("r/{index}"), body }
}

fn question(context: Option<String>) -> Body {
    Body::Dialog { prompt: "Who rings the bell?".into(), response: "The ferryman rings it.".into(), context }
}

fn records() -> Vec<TrainedRecord> {
    let long = format!("{HEAD} {}{TAIL}", "Nothing else is written here. ".repeat(20));
    vec![record(0, question(Some(long))), record(1, question(None)), record(2, Body::Text { text: HEAD.into() })]
}

fn model() -> (Model, Tokenizer, Lora) {
    let texts: Vec<String> = records().iter().map(|record| record.body.canonical_text()).collect();
    let tokenizer = Tokenizer::train_bpe(texts.iter(), 320, &["<s>", "</s>"]).unwrap();
    let shape = ModelConfig { vocab: tokenizer.vocab_size(), max_positions: 512, ..config() };
    let model = Model::init(shape, 1).unwrap();
    let lora = Lora::init(&model, &LoraConfig::all_linear(2), 2).unwrap();
    (model, tokenizer, lora)
}

fn build(seq: usize, records: &[TrainedRecord]) -> Evidence {
    let (model, tokenizer, lora) = model();
    Evidence::build(&model, &tokenizer, &lora, records, seq, (PathBuf::from("base"), PathBuf::from("adapter"))).unwrap()
}

fn places(count: u32) -> Vec<ClusterPlace> {
    (0..count).map(|place| ClusterPlace { owner: place, multiplier: u16::MAX, source: place }).collect()
}

#[test]
fn what_was_cut_from_a_context_is_not_indexed_and_the_answer_is() {
    let (_, tokenizer, _) = model();
    let found = |evidence: &Evidence, words: &str| evidence.index.count(&tokenizer.encode(words, false));
    let (tail, answer) = (" of the lock keeps seven grey", " ferryman rings it");
    let whole = build(1000, &records()[..1]);
    assert!(found(&whole, tail) > 0);
    let cut = build(64, &records()[..1]);
    assert_eq!(found(&cut, tail), 0);
    assert_eq!(found(&cut, answer), 1);
    assert!(found(&cut, " on the north buoy shows") > 0);
    assert!(cut.index.tokens() <= 64);
}

#[test]
fn a_record_that_fits_gives_the_same_evidence_at_any_length() {
    let short = &records()[1..];
    let (one, other) = (build(64, short), build(128, short));
    assert_eq!(one.methods(), other.methods());
    assert_ne!(build(8, short).methods(), other.methods());
    assert_eq!(
        one.methods().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["spans/1", "influence-fisher/1"]
    );
}

#[test]
fn each_record_needs_its_place_among_the_clusters() {
    let records = records();
    let evidence = build(64, &records);
    let made = attributor(&records, &places(3), &[], evidence.index.clone(), evidence.cache.clone()).unwrap();
    assert_eq!(made.titles().iter().map(|title| title.record.index).collect::<Vec<_>>(), [0, 1, 2]);
    let refused = attributor(&records, &places(2), &[], evidence.index, evidence.cache);
    assert!(matches!(refused, Err(EvidenceError::Places { places: 2, records: 3 })));
}

#[test]
fn exported_records_read_back_and_a_damaged_line_is_named() {
    let records = records();
    let text = to_jsonl(&records).unwrap();
    assert_eq!(from_jsonl(&text).unwrap(), records);
    assert_eq!(from_jsonl(&format!("\n{text}\n\n")).unwrap(), records);
    let damaged = text.replace("\"version\":1", "\"version\":\"1\"");
    assert!(matches!(from_jsonl(&damaged), Err(EvidenceError::Line { line: 1, .. })));
    assert_ne!(records_root(1, &records), records_root(1, &records[1..]));
    assert_ne!(records_root(1, &records), records_root(2, &records));
}
