//! One module a noun: its arguments and what it does with them.

pub(crate) mod absent;
mod answering;
pub(crate) mod ask;
pub(crate) mod audit;
pub(crate) mod channel;
pub(crate) mod claim;
pub(crate) mod datanet;
pub(crate) mod deploy;
pub(crate) mod epoch;
pub(crate) mod influence;
pub(crate) mod job;
mod keys;
pub(crate) mod model;
pub(crate) mod node;
pub(crate) mod offering;
mod origins;
pub(crate) mod progress;
pub(crate) mod receipt;
mod reexecute;
mod rows;
pub(crate) mod serve;
mod signing;
pub(crate) mod trace;
pub(crate) mod train;

use std::sync::atomic::{AtomicU64, Ordering};

use openledger_api::client::{ClientError, Pages};
use openledger_api::{Page, PageQuery};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::rows::Row;
use crate::console::table;
use crate::error::{CliError, Exit, Result};

/// Runs computation off the threads that serve I/O.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(CliError::refused(Exit::Failure, format!("the work broke off: {error}; report this")))
    })
}

/// Prints a JSON document for `--json`.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Length of a printed list.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// Maximum number of printed items.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// Prints the first items of a list: a table, or one page as JSON.
pub(crate) async fn print_list<T: Row + Serialize + DeserializeOwned>(
    pages: Pages<'_, T>,
    list: &ListArgs,
    json: bool,
) -> Result<()> {
    let most = u32::try_from(list.limit).unwrap_or(u32::MAX).clamp(1, PageQuery::LIMIT_MAX);
    let mut pages = pages.limit(most);
    let (mut items, mut next) = (Vec::new(), None);
    while items.len() < list.limit
        && let Some(page) = pages.next().await?
    {
        items.extend(page.items);
        next = page.next;
    }
    items.truncate(list.limit);
    if json {
        return print_json(&Page { items, next });
    }
    print_table(&items);
    Ok(())
}

/// Prints items as a table.
pub(crate) fn print_table<T: Row>(items: &[T]) {
    let rows: Vec<Vec<String>> = items.iter().map(T::cells).collect();
    println!("{}", table(T::HEAD, &rows));
}

/// A struct as one line of `name=value`.
pub(crate) fn flat(item: &impl Serialize) -> Result<String> {
    let value = serde_json::to_value(item)?;
    let Value::Object(members) = value else { return Ok(value.to_string()) };
    let parts = members.iter().map(|(name, value)| match value {
        Value::String(text) => format!("{name}={}", crate::console::short(text, 80)),
        other => format!("{name}={}", crate::console::one_line(&other.to_string())),
    });
    Ok(parts.collect::<Vec<_>>().join("  "))
}

/// An idempotency key for one call. A repeat of the command gets a response of its own, not the one
/// that the node kept: for calls that the node itself recognises, and whose response may change.
pub(crate) fn fresh_key(call: &str) -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{call}/{}-{}-{}", now.as_nanos(), std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed))
}

/// The idempotency key of `body`: a repeat with the same body gets the kept response, and another
/// body has another key.
pub(crate) fn body_key(call: &str, body: &impl Serialize) -> Result<String> {
    Ok(format!("{call}/{}", openledger_protocol::sha256(serde_json::to_string(body)?)))
}

/// For `map_err` after the title `title` was registered or named: how to go on with it, so that a
/// repeat registers no second one.
pub(crate) fn with_title(title: impl std::fmt::Display) -> impl FnOnce(ClientError) -> CliError {
    move |error| {
        let error = CliError::from(error);
        let message = format!(
            "{}; title {title} is on chain: give --title {title} to go on with it",
            crate::error::with_causes(&error)
        );
        CliError::refused(error.exit(), message)
    }
}

/// A name as the node keeps it.
///
/// # Errors
/// [`Exit::Usage`] with the reason when it is not a name.
pub(crate) fn checked_name(name: &str) -> Result<String> {
    openledger_datanet::title_name(name).map_err(|reason| CliError::refused(Exit::Usage, reason.to_string()))
}

/// The time, in Unix seconds.
fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_in_one_line_moves_no_cursor() {
        let item = serde_json::json!({ "at": 7, "names": ["a\u{9b}2J"], "what": "b\n\u{1b}[2J" });
        assert_eq!(flat(&item).unwrap(), "at=7  names=[\"a\\u{9b}2J\"]  what=b \\u{1b}[2J");
    }

    #[test]
    fn a_repeated_call_has_a_key_of_its_own_and_a_repeated_body_has_the_same() {
        assert_ne!(fresh_key("import"), fresh_key("import"));
        assert_eq!(body_key("keys", &["a"]).unwrap(), body_key("keys", &["a"]).unwrap());
        assert_ne!(body_key("keys", &["a"]).unwrap(), body_key("keys", &["b"]).unwrap());
        // The node takes keys of up to 200 bytes.
        assert!(fresh_key("import").len() <= 200 && body_key("keys", &["a"]).unwrap().len() <= 200);
    }
}
