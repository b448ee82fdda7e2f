//! One contract: calls that change it, calls that read it, events that it emitted.

use alloy_primitives::{Address, U256};
use alloy_sol_types::{SolCall, SolEvent};

use super::FlowError;
use crate::contracts::Revert;
use crate::rpc::CallRequest;
use crate::sender::{Mined, Sender};

/// A contract at an address, driven by one account.
#[derive(Clone, Copy)]
pub struct Contract<'a> {
    pub(super) sender: &'a Sender,
    pub(super) address: Address,
}

impl Contract<'_> {
    /// Sends a call under the caller's key, without native coin.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn send<C: SolCall>(self, key: &str, call: C) -> Result<Mined, FlowError> {
        self.send_value(key, call, U256::ZERO).await
    }

    /// Sends a call with `value` base units of the native coin.
    pub(super) async fn send_value<C: SolCall>(self, key: &str, call: C, value: U256) -> Result<Mined, FlowError> {
        Ok(self.sender.send(key, self.address, call.abi_encode().into(), value).await?)
    }

    /// Asks the contract as the account, at the newest block.
    ///
    /// # Errors
    ///
    /// [`FlowError::Refused`] when the call reverts, [`FlowError::NotOurs`] when the answer is none
    /// of this call's, [`FlowError::Rpc`] when the network does not answer.
    pub async fn view<C: SolCall>(self, call: C) -> Result<C::Return, FlowError> {
        let (from, to) = (Some(self.sender.address()), self.address);
        let request = CallRequest { from, to, value: U256::ZERO, data: call.abi_encode().into() };
        let answer = self.sender.client().call(&request).await.map_err(|error| match Revert::of(&error) {
            Some(revert) => FlowError::Refused(revert),
            None => error.into(),
        })?;
        C::abi_decode_returns(&answer).map_err(|_| FlowError::NotOurs { address: to, call: C::SIGNATURE })
    }

    /// All events of type `E` that the contract emitted in a transaction, in order.
    #[must_use]
    pub fn events<E: SolEvent>(self, mined: &Mined) -> Vec<E> {
        let ours = mined.logs.iter().filter(|log| log.address == self.address);
        ours.filter_map(|log| E::decode_raw_log(&log.topics, &log.data).ok()).collect()
    }

    /// The first event of type `E` that the contract emitted in a transaction.
    ///
    /// # Errors
    ///
    /// [`FlowError::NoEvent`].
    pub fn event<E: SolEvent>(self, mined: &Mined) -> Result<E, FlowError> {
        let missing = FlowError::NoEvent { hash: mined.hash, event: E::SIGNATURE };
        self.events(mined).into_iter().next().ok_or(missing)
    }
}
