//! The reduced form of a model's records, so that an answer costs one backward pass and one scan.
//!
//! Place in the flow: built when a model is made, saved beside it, loaded for scoring. On
//! disk: `cache.json` ([`CacheInfo`]), `gradients.f32` (distinct records × parameters,
//! little-endian, for audits) and `solved.f32` (the method's rows, one LoRA factor after the other,
//! `[records, factor]` each). Invariant: a loaded cache has the bytes its `cache.json` names. Not
//! here: models and adapters; the caller compares hashes.

use std::path::{Path, PathBuf};

use openledger_protocol::{B256, keccak, leaf, merkle, sha256, word};
use serde::{Deserialize, Serialize};

use super::gradients::MAX_VALUES;
use super::linalg::{Rows, columns, products};
use super::solver::{norms, solve};
use super::{Gradients, InfluenceError, Method, Scores};

/// The format this code writes.
const FORMAT: &str = "openledger/influence/v1";
/// The largest `cache.json`, in bytes: a few million records.
const MAX_INFO_BYTES: u64 = 512 << 20;

/// Where the gradients came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Folder of the base.
    pub base: PathBuf,
    /// The base's hash, as the engine computes it.
    pub base_hash: B256,
    /// Folder of the adapter.
    pub adapter: PathBuf,
    /// The adapter's hash, as the engine computes it.
    pub adapter_hash: B256,
    /// The engine's numeric mode.
    pub numeric_mode: String,
}

/// `cache.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheInfo {
    /// `openledger/influence/v1`.
    pub format: String,
    /// The method's version.
    pub method: String,
    /// The damping factor, as a decimal string.
    pub damping: String,
    /// Model and adapter.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// LoRA parameters.
    pub parameters: usize,
    /// First parameter and end of each LoRA factor, in order.
    pub modules: Vec<(usize, usize)>,
    /// The hash of each record's tokens, in file order.
    pub records: Vec<B256>,
    /// The row of each record; records with equal tokens share one.
    pub rows: Vec<u32>,
    /// SHA-256 of `gradients.f32`.
    pub gradients: B256,
    /// SHA-256 of `solved.f32`.
    pub solved: B256,
}

/// The records' side of every score.
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {
    info: CacheInfo,
    method: Method,
    distinct: usize,
    /// Blocks `[distinct, factor]`, one LoRA factor after the other.
    solved: Vec<f32>,
}

impl Cache {
    /// Solves `method` over the records' `gradients` on `threads` threads, which change no bit.
    ///
    /// **Cost:** for Fisher about `min(n, p_m)·n·p_m` multiplications and a cubic inverse a LoRA
    /// factor.
    ///
    /// # Errors
    /// [`InfluenceError::Empty`] without records, [`InfluenceError::Damping`] out of range,
    /// [`InfluenceError::NotFinite`] when the gradients overflow.
    pub fn build(
        gradients: &Gradients,
        method: Method,
        damping: f64,
        threads: usize,
        provenance: Provenance,
    ) -> Result<Self, InfluenceError> {
        if gradients.is_empty() || gradients.parameters() == 0 {
            return Err(InfluenceError::Empty);
        }
        let solved = solve(gradients, method, damping, threads)?;
        let info = CacheInfo {
            format: FORMAT.into(),
            method: method.version().into(),
            damping: damping.to_string(),
            provenance,
            parameters: gradients.parameters(),
            modules: gradients.modules.iter().map(|module| (module.start, module.end)).collect(),
            records: gradients.hashes.clone(),
            rows: gradients.row_of.clone(),
            gradients: sha256(bytes_of(&gradients.values)),
            solved: sha256(bytes_of(&solved)),
        };
        let distinct = gradients.values.len() / gradients.parameters();
        Ok(Self { info, method, distinct, solved })
    }

    /// What the cache was made of.
    #[must_use]
    pub fn info(&self) -> &CacheInfo {
        &self.info
    }

    /// The method whose scores it gives.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// How many records it scores.
    #[must_use]
    pub fn records(&self) -> usize {
        self.info.records.len()
    }

    /// The hash that a manifest carries: over method, damping, model, adapter, records and both
    /// files; paths are not in it.
    #[must_use]
    pub fn root(&self) -> B256 {
        let info = &self.info;
        let tag = keccak("openledger/influence-cache/v1");
        let source = &info.provenance;
        leaf(
            tag,
            &[
                keccak(&info.method),
                keccak(&info.damping),
                source.base_hash,
                source.adapter_hash,
                keccak(&source.numeric_mode),
                word(info.parameters as u64),
                merkle::root(&info.records),
                info.gradients,
                info.solved,
            ],
        )
    }

    /// Writes the cache into folder `dir`, which is made if need be; `gradients` are those it was
    /// built from.
    ///
    /// # Errors
    /// [`InfluenceError::Io`].
    pub fn save(&self, dir: &Path, gradients: &Gradients) -> Result<(), InfluenceError> {
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, bytes));
            written.map_err(|source| InfluenceError::Io { path, source })
        };
        write("gradients.f32", &bytes_of(&gradients.values))?;
        write("solved.f32", &bytes_of(&self.solved))?;
        let json = serde_json::to_vec_pretty(&self.info)
            .map_err(|error| InfluenceError::Malformed { path: dir.join("cache.json"), reason: error.to_string() })?;
        // Last, so that a folder with a `cache.json` is whole.
        write("cache.json", &json)
    }

    /// Reads the cache in folder `dir` and checks that its parts fit; `gradients.f32` is left
    /// alone.
    ///
    /// # Errors
    /// [`InfluenceError::Io`] when it cannot be read, [`InfluenceError::Malformed`] when it is not
    /// a cache.
    pub fn load(dir: &Path) -> Result<Self, InfluenceError> {
        let path = dir.join("cache.json");
        let malformed = |reason: &str| InfluenceError::Malformed { path: path.clone(), reason: reason.into() };
        let info: CacheInfo =
            serde_json::from_slice(&read(&path, MAX_INFO_BYTES)?).map_err(|error| malformed(&error.to_string()))?;
        if info.format != FORMAT {
            return Err(malformed("its format has another name"));
        }
        let method = Method::from_version(&info.method).ok_or_else(|| malformed("its method is unknown"))?;
        let mut end = 0;
        for module in &info.modules {
            if module.0 != end || module.1 <= module.0 {
                return Err(malformed("its modules do not follow each other"));
            }
            end = module.1;
        }
        let distinct = info.rows.iter().max().map_or(0, |row| *row as usize + 1);
        let values = distinct.checked_mul(end).filter(|values| *values <= MAX_VALUES);
        let fits = end == info.parameters && end > 0 && info.rows.len() == info.records.len() && distinct > 0;
        let Some(values) = values.filter(|_| fits) else { return Err(malformed("its counts contradict each other")) };
        let path = dir.join("solved.f32");
        let bytes = read(&path, 4 * values as u64)?;
        if bytes.len() != 4 * values || sha256(&bytes) != info.solved {
            return Err(InfluenceError::Malformed { path, reason: "its hash is not the one in cache.json".into() });
        }
        let solved: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
        if let Some(place) = solved.iter().position(|value| !value.is_finite()) {
            return Err(InfluenceError::NotFinite { index: place / end });
        }
        Ok(Self { info, method, distinct, solved })
    }

    /// Scores `queries` against all records: `[queries, records]`.
    ///
    /// **Cost:** queries × distinct records × parameters multiplications. **Precision:** products
    /// of f32 summed in f64 factor by factor, rounded to f32 once.
    ///
    /// # Errors
    /// [`InfluenceError::Shape`] when the queries come from another adapter's shape.
    pub fn score(&self, queries: &Gradients) -> Result<Scores, InfluenceError> {
        let modules: Vec<(usize, usize)> = queries.modules.iter().map(|module| (module.start, module.end)).collect();
        if !queries.is_empty() && modules != self.info.modules {
            return Err(InfluenceError::Shape { found: queries.parameters(), expected: self.info.parameters });
        }
        let rows = queries.values.len().checked_div(queries.parameters()).unwrap_or(0);
        let mut sums = vec![0f64; rows * self.distinct];
        let mut rest = self.solved.as_slice();
        for module in &queries.modules {
            let (block, after) = rest.split_at(self.distinct * module.len());
            rest = after;
            let query = columns(&queries.values, queries.parameters(), module);
            let part = products(Rows::new(&query, module.len()), Rows::new(block, module.len()));
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        if self.method == Method::GradCos {
            for (row, norm) in sums.chunks_exact_mut(self.distinct).zip(norms(queries)) {
                row.iter_mut().for_each(|value| *value = if norm > 0.0 { *value / norm } else { 0.0 });
            }
        }
        let cell = |query: u32, record: u32| sums[query as usize * self.distinct + record as usize] as f32;
        let record_rows = &self.info.rows;
        let values =
            queries.row_of.iter().flat_map(|query| record_rows.iter().map(move |record| cell(*query, *record)));
        Ok(Scores::new(queries.len(), self.records(), values.collect()))
    }
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, InfluenceError> {
    let io = |source| InfluenceError::Io { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    if bytes > limit {
        let reason = format!("{bytes} bytes, more than the {limit} it may have");
        return Err(InfluenceError::Malformed { path: path.to_owned(), reason });
    }
    std::fs::read(path).map_err(io)
}
