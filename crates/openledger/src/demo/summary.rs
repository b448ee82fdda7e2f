//! What came out of a demonstration, for machines, and whether its promises were kept.

use std::collections::BTreeMap;

use openledger_api::{HeldOutLoss, Network};
use openledger_ledger::ExportedEpoch;
use openledger_protocol::{Address, Amount, B256, Coverage, EpochHeader, ReceiptBundle, ReceiptId};
use serde::Serialize;
use serde_json::{Value, json};

use super::driver::Driver;

/// Of ten probes, how many must find their record.
const FOUND_OF_TEN: usize = 7;

/// An answer of the run.
#[derive(Serialize)]
struct DemoReceipt {
    id: ReceiptId,
    struct_hash: B256,
    price: Amount,
    text: String,
    coverage: Coverage,
}

/// A settled epoch of the run.
#[derive(Serialize)]
struct Epoch {
    header: EpochHeader,
    hash: B256,
}

/// What came out. Everything but times and kills follows from input and seed.
#[derive(Default)]
pub(crate) struct Summary {
    seed: u64,
    network: Option<Network>,
    contributions: BTreeMap<B256, B256>,
    adapter: B256,
    manifest: B256,
    held_out_loss: HeldOutLoss,
    receipts: Vec<DemoReceipt>,
    probes: Option<(usize, usize, usize)>,
    epochs: Vec<Epoch>,
    payouts: BTreeMap<Address, Amount>,
    claimed: BTreeMap<Address, Amount>,
    balances: BTreeMap<Address, Amount>,
    audit_ok: bool,
    broken: Vec<String>,
}

impl Summary {
    /// A summary that knows the network only.
    pub(crate) fn new(seed: u64, driver: &Driver) -> Self {
        Self { seed, network: Some(driver.network.clone()), ..Self::default() }
    }

    /// Notes a contribution's root.
    pub(crate) fn contribution(&mut self, contribution: B256, root: B256) {
        self.contributions.insert(contribution, root);
    }

    /// Notes the model.
    pub(crate) fn model(&mut self, adapter: B256, manifest: B256, held_out_loss: HeldOutLoss) {
        (self.adapter, self.manifest, self.held_out_loss) = (adapter, manifest, held_out_loss);
    }

    /// Notes an answer.
    pub(crate) fn receipt(&mut self, bundle: &ReceiptBundle) {
        let receipt = &bundle.signed.receipt;
        self.receipts.push(DemoReceipt {
            id: receipt.id(),
            struct_hash: receipt.struct_hash(),
            price: receipt.price,
            text: bundle.completion.text.clone(),
            coverage: bundle.credits.coverage,
        });
    }

    /// The first receipt's id.
    pub(crate) fn first_receipt(&self) -> Option<ReceiptId> {
        self.receipts.first().map(|receipt| receipt.id)
    }

    /// Notes how many probes found their record, under its own answer and under the model's.
    pub(crate) fn probes(&mut self, hits: usize, own_hits: usize, of: usize) {
        self.probes = Some((hits, own_hits, of));
    }

    /// Notes a settled epoch and what it paid.
    pub(crate) fn settled(
        &mut self,
        epoch: &ExportedEpoch,
        owed: &BTreeMap<Address, Amount>,
        claims: impl Iterator<Item = (Address, Amount, Amount)>,
    ) {
        self.epochs.push(Epoch { header: epoch.header.clone(), hash: epoch.hash });
        self.payouts = owed.clone();
        for (account, amount, balance) in claims {
            self.claimed.insert(account, amount);
            self.balances.insert(account, balance);
        }
    }

    /// Notes what the audit said.
    pub(crate) fn audited(&mut self, ok: bool) {
        self.audit_ok = ok;
    }

    /// Prints a promise, and counts it if it was not kept.
    pub(crate) fn promise(&mut self, kept: bool, driver: &Driver, text: &str) {
        if kept {
            driver.console.good(text);
        } else {
            driver.console.bad(text);
            self.broken.push(text.to_owned());
        }
    }

    /// What was promised and not kept.
    pub(crate) fn fault(&self) -> Option<String> {
        if let Some(first) = self.broken.first() {
            return Some(format!("{} promises were not kept, the first: {first}", self.broken.len()));
        }
        if !self.audit_ok {
            return Some("the audit found faults".to_owned());
        }
        match self.probes {
            Some((hits, _, of)) if hits * 10 < of * FOUND_OF_TEN => {
                Some(format!("attribution found {hits} of {of} records, fewer than {FOUND_OF_TEN} of 10"))
            }
            _ => None,
        }
    }

    /// The document that `--json` writes.
    pub(crate) fn document(&self, driver: &Driver) -> Value {
        json!({
            "format": "openledger/demo/v1",
            "seed": self.seed,
            "network": self.network,
            "contributions": self.contributions,
            "adapter": self.adapter,
            "manifest": self.manifest,
            "held_out_loss": self.held_out_loss,
            "receipts": self.receipts,
            "probes": self.probes.map(|(hits, own_hits, of)| json!({ "hits": hits, "own_hits": own_hits, "of": of })),
            "epochs": self.epochs,
            "payouts": self.payouts,
            "claimed": self.claimed,
            "balances": self.balances,
            "audit_ok": self.audit_ok,
            "broken": self.broken,
            "run": { "seconds": driver.console.elapsed_s(), "kills": driver.killer.done() },
        })
    }
}
