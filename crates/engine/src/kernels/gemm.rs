//! Matrix products: `C = A·B` with every element summed over k in index order.
//!
//! Place in the flow: under every linear layer, forward and backward. `A` has any strides (so that
//! it may be a transpose), `B` is either packed once (weights) or row-major (activations); `C` is
//! row-major.
//!
//! Invariants: `C[i][j]` is `fma` over k = 0, 1, .. from zero, whatever the tile it falls in; lanes
//! are different j. Threads split columns of `C`, never k.

use super::lanes::Lanes;
use super::{Runtime, dispatch};

/// Columns per panel of a packed matrix.
const PANEL: usize = 16;
/// Products (multiplications) below which a call stays on one thread.
const SPLIT_FROM: usize = 1 << 20;

/// A `[k, n]` matrix in panels of 16 columns (`[panel][k][16]`), the last one padded with zeros.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packed {
    k: usize,
    n: usize,
    data: Vec<f32>,
}

impl Packed {
    /// Packs the transpose of row-major `w` `[n, k]`: what a linear layer with weight `w`
    /// multiplies by.
    pub(crate) fn transposed(w: &[f32], n: usize, k: usize) -> Self {
        let mut packed = Self { k, n, data: vec![0.0; n.div_ceil(PANEL) * PANEL * k] };
        packed.fill(w);
        packed
    }

    /// Packs other values of the same shape.
    pub(crate) fn fill(&mut self, w: &[f32]) {
        assert_eq!(w.len(), self.n * self.k);
        for (j, row) in w.chunks_exact(self.k.max(1)).enumerate() {
            let panel = &mut self.data[j / PANEL * PANEL * self.k..][..PANEL * self.k];
            for (slot, x) in panel[j % PANEL..].iter_mut().step_by(PANEL).zip(row) {
                *slot = *x;
            }
        }
    }
}

/// The left factor: element `(i, k)` stands at `data[i·row + k·col]`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    /// The values.
    pub(crate) data: &'a [f32],
    /// Distance of rows.
    pub(crate) row: usize,
    /// Distance of columns.
    pub(crate) col: usize,
}

impl<'a> Left<'a> {
    /// Row-major with `width` columns.
    pub(crate) fn rows(data: &'a [f32], width: usize) -> Self {
        Self { data, row: width, col: 1 }
    }

    /// The transpose of a row-major matrix with `width` columns.
    pub(crate) fn transposed(data: &'a [f32], width: usize) -> Self {
        Self { data, row: 1, col: width }
    }
}

/// The right factor `[k, n]`.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// Packed beforehand.
    Packed(&'a Packed),
    /// Row-major, rows `width` apart.
    Rows(&'a [f32], usize),
}

/// How the sums go into C.
#[derive(Clone, Copy)]
pub(crate) enum Accumulate {
    /// `C = sum`.
    Set,
    /// `C = C + sum`.
    Add,
    /// `C = fma(scale, sum, C)`.
    Scaled(f32),
}

/// Shape of a product.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Rows of A and C.
    pub(crate) m: usize,
    /// Columns of B and C.
    pub(crate) n: usize,
    /// Columns of A, rows of B.
    pub(crate) k: usize,
}

/// `C (op)= A·B`, C row-major with rows `ldc` apart.
///
/// # Panics
///
/// When a slice is shorter than the shape needs; a mistake of this crate, never of input.
pub(crate) fn gemm(rt: &Runtime, shape: Shape, a: Left<'_>, b: Right<'_>, c: &mut [f32], ldc: usize, into: Accumulate) {
    let Shape { m, n, k } = shape;
    if m == 0 || n == 0 {
        return;
    }
    assert!(ldc >= n && c.len() >= (m - 1) * ldc + n, "C too short");
    assert!(k == 0 || a.data.len() > (m - 1) * a.row + (k - 1) * a.col, "A too short");
    // The last panel of a row-major B is copied when it is not whole, so that 16 lanes can be read.
    let tail;
    let (full, panel_stride, k_stride, last) = match b {
        Right::Packed(p) => {
            assert!(p.k == k && p.n >= n && p.data.len() >= n.div_ceil(PANEL) * PANEL * k, "B is another shape");
            (p.data.as_slice(), PANEL * k, PANEL, None)
        }
        Right::Rows(data, width) => {
            assert!(k == 0 || (width >= n && data.len() >= (k - 1) * width + n), "B too short");
            let whole = n / PANEL * PANEL;
            tail = (whole < n).then(|| {
                let mut panel = vec![0.0; k * PANEL];
                for (to, from) in panel.chunks_exact_mut(PANEL).zip(data.chunks(width)) {
                    to[..n - whole].copy_from_slice(&from[whole..n]);
                }
                panel
            });
            (data, PANEL, width, tail.as_deref())
        }
    };
    let job = Job {
        m,
        n,
        k,
        a: a.data.as_ptr(),
        a_row: a.row,
        a_col: a.col,
        b: full.as_ptr(),
        panel_stride,
        k_stride,
        last: last.map(<[f32]>::as_ptr),
        c: c.as_mut_ptr(),
        ldc,
        into,
    };
    let panels = n.div_ceil(PANEL);
    let isa = rt.isa();
    let part = |from: usize, to: usize| {
        dispatch!(isa, panels_body(job: Job, from: usize, to: usize));
    };
    let tasks = if m * n * k < SPLIT_FROM { 1 } else { rt.threads().min(panels) };
    if tasks <= 1 {
        part(0, panels);
    } else {
        let part = &part;
        rt.run(tasks, &|i| part(panels * i / tasks, panels * (i + 1) / tasks));
    }
}

/// A checked product as pointers.
#[derive(Clone, Copy)]
struct Job {
    m: usize,
    n: usize,
    k: usize,
    a: *const f32,
    a_row: usize,
    a_col: usize,
    b: *const f32,
    panel_stride: usize,
    k_stride: usize,
    /// The last, incomplete panel in packed form, when B is row-major.
    last: Option<*const f32>,
    c: *mut f32,
    ldc: usize,
    into: Accumulate,
}

// SAFETY: A and B are only read, and threads write disjoint columns of C; `gemm` waits for all of
// them while it holds the borrows the pointers came from.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

/// Panels `from..to` of a product; `job` must have been checked by `gemm`.
#[inline(always)]
unsafe fn panels_body<L: Lanes>(job: Job, from: usize, to: usize) {
    let whole_to = if job.last.is_some() { to.min(job.n / PANEL) } else { to };
    let group = if L::TILE >= 16 { 4 } else { 1 };
    let mut p = from;
    // SAFETY (all blocks): panels below `whole_to` lie within B, rows below `m` within A and C.
    while p < whole_to {
        // Few rows: more panels at once keep enough independent sums in flight.
        let left = whole_to - p;
        let wide = if job.m <= 2 { 4 } else { group };
        let take = if left >= wide {
            wide
        } else if left >= 2 && wide >= 2 {
            2
        } else {
            1
        };
        let (b, stride) = (unsafe { job.b.add(p * job.panel_stride) }, job.k_stride);
        unsafe {
            match take {
                4 => rows_body::<L, 4>(&job, b, job.panel_stride, stride, p),
                2 => rows_body::<L, 2>(&job, b, job.panel_stride, stride, p),
                _ => rows_body::<L, 1>(&job, b, job.panel_stride, stride, p),
            }
        }
        p += take;
    }
    if let Some(last) = job.last
        && to * PANEL > job.n
        && p < to
    {
        // SAFETY: the copied panel holds k rows of 16.
        unsafe { rows_body::<L, 1>(&job, last, 0, PANEL, p) };
    }
}

/// All rows against `N` panels that start at `b`; `p` is the first one's number.
#[inline(always)]
unsafe fn rows_body<L: Lanes, const N: usize>(job: &Job, b: *const f32, stride: usize, k_stride: usize, p: usize) {
    let mut i = 0;
    // SAFETY (all blocks): rows `i..i + M` are below `m`.
    unsafe {
        if N * 4 <= L::TILE {
            while i + 4 <= job.m {
                tile::<L, 4, N>(job, b, stride, k_stride, i, p);
                i += 4;
            }
        }
        if N * 2 <= L::TILE {
            while i + 2 <= job.m {
                tile::<L, 2, N>(job, b, stride, k_stride, i, p);
                i += 2;
            }
        }
        while i < job.m {
            tile::<L, 1, N>(job, b, stride, k_stride, i, p);
            i += 1;
        }
    }
}

/// `M` rows from `i` against `N` panels.
///
/// Loops over constant bounds and pointers that wrap keep the sums in registers, with and without
/// debug assertions.
#[inline(always)]
unsafe fn tile<L: Lanes, const M: usize, const N: usize>(
    job: &Job,
    b: *const f32,
    stride: usize,
    k_stride: usize,
    i: usize,
    p: usize,
) {
    let (mut a, mut b) = (job.a.wrapping_add(i * job.a_row), b);
    let rows: [usize; M] = std::array::from_fn(|r| r * job.a_row);
    let panels: [usize; N] = std::array::from_fn(|j| j * stride);
    let col = p * PANEL;
    let c = job.c.wrapping_add(i * job.ldc + col);
    // SAFETY: rows, panels and k are in range by the caller's contract; a panel that sticks out of
    // C goes through a buffer.
    unsafe {
        let mut acc = [[L::splat(0.0); N]; M];
        for _ in 0..job.k {
            let right: [L; N] = std::array::from_fn(|j| L::load(b.wrapping_add(panels[j])));
            for r in 0..M {
                let left = L::broadcast(a.wrapping_add(rows[r]));
                for j in 0..N {
                    acc[r][j] = left.fma(right[j], acc[r][j]);
                }
            }
            a = a.wrapping_add(job.a_col);
            b = b.wrapping_add(k_stride);
        }
        if col + N * PANEL <= job.n {
            store_all(&acc, c, job.ldc, job.into);
        } else {
            let mut sums = [[[0f32; PANEL]; N]; M];
            for r in 0..M {
                for j in 0..N {
                    acc[r][j].store(sums[r][j].as_mut_ptr());
                }
            }
            let width = job.n - col;
            for (r, sums) in sums.iter().enumerate() {
                let row = std::slice::from_raw_parts_mut(c.wrapping_add(r * job.ldc), width);
                for (c, sum) in row.iter_mut().zip(sums.as_flattened()) {
                    *c = match job.into {
                        Accumulate::Set => *sum,
                        Accumulate::Add => *c + sum,
                        Accumulate::Scaled(scale) => scale.mul_add(*sum, *c),
                    };
                }
            }
        }
    }
}

/// Stores whole panels of sums at `c`, rows `ldc` apart.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant indices are what keeps the sums in registers")]
unsafe fn store_all<L: Lanes, const M: usize, const N: usize>(
    acc: &[[L; N]; M],
    c: *mut f32,
    ldc: usize,
    into: Accumulate,
) {
    let rows: [usize; M] = std::array::from_fn(|r| r * ldc);
    // SAFETY: the caller vouches for `M` rows of `N` panels at `c`.
    unsafe {
        match into {
            Accumulate::Set => {
                for r in 0..M {
                    for j in 0..N {
                        acc[r][j].store(c.wrapping_add(rows[r] + j * PANEL));
                    }
                }
            }
            Accumulate::Add => {
                for r in 0..M {
                    for j in 0..N {
                        let c = c.wrapping_add(rows[r] + j * PANEL);
                        L::load(c).add(acc[r][j]).store(c);
                    }
                }
            }
            Accumulate::Scaled(scale) => {
                let scale = L::splat(scale);
                for r in 0..M {
                    for j in 0..N {
                        let c = c.wrapping_add(rows[r] + j * PANEL);
                        scale.fma(acc[r][j], L::load(c)).store(c);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Isa;
    use super::*;
    use crate::rng::uniform;

    fn random(len: usize, stream: u64) -> Vec<f32> {
        (0..len).map(|i| uniform(5, stream, i as u64) as f32 - 0.5).collect()
    }

    fn oracle(shape: Shape, a: Left<'_>, b: &[f32], c: &mut [f32], into: Accumulate) {
        for i in 0..shape.m {
            for j in 0..shape.n {
                let sum = (0..shape.k).fold(0f32, |s, k| a.data[i * a.row + k * a.col].mul_add(b[k * shape.n + j], s));
                let c = &mut c[i * shape.n + j];
                *c = match into {
                    Accumulate::Set => sum,
                    Accumulate::Add => *c + sum,
                    Accumulate::Scaled(x) => x.mul_add(sum, *c),
                };
            }
        }
    }

    #[test]
    fn products_have_the_bits_of_the_plain_loop_on_every_path() {
        let rt = Runtime::new(2);
        for (m, n, k) in [(1, 1, 1), (1, 172, 64), (7, 40, 9), (13, 16, 0), (2, 65, 33), (70, 130, 128)] {
            let shape = Shape { m, n, k };
            let (a, b, c0) = (random(m * k, 1), random(k * n, 2), random(m * n, 3));
            let bt: Vec<f32> = (0..n * k).map(|i| b[i % k * n + i / k]).collect();
            let packed = Packed::transposed(&bt, n, k);
            let lefts = [Left::rows(&a, k), Left::transposed(&a, m)];
            for isa in Isa::ALL {
                let Some(rt) = rt.with_isa(isa) else { continue };
                for left in lefts {
                    for into in [Accumulate::Set, Accumulate::Add, Accumulate::Scaled(0.3)] {
                        let mut want = c0.clone();
                        oracle(shape, left, &b, &mut want, into);
                        for right in [Right::Packed(&packed), Right::Rows(&b, n)] {
                            let mut got = c0.clone();
                            gemm(&rt, shape, left, right, &mut got, n, into);
                            assert_eq!(got, want, "{m}x{n}x{k} on {isa:?}");
                        }
                    }
                }
            }
        }
    }
}
