//! A row-major table of f32, the shape in which logits leave the engine.

/// Row-major `[rows, cols]` f32 values.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    data: Vec<f32>,
}

impl Matrix {
    /// Wraps `data`, of `rows·cols` values.
    pub(crate) fn new(rows: usize, cols: usize, data: Vec<f32>) -> Self {
        assert_eq!(data.len(), rows * cols);
        Self { rows, cols, data }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `index`.
    ///
    /// # Panics
    ///
    /// When `index` is not below [`Matrix::rows`].
    pub fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.cols..][..self.cols]
    }

    /// All values, row after row.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }
}

/// Dot product in f64: products exact, summed in 16 strided lanes and then in a fixed tree, so that
/// every machine gets the same bits.
///
/// **Shapes:** both of one length; what the longer has more is ignored.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0f64; 16];
    for (x, y) in a.chunks(16).zip(b.chunks(16)) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            // The product of two f32 is exact in f64, so that fusing it with the sum changes
            // nothing.
            *lane += f64::from(*x) * f64::from(*y);
        }
    }
    let mut width = 8;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_sums_products_of_any_length() {
        let a: Vec<f32> = (0..37).map(|i| i as f32).collect();
        let want: f64 = (0..37).map(|i| f64::from(i * i)).sum();
        assert_eq!(dot(&a, &a), want);
        assert_eq!(dot(&[], &[]), 0.0);
    }
}
