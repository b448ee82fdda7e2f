//! A dishonest proposer and an independent watchdog, in a second life of the story's network.
//!
//! Everything starts from receipts that the pipeline made and signed. Each lie is proposed with a bond, judged by the node's
//! watcher, refuted by an account of its own, and leaves the epoch open for the next one; the last proposal is honest.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use alloy_primitives::{Bytes, U256};
use openledger_chain::contracts::bindings::payouts::Payouts::PayoutsEvents;
use openledger_chain::flow::{EpochTops, Flow, Title};
use openledger_chain::indexer::ChainEvent;
use openledger_ledger::challenge::{Filed, Published};
use openledger_ledger::{ClosedEpoch, ClosedReceipt, close_epoch};
use openledger_node::watch::Publication;
use openledger_protocol::{
    Address, Amount, B256, ContributionId, Domain, Entry, Manifest, Payout, Receipt, ReceiptBundle, keccak,
};
use serde_json::{Value, json};

use crate::story::{QUESTION, Story, told};
use crate::world::{BOND, RUNTIME, World, key};

/// Nobody's account, where burned bonds go.
pub(crate) const BURN: Address = alloy_primitives::address!("0x000000000000000000000000000000000000dEaD");

/// A lie that was told and refuted.
pub(crate) struct Refuted {
    /// What the watcher said.
    pub(crate) verdict: Value,
    /// Who was harmed, as the chain logged it.
    pub(crate) harmed: Address,
    /// Every payment of the token in the challenge and the sweep after it: to whom, how much.
    pub(crate) paid: Vec<(Address, Amount)>,
    /// What the challenger's balance grew by.
    pub(crate) challenger_got: u128,
    /// What waited for the sweep.
    pub(crate) waited: Amount,
    /// What `Payouts` held less afterwards.
    pub(crate) payouts_lost: u128,
    /// What is left of the proposer's stake.
    pub(crate) stake: Amount,
    /// Whether a proposal was still pending.
    pub(crate) pending: bool,
    /// Who challenged.
    pub(crate) challenger: Address,
}

/// All of them, and the honest end.
pub(crate) struct Lies {
    pub(crate) refuted: BTreeMap<&'static str, Refuted>,
    /// The account whose total was lowered, and the one that got it.
    pub(crate) totals: [Address; 2],
    pub(crate) honest: Value,
    pub(crate) withheld: Value,
    pub(crate) challenge_of_honest: Value,
    pub(crate) closed: ClosedEpoch,
    /// What claiming moved in all, and again.
    pub(crate) claimed: [Amount; 2],
    /// What each account has been paid in its life.
    pub(crate) lifetime: Vec<(Payout, Amount)>,
}

static LIES: LazyLock<Lies> = LazyLock::new(|| {
    let story = told();
    RUNTIME.block_on(lies(story))
});

/// The lies, told when they are first asked for.
pub(crate) fn lies_told() -> &'static Lies {
    &LIES
}

/// What lies are made of.
struct Scene {
    world: World,
    domain: Domain,
    previous: Vec<Payout>,
    bundles: Vec<ReceiptBundle>,
    manifest: Manifest,
    honest: Publication,
    sold: String,
}

impl Scene {
    /// The honest publication with changed leaves: in order, and summed up as they stand.
    fn publication(&self, change: impl FnOnce(&mut Vec<Filed>, &mut Vec<Entry>)) -> Publication {
        let mut publication = self.honest.clone();
        let leaves = &mut publication.leaves;
        let mut receipts: Vec<Filed> = leaves.receipts.drain(..).flatten().collect();
        let mut entries: Vec<Entry> = leaves.entries.drain(..).flatten().collect();
        change(&mut receipts, &mut entries);
        receipts.sort_by_key(|filed| filed.id);
        entries.sort_by_key(Entry::sort_key);
        let mut totals: BTreeMap<Address, Amount> =
            self.previous.iter().map(|payout| (payout.account, payout.cumulative)).collect();
        for entry in &entries {
            let total = totals.entry(entry.account).or_default();
            *total = total.plus(entry.amount).unwrap();
        }
        leaves.header.receipt_count = u32::try_from(receipts.len()).unwrap();
        leaves.receipts = receipts.into_iter().map(Some).collect();
        leaves.entries = entries.into_iter().map(Some).collect();
        leaves.payouts = totals.into_iter().map(|(account, cumulative)| Some(Payout { account, cumulative })).collect();
        publication
    }

    /// The publication in which the first receipt is another, signed by the node again.
    fn resigned(&self, change: impl FnOnce(&mut Receipt, &mut ReceiptBundle)) -> Publication {
        let mut bundle = self.bundles[0].clone();
        let mut receipt = bundle.signed.receipt.clone();
        change(&mut receipt, &mut bundle);
        bundle.signed = receipt.sign(self.domain, &key("node"));
        bundle.words = bundle.signed.receipt.words().to_vec();
        let id = bundle.signed.receipt.id();
        let mut publication = self.publication(|receipts, _| {
            let filed = receipts.iter_mut().find(|filed| filed.id == id).unwrap();
            filed.words = bundle.signed.receipt.words();
            filed.signature = Bytes::copy_from_slice(&bundle.signed.signature.0);
        });
        publication.answers[0] = bundle;
        publication
    }

    /// The publication in which the first receipt has one span: of the record at `index` of a contribution that was trained on.
    fn span_of(&self, index: u32) -> Publication {
        let trained = &self.manifest.contributions[0];
        let version = self.manifest.datanets.iter().find(|used| used.datanet == trained.datanet).unwrap().version;
        let span = json!({
            "datanet": trained.datanet, "version": version, "contribution": trained.contribution, "index": index,
            "record_offset": 0, "length": 8, "output_offset": 0, "weight": 1,
        });
        self.resigned(|receipt, bundle| {
            bundle.credits.spans = vec![serde_json::from_value(span).unwrap()];
            receipt.spans_root = bundle.credits.spans_root();
        })
    }

    /// The publication in which the contribution that was sold still pays its old holder after the sale.
    fn paying_the_old_holder(&self) -> Publication {
        let after = self.bundles[1].signed.receipt.id();
        self.publication(|_, entries| {
            let mut lines = entries.iter_mut().filter(|entry| entry.receipt == after);
            lines.find(|entry| entry.contribution.to_string() == self.sold).unwrap().account = key("buyer").address();
        })
    }

    async fn propose(&self, proposer: &Flow, label: &str, publication: &Publication) {
        let header = publication.leaves.computed().unwrap();
        let [entries, payouts] = publication.leaves.tops().unwrap();
        let tops = EpochTops { entries, payouts };
        proposer.propose(&format!("propose/{label}"), &header, publication.leaves.cutoff, &tops, "").await.unwrap();
    }

    /// Proposes a lie with a fresh bond, has it judged and refuted; `ourselves`: by the node, else by the watchdog.
    async fn refute(&self, label: &'static str, proposer: &str, publication: &Publication, ourselves: bool) -> Refuted {
        let world = &self.world;
        let payouts = world.addresses.payouts;
        let flow = world.flow(proposer).await;
        bond(world, proposer, label).await;
        self.propose(&flow, label, publication).await;

        let body = serde_json::to_value(publication).unwrap();
        let verdict = world.post("/api/v1/epochs/pending/watch", &body).await.done();
        assert_eq!(verdict["verdict"], "refuted", "{label}: {verdict}");
        let challenger = key(if ourselves { "node" } else { "watchdog" }).address();
        let (held, had) = (balance(&flow, payouts).await, balance(&flow, challenger).await);
        let mut logs = if ourselves {
            let dispute = world.post("/api/v1/epochs/pending/challenge", &body).await.done();
            let tx: B256 = serde_json::from_value(dispute["tx"].clone()).unwrap();
            flow.client().receipt(tx).await.unwrap().unwrap().logs
        } else {
            let calldata: Bytes = serde_json::from_value(verdict["refutations"][0]["calldata"].clone()).unwrap();
            let watchdog = world.flow("watchdog").await;
            let sent = watchdog.sender().send(&format!("challenge/{label}"), payouts, calldata, U256::ZERO).await;
            sent.unwrap().logs
        };
        let rejected = logs.iter().find_map(|log| match ChainEvent::decode(&world.addresses, log) {
            Some(ChainEvent::Payouts(PayoutsEvents::EpochRejected(rejected))) => Some(rejected),
            _ => None,
        });
        let waited = flow.unswept().await.unwrap();
        logs.extend(world.flow("watchdog").await.sweep(&format!("sweep/{label}")).await.unwrap().logs);
        let transfer = keccak("Transfer(address,address,uint256)");
        let paid = logs.iter().filter(|log| log.address == world.addresses.wopen && log.topics[0] == transfer);
        Refuted {
            verdict,
            harmed: rejected.unwrap().harmed,
            paid: paid
                .map(|log| (Address::from_word(log.topics[2]), Amount(U256::from_be_slice(&log.data).to())))
                .filter(|(_, amount)| *amount != Amount::ZERO)
                .collect(),
            waited,
            challenger_got: balance(&flow, challenger).await.0 - had.0,
            payouts_lost: held.0 - balance(&flow, payouts).await.0,
            stake: flow.operator(flow.account()).await.unwrap().stake,
            pending: flow.pending_epoch().await.unwrap().is_some(),
            challenger,
        }
    }
}

async fn balance(flow: &Flow, account: Address) -> Amount {
    flow.token_balance(account).await.unwrap()
}

/// Puts a name's bond at stake, unless it is.
async fn bond(world: &World, name: &str, label: &str) {
    let flow = world.flow(name).await;
    let bond = Amount::open(BOND).unwrap();
    if flow.operator(flow.account()).await.unwrap().stake < bond {
        flow.wrap(&format!("bond/{label}/wrap"), bond).await.unwrap();
        flow.approve(&format!("bond/{label}/approve"), world.addresses.payouts, bond).await.unwrap();
        flow.join(&format!("bond/{label}/join"), flow.account(), bond).await.unwrap();
    }
}

/// Answers of a new epoch, one before and two after a contribution changed hands again.
async fn scene(world: World, sold: &str) -> Scene {
    world.fund(&["watchdog"]).await;
    world.give("liar", 100_000).await;
    world.give("buyer", 1).await;
    let payer = world.payer("second-payer").await;
    let mut bundles = Vec::new();
    for label in ["before", "after", "last"] {
        if label == "after" {
            let title: ContributionId = serde_json::from_value(json!(sold)).unwrap();
            let buyer = world.flow("buyer").await;
            let to = key("second-buyer").address();
            buyer.transfer_title("resale", Title::Contribution(title), to).await.unwrap();
        }
        let answer = world.ask(&payer, QUESTION, json!({})).await.done();
        bundles.push(serde_json::from_value(world.bundle(&answer).await).unwrap());
    }
    let faucet = world.flow("faucet").await;
    let enough = Amount::open(100).unwrap();
    faucet.wrap("fund/wrap", enough).await.unwrap();
    faucet.approve("fund/approve", world.addresses.payouts, enough).await.unwrap();
    faucet.fund("fund", enough).await.unwrap();

    let payouts = world.get("/api/v1/epochs/1/payouts").await.done();
    let previous: Vec<Payout> = payouts["payouts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|card| serde_json::from_value(json!({ "account": card["account"], "cumulative": card["cumulative"] })))
        .collect::<Result<_, _>>()
        .unwrap();
    let manifest = world.get("/api/v1/models/thread/manifest").await.done();
    let domain = Domain { chain_id: world.chain_id, contract: world.addresses.payouts };
    let closed = closed(&bundles, &previous, domain);
    let cutoff = bundles.iter().map(|bundle: &ReceiptBundle| bundle.signed.receipt.time).max().unwrap();
    let leaves = Published::of(&closed, cutoff, key("liar").address());
    let honest = Publication { format: Publication::FORMAT.to_owned(), leaves, answers: bundles.clone() };
    let manifest = serde_json::from_value(manifest).unwrap();
    Scene { world, domain, previous, bundles, manifest, honest, sold: sold.to_owned() }
}

fn closed(bundles: &[ReceiptBundle], previous: &[Payout], domain: Domain) -> ClosedEpoch {
    let of = |bundle: &ReceiptBundle| ClosedReceipt { signed: bundle.signed.clone(), entries: bundle.entries.clone() };
    close_epoch(2, &bundles.iter().map(of).collect::<Vec<_>>(), previous, domain).unwrap()
}

/// The one lie of a wrong payee and the honest end, on a network where a story was told.
pub(crate) async fn wrong_payee(world: World, sold: &str) -> Lies {
    let scene = scene(world, sold).await;
    let publication = scene.paying_the_old_holder();
    let refuted = BTreeMap::from([("payee", scene.refute("payee", "liar", &publication, false).await)]);
    honest_end(scene, refuted, [Address::ZERO; 2]).await
}

async fn lies(story: &Story) -> Lies {
    let scene = scene(World::open(story.copy.clone(), Arc::default()).await, &story.sold).await;
    let first = scene.bundles[0].signed.receipt.id();
    let mut refuted = BTreeMap::new();
    let mut tell = async |label: &'static str, publication: Publication| {
        refuted.insert(label, scene.refute(label, "liar", &publication, label == "order").await);
    };

    tell("span", scene.span_of(0)).await;
    tell("record", scene.span_of(9_999)).await;

    let mut lowered = scene.honest.clone();
    let poorer = scene.bundles[0].entries.iter().find(|entry| entry.role as u8 == 6).unwrap().account;
    let richer = key("treasury").address();
    for payout in lowered.leaves.payouts.iter_mut().flatten() {
        match payout.account {
            account if account == poorer => payout.cumulative.0 -= 1_000,
            account if account == richer => payout.cumulative.0 += 1_000,
            _ => {}
        }
    }
    tell("total", lowered).await;

    let settled: ReceiptBundle = serde_json::from_value(story.before_sale.clone()).unwrap();
    let mut again = scene.publication(|receipts, entries| {
        let signature = Bytes::copy_from_slice(&settled.signed.signature.0);
        let (id, words) = (settled.signed.receipt.id(), settled.signed.receipt.words());
        receipts.push(Filed { id, words, signature });
        entries.extend(settled.entries.iter().cloned());
    });
    again.answers.push(settled.clone());
    tell("duplicate", again).await;

    let lines = scene.publication(|_, entries| {
        let mut of_first = entries.iter_mut().filter(|entry| entry.receipt == first);
        of_first.find(|entry| entry.role as u8 == 4).unwrap().amount.0 += 1_000;
        let mut of_first = entries.iter_mut().filter(|entry| entry.receipt == first);
        of_first.find(|entry| entry.role as u8 == 6 && entry.amount.0 > 1_000).unwrap().amount.0 -= 1_000;
    });
    tell("split", lines).await;
    let shares = scene.resigned(|receipt, _| {
        receipt.platform_bps -= 100;
        receipt.contributors_bps += 100;
    });
    tell("shares", shares).await;

    let unsigned = scene.publication(|receipts, _| {
        let filed = receipts.iter_mut().find(|filed| filed.id == first).unwrap();
        let digest = scene.domain.digest(filed.struct_hash());
        filed.signature = Bytes::copy_from_slice(&key("liar").sign(digest).0);
    });
    tell("signature", unsigned).await;

    let sold = scene.paying_the_old_holder();
    tell("payee", sold).await;

    let mut order = scene.honest.clone();
    order.leaves.entries.swap(0, 1);
    tell("order", order).await;

    let stray = scene.publication(|_, entries| {
        let receipt = openledger_protocol::ReceiptId(B256::repeat_byte(0x99));
        entries.push(Entry { receipt, line: 0, account: key("liar").address(), ..entries[0].clone() });
    });
    tell("entry", stray).await;

    let mut omitted = scene.publication(|receipts, entries| {
        receipts.retain(|filed| filed.id != first);
        entries.retain(|entry| entry.receipt != first);
    });
    omitted.leaves.proposer = key("node").address();
    refuted.insert("omission", scene.refute("omission", "node", &omitted, false).await);

    honest_end(scene, refuted, [poorer, richer]).await
}

/// The honest proposal of the same epoch, to its claims.
async fn honest_end(scene: Scene, refuted: BTreeMap<&'static str, Refuted>, totals: [Address; 2]) -> Lies {
    let world = &scene.world;
    let liar = world.flow("liar").await;
    bond(world, "liar", "honest").await;
    scene.propose(&liar, "honest", &scene.honest).await;
    let body = serde_json::to_value(&scene.honest).unwrap();
    let honest = world.post("/api/v1/epochs/pending/watch", &body).await.done();
    let challenge_of_honest = world.post("/api/v1/epochs/pending/challenge", &body).await.done();
    let mut other = scene.honest.clone();
    other.leaves.payouts.pop();
    let withheld = world.post("/api/v1/epochs/pending/watch", &serde_json::to_value(&other).unwrap()).await.done();

    world.pass("window", u32::try_from(world.window()).unwrap()).await;
    let watchdog = world.flow("watchdog").await;
    watchdog.finalize("finalize").await.unwrap();
    let closed = closed(&scene.bundles, &scene.previous, scene.domain);
    let accounts: Vec<Payout> = closed.payouts.payouts().to_vec();
    let claims: Vec<_> = accounts.iter().map(|payout| closed.payouts.claim(payout.account).unwrap()).collect();
    let claimed = [
        watchdog.claim_multi("claims", &claims).await.unwrap().value,
        watchdog.claim_multi("claims/again", &claims).await.unwrap().value,
    ];
    let mut lifetime = Vec::new();
    for payout in accounts {
        let paid = watchdog.claimed(payout.account).await.unwrap();
        lifetime.push((payout, paid));
    }
    Lies { refuted, totals, honest, withheld, challenge_of_honest, closed, claimed, lifetime }
}
