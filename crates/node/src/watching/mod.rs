//! Watching: every pending proposal is computed again, and challenged where it is not what its receipts say.
//!
//! # Place in the flow
//!
//! Between `propose` and `finalize`, by anyone who holds receipts: this node's own proposals are checked against its
//! books, another's against what that node published. [`Watching::watch`] says what is wrong, [`Watching::dispute`]
//! sends the first refutation that holds and is paid for it out of the proposer's bond.
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
mod publication;

use openledger_api::{Dispute, EpochPublication, Refutation, Verdict, WatchedProposal};
use openledger_chain::flow::{Challenge, FlowError, PendingEpoch};
use openledger_ledger::ClosedEpoch;
use openledger_ledger::challenge::{Published, PublishedError, examine};
use openledger_store::Store;

use crate::chain_view::ChainView;
use crate::epochs::Epochs;
use crate::error::{Blame, NodeError, Result};
use crate::records::Records;

/// Watches proposals.
#[derive(Clone)]
pub struct Watching {
    store: Store,
    chain: ChainView,
    epochs: Epochs,
    records: Records,
}

/// What judging a proposal came to, with challenges ready to be sent.
struct Judged {
    verdict: Verdict,
    challenges: Vec<Challenge>,
}

impl From<Verdict> for Judged {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, challenges: Vec::new() }
    }
}

impl Watching {
    pub(crate) fn new(store: Store, chain: ChainView, epochs: Epochs, records: Records) -> Self {
        Self { store, chain, epochs, records }
    }

    /// The publication of an epoch that this node closed: its leaves, and the answers behind them.
    /// It holds prompts and answers, so that the policy admits the operator alone.
    ///
    /// # Errors
    ///
    /// `not-found` when there is no such epoch here.
    pub async fn publication(&self, number: u64) -> Result<EpochPublication> {
        let row = self.epochs.row(number).await?;
        let closed = self.epochs.rebuild(&row).await?;
        let mut answers = Vec::new();
        for receipt in self.epochs.receipts(number).await? {
            answers.push(serde_json::from_str(&receipt.body)?);
        }
        Ok(publication::of(Published::of(&closed), answers))
    }

    /// Judges the pending proposal: by what its proposer published, or, where nothing is given, against this node's own
    /// books. `None` when no proposal is pending.
    ///
    /// # Errors
    ///
    /// [`NodeError`] when chain or store cannot be read; what is wrong with the proposal is a verdict, not an error.
    pub async fn watch(&self, publication: Option<&EpochPublication>) -> Result<Option<WatchedProposal>> {
        let Some(pending) = self.chain.flow().payouts().pending().await? else { return Ok(None) };
        let verdict = self.judge_by(&pending, publication).await?.verdict;
        let (epoch, proposer, closes) = (pending.header.epoch, pending.proposer, pending.closes);
        Ok(Some(WatchedProposal { epoch, proposer, closes, verdict }))
    }

    async fn judge_by(&self, pending: &PendingEpoch, publication: Option<&EpochPublication>) -> Result<Judged> {
        match publication {
            Some(publication) => self.judge(pending, publication).await,
            None => match self.publication(pending.header.epoch).await {
                Ok(own) => self.judge(pending, &own).await,
                Err(error) if error.blame() == Blame::Missing => {
                    let reason = "nothing of this epoch is known here; ask its proposer".to_owned();
                    Ok(Verdict::Withheld { reason }.into())
                }
                Err(error) => Err(error),
            },
        }
    }
}

impl Watching {
    async fn judge(&self, pending: &PendingEpoch, publication: &EpochPublication) -> Result<Judged> {
        // The publication counts for the proposal on chain, whatever header it names.
        let leaves = publication::leaves(publication)?;
        let published = Published { domain: self.epochs.domain(), header: pending.header.clone(), ..leaves };
        let known = self.known(&published, &publication.answers).await?;
        let examined = match examine(&published, &known) {
            Ok(examined) => examined,
            Err(error @ (PublishedError::NotUnderRoot(_) | PublishedError::Earlier)) => {
                return Ok(Verdict::Withheld { reason: error.to_string() }.into());
            }
            Err(error) => return Err(unreadable(&error)),
        };
        let mut differences = examined.disputed;
        let (mut refutations, mut challenges) = (Vec::new(), Vec::new());
        for refutation in examined.refutations {
            let what = refutation.name();
            let challenge = encode::challenge(refutation);
            match self.chain.flow().payouts().try_challenge(&challenge).await {
                Ok(()) => {
                    let (fault, calldata) = (challenge.fault, challenge.call_data());
                    refutations.push(Refutation { what: what.to_owned(), fault, calldata });
                    challenges.push(challenge);
                }
                Err(FlowError::Refused(revert)) => {
                    differences.push(format!("{what}: the chain does not take its proof ({revert})"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let verdict = match (refutations.is_empty(), differences.is_empty()) {
            (false, _) => Verdict::Refuted { refutations },
            (true, false) => Verdict::Disputed { differences },
            (true, true) => Verdict::Agrees,
        };
        Ok(Judged { verdict, challenges })
    }

    /// Challenges the pending proposal, if it can be: sends the first refutation that holds. `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`Watching::watch`]; the chain's error when the window closed meanwhile, or another challenge came first.
    pub async fn dispute(&self, publication: Option<&EpochPublication>) -> Result<Option<Dispute>> {
        let payouts = self.chain.flow().payouts();
        let Some(pending) = payouts.pending().await? else { return Ok(None) };
        let Judged { verdict, challenges } = self.judge_by(&pending, publication).await?;
        let Verdict::Refuted { refutations } = verdict else { return Ok(None) };
        let Some((first, challenge)) = refutations.into_iter().zip(challenges).next() else { return Ok(None) };
        // A rejected epoch is proposed again, so the proof and the time of the proposal name the transaction too.
        let proof = openledger_protocol::keccak(&first.calldata);
        let key = format!("epoch/{}/challenge/{}/{proof}", pending.header.epoch, pending.closes);
        let done = payouts.challenge(&key, &challenge).await?;
        self.chain.catch_up().await?;
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

    /// The names of the faults that this node would find in a proposal of its own.
    pub(crate) async fn own_faults(&self, closed: &ClosedEpoch) -> Result<Vec<String>> {
        let published = Published::of(closed);
        let known = self.known(&published, &[]).await?;
        let examined = examine(&published, &known).map_err(|error| unreadable(&error))?;
        Ok(examined.refutations.iter().map(|refutation| refutation.name().to_owned()).collect())
    }
}

fn unreadable(error: &PublishedError) -> NodeError {
    NodeError::refused(Blame::Data, "bad-publication", error.to_string())
}
