//! Plain folders: the commands' functions, from files to files.

use openledger_attribution::folder::{
    Content, FolderError, RecordName, Source, influence_cache, influence_score, trace_index, trace_query,
};
use openledger_attribution::influence::Method;
use openledger_attribution::spans::SpanRules;
use openledger_engine::{Lora, LoraConfig, Model, ModelConfig, Tokenizer};
use openledger_protocol::{Body, Params};

use crate::world::{FACTS, World, config};

const TEXTS: [&str; 3] = [
    "Follow the line from Merak to Dubhe, about five times its length, to find Polaris.",
    "Sirius in Canis Major is the brightest star, because it is near.",
    "Vega, Deneb and Altair make the Summer Triangle.",
];

fn source(id: &str, content: Content) -> Source {
    Source { name: RecordName { id: id.to_owned(), contributors: vec!["dark-adapted".to_owned()] }, content }
}

fn ids(ids: &[u32], loss_from: usize) -> Source {
    source("ids", Content::Ids { ids: ids.to_vec(), loss_from })
}

fn text(id: &str, text: &str) -> Source {
    source(id, Content::Body(Body::Text { text: text.to_owned() }))
}

#[test]
fn a_text_is_traced_to_the_record_it_repeats() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join("index");
    let records: Vec<Source> = (0..).zip(TEXTS).map(|(at, one)| text(&format!("sky/{at}"), one)).collect();
    Tokenizer::train_bpe(TEXTS.iter(), 300, &["<s>", "</s>"]).unwrap().save(dir.path()).unwrap();
    let report = trace_index(&records, &dir.path().join("tokenizer.json"), &index).unwrap();
    assert_eq!(report.records, 3);

    let answer = "You can find it: follow the line from Merak to Dubhe, and there it is.";
    let rules = SpanRules { min_millibits: 24_000, beyond_chance_millibits: None, ..SpanRules::default() };
    let found = trace_query(&index, "", answer, &rules, &Params::GENESIS).unwrap();
    assert_eq!(found.root, report.root);
    assert_eq!(found.scores[0].0.id, "sky/0");
    assert_eq!(found.scores[0].0.contributors, ["dark-adapted"]);
    let span = found.spans.iter().find(|span| span.text.contains("Merak")).unwrap();
    assert!(span.text.contains("the line from Merak to Dubhe,"), "{}", span.text);
    let length = span.text.len();
    assert_eq!(&TEXTS[0][span.record_offset as usize..][..length], span.text);
    assert_eq!(&answer[span.output_offset as usize..][..length], span.text);
    assert!(trace_query(&index, "", "Quite unlike.", &rules, &Params::GENESIS).unwrap().spans.is_empty());
}

#[test]
fn records_without_text_are_all_named_and_nothing_is_indexed() {
    let dir = tempfile::tempdir().unwrap();
    Tokenizer::train_bpe(TEXTS.iter(), 300, &["<s>"]).unwrap().save(dir.path()).unwrap();
    let records = [text("a", "a"), ids(&[1, 2], 1), ids(&[3, 4], 1)];
    let refused = trace_index(&records, &dir.path().join("tokenizer.json"), &dir.path().join("index"));
    let Err(FolderError::Records { records }) = refused else { panic!("{refused:?}") };
    assert_eq!(records, ["`ids` has token ids and no text"; 2]);
    assert!(!dir.path().join("index").exists());
}

/// A base of random weights with a tokenizer, and an adapter folder beside it.
fn base_of_texts(at: &dyn Fn(&str) -> std::path::PathBuf) -> (Tokenizer, usize) {
    let tokenizer = Tokenizer::train_bpe(TEXTS.iter(), 300, &["<s>", "</s>"]).unwrap();
    let shape = ModelConfig { vocab: tokenizer.vocab_size(), max_positions: 64, ..config() };
    let model = Model::init(shape, 1).unwrap();
    model.save(&at("base")).unwrap();
    tokenizer.save(&at("base")).unwrap();
    // A diverse pair of factors, so that gradients differ.
    Lora::init(&model, &LoraConfig::all_linear(2), 2).unwrap().save_peft(&at("adapter"), "base").unwrap();
    (tokenizer, 64)
}

fn question(context: Option<String>) -> Content {
    let (prompt, response) = ("Which star is near?".to_owned(), "Sirius in Canis Major.".to_owned());
    Content::Body(Body::Dialog { prompt, response, context })
}

#[test]
fn a_query_loses_its_context_to_fit_and_never_its_answer() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    base_of_texts(&at);
    let records = [source("one", question(None)), text("two", TEXTS[2])];
    let cache = |seq| {
        influence_cache(&at("base"), &at("adapter"), &records, seq, &at("cache"), Method::GradCos, &mut |_, _| ())
            .unwrap()
    };
    cache(None);
    let long = TEXTS.join(" ").repeat(3);
    let scores = influence_score(&at("cache"), &[source("q", question(Some(long.clone())))], &mut |_, _| ()).unwrap();
    assert_eq!((scores.queries(), scores.records()), (1, 2));
    let prompt = Body::Dialog { prompt: long, response: "Sirius.".into(), context: None };
    let refused = influence_score(&at("cache"), &[source("q", Content::Body(prompt))], &mut |_, _| ());
    assert!(matches!(refused, Err(FolderError::Records { records }) if records[0].contains("longer than the model")));
}

#[test]
fn records_are_cut_where_the_training_of_the_adapter_cut_them() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (tokenizer, positions) = base_of_texts(&at);
    let long = TEXTS.join(" ");
    assert!(tokenizer.encode(&long, true).len() > positions);
    let root = |seq: Option<usize>, text_of: &str| {
        let records = [text("long", text_of), source("one", question(None))];
        let out = at(&format!("cache-{seq:?}-{}", text_of.len()));
        influence_cache(&at("base"), &at("adapter"), &records, seq, &out, Method::Fisher, &mut |_, _| ()).unwrap().root
    };
    // The first thirty tokens of the text, the start token included, as a text of their own.
    let cut = tokenizer.decode(&tokenizer.encode(&long, true)[..30]);
    let expected = root(Some(30), &cut);
    assert_eq!(root(Some(30), &long), expected);
    assert_ne!(root(None, &long), expected);
    std::fs::write(at("adapter/training.json"), r#"{"format":"openledger/training/v1","recipe":{"seq":"30"}}"#)
        .unwrap();
    assert_eq!(root(None, &long), expected);
    std::fs::write(at("adapter/training.json"), r#"{"format":"openledger/training/v1","recipe":{}}"#).unwrap();
    let records = [text("long", &long)];
    let damaged =
        influence_cache(&at("base"), &at("adapter"), &records, None, &at("c"), Method::Fisher, &mut |_, _| ());
    assert!(matches!(damaged, Err(FolderError::Damaged { .. })));
    std::fs::write(at("adapter/training.json"), r#"{"steps":30}"#).unwrap();
    assert_ne!(root(None, &long), expected);
}

#[test]
fn cache_and_scores_go_from_folders_to_a_matrix() {
    let world = World::new(40);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    world.model.save(&at("base")).unwrap();
    world.lora.save_peft(&at("adapter"), "base").unwrap();
    let records: Vec<Source> = world.records.iter().map(|item| ids(&item.ids, 1)).collect();
    let queries: Vec<Source> = world.queries.iter().map(|item| ids(&item.ids, item.loss_from)).collect();

    let mut seen = Vec::new();
    let report =
        influence_cache(&at("base"), &at("adapter"), &records, None, &at("cache"), Method::Fisher, &mut |done, all| {
            seen.push((done, all))
        })
        .unwrap();
    assert_eq!((report.records, seen.last()), (world.records.len(), Some(&(world.records.len(), world.records.len()))));
    let scores = influence_score(&at("cache"), &queries, &mut |_, _| ()).unwrap();
    assert_eq!((scores.queries(), scores.records()), (FACTS, world.records.len()));
    let best = |query: usize| {
        let row = scores.row(query).unwrap();
        (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap()
    };
    assert!((0..FACTS).filter(|query| world.states[best(*query)] == Some(*query)).count() * 10 >= FACTS * 8);

    let other = World::new(2);
    other.lora.save_peft(&at("adapter"), "base").unwrap();
    let refused = influence_score(&at("cache"), &queries, &mut |_, _| ());
    assert!(matches!(refused, Err(FolderError::Changed { what: "adapter", .. })));
}
