//! From a JSON object to a record under a policy: fields, names, licence, emptiness.
//!
//! **Invariant:** a record that passes prints as a line that passes again and gives an equal
//! record. **Invariant:** an import and a plain reader understand a line alike; a datanet asks for
//! more, never for something else. **Not here:** what spans records (ids in `lines`, copies in
//! `importer`).

use openledger_protocol::{Body, Record, Rights};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::policy::{Limits, Policy};
use super::refusal::RefusalReason;
use super::strict::kind;
use crate::licence;
use crate::name::{is_blank, is_unprintable, one_spelling};

/// The fields of which a record needs one form.
const SOME_TEXT: &str = "text` or `prompt` with `response";

/// What a line says, before it is asked whether a datanet may take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Running text, or a question with its answer.
    Body(Body),
    /// Token ids, taken as they are.
    Ids {
        /// The ids; at least `loss_from + 1` of them.
        ids: Vec<u32>,
        /// The first id that is learned; at least 1, since the first id has nothing before it.
        loss_from: usize,
    },
}

/// The record that an object spells, and the rights its licence gives.
pub(super) fn record(
    mut fields: Map<String, Value>,
    limits: &Limits,
    policy: &Policy,
) -> Result<(Record, Rights), RefusalReason> {
    let id = id(&mut fields, limits)?.ok_or(RefusalReason::Missing { field: "id" })?;
    let contributors = contributors(&mut fields, limits)?;
    if contributors.is_empty() {
        return Err(RefusalReason::Missing { field: "contributor" });
    }
    let (license, rights) = licence_of(&mut fields, limits, policy)?;
    let Content::Body(body) = content(&mut fields)? else {
        return Err(RefusalReason::Missing { field: SOME_TEXT });
    };
    let meta = meta(fields)?;
    Ok((Record { id, contributors, license, body, meta }, rights))
}

/// Id, contributors and content of an object under the same rules; only content must be there, and
/// no licence is judged.
pub(super) fn plain(
    mut fields: Map<String, Value>,
    limits: &Limits,
) -> Result<(Option<String>, Vec<String>, Content), RefusalReason> {
    let id = id(&mut fields, limits)?;
    let contributors = contributors(&mut fields, limits)?;
    licence_name(&mut fields, limits)?;
    let content = content(&mut fields)?;
    meta(fields)?;
    Ok((id, contributors, content))
}

/// The record's name in NFC, so that one spelling counts.
fn id(fields: &mut Map<String, Value>, limits: &Limits) -> Result<Option<String>, RefusalReason> {
    let Some(raw) = text(fields, "id")? else { return Ok(None) };
    check_name("id", &raw, limits.id_bytes)?;
    let id: String = raw.nfc().collect();
    check_name("id", &id, limits.id_bytes)?; // NFC can lengthen a text
    Ok(Some(id))
}

/// A field that must be a string where it stands; `null` counts as absent.
fn text(fields: &mut Map<String, Value>, field: &'static str) -> Result<Option<String>, RefusalReason> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(RefusalReason::WrongType { field, expected: "a string", found: kind(&other) }),
    }
}

fn check_name(field: &'static str, name: &str, limit: usize) -> Result<(), RefusalReason> {
    if name.len() > limit {
        return Err(RefusalReason::TooLong { field, bytes: name.len(), limit });
    }
    if is_blank(name) {
        return Err(RefusalReason::Empty { field });
    }
    if name.chars().any(is_unprintable) {
        return Err(RefusalReason::Unprintable { field, value: name.to_owned() });
    }
    Ok(())
}

/// A contributor's handle in the spelling in which handles are kept and compared, as an import
/// makes it.
///
/// # Errors
/// [`RefusalReason`] when it is longer than [`Limits::name_bytes`], blank, or holds characters that
/// are not shown.
pub fn handle(raw: &str) -> Result<String, RefusalReason> {
    name_of("contributor", raw, &Limits::default())
}

/// The longest name of a datanet or model, in bytes.
const TITLE_BYTES: usize = 200;

/// The name of a datanet or model in the spelling in which names are kept and compared.
///
/// # Errors
/// [`RefusalReason`] when it is longer than 200 bytes, blank, or holds characters that are not
/// shown.
pub fn title_name(raw: &str) -> Result<String, RefusalReason> {
    name_of("name", raw, &Limits { name_bytes: TITLE_BYTES, ..Limits::default() })
}

/// A name in the one form that is compared: NFC, trimmed.
fn name_of(field: &'static str, raw: &str, limits: &Limits) -> Result<String, RefusalReason> {
    check_name(field, raw, limits.name_bytes)?;
    let name = one_spelling(raw);
    check_name(field, &name, limits.name_bytes)?; // NFC can lengthen a text
    Ok(name)
}

/// Who wrote it, each once, in the order of `contributors` where it stands; empty where nobody is
/// named.
fn contributors(fields: &mut Map<String, Value>, limits: &Limits) -> Result<Vec<String>, RefusalReason> {
    let first = text(fields, "contributor")?.map(|name| name_of("contributor", &name, limits)).transpose()?;
    let mut names: Vec<String> = Vec::new();
    match fields.remove("contributors") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            if list.len() > limits.contributors {
                return Err(RefusalReason::TooManyContributors { count: list.len(), limit: limits.contributors });
            }
            for item in list {
                let Value::String(raw) = &item else {
                    let (field, expected) = ("contributors", "a list of strings");
                    return Err(RefusalReason::WrongType { field, expected, found: kind(&item) });
                };
                let name = name_of("contributors", raw, limits)?;
                // A name that stands twice would be paid twice by the equal split.
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        Some(other) => {
            let (field, expected) = ("contributors", "a list of strings");
            return Err(RefusalReason::WrongType { field, expected, found: kind(&other) });
        }
    }
    match first {
        Some(name) if names.is_empty() => names.push(name),
        Some(name) if !names.contains(&name) => {
            return Err(RefusalReason::Contradiction { one: "contributor".into(), other: "contributors".into() });
        }
        _ => {}
    }
    Ok(names)
}

/// The licence as the line names it, if it does, in either spelling of the field.
fn licence_name(fields: &mut Map<String, Value>, limits: &Limits) -> Result<Option<String>, RefusalReason> {
    let named = match (text(fields, "license")?, text(fields, "licence")?) {
        (Some(one), Some(other)) if licence::normalise(&one) != licence::normalise(&other) => {
            return Err(RefusalReason::Contradiction { one: "license".into(), other: "licence".into() });
        }
        (one, other) => one.or(other),
    };
    let named = named.filter(|name| !is_blank(name));
    named.iter().try_for_each(|name| check_name("license", name, limits.licence_bytes))?;
    Ok(named)
}

/// The SPDX name and the rights, after the datanet's owner had a say in what is not known.
fn licence_of(
    fields: &mut Map<String, Value>,
    limits: &Limits,
    policy: &Policy,
) -> Result<(String, Rights), RefusalReason> {
    let named = licence_name(fields, limits)?.ok_or(RefusalReason::NoLicence)?;
    let licence = licence::normalise(&named);
    let rights = match policy.explicit.get(&licence.spdx) {
        Some(stated) if !licence.known => Rights { license: licence.spdx.clone(), ..stated.clone() },
        _ if !licence.known => return Err(RefusalReason::UnknownLicence { licence: licence.spdx }),
        _ => licence.rights,
    };
    crate::datanet_allows(policy.required, &rights)
        .map_err(|error| RefusalReason::RightsTooNarrow { licence: licence.spdx.clone(), missing: error.missing })?;
    Ok((licence.spdx, rights))
}

/// What the line says, in the one form that it uses; two forms at once are a contradiction.
fn content(fields: &mut Map<String, Value>) -> Result<Content, RefusalReason> {
    let ids = fields.remove("input_ids").filter(|ids| !ids.is_null());
    let running = text(fields, "text")?;
    let prompt = text(fields, "prompt")?;
    let response = text(fields, "response")?;
    let context = text(fields, "context")?;
    let contradiction = |one: &str, other: &str| RefusalReason::Contradiction { one: one.into(), other: other.into() };
    if let Some(ids) = ids {
        let others = [("text", &running), ("prompt", &prompt), ("response", &response), ("context", &context)];
        return match others.into_iter().find(|(_, other)| other.is_some()) {
            Some((other, _)) => Err(contradiction("input_ids", other)),
            None => token_ids(&ids, fields),
        };
    }
    let body = match (running, prompt, response, context) {
        (Some(_), Some(_), ..) => Err(contradiction("text", "prompt")),
        (Some(_), _, Some(_), _) => Err(contradiction("text", "response")),
        (Some(_), _, _, Some(_)) => Err(contradiction("text", "context")),
        (Some(text), ..) if is_blank(&text) => Err(RefusalReason::Empty { field: "text" }),
        (Some(text), ..) => Ok(Body::Text { text }),
        (None, Some(_), None, _) => Err(RefusalReason::Missing { field: "response" }),
        (None, None, Some(_), _) => Err(RefusalReason::Missing { field: "prompt" }),
        (None, None, None, _) => Err(RefusalReason::Missing { field: SOME_TEXT }),
        (None, Some(_), Some(answer), _) if is_blank(&answer) => Err(RefusalReason::Empty { field: "response" }),
        (None, Some(prompt), Some(response), context) => Ok(Body::Dialog { prompt, response, context }),
    };
    body.map(Content::Body)
}

/// Ids and where learning starts: `loss_from`, or `loss_start` as queries call it.
fn token_ids(ids: &Value, fields: &mut Map<String, Value>) -> Result<Content, RefusalReason> {
    let wrong = |found: &Value| RefusalReason::WrongType {
        field: "input_ids",
        expected: "a list of whole numbers below 2^32",
        found: kind(found),
    };
    let list = ids.as_array().ok_or_else(|| wrong(ids))?;
    let id = |item: &Value| item.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| wrong(item));
    let ids: Vec<u32> = list.iter().map(id).collect::<Result<_, _>>()?;
    let mut place = |field: &'static str| match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(from) => Ok(Some((field, from))),
            None => Err(RefusalReason::WrongType { field, expected: "a whole number", found: kind(&value) }),
        },
    };
    let (field, from) = match (place("loss_from")?, place("loss_start")?) {
        (Some((_, one)), Some((_, other))) if one != other => {
            return Err(RefusalReason::Contradiction { one: "loss_from".into(), other: "loss_start".into() });
        }
        (one, other) => one.or(other).unwrap_or(("loss_from", 1)),
    };
    match usize::try_from(from) {
        Ok(loss_from) if (1..ids.len()).contains(&loss_from) => Ok(Content::Ids { ids, loss_from }),
        _ => Err(RefusalReason::NothingLearned { field, from, tokens: ids.len() }),
    }
}

/// `meta` and every key that means nothing here.
fn meta(mut fields: Map<String, Value>) -> Result<Map<String, Value>, RefusalReason> {
    let mut meta = match fields.remove("meta") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(map)) => map,
        Some(other) => {
            return Err(RefusalReason::WrongType { field: "meta", expected: "an object", found: kind(&other) });
        }
    };
    for (key, value) in fields {
        if meta.get(&key).is_some_and(|known| *known != value) {
            let one = crate::printable(&key);
            return Err(RefusalReason::Contradiction { other: format!("meta.{one}"), one });
        }
        meta.insert(key, value);
    }
    Ok(meta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_handle_in_two_spellings_is_one_handle() {
        let (composed, apart) = ("Zofia Świętek", "Zofia S\u{301}wie\u{328}tek ");
        assert_ne!(composed, apart);
        assert_eq!(handle(apart).unwrap(), handle(composed).unwrap());
        assert_eq!(handle(" \u{200d}").unwrap_err().code(), "empty");
        assert_eq!(handle("a\u{202e}b").unwrap_err().code(), "unprintable-name");
        assert_eq!(handle(&"x".repeat(129)).unwrap_err().code(), "name-too-long");
    }
}
