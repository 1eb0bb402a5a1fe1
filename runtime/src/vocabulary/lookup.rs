//! Text to tokens.

use super::{OutOfVocabulary, Vocabulary};
use crate::tokenization::Tokenization;
use core::cmp::Ordering;

/// A token and its text.
struct Match<'t> {
    /// The token, if the vocabulary has one.
    token: Option<u16>,
    /// The part of the text that it stands for.
    piece: &'t [u8],
    /// The text after the piece.
    rest: &'t [u8],
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
        let mut position = 0;
        core::iter::from_fn(move || self.next_token(text, &mut position))
    }

    /// The first token of `text` from byte `position` on, which becomes that after the token; `None` at the end.
    pub(crate) fn next_token(
        &self,
        text: &str,
        position: &mut usize,
    ) -> Option<Result<u16, OutOfVocabulary>> {
        let rest = text.as_bytes().get(*position..)?;
        let found = self.match_first(rest)?;
        *position = text.len() - found.rest.len();
        if let Some(token) = found.token.or(self.unk()) {
            return Some(Ok(token));
        }
        let start = *position - found.piece.len();
        *position = text.len();
        Some(Err(OutOfVocabulary {
            character: text.get(start..)?.chars().next()?,
            position: start,
        }))
    }

    /// Checks that [`tokenize`](Self::tokenize) gives no error for `text`.
    ///
    /// A step of a model cannot be undone, so a text is checked as a whole before a model reads its first token. For a
    /// vocabulary of bytes or with an UNK token this takes no time; for others it takes a binary search per token, much less
    /// than a step.
    ///
    /// # Errors
    /// The first character or word of `text` that is not in the vocabulary, if it has no UNK token.
    pub fn check(&self, text: &str) -> Result<(), OutOfVocabulary> {
        if self.tokenization == Tokenization::Byte || self.unk().is_some() {
            return Ok(());
        }
        let mut position = 0;
        while let Some(token) = self.next_token(text, &mut position) {
            token?;
        }
        Ok(())
    }

    /// The first token of `text`, or `None` if only white space that is skipped is left.
    #[inline(never)]
    fn match_first<'t>(&self, text: &'t [u8]) -> Option<Match<'t>> {
        let (token, (piece, rest)) = match self.tokenization {
            Tokenization::Byte => {
                let (piece, rest) = text.split_at_checked(1)?;
                (piece.first().map(|byte| u16::from(*byte)), (piece, rest))
            }
            Tokenization::Subword => {
                let (token, len) = match self.longest_match_of(text) {
                    Some((token, len)) => (Some(token), len),
                    // The first byte of a character says how long it is.
                    None => (None, text.first()?.leading_ones().max(1) as usize),
                };
                (token, text.split_at_checked(len)?)
            }
            Tokenization::Word | Tokenization::SpacedWord { .. } => {
                let (piece, rest) = self.tokenization.split_word(text)?;
                let lowercase = self.tokenization == Tokenization::SpacedWord { lowercase: true };
                let found = self.last_not_after(piece, lowercase);
                let found = found.filter(|(_, text)| text.len() == piece.len());
                let equal =
                    found.filter(|(_, text)| compare(text, piece, lowercase) == Ordering::Equal);
                (equal.map(|(token, _)| token), (piece, rest))
            }
        };
        Some(Match { token, piece, rest })
    }

    /// Of the tokens with a text, in the order of their texts, the last one that is not after `text`, and its text. If `lowercase`,
    /// the ASCII letters of `text` are first converted to lower case.
    #[inline(never)]
    fn last_not_after(&self, text: &[u8], lowercase: bool) -> Option<(u16, &'a [u8])> {
        let after = self
            .sorted
            .partition_point(|id| compare(self.text(*id), text, lowercase) != Ordering::Greater);
        let id = *self.sorted.get(after.checked_sub(1)?)?;
        Some((id, self.text(id)))
    }

    /// Returns the longest token, of those with a text, that `text` begins with, and its length in bytes; `None` if there
    /// is no such token or the tokens are [bytes](Tokenization::Byte).
    pub fn longest_match(&self, text: &str) -> Option<(u16, usize)> {
        self.longest_match_of(text.as_bytes())
    }

    fn longest_match_of(&self, mut text: &[u8]) -> Option<(u16, usize)> {
        loop {
            // In sorted order a prefix of `text` is not after `text`, and a longer prefix is after a shorter one.
            let (id, token) = self.last_not_after(text, false)?;
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

/// The order of the text of a token and of `text`, of which ASCII letters are first converted to lower case if `lowercase`.
#[inline(never)]
pub(super) fn compare(token: &[u8], text: &[u8], lowercase: bool) -> Ordering {
    for (token, byte) in token.iter().zip(text) {
        let byte = match lowercase {
            true => byte.to_ascii_lowercase(),
            false => *byte,
        };
        match token.cmp(&byte) {
            Ordering::Equal => {}
            order => return order,
        }
    }
    token.len().cmp(&text.len())
}
