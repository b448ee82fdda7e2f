//! Imports of any bytes: no panic, and what was accepted prints as a file that is accepted again
//! with equal records.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openledger_datanet::{Limits, parse_jsonl, print_jsonl};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { line_bytes: 1 << 16, ..Limits::default() };
    if let Ok(parsed) = parse_jsonl(bytes, &limits) {
        let records: Vec<_> = parsed.records.into_iter().map(|parsed| parsed.record).collect();
        let roomy = Limits { line_bytes: 1 << 20, licence_bytes: 1 << 12, depth: limits.depth + 1, ..limits };
        let again = parse_jsonl(print_jsonl(&records).as_bytes(), &roomy).expect("what was printed is well-formed");
        assert!(again.refused.is_empty(), "{:?}", again.refused);
        assert!(records.iter().eq(again.records.iter().map(|parsed| &parsed.record)));
    }
});
