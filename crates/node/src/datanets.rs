//! Datanets and their versions: titles taken up from the chain, versions published with the owner's
//! signature.
//!
//! **Invariant:** a version is planned in the database before it is sent. So one that the chain has
//! and the database lacks, after a crash between the two, is kept as it was planned.

use std::collections::BTreeSet;
use std::sync::Arc;

use alloy_primitives::B256;
use openledger_api::{NewDatanet, VersionPublished};
use openledger_chain::flow::Done;
use openledger_chain::sender::Mined;
use openledger_datanet::{REQUIRED_PURPOSES, Title, next_publication, publication};
use openledger_protocol::{DatanetId, Publication, Purposes, Rights, Signature, word};
use openledger_store::contributions::{ContributionRow, ContributionState};
use openledger_store::datanets::{Datanet, DatanetVersion};
use openledger_store::transact;
use openledger_store::{Error as StoreError, Store};

use crate::error::{Blame, NodeError, Result};
use crate::on_chain::{DatanetsOnChain, PublishedVersion};

/// The longest description of a datanet, in bytes.
const DESCRIPTION_MAX: usize = 4_000;

/// The name of a datanet or model in the spelling in which names are kept and compared.
///
/// # Errors
/// `bad-name`.
pub(crate) fn checked_name(name: &str) -> Result<String> {
    openledger_datanet::title_name(name)
        .map_err(|reason| NodeError::refused(Blame::Request, "bad-name", reason.to_string()))
}

/// The datanets that this node has taken up.
#[derive(Clone)]
pub struct Datanets {
    store: Store,
    chain: Arc<dyn DatanetsOnChain>,
}

/// A version that its owner may sign.
pub(crate) struct Plan {
    /// What the owner signs.
    pub(crate) publication: Publication,
    /// The row that is kept once it is published.
    pub(crate) version: DatanetVersion,
}

impl Datanets {
    pub(crate) fn new(store: Store, chain: Arc<dyn DatanetsOnChain>) -> Self {
        Self { store, chain }
    }

    /// Takes up a datanet whose title exists on chain; repeated, it gives the one that is known.
    ///
    /// # Errors
    ///
    /// `not-found` when there is no such title, `terms-differ` when its terms on chain are others, `rights-too-narrow`,
    /// `name-taken`, `bad-name`, `bad-description`.
    pub async fn take_up(&self, new: &NewDatanet) -> Result<Datanet> {
        let name = checked_name(&new.name)?;
        if new.description.len() > DESCRIPTION_MAX {
            let detail = format!("a datanet's description has at most {DESCRIPTION_MAX} bytes");
            return Err(NodeError::refused(Blame::Request, "bad-description", detail));
        }
        self.chain.catch_up().await?;
        let terms = self.chain.terms(new.id).await?;
        let owner = self.owner(new.id).await?;
        if terms != new.rights.terms_hash()? {
            let detail = format!("datanet {} has other terms on chain: {terms}", new.id);
            return Err(NodeError::refused(Blame::Conflict, "terms-differ", detail));
        }
        if !new.rights.purposes.allow(Purposes::of(&REQUIRED_PURPOSES)) {
            let detail = format!("the terms must allow {:?}", Purposes::of(&REQUIRED_PURPOSES));
            return Err(NodeError::refused(Blame::Request, "rights-too-narrow", detail));
        }
        let datanet = Datanet {
            id: new.id,
            name,
            owner,
            description: new.description.clone(),
            rights: new.rights.clone(),
            records: 0,
            contributions: 0,
            created: self.chain.signing_time().saturating_mul(1000),
        };
        transact!(self.store, |tx| {
            if let Some(known) = tx.datanet(datanet.id).await? {
                return Ok(known);
            }
            if let Some(other) = tx.datanet_named(&datanet.name).await? {
                let detail = format!("`{}` is datanet {} already", datanet.name, other.id);
                return Err(NodeError::refused(Blame::Conflict, "name-taken", detail));
            }
            tx.put_datanet(&datanet).await?;
            Ok(datanet.clone())
        })
    }

    /// The account that holds a datanet's title now: titles are traded.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub(crate) async fn owner(&self, id: DatanetId) -> Result<alloy_primitives::Address> {
        let owner = self.store.owner_now(self.chain.domain().contract, word(id.0)).await?;
        owner.ok_or_else(|| NodeError::missing("datanet title", id))
    }

    /// A datanet with its terms.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub(crate) async fn known(&self, id: DatanetId) -> Result<(Datanet, Rights)> {
        let datanet = self.store.datanet(id).await?.ok_or_else(|| NodeError::missing("datanet", id))?;
        let rights = datanet.rights.clone();
        Ok((datanet, rights))
    }

    /// A published version.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub(crate) async fn version(&self, id: DatanetId, version: u64) -> Result<DatanetVersion> {
        let found = self.store.datanet_version(id, version).await?;
        found.ok_or_else(|| NodeError::missing("datanet version", format!("{id}/{version}")))
    }

    /// What the owner signs to publish the contributions registered so far, and its digest.
    ///
    /// # Errors
    ///
    /// `nothing-new` when the newest version holds all of them; `conflict`.
    pub async fn next_version(&self, id: DatanetId) -> Result<(Publication, B256)> {
        let publication = self.plan(id).await?.publication;
        let digest = self.digest(&publication);
        Ok((publication, digest))
    }

    /// The next version over the contributions registered so far.
    ///
    /// # Errors
    ///
    /// `nothing-new`; `conflict`.
    pub(crate) async fn plan(&self, id: DatanetId) -> Result<Plan> {
        self.known(id).await?;
        self.take_up_versions(id).await?;
        let rows = self.store.contributions_of(id).await?;
        let registered: Vec<_> = rows.into_iter().filter(|row| row.state == ContributionState::Registered).collect();
        let latest = self.store.latest_datanet_version(id).await?;
        let newest = latest.map(|version| (version.version, version.contributions.len()));
        let titles = titles(&registered);
        // The root hashes every title of the datanet.
        let next = tokio::task::spawn_blocking(move || next_publication(id, newest, &titles)).await?;
        let publication = next.ok_or_else(|| {
            let detail = format!("datanet {id} has no contribution that is not published");
            NodeError::refused(Blame::Conflict, "nothing-new", detail)
        })?;
        let contributions = registered.iter().map(|row| row.id).collect();
        let (version, root) = (publication.expected_version, publication.root);
        Ok(Plan { publication, version: DatanetVersion { datanet: id, version, root, contributions } })
    }

    /// Keeps the versions that the chain has and the database lacks, as they were planned.
    ///
    /// # Errors
    ///
    /// `conflict` when one of them was not planned with this database.
    async fn take_up_versions(&self, id: DatanetId) -> Result<()> {
        let newest = self.chain.newest_version(id).await?;
        let kept = self.store.latest_datanet_version(id).await?.map_or(0, |version| version.version);
        for number in kept + 1..=newest {
            let root = self.chain.version_root(id, number).await?;
            let planned = self.store.planned_version(id, number, root).await?;
            self.put(&planned.ok_or_else(|| another_version(id, number, root))?).await?;
        }
        Ok(())
    }

    /// Keeps a version, unless it is kept already.
    async fn put(&self, version: &DatanetVersion) -> Result<()> {
        Ok(transact!(self.store, |tx| match tx.datanet_version(version.datanet, version.version).await? {
            Some(_) => Ok(()),
            None => tx.put_datanet_version(version).await,
        })?)
    }

    /// The newest version, when `signature` is its owner's for it: a repeat of what was published.
    ///
    /// # Errors
    ///
    /// `conflict`.
    pub(crate) async fn already_published(&self, id: DatanetId, signature: &Signature) -> Result<Option<Plan>> {
        if self.store.datanet(id).await?.is_some() {
            self.take_up_versions(id).await?;
        }
        let Some(version) = self.store.latest_datanet_version(id).await? else { return Ok(None) };
        let rows = self.store.contributions_of(id).await?;
        let published: BTreeSet<_> = version.contributions.iter().copied().collect();
        let held: Vec<_> = rows.into_iter().filter(|row| published.contains(&row.id)).collect();
        let (number, titles) = (version.version, titles(&held));
        let publication = tokio::task::spawn_blocking(move || publication(id, number, &titles)).await?;
        let plan = Plan { publication, version };
        match self.verify(&plan, signature).await {
            Ok(()) => Ok(Some(plan)),
            Err(NodeError::Signature(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks that `signature` is the owner's for a planned version.
    ///
    /// # Errors
    ///
    /// [`NodeError::Signature`].
    pub(crate) async fn verify(&self, plan: &Plan, signature: &Signature) -> Result<()> {
        let owner = self.owner(plan.publication.datanet).await?;
        Ok(signature.verify(self.digest(&plan.publication), owner)?)
    }

    /// Publishes a planned version on chain; a repeat finds the first transaction.
    ///
    /// # Errors
    ///
    /// `conflict` when the transaction has published something else.
    pub(crate) async fn send(&self, plan: &Plan, signature: &Signature) -> Result<Mined> {
        let version = &plan.version;
        let planned: Result<(), StoreError> = transact!(self.store, |tx| tx.plan_datanet_version(version).await);
        planned?;
        let wanted = PublishedVersion { datanet: version.datanet, version: version.version, root: version.root };
        let key = format!("datanet/{}/publish/{}/{}", wanted.datanet, wanted.version, wanted.root);
        let Done { value: found, mined } = self.chain.publish(&key, &plan.publication, signature).await?;
        if found == wanted { Ok(mined) } else { Err(another_version(found.datanet, found.version, found.root)) }
    }

    /// Keeps a version that is on chain.
    pub(crate) async fn keep(&self, plan: &Plan, mined: &Mined) -> Result<VersionPublished> {
        let version = &plan.version;
        self.put(version).await?;
        self.chain.catch_up().await?;
        Ok(VersionPublished { version: version.version, root: version.root, tx: mined.hash, block: mined.block })
    }

    fn digest(&self, publication: &Publication) -> B256 {
        self.chain.domain().digest(publication.struct_hash())
    }
}

/// The refusal of a version on chain that this database did not plan.
fn another_version(datanet: DatanetId, version: u64, root: B256) -> NodeError {
    let detail = format!(
        "the chain has version {version} of datanet {datanet} with root {root}, which this database did not plan: \
         publish the datanet from the node that published this version"
    );
    NodeError::refused(Blame::Conflict, "conflict", detail)
}

fn titles(rows: &[ContributionRow]) -> Vec<Title> {
    rows.iter().map(|row| Title { contribution: row.id, root: row.root, count: row.count }).collect()
}
