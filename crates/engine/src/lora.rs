//! Low-rank adapters: `y = W·x + scale · B·(A·x)` on any of a layer's seven linear maps.
//!
//! Place in the flow: made by [`Lora::init`] or [`Lora::load_peft`](crate::Lora::load_peft),
//! trained by [`LoraTrainer`](crate::LoraTrainer), applied row by row in `forward`. Invariants: one
//! flat list of f32 parameters is the truth (layer, then target, then A before B), packed forms
//! follow it; the hash depends on the numbers, not on a file. Rank and strength may differ from map
//! to map. Not here: files (`peft`), adapters made of others (`ensemble`).

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::ModelConfig;
use crate::error::{LoadError, RunError};
use crate::lora_pack::{self, Factors, Input, LoraPack, Map};
use crate::model::Model;
use crate::packed_file;
use crate::rng;
use crate::shapes::{Factor, Target};

/// Domain of [`Lora::hash`] when all maps share one scale.
const HASH_TAG: &[u8] = b"openledger/lora/v1\0";
/// Domain of [`Lora::hash`] when they do not.
const MIXED_HASH_TAG: &[u8] = b"openledger/lora/v2\0";
/// Largest accepted rank.
pub(crate) const MAX_RANK: usize = 512;

/// Shape and strength of an adapter whose maps are all alike; of others, what holds where nothing
/// else is said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Inner width; 1 to 512.
    pub rank: usize,
    /// Numerator of the scale.
    pub alpha: f32,
    /// Maps that get an adapter, in every layer (for adapters from elsewhere: in some layer).
    pub targets: Vec<Target>,
    /// Whether the scale is `alpha / sqrt(rank)` instead of `alpha / rank`.
    pub rslora: bool,
}

impl LoraConfig {
    /// Rank `rank`, alpha twice the rank, on all seven maps.
    pub fn all_linear(rank: usize) -> Self {
        Self { rank, alpha: 2.0 * rank as f32, targets: Target::ALL.to_vec(), rslora: false }
    }

    /// Factor of the adapter's product.
    pub fn scale(&self) -> f32 {
        Low { rank: self.rank, alpha: self.alpha }.scale(self.rslora)
    }

    /// Number of parameters in a model of that shape.
    pub fn num_params(&self, config: &ModelConfig) -> usize {
        let per_layer: usize = self.targets.iter().map(|t| t.dims(config)).map(|(o, i)| (o + i) * self.rank).sum();
        per_layer * config.layers
    }

    /// Checks the ranges and sorts the targets.
    ///
    /// # Errors
    ///
    /// [`LoadError::Unsupported`] naming the setting.
    pub(crate) fn checked(mut self) -> Result<Self, LoadError> {
        Low { rank: self.rank, alpha: self.alpha }.checked()?;
        self.targets.sort();
        self.targets.dedup();
        if self.targets.is_empty() {
            return Err(LoadError::Unsupported { what: "a LoRA without target modules".into() });
        }
        Ok(self)
    }
}

/// Rank and strength on one map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Low {
    pub(crate) rank: usize,
    pub(crate) alpha: f32,
}

impl Low {
    /// Factor of the product `B·A`.
    fn scale(self, rslora: bool) -> f32 {
        let rank = self.rank as f32;
        self.alpha / if rslora { rank.sqrt() } else { rank }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    ///
    /// [`LoadError::Unsupported`] naming the setting.
    pub(crate) fn checked(self) -> Result<Self, LoadError> {
        let refuse = |what: String| Err(LoadError::Unsupported { what });
        if self.rank == 0 || self.rank > MAX_RANK {
            return refuse(format!("LoRA rank {} (must be 1 to {MAX_RANK})", self.rank));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return refuse(format!("LoRA alpha {}", self.alpha));
        }
        Ok(self)
    }
}

/// Where one factor stands in [`Lora::params`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSpan {
    /// Layer, from 0.
    pub layer: usize,
    /// The map it belongs to.
    pub target: Target,
    /// Which factor.
    pub factor: Factor,
    /// Its values, row-major.
    pub range: Range<usize>,
    /// Rows: the rank (A) or the outputs (B).
    pub rows: usize,
    /// Columns: the inputs (A) or the rank (B).
    pub cols: usize,
}

impl ModuleSpan {
    /// The name PEFT gives this tensor.
    pub fn peft_name(&self) -> String {
        let factor = match self.factor {
            Factor::A => "lora_A",
            Factor::B => "lora_B",
        };
        format!("base_model.model.model.layers.{}.{}.{factor}.weight", self.layer, self.target.path())
    }
}

/// Where both factors of one map stand, and how strong they are.
#[derive(Clone)]
pub(crate) struct Pair {
    /// Place of A in the flat list; B follows it.
    pub(crate) a_range: Range<usize>,
    pub(crate) b_range: Range<usize>,
    pub(crate) rank: usize,
    /// Factor of the product.
    pub(crate) scale: f32,
    pub(crate) alpha: f32,
}

/// The dimensions an adapter depends on: layers, hidden, feed-forward, all queries, all keys.
type Fit = [(&'static str, usize); 5];

/// An adapter for one shape of model.
#[derive(Clone)]
pub struct Lora {
    config: LoraConfig,
    fit: Fit,
    /// All parameters as one list: there while they are being changed, or once somebody asked for
    /// them.
    flat: OnceLock<Vec<f32>>,
    count: usize,
    modules: Vec<ModuleSpan>,
    /// By `layer · 7 + target`.
    pairs: Vec<Option<Pair>>,
    /// Shared by clones. Where the list is absent this is all there is.
    pack: OnceLock<Arc<LoraPack>>,
    hash: OnceLock<[u8; 32]>,
}

impl Lora {
    /// A fresh adapter: A uniform in `±1/sqrt(inputs)` (Kaiming, as PEFT), B zero; so that it
    /// changes nothing yet.
    ///
    /// # Errors
    ///
    /// [`LoadError::Unsupported`] when the settings are out of range.
    pub fn init(model: &Model, config: &LoraConfig, seed: u64) -> Result<Self, LoadError> {
        let mut lora = Self::zero(model.config(), config.clone().checked()?);
        let mut params = vec![0.0; lora.count];
        for (stream, module) in lora.modules.iter().enumerate() {
            if module.factor == Factor::A {
                let bound = 1.0 / (module.cols as f64).sqrt();
                for (i, x) in params[module.range.clone()].iter_mut().enumerate() {
                    *x = (bound * (2.0 * rng::uniform(seed, stream as u64, i as u64) - 1.0)) as f32;
                }
            }
        }
        lora.update(|own| own.copy_from_slice(&params));
        Ok(lora)
    }

    /// All parameters zero; `config` must be checked.
    fn zero(model: &ModelConfig, config: LoraConfig) -> Self {
        let low = Low { rank: config.rank, alpha: config.alpha };
        let maps: Vec<Option<Low>> = (0..model.layers)
            .flat_map(|_| Target::ALL.map(|target| config.targets.contains(&target).then_some(low)))
            .collect();
        Self::with_maps(model, config, &maps)
    }

    /// All parameters zero, with rank and strength of each map (by `layer · 7 + target`) as given;
    /// all must be checked.
    pub(crate) fn with_maps(model: &ModelConfig, config: LoraConfig, maps: &[Option<Low>]) -> Self {
        assert_eq!(maps.len(), model.layers * Target::ALL.len());
        let (mut modules, mut pairs, mut end) = (Vec::new(), Vec::new(), 0);
        let places = (0..model.layers).flat_map(|layer| Target::ALL.map(|target| (layer, target)));
        for ((layer, target), low) in places.zip(maps) {
            let Some(low) = *low else {
                pairs.push(None);
                continue;
            };
            let (outputs, inputs) = target.dims(model);
            let mut add = |factor, rows: usize, cols: usize| {
                let range = end..end + rows * cols;
                end = range.end;
                modules.push(ModuleSpan { layer, target, factor, range: range.clone(), rows, cols });
                range
            };
            let a_range = add(Factor::A, low.rank, inputs);
            let b_range = add(Factor::B, outputs, low.rank);
            let scale = low.scale(config.rslora);
            pairs.push(Some(Pair { a_range, b_range, rank: low.rank, scale, alpha: low.alpha }));
        }
        let (fit, flat) = (fit(model), OnceLock::from(vec![0.0; end]));
        Self { config, fit, flat, count: end, modules, pairs, pack: OnceLock::new(), hash: OnceLock::new() }
    }

    /// Shape and strength.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Number of parameters.
    pub fn num_params(&self) -> usize {
        self.count
    }

    /// All parameters in the order of [`Lora::modules`].
    ///
    /// A loaded adapter keeps packed factors only: the first call unpacks them, 4 bytes each, and
    /// they stay.
    pub fn params(&self) -> &[f32] {
        self.flat.get_or_init(|| {
            let mut flat = vec![0.0; self.count];
            for module in &self.modules {
                self.read(module, &mut flat[module.range.clone()]);
            }
            flat
        })
    }

    /// Lets go of the flat list; the packed factors hold the same values.
    pub(crate) fn keep_packed_only(&mut self) {
        self.pack();
        self.flat = OnceLock::new();
    }

    /// The values of one factor, row-major, from the list or the packed form.
    fn read(&self, module: &ModuleSpan, out: &mut [f32]) {
        match self.flat.get() {
            Some(flat) => out.copy_from_slice(&flat[module.range.clone()]),
            None => self.pack().read(module.layer, module.target, module.factor, out),
        }
    }

    /// The packed factors.
    fn pack(&self) -> &LoraPack {
        self.pack.get_or_init(|| {
            let flat = self.flat.get().map_or(&[][..], Vec::as_slice);
            Arc::new(LoraPack::new(&pack_maps(&self.modules, &self.pairs), flat))
        })
    }

    /// Writes the packed factors to `path`, for [`Lora::map_packed`]; the file appears whole or not
    /// at all.
    ///
    /// # Errors
    ///
    /// [`LoadError::Io`] when it cannot be written.
    pub fn write_packed(&self, path: &Path) -> Result<(), LoadError> {
        let maps = self.pairs.iter().map(|pair| pair.as_ref().map(|p| (p.rank, p.alpha.to_bits()))).collect();
        let fit = self.fit.iter().map(|(_, extent)| *extent).collect();
        let shape = Shape { config: self.config.clone(), fit, maps };
        let json = serde_json::to_vec(&shape)
            .map_err(|e| LoadError::Malformed { path: path.to_owned(), reason: e.to_string() })?;
        self.pack().write(path, &self.hash(), &json)
    }

    /// Maps factors that [`Lora::write_packed`] wrote for the adapter of that hash, in a few
    /// milliseconds.
    ///
    /// `None` when the file is absent, damaged, of another adapter, layout or model: load the
    /// original then.
    pub fn map_packed(path: &Path, model: &Model, hash: [u8; 32]) -> Option<Self> {
        Self::map_unread(path, model, hash).filter(Self::is_whole)
    }

    /// As [`Lora::map_packed`], but at once: the file's start alone is read, and the disk goes on
    /// while the first layers are computed. Nothing that came of it counts before
    /// [`Lora::is_whole`] was asked.
    pub fn map_unread(path: &Path, model: &Model, hash: [u8; 32]) -> Option<Self> {
        let (form, words, region) = packed_file::map_unread(path, packed_file::Kind::Adapter, &hash)?;
        let shape: Shape = serde_json::from_slice(&lora_pack::shape_bytes(words, &region)?).ok()?;
        if !shape.fit.into_iter().eq(fit(model.config()).map(|(_, extent)| extent))
            || shape.maps.len() != model.config().layers * Target::ALL.len()
        {
            return None;
        }
        let maps: Vec<Option<Low>> = shape
            .maps
            .into_iter()
            .map(|map| map.map(|(rank, alpha)| Low { rank, alpha: f32::from_bits(alpha) }.checked()).transpose())
            .collect::<Result<_, _>>()
            .ok()?;
        let mut lora = Self::with_maps(model.config(), shape.config.checked().ok()?, &maps);
        let pack = LoraPack::in_region(&pack_maps(&lora.modules, &lora.pairs), form, words, region)?;
        (lora.pack, lora.flat, lora.hash) = (OnceLock::from(Arc::new(pack)), OnceLock::new(), OnceLock::from(hash));
        Some(lora)
    }

    /// Whether its numbers are those that were packed: reads all of a mapped file, and says yes of
    /// any other adapter.
    pub fn is_whole(&self) -> bool {
        self.pack().is_whole()
    }

    /// Replaces all parameters.
    ///
    /// # Errors
    ///
    /// [`RunError::AdapterMismatch`] when their number differs; nothing is changed then.
    pub fn set_params(&mut self, params: &[f32]) -> Result<(), RunError> {
        if params.len() != self.count {
            let what = format!("{} parameters given, it has {}", params.len(), self.count);
            return Err(RunError::AdapterMismatch { what });
        }
        self.update(|own| own.copy_from_slice(params));
        Ok(())
    }

    /// Changes the flat list, then rebuilds what depends on it.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut [f32])) {
        self.params();
        if let Some(flat) = self.flat.get_mut() {
            change(flat);
        }
        (self.pack, self.hash) = (OnceLock::new(), OnceLock::new());
        self.pack();
    }

    /// What stands where in [`Lora::params`]: by layer, target, factor.
    pub fn modules(&self) -> &[ModuleSpan] {
        &self.modules
    }

    /// Bytes held in memory, packed forms included.
    pub fn bytes(&self) -> usize {
        self.flat.get().map_or(0, |flat| size_of_val(flat.as_slice())) + self.pack().bytes()
    }

    /// SHA-256 that names this adapter: over the tag `openledger/lora/v1\0`, the scale, and for
    /// each tensor in order of its PEFT name the length of the name (u32), the name, rows and
    /// columns (u64), and the values; numbers little-endian.
    ///
    /// When maps differ in scale, the tag is `openledger/lora/v2\0` and the scale stands after each
    /// name instead.
    pub fn hash(&self) -> [u8; 32] {
        *self.hash.get_or_init(|| self.compute_hash())
    }

    fn compute_hash(&self) -> [u8; 32] {
        let mut values = Vec::new();
        let mut named: Vec<(String, &ModuleSpan)> = self.modules.iter().map(|m| (m.peft_name(), m)).collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let mut hash = Sha256::new();
        let shared = self.shared_scale();
        hash.update(if shared.is_some() { HASH_TAG } else { MIXED_HASH_TAG });
        if let Some(scale) = shared {
            hash.update(scale.to_le_bytes());
        }
        for (name, module) in named {
            hash.update((name.len() as u32).to_le_bytes());
            hash.update(name.as_bytes());
            if let (None, Some(pair)) = (shared, self.pair(module.layer, module.target)) {
                hash.update(pair.scale.to_le_bytes());
            }
            hash.update((module.rows as u64).to_le_bytes());
            hash.update((module.cols as u64).to_le_bytes());
            values.resize(module.range.len(), 0.0);
            self.read(module, &mut values);
            for x in &values {
                hash.update(x.to_le_bytes());
            }
        }
        hash.finalize().into()
    }

    /// The pair on one map, if it has one.
    pub(crate) fn pair(&self, layer: usize, target: Target) -> Option<&Pair> {
        self.pairs[layer * Target::ALL.len() + target.index()].as_ref()
    }

    /// Refuses a model of other dimensions than the adapter was made for.
    pub(crate) fn check(&self, model: &ModelConfig) -> Result<(), RunError> {
        match self.fit.iter().zip(fit(model)).find(|(own, wanted)| **own != *wanted) {
            None => Ok(()),
            Some((&(name, own), (_, wanted))) => {
                let what = format!("made for {name} of {own}, the model has {wanted}");
                Err(RunError::AdapterMismatch { what })
            }
        }
    }

    /// The memory of [`Lora::factors`].
    pub(crate) fn factor_words(&self, layer: usize, input: Input) -> Option<&[u32]> {
        self.pack().words(layer, input)
    }

    /// Packed factors of the maps that read `input` in `layer`.
    pub(crate) fn factors(&self, layer: usize, input: Input) -> Option<Factors<'_>> {
        self.pack().factors(layer, input)
    }

    /// Factor of one map's product; 0 where it has none.
    pub(crate) fn scale_of(&self, layer: usize, target: Target) -> f32 {
        self.pair(layer, target).map_or(0.0, |pair| pair.scale)
    }

    /// Layers of the models it was made for.
    pub(crate) fn layers(&self) -> usize {
        self.pairs.len() / Target::ALL.len()
    }

    /// The scale of all maps, if they share one.
    fn shared_scale(&self) -> Option<f32> {
        let mut scales = self.pairs.iter().flatten().map(|pair| pair.scale);
        let first = scales.next()?;
        scales.all(|scale| scale.to_bits() == first.to_bits()).then_some(first)
    }
}

/// What a packed file says of an adapter besides its factors: the model's dimensions, rank and bits
/// of alpha of each map.
#[derive(Serialize, Deserialize)]
struct Shape {
    config: LoraConfig,
    fit: Vec<usize>,
    maps: Vec<Option<(usize, u32)>>,
}

/// Shapes and places of all maps, by `layer · 7 + target`.
fn pack_maps(modules: &[ModuleSpan], pairs: &[Option<Pair>]) -> Vec<Option<Map>> {
    // A module for each factor, A before B, in the order of the maps.
    let mut factors = modules.chunks_exact(2);
    pairs
        .iter()
        .map(|pair| {
            pair.as_ref()?;
            let [a, b] = factors.next()? else { return None };
            let (a_range, b_range) = (a.range.clone(), b.range.clone());
            Some(Map { a: a_range, b: b_range, rank: a.rows, inputs: a.cols, outputs: b.rows })
        })
        .collect()
}

/// What an adapter depends on, of a model.
fn fit(model: &ModelConfig) -> Fit {
    [
        ("layers", model.layers),
        ("hidden size", model.hidden),
        ("feed-forward size", model.ffn),
        ("query width", model.q_width()),
        ("key width", model.kv_width()),
    ]
}

impl std::fmt::Debug for Lora {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lora").field("config", &self.config).field("params", &self.count).finish()
    }
}
