//! Datanets: creating, publishing versions, granting.

use alloy_primitives::{Address, B256};
use openledger_protocol::{DatanetId, Grant, Publication, Purpose, Signature};

use super::{Contract, Done, FlowError, bytes};
use crate::contracts::bindings::datanets::{Datanets, IDatanets};
use crate::sender::Mined;

/// A datanet as it stands on chain; all zero when there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatanetState {
    /// Number of publications.
    pub version: u64,
    /// Records in the current version.
    pub records: u64,
    /// Hash of the terms.
    pub terms: B256,
}

/// The contract of datanets.
#[derive(Clone, Copy)]
pub struct DatanetsContract<'a>(pub(super) Contract<'a>);

impl DatanetsContract<'_> {
    /// Creates a datanet owned by the account; `uri` tells where its terms and description are.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn create(self, key: &str, terms: B256, uri: &str) -> Result<Done<DatanetId>, FlowError> {
        let call = Datanets::createCall { terms, uri: uri.to_owned() };
        let mined = self.0.send(key, call).await?;
        let created: Datanets::DatanetCreated = self.0.event(&mined)?;
        Ok(Done { value: DatanetId(created.datanet), mined })
    }

    /// Publishes version `publication.expected_version`, the next one, for the owner who signed it.
    /// The result is its number.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `WrongVersion` when the datanet moved on and `NotSignedByOwner`
    /// when another account signed.
    pub async fn publish_signed(
        self,
        key: &str,
        publication: &Publication,
        signature: &Signature,
    ) -> Result<Done<u64>, FlowError> {
        let call = Datanets::publishForCall {
            datanet: publication.datanet.0,
            expectedVersion: publication.expected_version,
            root: publication.root,
            records: publication.records,
            signature: bytes(signature),
        };
        let mined = self.0.send(key, call).await?;
        let published: Datanets::VersionPublished = self.0.event(&mined)?;
        Ok(Done { value: published.version, mined })
    }

    /// Puts a grant on chain for the owner who signed it.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `NotSignedByOwner`, `WrongTerms`, `GrantExpired` or `GrantStale`
    /// where they apply.
    pub async fn grant_signed(self, key: &str, grant: &Grant, signature: &Signature) -> Result<Mined, FlowError> {
        let call = Datanets::grantForCall { g: members(grant), signature: bytes(signature) };
        self.0.send(key, call).await
    }

    /// A datanet as it stands.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn state(self, datanet: DatanetId) -> Result<DatanetState, FlowError> {
        let state = self.0.view(Datanets::datanetsCall { datanet: datanet.0 }).await?;
        Ok(DatanetState { version: state.version, records: state.records, terms: state.terms })
    }

    /// Until when, in seconds since 1970, `grantee` may use the datanet for `purpose`; 0 when it
    /// may not.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn granted_until(self, datanet: DatanetId, grantee: Address, purpose: Purpose) -> Result<u64, FlowError> {
        let call = Datanets::grantedUntilCall { datanet: datanet.0, grantee, purpose: purpose as u32 };
        self.0.view(call).await
    }
}

fn members(grant: &Grant) -> IDatanets::Grant {
    IDatanets::Grant {
        datanet: grant.datanet.0,
        version: grant.version,
        grantee: grant.grantee,
        purposes: grant.purposes.0,
        until: grant.until,
        terms: grant.terms,
    }
}
