//! Packed adapters beside their originals: mapped when cold, known again at the next start, never
//! instead of a folder that changed.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use openledger_serving::{Backend, Embedded, ServeError};

use super::{adapter, request, saved, server};

/// A server that keeps packed adapters in `folder` and none in memory that nobody uses.
fn packing(folder: &Path) -> Embedded {
    let server = server(0);
    server.adapters().keep_packed_in(folder).unwrap();
    server
}

fn originals_read(server: &Embedded) -> u64 {
    server.adapters().stats().originals_read
}

/// Files of that ending below `dir`.
fn files(dir: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// Parts of this process that map a file below `dir`.
fn mapped(dir: &Path) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(dir.to_str().unwrap())).count()
}

#[test]
fn a_cold_adapter_is_mapped_and_answers_as_its_original() {
    let (tmp, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (plain, packing) = (server(0), packing(cache.path()));
    let dir = saved(&plain, tmp.path(), 1);
    let hash = plain.adapters().register(&dir).unwrap();
    assert_eq!(packing.adapters().register(&dir).unwrap(), hash);
    assert_eq!((originals_read(&packing), packing.adapters().stats().resident), (1, 0));
    let ask = |server: &Embedded| {
        server.complete(&request(&hash.to_string(), "the owl"), &mut |_| ControlFlow::Continue(())).unwrap()
    };
    let (want, got) = (ask(&plain), ask(&packing));
    assert_eq!((want.completion, want.logprobs), (got.completion, got.logprobs));
    assert_eq!(originals_read(&packing), 1, "mapped, not read again");
    let held = packing.adapters().get(hash).unwrap();
    assert_eq!(packing.adapters().stats().resident_bytes, held.bytes(), "what is mapped is paid like what is read");
}

#[test]
fn a_thousand_loads_read_nothing_again_and_leave_nothing_mapped() {
    let (tmp, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = packing(cache.path());
    let hash = server.adapters().register(&saved(&server, tmp.path(), 1)).unwrap();
    let bytes = server.adapters().stats_of(hash).unwrap().bytes;
    for _ in 0..1000 {
        let held = server.adapters().get(hash).unwrap();
        assert_eq!(mapped(cache.path()), 1);
        drop(held);
        server.adapters().unregister(hash).unwrap();
        assert_eq!((mapped(cache.path()), server.memory_bytes()[0]), (0, 0));
        server.adapters().register(&tmp.path().join("1")).unwrap();
    }
    assert_eq!(server.memory_bytes()[1], bytes, "never more than one in memory");
}

#[test]
fn the_next_start_knows_unchanged_adapters_without_reading_them() {
    let (tmp, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = packing(cache.path());
    let (one, two) = (saved(&first, tmp.path(), 1), saved(&first, tmp.path(), 2));
    // Files as fresh as these could change again unseen; such are read at the next start too.
    assert_eq!(first.adapters().register(&one).unwrap(), packing(cache.path()).adapters().register(&one).unwrap());
    std::thread::sleep(Duration::from_millis(2100));
    let hashes = [first.adapters().register(&one).unwrap(), first.adapters().register(&two).unwrap()];
    let next = packing(cache.path());
    assert_eq!([next.adapters().register(&one).unwrap(), next.adapters().register(&two).unwrap()], hashes);
    assert_eq!(originals_read(&next), 0);
    next.adapters().get(hashes[0]).unwrap();
    assert_eq!(originals_read(&next), 0);
    // A folder that changed between the two starts is taken in under its new hash.
    adapter(next.model(), 3).save_peft(&two, "base").unwrap();
    let last = packing(cache.path());
    assert_eq!(last.adapters().register(&two).unwrap().0.0, adapter(last.model(), 3).hash());
    assert_eq!(originals_read(&last), 1);
}

#[test]
fn a_folder_that_changed_is_refused_under_its_old_hash_though_that_is_still_packed() {
    let (tmp, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = packing(cache.path());
    let dir = saved(&server, tmp.path(), 1);
    let hash = server.adapters().register(&dir).unwrap();
    let weights = dir.join("adapter_model.safetensors");
    let before = std::fs::read(&weights).unwrap();
    adapter(server.model(), 2).save_peft(&dir, "base").unwrap();
    let error = server.adapters().get(hash).err().unwrap();
    assert!(matches!(error, ServeError::Changed { expected, .. } if expected == hash), "{error}");
    // The same contents again, in a new file: read, found equal, and mapped from then on.
    std::fs::write(&weights, before).unwrap();
    adapter(server.model(), 1).save_peft(&dir, "base").unwrap();
    for _ in 0..3 {
        server.adapters().get(hash).unwrap();
        server.adapters().release();
    }
    assert_eq!(originals_read(&server), 3);
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(matches!(server.adapters().get(hash), Err(ServeError::Load(_))), "the original decides");
}

#[test]
fn a_packed_file_that_is_damaged_or_gone_is_made_anew_from_the_original() {
    let (tmp, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = packing(cache.path());
    let hash = server.adapters().register(&saved(&server, tmp.path(), 1)).unwrap();
    let [packed] = &files(cache.path(), ".packed")[..] else { panic!("one adapter is packed") };
    let whole = std::fs::read(packed).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() - 5] ^= 4;
    for (done, damage) in [Some(&flipped[..]), Some(&whole[..100]), Some(&[]), None].into_iter().enumerate() {
        match damage {
            Some(bytes) => std::fs::write(packed, bytes).unwrap(),
            None => std::fs::remove_file(packed).unwrap(),
        }
        for _ in 0..2 {
            assert_eq!(server.adapters().get(hash).unwrap().hash(), hash.0.0);
            server.adapters().release();
        }
        assert_eq!(originals_read(&server), 2 + done as u64, "read once more, then mapped again");
        assert_eq!(std::fs::read(packed).unwrap(), whole);
    }
}
