//! A small world: one model trained on two datanets, an answer that rests on three contributions, an epoch of receipts.

use std::collections::BTreeMap;

use openledger_ledger::{
    ClosedEpoch, ClosedReceipt, ExportedEpoch, Parties, PriceList, SplitRule, Terms, close_epoch, price, split,
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
        mix: Mix::GOVERNED[0],
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
    let receipt = Receipt {
        node: key().address(),
        channel: ChannelId(B256::repeat_byte(0xcc)),
        nonce,
        cumulative: Amount(cost.0 * u128::from(nonce)),
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
    let entries = split(receipt.id(), cost, &rule, &manifest.mix, &credits, &terms.holders, &terms.parties).unwrap();
    let words = receipt.words().to_vec();
    let signed = receipt.sign(domain(), &key());
    let annex = Annex::of(&completion, &terms, manifest.hash().unwrap(), &entries).unwrap().sign(&signed, &key());
    ReceiptBundle {
        format: ReceiptBundle::FORMAT.into(),
        signed,
        words,
        request,
        completion,
        credits,
        terms,
        entries,
        annex,
        inclusion: None,
        entry_proofs: vec![],
    }
}

/// An epoch over the receipts `1..=count`.
pub(crate) fn epoch(count: u64, previous: &[Payout]) -> ClosedEpoch {
    close_epoch(1, &closed(count), previous, domain()).unwrap()
}

pub(crate) fn closed(count: u64) -> Vec<ClosedReceipt> {
    let one = |nonce| {
        let bundle = bundle(nonce);
        ClosedReceipt { signed: bundle.signed, entries: bundle.entries }
    };
    (1..=count).map(one).collect()
}

/// A bundle in an epoch of five, the epoch's exported header and the manifest.
pub(crate) fn files() -> (ReceiptBundle, ExportedEpoch, Manifest) {
    let epoch = epoch(5, &[Payout { account: account(20), cumulative: Amount(1_000) }]);
    let mut bundle = bundle(3);
    assert!(epoch.include(&mut bundle));
    (bundle, ExportedEpoch::new(epoch.header, epoch.domain), manifest())
}
