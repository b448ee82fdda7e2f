//! Jobs and models.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::{get, post};
use axum::{Extension, Json as Answer, Router};
use futures::Stream;
use openledger_api::{
    Job, JobEvent, JobEventKind, JobOrder, JobQueued, JobsQuery, ModelOffer, ModelOffered, ModelView, Page, PageQuery,
    TrainedRecord,
};
use openledger_node::{NodeError, pipeline};
use openledger_protocol::Manifest;

use crate::node_api::input::{Json, Path, Query, Reader, parse};
use crate::node_api::problem::Result;
use crate::node_api::shared::Shared;
use crate::node_api::shutdown::ShutdownNotice;

/// How often a job's events are looked for.
const LOOK: Duration = Duration::from_millis(250);

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/api/v1/jobs", get(jobs).post(order))
        .route("/api/v1/jobs/{job}", get(job))
        .route("/api/v1/jobs/{job}/events", get(events))
        .route("/api/v1/jobs/{job}/cancel", post(cancel))
        .route("/api/v1/jobs/{job}/retry", post(retry))
        .route("/api/v1/models", get(models).post(offer))
        .route("/api/v1/models/{name}/manifest", get(manifest))
        .route("/api/v1/models/{name}/records", get(records))
}

async fn jobs(State(node): State<Shared>, Query(query): Query<JobsQuery>) -> Result<Answer<Page<Job>>> {
    Ok(Answer(node.jobs.list(query.state, &query.page()).await?))
}

async fn order(State(node): State<Shared>, Json(order): Json<JobOrder>) -> Result<(StatusCode, Answer<JobQueued>)> {
    let JobOrder::Train(order) = order;
    let job = pipeline::train(&node.training, &order).await?;
    Ok((StatusCode::ACCEPTED, Answer(JobQueued { job })))
}

async fn job(State(node): State<Shared>, Path(job): Path<String>) -> Result<Answer<Job>> {
    Ok(Answer(node.jobs.get(parse("job", &job)?).await?))
}

async fn cancel(State(node): State<Shared>, Path(job): Path<String>) -> Result<Answer<Job>> {
    Ok(Answer(node.jobs.cancel(parse("job", &job)?).await?))
}

async fn retry(State(node): State<Shared>, Path(job): Path<String>) -> Result<Answer<Job>> {
    Ok(Answer(node.jobs.retry(parse("job", &job)?).await?))
}

async fn events(
    State(node): State<Shared>,
    Path(job): Path<String>,
    headers: HeaderMap,
    Extension(notice): Extension<ShutdownNotice>,
) -> Result<Sse<impl Stream<Item = std::result::Result<Event, BrokenOff>>>> {
    let job: u64 = parse("job", &job)?;
    let after =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()).map_or(Ok(0), |id| parse("Last-Event-ID", id))?;
    // What is wrong with the request is said before the stream begins.
    node.jobs.events(job, after).await?;
    let follower = Follower { node, job, after, ready: VecDeque::new(), notice };
    let events = futures::stream::try_unfold(follower, |mut follower| async move {
        Ok::<_, BrokenOff>(follower.next().await?.map(|event| (event, follower)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Why a stream of events broke off before its job ended. The client sees a connection that breaks,
/// and can go on after the last event.
#[derive(Debug, thiserror::Error)]
enum BrokenOff {
    #[error("the node shuts down")]
    Shutdown,
    #[error("the events of the job cannot be read")]
    Unreadable,
}

impl From<NodeError> for BrokenOff {
    fn from(error: NodeError) -> Self {
        tracing::error!(%error, "a stream of job events broke off");
        Self::Unreadable
    }
}

/// Reads a job's events after `after`, until the job has ended and all were sent.
struct Follower {
    node: Shared,
    job: u64,
    after: u64,
    /// Events that were read and not sent yet.
    ready: VecDeque<JobEvent>,
    notice: ShutdownNotice,
}

impl Follower {
    /// The next event; `None` after the last one of a job that has ended.
    async fn next(&mut self) -> std::result::Result<Option<Event>, BrokenOff> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return sent(&event).map(Some);
            }
            if self.notice.is_given() {
                return Err(BrokenOff::Shutdown);
            }
            // The state is read before the events, so that a final state's own event is not missed.
            let ended = self.node.jobs.get(self.job).await?.state.is_final();
            self.ready = self.node.jobs.events(self.job, self.after).await?.into();
            match self.ready.back() {
                Some(last) => self.after = last.seq,
                None if ended => return Ok(None),
                None => tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = self.notice.given() => return Err(BrokenOff::Shutdown),
                },
            }
        }
    }
}

/// An event of a job as a server-sent event.
fn sent(event: &JobEvent) -> std::result::Result<Event, BrokenOff> {
    let kind = match event.event {
        JobEventKind::State { .. } => "state",
        JobEventKind::Progress(_) => "progress",
        JobEventKind::Log { .. } => "log",
    };
    Event::default().id(event.seq.to_string()).event(kind).json_data(event).map_err(|error| {
        tracing::error!(%error, "an event of a job cannot be written");
        BrokenOff::Unreadable
    })
}

async fn models(State(node): State<Shared>, Query(page): Query<PageQuery>) -> Result<Answer<Page<ModelView>>> {
    Ok(Answer(node.models.page(&page).await?))
}

async fn offer(State(node): State<Shared>, Json(offer): Json<ModelOffer>) -> Result<Answer<ModelOffered>> {
    Ok(Answer(pipeline::offer(&node.models, offer.id, &offer.name, offer.job).await?))
}

async fn manifest(State(node): State<Shared>, Path(name): Path<String>) -> Result<Answer<Manifest>> {
    Ok(Answer(node.answering.model(&name).await?.manifest().clone()))
}

async fn records(
    State(node): State<Shared>,
    Path(name): Path<String>,
    Query(page): Query<PageQuery>,
    Reader(viewer): Reader,
) -> Result<Answer<Page<TrainedRecord>>> {
    let model = node.answering.model(&name).await?;
    Ok(Answer(node.reading.trained_records(&model, &page, &viewer).await?))
}
