//! Requests of any bytes: no panic, refusals are in OpenAI's envelope, and what was understood has
//! a prompt or a refusal.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use openledger_engine::Tokenizer;
use openledger_serving::ChatForm;
use openledger_gateway::openai::{ApiError, ChatRequest, CompletionsRequest, EmbeddingsRequest};
use serde_json::Value;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    Tokenizer::train_bpe(["the owl sat"].iter(), 280, &["<|end|>"]).expect("a small vocabulary can be trained")
});

fn checked(error: &ApiError) {
    assert!((400..500).contains(&error.status) && error.body()["error"]["message"].is_string());
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else { return };
    match ChatRequest::parse(&body) {
        Ok(parsed) => {
            let _ = parsed.request.ask(&ChatForm::Dialog, &TOKENIZER, 0);
            let _ = parsed.request.refuse_beyond_receipts();
        }
        Err(error) => checked(&error),
    }
    match CompletionsRequest::parse(&body) {
        Ok(parsed) => {
            let _ = parsed.request.refuse_beyond_receipts();
            assert_eq!(parsed.request.to_completions(no_title()).len(), parsed.request.prompts.len());
        }
        Err(error) => checked(&error),
    }
    if let Err(error) = EmbeddingsRequest::parse(&body) {
        checked(&error);
    }
});

/// No chain stands behind a fuzzed request.
fn no_title() -> openledger_protocol::ModelId {
    openledger_protocol::ModelId(0)
}
