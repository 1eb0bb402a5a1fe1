//! Runs models, float or integer.

pub mod generate;
pub mod integer;
pub mod model;
pub mod tasks;
