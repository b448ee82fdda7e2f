//! One WebSocket connection: the same methods as by POST, and `eth_subscribe` to `newHeads` and
//! `logs`.
//!
//! # Invariants
//!
//! - Each connection follows the head's number by itself and sends every block in between, so none
//!   is skipped.
//! - **Bounded.** There is no queue: the news of one block are made when those of the block before
//!   are written. A reader that takes longer than its patience for one message, or is more than
//!   [`BEHIND_MAX`] blocks behind, is dropped; it connects again and reads what it missed by
//!   `eth_getLogs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use serde_json::{Value, json};

use super::dispatch::Dispatch;
use super::logs::LogFilter;
use super::params::drop_nulls;
use super::wire::{INVALID_PARAMS, NOT_JSON, REFUSED, Request, envelope, refuse};
use crate::rpc::RpcError;

/// Most subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 128;
/// How many blocks a reader may be behind.
const BEHIND_MAX: u64 = 1_024;

/// What a subscriber wants to hear of.
enum Topic {
    /// Headers of new blocks.
    NewHeads,
    /// Logs of new blocks by this filter, whatever range it names.
    Logs(LogFilter),
}

struct Connection {
    dispatch: Arc<Dispatch>,
    subscriptions: BTreeMap<String, Topic>,
    made: u64,
}

/// Serves one connection until either side closes it, its reader is too slow, or the chain stops.
///
/// `patience` is how long one message may take to be written.
pub(super) async fn serve(mut socket: WebSocket, dispatch: Arc<Dispatch>, patience: Duration) {
    let mut head = dispatch.head.clone();
    let mut sent = *head.borrow_and_update();
    let mut connection = Connection { dispatch, subscriptions: BTreeMap::new(), made: 0 };
    loop {
        let messages = tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => connection.answer(text.as_bytes()).await.into_iter().collect(),
                Some(Ok(Message::Binary(bytes))) => connection.answer(&bytes).await.into_iter().collect(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            // One block at a time, so that requests are answered in between and nothing piles up.
            newest = async { head.wait_for(|&newest| newest > sent).await.map(|newest| *newest) } => {
                let Ok(newest) = newest else { return };
                if connection.subscriptions.is_empty() {
                    sent = newest;
                    continue;
                }
                if newest - sent > BEHIND_MAX {
                    tracing::debug!(behind = newest - sent, "a subscriber was dropped");
                    return;
                }
                sent += 1;
                connection.news(sent).await
            }
        };
        for message in messages {
            let text = Message::Text(message.to_string().into());
            match tokio::time::timeout(patience, socket.send(text)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => {
                    tracing::debug!(block = sent, "a subscriber that does not read was dropped");
                    return;
                }
            }
        }
    }
}

impl Connection {
    /// Answers a message; nothing where all of it is notifications.
    async fn answer(&mut self, text: &[u8]) -> Option<Value> {
        let request: Value = match serde_json::from_slice(text) {
            Ok(request) => request,
            Err(error) => {
                let refused = refuse(NOT_JSON, &format!("the message is not JSON: {error}"));
                return Some(envelope(Value::Null, Err(refused)));
            }
        };
        if !matches!(method(&request), Some("eth_subscribe" | "eth_unsubscribe")) {
            return self.dispatch.answer(request).await;
        }
        let Request { id, method, params } = match Request::read(request) {
            Ok(request) => request,
            Err(answer) => return Some(answer),
        };
        let mut params = if let Value::Array(params) = params { params } else { Vec::new() };
        drop_nulls(&mut params);
        if method == "eth_unsubscribe" {
            let name = params.first().and_then(Value::as_str);
            let removed = name.is_some_and(|name| self.subscriptions.remove(name).is_some());
            return Some(envelope(id?, Ok(json!(removed))));
        }
        // Without an answer the client could not tell what it has subscribed to.
        Some(envelope(id?, self.subscribe(&params)))
    }

    fn subscribe(&mut self, params: &[Value]) -> Result<Value, RpcError> {
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(refuse(REFUSED, &format!("a connection holds at most {SUBSCRIPTIONS_MAX} subscriptions")));
        }
        let topic = match params.first().and_then(Value::as_str) {
            Some("newHeads") => Topic::NewHeads,
            Some("logs") => Topic::Logs(LogFilter::read(params.get(1))?),
            _ => return Err(refuse(INVALID_PARAMS, "what can be subscribed to is `newHeads` and `logs`")),
        };
        self.made += 1;
        let name = format!("{:#x}", self.made);
        self.subscriptions.insert(name.clone(), topic);
        Ok(json!(name))
    }

    /// The notifications about one block.
    async fn news(&self, number: u64) -> Vec<Value> {
        let mut news = Vec::new();
        let tag = format!("{number:#x}");
        for (name, topic) in &self.subscriptions {
            let found = match topic {
                Topic::NewHeads => self.dispatch.call("eth_getBlockByNumber", json!([tag, false])).await.map(header),
                Topic::Logs(filter) => self.dispatch.logs_within(filter, number, number).await,
            };
            let items = match found {
                Ok(Value::Array(logs)) => logs,
                Ok(header) => vec![header],
                Err(error) => {
                    tracing::warn!(%error, block = number, "a subscriber missed a block");
                    continue;
                }
            };
            news.extend(items.into_iter().map(|item| {
                json!({
                    "jsonrpc": "2.0", "method": "eth_subscription",
                    "params": { "subscription": name, "result": item },
                })
            }));
        }
        news
    }
}

fn method(request: &Value) -> Option<&str> {
    request.get("method").and_then(Value::as_str)
}

/// A block as `newHeads` shows it: without its transactions.
fn header(mut block: Value) -> Value {
    if let Value::Object(fields) = &mut block {
        for field in ["transactions", "uncles", "withdrawals", "size", "totalDifficulty"] {
            fields.remove(field);
        }
    }
    block
}
