//! The filter object of `eth_getLogs`, `eth_newFilter` and the subscription to logs.
//!
//! **Invariant:** a filter is looked at when it is handed in. One that could never be answered is
//! refused then, and the refusal names its field.

use alloy_primitives::{Address, B256};
use serde::Serialize;
use serde_json::Value;

use super::block_ref::BlockRef;
use super::params::read;
use super::wire::unfit;
use crate::rpc::RpcError;

/// Most topics of a log.
const TOPICS_MAX: usize = 4;

/// A filter of logs. What is none does not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LogFilter {
    /// First block; the newest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from_block: Option<BlockRef>,
    /// Last block; the newest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_block: Option<BlockRef>,
    /// The one block, instead of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) block_hash: Option<B256>,
    /// Contracts, any of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Vec<Address>>,
    /// At each place, any of the topics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    topics: Vec<Option<Vec<B256>>>,
}

impl LogFilter {
    /// Reads the filter object; none is a filter that takes every log.
    pub(super) fn read(filter: Option<&Value>) -> Result<Self, RpcError> {
        let Some(filter) = filter else { return Ok(Self::default()) };
        let Value::Object(fields) = filter else { return Err(unfit("filter", "an object is wanted")) };
        let height = |field: &str| fields.get(field).map(|value| BlockRef::read_height(field, value)).transpose();
        let (from_block, to_block) = (height("fromBlock")?, height("toBlock")?);
        let block_hash = fields.get("blockHash").map(|hash| read("blockHash", hash)).transpose()?;
        if block_hash.is_some() && (from_block.is_some() || to_block.is_some()) {
            return Err(unfit("blockHash", "cannot be given together with `fromBlock` or `toBlock`"));
        }
        if let (Some(BlockRef::Number(from)), Some(BlockRef::Number(to))) = (from_block, to_block)
            && from > to
        {
            return Err(unfit("fromBlock", format_args!("{from} is after `toBlock` {to}")));
        }
        let address = fields.get("address").map(addresses).transpose()?.flatten();
        let topics = fields.get("topics").map(topics).transpose()?.unwrap_or_default();
        Ok(Self { from_block, to_block, block_hash, address, topics })
    }

    /// The same logs of the blocks `from` to `to`.
    pub(super) fn within(&self, from: u64, to: u64) -> Self {
        Self {
            from_block: Some(BlockRef::Number(from)),
            to_block: Some(BlockRef::Number(to)),
            block_hash: None,
            ..self.clone()
        }
    }

    /// The same with a range that ends at `head`; none when it begins after it.
    pub(super) fn until(mut self, head: u64) -> Option<Self> {
        if matches!(self.from_block, Some(BlockRef::Number(from)) if from > head) {
            return None;
        }
        if matches!(self.to_block, Some(BlockRef::Number(to)) if to > head) {
            self.to_block = Some(BlockRef::Number(head));
        }
        Some(self)
    }
}

/// One address or a list; an empty list does not restrict.
fn addresses(value: &Value) -> Result<Option<Vec<Address>>, RpcError> {
    let Value::Array(items) = value else { return Ok(Some(vec![read("address", value)?])) };
    let addresses: Vec<Address> = items.iter().map(|item| read("address", item)).collect::<Result<_, _>>()?;
    Ok((!addresses.is_empty()).then_some(addresses))
}

fn topics(value: &Value) -> Result<Vec<Option<Vec<B256>>>, RpcError> {
    let Value::Array(places) = value else { return Err(unfit("topics", "a list is wanted")) };
    if places.len() > TOPICS_MAX {
        return Err(unfit("topics", format_args!("a log has at most {TOPICS_MAX}")));
    }
    places.iter().map(place).collect()
}

/// The topics of one place: null, one, or a list. A list that is empty or holds null does not
/// restrict.
fn place(value: &Value) -> Result<Option<Vec<B256>>, RpcError> {
    match value {
        Value::Null => Ok(None),
        Value::Array(choices) => {
            let topics: Vec<Option<B256>> = read("topics", &Value::Array(choices.clone()))?;
            let topics: Option<Vec<B256>> = topics.into_iter().collect();
            Ok(topics.filter(|topics| !topics.is_empty()))
        }
        topic => Ok(Some(vec![read("topics", topic)?])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_that_could_never_be_answered_is_refused_and_its_field_is_named() {
        let hash = B256::repeat_byte(7);
        for (filter, field) in [
            (json!({ "address": "0x12" }), "address"),
            (json!({ "address": [Address::ZERO, "0x12"] }), "address"),
            (json!({ "address": 7 }), "address"),
            (json!({ "topics": hash }), "topics"),
            (json!({ "topics": ["0x12"] }), "topics"),
            (json!({ "topics": [[hash, 7]] }), "topics"),
            (json!({ "topics": [null, null, null, null, null] }), "topics"),
            (json!({ "fromBlock": "12" }), "fromBlock"),
            (json!({ "fromBlock": "0x5", "toBlock": "0x4" }), "fromBlock"),
            (json!({ "toBlock": {} }), "toBlock"),
            (json!({ "toBlock": hash }), "toBlock"),
            (json!({ "blockHash": "0x12" }), "blockHash"),
            (json!({ "blockHash": hash, "fromBlock": "latest" }), "blockHash"),
            (json!("0x12"), "filter"),
            (json!([]), "filter"),
        ] {
            let refused = LogFilter::read(Some(&filter)).unwrap_err().to_string();
            assert!(refused.contains(&format!("`{field}`")), "{filter}: {refused}");
        }
    }

    #[test]
    fn a_filter_is_handed_on_in_one_form() {
        let (address, topic) = (Address::repeat_byte(1), B256::repeat_byte(2));
        let read = |filter: Value| json!(LogFilter::read(Some(&filter)).unwrap());
        assert_eq!(json!(LogFilter::read(None).unwrap()), json!({}));
        assert_eq!(read(json!({ "address": [], "topics": [] })), json!({}));
        let given = json!({ "address": address, "topics": [topic, null, [topic], []], "more": 1 });
        let topics = json!([[topic], null, [topic], null]);
        assert_eq!(read(given), json!({ "address": [address], "topics": topics }));
        let any = json!({ "topics": [[topic, null]], "fromBlock": "earliest", "toBlock": "finalized" });
        assert_eq!(read(any), json!({ "topics": [null], "fromBlock": "0x0", "toBlock": "latest" }));
    }

    #[test]
    fn a_range_ends_at_the_head() {
        let range = |from: &str, to: &str| LogFilter::read(Some(&json!({ "fromBlock": from, "toBlock": to }))).unwrap();
        assert_eq!(range("0x1", "0x9").until(5), Some(range("0x1", "0x5")));
        assert_eq!(range("0x1", "latest").until(5), Some(range("0x1", "latest")));
        assert_eq!(range("0x6", "0x9").until(5), None);
        assert_eq!(range("0x6", "latest").until(5), None);
        assert_eq!(range("0x1", "latest").within(7, 8), range("0x7", "0x8"));
    }
}
