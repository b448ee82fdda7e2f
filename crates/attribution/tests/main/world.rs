//! A tiny model that was taught made-up facts, in token ids alone; everything seeded.

use openledger_attribution::influence::{Gradients, Item, Provenance};
use openledger_engine::{AdamW, Example, Lora, LoraConfig, LoraTrainer, Model, ModelConfig, NUMERIC_MODE, draw};

pub(crate) const FACTS: usize = 24;
/// Tokens with a meaning of their own; the rest of the vocabulary is filler.
const SUBJECTS: u64 = 40;
const OBJECTS: u64 = 40;
const FILLERS: u64 = 30;

pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) lora: Lora,
    pub(crate) records: Vec<Item>,
    /// The fact that each record states; none for filler records.
    pub(crate) states: Vec<Option<usize>>,
    /// One question a fact, worded like none of its records.
    pub(crate) queries: Vec<Item>,
}

pub(crate) fn config() -> ModelConfig {
    ModelConfig {
        hidden: 48,
        ffn: 96,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 12,
        vocab: (1 + SUBJECTS + OBJECTS + FILLERS) as usize,
        max_positions: 32,
        rms_eps: 1e-5,
        rope_theta: 10_000.0,
        tied: false,
        bos: Some(0),
        eos: vec![],
        arch: Default::default(),
    }
}

fn pick(stream: u64, counter: u64, from: u64, count: u64) -> u32 {
    (1 + from + draw(5, stream, counter) % count) as u32
}

fn filler(counter: u64, length: u64) -> Vec<u32> {
    (0..length).map(|i| pick(3, counter * 16 + i, SUBJECTS + OBJECTS, FILLERS)).collect()
}

/// A fact: two tokens of subject, two of object.
fn fact(index: usize) -> ([u32; 2], [u32; 2]) {
    let at = index as u64;
    let subject = [pick(1, 2 * at, 0, SUBJECTS), pick(1, 2 * at + 1, 0, SUBJECTS)];
    (subject, [pick(2, 2 * at, SUBJECTS, OBJECTS), pick(2, 2 * at + 1, SUBJECTS, OBJECTS)])
}

impl World {
    /// Two wordings of each fact and as many records of filler, learned for `steps` steps.
    pub(crate) fn new(steps: u64) -> Self {
        let (mut records, mut states) = (Vec::new(), Vec::new());
        for wording in 0..2u64 {
            for index in 0..FACTS {
                let (subject, object) = fact(index);
                let number = wording * 1000 + index as u64;
                let before = filler(number, 1 + number % 3);
                let after = filler(number + 500, 2 + wording);
                let ids = [vec![0], before, subject.to_vec(), object.to_vec(), after].concat();
                records.push(Item::record(ids));
                states.push(Some(index));
            }
        }
        for number in 0..FACTS as u64 {
            records.push(Item::record([vec![0], filler(5000 + number, 8)].concat()));
            states.push(None);
        }
        let ask = |index| {
            let (subject, object) = fact(index);
            Item { ids: [vec![0], subject.to_vec(), object.to_vec()].concat(), loss_from: 3 }
        };
        let model = Model::init(config(), 1).unwrap();
        let lora = Lora::init(&model, &LoraConfig::all_linear(4), 2).unwrap();
        let settings = AdamW { lr: 1e-2, eps: 1e-4, ..AdamW::default() };
        let mut trainer = LoraTrainer::new(&model, lora, settings).unwrap();
        for step in 0..steps {
            let places = (0..24).map(|i| (step * 24 + i) as usize * 7 % records.len());
            let batch: Vec<Example<'_>> =
                places.map(|i| Example { ids: &records[i].ids, loss_from: records[i].loss_from }).collect();
            trainer.step(&batch).unwrap();
        }
        let lora = trainer.into_lora();
        Self { model, lora, records, states, queries: (0..FACTS).map(ask).collect() }
    }

    pub(crate) fn gradients(&self, items: &[Item]) -> Gradients {
        Gradients::compute(&self.model, &self.lora, items, &mut |_, _| ()).unwrap()
    }

    pub(crate) fn provenance(&self) -> Provenance {
        Provenance {
            base: "base".into(),
            base_hash: self.model.hash().into(),
            adapter: "adapter".into(),
            adapter_hash: self.lora.hash().into(),
            numeric_mode: NUMERIC_MODE.into(),
        }
    }
}
