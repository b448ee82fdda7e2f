//! One request in the peer's words, and its answer as it comes from there.

use std::ops::ControlFlow;
use std::time::Instant;

use openledger_engine::Tokenizer;
use openledger_protocol::{AdapterHash, B256, Completion, FinishReason, Usage};
use serde_json::{Value, json};

use super::setup::RemoteSetup;
use super::shared::{REMOTE_MODE, Shared, brief, count, failed};
use crate::answer::{Answer, TokenLogprob};
use crate::decode::{Frame, Written, continues, render};
use crate::error::ServeError;
use crate::events::{Event, Sender, Token};
use crate::metrics::Outcome;
use crate::request::{AnswerFormat, CompletionRequest, RequestOptions, Tenant};

/// A request in the peer's words, but for its model's name.
pub(super) fn body(request: &CompletionRequest, options: &RequestOptions, ids: &[u32]) -> Value {
    let (sampling, decoding) = (&request.sampling, &options.decoding);
    let milli = |value: u32| f64::from(value) / 1000.0;
    let bias: serde_json::Map<String, Value> =
        decoding.logit_bias.iter().map(|(id, bias)| (id.to_string(), json!(bias))).collect();
    let mut body = json!({
        "prompt": ids, "stream": true, "stream_options": { "include_usage": true }, "return_token_ids": true,
        "max_tokens": sampling.max_tokens, "temperature": milli(sampling.temperature_milli),
        "top_p": milli(sampling.top_p_milli), "stop": sampling.stop, "logprobs": request.top_logprobs,
        // Others read seeds as signed.
        "seed": sampling.seed >> 1,
        "top_k": if decoding.top_k == 0 { -1 } else { i64::from(decoding.top_k) }, "min_p": decoding.min_p,
        "repetition_penalty": decoding.repetition_penalty, "presence_penalty": decoding.presence_penalty,
        "frequency_penalty": decoding.frequency_penalty, "logit_bias": bias, "min_tokens": decoding.min_tokens,
        "ignore_eos": decoding.ignore_eos, "stop_token_ids": decoding.stop_ids,
        "include_stop_str_in_output": decoding.include_stop,
    });
    match &options.format {
        AnswerFormat::Text => {}
        AnswerFormat::JsonObject => body["response_format"] = json!({ "type": "json_object" }),
        AnswerFormat::JsonSchema(schema) => {
            let named = json!({ "name": "answer", "schema": schema });
            body["response_format"] = json!({ "type": "json_schema", "json_schema": named });
        }
    }
    body
}

/// The log-probabilities of the token at place `at` of the peer's columns.
pub(super) fn peer_logprob(tokenizer: &Tokenizer, id: u32, columns: &Value, at: usize) -> TokenLogprob {
    let logprob = columns["token_logprobs"][at].as_f64().unwrap_or_default() as f32;
    let bytes = tokenizer.piece(id).to_vec();
    // Alternatives come by text, without their ids.
    let others = columns["top_logprobs"][at].as_object().into_iter().flatten();
    let mut top: Vec<(u32, Vec<u8>, f32)> = others
        .filter_map(|(text, logprob)| {
            let other = tokenizer.token_to_id(text).unwrap_or(id);
            Some((other, text.clone().into_bytes(), logprob.as_f64()? as f32))
        })
        .collect();
    top.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
    TokenLogprob { id, bytes, logprob, top }
}

/// An answer as it comes from the peer.
pub(super) struct Incoming<'a> {
    shared: &'a Shared,
    sender: &'a Sender,
    /// What the text depends on; its stop texts are those that are cut off.
    frame: Frame<'a>,
    /// Ids that end the answer: other servers count such a one to it, we do not.
    ends: Vec<u32>,
    written: Written,
    logprobs: Vec<TokenLogprob>,
    finish: Option<FinishReason>,
    broken: Option<String>,
    stopped: bool,
    arrived: Instant,
    /// When the first and the latest token came.
    times: Option<(Instant, Instant)>,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(
        request: &'a CompletionRequest,
        options: &RequestOptions,
        prompt_ids: &[u32],
        shared: &'a Shared,
        sender: &'a Sender,
        arrived: Instant,
    ) -> Self {
        let stop: &[String] = if options.decoding.include_stop { &[] } else { &request.sampling.stop };
        let min_tokens = options.decoding.min_tokens as usize;
        let frame = Frame { stop, min_tokens, continues: continues(&shared.tokenizer, prompt_ids) };
        let mut ends = shared.setup.config.eos.clone();
        ends.extend(shared.tokenizer.eos());
        ends.extend(&options.decoding.stop_ids);
        Self {
            shared,
            sender,
            frame,
            ends,
            written: Written::default(),
            logprobs: Vec::new(),
            finish: None,
            broken: None,
            stopped: false,
            arrived,
            times: None,
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.sender.is_wanted()
    }

    /// Whether the reader left before the answer was whole.
    pub(super) fn is_cancelled(&self) -> bool {
        self.finish.is_none() && !self.sender.is_wanted()
    }

    pub(super) fn send(&self, event: Event) {
        self.sender.send(event);
    }

    /// Nothing is to come.
    pub(super) fn end_empty(&mut self) {
        self.finish = Some(FinishReason::Length);
    }

    fn breaks(&mut self, reason: impl Into<String>) -> ControlFlow<()> {
        self.broken = Some(reason.into());
        ControlFlow::Break(())
    }

    /// Takes a chunk; whether the run goes on.
    pub(super) fn on_chunk(&mut self, data: &str) -> ControlFlow<()> {
        if data == "[DONE]" {
            return ControlFlow::Break(());
        }
        let Ok(chunk) = serde_json::from_str::<Value>(data) else {
            return self.breaks("a chunk is no JSON");
        };
        if let Some(message) = chunk["error"]["message"].as_str() {
            return self.breaks(brief(message));
        }
        let choice = &chunk["choices"][0];
        let ids = choice["token_ids"].as_array().map(Vec::as_slice).unwrap_or_default();
        let vocab = self.shared.setup.config.vocab;
        let last = (choice["finish_reason"] == "stop").then(|| ids.len().saturating_sub(1));
        for (at, id) in ids.iter().enumerate() {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| (*id as usize) < vocab);
            let Some(id) = id else {
                return self.breaks("a token id is none of this base");
            };
            if self.stopped || (last == Some(at) && self.ends.contains(&id)) {
                break;
            }
            self.take(id, peer_logprob(&self.shared.tokenizer, id, &choice["logprobs"], at));
        }
        if ids.is_empty() && choice["text"].as_str().is_some_and(|text| !text.is_empty()) {
            return self.breaks("the peer tells no token ids (it must know `return_token_ids`)");
        }
        match choice["finish_reason"].as_str() {
            None => {}
            Some("length") => self.finish = Some(FinishReason::Length),
            Some(_) => self.finish = Some(FinishReason::Stop),
        }
        if self.is_wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn take(&mut self, id: u32, logprob: TokenLogprob) {
        let now = Instant::now();
        self.times = Some((self.times.map_or(now, |(first, _)| first), now));
        self.logprobs.push(logprob.clone());
        let (text, stopped) = self.written.push(&self.shared.tokenizer, self.frame, id);
        self.stopped = stopped;
        self.sender.send(Event::Token(Token { id, text: text.to_owned(), logprob }));
    }

    /// The answer, as far as it came.
    pub(super) fn answer(
        &mut self,
        request: &CompletionRequest,
        setup: &RemoteSetup,
        adapter: AdapterHash,
        prompt: String,
        prompt_ids: Vec<u32>,
    ) -> Result<Answer, ServeError> {
        let cancelled = self.is_cancelled();
        if let Some(reason) = self.broken.take().filter(|_| !cancelled) {
            return Err(failed(reason));
        }
        let finish_reason = match self.finish {
            Some(finish) => finish,
            None if cancelled => FinishReason::Length,
            None => return Err(failed("the stream ended before the answer did")),
        };
        let output_ids = std::mem::take(&mut self.written).into_ids();
        let (text, offsets, _) = render(&self.shared.tokenizer, &output_ids, self.frame);
        let usage = Usage { prompt_tokens: count(&prompt_ids), completion_tokens: count(&output_ids) };
        let mut sampling = request.sampling.clone();
        if cancelled {
            // What was produced is a whole answer to a request for that many tokens.
            sampling.max_tokens = usage.completion_tokens;
        }
        let completion = Completion {
            model: request.model_id,
            base: setup.base,
            adapter,
            tokenizer: B256::from(self.shared.tokenizer.hash()),
            numeric_mode: REMOTE_MODE.to_owned(),
            sampling,
            prompt,
            prompt_ids,
            text,
            output_ids,
            offsets,
            finish_reason,
            usage,
        };
        Ok(Answer { completion, logprobs: std::mem::take(&mut self.logprobs), cancelled })
    }

    /// Counts how it went.
    pub(super) fn note(&self, tenant: &Tenant, adapter: AdapterHash, answer: Option<&Answer>) {
        let metrics = &self.shared.metrics;
        let Some(answer) = answer else { return metrics.ended(tenant, adapter, &Outcome::failed()) };
        let micros = |from: Instant, until: Instant| {
            u64::try_from(until.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
        };
        let usage = answer.completion.usage;
        let steps = u64::from(usage.completion_tokens).saturating_sub(1);
        let token_micros = |(first, last)| micros(first, last).checked_div(steps);
        metrics.started(tenant, adapter, 0, 0);
        metrics.ended(
            tenant,
            adapter,
            &Outcome {
                failed: false,
                cancelled: answer.cancelled,
                tokens_in: usage.prompt_tokens.into(),
                tokens_out: usage.completion_tokens.into(),
                first_micros: self.times.map(|(first, _)| micros(self.arrived, first)),
                token_micros: self.times.and_then(token_micros),
            },
        );
    }
}
