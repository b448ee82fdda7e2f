//! The matrices `M G` that queries are multiplied with, one LoRA factor at a time.
//!
//! Place in the flow: from gradients to a cache. Invariants: a module's result depends on that
//! module's columns alone (and, for the cosine, on the rows' norms), so threads change no bit.
//! Memory is one module's kernel at a time and thread: the smaller of records² and parameters², in
//! f64. Not here: files.

use std::ops::Range;

use super::linalg::{Rows, columns, inverse, kernel, products, transpose};
use super::{Gradients, InfluenceError, Method};

/// `M G` for every module, blocks `[rows, module]` one after the other.
pub(super) fn solve(
    gradients: &Gradients,
    method: Method,
    damping: f64,
    threads: usize,
) -> Result<Vec<f32>, InfluenceError> {
    if !(damping > 0.0 && damping <= 1000.0) {
        return Err(InfluenceError::Damping);
    }
    let norms = norms(gradients);
    let one = |module: &Range<usize>| {
        let block = columns(&gradients.values, gradients.parameters(), module);
        match method {
            Method::Fisher => fisher(&block, module.len(), damping),
            Method::GradDot => block,
            Method::GradCos => cosine(block, module.len(), &norms),
            Method::DataInf => datainf(&block, module.len(), damping),
        }
    };
    let mut out = Vec::with_capacity(gradients.values.len());
    for group in gradients.modules.chunks(threads.max(1)) {
        let blocks: Vec<Vec<f32>> = std::thread::scope(|scope| {
            let tasks: Vec<_> = group.iter().map(|module| scope.spawn(|| one(module))).collect();
            tasks.into_iter().map(|task| task.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        blocks.iter().for_each(|block| out.extend_from_slice(block));
    }
    match out.iter().position(|value| !value.is_finite()) {
        None => Ok(out),
        Some(_) => Err(InfluenceError::NotFinite { index: 0 }),
    }
}

/// `(GᵀG/n + d I)⁻¹ g` for every row `g` of `block` (`[n, width]`).
///
/// Woodbury: the same is `Gᵀ (GGᵀ/n + d I)⁻¹`, so the smaller of the two matrices is inverted. `d`
/// is `damping` times the mean of the eigenvalues that can be non-zero, `trace / min(n, width)`.
fn fisher(block: &[f32], width: usize, damping: f64) -> Vec<f32> {
    let rows = Rows::new(block, width);
    let (n, count) = (rows.count(), rows.count() as f64);
    let dual = n <= width;
    let across = transpose(rows);
    let across = Rows::new(&across, n);
    let side = n.min(width);
    let mut matrix = kernel(if dual { rows } else { across });
    let trace: f64 = (0..side).map(|i| matrix[i * side + i]).sum::<f64>() / count;
    let damp = damping * trace / side as f64;
    matrix.iter_mut().for_each(|value| *value /= count);
    (0..side).for_each(|i| matrix[i * side + i] += damp);
    // Without any gradient there is no influence either.
    let Some(inverted) = inverse(matrix, side) else { return vec![0.0; block.len()] };
    let inverted = Rows::new(&inverted, side);
    let solved = if dual { products(inverted, across) } else { products(rows, inverted) };
    solved.into_iter().map(|value| value as f32).collect()
}

/// The mean over `i` of `(d I + gᵢgᵢᵀ)⁻¹ g` for every row `g` (Sherman and Morrison), `d` = damping
/// × mean eigenvalue.
fn datainf(block: &[f32], width: usize, damping: f64) -> Vec<f32> {
    let rows = Rows::new(block, width);
    let n = rows.count();
    let mut matrix = kernel(rows);
    let trace: f64 = (0..n).map(|i| matrix[i * n + i]).sum::<f64>() / n as f64;
    let damp = damping * trace / width as f64;
    if damp <= 0.0 {
        return vec![0.0; block.len()];
    }
    let scale: Vec<f64> = (0..n).map(|i| 1.0 / (n as f64 * (damp + matrix[i * n + i]))).collect();
    for j in 0..n {
        for i in 0..n {
            let one = f64::from(u8::from(i == j));
            matrix[j * n + i] = (one - matrix[j * n + i] * scale[i]) / damp;
        }
    }
    let across = transpose(rows);
    let solved = products(Rows::new(&matrix, n), Rows::new(&across, n));
    solved.into_iter().map(|value| value as f32).collect()
}

fn cosine(mut block: Vec<f32>, width: usize, norms: &[f64]) -> Vec<f32> {
    for (row, norm) in block.chunks_exact_mut(width).zip(norms) {
        row.iter_mut().for_each(|value| *value = if *norm > 0.0 { (f64::from(*value) / norm) as f32 } else { 0.0 });
    }
    block
}

/// The Euclidean norm of each row.
pub(super) fn norms(gradients: &Gradients) -> Vec<f64> {
    let square = |row: &[f32]| products(Rows::new(row, row.len()), Rows::new(row, row.len()))[0];
    gradients.values.chunks_exact(gradients.parameters().max(1)).map(|row| square(row).sqrt()).collect()
}

#[cfg(test)]
mod tests {
    use openledger_engine::uniform;

    use super::*;

    fn random(count: usize, stream: u64) -> Vec<f32> {
        (0..count as u64).map(|i| uniform(11, stream, i) as f32 - 0.5).collect()
    }

    /// Gauss and Jordan with pivots on the dense primal matrix: nothing shared with the code above.
    fn dense(block: &[f32], width: usize, damp: f64) -> Vec<f64> {
        let n = block.len() / width;
        let mut rows: Vec<Vec<f64>> = (0..width)
            .map(|i| {
                let cell = |j: usize| -> f64 {
                    let sum: f64 =
                        block.chunks(width).map(|g| f64::from(g[i]) * f64::from(g[j])).sum::<f64>() / n as f64;
                    sum + if i == j { damp } else { 0.0 }
                };
                (0..width).map(cell).chain(block.chunks(width).map(|g| f64::from(g[i]))).collect()
            })
            .collect();
        for column in 0..width {
            let pivot = (column..width).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()));
            rows.swap(column, pivot.unwrap());
            let divisor = rows[column][column];
            rows[column].iter_mut().for_each(|value| *value /= divisor);
            let done = rows[column].clone();
            for (i, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != column) {
                let _ = i;
                let factor = row[column];
                row.iter_mut().zip(&done).for_each(|(value, done)| *value -= factor * done);
            }
        }
        (0..n).flat_map(|g| rows.iter().map(move |row| row[width + g]).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn both_forms_of_fisher_equal_a_dense_solve() {
        for (n, width) in [(1, 6), (7, 20), (20, 7), (12, 12), (60, 9)] {
            let block = random(n * width, (n * 100 + width) as u64);
            let trace: f64 = block.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>() / n as f64;
            let damp = 0.1 * trace / n.min(width) as f64;
            let want = dense(&block, width, damp);
            let largest = want.iter().fold(0.0f64, |max, value| max.max(value.abs()));
            for (got, want) in fisher(&block, width, 0.1).iter().zip(&want) {
                assert!((f64::from(*got) - want).abs() < 1e-6 * largest, "{n} x {width}: {got} for {want}");
            }
        }
    }

    #[test]
    fn datainf_is_the_mean_of_the_inverses() {
        let (n, width) = (5, 4);
        let block = random(n * width, 3);
        let trace: f64 = block.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>() / n as f64;
        let damp = 0.1 * trace / width as f64;
        let got = datainf(&block, width, 0.1);
        for (j, g) in block.chunks(width).enumerate() {
            let mut want = vec![0.0; width];
            for one in block.chunks(width) {
                // The dense solve of one record's own matrix, for the right side g.
                let stacked: Vec<f32> = one.to_vec();
                let inverse_times = |right: &[f32]| -> Vec<f64> {
                    let dot: f64 = stacked.iter().zip(right).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let own: f64 = stacked.iter().map(|a| f64::from(*a) * f64::from(*a)).sum();
                    let correct = |(r, a): (&f32, &f32)| (f64::from(*r) - dot / (damp + own) * f64::from(*a)) / damp;
                    right.iter().zip(&stacked).map(correct).collect()
                };
                want.iter_mut().zip(inverse_times(g)).for_each(|(sum, value)| *sum += value / n as f64);
            }
            for (got, want) in got[j * width..][..width].iter().zip(&want) {
                assert!((f64::from(*got) - want).abs() < 1e-4 * want.abs().max(1.0));
            }
        }
    }

    #[test]
    fn a_module_without_gradients_has_no_influence() {
        assert_eq!(fisher(&[0.0; 12], 4, 0.1), [0.0; 12]);
        assert_eq!(datainf(&[0.0; 12], 4, 0.1), [0.0; 12]);
    }
}
