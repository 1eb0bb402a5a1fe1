//! Texts and vocabularies.

pub mod corpus;
pub mod vocab;
pub mod split;
