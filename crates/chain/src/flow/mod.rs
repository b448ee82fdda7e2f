//! What the product does on chain: a typed handle for each contract.
//!
//! # Place in the flow
//!
//! `node` and the command line call these. A write encodes its call, sends it through [`Sender`]
//! under the caller's key and reads its result from the events. A view reads the newest block.
//!
//! # Invariants
//!
//! - No arithmetic on money: amounts come in and go out as they are.
//! - Every write takes the caller's key and happens once for it (see `sender`).
//!
//! # Not here
//!
//! Which account pays, and when to do what (`node`). Calls that the product does not make: tests
//! make them through [`Flow::contract`].

mod challenges;
mod channels;
mod contract;
mod contributions;
mod datanets;
mod models;
mod params;
mod payouts;
mod token;

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::contracts::{Addresses, Revert};
use crate::rpc::{Client, RpcError};
use crate::sender::{Mined, SendError, Sender};

pub use self::challenges::{Challenge, Rejected};
pub use self::channels::{ChannelState, ChannelsContract, Withdrawal};
pub use self::contract::Contract;
pub use self::contributions::{ContributionsContract, NewContribution};
pub use self::datanets::{DatanetState, DatanetsContract};
pub use self::models::{ModelState, ModelsContract, NewModel};
pub use self::params::{ParamsContract, ParamsPeriod};
pub use self::payouts::{EpochTops, OperatorState, PayoutsContract, PayoutsHead, PendingEpoch};
pub use self::token::TokenContract;

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
    /// What is at the address does not answer as our contract does; the addresses are of another
    /// network or version.
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

    /// Any contract of the network, without types of its own.
    #[must_use]
    pub fn contract(&self, address: Address) -> Contract<'_> {
        Contract { sender: &self.sender, address }
    }

    /// OPEN as contracts see it.
    #[must_use]
    pub fn token(&self) -> TokenContract<'_> {
        TokenContract(self.contract(self.at.wopen))
    }

    /// Datanets: titles, versions, grants.
    #[must_use]
    pub fn datanets(&self) -> DatanetsContract<'_> {
        DatanetsContract(self.contract(self.at.datanets))
    }

    /// Contributions to datanets.
    #[must_use]
    pub fn contributions(&self) -> ContributionsContract<'_> {
        ContributionsContract(self.contract(self.at.contributions))
    }

    /// Models and their prices.
    #[must_use]
    pub fn models(&self) -> ModelsContract<'_> {
        ModelsContract(self.contract(self.at.models))
    }

    /// The governed numbers.
    #[must_use]
    pub fn params(&self) -> ParamsContract<'_> {
        ParamsContract(self.contract(self.at.params))
    }

    /// Prepaid channels.
    #[must_use]
    pub fn channels(&self) -> ChannelsContract<'_> {
        ChannelsContract(self.contract(self.at.channels))
    }

    /// Operators, epochs, claims and challenges.
    #[must_use]
    pub fn payouts(&self) -> PayoutsContract<'_> {
        PayoutsContract(self.contract(self.at.payouts))
    }
}

/// A signature of ours as contracts take it.
fn bytes(signature: &openledger_protocol::Signature) -> Bytes {
    Bytes::copy_from_slice(&signature.0)
}
