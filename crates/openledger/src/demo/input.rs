//! The demonstration's input: files of records, one datanet each.

use std::path::{Path, PathBuf};

use openledger_datanet::{Limits, parse_jsonl};
use openledger_protocol::Record;
use serde_json::Value;

use super::DemoArgs;
use crate::error::{CliError, Exit, Result};
use crate::verbs::node::beside_the_checkout;

/// A file of records.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// The datanet's name: the file's, or its folder's where the file is called `records`.
    pub(crate) name: String,
    /// The bytes to import.
    pub(crate) bytes: Vec<u8>,
    /// The records as the import rules read them; empty for a file that the node will refuse.
    pub(crate) records: Vec<Record>,
    /// Everybody the lines name as a contributor, in order of first appearance.
    pub(crate) contributors: Vec<String>,
}

/// Reads the files of `--data`, or the samples, cut to `--records` records.
pub(crate) fn load(args: &DemoArgs) -> Result<Vec<Input>> {
    let files = if args.data.is_empty() { samples(args.samples.clone())? } else { args.data.clone() };
    let inputs: Vec<Input> = files.iter().map(|file| read(file, args.records)).collect::<Result<_>>()?;
    for (at, input) in inputs.iter().enumerate() {
        if inputs[..at].iter().any(|earlier| earlier.name == input.name) {
            let message = format!("two files would both become the datanet `{}`; rename one", input.name);
            return Err(CliError::refused(Exit::Usage, message));
        }
    }
    Ok(inputs)
}

/// The sample files, by name.
fn samples(asked: Option<PathBuf>) -> Result<Vec<PathBuf>> {
    let missing = || CliError::refused(Exit::Config, "the samples are not beside the program; name files by --data");
    let folder = asked.or_else(|| beside_the_checkout("samples")).ok_or_else(missing)?;
    let entries = std::fs::read_dir(&folder).map_err(CliError::file(&folder))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    files.sort();
    if files.is_empty() { Err(missing()) } else { Ok(files) }
}

fn read(file: &Path, limit: Option<usize>) -> Result<Input> {
    let bytes = std::fs::read(file).map_err(CliError::file(file))?;
    let bytes = limit.map_or_else(|| bytes.clone(), |limit| first_lines(&bytes, limit).to_vec());
    let records = match parse_jsonl(&bytes, &Limits::default()) {
        Ok(parsed) => parsed.records.into_iter().map(|parsed| parsed.record).collect(),
        // The node says what is wrong with it, once it is asked to import.
        Err(_) => Vec::new(),
    };
    let contributors = contributors(&bytes);
    Ok(Input { name: name(file), bytes, records, contributors })
}

/// The first `limit` lines that hold anything.
fn first_lines(bytes: &[u8], limit: usize) -> &[u8] {
    let (mut end, mut taken) = (0, 0);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if taken == limit {
            break;
        }
        end += line.len();
        taken += usize::from(!line.iter().all(u8::is_ascii_whitespace));
    }
    &bytes[..end]
}

fn contributors(bytes: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        let Ok(record) = serde_json::from_slice::<Value>(line) else { continue };
        let one = record["contributor"].as_str();
        let several = record["contributors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in one.into_iter().chain(several) {
            if seen.insert(name.to_owned()) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

fn name(file: &Path) -> String {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = text(file.file_stem()).unwrap_or_default();
    let folder = text(file.parent().and_then(Path::file_name));
    match folder {
        Some(folder) if stem == "records" => folder,
        _ => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_records_are_counted_without_blank_lines() {
        assert_eq!(first_lines(b"a\n\nb\nc\n", 2), b"a\n\nb\n");
        assert_eq!(first_lines(b"a\nb", 5), b"a\nb");
    }

    #[test]
    fn contributors_are_found_in_both_spellings_and_bad_lines_are_passed_over() {
        let lines = b"{\"contributor\":\"b\"}\nnonsense\n{\"contributor\":\"b\",\"contributors\":[\"b\",\"a\"]}\n";
        assert_eq!(contributors(lines), ["b", "a"]);
    }

    #[test]
    fn a_file_called_records_is_named_after_its_folder() {
        assert_eq!(name(Path::new("data/coding-tldr/records.jsonl")), "coding-tldr");
        assert_eq!(name(Path::new("samples/night-sky.jsonl")), "night-sky");
    }
}
