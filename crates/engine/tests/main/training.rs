//! Training learns, repeats, and survives a restart.

use openledger_engine::{
    AdamW, BaseTrainer, Example, Lora, LoraConfig, LoraTrainer, Model, Runtime, Schedule, TrainError,
};

use crate::common::{random_ids, tiny, tiny_config};

fn settings() -> AdamW {
    AdamW {
        lr: 1e-2,
        weight_decay: 0.01,
        warmup_steps: 3,
        schedule: Schedule::Cosine { total_steps: 20, floor: 0.1 },
        ..AdamW::default()
    }
}

fn examples(records: &[Vec<u32>]) -> Vec<Example<'_>> {
    records.iter().enumerate().map(|(i, ids)| Example { ids, loss_from: 1 + i % 3 }).collect()
}

fn records(model: &Model) -> Vec<Vec<u32>> {
    (0..5).map(|i| random_ids(model, 10 + 7 * i, i as u64)).collect()
}

#[test]
fn adapter_training_lowers_the_loss_and_leaves_the_base_alone() {
    let model = tiny(true, 1);
    let base = model.hash();
    let lora = Lora::init(&model, &LoraConfig::all_linear(8), 2).unwrap();
    let mut trainer = LoraTrainer::new(&model, lora, settings()).unwrap();
    let records = records(&model);
    let losses: Vec<f64> = (0..20).map(|_| trainer.step(&examples(&records)).unwrap().loss).collect();
    assert!(losses[19] < losses[0] - 0.2, "{losses:?}");
    assert_eq!(model.hash(), base);
}

#[test]
fn resumed_adapter_training_equals_uninterrupted_training_bit_for_bit() {
    let model = tiny(true, 1);
    let lora = Lora::init(&model, &LoraConfig::all_linear(4), 2).unwrap();
    let records = records(&model);
    let mut straight = LoraTrainer::new(&model, lora.clone(), settings()).unwrap();
    let mut saved = Vec::new();
    for step in 0..10 {
        if step == 4 {
            saved = straight.checkpoint();
        }
        straight.step(&examples(&records)).unwrap();
    }
    let fresh = Lora::init(&model, lora.config(), 99).unwrap();
    let mut resumed = LoraTrainer::resume(&model, fresh, settings(), &saved).unwrap();
    assert_eq!(resumed.steps_done(), 4);
    for _ in 4..10 {
        resumed.step(&examples(&records)).unwrap();
    }
    assert_eq!(resumed.lora().hash(), straight.lora().hash());
    assert_eq!(resumed.checkpoint(), straight.checkpoint());
}

#[test]
fn threads_change_no_bit_of_a_trained_adapter() {
    let hash = |threads| {
        let model = Model::init(tiny_config(true), 1).unwrap().with_runtime(Runtime::new(threads));
        let lora = Lora::init(&model, &LoraConfig::all_linear(4), 2).unwrap();
        let mut trainer = LoraTrainer::new(&model, lora, settings()).unwrap();
        for _ in 0..3 {
            trainer.step(&examples(&records(&model))).unwrap();
        }
        trainer.lora().hash()
    };
    assert_eq!(hash(1), hash(2));
    assert_eq!(hash(1), hash(3));
}

#[test]
fn base_training_learns_and_resumes_bit_for_bit() {
    let mut trainer = BaseTrainer::new(tiny(false, 5), settings()).unwrap();
    let records = records(trainer.model());
    let mut losses = Vec::new();
    let mut saved = Vec::new();
    for step in 0..12 {
        if step == 5 {
            saved = trainer.checkpoint();
        }
        losses.push(trainer.step(&examples(&records)).unwrap().loss);
    }
    assert!(losses[11] < losses[0] - 0.3, "{losses:?}");
    let mut resumed = BaseTrainer::resume(tiny(false, 6), settings(), &saved).unwrap();
    for _ in 5..12 {
        resumed.step(&examples(&records)).unwrap();
    }
    assert_eq!(resumed.model().params(), trainer.model().params());
}

#[test]
fn damaged_checkpoints_and_bad_batches_are_refused_and_change_nothing() {
    let model = tiny(true, 1);
    let lora = Lora::init(&model, &LoraConfig::all_linear(2), 2).unwrap();
    let mut trainer = LoraTrainer::new(&model, lora.clone(), settings()).unwrap();
    let mut saved = trainer.checkpoint();
    saved[30] ^= 1;
    let damaged = LoraTrainer::resume(&model, lora, settings(), &saved).err();
    assert!(matches!(damaged, Some(TrainError::BadState { .. })));
    let before = trainer.checkpoint();
    let bad = [Example { ids: &[1, 2], loss_from: 1 }, Example { ids: &[1, 99], loss_from: 1 }];
    assert!(matches!(trainer.step(&bad), Err(TrainError::Example { index: 1, .. })));
    assert!(matches!(trainer.step(&[]), Err(TrainError::EmptyBatch)));
    assert_eq!(trainer.checkpoint(), before);
}
