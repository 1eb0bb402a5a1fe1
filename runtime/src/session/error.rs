//! Why a session refuses an input.

use crate::message::{Fragment, Message, counts, display};

/// What a model reads in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputKind {
    /// Tokens.
    Tokens,
    /// Frames.
    Frames,
    /// Nothing: it repeats what it computed from the conditioning features.
    Nothing,
    /// Nothing: it has no encoder.
    NoSource,
    /// Not a source text: it has no encoder of text.
    NoSourceText,
    /// Nothing: it has no conditioning features.
    NoFeatures,
    /// Not the text that comes before: it does not generate text.
    NoPrompt,
    /// Not the tokens that it generates.
    NotItsTokens,
}

impl InputKind {
    /// What messages print.
    const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Frames => "frames",
            Self::Nothing => "nothing",
            Self::NoSource => "no source",
            Self::NoSourceText => "no source text",
            Self::NoFeatures => "no features",
            Self::NoPrompt => "no prompt",
            Self::NotItsTokens => "no tokens of its own",
        }
    }
}

/// Why a workspace or an input was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// The workspace is too small.
    Workspace {
        /// 32-bit words needed.
        expected: usize,
        /// 32-bit words given.
        found: usize,
    },
    /// The token is not in the vocabulary of the layer that reads it.
    Token {
        /// Number of tokens.
        expected: usize,
        /// The token.
        found: u16,
    },
    /// The frame has another length than the layer that reads it.
    FrameLength {
        /// Elements needed.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// The model reads something else in this phase.
    InputKind {
        /// What it reads.
        expected: InputKind,
    },
    /// Source tokens or conditioning features after the first step: reset the session first.
    AlreadyStarted,
    /// The model has no such layer or output.
    NoSuchVector,
    /// The layers and the plan of the workspace contradict each other: a bug in this library.
    Internal,
}

impl Message for SessionError {
    fn write_to(&self, out: &mut dyn FnMut(Fragment)) {
        use Fragment::Text;
        match *self {
            Self::Workspace { expected, found } => counts(
                out,
                "the model needs a workspace of ",
                4 * expected as u32,
                " bytes, found ",
                4 * found as u32,
                "",
            ),
            Self::Token { expected, found } => counts(
                out,
                "expected a token below ",
                expected as u32,
                ", found ",
                found.into(),
                "",
            ),
            Self::FrameLength { expected, found } => counts(
                out,
                "expected a frame of ",
                expected as u32,
                " values, found ",
                found as u32,
                "",
            ),
            Self::InputKind { expected } => {
                out(Text("the model reads "));
                out(Text(expected.name()));
                out(Text(" here"));
            }
            Self::AlreadyStarted => {
                out(Text("a text has already begun: reset the session first"));
            }
            Self::NoSuchVector => out(Text("the model has no such layer or output")),
            Self::Internal => out(Text(
                "internal error: a layer is outside the workspace; please report it",
            )),
        }
    }
}

impl core::fmt::Display for SessionError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for SessionError {}
