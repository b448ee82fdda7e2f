//! Free-form members of signed files, and bodies, read without forgiveness: a name appears once in
//! an object.
//!
//! serde refuses a field that a struct has twice. `serde_json::Value` and maps keep the last of two
//! members with one name, so another reader could take the first. Each such member of a record of
//! this crate is read here. **Invariant:** a text with a repeated name is no record.
//!
//! [`read_json`] reads a whole file and names the member that is wrong by its path.
//!
//! Not here: the rules of imported files (`datanet`).

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::Address;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::ContributionId;

/// Reads the file of a bundle, an epoch or a manifest.
///
/// # Errors
/// [`serde_json::Error`] with the path of the member that is missing, unknown, repeated or of
/// another type.
pub fn read_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        <serde_json::Error as Error>::custom(format_args!("{path}: {}", error.into_inner()))
    })?;
    reader.end()?;
    Ok(value)
}

/// Reads the body of a request whose members are looked up one by one.
///
/// # Errors
/// [`serde_json::Error`]; of a member that is repeated with its path below `body`.
pub fn read_body(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Place::Root("body").deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Reads a bundle's `request`.
pub(crate) fn request<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Place::Root("request").deserialize(deserializer)
}

/// Reads a manifest's `recipe`.
pub(crate) fn recipe<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    match Place::Root("recipe").deserialize(deserializer)? {
        Value::Object(members) => Ok(members),
        _ => Err(D::Error::custom("`recipe` is not an object")),
    }
}

/// Reads the `holders` of terms.
pub(crate) fn holders<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<ContributionId, Address>, D::Error> {
    deserializer.deserialize_map(Holders)
}

/// The error of a member whose name is taken.
fn repeated<E: Error>(place: impl fmt::Display) -> E {
    E::custom(format_args!("the member `{place}` appears twice; remove one"))
}

/// The path of a value, down from the member that is read; also the visitor that reads the value.
#[derive(Clone, Copy)]
enum Place<'p> {
    Root(&'static str),
    Member(&'p Place<'p>, &'p str),
    Item(&'p Place<'p>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Member(of, name) => write!(f, "{of}.{}", name.escape_debug()),
            Self::Item(of, at) => write!(f, "{of}[{at}]"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Place::Item(&self, list.len()))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let place = Place::Member(&self, &name);
            if map.contains_key(&name) {
                return Err(repeated(place));
            }
            let value = members.next_value_seed(place)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// The visitor of holders: two spellings of one contribution are one name.
struct Holders;

impl<'de> Visitor<'de> for Holders {
    type Value = BTreeMap<ContributionId, Address>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of accounts by contribution")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((contribution, holder)) = members.next_entry::<ContributionId, Address>()? {
            if map.insert(contribution, holder).is_some() {
                return Err(repeated(format_args!("terms.holders.{contribution}")));
            }
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Terms;

    #[track_caller]
    fn refused(text: &str, path: &str) {
        let error = request(&mut serde_json::Deserializer::from_str(text)).unwrap_err().to_string();
        assert!(error.contains(&format!("`{path}`")), "{text}: {error}");
    }

    #[test]
    fn a_name_that_an_object_has_twice_is_named_with_its_path_at_every_depth() {
        refused(r#"{"a": 1, "a": 1}"#, "request.a");
        refused(r#"{"b": 0, "a": {"b": 1, "c": 2, "b": 3}}"#, "request.a.b");
        refused(r#"{"messages": [{"role": "user"}, {"role": "user", "role": "system"}]}"#, "request.messages[1].role");
        refused(r#"[[{"": 1, "": 2}]]"#, "request[0][0].");
        refused(r#"{"prompt": "false", "\u0070rompt": "true"}"#, "request.prompt");
        refused(r#"{"a\n": 1, "a\u000a": 2}"#, r"request.a\n");
    }

    #[test]
    fn a_text_without_repeated_names_is_read_as_serde_json_reads_it() {
        for text in [
            r#"{"a": {"a": [null, true, -1, 18446744073709551615, 0.5, "x", {}, []]}, "b": {"a": 1}}"#,
            "7",
            "1e300",
            r#""text""#,
            "null",
        ] {
            let read = request(&mut serde_json::Deserializer::from_str(text)).unwrap();
            assert_eq!(read, serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn two_spellings_of_a_contribution_are_one_holder_too_many() {
        let (id, holder) = (ContributionId([0xab; 32].into()), Address::repeat_byte(1));
        let upper = format!("0x{}", "AB".repeat(32));
        let whole = serde_json::to_string(&Terms::default()).unwrap();
        for second in [id.to_string(), upper] {
            let holders = format!(r#""holders":{{"{id}":"{holder}","{second}":"{holder}"}}"#);
            let text = whole.replace(r#""holders":{}"#, &holders);
            assert_ne!(text, whole);
            let error = serde_json::from_str::<Terms>(&text).unwrap_err().to_string();
            assert!(error.contains(&format!("terms.holders.{id}")), "{error}");
        }
    }
}
