//! Tokens and their texts, read in place.

use crate::image::{ImageError, Sections};

/// The V tokens of an image: V + 1 offsets into their texts, and the ids sorted by text.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary<'a> {
    /// Start of each token's text, and the end of the last: `[V + 1]`.
    offsets: &'a [u32],
    /// Ids in the order of their texts' bytes: `[V]`.
    sorted: &'a [u16],
    /// All texts, one after another.
    text: &'a str,
}

impl<'a> Vocabulary<'a> {
    /// Reads the section and checks it: UTF-8, offsets that rise at character boundaries, a permutation that sorts.
    pub(crate) fn take(
        sections: &mut Sections<'a>,
        tokens: usize,
        bytes: usize,
    ) -> Result<Self, ImageError> {
        let offsets: &[u32] = sections.take(tokens + 1)?;
        let sorted: &[u16] = sections.take(tokens)?;
        let bytes: &[u8] = sections.take(bytes)?;
        let refused = |token: usize| ImageError::Vocabulary {
            token: token as u32,
        };
        let text = core::str::from_utf8(bytes).map_err(|_| refused(0))?;
        let vocabulary = Self {
            offsets,
            sorted,
            text,
        };
        for token in 0..tokens {
            if vocabulary.get(token).is_none_or(str::is_empty) {
                return Err(refused(token));
            }
        }
        let covered = offsets.first() == Some(&0)
            && offsets.last().map(|&end| end as usize) == Some(bytes.len());
        // Ids in strictly rising order of their texts are all different, so they are all there.
        let rising = |pair: &[u16]| match pair {
            [a, b] => vocabulary.get((*a).into()) < vocabulary.get((*b).into()),
            _ => false,
        };
        let known = |id: &u16| usize::from(*id) < tokens;
        if !covered || !sorted.iter().all(known) || !sorted.windows(2).all(rising) {
            return Err(refused(tokens));
        }
        Ok(vocabulary)
    }

    /// Number of tokens, V, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The text of token `id`; nothing when `id` is not below [`len`](Self::len).
    pub fn text(&self, id: u16) -> &'a str {
        self.get(id.into()).unwrap_or_default()
    }

    #[inline(never)]
    fn get(&self, id: usize) -> Option<&'a str> {
        let (start, end) = (*self.offsets.get(id)?, *self.offsets.get(id + 1)?);
        self.text.get(start as usize..end as usize)
    }

    /// The longest token that `text` begins with, and its length in bytes.
    pub fn longest_match(&self, text: &str) -> Option<(u16, usize)> {
        let mut text = text;
        loop {
            // A token that `text` begins with is not after it in the order; nor is a longer one before a shorter one.
            let after = self.sorted.partition_point(|&id| self.text(id) <= text);
            let id = *self.sorted.get(after.checked_sub(1)?)?;
            let token = self.text(id);
            let common = token
                .bytes()
                .zip(text.bytes())
                .take_while(|(a, b)| a == b)
                .count();
            if common == token.len() {
                return Some((id, common));
            }
            // Every shorter candidate is a beginning of what they share.
            text = text.get(..text.floor_char_boundary(common))?;
            if text.is_empty() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::encode::{Parts, bytes, encode};
    use crate::{Cell, Image, Layer};
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    /// The pieces that longest match makes of `text`.
    fn pieces(tokens: &[&str], text: &str) -> Option<Vec<String>> {
        let mut parts = Parts::random(
            1,
            tokens.len(),
            0,
            &[Layer {
                cell: Cell::GruResetAfter,
                hidden: 1,
            }],
        );
        parts.tokens = tokens.iter().map(|t| t.to_string()).collect();
        let words = encode(&parts).unwrap();
        let image = Image::parse(bytes(&words)).unwrap();
        let (vocabulary, mut rest, mut pieces) = (image.vocabulary(), text, Vec::new());
        while !rest.is_empty() {
            let (id, length) = vocabulary.longest_match(rest)?;
            assert_eq!(vocabulary.text(id), &rest[..length]);
            pieces.push(rest[..length].to_string());
            rest = &rest[length..];
        }
        Some(pieces)
    }

    #[test]
    fn the_longest_token_wins() {
        let tokens = [
            "the",
            "t",
            "h",
            "e",
            "them",
            " ",
            "theses",
            "\u{5e9}",
            "\u{5e9}\u{5dc}",
            "\u{1f42d}",
            "\u{1f42c}",
        ];
        assert_eq!(
            pieces(&tokens, "thethemthese"),
            None,
            "an s alone is not a token"
        );
        assert_eq!(
            pieces(&tokens, "theththem the").unwrap(),
            ["the", "t", "h", "them", " ", "the"]
        );
        // Characters that share their first bytes are different characters.
        assert_eq!(
            pieces(&tokens, "\u{1f42c}\u{5e9}\u{5e9}\u{5dc}\u{1f42d}")
                .unwrap()
                .len(),
            4
        );
        assert_eq!(pieces(&tokens, "\u{1f42e}"), None);
        assert_eq!(pieces(&["\u{5dc}"], "\u{5e9}"), None);
    }
}
