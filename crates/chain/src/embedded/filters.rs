//! Block filters (`eth_newBlockFilter`), which the ethrex handlers do not have.
//!
//! A filter is the number of the last block it reported. Ids start with a prefix of their own, so that the other
//! filter methods can tell them from log filters, which stay with the handlers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Filters kept; the oldest goes when one more is made, so that forgotten ones cannot pile up.
const FILTERS_MAX: usize = 1_000;
/// What our ids begin with; below it follows a running number.
const PREFIX: u128 = 0xb10c << 64;

/// The block filters of one chain.
#[derive(Default)]
pub(super) struct BlockFilters {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    made: u64,
    last_reported: BTreeMap<u64, u64>,
}

impl BlockFilters {
    /// Adds a filter that reports blocks above `head`; the result is its id.
    pub(super) fn add(&self, head: u64) -> String {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.made += 1;
        let number = state.made;
        state.last_reported.insert(number, head);
        if state.last_reported.len() > FILTERS_MAX {
            state.last_reported.pop_first();
        }
        format!("{:#x}", PREFIX + u128::from(number))
    }

    /// Whether `params` names one of our ids, existing or not.
    pub(super) fn owns(&self, params: &[Value]) -> bool {
        number(params).is_some()
    }

    /// Forgets a filter; false when it was not there.
    pub(super) fn remove(&self, params: &[Value]) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        number(params).is_some_and(|number| state.last_reported.remove(&number).is_some())
    }

    /// Marks everything up to `head` as reported; the result is what was reported before.
    pub(super) fn advance(&self, params: &[Value], head: u64) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let last = state.last_reported.get_mut(&number(params)?)?;
        Some(std::mem::replace(last, head.max(*last)))
    }
}

/// The running number in an id of ours.
fn number(params: &[Value]) -> Option<u64> {
    let id = params.first()?.as_str()?.strip_prefix("0x")?;
    let id = u128::from_str_radix(id, 16).ok()?;
    u64::try_from(id.checked_sub(PREFIX)?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_reports_each_block_once() {
        let filters = BlockFilters::default();
        let id = [json!(filters.add(5))];
        assert_eq!(filters.advance(&id, 8), Some(5));
        assert_eq!(filters.advance(&id, 8), Some(8));
        assert!(filters.remove(&id));
        assert_eq!(filters.advance(&id, 9), None);
    }

    #[test]
    fn ids_of_log_filters_are_not_ours() {
        let filters = BlockFilters::default();
        assert!(!filters.owns(&[json!("0xffffffffffffffff")]));
        assert!(!filters.owns(&[json!("b10c")]));
        assert!(!filters.owns(&[]));
    }

    #[test]
    fn forgotten_filters_do_not_pile_up() {
        let filters = BlockFilters::default();
        let first = [json!(filters.add(0))];
        for _ in 0..FILTERS_MAX {
            filters.add(0);
        }
        assert_eq!(filters.advance(&first, 1), None);
    }
}
