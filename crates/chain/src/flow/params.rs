//! The governed numbers: those in force, and those that were.

use alloy_primitives::B256;
use alloy_sol_types::SolValue;
use openledger_protocol::Params;

use super::{Contract, FlowError};
use crate::contracts::bindings::params::{IParams, Params as Binding};

/// Governed numbers and the time in which they are or were in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamsPeriod {
    /// The numbers.
    pub params: Params,
    /// From when, Unix seconds; zero for the first ones.
    pub since: u64,
    /// Until when, exclusively; `None` while they are in force.
    pub until: Option<u64>,
}

/// The contract of the governed numbers.
#[derive(Clone, Copy)]
pub struct ParamsContract<'a>(pub(super) Contract<'a>);

impl ParamsContract<'_> {
    /// The numbers in force.
    ///
    /// # Errors
    ///
    /// [`FlowError`] when the network does not answer, or not as our contract does.
    pub async fn current(self) -> Result<Params, FlowError> {
        let values = self.0.view(Binding::currentCall {}).await?;
        self.read(&values)
    }

    /// The numbers with a hash; `None` when there never were any.
    ///
    /// # Errors
    ///
    /// As [`ParamsContract::current`].
    pub async fn with_hash(self, hash: B256) -> Result<Option<ParamsPeriod>, FlowError> {
        let values = match self.0.view(Binding::valuesOfCall { hash_: hash }).await {
            Ok(values) => values,
            Err(FlowError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let period = self.0.view(Binding::periodOfCall { hash_: hash }).await?;
        let until = (period.until != 0).then_some(period.until);
        Ok(Some(ParamsPeriod { params: self.read(&values)?, since: period.since, until }))
    }

    /// The record of the contract's values: both are the same words.
    fn read(self, values: &IParams::Values) -> Result<Params, FlowError> {
        let other = FlowError::NotOurs { address: self.0.address, call: "current()" };
        let encoded = values.abi_encode();
        let words: Vec<B256> = encoded.as_chunks::<32>().0.iter().copied().map(B256::from).collect();
        let Ok(words) = words.try_into() else { return Err(other) };
        Params::from_words(&words).map_err(|_| other)
    }
}
