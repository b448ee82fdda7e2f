//! Routes of the OpenAI dialect, and those without a version: tokens, health, the document.

use super::row::{EVENTS, Place, Route, schema_of};
use crate::openai::{
    ChatChunk, ChatCompletionRequest, ChatResponse, CompletionChunk, CompletionRequest, CompletionResponse,
    DetokenizeRequest, Detokenized, ModelEntry, ModelList, TokenizeRequest, Tokenized,
};
use crate::policy::Access;
use crate::{Health, Liveness, ProblemKind};

pub(super) fn routes() -> Vec<Route> {
    let mut routes = dialect();
    routes.extend(plain());
    routes
}

fn key(route: Route) -> Route {
    route.with::<String>(
        Place::Header,
        "Idempotency-Key",
        false,
        "The same key gives the same answer and is charged once.",
    )
}

fn dialect() -> Vec<Route> {
    vec![
        key(Route::post(
            "/v1/chat/completions",
            "createChatCompletion",
            Access::PAYER,
            "Answers a conversation; the channel of the API key pays.",
        ))
        .openai()
        .takes::<ChatCompletionRequest>()
        .gives::<ChatResponse>("The answer with its receipt")
        .or_gives(EVENTS, Some(schema_of::<ChatChunk>))
        .fails(&[402, 404, 409, 429, 503]),
        key(Route::post(
            "/v1/completions",
            "createCompletion",
            Access::PAYER,
            "Continues a text; the channel of the API key pays.",
        ))
        .openai()
        .takes::<CompletionRequest>()
        .gives::<CompletionResponse>("The answer with its receipt")
        .or_gives(EVENTS, Some(schema_of::<CompletionChunk>))
        .fails(&[402, 404, 409, 429, 503]),
        Route::get("/v1/models", "listOpenAiModels", Access::OPEN, "The models on offer, in OpenAI's form.")
            .openai()
            .gives::<ModelList>("The models"),
        Route::get("/v1/models/{name}", "getOpenAiModel", Access::OPEN, "A model on offer, in OpenAI's form.")
            .openai()
            .at::<String>("name", "The model's name.")
            .gives::<ModelEntry>("The model"),
        Route::post(
            "/v1/embeddings",
            "refuseEmbeddings",
            Access::OPEN,
            "Always refused: a receipt commits to a text, and numbers have none.",
        )
        .openai()
        .fails(&[403]),
        Route::post(
            "/v1/load_lora_adapter",
            "refuseLoading",
            Access::OPEN,
            "Always refused: the ledger is the registry of adapters.",
        )
        .openai()
        .fails(&[403]),
        Route::post(
            "/v1/unload_lora_adapter",
            "refuseUnloading",
            Access::OPEN,
            "Always refused: the ledger is the registry of adapters.",
        )
        .openai()
        .fails(&[403]),
        Route::post("/tokenize", "tokenize", Access::OPEN, "The token ids of a text or conversation; free.")
            .openai()
            .takes::<TokenizeRequest>()
            .gives::<Tokenized>("The ids"),
        Route::post("/detokenize", "detokenize", Access::OPEN, "The text of token ids; free.")
            .openai()
            .takes::<DetokenizeRequest>()
            .gives::<Detokenized>("The text"),
    ]
}

fn plain() -> Vec<Route> {
    vec![
        Route::get("/health/live", "getLiveness", Access::OPEN, "Whether the process runs.")
            .gives::<Liveness>("It runs"),
        Route::get("/health/ready", "getHealth", Access::OPEN, "Whether the node can serve requests.")
            .gives::<Health>("It can")
            .gives_with::<Health>(503, "It cannot; the parts say why"),
        Route::get("/metrics", "getMetrics", Access::OPERATOR, "Counters in the Prometheus text format.")
            .tag("health")
            .gives_text("text/plain; version=0.0.4", "The counters"),
        Route::get("/openapi.json", "getDocument", Access::OPEN, "This document.")
            .tag("document")
            .gives::<serde_json::Map<String, serde_json::Value>>("The document"),
        Route::get("/problems/{code}", "getProblem", Access::OPEN, "A kind of problem and what to do about it.")
            .tag("document")
            .at::<String>("code", "The kind's stable name.")
            .gives::<ProblemKind>("The kind of problem"),
    ]
}
