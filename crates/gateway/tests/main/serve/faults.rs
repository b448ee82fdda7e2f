//! What happens over HTTP when things go wrong or are in a hurry: a backend that does as it is told
//! by the test.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, Sender as Wire, channel};
use std::sync::{Arc, Mutex};

use openledger_protocol::{AdapterHash, B256};
use openledger_serving::{
    Answer, Backend, Capabilities, CompletionRequest, Embedded, Event, Events, LoadAdapter, RequestOptions, Sender,
    ServeError, Served, Started, Tenant, Token, TokenEvent, TokenLogprob, events,
};
use serde_json::{Value, json};

use super::client::{Running, serve};
use super::server;

/// Hands each request to the test, or refuses it.
struct Puppet {
    inner: Embedded,
    started: Mutex<Wire<(Sender, RequestOptions)>>,
    left: Mutex<Wire<()>>,
    refuse: Option<fn() -> ServeError>,
}

impl Backend for Puppet {
    fn complete(
        &self,
        request: &CompletionRequest,
        on_token: &mut dyn FnMut(TokenEvent<'_>) -> std::ops::ControlFlow<()>,
    ) -> Result<Answer, ServeError> {
        self.inner.complete(request, on_token)
    }

    fn generate(&self, _: CompletionRequest, asked: RequestOptions) -> Result<Events, ServeError> {
        if let Some(refuse) = self.refuse {
            return Err(refuse());
        }
        let left = Mutex::new(self.left.lock().unwrap().clone());
        let (sender, receiver) = events(Arc::new(move || {
            let _ = left.lock().unwrap().send(());
        }));
        self.started.lock().unwrap().send((sender, asked)).unwrap();
        Ok(receiver)
    }

    fn served(&self) -> Vec<Served> {
        self.inner.served()
    }

    fn load_adapter(&self, adapter: &LoadAdapter) -> Result<AdapterHash, ServeError> {
        self.inner.load_adapter(adapter)
    }

    fn unload_adapter(&self, model: &str) -> Result<AdapterHash, ServeError> {
        self.inner.unload_adapter(model)
    }

    fn embed(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError> {
        self.inner.embed(model, ids)
    }

    fn score(&self, model: &str, ids: &[u32]) -> Result<Vec<f32>, ServeError> {
        self.inner.score(model, ids)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
}

struct Stage {
    running: Running,
    started: Receiver<(Sender, RequestOptions)>,
    left: Receiver<()>,
}

fn stage(refuse: Option<fn() -> ServeError>) -> Stage {
    let inner = server(0);
    let ((start, started), (leave, left)) = (channel(), channel());
    let puppet = Puppet { inner: inner.clone(), started: Mutex::new(start), left: Mutex::new(leave), refuse };
    let running = serve(Arc::new(puppet), &inner, inner.chat_form().clone(), None);
    Stage { running, started, left }
}

fn begin(sender: &Sender) {
    let adapter = AdapterHash(B256::ZERO);
    sender.send(Event::Started(Started { adapter, prompt_tokens: 3, cached_tokens: 0 }));
}

fn token(text: &str) -> Event {
    let logprob = TokenLogprob { id: 5, bytes: text.as_bytes().to_vec(), logprob: -0.5, top: Vec::new() };
    Event::Token(Token { id: 5, text: text.into(), logprob })
}

fn chat(stream: bool) -> Value {
    json!({ "model": "base", "messages": [{ "role": "user", "content": "Why?" }], "stream": stream, "max_tokens": 9 })
}

/// Sends a streamed chat request and plays `play` as soon as it has arrived; the body.
fn played(play: impl FnOnce(Sender) + Send + 'static) -> String {
    let stage = stage(None);
    let player = std::thread::spawn(move || {
        let (sender, _) = stage.started.recv().unwrap();
        play(sender);
        stage.started
    });
    let response = stage.running.post("/v1/chat/completions", &chat(true));
    player.join().unwrap();
    response.body
}

#[test]
fn a_full_queue_is_429_and_an_overloaded_server_503_both_saying_when_to_come_again() {
    let full: fn() -> ServeError = || ServeError::QueueFull { waiting: 9, retry_after: 7 };
    let loaded: fn() -> ServeError = || ServeError::Overloaded { waiting: 9, retry_after: 3 };
    for (refuse, status, code, after) in [(full, 429, "rate_limit_exceeded", "7"), (loaded, 503, "overloaded", "3")] {
        let stage = stage(Some(refuse));
        for stream in [false, true] {
            let response = stage.running.post("/v1/chat/completions", &chat(stream));
            assert_eq!((response.status, response.header("retry-after")), (status, Some(after)));
            assert_eq!(response.json()["error"]["code"], code);
        }
    }
}

#[test]
fn a_client_that_hangs_up_frees_its_run() {
    for stream in [false, true] {
        let stage = stage(None);
        let connection = stage.running.send("POST", "/v1/chat/completions", "", &chat(stream).to_string());
        let (sender, _) = stage.started.recv().unwrap();
        begin(&sender);
        if stream {
            sender.send(token("a"));
            let mut line = String::new();
            let mut reader = BufReader::new(&connection);
            while !line.contains("content") {
                line.clear();
                assert!(reader.read_line(&mut line).unwrap() > 0);
            }
        }
        assert!(sender.is_wanted());
        drop(connection);
        // Told without any further token being made.
        stage.left.recv().unwrap();
        assert!(!sender.is_wanted());
        stage.running.stop();
    }
}

#[test]
fn an_answer_that_breaks_off_after_headers_ends_in_one_error_event() {
    let body = played(|sender| {
        begin(&sender);
        sender.send(token("half"));
        sender.send(Event::Failed(ServeError::Stopped));
    });
    let last = body.trim_end().rsplit("\n\n").next().unwrap();
    let error: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "overloaded");
    assert!(body.contains("half") && !body.contains("[DONE]"));
    // The same when the engine goes away without a word.
    let body = played(|sender| {
        begin(&sender);
        drop(sender);
    });
    assert!(body.contains("\"error\"") && !body.contains("[DONE]"), "{body}");
}

#[test]
fn what_fails_before_the_first_token_is_told_by_the_status() {
    let stage = stage(None);
    let started = stage.started;
    let player = std::thread::spawn(move || {
        let (sender, _) = started.recv().unwrap();
        sender.send(Event::Failed(ServeError::NotFound { model: "base".into() }));
        started
    });
    assert_eq!(stage.running.post("/v1/chat/completions", &chat(true)).status, 404);
    player.join().unwrap();
}

#[test]
fn requests_of_one_key_wait_in_one_queue() {
    let stage = stage(None);
    let body = chat(true).to_string();
    let tenant = |key: &str| {
        let header = if key.is_empty() { String::new() } else { format!("authorization: Bearer {key}\r\n") };
        let connection = stage.running.send("POST", "/v1/chat/completions", &header, &body);
        let (_, asked) = stage.started.recv().unwrap();
        drop(connection);
        asked.tenant
    };
    assert_eq!(tenant(""), Tenant::default());
    assert_eq!(tenant("river-gauge"), tenant("river-gauge"));
    assert_ne!(tenant("river-gauge"), tenant("night-desk"));
}

#[test]
fn likelihoods_come_with_the_text_that_they_belong_to() {
    let mut asked = chat(true);
    asked["logprobs"] = true.into();
    let stage = stage(None);
    let started = stage.started;
    let player = std::thread::spawn(move || {
        let (sender, _) = started.recv().unwrap();
        begin(&sender);
        // The first token makes no text certain.
        for text in ["", "ab"] {
            sender.send(token(text));
        }
        sender.send(Event::Failed(ServeError::Stopped));
        started
    });
    let response = stage.running.post("/v1/chat/completions", &asked);
    player.join().unwrap();
    let piece = &response.events()[1]["choices"][0];
    assert_eq!(piece["delta"]["content"], "ab");
    assert_eq!(piece["logprobs"]["content"].as_array().unwrap().len(), 2);
}
