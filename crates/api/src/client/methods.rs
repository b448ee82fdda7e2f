//! The methods of the client, at most one a route, in the order of the table.

use openledger_protocol::{B256, ContributionId, DatanetId, ReceiptId};
use reqwest::Method;
use serde_json::json;

use super::{Client, HEALTH_TIMEOUT, JobEvents, Pages, Result, segment};
use crate::openai::{ChatCompletionRequest, ChatResponse};
use crate::*;

/// The network and its datanets.
impl Client {
    /// The network, and the node's place in it.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn network(&self) -> Result<Network> {
        self.get("/api/v1/network").await
    }

    /// Audits the node's books, from the last audited epoch on, or the `whole` history; needs the
    /// operator's token.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn audit(&self, whole: bool) -> Result<Audit> {
        self.get(if whole { "/api/v1/audit?whole=true" } else { "/api/v1/audit" }).await
    }

    /// Contributor handles, by name.
    #[must_use]
    pub fn handles(&self) -> Pages<'_, Handle> {
        self.pages("/api/v1/handles")
    }

    /// Notes contributor handles.
    ///
    /// # Errors
    /// [`super::ClientError`]; `handle-taken` when one stands for another account.
    pub async fn note_handles(&self, handles: &NewHandles, key: &str) -> Result<HandlesNoted> {
        self.post("/api/v1/handles", handles, key).await
    }

    /// The datanets, by id.
    #[must_use]
    pub fn datanets(&self) -> Pages<'_, DatanetView> {
        self.pages("/api/v1/datanets")
    }

    /// Adds a datanet whose title is on chain.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn add_datanet(&self, datanet: &NewDatanet, key: &str) -> Result<DatanetView> {
        self.post("/api/v1/datanets", datanet, key).await
    }

    /// Reads a JSONL file of records into batches to sign.
    ///
    /// # Errors
    /// [`super::ClientError`]; `malformed-file` lists the lines.
    pub async fn import_records(&self, datanet: DatanetId, file: Vec<u8>, key: &str) -> Result<ImportReport> {
        let path = format!("/api/v1/datanets/{datanet}/imports");
        let request = self.request(Method::POST, &path).header("Idempotency-Key", key);
        let request = request.header("Content-Type", "application/jsonl").body(file);
        self.read(request, &path).await
    }

    /// Registers an import's batches with their registrants' signatures.
    ///
    /// # Errors
    /// [`super::ClientError`]; `stale-import` when another import came first.
    pub async fn sign_import(&self, import: B256, signatures: &ImportSignatures, key: &str) -> Result<Imported> {
        self.post(&format!("/api/v1/imports/{import}/signatures"), signatures, key).await
    }

    /// The registered contributions, newest first.
    #[must_use]
    pub fn contributions(&self) -> Pages<'_, ContributionView> {
        self.pages("/api/v1/contributions")
    }

    /// The message that the owner signs to publish the next version.
    ///
    /// # Errors
    /// [`super::ClientError`]; `nothing-new` when the newest version holds all contributions.
    pub async fn next_version(&self, datanet: DatanetId) -> Result<NextVersion> {
        self.get(&format!("/api/v1/datanets/{datanet}/next-version")).await
    }

    /// Publishes the next version with its owner's signature.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn publish_version(
        &self,
        datanet: DatanetId,
        signed: &SignedVersion,
        key: &str,
    ) -> Result<VersionPublished> {
        self.post(&format!("/api/v1/datanets/{datanet}/versions"), signed, key).await
    }

    /// Puts a signed grant on chain.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn publish_grant(&self, signed: &SignedGrant, key: &str) -> Result<GrantPublished> {
        self.post(&format!("/api/v1/datanets/{}/grants", signed.grant.datanet), signed, key).await
    }

    /// A record with its text.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn record(&self, contribution: ContributionId, index: u32) -> Result<RecordView> {
        self.get(&format!("/api/v1/records/{contribution}/{index}")).await
    }

    fn pages<T: serde::de::DeserializeOwned>(&self, path: impl Into<String>) -> Pages<'_, T> {
        Pages::new(self, path.into())
    }
}

/// Jobs and models.
impl Client {
    /// The jobs, newest first.
    #[must_use]
    pub fn jobs(&self, state: Option<JobState>) -> Pages<'_, Job> {
        match state.map(|state| json!(state)) {
            Some(state) => self.pages(format!("/api/v1/jobs?state={}", state.as_str().unwrap_or_default())),
            None => self.pages("/api/v1/jobs"),
        }
    }

    /// Orders a job.
    ///
    /// # Errors
    /// [`super::ClientError`]; `no-grant` without a live grant for a datanet version.
    pub async fn order_job(&self, order: &JobOrder, key: &str) -> Result<JobQueued> {
        self.post("/api/v1/jobs", order, key).await
    }

    /// A job.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn job(&self, job: u64) -> Result<Job> {
        self.get(&format!("/api/v1/jobs/{job}")).await
    }

    /// A job's events after the one numbered `after`, until the job ends.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn follow_job(&self, job: u64, after: Option<u64>) -> Result<JobEvents> {
        let path = format!("/api/v1/jobs/{job}/events");
        let mut request = self.request(Method::GET, &path).header("Accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after.to_string());
        }
        let response = self.send(request, &path).await?;
        Ok(JobEvents::new(path, response))
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// [`super::ClientError`]; `job-ended` when it has ended.
    pub async fn cancel_job(&self, job: u64) -> Result<Job> {
        let path = format!("/api/v1/jobs/{job}/cancel");
        self.read(self.request(Method::POST, &path), &path).await
    }

    /// Queues a failed or cancelled job again.
    ///
    /// # Errors
    /// [`super::ClientError`]; `job-not-ended` when it has not.
    pub async fn retry_job(&self, job: u64) -> Result<Job> {
        let path = format!("/api/v1/jobs/{job}/retry");
        self.read(self.request(Method::POST, &path), &path).await
    }

    /// The models on offer, by id.
    #[must_use]
    pub fn models(&self) -> Pages<'_, ModelView> {
        self.pages("/api/v1/models")
    }

    /// Offers a trained adapter under its owner's title.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn offer_model(&self, offer: &ModelOffer, key: &str) -> Result<ModelOffered> {
        self.post("/api/v1/models", offer, key).await
    }

    /// The manifest of a model.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn manifest(&self, model: &str) -> Result<Manifest> {
        self.get(&format!("/api/v1/models/{}/manifest", segment(model))).await
    }

    /// The records that a model was trained on, in order.
    #[must_use]
    pub fn trained_records(&self, model: &str) -> Pages<'_, TrainedRecord> {
        self.pages(format!("/api/v1/models/{}/records", segment(model)))
    }
}

/// Channels, answers and receipts.
impl Client {
    /// The session key that the node keeps for a payer.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn session_key(&self, request: &SessionKeyRequest, key: &str) -> Result<SessionKey> {
        self.post("/api/v1/channels/keys", request, key).await
    }

    /// Opens a funded channel. The node keeps no response of it, so that it takes no key.
    ///
    /// # Errors
    /// [`super::ClientError`]; `not-funded` without a deposit, `withdrawal-pending` while the payer
    /// has asked it back.
    pub async fn open_channel(&self, channel: &NewChannel) -> Result<OpenedChannel> {
        let path = "/api/v1/channels";
        self.read(self.request(Method::POST, path).json(channel), path).await
    }

    /// The records that a given answer rests on.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn attribute(&self, request: &AttributionRequest, key: &str) -> Result<Attribution> {
        self.post("/api/v1/attributions", request, key).await
    }

    /// The public views of the receipts, newest first.
    #[must_use]
    pub fn receipts(&self) -> Pages<'_, ReceiptView> {
        self.pages("/api/v1/receipts")
    }

    /// The public view of a receipt.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn receipt(&self, id: ReceiptId) -> Result<ReceiptView> {
        self.get(&format!("/api/v1/receipts/{id}")).await
    }

    /// A receipt's bundle.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn receipt_bundle(&self, id: ReceiptId) -> Result<ReceiptBundle> {
        self.get(&format!("/api/v1/receipts/{id}/bundle")).await
    }

    /// Asks a model; the channel of the client's API key pays. The request must not be a stream.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn chat(&self, request: &ChatCompletionRequest, key: &str) -> Result<ChatResponse> {
        self.post("/v1/chat/completions", request, key).await
    }
}

/// Epochs, claims and health.
impl Client {
    /// The epochs, newest first.
    #[must_use]
    pub fn epochs(&self) -> Pages<'_, EpochView> {
        self.pages("/api/v1/epochs")
    }

    /// Settles the open epoch.
    ///
    /// # Errors
    /// [`super::ClientError`]; `no-receipts` without receipts, `window-open` while the proposal may
    /// be refuted.
    pub async fn settle(&self, key: &str) -> Result<EpochSettled> {
        let path = "/api/v1/epochs";
        self.read(self.request(Method::POST, path).header("Idempotency-Key", key), path).await
    }

    /// An epoch's header, for checks.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn epoch(&self, number: u64) -> Result<EpochExport> {
        self.get(&format!("/api/v1/epochs/{number}")).await
    }

    /// What accounts earned by the end of an epoch, largest first.
    #[must_use]
    pub fn payouts(&self, number: u64) -> Pages<'_, PayoutView> {
        self.pages(format!("/api/v1/epochs/{number}/payouts"))
    }

    /// The leaves under an epoch's roots.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn publication(&self, number: u64) -> Result<EpochPublication> {
        self.get(&format!("/api/v1/epochs/{number}/publication")).await
    }

    /// Checks the pending proposal against a publication, or against the node's own books.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn watch(&self, publication: Option<&EpochPublication>) -> Result<Option<WatchedProposal>> {
        self.about_pending("/api/v1/epochs/pending/watch", publication).await
    }

    /// Sends the first refutation of the pending proposal that holds.
    ///
    /// # Errors
    /// [`super::ClientError`].
    pub async fn challenge(&self, publication: Option<&EpochPublication>) -> Result<Option<Dispute>> {
        self.about_pending("/api/v1/epochs/pending/challenge", publication).await
    }

    async fn about_pending<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        publication: Option<&EpochPublication>,
    ) -> Result<Option<T>> {
        let request = self.request(Method::POST, path);
        let request = match publication {
            Some(publication) => request.json(publication),
            None => request,
        };
        self.read(request, path).await
    }

    /// Claims earnings of finalized epochs for accounts. The node keeps no response of it, so that
    /// it takes no key; a repeat pays nothing again.
    ///
    /// # Errors
    /// [`super::ClientError`]; `not-finalized` before the first epoch is.
    pub async fn claim(&self, request: &ClaimsRequest) -> Result<ClaimsMade> {
        let path = "/api/v1/claims";
        self.read(self.request(Method::POST, path).json(request), path).await
    }

    /// Whether the node says that it can serve requests, within five seconds.
    pub async fn is_ready(&self) -> bool {
        let request = self.request(Method::GET, "/health/ready").timeout(HEALTH_TIMEOUT);
        request.send().await.is_ok_and(|response| response.status().is_success())
    }
}
