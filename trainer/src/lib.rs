//! Trains small recurrent networks on a text, quantizes them and makes models for microcontrollers.

pub mod cli;
pub mod data;
pub mod deploy;
pub mod eval;
pub mod fs;
pub mod inference;
pub mod network;
pub mod nn;
pub mod onnx;
pub mod quantize;
pub mod report;
pub mod training;
