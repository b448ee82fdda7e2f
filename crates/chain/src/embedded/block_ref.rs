//! The block that a parameter names: by tag, number or hash (EIP-1898).

use alloy_primitives::B256;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::wire::unfit;
use crate::rpc::RpcError;

/// A block as a parameter names it.
///
/// On this chain every block is final, so the tags `safe` and `finalized` mean the newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockRef {
    /// The newest block.
    Latest,
    /// The newest block, with the transactions that wait behind it.
    Pending,
    /// By number; 0 for `earliest`.
    Number(u64),
    /// By hash.
    Hash(B256),
}

impl BlockRef {
    /// Reads a parameter: a tag, a number, a hash, or an object of EIP-1898. `field` is its name in
    /// a refusal.
    pub(super) fn read(field: &str, value: &Value) -> Result<Self, RpcError> {
        let Value::Object(fields) = value else { return Self::read_text(field, value) };
        match (fields.get("blockHash"), fields.get("blockNumber")) {
            (Some(hash), None) => match Self::read_text("blockHash", hash)? {
                hash @ Self::Hash(_) => Ok(hash),
                _ => Err(unfit("blockHash", "a hash of 32 bytes is wanted")),
            },
            (None, Some(number)) => Self::read_height("blockNumber", number),
            (Some(_), Some(_)) => Err(unfit(field, "`blockHash` and `blockNumber` cannot be given together")),
            (None, None) => Err(unfit(field, "`blockHash` or `blockNumber` is wanted")),
        }
    }

    /// Reads a tag or a number, where a hash will not do.
    pub(super) fn read_height(field: &str, value: &Value) -> Result<Self, RpcError> {
        match Self::read_text(field, value)? {
            Self::Hash(_) => Err(unfit(field, "a number or a tag is wanted, not a hash")),
            height => Ok(height),
        }
    }

    fn read_text(field: &str, value: &Value) -> Result<Self, RpcError> {
        let wanted = || unfit(field, "a block's number (`0x…`), hash or tag is wanted");
        let text = value.as_str().ok_or_else(wanted)?;
        match text {
            "latest" | "safe" | "finalized" => return Ok(Self::Latest),
            "pending" => return Ok(Self::Pending),
            "earliest" => return Ok(Self::Number(0)),
            _ => {}
        }
        let digits = text.strip_prefix("0x").ok_or_else(wanted)?;
        if digits.len() == 64 {
            return text.parse().map(Self::Hash).map_err(|_| wanted());
        }
        let is_hex = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = if is_hex { u64::from_str_radix(digits, 16).ok() } else { None };
        number.map(Self::Number).ok_or_else(wanted)
    }
}

impl Serialize for BlockRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Latest => serializer.serialize_str("latest"),
            Self::Pending => serializer.serialize_str("pending"),
            Self::Number(number) => serializer.collect_str(&format_args!("{number:#x}")),
            Self::Hash(hash) => hash.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_block_is_named_by_tag_number_hash_or_object() {
        let hash = B256::repeat_byte(7);
        for (value, block) in [
            (json!("latest"), BlockRef::Latest),
            (json!("finalized"), BlockRef::Latest),
            (json!("pending"), BlockRef::Pending),
            (json!("earliest"), BlockRef::Number(0)),
            (json!("0xffffff"), BlockRef::Number(0xff_ffff)),
            (json!(hash), BlockRef::Hash(hash)),
            (json!({ "blockHash": hash, "requireCanonical": true }), BlockRef::Hash(hash)),
            (json!({ "blockNumber": "0x10" }), BlockRef::Number(16)),
            (json!({ "blockNumber": "safe" }), BlockRef::Latest),
        ] {
            assert_eq!(BlockRef::read("block", &value).unwrap(), block, "{value}");
        }
        assert_eq!(
            json!([BlockRef::Latest, BlockRef::Number(16), BlockRef::Hash(hash)]),
            json!(["latest", "0x10", hash])
        );
    }

    #[test]
    fn what_names_no_block_is_refused_and_the_field_is_named() {
        let hash = B256::repeat_byte(7);
        for (value, field) in [
            (json!("newest"), "block"),
            (json!("16"), "block"),
            (json!(16), "block"),
            (json!("0x"), "block"),
            (json!("0x+1"), "block"),
            (json!("0x1ffffffffffffffff"), "block"),
            (json!({}), "block"),
            (json!({ "blockHash": hash, "blockNumber": "0x1" }), "block"),
            (json!({ "blockHash": "0x1" }), "blockHash"),
            (json!({ "blockNumber": hash }), "blockNumber"),
        ] {
            let refused = BlockRef::read("block", &value).unwrap_err().to_string();
            assert!(refused.contains(&format!("`{field}`")), "{value}: {refused}");
        }
    }
}
