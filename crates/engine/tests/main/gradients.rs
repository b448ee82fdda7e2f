//! Gradients against finite differences of the engine's own forward pass.

use openledger_engine::{Factor, Model, Scratch, Target, full_gradient, lora_gradient, score};

use crate::common::{busy, busy_lora, families, random_ids, tiny};

/// Mean NLL from scores, in f64, so that differences keep their digits.
fn loss(scores: &[f32], loss_from: usize) -> f64 {
    let live = &scores[loss_from - 1..];
    -live.iter().map(|s| f64::from(*s)).sum::<f64>() / live.len() as f64
}

/// Directional derivative along `direction` by central differences, extrapolated once (Richardson).
fn slope(x: &[f32], direction: &[f32], at: &mut dyn FnMut(&[f32]) -> f64) -> f64 {
    let mut central = |step: f32| {
        let moved =
            |sign: f32| -> Vec<f32> { x.iter().zip(direction).map(|(x, d)| d.mul_add(sign * step, *x)).collect() };
        (at(&moved(1.0)) - at(&moved(-1.0))) / (2.0 * f64::from(step))
    };
    let step = 0.02;
    (4.0 * central(step / 2.0) - central(step)) / 3.0
}

fn agree(name: &str, analytic: f64, numeric: f64) {
    let scale = analytic.abs().max(numeric.abs());
    assert!(scale > 1e-4, "{name}: nothing to compare ({analytic}, {numeric})");
    assert!((analytic - numeric).abs() < 1e-3 * scale + 2e-5, "{name}: {analytic}, differences give {numeric}");
}

/// Checks one block of a flat gradient along its own direction, where the slope is its norm.
fn check_block(
    name: &str,
    params: &[f32],
    grads: &[f32],
    range: std::ops::Range<usize>,
    at: &mut dyn FnMut(&[f32]) -> f64,
) {
    let block = &grads[range.clone()];
    let norm = block.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let mut direction = vec![0.0; params.len()];
    for (d, g) in direction[range].iter_mut().zip(block) {
        *d = (f64::from(*g) / norm) as f32;
    }
    agree(name, norm, slope(params, &direction, at));
}

#[test]
fn adapter_gradients_match_finite_differences_for_both_factors_of_every_target() {
    let model = tiny(true, 11);
    let mut lora = busy_lora(&model, 3, 12);
    let ids = random_ids(&model, 75, 13);
    let loss_from = 9;
    let params = lora.params().to_vec();
    let (value, grads) = lora_gradient(&model, &lora, &ids, loss_from, &mut Scratch::default()).unwrap();
    let scores = score(&model, Some(&lora), &ids).unwrap();
    assert!((f64::from(value) - loss(&scores, loss_from)).abs() < 1e-5);
    let modules = lora.modules().to_vec();
    assert_eq!(modules.len(), 2 * 7 * 2);
    let mut at = |x: &[f32]| {
        lora.set_params(x).unwrap();
        loss(&score(&model, Some(&lora), &ids).unwrap(), loss_from)
    };
    for module in modules {
        check_block(&module.peft_name(), &params, &grads, module.range, &mut at);
    }
}

#[test]
fn adapter_gradients_on_some_targets_are_those_blocks_of_all() {
    let model = tiny(true, 21);
    let all = busy_lora(&model, 2, 22);
    let config = openledger_engine::LoraConfig { targets: vec![Target::V, Target::Down], ..all.config().clone() };
    let some = openledger_engine::Lora::init(&model, &config, 1).unwrap();
    assert_eq!(some.num_params(), config.num_params(model.config()));
    let ids = random_ids(&model, 20, 23);
    // With B = 0 only B has a gradient, and it does not depend on the other adapters.
    let mut zero = all.clone();
    let mut params = vec![0.0; all.num_params()];
    for module in some.modules() {
        let place = all.modules().iter().find(|m| m.peft_name() == module.peft_name()).unwrap();
        params[place.range.clone()].copy_from_slice(&some.params()[module.range.clone()]);
    }
    zero.set_params(&params).unwrap();
    let mut scratch = Scratch::default();
    let (_, few) = lora_gradient(&model, &some, &ids, 1, &mut scratch).unwrap();
    let (_, many) = lora_gradient(&model, &zero, &ids, 1, &mut scratch).unwrap();
    for module in some.modules() {
        let place = all.modules().iter().find(|m| m.peft_name() == module.peft_name()).unwrap();
        assert_eq!(few[module.range.clone()], many[place.range.clone()], "{}", module.peft_name());
        let live = few[module.range.clone()].iter().any(|g| *g != 0.0);
        assert_eq!(live, module.factor == Factor::B);
    }
}

#[test]
fn full_gradients_match_finite_differences_for_every_tensor() {
    for tied in [true, false] {
        let model = tiny(tied, 31);
        // Larger weights than at the start of training, so that every part matters.
        let params: Vec<f32> = model.params().iter().map(|x| if *x == 1.0 { 0.9 } else { 8.0 * x }).collect();
        let model = with_params(&model, &params);
        let ids = random_ids(&model, 70, 33);
        let (_, grads) = full_gradient(&model, &ids, 1, &mut Scratch::default()).unwrap();
        let mut at = |x: &[f32]| loss(&score(&with_params(&model, x), None, &ids).unwrap(), 1);
        for tensor in model.tensors() {
            check_block(&tensor.name, &params, &grads, tensor.range.clone(), &mut at);
        }
    }
}

fn with_params(model: &Model, params: &[f32]) -> Model {
    Model::from_params(model.config().clone(), params).unwrap().with_runtime(model.runtime().clone())
}

#[test]
fn every_family_has_the_gradients_of_finite_differences() {
    for config in families() {
        let family = config.arch.family;
        let model = busy(config, 51);
        let mut lora = busy_lora(&model, 3, 52);
        let ids = random_ids(&model, 40, 53);
        let mut scratch = Scratch::default();
        let (_, grads) = lora_gradient(&model, &lora, &ids, 1, &mut scratch).unwrap();
        let (params, modules) = (lora.params().to_vec(), lora.modules().to_vec());
        let mut at = |x: &[f32]| {
            lora.set_params(x).unwrap();
            loss(&score(&model, Some(&lora), &ids).unwrap(), 1)
        };
        for module in modules {
            check_block(&format!("{family:?} {}", module.peft_name()), &params, &grads, module.range, &mut at);
        }
        let (_, grads) = full_gradient(&model, &ids, 1, &mut scratch).unwrap();
        let mut at = |x: &[f32]| loss(&score(&with_params(&model, x), None, &ids).unwrap(), 1);
        let params = model.params().to_vec();
        for tensor in model.tensors() {
            check_block(&format!("{family:?} {}", tensor.name), &params, &grads, tensor.range.clone(), &mut at);
        }
    }
}

#[test]
fn a_record_gradient_does_not_depend_on_what_ran_before() {
    let model = tiny(true, 41);
    let lora = busy_lora(&model, 4, 42);
    let (a, b) = (random_ids(&model, 40, 1), random_ids(&model, 65, 2));
    let mut scratch = Scratch::default();
    let fresh = lora_gradient(&model, &lora, &a, 1, &mut scratch).unwrap();
    lora_gradient(&model, &lora, &b, 3, &mut scratch).unwrap();
    full_gradient(&model, &b, 1, &mut scratch).unwrap();
    assert_eq!(lora_gradient(&model, &lora, &a, 1, &mut scratch).unwrap(), fresh);
}
