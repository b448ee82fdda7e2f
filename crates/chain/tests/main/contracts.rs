//! Our contracts on our chain, through the typed functions.

use alloy_primitives::{B256, U256};
use openledger_chain::contracts::bindings::wopen::WOPEN;
use openledger_chain::flow::{EpochTops, NewContribution, NewModel};
use openledger_protocol::sum_tree::{SumNode, SumTree};
use openledger_protocol::{
    Amount, ChannelConfig, Domain, EpochHeader, FormatVersion, Grant, Params, Payout, PayoutTree, Publication, Purpose,
    Purposes, Voucher, contribution_id,
};

use crate::support::{address, deployed, deployment, flow_of, key, network, open_amount, sender};

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_sends_nothing_and_a_second_deployment_finds_everything() {
    let network = network().await;
    let sender = sender(&network.client, "node").await;
    let plan = deployment();
    let dry = plan.dry_run(&network.client, sender.address()).await.unwrap();
    assert!(dry.iter().all(|step| !step.present));
    assert_eq!(network.chain.head(), 0);

    let first = plan.deploy(&sender).await.unwrap();
    assert_eq!(
        first.iter().map(|step| step.address).collect::<Vec<_>>(),
        dry.iter().map(|s| s.address).collect::<Vec<_>>()
    );
    assert!(first.iter().all(|step| step.gas.is_some()));
    let head = network.chain.head();
    let again = plan.deploy(&crate::support::sender(&network.client, "night-desk").await).await.unwrap();
    assert!(again.iter().all(|step| step.present));
    assert_eq!(network.chain.head(), head);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrapped_can_be_unwrapped_and_the_supply_follows() {
    let (network, flow) = deployed().await;
    flow.token().wrap("wrap", open_amount(10)).await.unwrap();
    assert_eq!(flow.token().balance(flow.account()).await.unwrap(), open_amount(10));
    assert_eq!(network.client.balance(flow.addresses().wopen).await.unwrap(), U256::from(open_amount(10).0));
    let unwrapped = WOPEN::withdrawCall { amount: U256::from(open_amount(4).0) };
    flow.contract(flow.addresses().wopen).send("unwrap", unwrapped).await.unwrap();
    assert_eq!(flow.token().balance(flow.account()).await.unwrap(), open_amount(6));
    assert_eq!(flow.token().supply().await.unwrap(), open_amount(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datanet_takes_contributions_publishes_and_grants() {
    let (_network, flow) = deployed().await;
    let terms = B256::repeat_byte(1);
    let datanet = flow.datanets().create("create", terms, "ipfs://terms").await.unwrap().value;
    assert_eq!(datanet.0, 1);

    let batch = NewContribution {
        datanet,
        root: B256::repeat_byte(2),
        count: 3,
        terms: B256::repeat_byte(3),
        contributors: vec![flow.account()],
        registrant: flow.account(),
        salt: B256::repeat_byte(4),
        signature: None,
    };
    flow.contributions().commit("commit", std::slice::from_ref(&batch)).await.unwrap();
    let registered = flow.contributions().register("register", &[batch]).await.unwrap().value;
    assert_eq!(registered, [contribution_id(2626, flow.addresses().contributions, flow.account(), 0)]);
    assert_eq!(flow.contributions().nonce(flow.account()).await.unwrap(), 1);

    let publication = Publication { datanet, expected_version: 1, root: B256::repeat_byte(5), records: 3 };
    let domain = Domain { chain_id: 2626, contract: flow.addresses().datanets };
    let sign = |hash| key("node").sign(domain.digest(hash));
    let signed = sign(publication.struct_hash());
    assert_eq!(flow.datanets().publish_signed("publish", &publication, &signed).await.unwrap().value, 1);
    let state = flow.datanets().state(datanet).await.unwrap();
    assert_eq!((state.version, state.records, state.terms), (1, 3, terms));

    let (purpose, purposes) = (Purpose::Finetune, Purposes::of(&[Purpose::Finetune, Purpose::Infer]));
    let grantee = address("salt-archive");
    let grant = Grant { datanet, version: 1, grantee, purposes, until: 1_900_000_000, terms };
    flow.datanets().grant_signed("grant", &grant, &sign(grant.struct_hash())).await.unwrap();
    assert_eq!(flow.datanets().granted_until(datanet, grantee, purpose).await.unwrap(), 1_900_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_model_reads_back_as_it_was() {
    let (_network, flow) = deployed().await;
    let model = NewModel {
        weights: B256::repeat_byte(1),
        manifest: B256::repeat_byte(2),
        price_in: Amount(100),
        price_out: Amount(200),
        price_flat: Amount(5),
        parent: None,
        platform_bps: 500,
        model_bps: 2_000,
        stakers_bps: 1_000,
        parent_bps: 0,
        stake_vault: address("vault"),
    };
    let id = flow.models().register("register", &model, "ipfs://card").await.unwrap().value;
    assert_eq!(flow.models().state(id).await.unwrap().model, model);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_network_begins_with_the_first_governed_numbers() {
    let (_network, flow) = deployed().await;
    let params = flow.params();
    assert_eq!(params.current().await.unwrap(), Params::GENESIS);
    let period = params.with_hash(Params::GENESIS.hash()).await.unwrap().unwrap();
    assert_eq!((period.params, period.since, period.until), (Params::GENESIS, 0, None));
    assert_eq!(params.with_hash(B256::repeat_byte(1)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_goes_from_a_channel_through_an_epoch_to_whoever_earned_it() {
    let (network, node) = deployed().await;
    let addresses = *node.addresses();
    let payer = flow_of(&network, "river-gauge").await;
    payer.token().wrap("wrap", open_amount(100)).await.unwrap();
    payer.token().approve("approve", addresses.channels, open_amount(100)).await.unwrap();
    let config = ChannelConfig {
        payer: payer.account(),
        authorizer: payer.account(),
        node: node.account(),
        withdraw_delay: 1,
        salt: B256::ZERO,
    };
    let channel = payer.channels().deposit("deposit", &config, open_amount(100)).await.unwrap().value;
    assert_eq!(channel, config.id(2626, addresses.channels));

    let voucher = Voucher { channel, cumulative: open_amount(30) };
    let domain = Domain { chain_id: 2626, contract: addresses.channels };
    let signature = key("river-gauge").sign(domain.digest(voucher.struct_hash()));
    let voucher = [(config, voucher, signature)];
    let redeemed = node.channels().redeem("redeem", &voucher).await.unwrap().value;
    assert_eq!(redeemed, open_amount(30));
    assert_eq!(node.channels().redeem("redeem/again", &voucher).await.unwrap().value, Amount(0));
    assert_eq!(node.channels().state(channel).await.unwrap().redeemed, open_amount(30));
    assert_eq!(node.payouts().funded().await.unwrap(), open_amount(30));

    node.token().wrap("bond/wrap", open_amount(5_000)).await.unwrap();
    node.token().approve("bond/approve", addresses.payouts, open_amount(5_000)).await.unwrap();
    node.payouts().join("bond/join", node.account(), open_amount(5_000)).await.unwrap();

    let payouts = Domain { chain_id: 2626, contract: addresses.payouts };
    let earned = |name: &str, whole| Payout { account: address(name), cumulative: open_amount(whole) };
    let list = vec![earned("night-desk", 10), earned("salt-archive", 20)];
    let tree = PayoutTree::new(list, payouts).unwrap();
    let top: Vec<SumNode> = tree.payouts().iter().map(|payout| payout.leaf(payouts)).collect();
    let entries = [leaf(1, 10), leaf(2, 20)];
    let entries_root = SumTree::new(entries.to_vec()).unwrap().root();
    let cutoff = network.client.latest().await.unwrap().unwrap().timestamp;
    let header = EpochHeader {
        version: FormatVersion,
        node: node.account(),
        epoch: 1,
        cutoff,
        receipt_count: 2,
        receipts_root: entries_root.hash,
        receipts_total: entries_root.sum,
        entries_root: entries_root.hash,
        entries_total: entries_root.sum,
        payout_root: tree.root().hash,
        total: tree.root().sum,
    };
    let tops = EpochTops { receipts: entries, entries, payouts: [top[0], top[1]] };
    node.payouts().propose("epoch/1/propose", &header, &tops, "ipfs://epoch").await.unwrap();
    assert_eq!(node.payouts().pending().await.unwrap().unwrap().header, header);
    // Each block is a second, and the window is one: another transaction closes it.
    node.token().wrap("tick", Amount(1)).await.unwrap();
    assert_eq!(node.payouts().finalize("epoch/1/finalize").await.unwrap().value, 1);
    assert_eq!(node.payouts().head().await.unwrap().total, open_amount(30));
    assert_eq!(node.payouts().root().await.unwrap(), header.payout_root);

    let claim = [tree.claim(address("night-desk")).unwrap()];
    assert_eq!(payer.payouts().claim("claim", &claim).await.unwrap().value, open_amount(10));
    assert_eq!(payer.payouts().claim("claim/again", &claim).await.unwrap().value, Amount(0));
    assert_eq!(node.token().balance(address("night-desk")).await.unwrap(), open_amount(10));
}

fn leaf(byte: u8, whole: u64) -> SumNode {
    SumNode { hash: B256::repeat_byte(byte), sum: open_amount(whole) }
}
