//! What the product does on chain, noun by noun: one function, one transaction, one typed result.
//!
//! # Place in the flow
//!
//! `node::pipeline` calls these; they encode the call, send it through [`Sender`] under the caller's key, and read the
//! result from the events. Views are read from the newest block.
//!
//! # Invariants
//!
//! - No arithmetic on money: amounts come in and go out as they are.
//! - Every write takes the caller's key and happens once for it (see `sender`).
//!
//! # Not here
//!
//! Which account pays, and when to do what (`node`).

mod challenges;
mod channels;
mod contributions;
mod datanets;
mod models;
mod payouts;
mod titles;
mod token;

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolEvent};

use crate::contracts::{Addresses, Revert};
use crate::rpc::{CallRequest, Client, RpcError};
use crate::sender::{Mined, SendError, Sender};

pub use self::challenges::{Challenge, Rejected};
pub use self::channels::{ChannelState, Withdrawal};
pub use self::contributions::NewContribution;
pub use self::datanets::DatanetState;
pub use self::models::{ModelState, NewModel};
pub use self::payouts::{EpochTops, OperatorState, PayoutsHead, PendingEpoch};
pub use self::titles::{Royalty, Title};
pub use self::token::Authorization;

/// Why something could not be done on chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlowError {
    /// The transaction failed.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A view failed, most often because the network did not answer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// A view was refused by the contract.
    #[error("the contract refuses the question: {0}")]
    Refused(Revert),
    /// What is at the address does not answer as our contract does; the addresses are of another network or version.
    #[error("{address} does not answer {call} as our contract does; check the addresses")]
    NotOurs {
        /// The address asked.
        address: Address,
        /// Signature of the call.
        call: &'static str,
    },
    /// The transaction succeeded without the event that tells its result; the contract is not ours.
    #[error("transaction {hash} emitted no {event}; check the addresses")]
    NoEvent {
        /// The transaction.
        hash: B256,
        /// Signature of the event.
        event: &'static str,
    },
    /// The chain gave a number that does not fit the type it has here.
    #[error("the chain gave {value} for {what}, which does not fit")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// What came.
        value: U256,
    },
}

/// A result and the transaction that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<T> {
    /// The result.
    pub value: T,
    /// The transaction.
    pub mined: Mined,
}

/// Our contracts on one network, driven by one account.
#[derive(Clone)]
pub struct Flow {
    sender: Arc<Sender>,
    at: Addresses,
}

impl Flow {
    /// Drives the contracts at `addresses` from the account of `sender`.
    #[must_use]
    pub fn new(sender: Arc<Sender>, addresses: Addresses) -> Self {
        Self { sender, at: addresses }
    }

    /// Where the contracts are.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.at
    }

    /// The account that pays and signs.
    #[must_use]
    pub fn account(&self) -> Address {
        self.sender.address()
    }

    /// The network.
    #[must_use]
    pub fn client(&self) -> &Client {
        self.sender.client()
    }

    /// The sender below.
    #[must_use]
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Sends a call of the contract `to`.
    async fn send<C: SolCall>(&self, key: &str, to: Address, call: C) -> Result<Mined, FlowError> {
        Ok(self.sender.send(key, to, call.abi_encode().into(), U256::ZERO).await?)
    }

    /// Asks the contract `to`.
    async fn view<C: SolCall>(&self, to: Address, call: C) -> Result<C::Return, FlowError> {
        let request = CallRequest { from: Some(self.account()), to, value: U256::ZERO, data: call.abi_encode().into() };
        let answer = self.client().call(&request).await.map_err(|error| match Revert::of(&error) {
            Some(revert) => FlowError::Refused(revert),
            None => error.into(),
        })?;
        C::abi_decode_returns(&answer).map_err(|_| FlowError::NotOurs { address: to, call: C::SIGNATURE })
    }
}

/// All events of type `E` that `contract` emitted in a transaction, in order.
fn events<E: SolEvent>(mined: &Mined, contract: Address) -> Vec<E> {
    let ours = mined.logs.iter().filter(|log| log.address == contract);
    ours.filter_map(|log| E::decode_raw_log(&log.topics, &log.data).ok()).collect()
}

/// The first event of type `E` that `contract` emitted in a transaction.
fn event<E: SolEvent>(mined: &Mined, contract: Address) -> Result<E, FlowError> {
    let missing = FlowError::NoEvent { hash: mined.hash, event: E::SIGNATURE };
    events(mined, contract).into_iter().next().ok_or(missing)
}

/// A signature of ours in the three parts that tokens take: v, r, s.
fn parts(signature: &openledger_protocol::Signature) -> (u8, B256, B256) {
    let (r, rest) = signature.0.split_at(32);
    (signature.0[64], B256::from_slice(r), B256::from_slice(&rest[..32]))
}

/// A signature of ours as contracts take it.
fn bytes(signature: &openledger_protocol::Signature) -> Bytes {
    Bytes::copy_from_slice(&signature.0)
}
