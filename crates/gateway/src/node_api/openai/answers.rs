//! One way from a question to its answer and receipt, whole or as a stream.
//!
//! **Invariants:** what was produced is receipted before it is told to be over: the last chunk of a
//! stream comes after its receipt is kept. Headers are sent when the answer has begun, so that
//! whatever is known before has its status. A repeated answer is described by its receipt's bundle,
//! not by what the node offers now.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::response::{IntoResponse, Response};
use openledger_api::openai::{
    AnswerAttribution, AnswerNote, AttributionLevel, ChatResponse, CompletionResponse, Settlement, SettlementState,
    SplitShare,
};
use openledger_node::{Begin, Generation, Held, Node, NodeError, Step, Viewer, pipeline};
use openledger_protocol::{PayeeRole, ReceiptBundle, keccak};
use openledger_serving::Answer;
use tokio::sync::mpsc;

use super::question::{Form, Question};
use crate::call::{describe, set};
use crate::node_api::repeats::REPLAYED;
use crate::node_api::shared::Shared;
use crate::openai::{ChatStream, CompletionsStream, DONE, EchoToken, named_event, push_chat, push_completion};
use crate::refusal::Refusal;
use crate::stream::{Chat, Chunks, Text, Written, respond};

/// Records that an answer's note lists.
const TOP: usize = 5;

/// The answer to a question, with its receipt.
pub(super) async fn answer(node: &Shared, question: Question, viewer: Viewer) -> Result<Response, Refusal> {
    let begun = pipeline::answer(&node.answering, &question.ask).await?;
    let (replayed, adapter) = match &begun {
        Begin::Replayed(bundle) => (true, bundle.completion.adapter),
        Begin::Running(..) => (false, question.ask.model.manifest().adapter),
    };
    let (adapter, ignored) = (adapter.to_string(), question.ignored.clone());
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
    let (id, model) = (keyed_id(question), &question.ask.request.model);
    let id = id.unwrap_or_else(|| hex::encode(&receipt.id().0[..12]));
    let note = Some(note(node, question, viewer, &bundle).await?);
    let (usage, told) = (answer.completion.usage.into(), question.logprobs);
    let fingerprint = answer.completion.numeric_mode.clone();
    Ok(match question.form {
        Form::Chat => {
            let mut response = ChatResponse::empty(&id, receipt.time, model, fingerprint);
            push_chat(&mut response, &answer, told, usage);
            response.openledger = note;
            Json(response).into_response()
        }
        Form::Text { echo, token_ids } => {
            // The echoed prompt is never scored here, so that its tokens are not needed.
            let echo: Option<&[EchoToken]> = if echo { Some(&[]) } else { None };
            let mut response = CompletionResponse::empty(&id, receipt.time, model, fingerprint);
            push_completion(&mut response, &answer, told, echo, usage, false);
            if let (true, Some(choice)) = (token_ids, response.choices.first_mut()) {
                choice.token_ids = Some(answer.completion.output_ids);
                choice.prompt_token_ids = Some(answer.completion.prompt_ids);
            }
            response.openledger = note;
            Json(response).into_response()
        }
    })
}

/// The id of an answer under an idempotency key, the same for each repeat of its request; `None`
/// without a key.
fn keyed_id(question: &Question) -> Option<String> {
    let ask = &question.ask;
    let key = ask.key.as_ref()?;
    Some(short_id(&format!("{}\n{key}\n{}", ask.channel, ask.canonical)))
}

/// An id that no other answer has.
fn fresh_id(node: &Node) -> String {
    static START: LazyLock<u128> =
        LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos());
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    short_id(&format!("{}\n{}\n{number}", node.instance(), *START))
}

fn short_id(text: &str) -> String {
    hex::encode(&keccak(text)[..12])
}

/// The answer that a receipt was given for.
fn kept(bundle: &ReceiptBundle) -> Answer {
    Answer { completion: bundle.completion.clone(), logprobs: Vec::new(), cancelled: false }
}

async fn receipted(node: &Node, question: &Question, held: Held, answer: &Answer) -> Result<ReceiptBundle, NodeError> {
    pipeline::receipt(&node.answering, &*node.crediting, &question.ask, held, answer).await
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
        let model = &question.ask.model;
        // Records are named by the model now on offer; those of another adapter are not this
        // answer's.
        let top = if model.manifest().adapter == bundle.completion.adapter {
            node.reading.top_records(model, &bundle.credits, TOP, viewer).await?
        } else {
            Vec::new()
        };
        let attribution = AnswerAttribution {
            methods: bundle.credits.methods.clone(),
            coverage: bundle.credits.coverage,
            top,
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

/// How the chunks of the question's endpoint are written. A stream that begins is stamped with the
/// time now, one that repeats an answer with the time of its receipt.
fn chunks(node: &Node, question: &Question, begun: &Begin) -> Box<dyn Chunks> {
    let id = keyed_id(question).unwrap_or_else(|| fresh_id(node));
    let (model, include_usage) = (question.ask.request.model.clone(), question.include_usage);
    let (created, system_fingerprint) = match begun {
        Begin::Replayed(bundle) => (bundle.signed.receipt.time, bundle.completion.numeric_mode.clone()),
        Begin::Running(..) => (node.unix_ms() / 1000, node.answering.backend().capabilities().numeric_mode.to_owned()),
    };
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
    let chunks = chunks(&node, &question, &begun);
    tokio::spawn(async move {
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
