//! Arguments of the demo.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Arguments of `openledger demo`.
#[derive(Args, Debug, Clone)]
pub(crate) struct DemoArgs {
    /// Exit after the run; default: node and Studio stay up until Ctrl-C.
    #[arg(long)]
    pub(super) exit: bool,
    /// File of records, JSONL; one datanet per file; default: the samples of the program.
    #[arg(long, value_name = "FILE")]
    pub(super) data: Vec<PathBuf>,
    /// Use the first N records of each file only.
    #[arg(long, value_name = "N")]
    pub(super) records: Option<usize>,
    /// Seed of identities, training and choices.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Folder of the run; emptied at the start if an earlier run created it.
    #[arg(long, value_name = "DIR", default_value = ".demo")]
    pub(super) dir: PathBuf,
    /// Number of times that the node is killed (SIGKILL) during the run.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) kills: u64,
    /// Number of training records to probe: attribution must find each under its own answer.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) probe_records: usize,
    /// Question for the model; may be repeated; default: one that fits the data.
    #[arg(long, value_name = "TEXT")]
    pub(super) question: Vec<String>,
    /// Optimiser steps; default: 400 for a few hundred records, 80 for more.
    #[arg(long, value_name = "N")]
    pub(super) max_steps: Option<u64>,
    /// Maximum number of tokens of an answer.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(super) max_tokens: u32,
    /// Folder of the base model; default: the small base of the program.
    #[arg(long, value_name = "DIR")]
    pub(super) base: Option<PathBuf>,
    /// Folder of other samples.
    #[arg(long, value_name = "DIR")]
    pub(super) samples: Option<PathBuf>,
    /// Folder of the built Studio; default: the one of the program.
    #[arg(long, value_name = "DIR")]
    pub(super) studio: Option<PathBuf>,
    /// Address of the node; default: 127.0.0.1:7070, or a free port with --exit.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,
    /// File for the results, JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}
