//! The kernels of this core. `build.rs` decides on an architecture; this module re-exports its
//! kernels, and the generic ones for those that it does not have.
//!
//! | cores | kernels |
//! |---|---|
//! | Cortex-M4, M7, M33 with the DSP extension | `cortex_m4`: SMLAD |
//! | Cortex-M0, M0+, M3, M23 | `cortex_m0`: ARMv6-M |
//! | RV32 with M | `riscv32` |
//! | x86-64 | `x86_64`: AVX2 or SSE2, chosen at run time |
//! | 64-bit ARM | `aarch64`: NEON |
//! | any other, or with the feature `generic` | [`crate::generic`] |

// An import by name takes precedence over one by glob.
pub use crate::generic::*;

#[cfg(kernels = "aarch64")]
pub use crate::arch::aarch64::{gemv_int4, gemv_int8, kernel_name};
#[cfg(kernels = "cortex_m4")]
pub use crate::arch::assembly::{
    cumulative_search, gemv_int4, gemv_int8, gru_gates, kernel_name, lstm_gates, max_i16,
};
#[cfg(kernels = "cortex_m0")]
pub use crate::arch::assembly::{gemv_int4, gemv_int8, gru_gates, kernel_name};
#[cfg(kernels = "riscv32")]
pub use crate::arch::assembly::{gemv_int4, gemv_int8, kernel_name};
#[cfg(kernels = "x86_64")]
pub use crate::arch::x86_64::{gemv_int4, gemv_int8, gru_gates, kernel_name};

/// Whether [`lstm_gates`] is the core's own. Where it is not, steps use the code of the other LSTM layers instead of it.
pub const HAS_LSTM_GATES: bool = cfg!(kernels = "cortex_m4");

#[cfg(test)]
mod tests {
    use crate::packed::WeightFormat;
    use crate::testing::{Random, compare_gemv, compare_gru_gates, compare_lstm_gates};
    use crate::{dispatch, generic};

    #[test]
    fn the_kernels_of_this_core_give_the_generic_bits() {
        compare_gemv(
            |n| WeightFormat::Int8.panel_len(n),
            dispatch::gemv_int8,
            generic::gemv_int8,
        );
        compare_gemv(
            |n| WeightFormat::Int4.panel_len(n),
            dispatch::gemv_int4,
            generic::gemv_int4,
        );
        compare_gru_gates(dispatch::gru_gates);
        compare_lstm_gates(dispatch::lstm_gates);
        let mut random = Random::new(3);
        for round in 0..500 {
            let logits: [i16; 24] = core::array::from_fn(|_| random.bits(4 + round % 13) as i16);
            let (fours, _) = logits.as_chunks();
            let max = dispatch::max_i16(fours);
            assert_eq!(max, generic::max_i16(fours));
            let term = generic::SoftmaxTerm {
                max,
                inverse_temperature: random.bits(17).unsigned_abs(),
                shift: round % 17,
                weight_shift: 1 + round % 7,
            };
            let cutoff =
                1 + (((1 << 21) - 1) << term.shift.min(10)) / term.inverse_temperature.max(1);
            for count in 0..logits.len() {
                let (logits, remaining) = (&logits[..count], random.word() >> (round % 9));
                let found = dispatch::cumulative_search(&term, logits, cutoff, remaining);
                let expected = generic::cumulative_search(&term, logits, cutoff, remaining);
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn products_end_where_weights_or_accumulators_do() {
        let mut random = Random::new(4);
        let x = crate::testing::vector(&mut random, 36);
        let x = crate::packed::PackedActivations::new(&x);
        let words: [u32; 40 * 8] = core::array::from_fn(|_| random.word());
        for len in 0..words.len() {
            for accumulators in 0..8 {
                let (mut found, mut expected) = ([[7; 4]; 8], [[7; 4]; 8]);
                dispatch::gemv_int8(&words[..len], &x, &mut found[..accumulators]);
                generic::gemv_int8(&words[..len], &x, &mut expected[..accumulators]);
                assert_eq!(found, expected);
                dispatch::gemv_int4(&words[..len], &x, &mut found[..accumulators]);
                generic::gemv_int4(&words[..len], &x, &mut expected[..accumulators]);
                assert_eq!(found, expected);
            }
        }
    }
}
