//! Builds, signs and reads EIP-1559 transactions.
//!
//! **Invariant:** signing is deterministic, so the same key, nonce and call give the same bytes and
//! hash.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use openledger_protocol::Key;

/// What a transaction may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeePolicy {
    /// Most that is paid per gas at first, base fee and tip together, in base units.
    pub max_fee: u128,
    /// Tip per gas to whoever makes the block, at first, in base units.
    pub tip: u128,
    /// Most that is ever paid per gas, when a transaction is stuck and offered again for more, in
    /// base units.
    pub ceiling: u128,
}

impl Default for FeePolicy {
    /// 100, 1 and 1,000 thousand-millionths of an OPEN: room for a hundredfold base fee, and the
    /// same bytes on every run of a network that has it.
    fn default() -> Self {
        Self { max_fee: 100_000_000_000, tip: 1_000_000_000, ceiling: 1_000_000_000_000 }
    }
}

/// Rungs above the first that a transaction can have; each doubles fee and tip.
pub(super) const RUNGS: u32 = 16;

/// The parts of a transaction that differ from call to call.
pub(super) struct Draft {
    pub(super) chain_id: u64,
    pub(super) nonce: u64,
    pub(super) gas_limit: u64,
    pub(super) to: Address,
    pub(super) value: U256,
    pub(super) data: Bytes,
}

/// Signs `draft`; the result is the bytes to broadcast and their hash.
pub(super) fn sign(draft: Draft, fees: FeePolicy, key: &Key) -> (Bytes, B256) {
    seal(unsigned(draft, fees), key)
}

/// The same transaction as `raw`, same nonce and same call, offered for `2^rung` times fee and tip.
///
/// A function of `raw` and `rung` alone, so what was written down once names all of them; at most
/// one can be mined. None when `raw` is not a transaction of ours.
pub(super) fn rung(raw: &Bytes, rung: u32, key: &Key) -> Option<(Bytes, B256)> {
    let mut transaction = read(raw)?;
    transaction.max_fee_per_gas = raised(transaction.max_fee_per_gas, rung);
    transaction.max_priority_fee_per_gas = raised(transaction.max_priority_fee_per_gas, rung);
    Some(seal(transaction, key))
}

/// The lowest rung that pays twice the `base_fee` and is under the `ceiling`; where there is none,
/// the highest under it that pays the base fee at all.
///
/// Twice, because the base fee may rise by an eighth a block while the transaction waits.
pub(super) fn rung_for(base_fee: u128, max_fee: u128, ceiling: u128) -> Option<u32> {
    let allowed = || (0..=RUNGS).filter(|&rung| rung == 0 || raised(max_fee, rung) <= ceiling);
    let enough = allowed().find(|&rung| raised(max_fee, rung) >= base_fee.saturating_mul(2));
    enough.or_else(|| allowed().rfind(|&rung| raised(max_fee, rung) >= base_fee))
}

/// A fee on a rung.
pub(super) fn raised(fee: u128, rung: u32) -> u128 {
    fee.saturating_mul(1 << rung.min(RUNGS))
}

fn unsigned(draft: Draft, fees: FeePolicy) -> TxEip1559 {
    TxEip1559 {
        chain_id: draft.chain_id,
        nonce: draft.nonce,
        gas_limit: draft.gas_limit,
        max_fee_per_gas: fees.max_fee,
        max_priority_fee_per_gas: fees.tip,
        to: TxKind::Call(draft.to),
        value: draft.value,
        access_list: Default::default(),
        input: draft.data,
    }
}

fn seal(transaction: TxEip1559, key: &Key) -> (Bytes, B256) {
    let bytes = key.sign(transaction.signature_hash()).0;
    let signature = Signature::from_bytes_and_parity(&bytes[..64], bytes[64] == 28);
    let signed = transaction.into_signed(signature);
    let hash = *signed.hash();
    (signed.encoded_2718().into(), hash)
}

/// Reads signed bytes back; none when they are not an EIP-1559 transaction.
pub(super) fn read(raw: &Bytes) -> Option<TxEip1559> {
    match TxEnvelope::decode_2718(&mut raw.as_ref()).ok()? {
        TxEnvelope::Eip1559(signed) => Some(signed.strip_signature()),
        _ => None,
    }
}

/// The gas limit for an estimate: a fifth more, rounded up to ten thousands, so that small
/// differences of state do not change the bytes.
pub(super) fn gas_limit(estimate: u64) -> u64 {
    const STEP: u64 = 10_000;
    (estimate.saturating_add(estimate / 5)).div_ceil(STEP).saturating_mul(STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft {
            chain_id: 2626,
            nonce: 7,
            gas_limit: 30_000,
            to: Address::repeat_byte(9),
            value: U256::from(5),
            data: Bytes::from_static(b"call"),
        }
    }

    #[test]
    fn signing_twice_gives_the_same_bytes() {
        let key = Key::demo(1, "river-gauge");
        assert_eq!(sign(draft(), FeePolicy::default(), &key), sign(draft(), FeePolicy::default(), &key));
    }

    #[test]
    fn signed_bytes_read_back_as_what_was_signed() {
        let key = Key::demo(1, "river-gauge");
        let (raw, hash) = sign(draft(), FeePolicy::default(), &key);
        let envelope = TxEnvelope::decode_2718(&mut raw.as_ref()).unwrap();
        assert_eq!(*envelope.tx_hash(), hash);
        let TxEnvelope::Eip1559(signed) = envelope else { panic!("another type") };
        let signer = signed.signature().recover_address_from_prehash(&signed.signature_hash());
        assert_eq!(signer.unwrap(), key.address());
        let back = read(&raw).unwrap();
        assert_eq!((back.nonce, back.value, back.input), (7, U256::from(5), Bytes::from_static(b"call")));
    }

    #[test]
    fn a_rung_is_the_same_call_for_twice_the_fee_and_can_be_made_again_from_what_was_written_down() {
        let key = Key::demo(1, "river-gauge");
        let (raw, hash) = sign(draft(), FeePolicy::default(), &key);
        assert_eq!(rung(&raw, 0, &key), Some((raw.clone(), hash)));
        let (dearer, other) = rung(&raw, 3, &key).unwrap();
        assert_ne!(other, hash);
        assert_eq!(rung(&raw, 3, &key), Some((dearer.clone(), other)));
        let (first, third) = (read(&raw).unwrap(), read(&dearer).unwrap());
        assert_eq!(third.max_fee_per_gas, 8 * first.max_fee_per_gas);
        assert_eq!(third.max_priority_fee_per_gas, 8 * first.max_priority_fee_per_gas);
        let same = |t: TxEip1559| (t.nonce, t.to, t.value, t.input, t.gas_limit, t.chain_id);
        assert_eq!(same(first), same(third));
    }

    #[test]
    fn the_lowest_rung_that_pays_twice_the_base_fee_is_taken_and_none_above_the_ceiling() {
        assert_eq!(rung_for(50, 100, 1_000), Some(0));
        assert_eq!(rung_for(51, 100, 1_000), Some(1));
        assert_eq!(rung_for(400, 100, 1_000), Some(3));
        assert_eq!(rung_for(700, 100, 1_000), Some(3), "pays, without room to spare");
        assert_eq!(rung_for(900, 100, 1_000), None);
        assert_eq!(rung_for(200, 100, 0), None, "a ceiling below the first fee leaves the first only");
        assert_eq!(rung_for(80, 100, 0), Some(0));
    }

    #[test]
    fn gas_limits_have_a_fifth_of_room_and_round_up_to_ten_thousands() {
        assert_eq!(gas_limit(21_000), 30_000);
        assert_eq!(gas_limit(50_000), 60_000);
        assert_eq!(gas_limit(50_001), 70_000);
        assert_eq!(gas_limit(0), 0);
    }
}
