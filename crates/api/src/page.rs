//! Lists by page: every list of the API has this form.

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Page<T> {
    /// The items, in the order of the list; at most `limit`.
    pub items: Vec<T>,
    /// Where the next page begins: give it as `after`. Null on the last page.
    pub next: Option<String>,
}

/// Which page of a list is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Most items on the page, 1 to 500. Without it, 100.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "limit")]
    #[schemars(range(min = 1, max = 500))]
    pub limit: Option<u32>,
    /// The `next` of the page before. Without it, the first page.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "cursor")]
    #[schemars(length(min = 1, max = 200))]
    pub after: Option<String>,
}

/// Reads a limit within its bounds.
pub(crate) fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let limit = Option::<u32>::deserialize(deserializer)?;
    if limit.is_some_and(|limit| !(1..=PageQuery::LIMIT_MAX).contains(&limit)) {
        return Err(Error::custom(format!("`limit` is 1 to {}", PageQuery::LIMIT_MAX)));
    }
    Ok(limit)
}

/// Reads a cursor within its bounds.
pub(crate) fn cursor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let cursor = Option::<String>::deserialize(deserializer)?;
    if cursor.as_ref().is_some_and(|cursor| cursor.is_empty() || cursor.len() > PageQuery::CURSOR_MAX) {
        return Err(Error::custom(format!("`after` has 1 to {} bytes", PageQuery::CURSOR_MAX)));
    }
    Ok(cursor)
}

impl PageQuery {
    /// Items on a page when a request names no limit.
    pub const LIMIT: u32 = 100;
    /// Most items on a page.
    pub const LIMIT_MAX: u32 = 500;
    /// Bytes of the longest cursor.
    pub const CURSOR_MAX: usize = 200;

    /// The items that the page may have, 1 to [`PageQuery::LIMIT_MAX`].
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(Self::LIMIT).clamp(1, Self::LIMIT_MAX)
    }
}

impl<T> Page<T> {
    /// The page of `items`, of which one more than `limit` were read where there are more; `cursor`
    /// gives the place after an item.
    #[must_use]
    pub fn of(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, PageQuery};

    #[test]
    fn a_limit_or_cursor_out_of_bounds_is_refused() {
        let read = |text: &str| serde_json::from_str::<PageQuery>(text);
        assert_eq!(read(r#"{"limit":500,"after":"x"}"#).unwrap().limit(), 500);
        assert_eq!(read("{}").unwrap().limit(), PageQuery::LIMIT);
        for wrong in [r#"{"limit":0}"#, r#"{"limit":501}"#, r#"{"after":""}"#, r#"{"before":"x"}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_page_names_the_next_one_only_where_more_was_read() {
        let page = |items: Vec<u32>| Page::of(items, 2, u32::to_string);
        assert_eq!(page(vec![7, 8, 9]), Page { items: vec![7, 8], next: Some("8".into()) });
        assert_eq!(page(vec![7, 8]), Page { items: vec![7, 8], next: None });
    }
}
