//! A dishonest proposer and an independent watchdog, in a second life of the story's network.
//!
//! Everything starts from receipts that the pipeline made and signed. Each lie is proposed with a bond, judged by the node's
//! watcher, refuted by an account of its own, and leaves the epoch open for the next one; the last proposal is honest.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use alloy_primitives::{Bytes, U256};
use openledger_api::{EpochPublication, FiledReceipt, PayoutLeaf};
use openledger_chain::contracts::bindings::payouts::Payouts::PayoutsEvents;
use openledger_chain::flow::{EpochTops, Flow};
use openledger_chain::indexer::ChainEvent;
use openledger_ledger::challenge::{Filed, Published};
use openledger_ledger::{ClosedEpoch, ClosedReceipt, EpochSpan, close_epoch};
use openledger_protocol::{
    Address, Amount, B256, ContributionId, Domain, Entry, Manifest, Payout, Receipt, ReceiptBundle, keccak,
};
use serde_json::{Value, json};

use super::calls::{self, Title};
use super::story::{QUESTION, Story, fixture};
use super::world::{BOND, RUNTIME, World, key};

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
pub(crate) struct Disputes {
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

static DISPUTES: LazyLock<Disputes> = LazyLock::new(|| {
    let story = fixture();
    RUNTIME.block_on(run(story))
});

/// The disputes, run on first use.
pub(crate) fn disputes() -> &'static Disputes {
    &DISPUTES
}

/// The leaves of a proposal and the answers under it.
#[derive(Clone)]
struct Publication {
    leaves: Published,
    answers: Vec<ReceiptBundle>,
}

impl Publication {
    /// As the node's API takes it.
    fn body(&self) -> Value {
        let leaves = self.leaves.clone();
        let filed = |filed: Filed| FiledReceipt {
            id: filed.id,
            words: filed.words.to_vec(),
            signature: filed.signature,
            note_hash: filed.note_hash,
            price: filed.price,
        };
        let payout = |payout: Payout| PayoutLeaf { account: payout.account, cumulative: payout.cumulative };
        let publication = EpochPublication {
            format: "openledger/publication/v2".to_owned(),
            domain: leaves.domain,
            header: leaves.header,
            receipts: leaves.receipts.into_iter().map(|leaf| leaf.map(filed)).collect(),
            entries: leaves.entries,
            payouts: leaves.payouts.into_iter().map(|leaf| leaf.map(payout)).collect(),
            answers: self.answers.clone(),
        };
        serde_json::to_value(publication).unwrap()
    }
}

/// The parts of a dispute.
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
        let [receipts, entries, payouts] = publication.leaves.tops().unwrap();
        let tops = EpochTops { receipts, entries, payouts };
        proposer.payouts().propose(&format!("propose/{label}"), &header, &tops, "").await.unwrap();
    }

    /// Proposes a lie with a fresh bond, has it judged and refuted; `ourselves`: by the node, else by the watchdog.
    async fn refute(
        &self,
        [label, what]: [&'static str; 2],
        proposer: &str,
        publication: &Publication,
        ourselves: bool,
    ) -> Refuted {
        let world = &self.world;
        let payouts = world.addresses.payouts;
        let flow = world.flow(proposer).await;
        bond(world, proposer, label).await;
        self.propose(&flow, label, publication).await;

        let body = publication.body();
        let verdict = world.post("/api/v1/epochs/pending/watch", &body).await.done();
        assert_eq!(verdict["verdict"], "refuted", "{label}: {verdict}");
        let challenger = key(if ourselves { "node" } else { "watchdog" }).address();
        let (held, had) = (balance(&flow, payouts).await, balance(&flow, challenger).await);
        let mut logs = if ourselves {
            let dispute = world.post("/api/v1/epochs/pending/challenge", &body).await.done();
            let tx: B256 = serde_json::from_value(dispute["tx"].clone()).unwrap();
            flow.client().receipt(tx).await.unwrap().unwrap().logs
        } else {
            let calldata: Bytes = {
                let found = verdict["refutations"].as_array().unwrap();
                let sent = found.iter().find(|found| found["what"] == what);
                let sent = sent.unwrap_or_else(|| panic!("{label} is not found as {what}"));
                serde_json::from_value(sent["calldata"].clone()).unwrap()
            };
            let watchdog = world.flow("watchdog").await;
            let sent = watchdog.sender().send(&format!("challenge/{label}"), payouts, calldata, U256::ZERO).await;
            sent.unwrap().logs
        };
        let rejected = logs.iter().find_map(|log| match ChainEvent::decode(&world.addresses, log) {
            Some(ChainEvent::Payouts(PayoutsEvents::EpochRejected(rejected))) => Some(rejected),
            _ => None,
        });
        let waited = flow.payouts().unswept().await.unwrap();
        logs.extend(world.flow("watchdog").await.payouts().sweep(&format!("sweep/{label}")).await.unwrap().logs);
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
            stake: flow.payouts().operator(flow.account()).await.unwrap().stake,
            pending: flow.payouts().pending().await.unwrap().is_some(),
            challenger,
        }
    }
}

async fn balance(flow: &Flow, account: Address) -> Amount {
    flow.token().balance(account).await.unwrap()
}

/// Puts a name's bond at stake, unless it is.
async fn bond(world: &World, name: &str, label: &str) {
    let flow = world.flow(name).await;
    let bond = Amount::open(BOND).unwrap();
    if flow.payouts().operator(flow.account()).await.unwrap().stake < bond {
        flow.token().wrap(&format!("bond/{label}/wrap"), bond).await.unwrap();
        flow.token().approve(&format!("bond/{label}/approve"), world.addresses.payouts, bond).await.unwrap();
        flow.payouts().join(&format!("bond/{label}/join"), flow.account(), bond).await.unwrap();
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
            Title::Contribution(title).transfer(&buyer, "resale", to).await.unwrap();
        }
        let answer = world.ask(&payer, QUESTION, json!({})).await.done();
        bundles.push(serde_json::from_value(world.bundle(&answer).await).unwrap());
    }
    // What the node answered to others since the last epoch belongs to this one as well.
    let listed = world.get("/api/v1/receipts?limit=100").await.done();
    for card in listed["items"].as_array().unwrap().iter().filter(|card| card["epoch"] != 1) {
        let id = card["id"].as_str().unwrap();
        let bundle: ReceiptBundle =
            serde_json::from_value(world.get(&format!("/api/v1/receipts/{id}/bundle")).await.done()).unwrap();
        if bundles.iter().all(|known: &ReceiptBundle| known.signed.receipt.id() != bundle.signed.receipt.id()) {
            bundles.push(bundle);
        }
    }
    let faucet = world.flow("faucet").await;
    let enough = Amount::open(100).unwrap();
    faucet.token().wrap("fund/wrap", enough).await.unwrap();
    faucet.token().approve("fund/approve", world.addresses.payouts, enough).await.unwrap();
    calls::fund(&faucet, "fund", enough).await;

    let payouts = world.get("/api/v1/epochs/1/payouts").await.done();
    let previous: Vec<Payout> = payouts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|card| serde_json::from_value(json!({ "account": card["account"], "cumulative": card["cumulative"] })))
        .collect::<Result<_, _>>()
        .unwrap();
    let manifest = world.get("/api/v1/models/thread/manifest").await.done();
    let domain = Domain { chain_id: world.chain_id, contract: world.addresses.payouts };
    let closed = closed(&bundles, &previous, domain);
    let honest = Publication { leaves: Published::of(&closed), answers: bundles.clone() };
    let manifest = serde_json::from_value(manifest).unwrap();
    Scene { world, domain, previous, bundles, manifest, honest, sold: sold.to_owned() }
}

fn closed(bundles: &[ReceiptBundle], previous: &[Payout], domain: Domain) -> ClosedEpoch {
    let of = |bundle: &ReceiptBundle| ClosedReceipt {
        signed: bundle.signed.clone(),
        note: bundle.note.as_ref().map(|signed| signed.note.clone()),
        entries: bundle.entries.clone(),
    };
    let cutoff = bundles.iter().map(|bundle| bundle.signed.receipt.time).max().unwrap();
    let span = EpochSpan { node: key("node").address(), number: 2, cutoff };
    close_epoch(span, &bundles.iter().map(of).collect::<Vec<_>>(), previous, domain).unwrap()
}

/// The one lie of a wrong payee and the honest end, on a network where a story was told.
pub(crate) async fn wrong_payee(world: World, sold: &str) -> Disputes {
    let scene = scene(world, sold).await;
    let publication = scene.paying_the_old_holder();
    let refuted =
        BTreeMap::from([("payee", scene.refute(["payee", "wrong payee"], "node", &publication, false).await)]);
    honest_end(scene, refuted, [Address::ZERO; 2]).await
}

async fn run(story: &Story) -> Disputes {
    let scene = scene(World::open(story.copy.clone(), Arc::default()).await, &story.sold).await;
    let first = scene.bundles[0].signed.receipt.id();
    let mut refuted = BTreeMap::new();
    let mut tell = async |label: &'static str, what: &'static str, publication: Publication| {
        refuted.insert(label, scene.refute([label, what], "node", &publication, label == "order").await);
    };

    tell("span", "false span", scene.span_of(0)).await;
    tell("record", "missing record", scene.span_of(9_999)).await;

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
    tell("total", "wrong total", lowered).await;

    let settled: ReceiptBundle = serde_json::from_value(story.before_sale.clone()).unwrap();
    let mut again = scene.publication(|receipts, entries| {
        let signature = Bytes::copy_from_slice(&settled.signed.signature.0);
        let (id, words) = (settled.signed.receipt.id(), settled.signed.receipt.words());
        let price = settled.signed.receipt.price;
        receipts.push(Filed { id, words, signature, note_hash: B256::ZERO, price });
        entries.extend(settled.entries.iter().cloned());
    });
    again.answers.push(settled.clone());
    tell("duplicate", "duplicate receipt", again).await;

    let lines = scene.publication(|_, entries| {
        let mut of_first = entries.iter_mut().filter(|entry| entry.receipt == first);
        of_first.find(|entry| entry.role as u8 == 4).unwrap().amount.0 += 1_000;
        let mut of_first = entries.iter_mut().filter(|entry| entry.receipt == first);
        of_first.find(|entry| entry.role as u8 == 6 && entry.amount.0 > 1_000).unwrap().amount.0 -= 1_000;
    });
    tell("split", "wrong split", lines).await;
    let shares = scene.resigned(|receipt, _| {
        receipt.platform_bps -= 100;
        receipt.contributors_bps += 100;
    });
    tell("shares", "wrong split", shares).await;

    let unsigned = scene.publication(|receipts, _| {
        let filed = receipts.iter_mut().find(|filed| filed.id == first).unwrap();
        let digest = scene.domain.digest(filed.struct_hash());
        filed.signature = Bytes::copy_from_slice(&key("liar").sign(digest).0);
    });
    tell("signature", "unsigned receipt", unsigned).await;

    let sold = scene.paying_the_old_holder();
    tell("payee", "wrong payee", sold).await;

    let mut order = scene.honest.clone();
    order.leaves.entries.swap(0, 1);
    tell("order", "wrong order", order).await;

    let stray = scene.publication(|_, entries| {
        let receipt = openledger_protocol::ReceiptId(B256::repeat_byte(0x99));
        let amount = Amount::ZERO; // Receipts and entries have the same sum, so a line more can only be empty.
        entries.push(Entry { receipt, line: 0, account: key("liar").address(), amount, ..entries[0].clone() });
    });
    tell("entry", "entry without receipt", stray).await;

    let omitted = scene.publication(|receipts, entries| {
        receipts.retain(|filed| filed.id != first);
        entries.retain(|entry| entry.receipt != first);
    });
    // Receipts of the node, proposed by another operator as its own.
    let mut stolen = scene.honest.clone();
    stolen.leaves.header.node = key("liar").address();
    refuted.insert("stolen", scene.refute(["stolen", "unsigned receipt"], "liar", &stolen, false).await);
    refuted.insert("omission", scene.refute(["omission", "omitted receipt"], "node", &omitted, false).await);

    honest_end(scene, refuted, [poorer, richer]).await
}

/// The honest proposal of the same epoch, to its claims.
async fn honest_end(scene: Scene, refuted: BTreeMap<&'static str, Refuted>, totals: [Address; 2]) -> Disputes {
    let world = &scene.world;
    let node = world.flow("node").await;
    bond(world, "node", "honest").await;
    scene.propose(&node, "honest", &scene.honest).await;
    let body = scene.honest.body();
    let honest = world.post("/api/v1/epochs/pending/watch", &body).await.done();
    let names = |found: &Value| {
        found["refutations"].as_array().map(|all| all.iter().map(|one| one["what"].clone()).collect::<Vec<_>>())
    };
    assert_eq!(honest["verdict"], "agrees", "{:?}", names(&honest));
    let challenge_of_honest = world.post("/api/v1/epochs/pending/challenge", &body).await.done();
    let mut other = scene.honest.clone();
    other.leaves.payouts.pop();
    let withheld = world.post("/api/v1/epochs/pending/watch", &other.body()).await.done();

    world.pass("window", u32::try_from(world.window()).unwrap()).await;
    let watchdog = world.flow("watchdog").await;
    // The node may have done it: the proposal is its own.
    if let Err(error) = watchdog.payouts().finalize("finalize").await {
        assert!(format!("{error:?}").contains("NothingPending"), "{error:?}");
    }
    assert_eq!(watchdog.payouts().head().await.unwrap().epoch, 2);
    let closed = closed(&scene.bundles, &scene.previous, scene.domain);
    let accounts: Vec<Payout> = closed.payouts.payouts().to_vec();
    let claims: Vec<_> = accounts.iter().map(|payout| closed.payouts.claim(payout.account).unwrap()).collect();
    let claimed = [
        calls::claim_multi(&watchdog, "claims", &claims).await.unwrap(),
        calls::claim_multi(&watchdog, "claims/again", &claims).await.unwrap(),
    ];
    let mut lifetime = Vec::new();
    for payout in accounts {
        let paid = calls::claimed(&watchdog, payout.account).await;
        lifetime.push((payout, paid));
    }
    Disputes { refuted, totals, honest, withheld, challenge_of_honest, closed, claimed, lifetime }
}
