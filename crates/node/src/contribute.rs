//! Contributions: a file becomes batches to sign, signed batches become titles.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use openledger_chain::flow::NewContribution;
use openledger_datanet as rules;
use openledger_protocol::{
    BlobHash, Contribution, ContributionId, DatanetId, Purposes, Record, RecordRef, Signature, keccak, sha256,
};
use openledger_store::contributions::{ContributionRow, ContributionState};
use openledger_store::imports::RefusedRecord;
use openledger_store::records::RecordRow;
use serde::{Deserialize, Serialize};

use crate::error::{Blame, NodeError, Result};
use crate::node::Node;
use crate::versions::REQUIRED;

/// Batches in one registering transaction: about 100 k gas each.
const REGISTER_CHUNK: usize = 40;

/// A record that was not taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// Its line, from 1.
    pub line: u64,
    /// Its id, when the line had one.
    pub id: Option<String>,
    /// Why.
    pub reason: String,
}

/// A record taken though it is nearly another one; the earlier one's contributor keeps what both say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NearDuplicate {
    /// The record's id.
    pub record: String,
    /// The earlier one's.
    pub of: String,
}

/// A batch to be signed by its registrant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// Its title.
    pub contribution: ContributionId,
    /// Who signs.
    pub registrant: Address,
    /// The contributors' handles.
    pub contributors: Vec<String>,
    /// The contribution as it will be registered.
    pub registered: Contribution,
    /// What the registrant signs.
    pub digest: B256,
}

/// What became of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Import {
    /// Its name: keccak-256 of datanet and file hash.
    pub import: B256,
    /// Records in the file.
    pub lines: u64,
    /// Records taken.
    pub accepted: u64,
    /// Records not taken.
    pub refused: Vec<Refused>,
    /// Records taken as near duplicates.
    pub near_duplicates: Vec<NearDuplicate>,
    /// The batches, in order of first appearance.
    pub batches: Vec<Batch>,
}

/// A batch that is registered.
#[derive(Clone, Debug, Serialize)]
pub struct RegisteredBatch {
    /// Its title.
    pub contribution: ContributionId,
    /// Who is paid for it: the contributor, or the splitter of several.
    pub holder: Address,
    /// The transaction.
    pub tx: B256,
    /// Its block.
    pub block: u64,
}

impl Node {
    /// Takes a JSONL file: all or nothing if it is malformed; else every record that a rule refuses is listed and the
    /// rest is made ready for signing. The same file again gives the same answer while nothing it rests on has changed.
    ///
    /// Nothing enters the datanet before its registrants have signed: a file that nobody signs holds no nonce, and its
    /// records are nobody's duplicates. Near duplicates are looked for among all records of the datanet, which are read
    /// for it: the cost grows with the datanet, about 1 kB of memory a record.
    ///
    /// # Errors
    ///
    /// [`NodeError::Malformed`]; `unknown-contributor` listing handles without an account.
    pub async fn import(&self, id: DatanetId, file: &[u8]) -> Result<Import> {
        let _one = self.inner.intake.lock().await;
        self.known_datanet(id).await?;
        let import = keccak([id.0.to_be_bytes().as_slice(), sha256(file).as_slice()].concat());
        if let Some(kept) = self.kept_import(import).await?
            && self.begun(&kept.report).await?
        {
            return Ok(kept.report);
        }
        let report = self.plan(id, import, file).await?.report;
        let file = self.inner.store.blobs().put(file.to_vec()).await?;
        let kept = KeptImport { datanet: id, file, report };
        let mut tx = self.inner.store.begin().await?;
        tx.put_kv(&import_key(import), &serde_json::to_vec(&kept)?).await?;
        tx.commit().await?;
        Ok(kept.report)
    }

    async fn kept_import(&self, import: B256) -> Result<Option<KeptImport>> {
        let stored = self.inner.store.kv(&import_key(import)).await?;
        Ok(stored.map(|stored| serde_json::from_slice(&stored)).transpose()?)
    }

    /// Whether an import's registration has begun: its batches are in the datanet.
    async fn begun(&self, report: &Import) -> Result<bool> {
        for batch in &report.batches {
            let row = self.inner.store.contribution(batch.contribution).await?;
            if row.is_none_or(|row| row.datanet != batch.registered.datanet || row.root != batch.registered.root) {
                return Ok(false);
            }
        }
        Ok(!report.batches.is_empty())
    }

    /// What a file becomes as the datanet and its registrants stand now.
    async fn plan(&self, id: DatanetId, import: B256, file: &[u8]) -> Result<Planned> {
        let policy = rules::Policy { required: Purposes::of(&REQUIRED), ..rules::Policy::default() };
        let parsed = rules::parse_jsonl_under(file, &rules::Limits::default(), &policy);
        let parsed = parsed.map_err(|error| NodeError::Malformed {
            problems: error.problems.iter().map(|p| (p.line, p.to_string())).collect(),
        })?;
        let lines = (parsed.records.len() + parsed.refused.len()) as u64;
        let mut refused: Vec<Refused> = parsed
            .refused
            .iter()
            .map(|r| Refused { line: r.line, id: r.id.clone(), reason: r.reason.to_string() })
            .collect();
        let taken = self.without_known(id, parsed.records, &mut refused).await?;
        refused.sort_by_key(|r| r.line);

        let near = self.near_duplicates(id, &taken).await?;
        let accepted = taken.len() as u64;
        let (batches, contributions, mut records) = self.prepare(id, taken).await?;
        let multipliers: BTreeMap<&str, u16> =
            near.iter().map(|found| (found.record.as_str(), found.multiplier)).collect();
        for row in &mut records {
            if let Some(&multiplier) = multipliers.get(row.record_id.as_str()) {
                row.multiplier = multiplier;
            }
        }
        let near_duplicates =
            near.into_iter().filter_map(|found| Some(NearDuplicate { of: found.of?, record: found.record })).collect();
        let report = Import { import, lines, accepted, refused, near_duplicates, batches };
        Ok(Planned { report, contributions, records })
    }

    /// Puts what was signed into the datanet, in one transaction; its titles follow.
    async fn take_in(&self, planned: &Planned) -> Result<()> {
        let refused: Vec<RefusedRecord> = planned
            .report
            .refused
            .iter()
            .map(|r| RefusedRecord {
                import: planned.report.import,
                line: u32::try_from(r.line).unwrap_or(u32::MAX),
                record_id: r.id.clone(),
                reason: r.reason.clone(),
            })
            .collect();
        let mut tx = self.inner.store.begin().await?;
        for row in &planned.contributions {
            tx.put_contribution(row).await?;
        }
        tx.put_records(&planned.records).await?;
        tx.put_refused_records(&refused).await?;
        Ok(tx.commit().await?)
    }

    /// Leaves out what the datanet holds already; whoever brought it first keeps it.
    async fn without_known(
        &self,
        id: DatanetId,
        parsed: Vec<rules::ParsedRecord>,
        refused: &mut Vec<Refused>,
    ) -> Result<Vec<rules::ParsedRecord>> {
        let hashes: Vec<B256> = parsed.iter().map(|record| record.folded_hash).collect();
        let mut known: BTreeMap<B256, String> = BTreeMap::new();
        for chunk in hashes.chunks(500) {
            for row in self.inner.store.records_with_content(id, chunk).await? {
                known.entry(row.content_hash).or_insert(row.record_id);
            }
        }
        let (taken, kept): (Vec<_>, Vec<_>) =
            parsed.into_iter().partition(|record| known.contains_key(&record.folded_hash));
        refused.extend(taken.into_iter().map(|record| Refused {
            line: record.line,
            reason: format!("duplicate of `{}`, which was here first", rules::printable(&known[&record.folded_hash])),
            id: Some(record.record.id),
        }));
        Ok(kept)
    }

    /// Near duplicates among the new records and of those in the datanet, earlier ones first.
    async fn near_duplicates(&self, id: DatanetId, accepted: &[rules::ParsedRecord]) -> Result<Vec<Near>> {
        let mut names = Vec::new();
        let mut clusters = rules::near::Clusters::default();
        for (row, record) in self.stored_records(id).await? {
            clusters.add(&record.body.canonical_text());
            names.push(row.record_id);
        }
        let mut found = Vec::new();
        for parsed in accepted {
            let placement = clusters.add(&parsed.record.body.canonical_text());
            names.push(parsed.record.id.clone());
            if placement.near.is_some() || placement.multiplier != rules::near::WHOLE {
                found.push(Near {
                    record: parsed.record.id.clone(),
                    of: placement.near.map(|_| names[placement.owner as usize].clone()),
                    multiplier: placement.multiplier,
                });
            }
        }
        Ok(found)
    }

    /// All records of a datanet with their bodies, in order of acceptance.
    pub(crate) async fn stored_records(&self, id: DatanetId) -> Result<Vec<(RecordRow, Record)>> {
        let mut rows = Vec::new();
        for contribution in self.inner.store.contributions_of(id).await? {
            rows.extend(self.inner.store.records_of(contribution.id).await?);
        }
        let mut records = Vec::with_capacity(rows.len());
        for row in rows {
            let record = self.record_body(&row).await?;
            records.push((row, record));
        }
        Ok(records)
    }

    pub(crate) async fn record_body(&self, row: &RecordRow) -> Result<Record> {
        Ok(serde_json::from_slice(&self.inner.store.blobs().get(row.blob).await?)?)
    }

    /// Cuts the records into batches of one list of contributors each and works out their titles and roots.
    async fn prepare(
        &self,
        id: DatanetId,
        accepted: Vec<rules::ParsedRecord>,
    ) -> Result<(Vec<Batch>, Vec<ContributionRow>, Vec<RecordRow>)> {
        let accounts: BTreeMap<String, Address> = self.inner.store.accounts().await?.into_iter().collect();
        let unknown: BTreeSet<&str> = accepted
            .iter()
            .flat_map(|parsed| parsed.record.contributors.iter())
            .filter(|name| !accounts.contains_key(*name))
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            let shown: Vec<String> = unknown.iter().take(20).map(|name| rules::printable(name)).collect();
            let detail = format!("{} contributors have no account here: {}", unknown.len(), shown.join(", "));
            return Err(NodeError::refused(Blame::Request, "unknown-contributor", detail));
        }
        let (_, rights) = self.known_datanet(id).await?;
        let terms = rights.terms_hash()?;
        let at = *self.inner.flow.addresses();
        let mut nonces: BTreeMap<Address, u64> = BTreeMap::new();
        let (mut batches, mut contributions, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for batch in rules::batches(accepted) {
            let contributors: Vec<Address> = batch.contributors.iter().map(|name| accounts[name]).collect();
            let registrant = contributors[0];
            let nonce = match nonces.get(&registrant) {
                Some(&next) => next,
                // The chain's count, or ours where registrations are still on their way there.
                None => {
                    let on_chain = self.inner.flow.contribution_nonce(registrant).await?;
                    on_chain.max(self.inner.store.registrations_by(registrant).await?)
                }
            };
            nonces.insert(registrant, nonce + 1);
            let contribution =
                openledger_protocol::contribution_id(self.inner.chain_id, at.contributions, registrant, nonce);
            let prepared = {
                let registering = rules::Registering {
                    chain_id: self.inner.chain_id,
                    datanet: id,
                    contribution,
                    registrant,
                    nonce,
                    accounts: contributors.clone(),
                    terms,
                    salting: rules::Salting::Public,
                };
                rules::prepare(batch, &registering)?
            };
            let blobs = self.put_bodies(&prepared.records).await?;
            for (record, blob) in prepared.records.iter().zip(blobs) {
                rows.push(RecordRow {
                    at: RecordRef { contribution, index: record.index },
                    record_id: record.record.id.clone(),
                    content_hash: record.folded_hash,
                    content_root: record.content_root,
                    length: record.length,
                    blob,
                    license: record.record.license.clone(),
                    tokens: None,
                    owner: None,
                    multiplier: rules::near::WHOLE,
                });
            }
            let registered = prepared.contribution;
            contributions.push(ContributionRow {
                id: contribution,
                datanet: id,
                registrant,
                contributors,
                root: registered.root,
                count: registered.count,
                seq: 0,
                state: ContributionState::Committed,
                payee: None,
                manifest: None,
            });
            let digest = self.domain(at.contributions).digest(registered.registration().struct_hash());
            batches.push(Batch { contribution, registrant, contributors: prepared.contributors, registered, digest });
        }
        Ok((batches, contributions, rows))
    }

    async fn put_bodies(&self, records: &[rules::PreparedRecord]) -> Result<Vec<BlobHash>> {
        let bodies: Vec<Vec<u8>> =
            records.iter().map(|prepared| serde_json::to_vec(&prepared.record)).collect::<Result<_, _>>()?;
        let blobs = self.inner.store.blobs();
        let mut hashes = Vec::with_capacity(bodies.len());
        for chunk in bodies.chunks(16) {
            let puts: Vec<_> = chunk.iter().map(|body| blobs.put(body.clone())).collect();
            hashes.extend(futures::future::try_join_all(puts).await?);
        }
        Ok(hashes)
    }

    /// Registers an import's batches with their registrants' signatures: all of them, in order. Repeated, it goes on
    /// where it stopped and gives the same answer.
    ///
    /// # Errors
    ///
    /// `unsigned` naming a batch without signature; [`NodeError::Signature`] for a wrong one; `stale-import` when
    /// another import came first, so that nonces or duplicates are others than was signed. Nothing is kept or sent then.
    pub async fn register(
        &self,
        import: B256,
        signatures: &BTreeMap<ContributionId, Signature>,
    ) -> Result<Vec<RegisteredBatch>> {
        let _one = self.inner.intake.lock().await;
        let kept = self.kept_import(import).await?.ok_or_else(|| NodeError::missing("import", import))?;
        let report = &kept.report;
        let salt = self.derived_key("commitment salt");
        let mut batches = Vec::with_capacity(report.batches.len());
        for batch in &report.batches {
            let Some(signature) = signatures.get(&batch.contribution) else {
                let detail = format!("batch {} is not signed by {}", batch.contribution, batch.registrant);
                return Err(NodeError::refused(Blame::Permission, "unsigned", detail));
            };
            signature.verify(batch.digest, batch.registrant)?;
            let registered = &batch.registered;
            batches.push(NewContribution {
                datanet: registered.datanet,
                root: registered.root,
                count: registered.count,
                terms: registered.terms,
                contributors: registered.contributors.clone(),
                registrant: batch.registrant,
                salt: keccak(salt.sign(batch.contribution.0).0),
                signature: Some(*signature),
            });
        }
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        if !self.begun(report).await? {
            let file = self.inner.store.blobs().get(kept.file).await?;
            let planned = self.plan(kept.datanet, import, &file).await?;
            let digests = |report: &Import| report.batches.iter().map(|batch| batch.digest).collect::<Vec<_>>();
            if digests(&planned.report) != digests(report) {
                let detail = "another import came first; import the file again and sign what it becomes now";
                return Err(NodeError::refused(Blame::Conflict, "stale-import", detail));
            }
            self.take_in(&planned).await?;
        }
        let mut done = Vec::with_capacity(batches.len());
        for (chunk, batches) in batches.chunks(REGISTER_CHUNK).enumerate() {
            let flow = &self.inner.flow;
            flow.commit(&format!("import/{import}/commit/{chunk}"), batches).await?;
            let mined = flow.register_many(&format!("import/{import}/register/{chunk}"), batches).await?;
            done.extend(mined.value.into_iter().map(|id| (id, mined.mined.hash, mined.mined.block)));
        }
        self.sync().await?;
        let titles = self.inner.flow.addresses().contributions;
        let mut registered = Vec::with_capacity(done.len());
        let mut tx = self.inner.store.begin().await?;
        for (contribution, hash, block) in done {
            let holder = tx.owner_at(titles, contribution.0, block).await?;
            let holder = holder.ok_or_else(|| NodeError::missing("title of contribution", contribution))?;
            tx.set_contribution_state(contribution, ContributionState::Registered, Some(holder)).await?;
            registered.push(RegisteredBatch { contribution, holder, tx: hash, block });
        }
        tx.commit().await?;
        Ok(registered)
    }
}

/// An import as it is remembered until it is signed, and after.
#[derive(Serialize, Deserialize)]
struct KeptImport {
    datanet: DatanetId,
    file: BlobHash,
    report: Import,
}

/// A report with the rows that its registration will add.
struct Planned {
    report: Import,
    contributions: Vec<ContributionRow>,
    records: Vec<RecordRow>,
}

/// A record that says in part what earlier ones say.
struct Near {
    record: String,
    /// The owner of its cluster, when it is nearly that record.
    of: Option<String>,
    /// What of it is its own, in 1/65,535.
    multiplier: u16,
}

fn import_key(import: B256) -> String {
    format!("import/{import}")
}
