//! Cursors of lists: the `after` of a page, as a list's `next` gave it.

use openledger_api::PageQuery;

use crate::error::{Blame, NodeError, Result};

/// The refusal of a cursor that a list did not give.
pub(crate) fn bad_cursor() -> NodeError {
    NodeError::refused(Blame::Request, "bad-parameter", "`after` is not a cursor of this list")
}

/// The number after which a page begins; `None` for the first page.
///
/// # Errors
///
/// `bad-parameter` when it is not a number.
pub(crate) fn number(page: &PageQuery) -> Result<Option<u64>> {
    page.after.as_deref().map(|after| after.parse().map_err(|_| bad_cursor())).transpose()
}

/// Both parts of a cursor that a hyphen joins.
///
/// # Errors
///
/// `bad-parameter` when a part is missing or malformed.
pub(crate) fn pair<A: std::str::FromStr, B: std::str::FromStr>(after: &str) -> Result<(A, B)> {
    let (first, second) = after.split_once('-').ok_or_else(bad_cursor)?;
    let first = first.parse().map_err(|_| bad_cursor())?;
    Ok((first, second.parse().map_err(|_| bad_cursor())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(cursor: &str) -> PageQuery {
        PageQuery { limit: None, after: Some(cursor.to_owned()) }
    }

    #[test]
    fn a_cursor_is_read_whole_or_refused() {
        assert_eq!(number(&PageQuery::default()).unwrap(), None);
        assert_eq!(number(&after("7")).unwrap(), Some(7));
        assert_eq!(pair::<u64, u32>("7-8").unwrap(), (7, 8));
        for cursor in ["", "first", "-7", "7-"] {
            assert_eq!(number(&after(cursor)).unwrap_err().code(), "bad-parameter", "{cursor}");
        }
        for cursor in ["", "7", "7-", "-8", "7-8-9"] {
            assert_eq!(pair::<u64, u32>(cursor).unwrap_err().code(), "bad-parameter", "{cursor}");
        }
    }
}
