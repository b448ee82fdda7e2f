//! Datanets, contributions, records, grants, models, handles.

use openledger_protocol::{PriceList, Purpose, Purposes, Rights};
use openledger_store::contributions::{ContributionRow, ContributionState};
use openledger_store::datanets::{Datanet, DatanetVersion};
use openledger_store::grants::GrantRow;
use openledger_store::ids::{
    AdapterHash, Address, Amount, B256, BaseHash, BlobHash, ContributionId, DatanetId, ModelId, RecordRef,
};
use openledger_store::models::{ModelRow, ModelState, ModelTerms};
use openledger_store::records::RecordRow;
use openledger_store::{BlobsConfig, Error, Store, Tx, transact};

use crate::engines::{execute, for_each_engine, for_each_url};

const DATANET: DatanetId = DatanetId(1);

fn contribution(id: u8, count: u32) -> ContributionRow {
    ContributionRow {
        id: ContributionId(B256::repeat_byte(id)),
        datanet: DATANET,
        registrant: Address::repeat_byte(1),
        contributors: vec![Address::repeat_byte(1), Address::repeat_byte(0xab)],
        root: B256::repeat_byte(2),
        count,
        seq: 0,
        state: ContributionState::Committed,
        payee: None,
    }
}

fn record(contribution: u8, index: u32, content: u32) -> RecordRow {
    let mut hash = B256::ZERO;
    hash[..4].copy_from_slice(&content.to_be_bytes());
    RecordRow {
        at: RecordRef { contribution: ContributionId(B256::repeat_byte(contribution)), index },
        record_id: format!("tide-{index}"),
        content_hash: hash,
        content_root: B256::repeat_byte(6),
        length: 120,
        license: "CC-BY-4.0".into(),
        owner: None,
        multiplier: 10_000,
    }
}

/// A datanet with terms of every kind.
pub(crate) fn datanet() -> Datanet {
    let rights = Rights {
        license: "CC-BY-4.0".into(),
        purposes: Purposes::of(&[Purpose::Finetune, Purpose::Infer]),
        attribution: true,
        share_alike: false,
        min_royalty_bps: 250,
        until: Some(1_900_000_000),
    };
    Datanet {
        id: DATANET,
        name: "tides".into(),
        owner: Address::repeat_byte(7),
        description: "When the water comes".into(),
        rights,
        created: 1_700_000_000_000,
        contributions: 0,
        records: 0,
    }
}

async fn add_datanet(tx: &mut Tx) -> Datanet {
    tx.put_datanet(&datanet()).await.unwrap();
    datanet()
}

#[test]
fn datanets_and_versions_come_back_as_they_were_put() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        let datanet = add_datanet(&mut tx).await;
        let version = |version| DatanetVersion {
            datanet: DATANET,
            version,
            root: B256::repeat_byte(version as u8),
            contributions: vec![ContributionId(B256::repeat_byte(9)), ContributionId(B256::repeat_byte(8))],
        };
        for number in [2, 1] {
            tx.put_datanet_version(&version(number)).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(store.datanet(DATANET).await.unwrap(), Some(datanet.clone()));
        assert_eq!(store.datanet_named("tides").await.unwrap(), Some(datanet.clone()));
        assert_eq!(store.datanets().await.unwrap(), std::slice::from_ref(&datanet));
        assert_eq!(store.datanet_version(DATANET, 1).await.unwrap(), Some(version(1)));
        assert_eq!(store.latest_datanet_version(DATANET).await.unwrap(), Some(version(2)));

        let (planned, other) = (version(3), DatanetVersion { root: B256::repeat_byte(0x33), ..version(3) });
        let mut tx = store.begin().await.unwrap();
        for plan in [&planned, &planned, &other] {
            tx.plan_datanet_version(plan).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(store.planned_version(DATANET, 3, planned.root).await.unwrap().as_ref(), Some(&planned));
        assert_eq!(store.planned_version(DATANET, 3, other.root).await.unwrap(), Some(other));
        assert_eq!(store.planned_version(DATANET, 2, planned.root).await.unwrap(), None);
        assert_eq!(store.latest_datanet_version(DATANET).await.unwrap(), Some(version(2)), "a plan is no version");

        let mut tx = store.begin().await.unwrap();
        let taken = tx.put_datanet(&Datanet { id: DatanetId(2), ..datanet }).await;
        assert!(matches!(taken, Err(Error::Exists { .. })));
    });
}

#[test]
fn contributions_are_ordered_by_acceptance_not_by_id() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        add_datanet(&mut tx).await;
        assert_eq!(tx.put_contribution(&contribution(0xf0, 0)).await.unwrap(), 1);
        assert_eq!(tx.put_contribution(&contribution(0x0f, 0)).await.unwrap(), 2);
        let payee = Address::repeat_byte(4);
        let id = contribution(0x0f, 0).id;
        tx.register_contribution(id, payee).await.unwrap();
        tx.commit().await.unwrap();
        let first = ContributionRow { seq: 1, ..contribution(0xf0, 0) };
        let state = ContributionState::Registered;
        let second = ContributionRow { seq: 2, state, payee: Some(payee), ..contribution(0x0f, 0) };
        assert_eq!(store.contributions_of(DATANET).await.unwrap(), [first, second.clone()]);
        assert_eq!(store.contribution(id).await.unwrap(), Some(second.clone()));
        assert_eq!(store.latest_contributions(None, 9).await.unwrap(), [second]);
        assert_eq!(store.registrations_by(Address::repeat_byte(1)).await.unwrap(), 2);
    });
}

#[test]
fn contributions_that_are_put_at_once_follow_one_another() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        add_datanet(&mut tx).await;
        assert_eq!(tx.put_contribution(&contribution(9, 0)).await.unwrap(), 1);
        let many = [contribution(7, 0), contribution(3, 0), contribution(5, 0)];
        assert_eq!(tx.put_contributions(&many).await.unwrap(), 2);
        assert_eq!(tx.put_contribution(&contribution(1, 0)).await.unwrap(), 5);
        tx.commit().await.unwrap();
        let of = store.contributions_of(DATANET).await.unwrap();
        let expected = [(9, 1), (7, 2), (3, 3), (5, 4), (1, 5)].map(|(id, seq)| (contribution(id, 0).id, seq));
        assert_eq!(of.iter().map(|row| (row.id, row.seq)).collect::<Vec<_>>(), expected);
        let mut tx = store.begin().await.unwrap();
        let taken = tx.put_contributions(&[contribution(8, 0), contribution(3, 0)]).await;
        assert!(matches!(taken, Err(Error::Exists { .. })), "{taken:?}");
    });
}

#[test]
fn registered_contributions_are_counted_once() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        add_datanet(&mut tx).await;
        for (id, count) in [(1, 3), (2, 4), (3, 100)] {
            tx.put_contribution(&contribution(id, count)).await.unwrap();
        }
        tx.commit().await.unwrap();
        for id in [1, 2, 1] {
            let id = contribution(id, 0).id;
            let done = transact!(store, |tx| tx.register_contribution(id, Address::ZERO).await);
            done.unwrap_or_else(|error: Error| panic!("{error}"));
        }
        let counters = store.counters().await.unwrap();
        assert_eq!((counters.contributions, counters.records, counters.contributors), (2, 7, 2));
        let datanet = store.datanet(DATANET).await.unwrap().unwrap();
        assert_eq!((datanet.contributions, datanet.records), (2, 7));
        let mut tx = store.begin().await.unwrap();
        let missing = tx.register_contribution(contribution(9, 0).id, Address::ZERO).await;
        assert!(matches!(missing, Err(Error::Missing { .. })));
    });
}

#[test]
fn the_first_record_with_a_content_is_the_earliest_accepted() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        add_datanet(&mut tx).await;
        tx.put_contribution(&contribution(0xf0, 2)).await.unwrap();
        tx.put_contribution(&contribution(0x0f, 1)).await.unwrap();
        let owner = Some(record(0xf0, 1, 5).at);
        let late = RecordRow { owner, ..record(0x0f, 0, 5) };
        tx.put_records(&[late.clone(), record(0xf0, 1, 5), record(0xf0, 0, 4)]).await.unwrap();
        tx.commit().await.unwrap();

        let found = store.records_with_content(DATANET, &[record(0, 0, 5).content_hash]).await.unwrap();
        assert_eq!(found, [record(0xf0, 1, 5), late.clone()]);
        assert_eq!(store.records_with_content(DatanetId(2), &[late.content_hash]).await.unwrap(), []);
        let first = record(0xf0, 0, 4);
        assert_eq!(store.records_of(first.at.contribution).await.unwrap(), [first, record(0xf0, 1, 5)]);
        assert_eq!(store.record(late.at).await.unwrap(), Some(late));
    });
}

#[test]
fn thousands_of_records_go_in_at_once_and_are_found_by_content() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        add_datanet(&mut tx).await;
        tx.put_contribution(&contribution(1, 5_001)).await.unwrap();
        let records: Vec<_> = (0..5_001).map(|i| record(1, i, i)).collect();
        tx.put_records(&records).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.records_of(records[0].at.contribution).await.unwrap(), records);
        let hashes: Vec<_> = records.iter().map(|r| r.content_hash).collect();
        assert_eq!(store.records_with_content(DATANET, &hashes).await.unwrap(), records);
    });
}

#[test]
fn records_of_an_unknown_contribution_are_refused() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(tx.put_records(&[record(1, 0, 0)]).await, Err(Error::Missing { .. })));
    });
}

#[test]
fn an_erased_text_is_gone_from_its_one_place_and_its_hashes_stay() {
    for_each_engine(|store| async move {
        let (kept, erased) = (record(1, 0, 1), record(1, 1, 2));
        let mut tx = store.begin().await.unwrap();
        add_datanet(&mut tx).await;
        tx.put_contribution(&contribution(1, 2)).await.unwrap();
        tx.put_records(&[kept.clone(), erased.clone()]).await.unwrap();
        // The same text twice: erasing one must not take the other away.
        tx.put_record_bodies(&[(kept.at, b"text".to_vec()), (erased.at, b"text".to_vec())]).await.unwrap();
        tx.commit().await.unwrap();
        let contribution = kept.at.contribution;
        assert_eq!(store.record_bodies(contribution).await.unwrap().len(), 2);

        let mut tx = store.begin().await.unwrap();
        tx.erase_record_body(erased.at, 5).await.unwrap();
        let nowhere = RecordRef { index: 9, ..erased.at };
        assert!(matches!(tx.erase_record_body(nowhere, 5).await, Err(Error::Missing { .. })));
        tx.commit().await.unwrap();
        assert!(matches!(store.record_body(erased.at).await, Err(Error::Erased { at }) if at == erased.at));
        assert!(matches!(store.record_body(nowhere).await, Err(Error::Missing { .. })));
        assert_eq!(store.record_body(kept.at).await.unwrap(), b"text");
        assert_eq!(store.record_bodies(contribution).await.unwrap(), [(0, b"text".to_vec())]);
        assert_eq!(store.record(erased.at).await.unwrap(), Some(erased));
    });
}

#[test]
fn grants_and_models_come_back_as_they_were_put() {
    for_each_engine(|store| async move {
        let grant = GrantRow {
            hash: B256::repeat_byte(1),
            datanet: DATANET,
            version: 3,
            grantee: Address::repeat_byte(2),
            purposes: 5,
            until: i64::MAX as u64,
            signature: vec![7; 65],
        };
        let model = ModelRow {
            id: ModelId(4),
            name: "tide-tutor".into(),
            base: BaseHash(B256::repeat_byte(1)),
            adapter: Some(AdapterHash(B256::repeat_byte(2))),
            manifest: BlobHash(B256::repeat_byte(3)),
            artifact: Some(BlobHash(B256::repeat_byte(5))),
            terms: ModelTerms {
                prices: PriceList { per_1k_in: Amount(1), per_1k_out: Amount(u128::MAX), royalty_flat: Amount(3) },
                platform_bps: 1_000,
                model_bps: 2_000,
                stakers_bps: 500,
                stake_vault: Some(Address::repeat_byte(6)),
            },
            state: ModelState::Published,
        };
        let base = ModelRow { id: ModelId(3), name: "base".into(), adapter: None, artifact: None, ..model.clone() };
        let mut tx = store.begin().await.unwrap();
        tx.put_grant(&grant).await.unwrap();
        tx.put_model(&model).await.unwrap();
        tx.put_model(&base).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.grant(grant.hash).await.unwrap(), Some(grant.clone()));
        assert_eq!(store.grants_of(DATANET).await.unwrap(), [grant]);
        assert_eq!(store.model(model.id).await.unwrap(), Some(model.clone()));
        assert_eq!(store.model_named("tide-tutor").await.unwrap(), Some(model.clone()));
        assert_eq!(store.models().await.unwrap(), [base, model]);
    });
}

#[test]
fn a_damaged_member_of_terms_or_prices_is_named() {
    for_each_url(|url| async move {
        let store = Store::open(&url, BlobsConfig::new("memory:")).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        add_datanet(&mut tx).await;
        let model = ModelRow {
            id: ModelId(4),
            name: "tide-tutor".into(),
            base: BaseHash(B256::ZERO),
            adapter: None,
            manifest: BlobHash(B256::ZERO),
            artifact: None,
            terms: ModelTerms {
                prices: PriceList::default(),
                platform_bps: 0,
                model_bps: 0,
                stakers_bps: 0,
                stake_vault: None,
            },
            state: ModelState::Draft,
        };
        tx.put_model(&model).await.unwrap();
        tx.commit().await.unwrap();
        execute(&url, "UPDATE datanets SET share_alike = 2").await;
        let read = store.datanet(DATANET).await;
        assert!(matches!(read, Err(Error::Malformed { column, .. }) if column == "share_alike"));
        let (short, bytes) = ("UPDATE models SET per_1k_out = x'00'", r"UPDATE models SET per_1k_out = '\x00'");
        execute(&url, if url.starts_with("sqlite") { short } else { bytes }).await;
        let read = store.model(ModelId(4)).await;
        assert!(matches!(read, Err(Error::Malformed { column, .. }) if column == "per_1k_out"));
        store.close().await;
    });
}

#[test]
fn a_handle_keeps_its_first_account() {
    for_each_engine(|store| async move {
        let (one, two) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let mut tx = store.begin().await.unwrap();
        tx.put_handle("river-gauge", one).await.unwrap();
        tx.put_handle("night-desk", two).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(tx.put_handle("river-gauge", two).await, Err(Error::Exists { .. })));
        drop(tx);
        assert_eq!(store.handle("river-gauge").await.unwrap(), Some(one));
        assert_eq!(store.handle("nobody").await.unwrap(), None);
        let all = [("night-desk".to_owned(), two), ("river-gauge".to_owned(), one)];
        assert_eq!(store.handles_page(None, 9).await.unwrap(), all);
    });
}

#[test]
fn accounts_are_named_by_the_first_of_their_handles() {
    for_each_engine(|store| async move {
        let [one, two, three] = [1, 2, 3].map(Address::repeat_byte);
        let mut tx = store.begin().await.unwrap();
        for (name, account) in [("tide-clock", one), ("river-gauge", two), ("Zinc", one), ("étoile", two)] {
            tx.put_handle(name, account).await.unwrap();
        }
        tx.commit().await.unwrap();
        let names = store.handles_of(&[three, two, one]).await.unwrap();
        // By bytes: a capital letter comes before a small one, an accent after both.
        let first = [(one, "Zinc".to_owned()), (two, "river-gauge".to_owned())];
        assert_eq!(names, first.into());
        assert_eq!(store.handles_of(&[]).await.unwrap(), [].into());
    });
}
