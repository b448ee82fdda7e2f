//! The network, handles, datanets, imports, versions, grants and records.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json as Answer, Router};
use openledger_api::{
    ContributionView, DatanetView, GrantPublished, Handle, HandlesNoted, ImportReport, ImportSignatures, Imported,
    Network, NewDatanet, NewHandles, NextVersion, Overview, Page, PageQuery, RecordView, SignedGrant, SignedVersion,
    VersionPublished,
};
use openledger_node::{Blame, NodeError, pipeline};
use openledger_protocol::{ContributionId, DatanetId, RecordRef};

use crate::node_api::input::{Json, Jsonl, Path, Query, Reader, hash, parse};
use crate::node_api::problem::Result;
use crate::node_api::shared::Shared;

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/api/v1/network", get(network))
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/handles", get(handles).post(note_handles))
        .route("/api/v1/datanets", get(datanets).post(add_datanet))
        .route("/api/v1/datanets/{id}/imports", post(import))
        .route("/api/v1/imports/{import}/signatures", post(sign))
        .route("/api/v1/contributions", get(contributions))
        .route("/api/v1/datanets/{id}/next-version", get(next_version))
        .route("/api/v1/datanets/{id}/versions", post(publish))
        .route("/api/v1/datanets/{id}/grants", post(grant))
        .route("/api/v1/records/{contribution}/{index}", get(record))
}

async fn network(State(node): State<Shared>) -> Answer<Network> {
    Answer(node.reading.network())
}

async fn overview(State(node): State<Shared>) -> Result<Answer<Overview>> {
    Ok(Answer(node.reading.overview().await?))
}

async fn handles(State(node): State<Shared>, Query(page): Query<PageQuery>) -> Result<Answer<Page<Handle>>> {
    Ok(Answer(node.handles.page(&page).await?))
}

async fn note_handles(State(node): State<Shared>, Json(new): Json<NewHandles>) -> Result<Answer<HandlesNoted>> {
    Ok(Answer(HandlesNoted { handles: node.handles.register(&new.handles).await? }))
}

async fn datanets(State(node): State<Shared>, Query(page): Query<PageQuery>) -> Result<Answer<Page<DatanetView>>> {
    Ok(Answer(node.reading.datanets(&page).await?))
}

async fn add_datanet(State(node): State<Shared>, Json(new): Json<NewDatanet>) -> Result<Answer<DatanetView>> {
    let datanet = node.datanets.take_up(&new).await?;
    Ok(Answer(node.reading.datanet(datanet.id).await?))
}

async fn import(
    State(node): State<Shared>,
    Path(id): Path<String>,
    Jsonl(file): Jsonl,
) -> Result<Answer<ImportReport>> {
    let datanet = DatanetId(parse("id", &id)?);
    Ok(Answer(pipeline::contribute(&node.intake, datanet, &file).await?))
}

async fn sign(
    State(node): State<Shared>,
    Path(import): Path<String>,
    Json(signed): Json<ImportSignatures>,
) -> Result<Answer<Imported>> {
    let signatures: BTreeMap<_, _> =
        signed.signatures.into_iter().map(|signed| (signed.contribution, signed.signature)).collect();
    let registered = pipeline::register(&node.intake, hash("import", &import)?, &signatures).await?;
    Ok(Answer(Imported { registered }))
}

async fn contributions(
    State(node): State<Shared>,
    Query(page): Query<PageQuery>,
) -> Result<Answer<Page<ContributionView>>> {
    Ok(Answer(node.reading.contributions(&page).await?))
}

async fn next_version(State(node): State<Shared>, Path(id): Path<String>) -> Result<Answer<NextVersion>> {
    let (publication, digest) = node.datanets.next_version(DatanetId(parse("id", &id)?)).await?;
    Ok(Answer(NextVersion { publication, digest }))
}

async fn publish(
    State(node): State<Shared>,
    Path(id): Path<String>,
    Json(signed): Json<SignedVersion>,
) -> Result<Answer<VersionPublished>> {
    Ok(Answer(pipeline::publish(&node.datanets, DatanetId(parse("id", &id)?), &signed.signature).await?))
}

async fn grant(
    State(node): State<Shared>,
    Path(id): Path<String>,
    Json(signed): Json<SignedGrant>,
) -> Result<Answer<GrantPublished>> {
    if signed.grant.datanet != DatanetId(parse("id", &id)?) {
        return Err(NodeError::refused(Blame::Request, "wrong-datanet", "the grant names another datanet").into());
    }
    Ok(Answer(pipeline::grant(&node.grants, &signed.grant, &signed.signature).await?))
}

async fn record(
    State(node): State<Shared>,
    Path((contribution, index)): Path<(String, String)>,
    Reader(viewer): Reader,
) -> Result<Answer<RecordView>> {
    let contribution = ContributionId(hash("contribution", &contribution)?);
    let at = RecordRef { contribution, index: parse("index", &index)? };
    Ok(Answer(node.reading.record(at, &viewer).await?))
}
