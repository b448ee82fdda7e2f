//! The engine against what transformers and torch computed on the same models.

use std::ops::ControlFlow;

use openledger_engine::{Model, Sampling, Tokenizer, generate, logits, score};
use serde_json::Value;

use crate::common::shared_model;

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

fn check(name: &str) {
    let Some(dir) = shared_model(name) else { return };
    let model = Model::load(&dir).unwrap();
    let tokenizer = Tokenizer::load(&dir).unwrap();
    let golden: Value = serde_json::from_slice(&std::fs::read(dir.join("golden.json")).unwrap()).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let prompt = ids(&case["input_ids"]);
        let text = case["prompt"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, true), prompt, "ids of {text:?}");

        let rows = logits(&model, None, &prompt).unwrap();
        let last = rows.row(prompt.len() - 1);
        for pair in case["next_top5"].as_array().unwrap() {
            let (id, want) = (pair[0].as_u64().unwrap() as usize, pair[1].as_f64().unwrap());
            let got = f64::from(last[id]);
            assert!((got - want).abs() < 1e-3, "logit {id} after {text:?}: {got}, expected {want}");
        }

        let sampling = Sampling { max_tokens: 48, ..Sampling::default() };
        let run = generate(&model, None, &prompt, &sampling, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(run.ids, ids(&case["greedy48_ids"]), "greedy ids after {text:?}");

        let whole = [prompt.clone(), run.ids.clone()].concat();
        let scores = score(&model, None, &whole).unwrap();
        let sum: f64 = scores.iter().map(|s| f64::from(*s)).sum();
        let want = case["sum_logprob_all"].as_f64().unwrap();
        assert!((sum / want - 1.0).abs() < 1e-3, "sum of log-probabilities {sum}, expected {want}");
        assert_eq!(scores[prompt.len() - 1..], run.logprobs, "decoding and scoring disagree");

        // Ours leaves special tokens out, and with them the spaces that the reference puts around
        // them.
        let spoken = case["text"].as_str().unwrap().trim_start_matches("<|start_story|> ");
        if !spoken.contains("<unk>") {
            assert_eq!(tokenizer.decode(&whole), spoken);
        }
    }
}

#[test]
fn tinystories_260k_gives_the_reference_ids_logits_and_scores() {
    check("tinystories-260k");
}

#[test]
fn tinystories_656k_with_its_head_only_weights_gives_the_reference_results() {
    check("tinystories-656k");
}

#[test]
fn byte_level_and_byte_fallback_tokenizers_keep_offsets_of_foreign_text() {
    for name in ["tinystories-260k", "gpt2-tokenizer"] {
        let Some(dir) = shared_model(name) else { return };
        let tokenizer = Tokenizer::load(&dir).unwrap();
        for text in ["Café 水位 rose 🌊 by 2 ft.", "plain words only"] {
            let encoded = tokenizer.encode_with_offsets(text);
            let ids: Vec<u32> = encoded.iter().map(|t| t.0).collect();
            assert_eq!(tokenizer.encode(text, false), ids);
            let (decoded, ranges) = tokenizer.decode_with_offsets(&ids);
            assert_eq!(decoded, text, "{name}");
            for ((id, there), back) in encoded.iter().zip(&ranges) {
                assert_eq!(text.get(there.clone()), text.get(back.clone()), "{name}: id {id} in {text:?}");
            }
        }
    }
}
