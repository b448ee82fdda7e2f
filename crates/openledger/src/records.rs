//! Files of records for the verbs that need no node: one reader, whose records go to training and
//! to attribution.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use openledger_attribution::folder::{self, RecordName, Source};
use openledger_datanet::{Content, Limits, PlainReader, PlainRecord};
use openledger_factory::{Content as Learned, TrainRecord};
use openledger_protocol::Body;

use crate::error::{CliError, Exit, Result};

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// The records of a file of JSON Lines, in file order.
///
/// # Errors
/// [`CliError::Records`] with every bad line; nothing of the file is used then.
pub(crate) fn read(path: &Path) -> Result<Vec<PlainRecord>> {
    let mut file = File::open(path).map_err(CliError::file(path))?;
    let mut reader = PlainReader::new(Limits::default());
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).map_err(CliError::file(path))? {
            0 => break,
            bytes => reader.feed(&piece[..bytes]),
        }
    }
    reader.finish().map_err(|source| CliError::Records { path: path.to_owned(), source })
}

/// A record as training takes it.
pub(crate) fn to_learn(record: PlainRecord) -> TrainRecord {
    let name = record.name();
    match record.content {
        Content::Body(body) => TrainRecord::of(name, &body),
        Content::Ids { ids, loss_from } => TrainRecord { name, content: Learned::Ids { ids, loss_from } },
    }
}

/// A record as attribution takes it.
pub(crate) fn to_attribute(record: PlainRecord) -> Source {
    let name = RecordName { id: record.name(), contributors: record.contributors };
    let content = match record.content {
        Content::Body(body) => folder::Content::Body(body),
        Content::Ids { ids, loss_from } => folder::Content::Ids { ids, loss_from },
    };
    Source { name, content }
}

/// The records of a file as attribution takes them.
///
/// # Errors
/// As [`read`].
pub(crate) fn sources(path: &Path) -> Result<Vec<Source>> {
    Ok(read(path)?.into_iter().map(to_attribute).collect())
}

/// The running texts of a file, as its lines spell them.
///
/// # Errors
/// As [`read`]; for a record that is no running text.
pub(crate) fn texts(path: &Path) -> Result<Vec<String>> {
    let text = |record: PlainRecord| match record.content {
        Content::Body(Body::Text { text }) => Ok(text),
        _ => {
            let message =
                format!("{}: line {} has no `text`; give a file of running texts", path.display(), record.line);
            Err(CliError::refused(Exit::Data, message))
        }
    };
    read(path)?.into_iter().map(text).collect()
}
