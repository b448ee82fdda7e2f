//! The engine against transformers and PEFT on models of every family, made from a generator that
//! both sides run.
//!
//! `tests/parity/make.py` says how weights are made and wrote the golden outputs beside it.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use openledger_engine::{
    Factor, Lora, Model, ModelConfig, Runtime, Sampling, Scratch, draw, generate, logits, lora_gradient, mean_hidden,
    score,
};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

/// Largest difference, relative to the largest value of its kind.
const TOLERANCE: f64 = 1e-3;

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(format!("{name}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// 64-bit FNV-1a.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Values of a tensor, as `tensor` of the script makes them.
fn values(seed: u64, name: &str, len: usize, shift: i32) -> Vec<f32> {
    let stream = fnv1a(name);
    let step = 2f32.powi(-if name.ends_with(".bias") { 8 } else { shift });
    let bits = |i: usize| draw(seed, stream, i as u64) >> 40;
    if name.contains("norm") {
        return (0..len).map(|i| 1.0 + (bits(i) % 31) as f32 / 64.0 - 15.0 / 64.0).collect();
    }
    (0..len).map(|i| ((bits(i) % 255) as f32 - 127.0) * step).collect()
}

fn integer(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| integer(v) as u32).collect()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The model of a golden file; through files of its own unless it is too large for that.
fn model(golden: &Value, dir: &Path) -> Model {
    let text = golden["config"].to_string();
    let config = ModelConfig::parse(text.as_bytes()).unwrap();
    let (seed, shift) = (integer(&golden["seed"]), integer(&golden["shift"]) as i32);
    // A model of one value everywhere, to learn names and shapes; the values then follow from the
    // names.
    let count = config.num_params() as usize;
    let shape = Model::from_params(config.clone(), &vec![0.0; count]).unwrap();
    let made: Vec<(String, Vec<usize>, Vec<f32>)> = shape
        .tensors()
        .iter()
        .map(|t| (t.name.clone(), t.shape.clone(), values(seed, &t.name, t.range.len(), shift)))
        .collect();
    if count > 1 << 24 {
        let flat = made.into_iter().flat_map(|(_, _, values)| values).collect::<Vec<_>>();
        drop(shape);
        return Model::from_params(config, &flat).unwrap();
    }
    fs::write(dir.join("config.json"), text).unwrap();
    write_tensors(&dir.join("model.safetensors"), made);
    Model::load(dir).unwrap()
}

fn write_tensors(path: &Path, tensors: Vec<(String, Vec<usize>, Vec<f32>)>) {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape, values)| (name, shape, values.into_iter().flat_map(f32::to_le_bytes).collect()))
        .collect();
    let views = bytes.iter().map(|(n, shape, b)| (n, TensorView::new(Dtype::F32, shape.clone(), b).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// An adapter of a golden file, through the folder that PEFT would have written.
fn adapter(entry: &Value, model: &Model, dir: &Path) -> Lora {
    fs::write(dir.join("adapter_config.json"), entry["config"].to_string()).unwrap();
    let (seed, shift) = (integer(&entry["seed"]), integer(&entry["shift"]) as i32);
    // Which maps have an adapter, and of which rank, is what is under test, so that the file's
    // tensors are taken from the reference's gradients where it has them.
    let Some(reference) = entry["gradients"].as_object() else {
        let config = openledger_engine::LoraConfig::all_linear(integer(&entry["config"]["r"]) as usize);
        let all = Lora::init(model, &config, 1).unwrap();
        let made = all.modules().iter().map(|m| {
            let name = m.peft_name();
            let values = values(seed, &name, m.rows * m.cols, shift);
            (name, vec![m.rows, m.cols], values)
        });
        write_tensors(&dir.join("adapter_model.safetensors"), made.collect());
        return Lora::load_peft(dir, model).unwrap();
    };
    let made = reference.iter().map(|(name, facts)| {
        let shape: Vec<usize> = facts["shape"].as_array().unwrap().iter().map(|n| integer(n) as usize).collect();
        (name.clone(), shape.clone(), values(seed, name, shape.iter().product(), shift))
    });
    write_tensors(&dir.join("adapter_model.safetensors"), made.collect());
    Lora::load_peft(dir, model).unwrap()
}

#[track_caller]
fn near(what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(0f64, |max, x| max.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= TOLERANCE * scale, "{what}, value {i}: {got}, the reference has {want}");
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

/// Logits, scores, hidden means and greedy ids of one model and adapter.
fn check_outputs(what: &str, model: &Model, lora: Option<&Lora>, prompt: &[u32], want: &Value) {
    let rows = logits(model, lora, prompt).unwrap();
    let last = rows.row(prompt.len() - 1);
    let (mut got, mut expected) = (Vec::new(), Vec::new());
    for pair in want["top"].as_array().unwrap() {
        got.push(f64::from(last[integer(&pair[0]) as usize]));
        expected.push(pair[1].as_f64().unwrap());
    }
    near(&format!("{what}: logits"), &got, &expected);
    let above = last.iter().filter(|x| f64::from(**x) > expected[expected.len() - 1] + TOLERANCE).count();
    assert!(above < expected.len(), "{what}: {above} logits above the reference's lowest");

    let scores = wide(&score(model, lora, prompt).unwrap());
    near(&format!("{what}: log-probabilities"), &scores, &floats(&want["logprobs"]));
    let sum: f64 = scores.iter().sum();
    near(&format!("{what}: their sum"), &[sum], &[want["sum_logprob"].as_f64().unwrap()]);

    let mean = wide(&mean_hidden(model, lora, prompt).unwrap());
    near(&format!("{what}: hidden mean"), &mean[..16], &floats(&want["mean_hidden"]));
    let norm = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
    near(&format!("{what}: its norm"), &[norm], &[want["mean_hidden_norm"].as_f64().unwrap()]);

    let greedy = ids(&want["greedy"]);
    let sampling = Sampling { max_tokens: greedy.len(), ..Sampling::default() };
    let run = generate(model, lora, prompt, &sampling, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(run.ids, greedy, "{what}: greedy ids");
}

/// Gradients of the mean loss, tensor by tensor.
fn check_gradients(what: &str, model: &Model, lora: &Lora, record: &[u32], want: &Value) {
    let Some(want) = want.as_object() else { return };
    let (_, grads) = lora_gradient(model, lora, record, 1, &mut Scratch::default()).unwrap();
    assert_eq!(lora.modules().len(), want.len(), "{what}: tensors");
    for module in lora.modules() {
        let name = module.peft_name();
        let block = wide(&grads[module.range.clone()]);
        let norm = block.iter().map(|g| g * g).sum::<f64>().sqrt();
        let got = [&[norm], &block[..3]].concat();
        near(&format!("{what}: gradient of {name}"), &got, &floats(&want[&name]["norm_and_first"]));
    }
}

fn check(name: &str) {
    let golden = golden(name);
    let dir = tempfile::tempdir().unwrap();
    let model = model(&golden, dir.path()).with_runtime(Runtime::new(2));
    let prompt = ids(&golden["ids"]);
    check_outputs(name, &model, None, &prompt, &golden["base"]);
    let mut loras = Vec::new();
    for (i, entry) in golden["adapters"].as_array().unwrap().iter().enumerate() {
        let what = format!("{name}, adapter {i}");
        let lora = adapter(entry, &model, dir.path());
        check_outputs(&what, &model, Some(&lora), &prompt, entry);
        check_gradients(&what, &model, &lora, &prompt, &entry["gradients"]);
        assert_ne!(entry["top"], golden["base"]["top"], "{what} changes nothing");
        check_round_trip(&model, &lora);
        loras.push(lora);
    }
    if let Some(weights) = golden["ensemble"]["weights"].as_array() {
        let weight = |i: usize| weights[i].as_f64().unwrap() as f32;
        let parts: Vec<(&Lora, f32)> = loras.iter().enumerate().map(|(i, lora)| (lora, weight(i))).collect();
        let sum = Lora::ensemble(&model, &parts).unwrap();
        check_outputs(&format!("{name}, ensemble"), &model, Some(&sum), &prompt, &golden["ensemble"]);
        check_round_trip(&model, &sum);
    }
}

/// What was read from PEFT is written so that it is read again as the same adapter.
fn check_round_trip(model: &Model, lora: &Lora) {
    let dir = tempfile::tempdir().unwrap();
    lora.save_peft(dir.path(), "base").unwrap();
    let again = Lora::load_peft(dir.path(), model).unwrap();
    assert_eq!(again.hash(), lora.hash());
    assert_eq!(again.modules().iter().filter(|m| m.factor == Factor::A).count() * 2, lora.modules().len());
}

#[test]
fn a_model_of_the_shape_of_smollm2_135m_gives_the_reference_results_with_and_without_its_adapter() {
    check("smollm2-135m");
}

#[test]
fn qwen3_with_normalised_heads_of_their_own_width_gives_the_reference_results() {
    check("qwen3");
}

#[test]
fn qwen2_with_biases_gives_the_reference_results() {
    check("qwen2");
}

#[test]
fn yarn_positions_give_the_reference_results() {
    check("qwen2-yarn");
}

#[test]
fn llama3_positions_and_an_ensemble_of_adapters_give_the_reference_results() {
    check("llama3");
}

#[test]
fn llama_with_biases_on_all_maps_and_linear_positions_gives_the_reference_results() {
    check("llama-bias-linear");
}

#[test]
fn dynamic_positions_and_uncommon_head_widths_give_the_reference_results() {
    check("llama-dynamic");
}
