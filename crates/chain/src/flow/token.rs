//! OPEN as contracts see it: wrapping, approving, balances.

use alloy_primitives::{Address, U256};
use openledger_protocol::Amount;

use super::{Contract, FlowError};
use crate::contracts::bindings::wopen::WOPEN;
use crate::sender::Mined;

/// The contract of the token.
#[derive(Clone, Copy)]
pub struct TokenContract<'a>(pub(super) Contract<'a>);

impl TokenContract<'_> {
    /// Wraps `amount` of the account's native coin.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`] when the coins do not suffice.
    pub async fn wrap(self, key: &str, amount: Amount) -> Result<Mined, FlowError> {
        self.0.send_value(key, WOPEN::depositCall {}, U256::from(amount.0)).await
    }

    /// Lets `spender` take up to `amount` of the account's token.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`].
    pub async fn approve(self, key: &str, spender: Address, amount: Amount) -> Result<Mined, FlowError> {
        self.0.send(key, WOPEN::approveCall { spender, value: U256::from(amount.0) }).await
    }

    /// Token that `account` holds.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn balance(self, account: Address) -> Result<Amount, FlowError> {
        amount("a balance", self.0.view(WOPEN::balanceOfCall { account }).await?)
    }

    /// All token there is.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn supply(self) -> Result<Amount, FlowError> {
        amount("the supply", self.0.view(WOPEN::totalSupplyCall {}).await?)
    }
}

/// A `uint256` of money.
fn amount(what: &'static str, value: U256) -> Result<Amount, FlowError> {
    u128::try_from(value).map(Amount).map_err(|_| FlowError::TooLarge { what, value })
}
