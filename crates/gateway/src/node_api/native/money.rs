//! Channels, attributions, receipts, epochs, claims and the audit.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json as Answer, Router};
use openledger_api::{
    Attribution, AttributionRequest, Audit, ClaimsMade, ClaimsRequest, Dispute, EpochExport, EpochPublication,
    EpochSettled, EpochView, NewChannel, OpenedChannel, Page, PageQuery, PayoutView, ReceiptDetail, ReceiptView,
    SessionKey, SessionKeyRequest, WatchedProposal,
};
use openledger_node::pipeline;
use openledger_protocol::{ReceiptBundle, ReceiptId};
use serde::Deserialize;

use crate::node_api::input::{Json, OptionalJson, Path, Query, Reader, hash, parse};
use crate::node_api::problem::Result;
use crate::node_api::shared::Shared;

/// Records that an attribution lists.
const TOP: usize = 10;

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/api/v1/channels/keys", post(session_key))
        .route("/api/v1/channels", post(open_channel))
        .route("/api/v1/attributions", post(attribute))
        .route("/api/v1/receipts", get(receipts))
        .route("/api/v1/receipts/{id}", get(receipt))
        .route("/api/v1/receipts/{id}/detail", get(detail))
        .route("/api/v1/receipts/{id}/bundle", get(bundle))
        .route("/api/v1/epochs", get(epochs).post(settle))
        .route("/api/v1/epochs/{number}", get(epoch))
        .route("/api/v1/epochs/{number}/payouts", get(payouts))
        .route("/api/v1/epochs/{number}/publication", get(publication))
        .route("/api/v1/epochs/pending/watch", post(watch))
        .route("/api/v1/epochs/pending/challenge", post(challenge))
        .route("/api/v1/claims", post(claim))
        .route("/api/v1/audit", get(audit))
}

async fn session_key(State(node): State<Shared>, Json(asked): Json<SessionKeyRequest>) -> Answer<SessionKey> {
    Answer(SessionKey { authorizer: node.deposits.session_account(asked.payer, asked.salt) })
}

async fn open_channel(State(node): State<Shared>, Json(new): Json<NewChannel>) -> Result<Answer<OpenedChannel>> {
    Ok(Answer(node.deposits.open(&new.config).await?))
}

async fn attribute(
    State(node): State<Shared>,
    Reader(viewer): Reader,
    Json(asked): Json<AttributionRequest>,
) -> Result<Answer<Attribution>> {
    let model = node.answering.model(&asked.model).await?;
    let completion = node.answering.given(&model, &asked.prompt, &asked.response)?;
    let credits = node.crediting.credit(&model, &completion, &node.answering.governed()).await?;
    let top = node.reading.top_records(&model, &credits, TOP, &viewer).await?;
    Ok(Answer(Attribution { credits, top }))
}

async fn receipts(State(node): State<Shared>, Query(page): Query<PageQuery>) -> Result<Answer<Page<ReceiptView>>> {
    Ok(Answer(node.reading.receipts(&page).await?))
}

async fn receipt(State(node): State<Shared>, Path(id): Path<String>) -> Result<Answer<ReceiptView>> {
    Ok(Answer(node.reading.receipt_summary(ReceiptId(hash("id", &id)?)).await?))
}

async fn detail(
    State(node): State<Shared>,
    Path(id): Path<String>,
    Reader(viewer): Reader,
) -> Result<Answer<ReceiptDetail>> {
    Ok(Answer(node.reading.receipt_detail(ReceiptId(hash("id", &id)?), &viewer).await?))
}

async fn bundle(
    State(node): State<Shared>,
    Path(id): Path<String>,
    Reader(viewer): Reader,
) -> Result<Answer<ReceiptBundle>> {
    Ok(Answer(node.reading.bundle(ReceiptId(hash("id", &id)?), &viewer).await?))
}

async fn epochs(State(node): State<Shared>, Query(page): Query<PageQuery>) -> Result<Answer<Page<EpochView>>> {
    Ok(Answer(node.reading.epochs(&page).await?))
}

async fn settle(State(node): State<Shared>) -> Result<Answer<EpochSettled>> {
    let (settlement, epochs) = node.settle_parts();
    Ok(Answer(pipeline::settle(settlement, epochs).await?))
}

async fn epoch(State(node): State<Shared>, Path(number): Path<String>) -> Result<Answer<EpochExport>> {
    Ok(Answer(node.reading.epoch(parse("number", &number)?).await?))
}

async fn payouts(
    State(node): State<Shared>,
    Path(number): Path<String>,
    Query(page): Query<PageQuery>,
) -> Result<Answer<Page<PayoutView>>> {
    Ok(Answer(node.reading.payouts(parse("number", &number)?, &page).await?))
}

async fn publication(State(node): State<Shared>, Path(number): Path<String>) -> Result<Answer<EpochPublication>> {
    Ok(Answer(node.watching.publication(parse("number", &number)?).await?))
}

async fn watch(
    State(node): State<Shared>,
    OptionalJson(publication): OptionalJson<EpochPublication>,
) -> Result<Answer<Option<WatchedProposal>>> {
    Ok(Answer(node.watching.watch(publication.as_ref()).await?))
}

async fn challenge(
    State(node): State<Shared>,
    OptionalJson(publication): OptionalJson<EpochPublication>,
) -> Result<Answer<Option<Dispute>>> {
    Ok(Answer(node.watching.dispute(publication.as_ref()).await?))
}

async fn claim(
    State(node): State<Shared>,
    OptionalJson(claims): OptionalJson<ClaimsRequest>,
) -> Result<Answer<ClaimsMade>> {
    let accounts = claims.unwrap_or_default().accounts;
    Ok(Answer(ClaimsMade { claims: pipeline::claim(&node.settlement, &accounts).await? }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    #[serde(default)]
    whole: bool,
}

async fn audit(State(node): State<Shared>, Query(query): Query<AuditQuery>) -> Result<Answer<Audit>> {
    Ok(Answer(node.auditing.audit(query.whole).await?))
}
