//! Trains small recurrent networks on a text, quantizes them and makes images for microcontrollers.

pub mod cli;
pub mod command;
pub mod evaluate;
pub mod flash;
pub mod generate;
pub mod model;
pub mod network;
pub mod onnx;
pub mod output;
pub mod progress;
pub mod quantize;
pub mod report;
pub mod sample;
pub mod vocab;
