//! Blobs: content by its hash, in a folder and in S3, damage seen.

use std::fs;
use std::process::Command;

use openledger_store::ids::{B256, BlobHash};
use openledger_store::{Blobs, BlobsConfig, Error};
use tokio::runtime::Runtime;

use crate::support::s3::S3;

fn in_folder(body: impl AsyncFn(Blobs, &std::path::Path)) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&BlobsConfig::new(format!("file://{}/blobs", folder.path().display()))).unwrap();
    Runtime::new().unwrap().block_on(body(blobs, &folder.path().join("blobs")));
}

#[test]
fn a_blob_is_named_by_its_sha256_and_comes_back_whole() {
    in_folder(async |blobs, _| {
        let hash = blobs.put("abc").await.unwrap();
        let known = "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), known);
        assert_eq!(blobs.get(hash).await.unwrap(), "abc");
        assert!(blobs.exists(hash).await.unwrap());
    });
}

#[test]
fn putting_the_same_bytes_again_writes_nothing() {
    in_folder(async |blobs, folder| {
        let hash = blobs.put("abc").await.unwrap();
        let path = path_of(folder, hash);
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(blobs.put("abc").await.unwrap(), hash);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    });
}

#[test]
fn bytes_that_changed_on_disk_are_refused_as_corrupt() {
    in_folder(async |blobs, folder| {
        let hash = blobs.put("abc").await.unwrap();
        fs::write(path_of(folder, hash), "abd").unwrap();
        match blobs.get(hash).await {
            Err(Error::Corrupt { hash: asked, found }) => assert!(asked == hash && found != hash),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_blob_that_was_never_put_is_missing() {
    in_folder(async |blobs, _| {
        let hash = BlobHash(B256::repeat_byte(7));
        assert!(!blobs.exists(hash).await.unwrap());
        assert!(matches!(blobs.get(hash).await, Err(Error::BlobMissing { .. })));
    });
}

#[test]
fn an_address_of_another_kind_is_refused() {
    for url in ["ftp://host/x", "s3://", "file://relative", ""] {
        assert!(matches!(Blobs::open(&BlobsConfig::new(url)), Err(Error::BlobsUrl { .. })), "{url} was opened");
    }
}

/// Set in the child process that is told by its environment where S3 is.
const CHILD: &str = "OPENLEDGER_S3_TEST";

#[test]
fn blobs_in_s3_are_written_once_come_back_verified_and_large_files_go_in_parts() {
    if std::env::var_os(CHILD).is_some() {
        return Runtime::new().unwrap().block_on(in_s3());
    }
    let Some(s3) = S3::start() else { return };
    // The store reads the address of S3 from the environment, which a process cannot change safely
    // while it runs.
    let name = "blobs::blobs_in_s3_are_written_once_come_back_verified_and_large_files_go_in_parts";
    let child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .envs(s3.environment())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && told.contains("1 passed"), "{told}");
}

async fn in_s3() {
    // Two nodes on one bucket.
    let open = || Blobs::open(&BlobsConfig::new(S3::blobs("nodes/shared"))).unwrap();
    let (one, other) = (open(), open());
    let (first, second) = tokio::join!(one.put("abc"), other.put("abc"));
    let hash = first.unwrap();
    assert_eq!(hash, second.unwrap());
    assert_eq!(other.get(hash).await.unwrap(), "abc");
    let missing = BlobHash(B256::repeat_byte(7));
    assert!(!one.exists(missing).await.unwrap());
    assert!(matches!(one.get(missing).await, Err(Error::BlobMissing { .. })));

    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    let bytes: Vec<u8> = (0..20 << 20).map(|at: u32| (at / 7) as u8).collect();
    fs::write(&large, &bytes).unwrap();
    let hash = one.put_file(&large).await.unwrap();
    assert_eq!(hash, openledger_store::blobs::hash(&bytes));
    assert_eq!(other.get(hash).await.unwrap(), bytes);
    assert_eq!(other.put_file(&large).await.unwrap(), hash);
    other.delete(hash).await.unwrap();
    assert!(!one.exists(hash).await.unwrap());
}

fn path_of(folder: &std::path::Path, hash: BlobHash) -> std::path::PathBuf {
    let name = hash.to_string().replace("0x", "");
    folder.join("sha256").join(&name[..2]).join(name)
}
