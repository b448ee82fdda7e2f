//! The log of an agent's actions: each signed by its key and chained to the one before by hash.
//!
//! **Invariant:** a log that verifies is the one that was written, up to its end. With the
//! head's hash and length, a reader also knows that nothing was cut off. **Not here:** where it is stored.

use openledger_protocol::{
    Address, Amount, B256, CanonicalError, Domain, Key, ReceiptId, Signature, canonical_json, keccak, keccak_words,
    sha256, word,
};
use serde::{Deserialize, Serialize};

use crate::budget::{Allowed, Decision};

/// What an agent did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ActionKind {
    /// It was given a goal.
    Goal {
        /// SHA-256 of the goal's text.
        goal: B256,
    },
    /// It asked to spend, and the budget answered.
    Spend {
        /// For what.
        item: Allowed,
        /// At most how much.
        amount: Amount,
        /// What the budget said.
        decision: Decision,
    },
    /// A model answered: one receipt for each call.
    ModelCall {
        /// The receipt.
        receipt: ReceiptId,
    },
    /// A tool was called.
    ToolCall {
        /// The tool's name.
        tool: String,
        /// SHA-256 of the arguments' canonical JSON.
        arguments: B256,
        /// SHA-256 of the result's canonical JSON.
        result: B256,
    },
    /// Its owner stopped it or let it go on.
    Stopped {
        /// Whether it is stopped now.
        stopped: bool,
    },
    /// It was done.
    Finished {
        /// SHA-256 of the result's text.
        result: B256,
    },
}

/// One step of an agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Action {
    /// Its place in the log, from 0.
    pub number: u64,
    /// The hash of the action before; zero for the first.
    pub previous: B256,
    /// Unix seconds; never before the action before.
    pub time: u64,
    /// What was done.
    pub what: ActionKind,
}

impl Action {
    /// The EIP-712 type; `action` is SHA-256 of the canonical JSON of what was done.
    pub const TYPE: &'static str = "Action(uint64 number,bytes32 previous,uint64 time,bytes32 action)";

    /// The EIP-712 struct hash, which the next action names.
    ///
    /// # Errors
    /// [`CanonicalError`] when a number has no canonical form: a model's id beyond 2⁵³.
    pub fn struct_hash(&self) -> Result<B256, CanonicalError> {
        let action = sha256(canonical_json(&self.what)?);
        Ok(keccak_words(&[keccak(Self::TYPE), word(self.number), self.previous, word(self.time), action]))
    }
}

/// An action with the agent's signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedAction {
    /// The action.
    pub action: Action,
    /// The signature of the agent's key.
    pub signature: Signature,
}

/// Why a log was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// An action's number is not its place: one is missing, doubled or moved.
    #[error("action {at} calls itself number {found}")]
    Number {
        /// Its place.
        at: u64,
        /// Its number.
        found: u64,
    },
    /// An action does not follow from the one before, which was changed or replaced.
    #[error("action {at} does not follow from action {} as it stands", at.saturating_sub(1))]
    Chain {
        /// Its place.
        at: u64,
    },
    /// An action is dated before the one before it.
    #[error("action {at} is dated {time}, before the action it follows")]
    Time {
        /// Its place.
        at: u64,
        /// Its time.
        time: u64,
    },
    /// An action was changed after it was signed, or another key signed it.
    #[error("action {at} is not signed by agent {agent}")]
    Signature {
        /// Its place.
        at: u64,
        /// Who should have signed.
        agent: Address,
    },
    /// The log does not end where it is known to end: actions were cut off or added.
    #[error("the log ends with {found} actions, not with the {expected} of its known head")]
    Head {
        /// How many actions the head counts.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// An action has no canonical form; write large numbers as decimal strings.
    #[error("action {at} has no canonical form")]
    Canonical {
        /// Its place.
        at: u64,
        /// Why.
        source: CanonicalError,
    },
}

/// All actions of an agent, in order. `domain` is that of the `Agents` contract.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ActionLog {
    /// Chain and `Agents` contract.
    pub domain: Domain,
    /// The agent's account: whose key signs.
    pub agent: Address,
    /// The actions.
    pub actions: Vec<SignedAction>,
}

impl ActionLog {
    /// An empty log.
    #[must_use]
    pub fn new(domain: Domain, agent: Address) -> Self {
        Self { domain, agent, actions: Vec::new() }
    }

    /// The hash of the last action and how many there are; published, it fixes the whole log.
    ///
    /// # Errors
    /// [`LogError::Canonical`] as [`Action::struct_hash`].
    pub fn head(&self) -> Result<(B256, u64), LogError> {
        let count = self.actions.len() as u64;
        let Some(last) = self.actions.last() else { return Ok((B256::ZERO, 0)) };
        let hash = last.action.struct_hash().map_err(|source| LogError::Canonical { at: count - 1, source })?;
        Ok((hash, count))
    }

    /// Signs and appends what was done at `time`.
    ///
    /// # Errors
    /// [`LogError::Signature`] when `key` is not the agent's, [`LogError::Time`] when `time` is
    /// before the last action's, [`LogError::Canonical`] as [`Action::struct_hash`]; the log is
    /// unchanged then.
    pub fn append(&mut self, what: ActionKind, time: u64, key: &Key) -> Result<(), LogError> {
        let (previous, number) = self.head()?;
        if key.address() != self.agent {
            return Err(LogError::Signature { at: number, agent: self.agent });
        }
        if self.actions.last().is_some_and(|last| last.action.time > time) {
            return Err(LogError::Time { at: number, time });
        }
        let action = Action { number, previous, time, what };
        let hash = action.struct_hash().map_err(|source| LogError::Canonical { at: number, source })?;
        self.actions.push(SignedAction { action, signature: key.sign(self.domain.digest(hash)) });
        Ok(())
    }

    /// Checks every action; `head` is the published one, where there is one.
    ///
    /// # Errors
    /// [`LogError`] naming the first action that does not fit.
    pub fn verify(&self, head: Option<(B256, u64)>) -> Result<(), LogError> {
        let (mut previous, mut time) = (B256::ZERO, 0);
        for (at, SignedAction { action, signature }) in (0..).zip(&self.actions) {
            if action.number != at {
                return Err(LogError::Number { at, found: action.number });
            }
            let hash = action.struct_hash().map_err(|source| LogError::Canonical { at, source })?;
            if signature.verify(self.domain.digest(hash), self.agent).is_err() {
                return Err(LogError::Signature { at, agent: self.agent });
            }
            if action.previous != previous {
                return Err(LogError::Chain { at });
            }
            if action.time < time {
                return Err(LogError::Time { at, time: action.time });
            }
            (previous, time) = (hash, action.time);
        }
        match head {
            Some((hash, expected)) if (hash, expected) != (previous, self.actions.len() as u64) => {
                Err(LogError::Head { expected, found: self.actions.len() as u64 })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use openledger_protocol::ModelId;
    use proptest::prelude::*;

    use super::*;

    fn key() -> Key {
        Key::demo(1, "night-desk")
    }

    fn log() -> ActionLog {
        let domain = Domain { chain_id: 2626, contract: Address::repeat_byte(7) };
        let mut log = ActionLog::new(domain, key().address());
        let spend =
            ActionKind::Spend { item: Allowed::Model(ModelId(1)), amount: Amount(5), decision: Decision::Allow };
        let call = ActionKind::ToolCall { tool: "search".into(), arguments: sha256("a"), result: sha256("r") };
        let steps = [
            ActionKind::Goal { goal: sha256("find the tide") },
            spend,
            ActionKind::ModelCall { receipt: ReceiptId(sha256("receipt")) },
            call,
            ActionKind::Stopped { stopped: true },
            ActionKind::Finished { result: sha256("noon") },
        ];
        for (at, what) in (0..).zip(steps) {
            log.append(what, 100 + at, &key()).unwrap();
        }
        log
    }

    /// The place that the error names.
    fn place(error: &LogError) -> u64 {
        match error {
            LogError::Number { at, .. }
            | LogError::Chain { at }
            | LogError::Time { at, .. }
            | LogError::Signature { at, .. }
            | LogError::Canonical { at, .. } => *at,
            LogError::Head { found, .. } => *found,
        }
    }

    #[test]
    fn a_log_as_it_was_written_verifies() {
        let log = log();
        let head = log.head().unwrap();
        assert_eq!(head.1, 6);
        log.verify(Some(head)).unwrap();
        let text = serde_json::to_string(&log).unwrap();
        serde_json::from_str::<ActionLog>(&text).unwrap().verify(Some(head)).unwrap();
    }

    #[test]
    fn another_key_or_an_earlier_time_cannot_append() {
        let mut log = log();
        let what = ActionKind::Stopped { stopped: false };
        let stranger = Key::demo(1, "stranger");
        assert!(matches!(log.append(what.clone(), 200, &stranger), Err(LogError::Signature { at: 6, .. })));
        assert!(matches!(log.append(what, 99, &key()), Err(LogError::Time { at: 6, time: 99 })));
        assert_eq!(log.actions.len(), 6);
    }

    #[test]
    fn an_action_rewritten_by_the_agent_itself_breaks_the_next() {
        let mut log = log();
        log.actions[2].action.what = ActionKind::ModelCall { receipt: ReceiptId(sha256("another")) };
        let hash = log.actions[2].action.struct_hash().unwrap();
        log.actions[2].signature = key().sign(log.domain.digest(hash));
        assert!(matches!(log.verify(None), Err(LogError::Chain { at: 3 })));
    }

    #[test]
    fn a_cut_log_is_found_by_its_head() {
        let mut log = log();
        let head = log.head().unwrap();
        log.actions.pop();
        log.verify(None).unwrap();
        assert!(matches!(log.verify(Some(head)), Err(LogError::Head { expected: 6, found: 5 })));
    }

    proptest! {
        #[test]
        fn tampering_is_found_at_the_action(at in 0usize..6, how in 0usize..6, bit in 0u8..8) {
            let mut log = log();
            let head = log.head().unwrap();
            match how {
                0 => log.actions[at].action.time ^= 1 << bit,
                1 => log.actions[at].action.previous.0[5] ^= 1 << bit,
                2 => log.actions[at].signature.0[7] ^= 1 << bit,
                3 => log.actions[at].action.number ^= 1 << bit,
                4 => log.actions[at].action.what = ActionKind::Goal { goal: sha256([bit]) },
                _ => { log.actions.remove(at); }
            }
            let error = log.verify(Some(head)).unwrap_err();
            // Removing the last one leaves only the head to tell.
            prop_assert_eq!(place(&error), at as u64, "{}", error);
        }
    }
}
