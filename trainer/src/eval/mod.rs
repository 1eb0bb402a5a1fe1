//! Losses of models, and n-gram models to compare them with.

pub mod perplexity;
pub mod tasks;
