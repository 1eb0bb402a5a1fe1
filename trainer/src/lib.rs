//! Trains small recurrent networks on a text, quantizes them and makes images for microcontrollers.

pub mod cell;
pub mod cli;
pub mod command;
pub mod corpus;
pub mod evaluate;
pub mod flash;
pub mod gemm;
pub mod generate;
pub mod integer;
pub mod markov;
pub mod math;
pub mod model;
pub mod network;
pub mod onnx;
pub mod optimizer;
pub mod output;
pub mod page;
pub mod progress;
pub mod quantize;
pub mod report;
pub mod sample;
pub mod samples;
pub mod sequence;
pub mod series;
pub mod train;
pub mod vocab;
