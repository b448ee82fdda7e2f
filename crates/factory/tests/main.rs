//! The trainer on small models: same bytes whatever happens on the way.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::path::Path;

use openledger_corpus as corpus;
use openledger_engine::{Lora, Model, ModelConfig, Runtime, Tokenizer};
use openledger_factory::plain::{Job, train_folder};
use openledger_factory::{
    Content, Event, FactoryError, Granted, NextStep, Outcome, PretrainRecipe, Pretrained, Recipe, Saving, Silent,
    Texts, TrainRecord, Trained, is_held_out, pretrain, train,
};
use openledger_protocol::{Body, sha256};

fn config(vocab: usize) -> ModelConfig {
    ModelConfig {
        hidden: 32,
        ffn: 48,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        vocab,
        max_positions: 64,
        rms_eps: 1e-5,
        rope_theta: 1e4,
        tied: true,
        bos: Some(0),
        eos: vec![0],
        arch: Default::default(),
    }
}

/// A base with random weights, its tokenizer, and records of both kinds.
fn case() -> (Model, Tokenizer, Vec<TrainRecord>) {
    let texts: Vec<String> = corpus::generate(5, 40).into_iter().map(|record| record.text).collect();
    let tokenizer = Tokenizer::train_bpe(texts.iter(), 400, &["<|end|>"]).unwrap();
    let model = Model::init(config(tokenizer.vocab_size()), 1).unwrap();
    let mut records: Vec<TrainRecord> =
        texts.iter().take(20).enumerate().map(|(i, text)| TrainRecord::text(format!("t{i}"), text)).collect();
    records.extend((0..10).map(|i| {
        let body = Body::Dialog {
            prompt: format!("How many owls are in house {i}?"),
            response: format!("There are {} owls.", i + 3),
            context: None,
        };
        TrainRecord::of(format!("d{i}"), &body)
    }));
    (model, tokenizer, records)
}

fn recipe() -> Recipe {
    Recipe { rank: 2, epochs: 3, batch: 8, seq: 48, lr: 0.02, seed: 11, holdout: 0.2, ..Recipe::default() }
}

fn done(outcome: Outcome) -> Trained {
    match outcome {
        Outcome::Done(trained) => trained,
        Outcome::Stopped { step } => panic!("stopped after {step} steps"),
    }
}

fn run(model: &Model, tokenizer: &Tokenizer, records: &[TrainRecord], recipe: &Recipe) -> Trained {
    let granted = Granted::own(records.to_vec());
    done(train(model, tokenizer, &granted, recipe, Saving::default(), &mut Silent).unwrap())
}

#[test]
fn the_same_run_gives_the_same_adapter_on_one_and_two_threads() {
    let (model, tokenizer, records) = case();
    let one = model.with_runtime(Runtime::new(1));
    let first = run(&one, &tokenizer, &records, &recipe());
    let two = case().0.with_runtime(Runtime::new(2));
    let second = run(&two, &tokenizer, &records, &recipe());
    assert_eq!(first.lora.hash(), second.lora.hash());
    assert_eq!(first.losses, second.losses);
    assert_eq!(first.held_out, second.held_out);

    let other = run(&two, &tokenizer, &records, &Recipe { seed: 12, ..recipe() });
    assert_ne!(first.lora.hash(), other.lora.hash());
    assert_ne!(first.fingerprint, other.fingerprint);
}

#[test]
fn a_run_stopped_at_any_step_and_resumed_gives_the_same_adapter() {
    let (model, tokenizer, records) = case();
    let whole = run(&model, &tokenizer, &records, &recipe());
    let granted = Granted::own(records);
    for stop_at in [1, 4, 7] {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("run.checkpoint");
        let saving = Saving { file: Some(&file), every: 3 };
        let mut stop = |event: &Event| match event {
            Event::Stepped(report) if report.step == stop_at => NextStep::Stop,
            _ => NextStep::Continue,
        };
        let outcome = train(&model, &tokenizer, &granted, &recipe(), saving, &mut stop).unwrap();
        assert!(matches!(outcome, Outcome::Stopped { step } if step == stop_at));
        let resumed = done(train(&model, &tokenizer, &granted, &recipe(), saving, &mut Silent).unwrap());
        assert_eq!(resumed.lora.hash(), whole.lora.hash(), "stopped after {stop_at}");
        assert_eq!(resumed.losses, whole.losses);
        assert_eq!(resumed.held_out, whole.held_out);
    }
}

#[test]
fn a_checkpoint_of_another_recipe_is_refused() {
    let (model, tokenizer, records) = case();
    let granted = Granted::own(records);
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("run.checkpoint");
    let saving = Saving { file: Some(&file), every: 0 };
    let mut stop = |_: &Event| NextStep::Stop;
    train(&model, &tokenizer, &granted, &recipe(), saving, &mut stop).unwrap();
    let other = Recipe { lr: 0.01, ..recipe() };
    let error = train(&model, &tokenizer, &granted, &other, saving, &mut Silent).err().unwrap();
    assert!(matches!(error, FactoryError::BadCheckpoint { .. }), "{error}");
}

#[test]
fn training_lowers_the_loss_and_counts_the_tokens_it_learned() {
    // A base that has learned a little: an adapter can do nothing with random weights.
    let tmp = tempfile::tempdir().unwrap();
    let base = tmp.path().join("base");
    pretrain(&tiny_recipe(tmp.path()), &tiny_texts(), &base, Saving::default(), &mut Silent).unwrap().unwrap();
    let (model, tokenizer) = (Model::load(&base).unwrap(), Tokenizer::load(&base).unwrap());
    let records = case().2;
    // One batch holds all records, so that the losses of two steps compare.
    let recipe = Recipe { rank: 8, epochs: 40, batch: 64, lr: 0.05, ..recipe() };
    let trained = run(&model, &tokenizer, &records, &recipe);
    let (first, last) = (trained.losses[0], *trained.losses.last().unwrap());
    assert!(last < first, "from {first} to {last}");
    let held_out = trained.held_out.unwrap();
    assert!(held_out.after < held_out.before, "{held_out:?}");
    for (index, record) in records.iter().enumerate() {
        let held = is_held_out(record.hash(), 0.2);
        assert_eq!(held_out.records.contains(&index), held);
        assert_eq!(trained.trained_tokens[index] == 0, held, "record {index}");
    }
    // A dialog is learned from its answer on: fewer tokens than it has.
    let dialog = (20..30).find(|i| trained.trained_tokens[*i] > 0).unwrap();
    let Content::Text { text, answer_start_byte, .. } = &records[dialog].content else { panic!("a dialog is text") };
    // The answer as it stands in the text, its space included, and the end token.
    let answer = tokenizer.encode(&text[answer_start_byte - 1..], false).len() as u64 + 1;
    assert_eq!(trained.trained_tokens[dialog], answer);
}

#[test]
fn long_records_are_cut_off_and_answers_beyond_the_cut_are_told() {
    let (model, tokenizer, _) = case();
    let long = "an owl and a stone ".repeat(30);
    let late = Body::Dialog { prompt: long.clone(), response: "Yes.".into(), context: None };
    let records = [TrainRecord::text("long", &long), TrainRecord::of("late", &late), TrainRecord::text("none", "")];
    let mut told = Vec::new();
    let mut watch = |event: &Event| {
        if let Event::Started { records, truncated, skipped, .. } = event {
            told.push((*records, *truncated, *skipped));
        }
        NextStep::Continue
    };
    let recipe = Recipe { holdout: 0.0, max_steps: 1, ..recipe() };
    let granted = Granted::own(records.to_vec());
    let trained = done(train(&model, &tokenizer, &granted, &recipe, Saving::default(), &mut watch).unwrap());
    assert_eq!(trained.trained_tokens, [recipe.seq as u64 - 1, 0, 0]);
    assert_eq!(told, [(1, 1, 2)]);
}

#[test]
fn a_context_that_is_too_long_is_cut_and_question_and_answer_are_learned() {
    let (model, tokenizer, _) = case();
    let question = |context: Option<String>| Body::Dialog {
        prompt: "How many owls are in house 4?".into(),
        response: "There are 7 owls.".into(),
        context,
    };
    let long = "an owl and a stone ".repeat(30);
    let records = [TrainRecord::of("cut", &question(Some(long))), TrainRecord::of("short", &question(None))];
    let mut seen = None;
    let mut watch = |event: &Event| {
        if let Event::Started { records, truncated, skipped, contexts_cut, .. } = event {
            seen = Some((*records, *truncated, *skipped, *contexts_cut));
        }
        NextStep::Continue
    };
    let recipe = Recipe { holdout: 0.0, max_steps: 1, seq: 64, ..recipe() };
    let granted = Granted::own(records.to_vec());
    let trained = done(train(&model, &tokenizer, &granted, &recipe, Saving::default(), &mut watch).unwrap());
    // The answer is learned whole, the end token included, as it is without a context.
    assert_eq!(trained.trained_tokens[0], trained.trained_tokens[1]);
    let (trained_on, truncated, skipped, cut) = seen.unwrap();
    assert_eq!((trained_on, truncated, skipped, cut.records), (2, 0, 0, 1));
    assert_eq!(trained.contexts_cut, cut);

    // What was read is the beginning of the context, and as much of it as has room.
    let config = model.config();
    let encode = |limit| openledger_factory::encode(&tokenizer, config, limit, 0, &records[0]).unwrap().unwrap();
    let sequence = encode(recipe.seq);
    let text = tokenizer.decode(&sequence.ids);
    assert!(text.starts_with("Context: an owl") && text.ends_with("Answer: There are 7 owls."), "{text}");
    assert!(sequence.ids.len() <= recipe.seq && sequence.ids.len() + 2 > recipe.seq, "{}", sequence.ids.len());
    assert_eq!(cut.tokens as usize, sequence.context_cut);
    let without =
        encode(openledger_factory::encode(&tokenizer, config, 64, 1, &records[1]).unwrap().unwrap().ids.len());
    assert!(tokenizer.decode(&without.ids).starts_with("Question:"));
}

#[test]
fn the_default_recipe_teaches_a_real_base_its_records() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let base = root.join("../shared/models/tinystories-260k");
    if !base.exists() {
        println!("skipped: there is no tinystories-260k beside this checkout");
        return;
    }
    let (model, tokenizer) = (Model::load(&base).unwrap(), Tokenizer::load(&base).unwrap());
    let lines = std::fs::read_to_string(root.join("samples/night-sky.jsonl")).unwrap();
    let record = |line: &str| TrainRecord::of(line, &serde_json::from_str::<Body>(line).unwrap());
    let records: Vec<TrainRecord> = lines.lines().map(record).collect();
    let trained = run(&model, &tokenizer, &records, &Recipe { holdout: 0.1, ..Recipe::default() });
    let held_out = trained.held_out.unwrap();
    println!("{} records, held out {held_out:?}, losses {:?}", records.len(), trained.losses);
    // Records it has not seen, too: their subject and manner of speaking are those of the ones it
    // has.
    assert!(held_out.after * 10 < held_out.before * 9, "{held_out:?}");
}

#[test]
fn a_held_out_copy_of_a_training_record_is_named() {
    let (model, tokenizer, mut records) = case();
    let held = records.iter().position(|r| is_held_out(r.hash(), 0.2)).unwrap();
    let Content::Text { text, .. } = &records[held].content else { panic!("records are text") };
    // The same words with other spaces: another hash, and with it another side of the split, at
    // some number of spaces.
    let copy = (1..50)
        .map(|n| TrainRecord::text("copy", format!("{text}{}", " ".repeat(n))))
        .find(|copy| !is_held_out(copy.hash(), 0.2))
        .unwrap();
    records.push(copy);
    let trained = run(&model, &tokenizer, &records, &recipe());
    let overlap = trained.overlaps.iter().find(|o| o.held_out == held).unwrap();
    assert_eq!((overlap.training, overlap.similarity), (records.len() - 1, 1_000_000));
}

#[test]
fn ids_outside_the_vocabulary_and_empty_data_are_refused_before_training() {
    let (model, tokenizer, _) = case();
    let ids = TrainRecord { name: "x".into(), content: Content::Ids { ids: vec![1, 9_999], loss_from: 1 } };
    let refuse = |records: Vec<TrainRecord>| {
        train(&model, &tokenizer, &Granted::own(records), &recipe(), Saving::default(), &mut Silent).err().unwrap()
    };
    assert!(matches!(refuse(vec![ids]), FactoryError::BadRecord { name, .. } if name == "x"));
    assert!(matches!(refuse(vec![]), FactoryError::NoData { .. }));
    assert!(matches!(refuse(vec![TrainRecord::text("e", "")]), FactoryError::NoData { .. }));
}

/// Writes a base folder under `root`.
fn folder(root: &Path) -> Job {
    let (model, tokenizer, records) = case();
    let base = root.join("base");
    std::fs::create_dir_all(&base).unwrap();
    model.save(&base).unwrap();
    tokenizer.save(&base).unwrap();
    let (records, dataset) = (Granted::own(records), "owls".to_owned());
    Job { base, records, dataset, out: root.join("adapters/owls"), recipe: recipe(), save_every: 2 }
}

#[test]
fn a_folder_is_trained_stopped_resumed_and_exported_as_peft() {
    let tmp = tempfile::tempdir().unwrap();
    let job = folder(tmp.path());
    let mut stop = |event: &Event| match event {
        Event::Stepped(report) if report.step == 3 => NextStep::Stop,
        _ => NextStep::Continue,
    };
    assert!(matches!(train_folder(&job, &mut stop).unwrap(), Outcome::Stopped { step: 3 }));
    assert!(!job.out.exists(), "an unfinished run exports nothing");
    let trained = done(train_folder(&job, &mut Silent).unwrap());

    let model = Model::load(&job.base).unwrap();
    assert_eq!(Lora::load_peft(&job.out, &model).unwrap().hash(), trained.lora.hash());
    let card = std::fs::read_to_string(job.out.join("README.md")).unwrap();
    assert!(card.starts_with("---\nlibrary_name: peft\n") && card.contains("| rank | 2 |"), "{card}");
    let left: Vec<_> = std::fs::read_dir(job.out.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["owls"], "the checkpoint is gone");

    let error = train_folder(&job, &mut Silent).err().unwrap();
    assert!(matches!(error, FactoryError::OutputExists { .. }), "{error}");
}

fn generated(seed: u64, records: usize) -> Vec<String> {
    corpus::generate(seed, records).into_iter().map(|record| record.text).collect()
}

/// What the inputs of [`tiny_recipe`] stand for.
fn tiny_texts() -> Texts {
    Texts { inputs: vec![generated(1, 60)], held_out: generated(2, 5) }
}

/// A recipe of a tiny base, its corpus hashes made to fit.
fn tiny_recipe(root: &Path) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/base/recipe.toml");
    let shipped = PretrainRecipe::load(&path).unwrap();
    let hash = |seed, records| {
        let bytes: Vec<u8> =
            generated(seed, records).into_iter().flat_map(|text| [text.as_bytes(), &[0]].concat()).collect();
        sha256(bytes).to_string().trim_start_matches("0x").to_owned()
    };
    let text = format!(
        "name = 'tiny'\nlicense = '{}'\n\
         [[inputs]]\nkind = 'generated'\nseed = 1\nrecords = 60\nbytes = 0\nsha256 = '{}'\n\
         [held_out]\nkind = 'generated'\nseed = 2\nrecords = 5\nbytes = 0\nsha256 = '{}'\n\
         [tokenizer]\nkind = 'byte-level-bpe'\nvocab = 400\nspecial = ['{}']\n\
         [model]\narchitecture = 'llama'\nhidden = 16\nlayers = 1\nheads = 2\nkv_heads = 1\nffn = 24\ncontext = 64\n\
         tied = true\nnorm_epsilon = 1e-5\nrope_theta = 10000.0\ndtype = 'bf16'\n\
         [training]\nseed = 1\nsteps = 60\nbatch = 4\nsequence = 32\noptimizer = 'adamw'\nlearning_rate = 1e-2\n\
         schedule = 'cosine'\nwarmup_steps = 2\nfinal_learning_rate = 1e-3\nbeta1 = 0.9\nbeta2 = 0.95\n\
         weight_decay = 0.1\nclip_norm = 1.0\n",
        shipped.license,
        hash(1, 60),
        hash(2, 5),
        shipped.tokenizer.special[0],
    );
    let path = root.join("recipe.toml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_base_is_pretrained_to_the_same_bytes_stopped_or_not() {
    let tmp = tempfile::tempdir().unwrap();
    let recipe = tiny_recipe(tmp.path());
    let (one, two) = (tmp.path().join("one"), tmp.path().join("two"));
    let whole = pretrain(&recipe, &tiny_texts(), &one, Saving::default(), &mut Silent).unwrap().unwrap();
    assert!(whole.losses.last() < whole.losses.first(), "{:?}", whole.losses);

    let file = tmp.path().join("base.checkpoint");
    let saving = Saving { file: Some(&file), every: 0 };
    let mut stop = |event: &Event| match event {
        Event::Stepped(report) if report.step == 5 => NextStep::Stop,
        _ => NextStep::Continue,
    };
    assert_eq!(pretrain(&recipe, &tiny_texts(), &two, saving, &mut stop).unwrap(), None);
    let resumed = pretrain(&recipe, &tiny_texts(), &two, saving, &mut Silent).unwrap().unwrap();
    assert_eq!(resumed, whole);
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "generation_config.json",
        "chat_template.jinja",
        "recipe.toml",
        "training.json",
    ] {
        assert_eq!(std::fs::read(one.join(name)).unwrap(), std::fs::read(two.join(name)).unwrap(), "{name}");
    }
    assert_eq!(Model::load(&one).unwrap().hash(), whole.model);
}

#[test]
fn texts_that_are_not_the_recorded_ones_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let recipe = tiny_recipe(tmp.path());
    let refused = |texts: Texts| -> Result<Option<Pretrained>, FactoryError> {
        pretrain(&recipe, &texts, &tmp.path().join("out"), Saving::default(), &mut Silent)
    };
    let other = Texts { inputs: vec![generated(1, 61)], ..tiny_texts() };
    assert!(matches!(refused(other), Err(FactoryError::CorpusDiffers { index: 0, .. })));
    let other = Texts { held_out: generated(3, 5), ..tiny_texts() };
    assert!(matches!(refused(other), Err(FactoryError::CorpusDiffers { index: 1, .. })));
    let none = Texts { inputs: vec![], ..tiny_texts() };
    assert!(matches!(refused(none), Err(FactoryError::NoData { .. })));
}

/// The shipped base's recipe records what the corpus generates.
#[test]
fn the_recipe_of_the_shipped_base_records_its_corpus() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/base/recipe.toml");
    let recipe = PretrainRecipe::load(&path).unwrap();
    for input in recipe.inputs.iter().chain([&recipe.held_out]) {
        let texts = generated(input.seed, input.records);
        let bytes: Vec<u8> = texts.into_iter().flat_map(|text| [text.as_bytes(), &[0]].concat()).collect();
        assert_eq!(sha256(bytes).to_string().trim_start_matches("0x"), input.sha256);
    }
}
