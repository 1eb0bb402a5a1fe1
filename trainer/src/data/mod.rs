//! Texts, tokenizers and examples: everything between a file and the token ids that a network is trained on.
//!
//! [`corpus`] reads a file in chunks, [`tokenizer`] turns text into token ids and back, [`examples`] reads one example per line.

pub mod corpus;
mod encoding;
pub mod examples;
pub mod features;
pub mod hash;
pub mod ngram;
pub mod notice;
pub mod split;
pub mod task;
pub mod tokenizer;
