//! The genesis block: 10^27 base units of OPEN, the CREATE2 deployer, Cancun rules.
//!
//! Written as the genesis JSON that every Ethereum client reads, so that any of them could replay
//! the chain.
//!
//! # Invariants
//!
//! - The balances sum to exactly [`TOTAL_SUPPLY`].
//! - The same configuration gives the same genesis hash; the order of the seeded accounts does not
//!   matter.
//!
//! Not here: our contracts. They are deployed by CREATE2 at the same addresses as on every other
//! network.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use serde_json::{Value, json};

use super::config::{ChainConfig, TOTAL_SUPPLY};
use super::error::EmbeddedError;
use crate::contracts::{CREATE2_DEPLOYER, CREATE2_DEPLOYER_CODE};

/// The genesis of `config` as the JSON document Ethereum clients share.
///
/// # Errors
///
/// [`EmbeddedError::TooMuchSeeded`] and [`EmbeddedError::SeededTwice`] when the accounts do not add
/// up.
pub fn genesis_json(config: &ChainConfig) -> Result<Value, EmbeddedError> {
    let mut balances: BTreeMap<Address, U256> = BTreeMap::new();
    let mut left = U256::from(TOTAL_SUPPLY);
    for &(account, amount) in &config.genesis_accounts {
        left = left.checked_sub(amount).ok_or(EmbeddedError::TooMuchSeeded)?;
        if account == config.treasury || balances.insert(account, amount).is_some() {
            return Err(EmbeddedError::SeededTwice { account });
        }
    }
    balances.insert(config.treasury, left);

    let mut alloc: serde_json::Map<String, Value> = balances
        .into_iter()
        .map(|(account, amount)| (format!("{account:#x}"), json!({ "balance": format!("{amount:#x}") })))
        .collect();
    alloc.insert(
        format!("{CREATE2_DEPLOYER:#x}"),
        json!({ "balance": "0x0", "nonce": "0x1", "code": alloy_primitives::hex::encode_prefixed(CREATE2_DEPLOYER_CODE) }),
    );

    Ok(json!({
        "config": {
            "chainId": config.chain_id,
            "homesteadBlock": 0, "eip150Block": 0, "eip155Block": 0, "eip158Block": 0,
            "byzantiumBlock": 0, "constantinopleBlock": 0, "petersburgBlock": 0, "istanbulBlock": 0,
            "berlinBlock": 0, "londonBlock": 0, "mergeNetsplitBlock": 0,
            "shanghaiTime": 0, "cancunTime": 0,
            "terminalTotalDifficulty": "0x0", "terminalTotalDifficultyPassed": true,
            "depositContractAddress": format!("{:#x}", Address::ZERO),
        },
        "alloc": alloc,
        "coinbase": format!("{:#x}", Address::ZERO),
        "difficulty": "0x0",
        // The chain id is no part of a block's hash; said here, it tells directories of two chains
        // apart.
        "extraData": alloy_primitives::hex::encode_prefixed(format!("openledger/{}", config.chain_id)),
        "gasLimit": format!("{:#x}", config.block_gas_limit),
        "nonce": "0x0",
        "mixHash": format!("{:#x}", alloy_primitives::B256::ZERO),
        "timestamp": config.clock.genesis_time().to_string(),
        "baseFeePerGas": "0x3b9aca00",
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balances(config: &ChainConfig) -> Vec<U256> {
        let genesis = genesis_json(config).unwrap();
        let alloc = genesis["alloc"].as_object().unwrap();
        alloc.values().map(|account| account["balance"].as_str().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn balances_sum_to_the_supply() {
        let accounts = vec![(Address::repeat_byte(1), U256::from(5)), (Address::repeat_byte(2), U256::from(7))];
        let config = ChainConfig { genesis_accounts: accounts, ..ChainConfig::default() };
        let sum: U256 = balances(&config).into_iter().sum();
        assert_eq!(sum, U256::from(TOTAL_SUPPLY));
    }

    #[test]
    fn seeding_more_than_the_supply_is_refused() {
        let accounts = vec![(Address::repeat_byte(1), U256::from(TOTAL_SUPPLY)), (Address::repeat_byte(2), U256::ONE)];
        let config = ChainConfig { genesis_accounts: accounts, ..ChainConfig::default() };
        assert!(matches!(genesis_json(&config), Err(EmbeddedError::TooMuchSeeded)));
    }

    #[test]
    fn seeding_an_account_twice_is_refused() {
        let accounts = vec![(Address::repeat_byte(1), U256::ONE), (Address::repeat_byte(1), U256::ONE)];
        let config = ChainConfig { genesis_accounts: accounts, ..ChainConfig::default() };
        assert!(matches!(genesis_json(&config), Err(EmbeddedError::SeededTwice { .. })));
    }
}
