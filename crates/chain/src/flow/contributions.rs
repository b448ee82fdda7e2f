//! Contributions: commit first, register in a later block, so that nobody registers somebody else's
//! file before them.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use openledger_protocol::{ContributionId, DatanetId, Signature};

use super::{Contract, Done, FlowError, bytes};
use crate::contracts::bindings::contributions::{Contributions, IContributions};
use crate::sender::{Mined, SendError};

/// More gas than registering a batch takes, its splitter included.
const GAS_PER_BATCH: u64 = 500_000;
/// More gas than one name in the list of contributors takes.
const GAS_PER_CONTRIBUTOR: u64 = 40_000;

/// A batch to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewContribution {
    /// Where it goes.
    pub datanet: DatanetId,
    /// Merkle root over its record leaves.
    pub root: B256,
    /// Number of records.
    pub count: u32,
    /// Hash of the licence terms.
    pub terms: B256,
    /// Who made it, in order.
    pub contributors: Vec<Address>,
    /// Who registers it, usually one of the contributors.
    pub registrant: Address,
    /// The salt of the commitment.
    pub salt: B256,
    /// The registrant's signature; none when the account itself is the registrant.
    pub signature: Option<Signature>,
}

impl NewContribution {
    /// What is committed beforehand: `H(abi.encode(chainId, Contributions, registrant, datanet,
    /// root, salt))`.
    #[must_use]
    pub fn commitment(&self, chain_id: u64, contributions: Address) -> B256 {
        use openledger_protocol::{keccak_words, word};
        keccak_words(&[
            word(chain_id),
            word(contributions),
            word(self.registrant),
            word(self.datanet.0),
            self.root,
            self.salt,
        ])
    }

    fn members(&self) -> IContributions::Registration {
        IContributions::Registration {
            datanet: self.datanet.0,
            root: self.root,
            count: self.count,
            terms: self.terms,
            contributors: self.contributors.clone(),
            registrant: self.registrant,
            salt: self.salt,
            signature: self.signature.as_ref().map(bytes).unwrap_or_default(),
        }
    }
}

/// The contract of contributions.
#[derive(Clone, Copy)]
pub struct ContributionsContract<'a>(pub(super) Contract<'a>);

impl ContributionsContract<'_> {
    /// Commits to batches in one transaction. Committing again changes nothing.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn commit(self, key: &str, batches: &[NewContribution]) -> Result<Mined, FlowError> {
        let commitments = batches.iter().map(|batch| self.commitment(batch)).collect();
        let call = Contributions::commitManyCall { commitments };
        self.0.send(key, call).await
    }

    /// Registers batches committed in an earlier block, in one transaction, all or none; the ids
    /// come in the order of `batches`.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `NotCommitted`, `MalformedBatch` or `NotSignedByRegistrant` where
    /// they apply.
    pub async fn register(
        self,
        key: &str,
        batches: &[NewContribution],
    ) -> Result<Done<Vec<ContributionId>>, FlowError> {
        let call = Contributions::registerManyCall { rs: batches.iter().map(NewContribution::members).collect() };
        let mined = self.send_committed(key, call, batches).await?;
        let registered: Vec<Contributions::ContributionRegistered> = self.0.events(&mined);
        Ok(Done { value: registered.iter().map(|event| id(event.contribution)).collect(), mined })
    }

    fn commitment(self, batch: &NewContribution) -> B256 {
        batch.commitment(self.0.sender.chain_id(), self.0.address)
    }

    /// Sends a registration. Where the commitment stands in the newest block, estimating refuses
    /// what the next block will take, because it runs as if it stood in the newest block itself;
    /// then the gas is reckoned here.
    async fn send_committed<C: SolCall>(
        self,
        key: &str,
        call: C,
        batches: &[NewContribution],
    ) -> Result<Mined, FlowError> {
        let data: Bytes = call.abi_encode().into();
        let Contract { sender, address: to } = self.0;
        let refused = match sender.send(key, to, data.clone(), U256::ZERO).await {
            Err(SendError::Refused { key, revert }) if revert.is("NotCommitted") => SendError::Refused { key, revert },
            done => return Ok(done?),
        };
        for batch in batches {
            let commitment = self.commitment(batch);
            let committed = self.0.view(Contributions::committedAtCall { commitment }).await?;
            if committed.is_zero() {
                return Err(refused.into());
            }
        }
        let contributors: usize = batches.iter().map(|batch| batch.contributors.len()).sum();
        let gas = batches.len() as u64 * GAS_PER_BATCH + contributors as u64 * GAS_PER_CONTRIBUTOR;
        Ok(sender.send_with_gas(key, to, data, gas).await?)
    }

    /// Batches that `registrant` has registered: the nonce of the next one.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn nonce(self, registrant: Address) -> Result<u64, FlowError> {
        self.0.view(Contributions::noncesCall { registrant }).await
    }
}

fn id(contribution: U256) -> ContributionId {
    ContributionId(B256::from(contribution))
}
