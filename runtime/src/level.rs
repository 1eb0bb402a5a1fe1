//! How a text becomes tokens.

/// What a vocabulary's tokens are, and so how a text is cut.
///
/// A word is a run of letters and digits, with apostrophes and hyphens inside; everything beyond ASCII counts as letters.
/// Any other character stands for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Characters or subwords: the longest token that the rest of the text begins with.
    #[default]
    Pieces,
    /// Token i is the byte i.
    Bytes,
    /// Whole words, other characters alone, each with the one space before it, if there is one. Tokens joined are the text.
    Words,
    /// Whole words and other characters alone; white space is dropped, and a space printed between tokens.
    Spaced,
    /// The same after ASCII capitals were made small.
    SpacedLower,
}

impl Level {
    /// All levels, in the order of the numbers that stand for them in an image.
    pub const ALL: [Self; 5] = [
        Self::Pieces,
        Self::Bytes,
        Self::Words,
        Self::Spaced,
        Self::SpacedLower,
    ];

    /// Whether tokens are whole words, and so a text is cut before its tokens are looked up.
    pub fn is_words(self) -> bool {
        matches!(self, Self::Words | Self::Spaced | Self::SpacedLower)
    }

    /// Whether a space is printed between tokens.
    pub fn is_spaced(self) -> bool {
        matches!(self, Self::Spaced | Self::SpacedLower)
    }

    /// The words of `text` at a level of words.
    ///
    /// ```
    /// use pipsqueak::Level;
    /// let cut = |level: Level, text| level.words(text).collect::<Vec<_>>();
    /// assert_eq!(cut(Level::Words, "I don't.\n  A b"), ["I", " don't", ".", "\n", " ", " A", " b"]);
    /// assert_eq!(cut(Level::Spaced, " I don't.\n A "), ["I", "don't", ".", "A"]);
    /// ```
    pub fn words(self, mut text: &str) -> impl Iterator<Item = &str> {
        core::iter::from_fn(move || {
            let (dropped, length) = self.first_word(text);
            let (word, rest) = text.get(dropped..)?.split_at_checked(length)?;
            text = rest;
            (!word.is_empty()).then_some(word)
        })
    }

    /// The first of them: what stands before it and is dropped, and the word, in bytes. The word is empty only where no more
    /// comes.
    pub fn first_word(self, text: &str) -> (usize, usize) {
        let bytes = text.as_bytes();
        let white = |byte: &u8| byte.is_ascii_whitespace();
        let mut start = 0;
        if self.is_spaced() {
            start = bytes.iter().position(|b| !white(b)).unwrap_or(bytes.len());
        }
        let mut end = start;
        // A single space goes with what follows it.
        if bytes.get(end) == Some(&b' ') && bytes.get(end + 1).is_some_and(|b| !white(b)) {
            end += 1;
        }
        let letter = |at: usize| {
            bytes
                .get(at)
                .is_some_and(|b| b.is_ascii_alphanumeric() || !b.is_ascii())
        };
        let joint = |at: usize| matches!(bytes.get(at), Some(b'\'' | b'-'));
        if letter(end) {
            while letter(end) || (joint(end) && letter(end + 1)) {
                end += 1;
            }
        } else if end < bytes.len() {
            end += 1;
        }
        (start, end - start)
    }
}
