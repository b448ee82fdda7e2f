//! Datanets: creating, publishing versions, granting.

use alloy_primitives::{Address, B256};
use openledger_protocol::{DatanetId, Grant, Publication, Purpose, Purposes, Signature};

use super::{Done, Flow, FlowError, bytes, event};
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

impl Flow {
    /// Creates a datanet owned by the account; `uri` tells where its terms and description are.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn create_datanet(&self, key: &str, terms: B256, uri: &str) -> Result<Done<DatanetId>, FlowError> {
        let call = Datanets::createCall { terms, uri: uri.to_owned() };
        let mined = self.send(key, self.at.datanets, call).await?;
        let created: Datanets::DatanetCreated = event(&mined, self.at.datanets)?;
        Ok(Done { value: DatanetId(created.datanet), mined })
    }

    /// Publishes version `publication.expected_version`, the next one; the account owns the datanet. The result is its
    /// number.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `WrongVersion` when the datanet moved on.
    pub async fn publish(&self, key: &str, publication: &Publication) -> Result<Done<u64>, FlowError> {
        let call = Datanets::publishCall {
            datanet: publication.datanet.0,
            expectedVersion: publication.expected_version,
            root: publication.root,
            records: publication.records,
        };
        self.published(self.send(key, self.at.datanets, call).await?)
    }

    /// As [`Flow::publish`], for an owner who signed it.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `NotSignedByOwner` when somebody else signed.
    pub async fn publish_signed(
        &self,
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
        self.published(self.send(key, self.at.datanets, call).await?)
    }

    fn published(&self, mined: Mined) -> Result<Done<u64>, FlowError> {
        let published: Datanets::VersionPublished = event(&mined, self.at.datanets)?;
        Ok(Done { value: published.version, mined })
    }

    /// Puts a grant on chain; the account owns the datanet.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `WrongTerms` or `GrantExpired` where they apply.
    pub async fn grant(&self, key: &str, grant: &Grant) -> Result<Mined, FlowError> {
        self.send(key, self.at.datanets, Datanets::grantCall { g: members(grant) }).await
    }

    /// As [`Flow::grant`], for an owner who signed it.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `NotSignedByOwner` or `GrantStale` where they apply.
    pub async fn grant_signed(&self, key: &str, grant: &Grant, signature: &Signature) -> Result<Mined, FlowError> {
        let call = Datanets::grantForCall { g: members(grant), signature: bytes(signature) };
        self.send(key, self.at.datanets, call).await
    }

    /// Ends what was granted for `purposes` at once; the account owns the datanet.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn revoke(
        &self,
        key: &str,
        datanet: DatanetId,
        grantee: Address,
        purposes: Purposes,
    ) -> Result<Mined, FlowError> {
        let call = Datanets::revokeCall { datanet: datanet.0, grantee, purposes: purposes.0 };
        self.send(key, self.at.datanets, call).await
    }

    /// A datanet as it stands.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn datanet(&self, datanet: DatanetId) -> Result<DatanetState, FlowError> {
        let state = self.view(self.at.datanets, Datanets::datanetsCall { datanet: datanet.0 }).await?;
        Ok(DatanetState { version: state.version, records: state.records, terms: state.terms })
    }

    /// Root of a published version; zero when it was never published.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn version_root(&self, datanet: DatanetId, version: u64) -> Result<B256, FlowError> {
        self.view(self.at.datanets, Datanets::rootOfCall { datanet: datanet.0, version }).await
    }

    /// Until when, in seconds since 1970, `grantee` may use the datanet for `purpose`; 0 when it may not.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn granted_until(
        &self,
        datanet: DatanetId,
        grantee: Address,
        purpose: Purpose,
    ) -> Result<u64, FlowError> {
        let call = Datanets::grantedUntilCall { datanet: datanet.0, grantee, purpose: purpose as u32 };
        self.view(self.at.datanets, call).await
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
