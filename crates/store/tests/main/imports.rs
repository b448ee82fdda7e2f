//! Imports with their reports, and API keys.

use openledger_protocol::Contribution;
use openledger_store::Error;
use openledger_store::api_keys::{ApiKeyRow, KeyKind};
use openledger_store::ids::{Address, B256, BlobHash, ContributionId, DatanetId};
use openledger_store::imports::{BatchState, Import, ImportBatch, NearDuplicate, RefusedRecord, Registration};

use crate::data::datanet;
use crate::engines::for_each_engine;

fn batch(id: u8) -> ImportBatch {
    ImportBatch {
        contribution: Contribution {
            id: ContributionId(B256::repeat_byte(id)),
            datanet: DatanetId(1),
            registrant: Address::repeat_byte(1),
            contributors: vec![Address::repeat_byte(1), Address::repeat_byte(2)],
            root: B256::repeat_byte(3),
            count: 2,
            terms: B256::repeat_byte(4),
            nonce: 7,
        },
        handles: vec!["river-gauge".into(), "night \"desk\"".into()],
        digest: B256::repeat_byte(5),
        state: BatchState::Prepared,
        registration: None,
    }
}

fn import() -> Import {
    let refused = |line, id: Option<&str>| RefusedRecord {
        line,
        record_id: id.map(str::to_owned),
        reason: "duplicate text".into(),
    };
    Import {
        id: B256::repeat_byte(9),
        datanet: DatanetId(1),
        file: BlobHash(B256::repeat_byte(8)),
        lines: 6,
        accepted: 4,
        refused: vec![refused(2, Some("a")), refused(9, None)],
        near_duplicates: vec![NearDuplicate { record: "b".into(), original: "a".into() }],
        batches: vec![batch(0xf0), batch(0x0f)],
        created: 1_700_000_000_000,
    }
}

#[test]
fn a_report_comes_back_whole_and_is_replaced_until_a_batch_is_committed() {
    for_each_engine(|store| async move {
        let mut tx = store.begin().await.unwrap();
        tx.put_datanet(&datanet()).await.unwrap();
        tx.put_import(&Import { batches: vec![batch(1)], refused: vec![], accepted: 6, ..import() }).await.unwrap();
        tx.put_import(&import()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.import(import().id).await.unwrap(), Some(import()));
        assert_eq!(store.import(B256::ZERO).await.unwrap(), None);

        let at = Registration { holder: Address::repeat_byte(6), tx: B256::repeat_byte(7), block: 12 };
        let second = batch(0x0f).contribution.id;
        let mut tx = store.begin().await.unwrap();
        let early = tx.batch_registered(import().id, second, &at).await;
        assert!(matches!(early, Err(Error::Missing { .. })), "it was not committed: {early:?}");
        tx.commit_batches(import().id).await.unwrap();
        tx.batch_registered(import().id, second, &at).await.unwrap();
        assert!(matches!(tx.put_import(&import()).await, Err(Error::State { .. })));
        tx.commit().await.unwrap();
        let batches = store.import(import().id).await.unwrap().unwrap().batches;
        assert_eq!(batches[0], ImportBatch { state: BatchState::Committed, ..batch(0xf0) });
        let registered = ImportBatch { state: BatchState::Registered, registration: Some(at), ..batch(0x0f) };
        assert_eq!(batches[1], registered);
    });
}

#[test]
fn a_key_is_found_by_its_hash_and_stays_when_it_is_revoked() {
    for_each_engine(|store| async move {
        let key = ApiKeyRow {
            hash: B256::repeat_byte(1),
            kind: KeyKind::Agent,
            principal: "agent:7".into(),
            channel: None,
            scopes: "answer read".into(),
            created: 5,
            revoked: None,
            last_used: None,
        };
        let mut tx = store.begin().await.unwrap();
        tx.put_api_key(&key).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.api_key(key.hash).await.unwrap().as_ref(), Some(&key));
        assert_eq!(store.api_key(B256::ZERO).await.unwrap(), None);
        store.touch_api_key(&key, 100).await.unwrap();
        let used = store.api_key(key.hash).await.unwrap().unwrap();
        store.touch_api_key(&used, 101).await.unwrap();
        assert_eq!(store.api_key(key.hash).await.unwrap().unwrap().last_used, Some(100));
        let mut tx = store.begin().await.unwrap();
        tx.revoke_api_key(key.hash, 200).await.unwrap();
        tx.revoke_api_key(key.hash, 300).await.unwrap();
        assert!(matches!(tx.revoke_api_key(B256::ZERO, 1).await, Err(Error::Missing { .. })));
        tx.commit().await.unwrap();
        let revoked = ApiKeyRow { revoked: Some(200), last_used: Some(100), ..key };
        assert_eq!(store.api_key(revoked.hash).await.unwrap(), Some(revoked));
    });
}
