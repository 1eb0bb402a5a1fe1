//! Runs models in float or in integers.

pub mod generate;
pub mod integer;
pub mod model;
pub mod tasks;
