//! The seeded generator of `docs/formats.md`: its digests are those of `vectors/differential.json`,
//! which Solidity and TypeScript compute again.
//!
//! `UPDATE_VECTORS=1 OPENLEDGER_LONG=1 cargo test -p openledger-ledger differential` rewrites the
//! file.

use std::collections::BTreeMap;

use openledger_ledger::{Parties, Rules, SplitRule, split};
use openledger_protocol::sum_tree::{self, SumNode, SumProof, SumTree};
use openledger_protocol::*;
use serde_json::{Value, json};

use crate::sample::{account, contribution};

const SEED: &str = "openledger/differential/v1";
/// Stands for a result that was refused.
const REFUSED: B256 = B256::repeat_byte(0xff);
/// How many splits and trees are folded: in every run, and in long ones.
const RUNS: [(u64, u64); 2] = [(100_000, 10_000), (1_000_000, 100_000)];

/// Draws of one case: the 64-bit pieces of `H(seed ‖ domain ‖ case ‖ 0)`, `H(seed ‖ domain ‖ case ‖
/// 1)`, …
struct Draws {
    base: [B256; 3],
    block: u64,
    pieces: Vec<u64>,
}

impl Draws {
    fn new(domain: &str, case: u64) -> Self {
        Self { base: [keccak(SEED), keccak(domain), word(case)], block: 0, pieces: vec![] }
    }

    fn draw(&mut self) -> u64 {
        if self.pieces.is_empty() {
            let [seed, domain, case] = self.base;
            let block = keccak_words(&[seed, domain, case, word(self.block)]);
            self.pieces = block.as_chunks::<8>().0.iter().rev().map(|&piece| u64::from_be_bytes(piece)).collect();
            self.block += 1;
        }
        self.pieces.pop().unwrap()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    fn wide(&mut self) -> u128 {
        u128::from(self.draw()) << 64 | u128::from(self.draw())
    }

    fn hash(&mut self) -> B256 {
        let mut bytes = [0; 32];
        bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|piece| *piece = self.draw().to_be_bytes());
        bytes.into()
    }

    fn small(&mut self, bound: u64) -> u16 {
        u16::try_from(self.below(bound)).unwrap()
    }

    fn price(&mut self) -> Amount {
        Amount(match self.below(6) {
            0 => self.below(40).into(),
            1 => self.below(1 << 32).into(),
            2 => u128::from(u64::MAX - self.below(4)),
            3 => self.wide() % (Amount::SUPPLY.0 + 1),
            4 => u128::MAX - u128::from(self.below(4)),
            _ => self.wide() % Amount::OPEN.0,
        })
    }

    fn mix(&mut self) -> Mix {
        let (a, b) = (self.small(10_001), self.small(10_001));
        let (low, high) = (a.min(b), a.max(b));
        let extra = u16::from(self.below(32) == 0);
        Mix { spans_bps: low, influence_bps: high - low, retrieval_bps: 10_000 - high + extra }
    }

    fn coverage(&mut self) -> u32 {
        match self.below(64) {
            0 => Coverage::FULL + 1,
            1..=16 => 0,
            17..=32 => Coverage::FULL,
            _ => u32::try_from(self.below(u64::from(Coverage::FULL) + 1)).unwrap(),
        }
    }

    fn score(&mut self) -> Score {
        let layers = [Layer::Spans, Layer::Influence, Layer::Retrieval, Layer::Rest];
        let layer = layers[usize::from(self.small(4))];
        let of = 1 + self.below(8);
        let index = u32::from(self.small(3));
        let score = match self.below(4) {
            0 => 0,
            1 | 2 => 1 + self.below(20),
            _ => self.draw(),
        };
        Score { layer, datanet: DatanetId(1), record: RecordRef { contribution: contribution(of), index }, score }
    }
}

/// The lines of case `case`, or nothing where the rule refuses it.
fn lines(case: u64) -> Option<Vec<Entry>> {
    let mut draws = Draws::new("split", case);
    let price = draws.price();
    let (platform, model, stakers) = (draws.small(2002), 999 + draws.small(3003), draws.small(3002));
    let mix = draws.mix();
    let coverage = Coverage { spans: draws.coverage(), influence: draws.coverage(), retrieval: draws.coverage() };
    let mut holders = BTreeMap::new();
    for of in 1..=8 {
        match draws.below(5) {
            0 => {}
            holder => drop(holders.insert(contribution(of), account(0x1000 + holder))),
        }
    }
    let scores = (0..draws.below(16)).map(|_| draws.score()).collect();
    let parents = (0..draws.below(4)).map(|_| (account(0x2000 + draws.below(3)), draws.small(2010))).collect();
    let staked = draws.below(2) == 1;
    let parties = Parties {
        treasury: account(1),
        validation: account(2),
        insurance: account(3),
        owner: account(4),
        node: account(5),
        stakers: staked.then(|| account(6)),
        parents,
    };
    let rule = SplitRule::new(platform, model, stakers).ok()?;
    let credits = Credits { scores, coverage, ..Credits::default() };
    let rules = Rules { shares: rule, mix, params: &Params::GENESIS };
    split(ReceiptId(word(case)), price, &rules, &credits, &holders, &parties).ok()
}

/// `digest` after the result of one more split.
fn fold_split(digest: B256, case: u64) -> B256 {
    let mut words = vec![digest];
    match lines(case) {
        None => words.push(REFUSED),
        Some(lines) => {
            for line in lines {
                words.extend([word(line.role as u8), word(line.account), line.contribution.0, word(line.amount.0)]);
            }
        }
    }
    keccak_words(&words)
}

/// The lowest bit of the last byte turned.
fn turned(hash: B256) -> B256 {
    let mut bytes = hash.0;
    bytes[31] ^= 1;
    bytes.into()
}

/// `digest` after the results of one more tree: both roots, one proof in each that holds, and one
/// that was spoilt.
fn fold_tree(digest: B256, case: u64) -> B256 {
    let mut draws = Draws::new("tree", case);
    let count = if draws.below(4) < 3 { 1 + draws.below(8) } else { 1 + draws.below(64) };
    let huge = draws.below(16) == 0;
    let leaves: Vec<SumNode> = (0..count)
        .map(|_| SumNode {
            hash: draws.hash(),
            sum: Amount(match (draws.below(8), huge) {
                (0, _) => 0,
                (_, true) => draws.wide(),
                (_, false) => draws.draw().into(),
            }),
        })
        .collect();
    let depth = merkle::depth(count);
    let at = draws.below(1 << depth);
    let level = draws.below(u64::from(depth.max(1)));
    let spoil = draws.below(if depth == 0 { 2 } else { 4 });
    let index = match spoil {
        1 => at | 1 << depth,
        2 => at ^ 1 << level,
        _ => at,
    };
    let level = usize::try_from(level).unwrap();
    let leaf = leaves.get(usize::try_from(at).unwrap()).copied().unwrap_or_default();

    let hashes: Vec<B256> = leaves.iter().map(|leaf| leaf.hash).collect();
    let root = merkle::root(&hashes);
    let proof = merkle::prove(&hashes, at).unwrap();
    assert!(merkle::verify(root, leaf.hash, &proof), "tree {case}");
    let mut spoilt = merkle::Proof { index, ..proof.clone() };
    let mut other = leaf.hash;
    match spoil {
        0 => other = turned(other),
        3 => spoilt.siblings[level] = turned(spoilt.siblings[level]),
        _ => {}
    }
    let held = merkle::verify(root, other, &spoilt);
    // Between two equal places a turned index proves the same; anything else that was spoilt is
    // refused.
    assert!(!held || spoil == 2, "tree {case}");
    let mut words = vec![digest, root];
    words.extend(proof.siblings);
    words.push(word(u8::from(held)));

    match SumTree::new(leaves) {
        Err(_) => words.push(REFUSED),
        Ok(tree) => {
            let root = tree.root();
            let proof = tree.prove(at).unwrap();
            let (top, prefix) = sum_tree::climb(leaf, &proof).unwrap();
            assert_eq!(top, root, "tree {case}");
            let mut spoilt = SumProof { index, ..proof.clone() };
            let mut other = leaf;
            match spoil {
                0 => other.sum.0 ^= 1,
                3 => spoilt.siblings[level].sum.0 ^= 1,
                _ => {}
            }
            let held = sum_tree::verify(root, other, &spoilt);
            assert!(!held || spoil == 2, "tree {case}");
            words.extend([root.hash, word(root.sum.0)]);
            words.extend(proof.siblings.iter().flat_map(|node| [node.hash, word(node.sum.0)]));
            words.extend([word(prefix.0), word(u8::from(held))]);
        }
    }
    keccak_words(&words)
}

/// The digests of the runs, each going on from the one before.
fn runs(long: bool) -> Vec<Value> {
    let (mut splits, mut trees) = ((0, B256::ZERO), (0, B256::ZERO));
    let take = if long { 2 } else { 1 };
    RUNS.iter()
        .take(take)
        .map(|&(split_count, tree_count)| {
            splits = (split_count, (splits.0..split_count).fold(splits.1, fold_split));
            trees = (tree_count, (trees.0..tree_count).fold(trees.1, fold_tree));
            json!({ "splits": splits.0, "splitsDigest": splits.1, "trees": trees.0, "treesDigest": trees.1 })
        })
        .collect()
}

#[test]
fn generated_splits_and_trees_fold_to_the_committed_digests() {
    let long = std::env::var_os("OPENLEDGER_LONG").is_some();
    let found = runs(long);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/differential.json");
    if std::env::var_os("UPDATE_VECTORS").is_some() && long {
        let text = serde_json::to_string_pretty(&json!({ "seed": SEED, "runs": found })).unwrap() + "\n";
        std::fs::write(path, text).unwrap();
    }
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(committed["seed"], SEED);
    for (at, run) in found.iter().enumerate() {
        assert_eq!(&committed["runs"][at], run);
    }
}

#[test]
fn the_generator_reaches_what_the_rule_pays_and_what_it_refuses() {
    let cases: Vec<_> = (0..2000).map(lines).collect();
    let refused = cases.iter().filter(|lines| lines.is_none()).count();
    assert!((200..1000).contains(&refused), "{refused} of 2000 refused");
    let lines: Vec<&Entry> = cases.iter().flatten().flatten().collect();
    for role in
        [PayeeRole::Treasury, PayeeRole::Insurance, PayeeRole::Stakers, PayeeRole::Contributor, PayeeRole::Parent]
    {
        assert!(lines.iter().filter(|line| line.role == role).count() > 200, "{role:?}");
    }
    assert!(cases.iter().flatten().any(Vec::is_empty), "a price of nothing");
    let most = cases.iter().flatten().map(|lines| lines.iter().map(|line| line.amount.0).sum::<u128>()).max();
    assert!(most > Some(u128::MAX - 4));
}
