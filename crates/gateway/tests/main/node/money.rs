//! Each way that money goes in and comes out, on both chains.

use alloy_primitives::U256;
use openledger_chain::flow::{EpochTops, Flow, NewContribution, Withdrawal};
use openledger_protocol::sum_tree::SumTree;
use openledger_protocol::{
    Address, Amount, B256, ChannelConfig, ContributionId, Domain, Entry, EpochHeader, PayeeRole, Payout, PayoutTree,
    ReceiptId, Voucher, keccak, word,
};

use super::calls::{self, Authorization, Title};
use super::ground::{CHAIN_ID, Ground, on_both, refused};
use super::world::{BOND, WINDOW_S, key};

on_both! {
    deposits_come_by_approval_by_permit_and_by_an_authorization_that_anyone_sends,
    a_payer_withdraws_what_vouchers_left_once_it_is_due,
    an_epoch_pays_many_by_one_proof_and_a_splitter_halves,
    an_operator_gets_its_bond_back_after_fourteen_days,
}

fn open(whole: u64) -> Amount {
    Amount::open(whole).unwrap()
}

fn channel(payer: &str) -> ChannelConfig {
    let (payer, node) = (key(payer).address(), key("node").address());
    ChannelConfig { payer, authorizer: payer, node, withdraw_delay: 5, salt: B256::repeat_byte(3) }
}

/// The voucher of a channel for whole OPEN in all, signed by `signer`.
fn voucher(
    ground: &Ground,
    config: &ChannelConfig,
    whole: u64,
    signer: &str,
) -> (Voucher, openledger_protocol::Signature) {
    let channels = ground.addresses.channels;
    let voucher = Voucher { channel: config.id(CHAIN_ID, channels), cumulative: open(whole) };
    let domain = Domain { chain_id: CHAIN_ID, contract: channels };
    let signature = key(signer).sign(domain.digest(voucher.struct_hash()));
    (voucher, signature)
}

async fn deposits_come_by_approval_by_permit_and_by_an_authorization_that_anyone_sends(ground: &Ground) {
    let payer = ground.rich("payer", 100).await;
    let relayer = ground.rich("relayer", 10).await;
    payer.token().wrap("wrap", open(90)).await.unwrap();
    let (config, channels) = (channel("payer"), ground.addresses.channels);
    refused(payer.channels().deposit("unapproved", &config, open(1)).await, "ERC20InsufficientAllowance");
    payer.token().approve("approve", channels, open(10)).await.unwrap();
    let id = payer.channels().deposit("deposit", &config, open(10)).await.unwrap().value;
    assert_eq!(id, config.id(CHAIN_ID, channels));

    let deadline = ground.now().await + 1_000;
    let digest = calls::permit_digest(&payer, payer.account(), channels, open(20), deadline).await;
    let permit = key("payer").sign(digest);
    let strangers = key("relayer").sign(digest);
    let by_stranger = calls::deposit_with_permit(&payer, "forged", &config, open(20), deadline, &strangers).await;
    refused(by_stranger, "ERC20InsufficientAllowance");
    calls::deposit_with_permit(&payer, "permit", &config, open(20), deadline, &permit).await.unwrap();

    let now = ground.now().await;
    let valid =
        Authorization { amount: open(30), valid_after: now - 1, valid_before: now + 1_000, salt: B256::repeat_byte(1) };
    let signed = key("payer").sign(valid.digest(&relayer, &config).await);
    // It names its channel: with another one it is no authorization at all.
    let elsewhere = ChannelConfig { salt: B256::repeat_byte(9), ..config.clone() };
    let diverted = calls::deposit_with_authorization(&relayer, "diverted", &elsewhere, &valid, &signed).await;
    refused(diverted, "ERC3009InvalidSignature");
    calls::deposit_with_authorization(&relayer, "authorized", &config, &valid, &signed).await.unwrap();
    let again = calls::deposit_with_authorization(&relayer, "again", &config, &valid, &signed).await;
    refused(again, "ERC3009UsedAuthorization");
    let late = Authorization { valid_before: now, salt: B256::repeat_byte(2), ..valid };
    let signed = key("payer").sign(late.digest(&relayer, &config).await);
    let late = calls::deposit_with_authorization(&relayer, "late", &config, &late, &signed).await;
    refused(late, "ERC3009InvalidAuthorizationTime");

    assert_eq!(relayer.channels().state(id).await.unwrap().balance, open(60));
    assert_eq!(relayer.token().balance(payer.account()).await.unwrap(), open(30));
    assert_eq!(relayer.token().balance(channels).await.unwrap(), open(60));
}

async fn a_payer_withdraws_what_vouchers_left_once_it_is_due(ground: &Ground) {
    let payer = ground.rich("payer", 100).await;
    let node = ground.rich("node", 10).await;
    let config = channel("payer");
    payer.token().wrap("wrap", open(50)).await.unwrap();
    payer.token().approve("approve", ground.addresses.channels, open(50)).await.unwrap();
    let id = payer.channels().deposit("deposit", &config, open(50)).await.unwrap().value;
    refused(calls::withdraw(&node, "unasked", &config).await, "WithdrawalNotDue");
    refused(calls::request_withdrawal(&node, "not-mine", &config, open(50)).await, "NotPayer");
    let asked = calls::request_withdrawal(&payer, "ask", &config, open(50)).await.unwrap();
    let asked_at = payer.client().block(asked.block).await.unwrap().unwrap().timestamp;
    let ready_at = asked_at + config.withdraw_delay;
    assert_eq!(payer.channels().withdrawal(id).await.unwrap(), Some(Withdrawal { amount: open(50), ready_at }));

    // What was signed for before the time is up is redeemed out of what was asked back.
    let (spent, signature) = voucher(ground, &config, 20, "payer");
    let (_, forged) = voucher(ground, &config, 20, "node");
    refused(node.channels().redeem("forged", &[(config.clone(), spent.clone(), forged)]).await, "NotSignedByPayer");
    assert_eq!(node.channels().redeem("redeem", &[(config.clone(), spent, signature)]).await.unwrap().value, open(20));
    refused(calls::withdraw(&payer, "early", &config).await, "WithdrawalNotDue");
    ground.pass(config.withdraw_delay).await;
    assert_eq!(calls::withdraw(&node, "withdraw", &config).await.unwrap(), open(30));
    assert_eq!(payer.token().balance(payer.account()).await.unwrap(), open(30));
    assert_eq!(payer.channels().withdrawal(id).await.unwrap(), None);
    refused(calls::withdraw(&payer, "twice", &config).await, "WithdrawalNotDue");
    let (more, signature) = voucher(ground, &config, 30, "payer");
    assert_eq!(
        node.channels().redeem("too-late", &[(config.clone(), more, signature)]).await.unwrap().value,
        Amount::ZERO
    );
    assert_eq!(payer.token().balance(ground.addresses.channels).await.unwrap(), Amount::ZERO);
    assert_eq!(payer.payouts().funded().await.unwrap(), open(20));
}

/// Puts a bond at stake.
async fn join(ground: &Ground, node: &Flow) {
    node.token().wrap("bond/wrap", open(BOND)).await.unwrap();
    node.token().approve("bond/approve", ground.addresses.payouts, open(BOND)).await.unwrap();
    node.payouts().join("bond/join", node.account(), open(BOND)).await.unwrap();
}

/// An epoch of one line an account; its payout tree.
async fn propose(ground: &Ground, node: &Flow, lines: &[(Address, Amount)]) -> PayoutTree {
    let domain = Domain { chain_id: CHAIN_ID, contract: ground.addresses.payouts };
    let entry = |&(account, amount): &(Address, Amount)| Entry {
        receipt: ReceiptId(B256::repeat_byte(1)),
        line: 0,
        role: PayeeRole::Insurance,
        account,
        contribution: Entry::NO_CONTRIBUTION,
        amount,
    };
    let entries = SumTree::new(lines.iter().map(|line| entry(line).leaf()).collect()).unwrap();
    let payouts = lines.iter().map(|&(account, cumulative)| Payout { account, cumulative }).collect();
    let tree = PayoutTree::new(payouts, domain).unwrap();
    let header = EpochHeader {
        version: Default::default(),
        node: node.account(),
        epoch: 1,
        cutoff: ground.now().await,
        receipt_count: 1,
        receipts_root: entries.root().hash,
        receipts_total: entries.root().sum,
        entries_root: entries.root().hash,
        entries_total: entries.root().sum,
        payout_root: tree.root().hash,
        total: tree.root().sum,
    };
    // Nobody opens the receipts here, so any tree of the same sum stands for them.
    let tops = EpochTops { receipts: entries.top(), entries: entries.top(), payouts: tree.top() };
    node.payouts().propose("propose", &header, &tops, "").await.unwrap();
    tree
}

/// A title of two contributors; the splitter that holds it.
async fn splitter(node: &Flow) -> Address {
    let datanet = node.datanets().create("datanet", B256::repeat_byte(1), "").await.unwrap().value;
    let batch = NewContribution {
        datanet,
        root: B256::repeat_byte(2),
        count: 1,
        terms: B256::repeat_byte(1),
        contributors: vec![key("river-gauge").address(), key("night-desk").address()],
        registrant: node.account(),
        salt: B256::ZERO,
        signature: None,
    };
    node.contributions().commit("commit", std::slice::from_ref(&batch)).await.unwrap();
    let title: ContributionId = node.contributions().register("register", &[batch]).await.unwrap().value[0];
    Title::Contribution(title).holder(node).await
}

async fn an_epoch_pays_many_by_one_proof_and_a_splitter_halves(ground: &Ground) {
    let node = ground.rich("node", 2 * BOND).await;
    join(ground, &node).await;
    let splitter = splitter(&node).await;
    let mut lines = vec![(splitter, Amount(1_001)), (key("salt-archive").address(), Amount(77))];
    lines.extend((1..=9u8).map(|at| (Address::repeat_byte(at), Amount(u128::from(at) * 1_000))));
    lines.sort();
    let total = Amount::sum(lines.iter().map(|line| line.1)).unwrap();
    node.token().wrap("fund/wrap", open(1)).await.unwrap();
    node.token().approve("fund/approve", ground.addresses.payouts, open(1)).await.unwrap();
    calls::fund(&node, "fund", open(1)).await;
    let tree = propose(ground, &node, &lines).await;
    refused(node.payouts().finalize("early").await, "WindowOpen");
    ground.pass(WINDOW_S).await;
    node.payouts().finalize("finalize").await.unwrap();

    // Any subset has one proof, in any order: here every third, then all.
    let claims: Vec<_> = lines.iter().map(|line| tree.claim(line.0).unwrap()).collect();
    let third: Vec<_> = claims.iter().rev().step_by(3).cloned().collect();
    let of_third = Amount::sum(third.iter().map(|claim| claim.cumulative)).unwrap();
    assert_eq!(calls::claim_multi(&node, "third", &third).await.unwrap(), of_third);
    assert_eq!(calls::claim_multi(&node, "all", &claims).await.unwrap(), total.minus(of_third).unwrap());
    assert_eq!(calls::claim_multi(&node, "again", &claims).await.unwrap(), Amount::ZERO);
    let mut wrong = third;
    wrong[0].cumulative = total;
    refused(calls::claim_multi(&node, "wrong", &wrong).await, "NotInRoot");
    for (account, amount) in lines {
        assert_eq!(node.token().balance(account).await.unwrap(), amount);
    }

    let mut release = keccak("release(address)")[..4].to_vec();
    release.extend(word(ground.addresses.wopen));
    node.sender().send("release", splitter, release.into(), U256::ZERO).await.unwrap();
    let halves = [key("river-gauge").address(), key("night-desk").address()];
    assert_eq!(node.token().balance(halves[0]).await.unwrap(), Amount(501));
    assert_eq!(node.token().balance(halves[1]).await.unwrap(), Amount(500));
}

async fn an_operator_gets_its_bond_back_after_fourteen_days(ground: &Ground) {
    let node = ground.rich("node", 2 * BOND).await;
    refused(calls::request_exit(&node, "unbonded").await, "NotBonded");
    join(ground, &node).await;
    refused(calls::exit(&node, "unasked").await, "ExitNotDue");
    calls::request_exit(&node, "ask").await.unwrap();
    refused(calls::exit(&node, "early").await, "ExitNotDue");
    // A day is a second on these networks.
    ground.pass(14).await;
    assert_eq!(calls::exit(&node, "exit").await.unwrap(), open(BOND));
    assert_eq!(node.token().balance(node.account()).await.unwrap(), open(BOND));
    assert_eq!(node.payouts().operator(node.account()).await.unwrap().stake, Amount::ZERO);
    refused(calls::exit(&node, "twice").await, "ExitNotDue");
}
