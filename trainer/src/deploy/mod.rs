//! A network for a budget, and files for a board.

pub mod fit;
pub mod flash;
