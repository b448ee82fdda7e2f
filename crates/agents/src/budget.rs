//! Budgets: what an agent may spend, on what, and from which amount on a person is asked.
//!
//! Asked before each charge. **Invariant:** what is allowed without approval never lets a day or
//! the whole exceed its limit, and a stopped agent is allowed nothing. **Not here:** charging
//! (`ledger`, `Channels`).

use std::collections::BTreeSet;

use openledger_protocol::{Address, Amount, ModelId};
use serde::{Deserialize, Serialize};

/// Something an agent may pay for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allowed {
    /// Answers of a model.
    Model(ModelId),
    /// Calls of a tool, by the name it was registered under and the hash of its schema, so that it
    /// cannot change unseen.
    Tool {
        /// Its name.
        name: String,
        /// SHA-256 of its input schema's canonical JSON.
        schema: openledger_protocol::B256,
    },
    /// Payments to an account.
    Account(Address),
}

/// What an agent may spend. Its owner signs and changes it; the agent cannot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// The most in one day.
    pub daily: Amount,
    /// The most since the budget was given.
    pub total: Amount,
    /// From this amount on, one payment needs a person's approval.
    pub approval_from: Amount,
    /// What may be paid for; nothing else may.
    pub allowed: BTreeSet<Allowed>,
    /// Unix seconds when the budget ends; at that second it is over.
    pub until: u64,
    /// The kill switch: nothing is allowed while it is set.
    pub stopped: bool,
}

/// What an agent has spent, by days of 86,400 Unix seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Spent {
    /// The day that `today` is of.
    pub day: u64,
    /// On that day.
    pub today: Amount,
    /// Since the budget was given.
    pub total: Amount,
}

/// Seconds of a day.
const DAY_SECONDS: u64 = 86_400;

impl Spent {
    /// What was spent on the day of `time` (Unix seconds).
    ///
    /// An earlier day than the last counts as that day: a clock that is set back opens no second
    /// budget.
    #[must_use]
    pub fn today_at(&self, time: u64) -> Amount {
        if time / DAY_SECONDS > self.day { Amount::ZERO } else { self.today }
    }

    /// What was spent after `amount` more at `time`; `None` when a sum leaves 128 bits.
    #[must_use]
    pub fn after(&self, amount: Amount, time: u64) -> Option<Self> {
        let today = self.today_at(time).plus(amount).ok()?;
        Some(Self { day: self.day.max(time / DAY_SECONDS), today, total: self.total.plus(amount).ok()? })
    }
}

/// What an agent wants to pay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SpendRequest {
    /// For what.
    pub item: Allowed,
    /// At most how much: the price's upper bound, as it is escrowed.
    pub amount: Amount,
    /// When, in Unix seconds.
    pub time: u64,
    /// Whether a person has approved exactly this request.
    pub approved: bool,
}

/// Why a payment is refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DenyReason {
    /// The owner stopped the agent; it may go on when the owner lifts that.
    #[error("the agent is stopped by its owner")]
    Stopped,
    /// The budget is over; the owner may give a new one.
    #[error("the budget ended at {until}")]
    Expired {
        /// When it ended, in Unix seconds.
        until: u64,
    },
    /// It is not on the list; the owner may add it.
    #[error("not on the allow-list")]
    NotAllowed,
    /// The day would cost more than its limit; try tomorrow or ask for less.
    #[error("today {left} are left, {asked} are asked")]
    DailyLimit {
        /// What is left.
        left: Amount,
        /// What was asked.
        asked: Amount,
    },
    /// All days together would cost more than their limit; the owner may raise it.
    #[error("in all {left} are left, {asked} are asked")]
    TotalLimit {
        /// What is left.
        left: Amount,
        /// What was asked.
        asked: Amount,
    },
}

/// What a budget says to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may be charged.
    Allow,
    /// It may be charged once a person has approved it.
    NeedsApproval,
    /// It may not be charged; approval does not help.
    Deny(DenyReason),
}

impl Budget {
    /// Decides on `request` after `spent`. Limits hold for approved requests too.
    #[must_use]
    pub fn authorise(&self, spent: &Spent, request: &SpendRequest) -> Decision {
        match self.refusal(spent, request) {
            Some(reason) => Decision::Deny(reason),
            None if request.amount >= self.approval_from && !request.approved => Decision::NeedsApproval,
            None => Decision::Allow,
        }
    }

    fn refusal(&self, spent: &Spent, request: &SpendRequest) -> Option<DenyReason> {
        let asked = request.amount;
        let left = |limit: Amount, used: Amount| Amount(limit.0.saturating_sub(used.0));
        let today = left(self.daily, spent.today_at(request.time));
        let total = left(self.total, spent.total);
        if self.stopped {
            Some(DenyReason::Stopped)
        } else if request.time >= self.until {
            Some(DenyReason::Expired { until: self.until })
        } else if !self.allowed.contains(&request.item) {
            Some(DenyReason::NotAllowed)
        } else if asked > total {
            Some(DenyReason::TotalLimit { left: total, asked })
        } else if asked > today {
            Some(DenyReason::DailyLimit { left: today, asked })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget() -> Budget {
        Budget {
            daily: Amount(100),
            total: Amount(250),
            approval_from: Amount(60),
            allowed: BTreeSet::from([Allowed::Model(ModelId(1))]),
            until: 10 * DAY_SECONDS,
            stopped: false,
        }
    }

    fn request(amount: u128, time: u64) -> SpendRequest {
        SpendRequest { item: Allowed::Model(ModelId(1)), amount: Amount(amount), time, approved: false }
    }

    #[track_caller]
    fn check(budget: &Budget, spent: (u64, u128, u128), request: &SpendRequest, expected: Decision) {
        let spent = Spent { day: spent.0, today: Amount(spent.1), total: Amount(spent.2) };
        assert_eq!(budget.authorise(&spent, request), expected);
    }

    #[test]
    fn limits_hold_to_the_unit() {
        let daily = Decision::Deny(DenyReason::DailyLimit { left: Amount(50), asked: Amount(51) });
        check(&budget(), (0, 50, 50), &request(50, 5), Decision::Allow);
        check(&budget(), (0, 50, 50), &request(51, 5), daily);
        check(&budget(), (0, 50, 50), &request(51, DAY_SECONDS), Decision::Allow);
        let total = Decision::Deny(DenyReason::TotalLimit { left: Amount(20), asked: Amount(21) });
        check(&budget(), (0, 100, 230), &request(20, DAY_SECONDS), Decision::Allow);
        check(&budget(), (0, 100, 230), &request(21, DAY_SECONDS), total);
    }

    #[test]
    fn a_person_is_asked_from_the_threshold_on_and_cannot_lift_a_limit() {
        check(&budget(), (0, 0, 0), &request(59, 0), Decision::Allow);
        check(&budget(), (0, 0, 0), &request(60, 0), Decision::NeedsApproval);
        let approved = |amount| SpendRequest { approved: true, ..request(amount, 0) };
        check(&budget(), (0, 0, 0), &approved(60), Decision::Allow);
        let denied = Decision::Deny(DenyReason::DailyLimit { left: Amount(100), asked: Amount(101) });
        check(&budget(), (0, 0, 0), &approved(101), denied);
    }

    #[test]
    fn a_stopped_or_ended_budget_and_what_is_not_listed_are_denied() {
        let stopped = Budget { stopped: true, ..budget() };
        check(&stopped, (0, 0, 0), &request(0, 0), Decision::Deny(DenyReason::Stopped));
        let until = budget().until;
        check(&budget(), (0, 0, 0), &request(1, until), Decision::Deny(DenyReason::Expired { until }));
        check(&budget(), (0, 0, 0), &request(1, until - 1), Decision::Allow);
        let tool = |schema| Allowed::Tool { name: "search".into(), schema: openledger_protocol::sha256(schema) };
        let listed = Budget { allowed: BTreeSet::from([tool("pinned")]), ..budget() };
        let ask = |item| SpendRequest { item, ..request(1, 0) };
        check(&listed, (0, 0, 0), &ask(tool("pinned")), Decision::Allow);
        check(&listed, (0, 0, 0), &ask(tool("changed")), Decision::Deny(DenyReason::NotAllowed));
    }

    #[test]
    fn a_clock_set_back_opens_no_second_budget() {
        let denied = Decision::Deny(DenyReason::DailyLimit { left: Amount::ZERO, asked: Amount(1) });
        check(&budget(), (3, 100, 100), &request(1, 2 * DAY_SECONDS), denied);
    }

    proptest! {
        #[test]
        fn no_sequence_of_requests_exceeds_a_limit(
            asks in prop::collection::vec((0u128..150, 0u64..5 * DAY_SECONDS, any::<bool>()), 0..60),
        ) {
            let budget = budget();
            let mut spent = Spent::default();
            for (amount, time, approved) in asks {
                let request = SpendRequest { approved, ..request(amount, time) };
                if budget.authorise(&spent, &request) == Decision::Allow {
                    prop_assert!(approved || amount < 60);
                    spent = spent.after(request.amount, time).unwrap();
                }
                prop_assert!(spent.today <= budget.daily && spent.total <= budget.total);
            }
        }
    }
}
