//! What the best of the other libraries take for the same work, as measured.

use crate::counts::Count;

/// A peer's figure.
struct Peer {
    core: &'static str,
    what: &'static str,
    unit: &'static str,
    value: u64,
    /// Its name, and what it does otherwise.
    name: &'static str,
}

/// How the peers' figures were measured.
pub const METHOD: &str = "Peers: gcc 12.2 -O3, QEMU 7.2 mps2 machines. Instructions are exact; M4 cycles are the executed \
stream priced by the reference manual, as ours; steps have 64 inputs. M0+ cycles of peers are M0 streams priced alike; \
where it says at least, only the instructions are known, and each takes a cycle or more.";

const MATVEC: &str = "CMSIS 5.9 mat_q7_vec_q15_opt, int8 x int16";
const MATVEC_AT_LEAST: &str = "CMSIS 5.9 mat_q7_vec_q15_opt, at least";
const ARM_GRU: &str = "ARM's GRU example, CMSIS 5";
const CMSIS_LSTM: &str = "CMSIS-NN LSTM s8";
const PARTS: &str = "best peer parts put together";

#[rustfmt::skip]
static PEERS: &[Peer] = &[
    peer("cortex-m4", "matvec_384x128", "instructions", 209 * 384 * 128 / 100, MATVEC),
    peer("cortex-m4", "matvec_384x128", "cycles", 261 * 384 * 128 / 100, MATVEC),
    peer("cortex-m4", "matvec_768x256", "instructions", 204 * 768 * 256 / 100, MATVEC),
    peer("cortex-m4", "matvec_768x256", "cycles", 255 * 768 * 256 / 100, MATVEC),
    peer("cortex-m4", "gru_step_128", "instructions", 163_100, ARM_GRU),
    peer("cortex-m4", "gru_step_128", "cycles", 205_251, ARM_GRU),
    peer("cortex-m4", "gru_step_256", "instructions", 522_492, ARM_GRU),
    peer("cortex-m4", "gru_step_256", "cycles", 655_747, ARM_GRU),
    peer("cortex-m4", "lstm_step_128", "instructions", 256_873, CMSIS_LSTM),
    peer("cortex-m4", "lstm_step_128", "cycles", 339_462, CMSIS_LSTM),
    peer("cortex-m4", "draw_64", "instructions", 6_283, "float sampling with the FPU"),
    peer("cortex-m4", "whole_character_128", "instructions", 186_500, PARTS),
    peer("cortex-m4", "whole_character_128", "cycles", 235_000, PARTS),
    peer("cortex-m4", "code_and_tables", "bytes", 2_048, "ARM's GRU example, a GRU alone"),
    peer("cortex-m4", "ram", "bytes", 1_152, ARM_GRU),
    peer("cortex-m0plus", "matvec_384x128", "instructions", 633 * 384 * 128 / 100, MATVEC),
    peer("cortex-m0plus", "matvec_384x128", "cycles", 633 * 384 * 128 / 100, MATVEC_AT_LEAST),
    peer("cortex-m0plus", "matvec_768x256", "instructions", 623 * 768 * 256 / 100, MATVEC),
    peer("cortex-m0plus", "matvec_768x256", "cycles", 623 * 768 * 256 / 100, MATVEC_AT_LEAST),
    peer("cortex-m0plus", "gru_step_128", "instructions", 479_906, ARM_GRU),
    peer("cortex-m0plus", "gru_step_128", "cycles", 621_339, ARM_GRU),
    peer("cortex-m0plus", "lstm_step_128", "instructions", 757_874, CMSIS_LSTM),
    peer("cortex-m0plus", "draw_64", "instructions", 123_599, "arm_softmax_s8, without a draw"),
    peer("cortex-m0plus", "whole_character_128", "instructions", 750_000, PARTS),
    peer("cortex-m0plus", "whole_character_128", "cycles", 1_000_000, PARTS),
    peer("cortex-m0plus", "ram", "bytes", 1_152, ARM_GRU),
];

const fn peer(
    core: &'static str,
    what: &'static str,
    unit: &'static str,
    value: u64,
    name: &'static str,
) -> Peer {
    Peer {
        core,
        what,
        unit,
        value,
        name,
    }
}

/// A count with its peer's.
pub(crate) fn beside(
    core: &'static str,
    what: &'static str,
    value: u64,
    unit: &'static str,
) -> Count {
    let peer = PEERS
        .iter()
        .find(|peer| (peer.core, peer.what, peer.unit) == (core, what, unit));
    Count {
        core,
        what,
        value,
        unit,
        peer: peer.map(|peer| peer.name),
        peer_value: peer.map(|peer| peer.value),
    }
}
