//! Lines that are not what price, shares and titles say, or not those that the receipt binds.
//!
//! The rules are those of `Verifier.splitFault`, `Verifier.payeeFault` and `Verifier.linesFault`.
//! **Not here:** how the contributors' line is divided by scores before the node signs it, which no
//! proof decides.

use openledger_protocol::{Address, Amount, AmountError, Entry, Params, PayeeRole, Receipt, lines_tree};

use super::published::Trees;
use super::{Known, KnownModel, KnownParams, PlatformLines, Refutation, WrongLines, entry_place};
use crate::proof::EntryPlace;
use crate::rule::ALL_BPS;

/// Adds the faults of every receipt that can be opened.
pub(super) fn faults(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) {
    for (at, filed) in trees.published.receipts.iter().enumerate() {
        let Some(filed) = filed else { continue };
        let (Some(receipt), Some(opened)) = (filed.receipt(), trees.open(at)) else { continue };
        let opened = Box::new(opened);
        let model = known.models.get(&receipt.model).filter(|model| has_model_split(&receipt, model));
        let params = known.params.get(&receipt.params).filter(|known| known.usable_at(receipt.time));
        let (Some(model), Some(KnownParams { params, .. })) = (model, params) else {
            found.push(Refutation::Split { receipt: opened, lines: Vec::new() });
            continue;
        };
        let mut once: Vec<(PayeeRole, usize)> = Vec::new();
        for (place, entry) in trees.published.entries.iter().enumerate() {
            let Some(entry) = entry.as_ref().filter(|entry| entry.receipt == filed.id) else { continue };
            let Some(line) = trees.entry_at(place) else { continue };
            if is_wrong(entry, &receipt, (model, params), &known.platform) {
                found.push(Refutation::Split { receipt: opened.clone(), lines: vec![line.clone()] });
            }
            if pays_another(entry, &receipt, known) {
                found.push(Refutation::Payee { receipt: opened.clone(), line: line.clone() });
            }
            if matches!(entry.role, PayeeRole::Insurance | PayeeRole::Contributor | PayeeRole::Parent) {
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

/// Adds, for receipts whose lines are known, the lines of the epoch that are others, and lines that
/// miss the price.
pub(super) fn bound(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) -> Result<(), AmountError> {
    for (at, filed) in trees.published.receipts.iter().enumerate() {
        let Some(filed) = filed else { continue };
        let (Some(receipt), Some(opened)) = (filed.receipt(), trees.open(at)) else { continue };
        let (Some(answered), Some(note)) = (known.answers.get(&filed.struct_hash()), known.note_of(filed)) else {
            continue;
        };
        let tree = lines_tree(&answered.entries)?;
        // Lines of another root prove nothing about the signed one.
        if tree.root().hash != note.as_ref().map_or(receipt.lines, |note| note.lines) {
            continue;
        }
        let mut refute = |wrong| {
            let (receipt, note) = (Box::new(opened.clone()), note.clone().map(Box::new));
            found.push(Refutation::Lines { receipt, note, wrong });
        };
        if tree.root().sum != receipt.price {
            refute(WrongLines::Sum(tree.top()));
        }
        for (place, entry) in trees.published.entries.iter().enumerate() {
            let Some(entry) = entry.as_ref().filter(|entry| entry.receipt == filed.id) else { continue };
            let bound = usize::try_from(entry.line).ok().and_then(|line| answered.entries.get(line));
            if bound == Some(entry) {
                continue;
            }
            let number = u64::from(entry.line);
            // Beyond the padded tree its first place shows how deep it is.
            let Some(proof) = tree.prove(number).or_else(|| tree.prove(0)) else { continue };
            let shown = usize::try_from(proof.index).ok().and_then(|index| answered.entries.get(index));
            if let Some(line) = trees.entry_at(place) {
                refute(WrongLines::Line(Box::new([line, EntryPlace { entry: shown.cloned(), proof }])));
            }
        }
    }
    Ok(())
}

fn has_model_split(receipt: &Receipt, model: &KnownModel) -> bool {
    let rule = model.rule;
    (receipt.platform_bps, receipt.model_bps, receipt.stakers_bps, receipt.contributors_bps)
        == (rule.platform_bps(), rule.model_bps(), rule.stakers_bps(), rule.contributors_bps())
}

/// Whether a line has another account or amount than its role allows.
fn is_wrong(entry: &Entry, receipt: &Receipt, rules: (&KnownModel, &Params), platform: &PlatformLines) -> bool {
    let Ok((account, least, most)) = allowed(entry, receipt, rules, platform) else { return false };
    entry.account != account || entry.amount < least || entry.amount > most
}

/// The account that a line may pay, with the least and the most amount; its own account where that
/// is no matter of the split.
fn allowed(
    entry: &Entry,
    receipt: &Receipt,
    (model, params): (&KnownModel, &Params),
    platform: &PlatformLines,
) -> Result<(Address, Amount, Amount), AmountError> {
    let part = |whole: Amount, bps: u16| whole.mul_div_down(bps.into(), ALL_BPS.into());
    let (price, rule) = (receipt.price, model.rule);
    let of_platform = part(price, rule.platform_bps())?;
    let of_model = part(price, rule.model_bps())?;
    let stakers = part(price, rule.stakers_bps())?;
    let node = part(of_model, params.node_bps)?;
    let owner = of_model.minus(node)?;
    let exactly = |account: Address, amount: Amount| (account, amount, amount);
    Ok(match entry.role {
        PayeeRole::Treasury => exactly(platform.treasury, part(of_platform, params.treasury_bps)?),
        PayeeRole::Validation => exactly(platform.validation, part(of_platform, params.validation_bps)?),
        PayeeRole::Insurance => (platform.insurance, Amount::ZERO, price),
        PayeeRole::Node => exactly(receipt.node, node),
        PayeeRole::Stakers => exactly(model.stake_vault.unwrap_or(platform.insurance), stakers),
        PayeeRole::Owner if model.has_parent => {
            let least = owner.minus(owner.mul_div_down(params.max_parents_bps.into(), ALL_BPS.into())?)?;
            (entry.account, least, owner)
        }
        PayeeRole::Owner => exactly(entry.account, owner),
        PayeeRole::Parent => (entry.account, Amount::ZERO, if model.has_parent { owner } else { Amount::ZERO }),
        PayeeRole::Contributor => {
            let most = price.minus(of_platform)?.minus(of_model)?.minus(stakers)?;
            (entry.account, Amount::ZERO, most)
        }
    })
}

/// Whether an owner's or contributor's line pays another than the holder at the receipt's block.
fn pays_another(entry: &Entry, receipt: &Receipt, known: &Known) -> bool {
    let block = receipt.holder_block;
    let holder = match entry.role {
        PayeeRole::Contributor if !known.batches.contains_key(&entry.contribution) => return true,
        PayeeRole::Contributor => known.holders.get(&(entry.contribution, block)),
        PayeeRole::Owner => known.model_holders.get(&(receipt.model, block)),
        _ => return false,
    };
    // A block that is not there yet is not one the node can have looked up.
    block > known.block || holder.is_some_and(|&holder| holder != entry.account)
}
