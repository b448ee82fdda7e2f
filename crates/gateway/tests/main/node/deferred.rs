//! Receipts that defer their credits, in the books of a node that settles them.
//!
//! The node makes no such receipts yet: those here are the story's answers, signed anew.

use openledger_ledger::{ClosedReceipt, EpochSpan, ExportedEpoch, close_epoch, lines_at, verify_bundle};
use openledger_protocol::{
    Annex, CreditNote, CreditState, Credits, Domain, Manifest, Payout, ReceiptBundle, SignedNote, lines_root,
};
use openledger_store::receipts::CreditNoteRow;
use serde_json::{Value, json};

use super::story::{QUESTION, on};
use super::world::{World, key};

/// What a receipt pays at the cutoff.
fn closing(cutoff: u64, bundle: &ReceiptBundle, manifest: &Manifest) -> ClosedReceipt {
    let (entries, note) = lines_at(cutoff, bundle, manifest).unwrap();
    ClosedReceipt { signed: bundle.signed.clone(), note, entries }
}

/// The receipt of an answer as if its credits came later.
fn deferred(bundle: &ReceiptBundle, manifest: &Manifest, domain: Domain) -> ReceiptBundle {
    let mut bundle = bundle.clone();
    let mut receipt = bundle.signed.receipt.clone();
    bundle.credits = Credits { methods: bundle.credits.methods, ..Credits::default() };
    // Every title has a line by training weights, whether the answer rests on it or not.
    for trained in &manifest.contributions {
        bundle.terms.holders.entry(trained.contribution).or_insert(key("buyer").address());
    }
    bundle.annex = Annex::of(&bundle.completion, &bundle.terms, manifest.hash().unwrap()).unwrap();
    receipt.annex = bundle.annex.struct_hash();
    receipt.credit_state = CreditState::Deferred;
    (receipt.spans_root, receipt.scores_root) = Default::default();
    (receipt.coverage_spans, receipt.coverage_influence, receipt.coverage_retrieval) = Default::default();
    bundle.signed.receipt = receipt.clone();
    bundle.entries = lines_at(0, &bundle, manifest).unwrap().0;
    receipt.lines = lines_root(&bundle.entries).unwrap();
    bundle.words = receipt.words().to_vec();
    bundle.signed = receipt.sign(domain, &key("node"));
    bundle
}

/// Replaces what the node keeps of a receipt: its bundle, and its lines by a credit note, if it has
/// one.
async fn replace(world: &World, bundle: &ReceiptBundle, note: Option<&SignedNote>) {
    let mut database = world.sqlite().await;
    let id = bundle.signed.receipt.id();
    sqlx::query("UPDATE receipt_bodies SET body = ? WHERE receipt = ?")
        .bind(serde_json::to_string(bundle).unwrap())
        .bind(id.0.to_vec())
        .execute(&mut database)
        .await
        .unwrap();
    let Some(note) = note else {
        sqlx::query("DELETE FROM entries WHERE receipt = ?").bind(id.0.to_vec()).execute(&mut database).await.unwrap();
        return;
    };
    let row = CreditNoteRow { receipt: id, time: note.note.time, body: serde_json::to_string(note).unwrap() };
    sqlx::query("INSERT INTO credit_notes (receipt, time, body) VALUES (?, ?, ?)")
        .bind(id.0.to_vec())
        .bind(i64::try_from(row.time).unwrap())
        .bind(row.body)
        .execute(&mut database)
        .await
        .unwrap();
}

#[test]
fn an_epoch_pays_deferred_receipts_by_their_notes_or_by_training_weights() {
    on(async {
        let world = World::another_life().await;
        let domain = Domain { chain_id: world.chain_id, contract: world.addresses.payouts };
        let manifest: Manifest =
            serde_json::from_value(world.get("/api/v1/models/thread/manifest").await.done()).unwrap();
        let payer = world.payer("patient").await;
        let mut bundles: Vec<ReceiptBundle> = Vec::new();
        for question in [QUESTION, "How do I find Polaris?", "What is a weir?"] {
            let answer = world.ask(&payer, question, json!({})).await.done();
            bundles.push(serde_json::from_value(world.bundle(&answer).await).unwrap());
        }
        let [inline, unnoted, noted] = &bundles[..] else { panic!("three answers") };
        let cutoff = noted.signed.receipt.time;

        let training = deferred(unnoted, &manifest, domain);
        replace(&world, &training, None).await;
        let note = CreditNote::of(noted.signed.receipt.id(), &noted.credits, noted.signed.receipt.lines, cutoff);
        let note = note.sign(domain, &key("node"));
        let later = deferred(noted, &manifest, domain);
        replace(&world, &later, Some(&note)).await;
        let by_note = ReceiptBundle { note: Some(note), entries: noted.entries.clone(), ..later };

        let settled = world.settle().await;
        let payouts = world.get("/api/v1/epochs/1/payouts").await.done();
        let before = |payout: &Value| Payout {
            account: serde_json::from_value(payout["account"].clone()).unwrap(),
            cumulative: serde_json::from_value(payout["cumulative"].clone()).unwrap(),
        };
        let before: Vec<Payout> = payouts["items"].as_array().unwrap().iter().map(before).collect();
        let receipts = [inline, &training, &by_note].map(|bundle| closing(cutoff, bundle, &manifest));
        assert!(receipts[1].note.is_none() && receipts[2].note.is_some());
        let span = EpochSpan { node: key("node").address(), number: 2, cutoff };
        let expected = close_epoch(span, &receipts, &before, domain).unwrap();
        assert_eq!(settled["header"], serde_json::to_value(&expected.header).unwrap());

        // The lines that only the cutoff decided are in the books: a stranger finds them in the
        // epoch.
        let exported = ExportedEpoch::new(expected.header, domain);
        let id = training.signed.receipt.id();
        let bundle = world.get(&format!("/api/v1/receipts/{}/bundle", id.0)).await.done();
        let bundle: ReceiptBundle = serde_json::from_value(bundle).unwrap();
        verify_bundle(&bundle, &exported, &manifest).unwrap();
    });
}
