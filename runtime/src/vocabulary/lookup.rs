//! Text to tokens.

use super::{OutOfVocabulary, Tokenization, Vocabulary};
use core::cmp::Ordering;

/// A text, split after its first token.
struct Split<'t> {
    /// The token, if the vocabulary has one.
    token: Option<u16>,
    /// The text of the token.
    piece: &'t str,
    /// The text after the piece.
    rest: &'t str,
}

impl<'a> Vocabulary<'a> {
    /// Iterates over the tokens of `text`, each less than [`len`](Self::len) and never a special token other than UNK.
    ///
    /// A character or word that is not in the vocabulary becomes UNK. Without an UNK token it is an error, and the iterator
    /// ends after it. To read a text only if it has no error, call [`check`](Self::check) first.
    pub fn tokenize<'t>(
        self,
        text: &'t str,
    ) -> impl Iterator<Item = Result<u16, OutOfVocabulary>> + use<'a, 't> {
        let (bytes, mut rest) = match self.tokenization {
            Tokenization::Byte => (text, ""),
            _ => ("", text),
        };
        let tokens = core::iter::from_fn(move || {
            let split = self.split_first(rest)?;
            rest = split.rest;
            if let Some(token) = split.token.or(self.unk()) {
                return Some(Ok(token));
            }
            let position = text.len() - split.rest.len() - split.piece.len();
            rest = "";
            let character = split.piece.chars().next()?;
            Some(Err(OutOfVocabulary {
                character,
                position,
            }))
        });
        bytes.bytes().map(|byte| Ok(byte.into())).chain(tokens)
    }

    /// Checks that [`tokenize`](Self::tokenize) gives no error for `text`.
    ///
    /// A step of a model cannot be undone, so a text is checked as a whole before a model reads its first token. For a
    /// vocabulary of bytes or with an UNK token this takes no time; for others it takes a binary search per token, much less
    /// than a step.
    ///
    /// # Errors
    /// The first character or word of `text` that is not in the vocabulary, if it has no UNK token.
    pub fn check(self, text: &str) -> Result<(), OutOfVocabulary> {
        if self.tokenization == Tokenization::Byte || self.unk().is_some() {
            return Ok(());
        }
        self.tokenize(text).try_for_each(|token| token.map(|_| ()))
    }

    /// Splits the first token off `text`, or returns `None` if only white space that is skipped is left.
    #[inline(never)]
    fn split_first<'t>(&self, text: &'t str) -> Option<Split<'t>> {
        let lowercase = match self.tokenization {
            Tokenization::Subword | Tokenization::Byte => {
                let first = text.chars().next()?.len_utf8();
                let found = self.longest_match(text);
                let length = found.map_or(first, |(_, length)| length);
                let (piece, rest) = text.split_at_checked(length)?;
                let token = found.map(|(token, _)| token);
                return Some(Split { token, piece, rest });
            }
            Tokenization::Word => false,
            Tokenization::SpacedWord { lowercase } => lowercase,
        };
        let (piece, rest) = self.tokenization.next_word(text)?;
        let token = self.find_word(piece, lowercase);
        Some(Split { token, piece, rest })
    }

    /// Returns the token with the text `word`, of which ASCII letters are first converted to lower case if `lowercase`.
    fn find_word(&self, word: &str, lowercase: bool) -> Option<u16> {
        let to_lower = |byte: u8| match lowercase {
            true => byte.to_ascii_lowercase(),
            false => byte,
        };
        let order = |id: u16| {
            let text = self.text(id).iter().copied();
            text.cmp(word.bytes().map(to_lower))
        };
        let before = |id: &u16| order(*id) == Ordering::Less;
        let found = *self.sorted.get(self.sorted.partition_point(before))?;
        (order(found) == Ordering::Equal).then_some(found)
    }

    /// Returns the longest token, of those with a text, that `text` begins with, and its length in bytes; `None` if there
    /// is no such token or the tokens are [bytes](Tokenization::Byte).
    pub fn longest_match(&self, text: &str) -> Option<(u16, usize)> {
        let mut text = text.as_bytes();
        loop {
            // In sorted order a prefix of `text` is not after `text`, and a longer prefix is after a shorter one.
            let after = self.sorted.partition_point(|&id| self.text(id) <= text);
            let id = *self.sorted.get(after.checked_sub(1)?)?;
            let token = self.text(id);
            let common = token.iter().zip(text).take_while(|(a, b)| a == b).count();
            if common == token.len() {
                return Some((id, common));
            }
            // A shorter token that `text` begins with sorts before `id`, so it is a prefix of the common part.
            text = text.get(..common)?;
            if text.is_empty() {
                return None;
            }
        }
    }
}
