//! `vectors/*.json`: golden cases of every format, which Rust, Solidity and TypeScript must agree
//! on.
//!
//! `UPDATE_VECTORS=1 cargo test -p openledger-protocol` rewrites the files; without it they are
//! compared.
#![allow(clippy::unwrap_used, missing_docs)]

use openledger_protocol::sum_tree::{SumNode, SumTree};
use openledger_protocol::*;
use serde_json::{Value, json};

/// `value` with its members in the order of their names, whatever order the JSON library keeps in
/// this build.
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

/// Compares a file of cases with what is computed now. Groups are arrays of flat objects with the
/// same keys.
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
        ("parent", tags::parent()),
        ("context", tags::context()),
        ("principal", tags::principal()),
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
    let entries: Vec<Value> = (0u32..)
        .zip(ROLES)
        .map(|(line, role)| {
            let Entry { account, receipt, contribution, amount, .. } = entry(line, role);
            json!({
                "account": account, "receipt": receipt, "line": line, "role": role as u8,
                "contribution": contribution, "amount": amount, "leaf": entry(line, role).leaf().hash,
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
            "scores": scores, "entries": entries, "lines": lines(), "payouts": payouts, "epochs": epochs(),
            "parents": parents(), "contexts": contexts(), "principals": principals(), "receipts": receipt_trees(),
        }),
    );
}

const ROLES: [PayeeRole; 8] = [
    PayeeRole::Treasury,
    PayeeRole::Validation,
    PayeeRole::Insurance,
    PayeeRole::Owner,
    PayeeRole::Node,
    PayeeRole::Stakers,
    PayeeRole::Contributor,
    PayeeRole::Parent,
];

fn entry(line: u32, role: PayeeRole) -> Entry {
    let paid = role == PayeeRole::Contributor;
    let contribution = if paid { ContributionId(hash(5)) } else { Entry::NO_CONTRIBUTION };
    let amount = Amount(Amount::OPEN.0 * u128::from(line) + 1);
    Entry { receipt: ReceiptId(hash(6)), line, role, account: account(3), contribution, amount }
}

/// The lines trees of the first lines of [`entry`]: root, sum, and the two nodes under the root.
fn lines() -> Vec<Value> {
    [0usize, 1, 2, 5, 8]
        .iter()
        .map(|&count| {
            let lines: Vec<Entry> = (0u32..).zip(ROLES).take(count).map(|(line, role)| entry(line, role)).collect();
            let tree = lines_tree(&lines).unwrap();
            let [left, right] = tree.top();
            assert_eq!(tree.root().hash, lines_root(&lines).unwrap());
            json!({
                "count": count, "leaves": lines.iter().map(|line| line.leaf().hash).collect::<Vec<_>>(),
                "amounts": lines.iter().map(|line| line.amount).collect::<Vec<_>>(),
                "root": tree.root().hash, "sum": tree.root().sum, "left": left.hash, "leftSum": left.sum,
                "right": right.hash, "rightSum": right.sum,
            })
        })
        .collect()
}

fn epochs() -> Vec<Value> {
    [1u64, u64::MAX]
        .iter()
        .map(|&epoch| {
            let header = EpochHeader {
                version: FormatVersion,
                node: account(9),
                epoch,
                cutoff: 1_900_000_000,
                receipt_count: 12,
                receipts_root: hash(10),
                receipts_total: Amount(Amount::OPEN.0 * 5),
                entries_root: hash(11),
                entries_total: Amount(Amount::OPEN.0 * 5),
                payout_root: hash(12),
                total: Amount(Amount::OPEN.0 * 9),
            };
            json!({
                "version": 2, "node": header.node, "epoch": epoch.to_string(), "cutoff": header.cutoff,
                "receiptCount": 12, "receiptsRoot": header.receipts_root, "receiptsTotal": header.receipts_total,
                "entriesRoot": header.entries_root, "entriesTotal": header.entries_total,
                "payoutRoot": header.payout_root, "total": header.total, "words": header.words().to_vec(),
                "hash": header.hash(),
            })
        })
        .collect()
}

fn parents() -> Vec<Value> {
    [0u64, 1, 2, 3]
        .iter()
        .map(|&count| {
            let ids: Vec<ReceiptId> = (0..count).map(|at| ReceiptId(hash(at))).collect();
            json!({ "ids": ids, "root": parents_root(&ids) })
        })
        .collect()
}

fn passage(index: u32) -> Passage {
    let contribution = ContributionId(hash(5));
    Passage { datanet: DatanetId(7), version: 2, contribution, index, record_offset: 12 * index, length: 40 }
}

fn contexts() -> Vec<Value> {
    [0u32, 1, 3]
        .iter()
        .map(|&count| {
            let passages: Vec<Passage> = (0..count).map(passage).collect();
            json!({
                "datanet": 7, "version": 2, "contribution": hash(5),
                "indexes": passages.iter().map(|passage| passage.index).collect::<Vec<_>>(),
                "recordOffsets": passages.iter().map(|passage| passage.record_offset).collect::<Vec<_>>(),
                "length": 40, "leaves": passages.iter().map(Passage::leaf).collect::<Vec<_>>(),
                "root": context_root(&passages),
            })
        })
        .collect()
}

fn principals() -> Vec<Value> {
    [
        PrincipalId::Operator,
        PrincipalId::Account(account(2)),
        PrincipalId::ApiKey(hash(3)),
        PrincipalId::Agent(7),
        PrincipalId::Anonymous,
    ]
    .iter()
    .map(|principal| json!({ "principal": principal, "salt": hash(30), "commitment": principal.commitment(hash(30)) }))
    .collect()
}

/// The receipts trees of the first receipts of [`receipt`], none of which has a note.
fn receipt_trees() -> Vec<Value> {
    let key = Key::demo(1, "river-gauge");
    [1u64, 2, 3]
        .iter()
        .map(|&count| {
            let leaves: Vec<SumNode> =
                (1..=count).map(|nonce| receipt(nonce, key.address()).sign(domain(), &key).leaf(None)).collect();
            let tree = SumTree::committed(leaves.clone()).unwrap();
            let [left, right] = tree.top();
            json!({
                "count": count, "leaves": leaves.iter().map(|leaf| leaf.hash).collect::<Vec<_>>(),
                "prices": leaves.iter().map(|leaf| leaf.sum).collect::<Vec<_>>(),
                "root": tree.root().hash, "total": tree.root().sum, "left": left.hash, "leftSum": left.sum,
                "right": right.hash, "rightSum": right.sum,
            })
        })
        .collect()
}

/// A receipt whose words all differ; the second one of a channel defers its credits, the fourth is
/// sampled.
fn receipt(nonce: u64, node: Address) -> Receipt {
    let mut words: ReceiptWords = std::array::from_fn(|at| hash(at as u64));
    for (at, name) in Receipt::FIELDS.iter().enumerate() {
        let small = match *name {
            "version" => 2,
            "kind" => nonce % 4,
            "credit_state" => [0, 1, 0, 2][(nonce as usize - 1) % 4],
            "nonce" => nonce,
            "cumulative" | "model" | "seed" | "tokens_in" | "tokens_out" | "holder_block" | "time" => at as u64 + 1,
            name if name.ends_with("_bps") || name.starts_with("coverage_") => at as u64 + 1,
            _ => continue,
        };
        words[at] = word(small);
    }
    words[3] = word(node);
    words[25] = word(Amount::OPEN.0 + u128::from(nonce));
    let receipt = Receipt::from_words(&words).unwrap();
    if receipt.credit_state != CreditState::Deferred {
        return receipt;
    }
    let (spans_root, scores_root) = Default::default();
    let (coverage_spans, coverage_influence, coverage_retrieval) = Default::default();
    Receipt { spans_root, scores_root, coverage_spans, coverage_influence, coverage_retrieval, ..receipt }
}

/// The credit note of a receipt that defers its credits.
fn note(receipt: &Receipt) -> Option<CreditNote> {
    (receipt.credit_state == CreditState::Deferred).then(|| CreditNote {
        receipt: receipt.id(),
        spans_root: hash(40),
        scores_root: hash(41),
        coverage_spans: 900_000,
        coverage_influence: 800_001,
        coverage_retrieval: 7,
        lines: hash(42),
        time: receipt.time + 60,
    })
}

#[test]
fn governed_numbers_are_the_committed_ones() {
    let genesis = Params::GENESIS;
    let mut changed =
        Params { version: 2, treasury_bps: 5500, validation_bps: 2500, node_bps: 3500, ..genesis.clone() };
    (changed.max_parents_bps, changed.spans_numerator, changed.influence_threshold) = (4000, 12, 1536);
    changed.mixes[2] = Mix { spans_bps: 10_000, influence_bps: 0, retrieval_bps: 0 };
    let params: Vec<Value> = [("genesis", genesis), ("changed", changed)]
        .iter()
        .map(|(name, params)| {
            assert_eq!(params.check(), Ok(()));
            json!({
                "name": name, "members": sorted(&serde_json::to_value(params).unwrap()).to_string(),
                "words": params.words().to_vec(), "hash": params.hash(),
            })
        })
        .collect();
    check("params.json", json!({ "params": params }));
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
            let note = note(&signed.receipt);
            json!({
                "words": signed.receipt.words().to_vec(), "id": signed.receipt.id(),
                "structHash": signed.receipt.struct_hash(), "digest": digest, "signature": signed.signature,
                "signer": key.address(), "noteHash": note.as_ref().map(CreditNote::struct_hash).unwrap_or_default(),
                "leaf": signed.leaf(note.as_ref()).hash, "price": signed.receipt.price,
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
        "receiptType": Receipt::TYPE, "receiptTypehash": keccak(Receipt::TYPE),
        "noteType": CreditNote::TYPE, "noteTypehash": keccak(CreditNote::TYPE),
        "annexType": Annex::TYPE, "annexTypehash": keccak(Annex::TYPE),
    }]);
    let annex = Annex {
        prompt: hash(20),
        prompt_ids: hash(21),
        output_ids: hash(22),
        offsets: hash(23),
        finish_reason: hash(24),
        terms: hash(25),
        manifest: hash(26),
    };
    let annexes = json!([{ "words": annex.words().to_vec(), "structHash": annex.struct_hash() }]);
    let deferred = (1..=4).find_map(|nonce| note(&receipt(nonce, key.address()))).unwrap();
    let notes = json!([{
        "words": deferred.words().to_vec(), "structHash": deferred.struct_hash(),
        "digest": domain().digest(deferred.struct_hash()),
        "signature": deferred.clone().sign(domain(), &key).signature, "signer": key.address(),
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
            "domains": domains, "records": records, "receipts": receipts, "annexes": annexes, "notes": notes,
            "channels": channels, "grantSlots": slots,
        }),
    );
}
