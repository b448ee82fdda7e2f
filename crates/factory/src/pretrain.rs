//! Makes a base model from a recipe file: corpus, tokenizer, weights.
//!
//! # Place in the flow
//!
//! Run once by the project for `models/base`; anyone may run it again and compare hashes. The texts
//! come in and are checked against the SHA-256 that the recipe records; the tokenizer follows from
//! the texts, the weights from both.
//!
//! # Invariants
//!
//! - Same recipe, same bytes, on any number of threads, stopped and resumed or not.
//! - The figures in `training.json` are those of the saved weights (bf16), not of the ones in
//!   memory.

use std::path::Path;

use openledger_engine::{AdamW, BaseTrainer, Example, Model, ModelConfig, Schedule, Tokenizer};
use openledger_protocol::{B256, canonical_json, sha256};
use serde::Deserialize;
use serde_json::json;

use crate::checkpoint::Checkpoint;
use crate::encode::Sequence;
use crate::error::FactoryError;
use crate::export::{CHAT_TEMPLATE, hex};
use crate::files;
use crate::held_out::{measure, micro_nats};
use crate::observer::{ContextsCut, Event, NextStep, Observer};
use crate::train::{Order, Saving};

/// A recipe of a base model, as `models/base/recipe.toml` has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainRecipe {
    /// The base's name.
    pub name: String,
    /// Its licence.
    pub license: String,
    /// The texts to train on, in order.
    pub inputs: Vec<Input>,
    /// The texts to measure on.
    pub held_out: Input,
    /// The tokenizer.
    pub tokenizer: TokenizerRecipe,
    /// The model's shape.
    pub model: Shape,
    /// How it is trained.
    pub training: Training,
}

/// The texts that a recipe's inputs stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// Those to train on: one list for each of the recipe's inputs, in its order.
    pub inputs: Vec<Vec<String>>,
    /// Those to measure on.
    pub held_out: Vec<String>,
}

/// Where a list of texts comes from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// `generated`: by `models/corpus`.
    pub kind: String,
    /// Seed of the corpus.
    pub seed: u64,
    /// Number of records.
    pub records: usize,
    /// Its size in bytes, separators not counted or counted: told to people, not checked.
    pub bytes: u64,
    /// SHA-256 over each text's bytes followed by one zero byte, in hexadecimal.
    pub sha256: String,
}

/// How the tokenizer is made.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRecipe {
    /// `byte-level-bpe`.
    pub kind: String,
    /// Number of ids.
    pub vocab: usize,
    /// Special tokens; the first starts and ends every text.
    pub special: Vec<String>,
}

/// The shape of the model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// `llama`.
    pub architecture: String,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key/value heads.
    pub kv_heads: usize,
    /// Width of the gated feed-forward layer.
    pub ffn: usize,
    /// Largest sequence in tokens.
    pub context: usize,
    /// Whether the head shares the embedding's weights.
    pub tied: bool,
    /// Added to the mean square in norms.
    pub norm_epsilon: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// `bf16`: how the weights are saved.
    pub dtype: String,
}

/// How the model is trained.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Names the initial weights and the order of windows.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Windows a step.
    pub batch: usize,
    /// Tokens a window.
    pub sequence: usize,
    /// `adamw`.
    pub optimizer: String,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// `cosine`.
    pub schedule: String,
    /// Steps of warm-up.
    pub warmup_steps: u64,
    /// Learning rate at the end.
    pub final_learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest norm of a gradient.
    pub clip_norm: f64,
}

/// What pre-training made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pretrained {
    /// [`Model::hash`] of the saved model.
    pub model: [u8; 32],
    /// [`Tokenizer::hash`] of the saved tokenizer.
    pub tokenizer: [u8; 32],
    /// Loss of each step's batch in micro-nats a token.
    pub losses: Vec<u64>,
    /// Loss of the saved model on the held-out text, in micro-nats a token.
    pub held_out: u64,
}

impl PretrainRecipe {
    /// Reads a recipe file, refusing by name what this code does not do.
    ///
    /// # Errors
    /// [`FactoryError::Io`], [`FactoryError::BadRecipeFile`].
    pub fn load(path: &Path) -> Result<Self, FactoryError> {
        let text = std::fs::read_to_string(path).map_err(files::io(path))?;
        Self::parse(&text).map_err(|reason| FactoryError::BadRecipeFile { path: path.to_owned(), reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let recipe: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        let known = [
            ("model.architecture", &recipe.model.architecture, "llama"),
            ("model.dtype", &recipe.model.dtype, "bf16"),
            ("tokenizer.kind", &recipe.tokenizer.kind, "byte-level-bpe"),
            ("training.optimizer", &recipe.training.optimizer, "adamw"),
            ("training.schedule", &recipe.training.schedule, "cosine"),
            ("held_out.kind", &recipe.held_out.kind, "generated"),
        ];
        let inputs = recipe.inputs.iter().map(|input| ("inputs.kind", &input.kind, "generated"));
        for (name, found, expected) in known.into_iter().chain(inputs) {
            if found != expected {
                return Err(format!("{name} = `{found}` is not supported, only `{expected}`"));
            }
        }
        let t = &recipe.training;
        if t.batch == 0 || t.steps == 0 || t.sequence < 2 || t.sequence > recipe.model.context {
            return Err("training.batch and steps must be above 0, sequence from 2 to model.context".into());
        }
        if recipe.tokenizer.special.is_empty() || recipe.inputs.is_empty() {
            return Err("there must be an input and a special token that ends texts".into());
        }
        if recipe.model.heads == 0 || !recipe.model.hidden.is_multiple_of(recipe.model.heads) {
            return Err("model.hidden must be a multiple of model.heads".into());
        }
        Ok(recipe)
    }

    fn config(&self, vocab: usize, end: u32) -> ModelConfig {
        let m = &self.model;
        ModelConfig {
            hidden: m.hidden,
            ffn: m.ffn,
            layers: m.layers,
            heads: m.heads,
            kv_heads: m.kv_heads,
            head_dim: m.hidden / m.heads,
            vocab,
            max_positions: m.context,
            rms_eps: m.norm_epsilon,
            rope_theta: m.rope_theta,
            tied: m.tied,
            bos: Some(end),
            eos: vec![end],
            arch: Default::default(),
        }
    }

    fn optimiser(&self) -> AdamW {
        let t = &self.training;
        AdamW {
            lr: t.learning_rate,
            beta1: t.beta1,
            beta2: t.beta2,
            eps: 1e-8,
            weight_decay: t.weight_decay,
            clip: Some(t.clip_norm),
            warmup_steps: t.warmup_steps,
            schedule: Schedule::Cosine { total_steps: t.steps, floor: t.final_learning_rate / t.learning_rate },
        }
    }
}

/// Trains the base that the recipe at `recipe` describes and writes its folder to `out` (which may
/// hold an older one).
///
/// Texts stand one after the other, the end token before, between and after them, cut into windows
/// that overlap by one token, so that each token but the first is learned once a pass. `None` when
/// the observer stopped the run.
///
/// # Errors
/// [`FactoryError::CorpusDiffers`] when the texts are others than the recipe records; otherwise
/// those of [`PretrainRecipe::load`] and [`crate::train`].
pub fn pretrain(
    recipe: &Path,
    given: &Texts,
    out: &Path,
    saving: Saving<'_>,
    observer: &mut dyn Observer,
) -> Result<Option<Pretrained>, FactoryError> {
    let text = std::fs::read_to_string(recipe).map_err(files::io(recipe))?;
    let parsed = PretrainRecipe::parse(&text)
        .map_err(|reason| FactoryError::BadRecipeFile { path: recipe.to_owned(), reason })?;
    if given.inputs.len() != parsed.inputs.len() {
        let (found, wanted) = (given.inputs.len(), parsed.inputs.len());
        return Err(FactoryError::NoData {
            reason: format!("the recipe has {wanted} inputs, {found} lists were given"),
        });
    }
    for (index, (input, texts)) in parsed.inputs.iter().zip(&given.inputs).enumerate() {
        check_texts(index, input, texts)?;
    }
    let held_out = &given.held_out;
    check_texts(parsed.inputs.len(), &parsed.held_out, held_out)?;
    let texts: Vec<&str> = given.inputs.iter().flatten().map(String::as_str).collect();

    let specials: Vec<&str> = parsed.tokenizer.special.iter().map(String::as_str).collect();
    let tokenizer = Tokenizer::train_bpe(texts.iter(), parsed.tokenizer.vocab, &specials)?;
    let end = specials.first().and_then(|name| tokenizer.token_to_id(name)).ok_or_else(|| {
        FactoryError::BadRecipeFile { path: recipe.to_owned(), reason: "the end token is not in the vocabulary".into() }
    })?;
    let windows = windows(&tokenizer, end, &texts, parsed.training.sequence);
    let measured = windows_of_texts(&tokenizer, end, held_out, parsed.model.context);
    let model = Model::init(parsed.config(tokenizer.vocab_size(), end), parsed.training.seed)?;
    let fingerprint = sha256(text.as_bytes());
    let Some((model, losses)) = run(&parsed, model, &windows, fingerprint, saving, observer)? else {
        return Ok(None);
    };
    write(out, &model, &tokenizer, &parsed, &text)?;
    // The saved weights are rounded: the figure is about them.
    let saved = Model::load(out)?;
    let tokenizer = Tokenizer::load(out)?;
    let pretrained = Pretrained {
        model: saved.hash(),
        tokenizer: tokenizer.hash(),
        losses,
        held_out: measure(&saved, None, &measured)?,
    };
    observer.on(&Event::Evaluated { step: parsed.training.steps, micro_nats: pretrained.held_out });
    let figures = canonical_json(&json!({
        "format": "openledger/pretraining/v1",
        "model": hex(&pretrained.model),
        "tokenizer": hex(&pretrained.tokenizer),
        "recipe": hex(fingerprint.as_slice()),
        "corpus": parsed.inputs.iter().map(|input| &input.sha256).collect::<Vec<_>>(),
        "steps": parsed.training.steps,
        "final_loss_micro_nats": pretrained.losses.last(),
        "held_out_micro_nats": pretrained.held_out,
        "numeric_mode": openledger_engine::NUMERIC_MODE,
    }))?;
    files::write_atomically(&out.join("training.json"), figures.as_bytes())?;
    Ok(Some(pretrained))
}

/// All steps, or `None` when stopped.
fn run(
    recipe: &PretrainRecipe,
    model: Model,
    windows: &[Sequence],
    fingerprint: B256,
    saving: Saving<'_>,
    observer: &mut dyn Observer,
) -> Result<Option<(Model, Vec<u64>)>, FactoryError> {
    if windows.is_empty() {
        return Err(FactoryError::NoData { reason: "the corpus is empty".into() });
    }
    let steps = recipe.training.steps;
    let saved = match saving.file {
        Some(path) => Checkpoint::load(path, fingerprint)?,
        None => None,
    };
    let (mut trainer, mut losses) = match saved {
        Some(saved) => (BaseTrainer::resume(model, recipe.optimiser(), &saved.engine)?, saved.losses),
        None => (BaseTrainer::new(model, recipe.optimiser())?, Vec::new()),
    };
    let save = |trainer: &BaseTrainer, losses: &[u64]| match saving.file {
        Some(path) => {
            Checkpoint { fingerprint, before: 0, losses: losses.to_vec(), engine: trainer.checkpoint() }.save(path)
        }
        None => Ok(()),
    };
    let mut order = Order::with(recipe.training.seed, recipe.training.batch, windows.len());
    let done = trainer.steps_done();
    let mut verdict = observer.on(&Event::Started {
        steps,
        done,
        records: windows.len(),
        held_out: 0,
        truncated: 0,
        contexts_cut: ContextsCut::default(),
        skipped: 0,
    });
    while trainer.steps_done() < steps {
        if verdict == NextStep::Stop {
            save(&trainer, &losses)?;
            return Ok(None);
        }
        let batch: Vec<Example<'_>> = order
            .batch(trainer.steps_done())
            .iter()
            .map(|at| Example { ids: &windows[*at].ids, loss_from: windows[*at].loss_from })
            .collect();
        let report = trainer.step(&batch)?;
        losses.push(micro_nats(report.loss));
        let done = trainer.steps_done();
        verdict = observer.on(&Event::Stepped(report));
        if saving.file.is_some() && saving.every > 0 && done.is_multiple_of(saving.every) && done < steps {
            save(&trainer, &losses)?;
            observer.on(&Event::Saved { step: done });
        }
    }
    Ok(Some((trainer.into_model(), losses)))
}

/// Whether `texts` are those that `input` records.
fn check_texts(index: usize, input: &Input, texts: &[String]) -> Result<(), FactoryError> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    let found = hex(sha256(bytes).as_slice());
    if found.trim_start_matches("0x") == input.sha256.trim_start_matches("0x") {
        return Ok(());
    }
    Err(FactoryError::CorpusDiffers { index, found, expected: input.sha256.clone() })
}

/// The stream of all texts in windows of `width` tokens that overlap by one.
fn windows(tokenizer: &Tokenizer, end: u32, texts: &[&str], width: usize) -> Vec<Sequence> {
    let mut stream = vec![end];
    for text in texts {
        stream.extend(tokenizer.encode(text, false));
        stream.push(end);
    }
    cut(&stream, width)
}

/// Each text on its own, in windows where it is longer than `width`.
fn windows_of_texts(tokenizer: &Tokenizer, end: u32, texts: &[String], width: usize) -> Vec<Sequence> {
    let each = texts.iter().flat_map(|text| {
        let mut ids = vec![end];
        ids.extend(tokenizer.encode(text, false));
        ids.push(end);
        cut(&ids, width)
    });
    each.collect()
}

/// Cuts `stream` into windows of at most `width` tokens, each starting with the last token of the
/// one before.
fn cut(stream: &[u32], width: usize) -> Vec<Sequence> {
    (0..stream.len().saturating_sub(1))
        .step_by(width - 1)
        .enumerate()
        .map(|(record, start)| Sequence {
            record,
            ids: stream[start..(start + width).min(stream.len())].to_vec(),
            loss_from: 1,
            truncated: false,
            context_cut: 0,
        })
        .collect()
}

/// Writes the base's folder file by file, each whole; other files of the folder stay.
fn write(
    out: &Path,
    model: &Model,
    tokenizer: &Tokenizer,
    recipe: &PretrainRecipe,
    text: &str,
) -> Result<(), FactoryError> {
    let part = out.join(".part");
    std::fs::create_dir_all(&part).map_err(files::io(&part))?;
    model.save(&part)?;
    tokenizer.save(&part)?;
    let end = recipe.tokenizer.special.first().cloned().unwrap_or_default();
    let end_id = tokenizer.token_to_id(&end);
    let pretty = |value: serde_json::Value| serde_json::to_string_pretty(&value).map(|text| text + "\n");
    let texts = [
        (
            "tokenizer_config.json",
            pretty(json!({
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": end,
                "eos_token": end,
                "pad_token": end,
                "add_bos_token": true,
                "model_max_length": recipe.model.context,
                "clean_up_tokenization_spaces": false,
                "chat_template": CHAT_TEMPLATE,
            }))?,
        ),
        ("special_tokens_map.json", pretty(json!({ "bos_token": end, "eos_token": end, "pad_token": end }))?),
        (
            "generation_config.json",
            pretty(json!({
                "bos_token_id": end_id,
                "eos_token_id": end_id,
                "pad_token_id": end_id,
                "do_sample": false,
            }))?,
        ),
        ("chat_template.jinja", CHAT_TEMPLATE.to_owned()),
        ("recipe.toml", text.to_owned()),
    ];
    for (name, text) in texts {
        let path = part.join(name);
        std::fs::write(&path, text).map_err(files::io(&path))?;
    }
    for entry in std::fs::read_dir(&part).map_err(files::io(&part))? {
        let from = entry.map_err(files::io(&part))?.path();
        std::fs::File::open(&from).and_then(|file| file.sync_all()).map_err(files::io(&from))?;
        let to = out.join(from.file_name().unwrap_or_default());
        std::fs::rename(&from, &to).map_err(files::io(&to))?;
    }
    std::fs::remove_dir(&part).map_err(files::io(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_learn_every_token_but_the_first_once() {
        let stream: Vec<u32> = (0..23).collect();
        for width in [2, 5, 23, 40] {
            let learned: Vec<u32> = cut(&stream, width).iter().flat_map(|w| w.ids[w.loss_from..].to_vec()).collect();
            assert_eq!(learned, stream[1..], "width {width}");
            assert!(cut(&stream, width).iter().all(|w| w.ids.len() <= width && w.ids.len() > 1));
        }
    }

    #[test]
    fn the_recipe_of_the_shipped_base_is_understood() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/base/recipe.toml");
        let recipe = PretrainRecipe::load(&path).unwrap();
        let config = recipe.config(recipe.tokenizer.vocab, 0);
        config.validate().unwrap();
        assert_eq!(recipe.tokenizer.special.len(), 1);
    }

    #[test]
    fn a_recipe_that_asks_for_something_else_is_refused_by_name() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/base/recipe.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let reason = PretrainRecipe::parse(&text.replace("\"adamw\"", "\"lion\"")).unwrap_err();
        assert!(reason.contains("training.optimizer"), "{reason}");
        assert!(PretrainRecipe::parse(&text.replace("batch = 16", "batch = 0")).is_err());
    }
}
