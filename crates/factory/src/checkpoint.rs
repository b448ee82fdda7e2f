//! The state of an unfinished run, as a file that is whole or not there.
//!
//! `magic ‖ fingerprint (32) ‖ base loss (u64) ‖ n (u64) ‖ n step losses (u64) ‖ engine state ‖
//! SHA-256 of all before`, little-endian. The fingerprint names recipe, base, tokenizer and
//! records, so that no other run can take it up.

use std::path::Path;

use openledger_protocol::{B256, sha256};

use crate::error::FactoryError;
use crate::files;

const MAGIC: &[u8] = b"openledger-checkpoint/1\n";

/// What a run needs to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Names everything that decides the run.
    pub(crate) fingerprint: B256,
    /// The base's held-out loss in micro-nats.
    pub(crate) before: u64,
    /// The loss of each step done, in micro-nats.
    pub(crate) losses: Vec<u64>,
    /// Parameters and moments, as the engine writes them.
    pub(crate) engine: Vec<u8>,
}

impl Checkpoint {
    pub(crate) fn save(&self, path: &Path) -> Result<(), FactoryError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(self.fingerprint.as_slice());
        bytes.extend_from_slice(&self.before.to_le_bytes());
        bytes.extend_from_slice(&(self.losses.len() as u64).to_le_bytes());
        bytes.extend(self.losses.iter().flat_map(|loss| loss.to_le_bytes()));
        bytes.extend_from_slice(&self.engine);
        let sum = sha256(&bytes);
        bytes.extend_from_slice(sum.as_slice());
        files::write_atomically(path, &bytes)
    }

    /// Reads the file at `path`, or `None` when there is none.
    pub(crate) fn load(path: &Path, fingerprint: B256) -> Result<Option<Self>, FactoryError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(files::io(path)(error)),
        };
        let bad = |reason: &str| FactoryError::BadCheckpoint { path: path.to_owned(), reason: reason.to_owned() };
        let damaged = || bad("it is damaged");
        let (body, sum) = bytes.split_last_chunk::<32>().ok_or_else(damaged)?;
        let rest = body.strip_prefix(MAGIC).ok_or_else(|| bad("it is not a checkpoint of this version"))?;
        if sha256(body) != B256::from(*sum) {
            return Err(damaged());
        }
        let (found, rest) = rest.split_first_chunk::<32>().ok_or_else(damaged)?;
        if *found != fingerprint {
            return Err(bad("it belongs to a run with another recipe, base, tokenizer or other records"));
        }
        let (before, rest) = word(rest).ok_or_else(damaged)?;
        let (count, mut rest) = word(rest).ok_or_else(damaged)?;
        let mut losses = Vec::new();
        for _ in 0..count {
            let (loss, left) = word(rest).ok_or_else(damaged)?;
            losses.push(loss);
            rest = left;
        }
        Ok(Some(Self { fingerprint, before, losses, engine: rest.to_vec() }))
    }
}

fn word(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_and_refuses_other_runs_and_damage() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("made when needed").join("run.checkpoint");
        let fingerprint = sha256("run");
        assert_eq!(Checkpoint::load(&path, fingerprint).unwrap(), None);
        let saved = Checkpoint { fingerprint, before: 5, losses: vec![3, 2, 1], engine: vec![9; 40] };
        saved.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path, fingerprint).unwrap().unwrap(), saved);

        let error = Checkpoint::load(&path, sha256("other")).unwrap_err();
        assert!(error.to_string().contains("another recipe"), "{error}");
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 10, 60, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(matches!(Checkpoint::load(&path, fingerprint), Err(FactoryError::BadCheckpoint { .. })), "{cut}");
        }
    }
}
