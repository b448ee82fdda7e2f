//! The OpenAI dialect at its edges: refusals before any cost, repeats, and the form of errors.

use serde_json::{Value, json};

use super::story::{QUESTION, fixture, on};
use super::world::{Answer, World};

#[track_caller]
fn refused(answer: &Answer, status: u16, param: &str) {
    let error = &answer.body["error"];
    assert_eq!((answer.status, error["param"].as_str()), (status, Some(param)), "{}", answer.text);
    assert_eq!(error["type"], "invalid_request_error");
}

/// The data of a stream's events, names left out.
fn data(events: &str) -> Vec<Value> {
    let lines = events.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// Asks with this idempotency key in the header.
async fn ask_with(world: &World, payer: &str, key: Option<&str>, body: &Value) -> Answer {
    let request = world.request("post", "/v1/chat/completions").bearer_auth(payer).json(body);
    let value = |key: &str| reqwest::header::HeaderValue::from_bytes(key.as_bytes()).unwrap();
    world
        .send(match key {
            Some(key) => request.header("idempotency-key", value(key)),
            None => request,
        })
        .await
}

fn chat(more: Value) -> Value {
    let mut body = json!({ "model": "thread", "max_tokens": 4, "temperature": 0,
        "messages": [{ "role": "user", "content": QUESTION }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn what_no_receipt_pays_for_is_refused_by_name() {
    let world = &fixture().world;
    on(async {
        let payer = world.payer("scores-prompts").await;
        for top in [0, 2] {
            let scored = world.go_on(&payer, json!("a"), json!({ "echo": true, "logprobs": top })).await;
            refused(&scored, 400, "logprobs");
        }
        let echoed = world.go_on(&payer, json!("a chain"), json!({ "echo": true })).await.done();
        assert!(echoed["choices"][0]["text"].as_str().unwrap().starts_with("a chain"));
        let keyed = json!({ "logprobs": true, "openledger": { "idempotency_key": "scored" } });
        refused(&world.ask(&payer, QUESTION, keyed).await, 400, "logprobs");
        let called = json!([{ "role": "user", "content": "a" }, { "role": "tool", "content": "b" }]);
        refused(&world.ask(&payer, QUESTION, json!({ "messages": called })).await, 400, "messages[1].role");
        let named = json!([{ "role": "user", "name": "Ann", "content": "a" }]);
        refused(&world.ask(&payer, QUESTION, json!({ "messages": named })).await, 400, "messages[0].name");
    });
}

#[test]
fn a_body_or_text_beyond_what_the_base_reads_is_refused_before_it_is_tokenized() {
    let world = &fixture().world;
    on(async {
        let payer = world.payer("writes-much").await;
        let long = "a b ".repeat(20_000);
        for more in [json!({}), json!({ "truncate_prompt_tokens": 4 })] {
            let text = world.go_on(&payer, json!(long), more).await;
            assert_eq!((text.status, text.code()), (400, "context_length_exceeded"), "{}", text.text);
            assert!(text.text.contains("bytes of text"), "{}", text.text);
        }
        let asked = world.ask(&payer, &long, json!({})).await;
        assert_eq!((asked.status, asked.code()), (400, "context_length_exceeded"), "{}", asked.text);
        let body = world.go_on(&payer, json!("a".repeat((4 << 20) + 100)), json!({})).await;
        assert_eq!(body.status, 413, "{}", body.text);
        assert_eq!(body.body["error"]["type"], "invalid_request_error");
    });
}

#[test]
fn a_repeat_says_what_the_first_answer_said_and_other_answers_have_other_ids() {
    let world = &fixture().world;
    on(async {
        let payer = world.payer("repeats-streams").await;
        let keyed = |stream: bool| {
            world.ask(&payer, QUESTION, json!({ "stream": stream, "openledger": { "idempotency_key": "again" } }))
        };
        let first = keyed(true).await.text;
        let (second, third) = (keyed(true).await, keyed(true).await);
        assert!(second.replayed && third.replayed);
        assert_eq!(second.text, third.text);
        let whole = keyed(false).await.done();
        for events in [&first, &second.text] {
            let chunk = &data(events)[0];
            assert_eq!((&chunk["id"], &chunk["system_fingerprint"]), (&whole["id"], &whole["system_fingerprint"]));
        }
        assert_eq!(data(&second.text)[0]["created"], whole["created"]);
        let plain = || async {
            let streamed = world.ask(&payer, QUESTION, json!({ "stream": true })).await;
            data(&streamed.text)[0]["id"].clone()
        };
        let (one, other) = (plain().await, plain().await);
        assert!(one != other && one != whole["id"], "{one} {other}");
    });
}

#[test]
fn the_cached_part_of_a_prompt_is_reported_whole_and_in_streams_and_not_by_a_repeat() {
    let world = &fixture().world;
    on(async {
        let payer = world.payer("asks-the-same").await;
        let cached = |usage: &Value| usage["prompt_tokens_details"]["cached_tokens"].as_u64();
        let first = world.ask(&payer, QUESTION, json!({})).await.done();
        assert_eq!(cached(&first["usage"]), Some(0), "another channel's prefix is not found");
        let second = world.ask(&payer, QUESTION, json!({})).await.done();
        assert_eq!(cached(&second["usage"]), Some(16), "a page of the prompt was computed before");
        let options = json!({ "stream": true, "stream_options": { "include_usage": true } });
        let streamed = data(&world.ask(&payer, QUESTION, options).await.text);
        let usage = streamed.iter().map(|chunk| &chunk["usage"]).find(|usage| usage.is_object()).unwrap();
        assert_eq!(cached(usage), Some(16));
        let keyed = || world.ask(&payer, QUESTION, json!({ "openledger": { "idempotency_key": "cached" } }));
        assert_eq!(cached(&keyed().await.done()["usage"]), Some(16));
        let repeat = keyed().await;
        assert!(repeat.replayed);
        assert_eq!(cached(&repeat.body["usage"]), None, "a receipt has no such figure");
    });
}

#[test]
fn an_idempotency_key_is_printable_in_the_header_and_in_the_body() {
    let world = &fixture().world;
    on(async {
        let payer = world.payer("keys-of-all-kinds").await;
        let long = "k".repeat(201);
        for (header, more) in [
            (Some("Fluß"), json!({})),
            (Some(long.as_str()), json!({})),
            (None, json!({ "openledger": { "idempotency_key": "Fluß" } })),
            (None, json!({ "openledger": { "idempotency_key": "" } })),
        ] {
            let answer = ask_with(world, &payer, header, &chat(more)).await;
            assert_eq!((answer.status, answer.code()), (400, "bad-idempotency-key"), "{}", answer.text);
        }
        let native = world.request("post", "/api/v1/handles").bearer_auth(&world.token).json(&json!({ "handles": [] }));
        let value = reqwest::header::HeaderValue::from_bytes("Fluß".as_bytes()).unwrap();
        let native = world.send(native.header("idempotency-key", value)).await;
        assert_eq!((native.status, native.code()), (400, "bad-idempotency-key"), "{}", native.text);
    });
}

#[test]
fn unknown_paths_methods_and_media_types_are_told_in_openais_form() {
    let world = &fixture().world;
    on(async {
        for (method, path, status, code) in [
            ("get", "/v1/nothing", 404, "unknown_url"),
            ("put", "/v1/nothing", 404, "unknown_url"),
            ("get", "/v1", 404, "unknown_url"),
            ("put", "/v1/models", 405, "method_not_supported"),
            ("get", "/tokenize", 405, "method_not_supported"),
        ] {
            let answer = world.send(world.request(method, path)).await;
            assert_eq!((answer.status, answer.body["error"]["code"].as_str()), (status, Some(code)), "{}", answer.text);
        }
        let payer = world.payer("sends-other-media").await;
        for path in ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"] {
            let request = world.request("post", path).bearer_auth(&payer).header("content-type", "text/plain");
            let answer = world.send(request.body(chat(json!({})).to_string())).await;
            assert_eq!((answer.status, answer.code()), (415, "unsupported_media_type"), "{path}: {}", answer.text);
        }
        let request = world.request("post", "/tokenize").header("content-type", "Application/JSON; charset=utf-8");
        assert_eq!(world.send(request.body(r#"{"prompt":"a"}"#)).await.status, 200);
        let request = world.request("post", "/api/v1/handles").bearer_auth(&world.token);
        let request = request.header("content-type", "APPLICATION/JSON").body(r#"{"handles":[]}"#);
        assert_eq!(world.send(request).await.status, 200);
    });
}

#[test]
fn credentials_that_cannot_be_read_are_401_and_never_anonymous() {
    let world = &fixture().world;
    on(async {
        for path in ["/v1/models", "/api/v1/overview", "/health/live"] {
            for (value, status) in [
                (format!("bearer {}", world.token), 200),
                (format!("BEARER {}", world.token), 200),
                ("Basic eDp5".to_owned(), 401),
                (world.token.clone(), 401),
            ] {
                let answer = world.send(world.request("get", path).header("authorization", &value)).await;
                assert_eq!(answer.status, status, "{path}: {}", answer.text);
            }
        }
        let body = json!({ "prompt": "a" });
        for path in ["/tokenize", "/detokenize"] {
            let answer = world.send(world.request("post", path).bearer_auth("ol_wrong").json(&body)).await;
            assert_eq!((answer.status, answer.code()), (401, "invalid_api_key"), "{path}: {}", answer.text);
        }
        assert_eq!(world.send(world.request("post", "/tokenize").json(&body)).await.status, 200);
    });
}

#[test]
fn an_optional_body_is_left_out_or_fits_its_schema() {
    let world = &fixture().world;
    on(async {
        let path = "/api/v1/epochs/pending/watch";
        let empty = world.post(path, &json!({})).await;
        assert_eq!((empty.status, empty.code()), (400, "bad-json"), "{}", empty.text);
        let without = world.send(world.request("post", path).bearer_auth(&world.token)).await;
        assert_eq!((without.status, without.text.as_str()), (200, "null"));
    });
}
