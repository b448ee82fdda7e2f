//! Models: registering, prices.

use alloy_primitives::{Address, B256, aliases::U96};
use openledger_protocol::{Amount, ModelId};

use super::{Contract, Done, FlowError};
use crate::contracts::bindings::models::{IModels, Models};

/// A model to register. Prices are per 1,000 tokens, in base units, below 2^96.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewModel {
    /// SHA-256 of the weights.
    pub weights: B256,
    /// SHA-256 of the manifest.
    pub manifest: B256,
    /// Price of tokens read.
    pub price_in: Amount,
    /// Price of tokens written.
    pub price_out: Amount,
    /// Price of an answer, on top.
    pub price_flat: Amount,
    /// The model it derives from, if any.
    pub parent: Option<ModelId>,
    /// Platform's share in basis points.
    pub platform_bps: u16,
    /// Owner's and node's share in basis points.
    pub model_bps: u16,
    /// Stakers' share in basis points.
    pub stakers_bps: u16,
    /// Part of the owner's line that the parent's holder gets, in basis points.
    pub parent_bps: u16,
    /// Who gets the stakers' line; zero sends it to insurance.
    pub stake_vault: Address,
}

/// A model as it stands on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelState {
    /// As registered; prices as set last.
    pub model: NewModel,
    /// How many ancestors it has.
    pub depth: u8,
}

/// The contract of models.
#[derive(Clone, Copy)]
pub struct ModelsContract<'a>(pub(super) Contract<'a>);

impl ModelsContract<'_> {
    /// Registers a model owned by the account; `uri` tells where its card is.
    ///
    /// # Errors
    ///
    /// [`FlowError::TooLarge`] for a price of 2^96 or more; [`FlowError::Send`], with
    /// `SplitOutOfBounds` or `BadParent` where they apply.
    pub async fn register(self, key: &str, model: &NewModel, uri: &str) -> Result<Done<ModelId>, FlowError> {
        let m = IModels::NewModel {
            weights: model.weights,
            manifest: model.manifest,
            priceIn: price(model.price_in)?,
            priceOut: price(model.price_out)?,
            priceFlat: price(model.price_flat)?,
            parent: model.parent.map_or(0, |parent| parent.0),
            platformBps: model.platform_bps,
            modelBps: model.model_bps,
            stakersBps: model.stakers_bps,
            parentBps: model.parent_bps,
            stakeVault: model.stake_vault,
        };
        let mined = self.0.send(key, Models::registerCall { m, uri: uri.to_owned() }).await?;
        let registered: Models::ModelRegistered = self.0.event(&mined)?;
        Ok(Done { value: ModelId(registered.model), mined })
    }

    /// A model as it stands.
    ///
    /// # Errors
    ///
    /// [`FlowError::Refused`] with `NoSuchModel` when there is none.
    pub async fn state(self, model: ModelId) -> Result<ModelState, FlowError> {
        let state = self.0.view(Models::modelsCall { model: model.0 }).await?;
        let model = NewModel {
            weights: state.weights,
            manifest: state.manifest,
            price_in: Amount(state.priceIn.to()),
            price_out: Amount(state.priceOut.to()),
            price_flat: Amount(state.priceFlat.to()),
            parent: (state.parent != 0).then_some(ModelId(state.parent)),
            platform_bps: state.platformBps,
            model_bps: state.modelBps,
            stakers_bps: state.stakersBps,
            parent_bps: state.parentBps,
            stake_vault: state.stakeVault,
        };
        Ok(ModelState { model, depth: state.depth })
    }
}

fn price(amount: Amount) -> Result<U96, FlowError> {
    let too_large = |_| FlowError::TooLarge { what: "a price", value: alloy_primitives::U256::from(amount.0) };
    U96::try_from(amount.0).map_err(too_large)
}
