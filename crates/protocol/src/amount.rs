//! Amounts of OPEN: u128 base units (10⁻¹⁸), checked methods, no operators, no floats.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use alloy_primitives::U256;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of OPEN in base units (1 OPEN = 10¹⁸ units). In JSON a decimal string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Amount(pub u128);

/// The reason why an amount could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmountError {
    /// The sum or product does not fit; such money does not exist.
    #[error("amount overflow: {0}")]
    Overflow(&'static str),
    /// More was taken than is there.
    #[error("cannot take {take} from {have} base units")]
    Short {
        /// The amount that is there.
        have: u128,
        /// The amount that was to be taken.
        take: u128,
    },
    /// The text is not a decimal number of OPEN or base units.
    #[error("`{0}` is not an amount: write e.g. `1.5 OPEN`, or `1500 base` for base units (10^-18 OPEN)")]
    Malformed(String),
    /// The text is a number without its unit.
    #[error("`{0}` has no unit: write `{0} OPEN`, or `{0} base` for base units (10^-18 OPEN)")]
    NoUnit(String),
}

impl Amount {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// One OPEN.
    pub const OPEN: Self = Self(1_000_000_000_000_000_000);
    /// All OPEN there will ever be: 10⁹ OPEN = 10²⁷ base units.
    pub const SUPPLY: Self = Self(1_000_000_000_000_000_000_000_000_000);

    /// `whole` OPEN.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] beyond 128 bits.
    pub fn open(whole: u64) -> Result<Self, AmountError> {
        u128::from(whole).checked_mul(Self::OPEN.0).map(Self).ok_or(AmountError::Overflow("whole OPEN"))
    }

    /// The sum of two amounts.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] beyond 128 bits.
    pub fn plus(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_add(other.0).map(Self).ok_or(AmountError::Overflow("sum"))
    }

    /// The rest of `self` after `other` is taken.
    ///
    /// # Errors
    /// [`AmountError::Short`] when `other` is more than there is.
    pub fn minus(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_sub(other.0).map(Self).ok_or(AmountError::Short { have: self.0, take: other.0 })
    }

    /// The sum of many amounts.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] beyond 128 bits.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, AmountError> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }

    /// `self · numerator / denominator`, rounded **down**, by a 256-bit intermediate.
    ///
    /// # Errors
    /// [`AmountError::Overflow`] when the denominator is zero or the result exceeds 128 bits.
    pub fn mul_div_down(self, numerator: u128, denominator: u128) -> Result<Self, AmountError> {
        if denominator == 0 {
            return Err(AmountError::Overflow("division by zero"));
        }
        let wide = U256::from(self.0) * U256::from(numerator) / U256::from(denominator);
        u128::try_from(wide).map(Self).map_err(|_| AmountError::Overflow("product"))
    }

    /// `self · numerator / denominator`, rounded **up**.
    ///
    /// # Errors
    /// As [`Amount::mul_div_down`].
    pub fn mul_div_up(self, numerator: u128, denominator: u128) -> Result<Self, AmountError> {
        if denominator == 0 {
            return Err(AmountError::Overflow("division by zero"));
        }
        let d = U256::from(denominator);
        let wide = (U256::from(self.0) * U256::from(numerator) + d - U256::from(1)) / d;
        u128::try_from(wide).map(Self).map_err(|_| AmountError::Overflow("product"))
    }

    /// The 16 bytes that databases keep, big-endian, so that byte order is number order.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Back from [`Amount::to_be_bytes`].
    #[must_use]
    pub fn from_be_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

/// Decimal OPEN with as many places as needed: `0.0125 OPEN`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / Self::OPEN.0, self.0 % Self::OPEN.0);
        if part == 0 {
            write!(f, "{whole} OPEN")
        } else {
            let digits = format!("{part:018}");
            write!(f, "{whole}.{} OPEN", digits.trim_end_matches('0'))
        }
    }
}

/// A number and its unit: `OPEN` for whole coins with up to 18 decimals, `base` for base units.
/// A number alone is refused, since its writer may mean either, and one is 10^18 times the other.
impl FromStr for Amount {
    type Err = AmountError;
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let bad = || AmountError::Malformed(text.to_owned());
        let digits = |s: &str| -> Result<u128, AmountError> {
            if !s.bytes().all(|b| b.is_ascii_digit()) || s.is_empty() {
                Err(bad())
            } else {
                s.parse().map_err(|_| bad())
            }
        };
        let trimmed = text.trim();
        if let Some(units) = trimmed.strip_suffix("base") {
            return digits(units.trim()).map(Self);
        }
        let Some(open) = trimmed.strip_suffix("OPEN") else {
            let number = !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit());
            return Err(if number { AmountError::NoUnit(trimmed.to_owned()) } else { bad() });
        };
        let open = open.trim();
        let (whole, part) = open.split_once('.').unwrap_or((open, ""));
        if part.len() > 18 {
            return Err(bad());
        }
        let part = if part.is_empty() { 0 } else { digits(&format!("{part:0<18}"))? };
        Self(digits(whole)?.checked_mul(Self::OPEN.0).ok_or_else(bad)?).plus(Self(part))
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An amount of OPEN in base units (10^-18 OPEN), as a decimal string.",
            "type": "string",
            "pattern": "^[0-9]{1,39}$",
            "examples": ["12500000000000000"],
        })
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(serde::de::Error::custom(format!("`{text}` is not a decimal string of base units")));
        }
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_and_parse_as_open() {
        for (text, units) in
            [("1 OPEN", Amount::OPEN.0), ("0.000000000000000001 OPEN", 1), ("12.5 OPEN", 12_500_000_000_000_000_000)]
        {
            assert_eq!(text.parse::<Amount>().unwrap().0, units);
            assert_eq!(Amount(units).to_string(), text);
        }
        assert_eq!("77 base".parse::<Amount>().unwrap(), Amount(77));
        for bad in [
            "",
            "-1 OPEN",
            "1.2",
            "1.2 base",
            "base",
            "1.0000000000000000001 OPEN",
            "one OPEN",
            "340282366920938463463374607431768211456 base",
        ] {
            assert_eq!(bad.parse::<Amount>(), Err(AmountError::Malformed(bad.to_owned())));
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_and_both_units_are_named() {
        let refused = "5".parse::<Amount>().unwrap_err().to_string();
        assert!(refused.contains("`5 OPEN`") && refused.contains("`5 base`"), "{refused}");
    }

    #[test]
    fn json_amounts_are_decimal_strings_and_nothing_else() {
        assert_eq!(serde_json::to_string(&Amount(u128::MAX)).unwrap(), format!("\"{}\"", u128::MAX));
        assert!(serde_json::from_str::<Amount>("5").is_err());
        assert!(serde_json::from_str::<Amount>("\"+5\"").is_err());
    }

    #[test]
    fn rounding_is_named_and_overflow_is_refused() {
        assert_eq!(Amount(10).mul_div_down(1, 3).unwrap(), Amount(3));
        assert_eq!(Amount(10).mul_div_up(1, 3).unwrap(), Amount(4));
        assert_eq!(Amount(u128::MAX).mul_div_down(u128::MAX, u128::MAX).unwrap(), Amount(u128::MAX));
        assert!(Amount(u128::MAX).mul_div_down(2, 1).is_err());
        assert!(Amount(1).mul_div_down(1, 0).is_err());
        assert!(Amount(u128::MAX).plus(Amount(1)).is_err());
        assert_eq!(Amount(1).minus(Amount(2)), Err(AmountError::Short { have: 1, take: 2 }));
    }
}
