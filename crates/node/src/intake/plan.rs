//! What a file becomes as the datanet and its registrants are now: the rules are `datanet::intake`, this brings what
//! they need and turns their result into rows.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use openledger_api::{BatchToSign, ImportReport, NearDuplicate, RefusedRecord};
use openledger_datanet as rules;
use openledger_datanet::intake;
use openledger_protocol::{DatanetId, Domain, RecordRef};
use openledger_store::contributions::{ContributionRow, ContributionState};
use openledger_store::records::RecordRow;
use tokio::task::spawn_blocking;

use super::{Intake, Planned};
use crate::error::{Blame, NodeError, Result};

impl Intake {
    /// Plans an import of parsed records. Texts are compared and hashed on blocking threads.
    ///
    /// # Errors
    ///
    /// `unknown-contributor` listing handles without an account.
    pub(crate) async fn plan(&self, id: DatanetId, import: B256, parsed: rules::Parsed) -> Result<Planned> {
        let known = self.known(id, &parsed).await?;
        let held = self.records.of_datanet(id).await?;
        let (plan, batches) = spawn_blocking(move || {
            let held = held.into_iter().map(|(row, record)| (row.record_id, record.body.canonical_text()));
            let mut plan = intake::plan(parsed, &|hash| known.get(&hash).cloned(), held);
            let batches = rules::batches(std::mem::take(&mut plan.accepted));
            (plan, batches)
        })
        .await?;
        let taken: u64 = batches.iter().map(|batch| batch.records.len() as u64).sum();
        let prepared = self.prepare(id, batches).await?;
        let domain = self.chain.domain();
        spawn_blocking(move || Planned::new(import, domain, taken, &plan, prepared)).await?
    }

    /// The datanet's records with the same folded text as new ones, by that text's hash.
    async fn known(&self, id: DatanetId, parsed: &rules::Parsed) -> Result<BTreeMap<B256, rules::Earlier>> {
        let hashes: Vec<B256> = parsed.records.iter().map(|record| record.folded_hash).collect();
        let mut known: BTreeMap<B256, rules::Earlier> = BTreeMap::new();
        for chunk in hashes.chunks(500) {
            for row in self.store.records_with_content(id, chunk).await? {
                let earlier = rules::Earlier { id: row.record_id, line: None, record: Some(row.at) };
                known.entry(row.content_hash).or_insert(earlier);
            }
        }
        Ok(known)
    }

    /// Batches as contributions that their registrants may sign.
    async fn prepare(
        &self,
        id: DatanetId,
        batches: Vec<rules::RecordBatch>,
    ) -> Result<Vec<rules::PreparedContribution>> {
        let handles: BTreeSet<String> = batches.iter().flat_map(|batch| batch.contributors.iter().cloned()).collect();
        let known = self.handles.accounts(&handles).await?;
        let accounts = intake::accounts_of(&batches, &known)
            .map_err(|unknown| NodeError::refused(Blame::Request, "unknown-contributor", unknown.to_string()))?;
        let registrants: BTreeSet<Address> = accounts.iter().filter_map(|list| list.first().copied()).collect();
        let mut nonces = BTreeMap::new();
        for registrant in registrants {
            // After the chain's count, and after registrations on their way there.
            let on_chain = self.chain.nonce(registrant).await?;
            nonces.insert(registrant, on_chain.max(self.store.registrations_by(registrant).await?));
        }
        let Domain { chain_id, contract: contributions } = self.chain.domain();
        let terms = self.datanets.known(id).await?.1.terms_hash()?;
        let prepared = spawn_blocking(move || {
            let salting = rules::Salting::Public;
            let registry = intake::Registry { chain_id, contributions, datanet: id, terms, salting };
            intake::contributions(batches, accounts, nonces, &registry)
        });
        Ok(prepared.await??)
    }
}

impl Planned {
    /// The report and rows of prepared contributions with `taken` records.
    fn new(
        import: B256,
        domain: Domain,
        taken: u64,
        plan: &intake::Plan,
        prepared: Vec<rules::PreparedContribution>,
    ) -> Result<Self> {
        let refused = plan.refused.iter().map(|refused| RefusedRecord {
            line: refused.line,
            id: refused.id.clone(),
            reason: refused.reason.to_string(),
        });
        let near = plan.near.iter().map(|near| NearDuplicate { record: near.record.clone(), of: near.of.clone() });
        let batches = prepared.iter().map(|prepared| BatchToSign {
            contribution: prepared.contribution.id,
            registrant: prepared.contribution.registrant,
            contributors: prepared.contributors.clone(),
            digest: domain.digest(prepared.contribution.registration().struct_hash()),
            registered: prepared.contribution.clone(),
        });
        let report = ImportReport {
            import,
            lines: plan.lines,
            accepted: taken,
            refused: refused.collect(),
            near_duplicates: near.collect(),
            batches: batches.collect(),
        };
        let mut planned = Planned { report, contributions: Vec::new(), records: Vec::new(), bodies: Vec::new() };
        for prepared in prepared {
            planned.add(plan, prepared)?;
        }
        Ok(planned)
    }

    /// Adds the rows of one contribution.
    fn add(&mut self, plan: &intake::Plan, prepared: rules::PreparedContribution) -> Result<()> {
        let registered = prepared.contribution;
        for record in prepared.records {
            let at = RecordRef { contribution: registered.id, index: record.index };
            self.bodies.push((at, serde_json::to_vec(&record.record)?));
            self.records.push(RecordRow {
                at,
                multiplier: plan.multiplier(&record.record.id),
                record_id: record.record.id,
                content_hash: record.folded_hash,
                content_root: record.content_root,
                length: record.length,
                license: record.record.license,
                owner: None,
            });
        }
        self.contributions.push(ContributionRow {
            id: registered.id,
            datanet: registered.datanet,
            registrant: registered.registrant,
            contributors: registered.contributors,
            root: registered.root,
            count: registered.count,
            seq: 0,
            state: ContributionState::Committed,
            payee: None,
        });
        Ok(())
    }
}
