//! Who held a title when: pure bookkeeping over its Transfer events.
//!
//! Receipts pay whoever held a contribution at their holder block, so the history is kept, not only
//! the last holder.

use alloy_primitives::Address;

/// One change of hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TitleTransfer {
    /// The block.
    pub block: u64,
    /// Place in the block.
    pub log_index: u64,
    /// Who gave; zero at the mint.
    pub from: Address,
    /// Who received; zero when it was burned.
    pub to: Address,
}

/// Why a transfer does not continue a history; the events came from another chain or not in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TitleError {
    /// It does not lie after the last one.
    #[error("a transfer in block {block} comes after a later one")]
    OutOfOrder {
        /// The transfer's block.
        block: u64,
    },
    /// It takes from somebody else than the holder.
    #[error("in block {block} {from} gave a title that {holder} held")]
    NotHolder {
        /// The transfer's block.
        block: u64,
        /// Who gave.
        from: Address,
        /// Who held.
        holder: Address,
    },
}

/// All changes of hands of one title, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TitleHistory {
    transfers: Vec<TitleTransfer>,
}

impl TitleHistory {
    /// Adds the next change of hands.
    ///
    /// # Errors
    ///
    /// [`TitleError`] when it is not the next one.
    pub fn push(&mut self, transfer: TitleTransfer) -> Result<(), TitleError> {
        let last = self.transfers.last();
        if last.is_some_and(|last| (last.block, last.log_index) >= (transfer.block, transfer.log_index)) {
            return Err(TitleError::OutOfOrder { block: transfer.block });
        }
        let holder = last.map_or(Address::ZERO, |last| last.to);
        if holder != transfer.from {
            return Err(TitleError::NotHolder { block: transfer.block, from: transfer.from, holder });
        }
        self.transfers.push(transfer);
        Ok(())
    }

    /// Who held the title when `block` was the newest block; none before the mint and after a burn.
    #[must_use]
    pub fn owner_at(&self, block: u64) -> Option<Address> {
        self.last_at(block).map(|transfer| transfer.to).filter(|holder| !holder.is_zero())
    }

    /// The last change of hands up to and including `block`.
    #[must_use]
    pub fn last_at(&self, block: u64) -> Option<TitleTransfer> {
        let after = self.transfers.partition_point(|transfer| transfer.block <= block);
        after.checked_sub(1).map(|at| self.transfers[at])
    }

    /// Forgets what lies above `block`, because the chain replaced those blocks.
    pub fn rollback_to(&mut self, block: u64) {
        let kept = self.transfers.partition_point(|transfer| transfer.block <= block);
        self.transfers.truncate(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::repeat_byte(0xa);
    const B: Address = Address::repeat_byte(0xb);

    fn sold_twice_in_block_9() -> TitleHistory {
        let mut history = TitleHistory::default();
        for (block, log_index, from, to) in [(5, 0, Address::ZERO, A), (9, 2, A, B), (9, 4, B, A), (12, 0, A, B)] {
            history.push(TitleTransfer { block, log_index, from, to }).unwrap();
        }
        history
    }

    #[test]
    fn the_owner_at_a_block_is_who_received_it_last_in_or_before_it() {
        let history = sold_twice_in_block_9();
        let owners: Vec<_> = [4, 5, 8, 9, 11, 12, 99].map(|block| history.owner_at(block)).into();
        assert_eq!(owners, [None, Some(A), Some(A), Some(A), Some(A), Some(B), Some(B)]);
    }

    #[test]
    fn a_rollback_restores_the_holder_before() {
        let mut history = sold_twice_in_block_9();
        history.rollback_to(8);
        assert_eq!(history.owner_at(99), Some(A));
        assert_eq!(history.last_at(99).map(|transfer| transfer.block), Some(5));
    }

    #[test]
    fn a_burned_title_has_no_owner() {
        let mut history = sold_twice_in_block_9();
        history.push(TitleTransfer { block: 20, log_index: 0, from: B, to: Address::ZERO }).unwrap();
        assert_eq!(history.owner_at(20), None);
    }

    #[test]
    fn transfers_out_of_order_or_from_strangers_are_refused() {
        let mut history = sold_twice_in_block_9();
        let again = TitleTransfer { block: 12, log_index: 0, from: B, to: A };
        assert_eq!(history.push(again), Err(TitleError::OutOfOrder { block: 12 }));
        let stranger = TitleTransfer { block: 13, log_index: 0, from: A, to: B };
        assert_eq!(history.push(stranger), Err(TitleError::NotHolder { block: 13, from: A, holder: B }));
    }
}
