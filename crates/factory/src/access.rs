//! The door to the trainer: records come in only under a live grant.
//!
//! # Invariants
//!
//! - A [`Granted`] can be made in two ways: [`Granted::check`], which checks every source's grant
//!   before it reads one row of any, and [`Granted::own`], for records that belong to no datanet.
//! - The grants go with the records, so that the manifest can name them.
//!
//! Not here: what makes a grant live (signature, slot on chain, time); the caller of `check` knows.

use openledger_protocol::{B256, DatanetId};

use crate::error::FactoryError;
use crate::record::TrainRecord;

/// What a source claims to be allowed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantProof {
    /// The datanet.
    pub datanet: DatanetId,
    /// The version that may be read.
    pub version: u64,
    /// The grant's name ([`openledger_protocol::Grant::struct_hash`]), as it goes into the
    /// manifest.
    pub grant: B256,
}

/// Rows of one datanet version, read only after [`GrantProof`] was found good.
pub trait RecordSource {
    /// The grant under which the rows would be read.
    fn grant(&self) -> GrantProof;

    /// The rows in the order of the version; an error ends the reading and names its reason.
    fn rows(&self) -> Box<dyn Iterator<Item = Result<TrainRecord, String>> + '_>;
}

/// Records that may be trained on, with the grants that say so.
#[derive(Debug, Clone)]
pub struct Granted {
    records: Vec<TrainRecord>,
    sources: Vec<(GrantProof, usize)>,
}

impl Granted {
    /// Reads the rows of `sources`, in order, after `check` found every one of their grants live.
    ///
    /// # Errors
    /// [`FactoryError::NoGrant`] with the reason that `check` gave; then no row was read.
    /// [`FactoryError::Unreadable`] when a source breaks off.
    pub fn check(
        sources: &[&dyn RecordSource],
        mut check: impl FnMut(&GrantProof) -> Result<(), String>,
    ) -> Result<Self, FactoryError> {
        let grants: Vec<GrantProof> = sources.iter().map(|source| source.grant()).collect();
        for grant in &grants {
            check(grant).map_err(|reason| FactoryError::NoGrant {
                datanet: grant.datanet.0,
                version: grant.version,
                reason,
            })?;
        }
        let mut granted = Self { records: Vec::new(), sources: Vec::new() };
        for (source, grant) in sources.iter().zip(grants) {
            let before = granted.records.len();
            for row in source.rows() {
                granted.records.push(row.map_err(|reason| FactoryError::Unreadable {
                    datanet: grant.datanet.0,
                    version: grant.version,
                    reason,
                })?);
            }
            let count = granted.records.len() - before;
            granted.sources.push((grant, count));
        }
        Ok(granted)
    }

    /// Records that stand in no datanet, such as a file of one's own: nobody else's leave is
    /// needed.
    #[must_use]
    pub fn own(records: Vec<TrainRecord>) -> Self {
        Self { records, sources: Vec::new() }
    }

    /// The records, source after source.
    #[must_use]
    pub fn records(&self) -> &[TrainRecord] {
        &self.records
    }

    /// The grants with the number of records read under each, in the order of the records.
    #[must_use]
    pub fn sources(&self) -> &[(GrantProof, usize)] {
        &self.sources
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Counted<'a> {
        datanet: u64,
        read: &'a Cell<usize>,
    }
    impl RecordSource for Counted<'_> {
        fn grant(&self) -> GrantProof {
            GrantProof { datanet: DatanetId(self.datanet), version: 3, grant: B256::repeat_byte(7) }
        }
        fn rows(&self) -> Box<dyn Iterator<Item = Result<TrainRecord, String>> + '_> {
            Box::new((0..2).map(|row| {
                self.read.set(self.read.get() + 1);
                Ok(TrainRecord::text(format!("{}-{row}", self.datanet), "text"))
            }))
        }
    }

    #[test]
    fn a_dead_grant_is_refused_before_any_row_of_any_source_is_read() {
        let read = Cell::new(0);
        let (one, two) = (Counted { datanet: 1, read: &read }, Counted { datanet: 2, read: &read });
        let verdict = |grant: &GrantProof| if grant.datanet.0 == 1 { Ok(()) } else { Err("revoked".to_owned()) };
        let error = Granted::check(&[&one, &two], verdict).unwrap_err();
        assert!(matches!(error, FactoryError::NoGrant { datanet: 2, version: 3, .. }), "{error}");
        assert_eq!(read.get(), 0);
    }

    #[test]
    fn live_grants_come_with_their_records() {
        let read = Cell::new(0);
        let (one, two) = (Counted { datanet: 1, read: &read }, Counted { datanet: 2, read: &read });
        let granted = Granted::check(&[&one, &two], |_| Ok(())).unwrap();
        let names: Vec<&str> = granted.records().iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["1-0", "1-1", "2-0", "2-1"]);
        assert_eq!(granted.sources().iter().map(|(g, n)| (g.datanet.0, *n)).collect::<Vec<_>>(), [(1, 2), (2, 2)]);
    }

    #[test]
    fn a_source_that_breaks_off_is_named() {
        struct Broken;
        impl RecordSource for Broken {
            fn grant(&self) -> GrantProof {
                GrantProof { datanet: DatanetId(9), version: 1, grant: B256::ZERO }
            }
            fn rows(&self) -> Box<dyn Iterator<Item = Result<TrainRecord, String>> + '_> {
                Box::new(std::iter::once(Err("blob gone".to_owned())))
            }
        }
        let error = Granted::check(&[&Broken], |_| Ok(())).unwrap_err();
        assert!(matches!(error, FactoryError::Unreadable { datanet: 9, .. }), "{error}");
    }
}
