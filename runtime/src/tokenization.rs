//! The ways of splitting a text into tokens.

/// How a text is split into the tokens of a vocabulary.
///
/// A word is a run of letters and digits, with single apostrophes and hyphens between them; every character beyond ASCII
/// counts as a letter. Every other character is a word by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokenization {
    /// Characters or subwords: each token is the longest one that the rest of the text begins with.
    #[default]
    Subword,
    /// Bytes: token i is the byte i.
    Byte,
    /// Words, each with at most one leading space. Concatenating the tokens gives the text.
    Word,
    /// Words without white space: it is skipped, and a space is printed between two tokens.
    SpacedWord {
        /// Whether ASCII letters of a text are converted to lower case.
        lowercase: bool,
    },
}

impl Tokenization {
    /// All tokenizations. The position is the number that a model file contains.
    pub const ALL: [Self; 5] = [
        Self::Subword,
        Self::Byte,
        Self::Word,
        Self::SpacedWord { lowercase: false },
        Self::SpacedWord { lowercase: true },
    ];

    /// Returns whether tokens are whole words, so that a text is split before its tokens are looked up.
    pub fn is_word_based(self) -> bool {
        matches!(self, Self::Word | Self::SpacedWord { .. })
    }

    /// Returns whether a space is printed between two tokens.
    pub fn joins_with_space(self) -> bool {
        matches!(self, Self::SpacedWord { .. })
    }

    /// Iterates over the words of `text`. Meant for a [word-based](Self::is_word_based) tokenization; the others split like
    /// [`Word`](Self::Word).
    ///
    /// ```
    /// use pipsqueak::Tokenization;
    /// let split = |by: Tokenization, text| by.split_words(text).collect::<Vec<_>>();
    /// let (word, spaced) = (Tokenization::Word, Tokenization::SpacedWord { lowercase: false });
    /// assert_eq!(split(word, "I don't.\n  A b"), ["I", " don't", ".", "\n", " ", " A", " b"]);
    /// assert_eq!(split(spaced, " I don't.\n A "), ["I", "don't", ".", "A"]);
    /// ```
    pub fn split_words(self, mut text: &str) -> impl Iterator<Item = &str> {
        core::iter::from_fn(move || {
            let (word, rest) = self.next_word(text)?;
            text = rest;
            Some(word)
        })
    }

    /// Returns the first word of `text` and the text after it, or `None` if there is no word.
    ///
    /// [`SpacedWord`](Self::SpacedWord) skips white space before the word. The word is not converted to lower case.
    pub fn next_word(self, text: &str) -> Option<(&str, &str)> {
        let (word, rest) = self.split_word(text.as_bytes())?;
        // Bytes beyond ASCII are all letters, so a word ends at a character boundary.
        let (before, rest) = text.split_at_checked(text.len() - rest.len())?;
        Some((before.get(before.len() - word.len()..)?, rest))
    }

    /// [`next_word`](Self::next_word) of the bytes of a text.
    pub(crate) fn split_word(self, text: &[u8]) -> Option<(&[u8], &[u8])> {
        let text = match self {
            Self::SpacedWord { .. } => text.trim_ascii_start(),
            _ => text,
        };
        let mut rest = text;
        // A space belongs to the word after it, unless white space follows.
        if let [b' ', next, ..] = rest
            && !next.is_ascii_whitespace()
        {
            rest = rest.get(1..)?;
        }
        rest = match rest {
            [first, ..] if is_letter(first) => skip_letters(rest),
            [_, after @ ..] => after,
            [] => return None,
        };
        text.split_at_checked(text.len() - rest.len())
    }
}

/// Returns the rest of `text` after the letters, digits and joined apostrophes and hyphens at the beginning of `text`.
fn skip_letters(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [letter, rest @ ..] if is_letter(letter) => rest,
            [b'\'' | b'-', letter, rest @ ..] if is_letter(letter) => rest,
            _ => return text,
        };
    }
}

fn is_letter(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}
