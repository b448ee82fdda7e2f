//! A history of many epochs: seeded, audited with an interruption, read over HTTP, and continued by
//! one more epoch, with the times of all that.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::seeds::Seeds;
use crate::node::world::World;

/// Requests that a time is taken of.
const REQUESTS: usize = 100;
/// Items on a page of a short list.
const SHORT_PAGE: usize = 20;
/// How long a look waits for the next.
const LOOK: Duration = Duration::from_millis(2);

/// How long a history is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Epochs before the new one.
    pub(crate) epochs: usize,
    /// Receipts of each of them.
    pub(crate) receipts: usize,
    /// Receipts of the new epoch.
    pub(crate) new: usize,
}

impl Size {
    /// Receipts in all.
    pub(crate) fn all(&self) -> usize {
        self.epochs * self.receipts + self.new
    }
}

/// How long requests of one kind took.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    /// The kind.
    pub(crate) of: String,
    /// The median.
    pub(crate) p50: Duration,
    /// What 99 of 100 stayed within.
    pub(crate) p99: Duration,
    /// Bytes of the longest response.
    pub(crate) bytes: usize,
}

/// What was measured.
pub(crate) struct Measured {
    /// Time to seed and settle the epochs before the new one.
    pub(crate) seeded: Duration,
    /// Bytes of the database after that.
    pub(crate) stored: u64,
    /// Lines of one receipt, on average.
    pub(crate) lines: f64,
    /// Accounts that the last epoch pays.
    pub(crate) accounts: usize,
    /// The last epoch that was audited when the audit was interrupted.
    pub(crate) interrupted_at: u64,
    /// The time until then.
    pub(crate) until_interrupted: Duration,
    /// The audit that went on from there, and its time.
    pub(crate) resumed: (Value, Duration),
    /// Requests.
    pub(crate) reads: Vec<Spread>,
    /// The audit of the new epoch alone, and its time.
    pub(crate) new: (Value, Duration),
}

/// Makes a history and measures it.
pub(crate) async fn measure(world: &World, seeds: &mut Seeds, size: Size) -> Measured {
    let began = Instant::now();
    for _ in 0..size.epochs {
        seeds.epoch(world, size.receipts).await;
    }
    let seeded = began.elapsed();
    let stored = std::fs::metadata(world.data.join("openledger.db")).map_or(0, |file| file.len());
    let began = Instant::now();
    let interrupted_at = interrupt_audit(world, seeds, size).await;
    let until_interrupted = began.elapsed();
    let resumed = audit(world).await;
    let (reads, lines, accounts) = reads(world, seeds).await;
    seeds.epoch(world, size.new).await;
    let new = audit(world).await;
    Measured { seeded, stored, lines, accounts, interrupted_at, until_interrupted, resumed, reads, new }
}

/// Audits, and goes away when half of the epochs are done; the epoch that the audit had come to.
async fn interrupt_audit(world: &World, seeds: &Seeds, size: Size) -> u64 {
    let last = epochs(world).await;
    let half = last - size.epochs as u64 / 2;
    let request = world.request("get", "/api/v1/audit").bearer_auth(&world.token);
    let asked = tokio::spawn(async move { request.send().await.map(|answer| answer.status()) });
    let mark = async || seeds.store().audit_mark().await.unwrap().map_or(0, |mark| mark.epoch);
    while mark().await < half {
        assert!(!asked.is_finished(), "the audit ended before it could be interrupted");
        tokio::time::sleep(LOOK).await;
    }
    asked.abort();
    asked.await.unwrap_err();
    // What was under way when the connection ended may still be written.
    let mut seen = mark().await;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = mark().await;
        if now == seen {
            break;
        }
        seen = now;
    }
    assert!((half..last).contains(&seen), "interrupted at {seen} of {last} epochs");
    seen
}

/// The number of the newest settled epoch.
async fn epochs(world: &World) -> u64 {
    let page = world.get("/api/v1/epochs?limit=1").await.done();
    page["items"][0]["number"].as_u64().unwrap_or_default()
}

/// Audits from where the last audit stopped.
async fn audit(world: &World) -> (Value, Duration) {
    let began = Instant::now();
    let audit = world.get("/api/v1/audit").await.done();
    (audit, began.elapsed())
}

/// Times the reads; also the lines of a receipt on average and the accounts of the last epoch.
async fn reads(world: &World, seeds: &Seeds) -> (Vec<Spread>, f64, usize) {
    let every = seeds.receipts.len().div_ceil(REQUESTS);
    let ids: Vec<_> = seeds.receipts.iter().step_by(every).collect();
    let paths = |of: &str| ids.iter().map(|id| format!("/api/v1/receipts/{id}{of}")).collect::<Vec<_>>();
    let mut reads = vec![
        spread(world, "receipt with its proofs", &paths("/bundle")).await,
        spread(world, "receipt with its texts", &paths("/detail")).await,
        spread(world, "receipt", &paths("")).await,
        spread(world, "overview", &["/api/v1/overview".to_owned()]).await,
    ];
    let mut lines = 0;
    for path in paths("/bundle") {
        let bundle = world.get(&path).await.done();
        let proofs = bundle["entry_proofs"].as_array().unwrap();
        assert!(bundle["inclusion"].is_object() && !proofs.is_empty(), "no proof: {path}");
        lines += proofs.len();
    }
    let epoch = epochs(world).await;
    let mut accounts = 0;
    for (of, list, limit) in [
        ("receipts", "/api/v1/receipts".to_owned(), 100),
        ("payouts", format!("/api/v1/epochs/{epoch}/payouts"), SHORT_PAGE),
        ("records", "/api/v1/models/thread/records".to_owned(), SHORT_PAGE),
        ("contributions", "/api/v1/contributions".to_owned(), SHORT_PAGE),
        ("epochs", "/api/v1/epochs".to_owned(), SHORT_PAGE),
    ] {
        let (pages, items) = walk(world, &list, limit).await;
        for (place, at) in [("first", 0), ("middle", pages.len() / 2), ("last", pages.len() - 1)] {
            let of = format!("{of}: {place} of {} pages", pages.len());
            reads.push(spread(world, &of, &pages[at..=at]).await);
        }
        if of == "payouts" {
            accounts = items;
        }
    }
    (reads, lines as f64 / ids.len() as f64, accounts)
}

/// The paths of all pages of a list, and how many items it has.
async fn walk(world: &World, list: &str, limit: usize) -> (Vec<String>, usize) {
    let first = format!("{list}?limit={limit}");
    let (mut pages, mut items) = (vec![first.clone()], 0);
    loop {
        let page = world.get(&pages[pages.len() - 1]).await.done();
        items += page["items"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => pages.push(format!("{first}&after={next}")),
            None => return (pages, items),
        }
    }
}

/// Times [`REQUESTS`] requests of paths in turn, one after the other.
async fn spread(world: &World, of: &str, paths: &[String]) -> Spread {
    let (mut times, mut bytes) = (Vec::with_capacity(REQUESTS), 0);
    for path in paths.iter().cycle().take(REQUESTS) {
        let began = Instant::now();
        let answer = world.request("get", path).bearer_auth(&world.token).send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        times.push(began.elapsed());
        assert_eq!(status, 200, "{path}");
        bytes = bytes.max(body.len());
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
    Spread { of: of.to_owned(), p50: at(50), p99: at(99), bytes }
}

/// The numbers of the closed epochs that an audit has checks of.
pub(crate) fn audited(audit: &Value) -> Vec<u64> {
    let names = audit["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap());
    let number = |name: &str| name.strip_prefix("epoch ")?.split_once(": computed")?.0.parse().ok();
    names.filter_map(number).collect()
}
