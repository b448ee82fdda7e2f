//! Models by their name on the Hugging Face hub: `org/name`, or `org/name@revision`, as a folder on
//! this machine.
//!
//! # Place in the flow
//!
//! Where a verb takes `--base`. A folder that is there always wins; only a name that is none is
//! looked for in the cache and on the hub. Cache, layout and variables are those of Hugging Face's
//! own tools, so that what one fetched the others find: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`,
//! `HF_TOKEN`, `HF_HUB_OFFLINE`.
//!
//! # Invariants
//!
//! - **Only what is needed.** Configuration, tokenizer, chat template, safetensors; never pickles,
//!   never code.
//! - **Whole or not at all.** A file gets its name in the cache when its last byte is there and,
//!   where the hub names a SHA-256, matches it; what broke off goes on where it stopped, also in
//!   the next run.
//! - **No path from outside.** Names of files, commits and tags that come from the hub are checked
//!   before they touch the disk.
//!
//! Not here: what the files mean (`engine`).

mod cache;
mod client;
mod names;

use std::path::{Path, PathBuf};

use crate::error::{CliError, Exit, Result};
use cache::Cache;
use client::{Client, Fetch};
use names::{INDEX, Id, NEEDED, WEIGHTS};

/// Files that are taken where they are there, beside the weights.
const FILES: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

/// A base model's folder and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// The folder.
    pub(crate) dir: PathBuf,
    /// The folder's name, or the hub's.
    pub(crate) name: String,
}

/// The base that `named` means: a folder here, or a model of the hub, fetched unless it is in the
/// cache.
///
/// `offline` keeps to what is here, as `HF_HUB_OFFLINE=1` does.
///
/// # Errors
/// [`CliError::Refused`] that names the model and says what to do: no network and not in the cache,
/// no such model, not allowed to read it, no safetensors.
pub(crate) async fn base(named: &Path, offline: bool) -> Result<Base> {
    let id = named.to_str().and_then(Id::parse);
    let Some(id) = id.filter(|_| !named.exists()) else {
        // What is no name of the hub either is an error of opening the folder.
        let full = named.canonicalize().unwrap_or_else(|_| named.to_owned());
        let name = full.file_name().map_or_else(|| "base".to_owned(), |name| name.to_string_lossy().into_owned());
        return Ok(Base { dir: named.to_owned(), name });
    };
    let set = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    let cache = Cache::of_environment(&id.name)?;
    let dir = fetch(&id, &cache, offline || set).await?;
    Ok(Base { dir, name: id.name })
}

async fn fetch(id: &Id, cache: &Cache, offline: bool) -> Result<PathBuf> {
    let subject = format!("`{}` is no folder here, and as a model of the hub", id.name);
    if offline {
        return cache.snapshot(&id.revision).ok_or_else(|| {
            let root = cache.root().display();
            let message = format!("{subject} it is not wholly in the cache ({root}); fetch it once where there is a network, without --offline");
            CliError::refused(Exit::Missing, message)
        });
    }
    let client = Client::of_environment()?;
    let (commit, names) = match client.files(id).await {
        Ok(found) => found,
        Err(Fetch::Unreachable(reason)) => {
            if let Some(dir) = cache.snapshot(&id.revision) {
                eprintln!("{} is taken from the cache: {reason}", id.name);
                return Ok(dir);
            }
            let message = format!(
                "{subject} it could not be fetched: {reason}. Give the path of a folder, or fetch it where there is a network and copy {}",
                cache.root().display()
            );
            return Err(CliError::refused(Exit::Unavailable, message));
        }
        Err(Fetch::Refused(exit, reason)) => return Err(CliError::refused(exit, format!("{subject}: {reason}"))),
    };
    let has = |name: &str| names.iter().any(|other| other == name);
    if let Some(missing) = NEEDED.into_iter().find(|name| !has(name)) {
        return Err(CliError::refused(
            Exit::Data,
            format!("{subject} it has no `{missing}`, which is needed to run it; ask for another revision"),
        ));
    }
    let mut wanted: Vec<String> = FILES.into_iter().filter(|name| has(name)).map(str::to_owned).collect();
    if has(WEIGHTS) {
        wanted.push(WEIGHTS.to_owned());
    } else if has(INDEX) {
        let index = client.bring(id, &commit, INDEX, cache).await.map_err(|failed| failed.into_error(&subject))?;
        wanted.extend(cache::shards(&index)?);
    } else {
        let message =
            format!("{subject} it has no weights as safetensors, the only form that is read; ask for another revision");
        return Err(CliError::refused(Exit::Data, message));
    }
    for name in &wanted {
        client.bring(id, &commit, name, cache).await.map_err(|failed| failed.into_error(&subject))?;
    }
    cache.point(&id.revision, &commit)?;
    Ok(cache.dir(&commit))
}

impl Fetch {
    /// The failure as an error of this program.
    fn into_error(self, what: &str) -> CliError {
        match self {
            Self::Unreachable(reason) => CliError::refused(
                Exit::Unavailable,
                format!("{what} it was not fetched to the end: {reason}. The same command goes on from there"),
            ),
            Self::Refused(exit, reason) => CliError::refused(exit, format!("{what}: {reason}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hub_are_told_from_paths() {
        let id = Id::parse("HuggingFaceTB/SmolLM2-135M").unwrap();
        assert_eq!((id.name.as_str(), id.revision.as_str()), ("HuggingFaceTB/SmolLM2-135M", "main"));
        assert_eq!(Id::parse("org/name@v1.0").unwrap().revision, "v1.0");
        for path in
            ["base", "/models/base", "./base", "../base", "a/b/c", "a/..", "a/b@../x", "a b/c", "", "a/", "a/b@"]
        {
            assert_eq!(Id::parse(path), None, "{path}");
        }
    }
}
