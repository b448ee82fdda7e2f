//! Lists, page by page.

use serde::de::DeserializeOwned;

use super::{Client, Result, segment};
use crate::Page;

/// A list that is read page by page, from the first page on.
#[derive(Debug)]
pub struct Pages<'a, T> {
    client: &'a Client,
    path: String,
    limit: Option<u32>,
    after: Option<String>,
    begun: bool,
    _items: std::marker::PhantomData<fn() -> T>,
}

impl<'a, T: DeserializeOwned> Pages<'a, T> {
    /// The list at `path`, which may have a query.
    pub(super) fn new(client: &'a Client, path: String) -> Self {
        let _items = std::marker::PhantomData;
        Self { client, path, limit: None, after: None, begun: false, _items }
    }

    /// Asks for at most `limit` items a page, 1 to [`crate::PageQuery::LIMIT_MAX`].
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// [`super::ClientError`] of the call; the same page is read by the next call then.
    pub async fn next(&mut self) -> Result<Option<Page<T>>> {
        if self.begun && self.after.is_none() {
            return Ok(None);
        }
        let mut query = Vec::new();
        query.extend(self.limit.map(|limit| format!("limit={limit}")));
        query.extend(self.after.as_deref().map(|after| format!("after={}", segment(after))));
        let path = match (query.is_empty(), self.path.contains('?')) {
            (true, _) => self.path.clone(),
            (false, false) => format!("{}?{}", self.path, query.join("&")),
            (false, true) => format!("{}&{}", self.path, query.join("&")),
        };
        let page: Page<T> = self.client.get(&path).await?;
        self.begun = true;
        self.after.clone_from(&page.next);
        Ok(Some(page))
    }

    /// All items, read with one request a page.
    ///
    /// # Errors
    /// [`super::ClientError`] of the first call that fails.
    pub async fn all(mut self) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while let Some(page) = self.next().await? {
            items.extend(page.items);
        }
        Ok(items)
    }
}
