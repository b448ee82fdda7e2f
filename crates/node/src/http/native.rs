//! The native API at `/api/v1`: thin handlers over the node's steps. `docs/api.md` is the same in prose.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use openledger_protocol::{ChannelConfig, ContributionId, DatanetId, Grant, ReceiptId, RecordRef, Signature, keccak};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::Account;
use crate::error::{Blame, NodeError, Result};
use crate::node::Node;
use crate::pipeline;
use crate::train::TrainOrder;
use crate::versions::NewDatanet;
use crate::watch::Publication;

/// The routes; every `POST` asks for the operator's token.
pub(crate) fn router(node: Node) -> Router<Node> {
    Router::new()
        .route("/network", get(network))
        .route("/accounts", get(accounts).post(put_accounts))
        .route("/datanets", get(datanets).post(put_datanet))
        .route("/datanets/{id}/imports", post(import))
        .route("/imports/{import}/signatures", post(register))
        .route("/datanets/{id}/next-version", get(next_version))
        .route("/datanets/{id}/versions", post(publish))
        .route("/datanets/{id}/grants", post(grant))
        .route("/jobs", post(order))
        .route("/jobs/{id}", get(job))
        .route("/models", get(models).post(offer))
        .route("/models/{name}/manifest", get(manifest))
        .route("/models/{name}/records", get(trained_records))
        .route("/channels/keys", post(session))
        .route("/channels", post(open_channel))
        .route("/attributions", post(attribute))
        .route("/receipts", get(receipts))
        .route("/receipts/{id}", get(receipt))
        .route("/epochs", get(epochs).post(settle))
        .route("/epochs/{number}", get(epoch))
        .route("/epochs/{number}/payouts", get(payouts))
        .route("/epochs/{number}/publication", get(publication))
        .route("/epochs/pending/watch", post(watch))
        .route("/epochs/pending/challenge", post(challenge))
        .route("/claims", post(claim))
        .route("/records/{contribution}/{index}", get(record))
        .route("/overview", get(overview))
        .route("/audit", get(audit))
        .fallback(super::no_route)
        .layer(middleware::from_fn_with_state(node.clone(), super::repeats::repeatable))
        .layer(middleware::from_fn_with_state(node, operator_only))
}

/// Lets only the operator post.
async fn operator_only(State(node): State<Node>, request: Request, next: Next) -> Response {
    // Compared as hashes: how long it takes tells nothing about the token.
    let known = |token: &str| keccak(token) == keccak(&node.inner.token);
    if !request.method().is_safe() && !bearer(request.headers()).is_some_and(known) {
        let detail = "this call needs `Authorization: Bearer <operator token>`; the node keeps it in operator.token";
        return NodeError::refused(Blame::Permission, "operator-only", detail).into_response();
    }
    next.run(request).await
}

/// The bearer token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

/// A JSON body, refused with the place where it is wrong.
fn body<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| NodeError::refused(Blame::Request, "bad-json", format!("the body does not fit: {error}")))
}

fn hash(text: &str) -> Result<B256> {
    text.parse()
        .map_err(|_| NodeError::refused(Blame::Request, "bad-hash", format!("`{text}` is not 0x and 64 digits")))
}

type Answer = Result<Json<Value>>;

async fn network(State(node): State<Node>) -> Answer {
    Ok(Json(node.network()))
}

async fn accounts(State(node): State<Node>) -> Answer {
    Ok(Json(json!({ "accounts": node.accounts().await? })))
}

#[derive(Deserialize)]
struct Accounts {
    accounts: Vec<Account>,
}

async fn put_accounts(State(node): State<Node>, bytes: Bytes) -> Answer {
    let accounts: Accounts = body(&bytes)?;
    node.put_accounts(&accounts.accounts).await?;
    Ok(Json(json!({ "accounts": accounts.accounts.len() })))
}

async fn datanets(State(node): State<Node>) -> Answer {
    Ok(Json(json!({ "datanets": node.datanet_cards().await? })))
}

async fn put_datanet(State(node): State<Node>, bytes: Bytes) -> Answer {
    let new: NewDatanet = body(&bytes)?;
    let datanet = node.put_datanet(&new).await?;
    Ok(Json(json!({ "id": datanet.id, "name": datanet.name, "owner": datanet.owner })))
}

async fn import(State(node): State<Node>, Path(id): Path<u64>, bytes: Bytes) -> Answer {
    Ok(Json(serde_json::to_value(pipeline::contribute(&node, DatanetId(id), &bytes).await?)?))
}

#[derive(Deserialize)]
struct Signatures {
    signatures: Vec<SignedBatch>,
}
#[derive(Deserialize)]
struct SignedBatch {
    contribution: ContributionId,
    signature: Signature,
}

async fn register(State(node): State<Node>, Path(import): Path<String>, bytes: Bytes) -> Answer {
    let signed: Signatures = body(&bytes)?;
    let signatures: BTreeMap<ContributionId, Signature> =
        signed.signatures.into_iter().map(|s| (s.contribution, s.signature)).collect();
    Ok(Json(json!({ "registered": pipeline::register(&node, hash(&import)?, &signatures).await? })))
}

async fn next_version(State(node): State<Node>, Path(id): Path<u64>) -> Answer {
    let (publication, digest) = node.next_version(DatanetId(id)).await?;
    Ok(Json(json!({ "publication": publication, "digest": digest })))
}

#[derive(Deserialize)]
struct Signed {
    signature: Signature,
}

async fn publish(State(node): State<Node>, Path(id): Path<u64>, bytes: Bytes) -> Answer {
    let signed: Signed = body(&bytes)?;
    Ok(Json(serde_json::to_value(pipeline::publish(&node, DatanetId(id), &signed.signature).await?)?))
}

#[derive(Deserialize)]
struct SignedGrant {
    grant: Grant,
    signature: Signature,
}

async fn grant(State(node): State<Node>, Path(id): Path<u64>, bytes: Bytes) -> Answer {
    let signed: SignedGrant = body(&bytes)?;
    if signed.grant.datanet != DatanetId(id) {
        return Err(NodeError::refused(Blame::Request, "wrong-datanet", "the grant names another datanet"));
    }
    let (hash, tx, block) = pipeline::grant(&node, &signed.grant, &signed.signature).await?;
    Ok(Json(json!({ "grant": hash, "tx": tx, "block": block })))
}

async fn order(State(node): State<Node>, bytes: Bytes) -> Result<Response> {
    let order: TrainOrder = body(&bytes)?;
    let job = pipeline::train(&node, &order).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "job": job }))).into_response())
}

async fn job(State(node): State<Node>, Path(id): Path<u64>) -> Answer {
    Ok(Json(node.job_card(id).await?))
}

async fn models(State(node): State<Node>) -> Answer {
    Ok(Json(json!({ "models": node.model_cards().await })))
}

#[derive(Deserialize)]
struct Offer {
    id: u64,
    name: String,
    job: u64,
}

async fn offer(State(node): State<Node>, bytes: Bytes) -> Answer {
    let offer: Offer = body(&bytes)?;
    Ok(Json(pipeline::offer(&node, openledger_protocol::ModelId(offer.id), &offer.name, offer.job).await?))
}

async fn manifest(State(node): State<Node>, Path(name): Path<String>) -> Answer {
    let offered = node.offered(&name).await?;
    Ok(Json(serde_json::to_value(&offered.manifest)?))
}

/// The records a model was trained on, in order: what its credits can be computed again from.
async fn trained_records(State(node): State<Node>, Path(name): Path<String>) -> Answer {
    let offered = node.offered(&name).await?;
    Ok(Json(json!({ "records": offered.records })))
}

#[derive(Deserialize)]
struct Session {
    payer: Address,
    #[serde(default)]
    salt: B256,
}

async fn session(State(node): State<Node>, bytes: Bytes) -> Answer {
    let session: Session = body(&bytes)?;
    Ok(Json(json!({ "authorizer": node.session_account(session.payer, session.salt) })))
}

#[derive(Deserialize)]
struct Channel {
    config: ChannelConfig,
}

async fn open_channel(State(node): State<Node>, bytes: Bytes) -> Answer {
    let channel: Channel = body(&bytes)?;
    Ok(Json(serde_json::to_value(node.open_channel(&channel.config).await?)?))
}

#[derive(Deserialize)]
struct Attribution {
    model: String,
    prompt: String,
    response: String,
}

async fn attribute(State(node): State<Node>, bytes: Bytes) -> Answer {
    let asked: Attribution = body(&bytes)?;
    Ok(Json(node.attribute(&asked.model, &asked.prompt, &asked.response).await?))
}

async fn receipts(State(node): State<Node>) -> Answer {
    Ok(Json(json!({ "receipts": node.receipt_cards(100).await? })))
}

async fn receipt(State(node): State<Node>, Path(id): Path<String>) -> Answer {
    Ok(Json(serde_json::to_value(node.bundle(ReceiptId(hash(&id)?)).await?)?))
}

async fn epochs(State(node): State<Node>) -> Answer {
    Ok(Json(json!({ "epochs": node.epoch_cards().await? })))
}

async fn settle(State(node): State<Node>) -> Answer {
    Ok(Json(serde_json::to_value(pipeline::settle(&node).await?)?))
}

async fn epoch(State(node): State<Node>, Path(number): Path<u64>) -> Answer {
    Ok(Json(node.exported_epoch(number).await?))
}

async fn payouts(State(node): State<Node>, Path(number): Path<u64>) -> Answer {
    Ok(Json(json!({ "payouts": node.payout_cards(number).await? })))
}

async fn publication(State(node): State<Node>, Path(number): Path<u64>) -> Answer {
    Ok(Json(serde_json::to_value(node.epoch_publication(number).await?)?))
}

/// A publication in the body; none: this node's own.
fn published(bytes: &Bytes) -> Result<Option<Publication>> {
    if bytes.is_empty() || bytes.as_ref() == b"{}" { Ok(None) } else { body(bytes).map(Some) }
}

async fn watch(State(node): State<Node>, bytes: Bytes) -> Answer {
    let watched = node.watch(published(&bytes)?.as_ref()).await?;
    Ok(Json(serde_json::to_value(watched)?))
}

async fn challenge(State(node): State<Node>, bytes: Bytes) -> Answer {
    let dispute = node.dispute(published(&bytes)?.as_ref()).await?;
    Ok(Json(serde_json::to_value(dispute)?))
}

#[derive(Deserialize, Default)]
struct Claims {
    #[serde(default)]
    accounts: Vec<Address>,
}

async fn claim(State(node): State<Node>, bytes: Bytes) -> Answer {
    let claims: Claims = if bytes.is_empty() { Claims::default() } else { body(&bytes)? };
    Ok(Json(json!({ "claims": pipeline::claim(&node, &claims.accounts).await? })))
}

async fn record(State(node): State<Node>, Path((contribution, index)): Path<(String, u32)>) -> Answer {
    let at = RecordRef { contribution: ContributionId(hash(&contribution)?), index };
    Ok(Json(node.record_card(at).await?))
}

async fn overview(State(node): State<Node>) -> Answer {
    Ok(Json(node.overview().await?))
}

async fn audit(State(node): State<Node>) -> Answer {
    Ok(Json(serde_json::to_value(node.audit().await?)?))
}
