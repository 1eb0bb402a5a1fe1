//! Text beside the tokens: conditioning features as text, and how likely a model finds a token.

pub(crate) mod conditioning;
pub(crate) mod surprisal;
