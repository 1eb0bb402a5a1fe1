//! The gates of a GRU, one unit per lane.

use super::simd::{has_avx2, load};
use crate::activation::TANH;
use crate::fixed::QuantizedMultiplier;
use crate::generic;
use crate::packed::{GruParams, I16x4};
use core::arch::x86_64::*;

/// [`crate::generic::gru_gates`]
pub fn gru_gates(
    params: &GruParams,
    gate_row: &[[i8; 4]; 3],
    products: &[[i32; 4]; 3],
    h: &I16x4,
    h_next: &mut I16x4,
) {
    if has_avx2() {
        // SAFETY: the processor has AVX2.
        unsafe { gru_gates_avx2(params, gate_row, products, h, h_next) }
    } else {
        generic::gru_gates(params, gate_row, products, h, h_next);
    }
}

#[target_feature(enable = "avx2")]
fn gru_gates_avx2(
    params: &GruParams,
    gate_row: &[[i8; 4]; 3],
    products: &[[i32; 4]; 3],
    h: &I16x4,
    h_next: &mut I16x4,
) {
    let GruParams {
        update,
        reset,
        candidate,
    } = params;
    let token = |gate: usize| load_i32(gate_row[gate].map(i32::from));
    // The token's part of a sum.
    let added = |gate: usize, scale: [i32; 4]| _mm_mullo_epi32(token(gate), load_i32(scale));
    let sum = |gate: usize, bias: [i32; 4]| _mm_add_epi32(load_i32(products[gate]), load_i32(bias));
    let scale = |scale: [QuantizedMultiplier; 4]| load(scale.map(|scale| scale.0));
    let r = _mm_add_epi32(sum(1, reset.bias), added(1, reset.token_scale));
    let r = sigmoid(requantize(r, scale(reset.scale)));
    let recurrent = requantize(sum(2, candidate.bias), scale(candidate.scale));
    let input = _mm_add_epi32(
        load_i32(candidate.input_bias),
        added(2, candidate.token_scale),
    );
    let n = _mm_add_epi32(input, _mm_mullo_epi32(r, recurrent));
    let n = tanh(saturate(round(n)));
    let z = _mm_add_epi32(sum(0, update.bias), added(0, update.token_scale));
    let z = sigmoid(requantize(z, scale(update.scale)));
    let difference = _mm_sub_epi32(load_i32(h.0.map(i32::from)), n);
    let state = _mm_add_epi32(n, round(_mm_mullo_epi32(z, difference)));
    // SAFETY: `h_next` is 8 bytes.
    unsafe { _mm_storel_epi64(h_next.0.as_mut_ptr().cast(), _mm_packs_epi32(state, state)) };
}

#[inline]
#[target_feature(enable = "sse2")]
fn load_i32([a, b, c, d]: [i32; 4]) -> __m128i {
    _mm_set_epi32(d, c, b, a)
}

/// [`crate::fixed::requantize`]
#[inline]
#[target_feature(enable = "avx2")]
fn requantize(accumulator: __m128i, scale: __m128i) -> __m128i {
    let shifted = _mm_srav_epi32(accumulator, _mm_srli_epi32::<27>(scale));
    let (low, high) = (_mm_set1_epi32(-1 << 17), _mm_set1_epi32((1 << 17) - 1));
    let shifted = _mm_min_epi32(_mm_max_epi32(shifted, low), high);
    let multiplier = _mm_and_si128(scale, _mm_set1_epi32(0xffff));
    saturate(round(_mm_mullo_epi32(shifted, multiplier)))
}

/// Shifts right by 15, rounded to nearest.
#[inline]
#[target_feature(enable = "avx2")]
fn round(x: __m128i) -> __m128i {
    _mm_srai_epi32::<15>(_mm_add_epi32(x, _mm_set1_epi32(1 << 14)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn saturate(x: __m128i) -> __m128i {
    let (low, high) = (
        _mm_set1_epi32(i16::MIN.into()),
        _mm_set1_epi32(i16::MAX.into()),
    );
    _mm_min_epi32(_mm_max_epi32(x, low), high)
}

/// [`crate::activation::sigmoid`]
#[inline]
#[target_feature(enable = "avx2")]
fn sigmoid(x: __m128i) -> __m128i {
    let twice = _mm_add_epi32(
        _mm_sign_epi32(tanh_magnitude(x), x),
        _mm_set1_epi32(65536 + 2),
    );
    _mm_min_epi32(_mm_srai_epi32::<2>(twice), _mm_set1_epi32(i16::MAX.into()))
}

/// [`crate::activation::tanh`]
#[inline]
#[target_feature(enable = "avx2")]
fn tanh(x: __m128i) -> __m128i {
    let y = saturate(_mm_add_epi32(x, x));
    let magnitude = _mm_add_epi32(tanh_magnitude(y), _mm_set1_epi32(1));
    let magnitude = _mm_min_epi32(
        _mm_srli_epi32::<1>(magnitude),
        _mm_set1_epi32(i16::MAX.into()),
    );
    _mm_sign_epi32(magnitude, y)
}

/// `65536 * tanh(|y|)` of four values `y` in Q3.12, each in the range of `i16`.
#[inline]
#[target_feature(enable = "avx2")]
fn tanh_magnitude(y: __m128i) -> __m128i {
    let y = _mm_abs_epi32(y);
    let index = _mm_srli_epi32::<6>(y);
    // SAFETY: y is at most 2^15, so an index is at most 512; the table has one entry more after it.
    let both = unsafe { _mm_i32gather_epi32::<2>(TANH.as_ptr().cast(), index) };
    let low = _mm_and_si128(both, _mm_set1_epi32(0xffff));
    let rise = _mm_sub_epi32(_mm_srli_epi32::<16>(both), low);
    let rise = _mm_mullo_epi32(rise, _mm_and_si128(y, _mm_set1_epi32(63)));
    _mm_add_epi32(
        low,
        _mm_srli_epi32::<6>(_mm_add_epi32(rise, _mm_set1_epi32(32))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::compare_gru_gates;

    #[test]
    fn avx2_gives_the_generic_bits() {
        compare_gru_gates(gru_gates);
    }
}
