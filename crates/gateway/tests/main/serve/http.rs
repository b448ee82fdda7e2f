//! OpenLoRA over HTTP, seen from the wire.

use std::ops::ControlFlow;

use openledger_gateway::openai::choice_seed;
use openledger_protocol::AdapterHash;
use openledger_serving::{Backend, ChatForm, SpecialTokens};
use serde_json::{Value, json};

use super::client::{Running, serve, serve_embedded};
use super::{request, saved, server};

fn chat(extra: Value) -> Value {
    let mut body = json!({ "model": "base", "messages": [{ "role": "user", "content": "the owl" }], "max_tokens": 8,
        "temperature": 0 });
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn completion(extra: Value) -> Value {
    let mut body = json!({ "model": "base", "prompt": "the owl sat", "max_tokens": 6, "temperature": 0 });
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[track_caller]
fn refused(running: &Running, path: &str, body: &Value, status: u16, code: Option<&str>, param: Option<&str>) {
    let response = running.post(path, body);
    assert_eq!(response.status, status, "{body}: {}", response.body);
    let error = &response.json()["error"];
    assert_eq!((error["code"].as_str(), error["param"].as_str()), (code, param), "{body}: {error}");
    assert!(!error["message"].as_str().unwrap().is_empty() && error["type"].is_string());
}

#[test]
fn an_answer_over_http_is_the_one_of_the_backend_and_names_its_adapter() {
    let (embedded, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    embedded.adapters().register_folders(tmp.path()).unwrap();
    let hash = embedded.adapters().register(&saved(&embedded, tmp.path(), 1)).unwrap();
    embedded.adapters().set_alias("owls", hash, None).unwrap();
    let running = serve_embedded(&embedded, None);
    let response = running.post("/v1/completions", &completion(json!({ "model": "owls" })));
    assert_eq!(response.status, 200, "{}", response.body);
    let mut same = request("owls", "the owl sat");
    same.sampling.max_tokens = 6;
    same.sampling.seed = 0;
    let alone = embedded.complete(&same, &mut |_| ControlFlow::Continue(())).unwrap().completion;
    assert_eq!(response.json()["choices"][0]["text"], alone.text);
    assert_eq!(response.header("x-openledger-adapter"), Some(hash.to_string().as_str()));
    assert_eq!(response.json()["openledger"]["adapter"], hash.to_string());
    let fingerprint = response.json()["system_fingerprint"].as_str().unwrap().to_owned();
    let base = running.post("/v1/completions", &completion(json!({}))).json();
    assert_ne!(base["system_fingerprint"], fingerprint);
    assert_ne!(base["choices"][0]["text"], alone.text);
}

#[test]
fn a_stream_is_written_byte_for_byte_as_openai_writes_it() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let whole = running.post("/v1/chat/completions", &chat(json!({}))).json();
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
    let asked = chat(json!({ "stream": true, "stream_options": { "include_usage": true } }));
    let streamed = running.post("/v1/chat/completions", &asked);
    assert_eq!(streamed.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events = streamed.events();
    let (id, fingerprint) = (events[0]["id"].as_str().unwrap(), whole["system_fingerprint"].as_str().unwrap());
    let frame = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"{id}\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"base\",\
             \"system_fingerprint\":\"{fingerprint}\",\"choices\":[{choices}],\"usage\":{usage}}}\n\n"
        )
    };
    let choice = |delta: &str, reason: &str| {
        let choice = format!("{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{reason}}}");
        frame(&choice, "null")
    };
    let pieces: Vec<&str> = events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(pieces.concat(), text);
    let mut expected = choice("{\"role\":\"assistant\",\"content\":\"\"}", "null");
    for piece in &pieces[1..] {
        expected.push_str(&choice(&format!("{{\"content\":{}}}", json!(piece)), "null"));
    }
    expected.push_str(&choice("{}", &whole["choices"][0]["finish_reason"].to_string()));
    // The prompt was computed for the answer before; its whole page of 16 tokens is found again.
    let mut usage = whole["usage"].clone();
    usage["prompt_tokens_details"]["cached_tokens"] = json!(16);
    expected.push_str(&frame("", &usage.to_string()));
    expected.push_str("data: [DONE]\n\n");
    assert_eq!(streamed.body, expected);
    // Without the option no chunk speaks of usage.
    let plain = running.post("/v1/chat/completions", &chat(json!({ "stream": true })));
    assert!(!plain.body.contains("usage") && plain.body.ends_with("data: [DONE]\n\n"));
}

#[test]
fn what_is_wrong_with_a_request_is_told_in_openais_envelope() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    for stream in [false, true] {
        let unknown = chat(json!({ "model": "owls", "stream": stream }));
        refused(&running, "/v1/chat/completions", &unknown, 404, Some("model_not_found"), Some("model"));
    }
    let unknown = completion(json!({ "model": "0x00", "stream": true }));
    refused(&running, "/v1/completions", &unknown, 404, Some("model_not_found"), Some("model"));
    refused(&running, "/v1/chat/completions", &chat(json!({ "temperature": 9 })), 400, None, Some("temperature"));
    refused(&running, "/v1/chat/completions", &chat(json!({ "tools": [{}] })), 400, None, Some("tools"));
    refused(&running, "/v1/completions", &completion(json!({ "prompt": [[]] })), 400, None, Some("prompt"));
    let long = completion(json!({ "prompt": "owl ".repeat(90) }));
    refused(&running, "/v1/completions", &long, 400, Some("context_length_exceeded"), Some("messages"));
    refused(&running, "/v1/embeddings", &json!({ "model": "base" }), 400, None, Some("input"));
    assert_eq!(running.call("POST", "/v1/completions", "{").json()["error"]["param"], "body");
    let (long_ago, lost) = (running.get("/v1/nowhere"), running.get("/v1/nowhere"));
    let ids = [lost.header("x-request-id"), long_ago.header("x-request-id")];
    assert!(ids[0].is_some() && ids[0] != ids[1] && lost.header("openai-processing-ms").is_some(), "{}", lost.head);
    assert_eq!((lost.status, lost.json()["error"]["code"].as_str()), (404, Some("unknown_url")));
    let method = running.get("/v1/completions");
    assert_eq!((method.status, method.json()["error"]["code"].as_str()), (405, Some("method_not_supported")));
}

#[test]
fn several_answers_have_seeds_of_their_own_and_each_can_be_asked_for_alone() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let drawn = json!({ "n": 3, "temperature": 1.5, "seed": 5 });
    let several = running.post("/v1/completions", &completion(drawn.clone())).json();
    let texts: Vec<&str> = several["choices"].as_array().unwrap().iter().map(|c| c["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0] != texts[1] && texts[1] != texts[2]);
    for (index, text) in (0u32..).zip(&texts) {
        let alone = json!({ "temperature": 1.5, "seed": choice_seed(5, index) });
        assert_eq!(running.post("/v1/completions", &completion(alone)).json()["choices"][0]["text"], **text);
    }
    let usage = &several["usage"];
    assert_eq!(
        usage["total_tokens"],
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap()
    );
    let mut streamed = completion(drawn);
    streamed["stream"] = true.into();
    streamed["stream_options"] = json!({ "include_usage": true });
    let events = running.post("/v1/completions", &streamed).events();
    for (index, text) in texts.iter().enumerate() {
        let pieces = events.iter().flat_map(|e| e["choices"].as_array().into_iter().flatten());
        let own = pieces.filter(|c| c["index"] == index).map(|c| c["text"].as_str().unwrap());
        assert_eq!(own.collect::<String>(), *text);
    }
    assert_eq!(events[events.len() - 2]["usage"], *usage);
}

#[test]
fn prompts_come_as_text_texts_ids_or_arrays_of_ids() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let ids = embedded.tokenizer().encode("the owl sat", true);
    let text = |prompt: Value| {
        let response = running.post("/v1/completions", &completion(json!({ "prompt": prompt }))).json();
        response["choices"].as_array().unwrap().iter().map(|c| c["text"].clone()).collect::<Vec<Value>>()
    };
    let one = text(json!("the owl sat"));
    assert_eq!(text(json!(ids)), one);
    assert_eq!(text(json!([ids, ids])), [one[0].clone(), one[0].clone()]);
    let other = text(json!("seven grey herons"));
    assert_eq!(text(json!(["seven grey herons", "the owl sat"])), [other[0].clone(), one[0].clone()]);
}

#[test]
fn an_echoed_prompt_is_scored_with_its_alternatives() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let asked = completion(json!({ "echo": true, "logprobs": 2, "max_tokens": 2 }));
    let choice = running.post("/v1/completions", &asked).json()["choices"][0].clone();
    assert!(choice["text"].as_str().unwrap().starts_with("the owl sat"));
    let columns = &choice["logprobs"];
    let ids = embedded.tokenizer().encode("the owl sat", true);
    let scores = embedded.score("base", &ids).unwrap();
    assert_eq!(columns["token_logprobs"][0], Value::Null);
    for (at, score) in scores.iter().enumerate() {
        let told = columns["token_logprobs"][at + 1].as_f64().unwrap();
        assert!((told - f64::from(*score)).abs() < 1e-4, "{told} and {score}");
        let best = columns["top_logprobs"][at + 1].as_object().unwrap().values().map(|l| l.as_f64().unwrap());
        assert!(best.fold(f64::MIN, f64::max) >= told);
    }
    let count = columns["tokens"].as_array().unwrap().len();
    for name in ["token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(columns[name].as_array().unwrap().len(), count, "{name}");
    }
    // A prompt alone can be scored: nothing is generated then.
    let scored = running.post("/v1/completions", &completion(json!({ "echo": true, "logprobs": 0, "max_tokens": 0 })));
    assert_eq!(scored.json()["choices"][0]["text"], "the owl sat");
    assert_eq!(scored.json()["usage"]["completion_tokens"], 0);
}

#[test]
fn embeddings_are_the_same_numbers_in_both_forms() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let ids = embedded.tokenizer().encode("the owl", true);
    let own = embedded.embed("base", &ids).unwrap();
    let asked = json!({ "model": "base", "input": ["the owl", "a heron"], "dimensions": own.len() });
    let response = running.post("/v1/embeddings", &asked).json();
    let numbers: Vec<f32> =
        response["data"][0]["embedding"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as f32).collect();
    assert_eq!(numbers, own);
    assert_eq!((response["data"][1]["index"].as_u64(), response["object"].as_str()), (Some(1), Some("list")));
    let base64 = json!({ "model": "base", "input": ids, "encoding_format": "base64" });
    let text = running.post("/v1/embeddings", &base64).json()["data"][0]["embedding"].as_str().unwrap().to_owned();
    assert_eq!(text.len(), (own.len() * 4).div_ceil(3) * 4);
    let other = json!({ "model": "base", "input": "a", "dimensions": 7 });
    refused(&running, "/v1/embeddings", &other, 400, None, Some("dimensions"));
    let unknown = json!({ "model": "owls", "input": "a" });
    refused(&running, "/v1/embeddings", &unknown, 404, Some("model_not_found"), Some("model"));
}

#[test]
fn texts_become_tokens_and_texts_again() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let tokens = running.post("/tokenize", &json!({ "prompt": "the owl", "return_token_strs": true })).json();
    assert_eq!(tokens["tokens"], json!(embedded.tokenizer().encode("the owl", true)));
    assert_eq!(tokens["count"], tokens["token_strs"].as_array().unwrap().len());
    let text = running.post("/detokenize", &json!({ "tokens": tokens["tokens"] })).json();
    assert_eq!(text["prompt"], "the owl");
    let messages = json!({ "messages": [{ "role": "user", "content": "the owl" }] });
    let asked = running.post("/tokenize", &messages).json();
    assert_eq!(asked["tokens"], json!(embedded.tokenizer().encode("Question: the owl\nAnswer:", true)));
    refused(&running, "/detokenize", &json!({ "tokens": ["a"] }), 400, None, Some("tokens"));
}

#[test]
fn unknown_members_of_requests_about_tokens_and_adapters_are_named() {
    let (embedded, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    saved(&embedded, tmp.path(), 1);
    let running = serve_embedded(&embedded, Some(tmp.path().to_owned()));
    let messages = json!([{ "role": "user", "content": "the owl" }]);
    for (path, body) in [
        ("/tokenize", json!({ "prompt": "the owl", "zebra": 1 })),
        // `max_tokens` is a member of a chat, `add_special_tokens` one of this call.
        ("/tokenize", json!({ "messages": messages, "max_tokens": 4, "add_special_tokens": true, "zebra": 1 })),
        ("/detokenize", json!({ "tokens": [5], "model": "base", "zebra": 1 })),
        ("/v1/load_lora_adapter", json!({ "lora_name": "owls", "lora_path": "1", "zebra": 1 })),
        ("/v1/ensembles", json!({ "name": "birds", "members": [{ "model": "owls", "weight": 1 }], "zebra": 1 })),
        ("/v1/unload_lora_adapter", json!({ "lora_name": "birds", "zebra": 1 })),
    ] {
        let response = running.post(path, &body);
        assert_eq!(response.status, 200, "{path}: {}", response.body);
        assert_eq!(response.header("x-openledger-ignored-params"), Some("zebra"), "{path}: {}", response.head);
    }
}

#[test]
fn adapters_are_loaded_and_unloaded_while_serving_but_only_from_their_folder() {
    let (embedded, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    let root = tmp.path().join("adapters");
    let (inside, outside) = (saved(&embedded, &root, 1), saved(&embedded, tmp.path(), 2));
    let running = serve_embedded(&embedded, Some(root.clone()));
    let load = |name: &str, path: &str| json!({ "lora_name": name, "lora_path": path });
    for path in ["../2", outside.to_str().unwrap(), "missing"] {
        let wanted = Some("adapter_not_found");
        refused(&running, "/v1/load_lora_adapter", &load("owls", path), 404, wanted, Some("lora_path"));
    }
    std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
    let wanted = Some("adapter_not_found");
    refused(&running, "/v1/load_lora_adapter", &load("owls", "link"), 404, wanted, Some("lora_path"));
    let loaded = running.post("/v1/load_lora_adapter", &load("owls", inside.to_str().unwrap()));
    assert_eq!(loaded.status, 200, "{}", loaded.body);
    let hash: AdapterHash = loaded.header("x-openledger-adapter").unwrap().parse().unwrap();
    let again = load("owls", "1");
    refused(&running, "/v1/load_lora_adapter", &again, 400, Some("adapter_exists"), Some("lora_name"));
    let mut in_place = again.clone();
    in_place["load_inplace"] = true.into();
    assert_eq!(running.post("/v1/load_lora_adapter", &in_place).status, 200);
    let mut wrong = load("herons", "1");
    wrong["adapter_hash"] = format!("0x{}", "11".repeat(32)).into();
    refused(&running, "/v1/load_lora_adapter", &wrong, 400, Some("invalid_adapter"), Some("lora_path"));
    let list = running.get("/v1/lora_adapters").json();
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["adapter"]), (&json!("owls"), &json!(hash)));
    assert_eq!(running.get("/v1/models/owls").json()["parent"], "base");
    let names = running.get("/v1/models").json()["data"].as_array().unwrap().len();
    assert_eq!(names, 2);
    assert_eq!(running.post("/v1/completions", &completion(json!({ "model": "owls" }))).status, 200);
    assert_eq!(running.post("/v1/unload_lora_adapter", &json!({ "lora_name": "owls" })).status, 200);
    for path in ["/v1/completions", "/v1/unload_lora_adapter"] {
        let mut body = completion(json!({ "model": "owls" }));
        body["lora_name"] = "owls".into();
        refused(&running, path, &body, 404, Some("model_not_found"), Some("model"));
    }
    assert_eq!(running.get("/v1/models/owls").status, 404);
}

#[test]
fn a_base_with_a_template_of_its_own_is_asked_through_it_tools_included() {
    let embedded = server(0);
    let source = "{% for t in tools or [] %}{{ t.function.name }} {% endfor %}{{ messages[-1].content }}";
    let form = ChatForm::of_source(source, SpecialTokens::default());
    let running = serve(std::sync::Arc::new(embedded.clone()), &embedded, form, None);
    let tools = json!([{ "type": "function", "function": { "name": "grey", "parameters": {} } }]);
    let ids = |extra: Value| running.post("/tokenize", &chat(extra)).json()["tokens"].clone();
    let expect = |text: &str| json!(embedded.tokenizer().encode(text, false));
    assert_eq!(ids(json!({ "tools": tools })), expect("grey the owl"));
    assert_eq!(ids(json!({ "tools": tools, "tool_choice": "none" })), expect("the owl"));
    let asked = chat(json!({ "tools": tools }));
    assert_eq!(running.post("/v1/chat/completions", &asked).status, 200);
    let forced = chat(json!({ "tools": tools, "tool_choice": "required" }));
    let code = Some("unsupported_parameter");
    refused(&running, "/v1/chat/completions", &forced, 400, code, Some("tool_choice"));
}

#[test]
fn an_answer_of_a_schema_is_json_of_that_schema_streamed_or_whole() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let schema = json!({ "type": "object", "properties": { "a": { "enum": [1, 2] } }, "required": ["a"],
        "additionalProperties": false });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": schema } });
    // White space is out, so that the answer ends.
    let blank = |id: &u32| embedded.tokenizer().piece(*id).iter().any(u8::is_ascii_whitespace);
    let bias: serde_json::Map<String, Value> = (0..300).filter(blank).map(|id| (id.to_string(), json!(-100))).collect();
    for temperature in [0.0, 1.0] {
        let asked = json!({ "response_format": format, "temperature": temperature, "max_tokens": 30, "logit_bias": bias,
            "messages": [{ "role": "user", "content": "a" }] });
        let whole = running.post("/v1/chat/completions", &chat(asked.clone()));
        let text = whole.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(value == json!({ "a": 1 }) || value == json!({ "a": 2 }), "{text}");
        let mut streamed = chat(asked);
        streamed["stream"] = true.into();
        let events = running.post("/v1/chat/completions", &streamed).events();
        let pieces = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
        assert_eq!(pieces.collect::<String>(), text);
    }
    let bad = json!({ "type": "json_schema", "json_schema": { "schema": { "type": "zebra" } } });
    refused(
        &running,
        "/v1/chat/completions",
        &chat(json!({ "response_format": bad })),
        400,
        None,
        Some("response_format"),
    );
}

#[test]
fn other_servers_extensions_are_honoured() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let ask = |extra: Value| running.post("/v1/completions", &completion(extra)).json()["choices"][0].clone();
    let told = ask(json!({ "return_token_ids": true, "ignore_eos": true }));
    assert_eq!(told["token_ids"].as_array().unwrap().len(), 6);
    assert_eq!(told["prompt_token_ids"], json!(embedded.tokenizer().encode("the owl sat", true)));
    let first = told["token_ids"][0].clone();
    let stopped = ask(json!({ "stop_token_ids": [first], "return_token_ids": true }));
    assert_eq!((&stopped["token_ids"], &stopped["finish_reason"]), (&json!([]), &json!("stop")));
    let later = ask(json!({ "stop_token_ids": [first], "min_tokens": 2, "return_token_ids": true }));
    assert!(later["token_ids"].as_array().unwrap().len() >= 2);
    let mut bias = json!({});
    bias[first.to_string()] = json!(-100);
    assert_ne!(ask(json!({ "logit_bias": bias, "return_token_ids": true }))["token_ids"][0], first);
}

#[test]
fn a_prompt_is_cut_to_its_last_tokens_where_that_is_asked_for() {
    let embedded = server(0);
    let running = serve_embedded(&embedded, None);
    let ids = embedded.tokenizer().encode("the owl sat", true);
    let ask = |kept: Value| {
        let body = completion(json!({ "return_token_ids": true, "truncate_prompt_tokens": kept }));
        running.post("/v1/completions", &body).json()["choices"][0].clone()
    };
    assert_eq!(ask(json!(2))["prompt_token_ids"], json!(ids[ids.len() - 2..]));
    for all in [json!(999), json!(-1), Value::Null] {
        assert_eq!(ask(all)["prompt_token_ids"], json!(ids));
    }
    // A prompt beyond what the model reads is refused whole, and answered by its end.
    let long = json!({ "prompt": vec![5; 200], "truncate_prompt_tokens": -1, "max_tokens": 1 });
    let told = running.post("/v1/completions", &completion(long));
    assert_eq!((told.status, &told.json()["usage"]["prompt_tokens"]), (200, &json!(47)), "{}", told.body);
    let bad = completion(json!({ "truncate_prompt_tokens": 0 }));
    refused(&running, "/v1/completions", &bad, 400, None, Some("truncate_prompt_tokens"));
    let input = json!({ "model": "base", "input": "the owl sat", "truncate_prompt_tokens": 1 });
    assert_eq!(running.post("/v1/embeddings", &input).json()["usage"]["prompt_tokens"], 1);
}
