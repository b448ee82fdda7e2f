//! What a request means where it says nothing, what it may not say together, and which pages may
//! send it.

use serde_json::{Value, json};

use super::client::{Response, Running, serve_embedded};
use super::{saved, server};

/// The three answers' texts.
fn three(running: &Running, extra: Value) -> Vec<String> {
    let mut body = json!({ "model": "base", "messages": [{ "role": "user", "content": "the owl" }], "n": 3,
        "max_tokens": 8 });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let response = running.post("/v1/chat/completions", &body).json();
    let text = |choice: &Value| choice["message"]["content"].as_str().unwrap().to_owned();
    response["choices"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_temperature_that_is_left_out_is_one() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let left_out = three(&running, json!({}));
    assert!(left_out[0] != left_out[1] || left_out[1] != left_out[2], "{left_out:?}");
    assert_eq!(left_out, three(&running, json!({ "temperature": 1, "top_p": 1, "seed": 0 })));
    let greedy = three(&running, json!({ "temperature": 0 }));
    assert!(greedy[0] == greedy[1] && greedy[1] == greedy[2], "{greedy:?}");
}

#[test]
fn no_stop_text_ends_an_answer_before_its_least_number_of_tokens() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let ask = |extra: Value| {
        let mut body = json!({ "model": "base", "prompt": "the owl sat", "max_tokens": 12, "temperature": 0,
            "ignore_eos": true });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        running.post("/v1/completions", &body).json()
    };
    let text = ask(json!({}))["choices"][0]["text"].as_str().unwrap().to_owned();
    let first: String = text.chars().take(1).collect();
    let stopped = ask(json!({ "stop": first }));
    assert_eq!((&stopped["choices"][0]["text"], &stopped["choices"][0]["finish_reason"]), (&json!(""), &json!("stop")));
    for min_tokens in [3, 7, 12] {
        let later = ask(json!({ "stop": first, "min_tokens": min_tokens }));
        assert!(later["usage"]["completion_tokens"].as_u64().unwrap() >= min_tokens, "{later}");
        let streamed = json!({ "stop": first, "min_tokens": min_tokens, "stream": true, "model": "base",
            "prompt": "the owl sat", "max_tokens": 12, "temperature": 0, "ignore_eos": true });
        let events = running.post("/v1/completions", &streamed).events();
        let pieces = events.iter().filter_map(|event| event["choices"][0]["text"].as_str());
        assert_eq!(later["choices"][0]["text"], pieces.collect::<String>());
    }
}

#[test]
fn settings_that_cannot_all_be_kept_to_are_refused_by_name() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    for (extra, param) in [
        (json!({ "min_tokens": 9 }), "min_tokens"),
        (json!({ "min_tokens": 2, "response_format": { "type": "json_object" } }), "min_tokens"),
        (json!({ "ignore_eos": true, "response_format": { "type": "json_object" } }), "ignore_eos"),
        (json!({ "logit_bias": { "9999": 1 } }), "logit_bias"),
        (json!({ "stop_token_ids": [9999] }), "stop_token_ids"),
    ] {
        let mut body = json!({ "model": "base", "prompt": "the owl", "max_tokens": 8 });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let refused = running.post("/v1/completions", &body);
        assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some(param)), "{extra}");
    }
}

#[test]
fn an_answer_of_a_schema_ends_whatever_white_space_the_model_prefers() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let blank = |id: &u32| {
        let piece = embedded.tokenizer().piece(*id);
        !piece.is_empty() && piece.iter().all(u8::is_ascii_whitespace)
    };
    let bias: serde_json::Map<String, Value> = (0..300).filter(blank).map(|id| (id.to_string(), json!(100))).collect();
    let schema = json!({ "type": "object", "properties": { "a": { "enum": [1, 2] } }, "required": ["a"],
        "additionalProperties": false });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": schema } });
    let asked = json!({ "model": "base", "messages": [{ "role": "user", "content": "a" }], "temperature": 0,
        "max_tokens": 30, "response_format": format, "logit_bias": bias });
    let answer = running.post("/v1/chat/completions", &asked).json()["choices"][0].clone();
    assert_eq!(answer["finish_reason"], "stop", "{answer}");
    let value: Value = serde_json::from_str(answer["message"]["content"].as_str().unwrap()).unwrap();
    assert!(value == json!({ "a": 1 }) || value == json!({ "a": 2 }), "{value}");
}

#[test]
fn no_adapter_and_no_ensemble_takes_the_bases_name() {
    let (embedded, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    saved(&embedded, tmp.path(), 1);
    let running = serve_embedded(&embedded, Some(tmp.path().to_owned()));
    let load = json!({ "lora_name": "base", "lora_path": "1", "load_inplace": true });
    assert_eq!(running.post("/v1/load_lora_adapter", &load).status, 400);
    let named = json!({ "lora_name": "owls", "lora_path": "1" });
    assert_eq!(running.post("/v1/load_lora_adapter", &named).status, 200);
    let ensemble = json!({ "name": "base", "members": [{ "model": "owls", "weight": 1 }], "load_inplace": true });
    assert_eq!(running.post("/v1/ensembles", &ensemble).status, 400);
    let names = running.get("/v1/models").json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].clone())
        .collect::<Vec<_>>();
    assert_eq!(names, ["base", "owls"]);
}

#[test]
fn pages_of_this_machine_may_call_and_others_may_not() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let call = |method: &str, origin: &str| -> Response {
        let headers = format!(
            "origin: {origin}\r\naccess-control-request-method: POST\r\n\
             access-control-request-headers: authorization,content-type\r\ncontent-type: application/json\r\n"
        );
        let body = if method == "POST" { json!({ "prompt": "the owl" }).to_string() } else { String::new() };
        running.call_with(method, "/tokenize", &headers, &body)
    };
    let allowed = |response: &Response| response.header("access-control-allow-origin").map(str::to_owned);
    let own = "http://localhost:5173";
    let preflight = call("OPTIONS", own);
    assert_eq!((preflight.status, allowed(&preflight).as_deref()), (200, Some(own)), "{}", preflight.head);
    assert_eq!(preflight.header("access-control-allow-headers"), Some("authorization,content-type"));
    let posted = call("POST", own);
    assert_eq!((posted.status, allowed(&posted).as_deref()), (200, Some(own)));
    assert!(posted.header("access-control-expose-headers").unwrap().contains("x-request-id"), "{}", posted.head);
    for method in ["OPTIONS", "POST"] {
        assert_eq!(allowed(&call(method, "https://elsewhere.example")), None);
    }
}

#[test]
fn a_call_keeps_the_id_that_its_client_gave_it() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let id = |given: &str| {
        let response = running.call_with("GET", "/v1/models", &format!("x-request-id: {given}\r\n"), "");
        response.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(id("night-desk.7"), "night-desk.7");
    assert!(id("two words") != "two words" && id(&"a".repeat(300)).len() < 64);
}
