//! Ensembles in the store: bound by members and weights, served like adapters.

use std::ops::ControlFlow;

use openledger_engine::{Lora, Sampling, generate};
use openledger_protocol::AdapterHash;
use openledger_serving::{Backend, Check, Embedded, Ensemble, Member, ServeError, Weight};

use super::{adapter, request, saved, server};

fn ensemble(parts: &[(AdapterHash, f64)]) -> Ensemble {
    let member = |(adapter, weight): &(AdapterHash, f64)| Member {
        adapter: *adapter,
        weight: Weight::from_decimal(*weight).unwrap(),
    };
    Ensemble::new(parts.iter().map(member).collect()).unwrap()
}

/// A server with adapters 1, 2 and 3 registered from `root`.
fn three(root: &std::path::Path, bytes: usize) -> (Embedded, [AdapterHash; 3]) {
    let server = server(bytes);
    let hashes = [1, 2, 3].map(|seed| server.adapters().register(&saved(&server, root, seed)).unwrap());
    (server, hashes)
}

#[test]
fn an_ensemble_answers_with_the_weighted_sum_under_a_hash_that_binds_members_and_weights() {
    let tmp = tempfile::tempdir().unwrap();
    let (server, [one, two, _]) = three(tmp.path(), 0);
    let both = ensemble(&[(one, 0.7), (two, 0.3)]);
    let hash = server.adapters().register_ensemble(both.clone()).unwrap();
    assert_eq!((hash, server.adapters().ensemble(hash)), (both.hash(), Some(both.clone())));
    server.adapters().set_alias("owls", hash, None).unwrap();
    let answer = server.complete(&request("owls", "the owl"), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(answer.completion.adapter, hash);
    // The engine alone, on the sum of the two.
    let (a, b) = (adapter(server.model(), 1), adapter(server.model(), 2));
    let sum = Lora::ensemble(server.model(), &[(&a, 0.7), (&b, 0.3)]).unwrap();
    let sampling = Sampling { max_tokens: 12, stop: vec![0], ..Sampling::default() };
    let alone = generate(server.model(), Some(&sum), &answer.completion.prompt_ids, &sampling, &mut |_| {
        ControlFlow::Continue(())
    });
    assert_eq!(answer.completion.output_ids, alone.unwrap().ids);
    for other in [one, two] {
        let single = server.complete(&request(&other.to_string(), "the owl"), &mut |_| ControlFlow::Continue(()));
        assert_ne!(single.unwrap().completion.output_ids, answer.completion.output_ids);
    }
    for check in [Check::TeacherForced, Check::Regenerate] {
        server.reexecute(&answer.completion, check).unwrap();
    }
    let mut other = answer.completion.clone();
    other.adapter = ensemble(&[(one, 0.3), (two, 0.7)]).hash();
    assert!(server.reexecute(&other, Check::Regenerate).is_err(), "other weights are another, unknown ensemble");
}

#[test]
fn members_stay_registered_while_their_ensemble_is_and_may_leave_memory() {
    let tmp = tempfile::tempdir().unwrap();
    let (server, [one, two, three]) = three(tmp.path(), 0);
    let store = server.adapters();
    let hash = store.register_ensemble(ensemble(&[(one, 1.0), (two, 1.0)])).unwrap();
    let error = store.unregister(one).unwrap_err();
    assert!(matches!(error, ServeError::Needed { ensembles: 1, .. }), "{error}");
    store.unregister(three).unwrap();
    let held = store.get(hash).unwrap();
    assert_eq!(store.resident().len(), 1, "it runs on numbers of its own");
    drop(held);
    store.release();
    assert_eq!(store.stats().resident, 0);
    assert!(store.get(hash).is_ok(), "made again of its members");
    store.unregister(hash).unwrap();
    store.unregister(one).unwrap();
    assert_eq!(store.stats().registered, 1);
}

#[test]
fn a_packed_ensemble_is_mapped_and_a_member_that_changed_is_refused() {
    let (tmp, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, [one, two, _]) = three(tmp.path(), 0);
    server.adapters().keep_packed_in(cache.path()).unwrap();
    let hash = server.adapters().register_ensemble(ensemble(&[(one, 0.5), (two, 0.25)])).unwrap();
    let reads = server.adapters().stats().originals_read;
    let numbers = server.adapters().get(hash).unwrap().hash();
    server.adapters().release();
    assert_eq!(server.adapters().stats().originals_read, reads);
    adapter(server.model(), 9).save_peft(&tmp.path().join("1"), "base").unwrap();
    // What was made of the member that was registered is still that; another one cannot be made of
    // it.
    assert_eq!(server.adapters().get(hash).unwrap().hash(), numbers);
    let error = server.adapters().register_ensemble(ensemble(&[(one, 0.5), (two, 0.5)])).unwrap_err();
    assert!(matches!(error, ServeError::Changed { expected, .. } if expected == one), "{error}");
}

#[test]
fn what_does_not_go_together_is_refused_by_name() {
    let tmp = tempfile::tempdir().unwrap();
    let (server, [one, two, _]) = three(tmp.path(), usize::MAX);
    let store = server.adapters();
    let hash = store.register_ensemble(ensemble(&[(one, 1.0), (two, 1.0)])).unwrap();
    let refused = |ensemble: Ensemble| store.register_ensemble(ensemble).unwrap_err().to_string();
    assert!(refused(ensemble(&[(hash, 1.0), (two, 1.0)])).contains("which is an ensemble itself"));
    let unknown = AdapterHash([7; 32].into());
    assert!(refused(ensemble(&[(one, 1.0), (unknown, 1.0)])).contains(&unknown.to_string()));
    assert_eq!(store.stats().registered, 4, "a refusal leaves nothing");
}
