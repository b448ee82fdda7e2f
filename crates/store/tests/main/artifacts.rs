//! Artifacts: files and folders by hash, through a cache that repairs itself.

use std::fs;
use std::path::{Path, PathBuf};

use openledger_store::ids::{B256, BlobHash};
use openledger_store::{Artifacts, Blobs, BlobsConfig, Error};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A blob store that two nodes share, and a place for their caches.
struct Shared {
    folder: TempDir,
    blobs: Blobs,
}

fn shared() -> Shared {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&BlobsConfig::new(format!("file://{}/blobs", folder.path().display()))).unwrap();
    Shared { folder, blobs }
}

impl Shared {
    fn node(&self, name: &str, budget: u64) -> Artifacts {
        Artifacts::open(self.blobs.clone(), &self.folder.path().join(name), budget).unwrap()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("made").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn blob(&self, hash: BlobHash) -> PathBuf {
        let name = hash.to_string().replace("0x", "");
        self.folder.path().join("blobs/sha256").join(&name[..2]).join(name)
    }
}

fn run(body: impl AsyncFn(Shared)) {
    Runtime::new().unwrap().block_on(body(shared()));
}

#[test]
fn a_file_that_one_node_put_is_fetched_by_another_and_then_cached() {
    run(async |shared| {
        let (one, other) = (shared.node("one", 1 << 20), shared.node("other", 1 << 20));
        let hash = one.put_file(&shared.file("adapter", b"weights")).await.unwrap();
        assert_eq!(hash, one.put_bytes("weights").await.unwrap());
        let fetched = other.fetch(hash).await.unwrap();
        assert_eq!(fs::read(fetched.path()).unwrap(), b"weights");
        fs::remove_file(shared.blob(hash)).unwrap();
        let again = other.fetch(hash).await.unwrap();
        assert_eq!(again.path(), fetched.path());
        assert!(matches!(one.fetch(hash).await, Err(Error::BlobMissing { .. })));
    });
}

#[test]
fn a_large_file_goes_through_in_parts() {
    run(async |shared| {
        let bytes: Vec<u8> = (0..20_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let node = shared.node("one", 1 << 30);
        let hash = node.put_file(&shared.file("index", &bytes)).await.unwrap();
        assert_eq!(hash, openledger_store::blobs::hash(&bytes));
        assert!(fs::read(node.fetch(hash).await.unwrap().path()).unwrap() == bytes);
        assert_eq!(node.put_file(&shared.file("index", &bytes)).await.unwrap(), hash);
    });
}

#[test]
fn a_damaged_file_of_the_cache_is_fetched_again_and_a_damaged_blob_is_refused() {
    run(async |shared| {
        let node = shared.node("one", 1 << 20);
        let hash = node.put_bytes("weights").await.unwrap();
        let path = node.fetch(hash).await.unwrap().path().to_owned();
        fs::write(&path, "weighty").unwrap();
        assert_eq!(fs::read(node.fetch(hash).await.unwrap().path()).unwrap(), b"weights");
        fs::write(&path, "weighty").unwrap();
        fs::write(shared.blob(hash), "weighty").unwrap();
        assert!(matches!(node.fetch(hash).await, Err(Error::Corrupt { .. })));
        let none = BlobHash(B256::repeat_byte(9));
        assert!(matches!(node.fetch(none).await, Err(Error::BlobMissing { .. })));
        let left = fs::read_dir(shared.folder.path().join("one/temporary")).unwrap().count();
        assert_eq!(left, 0, "a failed fetch leaves nothing");
    });
}

fn model(shared: &Shared) -> PathBuf {
    shared.file("model/records.json", b"[1]");
    shared.file("model/adapter/adapter_model.safetensors", b"weights");
    shared.file("model/adapter/empty", b"");
    shared.folder.path().join("made/model")
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn a_folder_is_fetched_whole_and_repaired_when_a_file_is_damaged_or_gone() {
    run(async |shared| {
        let (one, other) = (shared.node("one", 1 << 20), shared.node("other", 1 << 20));
        let hash = one.put_folder(&model(&shared)).await.unwrap();
        assert_eq!(hash, one.put_folder(&model(&shared)).await.unwrap());
        let manifest = other.manifest(hash).await.unwrap();
        let names: Vec<_> = manifest.files.keys().map(String::as_str).collect();
        assert_eq!(names, ["adapter/adapter_model.safetensors", "adapter/empty", "records.json"]);
        assert_eq!(manifest.files["records.json"].length, 3);

        let fetched = other.fetch_folder(hash).await.unwrap();
        let check = |folder: &Path| {
            assert_eq!(read(folder, "adapter/adapter_model.safetensors"), b"weights");
            assert_eq!((read(folder, "adapter/empty"), read(folder, "records.json")), (vec![], b"[1]".to_vec()));
        };
        check(fetched.path());
        fs::write(fetched.path().join("records.json"), "[2]").unwrap();
        fs::remove_file(fetched.path().join("adapter/empty")).unwrap();
        check(other.fetch_folder(hash).await.unwrap().path());
    });
}

#[test]
fn a_list_that_names_a_file_outside_its_folder_is_refused() {
    run(async |shared| {
        let node = shared.node("one", 1 << 20);
        let hash = node.put_bytes("x").await.unwrap();
        for name in ["../escape", "/etc/escape", "a/../../escape", "", "a\\\\b", "./a/./../b"] {
            let list =
                format!(r#"{{"format":"openledger/artifact/v1","files":{{"{name}":{{"hash":"{hash}","length":1}}}}}}"#);
            let list = node.put_bytes(list).await.unwrap();
            let refused = node.fetch_folder(list).await;
            assert!(matches!(refused, Err(Error::BadArtifact { .. })), "{name}: {refused:?}");
        }
        for list in ["[]", r#"{"format":"v9","files":{}}"#, r#"{"format":"openledger/artifact/v1","files":{},"x":1}"#] {
            let list = node.put_bytes(list).await.unwrap();
            assert!(matches!(node.manifest(list).await, Err(Error::BadArtifact { .. })));
        }
        #[cfg(unix)]
        {
            let folder = model(&shared);
            std::os::unix::fs::symlink("/etc/hostname", folder.join("link")).unwrap();
            assert!(matches!(node.put_folder(&folder).await, Err(Error::File { .. })));
        }
    });
}

#[test]
fn the_cache_keeps_to_its_budget_but_takes_nothing_away_that_is_held() {
    run(async |shared| {
        let node = shared.node("one", 25);
        let mut hashes = Vec::new();
        for n in 0..4u8 {
            hashes.push(node.put_bytes(vec![n; 10]).await.unwrap());
        }
        let held = node.fetch(hashes[0]).await.unwrap();
        let path = |hash: BlobHash| shared.folder.path().join("one/files").join(hash.to_string().replace("0x", ""));
        let cached = |n: usize| path(hashes[n]).exists();
        for n in [1, 2, 1] {
            drop(node.fetch(hashes[n]).await.unwrap());
        }
        assert_eq!([0, 1, 2].map(cached), [true, true, false], "the least recently used gave way");
        drop(node.fetch(hashes[3]).await.unwrap());
        assert_eq!([0, 1, 3].map(cached), [true, false, true]);
        assert_eq!(fs::read(held.path()).unwrap(), [0; 10]);

        // After a start the cache counts what it finds, and leaves nothing half done.
        fs::write(shared.folder.path().join("one/temporary/7"), "half").unwrap();
        drop((held, node));
        let node = shared.node("one", 10);
        assert_eq!(fs::read_dir(shared.folder.path().join("one/files")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(shared.folder.path().join("one/temporary")).unwrap().count(), 0);
        assert_eq!(fs::read(node.fetch(hashes[1]).await.unwrap().path()).unwrap(), [1; 10]);
    });
}

#[test]
fn many_that_want_one_artifact_at_once_all_get_it() {
    run(async |shared| {
        let node = shared.node("one", 1);
        let hash = node.put_folder(&model(&shared)).await.unwrap();
        let all = (0..8).map(|_| {
            let node = node.clone();
            tokio::spawn(async move {
                let fetched = node.fetch_folder(hash).await.unwrap();
                read(fetched.path(), "records.json")
            })
        });
        for task in all.collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap(), b"[1]");
        }
        assert_eq!(fs::read_dir(shared.folder.path().join("one/folders")).unwrap().count(), 0);
    });
}
