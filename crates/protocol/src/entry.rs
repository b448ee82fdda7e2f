//! Entries: the lines that a receipt's price is split into.

use alloy_primitives::{Address, B256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::{leaf, tags, word};
use crate::sum_tree::{SumNode, SumTree};
use crate::{Amount, AmountError, ContributionId, ReceiptId};

/// The reason for a line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum PayeeRole {
    /// Platform: treasury.
    Treasury = 0,
    /// Platform: validation budget.
    Validation = 1,
    /// Platform: disputes and insurance; and what rounding leaves.
    Insurance = 2,
    /// The model's owner.
    Owner = 3,
    /// The node that answered.
    Node = 4,
    /// The model's stakers.
    Stakers = 5,
    /// The holder of a contribution.
    Contributor = 6,
    /// The owner of a parent model.
    Parent = 7,
}

/// One line of a receipt's split.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The receipt.
    pub receipt: ReceiptId,
    /// The line's number in it, from 0.
    pub line: u32,
    /// The reason for it.
    pub role: PayeeRole,
    /// The account that is paid.
    pub account: Address,
    /// Which contribution earned it; zero for other roles.
    pub contribution: ContributionId,
    /// How much.
    pub amount: Amount,
}

impl Entry {
    /// The order of an epoch's entries: account, receipt, line.
    #[must_use]
    pub fn sort_key(&self) -> (Address, ReceiptId, u32) {
        (self.account, self.receipt, self.line)
    }

    /// The leaf of the epoch's entries tree.
    #[must_use]
    pub fn leaf(&self) -> SumNode {
        let hash = leaf(
            tags::entry(),
            &[
                word(self.account),
                self.receipt.0,
                word(self.line),
                word(self.role as u8),
                self.contribution.0,
                word(self.amount.0),
            ],
        );
        SumNode { hash, sum: self.amount }
    }

    /// The contribution word of lines that no contribution earned.
    pub const NO_CONTRIBUTION: ContributionId = ContributionId(B256::ZERO);
}

/// The sum tree over one receipt's lines in their order, which shows their sum by the two nodes
/// under its root and proves single lines. It has at least two places, also when there is no line.
///
/// # Errors
/// [`AmountError::Overflow`] when the lines sum to more than 128 bits.
pub fn lines_tree(lines: &[Entry]) -> Result<SumTree, AmountError> {
    let mut leaves: Vec<SumNode> = lines.iter().map(Entry::leaf).collect();
    leaves.resize(leaves.len().max(2), SumNode::default());
    SumTree::new(leaves)
}

/// The hash of the root of [`lines_tree`]: the `lines` word of a receipt or credit note. Its sum is
/// the price.
///
/// # Errors
/// As [`lines_tree`].
pub fn lines_root(lines: &[Entry]) -> Result<B256, AmountError> {
    Ok(lines_tree(lines)?.root().hash)
}
