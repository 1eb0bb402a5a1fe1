//! Texts and vocabularies.

pub mod corpus;
pub mod vocab;
