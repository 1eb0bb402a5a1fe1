//! Vectors in integers, and what weights read of them.

/// A vector in integers: element c is Q15 of `scales[c]`.
#[derive(Clone, Debug, Default)]
pub(super) struct Vector {
    pub scales: Vec<f64>,
    /// What no element's magnitude exceeds.
    pub bounds: Vec<f64>,
}

impl Vector {
    /// Elements anywhere in their scales.
    pub fn scaled(scales: Vec<f64>) -> Self {
        let bounds = scales.clone();
        Self { scales, bounds }
    }

    /// `count` elements below 2^`shift`.
    pub fn uniform(count: usize, shift: u32) -> Self {
        Self::scaled(vec![f64::from(1u32 << shift); count])
    }

    /// Elements below 2 to the power of their exponents.
    pub fn of_exponents(exponents: &[i8]) -> Self {
        let power = |exponent: &i8| 2f64.powi((*exponent).into());
        Self::scaled(exponents.iter().map(power).collect())
    }

    /// What no element exceeds.
    pub fn bound(&self) -> f64 {
        self.bounds.iter().fold(0.0, |a, &b| a.max(b))
    }
}

/// Joined vectors, each but the last padded to a multiple of four elements.
#[derive(Clone, Debug, Default)]
pub(super) struct Operand {
    /// Without padding.
    pub vector: Vector,
    /// The column of each element.
    positions: Vec<usize>,
    /// Number of columns, padding between the vectors included.
    pub columns: usize,
}

impl Operand {
    pub fn join(vectors: impl IntoIterator<Item = Vector>) -> Self {
        let mut joined = Self::default();
        for Vector { scales, bounds } in vectors {
            let start = super::padded(joined.columns);
            joined.columns = start + scales.len();
            joined.positions.extend(start..joined.columns);
            joined.vector.scales.extend(scales);
            joined.vector.bounds.extend(bounds);
        }
        joined
    }

    /// A row of weights on the real vectors, as weights on their Q15: 0 over padding.
    pub fn fold(&self, row: &[f32]) -> Vec<f32> {
        let mut folded = vec![0.0; self.columns];
        for ((w, scale), position) in row.iter().zip(&self.vector.scales).zip(&self.positions) {
            folded[*position] = (f64::from(*w) * scale) as f32;
        }
        folded
    }

    /// Sets a row of weights on the real vectors to those whose [folded](Self::fold) values are `folded`.
    pub fn unfold(&self, folded: &[f64], row: &mut [f32]) {
        for ((w, scale), position) in row.iter_mut().zip(&self.vector.scales).zip(&self.positions) {
            *w = (folded[*position] / scale) as f32;
        }
    }
}
