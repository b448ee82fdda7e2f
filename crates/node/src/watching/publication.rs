//! Publications as the API carries them, and as the rules of `ledger` read them.

use openledger_api::{EpochPublication, FiledReceipt, PayoutLeaf};
use openledger_ledger::challenge::{Filed, Published};
use openledger_protocol::{Payout, ReceiptBundle, ReceiptWords};

use crate::error::{Blame, NodeError, Result};

/// The format that this version writes.
const FORMAT: &str = "openledger/publication/v2";

/// A publication of these leaves and answers.
pub(super) fn of(leaves: Published, answers: Vec<ReceiptBundle>) -> EpochPublication {
    let filed = |filed: Filed| FiledReceipt {
        id: filed.id,
        words: filed.words.to_vec(),
        signature: filed.signature,
        note_hash: filed.note_hash,
        price: filed.price,
    };
    let payout = |payout: Payout| PayoutLeaf { account: payout.account, cumulative: payout.cumulative };
    EpochPublication {
        format: FORMAT.to_owned(),
        domain: leaves.domain,
        header: leaves.header,
        receipts: leaves.receipts.into_iter().map(|leaf| leaf.map(filed)).collect(),
        entries: leaves.entries,
        payouts: leaves.payouts.into_iter().map(|leaf| leaf.map(payout)).collect(),
        answers,
    }
}

/// The leaves of a publication.
///
/// # Errors
/// `bad-publication` for another format, or a receipt with another number of words.
pub(super) fn leaves(publication: &EpochPublication) -> Result<Published> {
    let bad = |detail: String| NodeError::refused(Blame::Data, "bad-publication", detail);
    if publication.format != FORMAT {
        return Err(bad(format!("the format is `{}`, expected `{FORMAT}`", publication.format)));
    }
    let filed = |filed: &FiledReceipt| -> Result<Filed> {
        let words: ReceiptWords = filed
            .words
            .as_slice()
            .try_into()
            .map_err(|_| bad(format!("receipt {} has {} words", filed.id, filed.words.len())))?;
        Ok(Filed {
            id: filed.id,
            words,
            signature: filed.signature.clone(),
            note_hash: filed.note_hash,
            price: filed.price,
        })
    };
    let receipts = publication.receipts.iter().map(|leaf| leaf.as_ref().map(filed).transpose());
    let payout = |leaf: &PayoutLeaf| Payout { account: leaf.account, cumulative: leaf.cumulative };
    Ok(Published {
        domain: publication.domain,
        header: publication.header.clone(),
        receipts: receipts.collect::<Result<_>>()?,
        entries: publication.entries.clone(),
        payouts: publication.payouts.iter().map(|leaf| leaf.as_ref().map(payout)).collect(),
    })
}
