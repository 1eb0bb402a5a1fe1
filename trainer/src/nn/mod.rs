//! Arithmetic of the training: vectors of the CPU, products, layers with their gradients, the optimizer, random numbers.

pub mod embedding;
pub mod gemm;
pub mod optimizer;
pub mod random;
pub mod rnn;
pub mod simd;
pub mod softmax;
pub mod tensor;
