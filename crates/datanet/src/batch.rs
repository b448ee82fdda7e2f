//! Batches: the records of one file, cut by who wrote them.
//!
//! **Invariant:** every record is in exactly one batch, in file order. **Not here:** who the names'
//! accounts are (`node`).

use std::collections::HashMap;

use crate::ParsedRecord;

/// Records with one list of contributors: what becomes one contribution, with one title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBatch {
    /// The contributors, in the order the records name them. Another order is another list: the
    /// first gets what a split leaves.
    pub contributors: Vec<String>,
    /// Their records, in file order.
    pub records: Vec<ParsedRecord>,
}

/// One batch per distinct list of contributors, in order of first appearance.
#[must_use]
pub fn batches(records: Vec<ParsedRecord>) -> Vec<RecordBatch> {
    let mut places: HashMap<Vec<String>, usize> = HashMap::new();
    let mut batches: Vec<RecordBatch> = Vec::new();
    for record in records {
        if let Some(&place) = places.get(&record.record.contributors) {
            batches[place].records.push(record);
        } else {
            let contributors = record.record.contributors.clone();
            places.insert(contributors.clone(), batches.len());
            batches.push(RecordBatch { contributors, records: vec![record] });
        }
    }
    batches
}
