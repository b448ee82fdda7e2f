//! Bytes by their SHA-256, in a folder or in S3.
//!
//! # Invariants
//!
//! - **Create-only.** A blob is written once under its hash and never overwritten; S3 writes carry
//!   `If-None-Match: *`, so that two nodes cannot race.
//! - **Verified.** What comes back was hashed again; other bytes are [`Error::Corrupt`], never an answer.
//!
//! Not here: encryption (bytes come encrypted where they must be), and which rows name a blob.

use std::sync::Arc;

use bytes::Bytes;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::ids::{B256, BlobHash};

/// Where blobs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobsConfig {
    /// `file:///<folder>` (made when missing), `s3://<bucket>/<prefix>` or `memory:`, which forgets.
    ///
    /// S3 credentials, region and endpoint come from the environment (`AWS_…`), never from here.
    pub url: String,
}

impl BlobsConfig {
    /// Blobs at `url`; see [`BlobsConfig::url`].
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }
}

/// A blob store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Blobs {
    /// Opens the store; S3 is not contacted yet.
    ///
    /// # Errors
    ///
    /// [`Error::BlobsUrl`] for another kind of address, [`Error::Folder`] and [`Error::Blob`] for one that cannot be
    /// opened.
    pub fn open(config: &BlobsConfig) -> Result<Self> {
        let url = config.url.as_str();
        let failed = |source| Error::Blob { what: url.to_owned(), source };
        if url == "memory:" {
            return Ok(Self { objects: Arc::new(InMemory::new()), prefix: Path::default() });
        }
        if let Some(folder) = url.strip_prefix("file://").filter(|folder| folder.starts_with('/')) {
            std::fs::create_dir_all(folder).map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
            let objects = LocalFileSystem::new_with_prefix(folder).map_err(failed)?.with_fsync(true);
            return Ok(Self { objects: Arc::new(objects), prefix: Path::default() });
        }
        let unknown = || Error::BlobsUrl { url: url.to_owned() };
        let place = url.strip_prefix("s3://").ok_or_else(unknown)?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            return Err(unknown());
        }
        let objects = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .build()
            .map_err(failed)?;
        Ok(Self { objects: Arc::new(objects), prefix: Path::from(prefix) })
    }

    /// Keeps `bytes` and names them; putting the same bytes again changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Blob`] when the store fails; then putting them again is safe.
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<BlobHash> {
        let bytes = bytes.into();
        let hash = hash(&bytes);
        let written = self.objects.put_opts(&self.path(hash), PutPayload::from(bytes), PutMode::Create.into()).await;
        match written {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(hash),
            Err(source) => Err(Error::Blob { what: hash.to_string(), source }),
        }
    }

    /// The bytes named `hash`.
    ///
    /// # Errors
    ///
    /// [`Error::BlobMissing`], [`Error::Corrupt`] when the bytes there are not the ones that were put, [`Error::Blob`].
    pub async fn get(&self, hash: BlobHash) -> Result<Bytes> {
        let failed = |source| match source {
            object_store::Error::NotFound { .. } => Error::BlobMissing { hash },
            source => Error::Blob { what: hash.to_string(), source },
        };
        let bytes = self.objects.get(&self.path(hash)).await.map_err(failed)?.bytes().await.map_err(failed)?;
        let found = self::hash(&bytes);
        if found == hash { Ok(bytes) } else { Err(Error::Corrupt { hash, found }) }
    }

    /// Whether there is a blob named `hash`; its bytes are not looked at.
    ///
    /// # Errors
    ///
    /// [`Error::Blob`].
    pub async fn exists(&self, hash: BlobHash) -> Result<bool> {
        match self.objects.head(&self.path(hash)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(Error::Blob { what: hash.to_string(), source }),
        }
    }

    /// `<prefix>/sha256/ab/<64 hex digits>`: the level between keeps folders small.
    fn path(&self, hash: BlobHash) -> Path {
        let name = alloy_primitives::hex::encode(hash.0);
        self.prefix.clone().join("sha256").join(&name[..2]).join(name)
    }
}

/// SHA-256 of `bytes`, the name they are kept under.
#[must_use]
pub fn hash(bytes: &[u8]) -> BlobHash {
    BlobHash(B256::from(<[u8; 32]>::from(Sha256::digest(bytes))))
}
