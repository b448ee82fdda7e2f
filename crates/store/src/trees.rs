//! The sum trees of closed epochs, packed in chunks, so that a proof reads a few rows instead of the epoch.
//!
//! **Shape:** level 0 has the leaves, the last level the root; a level's nodes lie in chunks of 128. A proof of a
//! tree of `n` leaves reads at most `⌈log₂ n⌉` chunks.
//!
//! **Invariant:** roots and proofs are those of `protocol`'s tree: a level of odd length has an empty node after it, and
//! a lone leaf has an empty place beside it.
//!
//! **Invariant:** no transaction hashes. Trees are built before it ([`EpochTrees::build`], on a
//! thread that may take its time), because SQLite's one writer waits for the transaction.

use std::collections::{BTreeMap, BTreeSet};

use openledger_protocol::sum_tree::{SumNode, SumProof, node};

use crate::db::{Reads, Tx};
use crate::error::{Error, Result};
use crate::ids::{Amount, B256};
use crate::sql::{ROWS_PER_INSERT, Value, places, values, words};

/// Nodes in a chunk: 6 KiB.
const CHUNK: usize = 128;
/// Bytes of a node: hash, then sum.
const NODE: usize = 48;

words! {
    /// One of an epoch's trees.
    pub enum Tree {
        /// Over the receipts, by id.
        Receipts = "receipts",
        /// Over the entries, by account, receipt and line.
        Entries = "entries",
        /// Over the payouts, by account.
        Payouts = "payouts",
    }
}

/// The leaves of an epoch's trees, each list in its tree's order.
#[derive(Debug, Clone, Copy)]
pub struct EpochTrees<'a> {
    /// Of the receipts, by id.
    pub receipts: &'a [SumNode],
    /// Of the entries, by account, receipt and line.
    pub entries: &'a [SumNode],
    /// Of the payouts, by account.
    pub payouts: &'a [SumNode],
}

/// An epoch's trees as they are kept.
#[derive(Debug, Clone)]
pub struct BuiltTrees([BuiltTree; 3]);

/// A tree as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct BuiltTree {
    pub(crate) tree: Tree,
    pub(crate) root: SumNode,
    leaves: u64,
    chunks: Vec<Chunk>,
}

/// A chunk's level, its number in the level, and its nodes.
type Chunk = (u32, u64, Vec<u8>);

impl EpochTrees<'_> {
    /// Builds the trees. **Cost:** a hash for each leaf.
    ///
    /// # Errors
    ///
    /// [`Error::Amount`] when a total does not fit 128 bits.
    pub fn build(&self) -> Result<BuiltTrees> {
        Ok(BuiltTrees([
            BuiltTree::over(Tree::Receipts, self.receipts)?,
            BuiltTree::over(Tree::Entries, self.entries)?,
            BuiltTree::over(Tree::Payouts, self.payouts)?,
        ]))
    }
}

impl BuiltTrees {
    /// Of the receipts, of the entries, of the payouts.
    pub(crate) fn each(&self) -> &[BuiltTree; 3] {
        &self.0
    }
}

impl BuiltTree {
    fn over(tree: Tree, leaves: &[SumNode]) -> Result<Self> {
        let shape = Shape::of(leaves.len() as u64);
        let empties = empties(shape.height)?;
        let (mut level, mut chunks) = (leaves.to_vec(), Vec::new());
        for height in 0..=shape.height {
            let bytes = |nodes: &[SumNode]| -> Vec<u8> { nodes.iter().flat_map(packed).collect() };
            chunks.extend((0u64..).zip(level.chunks(CHUNK)).map(|(chunk, nodes)| (height, chunk, bytes(nodes))));
            if height == shape.height {
                break;
            }
            if level.len() % 2 == 1 {
                level.push(empties[height as usize]);
            }
            let pairs = level.as_chunks::<2>().0.iter();
            level = pairs.map(|&[left, right]| Ok(node(left, right)?)).collect::<Result<_>>()?;
        }
        let root = level.first().copied().unwrap_or_default();
        Ok(Self { tree, root, leaves: shape.leaves, chunks })
    }
}

/// A node's place: level, then index in it.
type Place = (u32, u64);

impl Reads {
    /// The proofs of leaves of an epoch's tree, in the order of `indexes`; read at once.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when the epoch has no such tree or the tree no such place, [`Error::Damaged`] when nodes are
    /// missing.
    pub async fn tree_proofs(&self, epoch: u64, tree: Tree, indexes: &[u64]) -> Result<Vec<SumProof>> {
        let shape = self.shape(epoch, tree).await?;
        let mut wanted: BTreeSet<Place> = BTreeSet::new();
        for &index in indexes {
            if index >> shape.height != 0 || shape.leaves == 0 {
                return Err(Error::missing("leaf", format!("{index} of the {tree} of epoch {epoch}")));
            }
            wanted.extend((0..shape.height).map(|level| (level, (index >> level) ^ 1)));
        }
        let nodes = self.tree_nodes(epoch, tree, &shape, &wanted).await?;
        let proof = |&index: &u64| SumProof {
            index,
            siblings: (0..shape.height).map(|level| nodes[&(level, (index >> level) ^ 1)]).collect(),
        };
        Ok(indexes.iter().map(proof).collect())
    }

    /// The two nodes under the root of an epoch's tree, by which a contract checks the root's sum. A tree without leaves
    /// has two empty ones.
    ///
    /// # Errors
    ///
    /// As [`Reads::tree_proofs`].
    pub async fn tree_top(&self, epoch: u64, tree: Tree) -> Result<[SumNode; 2]> {
        let shape = self.shape(epoch, tree).await?;
        let Some(level) = shape.height.checked_sub(1) else { return Ok([SumNode::default(); 2]) };
        let nodes = self.tree_nodes(epoch, tree, &shape, &BTreeSet::from([(level, 0), (level, 1)])).await?;
        Ok([nodes[&(level, 0)], nodes[&(level, 1)]])
    }

    async fn shape(&self, epoch: u64, tree: Tree) -> Result<Shape> {
        let sql = "SELECT leaves FROM trees WHERE epoch = ? AND tree = ?";
        let leaves = self.one(sql, values![epoch, tree], |row| row.get(0)).await?;
        let leaves: u64 = leaves.ok_or_else(|| Error::missing("tree", format!("of {tree} of epoch {epoch}")))?;
        Ok(Shape::of(leaves))
    }

    /// Nodes by their places; those beyond a level's end are empty.
    async fn tree_nodes(
        &self,
        epoch: u64,
        tree: Tree,
        shape: &Shape,
        wanted: &BTreeSet<Place>,
    ) -> Result<BTreeMap<Place, SumNode>> {
        let mut chunks: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        for &(level, index) in wanted {
            if index < shape.length(level) {
                chunks.entry(level).or_default().insert(index / CHUNK as u64);
            }
        }
        let mut read: BTreeMap<Place, Vec<u8>> = BTreeMap::new();
        if !chunks.is_empty() {
            let of_level = chunks.values().map(|chunks| format!("(level = ? AND chunk IN ({}))", places(chunks.len())));
            let any = of_level.collect::<Vec<_>>().join(" OR ");
            let sql = format!("SELECT level, chunk, nodes FROM tree_chunks WHERE epoch = ? AND tree = ? AND ({any})");
            let mut values = values![epoch, tree];
            for (&level, chunks) in &chunks {
                values.push(level.into());
                values.extend(chunks.iter().map(|&chunk| Value::from(chunk)));
            }
            let rows = self.list(sql, values, |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).await?;
            read.extend(rows);
        }
        let empties = empties(shape.height)?;
        let mut nodes = BTreeMap::new();
        for &(level, index) in wanted {
            let node = if index < shape.length(level) {
                let chunk = read.get(&(level, index / CHUNK as u64));
                let at = (index % CHUNK as u64) as usize * NODE;
                let bytes = chunk.and_then(|chunk| chunk.get(at..at + NODE));
                let missing = || Error::damaged("tree", format!("of {tree} of epoch {epoch}"), "a node is missing");
                unpacked(bytes.ok_or_else(missing)?)
            } else {
                empties[level as usize]
            };
            nodes.insert((level, index), node);
        }
        Ok(nodes)
    }
}

impl Tx {
    /// Keeps a tree of an epoch.
    pub(crate) async fn put_tree(&mut self, epoch: u64, built: &BuiltTree) -> Result<()> {
        let BuiltTree { tree, leaves, chunks, .. } = built;
        self.insert_all("trees (epoch, tree, leaves)", vec![values![epoch, *tree, *leaves]]).await?;
        let head = "tree_chunks (epoch, tree, level, chunk, nodes)";
        let row = |(level, chunk, nodes): &Chunk| values![epoch, *tree, *level, *chunk, nodes.as_slice()];
        for part in chunks.chunks(ROWS_PER_INSERT) {
            self.insert_all(head, part.iter().map(row).collect()).await?;
        }
        Ok(())
    }
}

/// The size of a tree.
struct Shape {
    leaves: u64,
    /// Levels above the leaves.
    height: u32,
}

impl Shape {
    fn of(leaves: u64) -> Self {
        // A lone leaf has an empty place beside it, so that two nodes lie under every root.
        let places = if leaves == 0 { 1 } else { leaves.max(2) };
        Self { leaves, height: places.next_power_of_two().trailing_zeros() }
    }

    /// How many nodes of a level are kept.
    fn length(&self, level: u32) -> u64 {
        self.leaves.div_ceil(1 << level)
    }
}

/// The node over nothing at every level up to `height`.
fn empties(height: u32) -> Result<Vec<SumNode>> {
    let mut empties = vec![SumNode::default()];
    for level in 0..height as usize {
        empties.push(node(empties[level], empties[level])?);
    }
    Ok(empties)
}

fn packed(node: &SumNode) -> [u8; NODE] {
    let mut bytes = [0; NODE];
    bytes[..32].copy_from_slice(node.hash.as_slice());
    bytes[32..].copy_from_slice(&node.sum.to_be_bytes());
    bytes
}

fn unpacked(bytes: &[u8]) -> SumNode {
    let (mut hash, mut sum) = ([0; 32], [0; 16]);
    hash.copy_from_slice(&bytes[..32]);
    sum.copy_from_slice(&bytes[32..NODE]);
    SumNode { hash: B256::from(hash), sum: Amount::from_be_bytes(sum) }
}
