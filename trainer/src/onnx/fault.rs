//! What is wrong with a node or a value; whoever knows its name makes a [`ReadError`] of it.

use super::read::ReadError;

/// What to do where nothing better is known.
pub const AGAIN: &str = "export the model again with the exporter's newest version, or check the file with onnx.checker";

/// What was found, what should be there, what to do next.
#[derive(Clone, Debug)]
pub struct Fault {
    pub found: String,
    pub expected: String,
    pub advice: String,
}

impl Fault {
    pub fn new(
        found: impl Into<String>,
        expected: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let (found, expected, advice) = (found.into(), expected.into(), advice.into());
        Self {
            found,
            expected,
            advice,
        }
    }

    /// The error, at a place of the file.
    pub fn at(self, place: impl Into<String>) -> ReadError {
        ReadError::refused(place, self.found, self.expected, self.advice)
    }
}

/// A name from the file, fit for one line of an error.
pub fn show(name: &str) -> String {
    let shown: String = name.chars().take(120).collect();
    let more = if shown.len() < name.len() { "..." } else { "" };
    format!("{shown:?}{more}")
}
