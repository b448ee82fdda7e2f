//! Chat templates of any bytes: no panic, and whatever a template does it ends within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openledger_serving::{ChatTemplate, Conversation, SpecialTokens};

fuzz_target!(|source: &str| {
    let tokens = SpecialTokens { bos: "<s>".into(), eos: "</s>".into(), ..SpecialTokens::default() };
    let Ok(template) = ChatTemplate::compile(source, tokens) else { return };
    let messages = [
        serde_json::json!({ "role": "system", "content": "Be brief." }),
        serde_json::json!({ "role": "user", "content": "Why?" }),
    ];
    let conversation =
        Conversation { messages: &messages, generation: true, now: 951_782_400, ..Conversation::default() };
    let first = template.render(&conversation);
    assert_eq!(first, template.render(&conversation), "the same conversation gives the same prompt");
});
