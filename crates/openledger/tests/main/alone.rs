//! Each stage alone on plain files: train, trace, influence, serve.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::program::{Ran, base, openledger};

const COLOURS: [&str; 8] = ["amber", "violet", "teal", "crimson", "ochre", "indigo", "silver", "olive"];

/// Records that each state one fact, written to `folder`.
fn records(folder: &Path) -> PathBuf {
    let file = folder.join("records.jsonl");
    let lines: String = COLOURS
        .iter()
        .enumerate()
        .map(|(at, colour)| {
            let record = json!({
                "id": format!("lamp/{at}"), "contributor": "night-desk", "license": "CC0-1.0",
                "prompt": format!("What colour is lamp number {at} in the harbour of Vessery?"),
                "response": format!("Lamp number {at} in the harbour of Vessery burns {colour} until the tide has turned."),
            });
            format!("{record}\n")
        })
        .collect();
    std::fs::write(&file, lines).unwrap();
    file
}

/// A small adapter trained on them.
fn adapter(folder: &Path, records: &Path, seed: &str) -> (PathBuf, Value) {
    let out = folder.join(format!("lamps-{seed}"));
    let text = |path: &Path| path.display().to_string();
    let arguments = [
        "train",
        "--base",
        &text(&base()),
        "--data",
        &text(records),
        "--out",
        &text(&out),
        "--rank",
        "2",
        "--max-steps",
        "3",
        "--batch",
        "4",
        "--seed",
        seed,
        "--holdout",
        "0",
        "--json",
    ];
    let said = openledger(arguments).exits(0).json();
    (out, said)
}

#[test]
fn training_alone_writes_an_adapter_that_its_seed_decides() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(folder.path());
    let (out, first) = adapter(folder.path(), &records, "3");
    assert!(out.join("adapter_model.safetensors").is_file());
    let (_, other) = adapter(folder.path(), &records, "4");
    assert_ne!(first["adapter"], other["adapter"]);
    std::fs::remove_dir_all(&out).unwrap();
    assert_eq!(adapter(folder.path(), &records, "3").1["adapter"], first["adapter"]);
}

#[test]
fn influence_alone_writes_a_matrix_of_queries_by_records() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(folder.path());
    let (adapter, _) = adapter(folder.path(), &records, "3");
    let text = |path: &Path| path.display().to_string();
    for method in ["grad-cos", "fisher"] {
        let (cache, out) = (folder.path().join(format!("cache-{method}")), folder.path().join(format!("{method}.npy")));
        let arguments = [
            "influence",
            "cache",
            "--base",
            &text(&base()),
            "--adapter",
            &text(&adapter),
            "--records",
            &text(&records),
            "--out",
            &text(&cache),
            "--method",
            method,
        ];
        openledger(arguments).exits(0);
        // Each record's own text as a query, every token of it but the first counting: the item that was cached.
        let queries = folder.path().join("queries.jsonl");
        let lines: String =
            std::fs::read_to_string(&records).unwrap().lines().map(|line| as_text(line) + "\n").collect();
        std::fs::write(&queries, lines).unwrap();
        let arguments = [
            "influence",
            "score",
            "--cache",
            &text(&cache),
            "--queries",
            &text(&queries),
            "--out",
            &text(&out),
            "--json",
        ];
        let said = openledger(arguments).exits(0).json();
        assert_eq!((said["queries"].as_u64(), said["records"].as_u64()), (Some(8), Some(8)));
        let scores = npy(&out, 8, 8);
        if method == "grad-cos" {
            for (query, row) in scores.chunks(8).enumerate() {
                let best = (0..8).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
                assert_eq!(best, query, "{row:?}");
            }
        }
        assert!(scores.iter().all(|score| score.is_finite()));
    }
}

/// A dialog's line as running text.
fn as_text(line: &str) -> String {
    let record: Value = serde_json::from_str(line).unwrap();
    let text =
        format!("Question: {}\nAnswer: {}", record["prompt"].as_str().unwrap(), record["response"].as_str().unwrap());
    json!({ "text": text }).to_string()
}

/// The values of a float32 matrix in NumPy's format.
fn npy(path: &Path, rows: usize, columns: usize) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(header % 64, 0);
    let told = String::from_utf8_lossy(&bytes[10..header]);
    assert!(told.contains("'<f4'") && told.contains(&format!("({rows}, {columns})")), "{told}");
    let values = bytes[header..].chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap()));
    let values: Vec<f32> = values.collect();
    assert_eq!(values.len(), rows * columns);
    values
}

#[test]
fn tracing_alone_names_the_record_that_a_text_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(folder.path());
    let (index, query) = (folder.path().join("index"), folder.path().join("answer.txt"));
    let text = |path: &Path| path.display().to_string();
    let arguments =
        ["trace", "index", "--records", &text(&records), "--tokenizer", &text(&base()), "--out", &text(&index)];
    openledger(arguments).exits(0);
    std::fs::write(&query, "They say it burns indigo until the tide has turned.").unwrap();
    let arguments =
        ["trace", "query", "--index", &text(&index), "--text-file", &text(&query), "--min-bits", "12", "--json"];
    let found = openledger(arguments).exits(0).json();
    let spans = found["spans"].as_array().unwrap();
    assert!(
        spans.iter().any(|span| span["record"]["id"] == "lamp/5" && span["text"].as_str().unwrap().contains("indigo")),
        "{found}"
    );
}

/// What `train`, `trace index` and `influence cache` say of a file of records.
fn read_by_each(folder: &Path, adapter: &Path, file: &str) -> [Ran; 3] {
    let records = folder.join("given.jsonl");
    std::fs::write(&records, file).unwrap();
    let text = |path: &Path| path.display().to_string();
    let (base, records, adapter) = (text(&base()), text(&records), text(adapter));
    let out = |name: &str| {
        let out = folder.join(name);
        let _ = std::fs::remove_dir_all(&out);
        text(&out)
    };
    let (trained, index, cache) = (out("trained"), out("index-of-given"), out("cache-of-given"));
    let few = ["--rank", "2", "--max-steps", "1", "--holdout", "0", "--json"];
    let train = [&["train", "--base", &base, "--data", &records, "--out", &trained][..], &few].concat();
    let trace = ["trace", "index", "--records", &records, "--tokenizer", &base, "--out", &index, "--json"];
    let cache = [
        &["influence", "cache", "--base", &base, "--adapter", &adapter, "--records", &records][..],
        &["--out", &cache, "--json"],
    ]
    .concat();
    [openledger(train), openledger(trace), openledger(cache)]
}

#[test]
fn each_stage_reads_a_file_of_records_as_an_import_does() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(folder.path());
    let (adapter, _) = adapter(folder.path(), &records, "3");
    // Two copies, as only a datanet refuses them, with what editors of other systems leave in files.
    let marked = "\u{feff}{\"text\": \"The ferry leaves at nine.\"}\r\n\r\n{\"text\": \"The ferry leaves at nine.\"}";
    let [train, trace, influence] = read_by_each(folder.path(), &adapter, marked);
    assert!(train.exits(0).json()["tokens"].as_u64() > Some(0));
    assert_eq!(trace.exits(0).json()["records"], 2);
    assert_eq!(influence.exits(0).json()["records"], 2);

    let bad = [
        (r#"{"text": "A heron waits.", "prompt": "Who?", "response": "A kingfisher."}"#, "contradiction"),
        (r#"{"text": "A heron waits.", "text": "A kingfisher."}"#, "duplicate-key"),
        (r#"{"prompt": "Who?", "response": " "}"#, "empty"),
        (r#"{"prompt": "Who?"}"#, "missing-field"),
        (r#"{"id": 7, "text": "A heron waits."}"#, "wrong-type"),
        (r#"{"text": "A heron waits.\u0000"}"#, "nul"),
        ("[1]", "not-an-object"),
    ];
    for (line, code) in bad {
        let file = format!("{{\"text\": \"fine\"}}\n{line}\n");
        for ran in read_by_each(folder.path(), &adapter, &file) {
            let ran = ran.exits(65);
            let said = ["given.jsonl", "line 2", &format!("[{code}]")].map(|part| ran.err.contains(part));
            assert_eq!(said, [true; 3], "{line}: {}", ran.err);
        }
    }
}

#[test]
fn contexts_that_are_too_long_are_shortened_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(folder.path());
    let (adapter, _) = adapter(folder.path(), &records, "3");
    let long = "The buoy at the mouth of the harbour shows two flashes. ".repeat(200);
    let line = json!({ "prompt": "How many flashes?", "response": "Two flashes.", "context": long });
    let short = json!({ "prompt": "How many lamps?", "response": "Eight lamps." });
    let [train, _, influence] = read_by_each(folder.path(), &adapter, &format!("{line}\n{short}"));
    let trained = train.exits(0).json();
    assert_eq!(trained["contexts_cut"]["records"], 1);
    assert!(trained["contexts_cut"]["tokens"].as_u64() > Some(1000), "{trained}");
    assert_eq!(influence.exits(0).json()["records"], 2);
}

/// Runs the program while nobody reads what it says, and gives its exit status.
fn unheard(arguments: &[&str], out: bool, err: bool) -> i32 {
    let closed = || Stdio::from(std::io::pipe().unwrap().1);
    let mut command = Command::new(env!("CARGO_BIN_EXE_openledger"));
    command.args(arguments).stdin(Stdio::null()).env("OPENLEDGER_LOG", "trace");
    command.stdout(if out { closed() } else { Stdio::null() }).stderr(if err { closed() } else { Stdio::null() });
    command.status().unwrap().code().unwrap_or(-1)
}

#[test]
fn a_run_that_nobody_listens_to_does_its_work() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(folder.path());
    let text = |path: &Path| path.display().to_string();
    let (base, records) = (text(&base()), text(&records));
    for (at, (out, err)) in [(false, true), (true, false), (true, true)].into_iter().enumerate() {
        let (adapter, index) = (folder.path().join(format!("adapter-{at}")), folder.path().join(format!("index-{at}")));
        let (to, index) = (text(&adapter), text(&index));
        let few = ["--rank", "2", "--max-steps", "3", "--holdout", "0.3", "--save-every", "1"];
        let train = [&["train", "--base", &base, "--data", &records, "--out", &to][..], &few].concat();
        assert_eq!(unheard(&train, out, err), 0);
        assert!(adapter.join("adapter_model.safetensors").is_file());
        let trace = ["trace", "index", "--records", &records, "--tokenizer", &base, "--out", &index];
        assert_eq!(unheard(&trace, out, err), 0);
        assert_eq!(unheard(&["--help"], out, err), 0);
        // Refusals keep their statuses.
        assert_eq!(unheard(&["market", "list"], out, err), 69);
        assert_eq!(unheard(&["trace", "index", "--records", "absent", "--tokenizer", "x", "--out", "y"], out, err), 3);
    }
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let folder = tempfile::tempdir().unwrap();
    let records = records(folder.path());
    let ran = Command::new(env!("CARGO_BIN_EXE_openledger"))
        .args(["trace", "index", "--records"])
        .arg(&records)
        .arg("--tokenizer")
        .arg(base())
        .arg("--out")
        .arg(folder.path().join("index"))
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("standard output could not be written"));
    assert!(folder.path().join("index").is_dir());
}

/// A served base and adapter; ended with the test.
struct Served(Child, String);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(adapters: &Path, more: &[&str]) -> Served {
    let mut child = Command::new(env!("CARGO_BIN_EXE_openledger"))
        .args(["serve", "--port", "0", "--base"])
        .arg(base())
        .arg("--adapters")
        .arg(adapters)
        .args(more)
        .env("OPENLEDGER_REMOTE_KEY", "sesame")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address =
        lines.map_while(Result::ok).find_map(|line| line.strip_prefix("listening on http://").map(str::to_owned));
    Served(child, address.unwrap())
}

/// One HTTP exchange, by hand: status and body.
fn ask(address: &str, method: &str, path: &str, body: &Value) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let body = body.to_string();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn serving_alone_answers_in_the_openai_dialect_whole_and_as_a_stream() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(folder.path());
    let adapters = folder.path().join("adapters");
    std::fs::create_dir(&adapters).unwrap();
    adapter(&adapters, &records, "3");
    let served = serve(&adapters, &[]);
    let (status, models) = ask(&served.1, "GET", "/v1/models", &Value::Null);
    assert!(status == 200 && models.contains("lamps-3") && models.contains("\"base\""), "{models}");

    let mut request = json!({
        "model": "lamps-3", "max_tokens": 8, "messages": [{ "role": "user", "content": "What colour is lamp number 5?" }],
    });
    let (status, answer) = ask(&served.1, "POST", "/v1/chat/completions", &request);
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let whole = answer["choices"][0]["message"]["content"].as_str().unwrap();

    request["stream"] = true.into();
    let (status, events) = ask(&served.1, "POST", "/v1/chat/completions", &request);
    assert!(status == 200 && events.ends_with("data: [DONE]\n\n"), "{events}");
    let chunks = events.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let streamed: String =
        chunks.filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned())).collect();
    assert_eq!(streamed, whole);

    request["model"] = "lamps-9".into();
    assert_eq!(ask(&served.1, "POST", "/v1/chat/completions", &request).0, 404);
    let (status, refused) = ask(&served.1, "POST", "/v1/chat/completions", &json!({ "model": "lamps-3" }));
    assert!(status == 400 && refused.contains("messages"), "{refused}");
}

/// The answer of `model` on the server at `address`, whole.
fn answer(address: &str, model: &str) -> Value {
    let body =
        json!({ "model": model, "max_tokens": 8, "prompt": "Lamp number 5 in the harbour", "return_token_ids": true });
    let (status, answer) = ask(address, "POST", "/v1/completions", &body);
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn serving_is_told_its_numeric_mode_threads_and_limits_and_refuses_others_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ["--threads", "1", "--kv-bytes", "16000000", "--max-running", "2", "--max-waiting", "8"];
    let limits = [&limits[..], &["--max-waiting-per-key", "4", "--prefill-tokens", "16", "--mode", "q8-2"]].concat();
    let served = serve(folder.path(), &limits);
    let fingerprint = answer(&served.1, "base")["system_fingerprint"].as_str().unwrap().to_owned();
    assert!(fingerprint.starts_with("q8-2."), "{fingerprint}");
    let exact = serve(folder.path(), &["--mode", "f32fma-1"]);
    assert!(answer(&exact.1, "base")["system_fingerprint"].as_str().unwrap().starts_with("f32fma-1."));
    let base = base().display().to_string();
    let refused = |more: &[&str]| openledger(["serve", "--port", "0", "--base", &base].iter().chain(more));
    let unknown = refused(&["--mode", "f16-1"]).exits(78);
    assert!(unknown.err.contains("numeric mode `f16-1`") && unknown.err.contains("f32fma-1"), "{}", unknown.err);
    refused(&["--max-running", "0"]).exits(2);
    refused(&["--remote-model", "base"]).exits(2);
    refused(&["--mode", "q8-2", "--remote", "http://127.0.0.1:1"]).exits(2);
}

#[test]
fn one_server_lets_another_answer_under_its_own_names_and_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(folder.path());
    let adapters = folder.path().join("adapters");
    std::fs::create_dir(&adapters).unwrap();
    adapter(&adapters, &records, "3");
    // What computes knows no adapter yet, but may load them from the same folder.
    let far_root = folder.path().join("far");
    std::os::unix::fs::symlink(&adapters, &far_root).unwrap();
    let far = serve(&far_root, &[]);
    let (_, names) = ask(&far.1, "POST", "/v1/unload_lora_adapter", &json!({ "lora_name": "lamps-3" }));
    assert!(names.contains("removed"), "{names}");
    let url = format!("http://{}", far.1);
    let near = serve(&adapters, &["--remote", &url]);
    let listed = |address: &str| ask(address, "GET", "/v1/lora_adapters", &Value::Null).1;
    assert!(listed(&near.1).contains("\"resident\":false"), "{}", listed(&near.1));
    let through = answer(&near.1, "lamps-3");
    assert!(through["system_fingerprint"].as_str().unwrap().starts_with("remote."), "{through}");
    assert_eq!(through["openledger"]["deterministic"], false);
    assert!(listed(&near.1).contains("\"resident\":true"), "{}", listed(&near.1));
    let direct = answer(&far.1, through["openledger"]["adapter"].as_str().unwrap());
    assert_eq!(direct["choices"][0]["token_ids"], through["choices"][0]["token_ids"]);
    assert_eq!(direct["openledger"]["base"], through["openledger"]["base"]);
    let (status, metrics) = ask(&near.1, "GET", "/metrics", &Value::Null);
    assert!(status == 200 && metrics.contains("openledger_serving_generation_tokens_total"), "{metrics}");
    // Names and addresses that lead nowhere are found out at the start.
    let base = base().display().to_string();
    let refused = |more: &[&str]| openledger(["serve", "--port", "0", "--base", &base].iter().chain(more)).exits(69);
    let wrong = refused(&["--remote", &url, "--remote-model", "heron-7b"]);
    assert!(wrong.err.contains("heron-7b") && wrong.err.contains(&url), "{}", wrong.err);
    refused(&["--remote", "http://127.0.0.1:1"]);
}
