//! The kernels of x86-64: AVX2 where the processor has it, else SSE2, which each of them has.

mod gru;
mod int4;
mod int8;
mod simd;

pub use gru::gru_gates;
pub use int4::gemv_int4;
pub use int8::gemv_int8;

/// The name of the kernels: the core and its instructions.
pub fn kernel_name() -> &'static str {
    if simd::has_avx2() {
        "x86-64 AVX2"
    } else {
        "x86-64 SSE2"
    }
}
