//! Answers a completion again and says where it differs.
//!
//! **Invariant:** both ways of checking accept exactly the completions that this backend would
//! make. Generation repeats the run token by token; teacher forcing reads prompt and answer in one
//! pass and asks, at each place, which token would have been chosen. They agree because the engine
//! gives the same bits either way and draws by (seed, position).

use std::fmt;
use std::ops::ControlFlow;

use openledger_engine::logits;
use openledger_protocol::{AdapterHash, B256, Completion, FinishReason};

use crate::backend::Backend;
use crate::decode::{Frame, continues, render};
use crate::embedded::Embedded;
use crate::error::ServeError;
use crate::request::{CompletionRequest, Prompt};

/// How a completion is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// One pass over prompt and answer: several times cheaper.
    TeacherForced,
    /// Token by token, as it was made.
    Regenerate,
}

/// The first difference between a completion and what this backend answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The member of the completion.
    pub field: &'static str,
    /// What this backend has or answers.
    pub expected: String,
    /// What the completion says.
    pub found: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}, should be {}", self.field, self.found, self.expected)
    }
}

/// Why a completion was not confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReexecuteError {
    /// The completion is not what this backend answers.
    #[error("{0}")]
    Mismatch(Mismatch),
    /// It could not be answered again, such as when the adapter is not here; this says nothing
    /// about the completion.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// `Ok` when both are equal, else the mismatch.
fn same<T: PartialEq + fmt::Debug>(field: &'static str, expected: &T, found: &T) -> Result<(), ReexecuteError> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
    Err(ReexecuteError::Mismatch(Mismatch { field, expected, found }))
}

impl Embedded {
    /// Checks that `completion` is what this backend answers to its prompt under its hashes,
    /// sampling and seed.
    ///
    /// # Errors
    /// [`ReexecuteError::Mismatch`] naming the first member that differs; [`ReexecuteError::Serve`]
    /// when it could not be answered again.
    pub fn reexecute(&self, completion: &Completion, check: Check) -> Result<(), ReexecuteError> {
        let name = self.check_identity(completion)?;
        let limit = self.model().config().max_positions;
        if completion.prompt_ids.len() >= limit {
            return Err(ServeError::PromptTooLong { tokens: completion.prompt_ids.len(), limit }.into());
        }
        match check {
            Check::TeacherForced => self.teacher_force(completion, &name)?,
            Check::Regenerate => {
                let request = CompletionRequest {
                    model_id: completion.model,
                    model: name,
                    prompt: Prompt::Ids(completion.prompt_ids.clone()),
                    sampling: completion.sampling.clone(),
                    top_logprobs: 0,
                };
                let again = self.complete(&request, &mut |_| ControlFlow::Continue(()))?.completion;
                same("output_ids", &again.output_ids, &completion.output_ids)?;
                same("finish_reason", &again.finish_reason, &completion.finish_reason)?;
            }
        }
        let (text, offsets, _) = render(self.tokenizer(), &completion.output_ids, self.frame(completion));
        same("text", &text, &completion.text)?;
        same("offsets", &offsets, &completion.offsets)?;
        let count = |ids: &[u32]| u32::try_from(ids.len()).unwrap_or(u32::MAX);
        same("usage.prompt_tokens", &count(&completion.prompt_ids), &completion.usage.prompt_tokens)?;
        same("usage.completion_tokens", &count(&completion.output_ids), &completion.usage.completion_tokens)
    }

    /// What the text of `completion` depends on beside its ids.
    fn frame<'a>(&self, completion: &'a Completion) -> Frame<'a> {
        let continues = continues(self.tokenizer(), &completion.prompt_ids);
        Frame { stop: &completion.sampling.stop, min_tokens: 0, continues }
    }

    /// Checks hashes, mode and prompt; gives the name under which this backend knows the adapter.
    fn check_identity(&self, completion: &Completion) -> Result<String, ReexecuteError> {
        let own = self.capabilities();
        same("base", &own.base, &completion.base)?;
        same("tokenizer", &B256::from(self.tokenizer().hash()), &completion.tokenizer)?;
        same("numeric_mode", &own.numeric_mode, &completion.numeric_mode.as_str())?;
        // A prompt given as text encodes to its ids, one given as ids decodes to its text.
        let encoded = self.tokenizer().encode(&completion.prompt, true);
        if encoded != completion.prompt_ids {
            let decoded = self.tokenizer().decode(&completion.prompt_ids);
            same("prompt", &decoded, &completion.prompt)?;
        }
        if completion.adapter == AdapterHash(B256::ZERO) {
            return Ok(own.base_name);
        }
        Ok(completion.adapter.to_string())
    }

    /// Asks at each place of the answer which token would have been chosen.
    fn teacher_force(&self, completion: &Completion, name: &str) -> Result<(), ReexecuteError> {
        let sampling = self.sampling(&completion.sampling)?;
        let (_, lora) = self.adapter(name)?;
        let (prompt, output) = (&completion.prompt_ids, &completion.output_ids);
        let limit = self.model().config().max_positions;
        let found = output.len();
        let room = sampling.max_tokens.min(limit - prompt.len());
        if found > room {
            return same("output_ids", &format!("at most {room} ids"), &format!("{found} ids"));
        }
        let mut history = [prompt.as_slice(), output.as_slice()].concat();
        let rows = logits(self.model(), lora.as_deref(), &history).map_err(ServeError::from)?;
        for (at, id) in output.iter().enumerate() {
            let place = prompt.len() + at;
            let (chosen, _) = sampling.pick(rows.row(place - 1), &history[..place]);
            if sampling.stop.contains(&chosen) {
                return same("output_ids", &format!("{at} ids"), &format!("{found} ids"));
            }
            same("output_ids", &format!("{chosen} at {at}"), &format!("{id} at {at}"))?;
        }
        // Where the answer had to end, and why.
        let stopped = |ids: &[u32]| render(self.tokenizer(), ids, self.frame(completion)).2;
        let ends_in_stop = stopped(output);
        if ends_in_stop && stopped(&output[..found.saturating_sub(1)]) {
            return same("output_ids", &"an end at the stop text".to_owned(), &format!("{found} ids"));
        }
        let finish = if ends_in_stop {
            FinishReason::Stop
        } else if found == room {
            FinishReason::Length
        } else {
            let (next, _) = sampling.pick(rows.row(history.len() - 1), &history);
            if !sampling.stop.contains(&next) {
                history.push(next);
                return same("output_ids", &format!("{next} at {found}"), &format!("an end at {found}"));
            }
            FinishReason::Stop
        };
        same("finish_reason", &finish, &completion.finish_reason)
    }
}
