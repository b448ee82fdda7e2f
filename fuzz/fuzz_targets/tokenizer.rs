//! Tokenizers of any bytes: no panic while reading, encoding or decoding, and offsets stay inside
//! the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openledger_engine::Tokenizer;

const TEXT: &str = "two feet \u{6c34} \u{1f30a}<s> 3";

fuzz_target!(|bytes: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_json(bytes.to_vec()) else { return };
    for (id, range) in tokenizer.encode_with_offsets(TEXT) {
        assert!(TEXT.get(range).is_some() && (id as usize) < tokenizer.vocab_size());
    }
    let ids = tokenizer.encode(TEXT, true);
    let (text, ranges) = tokenizer.decode_with_offsets(&ids);
    assert!(ranges.len() == ids.len() && ranges.into_iter().all(|range| text.get(range).is_some()));
});
