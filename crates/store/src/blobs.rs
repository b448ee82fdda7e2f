//! Bytes by their SHA-256, in a folder or in S3.
//!
//! # Invariants
//!
//! - **Create-only.** A blob is written once under its hash and never overwritten; S3 writes carry
//!   `If-None-Match: *`, so that two nodes cannot race.
//! - **Verified.** Bytes that come back were hashed again; other bytes are [`Error::Corrupt`], never an answer.
//!
//! Not here: encryption (bytes come encrypted where they must be), and which rows name a blob.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, WriteMultipart};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::http::Connector;
use crate::ids::{B256, BlobHash};

/// Files up to this many bytes are stored in one piece, larger ones in parts of this size.
const PART: usize = 8 << 20;

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
            .with_http_connector(Connector)
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
        let failed = |source| missing_or(hash, source);
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

    /// Keeps a file's bytes and names them; a large file is never in memory as a whole.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read, [`Error::Corrupt`] when it changed meanwhile, [`Error::Blob`].
    pub async fn put_file(&self, path: &FilePath) -> Result<BlobHash> {
        let source = path.to_owned();
        let (hash, length) = blocking(path, move || hash_file(&source)).await?;
        if self.exists(hash).await? {
            return Ok(hash);
        }
        let failed = |source| Error::Blob { what: hash.to_string(), source };
        if length <= PART as u64 {
            let source = path.to_owned();
            let found = self.put(blocking(path, move || std::fs::read(source)).await?).await?;
            return if found == hash { Ok(hash) } else { Err(Error::Corrupt { hash, found }) };
        }
        let upload = self.objects.put_multipart(&self.path(hash)).await.map_err(failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let (mut digest, mut file) = (Sha256::new(), File::open(path).map_err(file_error(path))?);
        loop {
            let (part, rest) = blocking(path, move || {
                let mut part = Vec::with_capacity(PART);
                Read::by_ref(&mut file).take(PART as u64).read_to_end(&mut part)?;
                Ok((part, file))
            })
            .await?;
            file = rest;
            if part.is_empty() {
                break;
            }
            digest.update(&part);
            upload.wait_for_capacity(2).await.map_err(failed)?;
            upload.put(part.into());
        }
        let found = named(digest);
        if found != hash {
            upload.abort().await.map_err(failed)?;
            return Err(Error::Corrupt { hash, found });
        }
        upload.finish().await.map_err(failed)?;
        Ok(hash)
    }

    /// Writes the bytes named `hash` into a new file at `path`; on an error the file is not complete.
    ///
    /// # Errors
    ///
    /// As [`Blobs::get`], and [`Error::File`] when it cannot be written.
    pub(crate) async fn get_file(&self, hash: BlobHash, path: &FilePath) -> Result<u64> {
        let failed = |source| missing_or(hash, source);
        let mut bytes = self.objects.get(&self.path(hash)).await.map_err(failed)?.into_stream();
        let mut file = File::create_new(path).map_err(file_error(path))?;
        let (mut digest, mut length) = (Sha256::new(), 0);
        while let Some(part) = bytes.try_next().await.map_err(failed)? {
            digest.update(&part);
            length += part.len() as u64;
            file = blocking(path, move || file.write_all(&part).map(|()| file)).await?;
        }
        let found = named(digest);
        if found == hash { Ok(length) } else { Err(Error::Corrupt { hash, found }) }
    }

    /// Removes the bytes named `hash`, such as texts that are to be forgotten; nothing happens when there are none.
    ///
    /// # Errors
    ///
    /// [`Error::Blob`].
    pub async fn delete(&self, hash: BlobHash) -> Result<()> {
        match self.objects.delete(&self.path(hash)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
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

/// SHA-256 and length of a file, read in parts.
pub(crate) fn hash_file(path: &FilePath) -> std::io::Result<(BlobHash, u64)> {
    let mut file = File::open(path)?;
    let (mut digest, mut length, mut part) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok((named(digest), length)),
            read => {
                digest.update(&part[..read]);
                length += read as u64;
            }
        }
    }
}

fn named(digest: Sha256) -> BlobHash {
    BlobHash(B256::from(<[u8; 32]>::from(digest.finalize())))
}

fn missing_or(hash: BlobHash, source: object_store::Error) -> Error {
    match source {
        object_store::Error::NotFound { .. } => Error::BlobMissing { hash },
        source => Error::Blob { what: hash.to_string(), source },
    }
}

/// The error of a file of ours.
pub(crate) fn file_error(path: &FilePath) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::File { path, source }
}

/// Runs file work off the threads that serve; `path` is named in errors.
pub(crate) async fn blocking<T: Send + 'static>(
    path: &FilePath,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other);
    done.flatten().map_err(file_error(path))
}
