//! Grants: a datanet owner's leave, relayed to the chain; and the check the trainer makes before it reads a row.

use alloy_primitives::B256;
use openledger_protocol::{Grant, Purpose, Signature};
use openledger_store::grants::GrantRow;

use crate::error::{Blame, NodeError, Result};
use crate::node::Node;

impl Node {
    /// Puts a signed grant on chain and keeps it; returns its hash, transaction and block.
    ///
    /// # Errors
    ///
    /// [`NodeError::Signature`] when it is not the owner's, `terms-differ`, or the contract's refusal.
    pub async fn put_grant(&self, grant: &Grant, signature: &Signature) -> Result<(B256, B256, u64)> {
        let (datanet, rights) = self.known_datanet(grant.datanet).await?;
        let domain = self.domain(self.inner.flow.addresses().datanets);
        let hash = grant.struct_hash();
        signature.verify(domain.digest(hash), datanet.owner)?;
        if grant.terms != rights.terms_hash()? {
            let detail = format!("the grant names other terms than datanet {}", grant.datanet);
            return Err(NodeError::refused(Blame::Conflict, "terms-differ", detail));
        }
        let mined = self.inner.flow.grant_signed(&format!("grant/{hash}"), grant, signature).await?;
        let row = GrantRow {
            hash,
            datanet: grant.datanet,
            version: grant.version,
            grantee: grant.grantee,
            purposes: grant.purposes.0,
            until: grant.until,
            signature: signature.0.to_vec(),
        };
        if self.inner.store.grant(hash).await?.is_none() {
            let mut tx = self.inner.store.begin().await?;
            tx.put_grant(&row).await?;
            tx.commit().await?;
        }
        self.sync().await?;
        Ok((hash, mined.hash, mined.block))
    }

    /// The grant under which this node may fine-tune on a version, checked now: signature, terms, version, purposes,
    /// time, and the slot of every purpose on chain.
    ///
    /// # Errors
    ///
    /// `no-grant` saying for each known grant why it does not serve.
    pub(crate) async fn live_grant(
        &self,
        id: openledger_protocol::DatanetId,
        version: u64,
        needed: &[Purpose],
    ) -> Result<Grant> {
        let (datanet, rights) = self.known_datanet(id).await?;
        let (_, head_time) = self.sync().await?;
        let now = self.now(head_time);
        let me = self.inner.flow.account();
        let domain = self.domain(self.inner.flow.addresses().datanets);
        let terms = rights.terms_hash()?;
        let mut reasons = Vec::new();
        for row in self.inner.store.grants_of(id).await? {
            if row.grantee != me {
                continue;
            }
            let grant = Grant {
                datanet: id,
                version: row.version,
                grantee: row.grantee,
                purposes: openledger_protocol::Purposes(row.purposes),
                until: row.until,
                terms,
            };
            let mut slots = std::collections::BTreeMap::new();
            for &purpose in needed {
                slots.insert(purpose, self.inner.flow.granted_until(id, me, purpose).await?);
            }
            let signature = <[u8; 65]>::try_from(row.signature.as_slice()).map(Signature);
            let signature = signature.map_err(|_| openledger_protocol::SignatureError::Malformed)?;
            let slot_until = |purpose: Purpose| slots.get(&purpose).copied().unwrap_or(0);
            let wanted = openledger_datanet::GrantUse {
                owner: datanet.owner,
                domain,
                datanet: id,
                version,
                grantee: me,
                needed: openledger_protocol::Purposes::of(needed),
                terms,
                now,
            };
            match openledger_datanet::check_grant(&grant, &signature, &wanted, slot_until) {
                Ok(()) => return Ok(grant),
                Err(reason) => reasons.push(format!("grant {}: {reason}", grant.struct_hash())),
            }
        }
        let why = if reasons.is_empty() { "no grant names this node".to_owned() } else { reasons.join("; ") };
        let detail = format!("no live grant for version {version} of datanet {id}: {why}");
        Err(NodeError::refused(Blame::Permission, "no-grant", detail))
    }
}
