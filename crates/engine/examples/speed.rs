//! Measures the engine on one thread: `speed MODEL_DIR`.
//!
//! Prints tokens per second of processor time (of wall time where the system does not tell) for
//! prefill, decoding alone and 16 at once on 16 adapters, adapter training and full training, on
//! random ids; so that a change of the kernels can be judged by one command.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use openledger_engine::{
    AdamW, BaseTrainer, Batch, Example, KvCache, LoadError, Lora, LoraConfig, LoraTrainer, Model, Runtime, Slot, draw,
    logits,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: speed MODEL_DIR")?;
    let model = Model::load(Path::new(&dir))?.with_runtime(Runtime::new(1));
    let vocab = model.config().vocab as u64;
    let ids = |len: u64, stream| -> Vec<u32> { (0..len).map(|i| (draw(1, stream, i) % vocab) as u32).collect() };
    println!("{} parameters, {:?}", model.num_params(), model.runtime());

    let long = ids(256, 0);
    rate("forward with logits, 256 tokens", 256, 20, || logits(&model, None, &long).map(drop))?;
    let adapters = (0..16)
        .map(|seed| Lora::init(&model, &LoraConfig::all_linear(8), seed))
        .collect::<Result<Vec<_>, LoadError>>()?;
    for n in [1, 16] {
        let mut caches: Vec<KvCache> = (0..n).map(|_| KvCache::new(&model)).collect();
        let mut batch = Batch::new(&model);
        rate(&format!("decode, {n} sequences on {n} adapters"), n, 200, || {
            let mut slots: Vec<Slot<'_>> = caches
                .iter_mut()
                .zip(&adapters)
                .map(|(cache, lora)| Slot { cache, lora: Some(lora), tokens: &long[..1] })
                .collect();
            batch.step(&mut slots).map(drop)
        })?;
    }
    let records: Vec<Vec<u32>> = (0..4).map(|i| ids(200, i)).collect();
    let batch: Vec<Example<'_>> = records.iter().map(|ids| Example { ids, loss_from: 1 }).collect();
    let mut trainer = LoraTrainer::new(&model, adapters[0].clone(), AdamW::default())?;
    rate("adapter training, 4 x 200 tokens", 800, 10, || trainer.step(&batch).map(drop))?;
    let mut trainer = BaseTrainer::new(model, AdamW::default())?;
    rate("full training, 4 x 200 tokens", 800, 10, || trainer.step(&batch).map(drop))?;
    Ok(())
}

/// Runs `work` `times` times and prints the mean rate.
fn rate<E>(name: &str, tokens: usize, times: usize, mut work: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    work()?;
    let (start, used) = (Instant::now(), cpu_seconds());
    for _ in 0..times {
        work()?;
    }
    let wall = start.elapsed().as_secs_f64();
    let seconds = used.zip(cpu_seconds()).map_or(wall, |(from, to)| to - from);
    println!("{name}: {:.0} tokens/s", (tokens * times) as f64 / seconds);
    Ok(())
}

/// Processor time of this thread so far, in seconds, where Linux tells.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split(' ').next()?.parse::<u64>().ok()? as f64 * 1e-9)
}
