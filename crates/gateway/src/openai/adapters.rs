//! Requests that load and unload adapters and ensembles.

use openledger_api::openai::{EnsembleShare, LoadLoraAdapter, NewEnsemble, UnloadLoraAdapter};
use serde_json::Value;

use super::error::ApiError;
use super::fields::Fields;
use super::request::Parsed;

/// Reads a body of `/v1/load_lora_adapter`.
///
/// # Errors
/// [`ApiError`] with the member that is wrong.
pub(crate) fn load_request(body: &Value) -> Result<Parsed<LoadLoraAdapter>, ApiError> {
    let mut fields = Fields::new(body)?;
    let request = LoadLoraAdapter {
        lora_name: text(&mut fields, "lora_name")?,
        lora_path: text(&mut fields, "lora_path")?,
        load_inplace: fields.flag("load_inplace")?,
        adapter_hash: fields.string("adapter_hash")?,
    };
    Ok(Parsed { request, ignored: fields.left() })
}

/// Reads a body of `/v1/unload_lora_adapter`.
///
/// # Errors
/// [`ApiError`] about `lora_name`.
pub(crate) fn unload_request(body: &Value) -> Result<Parsed<UnloadLoraAdapter>, ApiError> {
    let mut fields = Fields::new(body)?;
    let request = UnloadLoraAdapter { lora_name: text(&mut fields, "lora_name")? };
    Ok(Parsed { request, ignored: fields.left() })
}

/// Reads a body of `/v1/ensembles`; weights are checked by the ensemble that is made.
///
/// # Errors
/// [`ApiError`] with the member that is wrong.
pub(crate) fn ensemble_request(body: &Value) -> Result<Parsed<NewEnsemble>, ApiError> {
    let mut fields = Fields::new(body)?;
    let name = text(&mut fields, "name")?;
    let Some(Value::Array(members)) = fields.take("members") else {
        return Err(ApiError::invalid("members", "`members` must be an array of `{model, weight}`"));
    };
    let member = |(at, member): (usize, &Value)| {
        let bad = |what: &str| ApiError::invalid("members", format!("`members[{at}].{what}"));
        let weight = member["weight"].as_f64().ok_or_else(|| bad("weight` must be a number"))?;
        let model = member["model"].as_str().ok_or_else(|| bad("model` must be the name or hash of an adapter"))?;
        Ok(EnsembleShare { model: model.to_owned(), weight })
    };
    let members = members.iter().enumerate().map(member).collect::<Result<_, ApiError>>()?;
    let request = NewEnsemble { name, members, load_inplace: fields.flag("load_inplace")? };
    Ok(Parsed { request, ignored: fields.left() })
}

/// A member that must be a text.
fn text(fields: &mut Fields, name: &str) -> Result<String, ApiError> {
    match fields.take(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(ApiError::invalid(name, format!("`{name}` must be a text"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_body_is_named() {
        for (body, param) in [
            (json!({ "lora_path": "a" }), "lora_name"),
            (json!({ "lora_name": "a", "lora_path": "" }), "lora_path"),
            (json!({ "lora_name": "a", "lora_path": "a", "load_inplace": "yes" }), "load_inplace"),
            (json!({ "lora_name": "a", "lora_path": "a", "adapter_hash": 7 }), "adapter_hash"),
        ] {
            assert_eq!(load_request(&body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
        assert_eq!(unload_request(&json!({})).unwrap_err().param.as_deref(), Some("lora_name"));
        let members = json!([{ "model": "b", "weight": 1 }]);
        for (body, param) in [
            (json!({ "members": members }), "name"),
            (json!({ "name": 7, "members": members }), "name"),
            (json!({ "name": "a" }), "members"),
            (json!({ "name": "a", "members": { "model": "b", "weight": 1 } }), "members"),
            (json!({ "name": "a", "members": ["b"] }), "members"),
            (json!({ "name": "a", "members": [{ "model": "b", "weight": "1" }] }), "members"),
            (json!({ "name": "a", "members": [{ "model": 7, "weight": 1 }] }), "members"),
            (json!({ "name": "a", "members": members, "load_inplace": "yes" }), "load_inplace"),
            (json!([]), "body"),
        ] {
            assert_eq!(ensemble_request(&body).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
        let read = ensemble_request(&json!({ "name": "a", "members": members })).unwrap().request;
        assert_eq!((read.members[0].model.as_str(), read.members[0].weight, read.load_inplace), ("b", 1.0, None));
    }

    #[test]
    fn members_that_are_not_known_are_named() {
        let load = json!({ "lora_name": "a", "lora_path": "a", "zebra": 1, "owl": 2 });
        assert_eq!(load_request(&load).unwrap().ignored, ["owl", "zebra"]);
        let unload = json!({ "lora_name": "a", "lora_int_id": 1 });
        assert_eq!(unload_request(&unload).unwrap().ignored, ["lora_int_id"]);
        let ensemble = json!({ "name": "a", "members": [{ "model": "b", "weight": 1 }], "zebra": 1 });
        assert_eq!(ensemble_request(&ensemble).unwrap().ignored, ["zebra"]);
    }
}
