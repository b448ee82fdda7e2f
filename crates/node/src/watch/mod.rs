//! Watching: every pending proposal is computed again, and refuted where it is not what its receipts say.
//!
//! # Place in the flow
//!
//! Between `propose` and `finalize`, by anyone who holds receipts: this node's own proposals are checked against its books,
//! another's against what that node published. [`Node::watch`] says what is wrong, [`Node::dispute`] sends the first
//! refutation that holds and is paid for it out of the proposer's bond.
//!
//! # Invariants
//!
//! - A refutation counts only when the chain itself, asked without a transaction, finds it to hold.
//!
//! # Not here
//!
//! The rules (`ledger::challenge`). What no proof decides is named and left to the jury.

mod encode;
mod known;

use alloy_primitives::{Address, B256, Bytes};
use openledger_chain::flow::{Challenge, PendingEpoch};
use openledger_ledger::challenge::{Published, PublishedError, examine};
use openledger_protocol::{Amount, ReceiptBundle};
use serde::{Deserialize, Serialize};

use crate::error::{Blame, NodeError, Result};
use crate::node::Node;

/// What a proposer lets everybody have: the leaves of its trees and the answers behind its receipts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// `openledger/publication/v1`.
    pub format: String,
    /// The leaves.
    #[serde(flatten)]
    pub leaves: Published,
    /// The bundles of the receipts; without an answer its spans cannot be checked.
    pub answers: Vec<ReceiptBundle>,
}

impl Publication {
    /// The format this code writes.
    pub const FORMAT: &'static str = "openledger/publication/v1";
}

/// A fault of a proposal, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refuted {
    /// What is wrong.
    pub what: &'static str,
    /// The fault's number in `IVerifier.sol`.
    pub fault: u8,
    /// What `Payouts.challenge` is called with.
    pub calldata: Bytes,
    #[serde(skip)]
    challenge: Challenge,
}

/// What watching a proposal came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It is what this node computes.
    Agrees,
    /// It is false, and the chain agrees: each refutation was tried there.
    Refuted {
        /// The refutations; one is enough.
        refutations: Vec<Refuted>,
    },
    /// It is not what this node computes, and no proof decides: the jury's.
    Disputed {
        /// What differs.
        differences: Vec<String>,
    },
    /// Nothing can be said: what lies under its roots was not published, or is something else.
    Withheld {
        /// What is missing.
        reason: String,
    },
}

/// A watched proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// The epoch.
    pub epoch: u64,
    /// Who answers for it.
    pub proposer: Address,
    /// Until when it may be refuted, in seconds since 1970.
    pub closes: u64,
    /// What it came to.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A proposal that was refuted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dispute {
    /// What was wrong.
    pub what: &'static str,
    /// The epoch, open again.
    pub epoch: u64,
    /// Who lost its bond.
    pub proposer: Address,
    /// Who gets the part of the harmed.
    pub harmed: Address,
    /// The bond.
    pub bond: Amount,
    /// The transaction.
    pub tx: B256,
    /// Gas it took.
    pub gas: u64,
}

impl Node {
    /// What this node publishes of an epoch it closed, so that others can watch it.
    ///
    /// # Errors
    ///
    /// `not-found` when there is no such epoch here.
    pub async fn epoch_publication(&self, number: u64) -> Result<Publication> {
        let row = self.inner.store.epoch(number).await?.ok_or_else(|| NodeError::missing("epoch", number))?;
        let closed = self.closed(number).await?;
        let cutoff = row.header["cutoff"].as_u64().unwrap_or_default();
        let mut answers = Vec::new();
        for receipt in self.inner.store.receipts_of_epoch(number).await? {
            answers.push(serde_json::from_str(&receipt.body)?);
        }
        let leaves = Published::of(&closed, cutoff, self.inner.flow.account());
        Ok(Publication { format: Publication::FORMAT.to_owned(), leaves, answers })
    }

    /// Judges the pending proposal: by what its proposer published, or, where nothing is given, against this node's own
    /// books. `None` when no proposal is pending.
    ///
    /// # Errors
    ///
    /// [`NodeError`] when chain or store cannot be read; what is wrong with the proposal is a verdict, not an error.
    pub async fn watch(&self, publication: Option<&Publication>) -> Result<Option<Watched>> {
        let Some(pending) = self.inner.flow.pending_epoch().await? else { return Ok(None) };
        let verdict = match publication {
            Some(publication) => self.judge(&pending, publication).await?,
            None => match self.epoch_publication(pending.header.epoch).await {
                Ok(own) => self.judge(&pending, &own).await?,
                Err(error) if error.blame() == Blame::Missing => {
                    Verdict::Withheld { reason: "nothing of this epoch is known here; ask its proposer".to_owned() }
                }
                Err(error) => return Err(error),
            },
        };
        let (epoch, proposer, closes) = (pending.header.epoch, pending.proposer, pending.closes);
        Ok(Some(Watched { epoch, proposer, closes, verdict }))
    }

    async fn judge(&self, pending: &PendingEpoch, publication: &Publication) -> Result<Verdict> {
        // What was published counts for the proposal on chain, whatever header stands beside it.
        let published = Published {
            domain: self.domain(self.inner.flow.addresses().payouts),
            header: pending.header.clone(),
            cutoff: pending.cutoff,
            proposer: pending.proposer,
            ..publication.leaves.clone()
        };
        let known = self.known(&published, &publication.answers).await?;
        let examined = match examine(&published, &known) {
            Ok(examined) => examined,
            Err(error @ (PublishedError::NotUnderRoot(_) | PublishedError::Earlier)) => {
                return Ok(Verdict::Withheld { reason: error.to_string() });
            }
            Err(error) => return Err(NodeError::refused(Blame::Data, "bad-publication", error.to_string())),
        };
        let (mut refutations, mut differences) = (Vec::new(), examined.disputed);
        for refutation in examined.refutations {
            let what = refutation.name();
            let challenge = encode::challenge(refutation);
            match self.inner.flow.try_challenge(&challenge).await {
                Ok(()) => {
                    let (fault, calldata) = (challenge.fault, challenge.call_data());
                    refutations.push(Refuted { what, fault, calldata, challenge });
                }
                Err(openledger_chain::flow::FlowError::Refused(revert)) => {
                    differences.push(format!("{what}: the chain does not take its proof ({revert})"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(match (refutations.is_empty(), differences.is_empty()) {
            (false, _) => Verdict::Refuted { refutations },
            (true, false) => Verdict::Disputed { differences },
            (true, true) => Verdict::Agrees,
        })
    }

    /// Refutes the pending proposal, if it can be: sends the first refutation that holds. `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`Node::watch`]; the chain's error when the window closed meanwhile, or somebody else was first.
    pub async fn dispute(&self, publication: Option<&Publication>) -> Result<Option<Dispute>> {
        let Some(watched) = self.watch(publication).await? else { return Ok(None) };
        let Verdict::Refuted { refutations } = watched.verdict else { return Ok(None) };
        let Some(first) = refutations.into_iter().next() else { return Ok(None) };
        // A rejected epoch is proposed again, so the proof and the time of the proposal name the transaction too.
        let proof = openledger_protocol::keccak(&first.calldata);
        let key = format!("epoch/{}/challenge/{}/{proof}", watched.epoch, watched.closes);
        let done = self.inner.flow.challenge(&key, &first.challenge).await?;
        self.sync().await?;
        Ok(Some(Dispute {
            what: first.what,
            epoch: done.value.epoch,
            proposer: done.value.proposer,
            harmed: done.value.harmed,
            bond: done.value.bond,
            tx: done.mined.hash,
            gas: done.mined.gas_used,
        }))
    }
}
