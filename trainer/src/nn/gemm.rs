//! Matrix products of the training. Their shapes are few: weights that stay the same over a sequence times one step of a
//! group, and the sum over steps of a gradient times an activation. For both, [`TILE`] rows times [`LANES`] columns stay in
//! registers over the whole sum; what is read is packed so that it is read in order.

use std::ops::RangeInclusive;

use crate::nn::simd::{Float, sum};
use crate::nn::tensor::{HALF, LANES, Lanes, TILE};

/// `sums + panel x`: the R rows of a panel of packed weights times a block. In a narrow batch the lanes that it does not need
/// stay as they are.
#[inline(always)]
pub fn tile<const R: usize>(
    float: Float,
    panel: &[[f32; R]],
    x: &[Lanes],
    mut sums: [Lanes; R],
) -> [Lanes; R] {
    if float.is_narrow() {
        let mut half = [[0.0; HALF]; R];
        for (half, sums) in half.iter_mut().zip(&sums) {
            half.copy_from_slice(&sums[..HALF]);
        }
        for (weights, x) in panel.iter().zip(x) {
            for (sums, weight) in half.iter_mut().zip(weights) {
                for (sum, x) in sums.iter_mut().zip(&x[..HALF]) {
                    *sum = float.multiply_add(*weight, *x, *sum);
                }
            }
        }
        for (half, sums) in half.iter().zip(&mut sums) {
            sums[..HALF].copy_from_slice(half);
        }
    } else {
        for (weights, x) in panel.iter().zip(x) {
            for (sums, weight) in sums.iter_mut().zip(weights) {
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = float.multiply_add(*weight, *x, *sum);
                }
            }
        }
    }
    sums
}

/// Weights in the order in which [`tile`] reads them: panels of R rows, in each panel column after column.
#[derive(Debug, Default)]
pub struct Packed<const R: usize> {
    panels: Vec<[f32; R]>,
    columns: usize,
}

impl<const R: usize> Packed<R> {
    /// The rows of `w`, `[rows][columns]`, that `row` names for each row of the panels, `panels` of them. A row that is none is
    /// one of zeros.
    pub fn pack(
        &mut self,
        w: &[f32],
        columns: usize,
        panels: usize,
        row: impl Fn(usize) -> Option<usize>,
    ) {
        self.columns = columns;
        self.panels.clear();
        let zeros = vec![0.0; columns];
        for panel in 0..panels {
            let mut rows = [&zeros[..]; R];
            for (i, slice) in rows.iter_mut().enumerate() {
                if let Some(row) = row(panel * R + i) {
                    *slice = &w[row * columns..][..columns];
                }
            }
            self.panels.extend((0..columns).map(|column| {
                let mut weights = [0.0; R];
                for (weight, row) in weights.iter_mut().zip(&rows) {
                    *weight = row[column];
                }
                weights
            }));
        }
    }

    /// All rows of `w`, `[rows][columns]`, in their order.
    pub fn pack_rows(&mut self, w: &[f32], columns: usize) {
        let rows = w.len() / columns;
        self.pack(w, columns, rows.div_ceil(R), |row| {
            (row < rows).then_some(row)
        });
    }

    /// All columns of `w`, `[rows][columns]`, as rows.
    pub fn pack_transposed(&mut self, w: &[f32], columns: usize) {
        self.columns = w.len() / columns;
        self.panels.clear();
        for first in (0..columns).step_by(R) {
            let rows = w.chunks_exact(columns).map(|row| &row[first..]);
            if first + R <= columns {
                let whole = rows.map(|row| *row.first_chunk().expect("R columns"));
                self.panels.extend(whole);
            } else {
                self.panels.extend(rows.map(|row| {
                    let mut weights = [0.0; R];
                    weights[..row.len()].copy_from_slice(row);
                    weights
                }));
            }
        }
    }

    /// The panels, from the first rows to the last.
    #[inline(always)]
    pub fn panels(&self) -> impl Iterator<Item = &[[f32; R]]> {
        self.panels.chunks_exact(self.columns.max(1))
    }
}

impl Packed<TILE> {
    /// `out = w x`, both blocks of a step.
    #[inline(always)]
    pub fn multiply(&self, float: Float, x: &[Lanes], out: &mut [Lanes]) {
        for (panel, out) in self.panels().zip(out.as_chunks_mut().0) {
            *out = tile(float, panel, x, [[0.0; LANES]; TILE]);
        }
    }

    /// `out = out + w x`, both blocks of a step.
    #[inline(always)]
    pub fn multiply_add(&self, float: Float, x: &[Lanes], out: &mut [Lanes]) {
        for (panel, out) in self.panels().zip(out.as_chunks_mut().0) {
            *out = tile(float, panel, x, *out);
        }
    }
}

/// Blocks that [`Outer::add`] is best given at once: the sums are read and written once for all of them.
const BLOCKS: usize = 8;

/// Steps whose blocks [`Outer::add`] is best given at once, where there are so many groups.
pub fn chunk(groups: usize) -> usize {
    (BLOCKS / groups).max(1)
}

/// All slots of so many steps, those of a [`chunk`] together.
pub fn chunks(
    steps: usize,
    groups: usize,
) -> impl DoubleEndedIterator<Item = RangeInclusive<usize>> {
    let chunk = chunk(groups);
    let firsts = (0..steps).step_by(chunk);
    firsts.map(move |first| first + 1..=(first + chunk).min(steps))
}

/// Adds lane by lane.
#[inline(always)]
pub fn add(sums: &mut Lanes, values: &Lanes) {
    sums.iter_mut()
        .zip(values)
        .for_each(|(sum, value)| *sum += value);
}

/// Adds the sum of the lanes of each of `sums` to `gradient`.
pub fn add_sums(gradient: &mut [f32], sums: &[Lanes]) {
    for (gradient, lanes) in gradient.iter_mut().zip(sums) {
        *gradient += sum(lanes);
    }
}

/// The sum over blocks and lanes of `d x'`, the gradient by weights `[rows][columns]`.
#[derive(Debug)]
pub struct Outer {
    rows: usize,
    columns: usize,
    /// `[rows / TILE][columns / LANES]`, both rounded up.
    sums: Vec<[Lanes; TILE]>,
    /// Columns `[columns / LANES][blocks]` of the blocks of x, lane by lane.
    turned: Vec<[Lanes; LANES]>,
}

impl Outer {
    /// A sum of nothing.
    pub fn new(rows: usize, columns: usize) -> Self {
        let tiles = columns.div_ceil(LANES) * rows.div_ceil(TILE);
        Self {
            rows,
            columns,
            sums: vec![[[0.0; LANES]; TILE]; tiles],
            turned: Vec::new(),
        }
    }

    /// Adds to the sum. Each pair is a block of d, `rows` and perhaps zeros, and one of x, at least `columns`.
    #[inline(always)]
    pub fn add(&mut self, float: Float, blocks: &[(&[Lanes], &[Lanes])]) {
        let count = blocks.len();
        let wide = self.columns.div_ceil(LANES);
        self.turned.resize(wide * count, [[0.0; LANES]; LANES]);
        for (i, (_, x)) in blocks.iter().enumerate() {
            for (j, features) in x[..self.columns].chunks(LANES).enumerate() {
                let turned = &mut self.turned[j * count + i];
                for (column, lanes) in features.iter().enumerate() {
                    for (turned, value) in turned.iter_mut().zip(lanes) {
                        turned[column] = *value;
                    }
                }
            }
        }
        for (panel, sums) in self.sums.chunks_exact_mut(wide.max(1)).enumerate() {
            for (sums, turned) in sums.iter_mut().zip(self.turned.chunks_exact(count)) {
                let mut tile = *sums;
                for ((d, _), x) in blocks.iter().zip(turned) {
                    let d = &d.as_chunks::<TILE>().0[panel];
                    let lanes = if float.is_narrow() { HALF } else { LANES };
                    for (lane, x) in x[..lanes].iter().enumerate() {
                        for (sums, d) in tile.iter_mut().zip(d) {
                            for (sum, x) in sums.iter_mut().zip(x) {
                                *sum = float.multiply_add(d[lane], *x, *sum);
                            }
                        }
                    }
                }
                *sums = tile;
            }
        }
    }

    /// Adds the sum to `gradient`, `[rows][columns]`, and forgets it.
    ///
    /// # Panics
    /// If the length is another.
    pub fn drain_to(&mut self, gradient: &mut [f32]) {
        assert_eq!(gradient.len(), self.rows * self.columns, "gradient");
        let wide = self.columns.div_ceil(LANES);
        for (row, gradient) in gradient.chunks_exact_mut(self.columns).enumerate() {
            let (panel, row) = (row / TILE, row % TILE);
            let tiles = &self.sums[panel * wide..];
            for (gradient, tile) in gradient.chunks_mut(LANES).zip(tiles) {
                for (gradient, sum) in gradient.iter_mut().zip(&tile[row]) {
                    *gradient += sum;
                }
            }
        }
        self.sums.fill([[0.0; LANES]; TILE]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::simd::products;

    fn values(count: usize, phase: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((i * 37 + 11 * phase) % 101) as f32 / 50.0 - 1.0)
            .collect()
    }

    fn block(features: usize, phase: usize) -> Vec<Lanes> {
        let values = values(features * LANES, phase);
        let mut block: Vec<Lanes> = values.as_chunks().0.to_vec();
        block.resize(features.next_multiple_of(TILE), [0.0; LANES]);
        block
    }

    fn close(a: f32, b: f64) -> bool {
        (f64::from(a) - b).abs() < 1e-4
    }

    const SHAPES: [(usize, usize); 7] = [
        (1, 1),
        (3, 5),
        (6, 16),
        (7, 1),
        (65, 31),
        (33, 40),
        (12, 17),
    ];

    #[test]
    fn products_are_those_of_the_definition() {
        for (rows, columns) in SHAPES {
            let (w, x) = (values(rows * columns, 1), block(columns, 2));
            let turned: Vec<f32> = (0..columns * rows)
                .map(|i| w[i % rows * columns + i / rows])
                .collect();
            let (mut packed, mut transposed) = (Packed::default(), Packed::default());
            packed.pack_rows(&w, columns);
            transposed.pack_transposed(&turned, rows);
            for packed in [&packed, &transposed] {
                let mut out = block(rows, 3);
                products(false, |float| packed.multiply(float, &x, &mut out));
                let once = out.clone();
                products(false, |float| packed.multiply_add(float, &x, &mut out));
                let mut half = vec![[1.0; LANES]; once.len()];
                products(true, |float| packed.multiply(float, &x, &mut half));
                for (half, whole) in half.iter().zip(&once) {
                    assert_eq!(half[..HALF], whole[..HALF], "{rows}x{columns}, narrow");
                    assert_eq!(half[HALF..], [0.0; HALF], "{rows}x{columns}, narrow");
                }
                for lane in 0..LANES {
                    for row in 0..rows {
                        let expected: f64 = (0..columns)
                            .map(|k| f64::from(w[row * columns + k]) * f64::from(x[k][lane]))
                            .sum();
                        let what = format!("{rows}x{columns}, row {row}, lane {lane}");
                        assert!(close(once[row][lane], expected), "{what}");
                        assert!(close(out[row][lane], 2.0 * expected), "{what}, added");
                    }
                }
                assert!(out[rows..].iter().flatten().all(|zero| *zero == 0.0));
            }
        }
    }

    #[test]
    fn rows_are_packed_in_the_order_asked_for() {
        let w = values(4 * 3, 0);
        let mut packed = Packed::<2>::default();
        packed.pack(&w, 3, 2, |row| [Some(3), Some(1), None, Some(0)][row]);
        let panels: Vec<&[[f32; 2]]> = packed.panels().collect();
        assert_eq!(panels[0], [[w[9], w[3]], [w[10], w[4]], [w[11], w[5]]]);
        assert_eq!(panels[1], [[0.0, w[0]], [0.0, w[1]], [0.0, w[2]]]);
    }

    #[test]
    fn chunks_are_all_slots_in_order() {
        for (steps, groups) in [(1, 1), (17, 1), (16, 3), (5, 9)] {
            let slots: Vec<usize> = chunks(steps, groups).flatten().collect();
            assert!(slots.into_iter().eq(1..=steps), "{steps}, {groups}");
            let longest = chunks(steps, groups).map(Iterator::count).max();
            assert!(longest <= Some(chunk(groups)), "{steps}, {groups}");
        }
    }

    #[test]
    fn outer_products_are_those_of_the_definition() {
        for (rows, columns) in SHAPES {
            let d: Vec<_> = (0..3).map(|i| block(rows, i)).collect();
            let x: Vec<_> = (0..3).map(|i| block(columns, 5 + i)).collect();
            let pairs: Vec<(&[Lanes], &[Lanes])> =
                d.iter().zip(&x).map(|(d, x)| (&d[..], &x[..])).collect();
            for narrow in [false, true] {
                let mut outer = Outer::new(rows, columns);
                // More blocks, then fewer.
                products(narrow, |float| {
                    outer.add(float, &pairs[..2]);
                    outer.add(float, &pairs[2..]);
                });
                let mut gradient = vec![1.0; rows * columns];
                outer.drain_to(&mut gradient);
                outer.drain_to(&mut gradient);
                for (i, found) in gradient.iter().enumerate() {
                    let (row, column) = (i / columns, i % columns);
                    let each = pairs.iter().map(|(d, x)| {
                        let lanes = d[row].iter().zip(&x[column]);
                        let lanes = lanes.take(if narrow { HALF } else { LANES });
                        lanes.map(|(d, x)| f64::from(d * x)).sum::<f64>()
                    });
                    let expected = 1.0 + each.sum::<f64>();
                    assert!(
                        close(*found, expected),
                        "{rows}x{columns}, {i}, narrow {narrow}"
                    );
                }
            }
        }
    }
}
