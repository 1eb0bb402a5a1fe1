//! What the processor has, and helpers for vectors.

use core::arch::x86_64::*;

cpufeatures::new!(avx2, "avx2");

/// Whether the processor has AVX2.
#[inline]
pub fn has_avx2() -> bool {
    avx2::get()
}

/// The sum of the low and the high half.
#[inline]
#[target_feature(enable = "avx2")]
pub fn add_halves(sum: __m256i) -> __m128i {
    _mm_add_epi32(
        _mm256_castsi256_si128(sum),
        _mm256_extracti128_si256::<1>(sum),
    )
}

#[inline]
#[target_feature(enable = "sse2")]
pub fn load([a, b, c, d]: [u32; 4]) -> __m128i {
    _mm_set_epi32(d as i32, c as i32, b as i32, a as i32)
}
