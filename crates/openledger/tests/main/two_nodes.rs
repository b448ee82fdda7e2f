//! Two nodes of one operator on one Postgres database, one S3 bucket and one chain.
//!
//! The nodes are processes of the program, and every server is real. They pass the story together,
//! each of them is killed in the middle of its work, and at the end every receipt is paid once.

#![allow(clippy::large_futures, reason = "the story is awaited as a whole, once")]

mod people;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::future::join_all;
use openledger_api::client::Client as Node;
use openledger_api::{ClaimsRequest, EpochState, JobState, ReceiptView};
use openledger_protocol::{Address, Amount, ReceiptId};
use serde_json::json;

use self::people::{CONTRIBUTORS, Paying, People, ask, order, trained, wait_for};
use self::servers::{NodeProcess, Shared, WINDOW_S, key};

const QUESTION: &str = "What pitch does a bicycle chain have?";
/// The bond of a node, in whole OPEN.
const BOND: u64 = 5_000;
/// Steps of the training that is killed: long enough to be in the middle of it.
const LONG: u64 = 160;
/// Steps after which it is killed: after the first checkpoint.
const KILLED_AT: u64 = 10;

#[test]
fn two_nodes_pass_the_story_together_and_a_kill_of_either_loses_nothing() {
    let Some(shared) = Shared::start() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(Box::pin(story(&shared)));
}

/// Two nodes with their clients.
struct Pair<'a> {
    processes: [NodeProcess<'a>; 2],
    nodes: [Node; 2],
}

impl Pair<'_> {
    fn kill(&mut self, which: usize) {
        self.processes[which].kill();
    }

    async fn start_again(&mut self, which: usize) {
        self.processes[which].start_again();
        self.nodes[which] = self.processes[which].ready().await;
    }
}

async fn story(shared: &Shared) {
    shared.give(shared.operator(), 100_000).await;
    let mut pair = open_both(shared).await;
    let people = People::new(shared, pair.nodes[0].network().await.unwrap());
    assert_eq!(people.network, pair.nodes[1].network().await.unwrap(), "both serve one network");
    let payouts = people.flow("watchdog").await;
    let stake = payouts.payouts().operator(shared.operator()).await.unwrap().stake;
    assert_eq!(stake, open(BOND), "the bond is staked once");

    let datanet = people.datanet(&pair.nodes[0], &pair.nodes[1]).await;
    let (first, trainer) = train_first(shared, &pair, &people, datanet).await;
    let payer = people.payer(&pair.nodes[trainer], "payer", open(50)).await;
    let mut receipts = both_answer_alike(&pair, &payer, first).await;

    receipts.extend(trainer_is_killed(shared, &mut pair, &people, datanet, &payer).await);
    receipts.extend(ten_of_forty_are_answered(&pair, &people, &payer).await);
    receipts.push(killed_while_it_answers(&mut pair, &payer).await);
    settle_under_kills(shared, &mut pair).await;
    books_hold(shared, &pair, &people, &receipts).await;
}

fn open(whole: u64) -> Amount {
    Amount::open(whole).unwrap()
}

/// Starts both nodes at the same moment, so that both deploy the contracts and stake the bond.
async fn open_both(shared: &Shared) -> Pair<'_> {
    let mut one = NodeProcess::start(shared, "one");
    let mut other = NodeProcess::start(shared, "other");
    let (first, second) = tokio::join!(one.ready(), other.ready());
    Pair { processes: [one, other], nodes: [first, second] }
}

/// The node that holds a job.
async fn holder(shared: &Shared, pair: &Pair<'_>, job: u64) -> usize {
    let rows = shared.rows().await;
    let worker = rows.job(job).await.unwrap().unwrap().worker;
    rows.close().await;
    let at = pair.processes.iter().position(|process| Some(process.instance()) == worker);
    at.unwrap_or_else(|| panic!("{worker:?} is neither node"))
}

/// A short training that both nodes are asked for at once; the other node than the one that trained
/// offers the model.
async fn train_first(
    shared: &Shared,
    pair: &Pair<'_>,
    people: &People<'_>,
    datanet: openledger_api::DatanetVersionRef,
) -> (&'static str, usize) {
    let wanted = order("thread", datanet, 6);
    let [one, other] = &pair.nodes;
    let (first, second) = tokio::join!(one.order_job(&wanted, "train/one"), other.order_job(&wanted, "train/other"));
    let job = first.unwrap().job;
    assert_eq!(second.unwrap().job, job, "the same order is the same job, whichever node it is given to");
    let (done, result) = trained(one, job).await;
    assert_eq!(done.attempts, 1, "one of them did it, once");
    let trainer = holder(shared, pair, job).await;
    people.offer(&pair.nodes[1 - trainer], "thread", job, &result).await;
    ("thread", trainer)
}

/// Both nodes list the model, whoever trained it, and give the same answer in the same bits.
async fn both_answer_alike(pair: &Pair<'_>, payer: &Paying, model: &str) -> Vec<ReceiptId> {
    let mut texts = BTreeSet::new();
    let mut receipts = Vec::new();
    for (which, node) in pair.nodes.iter().enumerate() {
        let answer = ask(node, payer, model, (QUESTION, 12), &format!("{model}/{which}")).await.unwrap();
        texts.insert(answer.choices[0].message.content.clone());
        receipts.push(answer.openledger.unwrap().receipt_id);
        let listed = node.models().all().await.unwrap();
        assert!(listed.iter().any(|view| view.name == model), "{model} is not listed by node {which}");
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    receipts
}

/// One node trains while the other answers; it is killed, the other one takes the job over when its
/// lease has ended, and the killed one offers what the other trained.
async fn trainer_is_killed(
    shared: &Shared,
    pair: &mut Pair<'_>,
    people: &People<'_>,
    datanet: openledger_api::DatanetVersionRef,
    payer: &Paying,
) -> Vec<ReceiptId> {
    let job = pair.nodes[0].order_job(&order("longer", datanet, LONG), "train/longer").await.unwrap().job;
    let past = |step: u64| move |job: &openledger_api::Job| job.progress.is_some_and(|progress| progress.step >= step);
    wait_for(&pair.nodes[0], job, past(1)).await;
    let trainer = holder(shared, pair, job).await;
    let other = 1 - trainer;

    let asked = (0..4).map(|at| {
        let key = format!("meanwhile/{at}");
        let node = &pair.nodes[other];
        async move { ask(node, payer, "thread", (QUESTION, 8), &key).await.unwrap().openledger.unwrap().receipt_id }
    });
    let mut receipts: Vec<ReceiptId> = join_all(asked).await;
    let before = wait_for(&pair.nodes[other], job, past(KILLED_AT)).await;
    assert_eq!((before.state, before.attempts), (JobState::Running, 1), "it was killed too late: {before:?}");
    pair.kill(trainer);

    let taken = wait_for(&pair.nodes[other], job, |job| job.attempts == 2).await;
    assert_eq!(taken.state, JobState::Running);
    assert_eq!(holder(shared, pair, job).await, other);
    pair.start_again(trainer).await;
    let (done, result) = trained(&pair.nodes[other], job).await;
    assert_eq!((done.attempts, result.steps), (2, LONG));
    people.offer(&pair.nodes[trainer], "longer", job, &result).await;
    receipts.extend(both_answer_alike(pair, payer, "longer").await);
    receipts
}

/// Forty requests at both nodes at once on a channel that can pay ten.
async fn ten_of_forty_are_answered(pair: &Pair<'_>, people: &People<'_>, payer: &Paying) -> Vec<ReceiptId> {
    // A full answer costs what is reserved for it: the price depends on tokens alone.
    let size = (QUESTION, 2);
    let one = ask(&pair.nodes[0], payer, "thread", size, "measure").await.unwrap();
    assert_eq!(one.usage.completion_tokens, 2);
    let note = one.openledger.unwrap();
    let deposit = Amount(note.price.0 * 10 + note.price.0 / 2);
    let poor = people.payer(&pair.nodes[1], "ten-answers", deposit).await;
    let asked = (0..40).map(|at: usize| {
        let (node, poor, key) = (&pair.nodes[at % 2], &poor, format!("forty/{at}"));
        async move { ask(node, poor, "thread", size, &key).await }
    });
    let mut receipts = Vec::new();
    for answer in join_all(asked).await {
        match answer {
            Ok(answer) => receipts.push(answer.openledger.unwrap().receipt_id),
            Err(error) => assert!(error.is_code("insufficient-deposit"), "{error}"),
        }
    }
    assert_eq!(receipts.len(), 10);
    receipts.push(note.receipt_id);
    receipts
}

/// A node is killed while it answers. Its client asks the other node under the same key, and is
/// answered and charged once.
async fn killed_while_it_answers(pair: &mut Pair<'_>, payer: &Paying) -> ReceiptId {
    let (victim, other) = (0, 1);
    let long = (QUESTION, 200);
    let node = pair.nodes[victim].clone();
    let asking = async { ask(&node, payer, "longer", long, "killed").await };
    let killing = async {
        tokio::time::sleep(Duration::from_millis(60)).await;
        pair.processes[victim].kill();
    };
    let (lost, ()) = tokio::join!(asking, killing);
    // The process that is started again gives back at once what the killed one held.
    pair.start_again(victim).await;
    let again = ask(&pair.nodes[other], payer, "longer", long, "killed").await.unwrap();
    let receipt = again.openledger.unwrap().receipt_id;
    if let Ok(answered) = lost {
        assert_eq!(answered.openledger.unwrap().receipt_id, receipt, "it was answered before it was killed");
    }
    receipt
}

/// Settlement begins at one node, which is killed while its first transaction waits for a block.
/// The other one goes on when the lease has ended, and is killed while the proposal may be refuted.
/// The first one finalizes.
async fn settle_under_kills(shared: &Shared, pair: &mut Pair<'_>) {
    let (first, second) = (0, 1);
    shared.tell_chain("evm_setAutomine", json!([false])).await;
    let node = pair.nodes[first].clone();
    let settling = tokio::spawn(async move { node.settle("settle/first").await });
    let rows = shared.rows().await;
    let since = Instant::now();
    let waiting = loop {
        let waiting = rows.outbox_pending().await.unwrap();
        if let Some(redeem) = waiting.into_iter().find(|row| row.key.starts_with("epoch/1/")) {
            break redeem;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "settlement sends nothing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    pair.kill(first);
    settling.await.unwrap().unwrap_err();
    shared.tell_chain("evm_setAutomine", json!([true])).await;
    shared.tell_chain("evm_mine", json!([])).await;

    let open = pair.nodes[second].settle("settle/second").await.unwrap_err();
    assert!(open.is_code("window-open"), "{open}");
    let redeemed = rows.outbox_get(&waiting.key).await.unwrap().unwrap();
    assert_eq!(redeemed.tx_hash, waiting.tx_hash, "what the killed node signed is what was mined");
    rows.close().await;
    pair.kill(second);

    shared.tell_chain("evm_increaseTime", json!([WINDOW_S])).await;
    shared.tell_chain("evm_mine", json!([])).await;
    pair.start_again(first).await;
    let settled = pair.nodes[first].settle("settle/third").await.unwrap();
    assert_eq!(settled.epoch.header.epoch, 1);
    assert!(settled.steps.iter().any(|step| step.what == "finalize"), "{:?}", settled.steps);
    pair.start_again(second).await;
}

/// Every receipt is paid once, sums are conserved, both nodes tell the same, and nothing was sent
/// twice.
async fn books_hold(shared: &Shared, pair: &Pair<'_>, people: &People<'_>, receipts: &[ReceiptId]) {
    let [one, other] = &pair.nodes;
    let listed: Vec<ReceiptView> = one.receipts().all().await.unwrap();
    assert_eq!(listed, other.receipts().all().await.unwrap());
    let ids: BTreeSet<ReceiptId> = listed.iter().map(|receipt| receipt.id).collect();
    assert_eq!(ids, receipts.iter().copied().collect(), "the receipts are those that payers were given");
    assert_eq!(ids.len(), receipts.len());
    assert!(listed.iter().all(|receipt| receipt.epoch == Some(1)));
    let prices = Amount::sum(listed.iter().map(|receipt| receipt.price)).unwrap();
    let header = one.epoch(1).await.unwrap().header;
    assert_eq!((header.receipts_total, header.entries_total, header.total), (prices, prices, prices));

    // Both nodes are told to claim at once.
    let all = ClaimsRequest::default();
    let (claims, again) = tokio::join!(one.claim(&all), other.claim(&all));
    let claims = claims.unwrap().claims;
    assert_eq!(again.unwrap().claims, claims, "the same transactions");
    let flow = people.flow("watchdog").await;
    let mut paid: BTreeMap<Address, Amount> = BTreeMap::new();
    for claim in &claims {
        assert_eq!(flow.token().balance(claim.account).await.unwrap(), claim.amount, "{:?}", claim.name);
        paid.insert(claim.account, claim.amount);
    }
    assert_eq!(Amount::sum(paid.values().copied()).unwrap(), prices, "all that was paid in is paid out");
    assert!(CONTRIBUTORS.iter().any(|name| paid.contains_key(&key(name).address())));
    let bond = flow.payouts().operator(shared.operator()).await.unwrap().stake;
    assert_eq!(bond, open(BOND));
    let holds = flow.token().balance(people.network.addresses.payouts).await.unwrap();
    assert_eq!(holds, bond, "the contract holds the bond and nothing else");

    let rows = shared.rows().await;
    let mut redeemed = Amount::ZERO;
    for (channel, nonces) in nonces(one, receipts).await {
        let row = rows.channel(channel).await.unwrap().unwrap();
        assert_eq!(nonces, (1..=row.nonce).collect(), "the nonces of {channel}");
        assert_eq!(row.reserved, Amount::ZERO, "nothing is left reserved");
        let on_chain = flow.channels().state(channel).await.unwrap();
        assert_eq!(on_chain.redeemed, row.spent);
        redeemed = redeemed.plus(row.spent).unwrap();
    }
    assert_eq!(redeemed, prices);
    // Each transaction that was signed is in the chain, and there is no other one of the account.
    assert_eq!(rows.outbox_pending().await.unwrap(), []);
    let signed = rows.next_nonce(shared.operator(), 0).await.unwrap();
    assert_eq!(shared.chain().nonce(shared.operator()).await.unwrap(), signed);
    rows.close().await;

    for node in &pair.nodes {
        let audit = node.audit(true).await.unwrap();
        assert!(audit.ok, "{audit:?}");
        let epochs = node.epochs().all().await.unwrap();
        let states: Vec<_> = epochs.iter().map(|epoch| (epoch.number, epoch.state)).collect();
        assert!(states.contains(&(1, EpochState::Finalized)), "{states:?}");
    }
}

/// The nonces of receipts, by channel.
async fn nonces(node: &Node, receipts: &[ReceiptId]) -> BTreeMap<openledger_protocol::ChannelId, BTreeSet<u64>> {
    let mut nonces: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    for &id in receipts {
        let receipt = node.receipt_bundle(id).await.unwrap().signed.receipt;
        assert!(nonces.entry(receipt.channel).or_default().insert(receipt.nonce), "a nonce was used twice");
    }
    nonces
}
