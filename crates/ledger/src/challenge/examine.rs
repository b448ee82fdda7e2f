//! Looks for every fault of a proposal that a proof decides.
//!
//! Order comes first: neighbours prove what is missing only where leaves are in order.

use std::collections::{BTreeMap, BTreeSet};

use openledger_protocol::sum_tree::SumTree;
use openledger_protocol::{
    Address, Amount, B256, CreditState, Entry, PayoutTree, Receipt, ReceiptId, Signature, SignedNote, word,
};

use super::published::{Filed, Published, PublishedError, Trees, places_of};
use super::{Known, Refutation, lines, spans};
use crate::proof::ReceiptPlace;

/// The result of an examination; both lists empty: the proposal is what this watcher would have
/// proposed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Examined {
    /// The faults, each with its proof.
    pub refutations: Vec<Refutation>,
    /// Differences from this watcher's results that no proof decides; they are for the jury.
    pub disputed: Vec<String>,
}

/// The place of the price among a receipt's words.
pub(super) const PRICE: usize = 25;

/// Examines a publication under a proposal's roots against a watcher's knowledge.
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
    duplicates(&trees, known, &mut found)?;
    notes(&trees, known, &mut found);
    lines::faults(&trees, known, &mut found);
    lines::bound(&trees, known, &mut found)?;
    spans::faults(&trees, known, &mut found);
    let disputed = if found.is_empty() { disputed(published, known) } else { Vec::new() };
    Ok(Examined { refutations: found, disputed })
}

/// Neighbours of which the first may not stand left of the second; an empty place counts as the
/// highest key.
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

/// Receipts that the proposer signed, of the epoch's time, that are not in it or under whose id
/// another one stands.
fn omissions(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) {
    let published = trees.published;
    let filed: BTreeMap<ReceiptId, (usize, B256)> = published
        .receipts
        .iter()
        .enumerate()
        .filter_map(|(at, filed)| filed.as_ref().map(|filed| (filed.id, (at, filed.struct_hash()))))
        .collect();
    for signed in &known.receipts {
        let (receipt, domain) = (&signed.receipt, published.domain);
        let in_time = receipt.time > known.last_cutoff && receipt.time <= published.header.cutoff;
        let struct_hash = receipt.struct_hash();
        let there = filed.get(&receipt.id());
        if signed.domain == domain
            && receipt.node == published.header.node
            && in_time
            && there.is_none_or(|&(_, other)| other != struct_hash)
            && signed.signature.verify(domain.digest(struct_hash), published.header.node).is_ok()
        {
            let gap = match there {
                Some(&(at, _)) => trees.receipt_at(at).map(|place| vec![place]),
                None => trees.no_receipt(receipt.id()),
            };
            found.extend(gap.map(|gap| Refutation::Omission {
                words: Box::new(receipt.words()),
                signature: signed.signature.0.to_vec(),
                gap,
            }));
        }
    }
}

/// Entries of receipts that are not in the epoch: one of each receipt.
fn strays(trees: &Trees<'_>, found: &mut Vec<Refutation>) {
    let mut ids: BTreeSet<ReceiptId> = trees.published.receipts.iter().flatten().map(|filed| filed.id).collect();
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
    let before = SumTree::committed(leaves.iter().map(|payout| payout.leaf(published.domain)).collect())?;
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

/// Receipts filed under another id or price, not signed by the proposer, of a node that never had a
/// bond, of values that do not exist, or with a note that they did not announce.
fn signatures(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) {
    for (at, filed) in trees.published.receipts.iter().enumerate() {
        let Some(filed) = filed else { continue };
        let sound = |filed: &Filed| {
            let [version, kind, credit_state, node, ..] = filed.words;
            let node = Address::from_slice(&node[12..]);
            let known_values = version == word(2u8) && kind <= word(3u8) && credit_state <= word(2u8);
            let priced = filed.words[PRICE] == word(filed.price);
            let announced = filed.note_hash == B256::ZERO || credit_state == word(CreditState::Deferred as u8);
            let filed_right = filed.id == Receipt::id_of(&filed.words) && priced && announced;
            let digest = trees.published.domain.digest(filed.struct_hash());
            let signature = <[u8; 65]>::try_from(filed.signature.as_ref()).map(Signature);
            let signed = signature.is_ok_and(|signature| signature.verify(digest, node).is_ok());
            let operator = node == trees.published.header.node && known.bonded.contains(&node);
            signed && operator && known_values && filed_right
        };
        if !sound(filed) {
            found.extend(trees.receipt_at(at).map(|place| Refutation::Signature {
                id: filed.id,
                words: Box::new(filed.words),
                signature: filed.signature.to_vec(),
                note_hash: filed.note_hash,
                price: filed.price,
                path: place.proof,
            }));
        }
    }
}

/// Receipts that an earlier epoch holds.
fn duplicates(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) -> Result<(), PublishedError> {
    for epoch in &known.epochs {
        let leaves = epoch.receipts.iter().map(|receipt| receipt.node(trees.published.domain)).collect();
        let tree = SumTree::committed(leaves)?;
        for (at, filed) in trees.published.receipts.iter().enumerate() {
            let Some(filed) = filed else { continue };
            let Ok(there) = epoch.receipts.binary_search_by_key(&filed.id, |receipt| receipt.id) else { continue };
            if let (Some(receipt), Some(proof)) = (trees.receipt_at(at), tree.prove(there as u64)) {
                let earlier = ReceiptPlace { receipt: Some(epoch.receipts[there].clone()), proof };
                found.push(Refutation::Duplicate { receipt, earlier_epoch: epoch.number, earlier });
            }
        }
    }
    Ok(())
}

/// Credit notes that the proposer signed for a receipt that is filed with another one, or with none
/// although the note was in time; and filed notes that are of another receipt or came late.
fn notes(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) {
    let header = &trees.published.header;
    for (at, filed) in trees.published.receipts.iter().enumerate() {
        let Some(filed) = filed else { continue };
        let Some(receipt) = trees.receipt_at(at) else { continue };
        if let Some(note) = known.note_of(filed).flatten().filter(|n| n.receipt != filed.id || n.time > header.cutoff) {
            let (receipt, note) = (receipt.clone(), Box::new(note));
            found.push(Refutation::Note { receipt, note, signature: None });
        }
        let other = |signed: &&SignedNote| {
            let wrong = match filed.note_hash {
                B256::ZERO => signed.note.time <= header.cutoff,
                hash => signed.note.struct_hash() != hash,
            };
            signed.note.receipt == filed.id && wrong && signed.verify(trees.published.domain, header.node).is_ok()
        };
        if let Some(SignedNote { note, signature }) = known.notes.iter().find(other) {
            let (note, signature) = (Box::new(note.clone()), Some(*signature));
            found.push(Refutation::Note { receipt, note, signature });
        }
    }
}

/// Receipts whose lines are others than the watcher's, within what proofs allow; receipts nobody
/// can read.
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
