//! OpenAI's wire form: what is understood, ignored by name, refused by name.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use openledger_api::openai::ChatResponse;
use openledger_engine::Tokenizer;
use openledger_gateway::openai::{ApiError, ChatRequest, ChatStream, CompletionsRequest, DONE, named_event, push_chat};
use openledger_protocol::FinishReason;
use openledger_serving::{Backend, ChatForm, Prompt, Role, ServeError};
use serde_json::{Value, json};

use super::server;

/// A chat request with the members of `extra` set.
fn chat(extra: Value) -> Value {
    let mut body = json!({ "model": "base", "messages": [{ "role": "user", "content": "Why?" }] });
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[track_caller]
fn refused(extra: Value, param: &str) {
    let error = ChatRequest::parse(&chat(extra.clone())).unwrap_err();
    assert_eq!(error.param.as_deref(), Some(param), "{extra}: {error}");
    assert_eq!((error.status, error.kind.as_str()), (400, "invalid_request_error"));
}

#[test]
fn members_that_cannot_be_honoured_are_refused_by_name() {
    for (extra, param) in [
        (json!({ "n": 0 }), "n"),
        (json!({ "n": 129 }), "n"),
        (json!({ "tools": {} , "functions": [{}] }), "functions"),
        (json!({ "tools": "owl" }), "tools"),
        (json!({ "tool_choice": "required" }), "tool_choice"),
        (json!({ "logit_bias": { "owl": 1 } }), "logit_bias"),
        (json!({ "logit_bias": { "5": 101 } }), "logit_bias"),
        (json!({ "presence_penalty": 2.5 }), "presence_penalty"),
        (json!({ "frequency_penalty": "much" }), "frequency_penalty"),
        (json!({ "response_format": { "type": "yaml" } }), "response_format"),
        (json!({ "response_format": { "type": "json_schema", "json_schema": {} } }), "response_format"),
        (json!({ "top_k": -2 }), "top_k"),
        (json!({ "min_p": 1.5 }), "min_p"),
        (json!({ "repetition_penalty": 0 }), "repetition_penalty"),
        (json!({ "stop_token_ids": [-1] }), "stop_token_ids"),
        (json!({ "skip_special_tokens": false }), "skip_special_tokens"),
        (json!({ "guided_json": {} }), "guided_json"),
        (json!({ "return_tokens_as_token_ids": true }), "return_tokens_as_token_ids"),
        (json!({ "prompt_logprobs": 1 }), "prompt_logprobs"),
        (json!({ "echo": true }), "echo"),
        (json!({ "stream_options": { "continuous_usage_stats": true } }), "stream_options.continuous_usage_stats"),
        (json!({ "truncate_prompt_tokens": -2 }), "truncate_prompt_tokens"),
        (json!({ "chat_template": "x" }), "chat_template"),
        (json!({ "temperature": 3 }), "temperature"),
        (json!({ "temperature": "hot" }), "temperature"),
        (json!({ "top_p": 0 }), "top_p"),
        (json!({ "max_tokens": 0 }), "max_tokens"),
        (json!({ "max_completion_tokens": -1 }), "max_completion_tokens"),
        (json!({ "top_logprobs": 3 }), "top_logprobs"),
        (json!({ "stop": ["a", "b", "c", "d", "e"] }), "stop"),
        (json!({ "stop": "" }), "stop"),
        (json!({ "seed": 1.5 }), "seed"),
        (json!({ "model": null }), "model"),
        (json!({ "messages": "Why?" }), "messages"),
        (json!({ "messages": [{ "role": "oracle", "content": "x" }] }), "messages[0]"),
        (json!({ "messages": [{ "role": "assistant", "tool_calls": 5 }] }), "messages[0]"),
        (json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url" }] }] }), "messages[0].content"),
    ] {
        refused(extra, param);
    }
}

#[test]
fn members_at_values_that_change_nothing_are_accepted() {
    let neutral = json!({
        "n": 1, "tools": [], "tool_choice": "auto", "logit_bias": {}, "presence_penalty": 0, "frequency_penalty": 0.0,
        "response_format": { "type": "text" }, "top_k": -1, "parallel_tool_calls": true, "store": false,
        "metadata": { "a": "b" }, "user": "u", "stop": null, "logprobs": false,
    });
    let parsed = ChatRequest::parse(&chat(neutral)).unwrap();
    assert_eq!(parsed.ignored, Vec::<String>::new());
    assert_eq!(parsed.request.user.as_deref(), Some("u"));
}

#[test]
fn what_goes_beyond_a_receipt_is_understood_and_can_be_refused_by_name() {
    let beyond = [
        (json!({ "n": 2 }), "n"),
        (json!({ "tools": [{ "type": "function" }] }), "tools"),
        (json!({ "logit_bias": { "7": -3, "5": 1 } }), "logit_bias"),
        (json!({ "presence_penalty": 0.5 }), "presence_penalty"),
        (json!({ "frequency_penalty": -0.5 }), "frequency_penalty"),
        (json!({ "repetition_penalty": 1.1 }), "repetition_penalty"),
        (json!({ "response_format": { "type": "json_object" } }), "response_format"),
        (json!({ "top_k": 40 }), "top_k"),
        (json!({ "min_p": 0.1 }), "min_p"),
        (json!({ "min_tokens": 3 }), "min_tokens"),
        (json!({ "ignore_eos": true }), "ignore_eos"),
        (json!({ "stop_token_ids": [4] }), "stop_token_ids"),
        (json!({ "include_stop_str_in_output": true }), "include_stop_str_in_output"),
        (json!({ "logprobs": true, "stream": true }), "logprobs"),
    ];
    for (extra, name) in beyond {
        let request = ChatRequest::parse(&chat(extra)).unwrap().request;
        assert_eq!(request.refuse_beyond_receipts().unwrap_err().param.as_deref(), Some(name));
    }
    let plain = ChatRequest::parse(&chat(json!({ "temperature": 1, "stop": "x", "seed": 3 }))).unwrap().request;
    assert_eq!(plain.refuse_beyond_receipts(), Ok(()));
    for (extra, name) in [
        (json!({ "prompt": ["a", "b"] }), "prompt"),
        (json!({ "n": 2 }), "n"),
        (json!({ "ignore_eos": true }), "ignore_eos"),
        (json!({ "logprobs": 1, "stream": true }), "logprobs"),
        (json!({ "logprobs": 0, "echo": true }), "logprobs"),
        (json!({ "return_token_ids": true, "stream": true }), "return_token_ids"),
    ] {
        let mut body = json!({ "model": "base", "prompt": "a" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let request = CompletionsRequest::parse(&body).unwrap().request;
        assert_eq!(request.refuse_beyond_receipts().unwrap_err().param.as_deref(), Some(name));
    }
    let echoed = json!({ "model": "base", "prompt": [1, 2], "echo": true, "max_tokens": 0 });
    assert_eq!(CompletionsRequest::parse(&echoed).unwrap().request.refuse_beyond_receipts(), Ok(()));
    let request = ChatRequest::parse(&chat(json!({ "logit_bias": { "7": -3, "5": 1 } }))).unwrap().request;
    assert_eq!(request.decoding.logit_bias, [(5, 1.0), (7, -3.0)]);
}

#[test]
fn unknown_members_are_ignored_and_named() {
    let parsed = ChatRequest::parse(&chat(json!({ "zebra": 1, "apple": {}, "nothing": null }))).unwrap();
    assert_eq!(parsed.ignored, ["apple", "zebra"]);
}

#[test]
fn settings_arrive_in_thousandths_and_the_newer_limit_wins() {
    let body = chat(json!({
        "temperature": 0.7, "top_p": 0.95, "max_tokens": 5, "max_completion_tokens": 9, "seed": -1, "stop": "\n",
        "stream": true, "stream_options": { "include_usage": true }, "openledger": { "attribution": "full" },
    }));
    let request = ChatRequest::parse(&body).unwrap().request;
    assert_eq!((request.sampling.temperature_milli, request.sampling.top_p_milli), (700, 950));
    assert_eq!((request.sampling.max_tokens, request.sampling.seed), (9, u64::MAX));
    assert_eq!(request.sampling.stop, ["\n"]);
    assert!(request.stream && request.include_usage);
    assert_eq!(request.extension, Some(json!({ "attribution": "full" })));
}

#[test]
fn a_conversation_becomes_a_prompt_of_the_base() {
    let messages = json!([
        { "role": "developer", "content": "Be short." },
        { "role": "user", "content": [{ "type": "text", "text": "Why?" }, { "type": "text", "text": "How?" }] },
    ]);
    let request = ChatRequest::parse(&chat(json!({ "messages": messages }))).unwrap().request;
    assert_eq!(request.messages[0].role, Role::System);
    let completion = request.ask(&ChatForm::Dialog, server(0).tokenizer(), 0).unwrap();
    assert_eq!(completion.prompt, Prompt::Text("Context: Be short.\nQuestion: Why?\nHow?\nAnswer:".into()));
}

#[test]
fn prompts_may_be_text_or_ids_one_or_several() {
    let parse = |prompt: Value| CompletionsRequest::parse(&json!({ "model": "base", "prompt": prompt }));
    let prompts = |prompt: Value| parse(prompt).unwrap().request.prompts;
    let text = |text: &str| Prompt::Text(text.into());
    assert_eq!(prompts(json!("a")), [text("a")]);
    assert_eq!(prompts(json!(["a", "b"])), [text("a"), text("b")]);
    assert_eq!(prompts(json!([1, 2])), [Prompt::Ids(vec![1, 2])]);
    assert_eq!(prompts(json!([[1, 2], "a"])), [Prompt::Ids(vec![1, 2]), text("a")]);
    let many = json!(vec!["a"; 257]);
    for bad in [json!([]), json!([1, "b"]), json!([-1]), json!([[]]), json!(null), json!({}), many] {
        assert_eq!(parse(bad.clone()).unwrap_err().param.as_deref(), Some("prompt"), "{bad}");
    }
    let suffix = json!({ "model": "base", "prompt": "a", "suffix": "z" });
    assert_eq!(CompletionsRequest::parse(&suffix).unwrap_err().param.as_deref(), Some("suffix"));
}

#[test]
fn errors_have_openais_shape_and_hide_the_operators_files() {
    let error = ApiError::from(&ServeError::NotFound { model: "owls".into() });
    assert_eq!(error.status, 404);
    assert_eq!(
        json!(error.wire()),
        json!({ "error": {
            "message": "the model `owls` does not exist", "type": "invalid_request_error", "param": "model",
            "code": "model_not_found",
        } })
    );
    let load = openledger_engine::LoadError::MissingTensor { name: "secret".into() };
    let error = ApiError::from(&ServeError::Load(load));
    assert_eq!(error.status, 500);
    assert!(!error.message.contains("secret"), "{error}");
}

#[test]
fn a_response_has_openais_members() {
    let server = server(0);
    let body = chat(json!({ "logprobs": true, "top_logprobs": 2, "max_tokens": 3, "temperature": 0 }));
    let request = ChatRequest::parse(&body).unwrap().request;
    let completion = request.ask(server.chat_form(), server.tokenizer(), 0).unwrap();
    let answer = server.complete(&completion, &mut |_| ControlFlow::Continue(())).unwrap();
    let mut response = ChatResponse::<()>::empty("7", 1_700_000_000, "base", answer.completion.numeric_mode.clone());
    push_chat(&mut response, &answer, true, answer.completion.usage.into());
    let response = serde_json::to_value(response).unwrap();
    assert_eq!(response["id"], "chatcmpl-7");
    assert_eq!(response["object"], "chat.completion");
    assert_eq!(response["choices"][0]["message"]["content"], answer.completion.text);
    assert_eq!(response["choices"][0]["message"]["role"], "assistant");
    let tokens = response["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len(), answer.completion.output_ids.len());
    assert_eq!(tokens[0]["top_logprobs"].as_array().unwrap().len(), 2);
    let usage = &response["usage"];
    let (read, written) = (usage["prompt_tokens"].as_u64().unwrap(), usage["completion_tokens"].as_u64().unwrap());
    assert_eq!(usage["total_tokens"], read + written);
    assert!(response.get("openledger").is_none());
}

#[test]
fn a_stream_is_a_sequence_of_events_that_clients_understand() {
    let stream = ChatStream {
        id: "7".into(),
        created: 5,
        model: "base".into(),
        system_fingerprint: "f32fma-1".into(),
        include_usage: true,
    };
    let data = |event: &str| -> Value {
        serde_json::from_str(event.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap()).unwrap()
    };
    let first = data(&stream.first_of(0));
    assert_eq!(first["object"], "chat.completion.chunk");
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(first["usage"], Value::Null);
    // A line feed in the text must not end the event.
    assert_eq!(data(&stream.delta_of(0, "a\nb", None))["choices"][0]["delta"]["content"], "a\nb");
    assert_eq!(data(&stream.last_of(0, FinishReason::Length))["choices"][0]["finish_reason"], "length");
    let usage = openledger_protocol::Usage { prompt_tokens: 2, completion_tokens: 3 };
    let last = data(&stream.usage(usage.into()));
    assert_eq!((last["choices"].as_array().unwrap().len(), &last["usage"]["total_tokens"]), (0, &json!(5)));
    let without = ChatStream { include_usage: false, ..stream.clone() };
    assert_eq!(without.usage(usage.into()), "");
    assert!(data(&without.first_of(0)).get("usage").is_none());
    let error = data(&stream.error(&ApiError::invalid("model", "gone")));
    assert_eq!(error["error"]["message"], "gone");
    assert_eq!(named_event("openledger.receipt", &json!({})), "event: openledger.receipt\ndata: {}\n\n");
    assert_eq!(DONE, "data: [DONE]\n\n");
}

fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z_{%}\\n]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("(role|content|type|text|function|tool_calls|arguments)", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

static TOKENIZER: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::train_bpe(["the owl sat"].iter(), 280, &["<|end|>"]).unwrap());

proptest::proptest! {
    #[test]
    fn any_member_of_any_form_is_understood_or_refused_and_never_breaks(
        name in "(messages|tools|tool_choice|response_format|logit_bias|stop|stream_options|prompt|input|n|seed|top_k)",
        value in any_json(),
    ) {
        let mut body = chat(json!({ "prompt": "a", "input": "a" }));
        body[name] = value;
        for error in [
            ChatRequest::parse(&body).err(),
            CompletionsRequest::parse(&body).err(),
            openledger_gateway::openai::EmbeddingsRequest::parse(&body).err(),
        ].into_iter().flatten() {
            proptest::prop_assert_eq!(error.status, 400);
            proptest::prop_assert!(error.param.is_some());
        }
        if let Ok(parsed) = ChatRequest::parse(&body) {
            let _ = parsed.request.ask(&ChatForm::Dialog, &TOKENIZER, 0);
        }
    }

    #[test]
    fn any_chat_template_ends_within_its_limits(
        parts in proptest::collection::vec(
            "(\\{% for m in (messages|range\\(9999\\)) %\\}|\\{% endfor %\\}|\\{\\{ (m|messages|bos_token)(\\.content|\\[0\\]| \\| tojson| \\* 9999)? \\}\\}|\\{% if m %\\}|\\{% endif %\\}|[a-z\\n]{0,4})",
            0..9,
        ),
    ) {
        let tokens = openledger_serving::SpecialTokens { bos: "<s>".into(), ..Default::default() };
        if let Ok(template) = openledger_serving::ChatTemplate::compile(&parts.concat(), tokens) {
            let messages = [json!({ "role": "user", "content": "Why?" })];
            let conversation = openledger_serving::Conversation { messages: &messages, ..Default::default() };
            proptest::prop_assert_eq!(template.render(&conversation), template.render(&conversation));
        }
    }
}
