//! Problems: errors of the native API as `application/problem+json` (RFC 9457).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A line of a refused file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileProblem {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// An error of the native API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// A page about this kind of problem, on the same node: `/problems/{code}`.
    #[serde(rename = "type")]
    #[schemars(example = "/problems/not-found")]
    pub kind: String,
    /// The kind of problem, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable name of the kind of problem.
    #[schemars(example = "not-found")]
    pub code: String,
    /// What is wrong with this request.
    pub detail: String,
    /// What the caller can do.
    #[serde(default)]
    pub what_to_do: String,
    /// The request's id, as in the header `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The lines of a refused file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<FileProblem>,
}

impl Problem {
    /// The media type of problems.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// The problem of kind `code` with what is wrong in this case. An unknown code has the texts of
    /// its status.
    #[must_use]
    pub fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        let known = ProblemKind::of(code).unwrap_or_else(|| ProblemKind::of_status(status));
        Self {
            kind: format!("/problems/{code}"),
            title: known.title.to_owned(),
            status,
            code: code.to_owned(),
            detail: detail.into(),
            what_to_do: known.what_to_do.to_owned(),
            request_id: None,
            problems: Vec::new(),
        }
    }
}

/// A kind of problem: the page at `/problems/{code}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProblemKind {
    /// The stable name.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The kind of problem, in a few words.
    pub title: &'static str,
    /// What the caller can do.
    pub what_to_do: &'static str,
}

impl ProblemKind {
    /// The kind of a stable name.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        PROBLEMS.iter().find(|kind| kind.code == code).copied()
    }

    /// The general kind of a status.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        PROBLEMS.iter().find(|kind| kind.status == status).copied().unwrap_or(PROBLEMS[0])
    }
}

const fn kind(code: &'static str, status: u16, title: &'static str, what_to_do: &'static str) -> ProblemKind {
    ProblemKind { code, status, title, what_to_do }
}

/// What to do about a fault of the node.
const OPERATOR: &str = "Report it to the operator with the request id.";
/// What to do about a lack of room or time.
const REPEAT: &str = "Repeat after `Retry-After` seconds.";

/// All kinds of problems. Of each status the general kind comes first.
pub const PROBLEMS: &[ProblemKind] = &[
    kind("internal", 500, "The node failed", OPERATOR),
    kind("adapter-changed", 500, "An adapter differs from the trained one", OPERATOR),
    kind("bad-token", 500, "The operator's token cannot be read", OPERATOR),
    kind("claim-lost", 500, "A paid claim is not on the chain", OPERATOR),
    kind("damaged-data", 500, "Stored data is damaged", OPERATOR),
    kind("damaged-key", 500, "A stored key is damaged", OPERATOR),
    kind("damaged-tree", 500, "A stored tree is damaged", OPERATOR),
    kind("other-contracts", 500, "The contracts are others than the stored ones", OPERATOR),
    kind("other-operator", 500, "The database is another operator's", OPERATOR),
    kind("over-reserved", 500, "An answer cost more than was reserved", OPERATOR),
    kind("unknown-kind", 500, "A stored job has an unknown kind", OPERATOR),
    kind("unreadable-answer", 500, "A response cannot be read", OPERATOR),
    kind("bad-request", 400, "The request is wrong", "Change what `detail` names."),
    kind("bad-json", 400, "The body does not fit", "Send the JSON that /openapi.json describes."),
    kind("bad-parameter", 400, "A parameter is wrong", "Send the parameter that /openapi.json describes."),
    kind("bad-hash", 400, "A hash is malformed", "Write 0x and 64 hexadecimal digits."),
    kind("bad-handle", 400, "A handle is malformed", "Use 1 to 128 bytes that are not blank."),
    kind("bad-name", 400, "A name is malformed", "Use 1 to 200 bytes that are not blank."),
    kind("bad-description", 400, "A description is too long", "Use at most 4,000 bytes."),
    kind("bad-recipe", 400, "The recipe is out of bounds", "Change the member that `detail` names."),
    kind("bad-mix", 400, "The mix is not governed", "Use one of the mixes that `detail` lists."),
    kind("no-data", 400, "No datanet version is named", "Name 1 to 64 datanet versions."),
    kind("no-retrieval", 400, "The node has no retrieval", "Use a mix without retrieval."),
    kind("unknown-contributor", 400, "A contributor has no account", "Post the handles first."),
    kind("too-many-batches", 400, "The file has too many lists of contributors", "Cut it into several files."),
    kind("rights-too-narrow", 400, "The terms are too narrow", "Allow the purposes that `detail` lists."),
    kind("wrong-datanet", 400, "The grant names another datanet", "Post it to its own datanet."),
    kind("wrong-node", 400, "The channel is with another node", "Name this node in the channel."),
    kind("wrong-authorizer", 400, "The authorizer is another account", "Name the session key's account."),
    kind("bad-idempotency-key", 400, "The idempotency key is malformed", "Use 1 to 200 printable characters."),
    kind("not-canonical", 400, "A value has no canonical form", "Use integers up to 2^53, or strings."),
    kind(
        "unauthenticated",
        401,
        "Credentials are missing or unknown",
        "Send `Authorization: Bearer` with a token or API key of this node.",
    ),
    kind("invalid-api-key", 401, "The API key is unknown", "Open a channel on this node for a key."),
    kind("insufficient-deposit", 402, "The deposit is too small", "Deposit more, or lower `max_tokens`."),
    kind("over-max-price", 402, "The price may exceed `max_price`", "Raise `max_price`, or lower `max_tokens`."),
    kind(
        "deposit-withdrawn",
        402,
        "The deposit is being withdrawn",
        "Open another channel, or this one again after the withdrawal and a new deposit.",
    ),
    kind("not-funded", 402, "The channel has no deposit", "Deposit on chain first."),
    kind("forbidden", 403, "The caller may not do this", "Use credentials that the route allows."),
    kind("operator-only", 403, "Only the operator may do this", "Send the operator's token."),
    kind("bad-signature", 403, "The signature is wrong", "Sign the digest with the key of the named account."),
    kind("unsigned", 403, "A batch is not signed", "Send one signature for each batch."),
    kind("no-grant", 403, "No live grant covers the use", "Ask the datanet's owner for a grant."),
    kind("not-found", 404, "There is no such thing", "Check the id or name."),
    kind("epoch-open", 404, "The epoch has no header yet", "Read it once it is settled."),
    kind("no-route", 404, "There is no such path", "See /openapi.json for the paths."),
    kind("method-not-allowed", 405, "The path has no such method", "See /openapi.json for its methods."),
    kind("conflict", 409, "The request conflicts with what is stored", "Read the current state first."),
    kind("handle-taken", 409, "A handle stands for another account", "Choose another handle."),
    kind("name-taken", 409, "The name is taken", "Choose another name."),
    kind("terms-differ", 409, "The terms on chain are others", "Send the terms that the title carries."),
    kind("stale-import", 409, "Another import came first", "Import the file again and sign that."),
    kind("nothing-new", 409, "Every contribution is published", "Register a contribution first."),
    kind("not-trained", 409, "The job has no adapter", "Wait until the job is done."),
    kind("job-ended", 409, "The job has ended", "Retry it, or order another job."),
    kind("job-not-ended", 409, "The job cannot be retried now", "A job that failed or was cancelled can be retried."),
    kind("job-replaced", 409, "Another job has its order", "Read that job instead."),
    kind("other-weights", 409, "The title is of another adapter", "Register the adapter's own title."),
    kind("key-reused", 409, "The idempotency key was used for another request", "Use another key."),
    kind(
        "withdrawal-pending",
        409,
        "The deposit was asked back",
        "Withdraw it on chain, deposit again and open the channel, or open another channel.",
    ),
    kind("no-receipts", 409, "The epoch has no receipts", "Settle once there are receipts."),
    kind("window-open", 409, "The proposal may still be refuted", "Settle again once the window is over."),
    kind(
        "false-books",
        409,
        "The node could refute its own proposal",
        "Run the audit and repair the receipts that it names.",
    ),
    kind(
        "underfunded",
        409,
        "The redeemed money does not cover the epoch",
        "Deposit what is missing into the channels that `detail` names, then settle again.",
    ),
    kind("another-epoch", 409, "Other roots were finalized", "Run the audit."),
    kind(
        "claim-passed-over",
        409,
        "The chain paid a claim nothing",
        "Settle what is pending, or run the audit; then claim again.",
    ),
    kind("not-finalized", 409, "No epoch is finalized yet", "Settle an epoch first."),
    kind("too-large", 413, "The body is too large", "Send less in one request."),
    kind(
        "unsupported-media-type",
        415,
        "The media type is not supported",
        "Send the media type that /openapi.json names.",
    ),
    kind("malformed", 422, "The data is malformed", "Change what `detail` names."),
    kind(
        "malformed-file",
        422,
        "The file is malformed",
        "Change the lines in `problems`; nothing of the file was accepted.",
    ),
    kind("bad-publication", 422, "The publication is malformed", "Send the proposer's publication unchanged."),
    kind("bad-records", 422, "The records are malformed", "Send the exported records unchanged."),
    kind("rate-limit-exceeded", 429, "The queue is full", REPEAT),
    kind("try-again", 503, "The node cannot do it now", REPEAT),
    kind("stopped", 503, "The work was stopped", REPEAT),
    kind("key-in-use", 503, "A request under the same idempotency key runs", REPEAT),
    kind("registrations-pending", 503, "Earlier registrations are on their way", REPEAT),
    kind("step-reverted", 503, "A transaction on chain reverted", "Repeat it: another transaction is sent."),
    kind("settling", 503, "Another settlement runs", REPEAT),
    kind(
        "timeout",
        504,
        "The request took too long",
        "Repeat it; a repeated step does nothing twice. An answer of /v1 may still be charged: repeat that under the same \
         idempotency key, or stream.",
    ),
];
