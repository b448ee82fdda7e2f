//! Canonical JSON: the one byte form of a JSON value that is hashed.
//!
//! A subset of RFC 8785 (JCS): members sorted by their UTF-16 code units, no white space, minimal
//! escapes. Numbers must be integers within ±2⁵³; records that need more write decimal strings. So
//! no float ever decides a hash.

use serde::Serialize;
use serde_json::Value;

/// The reason why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// A number is a fraction or too large; write it as a decimal string.
    #[error("number {0} has no canonical form: use an integer within ±2^53 or a decimal string")]
    Number(serde_json::Number),
    /// The value does not serialise.
    #[error("value does not serialise")]
    Serialise(#[from] serde_json::Error),
}

/// The canonical JSON text of `value`.
///
/// # Errors
/// [`CanonicalError`] when a number is not a safe integer or `value` does not serialise.
pub fn canonical_json(value: &impl Serialize) -> Result<String, CanonicalError> {
    let mut out = String::new();
    write(&serde_json::to_value(value)?, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut String) -> Result<(), CanonicalError> {
    match value {
        Value::Number(number) => {
            const SAFE: i64 = 1 << 53;
            let safe = number.as_i64().filter(|n| (-SAFE..=SAFE).contains(n));
            out.push_str(&safe.ok_or_else(|| CanonicalError::Number(number.clone()))?.to_string());
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (at, (name, member)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&serde_json::to_string(name)?);
                out.push(':');
                write(member, out)?;
            }
            out.push('}');
        }
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&serde_json::to_string(value)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_sorted_and_white_space_is_gone() {
        let text = canonical_json(&json!({"b": [1, -2, true, null], "a": "é\n\"", "€": {}})).unwrap();
        assert_eq!(text, r#"{"a":"é\n\"","b":[1,-2,true,null],"€":{}}"#);
    }

    #[test]
    fn floats_and_huge_numbers_are_refused() {
        for bad in [json!(1.5), json!(1u64 << 60), json!(-(1i64 << 60))] {
            assert!(matches!(canonical_json(&bad), Err(CanonicalError::Number(_))), "{bad}");
        }
    }
}
