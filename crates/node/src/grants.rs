//! Grants: a datanet owner's permission, relayed to the chain; and the check that precedes the reading of a row.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::B256;
use openledger_chain::sender::Mined;
use openledger_datanet::{GrantUse, check_grant};
use openledger_protocol::{DatanetId, Grant, Purpose, Purposes, Signature, SignatureError};
use openledger_store::Store;
use openledger_store::grants::GrantRow;
use openledger_store::transact;

use crate::datanets::Datanets;
use crate::error::{Blame, NodeError, Result};
use crate::on_chain::DatanetsOnChain;

/// The grants that name this node.
#[derive(Clone)]
pub struct Grants {
    store: Store,
    chain: Arc<dyn DatanetsOnChain>,
    datanets: Datanets,
}

impl Grants {
    pub(crate) fn new(store: Store, chain: Arc<dyn DatanetsOnChain>, datanets: Datanets) -> Self {
        Self { store, chain, datanets }
    }

    /// Checks a grant's version, signature and terms; returns its hash.
    ///
    /// # Errors
    ///
    /// `not-found` for a datanet or version that is not published here; [`NodeError::Signature`]
    /// when the signature is not the owner's; `terms-differ`.
    pub(crate) async fn checked(&self, grant: &Grant, signature: &Signature) -> Result<B256> {
        let (_, rights) = self.datanets.known(grant.datanet).await?;
        let owner = self.datanets.owner(grant.datanet).await?;
        let largest = u64::MAX >> 1;
        if grant.until > largest || grant.version > largest {
            let detail = format!("`until` and `version` of a grant are at most {largest}");
            return Err(NodeError::refused(Blame::Request, "bad-parameter", detail));
        }
        // On chain it would cost gas and permit nothing.
        self.datanets.version(grant.datanet, grant.version).await?;
        let hash = grant.struct_hash();
        signature.verify(self.chain.domain().digest(hash), owner)?;
        if grant.terms != rights.terms_hash()? {
            let detail = format!("the grant names other terms than datanet {}", grant.datanet);
            return Err(NodeError::refused(Blame::Conflict, "terms-differ", detail));
        }
        Ok(hash)
    }

    /// Puts a checked grant on chain; a repeat finds the first transaction.
    pub(crate) async fn send(&self, grant: &Grant, signature: &Signature) -> Result<Mined> {
        let key = format!("grant/{}", grant.struct_hash());
        self.chain.grant(&key, grant, signature).await
    }

    /// Keeps a grant that is on chain.
    pub(crate) async fn keep(&self, grant: &Grant, signature: &Signature) -> Result<()> {
        let row = GrantRow {
            hash: grant.struct_hash(),
            datanet: grant.datanet,
            version: grant.version,
            grantee: grant.grantee,
            purposes: grant.purposes.0,
            until: grant.until,
            signature: signature.0.to_vec(),
        };
        transact!(self.store, |tx| match tx.grant(row.hash).await? {
            Some(_) => Ok(()),
            None => tx.put_grant(&row).await,
        })?;
        self.chain.catch_up().await
    }

    /// The grant under which this node may use a version for `needed`, checked now: signature, terms, version, purposes,
    /// time, and the slot of every purpose on chain.
    ///
    /// # Errors
    ///
    /// `no-grant` with the reason why each known grant does not serve.
    pub(crate) async fn live(&self, id: DatanetId, version: u64, needed: &[Purpose]) -> Result<Grant> {
        let (_, rights) = self.datanets.known(id).await?;
        self.chain.catch_up().await?;
        let terms = rights.terms_hash()?;
        let wanted = GrantUse {
            owner: self.datanets.owner(id).await?,
            domain: self.chain.domain(),
            datanet: id,
            version,
            grantee: self.chain.node(),
            needed: Purposes::of(needed),
            terms,
            now: self.chain.signing_time(),
        };
        let mut reasons = Vec::new();
        for row in self.store.grants_of(id).await? {
            if row.grantee != wanted.grantee {
                continue;
            }
            let grant = Grant {
                datanet: id,
                version: row.version,
                grantee: row.grantee,
                purposes: Purposes(row.purposes),
                until: row.until,
                terms,
            };
            let signature = <[u8; 65]>::try_from(row.signature.as_slice()).map(Signature);
            let signature = signature.map_err(|_| SignatureError::Malformed)?;
            let slots = self.slots(id, needed).await?;
            let slot_until = |purpose: Purpose| slots.get(&purpose).copied().unwrap_or(0);
            match check_grant(&grant, &signature, &wanted, slot_until) {
                Ok(()) => return Ok(grant),
                Err(reason) => reasons.push(format!("grant {}: {reason}", grant.struct_hash())),
            }
        }
        let why = if reasons.is_empty() { "no grant names this node".to_owned() } else { reasons.join("; ") };
        let detail = format!("no live grant for version {version} of datanet {id}: {why}");
        Err(NodeError::refused(Blame::Permission, "no-grant", detail))
    }

    /// Until when the chain allows this node each purpose.
    async fn slots(&self, id: DatanetId, needed: &[Purpose]) -> Result<BTreeMap<Purpose, u64>> {
        let mut slots = BTreeMap::new();
        for &purpose in needed {
            slots.insert(purpose, self.chain.granted_until(id, purpose).await?);
        }
        Ok(slots)
    }
}
