//! This process among those that share a database.

use std::path::Path;
use std::sync::Arc;

use openledger_protocol::keccak;

use crate::error::{NodeError, Result};
use crate::files::write_atomically;

/// The name under which a process holds leases and reservations: the same after a restart in the same folder.
#[derive(Clone, Debug)]
pub(crate) struct Instance(Arc<str>);

impl Instance {
    /// The instance of a data folder; its name is made at the first start.
    pub(crate) fn of(data: &Path) -> Result<Self> {
        let file = data.join("instance");
        match std::fs::read_to_string(&file) {
            Ok(name) if !name.trim().is_empty() => Ok(Self(name.trim().into())),
            Ok(_) => Self::new(&file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::new(&file),
            Err(error) => Err(NodeError::file(&file)(error)),
        }
    }

    fn new(file: &Path) -> Result<Self> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seed = format!("{}\n{}\n{}", file.display(), std::process::id(), now.as_nanos());
        let name = hex::encode(&keccak(seed)[..8]);
        write_atomically(file, name.as_bytes())?;
        Ok(Self(name.into()))
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}
