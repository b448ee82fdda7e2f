//! `/v1/chat/completions` and `/v1/completions`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use openledger_api::openai::{ChatResponse, CompletionResponse, Usage};
use openledger_protocol::{AdapterHash, BaseHash, ModelId};
use openledger_serving::{Answer, CompletionRequest, Event, Events, ServeError, Started};
use serde::Serialize;

use super::server::{Server, tenant};
use super::streams;
use crate::call::describe;
use crate::openai::{
    ChatRequest, ChatStream, CompletionsRequest, CompletionsStream, EchoToken, check_copies, choices, push_chat,
    push_completion,
};
use crate::refusal::{Refusal, blocking, json as read_json};
use crate::stream::{Chat, Text};

type Body = Result<Bytes, BytesRejection>;

pub(super) async fn chat(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let parsed = ChatRequest::parse(&read_json(body)?)?;
    let asked = parsed.request;
    let tenant = tenant(&headers);
    let own = Arc::clone(&server);
    let (asked, mut runs) = blocking(move || {
        let mut request = asked.ask(&own.setup.form, &own.setup.tokenizer, (own.setup.now)())?;
        request.prompt = own.truncated(request.prompt, asked.truncate);
        check_copies(std::slice::from_ref(&request), asked.n)?;
        let requests = choices(&request, asked.n);
        let runs = own.start(requests, &asked.decoding, &asked.response_format, &tenant)?;
        Ok::<_, ServeError>((asked, runs))
    })
    .await?;
    let (id, created) = server.stamp();
    let started = begun(&mut runs).await?;
    let system_fingerprint = server.fingerprint(started.adapter);
    let mut response = if asked.stream {
        let chunks =
            ChatStream { id, created, model: asked.model, system_fingerprint, include_usage: asked.include_usage };
        let n = runs.len();
        streams::answers(runs, &started, Chat(chunks, asked.logprobs), n)
    } else {
        let mut response = ChatResponse::empty(&id, created, &asked.model, system_fingerprint);
        for (answer, cached) in collect(runs, &started).await? {
            let usage = Usage::from(answer.completion.usage).cached(cached);
            push_chat(&mut response, &answer, asked.logprobs, usage);
        }
        response.openledger = Some(made_by(&server, started.adapter));
        Json(response).into_response()
    };
    describe(&mut response, &started.adapter.to_string(), &parsed.ignored);
    Ok(response)
}

pub(super) async fn completions(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let parsed = CompletionsRequest::parse(&read_json(body)?)?;
    let asked = parsed.request;
    let tenant = tenant(&headers);
    let own = Arc::clone(&server);
    let (asked, mut runs) = blocking(move || {
        let mut prompts = asked.to_completions(ModelId(0));
        check_copies(&prompts, asked.n)?;
        prompts.iter_mut().for_each(|one| one.prompt = own.truncated(one.prompt.clone(), asked.truncate));
        let requests: Vec<CompletionRequest> = prompts.iter().flat_map(|request| choices(request, asked.n)).collect();
        let runs = own.start(requests, &asked.decoding, &asked.response_format, &tenant)?;
        Ok::<_, ServeError>((asked, runs))
    })
    .await?;
    let (id, created) = server.stamp();
    let started = begun(&mut runs).await?;
    let system_fingerprint = server.fingerprint(started.adapter);
    let n = asked.n as usize;
    let mut response = if asked.stream {
        let chunks = CompletionsStream {
            id,
            created,
            model: asked.model,
            system_fingerprint,
            include_usage: asked.include_usage,
        };
        streams::answers(runs, &started, Text(chunks, asked.logprobs.is_some(), asked.token_ids), n)
    } else {
        let mut response = CompletionResponse::empty(&id, created, &asked.model, system_fingerprint);
        let answers = collect(runs, &started).await?;
        let mut echo: Option<Vec<EchoToken>> = None;
        for (at, (answer, cached)) in answers.into_iter().enumerate() {
            let same_prompt = at % n != 0;
            if asked.echo && !same_prompt {
                echo = Some(echoed(&server, &asked, &answer).await?);
            }
            let usage = Usage::from(answer.completion.usage).cached(cached);
            push_completion(&mut response, &answer, asked.logprobs.is_some(), echo.as_deref(), usage, same_prompt);
            if let (true, Some(choice)) = (asked.token_ids, response.choices.last_mut()) {
                choice.token_ids = Some(answer.completion.output_ids);
                choice.prompt_token_ids = Some(answer.completion.prompt_ids);
            }
        }
        response.openledger = Some(made_by(&server, started.adapter));
        Json(response).into_response()
    };
    describe(&mut response, &started.adapter.to_string(), &parsed.ignored);
    Ok(response)
}

/// The prompt's tokens with how likely they were, for an answer that echoes it.
///
/// Scoring runs beside the scheduler, so that one prompt is scored at a time and few wait.
async fn echoed(server: &Arc<Server>, asked: &CompletionsRequest, answer: &Answer) -> Result<Vec<EchoToken>, Refusal> {
    let ids = answer.completion.prompt_ids.clone();
    let Some(top) = asked.logprobs else {
        return Ok(ids.iter().map(|id| (server.setup.tokenizer.piece(*id).to_vec(), None)).collect());
    };
    let turn = server.scoring.turn().await?;
    let (server, model) = (Arc::clone(server), asked.model.clone());
    blocking(move || {
        // Held by the work itself: a client that hangs up frees no turn that is still in use.
        let _turn = turn;
        let scored = server.backend().prompt_logprobs(&model, &ids, top)?;
        let pieces = ids.iter().map(|id| server.setup.tokenizer.piece(*id).to_vec());
        Ok::<_, ServeError>(pieces.zip(scored).collect())
    })
    .await
}

/// Waits until the first of `runs` has begun: what is wrong with a request is known by then.
async fn begun(runs: &mut [Events]) -> Result<Started, Refusal> {
    let Some(first) = runs.first_mut() else { return Err(ServeError::Stopped.into()) };
    match first.recv().await {
        Some(Event::Started(started)) => Ok(started),
        Some(Event::Failed(error)) => Err(error.into()),
        // Before it begins a run has nothing else to tell.
        _ => Err(ServeError::Stopped.into()),
    }
}

/// The answers of all `runs`, each with the tokens of its prompt that had been read before.
async fn collect(runs: Vec<Events>, first: &Started) -> Result<Vec<(Answer, u32)>, Refusal> {
    let mut answers = Vec::with_capacity(runs.len());
    for mut run in runs {
        let mut cached = first.cached_tokens;
        let answer = loop {
            match run.recv().await {
                Some(Event::Started(started)) => cached = started.cached_tokens,
                Some(Event::Token(_)) => {}
                Some(Event::Finished(answer)) => break *answer,
                Some(Event::Failed(error)) => return Err(error.into()),
                None => return Err(ServeError::Stopped.into()),
            }
        };
        answers.push((answer, cached));
    }
    Ok(answers)
}

/// The hashes behind an answer: the member `openledger` of its response.
#[derive(Serialize)]
struct MadeBy {
    base: BaseHash,
    adapter: AdapterHash,
    /// Whether the same request gives the same bytes again.
    deterministic: bool,
}

fn made_by(server: &Server, adapter: AdapterHash) -> MadeBy {
    let own = server.backend().capabilities();
    MadeBy { base: own.base, adapter, deterministic: own.deterministic }
}
