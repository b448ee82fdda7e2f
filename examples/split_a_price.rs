//! Splits the price of one answer among parties and two contributors, and prints each line.
//!
//! ```sh
//! cargo run -p openledger-ledger --example split_a_price
//! ```
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::error::Error;

use openledger_ledger::{Parties, Rules, SplitRule, split};
use openledger_protocol::{
    Address, Amount, B256, ContributionId, Coverage, Credits, DatanetId, Entry, Layer, Params, ReceiptId, RecordRef,
    Score,
};

/// The lines of an answer that cost one OPEN: its spans are of one record, its training of two.
pub(crate) fn lines() -> Result<Vec<Entry>, Box<dyn Error>> {
    let [salt, yeast] = [1, 2].map(|byte| ContributionId(B256::repeat_byte(byte)));
    let record = |contribution| RecordRef { contribution, index: 0 };
    let score = |layer, of, score| Score { layer, datanet: DatanetId(1), record: record(of), score };
    let credits = Credits {
        scores: vec![score(Layer::Spans, salt, 30_000), score(Layer::Rest, salt, 1), score(Layer::Rest, yeast, 3)],
        // Of the pot of spans 60 % are covered; the rest follows the weights of training.
        coverage: Coverage { spans: 600_000, ..Coverage::default() },
        ..Credits::default()
    };
    let [salt_holder, yeast_holder, owner, node] = [0xa1, 0xa2, 0xb1, 0xb2].map(Address::repeat_byte);
    let holders = BTreeMap::from([(salt, salt_holder), (yeast, yeast_holder)]);
    let parties = Parties { owner, node, ..Parties::default() };
    let rules = Rules { shares: SplitRule::default(), mix: Params::GENESIS.mixes[0], params: &Params::GENESIS };
    Ok(split(ReceiptId(B256::ZERO), Amount::open(1)?, &rules, &credits, &holders, &parties)?)
}

#[allow(dead_code)] // The test that runs this file calls `lines`.
fn main() -> Result<(), Box<dyn Error>> {
    for line in lines()? {
        println!("{:<12} {}  {}", format!("{:?}", line.role), line.account, line.amount);
    }
    Ok(())
}
