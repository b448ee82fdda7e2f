//! Spans: what is found, what is paid, and that an index answers like a scan.

use openledger_attribution::spans::{Answer, IndexedRecord, SpanError, SpanIndex, SpanMatches, SpanRules, naive_spans};
use openledger_protocol::Params;
use proptest::prelude::*;

/// Cuts a text into words with the space before them; a word's id is its hash. Characters beyond
/// ASCII become one token a byte that share the character's range, as byte-level vocabularies do.
fn tokenise(text: &str) -> IndexedRecord {
    let mut record = IndexedRecord { tokens: vec![], offsets: vec![], text: text.to_owned() };
    let mut word = 0;
    let flush = |record: &mut IndexedRecord, from: usize, to: usize| {
        if from < to {
            let hash = text[from..to].bytes().fold(17u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
            record.tokens.push(hash % 1_000_000 + 256);
            record.offsets.push((from as u32, to as u32));
        }
    };
    for (at, character) in text.char_indices() {
        if character == ' ' || !character.is_ascii() {
            flush(&mut record, word, at);
            word = at;
        }
        if !character.is_ascii() {
            let end = at + character.len_utf8();
            for byte in text[at..end].bytes() {
                record.tokens.push(byte.into());
                record.offsets.push((at as u32, end as u32));
            }
            word = end;
        }
    }
    flush(&mut record, word, text.len());
    record
}

fn rules(bits: u64) -> SpanRules {
    SpanRules { min_millibits: bits * 1000, beyond_chance_millibits: None, ..SpanRules::default() }
}

/// The spans of `output` in `texts`, checked against the scan.
#[track_caller]
fn check(texts: &[&str], owners: Option<&[u32]>, prompt: &str, output: &str, bits: u64) -> SpanMatches {
    let records: Vec<IndexedRecord> = texts.iter().map(|text| tokenise(text)).collect();
    let mut index = SpanIndex::build(&records).unwrap();
    if let Some(owners) = owners {
        index = index.with_owners(owners.to_vec()).unwrap();
    }
    let tokens = tokenise(output);
    let answer = Answer { ids: &tokens.tokens, text: output, offsets: &tokens.offsets, prompt };
    let found = index.query(&answer, &rules(bits)).unwrap();
    assert_eq!(found, naive_spans(&records, index.owners(), &answer, &rules(bits)).unwrap());
    for span in &found.spans {
        let length = span.output.end - span.output.start;
        let record = &texts[span.record as usize][span.record_offset as usize..][..length as usize];
        assert_eq!(&output[span.output.start as usize..span.output.end as usize], record);
    }
    found
}

fn texts_of<'a>(found: &SpanMatches, output: &'a str) -> Vec<&'a str> {
    found.spans.iter().map(|span| &output[span.output.start as usize..span.output.end as usize]).collect()
}

const NIGHT: &[&str] = &[
    "Sirius in Canis Major is the brightest star of the night sky.",
    "Follow the line from Merak to Dubhe to find Polaris.",
    "Polaris has magnitude two and is not the brightest star.",
];

#[test]
fn an_answer_pays_the_record_it_repeats() {
    let output = "Well: Follow the line from Merak to Dubhe and look";
    let found = check(NIGHT, None, "", output, 8);
    assert_eq!(texts_of(&found, output), [" the line from Merak to Dubhe"]);
    assert_eq!(found.scores.len(), 1);
    assert_eq!(found.scores[0].0, 1);
    assert_eq!(found.covered, 6);
    assert_eq!(found.coverage(&Params::GENESIS), 1_000_000);
}

#[test]
fn what_the_prompt_holds_is_not_paid() {
    let output = " the line from Merak to Dubhe";
    assert!(check(NIGHT, None, "Is the line from Merak to Dubhe real?", output, 8).spans.is_empty());
    assert_eq!(check(NIGHT, None, "Is the line real?", output, 8).spans.len(), 1);
}

#[test]
fn a_span_that_is_mostly_the_prompts_is_not_paid() {
    let records: Vec<IndexedRecord> = NIGHT.iter().map(|text| tokenise(text)).collect();
    let index = SpanIndex::build(&records).unwrap();
    let rules = SpanRules { beyond_chance_millibits: Some(20_000), ..rules(8) };
    let output = tokenise(" the line from Merak to Dubhe");
    let paid = |prompt| {
        let answer = Answer { ids: &output.tokens, text: &output.text, offsets: &output.offsets, prompt };
        index.query(&answer, &rules).unwrap().covered
    };
    assert_eq!((paid("Which line?"), paid("Is it the line from Merak?")), (6, 0));
}

#[test]
fn records_that_share_a_span_share_its_weight() {
    let alone = check(&["x one two three four", "filler of other words"], None, "", " one two three four", 4);
    let shared = check(&["x one two three four", "y one two three four"], None, "", " one two three four", 4);
    assert_eq!(shared.scores[0].1, shared.scores[1].1);
    assert_eq!(shared.spans[0].clusters, 2);
    assert!(alone.scores[0].1 > shared.scores[0].1);
}

#[test]
fn copies_are_one_cluster_and_earn_nothing() {
    let texts = ["one two three four five", "other words entirely here", "one two three four five"];
    let found = check(&texts, None, "", "one two three four five", 4);
    assert_eq!(found.scores.iter().map(|score| score.0).collect::<Vec<_>>(), [0]);
    assert_eq!(found.spans[0].clusters, 1);
}

#[test]
fn evidence_stands_in_a_member_and_the_owner_is_paid() {
    let texts = ["one two three four five", "one two three four six seven eight"];
    let found = check(&texts, Some(&[0, 0]), "", " three four six seven eight", 4);
    assert_eq!((found.spans[0].record, found.spans[0].owner), (1, 0));
    assert_eq!(found.scores[0].0, 0);
}

#[test]
fn what_a_large_corpus_holds_by_chance_is_not_paid() {
    let texts: Vec<String> = (0..64).map(|i| format!("a{i} b{i} c{i} d{i} e{i} f{i} g{i} h{i}")).collect();
    let records: Vec<IndexedRecord> = texts.iter().map(|text| tokenise(text)).collect();
    let index = SpanIndex::build(&records).unwrap();
    let paid = |words: usize, beyond: u64| {
        let (ids, offsets) = (&records[5].tokens[..words], &records[5].offsets[..words]);
        let answer = Answer { ids, text: &texts[5][..offsets[words - 1].1 as usize], offsets, prompt: "" };
        let rules = SpanRules { min_millibits: 0, beyond_chance_millibits: Some(beyond), ..SpanRules::default() };
        !index.query(&answer, &rules).unwrap().spans.is_empty()
    };
    // 512 tokens, each 9 bits rare: a word is chance (9 bits), and each further one is 9 bits
    // beyond it.
    assert!(paid(1, 0) && !paid(1, 1) && paid(4, 27_000) && !paid(4, 27_001));
}

#[test]
fn boilerplate_pays_nobody() {
    let texts: Vec<String> = (0..40).map(|i| format!("all rights reserved by law here record{i}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert!(check(&texts, None, "", "all rights reserved by law here", 1).spans.is_empty());
    assert_eq!(check(&texts[..8], None, "", "all rights reserved by law here", 1).spans.len(), 8);
}

#[test]
fn each_token_is_paid_once() {
    let texts = ["a b c d e f", "d e f g h i", "unrelated words to make others rare enough"];
    let output = " b c d e f g h i";
    let found = check(&texts, None, "", output, 6);
    let covered: usize = found.spans.iter().map(|span| span.tokens.len()).sum();
    assert_eq!((covered, found.covered), (8, 8));
    assert_eq!(texts_of(&found, output).concat(), output);
}

#[test]
fn a_text_repeated_in_the_answer_is_paid_once() {
    let texts = ["alpha beta gamma delta", "some other words to weigh against"];
    let once = check(&texts, None, "", " beta gamma delta", 4);
    let twice = check(&texts, None, "", " beta gamma delta and beta gamma delta", 4);
    assert_eq!(once.scores, twice.scores);
}

#[test]
fn no_record_earns_more_than_it_holds() {
    let texts = ["r s t u v w", "some other words that make it rare and rarer"];
    let found = check(&texts, None, "", " s t u v x s t u v w x t u v w", 4);
    let (whole, _) = (check(&texts, None, "", "r s t u v w", 4), ());
    assert!(found.scores[0].1 <= whole.scores[0].1);
}

#[test]
fn bytes_decide_where_tokens_are_cut_differently() {
    // The record's last word has a full stop and its first no space, so neither token is the
    // answer's.
    let texts = ["Dubhe leads to Polaris.", "some other words that make it rare"];
    let output = "and Dubhe leads to Polaris tonight";
    let found = check(&texts, None, "", output, 4);
    assert_eq!(texts_of(&found, output), [" leads to Polaris"]);
}

#[test]
fn spans_end_at_whole_characters() {
    // é and è share their first byte, so the token match ends inside a character and the span
    // before it.
    let texts = ["un deux trois caf\u{e9}", "some other words that make it rare"];
    let output = " deux trois caf\u{e8}";
    let found = check(&texts, None, "", output, 4);
    assert_eq!(texts_of(&found, output), [" deux trois caf"]);
    let same = check(&texts, None, "", " deux trois caf\u{e9}", 4);
    assert_eq!(same.spans[0].output.end as usize, " deux trois caf\u{e9}".len());
}

#[test]
fn an_index_without_tokens_finds_nothing() {
    assert!(check(&[], None, "", "anything at all", 1).spans.is_empty());
    assert!(check(&["", ""], None, "", "anything at all", 1).spans.is_empty());
    assert_eq!(check(NIGHT, None, "", "", 1).coverage(&Params::GENESIS), 0);
}

#[test]
fn offsets_that_do_not_fit_are_refused() {
    let mut record = tokenise("caf\u{e9} noir");
    record.offsets[0].1 = 4;
    assert!(matches!(
        SpanIndex::build(&[tokenise("fine"), record]),
        Err(SpanError::RecordOffsets { record: 1, token: 0 })
    ));
    let index = SpanIndex::build(&[tokenise("fine")]).unwrap();
    let answer = Answer { ids: &[1, 2], text: "ab", offsets: &[(0, 1)], prompt: "" };
    assert!(matches!(index.query(&answer, &rules(1)), Err(SpanError::AnswerOffsets { token: 1 })));
}

#[test]
fn owners_must_own_themselves() {
    let build = || SpanIndex::build(&NIGHT.iter().map(|text| tokenise(text)).collect::<Vec<_>>()).unwrap();
    assert!(build().with_owners(vec![0, 0, 2]).is_ok());
    for bad in [vec![0, 0], vec![0, 2, 1], vec![0, 1, 3], vec![0, 1, 2, 3]] {
        assert!(matches!(build().with_owners(bad), Err(SpanError::Owners { .. })));
    }
}

#[test]
fn an_index_reads_back_as_it_was_written() {
    let index = SpanIndex::build(&NIGHT.iter().map(|text| tokenise(text)).collect::<Vec<_>>()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    index.save(dir.path()).unwrap();
    let back = SpanIndex::load(dir.path()).unwrap();
    assert_eq!(back, index);
    assert_eq!(back.root(), index.root());
}

#[test]
fn a_damaged_index_is_refused_whatever_byte_is_damaged() {
    let index = SpanIndex::build(&NIGHT.iter().map(|text| tokenise(text)).collect::<Vec<_>>()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    index.save(dir.path()).unwrap();
    let file = dir.path().join("spans.bin");
    let good = std::fs::read(&file).unwrap();
    for cut in [0, 10, 30, good.len() / 2, good.len() - 1] {
        std::fs::write(&file, &good[..cut]).unwrap();
        assert!(matches!(SpanIndex::load(dir.path()), Err(SpanError::Malformed { .. })), "cut at {cut}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x80;
        std::fs::write(&file, &bad).unwrap();
        // A flipped bit may leave another valid index (of another id, say), never one that passes
        // for this one.
        if let Ok(other) = SpanIndex::load(dir.path()) {
            assert_ne!((other.root(), other.owners()), (index.root(), index.owners()), "byte {at}");
        }
    }
}

#[test]
fn the_root_depends_on_every_record() {
    let root =
        |texts: &[&str]| SpanIndex::build(&texts.iter().map(|t| tokenise(t)).collect::<Vec<_>>()).unwrap().root();
    let roots = [root(NIGHT), root(&NIGHT[..2]), root(&[NIGHT[1], NIGHT[0], NIGHT[2]]), root(&[])];
    for (at, one) in roots.iter().enumerate() {
        assert!(roots[at + 1..].iter().all(|other| other != one));
    }
    assert_eq!(root(NIGHT), roots[0]);
}

#[test]
fn counts_are_occurrences() {
    let index = SpanIndex::build(&[tokenise("a b a b a b"), tokenise("a b")]).unwrap();
    let ids = tokenise("x a b").tokens;
    assert_eq!(index.count(&ids[1..]), 2);
    assert_eq!(index.count(&ids), 0);
}

/// Texts over few words, so that everything repeats and overlaps.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "\u{e9}", "\u{e8}", "b.", "\u{1f980}"]), 0..12)
        .prop_map(|words| {
            words.iter().enumerate().map(|(i, w)| if i % 3 == 0 { (*w).to_owned() } else { format!(" {w}") }).collect()
        })
}

proptest! {
    #[test]
    fn an_index_answers_like_a_scan(
        mut texts in prop::collection::vec(text(), 0..6),
        copy in any::<bool>(),
        prompt in text(),
        output in text(),
        bits in 0u64..9,
        merge in any::<bool>(),
    ) {
        if copy && !texts.is_empty() {
            texts.push(texts[0].clone());
        }
        let owners: Vec<u32> = (0..texts.len() as u32).map(|i| if merge { i / 2 * 2 } else { i }).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let found = check(&texts, merge.then_some(&owners), &prompt, &output, bits);
        let mut tokens: Vec<usize> = found.spans.iter().flat_map(|span| span.tokens.clone()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        prop_assert!(tokens.len() <= found.covered && found.covered <= found.written);
        prop_assert!(found.coverage(&Params::GENESIS) <= 1_000_000);
    }
}
