//! Titles: what datanets, contributions and models have in common as tokens that are owned, sold and owe royalties.
//!
//! All three contracts answer the same calls (`ITitle`, ERC-721, ERC-2981), so one set of types serves them.

use alloy_primitives::{Address, B256, U256, aliases::U96};
use openledger_protocol::{Amount, ContributionId, DatanetId, ModelId, word};

use super::{Flow, FlowError};
use crate::contracts::bindings::datanets::Datanets as Titles;
use crate::sender::Mined;

/// One title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Title {
    /// A datanet's: its holder publishes and grants.
    Datanet(DatanetId),
    /// A contribution's: its holder is paid for it.
    Contribution(ContributionId),
    /// A model's: its holder is paid the owner's line and sets the price.
    Model(ModelId),
}

impl Title {
    /// Its token number, as a word.
    #[must_use]
    pub fn token(self) -> B256 {
        match self {
            Self::Datanet(id) => word(id.0),
            Self::Contribution(id) => id.0,
            Self::Model(id) => word(id.0),
        }
    }
}

/// What a sale owes the first holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Royalty {
    /// Who.
    pub receiver: Address,
    /// How much of the price that was asked about.
    pub amount: Amount,
}

impl Flow {
    fn title_contract(&self, title: Title) -> Address {
        match title {
            Title::Datanet(_) => self.at.datanets,
            Title::Contribution(_) => self.at.contributions,
            Title::Model(_) => self.at.models,
        }
    }

    /// Sells or gives a title of the account's.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`] when the account does not hold it.
    pub async fn transfer_title(&self, key: &str, title: Title, to: Address) -> Result<Mined, FlowError> {
        let call = Titles::transferFromCall { from: self.account(), to, tokenId: title.token().into() };
        self.send(key, self.title_contract(title), call).await
    }

    /// Who holds a title now.
    ///
    /// # Errors
    ///
    /// [`FlowError::Refused`] when there is no such title.
    pub async fn title_holder(&self, title: Title) -> Result<Address, FlowError> {
        self.view(self.title_contract(title), Titles::ownerOfCall { tokenId: title.token().into() }).await
    }

    /// Who held a title when `block` was the newest, as the contract itself can tell: across its last change of hands.
    ///
    /// # Errors
    ///
    /// [`FlowError::Refused`], with `HolderUnknown` where two or more changes lie after `block`.
    pub async fn title_holder_at(&self, title: Title, block: u64) -> Result<Address, FlowError> {
        let call = Titles::holderAtCall { title: title.token().into(), blockNumber: U256::from(block) };
        self.view(self.title_contract(title), call).await
    }

    /// Sets what resales owe the account, the first holder, in basis points of their price.
    ///
    /// # Errors
    ///
    /// [`FlowError::Send`], with `RoyaltyFixed` once the title has moved, `RoyaltyTooHigh` above 1,000.
    pub async fn set_royalty(&self, key: &str, title: Title, bps: u16) -> Result<Mined, FlowError> {
        let call = Titles::setRoyaltyCall { title: title.token().into(), bps: U96::from(bps) };
        self.send(key, self.title_contract(title), call).await
    }

    /// What a sale of a title for `price` owes, and to whom (ERC-2981).
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the view.
    pub async fn royalty(&self, title: Title, price: Amount) -> Result<Royalty, FlowError> {
        let call = Titles::royaltyInfoCall { tokenId: title.token().into(), salePrice: U256::from(price.0) };
        let owed = self.view(self.title_contract(title), call).await?;
        let too_large = |_| FlowError::TooLarge { what: "a royalty", value: owed.amount };
        Ok(Royalty { receiver: owed.receiver, amount: u128::try_from(owed.amount).map(Amount).map_err(too_large)? })
    }
}
