//! Bounded reading and safetensors parsing.
//!
//! Place in the flow: under `model` and `peft`; nothing else opens weight files. Invariants: no
//! file is read past its limit, a header is checked before anything is allocated from it, and every
//! value handed out is finite. Not here: what tensors mean.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors};

use crate::error::LoadError;

/// Largest accepted JSON file (configurations, indexes), in bytes.
pub(crate) const MAX_JSON_BYTES: u64 = 16 << 20;
/// Largest accepted weight file, in bytes.
pub(crate) const MAX_WEIGHT_BYTES: u64 = 32 << 30;
/// Largest accepted safetensors header, in bytes; real ones are a few hundred kilobytes at most.
pub(crate) const MAX_HEADER_BYTES: u64 = 8 << 20;

/// A tensor widened to f32.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tensor {
    /// Extent of each axis.
    pub(crate) shape: Vec<usize>,
    /// Row-major values, all finite.
    pub(crate) data: Vec<f32>,
}

/// Reads a whole file, refusing more than `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let io = |source| LoadError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    if bytes > limit {
        return Err(LoadError::TooLarge { path: path.to_owned(), bytes, limit });
    }
    let mut out = Vec::with_capacity(bytes as usize);
    // The file may grow between the two calls, so that the limit is held by the reader too.
    file.take(limit.saturating_add(1)).read_to_end(&mut out).map_err(io)?;
    if out.len() as u64 > limit {
        return Err(LoadError::TooLarge { path: path.to_owned(), bytes: out.len() as u64, limit });
    }
    Ok(out)
}

/// Writes a whole file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    std::fs::write(path, bytes).map_err(|source| LoadError::Io { path: path.to_owned(), source })
}

/// Parses safetensors bytes into f32 tensors by name; accepts F32, F16 and BF16.
///
/// # Errors
///
/// [`LoadError::Malformed`] for a broken header, [`LoadError::Unsupported`] for other element
/// types, [`LoadError::NotFinite`] for NaN or infinities.
pub(crate) fn parse_safetensors(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, Tensor>, LoadError> {
    let malformed = |reason: String| LoadError::Malformed { path: path.to_owned(), reason };
    let Some(length) = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)) else {
        return Err(malformed("shorter than a safetensors header".into()));
    };
    if length > MAX_HEADER_BYTES || length > bytes.len() as u64 - 8 {
        return Err(malformed(format!(
            "header of {length} bytes (file has {}, limit {MAX_HEADER_BYTES})",
            bytes.len()
        )));
    }
    let parsed = SafeTensors::deserialize(bytes).map_err(|e| malformed(e.to_string()))?;
    let mut out = BTreeMap::new();
    for (name, view) in parsed.iter() {
        let raw = view.data();
        let data: Vec<f32> = match view.dtype() {
            Dtype::F32 => raw.as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect(),
            Dtype::BF16 => raw.as_chunks::<2>().0.iter().map(|c| half::bf16::from_le_bytes(*c).to_f32()).collect(),
            Dtype::F16 => raw.as_chunks::<2>().0.iter().map(|c| half::f16::from_le_bytes(*c).to_f32()).collect(),
            other => {
                return Err(LoadError::Unsupported { what: format!("tensor `{name}` of type {other:?}") });
            }
        };
        if let Some(index) = data.iter().position(|x| !x.is_finite()) {
            return Err(LoadError::NotFinite { name: name.to_owned(), index });
        }
        out.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
    }
    Ok(out)
}

/// Names and shapes of the tensors in the bytes of a safetensors file, all checked as a loader
/// would.
///
/// # Errors
///
/// [`LoadError::Malformed`] for a broken header, [`LoadError::Unsupported`] for element types other
/// than F32, F16 and BF16, [`LoadError::NotFinite`] for NaN or infinities.
pub fn tensor_shapes(bytes: &[u8]) -> Result<BTreeMap<String, Vec<usize>>, LoadError> {
    let tensors = parse_safetensors(bytes, Path::new("safetensors"))?;
    Ok(tensors.into_iter().map(|(name, tensor)| (name, tensor.shape)).collect())
}

/// Removes tensor `name` from `tensors` and checks its shape.
pub(crate) fn take(
    tensors: &mut BTreeMap<String, Tensor>,
    name: &str,
    expected: &[usize],
) -> Result<Vec<f32>, LoadError> {
    let tensor = tensors.remove(name).ok_or_else(|| LoadError::MissingTensor { name: name.to_owned() })?;
    if tensor.shape != expected {
        return Err(LoadError::WrongShape { name: name.to_owned(), found: tensor.shape, expected: expected.to_vec() });
    }
    Ok(tensor.data)
}

/// The path of `name` in `dir`.
pub(crate) fn within(dir: &Path, name: &str) -> PathBuf {
    dir.join(name)
}

/// Encodes tensors (name, shape, type, bytes) as safetensors.
pub(crate) fn safetensors<'a>(
    tensors: impl Iterator<Item = (&'a str, &'a [usize], Dtype, &'a [u8])>,
    dir: &Path,
) -> Result<Vec<u8>, LoadError> {
    let malformed = |reason: String| LoadError::Malformed { path: dir.to_owned(), reason };
    let mut views = Vec::new();
    for (name, shape, dtype, bytes) in tensors {
        let view =
            safetensors::tensor::TensorView::new(dtype, shape.to_vec(), bytes).map_err(|e| malformed(e.to_string()))?;
        views.push((name, view));
    }
    // `format: pt` is what transformers and PEFT look for.
    let metadata = std::iter::once(("format".to_owned(), "pt".to_owned())).collect();
    safetensors::serialize(views, Some(metadata)).map_err(|e| malformed(e.to_string()))
}
