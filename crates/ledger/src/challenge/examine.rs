//! Looks for every fault of a proposal that a proof decides.
//!
//! Order comes first: neighbours prove what is missing only where leaves are in order.

use std::collections::{BTreeMap, BTreeSet};

use openledger_protocol::sum_tree::SumTree;
use openledger_protocol::{Address, Amount, B256, Entry, PayoutTree, ReceiptId, Signature, merkle};

use super::published::{Filed, Published, PublishedError, Trees, places_of};
use super::{Known, Refutation, lines, spans};
use crate::proof::ReceiptPlace;

/// What an examination came to; both lists empty: the proposal is what this watcher would have proposed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Examined {
    /// The faults, each with its proof.
    pub refutations: Vec<Refutation>,
    /// What is not as this watcher computes it and no proof decides: the jury's.
    pub disputed: Vec<String>,
}

/// Examines what was published under a proposal's roots by what a watcher knows.
///
/// **Cost:** `O(n log n)` hashes in receipts, entries and accounts.
///
/// # Errors
/// [`PublishedError`] when the leaves are not those of the roots, so that nothing can be said.
pub fn examine(published: &Published, known: &Known) -> Result<Examined, PublishedError> {
    let trees = published.trees()?;
    let earlier = PayoutTree::new(known.payouts.clone(), published.domain)?;
    if earlier.root().hash != known.payout_root {
        return Err(PublishedError::Earlier);
    }
    let mut found = order(&trees);
    if found.is_empty() {
        omissions(&trees, known, &mut found);
        strays(&trees, &mut found);
        totals(&trees, known, &mut found)?;
    }
    signatures(&trees, known, &mut found);
    duplicates(&trees, known, &mut found);
    lines::faults(&trees, known, &mut found);
    spans::faults(&trees, known, &mut found);
    let disputed = if found.is_empty() { disputed(published, known) } else { Vec::new() };
    Ok(Examined { refutations: found, disputed })
}

/// Neighbours of which the first may not stand left of the second; an empty place counts as the highest key.
fn out_of_order<K: Ord>(keys: impl Iterator<Item = Option<K>>) -> Vec<usize> {
    let keys: Vec<Option<K>> = keys.collect();
    let wrong = |pair: &[Option<K>]| match pair {
        [None, Some(_)] => true,
        [Some(left), Some(right)] => left >= right,
        _ => false,
    };
    keys.windows(2).enumerate().filter(|(_, pair)| wrong(pair)).map(|(at, _)| at).collect()
}

fn order(trees: &Trees<'_>) -> Vec<Refutation> {
    let published = trees.published;
    let mut found = Vec::new();
    let pair = |at: usize| [at, at + 1].into_iter();
    for at in out_of_order(published.receipts.iter().map(|filed| filed.as_ref().map(|filed| filed.id))) {
        found.extend(pair(at).map(|at| trees.receipt_at(at)).collect::<Option<_>>().map(Refutation::ReceiptOrder));
    }
    for at in out_of_order(published.entries.iter().map(|entry| entry.as_ref().map(Entry::sort_key))) {
        found.extend(pair(at).map(|at| trees.entry_at(at)).collect::<Option<_>>().map(Refutation::EntryOrder));
    }
    for at in out_of_order(published.payouts.iter().map(|payout| payout.as_ref().map(|payout| payout.account))) {
        found.extend(pair(at).map(|at| trees.payout_at(at)).collect::<Option<_>>().map(Refutation::PayoutOrder));
    }
    // As many places are taken as the proposal says, and no other.
    let counted = published.header.receipt_count as usize;
    let miscounted = |at: &usize| published.receipts.get(*at).is_some_and(Option::is_some) != (*at < counted);
    if let Some(at) = (0..trees.receipt_places()).find(miscounted) {
        // The contract reads one place here, and its encoding has two.
        found.extend(trees.receipt_at(at).map(|place| Refutation::ReceiptOrder(vec![place.clone(), place])));
    }
    found
}

fn filed_ids(published: &Published) -> BTreeSet<ReceiptId> {
    published.receipts.iter().flatten().map(|filed| filed.id).collect()
}

/// Receipts that the proposer signed, of the epoch's time, that are not in it.
fn omissions(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) {
    let published = trees.published;
    let ids = filed_ids(published);
    for signed in &known.receipts {
        let (receipt, domain) = (&signed.receipt, published.domain);
        let in_time = receipt.time > known.last_cutoff && receipt.time <= published.cutoff;
        let digest = domain.digest(receipt.struct_hash());
        if signed.domain == domain
            && receipt.node == published.proposer
            && in_time
            && !ids.contains(&receipt.id())
            && signed.signature.verify(digest, published.proposer).is_ok()
        {
            found.extend(trees.no_receipt(receipt.id()).map(|gap| Refutation::Omission {
                words: Box::new(receipt.words()),
                signature: signed.signature.0.to_vec(),
                gap,
            }));
        }
    }
}

/// Entries of receipts that are not in the epoch: one of each receipt.
fn strays(trees: &Trees<'_>, found: &mut Vec<Refutation>) {
    let mut ids = filed_ids(trees.published);
    for (at, entry) in trees.published.entries.iter().enumerate() {
        let Some(entry) = entry.as_ref().filter(|entry| ids.insert(entry.receipt)) else { continue };
        if let (Some(line), Some(gap)) = (trees.entry_at(at), trees.no_receipt(entry.receipt)) {
            found.push(Refutation::Entry { line, gap });
        }
    }
}

/// Accounts whose total is not what it was and what the entries add.
fn totals(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) -> Result<(), PublishedError> {
    let published = trees.published;
    let mut expected: BTreeMap<Address, Option<Amount>> = BTreeMap::new();
    let earned = known.payouts.iter().map(|payout| (payout.account, payout.cumulative));
    let entries = published.entries.iter().flatten().map(|entry| (entry.account, entry.amount));
    for (account, amount) in earned.clone().chain(entries) {
        let sum = expected.entry(account).or_insert(Some(Amount::ZERO));
        *sum = sum.and_then(|sum| sum.plus(amount).ok());
    }
    let stated: BTreeMap<Address, Amount> =
        published.payouts.iter().flatten().map(|payout| (payout.account, payout.cumulative)).collect();
    let accounts: BTreeSet<Address> = expected.keys().chain(stated.keys()).copied().collect();
    let mut leaves: Vec<_> = known.payouts.iter().collect();
    leaves.sort_by_key(|payout| payout.account);
    let before = SumTree::new(leaves.iter().map(|payout| payout.leaf(published.domain)).collect())?;
    let leaves: Vec<_> = leaves.into_iter().map(Some).collect();
    for account in accounts {
        let should = expected.get(&account).copied().unwrap_or(Some(Amount::ZERO));
        if should == Some(stated.get(&account).copied().unwrap_or_default()) {
            continue;
        }
        let before =
            if known.payout_root == B256::ZERO { Some(Vec::new()) } else { places_of(account, &leaves, &before) };
        let from = trees.entries_around(|entry| entry.account < account);
        let to = trees.entries_around(|entry| entry.account <= account);
        if let (Some(before), Some(after), Some(from), Some(to)) = (before, trees.payout_of(account), from, to) {
            found.push(Refutation::Total { account, before, after, from, to });
        }
    }
    Ok(())
}

/// Receipts filed under another id, not signed by their node, or of a node that never had a bond.
fn signatures(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) {
    for (at, filed) in trees.published.receipts.iter().enumerate() {
        let Some(filed) = filed else { continue };
        let sound = |filed: &Filed| {
            let node = Address::from_slice(&filed.words[0][12..]);
            let id = openledger_protocol::keccak_words(&filed.words[1..3]);
            let digest = trees.published.domain.digest(filed.struct_hash());
            let signature = <[u8; 65]>::try_from(filed.signature.as_ref()).map(Signature);
            let signed = signature.is_ok_and(|signature| signature.verify(digest, node).is_ok());
            signed && filed.id.0 == id && known.bonded.contains(&node)
        };
        if !sound(filed) {
            found.extend(trees.receipt_at(at).map(|place| Refutation::Signature {
                id: filed.id,
                words: Box::new(filed.words),
                signature: filed.signature.to_vec(),
                path: place.proof,
            }));
        }
    }
}

/// Receipts that an earlier epoch holds.
fn duplicates(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) {
    for epoch in &known.epochs {
        let leaves: Vec<B256> = epoch.receipts.iter().map(|receipt| receipt.leaf(trees.published.domain)).collect();
        for (at, filed) in trees.published.receipts.iter().enumerate() {
            let Some(filed) = filed else { continue };
            let Ok(there) = epoch.receipts.binary_search_by_key(&filed.id, |receipt| receipt.id) else { continue };
            if let (Some(receipt), Some(proof)) = (trees.receipt_at(at), merkle::prove(&leaves, there as u64)) {
                let earlier = ReceiptPlace { receipt: Some(epoch.receipts[there].clone()), proof };
                found.push(Refutation::Duplicate { receipt, earlier_epoch: epoch.number, earlier });
            }
        }
    }
}

/// Receipts whose lines are others than the watcher's, within what proofs allow; receipts nobody can read.
fn disputed(published: &Published, known: &Known) -> Vec<String> {
    let mut lines: BTreeMap<ReceiptId, Vec<&Entry>> = BTreeMap::new();
    for entry in published.entries.iter().flatten() {
        lines.entry(entry.receipt).or_default().push(entry);
    }
    let mut disputed = Vec::new();
    if published.header.receipt_count as usize != published.receipts.len() {
        // More than the tree has places: nothing stands there that could be shown.
        disputed.push(format!("{} receipts instead of {}", published.receipts.len(), published.header.receipt_count));
    }
    for filed in published.receipts.iter().flatten() {
        if filed.receipt().is_none() {
            disputed.push(format!("receipt {}: its words are no receipt", filed.id));
        }
        let Some(answered) = known.answers.get(&filed.struct_hash()) else {
            disputed.push(format!("receipt {}: its answer is not known, so neither are its spans and lines", filed.id));
            continue;
        };
        let mut stated = lines.remove(&filed.id).unwrap_or_default();
        stated.sort_by_key(|entry| entry.line);
        if !stated.into_iter().eq(&answered.entries) {
            disputed.push(format!("receipt {}: its lines are not those of its credits", filed.id));
        }
    }
    disputed
}
