//! Routes of the native API at `/api/v1`.

use openledger_protocol::{ContributionId, DatanetId, Manifest, ReceiptBundle, ReceiptId};

use super::row::{EVENTS, Place, Route, schema_of};
use crate::policy::{Access, Reach};
use crate::*;

/// Every principal with a key for its own, the operator for all; of a receipt, the payer.
const PRIVATE: Access = Access { anonymous: Reach::None, ..Access::OWN };

pub(super) fn routes() -> Vec<Route> {
    let mut routes = overview();
    routes.extend(data());
    routes.extend(work());
    routes.extend(answers());
    routes.extend(money());
    routes
}

fn overview() -> Vec<Route> {
    vec![
        Route::get("/api/v1/network", "getNetwork", Access::OPEN, "The network, and the node's place in it.")
            .gives::<Network>("The network"),
        Route::get(
            "/api/v1/overview",
            "getOverview",
            Access::OPEN,
            "The document behind the Studio's first page: public views only.",
        )
        .gives::<Overview>("The overview"),
        Route::get("/api/v1/audit", "getAudit", Access::OPERATOR, "Audits supply, chain, epochs and receipts.")
            .query::<bool>(
                "whole",
                "Whether to begin at the first epoch; otherwise the audit goes on from the last audited one.",
            )
            .gives::<Audit>("The audit; a statement that does not hold is a failed check"),
    ]
}

fn data() -> Vec<Route> {
    vec![
        Route::get("/api/v1/handles", "listHandles", Access::OPEN, "Contributor handles and their accounts.")
            .lists::<Handle>("A page of handles, by name"),
        Route::post(
            "/api/v1/handles",
            "noteHandles",
            Access::OPERATOR,
            "Notes contributor handles and their accounts.",
        )
        .takes::<NewHandles>()
        .gives::<HandlesNoted>("All handles are noted")
        .repeatable(),
        Route::get("/api/v1/datanets", "listDatanets", Access::OPEN, "The datanets.")
            .lists::<DatanetView>("A page of datanets, by id"),
        Route::post("/api/v1/datanets", "addDatanet", Access::OPERATOR, "Adds a datanet whose title is on chain.")
            .takes::<NewDatanet>()
            .gives::<DatanetView>("The datanet")
            .repeatable()
            .fails(&[404]),
        Route::post(
            "/api/v1/datanets/{id}/imports",
            "importRecords",
            Access::OPERATOR,
            "Reads a JSONL file of records into batches to sign.",
        )
        .at::<DatanetId>("id", "The datanet.")
        .takes_bytes("application/jsonl")
        .gives::<ImportReport>("The batches, and the records that were refused")
        .repeatable(),
        Route::post(
            "/api/v1/imports/{import}/signatures",
            "signImport",
            Access::OPERATOR,
            "Registers an import's batches with their registrants' signatures.",
        )
        .at::<B256>("import", "The import.")
        .takes::<ImportSignatures>()
        .gives::<Imported>("All batches are registered")
        .repeatable()
        .fails(&[403]),
        Route::get("/api/v1/contributions", "listContributions", Access::OPEN, "The registered contributions.")
            .lists::<ContributionView>("A page of contributions, newest first"),
        Route::get(
            "/api/v1/datanets/{id}/next-version",
            "getNextVersion",
            Access::OPERATOR,
            "The message that the owner signs to publish the next version.",
        )
        .at::<DatanetId>("id", "The datanet.")
        .gives::<NextVersion>("The message and its digest")
        .fails(&[409]),
        Route::post(
            "/api/v1/datanets/{id}/versions",
            "publishVersion",
            Access::OPERATOR,
            "Publishes the next version with its owner's signature.",
        )
        .at::<DatanetId>("id", "The datanet.")
        .takes::<SignedVersion>()
        .gives::<VersionPublished>("The version")
        .repeatable()
        .fails(&[403]),
        Route::post("/api/v1/datanets/{id}/grants", "publishGrant", Access::OPERATOR, "Puts a signed grant on chain.")
            .at::<DatanetId>("id", "The datanet.")
            .takes::<SignedGrant>()
            .gives::<GrantPublished>("The grant")
            .repeatable()
            .fails(&[403]),
        Route::get("/api/v1/records/{contribution}/{index}", "getRecord", Access::OWN, "A record with its text.")
            .at::<ContributionId>("contribution", "The contribution.")
            .at::<u32>("index", "The record's place in it, from 0.")
            .gives::<RecordView>("The record"),
    ]
}

fn work() -> Vec<Route> {
    vec![
        Route::get("/api/v1/jobs", "listJobs", Access::OPERATOR, "The jobs.")
            .query::<JobState>("state", "Only jobs in this state.")
            .lists::<Job>("A page of jobs, newest first"),
        Route::post(
            "/api/v1/jobs",
            "orderJob",
            Access::OPERATOR,
            "Orders a job; the same order gives the same job, unless that failed or was cancelled.",
        )
        .takes::<JobOrder>()
        .gives_with::<JobQueued>(202, "The job is queued")
        .repeatable()
        .fails(&[403, 404]),
        Route::get("/api/v1/jobs/{job}", "getJob", Access::OPERATOR, "A job.")
            .at::<u64>("job", "The job.")
            .gives::<Job>("The job"),
        Route::get(
            "/api/v1/jobs/{job}/events",
            "followJob",
            Access::OPERATOR,
            "A job's events, as server-sent events until it ends.",
        )
        .at::<u64>("job", "The job.")
        .with::<u64>(Place::Header, "Last-Event-ID", false, "The last event that was read.")
        .gives_text(EVENTS, "One event a line of `data`, each a JobEvent; `id` is its number")
        .describes(schema_of::<JobEvent>),
        Route::post("/api/v1/jobs/{job}/cancel", "cancelJob", Access::OPERATOR, "Cancels a job.")
            .at::<u64>("job", "The job.")
            .gives::<Job>("The job; a running one ends shortly")
            .fails(&[409]),
        Route::post(
            "/api/v1/jobs/{job}/retry",
            "retryJob",
            Access::OPERATOR,
            "Queues a failed or cancelled job again.",
        )
        .at::<u64>("job", "The job.")
        .gives::<Job>("The job")
        .fails(&[409]),
        Route::get("/api/v1/models", "listModels", Access::OPEN, "The models on offer.")
            .lists::<ModelView>("A page of models, by id"),
        Route::post(
            "/api/v1/models",
            "offerModel",
            Access::OPERATOR,
            "Offers a trained adapter under its owner's title.",
        )
        .takes::<ModelOffer>()
        .gives::<ModelOffered>("The model is on offer")
        .repeatable()
        .fails(&[404]),
        Route::get("/api/v1/models/{name}/manifest", "getManifest", Access::OPEN, "The manifest of a model.")
            .at::<String>("name", "The model's name.")
            .gives::<Manifest>("The manifest"),
        Route::get(
            "/api/v1/models/{name}/records",
            "listTrainedRecords",
            Access::OWN,
            "The records that a model was trained on, in order.",
        )
        .at::<String>("name", "The model's name.")
        .lists::<TrainedRecord>("A page of records, in the order of training"),
    ]
}

fn answers() -> Vec<Route> {
    vec![
        Route::post(
            "/api/v1/channels/keys",
            "getSessionKey",
            Access::OPERATOR,
            "The session key that the node keeps for a payer.",
        )
        .takes::<SessionKeyRequest>()
        .gives::<SessionKey>("The session key's account")
        .repeatable(),
        Route::post(
            "/api/v1/channels",
            "openChannel",
            Access::OPERATOR,
            "Opens a funded channel and returns its API key.",
        )
        .takes::<NewChannel>()
        .gives::<OpenedChannel>("The channel and its API key")
        .fails(&[402, 409]),
        Route::post(
            "/api/v1/attributions",
            "attribute",
            Access::OPERATOR,
            "The records that a given answer rests on; free, without a receipt.",
        )
        .takes::<AttributionRequest>()
        .gives::<Attribution>("The credits and the records with the largest weights")
        .repeatable()
        .fails(&[404]),
        Route::get("/api/v1/receipts", "listReceipts", Access::OPEN, "The receipts: ids, sums, roots and times.")
            .lists::<ReceiptView>("A page of receipts, newest first"),
        Route::get("/api/v1/receipts/{id}", "getReceipt", Access::OPEN, "A receipt: ids, sums, roots and times.")
            .at::<ReceiptId>("id", "The receipt.")
            .gives::<ReceiptView>("The receipt"),
        Route::get(
            "/api/v1/receipts/{id}/detail",
            "getReceiptDetail",
            PRIVATE,
            "A receipt with prompt, answer, evidence and split.",
        )
        .at::<ReceiptId>("id", "The receipt.")
        .gives::<ReceiptDetail>("The receipt"),
        Route::get(
            "/api/v1/receipts/{id}/bundle",
            "getReceiptBundle",
            PRIVATE,
            "A receipt's bundle: all that a check needs besides epoch and manifest.",
        )
        .at::<ReceiptId>("id", "The receipt.")
        .gives::<ReceiptBundle>("The bundle, with its place in the epoch once that is closed"),
    ]
}

fn money() -> Vec<Route> {
    vec![
        Route::get("/api/v1/epochs", "listEpochs", Access::OPEN, "The epochs.")
            .lists::<EpochView>("A page of epochs, newest first"),
        Route::post(
            "/api/v1/epochs",
            "settleEpoch",
            Access::OPERATOR,
            "Settles the open epoch: closes, redeems, proposes, finalizes.",
        )
        .gives::<EpochSettled>("The epoch is finalized")
        .repeatable(),
        Route::get("/api/v1/epochs/{number}", "getEpoch", Access::OPEN, "An epoch's header, for checks.")
            .at::<u64>("number", "The epoch.")
            .gives::<EpochExport>("The header, its words and its hash"),
        Route::get(
            "/api/v1/epochs/{number}/payouts",
            "listPayouts",
            Access::OPEN,
            "What accounts earned by the end of an epoch.",
        )
        .at::<u64>("number", "The epoch.")
        .lists::<PayoutView>("A page of payouts, largest first"),
        Route::get(
            "/api/v1/epochs/{number}/publication",
            "getPublication",
            Access::OPERATOR,
            "The leaves under an epoch's roots, and the answers behind them.",
        )
        .at::<u64>("number", "The epoch.")
        .gives::<EpochPublication>("The publication"),
        Route::post(
            "/api/v1/epochs/pending/watch",
            "watchEpoch",
            Access::OPERATOR,
            "Checks the pending proposal against a publication, or against the node's books.",
        )
        .may_take::<EpochPublication>()
        .gives::<Option<WatchedProposal>>("The verdict; null when nothing is pending")
        .fails(&[422]),
        Route::post(
            "/api/v1/epochs/pending/challenge",
            "challengeEpoch",
            Access::OPERATOR,
            "Sends the first refutation of the pending proposal that holds.",
        )
        .may_take::<EpochPublication>()
        .gives::<Option<Dispute>>("The dispute; null when there is no refutation")
        .fails(&[422]),
        Route::post("/api/v1/claims", "claim", Access::OPERATOR, "Claims earnings of finalized epochs for accounts.")
            .may_take::<ClaimsRequest>()
            .gives::<ClaimsMade>("The claims; a repeat returns the same and pays nothing again")
            .fails(&[409]),
    ]
}
