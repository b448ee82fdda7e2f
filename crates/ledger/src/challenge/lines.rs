//! Lines that are not what price, shares and titles say: the split and the payees.
//!
//! The rules are those of `Verifier.splitFault` and `Verifier.payeeFault`. **Not here:** how the contributors' line is
//! divided by scores, which no proof decides.

use openledger_protocol::{Address, Amount, AmountError, Entry, Receipt, Role};

use super::published::Trees;
use super::{Known, KnownModel, PlatformLines, Refutation, entry_place};
use crate::rule::ALL_BPS;
use crate::split::{NODE_BPS, PARENTS_MOST_BPS, TREASURY_BPS, VALIDATION_BPS};

/// Adds the faults of every receipt that can be opened.
pub(super) fn faults(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) {
    for (at, filed) in trees.published.receipts.iter().enumerate() {
        let Some(filed) = filed else { continue };
        let (Some(receipt), Some(opened)) = (filed.receipt(), trees.open(at)) else { continue };
        let opened = Box::new(opened);
        let Some(model) = known.models.get(&receipt.model).filter(|model| has_model_split(&receipt, model)) else {
            found.push(Refutation::Split { receipt: opened, lines: Vec::new() });
            continue;
        };
        let mut once: Vec<(Role, usize)> = Vec::new();
        for (place, entry) in trees.published.entries.iter().enumerate() {
            let Some(entry) = entry.as_ref().filter(|entry| entry.receipt == filed.id) else { continue };
            let Some(line) = trees.entry_at(place) else { continue };
            if is_wrong(entry, &receipt, model, &known.platform) {
                found.push(Refutation::Split { receipt: opened.clone(), lines: vec![line.clone()] });
            }
            if pays_another(entry, &receipt, known) {
                found.push(Refutation::Payee { receipt: opened.clone(), line: line.clone() });
            }
            if matches!(entry.role, Role::Insurance | Role::Contributor | Role::Parent) {
                continue;
            }
            match once.iter().find(|(role, _)| *role == entry.role).and_then(|&(_, first)| trees.entry_at(first)) {
                Some(first) => {
                    let lines = vec![first, entry_place(entry, line.proof)];
                    found.push(Refutation::Split { receipt: opened.clone(), lines });
                }
                None => once.push((entry.role, place)),
            }
        }
    }
}

fn has_model_split(receipt: &Receipt, model: &KnownModel) -> bool {
    let rule = model.rule;
    (receipt.platform_bps, receipt.model_bps, receipt.stakers_bps, receipt.contributors_bps)
        == (rule.platform_bps(), rule.model_bps(), rule.stakers_bps(), rule.contributors_bps())
}

/// Whether a line has another account or amount than its role allows.
fn is_wrong(entry: &Entry, receipt: &Receipt, model: &KnownModel, platform: &PlatformLines) -> bool {
    let Ok((account, least, most)) = allowed(entry, receipt, model, platform) else { return false };
    entry.account != account || entry.amount < least || entry.amount > most
}

/// Who a line may pay, and how much at least and at most; its own account where that is no matter of the split.
fn allowed(
    entry: &Entry,
    receipt: &Receipt,
    model: &KnownModel,
    platform: &PlatformLines,
) -> Result<(Address, Amount, Amount), AmountError> {
    let part = |whole: Amount, bps: u16| whole.mul_div_down(bps.into(), ALL_BPS.into());
    let (price, rule) = (receipt.price, model.rule);
    let of_platform = part(price, rule.platform_bps())?;
    let of_model = part(price, rule.model_bps())?;
    let stakers = part(price, rule.stakers_bps())?;
    let node = part(of_model, NODE_BPS)?;
    let owner = of_model.minus(node)?;
    let exactly = |account: Address, amount: Amount| (account, amount, amount);
    Ok(match entry.role {
        Role::Treasury => exactly(platform.treasury, part(of_platform, TREASURY_BPS)?),
        Role::Validation => exactly(platform.validation, part(of_platform, VALIDATION_BPS)?),
        Role::Insurance => (platform.insurance, Amount::ZERO, price),
        Role::Node => exactly(receipt.node, node),
        Role::Stakers => exactly(model.stake_vault.unwrap_or(platform.insurance), stakers),
        Role::Owner if model.has_parent => {
            let least = owner.minus(owner.mul_div_down(PARENTS_MOST_BPS.into(), ALL_BPS.into())?)?;
            (entry.account, least, owner)
        }
        Role::Owner => exactly(entry.account, owner),
        Role::Parent => (entry.account, Amount::ZERO, if model.has_parent { owner } else { Amount::ZERO }),
        Role::Contributor => {
            let most = price.minus(of_platform)?.minus(of_model)?.minus(stakers)?;
            (entry.account, Amount::ZERO, most)
        }
    })
}

/// Whether an owner's or contributor's line pays another than the holder at the receipt's block.
fn pays_another(entry: &Entry, receipt: &Receipt, known: &Known) -> bool {
    let block = receipt.holder_block;
    let holder = match entry.role {
        Role::Contributor if !known.batches.contains_key(&entry.contribution) => return true,
        Role::Contributor => known.holders.get(&(entry.contribution, block)),
        Role::Owner => known.model_holders.get(&(receipt.model, block)),
        _ => return false,
    };
    // A block that is not there yet is not one the node can have looked up.
    block > known.block || holder.is_some_and(|&holder| holder != entry.account)
}
