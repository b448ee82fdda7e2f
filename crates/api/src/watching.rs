//! Watching a proposed epoch: its publication, the verdict and the dispute.

use openledger_protocol::{Address, Amount, B256, Bytes, Domain, Entry, EpochHeader, ReceiptBundle, ReceiptId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A receipt as it stands in a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FiledReceipt {
    /// The id that it is filed under.
    pub id: ReceiptId,
    /// Its words.
    pub words: Vec<B256>,
    /// Its signature.
    #[schemars(with = "String", regex(pattern = r"^0x([0-9a-f]{2})*$"))]
    pub signature: Bytes,
    /// The struct hash of its credit note; zero: none.
    pub note_hash: B256,
    /// The price it is filed under, in base units.
    pub price: Amount,
}

/// A leaf of the payout tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PayoutLeaf {
    /// The account.
    pub account: Address,
    /// All it earned since genesis, in base units.
    pub cumulative: Amount,
}

/// The leaves under an epoch's three roots, and the answers behind its receipts. A null leaf is an
/// empty place before the last leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EpochPublication {
    /// `openledger/publication/v2`.
    pub format: String,
    /// Chain and `Payouts` contract.
    pub domain: Domain,
    /// The header that was proposed.
    pub header: EpochHeader,
    /// The leaves under `receipts_root`.
    pub receipts: Vec<Option<FiledReceipt>>,
    /// The leaves under `entries_root`.
    pub entries: Vec<Option<Entry>>,
    /// The leaves under `payout_root`.
    pub payouts: Vec<Option<PayoutLeaf>>,
    /// The bundles of the receipts; spans of an answer that is missing cannot be checked.
    pub answers: Vec<ReceiptBundle>,
}

/// A fault of a proposal that the chain accepts as proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refutation {
    /// What is wrong.
    pub what: String,
    /// The fault's number in `IVerifier.sol`.
    pub fault: u8,
    /// The call data of `Payouts.challenge`.
    #[schemars(with = "String", regex(pattern = r"^0x([0-9a-f]{2})*$"))]
    pub calldata: Bytes,
}

/// The verdict on a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It equals what this node computes.
    Agrees,
    /// It is false, and the chain accepts each refutation.
    Refuted {
        /// The refutations; one is enough.
        refutations: Vec<Refutation>,
    },
    /// It differs from what this node computes, and no proof decides: the jury does.
    Disputed {
        /// The differences.
        differences: Vec<String>,
    },
    /// The leaves under its roots were not published, or are others.
    Withheld {
        /// What is missing.
        reason: String,
    },
}

/// A watched proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WatchedProposal {
    /// The epoch.
    pub epoch: u64,
    /// The account that proposed it.
    pub proposer: Address,
    /// When its window closes, in Unix seconds.
    pub closes: u64,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A refuted proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dispute {
    /// What was wrong.
    pub what: String,
    /// The epoch, which is open again.
    pub epoch: u64,
    /// The account that lost its bond.
    pub proposer: Address,
    /// The account that gets the harmed party's part.
    pub harmed: Address,
    /// The bond, in base units.
    pub bond: Amount,
    /// The transaction.
    pub tx: B256,
    /// Gas that it used.
    pub gas: u64,
}
