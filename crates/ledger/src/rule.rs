//! The split rule: which share of a price goes where, within the bounds that governance cannot
//! leave.
//!
//! `Models` holds a new model to the narrower bounds of [`openledger_protocol::Params`] as well. A
//! [`SplitRule`] that exists is valid; receipts carry its four numbers. **Not here:** amounts
//! ([`crate::split()`]).

use openledger_protocol::Receipt;

/// All of something, in basis points.
pub const ALL_BPS: u16 = 10_000;

/// The reason why shares are not a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A share is outside its bounds; choose one inside.
    #[error("{share} share of {bps} bps is outside {least}..={most}")]
    OutOfBounds {
        /// Whose share.
        share: &'static str,
        /// The requested share.
        bps: u16,
        /// The least allowed.
        least: u16,
        /// The most allowed.
        most: u16,
    },
    /// The other shares leave contributors too little; lower one of them.
    #[error("contributors would be left {left} bps, at least {least} are theirs")]
    ContributorsTooLittle {
        /// The share that would be left.
        left: u16,
        /// The least allowed.
        least: u16,
    },
}

/// The shares of a price in basis points; contributors get what the others leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SplitRule {
    platform_bps: u16,
    model_bps: u16,
    stakers_bps: u16,
}

impl SplitRule {
    /// The platform's bounds.
    pub const PLATFORM: (u16, u16) = (0, 2000);
    /// The model's bounds.
    pub const MODEL: (u16, u16) = (1000, 4000);
    /// The stakers' bounds.
    pub const STAKERS: (u16, u16) = (0, 3000);
    /// The least that contributors are left.
    pub const CONTRIBUTORS_LEAST: u16 = 3000;

    /// The rule with these shares, within the bounds above.
    ///
    /// # Errors
    /// [`RuleError`] naming the share that is out of bounds.
    pub fn new(platform_bps: u16, model_bps: u16, stakers_bps: u16) -> Result<Self, RuleError> {
        for (share, bps, (least, most)) in [
            ("platform", platform_bps, Self::PLATFORM),
            ("model", model_bps, Self::MODEL),
            ("stakers", stakers_bps, Self::STAKERS),
        ] {
            if !(least..=most).contains(&bps) {
                return Err(RuleError::OutOfBounds { share, bps, least, most });
            }
        }
        // The bounds above sum to 9,000, so this cannot wrap.
        let left = ALL_BPS - platform_bps - model_bps - stakers_bps;
        if left < Self::CONTRIBUTORS_LEAST {
            return Err(RuleError::ContributorsTooLittle { left, least: Self::CONTRIBUTORS_LEAST });
        }
        Ok(Self { platform_bps, model_bps, stakers_bps })
    }

    /// The rule that a receipt was priced under.
    ///
    /// # Errors
    /// [`RuleError`] when its shares are out of bounds.
    pub fn of(receipt: &Receipt) -> Result<Self, RuleError> {
        Self::new(receipt.platform_bps, receipt.model_bps, receipt.stakers_bps)
    }

    /// The platform's share.
    #[must_use]
    pub fn platform_bps(&self) -> u16 {
        self.platform_bps
    }

    /// The model's share: owner and node.
    #[must_use]
    pub fn model_bps(&self) -> u16 {
        self.model_bps
    }

    /// The stakers' share.
    #[must_use]
    pub fn stakers_bps(&self) -> u16 {
        self.stakers_bps
    }

    /// The contributors' share: what the others leave.
    #[must_use]
    pub fn contributors_bps(&self) -> u16 {
        ALL_BPS - self.platform_bps - self.model_bps - self.stakers_bps
    }
}

/// 10 % platform, 20 % model, 20 % stakers, 50 % contributors.
impl Default for SplitRule {
    fn default() -> Self {
        Self { platform_bps: 1000, model_bps: 2000, stakers_bps: 2000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_within_bounds_leave_contributors_the_rest() {
        assert_eq!(SplitRule::new(1000, 2000, 2000), Ok(SplitRule::default()));
        assert_eq!(SplitRule::default().contributors_bps(), 5000);
        assert_eq!(SplitRule::new(0, 1000, 0).map(|rule| rule.contributors_bps()), Ok(9000));
        assert_eq!(SplitRule::new(2000, 4000, 1000).map(|rule| rule.contributors_bps()), Ok(3000));
    }

    #[test]
    fn a_share_out_of_bounds_is_named() {
        for (shares, name) in [
            ((2001, 2000, 0), "platform"),
            ((0, 999, 0), "model"),
            ((0, 4001, 0), "model"),
            ((0, 1000, 3001), "stakers"),
        ] {
            match SplitRule::new(shares.0, shares.1, shares.2) {
                Err(RuleError::OutOfBounds { share, .. }) => assert_eq!(share, name),
                other => panic!("{shares:?}: {other:?}"),
            }
        }
        assert_eq!(SplitRule::new(2000, 4000, 1001), Err(RuleError::ContributorsTooLittle { left: 2999, least: 3000 }));
    }
}
