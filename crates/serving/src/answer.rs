//! An answer, its tokens, and how likely each was.

use openledger_protocol::{AdapterHash, B256, Completion};

/// The adapter hash of answers that the base gave without an adapter: zero.
pub(crate) const BASE: AdapterHash = AdapterHash(B256::ZERO);

/// A token as it is chosen, while the answer is being written.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEvent<'a> {
    /// The token.
    pub id: u32,
    /// The text that became certain with it: empty while a character is incomplete or a stop text
    /// may be under way.
    pub text: &'a str,
}

/// How likely a token was.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub id: u32,
    /// Its raw bytes.
    pub bytes: Vec<u8>,
    /// Log-probability in nats under the unmodified softmax.
    pub logprob: f32,
    /// The likeliest tokens in its place with theirs, likeliest first.
    pub top: Vec<(u32, Vec<u8>, f32)>,
}

/// An answer and its measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The answer.
    pub completion: Completion,
    /// For each output token, how likely it was.
    pub logprobs: Vec<TokenLogprob>,
    /// Whether the caller ended it. Then `completion.sampling.max_tokens` is what was produced, so
    /// that the completion is a whole answer to a smaller request: it can be charged, credited and
    /// checked like any other.
    pub cancelled: bool,
}
