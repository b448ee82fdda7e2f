//! Responses, made from answers; their types are those of `openledger_api::openai`.

use std::collections::BTreeMap;

use openledger_api::openai::{
    ChatChoice, ChatLogprobs, ChatMessage, ChatResponse, CompletionChoice, CompletionLogprobs, CompletionResponse,
    TokenChoice, TopToken, Usage,
};
use openledger_protocol::FinishReason;
use openledger_serving::{Answer, TokenLogprob};

/// `stop` or `length`.
#[must_use]
pub fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

/// A token of an echoed prompt: its bytes and how likely it was; the first one has nothing before
/// it.
pub type EchoToken = (Vec<u8>, Option<TokenLogprob>);

/// How likely the tokens of a chat answer were, from what a backend measured.
#[must_use]
pub fn chat_logprobs(logprobs: &[TokenLogprob]) -> ChatLogprobs {
    let token = |bytes: &[u8], logprob: f32| TopToken {
        token: String::from_utf8_lossy(bytes).into_owned(),
        logprob,
        bytes: bytes.to_vec(),
    };
    let content = logprobs.iter().map(|l| TokenChoice {
        chosen: token(&l.bytes, l.logprob),
        top_logprobs: l.top.iter().map(|(_, bytes, logprob)| token(bytes, *logprob)).collect(),
    });
    ChatLogprobs { content: content.collect(), refusal: None }
}

/// Adds the next answer to the same prompt, with its usage; `logprobs` says whether to report them.
pub fn push_chat<N>(response: &mut ChatResponse<N>, answer: &Answer, logprobs: bool, usage: Usage) {
    let completion = &answer.completion;
    let index = u32::try_from(response.choices.len()).unwrap_or(u32::MAX);
    response.usage = if index == 0 { usage } else { response.usage.and(usage, true) };
    response.choices.push(ChatChoice {
        index,
        message: ChatMessage { role: "assistant".into(), content: completion.text.clone(), refusal: None },
        logprobs: logprobs.then(|| chat_logprobs(&answer.logprobs)),
        finish_reason: finish_reason(completion.finish_reason).into(),
    });
}

/// Adds the next answer, with its usage. `logprobs` says whether to report them; `echo` holds the
/// prompt's tokens when the prompt comes before the answer; `same_prompt` says whether the answer
/// before had the same prompt.
pub fn push_completion<N>(
    response: &mut CompletionResponse<N>,
    answer: &Answer,
    logprobs: bool,
    echo: Option<&[EchoToken]>,
    usage: Usage,
    same_prompt: bool,
) {
    let completion = &answer.completion;
    let mut columns = CompletionLogprobs::default();
    let mut text = String::new();
    if let Some(tokens) = echo {
        let mut bytes = Vec::new();
        for (token, scored) in tokens {
            let place = characters(&bytes);
            push(&mut columns, token, scored.as_ref().map(|s| s.logprob), scored.as_ref().map(alternatives), place);
            bytes.extend_from_slice(token);
        }
        text.push_str(&completion.prompt);
    }
    let before = text.chars().count();
    for (token, (start, _)) in answer.logprobs.iter().zip(&completion.offsets) {
        let head = completion.text.get(..*start as usize).unwrap_or_default();
        let place = before + head.chars().count();
        push(&mut columns, &token.bytes, Some(token.logprob), Some(alternatives(token)), place);
    }
    text.push_str(&completion.text);
    let index = u32::try_from(response.choices.len()).unwrap_or(u32::MAX);
    response.usage = if index == 0 { usage } else { response.usage.and(usage, same_prompt) };
    response.choices.push(CompletionChoice {
        index,
        text,
        logprobs: logprobs.then_some(columns),
        finish_reason: finish_reason(completion.finish_reason).into(),
        token_ids: None,
        prompt_token_ids: None,
    });
}

/// The columns of a piece of an answer, which starts `at` characters into it.
#[must_use]
pub fn columns(tokens: &[TokenLogprob], at: usize) -> CompletionLogprobs {
    let (mut columns, mut bytes) = (CompletionLogprobs::default(), Vec::new());
    for token in tokens {
        let place = at + characters(&bytes);
        push(&mut columns, &token.bytes, Some(token.logprob), Some(alternatives(token)), place);
        bytes.extend_from_slice(&token.bytes);
    }
    columns
}

fn characters(bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).chars().count()
}

/// Adds a token, which starts `offset` characters into the text.
fn push(
    columns: &mut CompletionLogprobs,
    token: &[u8],
    logprob: Option<f32>,
    top: Option<BTreeMap<String, f32>>,
    offset: usize,
) {
    columns.tokens.push(String::from_utf8_lossy(token).into_owned());
    columns.token_logprobs.push(logprob);
    columns.top_logprobs.push(top);
    columns.text_offset.push(offset);
}

/// The likeliest tokens in the place of one, by text; where any are reported, it is among them
/// itself.
fn alternatives(token: &TokenLogprob) -> BTreeMap<String, f32> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut all: BTreeMap<String, f32> = token.top.iter().map(|(_, bytes, l)| (text(bytes), *l)).collect();
    if !all.is_empty() {
        all.insert(text(&token.bytes), token.logprob);
    }
    all
}
