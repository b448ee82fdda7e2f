//! Influence: the records that state a fact stand out, copies change nothing, floats have one
//! order.

use openledger_attribution::influence::{Cache, DAMPING, InfluenceError, Item, Method, Scores, to_weights};
use openledger_engine::score;
use openledger_protocol::Params;

use crate::world::{FACTS, World};

/// Steps after which the facts are half learned: the usual state of an adapter.
const STEPS: u64 = 40;

fn build(world: &World, records: &[Item], method: Method) -> Cache {
    Cache::build(&world.gradients(records), method, DAMPING, 2, world.provenance()).unwrap()
}

fn first(row: &[f32]) -> usize {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap()
}

/// For how many queries a record that states the fact ranks first.
fn hits(world: &World, scores: &Scores) -> usize {
    (0..FACTS).filter(|query| world.states[first(scores.row(*query).unwrap())] == Some(*query)).count()
}

#[test]
fn records_that_state_the_asked_fact_rank_first() {
    let world = World::new(STEPS);
    let queries = world.gradients(&world.queries);
    for method in Method::ALL {
        let scores = build(&world, &world.records, method).score(&queries).unwrap();
        println!("{method}: {} of {FACTS} first", hits(&world, &scores));
    }
    let scores = build(&world, &world.records, Method::Fisher).score(&queries).unwrap();
    assert!(hits(&world, &scores) * 10 >= FACTS * 8, "{} of {FACTS}", hits(&world, &scores));
    // What is paid goes mostly where the fact is stated.
    let (mut right, mut all) = (0, 0);
    for query in 0..FACTS {
        for (record, weight) in to_weights(scores.row(query).unwrap(), &Params::GENESIS).unwrap() {
            all += weight;
            right += if world.states[record as usize] == Some(query) { weight } else { 0 };
        }
    }
    println!("paid to records that state the fact: {right} of {all}");
    assert!(right * 10 >= all * 7 && all > 0, "{right} of {all}");
}

#[test]
fn gradients_are_those_of_the_loss() {
    let world = World::new(5);
    let item = &world.records[3];
    let gradients = world.gradients(std::slice::from_ref(item));
    let gradient = gradients.row(0).unwrap();
    let loss = |lora: &openledger_engine::Lora| -> f64 {
        let scores = score(&world.model, Some(lora), &item.ids).unwrap();
        -scores.iter().map(|logprob| f64::from(*logprob)).sum::<f64>() / scores.len() as f64
    };
    assert!((loss(&world.lora) - f64::from(gradients.loss(0).unwrap())).abs() < 1e-5);
    // Along the gradient itself, where the difference is largest against f32's rounding.
    let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let moved = |by: f64| {
        let mut lora = world.lora.clone();
        let params =
            lora.params().iter().zip(gradient).map(|(p, g)| (f64::from(*p) + by * f64::from(*g) / norm) as f32);
        let params: Vec<f32> = params.collect();
        lora.set_params(&params).unwrap();
        loss(&lora)
    };
    let step = 5e-3;
    let slope = (moved(step) - moved(-step)) / (2.0 * step);
    assert!((slope / norm - 1.0).abs() < 1e-3, "slope {slope}, norm {norm}");
}

#[test]
fn adding_a_copy_changes_no_score() {
    let world = World::new(10);
    let queries = world.gradients(&world.queries);
    let mut copied = world.records.clone();
    copied.insert(7, world.records[30].clone());
    copied.push(world.records[0].clone());
    for method in Method::ALL {
        let before = build(&world, &world.records, method).score(&queries).unwrap();
        let after = build(&world, &copied, method).score(&queries).unwrap();
        for query in 0..FACTS {
            let (before, after) = (before.row(query).unwrap(), after.row(query).unwrap());
            assert_eq!((after[7], after[copied.len() - 1]), (before[30], before[0]));
            // Rows come in another order, so that sums may differ in their last bits.
            let rest = after[..7].iter().chain(&after[8..copied.len() - 1]);
            for (before, after) in before.iter().zip(rest) {
                assert!((before - after).abs() <= 1e-5 * before.abs().max(1e-3), "{method}: {before} then {after}");
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let world = World::new(5);
    let gradients = world.gradients(&world.records);
    let build = |threads| Cache::build(&gradients, Method::Fisher, DAMPING, threads, world.provenance()).unwrap();
    assert_eq!(build(1), build(3));
}

#[test]
fn a_cache_reads_back_as_it_was_written() {
    let world = World::new(5);
    let gradients = world.gradients(&world.records[..9]);
    let cache = build(&world, &world.records[..9], Method::Fisher);
    let dir = tempfile::tempdir().unwrap();
    cache.save(dir.path(), &gradients).unwrap();
    let back = Cache::load(dir.path()).unwrap();
    assert_eq!((&back, back.root()), (&cache, cache.root()));
    let gradients = std::fs::read(dir.path().join("gradients.f32")).unwrap();
    assert_eq!(gradients.len(), 4 * 9 * world.lora.num_params());

    let solved = dir.path().join("solved.f32");
    let mut bytes = std::fs::read(&solved).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&solved, &bytes).unwrap();
    assert!(matches!(Cache::load(dir.path()), Err(InfluenceError::Malformed { .. })));
    let info = dir.path().join("cache.json");
    let json = std::fs::read_to_string(&info).unwrap();
    for (from, to) in [
        ("influence-fisher/1", "influence-other/1"),
        ("influence/v1", "influence/v9"),
        ("\"rows\": [", "\"rows\": [999999999,"),
    ] {
        std::fs::write(&info, json.replacen(from, to, 1)).unwrap();
        assert!(matches!(Cache::load(dir.path()), Err(InfluenceError::Malformed { .. })), "{to}");
    }
}

#[test]
fn what_cannot_be_scored_is_refused_by_name() {
    let world = World::new(1);
    let none = world.gradients(&[]);
    let build =
        |damping| Cache::build(&world.gradients(&world.records[..2]), Method::Fisher, damping, 1, world.provenance());
    assert!(matches!(Cache::build(&none, Method::Fisher, DAMPING, 1, world.provenance()), Err(InfluenceError::Empty)));
    for damping in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(build(damping), Err(InfluenceError::Damping)), "{damping}");
    }
    let bad = [Item::record(vec![0, 1]), Item::record(vec![0, 100_000])];
    let refused =
        openledger_attribution::influence::Gradients::compute(&world.model, &world.lora, &bad, &mut |_, _| ());
    assert!(matches!(refused, Err(InfluenceError::Item { index: 1, .. })));
    assert_eq!(build(DAMPING).unwrap().score(&none).unwrap().queries(), 0);
}
