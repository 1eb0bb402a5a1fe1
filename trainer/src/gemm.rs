//! Matrix products: a checked, safe door to the `gemm` crate. With corpus/text.rs one of the two files of the trainer with unsafe code.
#![allow(unsafe_code)]

/// A matrix to read: element `(r, c)` is `data[r * row_stride + c * column_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct MatrixRef<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A matrix to write, each row contiguous: element `(r, c)` is `data[r * row_stride + c]`.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

/// Whether rows of contiguous values lie inside `len` values, and the stride fits the pointer arithmetic.
fn fits(len: usize, rows: usize, columns: usize, row_stride: usize) -> bool {
    if rows == 0 || columns == 0 {
        return true;
    }
    let last = (rows - 1)
        .checked_mul(row_stride)
        .and_then(|row| row.checked_add(columns - 1));
    last.is_some_and(|last| last < len) && row_stride <= isize::MAX as usize
}

impl<'a> MatrixRef<'a> {
    /// `rows` rows of `columns` contiguous values, each row `row_stride` after the one before.
    ///
    /// # Panics
    /// If the matrix does not fit in `data`.
    pub fn strided(data: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(
            fits(data.len(), rows, columns, row_stride),
            "a {rows}x{columns} matrix in {}",
            data.len()
        );
        Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    /// `rows` contiguous rows of `columns` values.
    ///
    /// # Panics
    /// If the matrix does not fit in `data`.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// The transposed matrix, nothing copied.
    pub fn transposed(self) -> Self {
        let Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride,
        } = self;
        Self {
            data,
            rows: columns,
            columns: rows,
            row_stride: column_stride,
            column_stride: row_stride,
        }
    }
}

impl<'a> MatrixMut<'a> {
    /// `rows` rows of `columns` contiguous values, each row `row_stride` after the one before.
    ///
    /// # Panics
    /// If the matrix does not fit in `data`, or its rows overlap.
    pub fn strided(data: &'a mut [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(
            fits(data.len(), rows, columns, row_stride),
            "a {rows}x{columns} matrix in {}",
            data.len()
        );
        assert!(
            rows <= 1 || columns <= row_stride,
            "rows of {columns} overlap at stride {row_stride}"
        );
        Self {
            data,
            rows,
            columns,
            row_stride,
        }
    }

    /// `rows` contiguous rows of `columns` values.
    ///
    /// # Panics
    /// If the matrix does not fit in `data`.
    pub fn new(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }
}

/// What a product does with the values that its target holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// Overwrites them.
    Replace,
    /// Adds to them.
    Add,
}

/// `out = a b` or `out += a b`, on the calling thread. The same input gives the same bits on the same CPU.
///
/// # Panics
/// If the shapes do not fit each other: `out [m][n]`, `a [m][k]`, `b [k][n]`.
pub fn multiply(out: MatrixMut, target: Target, a: MatrixRef, b: MatrixRef) {
    assert_eq!(
        (out.rows, out.columns, a.columns),
        (a.rows, b.columns, b.rows),
        "shapes of a product: rows, columns and inner size"
    );
    if out.rows == 0 || out.columns == 0 {
        return;
    }
    // The crate likes its target column-major, so the transposed product is asked for: out' = b' a'. It takes each
    // matrix's column stride before its row stride; those of a transposed matrix are our row and column strides.
    let (m, n, k) = (out.columns, out.rows, a.columns);
    // SAFETY: every element that the product touches lies in its slice: `fits` was asserted, in every build, when each
    // matrix was made, its fields are private to this file, and the shapes were compared above. `out` borrows its slice
    // alone, and its elements are distinct, since rows do not overlap. Strides are at most `isize::MAX`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.data.as_mut_ptr(),
            out.row_stride as isize,
            1,
            target == Target::Add,
            b.data.as_ptr(),
            b.row_stride as isize,
            b.column_stride as isize,
            a.data.as_ptr(),
            a.row_stride as isize,
            a.column_stride as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a b` by the definition.
    fn plain(a: MatrixRef, b: MatrixRef) -> Vec<f32> {
        let at = |m: MatrixRef, r: usize, c: usize| {
            f64::from(m.data[r * m.row_stride + c * m.column_stride])
        };
        let element = |r, c| {
            (0..a.columns)
                .map(|k| at(a, r, k) * at(b, k, c))
                .sum::<f64>() as f32
        };
        (0..a.rows)
            .flat_map(|r| (0..b.columns).map(move |c| element(r, c)))
            .collect()
    }

    fn values(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 1.0)
            .collect()
    }

    fn close(a: f32, b: f32) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn products_are_those_of_the_definition() {
        for (m, n, k) in [
            (1, 1, 1),
            (3, 5, 7),
            (16, 1, 40),
            (1, 33, 9),
            (65, 48, 31),
            (4, 4, 0),
        ] {
            let (a, b) = (values(m * k), values(k * n));
            let (a, b) = (MatrixRef::new(&a, m, k), MatrixRef::new(&b, k, n));
            let expected = plain(a, b);
            let mut out = vec![f32::NAN; m * n];
            multiply(MatrixMut::new(&mut out, m, n), Target::Replace, a, b);
            assert!(
                out.iter().zip(&expected).all(|(x, y)| close(*x, *y)),
                "{m}x{n}x{k}"
            );
            multiply(MatrixMut::new(&mut out, m, n), Target::Add, a, b);
            assert!(
                out.iter().zip(&expected).all(|(x, y)| close(*x, 2.0 * y)),
                "{m}x{n}x{k}, added"
            );
        }
    }

    #[test]
    fn strides_and_transposition() {
        let (a, b) = (values(100), values(100));
        // a: 5x4 in rows of 7; b: 6x4 in rows of 9, transposed.
        let a = MatrixRef::strided(&a, 5, 4, 7);
        let b = MatrixRef::strided(&b, 6, 4, 9).transposed();
        let mut out = vec![9.0; 5 * 8];
        multiply(MatrixMut::strided(&mut out, 5, 6, 8), Target::Replace, a, b);
        for (row, expected) in out.chunks(8).zip(plain(a, b).chunks(6)) {
            assert!(row[..6].iter().zip(expected).all(|(x, y)| close(*x, *y)));
            assert_eq!(
                row[6..],
                [9.0, 9.0],
                "what lies between the rows is untouched"
            );
        }
    }

    #[test]
    #[should_panic(expected = "a 3x4 matrix in 11")]
    fn a_matrix_too_large_for_its_data_is_refused() {
        MatrixRef::new(&values(11), 3, 4);
    }

    #[test]
    #[should_panic(expected = "a 3x4 matrix in 12")]
    fn strides_that_overflow_are_refused() {
        MatrixMut::strided(&mut values(12), 3, 4, usize::MAX / 2 + 2);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn rows_that_overlap_are_refused() {
        MatrixMut::strided(&mut values(100), 3, 4, 2);
    }

    #[test]
    #[should_panic(expected = "shapes of a product")]
    fn shapes_that_do_not_fit_are_refused() {
        let (a, b) = (values(12), values(12));
        let out = &mut [0.0; 9];
        multiply(
            MatrixMut::new(out, 3, 3),
            Target::Replace,
            MatrixRef::new(&a, 3, 4),
            MatrixRef::new(&b, 3, 4),
        );
    }
}
