//! What all methods' parameters have in common, before a method sees them.
//!
//! # Invariants
//!
//! - In an object, null means that the field is absent, as other nodes have it; so does null at the
//!   end of the list. In a list it stays, because a topic that is null stands for every topic.
//! - A refusal names the field.

use ethrex_common::Address;
use ethrex_common::types::GenericTransaction;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::wire::unfit;
use crate::rpc::RpcError;

/// Takes away what is null and so absent.
pub(super) fn drop_nulls(params: &mut Vec<Value>) {
    while params.last().is_some_and(Value::is_null) {
        params.pop();
    }
    params.iter_mut().for_each(drop_null_fields);
}

fn drop_null_fields(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_null_fields);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null_fields),
        _ => {}
    }
}

/// Refuses a first parameter that the method cannot take. One that is missing is left to the
/// method.
pub(super) fn check(method: &str, params: &[Value]) -> Result<(), RpcError> {
    let Some(first) = params.first() else { return Ok(()) };
    match method {
        "eth_getBalance" | "eth_getCode" | "eth_getTransactionCount" | "eth_getStorageAt" | "eth_getProof" => {
            read::<Address>("address", first).map(drop)
        }
        "eth_call" | "eth_estimateGas" | "eth_createAccessList" => check_transaction(first),
        _ => Ok(()),
    }
}

/// Reads a parameter, or a field of one.
pub(super) fn read<T: DeserializeOwned>(field: &str, value: &Value) -> Result<T, RpcError> {
    T::deserialize(value).map_err(|error| unfit(field, error))
}

/// Looks at each field of a transaction to be executed by itself, so that a refusal can name it.
fn check_transaction(transaction: &Value) -> Result<(), RpcError> {
    let Value::Object(fields) = transaction else {
        return Err(unfit("transaction", "an object is wanted"));
    };
    let Err(whole) = serde_json::from_value::<GenericTransaction>(transaction.clone()) else { return Ok(()) };
    for (field, value) in fields {
        read::<GenericTransaction>(field, &json!({ field.as_str(): value }))?;
    }
    Err(unfit("transaction", whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_absent_in_objects_at_any_depth_and_at_the_end_and_stays_in_lists() {
        let mut params = vec![
            json!({ "to": "0x11", "from": null, "accessList": [{ "address": "0x12", "storageKeys": null }] }),
            json!(["a", null]),
            json!({ "topics": [null, ["b", null]] }),
            json!(null),
            json!(null),
        ];
        drop_nulls(&mut params);
        let left = [
            json!({ "to": "0x11", "accessList": [{ "address": "0x12" }] }),
            json!(["a", null]),
            json!({ "topics": [null, ["b", null]] }),
        ];
        assert_eq!(params, left);
        let mut first_is_null = vec![json!(null), json!("latest")];
        drop_nulls(&mut first_is_null);
        assert_eq!(first_is_null, [json!(null), json!("latest")]);
    }

    #[test]
    fn the_field_that_does_not_fit_is_named() {
        let to = "0x1111111111111111111111111111111111111111";
        for (field, value) in [
            ("from", json!("0x12")),
            ("to", json!("12")),
            ("value", json!("many")),
            ("data", json!(7)),
            ("input", json!("0xzz")),
            ("gas", json!("0xg")),
            ("gasPrice", json!({})),
            ("nonce", json!(-1)),
            ("maxFeePerGas", json!("0x")),
            ("accessList", json!("none")),
            ("accessList", json!([{ "address": to, "storageKeys": ["0x1"] }])),
            ("chainId", json!("x")),
            ("type", json!("0x99")),
        ] {
            let mut transaction = json!({ "to": to });
            transaction[field] = value;
            let refused = check("eth_call", &[transaction.clone()]).unwrap_err().to_string();
            assert!(refused.contains(&format!("`{field}`")), "{transaction}: {refused}");
        }
        let refused = check("eth_getBalance", &[json!("0x12"), json!("latest")]).unwrap_err().to_string();
        assert!(refused.contains("`address`"), "{refused}");
        assert!(check("eth_call", &[json!("0x")]).is_err());
        let different = json!({ "to": to, "data": "0x01", "input": "0x02" });
        assert!(check("eth_call", &[different]).unwrap_err().to_string().contains("`data` and `input`"));
    }

    #[test]
    fn what_clients_send_fits() {
        let to = "0x1111111111111111111111111111111111111111";
        for transaction in [
            json!({}),
            json!({ "data": "0x6000" }),
            json!({ "to": to, "value": "0x0", "gas": "0x5208", "type": "0x2", "chainId": "0xa42" }),
            json!({ "from": to, "to": to, "data": "0x01", "input": "0x01", "accessList": [] }),
        ] {
            check("eth_estimateGas", &[transaction]).unwrap();
        }
    }
}
