//! One WebSocket connection: the same methods as by POST, and `eth_subscribe` to `newHeads` and `logs`.
//!
//! Each connection follows the head's number by itself and sends every block in between, so none is skipped however
//! slowly it is read; there is no queue that could grow.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use serde_json::{Value, json};

use super::dispatch::{Dispatch, envelope, refuse};
use crate::rpc::RpcError;

/// Most subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 128;

/// What a subscriber wants to hear of.
enum Topic {
    /// Headers of new blocks.
    NewHeads,
    /// Logs of new blocks, by the `address` and `topics` of this filter object.
    Logs(Value),
}

struct Connection {
    dispatch: Arc<Dispatch>,
    subscriptions: BTreeMap<String, Topic>,
    made: u64,
}

/// Serves one connection until either side closes it or the chain stops.
pub(super) async fn serve(mut socket: WebSocket, dispatch: Arc<Dispatch>) {
    let mut head = dispatch.head.clone();
    let mut sent = *head.borrow_and_update();
    let mut connection = Connection { dispatch, subscriptions: BTreeMap::new(), made: 0 };
    loop {
        let replies = tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => vec![connection.answer(text.as_bytes()).await],
                Some(Ok(Message::Binary(bytes))) => vec![connection.answer(&bytes).await],
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            changed = head.changed() => {
                if changed.is_err() {
                    return;
                }
                let newest = *head.borrow_and_update();
                let replies = connection.news(sent + 1, newest).await;
                sent = newest;
                replies
            }
        };
        for reply in replies {
            if socket.send(Message::Text(reply.to_string().into())).await.is_err() {
                return;
            }
        }
    }
}

impl Connection {
    async fn answer(&mut self, text: &[u8]) -> Value {
        let request: Value = match serde_json::from_slice(text) {
            Ok(request) => request,
            Err(error) => {
                return envelope(Value::Null, Err(refuse(-32700, &format!("the message is not JSON: {error}"))));
            }
        };
        let id = request.get("id").cloned().unwrap_or_default();
        let params = request.get("params");
        match request.get("method").and_then(Value::as_str) {
            Some("eth_subscribe") => envelope(id, self.subscribe(params)),
            Some("eth_unsubscribe") => {
                let name = params.and_then(|params| params.get(0)).and_then(Value::as_str);
                envelope(id, Ok(json!(name.is_some_and(|name| self.subscriptions.remove(name).is_some()))))
            }
            _ => self.dispatch.answer(request).await,
        }
    }

    fn subscribe(&mut self, params: Option<&Value>) -> Result<Value, RpcError> {
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(refuse(-32000, &format!("a connection holds at most {SUBSCRIPTIONS_MAX} subscriptions")));
        }
        let param = |index: usize| params.and_then(|params| params.get(index));
        let topic = match param(0).and_then(Value::as_str) {
            Some("newHeads") => Topic::NewHeads,
            Some("logs") => Topic::Logs(param(1).cloned().unwrap_or_else(|| json!({}))),
            _ => return Err(refuse(-32602, "what can be subscribed to is `newHeads` and `logs`")),
        };
        self.made += 1;
        let name = format!("{:#x}", self.made);
        self.subscriptions.insert(name.clone(), topic);
        Ok(json!(name))
    }

    /// The notifications about the blocks `first..=last`, in order of blocks.
    async fn news(&self, first: u64, last: u64) -> Vec<Value> {
        let mut news = Vec::new();
        if self.subscriptions.is_empty() {
            return news;
        }
        for number in first..=last {
            let tag = format!("{number:#x}");
            for (name, topic) in &self.subscriptions {
                let found = match topic {
                    Topic::NewHeads => {
                        self.dispatch.call("eth_getBlockByNumber", json!([tag, false])).await.map(header)
                    }
                    Topic::Logs(filter) => {
                        let filter = json!({
                            "fromBlock": tag, "toBlock": tag,
                            "address": filter.get("address"), "topics": filter.get("topics"),
                        });
                        self.dispatch.call("eth_getLogs", json!([filter])).await
                    }
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
        }
        news
    }
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
