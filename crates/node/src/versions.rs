//! Datanets and their versions: the owner's signature, relayed.

use alloy_primitives::B256;
use openledger_protocol::{DatanetId, Publication, Purpose, Purposes, Rights, Signature};
use openledger_store::contributions::ContributionState;
use openledger_store::datanets::{Datanet, DatanetVersion};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Blame, NodeError, Result};
use crate::node::Node;

/// A datanet to take up: it exists on chain already.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewDatanet {
    /// Its title.
    pub id: DatanetId,
    /// Its name on this node.
    pub name: String,
    /// What it is about.
    #[serde(default)]
    pub description: String,
    /// Its terms; their hash stands on chain.
    pub rights: Rights,
}

/// What must be allowed by the licence of every record that enters a datanet.
pub(crate) const REQUIRED: [Purpose; 3] = [Purpose::Finetune, Purpose::Evaluate, Purpose::Infer];

/// A version that was published.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// The version.
    pub version: u64,
    /// Its root.
    pub root: B256,
    /// The transaction.
    pub tx: B256,
    /// Its block.
    pub block: u64,
}

impl Node {
    /// Takes up a datanet whose title exists on chain.
    ///
    /// # Errors
    ///
    /// `not-found` when there is no such title, `terms-differ` when its terms on chain are others, `name-taken`.
    pub async fn put_datanet(&self, new: &NewDatanet) -> Result<Datanet> {
        self.sync().await?;
        let on_chain = self.inner.flow.datanet(new.id).await?;
        let titles = self.inner.flow.addresses().datanets;
        let token = openledger_protocol::word(new.id.0);
        let owner = self.inner.store.owner_at(titles, token, u64::MAX >> 1).await?;
        let owner = owner.ok_or_else(|| NodeError::missing("datanet title", new.id))?;
        if on_chain.terms != new.rights.terms_hash()? {
            let detail = format!("datanet {} has other terms on chain: {}", new.id, on_chain.terms);
            return Err(NodeError::refused(Blame::Conflict, "terms-differ", detail));
        }
        if !new.rights.purposes.allow(Purposes::of(&REQUIRED)) {
            let detail = format!("the terms must allow {:?}", Purposes::of(&REQUIRED));
            return Err(NodeError::refused(Blame::Request, "rights-too-narrow", detail));
        }
        if let Some(known) = self.inner.store.datanet(new.id).await? {
            return Ok(known);
        }
        if let Some(other) = self.inner.store.datanet_named(&new.name).await? {
            let detail = format!("`{}` is datanet {} already", new.name, other.id);
            return Err(NodeError::refused(Blame::Conflict, "name-taken", detail));
        }
        let datanet = Datanet {
            id: new.id,
            name: new.name.clone(),
            owner,
            terms: json!({ "rights": new.rights, "description": new.description }),
            created: 0,
        };
        let mut tx = self.inner.store.begin().await?;
        tx.put_datanet(&datanet).await?;
        tx.commit().await?;
        Ok(datanet)
    }

    pub(crate) async fn known_datanet(&self, id: DatanetId) -> Result<(Datanet, Rights)> {
        let datanet = self.inner.store.datanet(id).await?.ok_or_else(|| NodeError::missing("datanet", id))?;
        let rights = serde_json::from_value(datanet.terms["rights"].clone())?;
        Ok((datanet, rights))
    }

    /// What the owner signs to publish the contributions registered so far, and the digest.
    ///
    /// # Errors
    ///
    /// `nothing-new` when the newest version holds all of them.
    pub async fn next_version(&self, id: DatanetId) -> Result<(Publication, B256)> {
        let (publication, _) = self.planned_version(id).await?;
        let digest = self.domain(self.inner.flow.addresses().datanets).digest(publication.struct_hash());
        Ok((publication, digest))
    }

    async fn planned_version(&self, id: DatanetId) -> Result<(Publication, DatanetVersion)> {
        self.known_datanet(id).await?;
        let rows = self.inner.store.contributions_of(id).await?;
        let registered: Vec<_> = rows.into_iter().filter(|row| row.state == ContributionState::Registered).collect();
        let latest = self.inner.store.latest_datanet_version(id).await?;
        if registered.len() == latest.as_ref().map_or(0, |version| version.contributions.len()) {
            let detail = format!("datanet {id} has no contribution that is not published");
            return Err(NodeError::refused(Blame::Conflict, "nothing-new", detail));
        }
        let leaves: Vec<B256> = registered
            .iter()
            .map(|row| openledger_protocol::contribution_leaf(id, row.id, row.root, row.count))
            .collect();
        let root = openledger_protocol::merkle::root(&leaves);
        let version = latest.map_or(0, |version| version.version) + 1;
        let records = registered.iter().map(|row| u64::from(row.count)).sum();
        let publication = Publication { datanet: id, expected_version: version, root, records };
        let contributions = registered.iter().map(|row| row.id).collect();
        Ok((publication, DatanetVersion { datanet: id, version, root, contributions }))
    }

    /// What the owner signed to publish a version that is kept.
    async fn publication(&self, version: &DatanetVersion) -> Result<Publication> {
        let rows = self.inner.store.contributions_of(version.datanet).await?;
        let held = rows.iter().filter(|row| version.contributions.contains(&row.id));
        let records = held.map(|row| u64::from(row.count)).sum();
        let (datanet, expected_version, root) = (version.datanet, version.version, version.root);
        Ok(Publication { datanet, expected_version, root, records })
    }

    /// Publishes the next version with its owner's signature; repeated with the newest version's, it gives that again.
    ///
    /// # Errors
    ///
    /// [`NodeError::Signature`] when it is not the owner's; `nothing-new`.
    pub async fn publish(&self, id: DatanetId, signature: &Signature) -> Result<Published> {
        let _one = self.inner.intake.lock().await;
        let (datanet, _) = self.known_datanet(id).await?;
        let domain = self.domain(self.inner.flow.addresses().datanets);
        let signed = |of: &Publication| signature.verify(domain.digest(of.struct_hash()), datanet.owner);
        if let Some(latest) = self.inner.store.latest_datanet_version(id).await? {
            let publication = self.publication(&latest).await?;
            if signed(&publication).is_ok() {
                let key = format!("datanet/{id}/publish/{}", latest.version);
                let done = self.inner.flow.publish_signed(&key, &publication, signature).await?;
                let (version, root) = (latest.version, latest.root);
                return Ok(Published { version, root, tx: done.mined.hash, block: done.mined.block });
            }
        }
        let (publication, version) = self.planned_version(id).await?;
        signed(&publication)?;
        let key = format!("datanet/{id}/publish/{}", version.version);
        let done = self.inner.flow.publish_signed(&key, &publication, signature).await?;
        let mut tx = self.inner.store.begin().await?;
        tx.put_datanet_version(&version).await?;
        tx.commit().await?;
        self.sync().await?;
        Ok(Published { version: version.version, root: version.root, tx: done.mined.hash, block: done.mined.block })
    }
}
