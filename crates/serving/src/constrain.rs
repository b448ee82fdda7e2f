//! Answers that keep to a JSON schema: before each token, what may not come next is taken out.
//!
//! # Place in the flow
//!
//! The HTTP face makes one [`Grammar`] a base; each request with a `response_format` gets its
//! [`Constraint`] from it; the scheduler asks that before each token. The grammar work is
//! `llguidance`'s, within limits.
//!
//! # Invariants
//!
//! - The same schema, tokenizer and logits give the same mask: nothing is drawn or timed.
//! - A schema that cannot be enforced is refused by name before the answer begins; it is never
//!   followed in part.
//! - Two parts of a value have at most one space between them, so no answer consists of white
//!   space.

use std::sync::Arc;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{self, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use openledger_engine::Tokenizer;
use serde_json::{Value, json};

use crate::error::ServeError;
use crate::request::Constraint;

/// Largest schema, in bytes of JSON.
const SCHEMA_MAX: usize = 64 << 10;

/// The vocabulary of a base in the form that grammars work on.
pub struct Grammar {
    factory: ParserFactory,
    eos: Vec<u32>,
}

/// The vocabulary as a tree of bytes.
struct Vocabulary {
    trie: TokTrie,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<toktrie::TokenId> {
        self.trie.greedy_tokenize(bytes)
    }

    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

fn refused(reason: String) -> ServeError {
    ServeError::BadRequest { param: "response_format", reason }
}

impl Grammar {
    /// For a base with this tokenizer, whose logits have `vocab` values and whose answers end with
    /// any of `eos`.
    ///
    /// # Errors
    /// [`ServeError::BadRequest`] when the base has no end token: then no answer could end where
    /// its schema does.
    pub fn new(tokenizer: &Tokenizer, vocab: usize, eos: &[u32]) -> Result<Self, ServeError> {
        let own: Vec<u32> = eos.iter().copied().chain(tokenizer.eos()).collect();
        let Some(first) = own.first() else {
            return Err(refused("needs a base with an end token; this one has none".to_owned()));
        };
        let ids = u32::try_from(vocab).unwrap_or(u32::MAX);
        // Special tokens have no bytes and so no place in the tree: they are never allowed but for
        // the end token.
        let words: Vec<Vec<u8>> = (0..ids)
            .map(|id| if own.contains(&id) { b"\xff<end>".to_vec() } else { tokenizer.piece(id).to_vec() })
            .collect();
        let trie = TokTrie::from(&TokRxInfo::new(ids, *first), &words);
        let environment: TokEnv = Arc::new(Vocabulary { trie });
        let capabilities = InferenceCapabilities::default();
        let mut factory = ParserFactory::new(&environment, capabilities, &[])
            .map_err(|error| refused(format!("cannot be enforced with this base: {error}")))?;
        factory.quiet();
        *factory.limits_mut() = ParserLimits {
            max_grammar_size: 100_000,
            max_lexer_states: 50_000,
            // Errors go to the caller, which has the schema.
            verbose_errors: false,
            ..ParserLimits::default()
        };
        Ok(Self { factory, eos: own })
    }

    /// The rule that an answer is a JSON value of `schema`; any object when there is none.
    ///
    /// # Errors
    /// [`ServeError::BadRequest`] when the schema is too large or asks for something that cannot be
    /// enforced.
    pub fn json(&self, schema: Option<&Value>) -> Result<Box<dyn Constraint>, ServeError> {
        let schema = schema.cloned().unwrap_or_else(|| json!({ "type": "object" }));
        let size = schema.to_string().len();
        if size > SCHEMA_MAX {
            return Err(refused(format!("has a schema of {size} bytes, at most {SCHEMA_MAX} are taken")));
        }
        let parser = self.factory.create_parser(TopLevelGrammar::from_json_schema(bounded(schema)?));
        let parser = parser.map_err(|error| refused(format!("has a schema that cannot be enforced: {error}")))?;
        Ok(Box::new(Rule { matcher: Matcher::new(Ok(parser)), eos: self.eos.clone() }))
    }
}

/// `schema` with at most one space between two parts of the value. With unbounded white space, a
/// model that prefers it would write nothing else until its answer is cut off.
fn bounded(schema: Value) -> Result<Value, ServeError> {
    const RULES: &str = "x-guidance";
    let mut schema = match schema {
        Value::Object(members) => members,
        Value::Bool(true) => serde_json::Map::new(),
        other => return Err(refused(format!("has a schema that no value fulfils: {other}"))),
    };
    if schema.contains_key(RULES) {
        return Err(refused(format!("has a schema with `{RULES}`, which is this server's to set")));
    }
    schema.insert(RULES.to_owned(), json!({ "whitespace_pattern": " " }));
    Ok(schema.into())
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").finish_non_exhaustive()
    }
}

/// The state of one answer in its grammar.
struct Rule {
    matcher: Matcher,
    eos: Vec<u32>,
}

impl Constraint for Rule {
    fn mask(&mut self, logits: &mut [f32]) -> Result<(), ServeError> {
        let mask = self.matcher.compute_mask_or_eos();
        let mask = mask.map_err(|error| refused(format!("could not be followed further: {error}")))?;
        let end = self.matcher.is_accepting().unwrap_or(false) || self.matcher.is_stopped();
        let mut any = false;
        for (id, logit) in (0u32..).zip(logits.iter_mut()) {
            // All end tokens mean the same, though the grammar knows one.
            let allowed = if self.eos.contains(&id) { end } else { mask.is_allowed(id) };
            any |= allowed;
            if !allowed {
                *logit = f32::NEG_INFINITY;
            }
        }
        if any { Ok(()) } else { Err(refused("cannot be followed: no token may come next".to_owned())) }
    }

    fn accept(&mut self, id: u32) -> bool {
        // An end token ends the answer whatever the grammar makes of it; a token that was masked
        // out ends it as well.
        self.eos.contains(&id) || self.matcher.consume_token(id).is_err() || self.matcher.is_stopped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let texts = ["{\"name\": \"owl\", \"legs\": 2}", "the owl sat on the stone [1, 2, 3] true false null"];
        Tokenizer::train_bpe(texts.iter(), 300, &["<|end|>"]).unwrap()
    }

    /// Answers with the token that `order` ranks first among those that are allowed; the text.
    fn follow(schema: &Value, rank: impl Fn(u32, &[u8]) -> f32) -> String {
        let tokenizer = tokenizer();
        let grammar = Grammar::new(&tokenizer, tokenizer.vocab_size(), &[0]).unwrap();
        let mut rule = grammar.json(Some(schema)).unwrap();
        let mut ids = Vec::new();
        for _ in 0..200 {
            let mut logits: Vec<f32> =
                (0..).take(tokenizer.vocab_size()).map(|id| rank(id, tokenizer.piece(id))).collect();
            rule.mask(&mut logits).unwrap();
            let best = (0u32..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            if best == 0 {
                break;
            }
            ids.push(best);
            if rule.accept(best) {
                break;
            }
        }
        tokenizer.decode(&ids)
    }

    #[test]
    fn whatever_the_model_prefers_the_answer_is_of_the_schema() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["kind", "legs"],
            "properties": { "kind": { "enum": ["owl", "heron"] }, "legs": { "type": "integer", "maximum": 9 } },
        });
        for seed in 0..8u64 {
            // Half of the models prefer white space to anything else.
            let blank = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(u8::is_ascii_whitespace);
            let text = follow(&schema, |id, bytes| {
                let draw = openledger_engine::draw(seed, 0, u64::from(id)) % 1000;
                match id {
                    0 => 2000.0,
                    _ if blank(bytes) && seed % 2 == 0 => 5000.0,
                    _ => draw as f32 - if bytes.is_empty() { 5000.0 } else { 0.0 },
                }
            });
            assert!(!text.contains("  ") && !text.contains('\n'), "{text:?}");
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(value["kind"] == "owl" || value["kind"] == "heron", "{text}");
            assert!(value["legs"].is_i64() && value.as_object().unwrap().len() == 2, "{text}");
        }
    }

    #[test]
    fn a_schema_that_cannot_be_enforced_is_refused_before_the_answer() {
        let tokenizer = tokenizer();
        let grammar = Grammar::new(&tokenizer, tokenizer.vocab_size(), &[0]).unwrap();
        for schema in [
            json!({ "type": "zebra" }),
            json!({ "$ref": "https://example.com/else.json" }),
            json!({ "enum": ["x".repeat(SCHEMA_MAX)] }),
            json!({ "type": "object", "x-guidance": { "whitespace_flexible": true } }),
            json!(false),
        ] {
            let error = grammar.json(Some(&schema)).err().unwrap();
            assert!(matches!(error, ServeError::BadRequest { param: "response_format", .. }), "{error}");
        }
    }
}
