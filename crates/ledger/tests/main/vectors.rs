//! `vectors/split.json`: inputs of splits and their entries, for this crate and Solidity's
//! `SplitLib`;
//! `vectors/receipt/`: the files of one receipt.
//!
//! `UPDATE_VECTORS=1 cargo test -p openledger-ledger` rewrites the files.

use std::collections::BTreeMap;

use openledger_ledger::{Parties, Rules, SplitRule, split};
use openledger_protocol::*;
use serde_json::{Value, json};

use crate::sample::{account, contribution, key, parties, score};

struct Given {
    name: &'static str,
    price: u128,
    rule: (u16, u16, u16),
    mix: Mix,
    params: Params,
    coverage: (u32, u32, u32),
    scores: Vec<Score>,
    holders: Vec<(u64, u64)>,
    staked: bool,
    parents: Vec<(u64, u16)>,
}

/// Governed numbers other than the first ones, within their bounds.
fn other_params() -> Params {
    let shares = Params { treasury_bps: 5501, validation_bps: 2501, node_bps: 3333, ..Params::GENESIS };
    Params { version: 2, max_parents_bps: 4000, ..shares }
}

fn given() -> Vec<Given> {
    let rest = || vec![score(Layer::Rest, 10, 0, 700), score(Layer::Rest, 11, 0, 200), score(Layer::Rest, 12, 0, 100)];
    let held = || vec![(10, 20), (11, 20), (12, 21)];
    let base = |name, price| Given {
        name,
        price,
        rule: (1000, 2000, 2000),
        mix: Params::GENESIS.mixes[0],
        params: Params::GENESIS,
        coverage: (0, 0, 0),
        scores: rest(),
        holders: held(),
        staked: true,
        parents: vec![],
    };
    let evidence = || {
        let mut scores = vec![
            score(Layer::Spans, 10, 2, 20_500),
            score(Layer::Spans, 11, 0, 41_000),
            score(Layer::Influence, 11, 0, 3),
            score(Layer::Influence, 12, 4, 5),
        ];
        scores.extend(rest());
        scores
    };
    let open = Amount::OPEN.0;
    vec![
        base("nothing is paid", 0),
        base("one unit is a residual of the contributors", 1),
        base("ten units round down", 10),
        base("one OPEN by training weight alone", open),
        Given { coverage: (1_000_000, 1_000_000, 0), scores: evidence(), ..base("full coverage", open) },
        Given { coverage: (333_333, 1_000_000, 0), scores: evidence(), ..base("partial coverage", open + 7) },
        Given { coverage: (1_000_000, 0, 0), ..base("coverage without scores joins the rest", open) },
        Given { staked: false, ..base("no stakers: insurance", open + 1) },
        Given { parents: vec![(7, 2000), (8, 333)], ..base("parents are paid inside the owner's line", open + 3) },
        Given { parents: vec![(7, 2000), (7, 1000)], ..base("one parent twice is one line", open + 3) },
        Given { holders: vec![(10, 20), (12, 21)], ..base("what nobody holds goes to insurance", open) },
        Given { scores: vec![], ..base("no scores at all go to insurance", open) },
        Given { rule: (0, 1000, 0), ..base("the least to others", open + 11) },
        Given { rule: (2000, 4000, 1000), ..base("the most to others", open + 13) },
        Given { holders: vec![(10, 20), (11, 20), (12, 20)], ..base("one holder of all: remainder in the first", 997) },
        Given {
            mix: Params::GENESIS.mixes[1],
            coverage: (500_000, 250_000, 1_000_000),
            scores: [evidence(), vec![score(Layer::Retrieval, 12, 1, 9)]].concat(),
            ..base("three layers", open + 17)
        },
        Given {
            params: other_params(),
            parents: vec![(7, 2000), (8, 333)],
            ..base("other governed numbers", open + 19)
        },
        Given { params: other_params(), ..base("other governed numbers round down", 997) },
        base("64 bits less one", u64::MAX.into()),
        base("all OPEN there is", Amount::SUPPLY.0),
    ]
}

/// The case as flat members: parallel arrays with one element a line, amounts as decimal strings.
fn case(given: &Given) -> Value {
    let (platform, model, stakers) = given.rule;
    let rule = SplitRule::new(platform, model, stakers).unwrap();
    let (spans, influence, retrieval) = given.coverage;
    let coverage = Coverage { spans, influence, retrieval };
    let mut credits = Credits { scores: given.scores.clone(), coverage, ..Credits::default() };
    credits.sort();
    let holders: BTreeMap<_, _> = given.holders.iter().map(|&(of, who)| (contribution(of), account(who))).collect();
    let parties = Parties {
        node: account(5),
        stakers: given.staked.then(|| account(6)),
        parents: given.parents.iter().map(|&(who, bps)| (account(who), bps)).collect(),
        ..parties()
    };
    assert_ne!(parties.node, key().address());
    let receipt = ReceiptId(word(42u8));
    let rules = Rules { shares: rule, mix: given.mix, params: &given.params };
    let entries = split(receipt, Amount(given.price), &rules, &credits, &holders, &parties).unwrap();
    let scores = &credits.scores;
    let hex = |words: Vec<B256>| words.into_iter().map(|word| json!(word)).collect::<Vec<_>>();
    json!({
        "name": given.name,
        "receipt": receipt,
        "params": hex(given.params.words().to_vec()),
        "lines": lines_root(&entries).unwrap(),
        "price": Amount(given.price),
        "platformBps": platform, "modelBps": model, "stakersBps": stakers, "contributorsBps": rule.contributors_bps(),
        "mixSpansBps": given.mix.spans_bps, "mixInfluenceBps": given.mix.influence_bps,
        "mixRetrievalBps": given.mix.retrieval_bps,
        "coverageSpans": spans, "coverageInfluence": influence, "coverageRetrieval": retrieval,
        "treasury": parties.treasury, "validation": parties.validation, "insurance": parties.insurance,
        "owner": parties.owner, "node": parties.node, "stakers": parties.stakers.unwrap_or_default(),
        "parents": parties.parents.iter().map(|(who, _)| who).collect::<Vec<_>>(),
        "parentsBps": parties.parents.iter().map(|(_, bps)| bps).collect::<Vec<_>>(),
        "scoreLayers": scores.iter().map(|s| s.layer as u8).collect::<Vec<_>>(),
        "scoreContributions": hex(scores.iter().map(|s| s.record.contribution.0).collect()),
        "scoreIndexes": scores.iter().map(|s| s.record.index).collect::<Vec<_>>(),
        "scores": scores.iter().map(|s| s.score.to_string()).collect::<Vec<_>>(),
        "heldContributions": hex(holders.keys().map(|id| id.0).collect()),
        "holders": holders.values().collect::<Vec<_>>(),
        "lineRoles": entries.iter().map(|e| e.role as u8).collect::<Vec<_>>(),
        "lineAccounts": entries.iter().map(|e| e.account).collect::<Vec<_>>(),
        "lineContributions": hex(entries.iter().map(|e| e.contribution.0).collect()),
        "lineAmounts": entries.iter().map(|e| e.amount).collect::<Vec<_>>(),
        "lineLeaves": hex(entries.iter().map(|e| e.leaf().hash).collect()),
    })
}

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

/// The committed text of `vectors/<name>`, which must be `value`; with `UPDATE_VECTORS` it is
/// written first.
#[track_caller]
fn committed(name: &str, value: &Value) -> String {
    let text = serde_json::to_string_pretty(&sorted(value)).unwrap() + "\n";
    let path = format!("{}/../../vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{name} differs: if the change is meant, run with UPDATE_VECTORS=1 and read the diff");
    committed
}

/// `vectors/receipt/`: a receipt's bundle, its epoch's header and its model's manifest, as files
/// for a verifier.
pub(crate) fn receipt_files() -> [String; 3] {
    let (bundle, epoch, manifest) = crate::sample::files();
    [
        committed("receipt/bundle.json", &json!(bundle)),
        committed("receipt/epoch.json", &json!(epoch)),
        committed("receipt/manifest.json", &json!(manifest)),
    ]
}

#[test]
fn splits_are_the_committed_ones() {
    let cases: Vec<Value> = given().iter().map(case).collect();
    committed("split.json", &json!({ "cases": cases }));
}
