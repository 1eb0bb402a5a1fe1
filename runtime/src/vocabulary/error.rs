//! Text without a token.

use crate::message::{Fragment, Message, display};

/// A text with a character or word that is not in the vocabulary, which has no UNK token either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfVocabulary {
    /// The first character that no token matches, or the first character of the word.
    pub character: char,
    /// Byte offset of the character in the text.
    pub position: usize,
}

impl Message for OutOfVocabulary {
    fn write_to(&self, out: &mut dyn FnMut(Fragment)) {
        out(Fragment::Text(
            "the vocabulary has no token for the text that begins with ",
        ));
        // A control character would change the terminal instead of being shown.
        let shown = !self.character.is_control();
        if shown {
            out(Fragment::Text("'"));
            out(Fragment::Char(self.character));
            out(Fragment::Text("' ("));
        }
        out(Fragment::Text("U+"));
        out(Fragment::Hex(self.character.into(), 4));
        out(Fragment::Text(if shown {
            ") at byte "
        } else {
            " at byte "
        }));
        out(Fragment::Number(self.position as u32));
        out(Fragment::Text("; remove or replace it"));
    }
}

impl core::fmt::Display for OutOfVocabulary {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for OutOfVocabulary {}
