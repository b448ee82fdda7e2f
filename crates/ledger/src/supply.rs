//! The check of native supply: what genesis made is held or burned, to the last unit.
//!
//! The caller reads blocks and balances; the sums are made here. **Invariant:** a word that cannot
//! be read is an error, never zero, and no sum wraps or saturates. Not here: the token contracts.

use alloy_primitives::U256;
use openledger_protocol::{Amount, AmountError};

/// What is held and what is burned of the native OPEN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Supply {
    held: Amount,
    burned: Amount,
}

/// The reason why the supply cannot be summed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupplyError {
    /// A block lacks a member, or the member is not of its form.
    #[error("block {block}: `{field}` is missing or malformed; check the chain that serves it")]
    Unreadable {
        /// The block's number.
        block: u64,
        /// The member, as JSON-RPC names it.
        field: &'static str,
    },
    /// A balance or fee exceeds 128 bits; such money does not exist.
    #[error("{0} exceeds 128 bits")]
    TooLarge(&'static str),
    /// A sum exceeds 128 bits.
    #[error(transparent)]
    Sum(#[from] AmountError),
}

impl Supply {
    /// The supply after blocks that burned `burned`; nothing is held yet.
    #[must_use]
    pub fn after(burned: Amount) -> Self {
        Self { held: Amount::ZERO, burned }
    }

    /// Adds what a block burned: base fee × gas used, each the hexadecimal word of JSON-RPC.
    ///
    /// # Errors
    /// [`SupplyError::Unreadable`] naming the block and the word; [`SupplyError::TooLarge`] and
    /// [`SupplyError::Sum`] beyond 128 bits.
    pub fn burn(&mut self, block: u64, base_fee: Option<&str>, gas_used: Option<&str>) -> Result<(), SupplyError> {
        let word = |field, text: Option<&str>| text.and_then(quantity).ok_or(SupplyError::Unreadable { block, field });
        let (fee, gas) = (word("baseFeePerGas", base_fee)?, word("gasUsed", gas_used)?);
        let burned = fee.checked_mul(gas).and_then(units).ok_or(SupplyError::TooLarge("the burn of a block"))?;
        self.burned = self.burned.plus(burned)?;
        Ok(())
    }

    /// Adds the balance of one account, in base units.
    ///
    /// # Errors
    /// [`SupplyError::TooLarge`] and [`SupplyError::Sum`] beyond 128 bits.
    pub fn hold(&mut self, balance: U256) -> Result<(), SupplyError> {
        self.held = self.held.plus(units(balance).ok_or(SupplyError::TooLarge("a balance"))?)?;
        Ok(())
    }

    /// What all accounts hold.
    #[must_use]
    pub fn held(&self) -> Amount {
        self.held
    }

    /// What all blocks burned.
    #[must_use]
    pub fn burned(&self) -> Amount {
        self.burned
    }

    /// Whether held and burned make the supply of genesis.
    ///
    /// # Errors
    /// [`SupplyError::Sum`] beyond 128 bits.
    pub fn is_conserved(&self) -> Result<bool, SupplyError> {
        Ok(self.held.plus(self.burned)? == Amount::SUPPLY)
    }
}

/// The number of a hexadecimal word of JSON-RPC: `0x` and 1 to 64 digits.
fn quantity(text: &str) -> Option<U256> {
    let digits = text.strip_prefix("0x")?;
    let whole = (1..=64).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if whole { U256::from_str_radix(digits, 16).ok() } else { None }
}

fn units(units: U256) -> Option<Amount> {
    u128::try_from(units).map(Amount).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supply_is_conserved_to_the_last_unit() {
        let mut supply = Supply::after(Amount(5));
        supply.burn(7, Some("0x3b9aca00"), Some("0x5208")).unwrap();
        let burned = 5 + 1_000_000_000 * 21_000;
        assert_eq!(supply.burned(), Amount(burned));
        supply.hold(U256::from(Amount::SUPPLY.0 - burned - 1)).unwrap();
        assert_eq!(supply.is_conserved(), Ok(false));
        supply.hold(U256::from(1)).unwrap();
        assert_eq!(supply.is_conserved(), Ok(true));
        supply.hold(U256::from(1)).unwrap();
        assert_eq!(supply.is_conserved(), Ok(false));
    }

    #[test]
    fn a_block_that_cannot_be_read_is_named_and_never_counts_as_nothing() {
        let long = format!("0x{}", "0".repeat(65));
        for wrong in [None, Some(""), Some("0x"), Some("0"), Some("12"), Some("0x_1"), Some("0xg"), Some(&*long)] {
            let mut supply = Supply::default();
            let fee = supply.burn(9, wrong, Some("0x1"));
            assert_eq!(fee, Err(SupplyError::Unreadable { block: 9, field: "baseFeePerGas" }), "{wrong:?}");
            let gas = supply.burn(9, Some("0x1"), wrong);
            assert_eq!(gas, Err(SupplyError::Unreadable { block: 9, field: "gasUsed" }), "{wrong:?}");
            assert_eq!(supply, Supply::default());
        }
        let told = SupplyError::Unreadable { block: 9, field: "gasUsed" }.to_string();
        assert!(told.contains("block 9") && told.contains("`gasUsed`"), "{told}");
    }

    #[test]
    fn sums_that_do_not_fit_are_refused_and_change_nothing() {
        let mut supply = Supply::after(Amount(u128::MAX));
        let most = format!("0x{}", "f".repeat(64));
        assert!(matches!(supply.burn(1, Some(&most), Some("0x2")), Err(SupplyError::TooLarge(_))));
        assert!(matches!(supply.burn(1, Some("0x1"), Some("0x1")), Err(SupplyError::Sum(_))));
        assert!(matches!(supply.hold(U256::MAX), Err(SupplyError::TooLarge(_))));
        supply.hold(U256::from(1)).unwrap();
        assert!(matches!(supply.is_conserved(), Err(SupplyError::Sum(_))));
        assert_eq!(supply.burned(), Amount(u128::MAX));
    }
}
