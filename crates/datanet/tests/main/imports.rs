//! What an import accepts, lists and refuses.

use openledger_datanet::{
    Earlier, ImportError, Importer, Limits, Parsed, Policy, RefusalReason, parse_jsonl, parse_jsonl_under, print_jsonl,
};
use openledger_protocol::{Body, Purpose, Purposes, Record};
use proptest::prelude::*;
use serde_json::json;

use crate::{line, text_of};

fn parse(text: &str) -> Result<Parsed, ImportError> {
    parse_jsonl(text.as_bytes(), &Limits::default())
}

/// The codes of the refusals of a file of one line.
#[track_caller]
fn check_refused(value: serde_json::Value, code: &str) {
    let parsed = parse(&value.to_string()).unwrap();
    let codes: Vec<&str> = parsed.refused.iter().map(|refusal| refusal.reason.code()).collect();
    assert_eq!((codes.as_slice(), parsed.records.len()), ([code].as_slice(), 0), "{value}");
}

/// The one problem of a file, as (line, column, code).
#[track_caller]
fn check_problem(bytes: &[u8], limits: &Limits, expected: (u64, u64, &str)) {
    let error = parse_jsonl(bytes, limits).unwrap_err();
    let found: Vec<_> = error.problems.iter().map(|p| (p.line, p.column, p.reason.code())).collect();
    assert_eq!(found, [expected], "{error}");
}

#[test]
fn records_that_break_a_rule_are_listed_by_name() {
    let good = json!({"id": "a", "contributor": "river-gauge", "license": "MIT", "text": "x"});
    let with = |key: &str, value: serde_json::Value| {
        let mut line = good.clone();
        line[key] = value;
        line
    };
    check_refused(with("id", json!(null)), "missing-field");
    check_refused(with("id", json!(5)), "wrong-type");
    check_refused(with("id", json!("a\u{202e}b")), "unprintable-name");
    check_refused(with("id", json!("x".repeat(257))), "name-too-long");
    check_refused(with("contributor", json!("a\u{1b}[2J")), "unprintable-name");
    check_refused(with("contributor", json!("x".repeat(65_536))), "name-too-long");
    check_refused(with("contributor", json!(["a"])), "wrong-type");
    check_refused(with("contributor", json!("\u{200d}")), "empty");
    check_refused(with("contributor", json!(null)), "missing-field");
    check_refused(with("contributors", json!(["night-desk"])), "contradiction");
    check_refused(with("contributors", json!([1])), "wrong-type");
    check_refused(
        with("contributors", json!((0..65).map(|i| i.to_string()).collect::<Vec<_>>())),
        "too-many-contributors",
    );
    check_refused(with("license", json!(null)), "no-licence");
    check_refused(with("license", json!(" ")), "no-licence");
    check_refused(with("license", json!("ask me")), "unknown-licence");
    check_refused(with("license", json!("CC BY-ND 4.0")), "rights-too-narrow");
    check_refused(with("licence", json!("CC0")), "contradiction");
    check_refused(with("text", json!(" \u{feff}\u{200d}\n")), "empty");
    check_refused(with("text", json!(["x"])), "wrong-type");
    check_refused(with("prompt", json!("why?")), "contradiction");
    check_refused(with("meta", json!([])), "wrong-type");
    assert_eq!(parse(&good.to_string()).unwrap().records.len(), 1);
}

#[test]
fn both_spellings_of_licence_count_when_they_agree() {
    let value = json!({"id": "a", "contributor": "c", "license": "CC BY 4.0", "licence": "CC-BY-4.0", "text": "x"});
    assert_eq!(parse(&value.to_string()).unwrap().records[0].record.license, "CC-BY-4.0");
}

#[test]
fn keys_without_a_meaning_go_to_meta() {
    let value = json!({"id": "a", "contributor": "c", "license": "MIT", "text": "x", "page": 3, "meta": {"kind": "k"}});
    let meta = &parse(&value.to_string()).unwrap().records[0].record.meta;
    assert_eq!(json!(meta), json!({"kind": "k", "page": 3}));
}

#[test]
fn a_contributor_listed_twice_counts_once() {
    let value =
        json!({"id": "a", "contributors": ["b", "a", "b", "e\u{301}", "\u{e9}"], "license": "MIT", "text": "x"});
    assert_eq!(parse(&value.to_string()).unwrap().records[0].record.contributors, ["b", "a", "\u{e9}"]);
}

#[test]
fn a_copy_within_the_file_names_the_earlier_record() {
    let parsed = parse(&[line("a", "river-gauge", "one two"), line("b", "late", "one\t two ")].join("\n")).unwrap();
    let expected = RefusalReason::Duplicate { of: "a".into(), line: Some(1), record: None };
    assert_eq!(parsed.refused[0].reason, expected);
    assert_eq!(parsed.refused[0].to_string(), "line 2 (`b`): the same text as `a` on line 1");
}

#[test]
fn a_refused_record_does_not_keep_its_text_from_others() {
    let refused = json!({"id": "a", "contributor": "c", "text": "one two"}).to_string();
    let parsed = parse(&[refused, line("b", "river-gauge", "one two")].join("\n")).unwrap();
    assert_eq!(parsed.records[0].record.id, "b");
}

#[test]
fn a_text_accepted_before_is_refused_with_its_holder() {
    let parsed = parse(&[line("a", "c", "new"), line("b", "c", "old")].join("\n")).unwrap();
    let old = parsed.records[1].folded_hash;
    let holder = Earlier { id: "first".into(), line: None, record: None };
    let parsed = parsed.without_known(&|hash| (hash == old).then(|| holder.clone()));
    assert_eq!(parsed.records.iter().map(|r| r.record.id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(parsed.refused[0].to_string(), "line 2 (`b`): the same text as `first`, which was accepted earlier");
}

#[test]
fn the_owner_may_state_rights_of_an_unknown_licence() {
    let value = json!({"id": "a", "contributor": "c", "license": "House Terms", "text": "x"}).to_string();
    let mut policy = Policy::default();
    let stated = openledger_datanet::licence::normalise("MIT").rights;
    policy.explicit.insert("LicenseRef-house-terms".into(), stated);
    let parsed = parse_jsonl_under(value.as_bytes(), &Limits::default(), &policy).unwrap();
    assert_eq!(parsed.records[0].rights.license, "LicenseRef-house-terms");

    policy.required = Purposes::of(&[Purpose::Commercial]);
    let value = value.replace("House Terms", "CC BY-NC 4.0");
    let parsed = parse_jsonl_under(value.as_bytes(), &Limits::default(), &policy).unwrap();
    assert_eq!(parsed.refused[0].reason.code(), "rights-too-narrow");
}

#[test]
fn damaged_files_are_refused_with_the_place() {
    let limits = Limits::default();
    check_problem(b"{\"id\": \"a\xff\"}", &limits, (1, 10, "invalid-utf8"));
    check_problem(b"\n  [1]\n", &limits, (2, 1, "not-an-object"));
    check_problem(b"\x1f\x8b\x08", &limits, (1, 1, "other-format"));
    check_problem(b"{\"id\": \"a\"", &limits, (1, 10, "truncated"));
    check_problem(&[b'['; 100_000], &limits, (1, 33, "too-deep"));
    let long = [b"\n".as_slice(), &vec![b'x'; limits.line_bytes + 1], b"\n"].concat();
    check_problem(&long, &limits, (2, 1, "line-too-long"));
}

#[test]
fn a_line_of_exactly_the_limit_passes() {
    let body = line("a", "c", "x");
    let limits = Limits { line_bytes: body.len(), ..Limits::default() };
    assert_eq!(parse_jsonl(format!("\u{feff}{body}\r\n").as_bytes(), &limits).unwrap().records.len(), 1);
    let limits = Limits { line_bytes: body.len() - 1, ..limits };
    check_problem(body.as_bytes(), &limits, (1, 1, "line-too-long"));
}

#[test]
fn an_endless_line_does_not_fill_the_memory() {
    let limits = Limits { line_bytes: 1000, ..Limits::default() };
    let mut importer = Importer::new(limits, Policy::default());
    for _ in 0..10_000 {
        importer.feed(&[b'x'; 1000]);
    }
    let error = importer.finish().unwrap_err();
    assert_eq!(error.problems[0].reason.to_string(), "a line of 10000000 bytes; the most is 1000");
}

#[test]
fn problems_beyond_the_limit_are_counted() {
    let limits = Limits { problems: 2, ..Limits::default() };
    let error = parse_jsonl(b"{\n{\n{\n{\n", &limits).unwrap_err();
    assert_eq!((error.problems.len(), error.omitted), (2, 2));
    assert!(error.to_string().contains("4 bad lines") && error.to_string().contains("2 more"));
}

#[test]
fn messages_carry_no_raw_control_characters() {
    let bad = line("a\u{1b}[31m", "c", "x");
    let error = parse(&[bad.clone(), bad.clone()].join("\n")).unwrap_err();
    let refusal = parse(&bad).unwrap().refused[0].to_string();
    assert!(!error.to_string().contains('\u{1b}') && !refusal.contains('\u{1b}'), "{error} {refusal}");
    assert!(refusal.contains("\\u{1b}"), "{refusal}");
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let text = "[a-zé\u{301}\u{202e}\"\\\\ \n\r\t]{0,12}[a-z]";
    let body = prop_oneof![
        text.prop_map(|text| Body::Text { text }),
        (text, text, proptest::option::of(text)).prop_map(|(prompt, response, context)| Body::Dialog {
            prompt,
            response,
            context
        }),
    ];
    let names = proptest::collection::btree_set("[a-z-]{1,8}", 1..4);
    let licence = prop_oneof![Just("MIT"), Just("CC-BY-4.0"), Just("MIT OR Apache-2.0"), Just("CC-PDM-1.0")];
    let meta = proptest::collection::btree_map("[a-z]{1,4}", any::<i64>(), 0..3);
    proptest::collection::vec((body, names, licence, meta), 0..8).prop_map(|rows| {
        let record = |(at, (body, names, licence, meta)): (usize, (Body, _, &str, _))| {
            let names: std::collections::BTreeSet<String> = names;
            let meta: std::collections::BTreeMap<String, i64> = meta;
            Record {
                id: format!("r/{at}"),
                contributors: names.into_iter().collect(),
                license: licence.to_owned(),
                body,
                meta: meta.into_iter().map(|(key, value)| (key, value.into())).collect(),
            }
        };
        rows.into_iter().enumerate().map(record).collect()
    })
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Err(error) = parse_jsonl(&bytes, &Limits::default()) {
            prop_assert!(!error.problems.is_empty());
            prop_assert!(error.problems.iter().all(|p| p.offset <= bytes.len() as u64));
        }
    }

    #[test]
    fn json_like_bytes_in_pieces_parse_as_the_whole(
        pieces in proptest::collection::vec("[{}\\[\\]\",:a-c\\\\u0-9\n\r\u{feff}]{0,9}", 0..12), limit in 1usize..40,
    ) {
        let limits = Limits { line_bytes: limit, ..Limits::default() };
        let mut importer = Importer::new(limits.clone(), Policy::default());
        pieces.iter().for_each(|piece| importer.feed(piece.as_bytes()));
        prop_assert_eq!(importer.finish(), parse_jsonl(pieces.concat().as_bytes(), &limits));
    }

    #[test]
    fn printed_records_read_back_equal(records in records()) {
        let parsed = parse(&print_jsonl(&records)).unwrap();
        let copies = parsed.refused.iter().filter(|r| r.reason.code() == "duplicate").count();
        prop_assert_eq!(copies, parsed.refused.len());
        let mut back = parsed.records.iter().map(|p| &p.record);
        for record in &records {
            if !parsed.refused.iter().any(|r| r.id.as_ref() == Some(&record.id)) {
                prop_assert_eq!(back.next(), Some(record));
            }
        }
        prop_assert_eq!(back.next(), None);
    }

    #[test]
    fn byte_ranges_cut_the_file_where_the_records_stand(records in records(), bom in any::<bool>(), crlf in any::<bool>()) {
        let mut file = print_jsonl(&records);
        if crlf { file = file.replace('\n', "\r\n"); }
        if bom { file = format!("\u{feff}{file}"); }
        for parsed in parse(&file).unwrap().records {
            let cut = &file[parsed.byte_range.start as usize..parsed.byte_range.end as usize];
            prop_assert_eq!(text_of(&parse(cut).unwrap().records[0].record), text_of(&parsed.record));
        }
    }

    #[test]
    fn one_bad_line_refuses_the_whole_file(records in records(), at in 0usize..8) {
        let mut lines: Vec<String> = print_jsonl(&records).lines().map(str::to_owned).collect();
        let at = at.min(lines.len());
        lines.insert(at, "{\"id\": ".into());
        let error = parse(&lines.join("\n")).unwrap_err();
        prop_assert_eq!(error.problems.iter().map(|p| p.line).collect::<Vec<_>>(), [at as u64 + 1]);
    }
}
