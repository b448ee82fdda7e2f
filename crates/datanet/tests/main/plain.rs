//! Plain files: read as an import reads them, with less asked for.

use openledger_datanet::{Content, Limits, PlainReader, parse_jsonl, parse_plain};
use openledger_protocol::Body;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::files::sample;

/// The codes of a file's bad lines.
fn codes(file: &str) -> Vec<(u64, &'static str)> {
    match parse_plain(file.as_bytes(), &Limits::default()) {
        Ok(_) => Vec::new(),
        Err(error) => error.lines.iter().map(|line| (line.line(), line.code())).collect(),
    }
}

/// A line is refused by both readers for the same reason.
#[track_caller]
fn check_both(change: Value, code: &str) {
    let mut line = json!({"id": "a", "contributor": "mila", "license": "MIT"});
    let Value::Object(change) = change else { panic!("an object") };
    line.as_object_mut().unwrap().extend(change);
    let line = line.to_string();
    assert_eq!(codes(&line), [(1, code)], "{line}");
    let imported = parse_jsonl(line.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(imported.refused.iter().map(|r| r.reason.code()).collect::<Vec<_>>(), [code], "{line}");
}

#[test]
fn both_readers_refuse_the_same_contradictions() {
    check_both(json!({"text": "a", "prompt": "b", "response": "c"}), "contradiction");
    check_both(json!({"text": "a", "response": "c"}), "contradiction");
    check_both(json!({"text": "a", "context": "c"}), "contradiction");
    check_both(json!({"text": "a", "input_ids": [1, 2]}), "contradiction");
    check_both(json!({"prompt": "a", "response": "b", "input_ids": [1, 2]}), "contradiction");
    check_both(json!({"text": "a", "contributors": ["bruno"]}), "contradiction");
    check_both(json!({"text": "a", "licence": "CC0"}), "contradiction");
    check_both(json!({"text": "a", "page": 1, "meta": {"page": 2}}), "contradiction");
}

#[test]
fn both_readers_refuse_the_same_fields() {
    check_both(json!({"text": " \u{200d}"}), "empty");
    check_both(json!({"prompt": "a", "response": ""}), "empty");
    check_both(json!({"prompt": "a"}), "missing-field");
    check_both(json!({"response": "a"}), "missing-field");
    check_both(json!({}), "missing-field");
    check_both(json!({"text": ["a"]}), "wrong-type");
    check_both(json!({"text": "a", "id": 7}), "wrong-type");
    check_both(json!({"text": "a", "id": "x".repeat(257)}), "name-too-long");
    check_both(json!({"text": "a", "contributor": "a\u{1b}[2J"}), "unprintable-name");
    check_both(json!({"text": "a", "meta": []}), "wrong-type");
}

#[test]
fn id_contributor_and_licence_may_be_absent_and_copies_stay() {
    let file = "{\"text\": \"one\"}\n\n{\"text\": \"one\", \"license\": \"ask me\", \"id\": \"b\", \"contributor\": \" mila \"}";
    let records = parse_plain(file.as_bytes(), &Limits::default()).unwrap();
    let text = Content::Body(Body::Text { text: "one".into() });
    assert_eq!(records.iter().map(|r| (r.line, r.name())).collect::<Vec<_>>(), [(1, "line 1".into()), (3, "b".into())]);
    assert!(records.iter().all(|record| record.content == text));
    assert_eq!(records[1].contributors, ["mila"]);
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_no_part_of_a_record() {
    let plain = parse_plain(&sample("bad/bom-crlf.jsonl"), &Limits::default()).unwrap();
    let imported = parse_jsonl(&sample("bad/bom-crlf.jsonl"), &Limits::default()).unwrap();
    let bodies: Vec<Content> = imported.records.into_iter().map(|parsed| Content::Body(parsed.record.body)).collect();
    assert_eq!(plain.into_iter().map(|record| record.content).collect::<Vec<_>>(), bodies);
}

#[test]
fn damage_and_broken_rules_are_listed_together() {
    let file = "{\"text\": \"fine\"}\n{\"text\": 3}\nnonsense\n{\"input_ids\": [-1]}\n[]\n{\"id\": \"a\", \"text\": \"b\"}\n{\"id\": \"a\", \"text\": \"c\"}\n";
    let expected =
        [(2, "wrong-type"), (3, "malformed-json"), (4, "wrong-type"), (5, "not-an-object"), (7, "duplicate-id")];
    assert_eq!(codes(file), expected);
    let few = Limits { problems: 2, ..Limits::default() };
    let error = parse_plain(file.as_bytes(), &few).unwrap_err();
    assert_eq!((error.lines.len(), error.omitted), (2, 3));
    assert_eq!(error.to_string(), "the file has 5 bad lines, nothing of it was used");
    assert!(error.lines[0].to_string().ends_with("[wrong-type]"), "{}", error.lines[0]);
}

#[test]
fn token_ids_are_learned_from_a_place_among_them() {
    let one = |line: Value| parse_plain(line.to_string().as_bytes(), &Limits::default()).unwrap().remove(0).content;
    let ids = |loss_from| Content::Ids { ids: vec![5, 6, 7], loss_from };
    assert_eq!(one(json!({"input_ids": [5, 6, 7]})), ids(1));
    assert_eq!(one(json!({"input_ids": [5, 6, 7], "loss_from": 2})), ids(2));
    assert_eq!(one(json!({"input_ids": [5, 6, 7], "loss_start": 2, "text": null})), ids(2));
    let refused = |line: Value, code: &'static str| assert_eq!(codes(&line.to_string()), [(1, code)], "{line}");
    refused(json!({"input_ids": [5, 6, 7], "loss_start": 3}), "nothing-learned");
    refused(json!({"input_ids": [5, 6, 7], "loss_from": 0}), "nothing-learned");
    refused(json!({"input_ids": [5]}), "nothing-learned");
    refused(json!({"input_ids": [5, 6, 7], "loss_from": "1"}), "wrong-type");
    refused(json!({"input_ids": [5, 6, 7], "loss_from": 1, "loss_start": 2}), "contradiction");
    refused(json!({"input_ids": "5 6 7"}), "wrong-type");
    refused(json!({"input_ids": [5, 4_294_967_296u64]}), "wrong-type");
}

#[test]
fn ids_in_two_spellings_are_one_id() {
    let file = "{\"id\": \"\u{e9}\", \"text\": \"a\"}\n{\"id\": \"e\u{301}\", \"text\": \"b\"}";
    assert_eq!(codes(file), [(2, "duplicate-id")]);
    assert_eq!(parse_jsonl(file.as_bytes(), &Limits::default()).unwrap_err().problems[0].reason.code(), "duplicate-id");
}

#[test]
fn a_file_beyond_the_limit_is_refused_and_read_no_further() {
    let limits = Limits { file_bytes: 42, ..Limits::default() };
    let mut reader = PlainReader::new(limits.clone());
    for _ in 0..1000 {
        reader.feed(b"{\"text\": \"one more\"}\n");
    }
    let error = reader.finish().unwrap_err();
    assert_eq!(error.lines.iter().map(|l| (l.line(), l.code())).collect::<Vec<_>>(), [(3, "file-too-large")]);
    assert_eq!(parse_plain(b"{\"text\": \"one more\"}\n{\"text\": \"one more\"}\n", &limits).unwrap().len(), 2);
}

proptest! {
    #[test]
    fn what_an_import_takes_a_plain_reader_reads_alike(
        pieces in proptest::collection::vec("[{}\\[\\]\",:a-c\\\\u0-9\n\r\u{feff}]{0,9}", 0..12), limit in 1usize..40,
    ) {
        let limits = Limits { line_bytes: limit, ..Limits::default() };
        let mut reader = PlainReader::new(limits.clone());
        pieces.iter().for_each(|piece| reader.feed(piece.as_bytes()));
        let whole = pieces.concat();
        let plain = reader.finish();
        prop_assert_eq!(&plain, &parse_plain(whole.as_bytes(), &limits));
        let damage = |code: &str| !matches!(code, "missing-field" | "wrong-type" | "empty" | "contradiction");
        let found: Vec<(u64, &str)> = plain.err().into_iter().flat_map(|error| error.lines)
            .map(|line| (line.line(), line.code())).filter(|(_, code)| damage(code)).collect();
        let imported: Vec<(u64, &str)> = parse_jsonl(whole.as_bytes(), &limits).err().into_iter()
            .flat_map(|error| error.problems).map(|problem| (problem.line, problem.reason.code())).collect();
        prop_assert_eq!(found, imported);
    }
}
