//! The hub's two routes: `/api/models/{id}/revision/{rev}` lists files,
//! `/{id}/resolve/{commit}/{file}` is one.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, ETAG, HeaderMap, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::cache::{Cache, home};
use super::names::{Id, is_plain};
use crate::error::{CliError, Exit, Result};

/// Maximum number of tries for a file whose transfer breaks off.
const TRIES: u32 = 4;
/// How long the hub may say nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// Most moves of a model that are followed.
const MOVES: usize = 5;

/// Why something was not fetched.
pub(super) enum Fetch {
    /// The hub does not answer, or broke off: another time it may.
    Unreachable(String),
    /// A later try will fail too: the exit status, and the reason.
    Refused(Exit, String),
}

type Fetched<T> = std::result::Result<T, Fetch>;

impl From<reqwest::Error> for Fetch {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(crate::error::with_causes(&error.without_url()))
    }
}

/// Metadata of a file, from the hub's headers.
struct FileMeta {
    /// Its name in the cache.
    tag: String,
    bytes: u64,
    /// Its SHA-256, where the tag is one.
    sha256: Option<[u8; 32]>,
}

pub(super) struct Client {
    endpoint: Url,
    token: Option<String>,
    /// Follows to where files lie.
    following: reqwest::Client,
    /// Stops at a redirection, whose headers tell what the file is.
    standing: reqwest::Client,
}

impl Client {
    pub(super) fn of_environment() -> Result<Self> {
        let named = std::env::var("HF_ENDPOINT").ok().filter(|url| !url.is_empty());
        let text = named.as_deref().unwrap_or("https://huggingface.co");
        let endpoint = Url::parse(text).ok().filter(|url| !url.cannot_be_a_base());
        let endpoint = endpoint.ok_or_else(|| {
            CliError::refused(Exit::Config, format!("HF_ENDPOINT `{text}` is no address; write https://host"))
        })?;
        let file = home().and_then(|home| std::fs::read_to_string(home.join("token")).ok());
        let token = std::env::var("HF_TOKEN").ok().or(file).map(|token| token.trim().to_owned());
        let client = |policy| {
            let built =
                reqwest::Client::builder().redirect(policy).connect_timeout(SILENCE).read_timeout(SILENCE).build();
            built.map_err(|error| CliError::refused(Exit::Config, format!("no HTTP client: {error}")))
        };
        Ok(Self {
            endpoint,
            token: token.filter(|token| !token.is_empty()),
            following: client(Policy::default())?,
            standing: client(Policy::none())?,
        })
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
        url
    }

    async fn send(&self, client: &reqwest::Client, method: Method, url: Url, from: u64) -> Fetched<Response> {
        let mut request = client.request(method, url.clone());
        // The token is for the hub alone, not for where it sends us.
        if let (Some(token), true) = (&self.token, url.origin() == self.endpoint.origin()) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let response = request.send().await?;
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(response);
        }
        Err(match status.as_u16() {
            401 | 403 => Fetch::Refused(
                Exit::Permission,
                format!(
                    "it may not be read ({status}): it is private or gated, or there is none; set HF_TOKEN to a token that may"
                ),
            ),
            404 => Fetch::Refused(Exit::Missing, "the hub has none of that name and revision; check both".to_owned()),
            408 | 429 | 500.. => Fetch::Unreachable(format!("the hub answered {status}")),
            _ => Fetch::Refused(Exit::Failure, format!("the hub answered {status}")),
        })
    }

    /// The commit that the revision is, and the names of its files.
    pub(super) async fn files(&self, id: &Id) -> Fetched<(String, Vec<String>)> {
        let url = self.url(&format!("api/models/{}/revision/{}", id.name, id.revision));
        let answer: Value = self.send(&self.following, Method::GET, url, 0).await?.json().await?;
        let commit = answer["sha"].as_str().filter(|sha| sha.len() == 40 && sha.chars().all(|c| c.is_ascii_hexdigit()));
        let files = answer["siblings"].as_array().into_iter().flatten();
        let files = files.filter_map(|file| file["rfilename"].as_str().map(str::to_owned)).collect();
        let odd = || Fetch::Refused(Exit::Failure, "what answers is no hub: it names no commit".to_owned());
        Ok((commit.ok_or_else(odd)?.to_owned(), files))
    }

    /// Brings a file of a commit into the cache, unless it is there; its path.
    pub(super) async fn bring(&self, id: &Id, commit: &str, file: &str, cache: &Cache) -> Fetched<PathBuf> {
        let mut last = None;
        for number in 0..TRIES {
            if number > 0 {
                tokio::time::sleep(Duration::from_millis(100 << (2 * number))).await;
            }
            let url = self.url(&format!("{}/resolve/{commit}/{file}", id.name));
            match self.once(url, file, cache).await {
                Ok(tag) => return cache.link(commit, file, &tag).map_err(local),
                Err(Fetch::Unreachable(reason)) => last = Some(reason),
                Err(refused) => return Err(refused),
            }
        }
        Err(Fetch::Unreachable(format!("`{file}`: {}", last.unwrap_or_default())))
    }

    /// One try; the tag of the blob, which is whole then.
    async fn once(&self, mut url: Url, file: &str, cache: &Cache) -> Fetched<String> {
        let mut head = self.send(&self.standing, Method::HEAD, url.clone(), 0).await?;
        for _ in 0..MOVES {
            // A model that was renamed is elsewhere on the hub; its files are elsewhere altogether,
            // and the hub has sent their metadata by then.
            let to = head.headers().get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| url.join(to).ok());
            match to.filter(|to| to.origin() == url.origin() && !head.headers().contains_key("x-linked-etag")) {
                None => break,
                Some(to) => url = to,
            }
            head = self.send(&self.standing, Method::HEAD, url.clone(), 0).await?;
        }
        let meta = file_meta(head.headers())
            .ok_or_else(|| Fetch::Refused(Exit::Failure, format!("the hub names neither tag nor size of `{file}`")))?;
        let blob = cache.blob(&meta.tag);
        if blob.metadata().is_ok_and(|there| there.len() == meta.bytes) {
            return Ok(meta.tag);
        }
        let folder = cache.root().join("blobs");
        std::fs::create_dir_all(&folder).map_err(CliError::file(&folder)).map_err(local)?;
        let part = folder.join(format!("{}.incomplete", meta.tag));
        self.download(url, &meta, &part, file).await?;
        std::fs::rename(&part, &blob).map_err(CliError::file(&blob)).map_err(local)?;
        Ok(meta.tag)
    }

    /// Fetches what is missing of `part`, and checks the whole.
    async fn download(&self, url: Url, meta: &FileMeta, part: &Path, file: &str) -> Fetched<()> {
        let io = |error| local(CliError::file(part)(error));
        let mut out = File::options().create(true).read(true).append(true).open(part).map_err(io)?;
        // Another process that fetches the same is waited for; it leaves nothing to do, or the
        // rest.
        out.lock().map_err(io)?;
        let (mut there, mut hash) = already(&mut out, meta.bytes).map_err(io)?;
        if there < meta.bytes {
            let mut response = self.send(&self.following, Method::GET, url, there).await?;
            if response.status() != StatusCode::PARTIAL_CONTENT && there > 0 {
                // The server ignores the range and starts from the first byte.
                out.set_len(0).map_err(io)?;
                (there, hash) = (0, Sha256::new());
            }
            let bar = bar(file, meta.bytes);
            while let Some(bytes) = response.chunk().await? {
                there += bytes.len() as u64;
                if there > meta.bytes {
                    break;
                }
                out.write_all(&bytes).map_err(io)?;
                hash.update(&bytes);
                bar.set_position(there);
            }
            bar.finish_and_clear();
        }
        if there < meta.bytes {
            return Err(Fetch::Unreachable(format!("it broke off after {there} of {} bytes", meta.bytes)));
        }
        let found: [u8; 32] = hash.finalize().into();
        if there > meta.bytes || meta.sha256.is_some_and(|wanted| wanted != found) {
            std::fs::remove_file(part).map_err(io)?;
            let message =
                format!("`{file}` is not what the hub says it is: size or SHA-256 differ; nothing of it was kept");
            return Err(Fetch::Refused(Exit::Data, message));
        }
        out.sync_all().map_err(io)
    }
}

/// A failure of this machine's.
fn local(error: CliError) -> Fetch {
    Fetch::Refused(error.exit(), error.to_string())
}

/// What of a file is there, and its hash so far; more than the whole is nothing.
fn already(file: &mut File, bytes: u64) -> std::io::Result<(u64, Sha256)> {
    let mut hash = Sha256::new();
    file.seek(SeekFrom::Start(0))?;
    if file.metadata()?.len() > bytes {
        file.set_len(0)?;
    }
    let mut buffer = vec![0; 1 << 16];
    let mut there = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((there, hash));
        }
        there += read as u64;
        hash.update(&buffer[..read]);
    }
}

/// Tag and size of a file: large files have theirs in headers of their own.
fn file_meta(headers: &HeaderMap) -> Option<FileMeta> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let tag = text("x-linked-etag").or_else(|| text(ETAG.as_str()))?;
    let tag = tag.trim_start_matches("W/").trim_matches('"');
    let bytes = text("x-linked-size").or_else(|| text(CONTENT_LENGTH.as_str()))?.parse().ok()?;
    let mut sha256 = [0; 32];
    let is_hash = hex::decode_to_slice(tag, &mut sha256).is_ok();
    is_plain(tag).then(|| FileMeta { tag: tag.to_owned(), bytes, sha256: is_hash.then_some(sha256) })
}

/// A bar on standard error, for files that take time; hidden otherwise.
fn bar(file: &str, bytes: u64) -> ProgressBar {
    if bytes < 1 << 20 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}");
    let bar = ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(file.to_owned())
}
