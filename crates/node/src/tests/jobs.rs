//! The queue of jobs, before and after a worker has them.

use openledger_api::{JobEventKind, JobKind, JobState, PageQuery};

use super::{ManualTime, START_MS, code, store};
use crate::error::Blame;
use crate::jobs::Jobs;

struct World {
    time: ManualTime,
    jobs: Jobs,
}

impl World {
    async fn new() -> Self {
        let time = ManualTime::default();
        let jobs = Jobs::new(store().await, time.clock());
        Self { time, jobs }
    }

    async fn order(&self, order: &str) -> u64 {
        self.jobs.enqueue(JobKind::Train, order.to_owned()).await.unwrap()
    }
}

#[tokio::test]
async fn an_order_is_queued_once_until_it_was_cancelled() {
    let world = World::new().await;
    let first = world.order("a").await;
    assert_eq!(world.order("a").await, first);
    assert_ne!(world.order("b").await, first);
    world.jobs.cancel(first).await.unwrap();
    assert_ne!(world.order("a").await, first);
}

#[tokio::test]
async fn a_queued_job_shows_its_kind_its_state_and_when_it_was_ordered() {
    let world = World::new().await;
    let job = world.jobs.get(world.order("a").await).await.unwrap();
    assert_eq!((job.kind, job.state, job.attempts), (JobKind::Train, JobState::Queued, 0));
    assert_eq!((job.created, job.ended, job.result), (START_MS / 1000, None, None));
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once_and_only_once() {
    let world = World::new().await;
    let id = world.order("a").await;
    world.time.pass(5_000);
    let cancelled = world.jobs.cancel(id).await.unwrap();
    assert_eq!((cancelled.state, cancelled.ended), (JobState::Cancelled, Some(START_MS / 1000 + 5)));
    let refused = world.jobs.cancel(id).await.unwrap_err();
    assert_eq!((refused.blame(), refused.code()), (Blame::Conflict, "job-ended"));
}

#[tokio::test]
async fn a_cancelled_job_is_queued_again_on_request_and_its_events_say_so() {
    let world = World::new().await;
    let id = world.order("a").await;
    assert_eq!(code(world.jobs.retry(id).await), "job-not-ended");
    world.jobs.cancel(id).await.unwrap();
    assert_eq!(world.jobs.retry(id).await.unwrap().state, JobState::Queued);
    let events = world.jobs.events(id, 0).await.unwrap();
    let state = |state, cause: Option<&str>| JobEventKind::State { state, cause: cause.map(str::to_owned) };
    let expected = [
        state(JobState::Queued, None),
        state(JobState::Cancelled, None),
        state(JobState::Queued, Some("it was queued again")),
    ];
    assert_eq!(events.into_iter().map(|event| event.event).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn of_two_requests_at_once_one_ends_the_job_and_the_other_is_refused_by_its_state() {
    let world = World::new().await;
    let id = world.order("a").await;
    let refused = |outcomes: [crate::error::Result<openledger_api::Job>; 2]| {
        let codes: Vec<_> = outcomes.into_iter().filter_map(Result::err).map(|error| error.code()).collect();
        let [code] = codes.as_slice() else { panic!("{codes:?}") };
        *code
    };
    let (one, other) = tokio::join!(world.jobs.cancel(id), world.jobs.cancel(id));
    assert_eq!(refused([one, other]), "job-ended");
    let (one, other) = tokio::join!(world.jobs.retry(id), world.jobs.retry(id));
    assert_eq!(refused([one, other]), "job-not-ended");
}

#[tokio::test]
async fn a_job_that_does_not_exist_is_not_found() {
    let world = World::new().await;
    assert_eq!(code(world.jobs.get(9).await), "not-found");
    assert_eq!(code(world.jobs.events(9, 0).await), "not-found");
    assert_eq!(code(world.jobs.cancel(9).await), "not-found");
    assert_eq!(code(world.jobs.retry(9).await), "not-found");
}

#[tokio::test]
async fn jobs_come_by_page_newest_first_and_by_state() {
    let world = World::new().await;
    let [a, b, c] = [world.order("a").await, world.order("b").await, world.order("c").await];
    world.jobs.cancel(b).await.unwrap();
    let ids = async |state: Option<JobState>, limit: Option<u32>, after: Option<String>| {
        let page = world.jobs.list(state, &PageQuery { limit, after }).await.unwrap();
        (page.items.iter().map(|job| job.job).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = ids(None, Some(2), None).await;
    assert_eq!((first, next.as_deref()), (vec![c, b], Some(b.to_string().as_str())));
    assert_eq!(ids(None, Some(2), next).await, (vec![a], None));
    assert_eq!(ids(Some(JobState::Queued), None, None).await, (vec![c, a], None));
    let page = PageQuery { limit: None, after: Some("first".to_owned()) };
    assert_eq!(code(world.jobs.list(None, &page).await), "bad-parameter");
}
