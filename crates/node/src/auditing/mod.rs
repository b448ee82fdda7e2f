//! The audit: every amount conserved, every receipt verified again, the chain in step with the books.
//!
//! # Invariants
//!
//! - An audit goes on from the last epoch and block that were found right: those before this mark
//!   are not read again, unless the whole history is asked for.
//! - The mark is kept after each epoch, so an audit that is cut short loses one epoch's work at
//!   most. An epoch with a fault, and each one after it, stays beyond the mark.
//! - Memory is bounded by one epoch: its leaves, and a page of receipts.
//!
//! # Not here
//!
//! The check of one receipt (`ledger`).

mod receipts;

use std::collections::BTreeSet;
use std::sync::Arc;

use alloy_primitives::{Address, U256};
use openledger_api::{Audit, AuditCheck, AuditScope};
use openledger_chain::rpc::Client;
use openledger_ledger::{ExportedEpoch, Supply, SupplyError};
use openledger_protocol::{Amount, B256};
use openledger_store::Store;
use openledger_store::audits::AuditMark;
use openledger_store::chain_sums::ChainSum;
use openledger_store::epochs::{EpochRow, EpochState};
use openledger_store::transact;
use serde_json::{Value, json};

use self::receipts::{Sealed, verified};
use crate::chain_view::ChainView;
use crate::epochs::Epochs;
use crate::error::{Blame, NodeError, Result};
use crate::models::Models;

/// Faults that a check names at most.
const FAULTS_MAX: usize = 20;
/// Times that balances are read at most, where blocks come meanwhile.
const SUPPLY_TRIES: u32 = 10;

/// Audits the node's books.
#[derive(Clone)]
pub struct Auditing {
    store: Store,
    chain: ChainView,
    epochs: Epochs,
    models: Models,
    genesis: BTreeSet<Address>,
}

/// The checks of one audit, and the mark that it reached: up to there everything was found right.
struct Run {
    checks: Vec<AuditCheck>,
    mark: AuditMark,
}

impl Run {
    fn check(&mut self, scope: AuditScope, name: impl Into<String>, ok: bool, detail: impl Into<String>) {
        self.checks.push(AuditCheck { scope, name: name.into(), ok, detail: detail.into() });
    }

    fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

/// The mark before anything was audited.
fn beginning() -> AuditMark {
    AuditMark { epoch: 0, total: Amount::ZERO, payout_root: B256::ZERO, block: 0, burned: Amount::ZERO }
}

/// The accounts that appear in block `number`.
///
/// # Errors
///
/// [`SupplyError::Unreadable`] naming the member that is not an account.
fn accounts_of(number: u64, block: &Value) -> Result<BTreeSet<Address>, SupplyError> {
    let unreadable = |field| SupplyError::Unreadable { block: number, field };
    let account = |value: &Value, field| {
        value.as_str().and_then(|text| text.parse::<Address>().ok()).ok_or_else(|| unreadable(field))
    };
    let mut found = BTreeSet::from([account(&block["miner"], "miner")?]);
    for tx in block["transactions"].as_array().ok_or_else(|| unreadable("transactions"))? {
        found.insert(account(&tx["from"], "from")?);
        // It is null where a contract is created.
        if !tx["to"].is_null() {
            found.insert(account(&tx["to"], "to")?);
        }
    }
    Ok(found)
}

/// The native supply as of one block.
#[derive(Debug)]
struct SupplyAt {
    /// The block's number.
    head: u64,
    supply: Supply,
    /// Accounts whose balances were read.
    accounts: usize,
}

/// Sums what the blocks after a mark burned, and what every account holds that ever appeared.
/// `known` are accounts that need not appear in a block.
///
/// Balances can be read at the head only. Where a block came meanwhile and the sums differ from the
/// supply, they are of several blocks: then the new blocks and all balances are read again.
///
/// # Errors
///
/// `try-again` when blocks came during each of [`SUPPLY_TRIES`] tries.
async fn supply_at_head(
    client: &Client,
    store: &Store,
    mark: &AuditMark,
    mut known: BTreeSet<Address>,
) -> Result<SupplyAt> {
    let (mut burned, mut next) = (Supply::after(mark.burned), mark.block);
    for _ in 0..SUPPLY_TRIES {
        let head = client.block_number().await?;
        for number in next..=head {
            let params = json!([format!("0x{number:x}"), true]);
            let block = client.rpc().call("eth_getBlockByNumber", params).await?;
            burned.burn(number, block["baseFeePerGas"].as_str(), block["gasUsed"].as_str())?;
            known.extend(accounts_of(number, &block)?);
        }
        next = next.max(head + 1);
        let listed: Vec<Address> = std::mem::take(&mut known).into_iter().collect();
        transact!(store, |tx| tx.add_audit_accounts(&listed).await)?;
        let accounts = store.audit_accounts().await?;
        let mut supply = burned;
        for &account in &accounts {
            supply.hold(client.balance(account).await?)?;
        }
        if supply.is_conserved()? || client.block_number().await? == head {
            return Ok(SupplyAt { head, supply, accounts: accounts.len() });
        }
    }
    let detail = "blocks came each time while the balances were read; audit again when the network is quieter";
    Err(NodeError::refused(Blame::Retry, "try-again", detail))
}

impl Auditing {
    /// `genesis`: the accounts that hold OPEN from genesis on, where the chain is in this process.
    pub(crate) fn new(
        store: Store,
        chain: ChainView,
        epochs: Epochs,
        models: Models,
        genesis: BTreeSet<Address>,
    ) -> Self {
        Self { store, chain, epochs, models, genesis }
    }

    /// Checks supply, chain, epochs and receipts, from the last mark on; with `whole`, from the
    /// beginning.
    ///
    /// It may be dropped at any time. The next audit goes on from the last epoch that was found
    /// right, also after an audit of the whole history that was cut short.
    ///
    /// # Errors
    ///
    /// [`crate::NodeError`] when something cannot be read; a statement that does not hold is a failed check, not an
    /// error.
    pub async fn audit(&self, whole: bool) -> Result<Audit> {
        let kept = if whole { None } else { self.store.audit_mark().await? };
        let mark = kept.unwrap_or_else(beginning);
        let mut run = Run { checks: Vec::new(), mark };
        self.supply(&mut run).await?;
        self.tokens(&mut run).await?;
        self.closed_epochs(&mut run).await?;
        self.open_receipts(&mut run).await?;
        self.index(&mut run).await?;
        self.keep(&run.mark).await?;
        Ok(Audit { ok: run.ok(), checks: run.checks, epoch: run.mark.epoch })
    }

    async fn keep(&self, mark: &AuditMark) -> Result<()> {
        Ok(transact!(self.store, |tx| tx.put_audit_mark(mark).await)?)
    }

    /// All native OPEN: genesis supply = what is burned + what every account that ever appeared holds.
    async fn supply(&self, run: &mut Run) -> Result<()> {
        if self.chain.embedded().is_none() {
            return Ok(());
        }
        let at = self.chain.at();
        let mut known = BTreeSet::from([at.wopen, at.channels, at.payouts]);
        known.extend(self.genesis.iter().copied());
        let read = supply_at_head(self.chain.flow().client(), &self.store, &run.mark, known).await?;
        let SupplyAt { head, supply, accounts } = read;
        let (held, burned, all) = (supply.held(), supply.burned(), Amount::SUPPLY);
        let conserved = supply.is_conserved()?;
        run.check(
            AuditScope::Supply,
            "native OPEN: genesis supply = burned + held",
            conserved,
            format!("{} blocks, {accounts} accounts: {held} held + {burned} burned of {all}", head + 1),
        );
        if conserved {
            run.mark.block = head + 1;
            run.mark.burned = burned;
        }
        Ok(())
    }

    /// WOPEN: what is minted is what the contract holds; `Payouts` holds what its books say.
    async fn tokens(&self, run: &mut Run) -> Result<()> {
        let (flow, at) = (self.chain.flow(), self.chain.at());
        let supply = flow.token().supply().await?;
        let held = flow.client().balance(at.wopen).await?;
        let equal = held == U256::from(supply.0);
        run.check(AuditScope::Supply, "WOPEN: supply = native coins in the contract", equal, format!("{supply}"));
        self.chain.catch_up().await?;
        let payouts = flow.payouts();
        let funded = payouts.funded().await?;
        let claimed = self.store.chain_sum(ChainSum::Claimed).await?;
        let stake = payouts.operator(flow.account()).await?.stake;
        let holds = flow.token().balance(at.payouts).await?;
        let unswept = payouts.unswept().await?;
        let owed = openledger_ledger::payouts_hold(funded, claimed, stake, unswept)?;
        run.check(
            AuditScope::Supply,
            "Payouts holds what was paid in and not claimed, and the bonds",
            holds == owed,
            format!("{holds} = {funded} funded − {claimed} claimed + {stake} at stake + {unswept} to be swept"),
        );
        Ok(())
    }

    /// Epochs after the mark: each computed again from its receipts gives the roots that were fixed, each of its
    /// receipts verifies, and the last finalized one is the chain's.
    async fn closed_epochs(&self, run: &mut Run) -> Result<()> {
        let mut number = run.mark.epoch + 1;
        while let Some(row) = self.store.epoch(number).await? {
            if row.roots.is_none() {
                break;
            }
            let whole = self.epoch(run, &row).await?;
            if whole && row.state == EpochState::Finalized && run.mark.epoch + 1 == number {
                let roots = row.roots()?;
                run.mark.epoch = number;
                run.mark.total = roots.total;
                run.mark.payout_root = roots.payout_root;
                self.keep(&run.mark).await?;
            }
            number += 1;
        }
        let payouts = self.chain.flow().payouts();
        let (root, funded) = (payouts.root().await?, payouts.funded().await?);
        let (last_root, total) = match self.store.latest_epoch(EpochState::Finalized).await? {
            Some(row) => {
                let roots = row.roots()?;
                (roots.payout_root, roots.total)
            }
            None => Default::default(),
        };
        run.check(
            AuditScope::Chain,
            "the chain's payout root is the last finalized epoch's, and is funded",
            root == last_root && total <= funded,
            format!("{root}, {total} of {funded}"),
        );
        Ok(())
    }

    /// Whether one epoch holds in every check.
    async fn epoch(&self, run: &mut Run, row: &EpochRow) -> Result<bool> {
        let name = format!("epoch {}: computed again from its receipts", row.number);
        let rebuilt = match self.epochs.rebuild(row).await {
            Ok(rebuilt) => rebuilt,
            Err(error) => {
                run.check(AuditScope::Books, name, false, error.to_string());
                return Ok(false);
            }
        };
        let equal = rebuilt.header == self.epochs.header(row)?;
        run.check(
            AuditScope::Books,
            format!("{name}, entries sum to prices, payouts to the total"),
            equal,
            format!(
                "{} receipts, {} entries, {} payees, {} of {}",
                rebuilt.header.receipt_count,
                rebuilt.entries.len(),
                rebuilt.payouts.payouts().len(),
                rebuilt.header.entries_total,
                rebuilt.header.total
            ),
        );
        let exported = ExportedEpoch::new(rebuilt.header.clone(), rebuilt.domain);
        let sealed = Arc::new(Sealed { epoch: rebuilt, exported });
        let verified = self.receipts(run, &format!("epoch {}", row.number), row.number, Some(sealed)).await?;
        Ok(equal && verified)
    }

    /// The receipts of epoch `number`, called `of`, each verified as a stranger would.
    async fn receipts(&self, run: &mut Run, of: &str, number: u64, sealed: Option<Arc<Sealed>>) -> Result<bool> {
        let (count, faults) = verified(&self.epochs, &self.models, of, number, sealed).await?;
        let ok = faults.is_empty();
        let detail = if ok {
            format!("{count} receipts")
        } else {
            let shown = faults.iter().take(FAULTS_MAX).cloned().collect::<Vec<_>>().join("; ");
            format!("{} faults: {shown}", faults.len())
        };
        let name = format!("{of}: every receipt verifies from its bundle, epoch and manifest");
        run.check(AuditScope::Books, name, ok, detail);
        Ok(ok)
    }

    /// The receipts of the open epoch.
    async fn open_receipts(&self, run: &mut Run) -> Result<()> {
        if let Some(open) = self.store.latest_epoch(EpochState::Open).await? {
            self.receipts(run, "open epoch", open.number, None).await?;
        }
        Ok(())
    }

    /// The index of chain events is at the chain's head.
    async fn index(&self, run: &mut Run) -> Result<()> {
        let head = self.chain.catch_up().await?.number;
        let cursor = self.store.chain_cursor().await?;
        let ok = cursor.as_ref().is_some_and(|at| at.number >= head);
        let name = "the index of chain events is at the chain's head";
        run.check(AuditScope::Chain, name, ok, format!("block {head}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use openledger_store::BlobsConfig;

    use super::*;
    use crate::fake_chain::FakeChain;

    /// The supply of a chain to which a block is added before each of the first `reads` reads of a
    /// balance.
    async fn supply_while(reads: u32) -> Result<SupplyAt> {
        let chain = FakeChain::with_blocks(5);
        chain.add_block_before_balances(reads);
        let store = Store::open("sqlite::memory:", BlobsConfig::new("memory:")).await.unwrap();
        let known = [1, 2, 3].map(Address::repeat_byte);
        supply_at_head(&Client::new(Arc::new(chain)), &store, &beginning(), BTreeSet::from(known)).await
    }

    #[tokio::test]
    async fn burns_and_balances_are_summed_at_one_block_whatever_blocks_come_meanwhile() {
        let quiet = supply_while(0).await.unwrap();
        assert!(quiet.supply.is_conserved().unwrap());
        assert_eq!((quiet.head, quiet.accounts, quiet.supply.burned()), (5, 4, openledger_ledger::base_units(6)));
        // Four balances a try: two tries read balances of other blocks than the burns.
        let busy = supply_while(8).await.unwrap();
        assert!(busy.supply.is_conserved().unwrap(), "{busy:?}");
        assert_eq!((busy.head, busy.supply.burned()), (13, openledger_ledger::base_units(14)));
        let error = supply_while(u32::MAX).await.unwrap_err();
        assert_eq!((error.blame(), error.code()), (Blame::Retry, "try-again"));
    }

    #[test]
    fn a_block_whose_accounts_cannot_be_read_is_named() {
        let [miner, from, to] = [1, 2, 3].map(Address::repeat_byte);
        let transactions = json!([{ "from": from, "to": to }, { "from": from, "to": null }]);
        let block = json!({ "miner": miner, "transactions": transactions });
        assert_eq!(accounts_of(4, &block), Ok(BTreeSet::from([miner, from, to])));
        let refused = |path: &str, field| {
            let mut other = block.clone();
            *other.pointer_mut(path).unwrap() = json!(7);
            assert_eq!(accounts_of(4, &other), Err(SupplyError::Unreadable { block: 4, field }), "{path}");
        };
        refused("/miner", "miner");
        refused("/transactions", "transactions");
        refused("/transactions/0/from", "from");
        refused("/transactions/1/to", "to");
        assert!(accounts_of(4, &Value::Null).is_err(), "a block that is not there");
    }
}
