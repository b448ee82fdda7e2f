//! Writing that is seen whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::FactoryError;

/// The error of a failed access to `path`.
pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> FactoryError {
    move |source| FactoryError::Io { path: path.to_owned(), source }
}

/// Writes `bytes` to `path`: to a neighbour first, flushed to disk, then renamed over it.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FactoryError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    if let Some(parent) = path.parent().filter(|parent| *parent != Path::new("")) {
        fs::create_dir_all(parent).map_err(io(parent))?;
    }
    let mut file = File::create(&part).map_err(io(&part))?;
    file.write_all(bytes).map_err(io(&part))?;
    file.sync_all().map_err(io(&part))?;
    fs::rename(&part, path).map_err(io(path))?;
    sync_parent(path)
}

/// Fills a new folder beside `dir` and moves it there; `dir` must be absent or empty.
pub(crate) fn write_folder(
    dir: &Path,
    fill: impl FnOnce(&Path) -> Result<(), FactoryError>,
) -> Result<(), FactoryError> {
    if let Ok(mut entries) = fs::read_dir(dir)
        && entries.next().is_some()
    {
        return Err(FactoryError::OutputExists { path: dir.to_owned() });
    }
    let part = part_of(dir);
    if part.exists() {
        // What an earlier run left behind when it was killed while writing.
        fs::remove_dir_all(&part).map_err(io(&part))?;
    }
    fs::create_dir_all(&part).map_err(io(&part))?;
    fill(&part)?;
    for entry in fs::read_dir(&part).map_err(io(&part))? {
        let path = entry.map_err(io(&part))?.path();
        File::open(&path).and_then(|file| file.sync_all()).map_err(io(&path))?;
    }
    fs::rename(&part, dir).map_err(io(dir))?;
    sync_parent(dir)
}

fn part_of(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    dir.with_file_name(name)
}

/// Makes a rename in the folder of `path` last.
fn sync_parent(path: &Path) -> Result<(), FactoryError> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(io(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("out");
        let failed = write_folder(&dir, |part| {
            fs::write(part.join("a"), "half").unwrap();
            Err(FactoryError::NoData { reason: "stopped".into() })
        });
        assert!(failed.is_err() && !dir.exists());
        write_folder(&dir, |part| fs::write(part.join("b"), "whole").map_err(io(part))).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        let error = write_folder(&dir, |_| Ok(())).unwrap_err();
        assert!(matches!(error, FactoryError::OutputExists { .. }), "{error}");
    }
}
