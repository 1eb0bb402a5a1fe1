//! Measurements of the best other library for the same work.

use crate::measurement::Measurement;

/// A measurement of another library.
struct Baseline {
    core: &'static str,
    what: &'static str,
    unit: &'static str,
    value: u64,
    /// The library, and how it differs.
    name: &'static str,
}

/// How the baselines were measured.
pub const METHOD: &str = "Peers: gcc 12.2 -O3, QEMU 7.2 mps2 machines. Instructions are exact; M4 cycles are the executed \
stream priced by the reference manual, as ours; steps have 64 inputs. M0+ cycles of baselines are M0 streams priced alike; \
where it says at least, only the instructions are known, and each takes a cycle or more.";

const MATVEC: &str = "CMSIS 5.9 mat_q7_vec_q15_opt, int8 x int16";
const MATVEC_AT_LEAST: &str = "CMSIS 5.9 mat_q7_vec_q15_opt, at least";
const ARM_GRU: &str = "ARM's GRU example, CMSIS 5";
const CMSIS_LSTM: &str = "CMSIS-NN LSTM s8";
const PARTS: &str = "best baseline parts put together";

#[rustfmt::skip]
static BASELINES: &[Baseline] = &[
    baseline("cortex-m4", "matvec_384x128", "instructions", 209 * 384 * 128 / 100, MATVEC),
    baseline("cortex-m4", "matvec_384x128", "cycles", 261 * 384 * 128 / 100, MATVEC),
    baseline("cortex-m4", "matvec_768x256", "instructions", 204 * 768 * 256 / 100, MATVEC),
    baseline("cortex-m4", "matvec_768x256", "cycles", 255 * 768 * 256 / 100, MATVEC),
    baseline("cortex-m4", "gru_step_128", "instructions", 163_100, ARM_GRU),
    baseline("cortex-m4", "gru_step_128", "cycles", 205_251, ARM_GRU),
    baseline("cortex-m4", "gru_step_256", "instructions", 522_492, ARM_GRU),
    baseline("cortex-m4", "gru_step_256", "cycles", 655_747, ARM_GRU),
    baseline("cortex-m4", "lstm_step_128", "instructions", 256_873, CMSIS_LSTM),
    baseline("cortex-m4", "lstm_step_128", "cycles", 339_462, CMSIS_LSTM),
    baseline("cortex-m4", "sample_64", "instructions", 6_283, "float sampling with the FPU"),
    baseline("cortex-m4", "whole_character_128", "instructions", 186_500, PARTS),
    baseline("cortex-m4", "whole_character_128", "cycles", 235_000, PARTS),
    baseline("cortex-m4", "code_and_tables", "bytes", 2_048, "ARM's GRU example, a GRU alone"),
    baseline("cortex-m4", "ram", "bytes", 1_152, ARM_GRU),
    baseline("cortex-m0plus", "matvec_384x128", "instructions", 633 * 384 * 128 / 100, MATVEC),
    baseline("cortex-m0plus", "matvec_384x128", "cycles", 633 * 384 * 128 / 100, MATVEC_AT_LEAST),
    baseline("cortex-m0plus", "matvec_768x256", "instructions", 623 * 768 * 256 / 100, MATVEC),
    baseline("cortex-m0plus", "matvec_768x256", "cycles", 623 * 768 * 256 / 100, MATVEC_AT_LEAST),
    baseline("cortex-m0plus", "gru_step_128", "instructions", 479_906, ARM_GRU),
    baseline("cortex-m0plus", "gru_step_128", "cycles", 621_339, ARM_GRU),
    baseline("cortex-m0plus", "lstm_step_128", "instructions", 757_874, CMSIS_LSTM),
    baseline("cortex-m0plus", "sample_64", "instructions", 123_599, "arm_softmax_s8, without a draw"),
    baseline("cortex-m0plus", "whole_character_128", "instructions", 750_000, PARTS),
    baseline("cortex-m0plus", "whole_character_128", "cycles", 1_000_000, PARTS),
    baseline("cortex-m0plus", "ram", "bytes", 1_152, ARM_GRU),
];

const fn baseline(
    core: &'static str,
    what: &'static str,
    unit: &'static str,
    value: u64,
    name: &'static str,
) -> Baseline {
    Baseline {
        core,
        what,
        unit,
        value,
        name,
    }
}

/// A measurement with its baseline, if there is one.
pub(crate) fn with_baseline(
    core: &'static str,
    what: &'static str,
    value: u64,
    unit: &'static str,
) -> Measurement {
    let baseline = BASELINES
        .iter()
        .find(|baseline| (baseline.core, baseline.what, baseline.unit) == (core, what, unit));
    Measurement {
        core,
        what,
        value,
        unit,
        baseline: baseline.map(|baseline| baseline.name),
        baseline_value: baseline.map(|baseline| baseline.value),
    }
}
