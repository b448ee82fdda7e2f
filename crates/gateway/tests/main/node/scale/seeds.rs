//! Fills a node with receipts: real answers of its model under new numbers, sums, holders and
//! times.
//!
//! Only the run of the model is left out. Each receipt is reserved for, charged, split, signed and
//! stored by the functions that the node answers with, and the node itself settles each epoch on
//! its chain. So trees, counters, payouts and proofs are the real ones.

use std::collections::BTreeMap;

use openledger_ledger::{Rules, SplitRule, split};
use openledger_protocol::{
    Address, Amount, Annex, ChannelId, ContributionId, Domain, Manifest, PrincipalId, ReceiptBundle, ReceiptId,
    lines_root,
};
use openledger_store::receipts::NewReceipt;
use openledger_store::reservations::{NewReservation, ReceiptPlace};
use openledger_store::{Error, Store, Tx, transact_locked};
use serde_json::json;

use crate::node::calls::Title;
use crate::node::world::{World, key};

/// Channels that pay in turn.
const CHANNELS: usize = 8;
/// Receipts in one transaction.
const BATCH: usize = 100;

/// A title and the name of its holder.
pub(crate) struct Holding {
    pub(crate) title: ContributionId,
    pub(crate) holder: String,
}

/// What receipts of a node are made from.
pub(crate) struct Seeds {
    store: Store,
    channels: Vec<ChannelId>,
    answers: Vec<ReceiptBundle>,
    manifest: Manifest,
    domain: Domain,
    /// Titles that change hands before each epoch.
    holdings: Vec<Holding>,
    /// Holders that are others than when the answers were given.
    holders: BTreeMap<ContributionId, Address>,
    /// The block at which holders are looked up.
    block: u64,
    /// When the last epoch's receipts end, Unix seconds.
    until: u64,
    /// The receipts so far, in the order of their making.
    pub(crate) receipts: Vec<ReceiptId>,
}

impl Seeds {
    /// Asks a running node's model `questions` by the API key of `payer`, and opens channels that
    /// can pay for `receipts` answers like these.
    pub(crate) async fn of(
        world: &World,
        payer: &str,
        questions: &[&str],
        holdings: Vec<Holding>,
        receipts: usize,
    ) -> Self {
        let mut answers: Vec<ReceiptBundle> = Vec::new();
        for question in questions {
            let answer = world.ask(payer, question, json!({ "max_tokens": 32 })).await.done();
            answers.push(serde_json::from_value(world.bundle(&answer).await).unwrap());
        }
        let dearest = answers.iter().map(|answer| answer.signed.receipt.price).max().unwrap();
        let share = u128::try_from(receipts.div_ceil(CHANNELS) + answers.len()).unwrap();
        let whole = u64::try_from(dearest.0 * share / Amount::open(1).unwrap().0 + 1).unwrap();
        let mut channels = Vec::new();
        for number in 0..CHANNELS {
            let payer = format!("seed-payer-{number}");
            world.handle(&payer).await;
            world.give(&payer, whole + 1).await;
            world.deposit(&payer, "seeds", Amount::open(whole).unwrap()).await;
            channels.push(world.channel(&payer).await.id(world.chain_id, world.addresses.channels));
        }
        let manifest = world.get("/api/v1/models/thread/manifest").await.done();
        Self {
            store: world.database.store(&world.data).await,
            channels,
            answers,
            manifest: serde_json::from_value(manifest).unwrap(),
            domain: Domain { chain_id: world.chain_id, contract: world.addresses.payouts },
            holdings,
            holders: BTreeMap::new(),
            block: 0,
            until: world.head_time().await,
            receipts: Vec::new(),
        }
    }

    /// The node's database, opened a second time.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Sells the titles, adds `count` receipts to the open epoch, and has the node settle it.
    pub(crate) async fn epoch(&mut self, world: &World, count: usize) {
        self.sell(world).await;
        let (from, until) = (self.until, world.head_time().await);
        let earlier = self.receipts.len();
        let time = |at: usize| from + 1 + (until - from).saturating_sub(1) * at as u64 / count as u64;
        for first in (0..count).step_by(BATCH) {
            let batch = first..count.min(first + BATCH);
            let made = transact_locked!(self.store, |tx| {
                let mut made = Vec::with_capacity(BATCH);
                for at in batch.clone() {
                    made.push(self.put(tx, earlier + at, time(at)).await?);
                }
                Ok::<_, Error>(made)
            });
            self.receipts.extend(made.unwrap());
        }
        self.until = until;
        world.settle().await;
    }

    /// Each title goes to a new holder, by a transfer on chain.
    async fn sell(&mut self, world: &World) {
        let epoch = self.receipts.len();
        for (number, holding) in self.holdings.iter_mut().enumerate() {
            let buyer = format!("seed-holder-{epoch}-{number}");
            world.handle(&buyer).await;
            // The coins of the seller pay for its transaction.
            world.give(&holding.holder, 1).await;
            let seller = world.flow(&holding.holder).await;
            let title = Title::Contribution(holding.title);
            title.transfer(&seller, &format!("sale/{buyer}"), key(&buyer).address()).await.unwrap();
            self.holders.insert(holding.title, key(&buyer).address());
            holding.holder = buyer;
        }
        self.block = world.flow("faucet").await.client().block_number().await.unwrap();
    }

    /// Charges and stores one receipt.
    async fn put(&self, tx: &mut Tx, at: usize, now: u64) -> Result<ReceiptId, Error> {
        let answer = &self.answers[at % self.answers.len()];
        let channel = self.channels[at / self.answers.len() % self.channels.len()];
        let price = answer.signed.receipt.price;
        let new = NewReservation { channel, amount: price, holder: "seeds", lease_until: u64::MAX >> 1, key: None };
        let held = tx.reserve(&new).await?;
        let place = tx.charge(held.id, price, now).await?;
        let bundle = self.receipted(answer, &place);
        let (receipt, body) = (&bundle.signed.receipt, serde_json::to_string(&bundle).unwrap());
        let id = receipt.id();
        let (model, tokens_in, tokens_out) = (receipt.model, receipt.tokens_in, receipt.tokens_out);
        let receipt = NewReceipt { id, model, tokens_in, tokens_out, body: &body };
        tx.put_receipt(place, &receipt, &bundle.entries).await?;
        Ok(id)
    }

    /// The bundle of an answer in another place, split among the holders of now and signed.
    fn receipted(&self, answer: &ReceiptBundle, place: &ReceiptPlace) -> ReceiptBundle {
        let mut bundle = answer.clone();
        for (contribution, holder) in &mut bundle.terms.holders {
            *holder = self.holders.get(contribution).copied().unwrap_or(*holder);
        }
        bundle.annex = Annex::of(&bundle.completion, &bundle.terms, bundle.annex.manifest).unwrap();
        let mut receipt = bundle.signed.receipt;
        receipt.channel = place.channel;
        receipt.nonce = place.nonce;
        receipt.cumulative = place.cumulative;
        receipt.time = place.time;
        receipt.holder_block = self.block;
        receipt.annex = bundle.annex.struct_hash();
        let (id, node) = (receipt.id(), key("node"));
        receipt.principal = PrincipalId::Account(place.payer).commitment(PrincipalId::salt(&node, id));
        let shares = SplitRule::of(&receipt).unwrap();
        let rules = Rules { shares, mix: self.manifest.mix, params: &bundle.params };
        let terms = &bundle.terms;
        bundle.entries = split(id, receipt.price, &rules, &bundle.credits, &terms.holders, &terms.parties).unwrap();
        receipt.lines = lines_root(&bundle.entries).unwrap();
        bundle.words = receipt.words().to_vec();
        bundle.signed = receipt.sign(self.domain, &node);
        bundle
    }
}
