//! Scores of queries against records, as a matrix, as a `.npy` file, and as the integers that are
//! paid.
//!
//! Place in the flow: from a cache to credits, or to the command line. Invariant: floats end here;
//! [`to_weights`] is the one place where a score becomes an integer. Not here: which records share
//! a cluster (`credit`).

use openledger_protocol::Params;

use super::InfluenceError;

/// Makes the median absolute deviation of a normal distribution its standard deviation.
const MAD_SCALE: f64 = 1.4826;
/// The same for the mean absolute deviation: √(π/2).
const MEAN_SCALE: f64 = 1.2533;

/// `[queries, records]`, row-major; positive: the record made the answer likelier.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    queries: usize,
    records: usize,
    values: Vec<f32>,
}

impl Scores {
    pub(super) fn new(queries: usize, records: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), queries * records);
        Self { queries, records, values }
    }

    /// How many queries.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// How many records, in file order.
    #[must_use]
    pub fn records(&self) -> usize {
        self.records
    }

    /// The scores of query `index`, or `None` beyond the last.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.values.get(index * self.records..(index + 1) * self.records).filter(|_| index < self.queries)
    }

    /// The matrix as NumPy reads it: format 1.0, little-endian float32, C order.
    #[must_use]
    pub fn to_npy(&self) -> Vec<u8> {
        let shape = format!("({}, {})", self.queries, self.records);
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        // Magic, version, length and header together fill multiples of 64 bytes and end in a line
        // feed.
        let filled = (10 + header.len() + 1).next_multiple_of(64);
        header.extend(std::iter::repeat_n(' ', filled - 11 - header.len()));
        header.push('\n');
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend_from_slice(&(header.len() as u16).to_le_bytes());
        out.extend_from_slice(header.as_bytes());
        out.extend(self.values.iter().flat_map(|value| value.to_le_bytes()));
        out
    }
}

/// The integer weights of a row: places that clear the governed θ and by how much, in 1/256 of a
/// robust deviation.
///
/// `w = max(0, ⌊256 · s / MAD⌋ - θ)`, where MAD is 1.4826 × the median of `|s - median|`; when more
/// than half of the row is equal, 1.2533 × the mean of it stands in; a row of equal scores pays
/// nobody. **Rounding:** the quotient is one IEEE division, then rounded down; beyond 2⁶³ it
/// saturates.
///
/// # Errors
/// [`InfluenceError::NotFinite`] at the first score that is not a number.
///
/// # Why a threshold
/// Measured over 32 questions about facts: raw scores pay a quarter of the money to the records
/// that state the fact, scores above five deviations three quarters.
pub fn to_weights(row: &[f32], params: &Params) -> Result<Vec<(u32, u64)>, InfluenceError> {
    if let Some(index) = row.iter().position(|score| !score.is_finite()) {
        return Err(InfluenceError::NotFinite { index });
    }
    let Some(deviation) = deviation(row) else { return Ok(Vec::new()) };
    let weight = |(place, score): (u32, &f32)| {
        let scaled = (f64::from(*score) / deviation * 256.0).floor() as i64;
        let above = scaled.saturating_sub(params.influence_threshold.into());
        (above > 0).then(|| (place, above.unsigned_abs()))
    };
    Ok((0u32..).zip(row).filter_map(weight).collect())
}

/// The row's robust deviation, or `None` when all scores are equal.
fn deviation(row: &[f32]) -> Option<f64> {
    let scores: Vec<f64> = row.iter().map(|score| f64::from(*score)).collect();
    let middle = median(scores.clone())?;
    let apart: Vec<f64> = scores.iter().map(|score| (score - middle).abs()).collect();
    let mean = apart.iter().sum::<f64>() / apart.len() as f64;
    let robust = MAD_SCALE * median(apart)?;
    let deviation = if robust > 0.0 { robust } else { MEAN_SCALE * mean };
    (deviation > 0.0).then_some(deviation)
}

/// The middle value, or the mean of the two middle ones.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    Some(if values.len() % 2 == 1 { upper } else { (values[half - 1] + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_out_is_paid() {
        let mut row: Vec<f32> = (0..101).map(|i| (i as f32 - 50.0) / 50.0).collect();
        assert_eq!(to_weights(&row, &Params::GENESIS).unwrap(), []);
        row[7] = 10.0;
        let weights = to_weights(&row, &Params::GENESIS).unwrap();
        assert_eq!(weights.len(), 1);
        // MAD of the row is 1.4826 · 0.5 (within a place), so 10 stands at about 13.5 deviations,
        // 8.5 above θ.
        assert_eq!(weights[0].0, 7);
        assert!((weights[0].1 as f64 / 256.0 - 8.5).abs() < 0.3, "{}", weights[0].1);
    }

    #[test]
    fn scale_does_not_matter() {
        let row: Vec<f32> = (0..64u8).map(|i| f32::from(i % 7) + if i == 9 { 100.0 } else { 0.0 }).collect();
        let doubled: Vec<f32> = row.iter().map(|score| score * 1024.0).collect();
        assert_eq!(to_weights(&row, &Params::GENESIS).unwrap(), to_weights(&doubled, &Params::GENESIS).unwrap());
        assert!(!to_weights(&row, &Params::GENESIS).unwrap().is_empty());
    }

    #[test]
    fn a_row_of_mostly_equal_scores_still_has_a_deviation() {
        let mut row = vec![0.0; 50];
        assert_eq!(to_weights(&row, &Params::GENESIS).unwrap(), []);
        row[3] = 1.0;
        assert_eq!(to_weights(&row, &Params::GENESIS).unwrap()[0].0, 3);
        assert_eq!(to_weights(&[], &Params::GENESIS).unwrap(), []);
        assert_eq!(to_weights(&[4.0], &Params::GENESIS).unwrap(), []);
    }

    #[test]
    fn negative_influence_earns_nothing() {
        let mut row: Vec<f32> = (0..40u8).map(|i| f32::from(i) / 40.0).collect();
        row[0] = -100.0;
        assert_eq!(to_weights(&row, &Params::GENESIS).unwrap(), []);
    }

    #[test]
    fn scores_that_are_not_numbers_are_refused() {
        assert!(matches!(to_weights(&[0.0, f32::NAN], &Params::GENESIS), Err(InfluenceError::NotFinite { index: 1 })));
    }

    #[test]
    fn a_npy_file_says_its_shape_and_is_aligned() {
        let bytes = Scores::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, -6.5]).to_npy();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + length) % 64, 0);
        let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
        assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"));
        assert!(header.ends_with('\n'));
        let values: Vec<f32> =
            bytes[10 + length..].as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, -6.5]);
    }
}
