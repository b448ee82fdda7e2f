//! Blobs: content by its hash, damage seen.

use std::fs;

use openledger_store::ids::{B256, BlobHash};
use openledger_store::{Blobs, BlobsConfig, Error};
use tokio::runtime::Runtime;

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

fn path_of(folder: &std::path::Path, hash: BlobHash) -> std::path::PathBuf {
    let name = hash.to_string().replace("0x", "");
    folder.join("sha256").join(&name[..2]).join(name)
}
