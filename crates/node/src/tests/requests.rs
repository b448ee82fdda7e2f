//! Idempotency keys: first and repeated requests, waiting, take-over, removal.

use openledger_protocol::{Address, B256};
use openledger_store::requests::Response;
use openledger_store::{Error as StoreError, Store, transact_locked};

use super::{ManualTime, code, eventually, instance, store};
use crate::error::{Blame, Result};
use crate::owned_task::OwnedTask;
use crate::requests::{HOLD_MS, KEPT_MS, KeptResponse, RequestHold, Requests, Taken, WAIT_MAX_MS, WAITERS_MAX};

const PAYER: &str = "payer";
const KEY: &str = "key";
const REQUEST: B256 = B256::repeat_byte(1);
const OTHER: B256 = B256::repeat_byte(2);

struct World {
    time: ManualTime,
    store: Store,
}

impl World {
    async fn new() -> Self {
        Self { time: ManualTime::default(), store: store().await }
    }

    /// The register as the node instance of this name has it.
    fn of(&self, name: &str) -> Requests {
        Requests::new(self.store.clone(), self.time.clock(), instance(name))
    }
}

fn response(text: &str) -> KeptResponse {
    KeptResponse { status: 201, body: text.as_bytes().to_vec() }
}

fn fresh(taken: Result<Taken>) -> RequestHold {
    match taken.unwrap() {
        Taken::Fresh(hold) => hold,
        Taken::Done(response) => panic!("{response:?}"),
    }
}

fn done(taken: Result<Taken>) -> KeptResponse {
    match taken.unwrap() {
        Taken::Done(response) => response,
        Taken::Fresh(_) => panic!("the request was fresh"),
    }
}

/// Ends a request as a crash of its process does: its row stays, and nothing extends it.
fn crash(hold: RequestHold) {
    hold.finished();
}

#[tokio::test]
async fn a_first_request_is_fresh_and_a_repeat_gets_its_response_from_every_instance() {
    let world = World::new().await;
    let one = world.of("one");
    fresh(one.take(PAYER, PAYER, KEY, REQUEST).await).finish(response("first")).await.unwrap();
    assert_eq!(done(one.take(PAYER, PAYER, KEY, REQUEST).await), response("first"));
    assert_eq!(done(world.of("two").take(PAYER, PAYER, KEY, REQUEST).await), response("first"));
}

#[tokio::test]
async fn a_key_is_refused_for_another_request_while_the_first_runs_and_after() {
    let world = World::new().await;
    let requests = world.of("one");
    let hold = fresh(requests.take(PAYER, PAYER, KEY, REQUEST).await);
    assert_eq!(code(requests.take(PAYER, PAYER, KEY, OTHER).await), "key-reused");
    hold.finish(response("first")).await.unwrap();
    let refused = requests.take(PAYER, PAYER, KEY, OTHER).await.err().unwrap();
    assert_eq!((refused.blame(), refused.code()), (Blame::Conflict, "key-reused"));
}

#[tokio::test]
async fn the_same_key_of_another_principal_is_another_key() {
    let world = World::new().await;
    let requests = world.of("one");
    fresh(requests.take(PAYER, PAYER, KEY, REQUEST).await).finish(response("first")).await.unwrap();
    fresh(requests.take("another payer", "another payer", KEY, OTHER).await);
}

#[tokio::test]
async fn a_repeat_waits_for_the_running_request_and_gets_its_response() {
    let world = World::new().await;
    let hold = fresh(world.of("one").take(PAYER, PAYER, KEY, REQUEST).await);
    let other = world.of("two");
    let waiting = tokio::spawn(async move { other.take(PAYER, PAYER, KEY, REQUEST).await });
    world.time.is_read(4).await;
    assert!(!waiting.is_finished());
    hold.finish(response("first")).await.unwrap();
    assert_eq!(done(waiting.await.unwrap()), response("first"));
}

#[tokio::test]
async fn a_request_that_ends_without_a_response_gives_its_key_back_at_once() {
    let world = World::new().await;
    let requests = world.of("one");
    drop(fresh(requests.take(PAYER, PAYER, KEY, REQUEST).await));
    // No time passes: the hold has not run out. Another request may use the key now.
    let free = async || requests.take(PAYER, PAYER, KEY, OTHER).await.is_ok();
    eventually("the key is free", free).await;
}

#[tokio::test]
async fn a_key_of_a_process_that_is_gone_is_taken_over_when_its_hold_ends_and_not_before() {
    let world = World::new().await;
    crash(fresh(world.of("one").take(PAYER, PAYER, KEY, REQUEST).await));
    let other = world.of("two");
    let waiting = tokio::spawn(async move { other.take(PAYER, PAYER, KEY, REQUEST).await });
    world.time.pass(HOLD_MS - 1);
    world.time.is_read(4).await;
    assert!(!waiting.is_finished());
    world.time.pass(1);
    fresh(waiting.await.unwrap());
}

#[tokio::test]
async fn a_request_that_lost_its_key_has_its_transaction_taken_back() {
    let world = World::new().await;
    let slow = fresh(world.of("one").take(PAYER, PAYER, KEY, REQUEST).await);
    world.time.pass(HOLD_MS);
    let quick = fresh(world.of("two").take(PAYER, PAYER, KEY, REQUEST).await);

    let late = Response { status: 200, headers: Vec::new(), body: b"late".to_vec() };
    let (key, expires) = (slow.key().unwrap(), world.time.now() + KEPT_MS);
    let effect = transact_locked!(world.store, |tx| {
        tx.put_handle("late effect", Address::ZERO).await?;
        tx.finish_request(key, &late, expires).await
    });
    assert!(matches!(effect, Err(StoreError::KeyLost { .. })), "{effect:?}");
    assert_eq!(world.store.handle("late effect").await.unwrap(), None);
    assert!(slow.finish(response("late")).await.is_err());

    quick.finish(response("in time")).await.unwrap();
    assert_eq!(done(world.of("one").take(PAYER, PAYER, KEY, REQUEST).await), response("in time"));
}

#[tokio::test]
async fn a_running_request_that_extends_its_hold_keeps_its_key() {
    let world = World::new().await;
    let one = world.of("one");
    let hold = fresh(one.take(PAYER, PAYER, KEY, REQUEST).await);
    world.time.pass(HOLD_MS - 1);
    one.extend(hold.key().unwrap()).await.unwrap();
    world.time.pass(HOLD_MS - 1);
    let other = world.of("two");
    let waiting = tokio::spawn(async move { other.take(PAYER, PAYER, KEY, REQUEST).await });
    world.time.is_read(4).await;
    assert!(!waiting.is_finished());
    hold.finish(response("slow")).await.unwrap();
    assert_eq!(done(waiting.await.unwrap()), response("slow"));
}

#[tokio::test]
async fn a_request_that_lost_its_key_cannot_extend_its_hold() {
    let world = World::new().await;
    let one = world.of("one");
    let slow = fresh(one.take(PAYER, PAYER, KEY, REQUEST).await);
    world.time.pass(HOLD_MS);
    let _quick = fresh(world.of("two").take(PAYER, PAYER, KEY, REQUEST).await);
    assert!(one.extend(slow.key().unwrap()).await.is_err());
}

#[tokio::test]
async fn a_repeat_that_waited_nine_minutes_is_told_to_try_again() {
    let world = World::new().await;
    let one = world.of("one");
    let hold = fresh(one.take(PAYER, PAYER, KEY, REQUEST).await);
    let other = world.of("two");
    let waiting = tokio::spawn(async move { other.take(PAYER, PAYER, KEY, REQUEST).await });
    world.time.is_read(4).await;
    for _ in 0..WAIT_MAX_MS / HOLD_MS * 2 {
        assert!(!waiting.is_finished());
        one.extend(hold.key().unwrap()).await.unwrap();
        world.time.pass(HOLD_MS / 2);
    }
    let refused = waiting.await.unwrap().err().unwrap();
    assert_eq!((refused.blame(), refused.code()), (Blame::Retry, "key-in-use"));
}

#[tokio::test]
async fn a_repeat_looks_at_a_key_of_its_own_process_no_more_until_the_hold_ends() {
    let world = World::new().await;
    let one = world.of("one");
    let hold = fresh(one.take(PAYER, PAYER, KEY, REQUEST).await);
    let other = one.clone();
    let waiting = tokio::spawn(async move { other.take(PAYER, PAYER, KEY, REQUEST).await });
    // At its beginning, at its first look, and when it begins to wait.
    world.time.is_read(3).await;
    let before = world.time.reads();
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert!(world.time.reads() - before <= 1, "{} looks", world.time.reads() - before);
    hold.finish(response("first")).await.unwrap();
    assert_eq!(done(waiting.await.unwrap()), response("first"));
}

#[tokio::test]
async fn waiting_repeats_of_one_process_are_bounded_and_all_get_the_response() {
    let world = World::new().await;
    let one = world.of("one");
    let hold = fresh(one.take(PAYER, PAYER, KEY, REQUEST).await);
    let repeats: Vec<_> = (0..WAITERS_MAX + 40)
        .map(|_| {
            let one = one.clone();
            tokio::spawn(async move { one.take(PAYER, PAYER, KEY, REQUEST).await })
        })
        .collect();
    let refused = async || repeats.iter().filter(|repeat| repeat.is_finished()).count() == 40;
    eventually("those beyond the limit are refused", refused).await;
    // Requests of another caller have places of their own.
    fresh(one.take("another payer", "another payer", KEY, REQUEST).await).finish(response("other")).await.unwrap();
    hold.finish(response("first")).await.unwrap();
    let mut outcomes = [0, 0];
    for repeat in repeats {
        match repeat.await.unwrap() {
            Ok(taken) => {
                assert_eq!(done(Ok(taken)), response("first"));
                outcomes[0] += 1;
            }
            Err(error) => {
                assert_eq!((error.blame(), error.code()), (Blame::Retry, "key-in-use"));
                outcomes[1] += 1;
            }
        }
    }
    assert_eq!(outcomes, [WAITERS_MAX, 40]);
    // The places are free again.
    assert_eq!(done(one.take(PAYER, PAYER, KEY, REQUEST).await), response("first"));
}

#[tokio::test]
async fn the_bound_on_waiting_requests_is_one_of_the_caller_over_all_its_paths() {
    let world = World::new().await;
    let one = world.of("one");
    let paths = ["payer /a", "payer /b"];
    let mut holds = Vec::new();
    for path in paths {
        holds.push(fresh(one.take(PAYER, path, KEY, REQUEST).await));
    }
    let repeats: Vec<_> = (0..2 * WAITERS_MAX)
        .map(|at| {
            let one = one.clone();
            tokio::spawn(async move { one.take(PAYER, paths[at % 2], KEY, REQUEST).await })
        })
        .collect();
    let refused = async || repeats.iter().filter(|repeat| repeat.is_finished()).count() == WAITERS_MAX;
    eventually("half of them are refused", refused).await;
    // A key that nobody holds needs no place.
    fresh(one.take(PAYER, "payer /c", KEY, REQUEST).await);
    for hold in holds {
        hold.finish(response("first")).await.unwrap();
    }
    let mut waited = 0;
    for repeat in repeats {
        match repeat.await.unwrap() {
            Ok(taken) => {
                assert_eq!(done(Ok(taken)), response("first"));
                waited += 1;
            }
            Err(error) => assert_eq!((error.blame(), error.code()), (Blame::Retry, "key-in-use")),
        }
    }
    assert_eq!(waited, WAITERS_MAX);
}

#[tokio::test]
async fn a_look_comes_no_more_often_than_the_pauses_allow() {
    let world = World::new().await;
    crash(fresh(world.of("one").take(PAYER, PAYER, KEY, REQUEST).await));
    let (before, other) = (world.time.reads(), world.of("two"));
    let waiting = tokio::spawn(async move { other.take(PAYER, PAYER, KEY, REQUEST).await });
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    // Pauses of 20, 40, 80, 160 and 320 ms: six looks, where one every 20 ms made 35.
    let looks = world.time.reads() - before;
    assert!(looks <= 8, "{looks}");
    waiting.abort();
}

#[tokio::test]
async fn an_instance_that_starts_again_gives_back_its_own_holds_and_no_others() {
    let world = World::new().await;
    crash(fresh(world.of("one").take(PAYER, PAYER, "of one", REQUEST).await));
    let other = fresh(world.of("two").take(PAYER, PAYER, "of two", REQUEST).await);
    let restarted = world.of("one");
    restarted.release_own().await.unwrap();
    fresh(restarted.take(PAYER, PAYER, "of one", REQUEST).await);
    other.finish(response("kept its hold")).await.unwrap();
}

#[tokio::test]
async fn a_response_is_removed_when_a_week_has_passed_and_not_before() {
    let world = World::new().await;
    let requests = world.of("one");
    fresh(requests.take(PAYER, PAYER, KEY, REQUEST).await).finish(response("first")).await.unwrap();
    world.time.pass(KEPT_MS - 1);
    assert_eq!(requests.prune().await.unwrap(), 0);
    assert_eq!(done(requests.take(PAYER, PAYER, KEY, REQUEST).await), response("first"));
    world.time.pass(1);
    assert_eq!(requests.prune().await.unwrap(), 1);
    assert_eq!(requests.prune().await.unwrap(), 0);
    fresh(requests.take(PAYER, PAYER, KEY, OTHER).await);
}

#[tokio::test]
async fn the_task_beside_the_requests_removes_expired_responses_and_leaves_the_others() {
    let world = World::new().await;
    let requests = world.of("one");
    fresh(requests.take(PAYER, PAYER, "old", REQUEST).await).finish(response("old")).await.unwrap();
    world.time.pass(KEPT_MS);
    fresh(requests.take(PAYER, PAYER, "new", REQUEST).await).finish(response("new")).await.unwrap();
    let task = OwnedTask::spawn(requests.clone().keep_pruned());
    let now = world.time.now();
    // Counts what is expired, and takes its own removal back.
    let none_left = async || world.store.begin().await.unwrap().prune_requests(now).await.unwrap() == 0;
    eventually("expired responses are removed", none_left).await;
    drop(task);
    assert_eq!(done(requests.take(PAYER, PAYER, "new", REQUEST).await), response("new"));
}
