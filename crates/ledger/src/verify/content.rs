//! The content of an answer: request, completion, credits and manifest against the receipt.

use openledger_protocol::{
    Coverage, Layer, Manifest, Receipt, ReceiptBundle, ReceiptKind, Score, context_root, keccak, output_root,
    parents_root, request_hash, sha256,
};

use super::credited::Credited;
use super::faults::Faults;

/// The request by its hash; the completion by the hashes of what made it, its text, its seed and
/// its counts.
pub(super) fn request_and_completion(bundle: &ReceiptBundle, receipt: &Receipt, faults: &mut Faults) {
    let answer = receipt.kind == ReceiptKind::Answer;
    faults.holds("signed.receipt.kind", answer, "is not `answer`, which this kind of bundle is for");
    match request_hash(&bundle.request) {
        Ok(hash) => faults.equal("request", &hash, &receipt.request),
        Err(error) => faults.add("request", error),
    }
    let completion = &bundle.completion;
    faults.equal("completion.model", &completion.model, &receipt.model);
    faults.equal("completion.base", &completion.base, &receipt.base);
    faults.equal("completion.adapter", &completion.adapter, &receipt.adapter);
    faults.equal("completion.tokenizer", &completion.tokenizer, &receipt.tokenizer);
    faults.equal("completion.numeric_mode", &keccak(&completion.numeric_mode), &receipt.numeric_mode);
    match completion.sampling.hash() {
        Ok(hash) => faults.equal("completion.sampling", &hash, &receipt.sampling),
        Err(error) => faults.add("completion.sampling", error),
    }
    faults.equal("completion.sampling.seed", &completion.sampling.seed, &receipt.seed);
    faults.equal("completion.text", &output_root(&completion.text), &receipt.output);
    faults.equal("completion.usage.prompt_tokens", &completion.usage.prompt_tokens, &receipt.tokens_in);
    faults.equal("completion.usage.completion_tokens", &completion.usage.completion_tokens, &receipt.tokens_out);
    faults.equal("completion.prompt_ids", &(completion.prompt_ids.len() as u64), &receipt.tokens_in.into());
    faults.equal("completion.output_ids", &(completion.output_ids.len() as u64), &receipt.tokens_out.into());
    faults.equal("completion.offsets", &completion.offsets.len(), &completion.output_ids.len());
    for (at, &(from, to)) in completion.offsets.iter().enumerate() {
        let inside = from <= to && u64::from(to) <= completion.text.len() as u64;
        faults.holds(format!("completion.offsets[{at}]"), inside, "is not a range of the answer's bytes");
    }
}

/// The receipts and passages that the answer follows from, by their roots.
pub(super) fn lineage(bundle: &ReceiptBundle, receipt: &Receipt, faults: &mut Faults) {
    faults.equal("parents", &parents_root(&bundle.parents), &receipt.parents);
    faults.equal("context", &context_root(&bundle.context), &receipt.context);
}

/// The manifest's hashes against the receipt's.
pub(super) fn manifest(manifest: &Manifest, receipt: &Receipt, faults: &mut Faults) {
    faults.equal("manifest.base", &manifest.base, &receipt.base);
    faults.equal("manifest.adapter", &manifest.adapter, &receipt.adapter);
    faults.equal("manifest.tokenizer", &manifest.tokenizer, &receipt.tokenizer);
    faults.equal("manifest.datanets", &manifest.datanets_hash(), &receipt.datanets);
    faults.equal("manifest.methods", &manifest.methods_hash(), &receipt.methods);
}

/// Coverage, methods, spans and scores against the roots that were signed, the answer's bytes and
/// the manifest's weights.
pub(super) fn credits(
    bundle: &ReceiptBundle,
    manifest: &Manifest,
    receipt: &Receipt,
    credited: &Credited,
    faults: &mut Faults,
) {
    let credits = &bundle.credits;
    let signed = credited.coverage;
    for (name, found, signed) in [
        ("credits.coverage.spans", credits.coverage.spans, signed.spans),
        ("credits.coverage.influence", credits.coverage.influence, signed.influence),
        ("credits.coverage.retrieval", credits.coverage.retrieval, signed.retrieval),
    ] {
        faults.equal(name, &found, &signed);
        faults.holds(name, found <= Coverage::FULL, "is above one");
    }
    let uncovered = credits.spans.is_empty() && credits.coverage.spans > 0;
    faults.holds("credits.coverage.spans", !uncovered, "is above zero, but there is no span");
    faults.equal("credits.methods", &sha256(credits.methods.join("\n")), &receipt.methods);
    faults.equal("credits.spans", &credits.spans_root(), &credited.spans_root);
    faults.equal("credits.scores", &credits.scores_root(), &credited.scores_root);
    let spans_sorted = credits.spans.is_sorted_by_key(|span| (span.output_offset, span.record));
    faults.holds("credits.spans", spans_sorted, "are not ordered by output offset and record");
    let scores_sorted = credits.scores.is_sorted_by(|a, b| (a.layer, a.record) < (b.layer, b.record));
    faults.holds("credits.scores", scores_sorted, "are not ordered by layer and record, each once");
    spans(bundle, manifest, faults);
    let trained = |score: &Score| manifest.datanets.iter().any(|used| used.datanet == score.datanet);
    for (at, score) in credits.scores.iter().enumerate().filter(|(_, score)| score.layer != Layer::Retrieval) {
        faults.holds(format!("credits.scores[{at}].datanet"), trained(score), "is not in the manifest");
    }
    if !credited.pending {
        training_weights(bundle, manifest, faults);
    }
}

/// Spans lie inside the answer and name versions that were trained on.
fn spans(bundle: &ReceiptBundle, manifest: &Manifest, faults: &mut Faults) {
    let text = bundle.completion.text.as_bytes();
    for (at, span) in bundle.credits.spans.iter().enumerate() {
        let end = u64::from(span.output_offset) + u64::from(span.length);
        let quotes = span.length > 0 && end <= text.len() as u64;
        faults.holds(format!("credits.spans[{at}]"), quotes, "is not a range of the answer's bytes");
        let fits = span.record_offset.checked_add(span.length).is_some();
        faults.holds(format!("credits.spans[{at}]"), fits, "is not a range of a record's bytes");
        let used = manifest.datanets.iter().any(|used| (used.datanet, used.version) == (span.datanet, span.version));
        faults.holds(format!("credits.spans[{at}].datanet"), used, "names a version that is not in the manifest");
    }
}

/// The scores of [`Layer::Rest`] are the manifest's frozen weights, no more and no fewer.
fn training_weights(bundle: &ReceiptBundle, manifest: &Manifest, faults: &mut Faults) {
    let scores = bundle.credits.scores.iter().filter(|score| score.layer == Layer::Rest && score.score > 0);
    let mut found: Vec<_> = scores.map(|s| (s.record.contribution, s.record.index, s.datanet, s.score)).collect();
    let weights = manifest.contributions.iter().filter(|trained| trained.weight > 0);
    let mut frozen: Vec<_> = weights.map(|t| (t.contribution, 0, t.datanet, t.weight)).collect();
    found.sort_unstable();
    frozen.sort_unstable();
    if found != frozen {
        faults.add("manifest.contributions", "their weights are not the scores of the rest layer");
        faults.add("credits.scores", "the rest layer is not the manifest's frozen weights");
    }
}
