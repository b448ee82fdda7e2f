//! What single services need of the chain, as narrow traits that [`ChainView`] implements.
//!
//! A service that takes one of these traits works in a test without a chain.
//!
//! **Not here:** services that compose many contracts (settlement, watching, auditing). They take a
//! [`ChainView`].

use std::sync::Arc;

use futures::future::BoxFuture;
use openledger_chain::contracts::bindings::datanets::Datanets::DatanetsEvents;
use openledger_chain::flow::{Done, FlowError, NewContribution, NewModel, Withdrawal};
use openledger_chain::indexer::ChainEvent;
use openledger_chain::rpc::{CallRequest, LogFilter};
use openledger_chain::sender::Mined;
use openledger_protocol::{
    Address, Amount, B256, ChannelConfig, ChannelId, ContributionId, DatanetId, Domain, Grant, ModelId, Params,
    Publication, Purpose, Signature, Voucher, keccak, word,
};

use crate::chain_view::ChainView;
use crate::error::{NodeError, Result};
use crate::events::withdrawal_request;

/// The contract of channels, as deposits need it.
pub(crate) trait ChannelsOnChain: Send + Sync {
    /// The node's account, which its channels pay.
    fn node(&self) -> Address;

    /// The EIP-712 domain of the contract.
    fn domain(&self) -> Domain;

    /// What was paid into a channel and not withdrawn, in base units.
    fn balance(&self, channel: ChannelId) -> BoxFuture<'_, Result<Amount>>;

    /// What the payer of a channel has asked back and did not take yet.
    fn withdrawal(&self, channel: ChannelId) -> BoxFuture<'_, Result<Option<Withdrawal>>>;

    /// What was redeemed from a channel, in base units.
    fn redeemed(&self, channel: ChannelId) -> BoxFuture<'_, Result<Amount>>;

    /// The channels whose deposit was asked back in the blocks `from..=to`, each with the block of
    /// the request.
    fn withdrawal_requests(&self, from: u64, to: u64) -> BoxFuture<'_, Result<Vec<(ChannelId, u64)>>>;

    /// The number of the chain's newest block.
    fn newest_block(&self) -> BoxFuture<'_, Result<u64>>;

    /// Redeems vouchers in one transaction, once for a key.
    fn redeem<'a>(
        &'a self,
        key: &'a str,
        vouchers: &'a [(ChannelConfig, Voucher, Signature)],
    ) -> BoxFuture<'a, std::result::Result<(), FlowError>>;
}

/// The contract of datanets and the index of their titles, as datanets and grants need them.
pub(crate) trait DatanetsOnChain: Send + Sync {
    /// The node's account, which grants name.
    fn node(&self) -> Address;

    /// The EIP-712 domain of the contract.
    fn domain(&self) -> Domain;

    /// Unix seconds by which grants are judged now.
    fn signing_time(&self) -> u64;

    /// Brings the index of titles up to the chain's head.
    fn catch_up(&self) -> BoxFuture<'_, Result<()>>;

    /// The hash of a datanet's terms; zero when there is no such datanet.
    fn terms(&self, datanet: DatanetId) -> BoxFuture<'_, Result<B256>>;

    /// Until when this node may use a datanet for a purpose, in Unix seconds; 0 when it may not.
    fn granted_until(&self, datanet: DatanetId, purpose: Purpose) -> BoxFuture<'_, Result<u64>>;

    /// The number of a datanet's newest version; 0 before the first.
    fn newest_version(&self, datanet: DatanetId) -> BoxFuture<'_, Result<u64>>;

    /// The root of a version; zero when there is no such version.
    fn version_root(&self, datanet: DatanetId, version: u64) -> BoxFuture<'_, Result<B256>>;

    /// Publishes a version with its owner's signature, once for a key. The result names what the
    /// transaction of this key has published.
    fn publish<'a>(
        &'a self,
        key: &'a str,
        publication: &'a Publication,
        signature: &'a Signature,
    ) -> BoxFuture<'a, Result<Done<PublishedVersion>>>;

    /// Puts a grant on chain with its owner's signature, once for a key.
    fn grant<'a>(&'a self, key: &'a str, grant: &'a Grant, signature: &'a Signature) -> BoxFuture<'a, Result<Mined>>;
}

/// A version as the chain has logged its publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PublishedVersion {
    /// Its datanet.
    pub(crate) datanet: DatanetId,
    /// Its number, from 1.
    pub(crate) version: u64,
    /// Its root over the contribution leaves.
    pub(crate) root: B256,
}

/// The contract of contributions and the index of their titles, as intake needs them.
pub(crate) trait ContributionsOnChain: Send + Sync {
    /// The EIP-712 domain of the contract.
    fn domain(&self) -> Domain;

    /// The number of the chain's newest block.
    fn newest_block(&self) -> BoxFuture<'_, Result<u64>>;

    /// Waits until a block above `after` may exist.
    fn next_block(&self, after: u64) -> BoxFuture<'_, ()>;

    /// Brings the index of titles up to the chain's head.
    fn catch_up(&self) -> BoxFuture<'_, Result<()>>;

    /// Batches that an account has registered: the nonce of its next one.
    fn nonce(&self, registrant: Address) -> BoxFuture<'_, Result<u64>>;

    /// Commits to batches in one transaction, once for a key.
    fn commit<'a>(&'a self, key: &'a str, batches: &'a [NewContribution]) -> BoxFuture<'a, Result<()>>;

    /// Registers batches that were committed in an earlier block, all or none, once for a key. The
    /// titles come in the order of the batches.
    fn register<'a>(
        &'a self,
        key: &'a str,
        batches: &'a [NewContribution],
    ) -> BoxFuture<'a, Result<Done<Vec<ContributionId>>>>;
}

/// The contract of models and the index of their titles, as models need them.
pub(crate) trait ModelsOnChain: Send + Sync {
    /// Brings the index of titles up to the chain's head.
    fn catch_up(&self) -> BoxFuture<'_, Result<()>>;

    /// The contract of the titles of models.
    fn titles(&self) -> Address;

    /// The number of the newest block that the index holds.
    fn indexed_block(&self) -> u64;

    /// A model as it is registered, with its prices of now; an error when there is no such title.
    fn registered(&self, model: ModelId) -> BoxFuture<'_, Result<NewModel>>;
}

/// The index of the chain's events, as answers need it: nothing here but [`AnswersOnChain::refresh`]
/// waits for the chain.
pub(crate) trait AnswersOnChain: Send + Sync {
    /// The node's account, which signs receipts.
    fn node(&self) -> Address;

    /// The EIP-712 domain of receipts.
    fn receipts(&self) -> Domain;

    /// The contract of the titles of contributions.
    fn contributions(&self) -> Address;

    /// The contract of the titles of models.
    fn models(&self) -> Address;

    /// The governed numbers by which answers are credited and split now.
    fn governed(&self) -> Arc<Params>;

    /// Unix seconds for what is signed now.
    fn signing_time(&self) -> u64;

    /// The number of the newest block that the index holds.
    fn indexed_block(&self) -> u64;

    /// On the logical clock, brings the index up to the chain's head.
    fn refresh(&self) -> BoxFuture<'_, Result<()>>;
}

impl ChannelsOnChain for ChainView {
    fn node(&self) -> Address {
        self.account()
    }

    fn domain(&self) -> Domain {
        ChainView::domain(self, self.at().channels)
    }

    fn balance(&self, channel: ChannelId) -> BoxFuture<'_, Result<Amount>> {
        Box::pin(async move { Ok(self.flow().channels().state(channel).await?.balance) })
    }

    fn withdrawal(&self, channel: ChannelId) -> BoxFuture<'_, Result<Option<Withdrawal>>> {
        Box::pin(async move { Ok(self.flow().channels().withdrawal(channel).await?) })
    }

    fn redeemed(&self, channel: ChannelId) -> BoxFuture<'_, Result<Amount>> {
        Box::pin(async move { Ok(self.flow().channels().state(channel).await?.redeemed) })
    }

    fn withdrawal_requests(&self, from: u64, to: u64) -> BoxFuture<'_, Result<Vec<(ChannelId, u64)>>> {
        let filter = LogFilter { from, to, addresses: vec![self.at().channels] };
        Box::pin(async move {
            let logs = self.flow().client().logs(&filter).await?;
            Ok(logs.iter().filter_map(|log| withdrawal_request(self.at(), log)).collect())
        })
    }

    fn newest_block(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { Ok(self.flow().client().block_number().await?) })
    }

    fn redeem<'a>(
        &'a self,
        key: &'a str,
        vouchers: &'a [(ChannelConfig, Voucher, Signature)],
    ) -> BoxFuture<'a, std::result::Result<(), FlowError>> {
        Box::pin(async move { self.flow().channels().redeem(key, vouchers).await.map(drop) })
    }
}

impl DatanetsOnChain for ChainView {
    fn node(&self) -> Address {
        self.account()
    }

    fn domain(&self) -> Domain {
        ChainView::domain(self, self.at().datanets)
    }

    fn signing_time(&self) -> u64 {
        ChainView::signing_time(self)
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { ChainView::catch_up(self).await.map(drop) })
    }

    fn terms(&self, datanet: DatanetId) -> BoxFuture<'_, Result<B256>> {
        Box::pin(async move { Ok(self.flow().datanets().state(datanet).await?.terms) })
    }

    fn granted_until(&self, datanet: DatanetId, purpose: Purpose) -> BoxFuture<'_, Result<u64>> {
        let node = self.account();
        Box::pin(async move { Ok(self.flow().datanets().granted_until(datanet, node, purpose).await?) })
    }

    fn newest_version(&self, datanet: DatanetId) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { Ok(self.flow().datanets().state(datanet).await?.version) })
    }

    fn version_root(&self, datanet: DatanetId, version: u64) -> BoxFuture<'_, Result<B256>> {
        // `flow` has no view of it, so its call is encoded here.
        let selector = keccak("rootOf(uint64,uint64)");
        let data = [&selector[..4], word(datanet.0).as_slice(), word(version).as_slice()].concat();
        let to = self.at().datanets;
        let request = CallRequest { to, data: data.into(), ..CallRequest::default() };
        Box::pin(async move {
            let root = self.flow().client().call(&request).await?;
            let other = |_| FlowError::NotOurs { address: to, call: "rootOf(uint64,uint64)" };
            Ok(B256::try_from(&root[..]).map_err(other)?)
        })
    }

    fn publish<'a>(
        &'a self,
        key: &'a str,
        publication: &'a Publication,
        signature: &'a Signature,
    ) -> BoxFuture<'a, Result<Done<PublishedVersion>>> {
        Box::pin(async move {
            let mined = self.flow().datanets().publish_signed(key, publication, signature).await?.mined;
            let published = mined.logs.iter().find_map(|log| match ChainEvent::decode(self.at(), log)? {
                ChainEvent::Datanets(DatanetsEvents::VersionPublished(event)) => Some(PublishedVersion {
                    datanet: DatanetId(event.datanet),
                    version: event.version,
                    root: event.root,
                }),
                _ => None,
            });
            let missing = FlowError::NoEvent { hash: mined.hash, event: "VersionPublished" };
            Ok(Done { value: published.ok_or(missing)?, mined })
        })
    }

    fn grant<'a>(&'a self, key: &'a str, grant: &'a Grant, signature: &'a Signature) -> BoxFuture<'a, Result<Mined>> {
        Box::pin(async move { Ok(self.flow().datanets().grant_signed(key, grant, signature).await?) })
    }
}

impl ContributionsOnChain for ChainView {
    fn domain(&self) -> Domain {
        ChainView::domain(self, self.at().contributions)
    }

    fn newest_block(&self) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { Ok(self.flow().client().block_number().await?) })
    }

    fn next_block(&self, after: u64) -> BoxFuture<'_, ()> {
        self.flow().client().rpc().next_block(after)
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { ChainView::catch_up(self).await.map(drop) })
    }

    fn nonce(&self, registrant: Address) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move { Ok(self.flow().contributions().nonce(registrant).await?) })
    }

    fn commit<'a>(&'a self, key: &'a str, batches: &'a [NewContribution]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.flow().contributions().commit(key, batches).await?;
            Ok(())
        })
    }

    fn register<'a>(
        &'a self,
        key: &'a str,
        batches: &'a [NewContribution],
    ) -> BoxFuture<'a, Result<Done<Vec<ContributionId>>>> {
        Box::pin(async move { Ok(self.flow().contributions().register(key, batches).await?) })
    }
}

impl ModelsOnChain for ChainView {
    fn catch_up(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { ChainView::catch_up(self).await.map(drop) })
    }

    fn titles(&self) -> Address {
        self.at().models
    }

    fn indexed_block(&self) -> u64 {
        self.head().number
    }

    fn registered(&self, model: ModelId) -> BoxFuture<'_, Result<NewModel>> {
        Box::pin(async move {
            match self.flow().models().state(model).await {
                Ok(state) => Ok(state.model),
                Err(FlowError::Refused(_)) => Err(NodeError::missing("model title", model)),
                Err(error) => Err(error.into()),
            }
        })
    }
}

impl AnswersOnChain for ChainView {
    fn node(&self) -> Address {
        self.account()
    }

    fn receipts(&self) -> Domain {
        ChainView::domain(self, self.at().payouts)
    }

    fn contributions(&self) -> Address {
        self.at().contributions
    }

    fn models(&self) -> Address {
        self.at().models
    }

    fn governed(&self) -> Arc<Params> {
        ChainView::governed(self).now()
    }

    fn signing_time(&self) -> u64 {
        ChainView::signing_time(self)
    }

    fn indexed_block(&self) -> u64 {
        self.head().number
    }

    fn refresh(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move { ChainView::refresh(self).await.map(drop) })
    }
}
