//! `vectors/*.json`: golden cases of every format, which Rust, Solidity and TypeScript must agree on.
//!
//! `UPDATE_VECTORS=1 cargo test -p openledger-protocol` rewrites the files; without it they are compared.
#![allow(clippy::unwrap_used, missing_docs)]

use openledger_protocol::sum_tree::{SumNode, SumTree};
use openledger_protocol::*;
use serde_json::{Value, json};

/// `value` with its members in the order of their names, whatever order the JSON library keeps in this build.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort();
            names.into_iter().map(|name| (name.clone(), sorted(&members[name]))).collect()
        }
        scalar => scalar.clone(),
    }
}

/// Compares a file of cases with what is computed now. Groups are arrays of flat objects with the same keys.
#[track_caller]
fn check(file: &str, groups: Value) {
    let groups = sorted(&groups);
    for (group, cases) in groups.as_object().unwrap() {
        let keys = |case: &Value| case.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let cases = cases.as_array().unwrap();
        assert!(!cases.is_empty(), "{group} is empty");
        assert!(cases.iter().all(|case| keys(case) == keys(&cases[0])), "keys of {group} differ");
    }
    let text = serde_json::to_string_pretty(&groups).unwrap() + "\n";
    let path = format!("{}/../../vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{file} differs: if the change is meant, run with UPDATE_VECTORS=1 and read the diff");
}

fn hash(number: u64) -> B256 {
    keccak(number.to_be_bytes())
}

fn account(number: u64) -> Address {
    Address::from_word(hash(number))
}

fn domain() -> Domain {
    Domain { chain_id: 2626, contract: account(1) }
}

#[test]
fn merkle_trees_are_the_committed_ones() {
    let leaves = |count: u64| (0..count).map(hash).collect::<Vec<_>>();
    let counts = [0u64, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17];
    let roots: Vec<Value> = counts
        .iter()
        .map(|&count| json!({ "count": count, "leaves": leaves(count), "root": merkle::root(&leaves(count)) }))
        .collect();
    let mut proofs = Vec::new();
    for count in [1u64, 2, 3, 5, 8, 9] {
        let (set, places) = (leaves(count), 1u64 << merkle::depth(count));
        for index in 0..places {
            let proof = merkle::prove(&set, index).unwrap();
            let leaf = set.get(index as usize).copied().unwrap_or_default();
            let above = merkle::Proof { index: index + places, ..proof.clone() };
            assert!(merkle::verify(merkle::root(&set), leaf, &proof));
            for (proof, valid) in [(&proof, true), (&above, false)] {
                proofs.push(json!({
                    "count": count, "index": proof.index, "leaf": leaf, "siblings": proof.siblings,
                    "root": merkle::root(&set), "valid": valid,
                }));
            }
            let (leaf, root) = (hash(1_000), merkle::root(&set));
            assert!(!merkle::verify(root, leaf, &proof));
            let siblings = &proof.siblings;
            proofs.push(json!({
                "count": count, "index": index, "leaf": leaf, "siblings": siblings, "root": root, "valid": false,
            }));
        }
    }
    let nodes: Vec<Value> = (0..4)
        .map(|n| json!({ "left": hash(n), "right": hash(n + 1), "node": merkle::node(hash(n), hash(n + 1)) }))
        .collect();
    check("merkle.json", json!({ "nodes": nodes, "roots": roots, "proofs": proofs }));
}

#[test]
fn sum_trees_are_the_committed_ones() {
    let amount = |at: u64| Amount(u128::from(at) * Amount::OPEN.0 * 1_000_003 + u128::from(at) % 3);
    let leaves = |count: u64| (0..count).map(|at| SumNode { hash: hash(at), sum: amount(at) }).collect::<Vec<_>>();
    let (hashes, sums) = (
        |nodes: &[SumNode]| nodes.iter().map(|node| node.hash).collect::<Vec<_>>(),
        |nodes: &[SumNode]| nodes.iter().map(|node| node.sum).collect::<Vec<_>>(),
    );
    let (mut roots, mut proofs) = (Vec::new(), Vec::new());
    for count in [0u64, 1, 2, 3, 4, 5, 7, 8, 9, 17] {
        let set = leaves(count);
        let tree = SumTree::new(set.clone()).unwrap();
        let root = tree.root();
        roots.push(json!({
            "count": count, "leafHashes": hashes(&set), "leafSums": sums(&set), "root": root.hash, "sum": root.sum,
        }));
        for index in 0..if count == 0 { 0 } else { 1u64 << merkle::depth(count) } {
            let proof = tree.prove(index).unwrap();
            let leaf = set.get(index as usize).copied().unwrap_or_default();
            let richer = SumNode { sum: Amount(leaf.sum.0 + 1), ..leaf };
            let (top, prefix) = sum_tree::climb(leaf, &proof).unwrap();
            assert_eq!(top, root);
            assert_eq!(prefix, Amount::sum(set.iter().take(index as usize).map(|node| node.sum)).unwrap());
            for (leaf, valid) in [(leaf, true), (richer, false)] {
                assert_eq!(sum_tree::verify(root, leaf, &proof), valid);
                proofs.push(json!({
                    "count": count, "index": index, "leaf": leaf.hash, "leafSum": leaf.sum,
                    "siblingHashes": hashes(&proof.siblings), "siblingSums": sums(&proof.siblings),
                    "root": root.hash, "sum": root.sum, "prefix": prefix, "valid": valid,
                }));
            }
        }
    }
    let products: Vec<Value> = [
        (10u128, 1u128, 3u128),
        (Amount::SUPPLY.0, (1 << 96) - 1, 1 << 96),
        (u128::MAX, u128::MAX, u128::MAX),
        (u128::MAX, 1, 2),
        (0, 7, 9),
        (1, 9_999, 10_000),
        (u64::MAX.into(), 333_333, 1_000_000),
    ]
    .iter()
    .map(|&(amount, numerator, denominator)| {
        json!({
            "amount": Amount(amount), "numerator": numerator.to_string(), "denominator": denominator.to_string(),
            "down": Amount(amount).mul_div_down(numerator, denominator).unwrap(),
            "up": Amount(amount).mul_div_up(numerator, denominator).unwrap(),
        })
    })
    .collect();
    check("sum-tree.json", json!({ "mulDiv": products, "roots": roots, "proofs": proofs }));
}

#[test]
fn leaves_are_the_committed_ones() {
    let (id, datanet) = (ContributionId(hash(5)), DatanetId(7));
    let tags: Vec<Value> = [
        ("chunk", tags::chunk()),
        ("record", tags::record()),
        ("contribution", tags::contribution()),
        ("receipt", tags::receipt()),
        ("entry", tags::entry()),
        ("payout", tags::payout()),
        ("span", tags::span()),
        ("score", tags::score()),
        ("node", tags::node()),
        ("sum-node", tags::sum_node()),
    ]
    .iter()
    .map(|(name, tag)| json!({ "name": name, "tag": tag }))
    .collect();
    let mut contents = Vec::new();
    for salt in [B256::ZERO, hash(8)] {
        for bytes in [0usize, 1, 255, 256, 257, 512, 700] {
            let content: Vec<u8> = (0..bytes).map(|at| b'a' + (at % 26) as u8).collect();
            contents.push(json!({
                "salt": salt, "content": format!("0x{}", hex::encode(&content)), "length": bytes,
                "root": chunk_root(salt, &content),
                "leaves": (0u32..).zip(content.chunks(CHUNK_BYTES)).map(|(at, c)| chunk_leaf(salt, at, c)).collect::<Vec<_>>(),
            }));
        }
    }
    let records: Vec<Value> = [0u32, 1, u32::MAX]
        .iter()
        .map(|&index| {
            json!({
                "chainId": 2626, "datanet": datanet, "contribution": id, "index": index, "contentRoot": hash(2),
                "length": 300, "leaf": record_leaf(2626, datanet, id, index, hash(2), 300),
            })
        })
        .collect();
    let ids: Vec<Value> = [0u64, 1, u64::MAX]
        .iter()
        .map(|&nonce| {
            let contribution = contribution_id(2626, account(1), account(2), nonce);
            json!({
                "chainId": 2626, "contributions": account(1), "registrant": account(2), "nonce": nonce.to_string(),
                "id": contribution, "datanet": datanet, "root": hash(3), "count": 11,
                "leaf": contribution_leaf(datanet, contribution, hash(3), 11),
            })
        })
        .collect();
    let record = |index| RecordRef { contribution: id, index };
    let spans: Vec<Value> = [(0u32, 0u64), (3, 20_500), (u32::MAX, u64::MAX)]
        .iter()
        .map(|&(at, weight)| {
            let span = Span {
                datanet,
                version: 2,
                record: record(at),
                record_offset: at,
                length: 12,
                output_offset: 256,
                weight,
            };
            json!({
                "datanet": datanet, "version": 2, "contribution": id, "index": at, "recordOffset": at, "length": 12,
                "outputOffset": 256, "weight": weight.to_string(), "leaf": span.leaf(),
            })
        })
        .collect();
    let scores: Vec<Value> = [Layer::Spans, Layer::Influence, Layer::Retrieval, Layer::Rest]
        .iter()
        .map(|&layer| {
            let score = Score { layer, datanet, record: record(4), score: u64::MAX - layer as u64 };
            json!({
                "layer": layer as u8, "datanet": datanet, "contribution": id, "index": 4,
                "score": score.score.to_string(), "leaf": score.leaf(),
            })
        })
        .collect();
    let roles = [
        Role::Treasury,
        Role::Validation,
        Role::Insurance,
        Role::Owner,
        Role::Node,
        Role::Stakers,
        Role::Contributor,
        Role::Parent,
    ];
    let entries: Vec<Value> = (0u32..)
        .zip(roles)
        .map(|(line, role)| {
            let contribution = if role == Role::Contributor { id } else { Entry::NO_CONTRIBUTION };
            let amount = Amount(Amount::OPEN.0 * u128::from(line) + 1);
            let entry = Entry { receipt: ReceiptId(hash(6)), line, role, account: account(3), contribution, amount };
            json!({
                "account": entry.account, "receipt": entry.receipt, "line": line, "role": role as u8,
                "contribution": contribution, "amount": amount, "leaf": entry.leaf().hash,
            })
        })
        .collect();
    let payouts: Vec<Value> = [0u128, 1, Amount::SUPPLY.0]
        .iter()
        .map(|&units| {
            let payout = Payout { account: account(4), cumulative: Amount(units) };
            json!({
                "chainId": 2626, "payouts": domain().contract, "account": payout.account,
                "cumulative": payout.cumulative, "leaf": payout.leaf(domain()).hash,
            })
        })
        .collect();
    check(
        "leaves.json",
        json!({
            "tags": tags, "contents": contents, "records": records, "contributions": ids, "spans": spans,
            "scores": scores, "entries": entries, "payouts": payouts, "epochs": epochs(),
        }),
    );
}

fn epochs() -> Vec<Value> {
    [1u64, u64::MAX]
        .iter()
        .map(|&epoch| {
            let header = EpochHeader {
                epoch,
                receipts_root: hash(10),
                receipt_count: 12,
                entries_root: hash(11),
                entries_total: Amount(Amount::OPEN.0 * 5),
                payout_root: hash(12),
                total: Amount(Amount::OPEN.0 * 9),
            };
            json!({
                "epoch": epoch.to_string(), "receiptsRoot": header.receipts_root, "receiptCount": 12,
                "entriesRoot": header.entries_root, "entriesTotal": header.entries_total,
                "payoutRoot": header.payout_root, "total": header.total, "words": header.words().to_vec(),
                "hash": header.hash(),
            })
        })
        .collect()
}

/// A receipt whose words all differ.
fn receipt(nonce: u64, node: Address) -> Receipt {
    let mut words: [B256; 29] = std::array::from_fn(|at| word(at as u64 + 1));
    words[0] = word(node);
    for at in [1, 4, 6, 7, 8, 9, 10, 12, 13, 21, 22, 23] {
        words[at] = hash(at as u64);
    }
    words[2] = word(nonce);
    words[16] = word(Amount::OPEN.0 + u128::from(nonce));
    Receipt::from_words(&words).unwrap()
}

#[test]
fn signed_records_are_the_committed_ones() {
    let key = Key::demo(1, "river-gauge");
    let signed = |record: &str, struct_hash: B256, members: Value| {
        let digest = domain().digest(struct_hash);
        let signature = key.sign(digest);
        assert_eq!(signature.recover(digest), Ok(key.address()));
        json!({
            "record": record, "members": sorted(&members).to_string(), "structHash": struct_hash, "digest": digest,
            "signature": signature, "signer": key.address(),
        })
    };
    let voucher = Voucher { channel: ChannelId(hash(1)), cumulative: Amount(u128::MAX) };
    let grant = Grant {
        datanet: DatanetId(7),
        version: 2,
        grantee: account(2),
        purposes: Purposes::of(&[Purpose::Finetune, Purpose::Infer]),
        until: 2_000_000_000,
        terms: hash(3),
    };
    let contribution = Contribution {
        id: ContributionId(hash(4)),
        datanet: DatanetId(7),
        registrant: key.address(),
        contributors: vec![account(5), account(6)],
        root: hash(7),
        count: 9,
        terms: hash(3),
        nonce: 1,
    };
    let publication = Publication { datanet: DatanetId(7), expected_version: 3, root: hash(8), records: 90 };
    let registration = contribution.registration();
    let records = vec![
        signed(
            "Voucher",
            voucher.struct_hash(),
            json!({ "channel": voucher.channel, "cumulative": voucher.cumulative }),
        ),
        signed("Grant", grant.struct_hash(), serde_json::to_value(&grant).unwrap()),
        signed("Register", registration.struct_hash(), serde_json::to_value(&registration).unwrap()),
        signed("Publish", publication.struct_hash(), serde_json::to_value(&publication).unwrap()),
    ];
    let receipts: Vec<Value> = (1..=4)
        .map(|nonce| {
            let signed = receipt(nonce, key.address()).sign(domain(), &key);
            let digest = domain().digest(signed.receipt.struct_hash());
            json!({
                "words": signed.receipt.words().to_vec(), "id": signed.receipt.id(),
                "structHash": signed.receipt.struct_hash(), "digest": digest, "signature": signed.signature,
                "signer": key.address(), "leaf": signed.leaf(),
            })
        })
        .collect();
    let config = ChannelConfig {
        payer: account(2),
        authorizer: account(3),
        node: account(4),
        withdraw_delay: 86_400,
        salt: hash(5),
    };
    let channels = json!([{
        "chainId": 2626, "channels": account(1), "payer": config.payer, "authorizer": config.authorizer,
        "node": config.node, "withdrawDelay": config.withdraw_delay, "salt": config.salt,
        "id": config.id(2626, account(1)),
    }]);
    let domains = json!([{
        "chainId": 2626, "contract": domain().contract, "separator": domain().separator(),
        "receiptType": Receipt::type_string(), "receiptTypehash": keccak(Receipt::type_string()),
    }]);
    let annexed = receipt(1, key.address()).sign(domain(), &key);
    let annex = Annex {
        prompt: hash(20),
        prompt_ids: hash(21),
        output_ids: hash(22),
        offsets: hash(23),
        finish_reason: hash(24),
        terms: hash(25),
        manifest: hash(26),
        entries: hash(27),
    };
    let annexes = json!([{
        "type": Annex::TYPE, "receiptStructHash": annexed.receipt.struct_hash(), "words": annex.words().to_vec(),
        "structHash": annex.struct_hash(&annexed.receipt),
        "digest": domain().digest(annex.struct_hash(&annexed.receipt)),
        "signature": annex.clone().sign(&annexed, &key).signature, "signer": key.address(),
    }]);
    let slots: Vec<Value> = Purpose::ALL
        .iter()
        .map(|&purpose| {
            let slot = Grant::slot(DatanetId(7), account(2), purpose);
            json!({ "datanet": 7, "grantee": account(2), "purpose": purpose as u32, "slot": slot })
        })
        .collect();
    check(
        "eip712.json",
        json!({
            "domains": domains, "records": records, "receipts": receipts, "annexes": annexes, "channels": channels,
            "grantSlots": slots,
        }),
    );
}
