//! Datanets, contributions, records, imports, grants, models, accounts.

use openledger_store::contributions::{ContributionRow, ContributionState};
use openledger_store::datanets::{Datanet, DatanetVersion};
use openledger_store::grants::GrantRow;
use openledger_store::ids::{
    AdapterHash, Address, B256, BaseHash, BlobHash, ContributionId, DatanetId, ModelId, RecordRef,
};
use openledger_store::imports::{ImportKey, RefusedRecord};
use openledger_store::models::{ModelRow, ModelState};
use openledger_store::records::RecordRow;
use openledger_store::{Error, Tx};
use serde_json::json;

use crate::engines::for_each_engine;

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
        state: ContributionState::Prepared,
        payee: None,
        manifest: Some(BlobHash(B256::repeat_byte(3))),
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
        blob: BlobHash(hash),
        license: "CC-BY-4.0".into(),
        tokens: None,
        owner: None,
        multiplier: 10_000,
    }
}

async fn add_datanet(tx: &mut Tx) -> Datanet {
    let datanet = Datanet {
        id: DATANET,
        name: "tides".into(),
        owner: Address::repeat_byte(7),
        terms: json!({ "purposes": ["finetune"] }),
        created: 1_700_000_000_000,
    };
    tx.put_datanet(&datanet).await.unwrap();
    datanet
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
        assert_eq!(store.datanet_versions(DATANET).await.unwrap(), [version(1), version(2)]);
        assert_eq!(store.datanet_version(DATANET, 1).await.unwrap(), Some(version(1)));
        assert_eq!(store.latest_datanet_version(DATANET).await.unwrap(), Some(version(2)));

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
        let payee = Some(Address::repeat_byte(4));
        let id = contribution(0x0f, 0).id;
        tx.set_contribution_state(id, ContributionState::Registered, payee).await.unwrap();
        tx.commit().await.unwrap();
        let first = ContributionRow { seq: 1, ..contribution(0xf0, 0) };
        let second = ContributionRow { seq: 2, state: ContributionState::Registered, payee, ..contribution(0x0f, 0) };
        assert_eq!(store.contributions_of(DATANET).await.unwrap(), [first, second.clone()]);
        assert_eq!(store.contribution(id).await.unwrap(), Some(second));
        assert_eq!(store.registrations_by(Address::repeat_byte(1)).await.unwrap(), 2);
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
        let late = RecordRow { owner, tokens: Some(30), ..record(0x0f, 0, 5) };
        tx.put_records(&[late.clone(), record(0xf0, 1, 5), record(0xf0, 0, 4)]).await.unwrap();
        tx.set_record_tokens(record(0xf0, 0, 4).at, 17).await.unwrap();
        tx.commit().await.unwrap();

        let found = store.records_with_content(DATANET, &[record(0, 0, 5).content_hash]).await.unwrap();
        assert_eq!(found, [record(0xf0, 1, 5), late.clone()]);
        assert_eq!(store.records_with_content(DatanetId(2), &[late.content_hash]).await.unwrap(), []);
        let counted = RecordRow { tokens: Some(17), ..record(0xf0, 0, 4) };
        assert_eq!(store.records_of(counted.at.contribution).await.unwrap(), [counted.clone(), record(0xf0, 1, 5)]);
        assert_eq!(store.records_in(DATANET, 1, 2).await.unwrap(), [record(0xf0, 1, 5), late.clone()]);
        assert_eq!(store.record(late.at).await.unwrap(), Some(late));
        assert_eq!(store.count_records(DATANET).await.unwrap(), 3);
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
fn an_import_is_kept_with_what_it_refused() {
    for_each_engine(|store| async move {
        let key = ImportKey { file: B256::repeat_byte(1), datanet: DATANET, key: "river-gauge".into() };
        let refused = |line, record_id: Option<&str>| RefusedRecord {
            import: key.file,
            line,
            record_id: record_id.map(str::to_owned),
            reason: "duplicate text".into(),
        };
        let mut tx = store.begin().await.unwrap();
        tx.put_import_result(&key, &json!({ "accepted": 3 })).await.unwrap();
        tx.put_refused_records(&[refused(9, None), refused(2, Some("a"))]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.import_result(&key).await.unwrap(), Some(json!({ "accepted": 3 })));
        let other = ImportKey { datanet: DatanetId(2), ..key.clone() };
        assert_eq!(store.import_result(&other).await.unwrap(), None);
        assert_eq!(store.refused_records(key.file).await.unwrap(), [refused(2, Some("a")), refused(9, None)]);
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(tx.put_import_result(&key, &json!({})).await, Err(Error::Exists { .. })));
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
            price: json!({ "per_token": "1000" }),
            state: ModelState::Draft,
        };
        let base = ModelRow { id: ModelId(3), name: "base".into(), adapter: None, ..model.clone() };
        let mut tx = store.begin().await.unwrap();
        tx.put_grant(&grant).await.unwrap();
        tx.put_model(&model).await.unwrap();
        tx.put_model(&base).await.unwrap();
        tx.set_model_state(model.id, ModelState::Published).await.unwrap();
        assert!(matches!(tx.set_model_state(ModelId(9), ModelState::Retired).await, Err(Error::Missing { .. })));
        tx.commit().await.unwrap();
        let model = ModelRow { state: ModelState::Published, ..model };
        assert_eq!(store.grant(grant.hash).await.unwrap(), Some(grant.clone()));
        assert_eq!(store.grants_of(DATANET).await.unwrap(), [grant]);
        assert_eq!(store.model(model.id).await.unwrap(), Some(model.clone()));
        assert_eq!(store.model_named("tide-tutor").await.unwrap(), Some(model.clone()));
        assert_eq!(store.models_with_adapter(model.adapter.unwrap()).await.unwrap(), std::slice::from_ref(&model));
        assert_eq!(store.models().await.unwrap(), [base, model]);
    });
}

#[test]
fn a_handle_keeps_its_first_account() {
    for_each_engine(|store| async move {
        let (one, two) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let mut tx = store.begin().await.unwrap();
        tx.put_account("river-gauge", one).await.unwrap();
        tx.put_account("night-desk", two).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        assert!(matches!(tx.put_account("river-gauge", two).await, Err(Error::Exists { .. })));
        drop(tx);
        assert_eq!(store.account("river-gauge").await.unwrap(), Some(one));
        assert_eq!(store.account("nobody").await.unwrap(), None);
        let all = [("night-desk".to_owned(), two), ("river-gauge".to_owned(), one)];
        assert_eq!(store.accounts().await.unwrap(), all);
    });
}
