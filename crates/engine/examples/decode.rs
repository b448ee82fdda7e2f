//! Measures decoding and prefill at the shape of SmolLM2-135M, adapters included:
//! `decode [MODE|all] [THREADS] [N|prefill]`.
//!
//! Weights and 16 adapters (rank 8 on all seven maps) are random and bf16, as checkpoints are.
//! Prints tokens per second of processor time for 1, 4 and 16 sequences (or N), without adapters,
//! with one each in bf16, and with one each in f32 (as training leaves them); prefill with an
//! adapter; and what share of the measured read bandwidth one sequence reaches.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use openledger_engine::{
    Batch, KvCache, Lora, LoraConfig, Model, ModelConfig, NumericMode, Runtime, Session, Slot, draw, uniform,
};

/// Tokens in each cache before decoding is measured.
const PROMPT: usize = 64;
/// Tokens of a measured prefill.
const PREFILL: usize = 1024;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut args = std::env::args().skip(1);
    let which = args.next().unwrap_or_else(|| "all".into());
    let threads: usize = args.next().map_or(Ok(1), |n| n.parse())?;
    let (counts, prefill) = match args.next().as_deref() {
        None => (vec![1, 4, 16], true),
        Some("prefill") => (vec![], true),
        Some(n) => (vec![n.parse()?], false),
    };
    let runtime = Runtime::new(threads);
    println!("{runtime:?}");
    for mode in NumericMode::ALL {
        if which == "all" || which == mode.name() {
            measure(mode, &runtime, &counts, prefill)?;
        }
    }
    Ok(())
}

fn measure(mode: NumericMode, runtime: &Runtime, counts: &[usize], prefill: bool) -> Outcome {
    let model = random_model()?.with_mode(mode)?.with_runtime(runtime.clone());
    let adapters = |exact: bool| -> Result<Vec<Lora>, Box<dyn std::error::Error>> {
        (0..counts.iter().copied().max().unwrap_or(1) as u64).map(|seed| random_adapter(&model, seed, exact)).collect()
    };
    let (rounded, full) = (adapters(true)?, adapters(false)?);
    println!(
        "{mode}: weights {} MB, one adapter {:.1} MB (bf16)",
        model.bytes() >> 20,
        rounded[0].bytes() as f64 * 1e-6
    );
    if let Some(lora) = rounded.first() {
        let path = tempfile::tempdir()?.keep().join("adapter.packed");
        lora.write_packed(&path)?;
        let times = (0..9).map(|_| {
            let start = Instant::now();
            black_box(Lora::map_packed(&path, &model, lora.hash()));
            start.elapsed().as_secs_f64() * 1e3
        });
        let best = times.fold(f64::INFINITY, f64::min);
        println!(
            "{mode}: an adapter of {:.1} MB is mapped and checked in {best:.2} ms",
            std::fs::metadata(&path)?.len() as f64 * 1e-6
        );
        if let Some(dir) = path.parent() {
            std::fs::remove_dir_all(dir)?;
        }
    }
    for &n in counts {
        let mut rates = Vec::new();
        for loras in [None, Some(&rounded), Some(&full)] {
            rates.push(decode(&model, n, loras.map(Vec::as_slice))?);
        }
        let cost = rates[0] / rates[1];
        println!(
            "{mode}: decode n={n:<2} {:7.1} tok/cpu-s without adapters, {:7.1} with {n} of bf16 (cost {cost:.2}x), {:7.1} with {n} of f32",
            rates[0], rates[1], rates[2]
        );
        if n == 1 {
            share_of_bandwidth(&model)?;
        }
    }
    for loras in [None, rounded.first()].into_iter().filter(|_| prefill) {
        let ids = ids(&model, PREFILL, 1);
        let rate = rate(PREFILL, || {
            black_box(Session::new(&model, loras).prefill(&ids)?);
            Ok(())
        })?;
        let with = if loras.is_some() { "with" } else { "without" };
        println!("{mode}: prefill of {PREFILL} {rate:7.1} tok/cpu-s {with} an adapter");
    }
    Ok(())
}

/// Prints what share of the read bandwidth one sequence reaches after its prompt, as many threads
/// reading as decode: nine turns of both, and the medians. One thread is measured in processor
/// seconds, more in seconds of the clock.
fn share_of_bandwidth(model: &Model) -> Outcome {
    let mut map = memmap2::MmapMut::map_anon(512 << 20)?;
    // A wish: without it the figure is a little lower.
    let _ = map.advise(memmap2::Advice::HugePage);
    map.fill(1);
    let threads = model.runtime().threads();
    let seconds = if threads == 1 { cpu_seconds } else { clock_seconds };
    let mut turns = Vec::new();
    for _ in 0..9 {
        let mut read = 0f64;
        for sum in [sum::<1>, sum::<4>, sum::<8>] {
            let pass = || {
                std::thread::scope(|scope| {
                    for part in map.chunks(map.len() / threads).skip(1) {
                        scope.spawn(move || black_box(sum(part)));
                    }
                    black_box(sum(&map[..map.len() / threads]));
                });
                Ok(())
            };
            read = read.max(once(map.len(), seconds, pass)?);
        }
        let mut step = decoder(model, 1, None)?;
        let decoded = once(model.bytes(), seconds, &mut step)?;
        turns.push([decoded / read, decoded * 1e-9, read * 1e-9]);
    }
    let median = |at: usize| {
        let mut values: Vec<f64> = turns.iter().map(|turn| turn[at]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let [share, decoded, read] = [median(0), median(1), median(2)];
    let mode = model.mode();
    println!(
        "{mode}: one sequence reads its weights at {decoded:.1} GB/s, {threads} thread(s) can at {read:.1}: {share:.2}"
    );
    Ok(())
}

/// Tokens per processor second of `n` sequences, each with an adapter of its own if there are any.
fn decode(model: &Model, n: usize, loras: Option<&[Lora]>) -> Result<f64, Box<dyn std::error::Error>> {
    rate(n, decoder(model, n, loras)?)
}

/// A step of decoding of `n` sequences after their prompts.
fn decoder<'a>(
    model: &'a Model,
    n: usize,
    loras: Option<&'a [Lora]>,
) -> Result<impl FnMut() -> Outcome + 'a, Box<dyn std::error::Error>> {
    let mut caches: Vec<KvCache> = (0..n).map(|_| KvCache::new(model)).collect();
    let mut batch = Batch::new(model);
    let mut step = move |tokens: &[Vec<u32>]| {
        let mut slots: Vec<Slot<'_>> = caches
            .iter_mut()
            .enumerate()
            .map(|(i, cache)| Slot { cache, lora: loras.map(|l| &l[i]), tokens: &tokens[i] })
            .collect();
        batch.step(&mut slots).map(drop)
    };
    step(&(0..n).map(|i| ids(model, PROMPT, i as u64)).collect::<Vec<_>>())?;
    let next = vec![vec![7]; n];
    Ok(move || Ok(step(&next)?))
}

/// The best of five rates of `work` per processor second: neighbours only ever slow it down.
fn rate(tokens: usize, mut work: impl FnMut() -> Outcome) -> Result<f64, Box<dyn std::error::Error>> {
    work()?;
    let mut best = 0f64;
    for _ in 0..5 {
        best = best.max(once(tokens, cpu_seconds, &mut work)?);
    }
    Ok(best)
}

/// A rate of `work` over at least a third of a second, so that the four milliseconds in which Linux
/// counts do not matter.
fn once(
    units: usize,
    seconds: fn() -> f64,
    mut work: impl FnMut() -> Outcome,
) -> Result<f64, Box<dyn std::error::Error>> {
    let (from, mut times) = (seconds(), 0);
    while times == 0 || seconds() - from < 0.33 {
        work()?;
        times += 1;
    }
    Ok((units * times) as f64 / (seconds() - from))
}

fn random_model() -> Result<Model, Box<dyn std::error::Error>> {
    let config = ModelConfig::parse(
        br#"{"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
             "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 2048,
             "rms_norm_eps": 1e-5, "tie_word_embeddings": true}"#,
    )?;
    let dir = tempfile::tempdir()?;
    let params: Vec<f32> = (0..config.num_params()).map(|i| 0.07 * (uniform(1, 1, i) as f32 - 0.5)).collect();
    Model::from_params(config, &params)?.save(dir.path())?;
    Ok(Model::load(dir.path())?)
}

fn random_adapter(model: &Model, seed: u64, rounded: bool) -> Result<Lora, Box<dyn std::error::Error>> {
    let mut lora = Lora::init(model, &LoraConfig::all_linear(8), seed)?;
    let value = |i: usize| {
        let x = 0.02 * (uniform(seed, 2, i as u64) as f32 - 0.5);
        if rounded { f32::from_bits(x.to_bits() & 0xffff_0000) } else { x }
    };
    let params: Vec<f32> = (0..lora.num_params()).map(value).collect();
    lora.set_params(&params)?;
    Ok(lora)
}

fn ids(model: &Model, len: usize, stream: u64) -> Vec<u32> {
    let vocab = model.config().vocab as u64;
    (0..len as u64).map(|i| (draw(1, stream, i) % vocab) as u32).collect()
}

fn sum<const STREAMS: usize>(bytes: &[u8]) -> u8 {
    openledger_engine::widest(Sum::<STREAMS>(bytes))
}

/// Sums bytes, a cache line of each of `STREAMS` parts in turn.
struct Sum<'a, const STREAMS: usize>(&'a [u8]);

impl<const STREAMS: usize> openledger_engine::Wide for Sum<'_, STREAMS> {
    type Output = u8;

    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "line by line across the streams")]
    fn run<const FUSE: bool>(self) -> u8 {
        let lines = self.0.as_chunks::<64>().0;
        let part = lines.len() / STREAMS;
        let streams: [&[[u8; 64]]; STREAMS] = std::array::from_fn(|s| &lines[s * part..][..part]);
        let mut sums = [[0u8; 64]; STREAMS];
        for i in 0..part {
            for s in 0..STREAMS {
                for (sum, x) in sums[s].iter_mut().zip(&streams[s][i]) {
                    *sum = sum.wrapping_add(*x);
                }
            }
        }
        sums.as_flattened().iter().fold(0, |a, b| a.wrapping_add(*b))
    }
}

/// Processor seconds of all threads of the process (of the clock where Linux does not tell).
fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task");
    let seconds = |task: std::fs::DirEntry| -> Option<f64> {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some(text.split(' ').next()?.parse::<u64>().ok()? as f64 * 1e-9)
    };
    match tasks {
        Ok(tasks) => tasks.flatten().filter_map(seconds).sum(),
        Err(_) => clock_seconds(),
    }
}

fn clock_seconds() -> f64 {
    thread_local!(static START: Instant = Instant::now());
    START.with(|start| start.elapsed().as_secs_f64())
}
