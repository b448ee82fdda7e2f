//! The price of an answer: tokens times the model's prices, rounded up, plus its flat royalty.
//!
//! First step of settling; [`crate::split()`] takes its result. **Invariant:** a price never falls
//! when a count grows. **Not here:** who sets prices (`Models` on chain), whether the payer can pay
//! (`Channels`).

use openledger_protocol::{Amount, AmountError, PriceList};

/// Tokens that a unit price is for.
const TOKENS_A_UNIT: u128 = 1000;

/// `⌈in · per_1k_in / 1000⌉ + ⌈out · per_1k_out / 1000⌉ + royalty_flat`.
///
/// - **Units:** base units of OPEN, tokens. **Rounding:** up, once for each kind of token.
///
/// # Errors
/// [`AmountError::Overflow`] when the price exceeds 128 bits.
pub fn price(tokens_in: u32, tokens_out: u32, prices: &PriceList) -> Result<Amount, AmountError> {
    let read = prices.per_1k_in.mul_div_up(tokens_in.into(), TOKENS_A_UNIT)?;
    let written = prices.per_1k_out.mul_div_up(tokens_out.into(), TOKENS_A_UNIT)?;
    read.plus(written)?.plus(prices.royalty_flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(per_1k_in: u128, per_1k_out: u128, royalty_flat: u128) -> PriceList {
        PriceList { per_1k_in: Amount(per_1k_in), per_1k_out: Amount(per_1k_out), royalty_flat: Amount(royalty_flat) }
    }

    #[test]
    fn each_kind_of_token_is_rounded_up_on_its_own() {
        assert_eq!(price(1, 1, &list(1, 1, 0)), Ok(Amount(2)));
        assert_eq!(price(1000, 2000, &list(3, 5, 7)), Ok(Amount(3 + 10 + 7)));
        assert_eq!(price(0, 0, &list(9, 9, 4)), Ok(Amount(4)));
        assert_eq!(price(1001, 0, &list(1000, 0, 0)), Ok(Amount(1001)));
    }

    #[test]
    fn a_price_beyond_128_bits_is_refused() {
        assert!(price(u32::MAX, 0, &list(u128::MAX, 0, 0)).is_err());
        assert!(price(1000, 0, &list(u128::MAX, 0, 1)).is_err());
    }
}
