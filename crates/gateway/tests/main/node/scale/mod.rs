//! The bars of reading and auditing: with 50,000 receipts in 20 epochs a receipt with its proofs, a
//! page of a list and the overview take 50 ms each; auditing one new epoch of 2,000 receipts takes
//! 10 s, and an audit that was interrupted goes on from the last epoch that it found right.
//!
//! `cargo xtask bench reads` prints the figures of the full size. The test is of a fiftieth of it,
//! so that it adds less than a minute to a run in the development profile: 20 epochs as well, of 50
//! receipts, and a new one of 400. Its bounds are five times as loose, for a machine that runs
//! other tests meanwhile. The time of reads hardly depends on the size, since each goes by an
//! index; the time of an audit grows with the epoch, so its bound is that of the smaller epoch.

mod history;
mod market;
mod seeds;

use std::sync::Arc;
use std::time::Duration;

use openledger_protocol::ReceiptId;
use serde_json::json;

use self::history::{Measured, Size, audited, measure};
use self::seeds::{Holding, Seeds};
use super::database::Database;
use super::story::{QUESTION, fixture, folder, on};
use super::world::{Place, World};

/// The size that the bars are stated for.
const FULL: Size = Size { epochs: 20, receipts: 2_500, new: 2_000 };
/// The size of the test.
const SMALL: Size = Size { epochs: 20, receipts: 50, new: 400 };
/// How long a read may take with the full history.
const READ_MAX: Duration = Duration::from_millis(50);
/// How long the audit of the new epoch of [`FULL`] may take.
const AUDIT_MAX: Duration = Duration::from_secs(10);
/// How much looser the test's bounds are.
const LOOSER: u32 = 5;

#[test]
fn a_history_is_read_in_time_and_an_audit_goes_on_from_the_last_epoch_that_it_found_right() {
    let story = fixture();
    on(async {
        let world = World::another_life().await;
        let holding = Holding { title: serde_json::from_value(json!(story.sold)).unwrap(), holder: "buyer".into() };
        let questions = [QUESTION, "What is a weir?", "How is a chain cleaned?"];
        let mut seeds = Seeds::of(&world, &story.payer, &questions, vec![holding], SMALL.all()).await;
        let measured = measure(&world, &mut seeds, SMALL).await;
        print(SMALL, &measured);
        resumes(&measured);
        a_page_of_receipts_has_a_hundred(&world).await;
        a_fault_stays_beyond_the_mark(&world, seeds.receipts[SMALL.all() / 2]).await;
        for read in &measured.reads {
            assert!(read.p50 <= READ_MAX * LOOSER, "{read:?}");
        }
        let part = f64::from(u32::try_from(SMALL.new).unwrap()) / f64::from(u32::try_from(FULL.new).unwrap());
        let bound = (AUDIT_MAX * LOOSER).mul_f64(part);
        assert!(measured.new.1 <= bound, "the audit of {} receipts took {:?}", SMALL.new, measured.new.1);
    });
}

/// Each epoch after the interruption was audited once, none before it, and the new one alone.
fn resumes(measured: &Measured) {
    let Measured { interrupted_at, resumed, new, .. } = measured;
    for (audit, _) in [resumed, new] {
        assert_eq!(audit["ok"], true, "{audit}");
    }
    let last = resumed.0["epoch"].as_u64().unwrap();
    assert_eq!(audited(&resumed.0), (interrupted_at + 1..=last).collect::<Vec<_>>(), "{}", resumed.0);
    assert_eq!((audited(&new.0), &new.0["epoch"]), (vec![last + 1], &json!(last + 1)), "{}", new.0);
}

/// A page of receipts has at most a hundred, whatever limit was asked for.
async fn a_page_of_receipts_has_a_hundred(world: &World) {
    let page = world.get("/api/v1/receipts?limit=500").await.done();
    assert_eq!(page["items"].as_array().unwrap().len(), 100);
    assert!(page["next"].is_string());
}

/// Audits stop before the epoch of a receipt that was tampered with, however often they are run,
/// and go on from it once it is mended.
async fn a_fault_stays_beyond_the_mark(world: &World, id: ReceiptId) {
    let mut database = world.sqlite().await;
    let receipt = world.get(&format!("/api/v1/receipts/{id}")).await.done();
    let epoch = receipt["epoch"].as_u64().unwrap();
    let select = sqlx::query_as("SELECT body FROM receipt_bodies WHERE receipt = ?").bind(&id.0[..]);
    let (body,): (String,) = select.fetch_one(&mut database).await.unwrap();
    let damaged = body.replacen("\"text\":\"", "\"text\":\"!", 1);
    let whole = "/api/v1/audit?whole=true";
    for (kept, path, sound) in
        [(&damaged, whole, false), (&damaged, "/api/v1/audit", false), (&body, "/api/v1/audit", true)]
    {
        let update = sqlx::query("UPDATE receipt_bodies SET body = ? WHERE receipt = ?");
        update.bind(kept).bind(&id.0[..]).execute(&mut database).await.unwrap();
        let audit = world.get(path).await.done();
        let first = if path == whole { 1 } else { epoch };
        assert_eq!((&audit["ok"], audited(&audit)[0]), (&json!(sound), first), "{audit}");
        let last = *audited(&audit).last().unwrap();
        assert_eq!(audit["epoch"], if sound { last } else { epoch - 1 }, "{audit}");
        let faults = audit["checks"].as_array().unwrap().iter().filter(|check| check["ok"] == false);
        assert!(faults.map(|check| check["detail"].as_str().unwrap()).all(|detail| detail.contains(&id.to_string())));
    }
}

/// The figures of the bars, on the folder's database or the one at `OPENLEDGER_BENCH_DATABASE`.
#[test]
fn figures_of_a_full_history() {
    if std::env::var_os("OPENLEDGER_BENCH").is_none() {
        println!("skipped: it prints figures, in minutes; `cargo xtask bench reads` runs it");
        return;
    }
    on(async {
        let database = std::env::var("OPENLEDGER_BENCH_DATABASE").map_or(Database::Sqlite, Database::Postgres);
        let world = World::open_on(Place::Embedded, database, folder(), Arc::default()).await;
        let mut seeds = market::open(&world, FULL).await;
        let measured = measure(&world, &mut seeds, FULL).await;
        print(FULL, &measured);
        resumes(&measured);
    });
}

fn print(size: Size, measured: &Measured) {
    let Measured { seeded, stored, lines, accounts, interrupted_at, until_interrupted, resumed, reads, new } = measured;
    println!(
        "{} epochs of {} receipts, {lines:.1} lines each on average, {accounts} accounts, {} MiB; made and settled in \
         {:.1} s",
        size.epochs,
        size.receipts,
        stored >> 20,
        seeded.as_secs_f64()
    );
    println!("\n{:<34} {:>9} {:>9} {:>9}", "request", "p50 ms", "p99 ms", "KiB");
    for read in reads {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!("{:<34} {:>9.1} {:>9.1} {:>9.1}", read.of, ms(read.p50), ms(read.p99), read.bytes as f64 / 1024.0);
    }
    println!("\naudit interrupted after epoch {interrupted_at}: {:.1} s", until_interrupted.as_secs_f64());
    println!("audit of the {} epochs after it: {:.1} s", audited(&resumed.0).len(), resumed.1.as_secs_f64());
    println!("audit of one new epoch of {} receipts: {:.1} s", size.new, new.1.as_secs_f64());
}
