//! OPEN as contracts see it: wrapping, approving, balances.

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use openledger_protocol::Amount;

use super::{Flow, FlowError};
use crate::contracts::bindings::wopen::WOPEN;
use crate::sender::Mined;

impl Flow {
    /// Wraps `amount` of the account's native coin.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`] when the coins do not suffice.
    pub async fn wrap(&self, key: &str, amount: Amount) -> Result<Mined, FlowError> {
        let data = WOPEN::depositCall {}.abi_encode().into();
        Ok(self.sender.send(key, self.at.wopen, data, U256::from(amount.0)).await?)
    }

    /// Turns `amount` of the account's WOPEN back into the native coin.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`] when there is not so much.
    pub async fn unwrap(&self, key: &str, amount: Amount) -> Result<Mined, FlowError> {
        self.send(key, self.at.wopen, WOPEN::withdrawCall { amount: U256::from(amount.0) }).await
    }

    /// Lets `spender` take up to `amount` of the account's token.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn approve(&self, key: &str, spender: Address, amount: Amount) -> Result<Mined, FlowError> {
        self.send(key, self.at.wopen, WOPEN::approveCall { spender, value: U256::from(amount.0) }).await
    }

    /// Gives `amount` of the account's token to `to`.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`] when there is not so much.
    pub async fn transfer(&self, key: &str, to: Address, amount: Amount) -> Result<Mined, FlowError> {
        self.send(key, self.at.wopen, WOPEN::transferCall { to, value: U256::from(amount.0) }).await
    }

    /// Token that `account` holds.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn token_balance(&self, account: Address) -> Result<Amount, FlowError> {
        amount("a balance", self.view(self.at.wopen, WOPEN::balanceOfCall { account }).await?)
    }

    /// Token that `spender` may take of `owner`'s. More than an [`Amount`] holds counts as the largest.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn allowance(&self, owner: Address, spender: Address) -> Result<Amount, FlowError> {
        let allowed = self.view(self.at.wopen, WOPEN::allowanceCall { owner, spender }).await?;
        Ok(Amount(u128::try_from(allowed).unwrap_or(u128::MAX)))
    }

    /// All token there is.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn token_supply(&self) -> Result<Amount, FlowError> {
        amount("the supply", self.view(self.at.wopen, WOPEN::totalSupplyCall {}).await?)
    }
}

/// A `uint256` of money.
fn amount(what: &'static str, value: U256) -> Result<Amount, FlowError> {
    u128::try_from(value).map(Amount).map_err(|_| FlowError::TooLarge { what, value })
}
