//! An adapter's factors in the order the kernels read them.
//!
//! Place in the flow: [`Lora`](crate::Lora) keeps one beside its settings; `linear` multiplies by
//! it. The A factors of maps that share an input (queries, keys and values; gate and up) stand
//! together as one weight, so that a row is read once for all of them.
//!
//! Invariant: factors are in the smallest float form that loses nothing ([`Form::holding`]). Not
//! here: what is multiplied when (`linear`), files (`peft`).

use std::ops::Range;
use std::path::Path;

use crate::error::LoadError;
use crate::kernels::region::Region;
use crate::kernels::weights::{Form, Spec, Weight};
use crate::packed_file::{self, HEAD_WORDS, Kind};
use crate::shapes::{Factor, Target};

/// Maps that share an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// The first norm's output: queries, keys, values.
    Attention,
    /// The mixed values: output projection.
    Mixed,
    /// The second norm's output: gate, up.
    FeedForward,
    /// The gated product: down.
    Gated,
}

impl Input {
    /// All four, in the order of a layer.
    pub(crate) const ALL: [Input; 4] = [Input::Attention, Input::Mixed, Input::FeedForward, Input::Gated];

    /// The maps that read it.
    pub(crate) fn targets(self) -> &'static [Target] {
        match self {
            Input::Attention => &[Target::Q, Target::K, Target::V],
            Input::Mixed => &[Target::O],
            Input::FeedForward => &[Target::Gate, Target::Up],
            Input::Gated => &[Target::Down],
        }
    }
}

/// Shape and place of one map's factors in the adapter's flat list.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    pub(crate) a: Range<usize>,
    pub(crate) b: Range<usize>,
    pub(crate) rank: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

/// Factors of the maps that share one input in one layer.
#[derive(Debug, Clone)]
struct Joint {
    a: Spec,
    /// By place in [`Input::targets`]: first column of the map's part in `A·x`, and its B.
    b: [Option<(usize, Spec)>; 3],
}

/// All factors of an adapter.
pub(crate) struct LoraPack {
    /// By `layer · 4 + input`.
    joints: Vec<Option<Joint>>,
    form: Form,
    region: Region,
}

/// The shape that a mapped file of an adapter carries in front of its factors; `extra` is its
/// length in bytes.
pub(crate) fn shape_bytes(extra: u32, region: &Region) -> Option<Vec<u8>> {
    let len = usize::try_from(extra).ok()?;
    let words = region.words().get(HEAD_WORDS..)?.get(..len.div_ceil(4))?;
    Some(words.iter().flat_map(|w| w.to_le_bytes()).take(len).collect())
}

/// Words in front of the factors: the head of a file and a shape of `len` bytes.
fn start(len: usize) -> usize {
    HEAD_WORDS + len.div_ceil(4).next_multiple_of(16)
}

/// The factors that one product needs.
pub(crate) struct Factors<'a> {
    /// `[sum of ranks, inputs]`.
    pub(crate) a: Weight<'a>,
    /// By place in [`Input::targets`]: first column of the map's part in `A·x`, and B
    /// `[outputs, rank]`.
    pub(crate) b: [Option<(usize, Weight<'a>)>; 3],
}

impl LoraPack {
    /// Packs `params`; `maps` by `layer · 7 + target`.
    pub(crate) fn new(maps: &[Option<Map>], params: &[f32]) -> Self {
        let form = Form::holding(params);
        let (joints, words) = layout(maps, form, start(0));
        let mut pack = Self { joints, form, region: Region::zeroed(words) };
        pack.fill(maps, params);
        pack
    }

    /// What `region` holds behind a shape of `extra` bytes, if it has the size of these maps.
    pub(crate) fn in_region(maps: &[Option<Map>], form: Form, extra: u32, region: Region) -> Option<Self> {
        let (joints, words) = layout(maps, form, start(usize::try_from(extra).ok()?));
        (form != Form::Q8 && region.words().len() == words).then_some(Self { joints, form, region })
    }

    /// Writes shape and factors to `path`.
    pub(crate) fn write(&self, path: &Path, hash: &[u8; 32], shape: &[u8]) -> Result<(), LoadError> {
        // A mapped pack has the shape of its file in front; its factors start where the first
        // weight does.
        let first = self.joints.iter().flatten().map(|joint| joint.a.offset).min().unwrap_or(0);
        let mut words = vec![0; start(shape.len())];
        for (word, bytes) in words[HEAD_WORDS..].iter_mut().zip(shape.chunks(4)) {
            let mut four = [0; 4];
            four[..bytes.len()].copy_from_slice(bytes);
            *word = u32::from_le_bytes(four);
        }
        words.extend_from_slice(&self.region.words()[first..]);
        let extra = u32::try_from(shape.len()).unwrap_or(u32::MAX);
        packed_file::write(path, Kind::Adapter, self.form, hash, extra, &words)
    }

    /// The values of one factor, row-major, as they were packed.
    pub(crate) fn read(&self, layer: usize, target: Target, factor: Factor, out: &mut [f32]) {
        let found = Input::ALL.into_iter().find_map(|input| {
            let at = input.targets().iter().position(|t| *t == target)?;
            let Factors { a, b } = self.factors(layer, input)?;
            b[at].map(|(first, b)| (a, first, b))
        });
        let Some((a, first, b)) = found else { return };
        match factor {
            Factor::A => {
                for (i, row) in out.chunks_exact_mut(a.k).enumerate() {
                    a.row(first + i, row);
                }
            }
            Factor::B => b.rows(out),
        }
    }

    /// Whether the factors are those that were packed; for a mapped file that was not read yet.
    pub(crate) fn is_whole(&self) -> bool {
        !self.region.is_file() || packed_file::is_whole(&self.region)
    }

    /// Bytes held or mapped.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.region.words())
    }

    /// The memory that [`LoraPack::factors`] hands out parts of.
    pub(crate) fn words(&self, layer: usize, input: Input) -> Option<&[u32]> {
        let joint = self.joints[layer * Input::ALL.len() + input as usize].as_ref()?;
        let last = joint.b.iter().flatten().map(|(_, b)| b).next_back().unwrap_or(&joint.a);
        self.region.words().get(joint.a.offset..last.offset + last.words())
    }

    /// Factors of the maps that read `input` in `layer`, if any has an adapter.
    pub(crate) fn factors(&self, layer: usize, input: Input) -> Option<Factors<'_>> {
        let joint = self.joints[layer * Input::ALL.len() + input as usize].as_ref()?;
        let words = self.region.words();
        Some(Factors { a: joint.a.of(words), b: joint.b.map(|b| b.map(|(first, spec)| (first, spec.of(words)))) })
    }

    fn fill(&mut self, maps: &[Option<Map>], params: &[f32]) {
        let Some(words) = self.region.words_mut() else { return };
        let mut stacked = Vec::new();
        for (i, joint) in self.joints.iter().enumerate() {
            let Some(joint) = joint else { continue };
            stacked.clear();
            for (map, b) in shared(maps, i).zip(joint.b) {
                if let (Some(map), Some((_, spec))) = (map, b) {
                    stacked.extend_from_slice(&params[map.a.clone()]);
                    spec.pack(&params[map.b.clone()], words);
                }
            }
            joint.a.pack(&stacked, words);
        }
    }
}

/// Maps of joint `i` (`layer · 4 + input`), by place in [`Input::targets`].
fn shared(maps: &[Option<Map>], i: usize) -> impl Iterator<Item = Option<&Map>> {
    let (layer, input) = (i / Input::ALL.len(), Input::ALL[i % Input::ALL.len()]);
    input.targets().iter().map(move |t| maps[layer * Target::ALL.len() + t.index()].as_ref())
}

/// Places of all factors, and words in all.
fn layout(maps: &[Option<Map>], form: Form, start: usize) -> (Vec<Option<Joint>>, usize) {
    let mut end = start;
    let layers = maps.len() / Target::ALL.len();
    let joints = (0..layers * Input::ALL.len())
        .map(|i| {
            let inputs = shared(maps, i).flatten().next()?.inputs;
            let ranks = shared(maps, i).flatten().map(|m| m.rank).sum();
            let a = Spec::after(&mut end, ranks, inputs, form);
            let (mut b, mut first) = ([None; 3], 0);
            for (b, map) in b.iter_mut().zip(shared(maps, i)) {
                *b = map.map(|m| (first, Spec::after(&mut end, m.outputs, m.rank, form)));
                first += map.map_or(0, |m| m.rank);
            }
            Some(Joint { a, b })
        })
        .collect();
    (joints, end)
}
