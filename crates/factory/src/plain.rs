//! The trainer on plain files: a base folder, a file of records, an adapter folder. No node, no chain.
//!
//! Records are JSONL: `input_ids` (taken as they are, with an optional `loss_from`), or `text`, or `prompt` and `response`
//! (with an optional `context`); `id` names a record, else its line does. Other members are left alone. A file with a bad
//! line is refused whole, with all bad lines listed.

use std::path::{Path, PathBuf};

use openledger_engine::{Model, Tokenizer};
use openledger_protocol::Body;
use serde_json::Value;

use crate::access::Granted;
use crate::error::FactoryError;
use crate::export::{Card, export};
use crate::files;
use crate::observer::Observer;
use crate::recipe::Recipe;
use crate::record::{Content, TrainRecord};
use crate::train::{Outcome, Saving, train};

/// Largest data file read, in bytes: 4 GiB.
const MAX_BYTES: u64 = 4 << 30;

/// What `openledger train` does.
#[derive(Debug, Clone)]
pub struct Job {
    /// Folder of the base: `config.json`, `model.safetensors`, `tokenizer.json`.
    pub base: PathBuf,
    /// The records.
    pub data: PathBuf,
    /// Where the adapter goes; absent or empty.
    pub out: PathBuf,
    /// The recipe.
    pub recipe: Recipe,
    /// Steps between checkpoints, which lie beside `out` as `<out>.checkpoint`; zero saves only when stopped.
    pub save_every: u64,
}

/// Trains on files and exports the adapter; goes on from the checkpoint beside `out` if there is one, and removes it at
/// the end.
///
/// # Errors
/// Those of [`train`], [`read_records`] and [`export`].
pub fn train_folder(job: &Job, observer: &mut dyn Observer) -> Result<Outcome, FactoryError> {
    job.recipe.validate()?;
    // Found out before the training, not after it.
    if std::fs::read_dir(&job.out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(FactoryError::OutputExists { path: job.out.clone() });
    }
    let granted = Granted::own(read_records(&job.data)?);
    let model = Model::load(&job.base)?;
    let tokenizer = Tokenizer::load(&job.base)?;
    let mut name = job.out.file_name().unwrap_or_default().to_owned();
    name.push(".checkpoint");
    let checkpoint = job.out.with_file_name(name);
    let saving = Saving { file: Some(&checkpoint), every: job.save_every };
    let outcome = train(&model, &tokenizer, &granted, &job.recipe, saving, observer)?;
    if let Outcome::Done(trained) = &outcome {
        let label = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let card = Card {
            name: label(&job.out),
            base: job.base.to_string_lossy().into_owned(),
            license: String::new(),
            datasets: vec![label(&job.data)],
        };
        export(&job.out, trained, &job.recipe, &card)?;
        if checkpoint.exists() {
            std::fs::remove_file(&checkpoint).map_err(files::io(&checkpoint))?;
        }
    }
    Ok(outcome)
}

/// Reads a JSONL file of records.
///
/// # Errors
/// [`FactoryError::Io`], or [`FactoryError::BadLines`] with every line that is not a record.
pub fn read_records(path: &Path) -> Result<Vec<TrainRecord>, FactoryError> {
    let length = std::fs::metadata(path).map_err(files::io(path))?.len();
    let bad = |lines| FactoryError::BadLines { path: path.to_owned(), lines };
    if length > MAX_BYTES {
        return Err(bad(vec![(0, format!("the file has {length} bytes, the limit is {MAX_BYTES}"))]));
    }
    let bytes = std::fs::read(path).map_err(files::io(path))?;
    let mut records = Vec::new();
    let mut refused = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match parse_line(index + 1, line) {
            Ok(record) => records.push(record),
            Err(reason) => refused.push((index + 1, reason)),
        }
    }
    if refused.is_empty() { Ok(records) } else { Err(bad(refused)) }
}

/// One line as a record, or why it is none.
fn parse_line(number: usize, line: &[u8]) -> Result<TrainRecord, String> {
    let value: Value = serde_json::from_slice(line).map_err(|e| format!("not JSON: {e}"))?;
    let object = value.as_object().ok_or("not a JSON object")?;
    let name = match object.get("id") {
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        None | Some(Value::Null) => format!("line {number}"),
        Some(other) => return Err(format!("`id` is {other}, expected a string")),
    };
    if let Some(ids) = object.get("input_ids") {
        let ids = ids
            .as_array()
            .and_then(|ids| ids.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect())
            .ok_or("`input_ids` is not an array of token ids")?;
        let loss_from = match object.get("loss_from") {
            None | Some(Value::Null) => 1,
            Some(value) => value
                .as_u64()
                .filter(|from| *from > 0)
                .and_then(|from| usize::try_from(from).ok())
                .ok_or("`loss_from` is not a number above 0")?,
        };
        return Ok(TrainRecord { name, content: Content::Ids { ids, loss_from } });
    }
    let text = |key: &str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{key}` is not a string")),
    };
    let body = match (text("text")?, text("prompt")?, text("response")?) {
        (Some(text), _, _) => Body::Text { text },
        (None, Some(prompt), Some(response)) => Body::Dialog { prompt, response, context: text("context")? },
        _ => return Err("neither `input_ids` nor `text` nor `prompt` with `response`".into()),
    };
    Ok(TrainRecord::of(name, &body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_records_in_order() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("r.jsonl");
        let lines = "{\"id\":\"a\",\"text\":\"One.\",\"license\":\"CC0-1.0\"}\n\n\
                     {\"prompt\":\"Why?\",\"response\":\"So.\"}\r\n{\"id\":7,\"input_ids\":[1,2,3],\"loss_from\":2}";
        std::fs::write(&path, lines).unwrap();
        let records = read_records(&path).unwrap();
        assert_eq!(records.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["a", "line 3", "7"]);
        assert_eq!(records[2].content, Content::Ids { ids: vec![1, 2, 3], loss_from: 2 });
    }

    #[test]
    fn all_bad_lines_are_listed_and_nothing_is_read() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("r.jsonl");
        std::fs::write(&path, "{\"text\":\"fine\"}\n{\"text\":3}\nnonsense\n{\"input_ids\":[-1]}\n[]\n{}\n").unwrap();
        let FactoryError::BadLines { lines, .. } = read_records(&path).unwrap_err() else { panic!("bad lines") };
        assert_eq!(lines.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
    }
}
