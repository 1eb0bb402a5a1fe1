//! The kernels of cores with the DSP extension. Two rows times a pair of columns are one SXTB16 and two SMLAD.
//!
//! Every kernel follows the procedure call standard: arguments in r0 to r3 and on the stack, r4 to r11 are preserved. A comment
//! before each one names its registers and its stack frame. Loads stand together: a load that follows a load takes one cycle.
mod gates;
mod gemv;
mod softmax;

pub(super) use gates::{gru_gates, lstm_gates};
pub(super) use gemv::{gemv_int4, gemv_int8};
pub(super) use softmax::{cumulative_search, max_i16};

pub(super) const NAME: &str = "Cortex-M SMLAD";
