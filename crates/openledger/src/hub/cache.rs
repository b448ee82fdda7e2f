//! The cache on disk, in Hugging Face's layout: `models--org--name/{blobs,refs,snapshots}`; a
//! snapshot's files are links to blobs, which are named by their entity tags.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::names::{INDEX, NEEDED, WEIGHTS, is_plain};
use crate::error::{CliError, Exit, Result};

/// One model's part of the cache.
pub(super) struct Cache(PathBuf);

impl Cache {
    /// Where the environment says: `HF_HUB_CACHE`, `HF_HOME/hub`, `XDG_CACHE_HOME/huggingface/hub`,
    /// `~/.cache/huggingface/hub`.
    pub(super) fn of_environment(model: &str) -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let hub = set("HF_HUB_CACHE")
            .or_else(|| home().map(|home| home.join("hub")))
            .ok_or_else(|| CliError::refused(Exit::Config, "set HF_HOME: there is no home folder to keep models in"))?;
        Ok(Self(hub.join(format!("models--{}", model.replace('/', "--")))))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// The folder of a commit.
    pub(super) fn dir(&self, commit: &str) -> PathBuf {
        self.0.join("snapshots").join(commit)
    }

    /// The file of the blob with that tag.
    pub(super) fn blob(&self, tag: &str) -> PathBuf {
        self.0.join("blobs").join(tag)
    }

    /// The folder of `revision`, if all that is needed to run it is there.
    pub(super) fn snapshot(&self, revision: &str) -> Option<PathBuf> {
        let noted = std::fs::read_to_string(self.0.join("refs").join(revision)).ok();
        // A commit is its own name.
        let dir = self.dir(noted.as_deref().map_or(revision, str::trim));
        let weights =
            if dir.join(WEIGHTS).exists() { vec![WEIGHTS.to_owned()] } else { shards(&dir.join(INDEX)).ok()? };
        let whole =
            NEEDED.into_iter().all(|name| dir.join(name).exists()) && weights.iter().all(|w| dir.join(w).exists());
        whole.then_some(dir)
    }

    /// Notes which commit `revision` is.
    pub(super) fn point(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        write(&self.0.join("refs").join(revision), commit)
    }

    /// Gives the blob `tag` the name `file` in the folder of `commit`.
    pub(super) fn link(&self, commit: &str, file: &str, tag: &str) -> Result<PathBuf> {
        let path = self.dir(commit).join(file);
        let folder = self.dir(commit);
        std::fs::create_dir_all(&folder).map_err(CliError::file(&folder))?;
        let staged = folder.join(format!(".{file}.{}", std::process::id()));
        std::os::unix::fs::symlink(format!("../../blobs/{tag}"), &staged).map_err(CliError::file(&staged))?;
        // In one step, so that another process never finds the name gone.
        std::fs::rename(&staged, &path).map_err(CliError::file(&path))?;
        Ok(path)
    }
}

/// Hugging Face's home.
pub(super) fn home() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    set("HF_HOME").or_else(|| cache().map(|cache| cache.join("huggingface")))
}

/// The weight files that an index names.
pub(super) fn shards(index: &Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(index).map_err(CliError::file(index))?;
    let what = "an index of weights";
    let json: Value =
        serde_json::from_slice(&bytes).map_err(|source| CliError::Json { path: index.to_owned(), what, source })?;
    let mut names: Vec<String> = json["weight_map"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, file)| file.as_str().map(str::to_owned))
        .collect();
    names.sort_unstable();
    names.dedup();
    if let Some(bad) = names.iter().find(|name| !is_plain(name) || !name.ends_with(".safetensors")) {
        let message = format!("{}: `{bad}` is no name of a weight file; ask for another revision", index.display());
        return Err(CliError::refused(Exit::Data, message));
    }
    if names.is_empty() {
        let message = format!("{} names no weight files; ask for another revision", index.display());
        return Err(CliError::refused(Exit::Data, message));
    }
    names.push(INDEX.to_owned());
    Ok(names)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(CliError::file(folder))?;
    }
    std::fs::write(path, text).map_err(CliError::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_its_shards_once_and_nothing_outside_the_folder() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("index");
        let read = |map: &str| {
            std::fs::write(&file, format!(r#"{{"weight_map":{map}}}"#)).unwrap();
            shards(&file)
        };
        let map = r#"{"b":"model-2.safetensors","a":"model-1.safetensors","c":"model-2.safetensors"}"#;
        assert_eq!(read(map).unwrap(), ["model-1.safetensors", "model-2.safetensors", INDEX]);
        for bad in [r#"{"a":"../x.safetensors"}"#, r#"{"a":"/x.safetensors"}"#, r#"{"a":"x.bin"}"#, "{}", "7"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_snapshot_counts_only_when_it_is_whole() {
        let tmp = tempfile::tempdir().unwrap();
        let cache = Cache(tmp.path().to_owned());
        let commit = "a".repeat(40);
        std::fs::create_dir_all(cache.0.join("blobs")).unwrap();
        std::fs::write(cache.blob("tag"), "{}").unwrap();
        cache.point("main", &commit).unwrap();
        for file in ["config.json", "tokenizer.json"] {
            cache.link(&commit, file, "tag").unwrap();
            assert_eq!(cache.snapshot("main"), None);
        }
        cache.link(&commit, WEIGHTS, "tag").unwrap();
        cache.link(&commit, WEIGHTS, "tag").unwrap();
        assert_eq!(cache.snapshot("main"), Some(cache.dir(&commit)));
        assert_eq!(cache.snapshot(&commit), Some(cache.dir(&commit)));
        assert_eq!(cache.snapshot("v2"), None);
    }
}
