//! Batches, contributions and the proofs that open them.

use openledger_datanet::{
    Limits, PrepareError, PreparedContribution, RecordBatch, Registering, Salting, Title, batches, chunk_proofs,
    contribution_proof, next_publication, parse_jsonl, prepare, publication, record_proof, record_salt, version_root,
};
use openledger_protocol::{Address, B256, DatanetId, Record, content_hash, contribution_id, merkle, record_leaf};
use proptest::prelude::*;

use crate::files::sample;
use crate::line;

fn registering(salting: Salting<'_>, accounts: usize, nonce: u64) -> Registering<'_> {
    let registrant = Address::repeat_byte(7);
    Registering {
        chain_id: 1,
        datanet: DatanetId(3),
        contribution: contribution_id(1, Address::repeat_byte(9), registrant, nonce),
        registrant,
        nonce,
        accounts: (1..=accounts).map(|n| Address::repeat_byte(n as u8)).collect(),
        terms: B256::repeat_byte(5),
        salting,
    }
}

fn bicycle() -> Vec<RecordBatch> {
    batches(parse_jsonl(&sample("bicycle-repair.jsonl"), &Limits::default()).unwrap().records)
}

fn prepared(salting: Salting<'_>) -> PreparedContribution {
    let batch = bicycle().remove(0);
    let accounts = batch.contributors.len();
    prepare(batch, &registering(salting, accounts, 0)).unwrap()
}

#[test]
fn a_file_is_cut_into_one_batch_per_list_of_contributors() {
    let multi = r#"{"id": "c", "contributors": ["b", "a"], "license": "MIT", "text": "three"}"#;
    let file = [line("a", "b", "one"), line("b", "a", "two"), multi.into(), line("d", "b", "four")].join("\n");
    let cut = batches(parse_jsonl(file.as_bytes(), &Limits::default()).unwrap().records);
    let seen: Vec<(Vec<&str>, Vec<&str>)> = cut
        .iter()
        .map(|batch| {
            let names = batch.contributors.iter().map(String::as_str).collect();
            (names, batch.records.iter().map(|r| r.record.id.as_str()).collect())
        })
        .collect();
    assert_eq!(seen, [(vec!["b"], vec!["a", "d"]), (vec!["a"], vec!["b"]), (vec!["b", "a"], vec!["c"])]);
    assert_eq!(bicycle().iter().map(|batch| batch.records.len()).sum::<usize>(), 66);
}

#[test]
fn every_record_is_proven_under_the_root_and_the_version() {
    let made = prepared(Salting::Public);
    assert!(made.records.len() > 1);
    for record in &made.records {
        let proof = record_proof(&made, record.index).unwrap();
        let leaf = record_leaf(1, DatanetId(3), made.contribution.id, record.index, record.content_root, record.length);
        assert!(merkle::verify(made.contribution.root, leaf, &proof));
        assert_eq!(content_hash(&record.text), record.content_hash);
        assert_eq!(record.length as usize, record.text.len());
    }
    assert_eq!(record_proof(&made, made.contribution.count), None);

    let registered =
        [made.contribution.clone(), openledger_protocol::Contribution { nonce: 1, count: 1, ..made.contribution }];
    let titles = registered.each_ref().map(Title::from);
    let root = version_root(DatanetId(3), &titles);
    for (at, contribution) in registered.iter().enumerate() {
        let proof = contribution_proof(DatanetId(3), &titles, at).unwrap();
        assert!(merkle::verify(root, contribution.leaf(), &proof));
    }
    assert_eq!(contribution_proof(DatanetId(3), &titles, 2), None);
}

#[test]
fn an_owner_publishes_all_titles_or_none() {
    let title = |byte| Title {
        contribution: contribution_id(1, Address::repeat_byte(9), Address::repeat_byte(byte), 0),
        root: B256::repeat_byte(byte),
        count: u32::from(byte),
    };
    let (one, two) = ([title(1)], [title(1), title(2)]);
    let datanet = DatanetId(3);
    let first = next_publication(datanet, None, &one).unwrap();
    assert_eq!((first.expected_version, first.records, first.root), (1, 1, version_root(datanet, &one)));
    assert_eq!(next_publication(datanet, Some((1, 1)), &one), None);
    let second = next_publication(datanet, Some((1, 1)), &two).unwrap();
    assert_eq!((second.expected_version, second.records), (2, 3));
    assert_eq!(second, publication(datanet, 2, &two));
    assert_eq!(next_publication(datanet, None, &[]), None);
}

#[test]
fn private_content_is_salted_by_its_key() {
    let key = |record: &Record| [record.id.len() as u8; 32];
    let (private, public) = (prepared(Salting::Private(&key)), prepared(Salting::Public));
    assert_ne!(private.contribution.root, public.contribution.root);
    let (one, other) = (&private.records[0], &public.records[0]);
    assert_eq!((one.content_hash, one.salt), (other.content_hash, record_salt(&key(&one.record), &one.record.id)));
    assert_ne!(one.content_root, other.content_root);
    // RFC 4231's construction by hand: H((k ^ opad) ‖ H((k ^ ipad) ‖ m)) over a 64-byte block.
    let pad = |byte: u8| [[0x11 ^ byte; 32], [byte; 32]].concat();
    let inner = openledger_protocol::sha256([pad(0x36), b"id".to_vec()].concat());
    assert_eq!(record_salt(&[0x11; 32], "id"), openledger_protocol::sha256([pad(0x5c), inner.to_vec()].concat()));
}

#[test]
fn a_batch_needs_records_and_an_account_for_each_name() {
    let batch = bicycle().remove(0);
    let none = RecordBatch { records: Vec::new(), ..batch.clone() };
    assert_eq!(prepare(none, &registering(Salting::Public, 1, 0)), Err(PrepareError::Empty));
    let error = prepare(batch, &registering(Salting::Public, 3, 0)).unwrap_err();
    assert_eq!(error, PrepareError::Accounts { accounts: 3, contributors: 1 });
}

proptest! {
    #[test]
    fn opened_chunks_spell_the_span(text in "[a-zé]{1,900}", offset in 0u32..1900, length in 0u32..1900, salt in any::<[u8; 32]>()) {
        let salt = B256::from(salt);
        let root = openledger_protocol::chunk_root(salt, text.as_bytes());
        let end = offset as usize + length as usize;
        match chunk_proofs(&text, salt, offset, length) {
            Err(_) => prop_assert!(length == 0 || end > text.len()),
            Ok(chunks) => {
                prop_assert!(chunks.iter().all(|chunk| chunk.verify(root)));
                let bytes: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
                let from = offset as usize - chunks[0].index as usize * 256;
                prop_assert_eq!(&bytes[from..from + length as usize], &text.as_bytes()[offset as usize..end]);
                prop_assert!(chunks.len() <= length as usize / 256 + 2);
                let mut forged = chunks[0].clone();
                forged.bytes[0] ^= 1;
                prop_assert!(!forged.verify(root));
            }
        }
    }
}
