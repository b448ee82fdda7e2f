//! Intake: what a file becomes in a datanet that holds records already.
//!
//! # Place in the flow
//!
//! After an import ([`crate::parse_jsonl_under`]). [`plan`] leaves out copies of records that are
//! held and finds near copies. [`accounts_of`] finds the payees and signers, [`contributions`]
//! prepares the registrations. `node` passes in the records held, the accounts and the running
//! numbers, and stores the result.
//!
//! # Invariants
//!
//! - **First registrant wins.** A record that is held is never displaced, and of near copies the
//!   earlier one keeps what both say.
//! - **Nothing by halves.** One unknown contributor, and no batch of the file is made.
//!
//! # Not here
//!
//! Signatures and transactions (`chain`), rows (`store`).

use std::collections::{BTreeMap, BTreeSet};

use openledger_protocol::{Address, B256, DatanetId, contribution_id};

use crate::near::{Clusters, WHOLE};
use crate::{
    Earlier, Parsed, ParsedRecord, PrepareError, PreparedContribution, RecordBatch, Refusal, Registering, Salting,
};

/// An accepted record that is nearly an earlier one; its contributor keeps only the new words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearDuplicate {
    /// The record's id.
    pub record: String,
    /// The earlier one's.
    pub of: String,
}

/// Result of planning the intake of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Records in the file.
    pub lines: u64,
    /// Records to take, in file order.
    pub accepted: Vec<ParsedRecord>,
    /// Records left out, in file order.
    pub refused: Vec<Refusal>,
    /// Records to take that are nearly an earlier one, in file order.
    pub near: Vec<NearDuplicate>,
    /// Share of a record that no earlier record says, in 1/65,535, by record id; absent: all of it.
    multipliers: BTreeMap<String, u16>,
}

impl Plan {
    /// Share of a record of this file that no earlier record says, in 1/65,535.
    #[must_use]
    pub fn multiplier(&self, record: &str) -> u16 {
        self.multipliers.get(record).copied().unwrap_or(WHOLE)
    }
}

/// Plans the intake of `parsed` into a datanet that holds `held`: (id, canonical text) of each
/// record, in order of acceptance.
///
/// `known` names the holder of a folded hash ([`Parsed::without_known`]). **Memory:** about 1 kB a
/// record held.
pub fn plan(
    parsed: Parsed,
    known: &dyn Fn(B256) -> Option<Earlier>,
    held: impl IntoIterator<Item = (String, String)>,
) -> Plan {
    let lines = (parsed.records.len() + parsed.refused.len()) as u64;
    let Parsed { records: accepted, refused } = parsed.without_known(known);
    let (mut clusters, mut names) = (Clusters::default(), Vec::new());
    for (id, text) in held {
        clusters.add(&text);
        names.push(id);
    }
    let (mut near, mut multipliers) = (Vec::new(), BTreeMap::new());
    for parsed in &accepted {
        let id = &parsed.record.id;
        let placement = clusters.add(&parsed.record.body.canonical_text());
        names.push(id.clone());
        if placement.near.is_some() {
            near.push(NearDuplicate { record: id.clone(), of: names[placement.owner as usize].clone() });
        }
        if placement.multiplier != WHOLE {
            multipliers.insert(id.clone(), placement.multiplier);
        }
    }
    Plan { lines, accepted, refused, near, multipliers }
}

/// Contributors that have no account; note their accounts first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} contributors have no account here: {}", .0.len(), shown(.0))]
pub struct UnknownContributors(pub BTreeSet<String>);

/// The first names, as they can be shown.
fn shown(names: &BTreeSet<String>) -> String {
    names.iter().take(20).map(|name| crate::printable(name)).collect::<Vec<_>>().join(", ")
}

/// The accounts of each batch's contributors, in the batch's order: the first signs, all are paid.
///
/// `accounts` are by handle in the spelling of [`crate::handle`].
///
/// # Errors
/// [`UnknownContributors`] naming all of them.
pub fn accounts_of(
    batches: &[RecordBatch],
    accounts: &BTreeMap<String, Address>,
) -> Result<Vec<Vec<Address>>, UnknownContributors> {
    let mut unknown = BTreeSet::new();
    let mut of_batch = |batch: &RecordBatch| -> Vec<Address> {
        let account = |name: &String| match accounts.get(name) {
            Some(&account) => Some(account),
            None => {
                unknown.insert(name.clone());
                None
            }
        };
        batch.contributors.iter().filter_map(account).collect()
    };
    let found = batches.iter().map(&mut of_batch).collect();
    if unknown.is_empty() { Ok(found) } else { Err(UnknownContributors(unknown)) }
}

/// The contract and the terms under which batches are registered.
#[derive(Clone, Copy)]
pub struct Registry<'k> {
    /// The chain.
    pub chain_id: u64,
    /// The contract that counts titles.
    pub contributions: Address,
    /// The datanet that takes them in.
    pub datanet: DatanetId,
    /// The hash of the terms they are registered under.
    pub terms: B256,
    /// How content is salted.
    pub salting: Salting<'k>,
}

/// The batches as contributions, in order; `accounts` as [`accounts_of`] gives them.
///
/// `nonces` are the running numbers of the registrants' next registrations, one for each
/// registrant.
///
/// # Errors
/// [`PrepareError`] for the first batch that cannot be registered.
pub fn contributions(
    batches: Vec<RecordBatch>,
    accounts: Vec<Vec<Address>>,
    mut nonces: BTreeMap<Address, u64>,
    registry: &Registry<'_>,
) -> Result<Vec<PreparedContribution>, PrepareError> {
    let (given, wanted) = (accounts.len(), batches.len());
    if given != wanted {
        return Err(PrepareError::Accounts { accounts: given, contributors: wanted });
    }
    let prepare = |(batch, accounts): (RecordBatch, Vec<Address>)| {
        let count = PrepareError::Accounts { accounts: accounts.len(), contributors: batch.contributors.len() };
        let registrant = *accounts.first().ok_or(count)?;
        let next = nonces.get_mut(&registrant).ok_or(PrepareError::NoNonce { registrant })?;
        let nonce = *next;
        *next += 1;
        let Registry { chain_id, contributions, datanet, terms, salting } = *registry;
        let contribution = contribution_id(chain_id, contributions, registrant, nonce);
        crate::prepare(
            batch,
            &Registering { chain_id, datanet, contribution, registrant, nonce, accounts, terms, salting },
        )
    };
    batches.into_iter().zip(accounts).map(prepare).collect()
}
