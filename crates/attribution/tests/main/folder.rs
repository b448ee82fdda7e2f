//! Plain folders: the commands' functions, from files to files.

use std::path::Path;

use openledger_attribution::folder::{FolderError, influence_cache, influence_score, trace_index, trace_query};
use openledger_attribution::influence::Method;
use openledger_attribution::spans::SpanRules;
use openledger_engine::Tokenizer;

use crate::world::{FACTS, World};

const TEXTS: [&str; 3] = [
    "Follow the line from Merak to Dubhe, about five times its length, to find Polaris.",
    "Sirius in Canis Major is the brightest star, because it is near.",
    "Vega, Deneb and Altair make the Summer Triangle.",
];

fn write(path: &Path, lines: &[String]) {
    std::fs::write(path, lines.join("\n")).unwrap();
}

#[test]
fn a_text_is_traced_to_the_record_it_repeats() {
    let dir = tempfile::tempdir().unwrap();
    let (records, index) = (dir.path().join("records.jsonl"), dir.path().join("index"));
    let line = |(at, text): (usize, &&str)| {
        serde_json::json!({"id": format!("sky/{at}"), "contributor": "dark-adapted", "license": "CC0-1.0", "text": text})
            .to_string()
    };
    write(&records, &TEXTS.iter().enumerate().map(line).collect::<Vec<_>>());
    Tokenizer::train_bpe(TEXTS.iter(), 300, &["<s>", "</s>"]).unwrap().save(dir.path()).unwrap();
    let report = trace_index(&records, &dir.path().join("tokenizer.json"), &index).unwrap();
    assert_eq!(report.records, 3);

    let text = "You can find it: follow the line from Merak to Dubhe, and there it is.";
    let rules = SpanRules { min_millibits: 24_000, beyond_chance_millibits: None, ..SpanRules::default() };
    let found = trace_query(&index, "", text, &rules).unwrap();
    assert_eq!(found.root, report.root);
    assert_eq!(found.scores[0].0.id, "sky/0");
    assert_eq!(found.scores[0].0.contributors, ["dark-adapted"]);
    let span = found.spans.iter().find(|span| span.text.contains("Merak")).unwrap();
    assert!(span.text.contains("the line from Merak to Dubhe,"), "{}", span.text);
    let length = span.text.len();
    assert_eq!(&TEXTS[0][span.record_offset as usize..][..length], span.text);
    assert_eq!(&text[span.output_offset as usize..][..length], span.text);
    assert!(trace_query(&index, "", "Quite unlike.", &rules).unwrap().spans.is_empty());
}

#[test]
fn bad_lines_are_all_named() {
    let dir = tempfile::tempdir().unwrap();
    let records = dir.path().join("records.jsonl");
    Tokenizer::train_bpe(TEXTS.iter(), 300, &["<s>"]).unwrap().save(dir.path()).unwrap();
    let good = r#"{"text": "a"}"#;
    write(&records, &[good, "{", "", "[1]", good, r#"{"prompt": "only"}"#].map(str::to_owned));
    let refused = trace_index(&records, &dir.path().join("tokenizer.json"), &dir.path().join("index"));
    let Err(FolderError::Lines { lines, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(lines.iter().map(|line| line.0).collect::<Vec<_>>(), [2, 4, 6]);
    assert!(!dir.path().join("index").exists());
}

#[test]
fn cache_and_scores_go_from_folders_to_a_matrix() {
    let world = World::new(40);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    world.model.save(&at("base")).unwrap();
    world.lora.save_peft(&at("adapter"), "base").unwrap();
    let line = |ids: &[u32], start: Option<usize>| match start {
        None => serde_json::json!({ "input_ids": ids }).to_string(),
        Some(start) => serde_json::json!({ "input_ids": ids, "loss_start": start }).to_string(),
    };
    write(&at("records.jsonl"), &world.records.iter().map(|item| line(&item.ids, None)).collect::<Vec<_>>());
    let queries: Vec<String> = world.queries.iter().map(|item| line(&item.ids, Some(item.loss_from))).collect();
    write(&at("queries.jsonl"), &queries);

    let mut seen = Vec::new();
    let report = influence_cache(
        &at("base"),
        &at("adapter"),
        &at("records.jsonl"),
        &at("cache"),
        Method::Fisher,
        &mut |done, all| seen.push((done, all)),
    )
    .unwrap();
    assert_eq!((report.records, seen.last()), (world.records.len(), Some(&(world.records.len(), world.records.len()))));
    let scores = influence_score(&at("cache"), &at("queries.jsonl"), &mut |_, _| ()).unwrap();
    assert_eq!((scores.queries(), scores.records()), (FACTS, world.records.len()));
    let best = |query: usize| {
        let row = scores.row(query).unwrap();
        (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap()
    };
    assert!((0..FACTS).filter(|query| world.states[best(*query)] == Some(*query)).count() * 10 >= FACTS * 8);

    write(&at("queries.jsonl"), &[line(&[0, 1, 2], Some(3)), line(&[0], None), "{\"input_ids\": [-1]}".to_owned()]);
    let refused = influence_score(&at("cache"), &at("queries.jsonl"), &mut |_, _| ());
    assert!(matches!(refused, Err(FolderError::Lines { lines, .. }) if lines.len() == 3));

    let other = World::new(2);
    other.lora.save_peft(&at("adapter"), "base").unwrap();
    let refused = influence_score(&at("cache"), &at("queries.jsonl"), &mut |_, _| ());
    assert!(matches!(refused, Err(FolderError::Changed { what: "adapter", .. })));
}
