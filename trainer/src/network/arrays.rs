//! Named arrays of numbers.

use super::ElementType;

/// The values of an array.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    Float(Vec<f32>),
    /// 32-bit integers.
    Int32(Vec<i32>),
    /// 64-bit integers.
    Int64(Vec<i64>),
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Values::Float(v) => v.len(),
            Values::Int32(v) => v.len(),
            Values::Int64(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn element(&self) -> ElementType {
        match self {
            Values::Float(_) => ElementType::Float,
            Values::Int32(_) => ElementType::Int32,
            Values::Int64(_) => ElementType::Int64,
        }
    }
}

/// A named array's shape and values, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes.
    pub shape: Vec<usize>,
    /// As many as the sizes say.
    pub values: Values,
}

/// Why arrays do not fit a network.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum RunError {
    /// A name that no input has.
    #[error("{found:?} is no input of the model: its inputs are {}", .inputs.join(", "))]
    Unknown {
        /// The name.
        found: String,
        /// The names of all inputs.
        inputs: Vec<String>,
    },
    /// An input that is not there.
    #[error("the input {0:?} is missing: only states may be left out, they are zero then")]
    Missing(String),
    /// An array of another type or shape.
    #[error("input {name:?}: found {found}, expected {expected}")]
    Shape {
        /// The input.
        name: String,
        /// Type and shape.
        found: String,
        /// Type and shape.
        expected: String,
    },
    /// A token that the model does not have.
    #[error("input {name:?}: found token {token}, expected 0 to {}", .count - 1)]
    Token {
        /// The input.
        name: String,
        /// The id.
        token: i64,
        /// V
        count: usize,
    },
}

impl ElementType {
    /// As numpy names it.
    pub fn name(self) -> &'static str {
        match self {
            ElementType::Float => "float32",
            ElementType::Int32 => "int32",
            ElementType::Int64 => "int64",
        }
    }
}
