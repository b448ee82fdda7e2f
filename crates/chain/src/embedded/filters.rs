//! Filters for new blocks and for logs (`eth_newBlockFilter`, `eth_newFilter`).
//!
//! Ours, because the ethrex handlers have none for blocks, and report the logs of a block twice. A
//! filter is what it asks for and the number of the last block it reported.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::logs::LogFilter;

/// Filters kept; the oldest goes when one more is made, so that forgotten ones cannot pile up.
const FILTERS_MAX: usize = 1_000;

/// What a filter reports.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// Hashes of new blocks.
    Blocks,
    /// Logs by this filter.
    Logs(LogFilter),
}

/// The filters of one chain.
#[derive(Default)]
pub(super) struct Filters {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    made: u64,
    filters: BTreeMap<u64, (Wanted, u64)>,
}

impl Filters {
    /// Adds a filter that reports what comes above `head`; the result is its id.
    pub(super) fn add(&self, wanted: Wanted, head: u64) -> String {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.made += 1;
        let number = state.made;
        state.filters.insert(number, (wanted, head));
        if state.filters.len() > FILTERS_MAX {
            state.filters.pop_first();
        }
        format!("{number:#x}")
    }

    /// What the filter in `params` asks for.
    pub(super) fn wanted(&self, params: &[Value]) -> Option<Wanted> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.filters.get(&number(params)?).map(|(wanted, _)| wanted.clone())
    }

    /// Forgets a filter; false when it was not there.
    pub(super) fn remove(&self, params: &[Value]) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        number(params).is_some_and(|number| state.filters.remove(&number).is_some())
    }

    /// Marks everything up to `head` as reported; the result is what is wanted, and what was
    /// reported before.
    pub(super) fn advance(&self, params: &[Value], head: u64) -> Option<(Wanted, u64)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (wanted, last) = state.filters.get_mut(&number(params)?)?;
        let before = std::mem::replace(last, head.max(*last));
        Some((wanted.clone(), before))
    }
}

/// The running number in an id.
fn number(params: &[Value]) -> Option<u64> {
    u64::from_str_radix(params.first()?.as_str()?.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_reports_each_block_once() {
        let filters = Filters::default();
        let id = [json!(filters.add(Wanted::Blocks, 5))];
        assert_eq!(filters.advance(&id, 8), Some((Wanted::Blocks, 5)));
        assert_eq!(filters.advance(&id, 8), Some((Wanted::Blocks, 8)));
        assert!(filters.remove(&id));
        assert_eq!(filters.advance(&id, 9), None);
        assert!(!filters.remove(&id));
    }

    #[test]
    fn what_is_no_id_names_no_filter() {
        let filters = Filters::default();
        filters.add(Wanted::Blocks, 5);
        for id in [json!("1"), json!(1), json!("0xffffffffffffffffff"), json!(null)] {
            assert_eq!(filters.wanted(&[id]), None);
        }
        assert_eq!(filters.wanted(&[]), None);
    }

    #[test]
    fn forgotten_filters_do_not_pile_up() {
        let filters = Filters::default();
        let first = [json!(filters.add(Wanted::Blocks, 0))];
        for _ in 0..FILTERS_MAX {
            filters.add(Wanted::Logs(LogFilter::default()), 0);
        }
        assert_eq!(filters.advance(&first, 1), None);
    }
}
