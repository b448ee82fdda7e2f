//! The adapter store: identity by content, pins, budget, aliases.

use std::ops::ControlFlow;
use std::sync::Barrier;

use openledger_protocol::{AdapterHash, B256};
use openledger_serving::{Backend, ServeError};

use super::{adapter, request, saved, server};

/// What one of the tests' adapters takes once it is loaded.
fn loaded_bytes() -> usize {
    let (server, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    let hash = server.adapters().register(&saved(&server, tmp.path(), 1)).unwrap();
    server.adapters().get(hash).unwrap();
    server.adapters().stats().resident_bytes
}

#[test]
fn an_adapter_is_known_by_its_content() {
    let (server, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    let store = server.adapters();
    let hash = store.register(&saved(&server, tmp.path(), 1)).unwrap();
    assert_eq!(hash.0.0, adapter(server.model(), 1).hash());
    let copy = tmp.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    adapter(server.model(), 1).save_peft(&copy, "base").unwrap();
    assert_eq!(store.register(&copy).unwrap(), hash);
    assert_eq!(store.stats().registered, 1);
}

#[test]
fn an_unknown_model_is_not_found_and_never_answered_by_the_base() {
    let server = server(usize::MAX);
    let unknown = AdapterHash(B256::repeat_byte(5));
    for name in ["owls", "base:owls", &unknown.to_string(), "sha256:00", "0xzz", ""] {
        let error = server.complete(&request(name, "the owl"), &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(&error, ServeError::NotFound { model } if model == name), "{name}: {error}");
    }
    assert!(matches!(server.adapters().get(unknown), Err(ServeError::NotFound { .. })));
    assert!(matches!(server.adapters().set_alias("a", unknown, None), Err(ServeError::NotFound { .. })));
}

#[test]
fn the_least_recently_used_leaves_first_and_comes_back_from_disk() {
    let (bytes, tmp) = (loaded_bytes(), tempfile::tempdir().unwrap());
    let server = server(2 * bytes);
    let store = server.adapters();
    let hashes: Vec<AdapterHash> =
        (1..=3).map(|seed| store.register(&saved(&server, tmp.path(), seed)).unwrap()).collect();
    let resident = || hashes.iter().map(|hash| store.stats_of(*hash).unwrap().resident).collect::<Vec<bool>>();
    assert_eq!(resident(), [false; 3], "registered is not resident");
    hashes.iter().for_each(|hash| drop(store.get(*hash).unwrap()));
    assert_eq!(resident(), [false, true, true]);
    store.get(hashes[1]).unwrap();
    let back = store.get(hashes[0]).unwrap();
    assert_eq!(back.hash(), hashes[0].0.0);
    assert_eq!(resident(), [true, true, false]);
    assert!(store.stats().resident_bytes <= 2 * bytes);
}

#[test]
fn an_adapter_in_use_stays_even_beyond_the_budget() {
    let (bytes, tmp) = (loaded_bytes(), tempfile::tempdir().unwrap());
    let server = server(bytes);
    let store = server.adapters();
    let first = store.register(&saved(&server, tmp.path(), 1)).unwrap();
    let held = store.get(first).unwrap();
    let second = store.register(&saved(&server, tmp.path(), 2)).unwrap();
    let also_held = store.get(second).unwrap();
    assert_eq!(store.stats().resident_bytes, 2 * bytes);
    drop((held, also_held));
    let third = store.register(&saved(&server, tmp.path(), 3)).unwrap();
    store.get(third).unwrap();
    assert_eq!(store.stats().resident_bytes, bytes, "what nobody holds makes room");
    assert_eq!(store.resident().iter().map(|a| a.adapter).collect::<Vec<_>>(), [third]);
}

#[test]
fn files_that_changed_are_refused_under_the_old_hash() {
    let (server, tmp) = (server(0), tempfile::tempdir().unwrap());
    let dir = saved(&server, tmp.path(), 1);
    let hash = server.adapters().register(&dir).unwrap();
    adapter(server.model(), 2).save_peft(&dir, "base").unwrap();
    let error = server.adapters().get(hash).err().unwrap();
    assert!(matches!(error, ServeError::Changed { expected, .. } if expected == hash), "{error}");
    std::fs::write(dir.join("adapter_model.safetensors"), "half").unwrap();
    assert!(matches!(server.adapters().get(hash), Err(ServeError::Load(_))));
}

#[test]
fn an_alias_moves_by_generations_and_only_from_where_it_is() {
    let (server, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    let store = server.adapters();
    let one = store.register(&saved(&server, tmp.path(), 1)).unwrap();
    let two = store.register(&saved(&server, tmp.path(), 2)).unwrap();
    assert_eq!(store.set_alias("owls", one, Some(0)).unwrap().generation, 1);
    assert_eq!(store.set_alias("owls", two, Some(1)).unwrap().generation, 2);
    let error = store.set_alias("owls", one, Some(1)).unwrap_err();
    assert!(matches!(error, ServeError::AliasMoved { expected: 1, found: 2, .. }), "{error}");
    for name in ["owls", "base:owls"] {
        assert_eq!(server.resolve(name).unwrap(), Some(two));
    }
    store.unregister(two).unwrap();
    assert!(matches!(server.resolve("owls"), Err(ServeError::NotFound { .. })));
}

#[test]
fn moving_an_alias_does_not_change_a_running_request() {
    let (server, tmp) = (server(0), tempfile::tempdir().unwrap());
    let store = server.adapters();
    let one = store.register(&saved(&server, tmp.path(), 1)).unwrap();
    let two = store.register(&saved(&server, tmp.path(), 2)).unwrap();
    store.set_alias("owls", one, None).unwrap();
    let alone = server.complete(&request("owls", "the owl"), &mut |_| ControlFlow::Continue(())).unwrap();
    let moved = server
        .complete(&request("owls", "the owl"), &mut |_| {
            store.set_alias("owls", two, None).unwrap();
            store.get(two).unwrap();
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(moved.completion, alone.completion);
    assert_eq!(moved.completion.adapter, one);
    let next = server.complete(&request("owls", "the owl"), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(next.completion.adapter, two);
    assert_ne!(next.completion.output_ids, alone.completion.output_ids);
}

#[test]
fn threads_that_share_the_store_get_the_answers_they_get_alone() {
    let (server, tmp) = (server(0), tempfile::tempdir().unwrap());
    let hashes: Vec<AdapterHash> =
        (1..=3).map(|seed| server.adapters().register(&saved(&server, tmp.path(), seed)).unwrap()).collect();
    let ask = |hash: &AdapterHash| {
        server.complete(&request(&hash.to_string(), "the owl"), &mut |_| ControlFlow::Continue(())).unwrap().completion
    };
    let alone: Vec<_> = hashes.iter().map(ask).collect();
    assert!(alone[0].output_ids != alone[1].output_ids && alone[1].output_ids != alone[2].output_ids);
    let start = Barrier::new(6);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6)
            .map(|n| {
                let (hash, start, ask) = (&hashes[n % 3], &start, &ask);
                scope.spawn(move || {
                    start.wait();
                    ask(hash)
                })
            })
            .collect();
        for (n, run) in runs.into_iter().enumerate() {
            assert_eq!(run.join().unwrap(), alone[n % 3]);
        }
    });
}

#[test]
fn a_folder_of_adapters_is_served_under_their_names_and_what_is_refused_is_told() {
    let (server, tmp) = (server(usize::MAX), tempfile::tempdir().unwrap());
    saved(&server, tmp.path(), 2);
    saved(&server, tmp.path(), 1);
    let broken = tmp.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("adapter_config.json"), "{}").unwrap();
    std::fs::create_dir(tmp.path().join("something-else")).unwrap();
    let registered = server.adapters().register_folders(tmp.path()).unwrap();
    let told: Vec<(&str, bool)> = registered.iter().map(|(name, alias)| (name.as_str(), alias.is_ok())).collect();
    assert_eq!(told, [("1", true), ("2", true), ("broken", false)]);
    let listed = server.served();
    let names: Vec<(&str, bool)> =
        listed.iter().map(|served| (served.name.as_str(), served.adapter.is_some())).collect();
    assert_eq!(names, [("base", false), ("1", true), ("2", true)]);
}

#[test]
fn a_failed_load_leaves_nobody_waiting() {
    let (server, tmp) = (server(0), tempfile::tempdir().unwrap());
    let dir = saved(&server, tmp.path(), 1);
    let hash = server.adapters().register(&dir).unwrap();
    let file = dir.join("adapter_model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, "half").unwrap();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| server.adapters().get(hash).is_err())).collect();
        assert!(runs.into_iter().all(|run| run.join().unwrap()));
    });
    std::fs::write(&file, whole).unwrap();
    assert_eq!(server.adapters().get(hash).unwrap().hash(), hash.0.0);
}
