//! The stock Rust client against a server at the first argument: every claim is an assertion.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest, CreateChatCompletionRequestArgs, FinishReason,
    StopConfiguration,
};
use async_openai::types::embeddings::CreateEmbeddingRequestArgs;
use futures::StreamExt;

fn chat(model: &str) -> CreateChatCompletionRequestArgs {
    let message = ChatCompletionRequestUserMessageArgs::default().content("the owl").build().expect("a message");
    let mut args = CreateChatCompletionRequestArgs::default();
    args.model(model).messages(vec![message.into()]).max_completion_tokens(8u32).temperature(0.0);
    args
}

fn built(args: &mut CreateChatCompletionRequestArgs) -> CreateChatCompletionRequest {
    args.build().expect("a request")
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let address = std::env::args().nth(1).expect("the server's address");
    let config = OpenAIConfig::new().with_api_base(format!("{address}/v1")).with_api_key("night-desk");
    let client = Client::with_config(config);

    let whole = client.chat().create(built(&mut chat("base"))).await.expect("an answer");
    let text = whole.choices[0].message.content.clone().expect("text");
    assert!(matches!(whole.choices[0].finish_reason, Some(FinishReason::Length | FinishReason::Stop)));
    let owls = client.chat().create(built(&mut chat("owls"))).await.expect("an answer");
    assert_ne!(owls.choices[0].message.content.as_ref(), Some(&text));

    let mut stream = client.chat().create_stream(built(&mut chat("base"))).await.expect("a stream");
    let mut told = String::new();
    while let Some(chunk) = stream.next().await {
        for choice in chunk.expect("a chunk").choices {
            told.push_str(choice.delta.content.as_deref().unwrap_or_default());
        }
    }
    assert_eq!(told, text);

    let scored = client.chat().create(built(chat("base").logprobs(true).top_logprobs(2u8))).await.expect("an answer");
    let logprobs = scored.choices[0].logprobs.as_ref().and_then(|l| l.content.as_ref()).expect("likelihoods");
    assert!(logprobs.iter().all(|token| token.logprob <= 0.0 && token.top_logprobs.len() == 2));

    let several = client.chat().create(built(chat("base").n(3u8).temperature(1.5))).await.expect("answers");
    assert_eq!(several.choices.iter().map(|choice| choice.index).collect::<Vec<_>>(), [0, 1, 2]);

    let stop: String = text.chars().skip(2).take(2).collect();
    let stop_at = StopConfiguration::String(stop.clone());
    let stopped = client.chat().create(built(chat("base").stop(stop_at))).await.expect("an answer");
    assert_eq!(stopped.choices[0].message.content.as_deref(), text.split(&stop).next());

    let asked = CreateEmbeddingRequestArgs::default().model("base").input("the owl").build().expect("a request");
    let embedded = client.embeddings().create(asked).await.expect("an embedding");
    assert_eq!(embedded.data[0].embedding.len(), 32);

    match client.chat().create(built(&mut chat("herons"))).await {
        Err(OpenAIError::ApiError(error)) => {
            assert_eq!(error.status_code.as_u16(), 404);
            assert_eq!(error.api_error.code.as_deref(), Some("model_not_found"));
        }
        other => panic!("no typed error: {other:?}"),
    }
    println!("{{\"client\": \"async-openai\", \"ok\": true}}");
}
