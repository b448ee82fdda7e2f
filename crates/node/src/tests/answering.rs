//! Answers: reserved for, generated, credited and charged once, with a receipt that verifies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use openledger_ledger::verify_receipt;
use openledger_protocol::{
    Address, Amount, B256, ChannelId, ContributionId, Domain, Params, ReceiptBundle, Sampling, keccak, word,
};
use openledger_serving::{CompletionRequest, Prompt};
use openledger_store::chain_events::BlockRef;
use openledger_store::titles::Transfer;
use openledger_store::{Error as StoreError, Result as Stored, transact};
use serde_json::json;

use super::deposits::World as Deposits;
use super::models::{MODEL, World as Models};
use super::{amount, code, eventually, instance};
use crate::answering::{Answering, Ask, Begin, Parts};
use crate::config::PlatformAccounts;
use crate::crediting::LocalCrediting;
use crate::error::{Blame, NodeError, Result};
use crate::metrics::Metrics;
use crate::on_chain::AnswersOnChain;
use crate::pipeline;
use crate::requests::{HOLD_MS, Requests};

/// The block in which all titles were minted, and the newest one that answers see.
const BLOCK: u64 = 2;
const CONTRIBUTIONS: Address = Address::repeat_byte(0xcb);
const MODELS: Address = Address::repeat_byte(0xad);

/// The contribution of this number.
fn contribution(number: u8) -> ContributionId {
    ContributionId(B256::repeat_byte(number))
}

/// The first holder of a title: 0 for the model's, else the number of the contribution.
fn holder(number: u32) -> Address {
    Address::repeat_byte(0x50 + number as u8)
}

/// The index of a chain that stands still.
struct Index {
    node: Address,
    now: u64,
}

impl AnswersOnChain for Index {
    fn node(&self) -> Address {
        self.node
    }

    fn receipts(&self) -> Domain {
        Domain { chain_id: 7, contract: Address::repeat_byte(0xae) }
    }

    fn contributions(&self) -> Address {
        CONTRIBUTIONS
    }

    fn models(&self) -> Address {
        MODELS
    }

    fn governed(&self) -> Arc<Params> {
        Arc::new(Params::GENESIS)
    }

    fn signing_time(&self) -> u64 {
        self.now
    }

    fn indexed_block(&self) -> u64 {
        BLOCK
    }

    fn refresh(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

struct World {
    models: Models,
    deposits: Deposits,
    channel: ChannelId,
}

impl World {
    /// A model on offer, and a channel of 100 units. The titles of the model and of the
    /// contributions have holders of their own.
    async fn new() -> Self {
        Self::with_titles(&[(CONTRIBUTIONS, contribution(1).0), (CONTRIBUTIONS, contribution(2).0)]).await
    }

    /// As [`World::new`], with the title of the model and these others.
    async fn with_titles(others: &[(Address, B256)]) -> Self {
        let models = Models::new().await;
        pipeline::offer(&models.models, MODEL, "tides", models.job).await.unwrap();
        let store = models.training.store();
        let deposits = Deposits::over(store.clone(), models.training.time().clone());
        let channel = deposits.channel().await;
        let titles = [(MODELS, word(MODEL.0))].into_iter().chain(others.iter().copied());
        let mints: Vec<Transfer> = (0..)
            .zip(titles)
            .map(|(log_index, (contract, token))| {
                let (from, to) = (Address::ZERO, holder(log_index));
                Transfer { block: BLOCK, log_index, contract, token, from, to }
            })
            .collect();
        let at = BlockRef { number: BLOCK, hash: keccak("block") };
        let node = deposits.keys.account();
        let begun: Stored<()> = transact!(store, |tx| {
            tx.append_range(BLOCK, at, &[], &mints, &[]).await?;
            tx.open_epoch(node).await.map(drop)
        });
        begun.unwrap();
        Self { models, deposits, channel }
    }

    /// The answering of the node instance of this name.
    fn of(&self, name: &str) -> Instance {
        let training = &self.models.training;
        let (store, clock) = (training.store(), training.time().clock());
        let keys = self.deposits.keys.clone();
        let account = |byte| Address::repeat_byte(byte);
        let metrics = Arc::new(Metrics::default());
        let answering = Answering::new(Parts {
            chain: Arc::new(Index { node: keys.account(), now: training.time().now() / 1000 }),
            backend: Arc::clone(&self.models.backend),
            base: Arc::clone(&training.base),
            models: self.models.models.clone(),
            deposits: self.deposits.of(name),
            keys,
            platform: PlatformAccounts { treasury: account(1), validation: account(2), insurance: account(3) },
            requests: Requests::new(store.clone(), clock.clone(), instance(name)),
            store,
            clock,
            metrics: Arc::clone(&metrics),
        });
        Instance { answering, crediting: LocalCrediting::new(Arc::clone(&training.base), metrics) }
    }

    async fn ask(&self, prompt: &str, key: Option<&str>) -> Ask {
        let sampling = Sampling { temperature_milli: 0, top_p_milli: 1000, max_tokens: 4, seed: 0, stop: Vec::new() };
        Ask {
            channel: self.channel,
            model: self.models.models.named("tides").await.unwrap(),
            request: CompletionRequest {
                model_id: MODEL,
                model: "tides".into(),
                prompt: Prompt::Text(prompt.into()),
                sampling,
                top_logprobs: 0,
            },
            canonical: json!({ "model": "tides", "prompt": prompt }),
            key: key.map(str::to_owned),
            max_price: None,
        }
    }

    async fn spent(&self) -> Amount {
        self.models.training.store().channel(self.channel).await.unwrap().unwrap().spent
    }

    async fn reserved(&self) -> Amount {
        self.deposits.reserved(self.channel).await
    }
}

/// One node instance.
struct Instance {
    answering: Answering,
    crediting: LocalCrediting,
}

impl Instance {
    /// Begins an answer that was not given before.
    async fn begin(&self, ask: &Ask) -> (crate::answering::Generation, crate::answering::Held) {
        match pipeline::answer(&self.answering, ask).await.unwrap() {
            Begin::Running(generation, held) => (generation, held),
            Begin::Replayed(bundle) => panic!("it was given before: {bundle:?}"),
        }
    }

    /// Answers, or gives the answer that was given before.
    async fn answer(&self, ask: &Ask) -> Result<ReceiptBundle> {
        match pipeline::answer(&self.answering, ask).await? {
            Begin::Replayed(bundle) => Ok(*bundle),
            Begin::Running(generation, held) => {
                let answer = generation.whole().await?;
                pipeline::receipt(&self.answering, &self.crediting, ask, held, &answer).await
            }
        }
    }
}

#[tokio::test]
async fn an_answer_is_charged_its_price_with_a_receipt_that_verifies_and_the_rest_is_free() {
    let world = World::new().await;
    let ask = world.ask("The tide", None).await;
    let bundle = world.of("one").answer(&ask).await.unwrap();
    verify_receipt(&bundle, ask.model.manifest()).unwrap();
    let receipt = &bundle.signed.receipt;
    assert_eq!((receipt.nonce, receipt.cumulative), (1, receipt.price));
    assert_eq!((world.spent().await, world.reserved().await), (receipt.price, Amount::ZERO));
    let second = world.of("two").answer(&ask).await.unwrap().signed.receipt;
    assert_eq!((second.nonce, second.cumulative), (2, world.spent().await));
}

#[tokio::test]
async fn the_same_key_gives_the_same_receipt_on_every_instance_and_is_charged_once() {
    let world = World::new().await;
    let ask = world.ask("The tide", Some("key")).await;
    let first = world.of("one").answer(&ask).await.unwrap();
    let spent = world.spent().await;
    assert_eq!(world.of("two").answer(&ask).await.unwrap().signed.receipt, first.signed.receipt);
    // A repeat costs nothing, so that no limit on the price stands against it.
    let limited = Ask { max_price: Some(amount(1)), ..world.ask("The tide", Some("key")).await };
    assert_eq!(world.of("one").answer(&limited).await.unwrap().signed.receipt, first.signed.receipt);
    let other = world.ask("The moon", Some("key")).await;
    assert_eq!(code(world.of("one").answer(&other).await), "key-reused");
    assert_eq!((world.spent().await, world.reserved().await), (spent, Amount::ZERO));
}

#[tokio::test]
async fn an_answer_that_is_dropped_costs_nothing_and_frees_its_deposit_and_its_key() {
    let world = World::new().await;
    let (one, ask) = (world.of("one"), world.ask("The tide", Some("key")).await);
    let (generation, held) = one.begin(&ask).await;
    assert_ne!(world.reserved().await, Amount::ZERO);
    drop((generation, held));
    eventually("the deposit is free", async || world.reserved().await == Amount::ZERO).await;
    // No time passes: the key is free because it was given back.
    one.answer(&ask).await.unwrap();
    assert_eq!(world.models.training.store().channel(world.channel).await.unwrap().unwrap().nonce, 1);
}

#[tokio::test]
async fn an_answer_that_may_cost_too_much_is_refused_before_it_begins() {
    let world = World::new().await;
    let one = world.of("one");
    let limited = Ask { max_price: Some(amount(1)), ..world.ask("The tide", None).await };
    let refused = one.answer(&limited).await.unwrap_err();
    assert_eq!((refused.blame(), refused.code()), (Blame::Payment, "over-max-price"));
    let _all = world.deposits.of("one").reserve(world.channel, amount(100), None).await.unwrap();
    let refused = one.answer(&world.ask("The tide", Some("key")).await).await.unwrap_err();
    assert_eq!((refused.blame(), refused.code()), (Blame::Payment, "insufficient-deposit"));
    assert_eq!(world.spent().await, Amount::ZERO);
}

#[tokio::test]
async fn an_answer_whose_key_was_taken_over_is_not_charged_and_leaves_no_receipt() {
    let world = World::new().await;
    let (slow, quick) = (world.of("slow"), world.of("quick"));
    let ask = world.ask("The tide", Some("key")).await;
    let (generation, held) = slow.begin(&ask).await;
    let late = generation.whole().await.unwrap();
    world.models.training.time().pass(HOLD_MS);
    let given = quick.answer(&ask).await.unwrap();
    let lost = pipeline::receipt(&slow.answering, &slow.crediting, &ask, held, &late).await;
    assert!(matches!(lost, Err(NodeError::Store(StoreError::KeyLost { .. }))), "{lost:?}");
    let channel = world.models.training.store().channel(world.channel).await.unwrap().unwrap();
    assert_eq!((channel.nonce, channel.spent), (1, given.signed.receipt.price));
    assert_eq!(slow.answer(&ask).await.unwrap().signed.receipt, given.signed.receipt);
}

#[tokio::test]
async fn a_receipt_pays_the_holders_of_the_titles_at_the_indexed_block() {
    let world = World::new().await;
    // Sold in a later block, which the index holds and answers do not see yet.
    let sold = [(MODELS, word(MODEL.0)), (CONTRIBUTIONS, contribution(1).0), (CONTRIBUTIONS, contribution(2).0)];
    let sales: Vec<Transfer> = (0..)
        .zip(sold)
        .map(|(log_index, (contract, token))| {
            let (from, to) = (holder(log_index), Address::repeat_byte(0x60));
            Transfer { block: BLOCK + 1, log_index, contract, token, from, to }
        })
        .collect();
    let at = BlockRef { number: BLOCK + 1, hash: keccak("later block") };
    let store = world.models.training.store();
    let seen: Stored<()> = transact!(store, |tx| tx.append_range(BLOCK + 1, at, &[], &sales, &[]).await);
    seen.unwrap();

    let bundle = world.of("one").answer(&world.ask("The 1. spring tide of", None).await).await.unwrap();
    assert_eq!(bundle.signed.receipt.holder_block, BLOCK);
    assert_eq!(bundle.terms.parties.owner, holder(0));
    let scored: BTreeSet<ContributionId> = bundle.credits.scores.iter().map(|score| score.contribution()).collect();
    assert!(!scored.is_empty(), "the answer credits no contribution");
    let holders = [1, 2].map(|number| (contribution(number), holder(number.into())));
    let expected: BTreeMap<_, _> = holders.into_iter().filter(|(title, _)| scored.contains(title)).collect();
    assert_eq!(bundle.terms.holders, expected);
}

#[tokio::test]
async fn an_answer_that_credits_a_contribution_without_a_title_is_refused_and_charges_nothing() {
    let world = World::with_titles(&[]).await;
    let refused = world.of("one").answer(&world.ask("The 1. spring tide of", None).await).await.unwrap_err();
    assert_eq!((refused.blame(), refused.code()), (Blame::Operator, "damaged-data"));
    assert!(refused.to_string().contains("title of contribution"), "{refused}");
    assert_eq!(world.spent().await, Amount::ZERO);
    eventually("the deposit is free", async || world.reserved().await == Amount::ZERO).await;
}
