//! Records kept out of training: which ones, and what the model loses on them.
//!
//! **Invariant:** whether a record is held out depends on its content and the share alone, so that
//! adding or removing others moves nothing, and copies of a record fall on the same side.

use openledger_engine::{Lora, Model, score};
use openledger_protocol::B256;

use crate::encode::Sequence;
use crate::error::FactoryError;

/// Whether the record with content hash `hash` is held out when `share` of all are.
#[must_use]
pub fn is_held_out(hash: B256, share: f64) -> bool {
    let mut head = [0u8; 8];
    head.copy_from_slice(&hash[..8]);
    // 53 bits, so that the quotient is exact.
    let place = (u64::from_be_bytes(head) >> 11) as f64 / (1u64 << 53) as f64;
    place < share
}

/// What base and adapter lose on the held-out records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// Places of the held-out records among all records.
    pub records: Vec<usize>,
    /// Tokens measured.
    pub tokens: u64,
    /// Mean loss of the base, in micro-nats a token, rounded to the nearest.
    pub before: u64,
    /// Mean loss with the adapter, likewise.
    pub after: u64,
}

/// Mean loss over the learned tokens of `sequences`, in micro-nats a token; summed in `f64` in
/// order.
///
/// # Errors
/// [`FactoryError::Run`] when a sequence does not fit the model.
pub(crate) fn measure(model: &Model, lora: Option<&Lora>, sequences: &[Sequence]) -> Result<u64, FactoryError> {
    let (mut nats, mut tokens) = (0.0, 0u64);
    for sequence in sequences {
        let scores = score(model, lora, &sequence.ids)?;
        // `scores[i]` belongs to id `i + 1`.
        nats -= scores.iter().skip(sequence.loss_from - 1).map(|s| f64::from(*s)).sum::<f64>();
        tokens += sequence.learned();
    }
    Ok(if tokens == 0 { 0 } else { micro_nats(nats / tokens as f64) })
}

/// `nats` in millionths, rounded to the nearest; not a number and below zero count as zero.
pub(crate) fn micro_nats(nats: f64) -> u64 {
    (nats * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use openledger_protocol::sha256;

    use super::*;

    #[test]
    fn about_the_share_is_held_out_and_growing_it_moves_nobody_back() {
        let hashes: Vec<B256> = (0..2000u32).map(|i| sha256(i.to_le_bytes())).collect();
        let held = |share| hashes.iter().map(|h| is_held_out(*h, share)).collect::<Vec<_>>();
        let (five, ten) = (held(0.05), held(0.10));
        let count = five.iter().filter(|h| **h).count();
        assert!((70..130).contains(&count), "{count} of 2000");
        assert!(five.iter().zip(&ten).all(|(small, large)| !small || *large));
        assert!(held(0.0).iter().all(|h| !h));
    }
}
