//! The functions of the gates, written so that the compiler turns loops over them into vector code.

/// Runs `f` compiled for the widest vectors that this CPU has.
///
/// What `f` calls must be inlined into it to gain from that. The results do not depend on the CPU: no multiplication is
/// fused with an addition.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    products(
        false,
        #[inline(always)]
        |_| f(),
    )
}

/// Runs `f` compiled as [`vectorized`] does, with the arithmetic that this CPU is fastest at, once for `narrow` batches
/// ([`Series::is_narrow`](crate::nn::tensor::Series::is_narrow)) and once for others.
#[inline(always)]
pub fn products<R>(narrow: bool, f: impl FnOnce(Float) -> R) -> R {
    struct Call<F, const NARROW: bool>(F);
    impl<R, F: FnOnce(Float) -> R, const NARROW: bool> pulp::WithSimd for Call<F, NARROW> {
        type Output = R;
        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> R {
            (self.0)(Float {
                fused: !S::IS_SCALAR,
                narrow: NARROW,
            })
        }
    }
    match narrow {
        true => pulp::Arch::new().dispatch(Call::<_, true>(f)),
        false => pulp::Arch::new().dispatch(Call::<_, false>(f)),
    }
}

/// Arithmetic of 32-bit floats. What it is, the compiler knows wherever it is used.
#[derive(Clone, Copy, Debug)]
pub struct Float {
    /// Whether a multiplication with an addition is rounded once: with vectors of fused instructions that is twice as fast,
    /// without them a call of a library.
    fused: bool,
    /// Whether products leave out the second half of the lanes.
    narrow: bool,
}

impl Float {
    /// The same results on every CPU.
    pub const PLAIN: Self = Self {
        fused: false,
        narrow: false,
    };

    /// Whether products leave out the second half of the lanes.
    #[inline(always)]
    pub fn is_narrow(self) -> bool {
        self.narrow
    }

    /// `a b + c`.
    #[inline(always)]
    pub fn multiply_add(self, a: f32, b: f32, c: f32) -> f32 {
        if self.fused {
            a.mul_add(b, c)
        } else {
            a * b + c
        }
    }

    /// `e^x`, relative error below 3e-7 for -87 <= x <= 88; beyond, the value at that end. NaN stays NaN.
    #[inline(always)]
    pub fn exp(self, x: f32) -> f32 {
        // x = n ln 2 + f with a whole n and |f| <= ln 2 / 2. ln 2 in two parts: the product of the first with n is exact.
        const HIGH: f32 = 355.0 / 512.0;
        const LOW: f32 = (std::f64::consts::LN_2 - HIGH as f64) as f32;
        // Adding this rounds to a whole number, which is then in the low bits.
        const ROUND: f32 = 12_582_912.0;
        let x = x.clamp(-87.0, 88.0);
        let rounded = self.multiply_add(x, std::f32::consts::LOG2_E, ROUND);
        let n = rounded - ROUND;
        let f = self.multiply_add(n, -LOW, self.multiply_add(n, -HIGH, x));
        // Taylor's series: its seventh term is below 1.2e-7.
        let series = 1.0 / 720.0;
        let series = self.multiply_add(series, f, 1.0 / 120.0);
        let series = self.multiply_add(series, f, 1.0 / 24.0);
        let series = self.multiply_add(series, f, 1.0 / 6.0);
        let series = self.multiply_add(series, f, 0.5);
        let series = self.multiply_add(series, f, 1.0);
        let series = self.multiply_add(series, f, 1.0);
        // Times 2^n, made from the low bits of the rounded number.
        series * f32::from_bits((rounded.to_bits() << 23).wrapping_add(0x3f80_0000))
    }

    /// `1 / (1 + e^-x)`, absolute error below 2e-7.
    #[inline(always)]
    pub fn sigmoid(self, x: f32) -> f32 {
        1.0 / (1.0 + self.exp(-x))
    }

    /// Hyperbolic tangent, absolute error below 3e-7.
    #[inline(always)]
    pub fn tanh(self, x: f32) -> f32 {
        1.0 - 2.0 / (1.0 + self.exp(2.0 * x))
    }
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
        products(false, |float| {
            for float in [Float::PLAIN, float] {
                let relative = |x: f32| (f64::from(float.exp(x)) / f64::from(x).exp() - 1.0).abs();
                assert!(grid().map(relative).fold(0.0, f64::max) < 3e-7);
                let logistic = |x: f32| {
                    (f64::from(float.sigmoid(x)) - 1.0 / (1.0 + (-f64::from(x)).exp())).abs()
                };
                assert!(grid().map(logistic).fold(0.0, f64::max) < 2e-7);
                let hyperbolic = |x: f32| (f64::from(float.tanh(x)) - f64::from(x).tanh()).abs();
                assert!(grid().map(hyperbolic).fold(0.0, f64::max) < 3e-7);
            }
        });
    }

    #[test]
    fn ends_and_nan() {
        products(false, |float| {
            for float in [Float::PLAIN, float] {
                for x in [f32::INFINITY, 1e30, 100.0] {
                    assert_eq!((float.sigmoid(x), float.tanh(x)), (1.0, 1.0));
                    assert!(float.sigmoid(-x) < 1e-37 && float.tanh(-x) == -1.0);
                }
                assert!(float.exp(f32::NAN).is_nan() && float.sigmoid(f32::NAN).is_nan());
                assert!(float.tanh(f32::NAN).is_nan());
                let zeros = (float.exp(0.0), float.sigmoid(0.0), float.tanh(0.0));
                assert_eq!(zeros, (1.0, 0.5, 0.0));
            }
        });
    }

    #[test]
    fn vector_code_gives_the_bits_of_scalar_code() {
        const FLOAT: Float = Float::PLAIN;
        let x: Vec<f32> = grid().step_by(997).collect();
        let mut vector = vec![0.0; x.len()];
        vectorized(
            #[inline(always)]
            || {
                vector
                    .iter_mut()
                    .zip(&x)
                    .for_each(|(y, x)| *y = FLOAT.sigmoid(*x) + FLOAT.tanh(*x))
            },
        );
        let scalar: Vec<f32> = x
            .iter()
            .map(|x| FLOAT.sigmoid(std::hint::black_box(*x)) + FLOAT.tanh(*x))
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
