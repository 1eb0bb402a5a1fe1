/// A dense matrix, row-major: `data[row * columns + column]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// Number of rows (outputs).
    pub rows: usize,
    /// Number of columns (inputs).
    pub columns: usize,
    /// `rows * columns` values.
    pub data: Vec<f32>,
}

impl Matrix {
    /// A matrix of `rows` x `columns` over `data`.
    ///
    /// # Panics
    /// If `data` does not hold `rows * columns` values.
    pub fn new(rows: usize, columns: usize, data: Vec<f32>) -> Self {
        assert_eq!(data.len(), rows * columns, "a {rows}x{columns} matrix");
        Self {
            rows,
            columns,
            data,
        }
    }

    /// Row `row`: `columns` values.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.columns..][..self.columns]
    }

    /// `matrix * x`, for one row.
    pub(super) fn dot(&self, row: usize, x: &[f32]) -> f32 {
        // Eight partial sums let the compiler use vector registers.
        let row = self.row(row);
        let mut sums = [0f32; 8];
        let (a, a_rest) = row.as_chunks::<8>();
        let (b, b_rest) = x.as_chunks::<8>();
        for (a, b) in a.iter().zip(b) {
            for i in 0..8 {
                sums[i] += a[i] * b[i];
            }
        }
        sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
    }
}
