//! Splits a receipt's price into entries.
//!
//! The heart of settling: `node` gives price, rule, credits and who holds what; the lines go into
//! the epoch.
//!
//! # Invariants
//!
//! - **Conservation.** Entries sum to the price, to the last unit; checked at run time before
//!   anything is returned.
//! - **Split-proof.** Each payee's part is rounded down once a layer, over all it holds, so that
//!   spreading contributions over identities never gains; what rounding leaves goes to insurance.
//! - **Order-free.** Scores in any order give the same lines.
//!
//! **Not here:** who deserves credit (`attribution`), prices ([`crate::price()`]). Parts are rounded
//! down per beneficiary, because largest remainders would reward a holder that splits itself.

use std::collections::BTreeMap;

use openledger_protocol::Address;
use openledger_protocol::{
    Amount, AmountError, ContributionId, Coverage, Credits, Entry, Layer, Mix, Params, Parties, PayeeRole, ReceiptId,
};

use crate::rule::{ALL_BPS, SplitRule};

/// The most that one parent gets of the owner's line; no vote can raise it.
const PARENT_MOST_BPS: u16 = 2000;

const LIVE_LAYERS: [Layer; 3] = [Layer::Spans, Layer::Influence, Layer::Retrieval];

/// The reason why a price was not split; nothing is paid then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// The mix of pots does not sum to 10,000 basis points; the manifest must declare one that
    /// does.
    #[error("the mix of pots sums to {sum} bps, not 10000")]
    Mix {
        /// Its sum.
        sum: u32,
    },
    /// A coverage is above one; attribution must give millionths.
    #[error("coverage of {layer:?} is {lambda} millionths, above 1000000")]
    Coverage {
        /// The layer.
        layer: Layer,
        /// Its λ.
        lambda: u32,
    },
    /// A parent, or all parents together, would get too much of the owner's line.
    #[error("parents may get {most} bps of the owner's line, not {bps}")]
    Parents {
        /// The share that is too large.
        bps: u32,
        /// The most allowed: of one parent, or of all together.
        most: u16,
    },
    /// The lines do not sum to the price; a fault of this code, so nothing may be paid.
    #[error("lines sum to {lines} base units, the price is {price}")]
    Unbalanced {
        /// The sum of the lines.
        lines: u128,
        /// The price.
        price: u128,
    },
    /// There are more lines than a line number can count.
    #[error("more lines than 32 bits can number")]
    TooManyLines,
    /// An amount left 128 bits.
    #[error(transparent)]
    Amount(#[from] AmountError),
}

/// The rules that a price is split by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules<'a> {
    /// The model's shares.
    pub shares: SplitRule,
    /// The model's mix of pots.
    pub mix: Mix,
    /// The governed numbers.
    pub params: &'a Params,
}

/// One payee's scores: by contribution, by layer (indexed by `Layer as usize`).
type Holding = BTreeMap<ContributionId, [u128; 4]>;

/// The amount to divide in each layer, and the sum of the scores.
#[derive(Clone, Copy, Default)]
struct Pots {
    amount: [Amount; 4],
    score: [u128; 4],
}

impl Pots {
    /// Cuts the contributors' line into the live part of each layer and the rest.
    ///
    /// A layer without a score pays nothing live: its pot joins the rest, as does what λ
    /// leaves uncovered.
    fn new(contributors: Amount, mix: &Mix, coverage: &Coverage, score: [u128; 4]) -> Result<Self, SplitError> {
        let shares = [mix.spans_bps, mix.influence_bps, mix.retrieval_bps];
        let sum = mix.sum();
        if sum != u32::from(ALL_BPS) {
            return Err(SplitError::Mix { sum });
        }
        let mut pots = Self { score, ..Self::default() };
        let mut rest = contributors;
        for (layer, bps) in LIVE_LAYERS.into_iter().zip(shares) {
            let lambda = coverage.of(layer);
            if lambda > Coverage::FULL {
                return Err(SplitError::Coverage { layer, lambda });
            }
            if score[layer as usize] > 0 {
                let pot = contributors.mul_div_down(bps.into(), ALL_BPS.into())?;
                let live = pot.mul_div_down(lambda.into(), Coverage::FULL.into())?;
                pots.amount[layer as usize] = live;
                rest = rest.minus(live)?;
            }
        }
        pots.amount[Layer::Rest as usize] = rest;
        Ok(pots)
    }

    /// The earnings of `score`, rounded down once a layer.
    fn earned(&self, score: &[u128; 4]) -> Result<Amount, AmountError> {
        let mut earned = Amount::ZERO;
        for (layer, &part) in score.iter().enumerate() {
            if part > 0 {
                earned = earned.plus(self.amount[layer].mul_div_down(part, self.score[layer])?)?;
            }
        }
        Ok(earned)
    }
}

/// Lines by what they are for, so that equal ones merge and order does not matter.
#[derive(Default)]
struct Lines(BTreeMap<(PayeeRole, Address, ContributionId), Amount>);

impl Lines {
    fn pay(
        &mut self,
        role: PayeeRole,
        account: Address,
        of: ContributionId,
        amount: Amount,
    ) -> Result<(), AmountError> {
        let line = self.0.entry((role, account, of)).or_default();
        *line = line.plus(amount)?;
        Ok(())
    }

    fn pay_role(&mut self, role: PayeeRole, account: Address, amount: Amount) -> Result<(), AmountError> {
        self.pay(role, account, Entry::NO_CONTRIBUTION, amount)
    }

    /// Numbers the lines that are not zero, in order of (role, account, contribution), and checks
    /// their sum.
    fn finish(self, receipt: ReceiptId, price: Amount) -> Result<Vec<Entry>, SplitError> {
        let lines = Amount::sum(self.0.values().copied())?;
        if lines != price {
            return Err(SplitError::Unbalanced { lines: lines.0, price: price.0 });
        }
        let paid = self.0.into_iter().filter(|(_, amount)| *amount > Amount::ZERO);
        paid.enumerate()
            .map(|(line, ((role, account, contribution), amount))| {
                let line = u32::try_from(line).map_err(|_| SplitError::TooManyLines)?;
                Ok(Entry { receipt, line, role, account, contribution, amount })
            })
            .collect()
    }
}

/// Splits `price` into entries by `rules`, the `credits` of the answer and who holds what.
///
/// - **Units:** base units of OPEN. **Rounding:** platform, model and stakers down; contributors
///   get the exact residual, of which each payee's part is rounded down once a layer; what the
///   model's halves leave goes to the owner, everything else that rounding leaves, and the part of
///   contributions without a holder, to insurance.
/// - **Lines:** numbered by (role, account, contribution), none zero. A payee's total stands in one
///   line for each of its contributions, the remainder in the first by id.
/// - `holders` may name contributions without a score; they earn nothing. **Cost:** `O(n log n)` in
///   the scores.
///
/// # Errors
/// [`SplitError`]: a mix, coverage or parent share out of bounds. [`SplitError::Unbalanced`] never
/// for code that is right.
pub fn split(
    receipt: ReceiptId,
    price: Amount,
    rules: &Rules<'_>,
    credits: &Credits,
    holders: &BTreeMap<ContributionId, Address>,
    parties: &Parties,
) -> Result<Vec<Entry>, SplitError> {
    let Rules { shares: rule, mix, params } = rules;
    let part = |whole: Amount, bps: u16| whole.mul_div_down(bps.into(), ALL_BPS.into());
    let (platform, model) = (part(price, rule.platform_bps())?, part(price, rule.model_bps())?);
    let stakers = part(price, rule.stakers_bps())?;
    let contributors = price.minus(platform)?.minus(model)?.minus(stakers)?;
    let mut lines = Lines::default();

    let (treasury, validation) = (part(platform, params.treasury_bps)?, part(platform, params.validation_bps)?);
    lines.pay_role(PayeeRole::Treasury, parties.treasury, treasury)?;
    lines.pay_role(PayeeRole::Validation, parties.validation, validation)?;
    lines.pay_role(PayeeRole::Insurance, parties.insurance, platform.minus(treasury)?.minus(validation)?)?;

    let node = part(model, params.node_bps)?;
    lines.pay_role(PayeeRole::Node, parties.node, node)?;
    pay_owner_and_parents(&mut lines, model.minus(node)?, parties, params.max_parents_bps)?;

    match parties.stakers {
        Some(vault) => lines.pay_role(PayeeRole::Stakers, vault, stakers)?,
        None => lines.pay_role(PayeeRole::Insurance, parties.insurance, stakers)?,
    }

    let paid = pay_contributors(&mut lines, contributors, mix, credits, holders)?;
    lines.pay_role(PayeeRole::Insurance, parties.insurance, contributors.minus(paid)?)?;
    lines.finish(receipt, price)
}

/// Pays parents their parts of the owner's line, each rounded down, and the owner what they leave.
fn pay_owner_and_parents(
    lines: &mut Lines,
    owners_line: Amount,
    parties: &Parties,
    parents_most: u16,
) -> Result<(), SplitError> {
    let mut all = 0u32;
    let mut owner = owners_line;
    for &(account, bps) in &parties.parents {
        all = all.saturating_add(bps.into());
        if bps > PARENT_MOST_BPS {
            return Err(SplitError::Parents { bps: bps.into(), most: PARENT_MOST_BPS });
        }
        if all > parents_most.into() {
            return Err(SplitError::Parents { bps: all, most: parents_most });
        }
        let amount = owners_line.mul_div_down(bps.into(), ALL_BPS.into())?;
        owner = owner.minus(amount)?;
        lines.pay_role(PayeeRole::Parent, account, amount)?;
    }
    Ok(lines.pay_role(PayeeRole::Owner, parties.owner, owner)?)
}

/// Pays every payee of the contributors' line; returns what was paid, the rest being dust and
/// unowned.
fn pay_contributors(
    lines: &mut Lines,
    contributors: Amount,
    mix: &Mix,
    credits: &Credits,
    holders: &BTreeMap<ContributionId, Address>,
) -> Result<Amount, SplitError> {
    // Sums of u64 scores fit u128 for any list that fits a memory.
    let mut score = [0u128; 4];
    let mut payees: BTreeMap<Address, Holding> = BTreeMap::new();
    for line in credits.scores.iter().filter(|line| line.score > 0) {
        score[line.layer as usize] += u128::from(line.score);
        if let Some(&payee) = holders.get(&line.contribution()) {
            let holding = payees.entry(payee).or_default();
            holding.entry(line.contribution()).or_default()[line.layer as usize] += u128::from(line.score);
        }
    }
    let pots = Pots::new(contributors, mix, &credits.coverage, score)?;
    let mut paid = Amount::ZERO;
    for (payee, holding) in payees {
        let mut all = [0u128; 4];
        for part in holding.values() {
            all.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        let total = pots.earned(&all)?;
        paid = paid.plus(total)?;
        let mut left = total;
        for (&contribution, part) in &holding {
            let amount = pots.earned(part)?;
            left = left.minus(amount)?;
            lines.pay(PayeeRole::Contributor, payee, contribution, amount)?;
        }
        // Floors of parts never exceed the floor of their sum; what they leave stands in the first
        // line.
        if let Some(&first) = holding.keys().next() {
            lines.pay(PayeeRole::Contributor, payee, first, left)?;
        }
    }
    Ok(paid)
}
