//! The same bits whatever surrounds the arithmetic.

use std::ops::ControlFlow;

use openledger_engine::{
    Batch, Isa, KvCache, Lora, Model, NumericMode, RunError, Runtime, Sampling, Scratch, Session, Slot, full_gradient,
    generate, logits, lora_gradient, score,
};

use sha2::{Digest, Sha256};

use crate::common::{busy, busy_lora, families, random_ids, tiny, tiny_config};

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn prefill_chunks_and_single_steps_give_the_bits_of_one_pass() {
    let model = tiny(true, 1);
    let lora = busy_lora(&model, 4, 2);
    let ids = random_ids(&model, 50, 3);
    let whole = logits(&model, Some(&lora), &ids).unwrap();
    for chunk in [1, 7, 16, 50] {
        let mut session = Session::new(&model, Some(&lora));
        let mut end = 0;
        for part in ids.chunks(chunk) {
            end += part.len();
            let got = session.prefill(part).unwrap();
            assert_eq!(bits(got), bits(whole.row(end - 1)), "chunks of {chunk}, position {end}");
        }
    }
}

#[test]
fn sequences_with_different_adapters_in_one_batch_get_the_bits_they_get_alone() {
    let model = tiny(false, 1);
    let loras: Vec<Lora> = (0..3).map(|i| busy_lora(&model, 3 + i, i as u64)).collect();
    let adapters = [Some(&loras[0]), None, Some(&loras[1]), Some(&loras[1]), Some(&loras[2])];
    let prompts: Vec<Vec<u32>> = (0..5).map(|i| random_ids(&model, 3 + 4 * i, i as u64)).collect();
    let mut caches: Vec<KvCache> = (0..5).map(|_| KvCache::new(&model)).collect();
    let mut batch = Batch::new(&model);
    let mut next: Vec<Vec<u32>> = prompts.clone();
    let mut alone: Vec<Session<'_>> = adapters.iter().map(|lora| Session::new(&model, *lora)).collect();
    for step in 0..6 {
        let mut slots: Vec<Slot<'_>> = caches
            .iter_mut()
            .zip(&next)
            .zip(adapters)
            .map(|((cache, tokens), lora)| Slot { cache, lora, tokens })
            .collect();
        let together = batch.step(&mut slots).unwrap();
        for (i, session) in alone.iter_mut().enumerate() {
            let single = session.prefill(&next[i]).unwrap();
            assert_eq!(bits(single), bits(together.row(i)), "sequence {i}, step {step}");
        }
        next = (0..5).map(|i| vec![(7 * i + step) as u32 % 37]).collect();
    }
}

/// Everything the engine computes on a model, as bits.
fn everything(model: &Model) -> Vec<Vec<u32>> {
    let lora = busy_lora(model, 4, 2);
    let ids = random_ids(model, 90, 3);
    let mut scratch = Scratch::default();
    let (loss, grads) = lora_gradient(model, &lora, &ids, 5, &mut scratch).unwrap();
    let (full_loss, full) = full_gradient(model, &ids, 1, &mut scratch).unwrap();
    let all = logits(model, Some(&lora), &ids).unwrap();
    vec![bits(&[loss, full_loss]), bits(&grads), bits(&full), bits(all.as_slice())]
}

#[test]
fn threads_and_instruction_sets_change_no_bit_of_logits_losses_and_gradients() {
    // Wide enough that products are split among threads.
    let config = openledger_engine::ModelConfig { hidden: 96, ffn: 172, vocab: 300, ..tiny_config(true) };
    let one = Runtime::new(1).with_isa(Isa::Scalar).unwrap();
    let want = everything(&Model::init(config.clone(), 4).unwrap().with_runtime(one));
    for threads in [1, 2, 3] {
        for isa in [Isa::Avx2, Isa::Avx512] {
            let Some(runtime) = Runtime::new(threads).with_isa(isa) else { continue };
            let model = Model::init(config.clone(), 4).unwrap().with_runtime(runtime);
            assert!(everything(&model) == want, "{threads} threads on {isa:?}");
        }
    }
}

#[test]
fn every_family_gives_the_same_bits_on_all_instruction_sets_and_in_any_chunks() {
    for config in families() {
        let family = config.arch.family;
        let scalar = Runtime::new(1).with_isa(Isa::Scalar).unwrap();
        let want = everything(&busy(config.clone(), 4).with_runtime(scalar));
        for isa in [Isa::Avx2, Isa::Avx512] {
            let Some(runtime) = Runtime::new(2).with_isa(isa) else { continue };
            assert!(everything(&busy(config.clone(), 4).with_runtime(runtime)) == want, "{family:?} on {isa:?}");
        }
        let model = busy(config, 4);
        let (lora, ids) = (busy_lora(&model, 4, 2), random_ids(&model, 30, 3));
        let whole = logits(&model, Some(&lora), &ids).unwrap();
        let mut session = Session::new(&model, Some(&lora));
        for (i, id) in ids.iter().enumerate() {
            assert_eq!(bits(session.step(*id).unwrap()), bits(whole.row(i)), "{family:?}, position {i}");
        }
    }
}

#[test]
fn a_truncated_cache_continues_as_if_the_rest_had_never_been() {
    let model = tiny(true, 8);
    let (kept, other, ids) = (random_ids(&model, 21, 1), random_ids(&model, 13, 2), random_ids(&model, 9, 3));
    let mut session = Session::new(&model, None);
    session.prefill(&kept).unwrap();
    let straight = bits(session.prefill(&ids).unwrap());
    let mut cache = KvCache::new(&model);
    let mut batch = Batch::new(&model);
    for (tokens, cut) in [(&kept, 21), (&other, 21), (&ids, 30)] {
        let logits = batch.step(&mut [Slot { cache: &mut cache, lora: None, tokens }]).unwrap();
        cache.truncate(cut);
        if cut == 30 {
            assert_eq!(bits(logits.row(0)), straight);
        }
    }
}

#[test]
fn sampled_runs_repeat_by_seed_and_differ_by_seed() {
    let model = tiny(true, 1);
    let run = |seed| {
        let sampling = Sampling { temperature: 1.5, seed, max_tokens: 20, ..Sampling::default() };
        generate(&model, None, &[3, 4], &sampling, &mut |_| ControlFlow::Continue(())).unwrap().ids
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// A model with rounded weights, as checkpoints are, in a numeric mode.
fn in_mode(mode: NumericMode, runtime: Runtime) -> Model {
    // Wide enough that products are split among threads, narrow enough for scalar code.
    let config = openledger_engine::ModelConfig { hidden: 96, ffn: 172, vocab: 300, ..tiny_config(true) };
    let params: Vec<f32> = Model::init(config.clone(), 4)
        .unwrap()
        .params()
        .iter()
        .map(|x| f32::from_bits((2.0 * x).to_bits() & 0xffff_0000))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    Model::from_params(config, &params).unwrap().save(dir.path()).unwrap();
    Model::load(dir.path()).unwrap().with_mode(mode).unwrap().with_runtime(runtime)
}

/// SHA-256 of all logits of a fixed model and adapter in each numeric mode, as hex.
#[test]
fn every_machine_gives_the_logits_of_the_one_that_wrote_this_test() {
    let digest = |mode: NumericMode| {
        let model = in_mode(mode, Runtime::new(1));
        let mut hash = Sha256::new();
        for lora in [None, Some(&busy_lora(&model, 5, 2))] {
            for x in logits(&model, lora, &random_ids(&model, 70, 3)).unwrap().as_slice() {
                hash.update(x.to_le_bytes());
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let want = [
        (NumericMode::F32Fma, "b6b28fd974ed2f0e31d6956a2d8fb7455f9b8c4db2c24f48c7bd45f18d90c7cc"),
        (NumericMode::Bf16Dot, "89a17d7386c3dbd213990624683d6c590cf227070c79378526cb36c193bcc90f"),
        (NumericMode::Q8, "bd2877d6cf86e68a4ac136d81ebda4ca4adf66e9e9dc0da3771cc2e1ebd79423"),
    ];
    assert_eq!(want.map(|(mode, _)| mode), NumericMode::ALL);
    assert_eq!(want.map(|(mode, _)| digest(mode)), want.map(|(_, digest)| digest.to_owned()));
}

#[test]
fn no_output_differs_by_batch_threads_chunks_or_instruction_set_in_any_numeric_mode() {
    for mode in NumericMode::ALL {
        let base = in_mode(mode, Runtime::new(1).with_isa(Isa::Scalar).unwrap());
        // Every other sequence has an adapter of its own, two share one, their ranks differ.
        let mut loras: Vec<Lora> = (0..8).map(|i| busy_lora(&base, 1 + 3 * (i % 4), i as u64)).collect();
        // Some hold bf16 only, as checkpoints do: their factors are packed, and in one mode
        // multiplied, in another form.
        for lora in &mut loras[..4] {
            let short: Vec<f32> = lora.params().iter().map(|x| f32::from_bits(x.to_bits() & 0xffff_0000)).collect();
            lora.set_params(&short).unwrap();
        }
        let adapter = |i: usize| if i % 2 == 1 { None } else { Some(&loras[if i == 4 { 1 } else { i / 2 }]) };
        let ids: Vec<Vec<u32>> = (0..16).map(|i| random_ids(&base, 70, i as u64)).collect();
        let want: Vec<Vec<u32>> = (0..16).map(|i| bits(logits(&base, adapter(i), &ids[i]).unwrap().row(69))).collect();
        for isa in Isa::ALL {
            for threads in [1, 2] {
                let Some(runtime) = Runtime::new(threads).with_isa(isa) else {
                    eprintln!("skipped: this processor has no {isa:?}");
                    continue;
                };
                let model = in_mode(mode, runtime);
                for (size, chunk) in [1, 4, 16].into_iter().flat_map(|size| [16, 64, 70].map(|chunk| (size, chunk))) {
                    let mut batch = Batch::new(&model);
                    let mut caches: Vec<KvCache> = (0..size).map(|_| KvCache::new(&model)).collect();
                    let mut last = None;
                    for from in (0..70).step_by(chunk) {
                        let to = (from + chunk).min(70);
                        let mut slots: Vec<Slot<'_>> = caches
                            .iter_mut()
                            .enumerate()
                            .map(|(i, cache)| Slot { cache, lora: adapter(i), tokens: &ids[i][from..to] })
                            .collect();
                        last = Some(batch.step(&mut slots).unwrap());
                    }
                    let last = last.unwrap();
                    for (i, want) in want.iter().enumerate().take(size) {
                        let at = format!("{mode} {isa:?} {threads} threads, {i} of {size} in chunks of {chunk}");
                        assert!(bits(last.row(i)) == *want, "{at}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_numeric_mode_scores_in_one_pass_what_it_decodes_token_by_token() {
    for mode in NumericMode::ALL {
        let model = in_mode(mode, Runtime::new(1));
        // One adapter of any values, one that a checkpoint could hold.
        let full = busy_lora(&model, 5, 2);
        let mut short = full.clone();
        short
            .set_params(&full.params().iter().map(|x| f32::from_bits(x.to_bits() & 0xffff_0000)).collect::<Vec<_>>())
            .unwrap();
        let ids = random_ids(&model, 40, 3);
        for lora in [&full, &short] {
            let whole = logits(&model, Some(lora), &ids).unwrap();
            let scores = score(&model, Some(lora), &ids).unwrap();
            let mut session = Session::new(&model, Some(lora));
            for (i, id) in ids.iter().enumerate() {
                let decoded = session.step(*id).unwrap();
                assert_eq!(bits(decoded), bits(whole.row(i)), "{mode}, position {i}");
                if let Some(next) = ids.get(i + 1) {
                    let max = decoded.iter().copied().fold(f32::MIN, f32::max);
                    let sum: f64 = decoded.iter().map(|x| f64::from(x - max).exp()).sum();
                    let want = f64::from(decoded[*next as usize] - max) - sum.ln();
                    assert!((f64::from(scores[i]) - want).abs() < 1e-4, "{mode}, score {i}");
                }
            }
        }
    }
}

/// Norm of the difference of two models' logits, over the norm of the first's.
fn apart(exact: &Model, rough: &Model, lora: Option<&Lora>) -> f64 {
    let ids = random_ids(exact, 40, 3);
    let (a, b) = (logits(exact, lora, &ids).unwrap(), logits(rough, lora, &ids).unwrap());
    let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    norm(&mut a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| a - b)) / norm(&mut a.as_slice().iter().copied())
}

#[test]
fn rounded_modes_stay_near_the_exact_logits_and_give_no_gradient() {
    for (mode, far) in [(NumericMode::Bf16Dot, 0.02), (NumericMode::Q8, 0.1)] {
        let (exact, rough) = (in_mode(NumericMode::F32Fma, Runtime::new(1)), in_mode(mode, Runtime::new(1)));
        assert_eq!(exact.hash(), rough.hash(), "a receipt names the checkpoint in every mode");
        let lora = busy_lora(&rough, 4, 2);
        for lora in [None, Some(&lora)] {
            let apart = apart(&exact, &rough, lora);
            assert!(apart > 0.0 && apart < far, "{mode}: {apart}");
        }
        let refused = lora_gradient(&rough, &lora, &random_ids(&exact, 40, 3), 1, &mut Scratch::default());
        assert!(matches!(refused, Err(RunError::NoGradient { mode: name }) if name == mode.name()));
        assert!(rough.with_mode(NumericMode::F32Fma).is_err(), "what was rounded away does not come back");
    }
}
