//! OPEN as contracts see it: wrapping, approving, balances.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;
use openledger_protocol::{Amount, ChannelConfig, keccak, keccak_words, word};

use super::{Flow, FlowError};
use crate::contracts::bindings::wopen::WOPEN;
use crate::sender::Mined;

/// Money that its owner lets go into one channel, to be signed as ERC-3009 `ReceiveWithAuthorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// How much.
    pub amount: Amount,
    /// Valid after this time, in seconds since 1970.
    pub valid_after: u64,
    /// Valid before this time, in seconds since 1970.
    pub valid_before: u64,
    /// Makes its nonce, together with the channel: one authorization for each salt.
    pub salt: B256,
}

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

    /// What `owner` signs (ERC-2612) so that `spender` may take `amount` of its token until `deadline`, once.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the views.
    pub async fn permit_digest(
        &self,
        owner: Address,
        spender: Address,
        amount: Amount,
        deadline: u64,
    ) -> Result<B256, FlowError> {
        let nonce = self.view(self.at.wopen, WOPEN::noncesCall { owner }).await?;
        let words = [
            keccak("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
            word(owner),
            word(spender),
            word(amount.0),
            B256::from(nonce),
            word(deadline),
        ];
        self.token_digest(&words).await
    }

    /// What the payer of a channel signs so that anyone may pay `authorization` of its token into it.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn authorization_digest(
        &self,
        config: &ChannelConfig,
        authorization: &Authorization,
    ) -> Result<B256, FlowError> {
        let channel = config.id(self.sender.chain_id(), self.at.channels);
        let words = [
            keccak(
                "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,\
                 bytes32 nonce)",
            ),
            word(config.payer),
            word(self.at.channels),
            word(authorization.amount.0),
            word(authorization.valid_after),
            word(authorization.valid_before),
            keccak_words(&[channel.0, authorization.salt]),
        ];
        self.token_digest(&words).await
    }

    /// The EIP-712 digest of a struct's words in the token's own domain, which is not ours.
    async fn token_digest(&self, words: &[B256]) -> Result<B256, FlowError> {
        let separator = self.view(self.at.wopen, WOPEN::DOMAIN_SEPARATORCall {}).await?;
        let mut bytes = vec![0x19, 0x01];
        bytes.extend_from_slice(separator.as_slice());
        bytes.extend_from_slice(keccak_words(words).as_slice());
        Ok(keccak(bytes))
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
