//! The span index on disk.
//!
//! Place in the flow: written once beside a model, read by the node. Layout of `spans.bin`: the
//! line `openledger/spans/v1`, four counts as little-endian `u64`, then vocabulary, record starts,
//! owners, text lengths, symbols, suffixes, byte ranges (all little-endian `u32`) and the texts.
//! Invariant: whatever [`SpanIndex::load`] returns can be searched without a check: every place is
//! in bounds and the suffix array is sorted.

use std::path::Path;

use super::index::{MAX_SYMBOLS, MAX_TEXT_BYTES, first_bad_owner};
use super::suffix::is_suffix_array;
use super::{SpanError, SpanIndex, first_bad_offset};

/// The file inside an index's folder.
const FILE: &str = "spans.bin";
/// Its first bytes.
const MAGIC: &[u8; 20] = b"openledger/spans/v1\n";

impl SpanIndex {
    /// Writes the index into folder `dir`, which is made if need be.
    ///
    /// # Errors
    /// [`SpanError::Io`].
    pub fn save(&self, dir: &Path) -> Result<(), SpanError> {
        let path = dir.join(FILE);
        let bytes = self.encode();
        let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, bytes));
        written.map_err(|source| SpanError::Io { path, source })
    }

    /// Reads the index in folder `dir` and checks all of it; cost `O(tokens)`.
    ///
    /// # Errors
    /// [`SpanError::Io`] when it cannot be read, [`SpanError::TooLarge`] or
    /// [`SpanError::Malformed`] when it is not an index.
    pub fn load(dir: &Path) -> Result<Self, SpanError> {
        let path = dir.join(FILE);
        let io = |source| SpanError::Io { path: path.clone(), source };
        // Per symbol three words and a byte range at most, per record three words; generous for the
        // rest.
        let limit = 24 * MAX_SYMBOLS + MAX_TEXT_BYTES;
        let count = std::fs::metadata(&path).map_err(io)?.len();
        if count > limit {
            return Err(SpanError::TooLarge { what: "bytes of the file", count, limit });
        }
        let bytes = std::fs::read(&path).map_err(io)?;
        decode(&bytes).map_err(|reason| SpanError::Malformed { path: path.clone(), reason })
    }

    fn encode(&self) -> Vec<u8> {
        let text_bytes: usize = self.texts.iter().map(String::len).sum();
        let mut out = MAGIC.to_vec();
        for count in [self.vocabulary.len(), self.texts.len(), self.symbols.len(), text_bytes] {
            out.extend_from_slice(&(count as u64).to_le_bytes());
        }
        let lengths: Vec<u32> = self.texts.iter().map(|text| text.len() as u32).collect();
        let parts = [&self.vocabulary, &self.starts, &self.owners, &lengths, &self.symbols, &self.suffixes];
        for value in parts.into_iter().flatten() {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for (start, end) in &self.offsets {
            out.extend_from_slice(&start.to_le_bytes());
            out.extend_from_slice(&end.to_le_bytes());
        }
        for text in &self.texts {
            out.extend_from_slice(text.as_bytes());
        }
        out
    }
}

/// Takes `count` words from the front of `bytes`.
fn words(bytes: &mut &[u8], count: u64) -> Result<Vec<u32>, String> {
    let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(4)).ok_or("a count is too large")?;
    let (front, rest) = bytes.split_at_checked(length).ok_or("the file is cut short")?;
    *bytes = rest;
    Ok(front.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

fn decode(bytes: &[u8]) -> Result<SpanIndex, String> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as one")?;
    let mut counts = [0u64; 4];
    for count in &mut counts {
        let (word, after) = rest.split_first_chunk::<8>().ok_or("the file is cut short")?;
        *count = u64::from_le_bytes(*word);
        rest = after;
    }
    let [vocabulary, records, symbols, text_bytes] = counts;
    if symbols > MAX_SYMBOLS || records > symbols || vocabulary > symbols || text_bytes >= MAX_TEXT_BYTES {
        return Err("its counts contradict each other".into());
    }
    let vocabulary = words(&mut rest, vocabulary)?;
    let starts = words(&mut rest, records + 1)?;
    let owners = words(&mut rest, records)?;
    let lengths = words(&mut rest, records)?;
    let symbols = words(&mut rest, symbols)?;
    let suffixes = words(&mut rest, symbols.len() as u64)?;
    let offsets = words(&mut rest, 2 * symbols.len() as u64)?;
    let offsets: Vec<(u32, u32)> = offsets.as_chunks::<2>().0.iter().map(|[start, end]| (*start, *end)).collect();
    if !vocabulary.is_sorted_by(|a, b| a < b) || symbols.iter().any(|symbol| *symbol as usize > vocabulary.len()) {
        return Err("its vocabulary does not fit its symbols".into());
    }
    if first_bad_owner(&owners, lengths.len()).is_some() {
        return Err("its clusters have no owners".into());
    }
    let mut texts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let (text, after) = rest.split_at_checked(length as usize).ok_or("the file is cut short")?;
        texts.push(std::str::from_utf8(text).map_err(|_| "a text is not UTF-8")?.to_owned());
        rest = after;
    }
    if !rest.is_empty() || texts.iter().map(|text| text.len() as u64).sum::<u64>() != text_bytes {
        return Err("it does not end where its texts do".into());
    }
    check_records(&symbols, &offsets, &starts, &texts)?;
    if !is_suffix_array(&symbols, &suffixes) {
        return Err("its suffixes are not sorted".into());
    }
    Ok(SpanIndex::assemble(vocabulary, symbols, suffixes, offsets, starts, texts, owners))
}

/// Each record is its symbols and one separator, with byte ranges inside its text.
fn check_records(symbols: &[u32], offsets: &[(u32, u32)], starts: &[u32], texts: &[String]) -> Result<(), String> {
    let whole = starts.first() == Some(&0) && starts.last().map(|end| *end as usize) == Some(symbols.len());
    if !whole || !starts.is_sorted_by(|a, b| a < b) {
        return Err("its records do not follow each other".into());
    }
    for (record, (bounds, text)) in starts.windows(2).zip(texts).enumerate() {
        let (start, end) = (bounds[0] as usize, bounds[1] as usize);
        let separators = symbols[start..end].iter().position(|symbol| *symbol == 0);
        if separators != Some(end - start - 1) || first_bad_offset(end - start, &offsets[start..end], text).is_some() {
            return Err(format!("record {record} is damaged"));
        }
    }
    Ok(())
}
