//! Calls of our contracts that people make and the product does not: by the generated types alone.

use alloy_primitives::{U256, aliases::U96};
use openledger_chain::contracts::bindings::channels::{Channels, IChannels};
use openledger_chain::contracts::bindings::contributions::Contributions;
use openledger_chain::contracts::bindings::datanets::Datanets;
use openledger_chain::contracts::bindings::models::Models;
use openledger_chain::contracts::bindings::payouts::Payouts;
use openledger_chain::contracts::bindings::wopen::WOPEN;
use openledger_chain::flow::{Contract, Flow, FlowError};
use openledger_chain::sender::Mined;
use openledger_protocol::sum_tree::SumNode;
use openledger_protocol::{
    Address, Amount, B256, ChannelConfig, Claim, ContributionId, DatanetId, ModelId, Publication, Purposes, Signature,
    keccak, keccak_words, word,
};

type Sent = Result<Mined, FlowError>;

fn datanets(flow: &Flow) -> Contract<'_> {
    flow.contract(flow.addresses().datanets)
}

fn channels(flow: &Flow) -> Contract<'_> {
    flow.contract(flow.addresses().channels)
}

fn payouts(flow: &Flow) -> Contract<'_> {
    flow.contract(flow.addresses().payouts)
}

/// Publishes a version of the account's own datanet; its number.
pub(crate) async fn publish(flow: &Flow, key: &str, publication: &Publication) -> Result<u64, FlowError> {
    let call = Datanets::publishCall {
        datanet: publication.datanet.0,
        expectedVersion: publication.expected_version,
        root: publication.root,
        records: publication.records,
    };
    let mined = datanets(flow).send(key, call).await?;
    Ok(datanets(flow).event::<Datanets::VersionPublished>(&mined)?.version)
}

/// Root of a published version.
pub(crate) async fn version_root(flow: &Flow, datanet: DatanetId, version: u64) -> B256 {
    datanets(flow).view(Datanets::rootOfCall { datanet: datanet.0, version }).await.unwrap()
}

/// Ends what was granted for `purposes`.
pub(crate) async fn revoke(flow: &Flow, key: &str, datanet: DatanetId, grantee: Address, purposes: Purposes) {
    let call = Datanets::revokeCall { datanet: datanet.0, grantee, purposes: purposes.0 };
    datanets(flow).send(key, call).await.unwrap();
}

/// Sets the prices in, out and flat of a model of the account's.
pub(crate) async fn set_price(flow: &Flow, key: &str, model: ModelId, [input, output, flat]: [u64; 3]) -> Sent {
    let (input, output, flat) = (U96::from(input), U96::from(output), U96::from(flat));
    let call = Models::setPriceCall { model: model.0, priceIn: input, priceOut: output, priceFlat: flat };
    flow.contract(flow.addresses().models).send(key, call).await
}

/// A title: what the three contracts of titles have in common (ERC-721, ERC-2981).
#[derive(Clone, Copy)]
pub(crate) enum Title {
    Datanet(DatanetId),
    Contribution(ContributionId),
    Model(ModelId),
}

impl Title {
    fn token(self) -> U256 {
        match self {
            Self::Datanet(DatanetId(id)) | Self::Model(ModelId(id)) => U256::from(id),
            Self::Contribution(id) => id.0.into(),
        }
    }

    fn contract(self, flow: &Flow) -> Contract<'_> {
        let at = flow.addresses();
        flow.contract(match self {
            Self::Datanet(_) => at.datanets,
            Self::Contribution(_) => at.contributions,
            Self::Model(_) => at.models,
        })
    }

    /// Sells or gives it, when it is the account's.
    pub(crate) async fn transfer(self, flow: &Flow, key: &str, to: Address) -> Sent {
        let call = Contributions::transferFromCall { from: flow.account(), to, tokenId: self.token() };
        self.contract(flow).send(key, call).await
    }

    /// Its holder now.
    pub(crate) async fn holder(self, flow: &Flow) -> Address {
        self.contract(flow).view(Contributions::ownerOfCall { tokenId: self.token() }).await.unwrap()
    }

    /// Its holder when `block` was the newest.
    pub(crate) async fn holder_at(self, flow: &Flow, block: u64) -> Address {
        let call = Contributions::holderAtCall { title: self.token(), blockNumber: U256::from(block) };
        self.contract(flow).view(call).await.unwrap()
    }

    /// Sets what resales owe the account, the first holder, in basis points of their price.
    pub(crate) async fn set_royalty(self, flow: &Flow, key: &str, bps: u16) -> Sent {
        let call = Contributions::setRoyaltyCall { title: self.token(), bps: U96::from(bps) };
        self.contract(flow).send(key, call).await
    }

    /// Receiver and amount that a sale for `price` owes.
    pub(crate) async fn royalty(self, flow: &Flow, price: Amount) -> (Address, Amount) {
        let call = Contributions::royaltyInfoCall { tokenId: self.token(), salePrice: U256::from(price.0) };
        let owed = self.contract(flow).view(call).await.unwrap();
        (owed.receiver, Amount(owed.amount.to()))
    }
}

/// Money that its owner lets go into one channel (ERC-3009).
#[derive(Clone, Copy)]
pub(crate) struct Authorization {
    pub(crate) amount: Amount,
    pub(crate) valid_after: u64,
    pub(crate) valid_before: u64,
    pub(crate) salt: B256,
}

impl Authorization {
    /// What the payer of the channel signs.
    pub(crate) async fn digest(&self, flow: &Flow, config: &ChannelConfig) -> B256 {
        let channels = flow.addresses().channels;
        let channel = config.id(flow.sender().chain_id(), channels);
        let words = [
            keccak(
                "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,\
                 bytes32 nonce)",
            ),
            word(config.payer),
            word(channels),
            word(self.amount.0),
            word(self.valid_after),
            word(self.valid_before),
            keccak_words(&[channel.0, self.salt]),
        ];
        token_digest(flow, &words).await
    }
}

/// What `owner` signs (ERC-2612) so that `spender` may take `amount` of its token until `deadline`, once.
pub(crate) async fn permit_digest(
    flow: &Flow,
    owner: Address,
    spender: Address,
    amount: Amount,
    deadline: u64,
) -> B256 {
    let nonce = flow.contract(flow.addresses().wopen).view(WOPEN::noncesCall { owner }).await.unwrap();
    let words = [
        keccak("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
        word(owner),
        word(spender),
        word(amount.0),
        nonce.into(),
        word(deadline),
    ];
    token_digest(flow, &words).await
}

/// The EIP-712 digest of a struct's words in the token's own domain.
async fn token_digest(flow: &Flow, words: &[B256]) -> B256 {
    let separator = flow.contract(flow.addresses().wopen).view(WOPEN::DOMAIN_SEPARATORCall {}).await.unwrap();
    let mut bytes = vec![0x19, 0x01];
    bytes.extend_from_slice(separator.as_slice());
    bytes.extend_from_slice(keccak_words(words).as_slice());
    keccak(bytes)
}

/// v, r and s of a signature.
fn parts(signature: &Signature) -> (u8, B256, B256) {
    (signature.0[64], B256::from_slice(&signature.0[..32]), B256::from_slice(&signature.0[32..64]))
}

fn members(config: &ChannelConfig) -> IChannels::Config {
    IChannels::Config {
        payer: config.payer,
        payerAuthorizer: config.authorizer,
        node: config.node,
        withdrawDelay: config.withdraw_delay,
        salt: config.salt,
    }
}

/// Deposits with a permit instead of an approval.
pub(crate) async fn deposit_with_permit(
    flow: &Flow,
    key: &str,
    config: &ChannelConfig,
    amount: Amount,
    deadline: u64,
    permit: &Signature,
) -> Sent {
    let (v, r, s) = parts(permit);
    let (config, amount, deadline) = (members(config), amount.0, U256::from(deadline));
    channels(flow).send(key, Channels::depositWithPermitCall { config, amount, deadline, v, r, s }).await
}

/// Deposits the payer's money by its authorization.
pub(crate) async fn deposit_with_authorization(
    flow: &Flow,
    key: &str,
    config: &ChannelConfig,
    authorization: &Authorization,
    signature: &Signature,
) -> Sent {
    let (v, r, s) = parts(signature);
    let call = Channels::depositWithAuthorizationCall {
        config: members(config),
        amount: authorization.amount.0,
        validAfter: U256::from(authorization.valid_after),
        validBefore: U256::from(authorization.valid_before),
        salt: authorization.salt,
        v,
        r,
        s,
    };
    channels(flow).send(key, call).await
}

/// Asks for `amount` back from a channel.
pub(crate) async fn request_withdrawal(flow: &Flow, key: &str, config: &ChannelConfig, amount: Amount) -> Sent {
    channels(flow).send(key, Channels::requestWithdrawalCall { config: members(config), amount: amount.0 }).await
}

/// Pays the payer what was asked for; the amount.
pub(crate) async fn withdraw(flow: &Flow, key: &str, config: &ChannelConfig) -> Result<Amount, FlowError> {
    let mined = channels(flow).send(key, Channels::withdrawCall { config: members(config) }).await?;
    Ok(Amount(channels(flow).event::<Channels::Withdrawn>(&mined)?.amount))
}

/// Pays `amount` of the account's token into `Payouts`.
pub(crate) async fn fund(flow: &Flow, key: &str, amount: Amount) {
    payouts(flow).send(key, Payouts::fundCall { amount: amount.0 }).await.unwrap();
}

/// Asks to take the account's bond back.
pub(crate) async fn request_exit(flow: &Flow, key: &str) -> Sent {
    payouts(flow).send(key, Payouts::requestExitCall {}).await
}

/// Takes the account's bond back; the amount.
pub(crate) async fn exit(flow: &Flow, key: &str) -> Result<Amount, FlowError> {
    let mined = payouts(flow).send(key, Payouts::exitCall {}).await?;
    Ok(Amount(payouts(flow).event::<Payouts::OperatorLeft>(&mined)?.amount))
}

/// What an account has been paid in its life.
pub(crate) async fn claimed(flow: &Flow, account: Address) -> Amount {
    Amount(payouts(flow).view(Payouts::claimedCall { account }).await.unwrap())
}

/// Pays claims of one tree by one proof for all of them; the amount paid.
pub(crate) async fn claim_multi(flow: &Flow, key: &str, claims: &[Claim]) -> Result<Amount, FlowError> {
    let (claims, depth, proof) = multiproof(claims);
    let mut leaves = Vec::with_capacity(claims.len() * 40);
    for claim in claims {
        leaves.extend(u32::try_from(claim.proof.index).unwrap().to_be_bytes());
        leaves.extend(claim.account);
        leaves.extend(claim.cumulative.0.to_be_bytes());
    }
    let nodes = proof.into_iter().flat_map(|node| node.hash.0.into_iter().chain(node.sum.0.to_be_bytes()));
    let (leaves, proof) = (leaves.into(), nodes.collect());
    let mined = payouts(flow).send(key, Payouts::claimMultiCall { leaves, depth: U256::from(depth), proof }).await?;
    let claimed = payouts(flow).events::<Payouts::Claimed>(&mined);
    Ok(Amount::sum(claimed.iter().map(|event| Amount(event.amount))).unwrap())
}

/// Claims in order of index, the depth of their tree, and the siblings that they do not give each other: level by
/// level, left to right, as `MerkleLib.sumRootMany` reads them.
fn multiproof(claims: &[Claim]) -> (Vec<&Claim>, usize, Vec<SumNode>) {
    let mut claims: Vec<&Claim> = claims.iter().collect();
    claims.sort_by_key(|claim| claim.proof.index);
    claims.dedup_by_key(|claim| claim.proof.index);
    let depth = claims.first().map_or(0, |claim| claim.proof.siblings.len());
    let mut proof = Vec::new();
    // Each node is known by one of the claims below it.
    let mut nodes: Vec<(u64, &Claim)> = claims.iter().map(|&claim| (claim.proof.index, claim)).collect();
    for level in 0..depth {
        let mut above: Vec<(u64, &Claim)> = Vec::with_capacity(nodes.len());
        let mut below = nodes.into_iter().peekable();
        while let Some((index, claim)) = below.next() {
            let paired = index % 2 == 0 && below.next_if(|&(next, _)| next == index + 1).is_some();
            if !paired {
                proof.extend(claim.proof.siblings.get(level));
            }
            above.push((index / 2, claim));
        }
        nodes = above;
    }
    (claims, depth, proof)
}
