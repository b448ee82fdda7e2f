//! Measures the adapter store at SmolLM2-135M's shape: cold against hot, memory over many loads,
//! many registered adapters.
//!
//! `cargo run --release -p openledger-serving --example store -- DIR [REGISTERED [LARGE]]` makes a
//! base with random weights and REGISTERED adapters (10,000) in DIR once: the first LARGE (1,000)
//! of rank 8 on all seven maps, the others of rank 1 on the queries. It needs about 15 MB of disk
//! for each large one. Figures are for one process, with no HTTP around.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openledger_engine::{Lora, LoraConfig, Model, ModelConfig, NumericMode, Target, Tokenizer, draw};
use openledger_protocol::{ModelId, Sampling};
use openledger_serving::{Backend, ChatForm, CompletionRequest, Embedded, Event, Limits, Prompt, RequestOptions};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: store DIR [REGISTERED [LARGE]]")?;
    let registered: u64 = args.next().map_or(Ok(10_000), |text| text.parse())?;
    let large: u64 = args.next().map_or(Ok(1_000), |text| text.parse())?;
    let dir = Path::new(&dir);
    if !dir.join("base/model.safetensors").exists() {
        std::fs::create_dir_all(dir.join("base"))?;
        Model::init(shape(), 1)?.save(&dir.join("base"))?;
    }
    let cache = dir.join("cache");
    let model = Arc::new(Model::load_packed(&dir.join("base"), NumericMode::F32Fma, &cache.join("base"))?);
    for seed in 0..registered {
        generate(&model, seed, seed < large, &dir.join(format!("adapters/a{seed:05}")))?;
    }
    println!("base mapped, {} MiB resident", resident_mib());

    let one = {
        let server = serve(&model, 0, &cache)?;
        cold_against_hot(&server, &dir.join("adapters"), large.min(40))?;
        thousand_loads(&server, &dir.join("adapters/a00000"))?
    };
    for start in ["first", "second"] {
        let (server, cpu, from) = (serve(&model, 64 * one, &cache)?, cpu_seconds(), Instant::now());
        let folders = server.adapters().register_folders(&dir.join("adapters"))?;
        let stats = server.adapters().stats();
        println!(
            "{start} start: {} registered in {:.1} s ({:.1} CPU-s), {} originals read, {} MiB resident",
            folders.len(),
            from.elapsed().as_secs_f64(),
            cpu_seconds() - cpu,
            stats.originals_read,
            resident_mib(),
        );
        if start == "second" {
            zipf_against_hot(&server, large.min(1000))?;
        }
    }
    Ok(())
}

/// SmolLM2-135M.
fn shape() -> ModelConfig {
    ModelConfig {
        hidden: 576,
        ffn: 1536,
        layers: 30,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        vocab: 49152,
        max_positions: 2048,
        rms_eps: 1e-5,
        rope_theta: 1e5,
        tied: true,
        bos: Some(1),
        eos: vec![2],
        arch: Default::default(),
    }
}

fn generate(model: &Model, seed: u64, large: bool, dir: &Path) -> Result<(), Failure> {
    if dir.join("adapter_config.json").exists() {
        return Ok(());
    }
    let small = LoraConfig { rank: 1, alpha: 2.0, targets: vec![Target::Q], rslora: false };
    let mut lora = Lora::init(model, &if large { LoraConfig::all_linear(8) } else { small }, seed)?;
    // Values that bf16 holds exactly, as adapters trained in it have.
    let value = |at: usize| (draw(seed, 1, at as u64) % 255) as f32 / 4096.0 - 127.0 / 4096.0;
    lora.set_params(&(0..lora.num_params()).map(value).collect::<Vec<f32>>())?;
    Ok(lora.save_peft(dir, "base")?)
}

fn serve(model: &Arc<Model>, idle_adapter_bytes: usize, cache: &Path) -> Result<Embedded, Failure> {
    let tokenizer = Tokenizer::train_bpe(["the owl sat on the stone"].iter(), 280, &["<|end|>"])?;
    let limits = Limits { memory_bytes: idle_adapter_bytes + (512 << 20), idle_adapter_bytes, ..Limits::default() };
    let clock = Arc::new(|| 0);
    let server =
        Embedded::with_limits(Arc::clone(model), Arc::new(tokenizer), ChatForm::Dialog, "base", &limits, clock);
    server.adapters().keep_packed_in(cache)?;
    Ok(server)
}

/// A request whose prompt nobody asked before.
fn request(model: &str, number: u64, max_tokens: u32) -> CompletionRequest {
    let ids = (0..16).map(|at| (3 + draw(number, 2, at) % 49_000) as u32).collect();
    let sampling = Sampling { temperature_milli: 0, top_p_milli: 1000, max_tokens, seed: 0, stop: Vec::new() };
    CompletionRequest { model_id: ModelId(0), model: model.into(), prompt: Prompt::Ids(ids), sampling, top_logprobs: 0 }
}

/// Time to the first token by the clock, and what all threads of this process computed until the
/// answer's end.
fn first_token(server: &Embedded, model: &str, number: u64) -> Result<[Duration; 2], Failure> {
    let (from, computed) = (Instant::now(), cpu_time());
    let mut first = None;
    for event in server.generate(request(model, number, 1), RequestOptions::default())? {
        match event {
            Event::Token(_) => first = Some(from.elapsed()),
            Event::Failed(error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok([first.ok_or("no token")?, cpu_time().saturating_sub(computed)])
}

fn cold_against_hot(server: &Embedded, root: &Path, count: u64) -> Result<(), Failure> {
    let (mut hot, mut cold, mut loads) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..count {
        let hash = server.adapters().register(&root.join(format!("a{at:05}")))?;
        // Nothing idle stays in memory here: who is not held is cold.
        cold.push(first_token(server, &hash.to_string(), 2 * at)?);
        let from = Instant::now();
        let held = server.adapters().get(hash)?;
        loads.push(from.elapsed());
        hot.push(first_token(server, &hash.to_string(), 2 * at + 1)?);
        drop(held);
    }
    let at = |times: &[Duration], share: usize| {
        let mut times = times.to_vec();
        times.sort();
        times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3
    };
    for (what, place) in [("by the clock", 0), ("computed", 1)] {
        let only = |times: &[[Duration; 2]]| times.iter().map(|time| time[place]).collect::<Vec<_>>();
        let (hot, cold) = (only(&hot), only(&cold));
        println!(
            "first token {what}, ms: hot median {:.2} p90 {:.2}; cold median {:.2} p90 {:.2}; medians differ by {:.2}",
            at(&hot, 50),
            at(&hot, 90),
            at(&cold, 50),
            at(&cold, 90),
            at(&cold, 50) - at(&hot, 50),
        );
    }
    println!("load alone, ms: median {:.2} p90 {:.2}", at(&loads, 50), at(&loads, 90));
    Ok(())
}

/// Loads and evicts one adapter a thousand times; its bytes.
fn thousand_loads(server: &Embedded, dir: &Path) -> Result<usize, Failure> {
    let hash = server.adapters().register(dir)?;
    let mut bytes = 0;
    let mut load = || -> Result<(), Failure> {
        bytes = server.adapters().get(hash)?.bytes();
        Ok(())
    };
    load()?;
    let (before, evict) = (resident_mib(), || {
        // Nothing idle stays: another load, of any adapter, lets it go.
        let _ = server.adapters().unregister(hash);
        server.adapters().register(dir)
    });
    for _ in 0..1000 {
        evict()?;
        load()?;
    }
    println!("1,000 loads of {bytes} bytes: {before} MiB resident before, {} after", resident_mib());
    Ok(bytes)
}

/// Tokens per CPU-second of 16 requests at once over `count` adapters, drawn by weights of 1, 1/2,
/// 1/3, …, and over 16.
fn zipf_against_hot(server: &Embedded, count: u64) -> Result<(), Failure> {
    let mut sums = vec![0.0];
    (1..=count).for_each(|rank| sums.push(sums[sums.len() - 1] + 1.0 / rank as f64));
    let zipf = |random: u64| {
        let wanted = sums[sums.len() - 1] * (random as f64 / u64::MAX as f64);
        sums.partition_point(|sum| *sum < wanted).clamp(1, sums.len() - 1) as u64 - 1
    };
    let run = |name: &str, pick: &(dyn Fn(u64) -> u64 + Sync)| -> Result<f64, Failure> {
        let (before, cpu) = (server.adapters().stats(), cpu_seconds());
        let ask = |client: u64| {
            (0..4).try_fold(0, |tokens, turn| {
                let number = client * 100 + turn;
                let asked = request(&format!("a{:05}", pick(number)), number, 16);
                let events = server.generate(asked, RequestOptions::default()).map_err(|error| error.to_string())?;
                Ok::<usize, String>(tokens + events.filter(|event| matches!(event, Event::Token(_))).count())
            })
        };
        let tokens = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..16).map(|client| scope.spawn(move || ask(client))).collect();
            clients.into_iter().try_fold(0, |sum, client| Ok::<usize, String>(sum + client.join().unwrap_or(Ok(0))?))
        })?;
        let (rate, stats) = (tokens as f64 / (cpu_seconds() - cpu), server.adapters().stats());
        let (loads, hits) = (stats.loads - before.loads, stats.hits - before.hits);
        println!(
            "{name}: {rate:.1} tokens per CPU-second, {loads} loads and {hits} hits, {} in memory, {} MiB resident",
            stats.resident,
            resident_mib(),
        );
        Ok(rate)
    };
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let hot = run("16 adapters, hot", &|number| number % 16)?;
        ratios.push(run(&format!("Zipf over {count}, cache of 64"), &|number| zipf(draw(5, 5, number)))? / hot);
    }
    println!("Zipf over hot: {ratios:.3?}");
    Ok(())
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// What the threads that run now have computed so far.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
