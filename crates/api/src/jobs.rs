//! Jobs: orders, their state, progress, events and results. Training is the first kind.

use openledger_protocol::{AdapterHash, B256, BlobHash, DatanetId, Mix};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{HeldOutLoss, PageQuery};

/// A number of a recipe: a JSON number, or a decimal string of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Number {
    /// A JSON number.
    Number(serde_json::Number),
    /// A decimal string, such as `"0.005"`; it has one byte form where a fraction has many.
    Text(String),
}

/// How an adapter is trained. A member that is left out takes the node's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Rank of the adapter's factors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<Number>,
    /// The adapter's output is scaled by `alpha / rank`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<Number>,
    /// Module names with commas (`q_proj,v_proj`), or `all-linear`, or `attention`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<String>,
    /// Passes over the records; not used when `max_steps` is above zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<Number>,
    /// Optimiser steps; zero means as many as `epochs` needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<Number>,
    /// Peak learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<Number>,
    /// Records a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Number>,
    /// Tokens after which a record is cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Number>,
    /// Fixes the initial weights and the order of records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Number>,
    /// AdamW's decay of the first moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta1: Option<Number>,
    /// AdamW's decay of the second moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta2: Option<Number>,
    /// AdamW's epsilon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<Number>,
    /// AdamW's decoupled weight decay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<Number>,
    /// Steps over which the learning rate rises from zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<Number>,
    /// How the learning rate moves after warm-up: `constant` or `cosine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Largest norm of a gradient; zero does not clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Number>,
    /// Share of the records kept out of training and measured on, from 0 to 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holdout: Option<Number>,
}

/// A datanet version to train on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatanetVersionRef {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version, from 1.
    pub version: u64,
}

/// An order for an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainOrder {
    /// The model's name; 1 to 200 bytes.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// The datanet versions to train on, 1 to 64; each needs a live grant to the node.
    #[schemars(length(min = 1, max = 64))]
    pub datanets: Vec<DatanetVersionRef>,
    /// How to train.
    #[serde(default)]
    pub recipe: Recipe,
    /// How the contributors' line of its answers is divided; one of the governed list.
    pub mix: Mix,
}

/// An order for a job, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum JobOrder {
    /// Train an adapter.
    Train(TrainOrder),
}

impl JobOrder {
    /// The kind of the job.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Train(_) => JobKind::Train,
        }
    }
}

/// A kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// Training of an adapter.
    Train,
}

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It waits for a worker.
    Queued,
    /// A worker holds it.
    Running,
    /// It has a result.
    Done,
    /// It was given up; `cause` says why.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl JobState {
    /// Whether the state can change only by a retry.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// Which jobs are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsQuery {
    /// Only jobs in this state.
    #[serde(default)]
    pub state: Option<JobState>,
    /// Most items on the page, as in [`PageQuery`].
    #[serde(default, deserialize_with = "crate::page::limit")]
    pub limit: Option<u32>,
    /// The `next` of the page before, as in [`PageQuery`].
    #[serde(default, deserialize_with = "crate::page::cursor")]
    pub after: Option<String>,
}

impl JobsQuery {
    /// The page.
    #[must_use]
    pub fn page(&self) -> PageQuery {
        PageQuery { limit: self.limit, after: self.after.clone() }
    }
}

/// A job that was queued, or the job that the same order gave before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobQueued {
    /// The job.
    pub job: u64,
}

/// Progress of a running job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobProgress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Training loss of the last step, in micro-nats a token.
    #[serde(default)]
    pub loss_micro: Option<u64>,
    /// Held-out loss when it was last measured, in micro-nats a token.
    #[serde(default)]
    pub held_out_loss_micro: Option<u64>,
    /// Tokens a second since the job began.
    #[serde(default)]
    pub tokens_per_s: Option<u64>,
}

/// The result of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrainResult {
    /// The adapter.
    pub adapter: AdapterHash,
    /// The hash of its manifest, which its title carries.
    pub manifest_hash: B256,
    /// The hash of its folder in the blob store: adapter, records and evidence.
    pub artifact: BlobHash,
    /// The adapter's held-out loss beside the base's.
    pub held_out_loss: HeldOutLoss,
    /// Records held out.
    pub held_out_records: u64,
    /// Records trained on.
    pub records: u64,
    /// Tokens in those records.
    pub tokens: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Training loss of the first step, in micro-nats a token.
    pub first_loss_micro: Option<u64>,
    /// Training loss of the last step, in micro-nats a token.
    pub last_loss_micro: Option<u64>,
    /// Tokens a second.
    pub tokens_per_s: u64,
}

/// The result of a job, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum JobResult {
    /// A trained adapter.
    Train(TrainResult),
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// The job.
    pub job: u64,
    /// Its kind.
    pub kind: JobKind,
    /// Its state.
    pub state: JobState,
    /// How often it was begun.
    pub attempts: u32,
    /// Why it failed, was cancelled, or is retried.
    pub cause: Option<String>,
    /// Its progress, once it was begun.
    pub progress: Option<JobProgress>,
    /// Its result, once it is done.
    pub result: Option<JobResult>,
    /// When it was ordered, in Unix seconds.
    pub created: u64,
    /// When it ended, in Unix seconds.
    pub ended: Option<u64>,
}

/// The level of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Information.
    Info,
    /// A fault that the job survives.
    Warn,
    /// A fault that ends the attempt.
    Error,
}

/// The content of a job's event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum JobEventKind {
    /// The state changed.
    State {
        /// The state.
        state: JobState,
        /// Why, for a failure, a cancellation or a retry.
        cause: Option<String>,
    },
    /// The job made progress.
    Progress(JobProgress),
    /// A line of the job's log.
    Log {
        /// The level.
        level: LogLevel,
        /// The line.
        line: String,
    },
}

/// An event of a job: the `data` of one server-sent event, whose `id` is `seq`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobEvent {
    /// The event's number in its job, from 1; give the last one as `Last-Event-ID` to go on.
    pub seq: u64,
    /// The job.
    pub job: u64,
    /// When it happened, in Unix seconds.
    pub time: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: JobEventKind,
}
