//! How good a model is.

pub mod ngram;
pub mod perplexity;
pub mod tasks;
