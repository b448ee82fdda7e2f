//! Intake: a file becomes batches to sign, signed batches become titles.
//!
//! # Place in the flow
//!
//! `pipeline::contribute` and `pipeline::register` call these steps in order. Nothing enters a datanet before its
//! registrants have signed: a file that nobody signs holds no nonce, and its records are duplicates of nothing.
//!
//! # Invariants
//!
//! - Signed batches enter in one transaction that checks again that their titles and texts are new.
//! - Each step may be repeated: the import's hash names its transactions.

mod plan;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy_primitives::B256;
use openledger_api::{BatchRegistered, ImportReport};
use openledger_chain::flow::NewContribution;
use openledger_datanet as rules;
use openledger_protocol::{BlobHash, ContributionId, DatanetId, RecordRef, Signature, keccak, sha256};
use openledger_store::Store;
use openledger_store::contributions::ContributionRow;
use openledger_store::imports::Registration;
use openledger_store::records::RecordRow;
use openledger_store::transact;

use crate::clock::Clock;
use crate::datanets::Datanets;
use crate::error::{Blame, NodeError, Result};
use crate::handles::Handles;
use crate::keys::NodeKeys;
use crate::on_chain::ContributionsOnChain;
use crate::records::Records;

/// Most batches of one file. A batch is a title, and all of them enter in one transaction.
pub(crate) const BATCHES_MAX: usize = 1_000;
/// Batches in one registering transaction: about 100 k gas each.
const REGISTER_CHUNK: usize = 40;
/// How long a registration waits for those that precede it on chain.
const TURN_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// Takes files of records into datanets.
#[derive(Clone)]
pub struct Intake {
    store: Store,
    chain: Arc<dyn ContributionsOnChain>,
    datanets: Datanets,
    handles: Handles,
    records: Records,
    keys: NodeKeys,
    clock: Clock,
}

/// A report with the rows that its registration will add.
pub(crate) struct Planned {
    pub(crate) report: ImportReport,
    contributions: Vec<ContributionRow>,
    records: Vec<RecordRow>,
    bodies: Vec<(RecordRef, Vec<u8>)>,
}

/// A batch that the chain has registered.
pub(crate) struct OnChain {
    contribution: ContributionId,
    tx: B256,
    block: u64,
}

/// Refuses a file with more than [`BATCHES_MAX`] lists of contributors: each becomes a batch.
///
/// # Errors
///
/// `too-many-batches`.
fn ensure_few_batches(parsed: &rules::Parsed) -> Result<()> {
    let lists: BTreeSet<&[String]> = parsed.records.iter().map(|parsed| &*parsed.record.contributors).collect();
    if lists.len() <= BATCHES_MAX {
        return Ok(());
    }
    let detail = format!(
        "the file has {} different lists of contributors, at most {BATCHES_MAX} are taken; cut it into several files",
        lists.len()
    );
    Err(NodeError::refused(Blame::Request, "too-many-batches", detail))
}

impl Intake {
    pub(crate) fn new(
        store: Store,
        chain: Arc<dyn ContributionsOnChain>,
        datanets: Datanets,
        handles: Handles,
        records: Records,
        keys: NodeKeys,
        clock: Clock,
    ) -> Self {
        Self { store, chain, datanets, handles, records, keys, clock }
    }

    /// The name of an import: keccak-256 of datanet and file hash.
    pub(crate) fn import_id(datanet: DatanetId, file: &[u8]) -> B256 {
        keccak([datanet.0.to_be_bytes().as_slice(), sha256(file).as_slice()].concat())
    }

    /// Reads a JSONL file under the policy of datanets: all or nothing if it is malformed.
    ///
    /// # Errors
    ///
    /// [`NodeError::Malformed`] with line and reason of each damage; `too-many-batches` beyond
    /// [`BATCHES_MAX`].
    pub(crate) async fn parse(file: Vec<u8>) -> Result<rules::Parsed> {
        tokio::task::spawn_blocking(move || {
            let policy = rules::Policy {
                required: openledger_protocol::Purposes::of(&rules::REQUIRED_PURPOSES),
                ..rules::Policy::default()
            };
            let read = rules::parse_jsonl_under(&file, &rules::Limits::default(), &policy);
            let parsed = read.map_err(|error| NodeError::Malformed {
                problems: error.problems.iter().map(|problem| (problem.line, problem.to_string())).collect(),
            })?;
            ensure_few_batches(&parsed)?;
            Ok(parsed)
        })
        .await?
    }

    /// The report of an import whose registration has begun: it is final.
    pub(crate) async fn begun(&self, import: B256) -> Result<Option<ImportReport>> {
        let Some(kept) = self.store.import(import).await? else { return Ok(None) };
        let report = rows::report(kept);
        Ok(self.has_entered(&report).await?.then_some(report))
    }

    /// Keeps what a file became, until its batches are signed.
    pub(crate) async fn keep(&self, datanet: DatanetId, file: &[u8], report: &ImportReport) -> Result<()> {
        let file = self.store.blobs().put(file.to_vec()).await?;
        let row = rows::import(datanet, file, report, self.clock.unix_ms());
        Ok(transact!(self.store, |tx| tx.put_import(&row).await)?)
    }

    /// What a file became, with the file.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub(crate) async fn kept(&self, import: B256) -> Result<(DatanetId, BlobHash, ImportReport)> {
        let row = self.store.import(import).await?.ok_or_else(|| NodeError::missing("import", import))?;
        Ok((row.datanet, row.file, rows::report(row)))
    }

    /// The file of an import.
    pub(crate) async fn file(&self, hash: BlobHash) -> Result<Vec<u8>> {
        Ok(self.store.blobs().get(hash).await?.to_vec())
    }

    /// Whether an import's batches are in the datanet.
    pub(crate) async fn has_entered(&self, report: &ImportReport) -> Result<bool> {
        for batch in &report.batches {
            let row = self.store.contribution(batch.contribution).await?;
            if row.is_none_or(|row| row.datanet != batch.registered.datanet || row.root != batch.registered.root) {
                return Ok(false);
            }
        }
        Ok(!report.batches.is_empty())
    }

    /// The batches with their registrants' signatures, as the chain takes them.
    ///
    /// # Errors
    ///
    /// `unsigned` naming a batch without signature; [`NodeError::Signature`] for a wrong one.
    pub(crate) fn signed(
        &self,
        report: &ImportReport,
        signatures: &BTreeMap<ContributionId, Signature>,
    ) -> Result<Vec<NewContribution>> {
        let salt = self.keys.derived("commitment salt");
        let signed = report.batches.iter().map(|batch| {
            let Some(signature) = signatures.get(&batch.contribution) else {
                let detail = format!("batch {} is not signed by {}", batch.contribution, batch.registrant);
                return Err(NodeError::refused(Blame::Permission, "unsigned", detail));
            };
            signature.verify(batch.digest, batch.registrant)?;
            let registered = &batch.registered;
            Ok(NewContribution {
                datanet: registered.datanet,
                root: registered.root,
                count: registered.count,
                terms: registered.terms,
                contributors: registered.contributors.clone(),
                registrant: batch.registrant,
                salt: keccak(salt.sign(batch.contribution.0).0),
                signature: Some(*signature),
            })
        });
        signed.collect()
    }

    /// Puts what was signed into the datanet, in one transaction; its titles follow.
    ///
    /// # Errors
    ///
    /// `stale-import` when another import came first, so that nonces or duplicates are others than was signed. Nothing
    /// is kept then.
    pub(crate) async fn enter(&self, signed: &ImportReport, planned: &Planned) -> Result<()> {
        let digests = |report: &ImportReport| report.batches.iter().map(|batch| batch.digest).collect::<Vec<_>>();
        if digests(&planned.report) != digests(signed) {
            return Err(stale());
        }
        let Some(datanet) = planned.contributions.first().map(|row| row.datanet) else { return Ok(()) };
        let hashes: Vec<B256> = planned.records.iter().map(|row| row.content_hash).collect();
        transact!(self.store, |tx| {
            for row in &planned.contributions {
                if tx.contribution(row.id).await?.is_some() {
                    return Err(stale());
                }
            }
            // Once for the file: all its batches enter one datanet.
            for chunk in hashes.chunks(500) {
                if !tx.records_with_content(datanet, chunk).await?.is_empty() {
                    return Err(stale());
                }
            }
            tx.put_contributions(&planned.contributions).await?;
            tx.put_records(&planned.records).await?;
            tx.put_record_bodies(&planned.bodies).await?;
            tx.commit_batches(signed.import).await?;
            Ok(())
        })
    }

    /// Registers signed batches on chain, in order; repeated, it finds the transactions that were sent.
    ///
    /// # Errors
    ///
    /// `registrations-pending` while earlier registrations of the same accounts are not on chain yet.
    pub(crate) async fn send(
        &self,
        import: B256,
        report: &ImportReport,
        batches: &[NewContribution],
    ) -> Result<Vec<OnChain>> {
        let mut done = Vec::with_capacity(batches.len());
        for (chunk, new) in batches.chunks(REGISTER_CHUNK).enumerate() {
            let first = chunk * REGISTER_CHUNK;
            self.await_turn(&report.batches[first..first + new.len()]).await?;
            self.chain.commit(&format!("import/{import}/commit/{chunk}"), new).await?;
            let registered = self.chain.register(&format!("import/{import}/register/{chunk}"), new).await?;
            let (tx, block) = (registered.mined.hash, registered.mined.block);
            done.extend(registered.value.into_iter().map(|contribution| OnChain { contribution, tx, block }));
        }
        Ok(done)
    }

    /// Waits until every registrant's earlier registrations are on chain: its nonces follow one another there.
    async fn await_turn(&self, batches: &[openledger_api::BatchToSign]) -> Result<()> {
        let mut first: BTreeMap<alloy_primitives::Address, u64> = BTreeMap::new();
        for batch in batches {
            first.entry(batch.registrant).or_insert(batch.registered.nonce);
        }
        let began = std::time::Instant::now();
        for (registrant, nonce) in first {
            loop {
                let head = self.chain.newest_block().await?;
                if self.chain.nonce(registrant).await? >= nonce {
                    break;
                }
                if began.elapsed() > TURN_MAX {
                    let detail = format!("registrations of {registrant} before this one are not on chain; try again");
                    return Err(NodeError::refused(Blame::Retry, "registrations-pending", detail));
                }
                let next = self.chain.next_block(head);
                let _ = tokio::time::timeout(std::time::Duration::from_secs(1), next).await;
            }
        }
        Ok(())
    }

    /// Notes who holds the new titles.
    pub(crate) async fn conclude(&self, import: B256, done: Vec<OnChain>) -> Result<Vec<BatchRegistered>> {
        self.chain.catch_up().await?;
        let titles = self.chain.domain().contract;
        transact!(self.store, |tx| {
            let mut registered = Vec::with_capacity(done.len());
            for OnChain { contribution, tx: hash, block } in &done {
                let (contribution, hash, block) = (*contribution, *hash, *block);
                let holder = tx.owner_at(titles, contribution.0, block).await?;
                let holder = holder.ok_or_else(|| NodeError::lost("title of contribution", contribution))?;
                tx.register_contribution(contribution, holder).await?;
                tx.batch_registered(import, contribution, &Registration { holder, tx: hash, block }).await?;
                registered.push(BatchRegistered { contribution, holder, tx: hash, block });
            }
            Ok::<_, NodeError>(registered)
        })
    }
}

fn stale() -> NodeError {
    let detail = "another import came first; import the file again and sign what it becomes now";
    NodeError::refused(Blame::Conflict, "stale-import", detail)
}
