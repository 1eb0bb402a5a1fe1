//! The matrix-vector product, int8 weights times int16 activations.
//!
//! Weights stand in blocks of four rows. For each pair of columns a block has two words: rows 0 and 1, then rows 2 and 3.
//! A word's halfword is one column: `(even row + 128) | odd row << 8`. With S the sum of activations times halfwords
//! and B that of activations times high bytes, `odd = B` and `even = S - 256 B - 128 sum(x)`, exact modulo 2^32:
//! one byte extraction and two multiplications serve two weights.
//!
//! `groups` orders rows of 4 bits. For both widths the portable kernel is the specification. A core's own kernel gives the
//! same bits and reads the same order of weights:
//!
//! | core | kernel |
//! |---|---|
//! | Cortex-M4, M7, M33, which must have the DSP extension | `cortex_m4`: SMLAD |
//! | Cortex-M0, M0+, M3, M23 | `cortex_m0`: ARMv6-M |
//! | RV32 with M | `riscv32` |
//! | x86-64 | `x86_64`: AVX2, else SSE2, chosen when it runs |
//! | 64-bit ARM | `aarch64`: NEON |
//! | any other | portable |

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod aarch64;
#[cfg(assembly)]
mod assembly;
#[cfg(assembly = "cortex_m0")]
mod cortex_m0;
#[cfg(assembly = "cortex_m4")]
mod cortex_m4;
mod groups;
#[cfg(assembly = "riscv32")]
mod riscv32;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod x86_64;

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
use aarch64 as core_kernel;
#[cfg(assembly)]
use assembly as core_kernel;
#[cfg(not(any(
    assembly,
    all(target_arch = "aarch64", target_feature = "neon"),
    all(target_arch = "x86_64", target_feature = "sse2")
)))]
use portable as core_kernel;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
use x86_64 as core_kernel;

pub use groups::{GROUP, RANGE, grouped_columns, grouped_words, pack_grouped};

// What stands around the products. A core has its own where that pays, and else the portable one.
pub use core_kernel::{gates, largest, walk};

#[cfg(not(assembly = "cortex_m4"))]
pub use crate::cell::lstm_gates_portable as lstm_gates;
#[cfg(assembly = "cortex_m4")]
pub use assembly::lstm_gates;

/// Whether [`lstm_gates`] is the core's own; else steps do without it.
pub const OWN_LSTM_GATES: bool = cfg!(assembly = "cortex_m4");

/// Rows in a block.
pub const ROWS: usize = 4;
/// Rows and columns are padded to a multiple of this.
pub const PAD: usize = 4;

/// `n` rounded up to [`PAD`].
pub const fn padded(n: usize) -> usize {
    n.div_ceil(PAD) * PAD
}

/// A vector that rows are multiplied with, and what the even rows subtract.
#[derive(Clone, Copy)]
pub struct Operand<'a> {
    /// Activations in Q15, two by two, the first in the low half: an even number of pairs.
    pairs: &'a [u32],
    /// 128 times the sum of the activations, modulo 2^32.
    correction: i32,
}

impl<'a> Operand<'a> {
    /// `x` is a multiple of [`PAD`] long and aligned to 4 bytes, as all vectors in a workspace are.
    pub fn new(x: &'a [i16]) -> Self {
        let pairs: &[u32] = bytemuck::try_cast_slice(x).unwrap_or_default();
        let sum = pairs.iter().fold(0i32, |sum, &pair| {
            let (first, second) = (i32::from(pair as i16), pair as i32 >> 16);
            sum.wrapping_add(first).wrapping_add(second)
        });
        Self {
            pairs,
            correction: sum.wrapping_mul(128),
        }
    }

    /// Number of activations.
    pub fn columns(&self) -> usize {
        2 * self.pairs.len()
    }

    /// Writes the accumulators of blocks that stand one after another, each of as many words as there are activations.
    /// Leaves them alone if there are not as many blocks.
    // A step calls it for every three blocks; inlined, the checks know how many there are.
    #[inline(always)]
    pub fn products(&self, weights: &[u32], accumulators: &mut [[i32; ROWS]]) {
        if self.fits(weights, accumulators) {
            core_kernel::products(weights, self.pairs, self.correction, accumulators);
        }
    }

    /// The same by the portable kernel, whatever the core: what [`Operand::products`] is compared with.
    ///
    /// ```
    /// use pipsqueak_kernels::kernel::{Operand, pack};
    ///
    /// #[repr(align(4))]
    /// struct Aligned([i16; 4]);
    /// let x = Aligned([100, -200, 300, -400]);
    /// let weights: Vec<u32> = pack(&[[1, 2, 3, 4], [5, 6, 7, 8], [-1, -2, -3, -4], [-5, -6, -7, -8]]).collect();
    /// let (mut fast, mut portable) = ([[0; 4]], [[0; 4]]);
    /// Operand::new(&x.0).products(&weights, &mut fast);
    /// Operand::new(&x.0).products_portable(&weights, &mut portable);
    /// assert_eq!(portable, [[800, 800, 800, 800]]);
    /// assert_eq!(fast, portable);
    /// ```
    pub fn products_portable(&self, weights: &[u32], accumulators: &mut [[i32; ROWS]]) {
        if self.fits(weights, accumulators) {
            portable::products(weights, self.pairs, self.correction, accumulators);
        }
    }

    fn fits(&self, weights: &[u32], accumulators: &[[i32; ROWS]]) -> bool {
        let columns = self.columns();
        // A product that wraps must not pass: the kernels in assembly rest on this.
        columns > 0
            && columns.is_multiple_of(PAD)
            && match accumulators.len() {
                // A slice has at most `isize::MAX` bytes and an activation two: four times their number does not wrap.
                // To find out whether more would is a call on cores that have no long product.
                count @ ..=4 => columns * count == weights.len(),
                count => columns.checked_mul(count) == Some(weights.len()),
            }
    }
}

/// The name of the kernel that [`Operand::products`] runs on this core: the core and its instructions, or `portable`.
///
/// ```
/// println!("products by the kernel {}", pipsqueak_kernels::kernel::name());
/// ```
pub fn name() -> &'static str {
    core_kernel::name()
}

/// The specification.
mod portable {
    use super::ROWS;

    #[allow(unused_imports, reason = "another kernel may have its own")]
    pub(super) use super::groups::add_grouped;
    #[allow(unused_imports, reason = "another kernel may have its own")]
    pub use crate::{cell::gates_portable as gates, draw::largest_portable as largest};

    /// [`crate::draw::Weight::walk_portable`] as a function of its own, which keeps the loop in registers.
    #[cfg(not(assembly = "cortex_m4"))]
    #[inline(never)]
    pub fn walk(weight: &crate::draw::Weight, logits: &[i16], end: u32, rest: u32) -> (usize, u32) {
        weight.walk_portable(logits, end, rest)
    }

    #[allow(dead_code, reason = "another kernel has its own name")]
    pub(super) fn name() -> &'static str {
        "portable"
    }

    pub(super) fn products(
        weights: &[u32],
        pairs: &[u32],
        correction: i32,
        accumulators: &mut [[i32; ROWS]],
    ) {
        for (block, accumulators) in weights.chunks_exact(2 * pairs.len()).zip(accumulators) {
            *accumulators = product(block, pairs, correction);
        }
    }

    fn product(block: &[u32], pairs: &[u32], correction: i32) -> [i32; ROWS] {
        let (mut s0, mut b0, mut s1, mut b1) = (0i32, 0i32, 0i32, 0i32);
        for (&[w0, w1], &x) in block.as_chunks::<2>().0.iter().zip(pairs) {
            // i8 * i16 and i16 * i16 fit; only the sums wrap.
            let low = |w: u32| i32::from(w as i16);
            let high = |w: u32| (w as i32) >> 16;
            let odd_low = |w: u32| i32::from(w as i16 >> 8);
            let odd_high = |w: u32| (w as i32) >> 24;
            let (x0, x1) = (low(x), high(x));
            s0 = s0
                .wrapping_add(low(w0).wrapping_mul(x0))
                .wrapping_add(high(w0).wrapping_mul(x1));
            b0 = b0
                .wrapping_add(odd_low(w0).wrapping_mul(x0))
                .wrapping_add(odd_high(w0).wrapping_mul(x1));
            s1 = s1
                .wrapping_add(low(w1).wrapping_mul(x0))
                .wrapping_add(high(w1).wrapping_mul(x1));
            b1 = b1
                .wrapping_add(odd_low(w1).wrapping_mul(x0))
                .wrapping_add(odd_high(w1).wrapping_mul(x1));
        }
        let even = |s: i32, b: i32| s.wrapping_sub(b.wrapping_shl(8)).wrapping_sub(correction);
        [even(s0, b0), b0, even(s1, b1), b1]
    }
}

/// Hands out blocks with their weights, `words` each, three at a time as a step asks for them, and what is left one by one:
/// a kernel that spreads activations does so once for three blocks.
#[cfg(any(
    all(target_arch = "aarch64", target_feature = "neon"),
    all(target_arch = "x86_64", target_feature = "sse2")
))]
#[inline(always)]
fn in_threes(
    weights: &[u32],
    words: usize,
    accumulators: &mut [[i32; ROWS]],
    mut three: impl FnMut(&[u32], &mut [[i32; ROWS]; 3]),
    mut one: impl FnMut(&[u32], &mut [[i32; ROWS]; 1]),
) {
    let (threes, ones) = accumulators.as_chunks_mut();
    let (of_threes, of_ones) = weights.split_at(3 * words * threes.len());
    for (weights, out) in of_threes.chunks_exact(3 * words).zip(threes) {
        three(weights, out);
    }
    for (weights, out) in of_ones.chunks_exact(words).zip(ones.as_chunks_mut().0) {
        one(weights, out);
    }
}

/// Calls `each` with the weights of row `lane` of a block.
#[inline(always)]
pub fn each_weight(block: &[u32], lane: usize, mut each: impl FnMut(i8)) {
    let (shift, bias) = if lane.is_multiple_of(2) {
        (0, 128)
    } else {
        (8, 0)
    };
    for words in block.as_chunks::<2>().0 {
        let word = words[lane / 2 % 2] >> shift;
        for weight in [word, word >> 16] {
            each((weight as u8).wrapping_sub(bias) as i8);
        }
    }
}

/// The four weights of each column of a block, in the order of the rows.
pub fn columns(block: &[u32]) -> impl Iterator<Item = [i8; ROWS]> {
    let weights = |w0: u32, w1: u32, half: u32| {
        let (a, b) = (w0 >> (16 * half), w1 >> (16 * half));
        let even = |w: u32| (w as u8).wrapping_sub(128) as i8;
        let odd = |w: u32| (w >> 8) as i8;
        [even(a), odd(a), even(b), odd(b)]
    };
    block
        .as_chunks::<2>()
        .0
        .iter()
        .flat_map(move |&[w0, w1]| [weights(w0, w1, 0), weights(w0, w1, 1)])
}

/// The words of a block of four rows; the inverse of [`columns`].
pub fn pack(columns: &[[i8; ROWS]]) -> impl Iterator<Item = u32> {
    let half =
        |even: i8, odd: i8| u32::from((even as u8).wrapping_add(128)) | u32::from(odd as u8) << 8;
    columns.as_chunks::<2>().0.iter().flat_map(move |[a, b]| {
        [
            half(a[0], a[1]) | half(b[0], b[1]) << 16,
            half(a[2], a[3]) | half(b[2], b[3]) << 16,
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;
    use std::vec::Vec;

    /// Compares a kernel with the portable one: every count of columns and blocks that reaches another of its loops,
    /// words of every kind.
    pub(super) fn compare(products: impl Fn(&[u32], &[u32], i32, &mut [[i32; ROWS]])) {
        let mut rng = rand_pcg::Pcg32::new(2, 2);
        for kind in 0..4 {
            let mut words = |n: usize| -> Vec<u32> {
                let mut word = || match kind {
                    // -32768 squared, twice, is 2^31.
                    0 => 0x8000_8000,
                    1 => 0x7fff_7fff,
                    2 => 0x7fff_8000,
                    _ => rng.next_u32(),
                };
                (0..n).map(|_| word()).collect()
            };
            for columns in (4..=68).step_by(4).chain([128, 256, 516]) {
                for blocks in 0..8 {
                    let (weights, pairs) = (words(blocks * columns), words(columns / 2));
                    let (mut found, mut expected) = ([[1; ROWS]; 7], [[1; ROWS]; 7]);
                    products(&weights, &pairs, -77, &mut found[..blocks]);
                    portable::products(&weights, &pairs, -77, &mut expected[..blocks]);
                    assert_eq!(found, expected, "{columns} columns, {blocks} blocks");
                }
            }
        }
    }

    #[test]
    fn the_kernel_of_this_core_gives_the_portable_bits() {
        compare(core_kernel::products);
    }

    #[test]
    fn rows_are_the_plain_products() {
        let mut rng = rand_pcg::Pcg32::new(1, 1);
        for length in [4, 8, 12, 64, 128, 516] {
            for extreme in [false, true] {
                let columns_in: Vec<[i8; 4]> = (0..length)
                    .map(|_| {
                        let weight = |r: u32| {
                            if extreme {
                                if r & 1 == 0 { -127 } else { 127 }
                            } else {
                                (r as i8).max(-127)
                            }
                        };
                        core::array::from_fn(|_| weight(rng.next_u32() >> 8))
                    })
                    .collect();
                let x: Vec<i16> = (0..length)
                    .map(|_| {
                        if extreme {
                            i16::MIN
                        } else {
                            (rng.next_u32() >> 8) as i16
                        }
                    })
                    .collect();
                let block: Vec<u32> = pack(&columns_in).collect();
                assert_eq!(columns(&block).collect::<Vec<_>>(), columns_in);
                let expected: [i64; 4] = core::array::from_fn(|row| {
                    columns_in
                        .iter()
                        .zip(&x)
                        .map(|(w, &x)| i64::from(w[row]) * i64::from(x))
                        .sum()
                });
                let mut found = [[0; 4]];
                Operand::new(&x).products(&block, &mut found);
                assert_eq!(found[0].map(i64::from), expected, "{length} columns");
                let operand = Operand::new(&x);
                let mut portable = [[0; 4]];
                operand.products_portable(&block, &mut portable);
                assert_eq!(portable, found, "{length} columns");
            }
        }
    }
}
