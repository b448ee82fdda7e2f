//! Files inside the program, so that it runs anywhere: the base model, the built Studio,
//! the samples.
//!
//! Place in the flow: a folder named by option always wins; without one, a node unpacks base and
//! Studio into its data folder at the start. **Invariant:** an unpacked file holds the bytes of
//! this program or is written again, whole or not at all. **Not here:** what the files mean.

use std::path::{Path, PathBuf};

use crate::error::{CliError, Result};

/// A path below a folder, with its bytes.
type File = (&'static str, &'static [u8]);

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $folder, "/", $name)))),*]
    };
}

/// The base model that ships; about 2 MB.
const BASE: &[File] = files!["models/base":
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "recipe.toml",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "training.json",
];

/// The sample datanets that ship.
pub(crate) const SAMPLES: &[File] =
    files!["samples": "bicycle-repair.jsonl", "kitchen-chemistry.jsonl", "night-sky.jsonl"];

/// The Studio's pages; empty when the Studio had not been built before the program was.
const STUDIO: &[File] = include!(concat!(env!("OUT_DIR"), "/studio.rs"));

/// The shipped base model, unpacked into the data folder `data`.
pub(crate) fn base(data: &Path) -> Result<PathBuf> {
    unpack(BASE, data.join("base"))
}

/// The Studio, unpacked into the data folder `data`; `None` when it is not in this program.
pub(crate) fn studio(data: &Path) -> Result<Option<PathBuf>> {
    if STUDIO.is_empty() {
        return Ok(None);
    }
    let folder = data.join("studio");
    // Pages of another version of the program would stay beside those of this one.
    if folder.exists() && !holds_only(STUDIO, &folder) {
        std::fs::remove_dir_all(&folder).map_err(CliError::file(&folder))?;
    }
    unpack(STUDIO, folder).map(Some)
}

/// Message for a program without a Studio.
pub(crate) const NO_STUDIO: &str = "the Studio is not in this program: it had not been built before. Build it \
    (`npm ci && npm run build` in studio/) and then the program, or name its pages by --studio";

/// Whether each file below `folder` is one of `files`.
fn holds_only(files: &[File], folder: &Path) -> bool {
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for path in std::fs::read_dir(&at).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if !files.iter().any(|(name, _)| folder.join(name) == path) {
                return false;
            }
        }
    }
    true
}

/// Writes what is not there already.
fn unpack(files: &[File], folder: PathBuf) -> Result<PathBuf> {
    for (name, bytes) in files {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|found| found == *bytes) {
            continue;
        }
        let parent = path.parent().unwrap_or(&folder);
        std::fs::create_dir_all(parent).map_err(CliError::file(parent))?;
        let mut part = path.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        std::fs::write(&part, bytes).map_err(CliError::file(&part))?;
        std::fs::rename(&part, &path).map_err(CliError::file(&path))?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_unpacked_once_and_mended_when_it_is_damaged() {
        let data = tempfile::tempdir().unwrap();
        let folder = base(data.path()).unwrap();
        let model = openledger_engine::Model::load(&folder).unwrap();
        openledger_engine::Tokenizer::load(&folder).unwrap();
        let weights = folder.join("model.safetensors");
        let written = std::fs::metadata(&weights).unwrap().modified().unwrap();
        base(data.path()).unwrap();
        assert_eq!(std::fs::metadata(&weights).unwrap().modified().unwrap(), written);
        std::fs::write(&weights, "cut short").unwrap();
        assert_eq!(openledger_engine::Model::load(&base(data.path()).unwrap()).unwrap().hash(), model.hash());
    }

    #[test]
    fn the_whole_base_is_in_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/base");
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        assert_eq!(names, BASE.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }

    #[test]
    fn pages_of_another_version_are_noticed() {
        let data = tempfile::tempdir().unwrap();
        const FILES: &[File] = &[("index.html", b"one"), ("assets/a.js", b"two")];
        let folder = unpack(FILES, data.path().join("studio")).unwrap();
        assert_eq!(std::fs::read(folder.join("assets/a.js")).unwrap(), b"two");
        assert!(holds_only(FILES, &folder));
        std::fs::write(folder.join("assets/b.js"), "old").unwrap();
        assert!(!holds_only(FILES, &folder));
    }
}
