//! Cargo features as types.
//!
//! A type has a value only in a build with its feature. What a model needs a feature for contains such a value, so without the
//! feature the compiler knows that it cannot occur and leaves its code out; parsing is the only place that asks for the value.

#[cfg(not(all(feature = "source", feature = "graph")))]
use core::convert::Infallible;

/// Proof of the feature `source`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source(#[cfg(not(feature = "source"))] Infallible);

impl Source {
    /// The proof, if there is one.
    #[cfg(feature = "source")]
    pub const AVAILABLE: Option<Self> = Some(Self());
    #[cfg(not(feature = "source"))]
    pub const AVAILABLE: Option<Self> = None;
}

/// Proof of the feature `graph`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Graph(#[cfg(not(feature = "graph"))] Infallible);

impl Graph {
    /// The proof, if there is one.
    #[cfg(feature = "graph")]
    pub const AVAILABLE: Option<Self> = Some(Self());
    #[cfg(not(feature = "graph"))]
    pub const AVAILABLE: Option<Self> = None;
}
