//! Packed weights on disk, to be mapped instead of packed again.
//!
//! Place in the flow: [`Model::load_packed`](crate::Model::load_packed) and
//! [`Lora::map_packed`](crate::Lora::map_packed). Invariants: a file names what it holds (kind,
//! layout, form, hash of the original) and carries its length and a checksum; one that says
//! anything else, or is damaged or cut short, counts as absent. Files appear whole, by renaming.
//! The checksum finds accidents, not forgers: who may write the cache may answer in the model's
//! name.
//!
//! Not here: the layout of the words (`packed`, `lora_pack`).

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::error::LoadError;
use crate::kernels::region::Region;
use crate::kernels::weights::Form;

/// Words in front of the tensors, which a file uses for its head.
pub(crate) const HEAD_WORDS: usize = 32;
/// First words of every file: `OLPACKED`.
const MAGIC: [u32; 2] = [u32::from_le_bytes(*b"OLPA"), u32::from_le_bytes(*b"CKED")];
/// Changes whenever a kernel reads words in another order, or an adapter takes another form.
const LAYOUT: u32 = 3;
/// Where the head has the checksum.
const SUM: std::ops::Range<usize> = 16..18;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A base model.
    Base = 1,
    /// An adapter.
    Adapter = 2,
}

/// The head of a file of `len` words whose checksum is `sum`; `extra` is the owner's.
fn head(kind: Kind, form: Form, hash: &[u8; 32], extra: u32, len: usize, sum: [u32; 2]) -> [u32; HEAD_WORDS] {
    let len = len as u64;
    let mut head = [0; HEAD_WORDS];
    head[..2].copy_from_slice(&MAGIC);
    head[2..6].copy_from_slice(&[LAYOUT, kind as u32, form as u32, extra]);
    for (word, bytes) in head[6..14].iter_mut().zip(hash.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    head[14..16].copy_from_slice(&[len as u32, (len >> 32) as u32]);
    head[SUM].copy_from_slice(&sum);
    head
}

/// A sum over form, `extra` and all words behind the head, and their places, that any changed, lost
/// or moved word changes; 8 strands keep it at memory speed.
fn checksum(form: u32, extra: u32, words: &[u32]) -> [u32; 2] {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut strands = [FACTOR; 8];
    let words = words.get(HEAD_WORDS..).unwrap_or_default();
    let (chunks, tail) = words.as_chunks::<16>();
    for chunk in chunks {
        for (strand, pair) in strands.iter_mut().zip(chunk.as_chunks::<2>().0) {
            let word = u64::from(pair[0]) | u64::from(pair[1]) << 32;
            *strand = (*strand ^ word).wrapping_mul(FACTOR).rotate_left(29);
        }
    }
    let rest = tail.iter().chain([&form, &extra]).map(|w| u64::from(*w));
    let sum = strands.into_iter().chain(rest).fold(words.len() as u64, |sum, x| {
        let mixed = (sum ^ x).wrapping_mul(FACTOR);
        mixed ^ (mixed >> 31)
    });
    [sum as u32, (sum >> 32) as u32]
}

/// Writes `words` (whose first [`HEAD_WORDS`] are replaced by the head) to `path`, whole or not at
/// all.
///
/// # Errors
///
/// [`LoadError::Io`] when the file cannot be written or renamed.
pub(crate) fn write(
    path: &Path,
    kind: Kind,
    form: Form,
    hash: &[u8; 32],
    extra: u32,
    words: &[u32],
) -> Result<(), LoadError> {
    let io = |source| LoadError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    // Named by process and place in memory, so that two writers do not share it; the loser's rename
    // changes nothing.
    let unfinished = path.with_extension(format!("{}-{:x}.tmp", std::process::id(), words.as_ptr() as usize));
    let fill = || -> std::io::Result<()> {
        let mut file = std::io::BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
        let head = head(kind, form, hash, extra, words.len(), checksum(form as u32, extra, words));
        for word in head.iter().chain(words.get(HEAD_WORDS..).unwrap_or_default()) {
            file.write_all(&word.to_le_bytes())?;
        }
        // Not forced to disk: what a loss of power leaves half counts as absent, and waiting for
        // the disk would be most of the time that thousands of adapters take.
        file.into_inner().map_err(|e| e.into_error())?;
        std::fs::rename(&unfinished, path)
    };
    fill().map_err(|source| {
        // Nothing to do about a leftover that cannot be removed either.
        let _ = std::fs::remove_file(&unfinished);
        io(source)
    })
}

/// Maps the file at `path`: its form, the owner's word and all words; `None` when it is absent,
/// damaged, or of another kind, layout or original.
pub(crate) fn map(path: &Path, kind: Kind, hash: &[u8; 32]) -> Option<(Form, u32, Region)> {
    map_unread(path, kind, hash).filter(|(_, _, region)| is_whole(region))
}

/// As [`map`], but for the checksum: the head alone is read, the rest is still on its way from the
/// disk. [`is_whole`] has to be asked before anything that was made of the words counts.
pub(crate) fn map_unread(path: &Path, kind: Kind, hash: &[u8; 32]) -> Option<(Form, u32, Region)> {
    // Words are read as they lie; another byte order packs anew.
    if cfg!(target_endian = "big") {
        return None;
    }
    let file = File::open(path).ok()?;
    let region = Region::map(&file).ok()?;
    let words = region.words();
    let found = words.get(..HEAD_WORDS)?;
    let form = [Form::F32, Form::Bf16, Form::Q8, Form::Pairs].into_iter().find(|form| *form as u32 == found[4])?;
    let (extra, sum) = (found[5], [found[SUM.start], found[SUM.start + 1]]);
    (found == head(kind, form, hash, extra, words.len(), sum)).then_some((form, extra, region))
}

/// Whether the words of a mapped file are those that were written.
pub(crate) fn is_whole(region: &Region) -> bool {
    let words = region.words();
    words.get(SUM).is_some_and(|sum| sum == checksum(words[4], words[5], words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_cut_changed_or_of_something_else_counts_as_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/x.packed");
        let words: Vec<u32> = (0..1000).map(|i| i * 77).collect();
        write(&path, Kind::Base, Form::Bf16, &[3; 32], 9, &words).unwrap();
        let (form, extra, region) = map(&path, Kind::Base, &[3; 32]).unwrap();
        assert!(form == Form::Bf16 && extra == 9 && region.words()[HEAD_WORDS..] == words[HEAD_WORDS..]);
        assert!(map(&path, Kind::Adapter, &[3; 32]).is_none() && map(&path, Kind::Base, &[4; 32]).is_none());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing unfinished stays");

        let good = std::fs::read(&path).unwrap();
        // Byte 16 has the form, 1 for `Bf16`, which becomes `Pairs`; byte 20 what the owner keeps
        // there.
        for at in [0, 9, 16, 20, 60, 4 * HEAD_WORDS, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 2;
            std::fs::write(&path, bad).unwrap();
            assert!(map(&path, Kind::Base, &[3; 32]).is_none(), "byte {at} changed");
            let unread = map_unread(&path, Kind::Base, &[3; 32]).map(|(_, _, region)| is_whole(&region));
            let seen_at_once = [0, 9, 60].contains(&at);
            assert_eq!(unread, (!seen_at_once).then_some(false), "byte {at} changed");
        }
        for len in [0, 3, 100, good.len() - 4] {
            std::fs::write(&path, &good[..len]).unwrap();
            assert!(map(&path, Kind::Base, &[3; 32]).is_none(), "cut to {len}");
        }
    }
}
