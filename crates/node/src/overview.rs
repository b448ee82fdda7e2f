//! What is shown: cards of datanets, contributions, models, receipts, epochs and payouts.

use std::collections::BTreeMap;

use openledger_ledger::ExportedEpoch;
use openledger_protocol::{Address, ContributionId, Entry, ReceiptBundle, ReceiptId, RecordRef};
use openledger_store::contributions::ContributionState;
use openledger_store::receipts::ReceiptRow;
use serde_json::{Value, json};

use crate::error::{NodeError, Result};
use crate::node::Node;

impl Node {
    /// What network this is and who the node is on it.
    #[must_use]
    pub fn network(&self) -> Value {
        let at = self.inner.flow.addresses();
        let platform = self.inner.config.platform;
        json!({
            "chain_id": self.inner.chain_id,
            "addresses": {
                "wopen": at.wopen, "datanets": at.datanets, "contributions": at.contributions, "models": at.models,
                "channels": at.channels, "payouts": at.payouts, "verifier": at.verifier,
            },
            "node": self.inner.flow.account(),
            "parties": {
                "treasury": platform.treasury, "validation": platform.validation, "insurance": platform.insurance,
            },
            "base": { "name": self.inner.base.name, "hash": self.inner.base.hash },
            "tokenizer": format!("0x{}", hex::encode(self.inner.base.tokenizer.hash())),
            "numeric_mode": self.inner.serving.capabilities().numeric_mode,
        })
    }

    /// All datanets, with counts.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`].
    pub async fn datanet_cards(&self) -> Result<Vec<Value>> {
        let names = self.names().await?;
        let mut cards = Vec::new();
        for datanet in self.inner.store.datanets().await? {
            let version = self.inner.store.latest_datanet_version(datanet.id).await?;
            let contributions = self.inner.store.contributions_of(datanet.id).await?;
            cards.push(json!({
                "id": datanet.id,
                "name": datanet.name,
                "description": datanet.terms["description"],
                "license": datanet.terms["rights"]["license"],
                "owner": { "account": datanet.owner, "name": names.get(&datanet.owner) },
                "version": version.as_ref().map_or(0, |v| v.version),
                "root": version.as_ref().map(|v| v.root),
                "records": self.inner.store.count_records(datanet.id).await?,
                "contributions": contributions.len(),
            }));
        }
        Ok(cards)
    }

    /// The newest `limit` contributions that are registered, and how many contributors there are in all.
    async fn contribution_cards(&self, limit: usize, names: &BTreeMap<Address, String>) -> Result<(Vec<Value>, usize)> {
        let mut rows = Vec::new();
        for datanet in self.inner.store.datanets().await? {
            let registered = self.inner.store.contributions_of(datanet.id).await?.into_iter();
            rows.extend(
                registered
                    .filter(|row| row.state == ContributionState::Registered)
                    .map(|row| (datanet.name.clone(), row)),
            );
        }
        let contributors: std::collections::BTreeSet<Address> =
            rows.iter().flat_map(|(_, row)| row.contributors.iter().copied()).collect();
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.seq));
        rows.truncate(limit);
        let cards = rows
            .into_iter()
            .map(|(datanet, row)| {
                json!({
                    "id": row.id,
                    "datanet": datanet,
                    "contributors": row.contributors.iter().map(|a| display_name(names, a)).collect::<Vec<_>>(),
                    "records": row.count,
                    "root": row.root,
                    "holder": row.payee,
                })
            })
            .collect();
        Ok((cards, contributors.len()))
    }

    /// The handles behind a contribution, in order.
    pub(crate) async fn contributors_of(
        &self,
        id: ContributionId,
        names: &BTreeMap<Address, String>,
    ) -> Result<Vec<String>> {
        let row = self.inner.store.contribution(id).await?;
        Ok(row.map(|row| row.contributors.iter().map(|a| display_name(names, a)).collect()).unwrap_or_default())
    }

    /// A record, to be shown.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub async fn record_card(&self, at: RecordRef) -> Result<Value> {
        let row = self.inner.store.record(at).await?;
        let row = row.ok_or_else(|| NodeError::missing("record", format!("{}/{}", at.contribution, at.index)))?;
        let record = self.record_body(&row).await?;
        let datanet = self.inner.store.contribution(at.contribution).await?.map(|c| c.datanet);
        Ok(json!({
            "record": row.record_id,
            "contribution": at.contribution,
            "index": at.index,
            "datanet": datanet,
            "text": record.body.canonical_text(),
            "contributors": record.contributors,
            "license": record.license,
            "content_root": row.content_root,
        }))
    }

    fn entry_cards(entries: &[Entry], names: &BTreeMap<Address, String>) -> Vec<Value> {
        let card = |entry: &Entry| {
            json!({
                "role": entry.role, "account": entry.account, "name": names.get(&entry.account), "amount": entry.amount,
                "contribution": (entry.contribution != Entry::NO_CONTRIBUTION).then_some(entry.contribution),
            })
        };
        entries.iter().map(card).collect()
    }

    /// A receipt, to be shown.
    async fn receipt_card(&self, row: &ReceiptRow, names: &BTreeMap<Address, String>) -> Result<Value> {
        let bundle: ReceiptBundle = serde_json::from_str(&row.body)?;
        let mut spans = Vec::new();
        for span in &bundle.credits.spans {
            let record = self.record_card(span.record).await?;
            spans.push(json!({
                "start": span.output_offset,
                "end": span.output_offset + span.length,
                "record": record["record"],
                "contribution": span.record.contribution,
                "index": span.record.index,
                "record_offset": span.record_offset,
                "contributors": record["contributors"],
                "text": record["text"],
            }));
        }
        let receipt = &bundle.signed.receipt;
        let model = self.inner.store.model(receipt.model).await?.map(|model| model.name);
        Ok(json!({
            "id": row.id,
            "model": model,
            "prompt": bundle.request["messages"].as_array().and_then(|m| m.last()).map(|m| m["content"].clone()),
            "text": bundle.completion.text,
            "price": receipt.price,
            "tokens_in": receipt.tokens_in,
            "tokens_out": receipt.tokens_out,
            "coverage": bundle.credits.coverage,
            "spans": spans,
            "entries": Self::entry_cards(&bundle.entries, names),
            "adapter": receipt.adapter,
            "epoch": row.epoch,
            "time": receipt.time,
        }))
    }

    /// The newest receipts.
    ///
    /// # Errors
    ///
    /// [`NodeError`] of the store.
    pub async fn receipt_cards(&self, limit: u32) -> Result<Vec<Value>> {
        let names = self.names().await?;
        let mut cards = Vec::new();
        for row in self.inner.store.latest_receipts(limit).await? {
            cards.push(self.receipt_card(&row, &names).await?);
        }
        Ok(cards)
    }

    /// A receipt's bundle; with its place in the epoch once that is closed.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub async fn bundle(&self, id: ReceiptId) -> Result<ReceiptBundle> {
        let row = self.inner.store.receipt(id).await?.ok_or_else(|| NodeError::missing("receipt", id))?;
        let mut bundle: ReceiptBundle = serde_json::from_str(&row.body)?;
        if let Some(epoch) = row.epoch {
            let placed = self.closed(epoch).await?.include(&mut bundle);
            debug_assert!(placed, "a receipt stands in the epoch it was closed into");
        }
        Ok(bundle)
    }

    /// All epochs.
    ///
    /// # Errors
    ///
    /// [`NodeError::Store`].
    pub async fn epoch_cards(&self) -> Result<Vec<Value>> {
        let rows = self.inner.store.epochs().await?;
        let card = |row: &openledger_store::epochs::EpochRow| {
            json!({
                "number": row.number, "state": row.state.as_str(), "receipts_root": row.receipts_root,
                "payout_root": row.payout_root, "total": row.total,
                "receipts": row.header["export"]["header"]["receipt_count"],
                "entries_total": row.header["export"]["header"]["entries_total"],
            })
        };
        Ok(rows.iter().map(card).collect())
    }

    /// An epoch as a stranger needs it.
    ///
    /// # Errors
    ///
    /// `not-found`.
    pub async fn exported_epoch(&self, number: u64) -> Result<Value> {
        let row = self.inner.store.epoch(number).await?.ok_or_else(|| NodeError::missing("epoch", number))?;
        let exported: ExportedEpoch = serde_json::from_value(row.header["export"].clone())?;
        Ok(serde_json::to_value(exported)?)
    }

    /// Who has earned what by the end of an epoch, most first.
    ///
    /// # Errors
    ///
    /// [`NodeError`] of store and chain.
    pub async fn payout_cards(&self, number: u64) -> Result<Vec<Value>> {
        let names = self.names().await?;
        let mut rows = self.inner.store.payouts_of_epoch(number).await?;
        rows.sort_by_key(|row| (std::cmp::Reverse(row.cumulative), row.account));
        let mut cards = Vec::with_capacity(rows.len());
        for row in rows {
            let claims = self.inner.store.claims_of(row.account).await?;
            let claimed = claims.iter().map(|claim| claim.cumulative).max().unwrap_or_default();
            cards.push(json!({
                "account": row.account, "name": self.holder_name(row.account, &names).await?,
                "cumulative": row.cumulative, "claimed": claimed,
            }));
        }
        Ok(cards)
    }

    /// The handle of an account; a splitter is named after its contributors.
    async fn holder_name(&self, account: Address, names: &BTreeMap<Address, String>) -> Result<Option<String>> {
        if let Some(name) = names.get(&account) {
            return Ok(Some(name.clone()));
        }
        let titles = self.inner.store.titles_of(self.inner.flow.addresses().contributions, account).await?;
        let Some(&title) = titles.first() else { return Ok(None) };
        let contributors = self.contributors_of(ContributionId(title), names).await?;
        Ok((!contributors.is_empty()).then(|| contributors.join(" & ")))
    }

    /// What the Studio's first page shows.
    ///
    /// # Errors
    ///
    /// [`NodeError`] of store and chain.
    pub async fn overview(&self) -> Result<Value> {
        let names = self.names().await?;
        let (contributions, contributors) = self.contribution_cards(50, &names).await?;
        let epochs = self.epoch_cards().await?;
        let closed: u64 = epochs.iter().filter_map(|epoch| epoch["receipts"].as_u64()).sum();
        let latest = self.inner.store.latest_epoch().await?.map_or(0, |row| row.number);
        let mut payouts = if latest > 0 { self.payout_cards(latest).await? } else { Vec::new() };
        payouts.truncate(50);
        let datanets = self.datanet_cards().await?;
        let funded = self.inner.flow.funded().await?;
        Ok(json!({
            "network": self.network(),
            "totals": {
                "records": datanets.iter().filter_map(|d| d["records"].as_u64()).sum::<u64>(),
                "contributors": contributors,
                "receipts": closed + self.inner.store.open_receipts().await?.len() as u64,
                "paid_in": funded,
                "paid_out": self.inner.store.latest_epoch().await?.map(|row| row.total).unwrap_or_default(),
                "claimed": self.claimed_total().await?,
            },
            "datanets": datanets,
            "contributions": contributions,
            "models": self.model_cards().await,
            "receipts": self.receipt_cards(20).await?,
            "epochs": epochs,
            "payouts": payouts,
        }))
    }
}

/// The handle of an account, or its first digits.
pub(crate) fn display_name(names: &BTreeMap<Address, String>, account: &Address) -> String {
    names.get(account).cloned().unwrap_or_else(|| format!("{}…", &account.to_string()[..10]))
}
