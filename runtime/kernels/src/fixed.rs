//! Fixed-point numbers and their rounding.
//!
//! | value | type | format | range |
//! |---|---|---|---|
//! | weight | i8 | one scale per row, or per row and group | -127 to 127, or -8 to 7 |
//! | hidden state, gate | i16 | Q15, or a hidden state with `15 - state_shift` fraction bits | -1 to 1 - 2^-15 |
//! | cell state | i32 | Q8.23 | -256 to 256 - 2^-23, saturating |
//! | accumulator | i32 | the row's scale times 2^-15 | bounded when a model is parsed |
//! | pre-activation | i16 | Q4.11 | -16 to 16 - 2^-11, saturating |
//! | candidate's input side | i32 | Q5.26 | -16 to 16 |
//! | logit | i16 | fraction bits in the model | saturating |

/// Fraction bits of a pre-activation.
pub const PRE_ACTIVATION_FRAC_BITS: u32 = 11;
/// Fraction bits of the input side of a GRU candidate: those of a gate (15) plus those of a pre-activation.
pub const CANDIDATE_FRAC_BITS: u32 = 15 + PRE_ACTIVATION_FRAC_BITS;
/// Fraction bits of a cell state.
pub const CELL_FRAC_BITS: u32 = 23;
/// A row's multiplier is below this.
pub const MULTIPLIER_LIMIT: u32 = 1 << 14;
/// The largest shift of a row.
pub const MAX_SHIFT: u32 = 24;

/// The scale from a row's accumulator to its output, `multiplier * 2^-(15 + shift)`, in one word.
///
/// The shift has the 5 highest bits, the multiplier the 27 others (the "quantized multiplier" of gemmlowp and CMSIS-NN).
/// A parser bounds them: the multiplier is below [`MULTIPLIER_LIMIT`], the shift at most [`MAX_SHIFT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct QuantizedMultiplier(pub u32);

impl QuantizedMultiplier {
    /// Packs a multiplier below [`MULTIPLIER_LIMIT`] and a shift of at most [`MAX_SHIFT`].
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

/// Clamps `value` to the range of i16.
#[inline(always)]
pub fn saturate_i16(value: i32) -> i16 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// `value * 2^-shift`, rounded to nearest, ties up. `shift` is at most 15.
#[inline(always)]
pub fn rounding_shift_right(value: i16, shift: u32) -> i16 {
    ((i32::from(value) + (1 << shift >> 1)) >> shift) as i16
}

/// Scales a row's accumulator to its output: `saturate(round(accumulator * multiplier * 2^-(15 + shift)))`.
///
/// The accumulator is first shifted to 18 bits and saturated there, so that a 32-bit product is enough.
/// That shift rounds down: a row's bias holds half of its step, `2^(shift - 1)`. The second shift rounds to nearest, ties up.
/// A multiplier of 2^13 or more leaves at least one bit below the output's step.
///
/// ```
/// use pipsqueak_kernels::fixed::{requantize, QuantizedMultiplier};
/// // 2^13 * 2^-(15 + 2) = 1/16
/// assert_eq!(requantize(1000, QuantizedMultiplier::new(1 << 13, 2)), 63);
/// assert_eq!(requantize(-(1 << 30), QuantizedMultiplier::new(1 << 13, 2)), i16::MIN);
/// ```
#[inline(always)]
pub fn requantize(accumulator: i32, scale: QuantizedMultiplier) -> i16 {
    const LIMIT: i32 = 1 << 17;
    let shifted = (accumulator >> scale.shift()).clamp(-LIMIT, LIMIT - 1);
    // A parser bounds the multiplier, so 16 bits hold it and the product of 18 and 14 bits fits.
    let product = shifted * (scale.multiplier() & 0xffff) as i32;
    saturate_i16((product + (1 << 14)) >> 15)
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
                    let scale = QuantizedMultiplier::new(multiplier, shift);
                    let found = i64::from(requantize(accumulator, scale));
                    // Small multipliers saturate before i16 does; the exporter never gives them to a row that could get there.
                    if floor.abs() < 1 << 17 || early > 32768 {
                        assert_eq!(found, expected, "{accumulator} * {multiplier} >> {shift}");
                    }
                }
            }
        }
    }

    #[test]
    fn saturates_at_both_ends() {
        let scale = QuantizedMultiplier::new(16383, 0);
        assert_eq!(requantize(i32::MAX, scale), i16::MAX);
        assert_eq!(requantize(i32::MIN, scale), i16::MIN);
    }
}
