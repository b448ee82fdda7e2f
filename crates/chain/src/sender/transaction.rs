//! Builds, signs and reads EIP-1559 transactions.
//!
//! **Invariant:** signing is deterministic, so the same key, nonce and call give the same bytes and hash.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use openledger_protocol::Key;

/// What a transaction may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeePolicy {
    /// Most that is paid per gas, base fee and tip together, in base units.
    pub max_fee: u128,
    /// Tip per gas to whoever makes the block, in base units.
    pub tip: u128,
}

impl Default for FeePolicy {
    /// 100 and 1 thousand-millionths of an OPEN: room for a hundredfold base fee, and the same bytes on every run.
    fn default() -> Self {
        Self { max_fee: 100_000_000_000, tip: 1_000_000_000 }
    }
}

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
    let transaction = TxEip1559 {
        chain_id: draft.chain_id,
        nonce: draft.nonce,
        gas_limit: draft.gas_limit,
        max_fee_per_gas: fees.max_fee,
        max_priority_fee_per_gas: fees.tip,
        to: TxKind::Call(draft.to),
        value: draft.value,
        access_list: Default::default(),
        input: draft.data,
    };
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

/// The gas limit for an estimate: a fifth more, rounded up to ten thousands, so that small differences of state do not
/// change the bytes.
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
    fn gas_limits_have_a_fifth_of_room_and_round_up_to_ten_thousands() {
        assert_eq!(gas_limit(21_000), 30_000);
        assert_eq!(gas_limit(50_000), 60_000);
        assert_eq!(gas_limit(50_001), 70_000);
        assert_eq!(gas_limit(0), 0);
    }
}
