//! Commitments: a batch as a contribution with its root, and the proofs that open it.
//!
//! # Place in the flow
//!
//! After [`crate::batches`]; `node` stores what [`prepare`] returns and has the registrant sign its
//! registration. Hash formats are `protocol`'s (`docs/formats.md`, Content).
//!
//! # Invariants
//!
//! - Preparing the same batch with the same keys gives the same bytes.
//! - Every proof made here verifies against the root that was registered.
//!
//! # Not here
//!
//! Record keys: they come in as a function and leave no trace but the salt.

use hmac::{Hmac, Mac};
use openledger_protocol::merkle::{self, Proof};
use openledger_protocol::{
    Address, B256, CHUNK_BYTES, Contribution, ContributionId, DatanetId, Publication, Record, Rights, chunk_leaf,
    chunk_root, content_hash, contribution_leaf, record_leaf,
};
use sha2::Sha256;

use crate::RecordBatch;

/// How chunk leaves are salted.
#[derive(Clone, Copy)]
pub enum Salting<'k> {
    /// Public content: the zero word.
    Public,
    /// Private content: HMAC-SHA256 of the record's id under its 32-byte key. Destroying the key
    /// unlinks the commitment.
    Private(&'k dyn Fn(&Record) -> [u8; 32]),
}

/// What a registration says beside the records.
pub struct Registering<'k> {
    /// The chain.
    pub chain_id: u64,
    /// The datanet that accepts the batch.
    pub datanet: DatanetId,
    /// The batch's title ([`openledger_protocol::contribution_id`] of registrant and nonce).
    pub contribution: ContributionId,
    /// Who signs.
    pub registrant: Address,
    /// The registrant's running number.
    pub nonce: u64,
    /// The contributors' accounts, in the order of the batch's names.
    pub accounts: Vec<Address>,
    /// The hash of the terms it is registered under.
    pub terms: B256,
    /// How content is salted.
    pub salting: Salting<'k>,
}

/// Why a batch cannot become a contribution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// A batch without records has nothing to register.
    #[error("the batch has no records")]
    Empty,
    /// The accounts do not match the names; look each name up once, in order.
    #[error("{accounts} accounts for {contributors} contributors")]
    Accounts {
        /// Accounts given.
        accounts: usize,
        /// Names in the batch.
        contributors: usize,
    },
    /// A registrant's running number is not known; ask the chain for it.
    #[error("no running number for the registrant {registrant}")]
    NoNonce {
        /// The registrant.
        registrant: Address,
    },
    /// More records than a contribution can count, or a text longer than a leaf can say; split the
    /// batch.
    #[error("{what} {value} does not fit in 32 bits")]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// Its value.
        value: usize,
    },
}

/// A contribution that is ready to be registered, with what stands behind its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedContribution {
    /// What is registered.
    pub contribution: Contribution,
    /// The contributors' names, in the order of its accounts.
    pub contributors: Vec<String>,
    /// Its records, in the order of its leaves.
    pub records: Vec<PreparedRecord>,
}

/// A record with its place in a contribution and all its hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedRecord {
    /// Its place in the contribution, from 0.
    pub index: u32,
    /// The record; its id is `record.id`.
    pub record: Record,
    /// Its canonical text.
    pub text: String,
    /// SHA-256 of the canonical text.
    pub content_hash: B256,
    /// SHA-256 of the folded text: equal for copies.
    pub folded_hash: B256,
    /// The salt of its chunk leaves; the zero word for public content.
    pub salt: B256,
    /// The Merkle root over its chunks.
    pub content_root: B256,
    /// Its leaf under the contribution's root.
    pub leaf: B256,
    /// Bytes of the canonical text.
    pub length: u32,
    /// What its licence allows.
    pub rights: Rights,
}

/// The salt of a private record's chunks: HMAC-SHA256(record key, UTF-8 of the record's id).
#[must_use]
pub fn record_salt(key: &[u8; 32], record_id: &str) -> B256 {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(record_id.as_bytes());
    B256::from_slice(&mac.finalize().into_bytes())
}

/// Makes a contribution of a batch. **Cost:** two hashes per 256 bytes of text.
///
/// # Errors
/// [`PrepareError`] when the batch is empty or too large, or the accounts do not match its
/// contributors.
pub fn prepare(batch: RecordBatch, with: &Registering<'_>) -> Result<PreparedContribution, PrepareError> {
    let RecordBatch { contributors, records } = batch;
    if records.is_empty() {
        return Err(PrepareError::Empty);
    }
    if with.accounts.len() != contributors.len() {
        return Err(PrepareError::Accounts { accounts: with.accounts.len(), contributors: contributors.len() });
    }
    let count = fits("record count", records.len())?;
    let mut prepared = Vec::with_capacity(records.len());
    for (index, parsed) in (0u32..).zip(records) {
        let text = parsed.record.body.canonical_text();
        let length = fits("text length", text.len())?;
        let salt = match with.salting {
            Salting::Public => B256::ZERO,
            Salting::Private(key) => record_salt(&key(&parsed.record), &parsed.record.id),
        };
        let content_root = chunk_root(salt, text.as_bytes());
        prepared.push(PreparedRecord {
            index,
            content_hash: content_hash(&text),
            folded_hash: parsed.folded_hash,
            salt,
            content_root,
            leaf: record_leaf(with.chain_id, with.datanet, with.contribution, index, content_root, length),
            length,
            rights: parsed.rights,
            record: parsed.record,
            text,
        });
    }
    let contribution = Contribution {
        id: with.contribution,
        datanet: with.datanet,
        registrant: with.registrant,
        contributors: with.accounts.clone(),
        root: merkle::root(&leaves(&prepared)),
        count,
        terms: with.terms,
        nonce: with.nonce,
    };
    Ok(PreparedContribution { contribution, contributors, records: prepared })
}

fn fits(what: &'static str, value: usize) -> Result<u32, PrepareError> {
    u32::try_from(value).map_err(|_| PrepareError::TooLarge { what, value })
}

fn leaves(records: &[PreparedRecord]) -> Vec<B256> {
    records.iter().map(|record| record.leaf).collect()
}

/// The proof of a record's leaf under its contribution's root; `None` when it has no such record.
#[must_use]
pub fn record_proof(contribution: &PreparedContribution, index: u32) -> Option<Proof> {
    contribution.records.get(usize::try_from(index).ok()?)?;
    merkle::prove(&leaves(&contribution.records), u64::from(index))
}

/// A registered contribution, as far as versions commit to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Title {
    /// Its title.
    pub contribution: ContributionId,
    /// Its root.
    pub root: B256,
    /// Its records.
    pub count: u32,
}

impl From<&Contribution> for Title {
    fn from(registered: &Contribution) -> Self {
        Self { contribution: registered.id, root: registered.root, count: registered.count }
    }
}

fn title_leaves(datanet: DatanetId, titles: &[Title]) -> Vec<B256> {
    titles.iter().map(|title| contribution_leaf(datanet, title.contribution, title.root, title.count)).collect()
}

/// The root of a datanet version over its contributions, in order of acceptance.
#[must_use]
pub fn version_root(datanet: DatanetId, titles: &[Title]) -> B256 {
    merkle::root(&title_leaves(datanet, titles))
}

/// The proof of the contribution at `index` under the version's root; `None` when there is none.
#[must_use]
pub fn contribution_proof(datanet: DatanetId, titles: &[Title], index: usize) -> Option<Proof> {
    titles.get(index)?;
    merkle::prove(&title_leaves(datanet, titles), index as u64)
}

/// What an owner signs to publish `titles`, all that a version holds, as version `version`.
#[must_use]
pub fn publication(datanet: DatanetId, version: u64, titles: &[Title]) -> Publication {
    let records = titles.iter().map(|title| u64::from(title.count)).sum();
    Publication { datanet, expected_version: version, root: version_root(datanet, titles), records }
}

/// What an owner signs to publish the titles registered so far; `None` when the newest version
/// holds all of them.
///
/// `newest` is the newest version with the number of titles it holds.
#[must_use]
pub fn next_publication(datanet: DatanetId, newest: Option<(u64, usize)>, titles: &[Title]) -> Option<Publication> {
    let (version, held) = newest.unwrap_or((0, 0));
    (titles.len() > held).then(|| publication(datanet, version + 1, titles))
}

/// One chunk of a record, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkProof {
    /// The chunk's place in the text: it begins at byte `index · 256`.
    pub index: u32,
    /// Its bytes, 256 or fewer for the last. They may begin or end inside a character.
    pub bytes: Vec<u8>,
    /// The salt of its leaf.
    pub salt: B256,
    /// Where its leaf stands under the content root.
    pub proof: Proof,
}

impl ChunkProof {
    /// Whether these bytes stand at this place of the content.
    #[must_use]
    pub fn verify(&self, content_root: B256) -> bool {
        self.proof.index == u64::from(self.index)
            && self.bytes.len() <= CHUNK_BYTES
            && merkle::verify(content_root, chunk_leaf(self.salt, self.index, &self.bytes), &self.proof)
    }
}

/// A span that the text does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bytes {offset} to {offset} + {length} are not within a text of {text} bytes, or empty")]
pub struct SpanError {
    /// Where the span begins.
    pub offset: u32,
    /// Its length.
    pub length: u32,
    /// The text's length.
    pub text: usize,
}

/// Opens the chunks that `length` bytes from `offset` of a canonical text touch, in order.
///
/// # Errors
/// [`SpanError`] when the span is empty or leaves the text.
pub fn chunk_proofs(text: &str, salt: B256, offset: u32, length: u32) -> Result<Vec<ChunkProof>, SpanError> {
    let outside = || SpanError { offset, length, text: text.len() };
    let first_byte = usize::try_from(offset).map_err(|_| outside())?;
    let bytes = usize::try_from(length).map_err(|_| outside())?;
    let end = first_byte.checked_add(bytes).filter(|&end| bytes > 0 && end <= text.len()).ok_or_else(outside)?;

    let chunks: Vec<&[u8]> = text.as_bytes().chunks(CHUNK_BYTES).collect();
    let leaves: Vec<B256> = (0u32..).zip(&chunks).map(|(index, chunk)| chunk_leaf(salt, index, chunk)).collect();
    let touched = first_byte / CHUNK_BYTES..=(end - 1) / CHUNK_BYTES;
    let open = |(index, chunk): (u32, &&[u8])| {
        let proof = merkle::prove(&leaves, u64::from(index)).ok_or_else(outside)?;
        Ok(ChunkProof { index, bytes: chunk.to_vec(), salt, proof })
    };
    let wanted = (0u32..).zip(&chunks).skip(*touched.start()).take(touched.count());
    wanted.map(open).collect()
}
