//! Jobs and models.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::{get, post};
use axum::{Json as Answer, Router};
use futures::Stream;
use openledger_api::{
    Job, JobOrder, JobQueued, JobsQuery, ModelOffer, ModelOffered, ModelView, Page, PageQuery, TrainedRecord,
};
use openledger_node::{Node, pipeline};
use openledger_protocol::Manifest;

use crate::node_api::input::{Json, Path, Query, Reader, parse};
use crate::node_api::problem::Result;
use crate::node_api::shared::Shared;

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
) -> Result<Sse<impl Stream<Item = std::result::Result<Event, Infallible>>>> {
    let job: u64 = parse("job", &job)?;
    let after =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()).map_or(Ok(0), |id| parse("Last-Event-ID", id))?;
    node.jobs.get(job).await?;
    Ok(Sse::new(follow(node, job, after)).keep_alive(KeepAlive::default()))
}

/// A job's events after `after`, until the job has ended and all were sent.
fn follow(node: Shared, job: u64, after: u64) -> impl Stream<Item = std::result::Result<Event, Infallible>> {
    let begin = (node, after, Vec::<Event>::new(), false);
    futures::stream::unfold(begin, move |(node, mut after, mut ready, mut ended)| async move {
        loop {
            if let Some(event) = ready.pop() {
                return Some((Ok(event), (node, after, ready, ended)));
            }
            if ended {
                return None;
            }
            // The state is read before the events, so that a final state's own event is not missed.
            ended = has_ended(&node, job).await;
            let Ok(events) = node.jobs.events(job, after).await else { return None };
            after = events.last().map_or(after, |event| event.seq);
            ready = events
                .iter()
                .rev()
                .filter_map(|event| Event::default().id(event.seq.to_string()).json_data(event).ok())
                .collect();
            if ready.is_empty() && !ended {
                tokio::time::sleep(LOOK).await;
            } else if !ready.is_empty() {
                ended = false;
            }
        }
    })
}

async fn has_ended(node: &Node, job: u64) -> bool {
    node.jobs.get(job).await.map_or(true, |job| job.state.is_final())
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
