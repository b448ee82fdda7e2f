//! A base model's tensors in the one form that is kept: packed for the kernels.
//!
//! Place in the flow: [`Model`](crate::Model) owns one; `forward` multiplies by its matrices,
//! `backward` asks for plain rows again; `packed_file` writes and maps it.
//!
//! Invariants: matrices are bf16 when every one of the checkpoint's is (which loses nothing), f32
//! otherwise, rounded in mode `bf16dot-1`, or 8-bit in mode `q8-2`; vectors (norms, biases) are f32
//! always. The layout follows from tensors and form alone, so that a file needs no index. Not here:
//! adapters (`lora_pack`).

use std::ops::Range;

use crate::kernels::region::Region;
use crate::kernels::weights::{Form, Spec, Weight, are_bf16};
use crate::mode::NumericMode;
use crate::packed_file::HEAD_WORDS;
use crate::shapes::TensorSpan;

/// One tensor's place.
#[derive(Debug, Clone, Copy)]
enum Place {
    Matrix(Spec),
    Vector { offset: usize, len: usize },
}

/// All tensors of a model.
pub(crate) struct BaseWeights {
    form: Form,
    /// First flat index and place of each tensor, ascending.
    places: Vec<(usize, Place)>,
    region: Region,
}

/// The form that loses nothing of what the mode means.
pub(crate) fn form_for<'a>(mode: NumericMode, mut matrices: impl Iterator<Item = &'a [f32]>) -> Form {
    match mode {
        NumericMode::Q8 => Form::Q8,
        NumericMode::Bf16Dot => Form::Pairs,
        NumericMode::F32Fma if matrices.all(are_bf16) => Form::Bf16,
        NumericMode::F32Fma => Form::F32,
    }
}

/// Places of all tensors, and words in all.
fn layout(tensors: &[TensorSpan], form: Form) -> (Vec<(usize, Place)>, usize) {
    let mut end = HEAD_WORDS;
    let places = tensors
        .iter()
        .map(|tensor| {
            let place = match tensor.shape[..] {
                [n, k] => Place::Matrix(Spec::after(&mut end, n, k, form)),
                _ => {
                    let (offset, len) = (end, tensor.range.len());
                    end += len.next_multiple_of(16);
                    Place::Vector { offset, len }
                }
            };
            (tensor.range.start, place)
        })
        .collect();
    (places, end)
}

impl BaseWeights {
    /// All zeros.
    pub(crate) fn zeroed(tensors: &[TensorSpan], form: Form) -> Self {
        let (places, words) = layout(tensors, form);
        Self { form, places, region: Region::zeroed(words) }
    }

    /// What `region` holds, if it has the size of these tensors.
    pub(crate) fn in_region(tensors: &[TensorSpan], form: Form, region: Region) -> Option<Self> {
        let (places, words) = layout(tensors, form);
        (region.words().len() == words).then_some(Self { form, places, region })
    }

    /// The form of its matrices.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// All words, the head included.
    pub(crate) fn words(&self) -> &[u32] {
        self.region.words()
    }

    /// Bytes held or mapped.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.region.words())
    }

    /// Packs the values of tensor `index`; does nothing to a mapped file.
    pub(crate) fn put(&mut self, index: usize, values: &[f32]) {
        let place = self.places[index].1;
        let Some(words) = self.region.words_mut() else { return };
        match place {
            Place::Matrix(spec) => spec.pack(values, words),
            Place::Vector { offset, len } => {
                for (word, x) in words[offset..][..len].iter_mut().zip(values) {
                    *word = x.to_bits();
                }
            }
        }
    }

    /// The matrix whose flat range this is.
    ///
    /// # Panics
    ///
    /// When the range is no matrix of the model; a mistake of this crate, never of input.
    pub(crate) fn matrix(&self, range: &Range<usize>) -> Weight<'_> {
        match self.place(range) {
            Place::Matrix(spec) => spec.of(self.region.words()),
            Place::Vector { .. } => panic!("{range:?} is a vector"),
        }
    }

    /// The vector whose flat range this is.
    ///
    /// # Panics
    ///
    /// As [`BaseWeights::matrix`].
    pub(crate) fn vector(&self, range: &Range<usize>) -> &[f32] {
        match self.place(range) {
            Place::Vector { offset, len } => &self.region.floats()[offset..][..len],
            Place::Matrix(_) => panic!("{range:?} is a matrix"),
        }
    }

    /// The values of a tensor, row-major, into `out`.
    pub(crate) fn read(&self, range: &Range<usize>, out: &mut [f32]) {
        match self.place(range) {
            Place::Matrix(spec) => spec.of(self.region.words()).rows(out),
            Place::Vector { offset, len } => out.copy_from_slice(&self.region.floats()[offset..][..len]),
        }
    }

    fn place(&self, range: &Range<usize>) -> Place {
        match self.places.binary_search_by_key(&range.start, |(start, _)| *start) {
            Ok(index) => self.places[index].1,
            Err(_) => panic!("{range:?} is no tensor of the model"),
        }
    }
}
