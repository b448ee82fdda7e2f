//! Credentials become principals; what a principal may read.

use openledger_api::policy::{Principal, Reach};
use openledger_protocol::{Address, Amount, B256, ChannelConfig, ChannelId, Purpose, Purposes, Rights};
use openledger_store::api_keys::{ApiKeyRow, KeyKind};
use openledger_store::channels::{Channel, ChannelState};
use openledger_store::{Store, transact};

use super::{ManualTime, amount, code, store};
use crate::auth::{Auth, Viewer, key_hash};
use crate::error::Blame;

const TOKEN: &str = "olop_the token of the operator";
const PAYER: Address = Address::repeat_byte(1);
const CHANNEL: ChannelId = ChannelId(B256::repeat_byte(2));
const ACCOUNT: Address = Address::repeat_byte(3);

struct World {
    time: ManualTime,
    store: Store,
    auth: Auth,
}

impl World {
    async fn new() -> Self {
        let (time, store) = (ManualTime::default(), store().await);
        let auth = Auth::new(store.clone(), time.clock(), TOKEN);
        Self { time, store, auth }
    }

    /// Keeps an API key.
    async fn key(&self, token: &str, kind: KeyKind, principal: &str, channel: Option<ChannelId>) {
        let row = ApiKeyRow {
            hash: key_hash(token),
            kind,
            principal: principal.to_owned(),
            channel,
            scopes: String::new(),
            created: self.time.now(),
            revoked: None,
            last_used: None,
        };
        transact!(self.store, |tx| tx.put_api_key(&row).await).unwrap();
    }

    async fn channel(&self) {
        let channel = Channel {
            id: CHANNEL,
            payer: PAYER,
            payee: Address::ZERO,
            deposited: amount(100),
            spent: Amount::ZERO,
            reserved: Amount::ZERO,
            nonce: 0,
            time: 0,
            state: ChannelState::Open,
        };
        let config = ChannelConfig {
            payer: PAYER,
            authorizer: PAYER,
            node: Address::ZERO,
            withdraw_delay: 900,
            salt: B256::ZERO,
        };
        transact!(self.store, |tx| tx.put_channel(&channel, &config).await).unwrap();
    }

    async fn last_used(&self, token: &str) -> Option<u64> {
        self.store.api_key(key_hash(token)).await.unwrap().unwrap().last_used
    }
}

#[tokio::test]
async fn every_kind_of_credential_leads_to_its_principal() {
    let world = World::new().await;
    world.channel().await;
    world.key("channel key", KeyKind::Channel, &PAYER.to_string(), Some(CHANNEL)).await;
    world.key("account key", KeyKind::Account, &ACCOUNT.to_string(), None).await;
    world.key("agent key", KeyKind::Agent, &ACCOUNT.to_string(), None).await;
    for (token, principal) in [
        (None, Principal::Anonymous),
        (Some(TOKEN), Principal::Operator),
        (Some("channel key"), Principal::Payer { account: PAYER, channel: CHANNEL }),
        (Some("account key"), Principal::Account(ACCOUNT)),
        (Some("agent key"), Principal::Agent(ACCOUNT)),
    ] {
        assert_eq!(world.auth.principal(token).await.unwrap(), principal, "{token:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_known_is_refused_and_is_nobodys() {
    let world = World::new().await;
    for token in ["", "olop_the token of the operato", "another"] {
        let refused = world.auth.principal(Some(token)).await.unwrap_err();
        assert_eq!((refused.blame(), refused.code()), (Blame::Unauthenticated, "invalid-api-key"), "{token:?}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused() {
    let world = World::new().await;
    world.key("key", KeyKind::Account, &ACCOUNT.to_string(), None).await;
    world.auth.principal(Some("key")).await.unwrap();
    let now = world.time.now();
    transact!(world.store, |tx| tx.revoke_api_key(key_hash("key"), now).await).unwrap();
    assert_eq!(code(world.auth.principal(Some("key")).await), "invalid-api-key");
}

#[tokio::test]
async fn no_stored_key_makes_an_operator_or_a_payer_without_a_channel() {
    let world = World::new().await;
    world.key("operator key", KeyKind::Operator, "operator", None).await;
    world.key("no channel", KeyKind::Channel, &PAYER.to_string(), None).await;
    for token in ["operator key", "no channel"] {
        assert_eq!(code(world.auth.principal(Some(token)).await), "invalid-api-key", "{token}");
    }
}

#[tokio::test]
async fn a_key_whose_stored_account_is_damaged_is_an_error_of_the_operator() {
    let world = World::new().await;
    world.key("key", KeyKind::Account, "not an account", None).await;
    let damaged = world.auth.principal(Some("key")).await.unwrap_err();
    assert_eq!((damaged.blame(), damaged.code()), (Blame::Operator, "damaged-key"));
}

#[tokio::test]
async fn the_last_use_of_a_key_is_kept_about_once_a_minute() {
    let world = World::new().await;
    world.key("key", KeyKind::Account, &ACCOUNT.to_string(), None).await;
    let first = world.time.now();
    world.auth.principal(Some("key")).await.unwrap();
    assert_eq!(world.last_used("key").await, Some(first));
    world.time.pass(59_999);
    world.auth.principal(Some("key")).await.unwrap();
    assert_eq!(world.last_used("key").await, Some(first));
    world.time.pass(1);
    world.auth.principal(Some("key")).await.unwrap();
    assert_eq!(world.last_used("key").await, Some(first + 60_000));
}

fn rights(purposes: &[Purpose]) -> Rights {
    Rights {
        license: "CC0-1.0".into(),
        purposes: Purposes::of(purposes),
        attribution: false,
        share_alike: false,
        min_royalty_bps: 0,
        until: None,
    }
}

#[test]
fn texts_of_private_terms_are_read_by_their_accounts_and_the_operator_only() {
    let (private, public) = (rights(&[Purpose::Infer]), rights(&[Purpose::Infer, Purpose::Redistribute]));
    let own = Viewer::new(Principal::Account(ACCOUNT), Reach::Own);
    let other = Viewer::new(Principal::Account(PAYER), Reach::Own);
    let anonymous = Viewer::new(Principal::Anonymous, Reach::Public);
    let closed = Viewer::new(Principal::Account(ACCOUNT), Reach::None);
    let reads = |viewer: &Viewer| (viewer.may_read(&private, &[ACCOUNT]), viewer.may_read(&public, &[ACCOUNT]));
    assert_eq!(reads(&Viewer::new(Principal::Operator, Reach::All)), (true, true));
    assert_eq!(reads(&own), (true, true));
    assert_eq!(reads(&other), (false, true));
    assert_eq!(reads(&anonymous), (false, true));
    assert_eq!(reads(&closed), (false, false));
}

#[test]
fn an_anonymous_viewer_is_none_of_any_accounts_also_with_the_reach_of_its_own() {
    let anonymous = Viewer::new(Principal::Anonymous, Reach::Own);
    assert!(!anonymous.is_one_of(&[Address::ZERO, ACCOUNT]));
    assert_eq!(anonymous.account(), None);
}

#[test]
fn the_key_of_a_channel_reaches_its_own_channel_only_and_none_of_its_payers_account() {
    let other = ChannelId(B256::repeat_byte(0x77));
    let key = Viewer::new(Principal::Payer { account: PAYER, channel: CHANNEL }, Reach::Own);
    assert!(key.may_read_paid(CHANNEL, PAYER));
    // Another channel of the same payer, which somebody else may have opened.
    assert!(!key.may_read_paid(other, PAYER));
    assert!(!key.is_one_of(&[PAYER]));
    assert!(!key.may_read(&rights(&[Purpose::Infer]), &[PAYER]));
    assert_eq!(key.account(), None);
    let account = Viewer::new(Principal::Account(PAYER), Reach::Own);
    assert!([CHANNEL, other].iter().all(|channel| account.may_read_paid(*channel, PAYER)));
    assert!(!account.may_read_paid(CHANNEL, ACCOUNT));
    let closed = Viewer::new(Principal::Payer { account: PAYER, channel: CHANNEL }, Reach::None);
    assert!(!closed.may_read_paid(CHANNEL, PAYER));
    assert!(Viewer::new(Principal::Operator, Reach::All).may_read_paid(other, PAYER));
    assert!(!Viewer::new(Principal::Anonymous, Reach::Public).may_read_paid(CHANNEL, PAYER));
}
