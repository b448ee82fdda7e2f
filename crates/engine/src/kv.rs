//! Keys and values of sequences, in pages of 16 tokens under one budget of bytes.
//!
//! Place in the flow: `forward` writes and reads a [`KvCache`]; `serving` decides how much memory a
//! sequence may take and which finished pages others may share ([`KvPrefixes`](crate::KvPrefixes)).
//!
//! # Invariants
//!
//! - **Hard budget.** What leases hold never exceeds the limit of their [`MemoryBudget`]; every
//!   page of a bounded cache is paid from its lease and pays back when the last holder lets go of
//!   it.
//! - **A full page never changes.** So it can be shared by holders that know nothing of each other.
//!   The one page that is being written has one owner; a cache cut back into a shared page writes
//!   to a copy.
//! - **No trace in the bits.** Attention walks positions in order whatever pages they lie in.
//!
//! Not here: the arithmetic (`kernels::attention`), which pages to keep (`kv_prefix`), who waits
//! for memory (`serving`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::RunError;
use crate::kv_page::{PAGE, PageShape};
use crate::model::Model;

/// A limit on bytes that several owners share.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of `limit` bytes, all free.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), peak: AtomicUsize::new(0) })
    }

    /// Takes `bytes`, or nothing when fewer are free.
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Lease> {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let before = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
        let used = before + bytes;
        assert!(used <= self.limit, "more memory was leased than there is");
        self.peak.fetch_max(used, Ordering::AcqRel);
        Some(Lease { budget: Arc::clone(self), bytes })
    }

    /// Bytes that there are.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes taken now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// Most bytes that were ever taken at once.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Acquire)
    }
}

/// Bytes taken from a budget; they go back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Lease {
    /// How many.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves `bytes` of it into a lease of their own, or nothing when it holds fewer.
    pub fn split(&mut self, bytes: usize) -> Option<Lease> {
        self.bytes = self.bytes.checked_sub(bytes)?;
        Some(Lease { budget: Arc::clone(&self.budget), bytes })
    }

    /// Takes in what another lease of the same budget holds.
    fn join(&mut self, mut other: Lease) {
        assert!(Arc::ptr_eq(&self.budget, &other.budget), "leases of two budgets");
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Keys and values of 16 positions, all layers and heads.
#[derive(Debug)]
pub(crate) struct Page {
    /// As [`PageShape`] says, layer by layer.
    pub(crate) data: Box<[u32]>,
    /// What pays for it; pages of unbounded caches have none.
    lease: Option<Lease>,
}

/// A full page, shared: what it holds is fixed by model, adapter and all tokens up to its last.
#[derive(Debug, Clone)]
pub struct KvPage(Arc<Page>);

impl KvPage {
    /// Whether nobody else holds it.
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// Keys and values of one sequence, for all layers.
#[derive(Debug)]
pub struct KvCache {
    shape: PageShape,
    layers: usize,
    pages: Vec<Arc<Page>>,
    len: usize,
    /// Pays for further pages; `None` takes what the machine has.
    credit: Option<Lease>,
}

impl KvCache {
    /// Positions in a page.
    pub const PAGE_TOKENS: usize = PAGE;

    /// An empty cache for that model, bounded by the machine only.
    pub fn new(model: &Model) -> Self {
        Self::shaped(PageShape::of(model), model.config().layers)
    }

    pub(crate) fn shaped(shape: PageShape, layers: usize) -> Self {
        Self { shape, layers, pages: Vec::new(), len: 0, credit: None }
    }

    /// A cache that starts with the positions of `prefix`, pages of the same model in order, and
    /// pays for all others from `credit`.
    pub fn bounded(model: &Model, prefix: &[KvPage], credit: Lease) -> Self {
        let pages: Vec<Arc<Page>> = prefix.iter().map(|page| Arc::clone(&page.0)).collect();
        Self { len: pages.len() * PAGE, pages, credit: Some(credit), ..Self::new(model) }
    }

    /// Number of tokens held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets every token from position `len` on; does nothing when there are fewer. Pages that
    /// nobody else holds are the credit's again.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.len = len;
        for page in self.pages.drain(len.div_ceil(PAGE)..) {
            let Ok(mut page) = Arc::try_unwrap(page) else { continue };
            let lease = page.lease.take();
            drop(page);
            if let (Some(credit), Some(lease)) = (&mut self.credit, lease) {
                credit.join(lease);
            }
        }
    }

    /// The `index`-th page, once it is full.
    pub fn full_page(&self, index: usize) -> Option<KvPage> {
        (index < self.len / PAGE).then(|| KvPage(Arc::clone(&self.pages[index])))
    }

    /// Bytes of its pages, shared ones included.
    pub fn bytes(&self) -> usize {
        self.pages.iter().map(|page| size_of_val(&*page.data)).sum()
    }

    /// Bytes of a page of 16 tokens.
    pub fn page_bytes(model: &Model) -> usize {
        model.config().layers * PageShape::of(model).layer() * size_of::<u32>()
    }

    /// Whether it was made for models of that shape and way of keeping numbers.
    pub(crate) fn fits(&self, model: &Model) -> bool {
        self.layers == model.config().layers && self.shape == PageShape::of(model)
    }

    /// Makes room for `tokens` further positions that only this cache writes.
    ///
    /// # Errors
    ///
    /// [`RunError::NoMemory`] when its credit does not pay for them.
    pub(crate) fn reserve(&mut self, tokens: usize) -> Result<(), RunError> {
        let words = self.layers * self.shape.layer();
        if !self.len.is_multiple_of(PAGE)
            && let Some(last) = self.pages.last_mut()
            && Arc::get_mut(last).is_none()
        {
            let lease = pay(&mut self.credit, words)?;
            *last = Arc::new(Page { data: last.data.clone(), lease });
        }
        while self.pages.len() * PAGE < self.len + tokens {
            let lease = pay(&mut self.credit, words)?;
            self.pages.push(Arc::new(Page { data: vec![0; words].into_boxed_slice(), lease }));
        }
        Ok(())
    }

    /// Writes one layer of the position `ahead` places after the end; room was reserved for it.
    ///
    /// **Shapes:** `keys` and `values` `[kv_heads, head_dim]`.
    pub(crate) fn write(&mut self, layer: usize, ahead: usize, keys: &[f32], values: &[f32]) {
        let at = self.len + ahead;
        let page = Arc::get_mut(&mut self.pages[at / PAGE]).expect("`reserve` leaves the pages to write unshared");
        let start = layer * self.shape.layer();
        self.shape.write(&mut page.data[start..][..self.shape.layer()], at % PAGE, keys, values);
    }

    /// Its pages, and where `layer` begins in each.
    pub(crate) fn layer(&self, layer: usize) -> (&[Arc<Page>], usize) {
        (&self.pages, layer * self.shape.layer())
    }

    /// Counts `tokens` positions that were written to all layers.
    pub(crate) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

/// Memory of a page of `words` from `credit`; none is needed where there is no limit.
fn pay(credit: &mut Option<Lease>, words: usize) -> Result<Option<Lease>, RunError> {
    let Some(credit) = credit else { return Ok(None) };
    let needed = words * size_of::<u32>();
    let left = credit.bytes();
    credit.split(needed).map(Some).ok_or(RunError::NoMemory { needed, left })
}

impl Drop for Page {
    fn drop(&mut self) {
        // First the memory, then the right to it: the budget never counts less than there is.
        drop(std::mem::take(&mut self.data));
        self.lease = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: PageShape = PageShape { kv_heads: 1, head_dim: 8, pairs: false };

    fn page_bytes() -> usize {
        2 * SHAPE.layer() * size_of::<u32>()
    }

    /// An empty cache of two layers that may take `pages` pages.
    fn bounded(budget: &Arc<MemoryBudget>, pages: usize) -> KvCache {
        KvCache { credit: budget.take(pages * page_bytes()), ..KvCache::shaped(SHAPE, 2) }
    }

    fn append(cache: &mut KvCache, value: f32) {
        cache.reserve(1).unwrap();
        for layer in 0..2 {
            cache.write(layer, 0, &[value; 8], &[value; 8]);
        }
        cache.advance(1);
    }

    #[test]
    fn a_budget_gives_what_it_has_and_takes_it_back() {
        let budget = MemoryBudget::new(100);
        let mut lease = budget.take(70).unwrap();
        assert!(budget.take(31).is_none() && budget.take(usize::MAX).is_none());
        let part = lease.split(30).unwrap();
        assert!(lease.split(41).is_none());
        drop(lease);
        assert_eq!(budget.used(), 30);
        drop(part);
        assert_eq!((budget.used(), budget.peak()), (0, 70));
    }

    #[test]
    fn a_bounded_cache_refuses_what_its_credit_does_not_pay() {
        let page = page_bytes();
        let budget = MemoryBudget::new(2 * page + 1);
        let mut cache = bounded(&budget, 2);
        for i in 0..32 {
            append(&mut cache, i as f32);
        }
        assert_eq!(cache.reserve(1), Err(RunError::NoMemory { needed: page, left: 0 }));
        assert_eq!(cache.len(), 32);
        cache.truncate(10);
        (10..32).for_each(|i| append(&mut cache, i as f32));
        assert_eq!(budget.used(), 2 * page, "a page that was cut off pays for the next one");
        let kept = cache.full_page(0).unwrap();
        drop(cache);
        assert_eq!(budget.used(), page, "a shared page is paid for until its last holder goes");
        assert!(kept.is_alone());
        drop(kept);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_cache_cut_back_into_a_shared_page_writes_to_a_copy() {
        let page = page_bytes();
        let budget = MemoryBudget::new(4 * page);
        let mut cache = bounded(&budget, 3);
        (0..16).for_each(|i| append(&mut cache, i as f32));
        let shared = cache.full_page(0).unwrap();
        let before = shared.0.data.clone();
        cache.truncate(5);
        append(&mut cache, 99.0);
        assert_eq!(shared.0.data, before);
        assert_ne!(cache.layer(0).0[0].data, before);
    }

    #[test]
    fn what_was_cut_off_leaves_no_trace_in_pairs() {
        let shape = PageShape { pairs: true, ..SHAPE };
        let filled = |values: &[f32], cut: usize, again: &[f32]| {
            let mut cache = KvCache::shaped(shape, 2);
            values.iter().for_each(|x| append(&mut cache, *x));
            cache.truncate(cut);
            again.iter().for_each(|x| append(&mut cache, *x));
            cache.layer(0).0[0].data.clone()
        };
        let straight = filled(&[1.0, 2.0, 3.0, 4.0], 4, &[]);
        assert_eq!(filled(&[1.0, 2.0, 3.0, -7.5], 3, &[4.0]), straight, "cut between the two of a pair");
        assert_eq!(filled(&[1.0, 2.0, -7.5, 9.0], 2, &[3.0, 4.0]), straight, "cut between pairs");
        assert_eq!(straight.len(), SHAPE.layer(), "two layers in the memory of one of f32");
    }
}
