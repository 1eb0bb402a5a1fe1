//! Rows of 4 bits: groups of columns along a row have a scale of their own.
//!
//! Weights stand in blocks of four rows, as those of 8 bits do. A block is groups of up to [`GROUP`] columns, the last one
//! what is left. A group is a word of four scales, the lowest byte row 0's, and then a word for each pair of columns.
//! A word's halfword is one column: `(a + 8) | (b + 8) << 4 | (c + 8) << 8 | d << 12`, d as 4 bits of two's complement, so that
//! with `P_k` the sum of activations times `halfword >> 4 k`, which keeps its sign, the group's rows are
//!
//! ```text
//! a = P_0 - 16 P_1 - 8 sum(x)    b = P_1 - 16 P_2 - 8 sum(x)    c = P_2 - 16 P_3 - 8 sum(x)    d = P_3
//! ```
//!
//! exact modulo 2^32, which holds a group's sums: they are at most 2^23. What a row adds to its accumulator is each group's sum times its scale.

use super::{Operand, ROWS};

/// Columns of a group.
pub const GROUP: usize = 32;
/// The least and the largest weight of 4 bits.
pub const RANGE: [i8; 2] = [-8, 7];

/// Words of a block over so many columns.
pub const fn grouped_words(columns: usize) -> usize {
    columns / 2 + columns.div_ceil(GROUP)
}

impl Operand<'_> {
    /// Adds to the accumulators the products with blocks of 4 bits that stand one after another, each of
    /// [`grouped_words`]. Leaves them alone if there are not as many blocks.
    #[inline(always)]
    pub fn add_grouped(&self, weights: &[u32], accumulators: &mut [[i32; ROWS]]) {
        if self.fits_grouped(weights, accumulators) {
            super::core_kernel::add_grouped(weights, self.pairs, accumulators);
        }
    }

    /// The same by the portable kernel, whatever the core: what [`Operand::add_grouped`] is compared with.
    ///
    /// ```
    /// use pipsqueak_kernels::kernel::{Operand, pack_grouped};
    ///
    /// #[repr(align(4))]
    /// struct Aligned([i16; 4]);
    /// let x = Aligned([100, -200, 300, -400]);
    /// let columns = [[1, 2, 3, 4], [5, 6, 7, -8], [-1, -2, -3, -4], [-5, -6, -7, -8]];
    /// let weights: Vec<u32> = pack_grouped(&columns, &[[1, 2, 3, 10]]).collect();
    /// let (mut fast, mut portable) = ([[5; 4]], [[5; 4]]);
    /// Operand::new(&x.0).add_grouped(&weights, &mut fast);
    /// Operand::new(&x.0).add_grouped_portable(&weights, &mut portable);
    /// assert_eq!(portable, [[805, 1605, 2405, 40005]]);
    /// assert_eq!(fast, portable);
    /// ```
    pub fn add_grouped_portable(&self, weights: &[u32], accumulators: &mut [[i32; ROWS]]) {
        if self.fits_grouped(weights, accumulators) {
            add_grouped(weights, self.pairs, accumulators);
        }
    }

    fn fits_grouped(&self, weights: &[u32], accumulators: &[[i32; ROWS]]) -> bool {
        let columns = self.columns();
        columns > 0
            && columns.is_multiple_of(super::PAD)
            && grouped_words(columns).checked_mul(accumulators.len()) == Some(weights.len())
    }
}

/// The specification.
pub(super) fn add_grouped(weights: &[u32], pairs: &[u32], accumulators: &mut [[i32; ROWS]]) {
    let words = grouped_words(2 * pairs.len());
    for (block, accumulators) in weights.chunks_exact(words).zip(accumulators) {
        let groups = block.chunks(1 + GROUP / 2);
        for (group, pairs) in groups.zip(pairs.chunks(GROUP / 2)) {
            let Some((scales, words)) = group.split_first() else {
                return;
            };
            let scales = scales.to_le_bytes();
            for (row, accumulator) in accumulators.iter_mut().enumerate() {
                let mut sum = 0i32;
                for (&word, &x) in words.iter().zip(pairs) {
                    let [w0, w1] = [word, word >> 16].map(|half| i32::from(weight(half, row)));
                    sum += w0 * i32::from(x as i16) + w1 * (x as i32 >> 16);
                }
                let product = i32::from(scales[row]).wrapping_mul(sum);
                *accumulator = accumulator.wrapping_add(product);
            }
        }
    }
}

/// The weight of a row in a column's halfword.
#[inline(always)]
fn weight(half: u32, row: usize) -> i8 {
    let nibble = (half >> (4 * row) & 15) as i8;
    if row == ROWS - 1 {
        (nibble ^ 8) - 8
    } else {
        nibble - 8
    }
}

/// What each column of a block of 4 bits stands for, scale times weight, in the order of the rows.
pub fn grouped_columns(block: &[u32]) -> impl Iterator<Item = [i16; ROWS]> {
    block.chunks(1 + GROUP / 2).flat_map(|group| {
        let (scales, words) = group.split_first().unwrap_or((&0, &[]));
        let scales = scales.to_le_bytes();
        words.iter().flat_map(move |&word| {
            [word, word >> 16].map(|half| {
                core::array::from_fn(|row| i16::from(scales[row]) * i16::from(weight(half, row)))
            })
        })
    })
}

/// The words of a block of four rows with weights in [`RANGE`] and, for each [`GROUP`] of columns, four scales; the inverse
/// of [`grouped_columns`]. An even number of columns.
pub fn pack_grouped(columns: &[[i8; ROWS]], scales: &[[u8; ROWS]]) -> impl Iterator<Item = u32> {
    let half = |[a, b, c, d]: [i8; ROWS]| {
        let low = |w: i8| (w as u32).wrapping_add(8) & 15;
        low(a) | low(b) << 4 | low(c) << 8 | (d as u32 & 15) << 12
    };
    columns
        .chunks(GROUP)
        .zip(scales)
        .flat_map(move |(columns, scales)| {
            let words = columns.as_chunks::<2>().0.iter();
            core::iter::once(u32::from_le_bytes(*scales))
                .chain(words.map(move |&[first, second]| half(first) | half(second) << 16))
        })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rand_core::Rng;
    use std::vec::Vec;

    /// Compares a kernel with the portable one: every count of columns and blocks that reaches another of its loops,
    /// words of every kind.
    pub fn compare(kernel: impl Fn(&[u32], &[u32], &mut [[i32; ROWS]])) {
        let mut rng = rand_pcg::Pcg32::new(3, 3);
        for kind in 0..4 {
            let mut words = |n: usize| -> Vec<u32> {
                let mut word = || match kind {
                    0 => 0x8000_8000,
                    1 => 0x7fff_7fff,
                    2 => 0xffff_ffff,
                    _ => rng.next_u32(),
                };
                (0..n).map(|_| word()).collect()
            };
            for columns in (4..=132).step_by(4).chain([256, 352, 516]) {
                for blocks in 0..8 {
                    let weights = words(blocks * grouped_words(columns));
                    let pairs = words(columns / 2);
                    let (mut found, mut expected) = ([[77; ROWS]; 7], [[77; ROWS]; 7]);
                    kernel(&weights, &pairs, &mut found[..blocks]);
                    add_grouped(&weights, &pairs, &mut expected[..blocks]);
                    assert_eq!(found, expected, "{columns} columns, {blocks} blocks");
                }
            }
        }
    }

    #[test]
    fn the_kernel_of_this_core_gives_the_portable_bits() {
        compare(super::super::core_kernel::add_grouped);
    }

    #[test]
    fn rows_are_the_plain_products() {
        let mut rng = rand_pcg::Pcg32::new(1, 1);
        for length in [4, 8, 32, 36, 64, 128, 516] {
            let columns: Vec<[i8; ROWS]> = (0..length)
                .map(|_| core::array::from_fn(|_| (rng.next_u32() >> 28) as i8 - 8))
                .collect();
            let scales: Vec<[u8; ROWS]> = (0..usize::div_ceil(length, GROUP))
                .map(|_| core::array::from_fn(|_| (rng.next_u32() >> 24) as u8))
                .collect();
            let x: Vec<i16> = (0..length).map(|_| (rng.next_u32() >> 8) as i16).collect();
            let block: Vec<u32> = pack_grouped(&columns, &scales).collect();
            assert_eq!(block.len(), grouped_words(length));
            let meant = |c: usize, row: usize| {
                i32::from(scales[c / GROUP][row]) * i32::from(columns[c][row])
            };
            let found: Vec<[i16; ROWS]> = grouped_columns(&block).collect();
            let expected: [i32; ROWS] = core::array::from_fn(|row| {
                (0..length).fold(7, |sum: i32, c| {
                    assert_eq!(i32::from(found[c][row]), meant(c, row));
                    sum.wrapping_add(meant(c, row).wrapping_mul(x[c].into()))
                })
            });
            let mut found = [[7; ROWS]];
            Operand::new(&x).add_grouped(&block, &mut found);
            assert_eq!(found[0], expected, "{length} columns");
        }
    }
}
