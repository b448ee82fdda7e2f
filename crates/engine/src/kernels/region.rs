//! Memory that packed weights lie in: the heap, huge pages, or a file mapped read-only.
//!
//! Place in the flow: under `weights`; `packed` maps files. Invariants: a region starts at a
//! multiple of 64 bytes and its length never changes; a mapped file is never written through the
//! mapping. Not here: what the words mean.

use std::fs::File;

use memmap2::{Mmap, MmapMut};

/// Bytes from which anonymous memory is asked of the system directly, so that huge pages can back
/// it.
const HUGE_FROM: usize = 4 << 20;

/// One cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _words: [u32; 16],
}

enum Memory {
    Heap(Vec<Line>),
    Anonymous(MmapMut),
    File(Mmap),
}

/// A run of 32-bit words.
pub(crate) struct Region {
    memory: Memory,
    words: usize,
}

impl Region {
    /// `words` zeros; on huge pages where the system allows and the size deserves them.
    pub(crate) fn zeroed(words: usize) -> Self {
        let bytes = words * size_of::<u32>();
        if bytes >= HUGE_FROM
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            advise(|| map.advise(memmap2::Advice::HugePage));
            return Self { memory: Memory::Anonymous(map), words };
        }
        Self { memory: Memory::Heap(vec![Line { _words: [0; 16] }; words.div_ceil(16)]), words }
    }

    /// The whole of `file`, whose length must be a multiple of 4.
    ///
    /// # Errors
    ///
    /// What the system says when it cannot map it.
    pub(crate) fn map(file: &File) -> std::io::Result<Self> {
        // SAFETY: the mapping is private to reading. The files are our own caches, replaced by
        // renaming and never written in place; who truncates one under a running process ends that
        // process, as with any program text.
        let map = unsafe { Mmap::map(file)? };
        // All of it is read at once, so let the system read ahead by more than it does for one page
        // after the other.
        advise(|| map.advise(memmap2::Advice::WillNeed));
        advise(|| map.advise(memmap2::Advice::HugePage));
        let words = map.len() / size_of::<u32>();
        Ok(Self { memory: Memory::File(map), words })
    }

    /// Whether it is a mapped file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.memory, Memory::File(_))
    }

    /// The words.
    pub(crate) fn words(&self) -> &[u32] {
        let start = match &self.memory {
            Memory::Heap(lines) => lines.as_ptr().cast::<u32>(),
            Memory::Anonymous(map) => map.as_ptr().cast(),
            Memory::File(map) => map.as_ptr().cast(),
        };
        // SAFETY: each kind holds at least `words` initialised words from an address aligned to 64
        // (lines) or a page.
        unsafe { std::slice::from_raw_parts(start, self.words) }
    }

    /// The words as floats of the same bits.
    pub(crate) fn floats(&self) -> &[f32] {
        let words = self.words();
        // SAFETY: f32 has the size and alignment of u32, and every bit pattern is one.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len()) }
    }

    /// The words for writing; `None` for a mapped file.
    pub(crate) fn words_mut(&mut self) -> Option<&mut [u32]> {
        let start = match &mut self.memory {
            Memory::Heap(lines) => lines.as_mut_ptr().cast::<u32>(),
            Memory::Anonymous(map) => map.as_mut_ptr().cast(),
            Memory::File(_) => return None,
        };
        // SAFETY: as in `words`; the borrow of `self` is exclusive.
        Some(unsafe { std::slice::from_raw_parts_mut(start, self.words) })
    }
}

/// Advice is a wish: what the system makes of it changes no result.
fn advise(wish: impl FnOnce() -> std::io::Result<()>) {
    let _ = wish();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_regions_start_as_zeros_at_a_cache_line() {
        for words in [0, 1, 100, HUGE_FROM / 4 + 3] {
            let mut region = Region::zeroed(words);
            assert!(region.words().len() == words && region.words().iter().all(|w| *w == 0));
            assert!(region.words().as_ptr().cast::<u8>().align_offset(64) == 0);
            if let Some(last) = region.words_mut().unwrap().last_mut() {
                *last = 7;
            }
            assert_eq!(region.words().last().copied().unwrap_or(7), 7);
        }
    }
}
