//! Facts about examining: what is refuted, what is left alone, what is left to the jury.
//!
//! Tests of the node show that each proof holds on chain.

use std::collections::BTreeMap;

use openledger_protocol::{
    Address, Amount, B256, ContributionId, Coverage, CreditNote, CreditState, Credits, DatanetId, Domain, Key, Layer,
    ModelId, Params, Parties, PayeeRole, Receipt, ReceiptWords, RecordRef, Score, chunk_root, lines_root, merkle, word,
};

use super::spans::difference;
use super::*;
use crate::{ClosedReceipt, EpochSpan, Rules, SplitRule, close_epoch, split};

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

/// A receipt of the model 1, number `nonce` of its channel, with its lines: two contributions share
/// the pot 1 : 3.
fn receipt(nonce: u64) -> ClosedReceipt {
    let mut words: ReceiptWords = std::array::from_fn(|_| B256::ZERO);
    (words[0], words[3]) = (word(2u8), word(node().address()));
    let rule = SplitRule::default();
    let mut receipt = Receipt {
        nonce,
        params: Params::GENESIS.hash(),
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
    let rules = Rules { shares: rule, mix: Params::GENESIS.mixes[0], params: &Params::GENESIS };
    let entries = split(receipt.id(), receipt.price, &rules, &credits, &holders, &parties()).unwrap();
    receipt.lines = lines_root(&entries).unwrap();
    ClosedReceipt { signed: receipt.sign(DOMAIN, &node()), note: None, entries }
}

/// The receipt as one that defers its credits, with a note of time `at`.
fn deferred(nonce: u64, at: u64) -> ClosedReceipt {
    let ClosedReceipt { signed, entries, .. } = receipt(nonce);
    let inline = signed.receipt;
    let note = CreditNote::of(inline.id(), &Credits::default(), inline.lines, at);
    let receipt = Receipt { credit_state: CreditState::Deferred, ..inline };
    ClosedReceipt { signed: receipt.sign(DOMAIN, &node()), note: Some(note), entries }
}

/// An honest proposal of three receipts, and its watcher's knowledge.
fn honest() -> (Published, Known) {
    let receipts: Vec<ClosedReceipt> = (1..=3).map(receipt).collect();
    watched(&receipts)
}

fn watched(receipts: &[ClosedReceipt]) -> (Published, Known) {
    let span = EpochSpan { node: node().address(), number: 1, cutoff: 103 };
    let closed = close_epoch(span, receipts, &[], DOMAIN).unwrap();
    let published = Published::of(&closed);
    let parties = parties();
    let batch = |byte| (contribution(byte), KnownBatch { batch: RegisteredBatch::default(), leaves: Vec::new() });
    let known = Known {
        block: 9,
        platform: PlatformLines {
            treasury: parties.treasury,
            validation: parties.validation,
            insurance: parties.insurance,
        },
        bonded: [node().address()].into(),
        params: [(Params::GENESIS.hash(), KnownParams { params: Params::GENESIS, since: 0, until: None })].into(),
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
fn a_line_other_than_the_receipt_binds_is_refuted_where_the_lines_are_known() {
    let (mut published, mut known) = honest();
    let mut lines: Vec<_> =
        published.entries.iter_mut().flatten().filter(|entry| entry.role == PayeeRole::Contributor).collect();
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
    let published = proposed(published);
    assert_eq!(names(&examine(&published, &known).unwrap()), ["wrong lines"; 2]);
    // A watcher without the answers cannot decide, and lists the receipts as disputed.
    known.answers.clear();
    let examined = examine(&published, &known).unwrap();
    assert_eq!(names(&examined), [] as [&str; 0]);
    assert_eq!(examined.disputed.len(), 3, "{:?}", examined.disputed);
}

#[test]
fn lines_that_the_node_signed_itself_are_disputed_or_miss_the_price() {
    let mut closed: Vec<ClosedReceipt> = (1..=2).map(receipt).collect();
    let (_, known) = watched(&closed);
    // The contributors' lines, divided in another way than by scores, and signed so: no proof
    // decides that.
    let mut lines: Vec<_> = closed[0].entries.iter_mut().filter(|entry| entry.role == PayeeRole::Contributor).collect();
    lines[0].amount.0 += 7;
    lines[1].amount.0 -= 7;
    let lines = lines_root(&closed[0].entries).unwrap();
    closed[0].signed = Receipt { lines, ..closed[0].signed.receipt.clone() }.sign(DOMAIN, &node());
    let (published, mut learnt) = watched(&closed);
    let answered = |at: usize, known: &Known| known.answers[&closed[at].signed.receipt.struct_hash()].clone();
    assert_eq!(examine(&published, &learnt).unwrap(), Examined::default());
    let by_credits = Answered { entries: receipt(1).entries, ..answered(0, &learnt) };
    learnt.answers.insert(closed[0].signed.receipt.struct_hash(), by_credits);
    let examined = examine(&published, &learnt).unwrap();
    assert_eq!(names(&examined), [] as [&str; 0]);
    assert_eq!(examined.disputed.len(), 1, "{:?}", examined.disputed);

    // Lines of twice the price, of which the epoch pays one half.
    let (mut published, _) = watched(&closed[1..]);
    let mut twice = closed[1].entries.clone();
    let more: Vec<Entry> =
        twice.iter().map(|entry| Entry { line: entry.line + twice.len() as u32, ..entry.clone() }).collect();
    twice.extend(more);
    let lines = lines_root(&twice).unwrap();
    let signed = Receipt { lines, ..closed[1].signed.receipt.clone() }.sign(DOMAIN, &node());
    let filed = published.receipts[0].as_mut().unwrap();
    (filed.words, filed.signature) = (signed.receipt.words(), signed.signature.0.into());
    let mut known = Known { receipts: vec![signed.clone()], ..known };
    let answered = Answered { text: String::new(), spans: Vec::new(), entries: twice };
    known.answers = [(signed.receipt.struct_hash(), answered)].into();
    assert_eq!(names(&examine(&proposed(published), &known).unwrap()), ["wrong lines"]);
}

#[test]
fn another_receipt_under_the_id_of_a_signed_one_is_an_omission() {
    let (published, mut known) = honest();
    let told = Receipt { tokens_out: 9, ..receipt(2).signed.receipt }.sign(DOMAIN, &node());
    known.receipts.push(told);
    let examined = examine(&published, &known).unwrap();
    assert_eq!(names(&examined), ["omitted receipt"]);
    assert!(matches!(&examined.refutations[0], Refutation::Omission { gap, .. } if gap.len() == 1));
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
    let mut later = published;
    later.header.cutoff = 104;
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
fn a_receipt_filed_under_another_price_or_with_a_note_it_did_not_announce_is_refuted() {
    let change = |change: fn(&mut Filed)| {
        let (mut published, known) = honest();
        change(published.receipts[1].as_mut().unwrap());
        names(&examine(&proposed(published), &known).unwrap())
    };
    assert_eq!(change(|filed| filed.price.0 += 1), ["unsigned receipt"]);
    assert_eq!(change(|filed| filed.note_hash = B256::repeat_byte(1)), ["unsigned receipt"]);
    let version = change(|filed| filed.words[0] = word(3u8));
    assert_eq!(version, ["omitted receipt", "unsigned receipt"], "an unknown version under the id of a true receipt");
    assert_eq!(Receipt::FIELDS[super::examine::PRICE], "price");
}

#[test]
fn governed_numbers_that_were_never_in_force_are_a_wrong_split() {
    let (published, known) = honest();
    let examined = |since, until| {
        let params = KnownParams { params: Params::GENESIS, since, until };
        let known = Known { params: [(Params::GENESIS.hash(), params)].into(), ..known.clone() };
        names(&examine(&published, &known).unwrap()).len()
    };
    // The receipts are of the times 101 to 103; a use may miss the period by an hour.
    assert_eq!(examined(3_701, Some(9_000)), 0);
    assert_eq!([examined(3_702, None), examined(3_704, None)], [1, 3]);
    let other = Known { params: BTreeMap::new(), ..known.clone() };
    assert_eq!(names(&examine(&published, &other).unwrap()), ["wrong split"; 3]);
    let ended = KnownParams { params: Params::GENESIS, since: 0, until: Some(50) };
    assert!(ended.usable_at(3_649) && !ended.usable_at(3_650));
}

#[test]
fn another_credit_note_for_a_receipt_is_refuted_and_the_filed_one_is_not() {
    let (filed, sign) = (deferred(2, 103), |note: CreditNote| note.sign(DOMAIN, &node()));
    let note = filed.note.clone().unwrap();
    let (published, mut known) = watched(&[receipt(1), filed.clone()]);
    known.notes = vec![sign(note.clone())];
    assert_eq!(examine(&published, &known).unwrap().refutations, []);
    let other = CreditNote { coverage_spans: 7, ..note.clone() };
    known.notes.push(other.clone().sign(DOMAIN, &Key::demo(1, "other")));
    assert_eq!(examine(&published, &known).unwrap().refutations, [], "not signed by the proposer");
    known.notes.push(sign(CreditNote { time: 104, ..other.clone() }));
    assert_eq!(names(&examine(&published, &known).unwrap()), ["wrong credit note"], "of any time");

    // Filed without a note: one that was signed in time is missing, a later one counts for nothing.
    let (published, mut known) = watched(&[receipt(1), ClosedReceipt { note: None, ..filed }]);
    known.notes = vec![sign(CreditNote { time: 104, ..note.clone() })];
    assert_eq!(examine(&published, &known).unwrap().refutations, []);
    known.notes = vec![sign(note)];
    let found = examine(&published, &known).unwrap();
    assert_eq!(names(&found), ["wrong credit note"]);
    let [Refutation::Note { receipt, note, .. }] = found.refutations.as_slice() else { panic!("{found:?}") };
    assert_eq!(receipt.receipt.as_ref().map(|leaf| leaf.id), Some(note.receipt));
}

#[test]
fn a_filed_credit_note_that_came_late_or_is_of_another_receipt_is_refuted() {
    let filed = deferred(2, 103);
    let note = filed.note.clone().unwrap();
    for wrong in
        [CreditNote { time: 104, ..note.clone() }, CreditNote { receipt: receipt(1).signed.receipt.id(), ..note }]
    {
        let (mut published, mut known) = watched(std::slice::from_ref(&filed));
        published.receipts[0].as_mut().unwrap().note_hash = wrong.struct_hash();
        known.notes = vec![wrong.sign(DOMAIN, &Key::demo(1, "anybody"))];
        let examined = examine(&proposed(published), &known).unwrap();
        assert_eq!(names(&examined), ["wrong credit note"]);
        assert!(matches!(&examined.refutations[0], Refutation::Note { signature: None, .. }));
    }
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
