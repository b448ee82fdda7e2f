//! JSON-RPC 2.0 as it goes over the wire: requests, answers, refusals.
//!
//! Not here: what the methods do (`dispatch`).

use serde_json::{Value, json};

use crate::rpc::RpcError;

/// Code of a request that is not JSON.
pub(super) const NOT_JSON: i64 = -32700;
/// Code of JSON that is no request.
pub(super) const INVALID_REQUEST: i64 = -32600;
/// Code of a method that is not served.
pub(super) const NO_METHOD: i64 = -32601;
/// Code of parameters that do not fit the method.
pub(super) const INVALID_PARAMS: i64 = -32602;
/// Code of a fault of ours.
pub(super) const INTERNAL: i64 = -32603;
/// Code of what the pool refuses, of a filter that does not exist, and of other refusals without a
/// code of their own.
pub(super) const REFUSED: i64 = -32000;
/// Code of a resource that is not there (EIP-1474).
pub(super) const NOT_FOUND: i64 = -32001;

/// One request.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    /// What the answer is marked with; none for a notification, which gets no answer.
    pub(super) id: Option<Value>,
    /// The method.
    pub(super) method: String,
    /// Its parameters; null when there are none.
    pub(super) params: Value,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// The answer to what is no request. It is marked with null where the id cannot be told.
    pub(super) fn read(mut request: Value) -> Result<Self, Value> {
        let id = request.get_mut("id").map(Value::take);
        let params = request.get_mut("params").map(Value::take).unwrap_or_default();
        if matches!(id, Some(Value::Bool(_) | Value::Array(_) | Value::Object(_))) {
            return Err(envelope(Value::Null, Err(refuse(INVALID_REQUEST, "an id is a text, a number or null"))));
        }
        match request.get("method").and_then(Value::as_str) {
            Some(method) => Ok(Self { id, method: method.to_owned(), params }),
            None => {
                let refused = refuse(INVALID_REQUEST, "the request names no method");
                Err(envelope(id.unwrap_or_default(), Err(refused)))
            }
        }
    }
}

/// A refusal with a JSON-RPC code.
pub(super) fn refuse(code: i64, message: &str) -> RpcError {
    RpcError::Refused { code, message: message.to_owned(), data: None }
}

/// The refusal of a parameter, or of a field of one, which it names.
pub(super) fn unfit(field: &str, why: impl std::fmt::Display) -> RpcError {
    refuse(INVALID_PARAMS, &format!("`{field}`: {why}"))
}

/// The refusal for a fault of ours.
pub(super) fn internal(error: impl std::fmt::Display) -> RpcError {
    refuse(INTERNAL, &error.to_string())
}

/// Wraps a result into the JSON-RPC 2.0 envelope.
pub(super) fn envelope(id: Value, result: Result<Value, RpcError>) -> Value {
    let error = match result {
        Ok(result) => return json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(RpcError::Refused { code, message, data: Some(data) }) => {
            json!({ "code": code, "message": message, "data": data })
        }
        Err(RpcError::Refused { code, message, data: None }) => json!({ "code": code, "message": message }),
        Err(other) => json!({ "code": INTERNAL, "message": other.to_string() }),
    };
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_an_id_is_a_notification_and_one_with_null_is_not() {
        let read = |request: Value| Request::read(request).unwrap();
        assert_eq!(read(json!({ "method": "eth_chainId" })).id, None);
        assert_eq!(read(json!({ "id": null, "method": "eth_chainId" })).id, Some(Value::Null));
        assert_eq!(read(json!({ "id": "a", "method": "eth_chainId" })).id, Some(json!("a")));
    }

    #[test]
    fn what_is_no_request_is_answered_with_its_id_where_that_can_be_told() {
        for (wrong, id) in [
            (json!(5), json!(null)),
            (json!({}), json!(null)),
            (json!({ "id": 7, "method": 1 }), json!(7)),
            (json!({ "id": [7], "method": "eth_chainId" }), json!(null)),
        ] {
            let answer = Request::read(wrong).unwrap_err();
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(INVALID_REQUEST)));
        }
    }
}
