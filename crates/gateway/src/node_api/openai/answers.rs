//! One way from a question to its answer and receipt, whole or as a stream.
//!
//! **Invariants:**
//!
//! - An answer is charged for the tokens produced, whether or not they are read. A task of its own
//!   writes each answer, and it waits for no reader. The last chunk of a stream comes after its
//!   receipt is kept.
//! - A stream whose reader is gone ends early and is charged for the tokens produced so far. A
//!   whole answer is written to its end and charged, also when its client hangs up meanwhile.
//! - Headers are sent when the answer has begun, so that errors before that have their status.
//! - A repeated answer is described by its receipt's bundle, not by the model now on offer.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::response::{IntoResponse, Response};
use openledger_api::openai::{
    AnswerAttribution, AnswerNote, AttributionLevel, ChatResponse, CompletionResponse, SplitShare, Usage,
};
use openledger_node::{Ask, Begin, Generation, Held, Node, NodeError, Step, Viewer, pipeline};
use openledger_protocol::{Completion, PayeeRole, ReceiptBundle, keccak};
use openledger_serving::Answer;

use super::buffer::{Writer, buffer};
use super::question::{Form, Question};
use crate::call::{describe, set, spawn};
use crate::node_api::repeats::REPLAYED;
use crate::node_api::shared::Shared;
use crate::openai::{ChatStream, CompletionsStream, DONE, EchoToken, named_event, push_chat, push_completion};
use crate::refusal::{Refusal, refusal};
use crate::stream::{Chat, Chunks, Text, Written, respond};

/// Records that an answer's note lists.
const TOP: usize = 5;
/// How long an event of a stream may stay unread before its reader is cut off.
const READ_MAX: Duration = Duration::from_secs(60);

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

async fn whole(node: &Shared, question: &Question, viewer: &Viewer, begun: Begin) -> Result<Response, Refusal> {
    let (answer, bundle, cached) = match begun {
        Begin::Replayed(bundle) => (kept(&bundle), *bundle, None),
        Begin::Running(run, held) => {
            let cached = run.cached_tokens();
            let charging = charged(Shared::clone(node), question.ask.clone(), run, held);
            let (answer, bundle) = spawn(charging).await.map_err(NodeError::from)??;
            (answer, bundle, Some(cached))
        }
    };
    let receipt = &bundle.signed.receipt;
    let (id, model) = (keyed_id(question), &question.ask.request.model);
    let id = id.unwrap_or_else(|| hex::encode(&receipt.id().0[..12]));
    let note = Some(note(node, question, viewer, &bundle).await?);
    let (usage, told) = (usage(&answer.completion, cached), question.logprobs);
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

/// The usage of an answer. The cached part of its prompt is not in its receipt, so that a repeat
/// has no figure for it.
fn usage(completion: &Completion, cached: Option<u32>) -> Usage {
    let usage = Usage::from(completion.usage);
    cached.map_or(usage, |cached| usage.cached(cached))
}

/// Writes an answer to its end and charges it.
async fn charged(node: Shared, ask: Ask, run: Generation, held: Held) -> Result<(Answer, ReceiptBundle), NodeError> {
    let answer = run.whole().await?;
    let bundle = receipted(&node, &ask, held, &answer).await?;
    Ok((answer, bundle))
}

async fn receipted(node: &Node, ask: &Ask, held: Held, answer: &Answer) -> Result<ReceiptBundle, NodeError> {
    pipeline::receipt(&node.answering, &*node.crediting, ask, held, answer).await
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

/// The answer as it is written; a client that hangs up or does not read cancels the rest and is
/// charged for the tokens produced so far.
fn stream(node: Shared, question: Question, viewer: Viewer, begun: Begin) -> Response {
    let chunks = chunks(&node, &question, &begun);
    let (writer, events) = buffer(READ_MAX, chunks.error(&too_slow().error));
    spawn(async move {
        if let Err(Refusal { error, .. }) = Box::pin(write(&node, &question, &viewer, begun, &*chunks, &writer)).await {
            writer.send(chunks.error(&error));
        }
        // Released before the wait for a slow reader.
        drop((node, question, viewer));
        writer.finish().await;
    });
    let events = futures::stream::unfold(events, |mut events| async move { Some((events.next().await?, events)) });
    respond(events)
}

/// The end of a stream whose reader was cut off.
fn too_slow() -> Refusal {
    let message = format!(
        "the stream was not read for {} s and was cut off; the tokens produced so far are charged. Read streams as they \
         come",
        READ_MAX.as_secs()
    );
    refusal(408, "invalid_request_error", None, "stream_not_read", message)
}

/// Writes a stream to its end.
async fn write(
    node: &Node,
    question: &Question,
    viewer: &Viewer,
    begun: Begin,
    chunks: &dyn Chunks,
    to: &Writer,
) -> Result<(), Refusal> {
    let first = chunks.first(0);
    if !first.is_empty() {
        to.send(first);
    }
    let mut written = Written::new(0);
    let (bundle, cached) = match begun {
        Begin::Replayed(bundle) => (*bundle, None),
        Begin::Running(run, held) => {
            let cached = run.cached_tokens();
            let answer = run_to_end(run, chunks, &mut written, to).await?;
            (receipted(node, &question.ask, held, &answer).await?, Some(cached))
        }
    };
    let completion = &bundle.completion;
    to.send(written.end(chunks, completion) + &chunks.usage(usage(completion, cached)));
    if question.extended {
        let note = note(node, question, viewer, &bundle).await?;
        to.send(named_event("openledger.receipt", &note));
    }
    to.send(DONE.to_owned());
    Ok(())
}

/// Writes the pieces of a running answer; a client that is gone ends it.
async fn run_to_end(
    mut run: Generation,
    chunks: &dyn Chunks,
    written: &mut Written,
    to: &Writer,
) -> Result<Answer, NodeError> {
    loop {
        match run.step().await? {
            Step::Done(answer) => return Ok(*answer),
            Step::Text(text) => {
                if !to.send(written.token(chunks, &text, None)) {
                    run.cancel();
                }
            }
        }
    }
}
