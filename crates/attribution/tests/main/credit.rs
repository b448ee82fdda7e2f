//! Credits: places become titles, layers become integers.

use openledger_attribution::credit::{Attributor, CreditError, RecordTitle};
use openledger_attribution::influence::{Cache, DAMPING, Method};
use openledger_attribution::spans::{IndexedRecord, SpanIndex, SpanRules};
use openledger_protocol::{
    AdapterHash, B256, BaseHash, Completion, ContributionId, Coverage, Credits, DatanetId, FinishReason, Layer,
    ModelId, Params, RecordRef, Sampling, TrainedContribution, Usage, keccak,
};

use crate::world::{FACTS, World};

/// A token's text is its number, so that every record has one.
fn written(ids: &[u32]) -> IndexedRecord {
    let mut record = IndexedRecord { tokens: ids.to_vec(), offsets: vec![], text: String::new() };
    for id in ids {
        let start = record.text.len() as u32;
        record.text.push_str(&format!(" {id}"));
        record.offsets.push((start, record.text.len() as u32));
    }
    record
}

fn contribution(number: usize) -> ContributionId {
    ContributionId(keccak(format!("contribution {number}")))
}

/// Ten records a contribution, each alone in its cluster.
fn titles(count: usize) -> Vec<RecordTitle> {
    let title = |at: usize| RecordTitle {
        datanet: DatanetId(1),
        version: 2,
        record: RecordRef { contribution: contribution(at / 10), index: (at % 10) as u32 },
        owner: at as u32,
        multiplier: u16::MAX,
        source: at as u32,
    };
    (0..count).map(title).collect()
}

fn trained(count: usize) -> Vec<TrainedContribution> {
    let one = |number| TrainedContribution {
        datanet: DatanetId(1),
        contribution: contribution(number),
        root: B256::ZERO,
        records: 10,
        weight: 100 * number as u64,
    };
    (0..count).map(one).collect()
}

fn completion(world: &World, fact: usize) -> Completion {
    let ids = &world.queries[fact].ids;
    let (prompt, output) = (written(&ids[..3]), written(&ids[3..]));
    Completion {
        model: ModelId(1),
        base: BaseHash(world.model.hash().into()),
        adapter: AdapterHash(world.lora.hash().into()),
        tokenizer: B256::ZERO,
        numeric_mode: "test".into(),
        sampling: Sampling { temperature_milli: 0, top_p_milli: 1000, max_tokens: 2, seed: 0, stop: vec![] },
        prompt: prompt.text,
        prompt_ids: prompt.tokens,
        text: output.text,
        output_ids: output.tokens,
        offsets: output.offsets,
        finish_reason: FinishReason::Length,
        usage: Usage { prompt_tokens: 3, completion_tokens: 2 },
    }
}

fn attributor(world: &World, titles: Vec<RecordTitle>, records: &[usize]) -> Attributor {
    let items: Vec<_> = records.iter().map(|at| world.records[*at].clone()).collect();
    let indexed: Vec<_> = items.iter().map(|item| written(&item.ids)).collect();
    let gradients = world.gradients(&items);
    let cache = Cache::build(&gradients, Method::Fisher, DAMPING, 1, world.provenance()).unwrap();
    let rules = SpanRules { min_millibits: 8_000, beyond_chance_millibits: None, ..SpanRules::default() };
    let attributor = Attributor::new(titles, trained(4)).unwrap();
    attributor.with_spans(SpanIndex::build(&indexed).unwrap(), rules).unwrap().with_influence(cache).unwrap()
}

#[test]
fn every_layer_credits_the_records_that_state_the_fact() {
    let world = World::new(40);
    let all: Vec<usize> = (0..world.records.len()).collect();
    let attributor = attributor(&world, titles(all.len()), &all);
    let mut right = 0;
    for fact in 0..FACTS {
        let credits =
            attributor.credit(&completion(&world, fact), Some((&world.model, &world.lora)), &Params::GENESIS).unwrap();
        assert_eq!(credits.methods, ["spans/1", "influence-fisher/1"]);
        assert!(credits.scores.is_sorted_by_key(|score| (score.layer, score.record)));
        assert!(credits.spans.iter().all(|span| span.datanet == DatanetId(1) && span.version == 2 && span.length > 0));
        let rest: Vec<u64> = credits.scores.iter().filter(|s| s.layer == Layer::Rest).map(|s| s.score).collect();
        // The contribution of weight zero is left out.
        assert_eq!((rest.len(), rest.iter().sum::<u64>()), (3, 600));
        let influence: Vec<RecordRef> =
            credits.scores.iter().filter(|s| s.layer == Layer::Influence).map(|s| s.record).collect();
        assert_eq!(credits.coverage.influence, if influence.is_empty() { 0 } else { Coverage::FULL });
        let stating = |at: usize| attributor.titles()[at].record;
        right += usize::from(influence.contains(&stating(fact)) || influence.contains(&stating(fact + FACTS)));
        let spans: u64 = credits.scores.iter().filter(|s| s.layer == Layer::Spans).map(|s| s.score).sum();
        assert_eq!(spans, credits.spans.iter().map(|span| span.weight).sum::<u64>());
        assert_eq!(credits.coverage.spans > 0, !credits.spans.is_empty());
    }
    // Ranking first is not yet being paid: a score must also clear θ.
    assert!(right * 10 >= FACTS * 7, "{right} of {FACTS}");
}

#[test]
fn a_copy_in_the_cluster_changes_nobodys_credits() {
    let world = World::new(40);
    let all: Vec<usize> = (0..world.records.len()).collect();
    let mut copied = all.clone();
    copied.push(0);
    let mut more = titles(copied.len());
    more[all.len()].owner = 0;
    let (before, after) = (attributor(&world, titles(all.len()), &all), attributor(&world, more, &copied));
    for fact in [0, 5] {
        let credit = |a: &Attributor| {
            a.credit(&completion(&world, fact), Some((&world.model, &world.lora)), &Params::GENESIS).unwrap()
        };
        let influence = |a: &Attributor| -> Vec<_> {
            credit(a).scores.into_iter().filter(|score| score.layer == Layer::Influence).collect()
        };
        assert_eq!(influence(&before), influence(&after));
        // Spans weigh tokens by their frequency, so weights move with the corpus; who is paid does
        // not.
        let paid = |a: &Attributor| -> Vec<_> { credit(a).spans.into_iter().map(|span| span.record).collect() };
        assert_eq!(paid(&before), paid(&after));
    }
}

#[test]
fn what_a_record_repeats_scores_for_whoever_said_it_first() {
    let world = World::new(40);
    let all: Vec<usize> = (0..world.records.len()).collect();
    let plain = attributor(&world, titles(all.len()), &all);
    let fact = (0..FACTS)
        .find(|&fact| !plain.credit(&completion(&world, fact), None, &Params::GENESIS).unwrap().spans.is_empty())
        .expect("some answer quotes a record");
    let before = plain.credit(&completion(&world, fact), None, &Params::GENESIS).unwrap();
    let of = |credits: &Credits, record: RecordRef| -> u64 {
        let spans = credits.scores.iter().filter(|s| s.layer == Layer::Spans && s.record == record);
        spans.map(|s| s.score).sum()
    };
    let quoted = before.scores.iter().find(|s| s.layer == Layer::Spans).unwrap().record;
    let place = plain.titles().iter().position(|title| title.record == quoted).unwrap();
    let first = (place + 1) % all.len();
    let mut derived = titles(all.len());
    (derived[place].multiplier, derived[place].source) = (u16::MAX / 5, first as u32);
    let after = attributor(&world, derived, &all).credit(&completion(&world, fact), None, &Params::GENESIS).unwrap();
    let (whole, source) = (of(&before, quoted), plain.titles()[first].record);
    assert_eq!(of(&after, quoted), whole / 5);
    assert_eq!(of(&after, source), of(&before, source) + whole - whole / 5);
    let sum = |credits: &Credits| credits.scores.iter().map(|s| s.score).sum::<u64>();
    assert_eq!(sum(&after), sum(&before));
}

#[test]
fn without_an_engine_only_spans_and_training_weights_count() {
    let world = World::new(1);
    let all: Vec<usize> = (0..20).collect();
    let credits = attributor(&world, titles(20), &all).credit(&completion(&world, 0), None, &Params::GENESIS).unwrap();
    assert_eq!(credits.methods, ["spans/1"]);
    assert_eq!(credits.coverage.influence, 0);
    assert!(credits.scores.iter().all(|score| score.layer != Layer::Influence));
}

#[test]
fn parts_of_another_model_are_refused() {
    let world = World::new(1);
    let all: Vec<usize> = (0..20).collect();
    let mut other = completion(&world, 0);
    other.adapter = AdapterHash(B256::ZERO);
    let refused =
        attributor(&world, titles(20), &all).credit(&other, Some((&world.model, &world.lora)), &Params::GENESIS);
    assert!(matches!(refused, Err(CreditError::Adapter { .. })));

    let plain = || Attributor::new(titles(20), vec![]).unwrap();
    let index = SpanIndex::build(&[written(&[1, 2])]).unwrap();
    assert!(matches!(plain().with_spans(index, SpanRules::default()), Err(CreditError::Records { found: 1, .. })));
    let mut wrong = titles(3);
    wrong[1].owner = 2;
    wrong[2].owner = 0;
    assert!(matches!(Attributor::new(wrong, vec![]), Err(CreditError::Spans(_))));
}
