//! Items of lists as rows of tables: the columns that a person looks for; `--json` has the rest.
//!
//! **Invariant:** an id or account that another verb takes is printed whole. **Invariant:** what
//! strangers wrote moves no cursor.

use openledger_api::{
    Claimed, DatanetView, EpochState, EpochView, Job, JobKind, JobState, ModelView, PayoutView, ReceiptView,
};
use openledger_datanet::printable;

use crate::console::short;

/// Characters of a cause that are printed.
const CAUSE_SHOWN: usize = 60;

/// An item of a list as a row.
pub(crate) trait Row {
    /// Names of the columns.
    const HEAD: &'static [&'static str];

    /// Cells in the order of the columns.
    fn cells(&self) -> Vec<String>;
}

impl Row for DatanetView {
    const HEAD: &'static [&'static str] =
        &["datanet", "name", "licence", "version", "records", "contributions", "owner"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            printable(&self.name),
            printable(&self.license),
            self.version.to_string(),
            self.records.to_string(),
            self.contributions.to_string(),
            self.owner.name.as_deref().map_or_else(|| self.owner.account.to_string(), printable),
        ]
    }
}

impl Row for ModelView {
    const HEAD: &'static [&'static str] =
        &["model", "name", "base", "datanets", "records", "per 1k in", "per 1k out", "per answer", "split in bps"];

    fn cells(&self) -> Vec<String> {
        // As `model train` takes them.
        let datanets = self.datanets.iter().map(|used| format!("{}:{}", used.datanet, used.version));
        let split = &self.split;
        vec![
            self.id.to_string(),
            printable(&self.name),
            printable(&self.base),
            datanets.collect::<Vec<_>>().join(" "),
            self.records.to_string(),
            self.prices.per_1k_in.to_string(),
            self.prices.per_1k_out.to_string(),
            self.prices.royalty_flat.to_string(),
            format!("{}/{}/{}/{}", split.platform_bps, split.model_bps, split.stakers_bps, split.contributors_bps),
        ]
    }
}

impl Row for Job {
    const HEAD: &'static [&'static str] = &["job", "kind", "state", "begun", "progress", "cause"];

    fn cells(&self) -> Vec<String> {
        let kind = match self.kind {
            JobKind::Train => "train",
        };
        // As `job list --state` takes them.
        let state = match self.state {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        };
        vec![
            self.job.to_string(),
            kind.to_owned(),
            state.to_owned(),
            self.attempts.to_string(),
            self.progress.map_or_else(String::new, |progress| format!("{}/{}", progress.step, progress.steps)),
            self.cause.as_deref().map_or_else(String::new, |cause| short(cause, CAUSE_SHOWN)),
        ]
    }
}

impl Row for ReceiptView {
    const HEAD: &'static [&'static str] =
        &["receipt", "model", "price", "tokens in", "tokens out", "epoch", "Unix time"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.model_name.as_deref().map_or_else(|| format!("model {}", self.model), printable),
            self.price.to_string(),
            self.tokens_in.to_string(),
            self.tokens_out.to_string(),
            self.epoch.map_or_else(|| "open".to_owned(), |epoch| epoch.to_string()),
            self.time.to_string(),
        ]
    }
}

impl Row for EpochView {
    const HEAD: &'static [&'static str] = &["epoch", "state", "receipts", "prices", "payouts since genesis"];

    fn cells(&self) -> Vec<String> {
        let state = match self.state {
            EpochState::Open => "open",
            EpochState::Closing => "closing",
            EpochState::Closed => "closed",
            EpochState::Proposed => "proposed",
            EpochState::Finalized => "finalized",
        };
        vec![
            self.number.to_string(),
            state.to_owned(),
            self.receipts.to_string(),
            self.entries_total.to_string(),
            self.total.to_string(),
        ]
    }
}

impl Row for PayoutView {
    const HEAD: &'static [&'static str] = &["account", "earned", "claimed", "name"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.account.to_string(),
            self.cumulative.to_string(),
            self.claimed.to_string(),
            self.name.as_deref().map_or_else(String::new, printable),
        ]
    }
}

impl Row for Claimed {
    const HEAD: &'static [&'static str] = &["account", "paid", "balance", "name"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.account.to_string(),
            self.amount.to_string(),
            self.balance.to_string(),
            self.name.as_deref().map_or_else(String::new, printable),
        ]
    }
}

#[cfg(test)]
mod tests {
    use openledger_protocol::{Address, Amount, B256};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    /// The cells of an item that the node sent, one for each column.
    fn cells<T: Row + DeserializeOwned>(sent: Value) -> Vec<String> {
        let cells = serde_json::from_value::<T>(sent).unwrap().cells();
        assert_eq!(cells.len(), T::HEAD.len());
        cells
    }

    #[test]
    fn a_model_is_listed_with_prices_split_and_the_versions_it_was_trained_on() {
        let version = |datanet| json!({ "datanet": datanet, "version": 2, "root": B256::ZERO, "grant": B256::ZERO });
        let model = json!({
            "id": 3, "name": "wrenches", "base": "toy", "adapter": B256::ZERO, "manifest": B256::ZERO, "records": 66,
            "prices": { "per_1k_in": Amount(1), "per_1k_out": Amount::OPEN, "royalty_flat": Amount::ZERO },
            "split": { "platform_bps": 1000, "model_bps": 2000, "stakers_bps": 2000, "contributors_bps": 5000 },
            "datanets": [version(1), version(7)], "held_out_loss": { "base_micro": 0, "adapter_micro": 0 },
        });
        let expected = [
            "3",
            "wrenches",
            "toy",
            "1:2 7:2",
            "66",
            "0.000000000000000001 OPEN",
            "1 OPEN",
            "0 OPEN",
            "1000/2000/2000/5000",
        ];
        assert_eq!(cells::<ModelView>(model), expected);
    }

    #[test]
    fn a_datanet_is_listed_by_the_handle_of_its_owner_or_else_by_the_account() {
        let datanet = |owner: Option<&str>| {
            let named = json!({ "account": Address::ZERO, "name": owner });
            json!({
                "id": 1, "name": "tides\u{1b}[2J", "description": "", "license": "CC0-1.0", "owner": named,
                "version": 0, "root": null, "records": 9, "contributions": 2,
            })
        };
        let of = |owner| cells::<DatanetView>(datanet(owner));
        assert_eq!(of(Some("ada")), ["1", "tides\\u{1b}[2J", "CC0-1.0", "0", "9", "2", "ada"]);
        assert_eq!(of(None)[6], Address::ZERO.to_string());
    }

    #[test]
    fn a_job_is_listed_with_its_progress_and_why_it_failed() {
        let job = json!({
            "job": 7, "kind": "train", "state": "failed", "attempts": 2, "cause": "no\nmemory",
            "progress": { "step": 3, "steps": 9 }, "result": null, "created": 1, "ended": 2,
        });
        assert_eq!(cells::<Job>(job), ["7", "train", "failed", "2", "3/9", "no memory"]);
    }

    #[test]
    fn an_epoch_and_a_payout_are_listed_with_their_sums() {
        let epoch = json!({
            "number": 2, "state": "finalized", "receipts": 4, "entries_total": Amount::OPEN, "total": Amount::OPEN,
            "receipts_root": B256::ZERO, "entries_root": B256::ZERO, "payout_root": B256::ZERO,
        });
        assert_eq!(cells::<EpochView>(epoch), ["2", "finalized", "4", "1 OPEN", "1 OPEN"]);
        let payout = json!({
            "account": Address::ZERO, "name": null, "cumulative": Amount::OPEN, "claimed": Amount::ZERO,
        });
        assert_eq!(cells::<PayoutView>(payout)[1..], ["1 OPEN", "0 OPEN", ""]);
    }
}
