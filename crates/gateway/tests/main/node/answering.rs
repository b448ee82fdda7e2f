//! Who computes answers: another numeric mode, another server; and `/v1` beyond chats.

use std::path::Path;
use std::sync::Arc;

use openledger_engine::NumericMode;
use openledger_gateway::Origins;
use openledger_gateway::serve::{Server, Setup, router};
use openledger_ledger::verify_receipt;
use openledger_node::AnswerSource;
use openledger_protocol::{Manifest, ReceiptBundle, keccak};
use openledger_serving::{Backend, Embedded, PeerSetup};
use serde_json::{Value, json};

use super::story::{QUESTION, fixture, on};
use super::world::{World, repository};

/// A receipt's bundle that a stranger has verified.
async fn verified(world: &World, answer: &Value) -> ReceiptBundle {
    let bundle: ReceiptBundle = serde_json::from_value(world.bundle(answer).await).unwrap();
    let manifest = world.get("/api/v1/models/thread/manifest").await.done();
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    verify_receipt(&bundle, &manifest).unwrap();
    bundle
}

#[test]
fn a_text_that_is_gone_on_with_is_metered_receipted_and_attributed_like_a_chat() {
    let world = &fixture().world;
    on(async {
        let payer = world.payer("goes-on").await;
        let prompt = format!("Question: {QUESTION}\nAnswer:");
        let chat = world.ask(&payer, QUESTION, json!({ "max_tokens": 8 })).await.done();
        let text = world.go_on(&payer, json!(prompt), json!({})).await.done();
        assert_eq!(text["object"], "text_completion");
        // The base is asked in that form, so that both are the same prompt, answer, price and credit.
        assert_eq!(text["choices"][0]["text"], chat["choices"][0]["message"]["content"]);
        assert_eq!(text["openledger"]["price"], chat["openledger"]["price"]);
        let (one, other) = (verified(world, &chat).await, verified(world, &text).await);
        assert_eq!((one.completion.clone(), one.credits), (other.completion, other.credits));
        assert_eq!(other.request["prompt"], prompt.as_str());
        assert_eq!(other.signed.receipt.nonce, one.signed.receipt.nonce + 1);
        // The same as ids, echoed, with likelihoods, and as a stream under one key.
        let asked = json!({ "echo": true, "return_token_ids": true });
        let echoed = world.go_on(&payer, json!(one.completion.prompt_ids), asked).await.done();
        let choice = &echoed["choices"][0];
        let whole = format!("{prompt}{}", text["choices"][0]["text"].as_str().unwrap());
        assert_eq!(choice["text"], whole.as_str());
        assert_eq!(choice["token_ids"], json!(one.completion.output_ids));
        let scored = world.go_on(&payer, json!(prompt), json!({ "logprobs": 2 })).await.done();
        assert!(scored["choices"][0]["logprobs"]["token_logprobs"][0].is_number());
        let prompt_only = json!({ "echo": true, "max_tokens": 0 });
        let alone = world.go_on(&payer, json!(prompt), prompt_only).await.done();
        assert_eq!(alone["usage"]["completion_tokens"], 0);
        assert!(verified(world, &alone).await.completion.text.is_empty());
        let keyed = |stream: bool| {
            let more = json!({ "stream": stream, "openledger": { "idempotency_key": "g" } });
            world.go_on(&payer, json!(prompt), more)
        };
        let streamed = keyed(true).await.text;
        assert!(streamed.trim_end().ends_with("data: [DONE]") && streamed.contains("openledger.receipt"), "{streamed}");
        let pieces = streamed.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        let pieces = pieces.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let shown: String = pieces.filter_map(|piece| Some(piece["choices"][0]["text"].as_str()?.to_owned())).collect();
        assert_eq!(text["choices"][0]["text"], shown.as_str());
        assert!(keyed(false).await.replayed);
    });
}

#[test]
fn what_v1_does_not_sell_is_refused_by_name_with_where_to_turn() {
    let world = &fixture().world;
    on(async {
        let payer = world.payer("asks-for-more").await;
        for (path, code, told) in [
            ("/v1/embeddings", "no_receipt_form", "openledger serve"),
            ("/v1/load_lora_adapter", "registry_is_the_ledger", "model publish"),
            ("/v1/unload_lora_adapter", "registry_is_the_ledger", "model publish"),
        ] {
            let body = json!({ "model": "thread", "input": "a", "lora_name": "x", "lora_path": "x" });
            let refused = world.send(world.request("post", path).bearer_auth(&payer).json(&body)).await;
            assert_eq!((refused.status, refused.code()), (403, code), "{}", refused.text);
            assert!(refused.text.contains(told), "{}", refused.text);
        }
        let several = world.go_on(&payer, json!(["a", "b"]), json!({})).await;
        assert_eq!((several.status, several.body["error"]["param"].as_str()), (400, Some("prompt")));
        let long = world.go_on(&payer, json!("a b ".repeat(2_000)), json!({})).await;
        assert_eq!((long.status, long.code()), (400, "context_length_exceeded"), "{}", long.text);
        let cut = json!({ "truncate_prompt_tokens": 4, "max_tokens": 2 });
        let cut = world.go_on(&payer, json!("a b ".repeat(2_000)), cut).await.done();
        assert_eq!(cut["usage"]["prompt_tokens"], 4);
        // A stream that cannot begin says so by its status.
        let lost = world.go_on(&payer, json!("a"), json!({ "model": "no-such-model", "stream": true })).await;
        assert_eq!((lost.status, lost.code()), (404, "model_not_found"));
    });
}

#[test]
fn models_and_tokens_are_told_without_a_key() {
    let world = &fixture().world;
    on(async {
        let one = world.get("/v1/models/thread").await.done();
        let listed = world.get("/v1/models").await.done();
        assert_eq!(listed["data"][0], one);
        assert!(one["root"].as_str().unwrap().starts_with("0x") && one["parent"] == "base");
        assert_eq!(world.get("/v1/models/none").await.code(), "model_not_found");
        let tokens = |body: Value| async move {
            let told = world.send(world.request("post", "/tokenize").json(&body)).await.done();
            told["tokens"].clone()
        };
        let prompt = format!("Question: {QUESTION}\nAnswer:");
        let messages = json!([{ "role": "user", "content": QUESTION }]);
        let ids = tokens(json!({ "prompt": prompt })).await;
        assert_eq!(tokens(json!({ "messages": messages })).await, ids);
        let back = world.send(world.request("post", "/detokenize").json(&json!({ "tokens": ids }))).await.done();
        assert_eq!(back["prompt"], prompt.as_str());
    });
}

#[test]
fn the_counters_of_a_node_are_for_the_operator_alone() {
    let world = &fixture().world;
    on(async {
        let metrics = world.get("/metrics").await.text;
        assert!(metrics.contains("openledger_answers_total") && metrics.contains("openledger_serving_"), "{metrics}");
        let anonymous = world.get_anonymously("/metrics").await;
        assert_eq!((anonymous.status, anonymous.text.contains("openledger_")), (401, false), "{}", anonymous.text);
        let payer = world.payer("reads-counters").await;
        let refused = world.send(world.request("get", "/metrics").bearer_auth(&payer)).await;
        assert_eq!((refused.status, refused.text.contains("openledger_")), (403, false), "{}", refused.text);
    });
}

/// Another server on the base, with the adapters below `adapters`; its address.
async fn peer(adapters: &Path) -> (String, Embedded) {
    let embedded = Embedded::load(&repository("models/base"), "far-base", 1 << 28).unwrap();
    let server = Server::new(Setup {
        tokenizer: Arc::clone(embedded.tokenizer()),
        form: embedded.chat_form().clone(),
        eos: embedded.model().config().eos.clone(),
        adapters: Some(adapters.to_owned()),
        metrics: None,
        now: || 1_700_000_000,
        backend: Arc::new(embedded.clone()),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router(Arc::new(server), &Origins::default())).await });
    (url, embedded)
}

#[test]
fn receipts_name_the_mode_in_which_answers_were_computed_and_whether_it_was_here() {
    let story = fixture();
    on(async {
        let here = story.world.ask(&story.payer, QUESTION, json!({})).await.done();
        let here = verified(&story.world, &here).await;
        assert_eq!(here.completion.numeric_mode, "f32fma-1");
        let quantised = World::open_answering(story.copied(), AnswerSource::Embedded(NumericMode::Q8)).await;
        let answer = quantised.ask(&story.payer, QUESTION, json!({})).await.done();
        assert_eq!(answer["system_fingerprint"], "q8-2");
        let bundle = verified(&quantised, &answer).await;
        assert_eq!(bundle.signed.receipt.numeric_mode, keccak("q8-2"));
        assert_eq!(quantised.network["numeric_mode"], "q8-2");

        let data = story.copied();
        let (url, far) = peer(&data.join("artifacts")).await;
        let peer = PeerSetup::new(&url, "far-base");
        let remote = World::open_answering(data, AnswerSource::Remote(peer)).await;
        assert_eq!(far.served().len(), 1, "an adapter is loaded there when it is first asked for");
        let answer = remote.ask(&story.payer, QUESTION, json!({})).await.done();
        let bundle = verified(&remote, &answer).await;
        assert_eq!(bundle.signed.receipt.numeric_mode, keccak("remote"));
        assert_eq!(remote.network["numeric_mode"], "remote");
        // The far engine is ours, so the answer is the same, and so is what it is credited to: that is computed here.
        assert_eq!(
            (&bundle.completion.output_ids, &bundle.completion.text),
            (&here.completion.output_ids, &here.completion.text)
        );
        assert_eq!(bundle.credits, here.credits);
        assert!(far.served()[1].name.contains(&bundle.completion.adapter.to_string()[2..]));
        let streamed = remote.go_on(&story.payer, json!("The chain"), json!({ "stream": true })).await.text;
        assert!(streamed.trim_end().ends_with("data: [DONE]"), "{streamed}");
    });
}
