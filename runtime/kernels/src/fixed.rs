//! Fixed-point numbers and the one rounding rule.
//!
//! | value | type | format | range |
//! |---|---|---|---|
//! | weight | i8 | a scale per row | -127 to 127 |
//! | hidden state, gate | i16 | Q15 | -1 to 1 - 2^-15 |
//! | cell state | i32 | Q8.23 | -256 to 256 - 2^-23, saturating |
//! | accumulator | i32 | the row's scale times 2^-15 | certified by `Image::parse` |
//! | pre-activation | i16 | Q4.11 | -16 to 16 - 2^-11, saturating |
//! | candidate's input side | i32 | Q5.26 | -16 to 16 |
//! | logit | i16 | fraction bits in the image | saturating |

/// Fraction bits of a pre-activation.
pub const PRE_ACTIVATION_BITS: u32 = 11;
/// Fraction bits of the input side of a GRU's candidate: those of a gate times those of a pre-activation.
pub const CANDIDATE_BITS: u32 = 26;
/// Fraction bits of a cell state.
pub const CELL_BITS: u32 = 23;
/// A row's multiplier is below this.
pub const MULTIPLIER_END: u32 = 1 << 14;
/// A row's shift is at most this.
pub const MAX_SHIFT: u32 = 24;

/// A row's factor from accumulator to output: `multiplier * 2^-(15 + shift)`, in one word of the image.
///
/// The shift has the 5 highest bits and the multiplier all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scale(pub u32);

impl Scale {
    /// A scale of this multiplier, below [`MULTIPLIER_END`], and shift, at most [`MAX_SHIFT`].
    pub fn new(multiplier: u16, shift: u8) -> Self {
        Self(u32::from(multiplier) | u32::from(shift) << 27)
    }

    /// The multiplier, 27 bits.
    #[inline(always)]
    pub fn multiplier(self) -> u32 {
        self.0 & ((1 << 27) - 1)
    }

    /// The shift, 5 bits.
    #[inline(always)]
    pub fn shift(self) -> u32 {
        self.0 >> 27
    }
}

/// `value` clamped to what an i16 holds.
#[inline(always)]
pub fn saturate(value: i32) -> i16 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// The accumulator of a row to its output: `saturate(round(accumulator * multiplier * 2^-(15 + shift)))`.
///
/// The accumulator is first shifted to 18 bits and saturated there, so that a 32-bit product is enough.
/// That shift rounds down: a row's bias holds half of its step, `2^(shift - 1)`. The second one rounds to nearest, ties up.
/// A multiplier of 2^13 or more leaves one bit at least below the output's step.
///
/// ```
/// use pipsqueak_kernels::fixed::{requantize, Scale};
/// // 2^13 * 2^-(15 + 2) = 1/16
/// assert_eq!(requantize(1000, Scale::new(1 << 13, 2)), 63);
/// assert_eq!(requantize(-(1 << 30), Scale::new(1 << 13, 2)), i16::MIN);
/// ```
#[inline(always)]
pub fn requantize(accumulator: i32, scale: Scale) -> i16 {
    const END: i32 = 1 << 17;
    let shifted = (accumulator >> scale.shift()).clamp(-END, END - 1);
    // The image's check bounds the multiplier, so 16 bits hold it.
    let product = shifted * (scale.multiplier() & 0xffff) as i32;
    saturate((product + (1 << 14)) >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requantize_is_the_rounded_product() {
        for shift in [0u8, 1, 7, 15, 24] {
            for multiplier in [0u16, 1, 8191, 8192, 12345, 16383] {
                for step in -4000i64..4000 {
                    let accumulator = (step * 536_870) as i32;
                    // The specification in 64 bits and without the early saturation.
                    let floor = i64::from(accumulator) >> shift;
                    let product = (floor * i64::from(multiplier) + (1 << 14)) >> 15;
                    let early = ((i64::from(1) << 17) * i64::from(multiplier)) >> 15;
                    let expected = product.clamp(-32768, 32767);
                    let found = i64::from(requantize(accumulator, Scale::new(multiplier, shift)));
                    // Small multipliers saturate before the i16 does; export never makes them for a row that could get there.
                    if floor.abs() < 1 << 17 || early > 32768 {
                        assert_eq!(found, expected, "{accumulator} * {multiplier} >> {shift}");
                    }
                }
            }
        }
    }

    #[test]
    fn saturates_at_both_ends() {
        assert_eq!(requantize(i32::MAX, Scale::new(16383, 0)), i16::MAX);
        assert_eq!(requantize(i32::MIN, Scale::new(16383, 0)), i16::MIN);
    }
}
