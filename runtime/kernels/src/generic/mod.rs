//! The specification of every kernel, in Rust: a kernel of [`arch`](crate::dispatch) gives the same bits.

mod gemv;
pub(crate) mod gru;
pub(crate) mod lstm;
mod softmax;

pub use gemv::gemv_int4;
pub use gemv::gemv_int8;
pub use gru::{gru_gates, gru_gates_shifted};
pub use lstm::lstm_gates;
pub use softmax::{SoftmaxTerm, cumulative_search, max_i16};

/// The name of the kernels that run on this core: the core and its instructions, or `generic`.
///
/// ```
/// println!("kernels: {}", pipsqueak_kernels::dispatch::kernel_name());
/// ```
pub fn kernel_name() -> &'static str {
    "generic"
}
