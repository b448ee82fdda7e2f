//! The audit: every amount conserved, every receipt verified again, the chain in step with the books.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, U256};
use openledger_ledger::ExportedEpoch;
use openledger_protocol::{Amount, ReceiptBundle};
use openledger_store::epochs::EpochState;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::Result;
use crate::node::Node;

/// One thing that was checked.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What should hold.
    pub name: String,
    /// Whether it does.
    pub ok: bool,
    /// The figures.
    pub detail: String,
}

/// All that was checked.
#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    /// Whether everything holds.
    pub ok: bool,
    /// The checks, in order.
    pub checks: Vec<Check>,
}

impl Node {
    /// Checks supply, chain, epochs and receipts from the ground.
    ///
    /// # Errors
    ///
    /// [`crate::NodeError`] when something cannot be read; what does not hold is a failed check, not an error.
    pub async fn audit(&self) -> Result<Audit> {
        let mut checks = Vec::new();
        self.audit_supply(&mut checks).await?;
        self.audit_tokens(&mut checks).await?;
        self.audit_epochs(&mut checks).await?;
        self.audit_receipts(&mut checks).await?;
        self.audit_index(&mut checks).await?;
        Ok(Audit { ok: checks.iter().all(|check| check.ok), checks })
    }

    /// All native OPEN: genesis supply = what is burned + what every account that ever appeared holds.
    async fn audit_supply(&self, checks: &mut Vec<Check>) -> Result<()> {
        let Some(_) = &self.inner.chain else { return Ok(()) };
        let client = self.inner.flow.client();
        let head = client.block_number().await?;
        let mut burned = U256::ZERO;
        let mut accounts: BTreeSet<Address> = self.genesis_accounts();
        for number in 0..=head {
            let params = json!([format!("0x{number:x}"), true]);
            let block = client.rpc().call("eth_getBlockByNumber", params).await?;
            let word = |name: &str| block[name].as_str().and_then(|text| text.parse::<U256>().ok()).unwrap_or_default();
            burned += word("baseFeePerGas") * word("gasUsed");
            accounts.extend(block["miner"].as_str().and_then(|text| text.parse::<Address>().ok()));
            for tx in block["transactions"].as_array().into_iter().flatten() {
                for side in ["from", "to"] {
                    accounts.extend(tx[side].as_str().and_then(|text| text.parse::<Address>().ok()));
                }
            }
        }
        let at = self.inner.flow.addresses();
        accounts.extend([at.wopen, at.channels, at.payouts]);
        let mut held = U256::ZERO;
        for &account in &accounts {
            held += client.balance(account).await?;
        }
        let supply = U256::from(Amount::SUPPLY.0);
        checks.push(Check {
            name: "native OPEN: genesis supply = burned + held".into(),
            ok: held + burned == supply,
            detail: format!(
                "{} blocks, {} accounts: {held} held + {burned} burned of {supply}",
                head + 1,
                accounts.len()
            ),
        });
        Ok(())
    }

    /// WOPEN: what is minted is what the contract holds; channels and payouts hold what their books say.
    async fn audit_tokens(&self, checks: &mut Vec<Check>) -> Result<()> {
        let (flow, client) = (&self.inner.flow, self.inner.flow.client());
        let at = flow.addresses();
        let supply = flow.token_supply().await?;
        let held = client.balance(at.wopen).await?;
        checks.push(Check {
            name: "WOPEN: supply = native coins in the contract".into(),
            ok: held == U256::from(supply.0),
            detail: format!("{supply}"),
        });
        let funded = flow.funded().await?;
        let claimed = self.claimed_total().await?;
        let stake = flow.operator(flow.account()).await?.stake;
        let holds = flow.token_balance(at.payouts).await?;
        let unswept = flow.unswept().await?;
        let owed = openledger_ledger::payouts_hold(funded, claimed, stake, unswept)?;
        checks.push(Check {
            name: "Payouts holds what was paid in and not claimed, and the bonds".into(),
            ok: holds == owed,
            detail: format!("{holds} = {funded} funded − {claimed} claimed + {stake} at stake + {unswept} to be swept"),
        });
        Ok(())
    }

    /// Epochs: each rebuilt from its receipts gives the roots that were fixed, and the last is the chain's.
    async fn audit_epochs(&self, checks: &mut Vec<Check>) -> Result<()> {
        let mut last_root = B256::ZERO;
        let mut total = Amount::ZERO;
        for row in self.inner.store.epochs().await? {
            let exported: ExportedEpoch = serde_json::from_value(row.header["export"].clone())?;
            let rebuilt = match self.closed(row.number).await {
                Ok(rebuilt) => rebuilt,
                Err(error) => {
                    let name = format!("epoch {}: rebuilt from its receipts", row.number);
                    checks.push(Check { name, ok: false, detail: error.to_string() });
                    continue;
                }
            };
            checks.push(Check {
                name: format!(
                    "epoch {}: rebuilt from its receipts, entries sum to prices, payouts to the total",
                    row.number
                ),
                ok: rebuilt.header == exported.header && rebuilt.header.hash() == exported.hash,
                detail: format!(
                    "{} receipts, {} entries, {} payees, {} of {}",
                    rebuilt.header.receipt_count,
                    rebuilt.entries.len(),
                    rebuilt.payouts.payouts().len(),
                    rebuilt.header.entries_total,
                    rebuilt.header.total
                ),
            });
            if row.state == EpochState::Finalized {
                last_root = rebuilt.header.payout_root;
                total = rebuilt.header.total;
            }
        }
        let root = self.inner.flow.payout_root().await?;
        let funded = self.inner.flow.funded().await?;
        checks.push(Check {
            name: "the chain's payout root is the last finalized epoch's, and is funded".into(),
            ok: root == last_root && total <= funded,
            detail: format!("{root}, {total} of {funded}"),
        });
        Ok(())
    }

    /// Receipts: each verified as a stranger would, against its epoch and its model's manifest.
    async fn audit_receipts(&self, checks: &mut Vec<Check>) -> Result<()> {
        let mut closed = BTreeMap::new();
        let (mut verified, mut faults) = (0usize, Vec::new());
        for row in self.inner.store.latest_receipts(u32::MAX).await? {
            let Ok(mut bundle) = serde_json::from_str::<ReceiptBundle>(&row.body) else {
                faults.push(format!("{}: not readable", row.id));
                continue;
            };
            if bundle.signed.receipt.id() != row.id {
                faults.push(format!("{}: another receipt's body", row.id));
                continue;
            }
            let Ok(offered) = self.offered_by_id(bundle.signed.receipt.model).await else {
                faults.push(format!("{}: of a model that is not on offer", row.id));
                continue;
            };
            let checked = match row.epoch {
                Some(number) => {
                    if let std::collections::btree_map::Entry::Vacant(entry) = closed.entry(number) {
                        match self.closed(number).await {
                            Ok(epoch) => drop(entry.insert(epoch)),
                            // The check of that epoch says why.
                            Err(_) => {
                                faults.push(format!("{}: its epoch {number} cannot be rebuilt", row.id));
                                continue;
                            }
                        }
                    }
                    let epoch = &closed[&number];
                    if !epoch.include(&mut bundle) {
                        faults.push(format!("{}: not in epoch {number}", row.id));
                    }
                    let exported = ExportedEpoch::new(epoch.header.clone(), epoch.domain);
                    openledger_ledger::verify_bundle(&bundle, &exported, &offered.manifest)
                }
                None => openledger_ledger::verify_receipt(&bundle, &offered.manifest),
            };
            match checked {
                Ok(_) => verified += 1,
                Err(found) => faults.extend(found.into_iter().map(|fault| format!("{}: {}", row.id, fault.field))),
            }
        }
        checks.push(Check {
            name: "every receipt verifies from its bundle, epoch and manifest".into(),
            ok: faults.is_empty(),
            detail: if faults.is_empty() { format!("{verified} receipts") } else { faults.join("; ") },
        });
        Ok(())
    }

    /// The index of chain events stands at the chain's head.
    async fn audit_index(&self, checks: &mut Vec<Check>) -> Result<()> {
        let (head, _) = self.sync().await?;
        let cursor = self.inner.store.chain_cursor().await?;
        checks.push(Check {
            name: "the index of chain events stands at the chain's head".into(),
            ok: cursor.as_ref().map(|at| at.number) == Some(head),
            detail: format!("block {head}"),
        });
        Ok(())
    }

    fn genesis_accounts(&self) -> BTreeSet<Address> {
        let mut accounts = BTreeSet::from([openledger_chain::embedded::TREASURY]);
        if let crate::config::ChainChoice::Embedded { genesis_accounts, .. } = &self.inner.config.chain {
            accounts.extend(genesis_accounts.iter().map(|(account, _)| *account));
        }
        accounts
    }

    /// What was claimed in all, as the chain's events tell.
    pub(crate) async fn claimed_total(&self) -> Result<Amount> {
        let mut amounts = Vec::new();
        for event in self.inner.store.chain_events_since(0, u32::MAX).await? {
            if event.address == self.inner.flow.addresses().payouts
                && let Some(amount) = claimed_amount(&event.decoded, self.inner.flow.addresses())
            {
                amounts.push(amount);
            }
        }
        Ok(openledger_ledger::total(amounts)?)
    }
}

/// The amount of a stored `Claimed` event.
fn claimed_amount(stored: &Value, at: &openledger_chain::contracts::Addresses) -> Option<Amount> {
    use openledger_chain::contracts::bindings::payouts::Payouts::PayoutsEvents;
    use openledger_chain::indexer::ChainEvent;
    let log = openledger_chain::rpc::Log {
        address: at.payouts,
        topics: serde_json::from_value(stored["topics"].clone()).ok()?,
        data: serde_json::from_value(stored["data"].clone()).ok()?,
        block_number: 0,
        block_hash: B256::ZERO,
        transaction_hash: B256::ZERO,
        log_index: 0,
    };
    match ChainEvent::decode(at, &log)? {
        ChainEvent::Payouts(PayoutsEvents::Claimed(paid)) => Some(openledger_ledger::base_units(paid.amount)),
        _ => None,
    }
}
