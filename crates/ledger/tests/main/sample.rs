//! A small world: one model trained on two datanets, an answer that rests on three contributions,
//! an epoch of receipts.

use std::collections::BTreeMap;

use openledger_ledger::{
    ClosedEpoch, ClosedReceipt, EpochSpan, ExportedEpoch, Parties, PriceList, Rules, SplitRule, Terms, close_epoch,
    lines_at, price, split, training_credits,
};
use openledger_protocol::*;

pub(crate) fn account(number: u64) -> Address {
    let mut bytes = [0u8; 20];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    Address::from(bytes)
}

pub(crate) fn contribution(number: u64) -> ContributionId {
    ContributionId(word(number))
}

pub(crate) fn domain() -> Domain {
    Domain { chain_id: 2626, contract: account(0xface) }
}

pub(crate) fn key() -> Key {
    Key::demo(1, "night-desk")
}

pub(crate) fn parties() -> Parties {
    Parties {
        treasury: account(1),
        validation: account(2),
        insurance: account(3),
        owner: account(4),
        node: key().address(),
        stakers: Some(account(6)),
        parents: vec![(account(7), 1500), (account(8), 200)],
    }
}

pub(crate) fn score(layer: Layer, of: u64, index: u32, score: u64) -> Score {
    Score { layer, datanet: DatanetId(1 + of % 2), record: RecordRef { contribution: contribution(of), index }, score }
}

fn span(of: u64, index: u32, output_offset: u32) -> Span {
    Span {
        datanet: DatanetId(1 + of % 2),
        version: 3,
        record: RecordRef { contribution: contribution(of), index },
        record_offset: 12,
        length: 9,
        output_offset,
        weight: 20_500,
    }
}

fn passage(of: u64, index: u32) -> Passage {
    let (contribution, datanet) = (contribution(of), DatanetId(1 + of % 2));
    Passage { datanet, version: 3, contribution, index, record_offset: 4, length: 200 }
}

pub(crate) fn manifest() -> Manifest {
    let used = |number| DatanetUse {
        datanet: DatanetId(number),
        version: 3,
        root: B256::repeat_byte(number as u8),
        grant: B256::repeat_byte(9),
    };
    let trained = |number: u64, weight| TrainedContribution {
        datanet: DatanetId(1 + number % 2),
        contribution: contribution(number),
        root: B256::repeat_byte(number as u8),
        records: 5,
        weight,
    };
    let method = |version: &str| Method { version: version.into(), cache: B256::repeat_byte(4) };
    Manifest {
        format: Manifest::FORMAT.into(),
        name: "tides".into(),
        base: BaseHash(B256::repeat_byte(0xb)),
        tokenizer: B256::repeat_byte(0xc),
        adapter: AdapterHash(B256::repeat_byte(0xa)),
        recipe: serde_json::json!({"rank": "8", "seed": "1"}).as_object().unwrap().clone(),
        datanets: vec![used(1), used(2)],
        contributions: vec![trained(10, 700), trained(11, 200), trained(12, 100)],
        records_root: B256::repeat_byte(0xd),
        records: 15,
        mix: Params::GENESIS.mixes[0],
        methods: vec![method("spans/1"), method("influence-fisher/1")],
        held_out_loss: (2_500_000, 1_900_000),
    }
}

fn completion(manifest: &Manifest) -> Completion {
    Completion {
        model: ModelId(5),
        base: manifest.base,
        adapter: manifest.adapter,
        tokenizer: manifest.tokenizer,
        numeric_mode: "f32fma".into(),
        sampling: Sampling {
            temperature_milli: 0,
            top_p_milli: 1000,
            max_tokens: 64,
            seed: 77,
            stop: vec!["\n\n".into()],
        },
        prompt: "Question: When is high tide?\nAnswer: ".into(),
        prompt_ids: vec![5, 6, 7, 8],
        text: "High tide is at noon.".into(),
        output_ids: vec![11, 12, 13],
        offsets: vec![(0, 9), (9, 15), (15, 21)],
        finish_reason: FinishReason::Stop,
        usage: Usage { prompt_tokens: 4, completion_tokens: 3 },
    }
}

fn credits() -> Credits {
    let mut credits = Credits {
        spans: vec![span(10, 2, 0), span(11, 0, 12)],
        scores: vec![
            score(Layer::Spans, 10, 2, 20_500),
            score(Layer::Spans, 11, 0, 20_500),
            score(Layer::Influence, 11, 0, 3),
            score(Layer::Influence, 12, 4, 5),
            score(Layer::Rest, 10, 0, 700),
            score(Layer::Rest, 11, 0, 200),
            score(Layer::Rest, 12, 0, 100),
        ],
        coverage: Coverage { spans: 900_000, influence: 1_000_000, retrieval: 0 },
        methods: vec!["spans/1".into(), "influence-fisher/1".into()],
    };
    credits.sort();
    credits
}

/// The usual shares and the first mix, under the first governed numbers.
pub(crate) fn rules() -> Rules<'static> {
    Rules { shares: SplitRule::default(), mix: Params::GENESIS.mixes[0], params: &Params::GENESIS }
}

pub(crate) fn principal() -> PrincipalId {
    PrincipalId::ApiKey(B256::repeat_byte(0xe))
}

/// The bundle of receipt `nonce`, not yet in an epoch.
pub(crate) fn bundle(nonce: u64) -> ReceiptBundle {
    let manifest = manifest();
    let (completion, credits) = (completion(&manifest), credits());
    let holders = BTreeMap::from([(10, 20), (11, 20), (12, 21)].map(|(of, who)| (contribution(of), account(who))));
    let prices = PriceList {
        per_1k_in: Amount(10_000_000_007),
        per_1k_out: Amount(30_000_000_001),
        royalty_flat: Amount(1_000_000),
    };
    let terms = Terms { prices, parties: parties(), holders };
    let request =
        serde_json::json!({"model": "tides", "messages": [{"role": "user", "content": "When is high tide?"}]});
    let rule = SplitRule::default();
    let cost = price(4, 3, &prices).unwrap();
    let parents = vec![ReceiptId(B256::repeat_byte(1)), ReceiptId(B256::repeat_byte(2))];
    let context = vec![passage(10, 2), passage(12, 4)];
    let annex = Annex::of(&completion, &terms, manifest.hash().unwrap()).unwrap();
    let mut receipt = Receipt {
        version: FormatVersion,
        kind: ReceiptKind::Answer,
        credit_state: CreditState::Inline,
        node: key().address(),
        channel: ChannelId(B256::repeat_byte(0xcc)),
        nonce,
        cumulative: Amount(cost.0 * u128::from(nonce)),
        principal: B256::ZERO,
        params: Params::GENESIS.hash(),
        parents: parents_root(&parents),
        context: context_root(&context),
        annex: annex.struct_hash(),
        lines: B256::ZERO,
        datanets: manifest.datanets_hash(),
        model: completion.model,
        base: manifest.base,
        adapter: manifest.adapter,
        tokenizer: manifest.tokenizer,
        numeric_mode: keccak(&completion.numeric_mode),
        sampling: completion.sampling.hash().unwrap(),
        seed: completion.sampling.seed,
        request: request_hash(&request).unwrap(),
        output: output_root(&completion.text),
        tokens_in: 4,
        tokens_out: 3,
        price: cost,
        platform_bps: rule.platform_bps(),
        model_bps: rule.model_bps(),
        stakers_bps: rule.stakers_bps(),
        contributors_bps: rule.contributors_bps(),
        methods: manifest.methods_hash(),
        spans_root: credits.spans_root(),
        scores_root: credits.scores_root(),
        coverage_spans: credits.coverage.spans,
        coverage_influence: credits.coverage.influence,
        coverage_retrieval: credits.coverage.retrieval,
        holder_block: 90,
        time: 1_000,
    };
    let id = receipt.id();
    receipt.principal = principal().commitment(PrincipalId::salt(&key(), id));
    let entries = split(id, cost, &rules(), &credits, &terms.holders, &terms.parties).unwrap();
    receipt.lines = lines_root(&entries).unwrap();
    let words = receipt.words().to_vec();
    ReceiptBundle {
        format: ReceiptBundle::FORMAT.into(),
        signed: receipt.sign(domain(), &key()),
        words,
        request,
        completion,
        credits,
        terms,
        params: Params::GENESIS,
        entries,
        annex,
        parents,
        context,
        note: None,
        inclusion: None,
        entry_proofs: vec![],
    }
}

/// The bundle's receipt after `change`, signed again.
pub(crate) fn resigned(bundle: &mut ReceiptBundle, change: impl FnOnce(&mut Receipt)) {
    let mut receipt = bundle.signed.receipt.clone();
    change(&mut receipt);
    bundle.words = receipt.words().to_vec();
    bundle.signed = receipt.sign(domain(), &key());
}

/// The bundle of receipt `nonce` with deferred credits and no note: its lines are those by training
/// weights.
pub(crate) fn deferred(nonce: u64) -> ReceiptBundle {
    let mut bundle = bundle(nonce);
    bundle.credits = Credits { methods: bundle.credits.methods, ..Credits::default() };
    let (id, price) = (bundle.signed.receipt.id(), bundle.signed.receipt.price);
    let (credits, terms) = (training_credits(&manifest()), &bundle.terms);
    bundle.entries = split(id, price, &rules(), &credits, &terms.holders, &terms.parties).unwrap();
    let lines = lines_root(&bundle.entries).unwrap();
    resigned(&mut bundle, |receipt| {
        (receipt.credit_state, receipt.lines) = (CreditState::Deferred, lines);
        (receipt.spans_root, receipt.scores_root) = Default::default();
        (receipt.coverage_spans, receipt.coverage_influence, receipt.coverage_retrieval) = Default::default();
    });
    bundle
}

/// [`deferred`] with its credit note of time `at`.
pub(crate) fn noted(nonce: u64, at: u64) -> ReceiptBundle {
    let (mut deferred, inline) = (deferred(nonce), bundle(nonce));
    let note = CreditNote::of(inline.signed.receipt.id(), &inline.credits, inline.signed.receipt.lines, at);
    (deferred.credits, deferred.entries) = (inline.credits, inline.entries);
    deferred.note = Some(note.sign(domain(), &key()));
    deferred
}

/// The epoch `number` of the sample's node, which holds all of its receipts.
pub(crate) fn span_of(number: u64) -> EpochSpan {
    EpochSpan { node: key().address(), number, cutoff: CUTOFF }
}

/// The time up to which receipts and notes count; the receipts are of 1,000.
pub(crate) const CUTOFF: u64 = 2_000;

/// An epoch over the receipts `1..=count`.
pub(crate) fn epoch(count: u64, previous: &[Payout]) -> ClosedEpoch {
    close_epoch(span_of(1), &closed(count), previous, domain()).unwrap()
}

pub(crate) fn closed(count: u64) -> Vec<ClosedReceipt> {
    (1..=count).map(|nonce| closing(&bundle(nonce))).collect()
}

/// What a bundle comes to at the cutoff.
pub(crate) fn closing(bundle: &ReceiptBundle) -> ClosedReceipt {
    let (entries, note) = lines_at(CUTOFF, bundle, &manifest()).unwrap();
    ClosedReceipt { signed: bundle.signed.clone(), note, entries }
}

/// A bundle in an epoch of five, the epoch's exported header and the manifest.
pub(crate) fn files() -> (ReceiptBundle, ExportedEpoch, Manifest) {
    let epoch = epoch(5, &[Payout { account: account(20), cumulative: Amount(1_000) }]);
    let mut bundle = bundle(3);
    assert!(epoch.include(&mut bundle));
    (bundle, ExportedEpoch::new(epoch.header, epoch.domain), manifest())
}
