//! Spans that name a missing record, and spans whose bytes differ between record and answer.
//!
//! The rules are those of `Verifier.recordFault` and `Verifier.spanFault`. Such a refutation makes
//! two chunks public.

use openledger_protocol::merkle::{self, Proof};
use openledger_protocol::{B256, CHUNK_BYTES, Span, chunk_leaf, chunk_root, record_leaf};

use super::known::{Answered, KnownBatch, RecordText};
use super::published::Trees;
use super::{ChunkPlace, Known, OpenedSpan, Refutation, RegisteredBatch};

/// Adds the faults of every receipt whose answer is known.
pub(super) fn faults(trees: &Trees<'_>, known: &Known, found: &mut Vec<Refutation>) {
    for (at, filed) in trees.published.receipts.iter().enumerate() {
        let Some(filed) = filed else { continue };
        let Some(answered) = known.answers.get(&filed.struct_hash()) else { continue };
        let Some(opened) = trees.open(at) else { continue };
        let Some(note) = known.note_of(filed) else { continue };
        let leaves: Vec<B256> = answered.spans.iter().map(Span::leaf).collect();
        for (place, span) in answered.spans.iter().enumerate() {
            let Some(path) = merkle::prove(&leaves, place as u64) else { continue };
            let named = OpenedSpan {
                receipt: opened.clone(),
                note: note.clone(),
                span: span.clone(),
                path,
                batch: RegisteredBatch::default(),
            };
            found.extend(fault(named, answered, known, trees.published.domain.chain_id));
        }
    }
}

fn fault(named: OpenedSpan, answered: &Answered, known: &Known, chain_id: u64) -> Option<Refutation> {
    let span = &named.span;
    let there = known.batches.get(&span.record.contribution);
    let Some(KnownBatch { batch, leaves }) = there else { return Some(Refutation::Record(Box::new(named))) };
    let published = known.versions.contains(&(span.datanet, span.version));
    if !published || batch.datanet != span.datanet || span.record.index >= batch.count {
        return Some(Refutation::Record(Box::new(OpenedSpan { batch: *batch, ..named })));
    }
    let RecordText { text, salt } = known.texts.get(&span.record)?;
    let (content_root, length) = (chunk_root(*salt, text.as_bytes()), u32::try_from(text.len()).ok()?);
    let record = record_leaf(chain_id, span.datanet, span.record.contribution, span.record.index, content_root, length);
    let siblings = merkle::prove(leaves, span.record.index.into())?.siblings;
    // A text that is not the registered one proves nothing.
    let proof = Proof { index: span.record.index.into(), siblings };
    if !merkle::verify(batch.root, record, &proof) {
        return None;
    }
    let (offset, record, output) = difference(span, text.as_bytes(), *salt, answered.text.as_bytes())?;
    let record_siblings = proof.siblings;
    let opened = Box::new(OpenedSpan { batch: *batch, ..named });
    Some(Refutation::Span { opened, content_root, length, record_siblings, offset, record, output })
}

/// The first byte of a span that is not the same on both sides, with the two chunks that show it.
pub(super) fn difference(
    span: &Span,
    record: &[u8],
    salt: B256,
    output: &[u8],
) -> Option<(u32, ChunkPlace, ChunkPlace)> {
    let at = |start: u32, offset: u32| (start as usize).checked_add(offset as usize);
    for offset in 0..span.length {
        let (in_record, in_output) = (at(span.record_offset, offset)?, at(span.output_offset, offset)?);
        let Some(truth) = record.get(in_record) else {
            // Beyond the record's length, which stands in its leaf: no chunk is read.
            let unread = || ChunkPlace { chunk: None, path: Proof { index: 0, siblings: Vec::new() } };
            return Some((offset, unread(), unread()));
        };
        if output.get(in_output) != Some(truth) {
            return Some((offset, chunk_at(record, salt, in_record)?, chunk_at(output, B256::ZERO, in_output)?));
        }
    }
    None
}

/// The chunk that holds a byte, or what proves that there is none: the empty place, or, beyond the
/// padded tree, a chunk that shows its depth. `None` for a byte beyond an empty text's only place,
/// which no proof reaches.
fn chunk_at(text: &[u8], salt: B256, position: usize) -> Option<ChunkPlace> {
    let chunks: Vec<&[u8]> = text.chunks(CHUNK_BYTES).collect();
    let number = position / CHUNK_BYTES;
    if chunks.is_empty() {
        return (number == 0).then(|| ChunkPlace { chunk: None, path: Proof { index: 0, siblings: Vec::new() } });
    }
    let leaves: Vec<B256> = (0u32..).zip(&chunks).map(|(index, chunk)| chunk_leaf(salt, index, chunk)).collect();
    let inside = merkle::prove(&leaves, number as u64);
    let shown = if inside.is_some() { number } else { 0 };
    let path = inside.or_else(|| merkle::prove(&leaves, 0))?;
    Some(ChunkPlace { chunk: chunks.get(shown).map(|chunk| (salt, chunk.to_vec())), path })
}
