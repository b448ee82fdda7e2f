//! Challenges: what is wrong with the pending proposal, encoded as the judge takes it.
//!
//! A [`Challenge`] is made from the generated struct of its fault
//! (`contracts::bindings::verifier`), which says what the proof is made of. **Not here:** finding
//! faults and making proofs (`ledger`).

use alloy_primitives::{Address, Bytes};
use alloy_sol_types::{SolCall, SolValue};

use super::{Done, FlowError, PayoutsContract};
use crate::contracts::bindings::payouts::Payouts;
use crate::contracts::bindings::verifier::Verifier::{
    DuplicateFault, EntryFault, LinesFault, NoteFault, OmissionFault, OrderFault, PayeeFault, RecordFault,
    SignatureFault, SpanFault, SplitFault, TotalFault,
};
use openledger_protocol::Amount;

/// A fault by its number in `IVerifier.sol`, and its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The fault.
    pub fault: u8,
    /// `abi.encode` of the fault's struct.
    pub proof: Bytes,
}

impl Challenge {
    /// The call of `Payouts` that makes it. Any account may send it and is paid for it.
    #[must_use]
    pub fn call_data(&self) -> Bytes {
        self.call().abi_encode().into()
    }

    fn call(&self) -> Payouts::challengeCall {
        Payouts::challengeCall { fault: self.fault, proof: self.proof.clone() }
    }
}

macro_rules! challenge {
    ($($fault:ident = $number:literal,)*) => {$(
        impl From<$fault> for Challenge {
            fn from(fault: $fault) -> Self {
                Self { fault: $number, proof: fault.abi_encode().into() }
            }
        }
    )*};
}
challenge! {
    SpanFault = 0,
    RecordFault = 1,
    TotalFault = 2,
    DuplicateFault = 3,
    SplitFault = 4,
    SignatureFault = 5,
    OmissionFault = 6,
    PayeeFault = 7,
    OrderFault = 8,
    EntryFault = 9,
    LinesFault = 10,
    NoteFault = 11,
}

/// What became of a challenge that held: the proposal is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The epoch, open again.
    pub epoch: u64,
    /// Who proposed it.
    pub proposer: Address,
    /// Who gets the part of the harmed; insurance where it was nobody in particular.
    pub harmed: Address,
    /// What the proposer lost: 30 % of it to the challenger, 30 % to the harmed, the rest is
    /// burned. Where insurance is the harmed, its part and what is to be burned wait for
    /// [`PayoutsContract::sweep`].
    pub bond: Amount,
}

impl PayoutsContract<'_> {
    /// Tries a challenge of the pending proposal without sending it.
    ///
    /// # Errors
    ///
    /// [`FlowError::Refused`] with the judge's error when the proof does not hold.
    pub async fn try_challenge(self, challenge: &Challenge) -> Result<(), FlowError> {
        self.0.view(challenge.call()).await.map(drop)
    }

    /// Refutes the pending proposal; the account is paid out of the proposer's bond.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with the judge's error when the proof does not hold, or `WindowClosed`.
    pub async fn challenge(self, key: &str, challenge: &Challenge) -> Result<Done<Rejected>, FlowError> {
        let mined = self.0.send(key, challenge.call()).await?;
        let rejected: Payouts::EpochRejected = self.0.event(&mined)?;
        let value = Rejected {
            epoch: rejected.epoch,
            proposer: rejected.proposer,
            harmed: rejected.harmed,
            bond: Amount(rejected.slashed),
        };
        Ok(Done { value, mined })
    }
}
