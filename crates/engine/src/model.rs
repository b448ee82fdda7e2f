//! A model in memory: one flat list of weights and their packed forms.
//!
//! Place in the flow: made by [`Model::load`] (Hugging Face folders) or [`Model::init`]; read by
//! everything that runs. Invariants: the flat list is the truth, the packed forms are rebuilt
//! whenever it changes; a model is loaded whole (every tensor present, of the right shape, finite,
//! none left over) or refused. Not here: adapters (`lora`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::config::ModelConfig;
use crate::error::{LoadError, RunError};
use crate::files::{self, Tensor};
use crate::kernels::Runtime;
use crate::kernels::weights::{Form, Weight};
use crate::mode::NumericMode;
use crate::packed::{BaseWeights, form_for};
use crate::packed_file::{self, Kind};
use crate::rng;
use crate::shapes::{Target, TensorSpan};

/// Domain of [`Model::hash`].
const HASH_TAG: &[u8] = b"openledger/model/v1\0";
/// Spread of random weights, as GPT-2 and Llama take it.
const INIT_STD: f64 = 0.02;

/// Where one layer's weights stand in the flat list.
#[derive(Debug, Clone)]
pub(crate) struct LayerSpans {
    pub(crate) norm1: Range<usize>,
    pub(crate) norm2: Range<usize>,
    /// By [`Target`] index.
    pub(crate) linear: [Range<usize>; 7],
    /// By [`Target`] index, for the maps that have a bias.
    pub(crate) bias: [Option<Range<usize>>; 7],
    /// Norms of each head of queries and of keys, if the family has them.
    pub(crate) head_norms: Option<[Range<usize>; 2]>,
}

/// A base model: configuration, weights in f32, and what the kernels need of them.
pub struct Model {
    config: ModelConfig,
    /// All weights as one list: there while they are being changed, or once somebody asked for
    /// them.
    flat: OnceLock<Vec<f32>>,
    count: usize,
    tensors: Vec<TensorSpan>,
    pub(crate) embed: Range<usize>,
    pub(crate) layers: Vec<LayerSpans>,
    pub(crate) norm: Range<usize>,
    /// Equal to `embed` when tied.
    pub(crate) head: Range<usize>,
    mode: NumericMode,
    weights: BaseWeights,
    /// Rotary frequency of each pair of a head.
    pub(crate) frequencies: Vec<f64>,
    /// Factor of the rotation's cosines and sines.
    pub(crate) rope_factor: f64,
    runtime: Runtime,
    hash: OnceLock<[u8; 32]>,
}

impl Model {
    /// Reads `config.json` and `model.safetensors` (or the shards that
    /// `model.safetensors.index.json` names).
    ///
    /// Weights may be F32, F16 or BF16; all are widened to f32, without loss.
    ///
    /// # Errors
    ///
    /// [`LoadError`], naming the file, setting or tensor; nothing is half-loaded.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        let config_bytes = files::read_limited(&files::within(dir, "config.json"), files::MAX_JSON_BYTES)?;
        let config = ModelConfig::parse(&config_bytes)?.with_generation(dir)?;
        let mut hash = Sha256::new();
        hash.update(HASH_TAG);
        hash_part(&mut hash, &config_bytes);
        let mut tensors = BTreeMap::new();
        for file in weight_files(dir)? {
            let path = files::within(dir, &file);
            let bytes = files::read_limited(&path, files::MAX_WEIGHT_BYTES)?;
            hash_part(&mut hash, &bytes);
            tensors.extend(files::parse_safetensors(&bytes, &path)?);
        }
        let mut model = Self::from_tensors(config, tensors)?;
        model.hash = OnceLock::from(<[u8; 32]>::from(hash.finalize()));
        Ok(model)
    }

    /// Configuration and hash of the model in `dir`, its weights read but not kept: what
    /// [`Model::load`] would know it by.
    ///
    /// # Errors
    ///
    /// As [`Model::load`], except that tensors are not looked at.
    pub fn identify(dir: &Path) -> Result<(ModelConfig, [u8; 32]), LoadError> {
        hash_files(dir)
    }

    /// As [`Model::load`] in numeric mode `mode`, with the packed weights kept in folder `cache`
    /// (made if need be) and mapped from there: the first load packs and writes, later ones check
    /// the checkpoint's hash and map.
    ///
    /// A cache that is damaged or cannot be written costs time, never the load.
    ///
    /// # Errors
    ///
    /// As [`Model::load`].
    pub fn load_packed(dir: &Path, mode: NumericMode, cache: &Path) -> Result<Self, LoadError> {
        let (config, hash) = hash_files(dir)?;
        let name: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let path = files::within(cache, &format!("{name}-{mode}.packed"));
        if let Some(model) = Self::map_packed(&config, mode, hash, &path) {
            return Ok(model);
        }
        let model = Self::load(dir)?.with_mode(mode)?;
        let written = packed_file::write(&path, Kind::Base, model.weights.form(), &hash, 0, model.weights.words());
        let mapped = written.ok().and_then(|()| Self::map_packed(&config, mode, hash, &path));
        Ok(mapped.unwrap_or(model))
    }

    /// The model whose packed weights lie at `path`, if that file is whole and of that checkpoint
    /// and mode.
    fn map_packed(config: &ModelConfig, mode: NumericMode, hash: [u8; 32], path: &Path) -> Option<Self> {
        let (form, _, region) = packed_file::map(path, Kind::Base, &hash)?;
        let fits = match mode {
            NumericMode::F32Fma => matches!(form, Form::F32 | Form::Bf16),
            NumericMode::Bf16Dot => form == Form::Pairs,
            NumericMode::Q8 => form == Form::Q8,
        };
        if !fits {
            return None;
        }
        let mut model = Self::empty(config.clone());
        model.weights = BaseWeights::in_region(&model.tensors, form, region)?;
        (model.mode, model.hash) = (mode, OnceLock::from(hash));
        Some(model)
    }

    /// Random weights for pre-training: normal with deviation 0.02 (output projections divided by
    /// `sqrt(2·layers)`), norms 1, biases 0. The same seed gives the same weights everywhere.
    ///
    /// # Errors
    ///
    /// [`LoadError::Unsupported`] when the configuration cannot be run.
    pub fn init(config: ModelConfig, seed: u64) -> Result<Self, LoadError> {
        config.validate()?;
        let deep = INIT_STD / (2.0 * config.layers as f64).sqrt();
        let mut model = Self::empty(config);
        let mut data = vec![0.0; model.count];
        for (stream, tensor) in model.tensors.iter().enumerate() {
            let narrow = tensor.name.contains("o_proj") || tensor.name.contains("down_proj");
            let spread = if narrow { deep } else { INIT_STD };
            for (i, x) in data[tensor.range.clone()].iter_mut().enumerate() {
                *x = match tensor.shape.len() {
                    1 => f32::from(!tensor.name.ends_with(".bias")),
                    _ => (spread * rng::normal(seed, stream as u64, i as u64)) as f32,
                };
            }
        }
        model.flat = OnceLock::from(data);
        model.repack();
        Ok(model)
    }

    /// A model with the weights `params`, in the order of [`Model::tensors`].
    ///
    /// # Errors
    ///
    /// [`LoadError::Unsupported`] when the configuration cannot be run or the number of weights
    /// differs.
    pub fn from_params(config: ModelConfig, params: &[f32]) -> Result<Self, LoadError> {
        config.validate()?;
        if config.num_params() != params.len() as u64 {
            let what = format!("{} weights for {} parameters", params.len(), config.num_params());
            return Err(LoadError::Unsupported { what });
        }
        let mut model = Self::empty(config);
        model.flat = OnceLock::from(params.to_vec());
        model.repack();
        Ok(model)
    }

    /// Writes `config.json` and `model.safetensors` with weights rounded to bf16 (nearest, ties to
    /// even). Loading them back gives the rounded weights, and with them another hash.
    ///
    /// # Errors
    ///
    /// [`LoadError::Io`] when a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), LoadError> {
        let io = |source| LoadError::Io { path: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(io)?;
        if self.mode != NumericMode::F32Fma {
            return Err(LoadError::Unsupported { what: format!("saving a model in numeric mode {}", self.mode) });
        }
        let mut scratch = Vec::new();
        let encoded: Vec<Vec<u8>> = self
            .tensors
            .iter()
            .map(|t| {
                let values = self.rows(&t.range, &mut scratch);
                values.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect()
            })
            .collect();
        let views = self
            .tensors
            .iter()
            .zip(&encoded)
            .map(|(t, bytes)| (t.name.as_str(), t.shape.as_slice(), safetensors::Dtype::BF16, bytes.as_slice()));
        files::write(&files::within(dir, "model.safetensors"), &files::safetensors(views, dir)?)?;
        let config = format!("{:#}\n", self.config.to_json());
        files::write(&files::within(dir, "config.json"), config.as_bytes())
    }

    /// The dimensions.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// SHA-256 that names this model.
    ///
    /// For a loaded model: over the tag `openledger/model/v1\0`, then length (u64, little-endian)
    /// and bytes of `config.json` and of every weight file in order of name. For one made in
    /// memory: the same over the configuration's JSON and the weights as little-endian f32.
    pub fn hash(&self) -> [u8; 32] {
        *self.hash.get_or_init(|| {
            let mut hash = Sha256::new();
            hash.update(HASH_TAG);
            hash_part(&mut hash, self.config.to_json().to_string().as_bytes());
            hash.update((4 * self.count as u64).to_le_bytes());
            let mut scratch = Vec::new();
            for tensor in &self.tensors {
                for x in self.rows(&tensor.range, &mut scratch) {
                    hash.update(x.to_le_bytes());
                }
            }
            hash.finalize().into()
        })
    }

    /// The same model on other threads or another instruction set; results stay the same.
    pub fn with_runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = runtime;
        self
    }

    /// Threads and instruction set in use.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Number of weights, a shared head counted once.
    pub fn num_params(&self) -> usize {
        self.count
    }

    /// All weights in the order of [`Model::tensors`], as the numeric mode has them.
    ///
    /// A loaded model keeps packed weights only: the first call unpacks them, 4 bytes each, and
    /// they stay.
    pub fn params(&self) -> &[f32] {
        self.flat.get_or_init(|| {
            let mut flat = vec![0.0; self.count];
            for tensor in &self.tensors {
                self.weights.read(&tensor.range, &mut flat[tensor.range.clone()]);
            }
            flat
        })
    }

    /// What stands where in [`Model::params`].
    pub fn tensors(&self) -> &[TensorSpan] {
        &self.tensors
    }

    /// Bytes of weights in memory, packed forms included.
    pub fn bytes(&self) -> usize {
        self.flat.get().map_or(0, |flat| size_of_val(flat.as_slice())) + self.weights.bytes()
    }

    /// Changes the flat list of weights, then rebuilds what depends on it.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut [f32])) {
        self.params();
        if let Some(flat) = self.flat.get_mut() {
            change(flat);
        }
        self.hash = OnceLock::new();
        self.repack();
    }

    /// The vector (norm or bias) at `range`.
    pub(crate) fn slice(&self, range: &Range<usize>) -> &[f32] {
        self.weights.vector(range)
    }

    /// The packed matrix at `range`.
    pub(crate) fn matrix(&self, range: &Range<usize>) -> Weight<'_> {
        self.weights.matrix(range)
    }

    /// The tensor at `range` as plain rows, unpacked into `scratch` unless they are there.
    pub(crate) fn rows<'a>(&'a self, range: &Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        if let Some(flat) = self.flat.get() {
            return &flat[range.clone()];
        }
        scratch.resize(range.len(), 0.0);
        self.weights.read(range, scratch);
        scratch
    }

    /// Packed output head.
    pub(crate) fn head_weight(&self) -> Weight<'_> {
        self.weights.matrix(&self.head)
    }

    /// The arithmetic it computes with, as receipts name it.
    pub fn mode(&self) -> NumericMode {
        self.mode
    }

    /// The same model in another numeric mode.
    ///
    /// # Errors
    ///
    /// [`LoadError::Unsupported`] when `self` has lost what the mode needs: a `q8` model cannot
    /// become exact again.
    pub fn with_mode(mut self, mode: NumericMode) -> Result<Self, LoadError> {
        if mode == self.mode {
            return Ok(self);
        }
        if self.mode != NumericMode::F32Fma {
            return Err(LoadError::Unsupported { what: format!("numeric mode {mode} from weights in {}", self.mode) });
        }
        // Receipts name the checkpoint, whatever it is computed in.
        self.hash();
        let empty = BaseWeights::zeroed(&self.tensors, form_for(mode, [].into_iter()));
        let old = std::mem::replace(&mut self.weights, empty);
        let mut values = Vec::new();
        for (index, tensor) in self.tensors.iter().enumerate() {
            values.resize(tensor.range.len(), 0.0);
            old.read(&tensor.range, &mut values);
            self.weights.put(index, &values);
        }
        (self.mode, self.flat) = (mode, OnceLock::new());
        Ok(self)
    }

    /// Refuses ids outside the vocabulary.
    pub(crate) fn check_ids(&self, ids: &[u32]) -> Result<(), RunError> {
        let vocab = self.config.vocab;
        match ids.iter().find(|id| **id as usize >= vocab) {
            Some(&id) => Err(RunError::TokenOutOfRange { id, vocab }),
            None => Ok(()),
        }
    }

    /// All weights zero; the configuration must be valid.
    fn empty(config: ModelConfig) -> Self {
        let mut tensors: Vec<TensorSpan> = Vec::new();
        let mut end = 0;
        let mut add = |name: String, shape: &[usize]| {
            let range = end..end + shape.iter().product::<usize>();
            end = range.end;
            tensors.push(TensorSpan { name, range: range.clone(), shape: shape.to_vec() });
            range
        };
        let (h, v) = (config.hidden, config.vocab);
        let embed = add("model.embed_tokens.weight".into(), &[v, h]);
        let layers = (0..config.layers)
            .map(|l| {
                let at = format!("model.layers.{l}");
                let norm1 = add(format!("{at}.input_layernorm.weight"), &[h]);
                let norm2 = add(format!("{at}.post_attention_layernorm.weight"), &[h]);
                let linear = Target::ALL.map(|t| {
                    let (rows, cols) = t.dims(&config);
                    add(format!("{at}.{}.weight", t.path()), &[rows, cols])
                });
                let bias = Target::ALL
                    .map(|t| config.arch.bias(t).then(|| add(format!("{at}.{}.bias", t.path()), &[t.dims(&config).0])));
                let head_norms = config.arch.head_norms().then(|| {
                    ["q_norm", "k_norm"].map(|n| add(format!("{at}.self_attn.{n}.weight"), &[config.head_dim]))
                });
                LayerSpans { norm1, norm2, linear, bias, head_norms }
            })
            .collect();
        let norm = add("model.norm.weight".into(), &[h]);
        let head = if config.tied { embed.clone() } else { add("lm_head.weight".into(), &[v, h]) };
        let (frequencies, rope_factor) = config.arch.rope.frequencies(config.rope_theta, config.head_dim);
        Self {
            flat: OnceLock::new(),
            count: end,
            weights: BaseWeights::zeroed(&[], Form::F32),
            mode: NumericMode::F32Fma,
            config,
            tensors,
            embed,
            layers,
            norm,
            head,
            frequencies,
            rope_factor,
            runtime: Runtime::default(),
            hash: OnceLock::new(),
        }
    }

    /// Fills an empty model from named tensors; every one must be used.
    fn from_tensors(config: ModelConfig, mut found: BTreeMap<String, Tensor>) -> Result<Self, LoadError> {
        const EMBED: &str = "model.embed_tokens.weight";
        const HEAD: &str = "lm_head.weight";
        // Old exports carry tables that follow from the configuration.
        found.retain(|name, _| !name.ends_with("rotary_emb.inv_freq"));
        if config.tied {
            // Tied weights may be stored under either name, or under both.
            match (found.contains_key(EMBED), found.remove(HEAD)) {
                (false, Some(head)) => drop(found.insert(EMBED.into(), head)),
                (true, Some(head)) if found.get(EMBED) != Some(&head) => {
                    return Err(LoadError::Unsupported {
                        what: "tie_word_embeddings = true with an lm_head that differs".into(),
                    });
                }
                _ => {}
            }
        }
        // Checked before the model is allocated, so that a small file cannot ask for much memory.
        let values: usize = found.values().map(|t| t.data.len()).sum();
        if (values as u64) < config.num_params() {
            let missing = |name: &str| LoadError::MissingTensor { name: name.to_owned() };
            let names = std::iter::once(EMBED.to_owned()).chain(
                (0..config.layers).flat_map(|l| Target::ALL.map(|t| format!("model.layers.{l}.{}.weight", t.path()))),
            );
            if let Some(name) = names.into_iter().find(|name| !found.contains_key(name)) {
                return Err(missing(&name));
            }
        }
        if !found.contains_key(EMBED) {
            return Err(LoadError::MissingTensor { name: EMBED.into() });
        }
        let embed = &found[EMBED];
        if embed.shape != [config.vocab, config.hidden] {
            return Err(LoadError::WrongShape {
                name: EMBED.into(),
                found: embed.shape.clone(),
                expected: vec![config.vocab, config.hidden],
            });
        }
        let mut model = Self::empty(config);
        let matrices = found.values().filter(|t| t.shape.len() == 2).map(|t| t.data.as_slice());
        model.weights = BaseWeights::zeroed(&model.tensors, form_for(NumericMode::F32Fma, matrices));
        for (index, tensor) in model.tensors.iter().enumerate() {
            let values = files::take(&mut found, &tensor.name, &tensor.shape)?;
            model.weights.put(index, &values);
        }
        if let Some(name) = found.into_keys().next() {
            return Err(LoadError::UnknownTensor { name });
        }
        Ok(model)
    }

    /// Rebuilds the packed form from the flat list: as f32, so that it can be done in place again.
    fn repack(&mut self) {
        let Some(flat) = self.flat.get() else { return };
        if self.weights.form() != Form::F32 || self.weights.bytes() < 4 * self.count {
            self.weights = BaseWeights::zeroed(&self.tensors, Form::F32);
        }
        for (index, tensor) in self.tensors.iter().enumerate() {
            self.weights.put(index, &flat[tensor.range.clone()]);
        }
        self.mode = NumericMode::F32Fma;
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("config", &self.config)
            .field("params", &self.count)
            .field("mode", &self.mode)
            .finish()
    }
}

/// Configuration and hash of the checkpoint in `dir`, without keeping its weights.
fn hash_files(dir: &Path) -> Result<(ModelConfig, [u8; 32]), LoadError> {
    let bytes = files::read_limited(&files::within(dir, "config.json"), files::MAX_JSON_BYTES)?;
    let config = ModelConfig::parse(&bytes)?.with_generation(dir)?;
    let mut hash = Sha256::new();
    hash.update(HASH_TAG);
    hash_part(&mut hash, &bytes);
    for file in weight_files(dir)? {
        let path = files::within(dir, &file);
        let io = |source| LoadError::Io { path: path.clone(), source };
        let mut file = File::open(&path).map_err(io)?;
        hash.update(file.metadata().map_err(io)?.len().to_le_bytes());
        std::io::copy(&mut file, &mut hash).map_err(io)?;
    }
    Ok((config, hash.finalize().into()))
}

/// Length, then bytes: no two lists of parts hash alike.
fn hash_part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// Names of the weight files in `dir`, sorted.
fn weight_files(dir: &Path) -> Result<Vec<String>, LoadError> {
    let single = "model.safetensors";
    let index = files::within(dir, "model.safetensors.index.json");
    if files::within(dir, single).exists() || !index.exists() {
        return Ok(vec![single.into()]);
    }
    let malformed = |reason: &str| LoadError::Malformed { path: index.clone(), reason: reason.into() };
    let bytes = files::read_limited(&index, files::MAX_JSON_BYTES)?;
    let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|e| malformed(&e.to_string()))?;
    let map = json["weight_map"].as_object().ok_or_else(|| malformed("no `weight_map` object"))?;
    let mut names = BTreeSet::new();
    for file in map.values() {
        let name = file.as_str().ok_or_else(|| malformed("`weight_map` must map to file names"))?;
        // A name with a separator could point outside the folder.
        if name.contains(['/', '\\']) || !name.ends_with(".safetensors") {
            return Err(malformed(&format!("shard `{name}` is not a safetensors file of this folder")));
        }
        names.insert(name.to_owned());
    }
    Ok(names.into_iter().collect())
}
