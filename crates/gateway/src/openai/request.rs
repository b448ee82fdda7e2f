//! Requests for answers: `/v1/chat/completions` and `/v1/completions`.

use openledger_engine::{Tokenizer, draw};
use openledger_protocol::{ModelId, Sampling};
use openledger_serving::{
    AnswerFormat, ChatForm, CompletionRequest, Conversation, Decoding, Message, Prompt, ServeError,
};
use serde_json::{Map, Value};

use super::error::ApiError;
use super::fields::{Fields, empty, ids};
use super::messages::conversation;

/// Tokens of an answer when a chat request names no limit.
pub const DEFAULT_MAX_TOKENS: u32 = 128;
/// Most prompts of one request.
const PROMPTS_MAX: usize = 256;
/// Most bytes that the prompts of one request's answers may take together.
const COPIES_MAX: usize = 64 << 20;
/// Names the seeds of the second and later answers to one request.
const CHOICE_STREAM: u64 = 0x6368_6f69_6365;

/// A request and the names of its members that were ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed<T> {
    /// What was understood.
    pub request: T,
    /// For `x-openledger-ignored-params`, in order.
    pub ignored: Vec<String>,
}

/// `POST /v1/chat/completions`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// Which model answers.
    pub model: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// The conversation as chat templates read it: the messages as they came, contents as text.
    pub conversation: Vec<Value>,
    /// The tools that the model may call.
    pub tools: Option<Value>,
    /// Further variables of the chat template.
    pub template_extra: Option<Map<String, Value>>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// How tokens are chosen beyond that.
    pub decoding: Decoding,
    /// What form the answer must have.
    pub response_format: AnswerFormat,
    /// How many answers.
    pub n: u32,
    /// Whether to report how likely tokens were.
    pub logprobs: bool,
    /// How many alternatives to report.
    pub top_logprobs: usize,
    /// How many tokens of a prompt are kept, its last ones.
    pub truncate: Option<usize>,
    /// Whether to answer as a stream.
    pub stream: bool,
    /// Whether the stream ends with the usage.
    pub include_usage: bool,
    /// Who asks, as the client says.
    pub user: Option<String>,
    /// The `openledger` member, for the node.
    pub extension: Option<Value>,
}

/// `POST /v1/completions`.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionsRequest {
    /// Which model answers.
    pub model: String,
    /// What it continues: each is answered for itself.
    pub prompts: Vec<Prompt>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// How tokens are chosen beyond that.
    pub decoding: Decoding,
    /// What form the answers must have.
    pub response_format: AnswerFormat,
    /// How many answers to each prompt.
    pub n: u32,
    /// How many alternatives to report; `None` reports nothing.
    pub logprobs: Option<usize>,
    /// Whether the prompt stands before the answer.
    pub echo: bool,
    /// Whether the answer's token ids are told, as vLLM does.
    pub token_ids: bool,
    /// How many tokens of a prompt are kept, its last ones.
    pub truncate: Option<usize>,
    /// Whether to answer as a stream.
    pub stream: bool,
    /// Whether the stream ends with the usage.
    pub include_usage: bool,
    /// Who asks, as the client says.
    pub user: Option<String>,
    /// The `openledger` member, for the node.
    pub extension: Option<Value>,
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// [`ApiError`] with the member that is wrong or not supported.
    pub fn parse(body: &Value) -> Result<Parsed<Self>, ApiError> {
        let mut fields = Fields::new(body)?;
        let model = model(&mut fields)?;
        let (messages, conversation) = conversation(fields.take("messages"))?;
        let decoding = fields.decoding()?;
        let tools = tools(&mut fields)?;
        fields.refuse_unless("modalities", |value| *value == serde_json::json!(["text"]))?;
        for name in [
            "audio",
            "prediction",
            "web_search_options",
            "reasoning_effort",
            "verbosity",
            "continue_final_message",
            "echo",
        ] {
            fields.refuse_unless(name, |value| *value == Value::Bool(false))?;
        }
        fields.refuse_unless("add_generation_prompt", |value| *value == Value::Bool(true))?;
        fields.refuse_unless("store", |value| *value == Value::Bool(false))?;
        fields.take("metadata");
        let template_extra = match fields.take("chat_template_kwargs") {
            None => None,
            Some(Value::Object(extra)) => Some(extra),
            Some(_) => {
                return Err(ApiError::invalid("chat_template_kwargs", "`chat_template_kwargs` must be an object"));
            }
        };
        fields.refuse_unless("chat_template", |_| false)?;
        let old = fields.whole("max_tokens", 1, u32::MAX.into())?;
        let limit = fields.whole("max_completion_tokens", 1, u32::MAX.into())?.or(old);
        let (logprobs, top) = (fields.boolean("logprobs")?, fields.whole("top_logprobs", 0, 20)?.unwrap_or(0));
        if top > 0 && !logprobs {
            return Err(ApiError::invalid("top_logprobs", "`top_logprobs` needs `logprobs`: true"));
        }
        let request = Self {
            model,
            messages,
            conversation,
            tools,
            template_extra,
            sampling: sampling(&mut fields, limit.unwrap_or(DEFAULT_MAX_TOKENS.into()))?,
            decoding,
            response_format: response_format(&mut fields)?,
            n: fields.count()?,
            logprobs,
            top_logprobs: top as usize,
            truncate: fields.truncate()?,
            stream: fields.boolean("stream")?,
            include_usage: include_usage(&mut fields)?,
            user: fields.string("user")?,
            extension: fields.take("openledger"),
        };
        refuse_contradictions(&request.decoding, &request.sampling, &request.response_format)?;
        Ok(Parsed { request, ignored: fields.left() })
    }

    /// Refuses by name what a receipt cannot say: one plain answer to a plain conversation can be
    /// checked by anyone, what goes beyond could not.
    ///
    /// # Errors
    /// [`ApiError`] with the member; of a message with its place, such as `messages[1].tool_calls`.
    pub fn refuse_beyond_receipts(&self) -> Result<(), ApiError> {
        for (at, message) in self.conversation.iter().enumerate() {
            if message["role"] == "tool" {
                return Err(beyond_receipt(&format!("messages[{at}].role")));
            }
            let mut members = message.as_object().into_iter().flatten();
            if let Some((name, _)) = members.find(|(name, value)| !is_plain(name) && !value.is_null() && !empty(value))
            {
                return Err(beyond_receipt(&format!("messages[{at}].{name}")));
            }
        }
        beyond_receipts(&[
            ("n", self.n != 1),
            ("tools", self.tools.is_some()),
            ("chat_template_kwargs", self.template_extra.is_some()),
            ("response_format", self.response_format != AnswerFormat::Text),
            ("logprobs", self.stream && self.logprobs),
        ])?;
        decoding_beyond_receipts(&self.decoding)
    }

    /// Reduces each message to role and content, as they came: what a receipt's request holds of
    /// it. After it, equal conversations give equal prompts.
    pub fn keep_plain_messages(&mut self) {
        for members in self.conversation.iter_mut().filter_map(Value::as_object_mut) {
            members.retain(|name, _| is_plain(name));
        }
    }

    /// Refuses tools, and messages about them, where the base would never see them.
    fn refuse_unread_tools(&self, form: &ChatForm) -> Result<(), ServeError> {
        if form.takes_tools() {
            return Ok(());
        }
        let about_tools = |message: &Value| message["role"] == "tool" || !message["tool_calls"].is_null();
        let param = if self.tools.is_some() {
            "tools"
        } else if self.conversation.iter().any(about_tools) {
            "messages"
        } else {
            return Ok(());
        };
        let reason = "hold tools, which this base's chat template does not know; leave them out".to_owned();
        Err(ServeError::BadRequest { param, reason })
    }

    /// The request for a backend whose base is asked in `form`, as of `now` (Unix seconds).
    ///
    /// # Errors
    /// Those of [`ChatForm::ask`], and [`ServeError::BadRequest`] for tools where the form knows
    /// none.
    pub fn ask(&self, form: &ChatForm, tokenizer: &Tokenizer, now: u64) -> Result<CompletionRequest, ServeError> {
        self.ask_within(form, tokenizer, now, usize::MAX)
    }

    /// As [`ChatRequest::ask`]; a text of more than `most` bytes is refused before it is tokenized.
    ///
    /// # Errors
    /// As [`ChatRequest::ask`], and [`ServeError::TextTooLong`].
    pub fn ask_within(
        &self,
        form: &ChatForm,
        tokenizer: &Tokenizer,
        now: u64,
        most: usize,
    ) -> Result<CompletionRequest, ServeError> {
        self.refuse_unread_tools(form)?;
        let conversation = Conversation {
            messages: &self.conversation,
            tools: self.tools.as_ref(),
            extra: self.template_extra.as_ref(),
            generation: true,
            now,
        };
        Ok(self.completion(ModelId(0), form.ask_within(&self.messages, &conversation, tokenizer, most)?))
    }

    fn completion(&self, model_id: ModelId, prompt: Prompt) -> CompletionRequest {
        CompletionRequest {
            model_id,
            model: self.model.clone(),
            prompt,
            sampling: self.sampling.clone(),
            top_logprobs: self.top_logprobs,
        }
    }
}

impl CompletionsRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// [`ApiError`] with the member that is wrong or not supported.
    pub fn parse(body: &Value) -> Result<Parsed<Self>, ApiError> {
        let mut fields = Fields::new(body)?;
        let model = model(&mut fields)?;
        let prompts = prompts(fields.take("prompt"))?;
        let decoding = fields.decoding()?;
        let n = fields.count()?;
        fields.refuse_unless("best_of", |value| value.as_u64() == Some(n.into()))?;
        fields.refuse_unless("suffix", empty)?;
        fields.refuse_unless("add_special_tokens", |value| *value == Value::Bool(true))?;
        let (logprobs, echo) = (fields.whole("logprobs", 0, 20)?, fields.boolean("echo")?);
        // Zero is of use with `echo` only: it scores the prompt.
        let limit = fields.whole("max_tokens", u64::from(!echo), u32::MAX.into())?.unwrap_or(16);
        let stream = fields.boolean("stream")?;
        if stream && echo {
            return Err(ApiError::unsupported("echo", &Value::Bool(true)));
        }
        let request = Self {
            model,
            prompts,
            sampling: sampling(&mut fields, limit)?,
            decoding,
            response_format: response_format(&mut fields)?,
            n,
            logprobs: logprobs.map(|top| top as usize),
            echo,
            token_ids: fields.boolean("return_token_ids")?,
            truncate: fields.truncate()?,
            stream,
            include_usage: include_usage(&mut fields)?,
            user: fields.string("user")?,
            extension: fields.take("openledger"),
        };
        refuse_contradictions(&request.decoding, &request.sampling, &request.response_format)?;
        Ok(Parsed { request, ignored: fields.left() })
    }

    /// As [`ChatRequest::refuse_beyond_receipts`]; further, each prompt needs a receipt of its own.
    ///
    /// # Errors
    /// [`ApiError`] with the member.
    pub fn refuse_beyond_receipts(&self) -> Result<(), ApiError> {
        beyond_receipts(&[
            ("n", self.n != 1),
            ("prompt", self.prompts.len() != 1),
            ("response_format", self.response_format != AnswerFormat::Text),
            ("logprobs", self.stream && self.logprobs.is_some()),
            ("return_token_ids", self.stream && self.token_ids),
        ])?;
        if self.echo && self.logprobs.is_some() {
            let message = "`logprobs` together with `echo` scores the prompt, which no receipt pays for; leave one of \
                           them out";
            let error = ApiError::invalid("logprobs", message);
            return Err(ApiError { code: Some("unsupported_parameter".into()), ..error });
        }
        decoding_beyond_receipts(&self.decoding)
    }

    /// The requests for a backend, one a prompt.
    #[must_use]
    pub fn to_completions(&self, model_id: ModelId) -> Vec<CompletionRequest> {
        let one = |prompt: &Prompt| CompletionRequest {
            model_id,
            model: self.model.clone(),
            prompt: prompt.clone(),
            sampling: self.sampling.clone(),
            top_logprobs: self.logprobs.unwrap_or(0),
        };
        self.prompts.iter().map(one).collect()
    }
}

/// Refuses by name what no receipt says: a receipt's sampling is temperature, nucleus, seed, stop
/// texts and length.
fn decoding_beyond_receipts(own: &Decoding) -> Result<(), ApiError> {
    let neutral = Decoding::default();
    beyond_receipts(&[
        ("top_k", own.top_k != neutral.top_k),
        ("min_p", own.min_p != neutral.min_p),
        ("repetition_penalty", own.repetition_penalty != neutral.repetition_penalty),
        ("presence_penalty", own.presence_penalty != neutral.presence_penalty),
        ("frequency_penalty", own.frequency_penalty != neutral.frequency_penalty),
        ("logit_bias", own.logit_bias != neutral.logit_bias),
        ("min_tokens", own.min_tokens != neutral.min_tokens),
        ("ignore_eos", own.ignore_eos),
        ("stop_token_ids", own.stop_ids != neutral.stop_ids),
        ("include_stop_str_in_output", own.include_stop),
    ])
}

/// Refuses the first of `members` that is set.
fn beyond_receipts(members: &[(&str, bool)]) -> Result<(), ApiError> {
    match members.iter().find(|(_, set)| *set) {
        None => Ok(()),
        Some((name, _)) => Err(beyond_receipt(name)),
    }
}

/// The refusal of a member that no receipt says.
pub(crate) fn beyond_receipt(name: &str) -> ApiError {
    let message = format!("`{name}` is not supported in answers that carry a receipt; leave it out");
    ApiError { code: Some("unsupported_parameter".into()), ..ApiError::invalid(name, message) }
}

/// Whether a receipt's request holds this member of a message.
fn is_plain(name: &str) -> bool {
    matches!(name, "role" | "content")
}

/// The last `kept` tokens of a prompt; a shorter one as it is.
#[must_use]
pub fn truncated(prompt: Prompt, kept: usize, tokenizer: &Tokenizer) -> Prompt {
    let ids = match &prompt {
        Prompt::Text(text) => tokenizer.encode(text, true),
        Prompt::Ids(ids) => ids.clone(),
    };
    if ids.len() <= kept { prompt } else { Prompt::Ids(ids[ids.len() - kept..].to_vec()) }
}

/// Refuses `n` answers to each of `requests` when the copies of their prompts would take more than
/// 64 MiB.
///
/// # Errors
/// [`ServeError::BadRequest`] about `n`.
pub(crate) fn check_copies(requests: &[CompletionRequest], n: u32) -> Result<(), ServeError> {
    let bytes = |request: &CompletionRequest| match &request.prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Ids(ids) => ids.len().saturating_mul(size_of::<u32>()),
    };
    let once = requests.iter().map(bytes).fold(0, usize::saturating_add);
    let all = once.saturating_mul(n as usize);
    if all <= COPIES_MAX {
        return Ok(());
    }
    let reason = format!("is {n}: so many answers to {once} bytes of prompts take more than {COPIES_MAX} bytes");
    Err(ServeError::BadRequest { param: "n", reason })
}

/// `request` `n` times: the first as it is, the others with seeds of their own, so that each can be
/// asked for alone again.
#[must_use]
pub fn choices(request: &CompletionRequest, n: u32) -> Vec<CompletionRequest> {
    let one = |choice: u32| {
        let mut request = request.clone();
        request.sampling.seed = choice_seed(request.sampling.seed, choice);
        request
    };
    (0..n).map(one).collect()
}

/// The seed of the answer numbered `choice` (from 0) to a request with `seed`.
#[must_use]
pub fn choice_seed(seed: u64, choice: u32) -> u64 {
    if choice == 0 { seed } else { draw(seed, CHOICE_STREAM, u64::from(choice)) }
}

fn model(fields: &mut Fields) -> Result<String, ApiError> {
    let model = fields.string("model")?.filter(|model| !model.is_empty());
    model.ok_or_else(|| ApiError::invalid("model", "`model` is missing"))
}

/// `tools` and what goes with them; `tool_choice` `none` leaves them out.
fn tools(fields: &mut Fields) -> Result<Option<Value>, ApiError> {
    for name in ["functions", "function_call"] {
        fields.refuse_unless(name, |value| empty(value) || matches!(value.as_str(), Some("none" | "auto")))?;
    }
    // Without tools it says nothing; with them the base's template decides.
    fields.take("parallel_tool_calls");
    let tools = fields.take("tools").filter(|tools| !empty(tools));
    if tools.as_ref().is_some_and(|tools| !tools.is_array()) {
        return Err(ApiError::invalid("tools", "`tools` must be an array"));
    }
    match fields.take("tool_choice") {
        None => Ok(tools),
        Some(choice) if choice == "auto" => Ok(tools),
        Some(choice) if choice == "none" => Ok(None),
        Some(choice) => Err(ApiError::unsupported("tool_choice", &choice)),
    }
}

fn response_format(fields: &mut Fields) -> Result<AnswerFormat, ApiError> {
    let Some(format) = fields.take("response_format") else { return Ok(AnswerFormat::Text) };
    match format["type"].as_str() {
        Some("text") => Ok(AnswerFormat::Text),
        Some("json_object") => Ok(AnswerFormat::JsonObject),
        Some("json_schema") => match &format["json_schema"]["schema"] {
            schema @ (Value::Object(_) | Value::Bool(_)) => Ok(AnswerFormat::JsonSchema(schema.clone())),
            _ => {
                Err(ApiError::invalid("response_format", "`response_format.json_schema.schema` must be a JSON schema"))
            }
        },
        _ => Err(ApiError::unsupported("response_format", &format)),
    }
}

/// Refuses settings that cannot both be kept to.
fn refuse_contradictions(decoding: &Decoding, sampling: &Sampling, format: &AnswerFormat) -> Result<(), ApiError> {
    if decoding.min_tokens > sampling.max_tokens {
        let message =
            format!("`min_tokens` is {}, more than the {} of the answer", decoding.min_tokens, sampling.max_tokens);
        return Err(ApiError::invalid("min_tokens", message));
    }
    if *format != AnswerFormat::Text {
        for (name, set) in [("min_tokens", decoding.min_tokens > 0), ("ignore_eos", decoding.ignore_eos)] {
            if set {
                let message =
                    format!("`{name}` cannot go with `response_format`, by which an answer ends when it is complete");
                return Err(ApiError::invalid(name, message));
            }
        }
    }
    Ok(())
}

fn sampling(fields: &mut Fields, max_tokens: u64) -> Result<Sampling, ApiError> {
    let top_p_milli = fields.milli("top_p", 1.0)?.unwrap_or(1000);
    if top_p_milli == 0 {
        return Err(ApiError::invalid("top_p", "`top_p` must be at least 0.001"));
    }
    let seed = match fields.take("seed") {
        None => 0,
        Some(value) => value
            .as_u64()
            // OpenAI allows negative seeds; each still names its own draws.
            .or_else(|| value.as_i64().map(|seed| seed as u64))
            .ok_or_else(|| ApiError::invalid("seed", format!("`seed` must be a whole number, not {value}")))?,
    };
    Ok(Sampling {
        temperature_milli: fields.milli("temperature", 2.0)?.unwrap_or(1000),
        top_p_milli,
        // `whole` held it within 32 bits.
        max_tokens: u32::try_from(max_tokens).unwrap_or(u32::MAX),
        seed,
        stop: fields.stop()?,
    })
}

fn include_usage(fields: &mut Fields) -> Result<bool, ApiError> {
    match fields.take("stream_options") {
        None => Ok(false),
        Some(Value::Object(mut options)) => {
            if options.remove("continuous_usage_stats") == Some(Value::Bool(true)) {
                return Err(ApiError::unsupported("stream_options.continuous_usage_stats", &Value::Bool(true)));
            }
            match options.remove("include_usage") {
                None | Some(Value::Null) => Ok(false),
                Some(Value::Bool(include)) => Ok(include),
                Some(_) => Err(ApiError::invalid("stream_options", "`include_usage` must be true or false")),
            }
        }
        Some(_) => Err(ApiError::invalid("stream_options", "`stream_options` must be an object")),
    }
}

/// `prompt` or `input`: a text, texts, token ids, or arrays of token ids.
pub(super) fn prompts(value: Option<Value>) -> Result<Vec<Prompt>, ApiError> {
    let bad = |message: &str| ApiError::invalid("prompt", message);
    let one = |item: &Value| match item {
        Value::String(text) => Some(Prompt::Text(text.clone())),
        item => ids(item).filter(|ids| !ids.is_empty()).map(Prompt::Ids),
    };
    match value {
        Some(Value::String(text)) => Ok(vec![Prompt::Text(text)]),
        Some(Value::Array(items)) if items.is_empty() => Err(bad("it is empty")),
        Some(Value::Array(items)) if items.len() > PROMPTS_MAX && !items[0].is_number() => {
            Err(bad(&format!("at most {PROMPTS_MAX} prompts a request are taken, not {}", items.len())))
        }
        Some(Value::Array(items)) if items[0].is_number() => {
            let ids = ids(&Value::Array(items)).ok_or_else(|| bad("an array of numbers must hold token ids"))?;
            Ok(vec![Prompt::Ids(ids)])
        }
        Some(Value::Array(items)) => {
            items.iter().map(one).collect::<Option<_>>().ok_or_else(|| bad("it must hold texts or arrays of token ids"))
        }
        _ => Err(bad("it must be a text, token ids, or an array of such")),
    }
}
