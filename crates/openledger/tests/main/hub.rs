//! Models by their name on the hub, against a hub on loopback that speaks its two routes: listing and files, large ones behind
//! a redirection. The real hub is not asked.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use openledger_protocol::sha256;
use serde_json::{Value, json};

use crate::program::{Ran, base, openledger, samples};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What was asked of the hub, and how it misbehaves.
#[derive(Default)]
struct Told {
    asked: Vec<String>,
    /// The next large file breaks off in its middle.
    breaks: bool,
    /// Large files are said to have another hash than they have.
    lies: bool,
}

type Hub = State<Arc<Mutex<Told>>>;

/// A hub that runs as long as this is held.
struct Running {
    told: Arc<Mutex<Told>>,
    url: String,
    _runtime: tokio::runtime::Runtime,
}

fn hub() -> Running {
    let told = Arc::new(Mutex::new(Told::default()));
    let router = Router::new()
        .route("/api/models/{org}/{name}/revision/{revision}", get(list))
        .route("/{org}/{name}/resolve/{commit}/{file}", get(file).head(file))
        .route("/elsewhere/{file}", get(large))
        .with_state(told.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, router).await });
    Running { told, url, _runtime: runtime }
}

async fn list(UrlPath((_, name, revision)): UrlPath<(String, String, String)>) -> Response {
    match name.as_str() {
        "tide" if revision == "main" => {}
        "gated" => return StatusCode::UNAUTHORIZED.into_response(),
        "pickled" => {
            let files = [json!({ "rfilename": "config.json" }), json!({ "rfilename": "tokenizer.json" })];
            return axum::Json(json!({ "sha": COMMIT, "siblings": files })).into_response();
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    }
    let mut names: Vec<String> =
        std::fs::read_dir(base()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.extend(["pytorch_model.bin".to_owned(), "../outside.json".to_owned()]);
    let siblings: Vec<Value> = names.iter().map(|name| json!({ "rfilename": name })).collect();
    axum::Json(json!({ "sha": COMMIT, "siblings": siblings })).into_response()
}

async fn file(
    State(told): Hub,
    method: Method,
    UrlPath((_, _, commit, file)): UrlPath<(String, String, String, String)>,
) -> Response {
    let mut told = told.lock().unwrap();
    told.asked.push(format!("{method} {file}"));
    assert_eq!(commit, COMMIT);
    let Ok(bytes) = std::fs::read(base().join(&file)) else { return StatusCode::NOT_FOUND.into_response() };
    if file != "model.safetensors" {
        // Small files have a tag that is no SHA-256.
        let tag = format!("\"{}\"", &sha256(&bytes).to_string()[2..42]);
        return ([(header::ETAG, tag)], bytes).into_response();
    }
    let hash = if told.lies { sha256("another") } else { sha256(&bytes) };
    let headers = [
        ("location", format!("/elsewhere/{file}")),
        ("x-linked-etag", format!("\"{}\"", &hash.to_string()[2..])),
        ("x-linked-size", bytes.len().to_string()),
    ];
    (StatusCode::FOUND, headers, ()).into_response()
}

async fn large(State(told): Hub, headers: HeaderMap, UrlPath(file): UrlPath<String>) -> Response {
    let bytes = std::fs::read(base().join(&file)).unwrap();
    let range = headers.get(header::RANGE).map(|range| range.to_str().unwrap().to_owned());
    let mut told = told.lock().unwrap();
    told.asked.push(format!("{} {file}", range.as_deref().unwrap_or("whole")));
    if std::mem::take(&mut told.breaks) {
        let half = bytes[..bytes.len() / 2].to_vec();
        let broken = futures::stream::iter([Ok(half), Err(std::io::Error::other("gone"))]);
        return ([(header::CONTENT_LENGTH, bytes.len().to_string())], Body::from_stream(broken)).into_response();
    }
    let from: usize = range
        .as_ref()
        .map_or(0, |range| range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap());
    let status = if from == 0 { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    (status, bytes[from..].to_vec()).into_response()
}

/// Trains one step on the base named `name`, with the hub at `url` and the cache in `home`.
fn train(name: &str, url: &str, home: &Path, more: &[&str]) -> Ran {
    let out = tempfile::tempdir().unwrap();
    let records = std::fs::read_to_string(samples().join("night-sky.jsonl")).unwrap();
    let lines: String = records.lines().take(4).map(|line| format!("{line}\n")).collect();
    let data = out.path().join("records.jsonl");
    std::fs::write(&data, lines).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_openledger"))
        .args(["train", "--base", name, "--rank", "2", "--max-steps", "1", "--batch", "2", "--holdout", "0", "--json"])
        .arg("--data")
        .arg(&data)
        .arg("--out")
        .arg(out.path().join("adapter"))
        .args(more)
        .env("HF_ENDPOINT", url)
        .env("HF_HOME", home)
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .env("NO_PROXY", "127.0.0.1")
        .current_dir(out.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn a_model_is_fetched_by_its_name_once_and_is_the_model_of_its_files() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    hub.told.lock().unwrap().breaks = true;
    let fetched = train("harbour/tide", &hub.url, home.path(), &[]).exits(0).json();
    let asked = std::mem::take(&mut hub.told.lock().unwrap().asked);
    // The large file broke off in its middle and went on from there, and nothing was taken that is not needed.
    let half = std::fs::metadata(base().join("model.safetensors")).unwrap().len() / 2;
    assert!(asked.contains(&"whole model.safetensors".to_owned()), "{asked:?}");
    assert!(asked.contains(&format!("bytes={half}- model.safetensors")), "{asked:?}");
    assert!(!asked.iter().any(|asked| asked.contains("pytorch") || asked.contains("outside")), "{asked:?}");
    let local = train(&base().display().to_string(), &hub.url, home.path(), &[]).exits(0).json();
    assert_eq!(fetched["adapter"], local["adapter"]);
    assert!(hub.told.lock().unwrap().asked.is_empty(), "a folder that is there always wins");
    // The second time only tags are asked for.
    train("harbour/tide", &hub.url, home.path(), &[]).exits(0);
    let asked = std::mem::take(&mut hub.told.lock().unwrap().asked);
    assert!(asked.iter().all(|asked| asked.starts_with("HEAD ")), "{asked:?}");
    let url = hub.url.clone();
    drop(hub);
    let offline = train("harbour/tide", &url, home.path(), &["--offline"]).exits(0).json();
    assert_eq!(offline["adapter"], fetched["adapter"]);
    let cached = train("harbour/tide", &url, home.path(), &[]).exits(0);
    assert!(cached.err.contains("from the cache"), "{}", cached.err);
}

#[test]
fn what_cannot_be_fetched_is_refused_by_name_with_what_to_do() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    for (name, more, exit, told) in [
        ("harbour/nowhere", &[][..], 3, "none of that name"),
        ("harbour/tide@v9", &[], 3, "none of that name"),
        ("harbour/gated", &[], 4, "HF_TOKEN"),
        ("harbour/pickled", &[], 65, "no weights as safetensors"),
        ("harbour/tide", &["--offline"], 3, "without --offline"),
    ] {
        let ran = train(name, &hub.url, home.path(), more).exits(exit);
        let id = name.split('@').next().unwrap();
        assert!(ran.err.contains(&format!("`{id}`")) && ran.err.contains(told), "{}", ran.err);
    }
    let ran = train("harbour/tide", "http://127.0.0.1:1", home.path(), &[]).exits(69);
    assert!(ran.err.contains("`harbour/tide`") && ran.err.contains("Give the path of a folder"), "{}", ran.err);
    // Every verb that takes a name of the hub can keep to what is here.
    let cache = ["influence", "cache", "--adapter", "a", "--records", "r", "--out", "o"];
    let verify = ["receipt", "verify", "f", "--manifest", "m", "--reexecute", "--adapter", "a"];
    for verb in [&cache[..], &verify[..]] {
        let ran = openledger(verb.iter().chain(&["--base", "harbour/nowhere", "--offline"])).exits(3);
        assert!(ran.err.contains("without --offline"), "{}", ran.err);
    }
    // No folder and no name of the hub: as before, whoever opens it says so.
    train("./harbour/tide", &hub.url, home.path(), &[]).exits(78);
}

#[test]
fn bytes_that_are_not_what_the_hub_says_are_not_kept() {
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    hub.told.lock().unwrap().lies = true;
    let ran = train("harbour/tide", &hub.url, home.path(), &[]).exits(65);
    assert!(ran.err.contains("model.safetensors") && ran.err.contains("SHA-256"), "{}", ran.err);
    let blobs = home.path().join("hub/models--harbour--tide/blobs");
    let lie = &sha256("another").to_string()[2..];
    let kept: Vec<String> =
        std::fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!kept.iter().any(|name| name.starts_with(lie)), "{kept:?}");
    train("harbour/tide", &hub.url, home.path(), &["--offline"]).exits(3);
}
