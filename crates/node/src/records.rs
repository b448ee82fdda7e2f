//! Records as the store keeps them: the one place from which their texts are read.

use std::collections::BTreeMap;

use openledger_protocol::{ContributionId, DatanetId, Record};
use openledger_store::Store;
use openledger_store::records::RecordRow;

use crate::error::{NodeError, Result};

/// The records of all datanets.
#[derive(Clone)]
pub(crate) struct Records {
    store: Store,
}

impl Records {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The record of a row, with its text.
    pub(crate) async fn body(&self, row: &RecordRow) -> Result<Record> {
        Ok(serde_json::from_slice(&self.store.record_body(row.at).await?)?)
    }

    /// All records of a datanet with their bodies, in order of acceptance.
    pub(crate) async fn of_datanet(&self, id: DatanetId) -> Result<Vec<(RecordRow, Record)>> {
        let mut records = Vec::new();
        for contribution in self.store.contributions_of(id).await? {
            records.extend(self.of_contribution(contribution.id).await?);
        }
        Ok(records)
    }

    /// The records of a contribution with their bodies, in order.
    pub(crate) async fn of_contribution(&self, id: ContributionId) -> Result<Vec<(RecordRow, Record)>> {
        let mut bodies: BTreeMap<u32, Vec<u8>> = self.store.record_bodies(id).await?.into_iter().collect();
        let mut records = Vec::new();
        for row in self.store.records_of(id).await? {
            let missing = || NodeError::lost("text of record", format!("{id}/{}", row.at.index));
            let body = bodies.remove(&row.at.index).ok_or_else(missing)?;
            records.push((row, serde_json::from_slice(&body)?));
        }
        Ok(records)
    }
}
