//! Sigmoid, tanh and a power of two by table lookup and linear interpolation, without float at run time.
//!
//! | function | input | output | largest error over all inputs |
//! |---|---|---|---|
//! | [`sigmoid`] | Q4.11 | Q15 | 3.2e-5 |
//! | [`tanh`] | Q4.11 | Q15 | 3.3e-5 |
//! | [`exp2_neg`] | Q16 | Q25 | 2.9e-5 of the value |
//!
//! One table serves both activations: `sigmoid(x) = (1 + tanh(x / 2)) / 2`.

use crate::fixed::saturate_i16;

const TANH_INTERVALS: usize = 512;
/// `tanh(i / 64)` in Q16 for i = 0 to 513: arguments 0 to 8, and one entry more so that a kernel may load `i + 1` for i = 512.
/// At most 65535.
pub(crate) static TANH: [u16; TANH_INTERVALS + 2] = {
    let mut table = [0; TANH_INTERVALS + 2];
    let mut i = 0;
    while i < table.len() {
        let e = exp(-2.0 * i as f64 / 64.0);
        let value = (65536.0 * (1.0 - e) / (1.0 + e) + 0.5) as u32;
        table[i] = if value > 65535 { 65535 } else { value as u16 };
        i += 1;
    }
    table
};

pub(crate) const EXP2_INTERVALS: usize = 64;
/// Word i has two fields: `2^-((i + 1) / 64)` in Q15 in its 22 highest bits, and in its 10 lowest bits the difference
/// `2^-(i / 64) - 2^-((i + 1) / 64)`, Q15.
pub(crate) static EXP2: [u32; EXP2_INTERVALS] = {
    let mut table = [0; EXP2_INTERVALS];
    let mut i = 0;
    while i < EXP2_INTERVALS {
        let (high, low) = (exp2_q15(i), exp2_q15(i + 1));
        table[i] = low << 10 | (high - low);
        i += 1;
    }
    table
};

/// `2^-(i / 64)` in Q15.
#[allow(clippy::float_arithmetic, reason = "at compile time")]
const fn exp2_q15(i: usize) -> u32 {
    (32768.0 * exp(-(i as f64) / 64.0 * core::f64::consts::LN_2) + 0.5) as u32
}

/// `e^x` for x in [-16, 0], at compile time: the Taylor series at x / 64, squared six times.
#[allow(clippy::float_arithmetic, reason = "at compile time")]
const fn exp(x: f64) -> f64 {
    let x = x / 64.0;
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    while n < 20.0 {
        term = term * x / n;
        sum += term;
        n += 1.0;
    }
    let mut squarings = 0;
    while squarings < 6 {
        sum *= sum;
        squarings += 1;
    }
    sum
}

/// Clamps `value`, 0 to 2^15, to 2^15 - 1.
#[inline(always)]
fn clamp_below_one(value: u32) -> u32 {
    value - (value >> 15)
}

/// `65536 * tanh(|y|)` for y in Q3.12, at most 65535.
#[inline(always)]
fn tanh_magnitude(y: i16) -> u32 {
    let y = clamp_below_one(i32::from(y).unsigned_abs());
    let index = (y >> 6) as usize % TANH_INTERVALS;
    let (low, high) = (u32::from(TANH[index]), u32::from(TANH[index + 1]));
    low + (((high - low) * (y & 63) + 32) >> 6)
}

/// `1 / (1 + e^-x)`: Q4.11 to Q15, 0 to 32767.
///
/// ```
/// assert_eq!(pipsqueak_kernels::activation::sigmoid(0), 1 << 14);
/// ```
#[inline(always)]
pub fn sigmoid(x: i16) -> i16 {
    // x in Q4.11 is x / 2 in Q3.12.
    let magnitude = tanh_magnitude(x);
    let twice = if x < 0 {
        65536 - magnitude
    } else {
        65536 + magnitude
    };
    clamp_below_one((twice + 2) >> 2) as i16
}

/// `tanh(x)`: Q4.11 to Q15, -32767 to 32767, odd.
///
/// ```
/// use pipsqueak_kernels::activation::tanh;
/// assert_eq!(tanh(-300), -tanh(300));
/// ```
#[inline(always)]
pub fn tanh(x: i16) -> i16 {
    let magnitude = tanh_magnitude(saturate_i16(2 * i32::from(x)));
    let magnitude = clamp_below_one((magnitude + 1) >> 1) as i16;
    if x < 0 { -magnitude } else { magnitude }
}

/// `2^-x`: x in Q16, below 32; the result in Q25, 2^25 at x = 0.
///
/// ```
/// use pipsqueak_kernels::activation::exp2_neg;
/// assert_eq!(exp2_neg(0), 1 << 25);
/// assert_eq!(exp2_neg(3 << 16), 1 << 22);
/// ```
#[inline(always)]
pub fn exp2_neg(x: u32) -> u32 {
    let index = (x >> 10) as usize % EXP2_INTERVALS;
    // At the interval's high end the value is 1024 differences above its low end; the word itself already contains one.
    let value = EXP2[index] + (EXP2[index] & 1023) * (!x & 1023);
    value >> ((x >> 16) & 31)
}

/// The activations as functions that are called, for code that is not worth a copy of them.
pub(crate) mod outlined {
    /// [`sigmoid`](super::sigmoid) of `x` in Q4.11, saturated to i16.
    #[inline(never)]
    pub(crate) fn sigmoid(x: i32) -> i16 {
        super::sigmoid(x as i16)
    }

    /// [`tanh`](super::tanh) of `x` in Q4.11, saturated to i16.
    #[inline(never)]
    pub(crate) fn tanh(x: i32) -> i16 {
        super::tanh(x as i16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error of `f` against `exact` over every i16 in Q4.11.
    fn largest_error(f: fn(i16) -> i16, exact: fn(f64) -> f64) -> f64 {
        let error = |x: i16| (f64::from(f(x)) / 32768.0 - exact(f64::from(x) / 2048.0)).abs();
        (i16::MIN..=i16::MAX).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn documented_errors_hold_over_every_input() {
        let sigmoid_error = largest_error(sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
        let tanh_error = largest_error(tanh, f64::tanh);
        let exp2_error = (0..20u32 << 16)
            .map(|x| {
                let exact = 33554432.0 * (-f64::from(x) / 65536.0).exp2();
                // The last shift rounds down by up to one unit.
                ((f64::from(exp2_neg(x)) - exact).abs() - 1.0) / exact
            })
            .fold(0.0, f64::max);
        std::println!("sigmoid {sigmoid_error:.3e} tanh {tanh_error:.3e} exp2 {exp2_error:.3e}");
        assert!(sigmoid_error <= 3.2e-5 && sigmoid_error > 3.1e-5);
        assert!(tanh_error <= 3.3e-5 && tanh_error > 3.2e-5);
        assert!(exp2_error <= 2.9e-5 && exp2_error > 2.8e-5);
    }

    #[test]
    fn activations_are_monotonic_and_within_q15() {
        for x in i16::MIN..i16::MAX {
            assert!(
                sigmoid(x) <= sigmoid(x + 1) && tanh(x) <= tanh(x + 1),
                "{x}"
            );
        }
        assert_eq!((sigmoid(i16::MIN), sigmoid(i16::MAX)), (0, 32767));
        assert_eq!((tanh(i16::MIN), tanh(i16::MAX)), (-32767, 32767));
    }
}
