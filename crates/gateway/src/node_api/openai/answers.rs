//! One way from a question to its answer and receipt, whole or as a stream.
//!
//! **Invariant:** what was produced is receipted before it is told to be over: the last chunk of a stream comes after its
//! receipt is kept. Headers are sent when the answer has begun, so that whatever is known before has its status.

use axum::Json;
use axum::response::{IntoResponse, Response};
use openledger_api::openai::{
    AnswerAttribution, AnswerNote, AttributionLevel, ChatResponse, CompletionResponse, Settlement, SettlementState,
    SplitShare,
};
use openledger_node::{Begin, Generation, Held, Node, NodeError, Step, Viewer, pipeline};
use openledger_protocol::{PayeeRole, ReceiptBundle};
use openledger_serving::Answer;
use tokio::sync::mpsc;

use super::question::{Form, Question};
use crate::call::{describe, set};
use crate::node_api::repeats::REPLAYED;
use crate::node_api::shared::Shared;
use crate::openai::{ChatStream, CompletionsStream, DONE, EchoToken, named_event, push_chat, push_completion};
use crate::refusal::Refusal;
use crate::serve::echo;
use crate::stream::{Chat, Chunks, Text, Written, respond};

/// Records that an answer's note lists.
const TOP: usize = 5;

/// The answer to a question, with its receipt.
pub(super) async fn answer(node: &Shared, question: Question, viewer: Viewer) -> Result<Response, Refusal> {
    let begun = node.answering.begin(&question.ask).await?;
    let replayed = matches!(begun, Begin::Replayed(_));
    let (adapter, ignored) = (question.ask.model.manifest().adapter.to_string(), question.ignored.clone());
    let mut response = if question.stream {
        stream(Shared::clone(node), question, viewer, begun)
    } else {
        Box::pin(whole(node, &question, &viewer, begun)).await?
    };
    describe(&mut response, &adapter, &ignored);
    set(&mut response, REPLAYED, if replayed { "true" } else { "" });
    Ok(response)
}

async fn whole(node: &Node, question: &Question, viewer: &Viewer, begun: Begin) -> Result<Response, Refusal> {
    let (answer, bundle) = match begun {
        Begin::Replayed(bundle) => (kept(&bundle), *bundle),
        Begin::Running(run, held) => {
            let answer = run.whole().await?;
            let bundle = receipted(node, question, held, &answer).await?;
            (answer, bundle)
        }
    };
    let receipt = &bundle.signed.receipt;
    let (id, model) = (hex::encode(&receipt.id().0[..12]), &question.ask.request.model);
    let note = Some(note(node, question, viewer, &bundle).await?);
    let (usage, told) = (answer.completion.usage.into(), question.logprobs.is_some());
    let fingerprint = answer.completion.numeric_mode.clone();
    Ok(match question.form {
        Form::Chat => {
            let mut response = ChatResponse::empty(&id, receipt.time, model, fingerprint);
            push_chat(&mut response, &answer, told, usage);
            response.openledger = note;
            Json(response).into_response()
        }
        Form::Text { echo, token_ids } => {
            let echo = if echo { Some(echoed(node, question, &answer).await?) } else { None };
            let mut response = CompletionResponse::empty(&id, receipt.time, model, fingerprint);
            push_completion(&mut response, &answer, told, echo.as_deref(), usage, false);
            if let (true, Some(choice)) = (token_ids, response.choices.first_mut()) {
                choice.token_ids = Some(answer.completion.output_ids);
                choice.prompt_token_ids = Some(answer.completion.prompt_ids);
            }
            response.openledger = note;
            Json(response).into_response()
        }
    })
}

/// The answer that a receipt was given for.
fn kept(bundle: &ReceiptBundle) -> Answer {
    Answer { completion: bundle.completion.clone(), logprobs: Vec::new(), cancelled: false }
}

async fn receipted(node: &Node, question: &Question, held: Held, answer: &Answer) -> Result<ReceiptBundle, NodeError> {
    pipeline::receipt(&node.answering, &*node.crediting, &question.ask, held, answer).await
}

/// The prompt's tokens with how likely they were, for an answer that echoes it.
async fn echoed(node: &Node, question: &Question, answer: &Answer) -> Result<Vec<EchoToken>, NodeError> {
    let (backend, base) = (node.answering.backend().clone(), node.answering.base().clone());
    let (model, top) = (question.ask.request.model.clone(), question.logprobs);
    let ids = answer.completion.prompt_ids.clone();
    let tokens = tokio::task::spawn_blocking(move || echo(&*backend, base.tokenizer(), &model, &ids, top));
    Ok(tokens.await??)
}

/// The note about the receipt that an answer carries.
async fn note(
    node: &Node,
    question: &Question,
    viewer: &Viewer,
    bundle: &ReceiptBundle,
) -> Result<AnswerNote, NodeError> {
    let receipt = &bundle.signed.receipt;
    let wanted = question.attribution;
    let (splits, attribution) = if wanted == AttributionLevel::None {
        (None, None)
    } else {
        let names = node.reading.names_of(&bundle.entries).await?;
        let split = |entry: &openledger_protocol::Entry| SplitShare {
            role: entry.role,
            to: entry.account,
            name: names.get(&entry.account).cloned(),
            amount: entry.amount,
        };
        let attribution = AnswerAttribution {
            methods: bundle.credits.methods.clone(),
            coverage: bundle.credits.coverage,
            top: node.reading.top_records(&question.ask.model, &bundle.credits, TOP, viewer).await?,
            spans: (wanted == AttributionLevel::Full).then(|| bundle.credits.spans.clone()),
        };
        (Some(bundle.entries.iter().map(split).collect()), Some(attribution))
    };
    let payees = bundle.entries.iter().filter(|entry| entry.role == PayeeRole::Contributor).count();
    Ok(AnswerNote {
        receipt_id: receipt.id(),
        receipt_hash: receipt.struct_hash(),
        price: receipt.price,
        payer: question.payer,
        contributor_lines: payees as u64,
        settlement: Settlement { state: SettlementState::Open },
        splits,
        attribution,
    })
}

/// How the chunks of the question's endpoint are written.
fn chunks(node: &Node, question: &Question) -> Box<dyn Chunks> {
    let id = hex::encode(&openledger_protocol::keccak(question.ask.canonical.to_string())[..12]);
    let (created, model) = (node.unix_ms() / 1000, question.ask.request.model.clone());
    let system_fingerprint = node.answering.backend().capabilities().numeric_mode.to_owned();
    let include_usage = question.include_usage;
    match question.form {
        Form::Chat => Box::new(Chat(ChatStream { id, created, model, system_fingerprint, include_usage }, false)),
        Form::Text { .. } => {
            Box::new(Text(CompletionsStream { id, created, model, system_fingerprint, include_usage }, false, false))
        }
    }
}

/// The answer as it is written; a client that hangs up cancels the rest and is charged for what was produced.
fn stream(node: Shared, question: Question, viewer: Viewer, begun: Begin) -> Response {
    let (send, receive) = mpsc::channel::<String>(64);
    tokio::spawn(async move {
        let chunks = chunks(&node, &question);
        if let Err(Refusal { error, .. }) = Box::pin(write(&node, &question, &viewer, begun, &*chunks, &send)).await {
            let _ = send.send(chunks.error(&error)).await;
        }
    });
    let events = futures::stream::unfold(receive, |mut receive| async move { Some((receive.recv().await?, receive)) });
    respond(events)
}

/// Writes a stream to its end.
async fn write(
    node: &Node,
    question: &Question,
    viewer: &Viewer,
    begun: Begin,
    chunks: &dyn Chunks,
    to: &mpsc::Sender<String>,
) -> Result<(), Refusal> {
    let first = chunks.first(0);
    if !first.is_empty() {
        let _ = to.send(first).await;
    }
    let mut written = Written::new(0);
    let bundle = match begun {
        Begin::Replayed(bundle) => *bundle,
        Begin::Running(run, held) => {
            let answer = run_to_end(run, chunks, &mut written, to).await?;
            receipted(node, question, held, &answer).await?
        }
    };
    let completion = &bundle.completion;
    let _ = to.send(written.end(chunks, completion) + &chunks.usage(completion.usage.into())).await;
    if question.extended {
        let note = note(node, question, viewer, &bundle).await?;
        let _ = to.send(named_event("openledger.receipt", &note)).await;
    }
    let _ = to.send(DONE.to_owned()).await;
    Ok(())
}

/// Writes the pieces of a running answer; a client that is gone ends it.
async fn run_to_end(
    mut run: Generation,
    chunks: &dyn Chunks,
    written: &mut Written,
    to: &mpsc::Sender<String>,
) -> Result<Answer, NodeError> {
    loop {
        match run.step().await? {
            Step::Done(answer) => return Ok(*answer),
            Step::Text(text) => {
                if to.send(written.token(chunks, &text, None)).await.is_err() {
                    run.cancel();
                }
            }
        }
    }
}
