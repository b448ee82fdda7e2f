//! Small sums that books and audits need, kept where arithmetic on amounts belongs.

use std::collections::BTreeMap;

use openledger_protocol::{Amount, AmountError, Entry, PayeeRole};

/// An amount from the base units of a contract or database.
#[must_use]
pub fn base_units(units: u128) -> Amount {
    Amount(units)
}

/// The lines of a split by role: their number and their sum, in the order of roles.
///
/// # Errors
/// [`AmountError::Overflow`] beyond 128 bits.
pub fn sums_by_role(lines: &[Entry]) -> Result<Vec<(PayeeRole, u32, Amount)>, AmountError> {
    let mut sums: BTreeMap<u8, (PayeeRole, u32, Amount)> = BTreeMap::new();
    for line in lines {
        let (_, count, sum) = sums.entry(line.role as u8).or_insert((line.role, 0, Amount::ZERO));
        *count += 1;
        *sum = sum.plus(line.amount)?;
    }
    Ok(sums.into_values().collect())
}

/// The sum that `Payouts` must hold: unclaimed payments, the bonds, and the parts of slashed
/// ones that wait to be swept.
///
/// # Errors
/// [`AmountError`] when more was claimed than paid in, which no contract allows.
pub fn payouts_hold(funded: Amount, claimed: Amount, stake: Amount, unswept: Amount) -> Result<Amount, AmountError> {
    funded.minus(claimed)?.plus(stake)?.plus(unswept)
}

/// A record's part of its contribution's weight in the residual pool: trained tokens times the
/// derived-record multiplier (1/65,535), rounded down.
#[must_use]
pub fn training_weight(trained_tokens: u64, multiplier: u16) -> u64 {
    let weight = u128::from(trained_tokens) * u128::from(multiplier) / u128::from(u16::MAX);
    u64::try_from(weight).unwrap_or(trained_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_derived_weighs_only_its_own_share() {
        assert_eq!(training_weight(100, u16::MAX), 100);
        assert_eq!(training_weight(100, u16::MAX / 2), 49);
        assert_eq!(training_weight(u64::MAX, u16::MAX), u64::MAX);
        assert_eq!(training_weight(100, 0), 0);
    }

    #[test]
    fn payouts_hold_what_is_unclaimed_and_the_bonds() {
        assert_eq!(payouts_hold(Amount(10), Amount(4), Amount(5), Amount(3)), Ok(Amount(14)));
        assert!(payouts_hold(Amount(1), Amount(2), Amount(9), Amount(9)).is_err());
    }
}
