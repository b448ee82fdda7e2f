//! Products of rows and the inverse of a positive definite matrix, in f64 with one fixed order of
//! sums.
//!
//! Place in the flow: under the solver and the scorer. Invariants: every sum runs in eight strided
//! lanes and a fixed tree; wider instructions are used where the processor has them, and change no
//! bit: additions are fused with products only where the product is exact. Not here: what the
//! matrices mean.

use std::ops::Range;

use openledger_engine::{Wide, widest};

/// Lanes of every sum.
const LANES: usize = 8;
/// Rows of each operand that one tile multiplies.
const TILE: usize = 4;

/// Bytes of rows that stay in the second-level cache while the other operand's rows pass.
const PANEL_BYTES: usize = 256 << 10;

/// Numbers that widen to f64 without loss.
pub(crate) trait Real: Copy + Sync {
    /// Whether a product of two such numbers is exact in f64, so that fusing it with a sum rounds
    /// nothing away.
    const EXACT: bool;
    fn wide(self) -> f64;
}
impl Real for f32 {
    const EXACT: bool = true;
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
}
impl Real for f64 {
    const EXACT: bool = false;
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
}

/// Rows of equal length in one slice.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) width: usize,
}

impl<'a, T> Rows<'a, T> {
    /// `values` as rows of `width` (at least 1).
    pub(crate) fn new(values: &'a [T], width: usize) -> Self {
        assert!(width > 0 && values.len().is_multiple_of(width));
        Self { values, width }
    }

    pub(crate) fn count(&self) -> usize {
        self.values.len() / self.width
    }

    fn row(&self, index: usize) -> &'a [T] {
        &self.values[index * self.width..][..self.width]
    }
}

/// The dot product of every row of `a` with every row of `b`: `[a.count, b.count]`, row-major.
pub(crate) fn products<T: Real, U: Real>(a: Rows<'_, T>, b: Rows<'_, U>) -> Vec<f64> {
    let mut out = vec![0.0; a.count() * b.count()];
    dispatch(a, b, false, &mut out);
    out
}

/// [`products`] of `a` with itself; the upper half is mirrored, not computed.
pub(crate) fn kernel<T: Real>(a: Rows<'_, T>) -> Vec<f64> {
    let n = a.count();
    let mut out = vec![0.0; n * n];
    dispatch(a, a, true, &mut out);
    mirror(&mut out, n);
    out
}

fn mirror(square: &mut [f64], n: usize) {
    for i in 0..n {
        for j in i + 1..n {
            square[i * n + j] = square[j * n + i];
        }
    }
}

/// Runs [`tiles`] compiled for the widest instructions at hand.
fn dispatch<T: Real, U: Real>(a: Rows<'_, T>, b: Rows<'_, U>, lower: bool, out: &mut [f64]) {
    assert_eq!(a.width, b.width);
    widest(Products { a, b, lower, out });
}

/// The arguments of [`tiles`].
struct Products<'a, 'o, T, U> {
    a: Rows<'a, T>,
    b: Rows<'a, U>,
    lower: bool,
    out: &'o mut [f64],
}

impl<T: Real, U: Real> Wide for Products<'_, '_, T, U> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSE: bool>(self) {
        tiles::<T, U, FUSE>(self.a, self.b, self.lower, self.out);
    }
}

/// All products, panel by panel of `b` and tile by tile; `lower`: only tiles that touch the lower
/// half.
#[inline(always)]
fn tiles<T: Real, U: Real, const FUSE: bool>(a: Rows<'_, T>, b: Rows<'_, U>, lower: bool, out: &mut [f64]) {
    let panel = (PANEL_BYTES / (a.width * size_of::<U>())).max(1).next_multiple_of(TILE);
    for from in (0..b.count()).step_by(panel) {
        tiles_of::<T, U, FUSE>(a, b, from..b.count().min(from + panel), lower, out);
    }
}

/// The products with the rows `panel` of `b`.
#[inline(always)]
fn tiles_of<T: Real, U: Real, const FUSE: bool>(
    a: Rows<'_, T>,
    b: Rows<'_, U>,
    panel: Range<usize>,
    lower: bool,
    out: &mut [f64],
) {
    let (rows, cols) = (a.count(), b.count());
    for i in (0..rows).step_by(TILE) {
        let last = if lower { panel.end.min(i + TILE) } else { panel.end };
        for j in (panel.start..last).step_by(TILE) {
            // Rows beyond the end are computed as the last row and not written.
            let left: [&[T]; TILE] = std::array::from_fn(|k| a.row((i + k).min(rows - 1)));
            let right: [&[U]; TILE] = std::array::from_fn(|k| b.row((j + k).min(cols - 1)));
            let sums = tile::<T, U, FUSE>(left, right, a.width);
            for (i, sums) in (i..rows).zip(&sums) {
                for (j, sum) in (j..cols).zip(sums) {
                    out[i * cols + j] = *sum;
                }
            }
        }
    }
}

#[inline(always)]
fn tile<T: Real, U: Real, const FUSE: bool>(
    left: [&[T]; TILE],
    right: [&[U]; TILE],
    width: usize,
) -> [[f64; TILE]; TILE] {
    let mut sums = [[[0f64; LANES]; TILE]; TILE];
    let whole = width / LANES * LANES;
    let left_whole: [&[T]; TILE] = std::array::from_fn(|k| &left[k][..whole]);
    let right_whole: [&[U]; TILE] = std::array::from_fn(|k| &right[k][..whole]);
    let mut at = 0;
    while at < whole {
        let x: [[f64; LANES]; TILE] = std::array::from_fn(|k| load(&left_whole[k][at..at + LANES]));
        let y: [[f64; LANES]; TILE] = std::array::from_fn(|k| load(&right_whole[k][at..at + LANES]));
        if FUSE && T::EXACT && U::EXACT {
            add::<true>(&mut sums, &x, &y);
        } else {
            add::<false>(&mut sums, &x, &y);
        }
        at += LANES;
    }
    if whole < width {
        let x: [[f64; LANES]; TILE] = std::array::from_fn(|k| load(&left[k][whole..]));
        let y: [[f64; LANES]; TILE] = std::array::from_fn(|k| load(&right[k][whole..]));
        if FUSE && T::EXACT && U::EXACT {
            add::<true>(&mut sums, &x, &y);
        } else {
            add::<false>(&mut sums, &x, &y);
        }
    }
    sums.map(|row| row.map(reduce))
}

#[inline(always)]
fn add<const FUSE: bool>(sums: &mut [[[f64; LANES]; TILE]; TILE], x: &[[f64; LANES]; TILE], y: &[[f64; LANES]; TILE]) {
    for i in 0..TILE {
        for j in 0..TILE {
            for lane in 0..LANES {
                let sum = &mut sums[i][j][lane];
                *sum = if FUSE { x[i][lane].mul_add(y[j][lane], *sum) } else { *sum + x[i][lane] * y[j][lane] };
            }
        }
    }
}

/// The next values, zeros after the end.
#[inline(always)]
fn load<T: Real>(values: &[T]) -> [f64; LANES] {
    let mut out = [0.0; LANES];
    for (slot, value) in out.iter_mut().zip(values) {
        *slot = value.wide();
    }
    out
}

#[inline(always)]
fn reduce(lanes: [f64; LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The columns `range` of rows of `width`, as rows of their own.
pub(crate) fn columns(values: &[f32], width: usize, range: &Range<usize>) -> Vec<f32> {
    values.chunks_exact(width).flat_map(|row| &row[range.clone()]).copied().collect()
}

/// Rows as columns.
pub(crate) fn transpose<T: Real + Default>(rows: Rows<'_, T>) -> Vec<T> {
    let count = rows.count();
    let mut out = vec![T::default(); rows.values.len()];
    for (i, row) in rows.values.chunks_exact(rows.width).enumerate() {
        for (j, value) in row.iter().enumerate() {
            out[j * count + i] = *value;
        }
    }
    out
}

/// The inverse of the positive definite matrix `a` (`[n, n]`, row-major), or `None` when it is not
/// positive definite.
///
/// Cholesky `a = L Lᵀ` in blocks, then `L⁻¹`, then `L⁻ᵀ L⁻¹`; **cost** about `n³`.
pub(crate) fn inverse(mut a: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    factorise(&mut a, n)?;
    Some(kernel(Rows::new(&invert_lower(&a, n), n)))
}

/// Rows that are factorised together.
const BLOCK: usize = 48;

/// Cholesky in place: the lower half of `a` becomes L, the upper half zero.
fn factorise(a: &mut [f64], n: usize) -> Option<()> {
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        if start > 0 {
            // What the finished columns take from this block of columns, for all rows below.
            let finished: Vec<f64> = a.chunks_exact(n).skip(start).flat_map(|row| &row[..start]).copied().collect();
            let below = Rows::new(&finished, start);
            let here = Rows::new(&finished[..(end - start) * start], start);
            let taken = products(below, here);
            for (row, taken) in a.chunks_exact_mut(n).skip(start).zip(taken.chunks_exact(end - start)) {
                for (value, taken) in row[start..end].iter_mut().zip(taken) {
                    *value -= taken;
                }
            }
        }
        for i in start..n {
            for j in start..end.min(i + 1) {
                let sum: f64 = (start..j).map(|k| a[i * n + k] * a[j * n + k]).sum();
                let value = a[i * n + j] - sum;
                if i == j {
                    if !(value > 0.0 && value.is_finite()) {
                        return None;
                    }
                    a[i * n + i] = value.sqrt();
                } else {
                    a[i * n + j] = value / a[j * n + j];
                }
            }
        }
    }
    for i in 0..n {
        a[i * n + i + 1..(i + 1) * n].fill(0.0);
    }
    Some(())
}

/// The transposed inverse of a lower triangular matrix, made row block by row block of the inverse.
fn invert_lower(lower: &[f64], n: usize) -> Vec<f64> {
    // Transposed, so that what is done can be multiplied as rows.
    let mut columns = vec![0.0; n * n];
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        let mut block = vec![0.0; (end - start) * n];
        if start > 0 {
            let left: Vec<f64> = lower[start * n..end * n].chunks_exact(n).flat_map(|r| &r[..start]).copied().collect();
            let done: Vec<f64> = columns.chunks_exact(n).take(start).flat_map(|c| &c[..start]).copied().collect();
            let part = products(Rows::new(&left, start), Rows::new(&done, start));
            for (row, part) in block.chunks_exact_mut(n).zip(part.chunks_exact(start)) {
                row[..start].iter_mut().zip(part).for_each(|(value, part)| *value = -part);
            }
        }
        for i in start..end {
            let (above, row) = block.split_at_mut((i - start) * n);
            row[i] += 1.0;
            for (k, done) in (start..i).zip(above.chunks_exact(n)) {
                let factor = lower[i * n + k];
                row[..=k].iter_mut().zip(done).for_each(|(value, done)| *value -= factor * done);
            }
            let pivot = lower[i * n + i];
            row[..=i].iter_mut().for_each(|value| *value /= pivot);
        }
        for (i, row) in (start..end).zip(block.chunks_exact(n)) {
            for (j, value) in row[..=i].iter().enumerate() {
                columns[j * n + i] = *value;
            }
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use openledger_engine::uniform;

    use super::*;

    fn random(count: usize, stream: u64) -> Vec<f32> {
        (0..count as u64).map(|i| uniform(7, stream, i) as f32 - 0.5).collect()
    }

    #[test]
    fn products_are_dot_products_of_any_shape() {
        for (rows, cols, width) in [(1, 1, 1), (3, 5, 7), (9, 4, 8), (6, 6, 33), (4, 2, 100)] {
            let (a, b) = (random(rows * width, 1), random(cols * width, 2));
            let out = products(Rows::new(&a, width), Rows::new(&b, width));
            for i in 0..rows {
                for j in 0..cols {
                    let dot: f64 = (0..width).map(|k| f64::from(a[i * width + k]) * f64::from(b[j * width + k])).sum();
                    assert!((out[i * cols + j] - dot).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn wide_instructions_change_no_bit() {
        let (a, b) = (random(13 * 77, 1), random(10 * 77, 2));
        let (a, b) = (Rows::new(&a, 77), Rows::new(&b, 77));
        let mut plain = vec![0.0; 130];
        tiles::<f32, f32, false>(a, b, false, &mut plain);
        assert_eq!(products(a, b), plain);
        let third: Vec<f64> = a.values.iter().map(|value| f64::from(*value) / 3.0).collect();
        let third = Rows::new(&third, 77);
        tiles::<f64, f32, false>(third, b, false, &mut plain);
        assert_eq!(products(third, b), plain);
    }

    #[test]
    fn a_kernel_is_the_products_of_rows_with_themselves() {
        let a = random(11 * 9, 3);
        let rows = Rows::new(&a, 9);
        assert_eq!(kernel(rows), products(rows, rows));
    }

    #[test]
    fn an_inverse_times_its_matrix_is_one() {
        for n in [1, 2, 5, 47, 48, 49, 130] {
            let g = random(n * 20, 4);
            let mut a = kernel(Rows::new(&g, 20));
            (0..n).for_each(|i| a[i * n + i] += 0.3);
            let inverted = inverse(a.clone(), n).unwrap();
            let product = products(Rows::new(&a, n), Rows::new(&inverted, n));
            for i in 0..n {
                for j in 0..n {
                    let one = f64::from(u8::from(i == j));
                    assert!((product[i * n + j] - one).abs() < 1e-10, "n {n} at {i},{j}: {}", product[i * n + j]);
                }
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_has_no_inverse() {
        assert!(inverse(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(inverse(vec![0.0], 1).is_none());
        assert!(inverse(vec![f64::NAN], 1).is_none());
    }
}
