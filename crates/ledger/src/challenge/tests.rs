//! Facts about examining: what is refuted, what is left alone, what is left to the jury.
//!
//! That each proof holds on chain is a fact of `node`'s tests, which tell every lie there.

use std::collections::BTreeMap;

use openledger_protocol::{
    Address, Amount, B256, ContributionId, Coverage, Credits, DatanetId, Domain, Key, Layer, Mix, ModelId, Parties,
    Receipt, RecordRef, Role, Score, chunk_root, merkle, word,
};

use super::spans::difference;
use super::*;
use crate::{ClosedReceipt, SplitRule, close_epoch, split};

const DOMAIN: Domain = Domain { chain_id: 2626, contract: Address::repeat_byte(0xcc) };

fn node() -> Key {
    Key::demo(1, "node")
}

fn contribution(byte: u8) -> ContributionId {
    ContributionId(B256::repeat_byte(byte))
}

fn parties() -> Parties {
    Parties {
        treasury: Address::repeat_byte(0xa0),
        validation: Address::repeat_byte(0xa1),
        insurance: Address::repeat_byte(0xa2),
        owner: Address::repeat_byte(0xa3),
        node: node().address(),
        stakers: None,
        parents: Vec::new(),
    }
}

/// A receipt of the model 1, number `nonce` of its channel, with its lines: two contributions share the pot 1 : 3.
fn receipt(nonce: u64) -> ClosedReceipt {
    let mut words: [B256; 29] = std::array::from_fn(|_| B256::ZERO);
    words[0] = word(node().address());
    let rule = SplitRule::default();
    let receipt = Receipt {
        nonce,
        model: ModelId(1),
        price: Amount(1_000_003),
        platform_bps: rule.platform_bps(),
        model_bps: rule.model_bps(),
        stakers_bps: rule.stakers_bps(),
        contributors_bps: rule.contributors_bps(),
        holder_block: 5,
        time: 100 + nonce,
        ..Receipt::from_words(&words).unwrap()
    };
    let score = |byte, score| Score {
        layer: Layer::Rest,
        datanet: DatanetId(1),
        record: RecordRef { contribution: contribution(byte), index: 0 },
        score,
    };
    let credits =
        Credits { scores: vec![score(1, 1), score(2, 3)], coverage: Coverage::default(), ..Credits::default() };
    let holders = [1, 2].map(|byte| (contribution(byte), Address::repeat_byte(byte)));
    let holders = holders.into_iter().collect();
    let entries = split(receipt.id(), receipt.price, &rule, &Mix::GOVERNED[0], &credits, &holders, &parties()).unwrap();
    ClosedReceipt { signed: receipt.sign(DOMAIN, &node()), entries }
}

/// An honest proposal of three receipts, and what its watcher knows.
fn honest() -> (Published, Known) {
    let receipts: Vec<ClosedReceipt> = (1..=3).map(receipt).collect();
    let closed = close_epoch(1, &receipts, &[], DOMAIN).unwrap();
    let published = Published::of(&closed, 103, node().address());
    let parties = parties();
    let batch = |byte| (contribution(byte), KnownBatch { batch: Batch::default(), leaves: Vec::new() });
    let known = Known {
        block: 9,
        platform: PlatformLines {
            treasury: parties.treasury,
            validation: parties.validation,
            insurance: parties.insurance,
        },
        bonded: [node().address()].into(),
        models: [(ModelId(1), KnownModel { rule: SplitRule::default(), has_parent: false, stake_vault: None })].into(),
        model_holders: [((ModelId(1), 5), parties.owner)].into(),
        batches: [batch(1), batch(2)].into(),
        holders: [1, 2].map(|byte| ((contribution(byte), 5), Address::repeat_byte(byte))).into(),
        receipts: receipts.iter().map(|closed| closed.signed.clone()).collect(),
        answers: receipts
            .iter()
            .map(|closed| {
                let answered = Answered { text: String::new(), spans: Vec::new(), entries: closed.entries.clone() };
                (closed.signed.receipt.struct_hash(), answered)
            })
            .collect::<BTreeMap<_, _>>(),
        ..Known::default()
    };
    (published, known)
}

/// The proposal that the leaves make.
fn proposed(mut published: Published) -> Published {
    published.header = published.computed().unwrap();
    published
}

fn names(examined: &Examined) -> Vec<&'static str> {
    examined.refutations.iter().map(Refutation::name).collect()
}

#[test]
fn an_honest_proposal_is_neither_refuted_nor_disputed() {
    let (published, known) = honest();
    assert_eq!(examine(&published, &known), Ok(Examined::default()));
}

#[test]
fn how_a_pot_was_divided_is_disputed_and_not_refuted() {
    let (mut published, known) = honest();
    let mut lines: Vec<_> =
        published.entries.iter_mut().flatten().filter(|entry| entry.role == Role::Contributor).collect();
    lines.sort_by_key(|entry| (entry.receipt, entry.account));
    lines[0].amount.0 += 7;
    lines[1].amount.0 -= 7;
    let accounts = [lines[0].account, lines[1].account];
    for payout in published.payouts.iter_mut().flatten() {
        match payout.account {
            account if account == accounts[0] => payout.cumulative.0 += 7,
            account if account == accounts[1] => payout.cumulative.0 -= 7,
            _ => {}
        }
    }
    let examined = examine(&proposed(published), &known).unwrap();
    assert_eq!(names(&examined), [] as [&str; 0]);
    assert_eq!(examined.disputed.len(), 1, "{:?}", examined.disputed);
}

#[test]
fn leaves_of_other_roots_say_nothing() {
    let (mut published, known) = honest();
    published.receipts.pop();
    assert_eq!(examine(&published, &known), Err(PublishedError::NotUnderRoot("receipts")));
    let (published, mut known) = honest();
    known.payout_root = B256::repeat_byte(1);
    assert_eq!(examine(&published, &known), Err(PublishedError::Earlier));
}

#[test]
fn a_gap_and_a_wrong_count_are_out_of_order() {
    let (mut published, known) = honest();
    published.receipts.insert(1, None);
    assert_eq!(names(&examine(&proposed(published), &known).unwrap()), ["wrong order", "wrong order"]);
    for count in [2, 4] {
        let (mut published, known) = honest();
        published.header.receipt_count = count;
        assert_eq!(names(&examine(&published, &known).unwrap()), ["wrong order"], "{count} of 3");
    }
}

#[test]
fn a_receipt_after_the_cutoff_or_of_another_node_may_be_left_out() {
    let (published, mut known) = honest();
    known.receipts.push(receipt(4).signed);
    assert_eq!(names(&examine(&published, &known).unwrap()), [] as [&str; 0], "its time is 104");
    known.receipts.push(receipt(4).signed.receipt.sign(DOMAIN, &Key::demo(1, "other")));
    let later = Published { cutoff: 104, ..published };
    assert_eq!(names(&examine(&later, &known).unwrap()), ["omitted receipt"], "of two, the one that is signed");
}

#[test]
fn a_holder_block_in_the_future_is_a_wrong_payee() {
    let (published, mut known) = honest();
    known.block = 4;
    let examined = examine(&published, &known).unwrap();
    assert_eq!(names(&examined), ["wrong payee"; 9], "an owner's and two contributors' lines of each receipt");
}

#[test]
fn chunks_show_the_first_byte_that_differs_or_that_there_is_none() {
    let record: Vec<u8> = (0..700u32).map(|at| (at % 251) as u8).collect();
    let salt = B256::repeat_byte(7);
    let span = |record_offset, length, output_offset| Span {
        datanet: DatanetId(1),
        version: 1,
        record: RecordRef { contribution: contribution(1), index: 0 },
        record_offset,
        length,
        output_offset,
        weight: 1,
    };
    let under = |root: B256, salt: B256, place: &ChunkPlace| {
        let leaf = place.chunk.as_ref().map_or(B256::ZERO, |(_, data)| {
            openledger_protocol::chunk_leaf(salt, u32::try_from(place.path.index).unwrap(), data)
        });
        merkle::verify(root, leaf, &place.path)
    };
    let mut output = record.clone();
    assert_eq!(difference(&span(0, 700, 0), &record, salt, &output), None);
    output[300] ^= 1;
    let (offset, truth, said) = difference(&span(290, 100, 290), &record, salt, &output).unwrap();
    assert_eq!((offset, truth.path.index, said.path.index), (10, 1, 1));
    assert!(under(chunk_root(salt, &record), salt, &truth));
    assert!(under(chunk_root(B256::ZERO, &output), B256::ZERO, &said));

    // The answer ends within a chunk, before an empty place, before the end of the tree.
    for (length, index, empty) in [(280, 1, false), (256, 0, false), (768, 3, true)] {
        let answer = vec![record[0]; length];
        let same = vec![record[0]; 2_000];
        let (offset, _, said) = difference(&span(0, 2_000, 0), &same, salt, &answer).unwrap();
        assert_eq!(offset as usize, length);
        assert_eq!((said.path.index, said.chunk.is_none()), (index, empty), "{length}");
        assert!(under(chunk_root(B256::ZERO, &answer), B256::ZERO, &said));
    }
    let (offset, ..) = difference(&span(690, 20, 0), &record, salt, &record[690..]).unwrap();
    assert_eq!(offset, 10, "the record has 700 bytes");
}
