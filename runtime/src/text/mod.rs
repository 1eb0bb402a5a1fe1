//! From a prompt or conditioning features to text.

pub(crate) mod conditioning;
pub(crate) mod generator;
pub(crate) mod surprisal;
