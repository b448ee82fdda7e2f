//! Signed transfers, and handing them in.

use std::time::{Duration, Instant};

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Signature, TxKind, U64, U256, hex};
use openledger_chain::embedded::DEFAULT_CHAIN_ID;
use openledger_protocol::Key;
use serde_json::{Value, json};

use crate::Failure;

/// Connections that hand in at the same time.
const CONNECTIONS: usize = 5;
/// Transfers of one sender in one request.
const RUN: usize = 10;
/// Pause between two looks at whether everything stands in blocks.
const LOOK: Duration = Duration::from_millis(10);

/// Transfers of several senders, signed beforehand.
pub(crate) struct Load {
    /// By sender, in the order of nonces: hexadecimal, as JSON-RPC takes them.
    signed: Vec<Vec<String>>,
}

/// A sender's key.
pub(crate) fn key(sender: usize) -> Key {
    Key::demo(1, &format!("sender-{sender}"))
}

impl Load {
    /// Signs `transfers` transfers, the same number for each of `senders`.
    pub(crate) fn sign(senders: usize, transfers: usize) -> Self {
        let rounds = (transfers / senders) as u64;
        let of_sender = |sender: usize| {
            let key = key(sender);
            (0..rounds).map(|nonce| transfer(&key, nonce)).collect()
        };
        Self { signed: (0..senders).map(of_sender).collect() }
    }

    /// Transfers of each sender.
    pub(crate) fn rounds(&self) -> usize {
        self.signed[0].len()
    }

    /// Transfers of all senders.
    pub(crate) fn len(&self) -> usize {
        self.signed.len() * self.rounds()
    }

    /// Hands in the rounds `from..to` of every sender; the result is how long it took until all
    /// stood in blocks.
    pub(crate) async fn send(&self, url: &str, from: usize, to: usize) -> Result<Duration, Failure> {
        let http = reqwest::Client::new();
        let started = Instant::now();
        let share = self.signed.len().div_ceil(CONNECTIONS);
        let handing = self.signed.chunks(share).map(|senders| hand_in(&http, url, senders, from, to));
        for handed in futures::future::join_all(handing).await {
            handed?;
        }
        loop {
            let nonces =
                self.each(&http, url, |account| json!(["eth_getTransactionCount", [account, "latest"]])).await?;
            let mined =
                |nonce: &Value| serde_json::from_value::<U64>(nonce.clone()).is_ok_and(|n| n.to::<usize>() >= to);
            if nonces.iter().all(mined) {
                return Ok(started.elapsed());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Gives each sender coins on a network of the anvil kind.
    pub(crate) async fn fund(&self, url: &str) -> Result<(), Failure> {
        let coins = U256::from(10).pow(U256::from(24));
        self.each(&reqwest::Client::new(), url, |account| json!(["anvil_setBalance", [account, coins]])).await?;
        Ok(())
    }

    /// One call for each sender, in one request; the results in their order.
    async fn each(
        &self,
        http: &reqwest::Client,
        url: &str,
        call: impl Fn(Address) -> Value,
    ) -> Result<Vec<Value>, Failure> {
        let calls = (0..self.signed.len()).map(|sender| call(key(sender).address())).collect();
        batch(http, url, calls).await?.into_iter().map(|answer| result(answer).map_err(Into::into)).collect()
    }
}

/// Number of blocks.
pub(crate) async fn height(url: &str) -> Result<u64, Failure> {
    let answers = batch(&reqwest::Client::new(), url, vec![json!(["eth_blockNumber", []])]).await?;
    let height: U64 = serde_json::from_value(result(answers.into_iter().next().unwrap_or_default())?)?;
    Ok(height.to())
}

/// Hands in the transfers of some senders, each request some of each sender's.
async fn hand_in(
    http: &reqwest::Client,
    url: &str,
    senders: &[Vec<String>],
    from: usize,
    to: usize,
) -> Result<(), Failure> {
    for start in (from..to).step_by(RUN) {
        let run = start..(start + RUN).min(to);
        let calls = senders.iter().flat_map(|signed| signed[run.clone()].iter());
        let calls = calls.map(|raw| json!(["eth_sendRawTransaction", [raw]])).collect();
        for answer in batch(http, url, calls).await? {
            result(answer)?;
        }
    }
    Ok(())
}

/// Posts `[method, params]` pairs as one batch; the answers in their order.
async fn batch(http: &reqwest::Client, url: &str, calls: Vec<Value>) -> Result<Vec<Value>, Failure> {
    let request: Vec<Value> = calls
        .into_iter()
        .enumerate()
        .map(|(id, call)| json!({ "jsonrpc": "2.0", "id": id, "method": call[0], "params": call[1] }))
        .collect();
    let mut answers: Vec<Value> = http.post(url).json(&request).send().await?.json().await?;
    answers.sort_by_key(|answer| answer["id"].as_u64());
    Ok(answers)
}

fn result(mut answer: Value) -> Result<Value, String> {
    match answer.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(format!("refused: {answer}")),
    }
}

fn transfer(key: &Key, nonce: u64) -> String {
    let transaction = TxEip1559 {
        chain_id: DEFAULT_CHAIN_ID,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 100_000_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(Address::repeat_byte(0x11)),
        value: U256::ONE,
        ..TxEip1559::default()
    };
    let bytes = key.sign(transaction.signature_hash()).0;
    let signature = Signature::from_bytes_and_parity(&bytes[..64], bytes[64] == 28);
    hex::encode_prefixed(transaction.into_signed(signature).encoded_2718())
}
