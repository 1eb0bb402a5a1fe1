//! The functions of the gates, written so that the compiler turns loops over them into vector code.

/// Runs `f` compiled for the widest vectors that this CPU has.
///
/// What `f` calls must be inlined into it to gain from that. The results do not depend on the CPU: no multiplication is
/// fused with an addition.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    struct Call<F>(F);
    impl<R, F: FnOnce() -> R> pulp::WithSimd for Call<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Call(f))
}

/// Runs `f` compiled as [`vectorized`] does, and tells it whether it may fuse multiplications with additions: they are then
/// rounded once, and faster.
#[inline(always)]
pub fn products<R>(f: impl FnOnce(bool) -> R) -> R {
    struct Call<F>(F);
    impl<R, F: FnOnce(bool) -> R> pulp::WithSimd for Call<F> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> R {
            (self.0)(!S::IS_SCALAR)
        }
    }
    pulp::Arch::new().dispatch(Call(f))
}

/// `e^x`, relative error below 3e-7 for -87 <= x <= 88; beyond, the value at that end. NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // x = n ln 2 + f with a whole n and |f| <= ln 2 / 2. ln 2 in two parts: the product of the first with n is exact.
    const HIGH: f32 = 355.0 / 512.0;
    const LOW: f32 = (std::f64::consts::LN_2 - HIGH as f64) as f32;
    // Adding this rounds to a whole number, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let f = (x - n * HIGH) - n * LOW;
    // Taylor's series: its seventh term is below 1.2e-7.
    let series = 1.0 / 720.0;
    let series = series * f + 1.0 / 120.0;
    let series = series * f + 1.0 / 24.0;
    let series = series * f + 1.0 / 6.0;
    let series = series * f + 0.5;
    let series = series * f + 1.0;
    let series = series * f + 1.0;
    // Times 2^n, made from the low bits of the rounded number.
    series * f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// `1 / (1 + e^-x)`, absolute error below 2e-7.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Hyperbolic tangent, absolute error below 3e-7.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// The sum of `values`, by sixteen partial sums.
#[inline(always)]
pub fn sum(values: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// `out = a * b`, element by element.
pub fn product(out: &mut [f32], a: &[f32], b: &[f32]) {
    vectorized(
        #[inline(always)]
        || {
            out.iter_mut()
                .zip(a.iter().zip(b))
                .for_each(|(out, (a, b))| *out = a * b)
        },
    );
}

/// `out = out * by`, element by element.
pub fn scale(out: &mut [f32], by: &[f32]) {
    vectorized(
        #[inline(always)]
        || out.iter_mut().zip(by).for_each(|(out, by)| *out *= by),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> impl Iterator<Item = f32> {
        (-870_000..=880_000).map(|i| i as f32 * 1e-4)
    }

    #[test]
    fn errors_are_as_documented() {
        let relative = |x: f32| (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs();
        assert!(grid().map(relative).fold(0.0, f64::max) < 3e-7);
        let logistic = |x: f32| (f64::from(sigmoid(x)) - 1.0 / (1.0 + (-f64::from(x)).exp())).abs();
        assert!(grid().map(logistic).fold(0.0, f64::max) < 2e-7);
        let hyperbolic = |x: f32| (f64::from(tanh(x)) - f64::from(x).tanh()).abs();
        assert!(grid().map(hyperbolic).fold(0.0, f64::max) < 3e-7);
    }

    #[test]
    fn ends_and_nan() {
        for x in [f32::INFINITY, 1e30, 100.0] {
            assert_eq!((sigmoid(x), tanh(x)), (1.0, 1.0));
            assert!(sigmoid(-x) < 1e-37 && tanh(-x) == -1.0);
        }
        assert!(exp(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
        assert_eq!((exp(0.0), sigmoid(0.0), tanh(0.0)), (1.0, 0.5, 0.0));
    }

    #[test]
    fn vector_code_gives_the_bits_of_scalar_code() {
        let x: Vec<f32> = grid().step_by(997).collect();
        let mut vector = vec![0.0; x.len()];
        vectorized(
            #[inline(always)]
            || {
                vector
                    .iter_mut()
                    .zip(&x)
                    .for_each(|(y, x)| *y = sigmoid(*x) + tanh(*x))
            },
        );
        let scalar: Vec<f32> = x
            .iter()
            .map(|x| sigmoid(std::hint::black_box(*x)) + tanh(*x))
            .collect();
        assert_eq!(vector, scalar);
    }

    #[test]
    fn sums() {
        let values: Vec<f32> = (0..100).map(|i| i as f32).collect();
        for n in [0, 1, 15, 16, 17, 100] {
            assert_eq!(sum(&values[..n]), (n * n.saturating_sub(1) / 2) as f32);
        }
    }
}
