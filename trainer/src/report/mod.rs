//! Reports on models and on trainings.

pub mod html;
pub mod text;
