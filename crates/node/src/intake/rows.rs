//! Imports between the API's report and the store's rows.

use openledger_api::{BatchToSign, ImportReport, NearDuplicate, RefusedRecord};
use openledger_protocol::{BlobHash, DatanetId};
use openledger_store::imports::{self, BatchState, Import, ImportBatch};

/// The row of a report whose batches are not signed yet; `created` in Unix milliseconds.
pub(super) fn import(datanet: DatanetId, file: BlobHash, report: &ImportReport, created: u64) -> Import {
    let refused = report.refused.iter().map(|refused| imports::RefusedRecord {
        line: refused.line,
        record_id: refused.id.clone(),
        reason: refused.reason.clone(),
    });
    let near = report
        .near_duplicates
        .iter()
        .map(|near| imports::NearDuplicate { record: near.record.clone(), original: near.of.clone() });
    let batches = report.batches.iter().map(|batch| ImportBatch {
        contribution: batch.registered.clone(),
        handles: batch.contributors.clone(),
        digest: batch.digest,
        state: BatchState::Prepared,
        registration: None,
    });
    Import {
        id: report.import,
        datanet,
        file,
        lines: report.lines,
        accepted: report.accepted,
        refused: refused.collect(),
        near_duplicates: near.collect(),
        batches: batches.collect(),
        created,
    }
}

/// The report of a row.
pub(super) fn report(row: Import) -> ImportReport {
    let refused = row.refused.into_iter().map(|refused| RefusedRecord {
        line: refused.line,
        id: refused.record_id,
        reason: refused.reason,
    });
    let near = row.near_duplicates.into_iter().map(|near| NearDuplicate { record: near.record, of: near.original });
    let batches = row.batches.into_iter().map(|batch| BatchToSign {
        contribution: batch.contribution.id,
        registrant: batch.contribution.registrant,
        contributors: batch.handles,
        digest: batch.digest,
        registered: batch.contribution,
    });
    ImportReport {
        import: row.id,
        lines: row.lines,
        accepted: row.accepted,
        refused: refused.collect(),
        near_duplicates: near.collect(),
        batches: batches.collect(),
    }
}
