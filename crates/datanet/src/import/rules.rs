//! From a JSON object to a record under a policy: fields, names, licence, emptiness.
//!
//! **Invariant:** a record that passes prints as a line that passes again and gives an equal record.
//! **Not here:** what spans records (ids and copies, in `importer`).

use openledger_protocol::{Body, Record, Rights};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::policy::{Limits, Policy};
use super::refusal::RefusalReason;
use super::strict::kind;
use crate::licence;
use crate::name::{is_blank, is_unprintable};

/// The record that an object spells, and the rights its licence gives.
pub(super) fn record(
    mut fields: Map<String, Value>,
    limits: &Limits,
    policy: &Policy,
) -> Result<(Record, Rights), RefusalReason> {
    let id = text(&mut fields, "id")?.ok_or(RefusalReason::Missing { field: "id" })?;
    check_name("id", &id, limits.id_bytes)?;
    let contributors = contributors(&mut fields, limits)?;
    let (license, rights) = licence_of(&mut fields, limits, policy)?;
    let body = body(&mut fields)?;
    let meta = meta(fields)?;
    Ok((Record { id, contributors, license, body, meta }, rights))
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

/// A contributor's name in the one form that is compared: NFC, trimmed.
fn contributor_name(field: &'static str, raw: &str, limits: &Limits) -> Result<String, RefusalReason> {
    check_name(field, raw, limits.name_bytes)?;
    let name: String = raw.nfc().collect::<String>().trim().to_owned();
    check_name(field, &name, limits.name_bytes)?; // NFC can lengthen a text
    Ok(name)
}

/// Who wrote it, each once, in the order of `contributors` where it stands.
fn contributors(fields: &mut Map<String, Value>, limits: &Limits) -> Result<Vec<String>, RefusalReason> {
    let first = text(fields, "contributor")?.map(|name| contributor_name("contributor", &name, limits)).transpose()?;
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
                let name = contributor_name("contributors", raw, limits)?;
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
    if names.is_empty() { Err(RefusalReason::Missing { field: "contributor" }) } else { Ok(names) }
}

/// The SPDX name and the rights, after the datanet's owner had a say in what is not known.
fn licence_of(
    fields: &mut Map<String, Value>,
    limits: &Limits,
    policy: &Policy,
) -> Result<(String, Rights), RefusalReason> {
    let named = match (text(fields, "license")?, text(fields, "licence")?) {
        (Some(one), Some(other)) if licence::normalise(&one) != licence::normalise(&other) => {
            return Err(RefusalReason::Contradiction { one: "license".into(), other: "licence".into() });
        }
        (one, other) => one.or(other),
    };
    let named = named.filter(|name| !is_blank(name)).ok_or(RefusalReason::NoLicence)?;
    check_name("license", &named, limits.licence_bytes)?;

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

fn body(fields: &mut Map<String, Value>) -> Result<Body, RefusalReason> {
    let running = text(fields, "text")?;
    let prompt = text(fields, "prompt")?;
    let response = text(fields, "response")?;
    let context = text(fields, "context")?;
    let contradiction = |one: &str, other: &str| RefusalReason::Contradiction { one: one.into(), other: other.into() };
    match (running, prompt, response, context) {
        (Some(_), Some(_), ..) => Err(contradiction("text", "prompt")),
        (Some(_), _, Some(_), _) => Err(contradiction("text", "response")),
        (Some(_), _, _, Some(_)) => Err(contradiction("text", "context")),
        (Some(text), ..) if is_blank(&text) => Err(RefusalReason::Empty { field: "text" }),
        (Some(text), ..) => Ok(Body::Text { text }),
        (None, Some(_), None, _) => Err(RefusalReason::Missing { field: "response" }),
        (None, None, Some(_), _) => Err(RefusalReason::Missing { field: "prompt" }),
        (None, None, None, _) => Err(RefusalReason::Missing { field: "text` or `prompt` with `response" }),
        (None, Some(_), Some(answer), _) if is_blank(&answer) => Err(RefusalReason::Empty { field: "response" }),
        (None, Some(prompt), Some(response), context) => Ok(Body::Dialog { prompt, response, context }),
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
