//! Tokens and their texts, read in place.

use crate::image::{ImageError, Sections, Specials, VocabularyShape};
use crate::level::Level;
use pipsqueak_kernels::packed::round_up as padded;

/// The V tokens of an image: V + 1 offsets into their texts, and the ids that stand for a text sorted by it.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary<'a> {
    /// Start of each token's text, and the end of the last, u32 `[V + 1]`; ids but those of special tokens, in the order of
    /// their texts' bytes, u16; all texts, one after another. Empty at [`Level::Bytes`].
    section: &'a [u8],
    tokens: u16,
    /// Ids that are sorted.
    sorted: u16,
    start: u16,
    /// As in [`Specials::all`]; [`NONE`] for none.
    specials: [u16; 4],
    level: Level,
}

/// No token: there are at most 65,535.
const NONE: u16 = u16::MAX;

/// The texts of [`Level::Bytes`].
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut i = 0;
    while i < 256 {
        bytes[i] = i as u8;
        i += 1;
    }
    bytes
};

impl<'a> Vocabulary<'a> {
    /// Reads the section and checks it: UTF-8, offsets that rise at character boundaries, a permutation that sorts.
    pub(crate) fn take(
        sections: &mut Sections<'a>,
        shape: &VocabularyShape,
    ) -> Result<Self, ImageError> {
        let mut vocabulary = Self {
            section: &[],
            tokens: shape.tokens,
            sorted: 0,
            start: shape.start,
            specials: shape.specials.all().map(|id| id.unwrap_or(NONE)),
            level: shape.level,
        };
        let tokens = vocabulary.len();
        let refused = |token: usize| ImageError::Vocabulary {
            token: token as u32,
        };
        if tokens == 0 {
            return Ok(vocabulary);
        }
        if shape.level == Level::Bytes {
            return match tokens >= BYTES.len() && shape.text_len == 0 {
                true => Ok(vocabulary),
                false => Err(refused(tokens)),
            };
        }
        let special = |id: &u16| vocabulary.specials.contains(id);
        vocabulary.sorted = (0..shape.tokens).filter(|id| !special(id)).count() as u16;
        let length = vocabulary
            .texts_at()
            .saturating_add(shape.text_len as usize);
        vocabulary.section = sections.take(length)?;
        let texts = vocabulary.section.get(vocabulary.texts_at()..);
        let text = core::str::from_utf8(texts.unwrap_or_default()).map_err(|_| refused(0))?;
        for token in 0..tokens {
            let range = vocabulary.range(token);
            if range.is_none_or(|(start, end)| text.get(start..end).is_none_or(str::is_empty)) {
                return Err(refused(token));
            }
        }
        let ends = (vocabulary.range(0), vocabulary.range(tokens - 1));
        let covered = matches!(ends, (Some((0, _)), Some((_, end))) if end == text.len());
        // Ids in strictly rising order of their texts are all different, so they are all there.
        let rising = |pair: &[u16]| match pair {
            [a, b] => vocabulary.text(*a) < vocabulary.text(*b),
            _ => false,
        };
        let known = |id: &u16| *id < shape.tokens && !vocabulary.specials.contains(id);
        let sorted = vocabulary.sorted();
        // Where no token has a text, none could be drawn.
        let texts = covered && !sorted.is_empty();
        if !texts || !sorted.iter().all(known) || !sorted.windows(2).all(rising) {
            return Err(refused(tokens));
        }
        Ok(vocabulary)
    }

    /// Where the texts begin in the section.
    fn texts_at(&self) -> usize {
        4 * (self.len() + 1) + padded(2 * usize::from(self.sorted))
    }

    fn sorted(&self) -> &'a [u16] {
        let start = 4 * (self.len() + 1);
        let end = start + 2 * usize::from(self.sorted);
        let sorted = self.section.get(start..end).unwrap_or_default();
        bytemuck::try_cast_slice(sorted).unwrap_or_default()
    }

    /// Number of tokens, V; 0 where their texts are not known.
    pub fn len(&self) -> usize {
        self.tokens.into()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }

    /// What the tokens are.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The tokens that stand for no text.
    pub fn specials(&self) -> Specials {
        let [start, eos, pad, unk] = self.specials.map(|id| Some(id).filter(|&id| id != NONE));
        Specials {
            start,
            eos,
            pad,
            unk,
        }
    }

    /// Whether there are any.
    pub(crate) fn has_specials(&self) -> bool {
        self.specials != [NONE; 4]
    }

    /// The token that a text without a prompt begins after.
    pub fn start(&self) -> u16 {
        self.start
    }

    /// The text of token `id`, UTF-8 but at [`Level::Bytes`]; nothing when `id` is not below [`len`](Self::len).
    /// A special token has a name.
    pub fn text(&self, id: u16) -> &'a [u8] {
        let id = usize::from(id);
        if self.level == Level::Bytes {
            return BYTES
                .get(id..=id)
                .filter(|_| id < self.len())
                .unwrap_or_default();
        }
        let texts = self.section.get(self.texts_at()..).unwrap_or_default();
        let range = self.range(id);
        range
            .and_then(|(start, end)| texts.get(start..end))
            .unwrap_or_default()
    }

    #[inline(never)]
    fn range(&self, id: usize) -> Option<(usize, usize)> {
        if id >= self.len() {
            return None;
        }
        let words = self.section.get(4 * id..)?.first_chunk::<8>()?;
        let [a, b, c, d, e, f, g, h] = *words;
        let offset = |bytes| u32::from_le_bytes(bytes) as usize;
        Some((offset([a, b, c, d]), offset([e, f, g, h])))
    }

    /// The first token of `text`, and how many bytes it takes, dropped white space among them: the longest token that
    /// the text begins with, or its first word. What is unknown is [`Specials::unk`], where there is one.
    ///
    /// # Errors
    /// The bytes of the first character or word if it is unknown and may not be.
    pub fn first(&self, text: &str) -> Result<(u16, usize), usize> {
        let unknown = |length| match self.specials().unk {
            Some(unk) => Ok((unk, length)),
            None => Err(length),
        };
        match self.level {
            Level::Bytes => {
                let first = text.bytes().next();
                first.map_or(Err(0), |byte| Ok((byte.into(), 1)))
            }
            Level::Pieces => {
                let length = text.chars().next().map_or(0, char::len_utf8);
                self.longest_match(text).map_or_else(|| unknown(length), Ok)
            }
            level => {
                let (dropped, length) = level.first_word(text);
                let end = dropped + length;
                let word = text.as_bytes().get(dropped..end).unwrap_or_default();
                let small = level == Level::SpacedLower;
                let order = |id: &u16| {
                    let of = |byte: &u8| {
                        if small {
                            byte.to_ascii_lowercase()
                        } else {
                            *byte
                        }
                    };
                    self.text(*id).iter().copied().cmp(word.iter().map(of))
                };
                let sorted = self.sorted();
                match sorted.binary_search_by(order) {
                    Ok(place) => Ok((sorted.get(place).copied().unwrap_or(0), end)),
                    Err(_) => unknown(end),
                }
            }
        }
    }

    /// The longest token that `text` begins with, and its length in bytes.
    pub fn longest_match(&self, text: &str) -> Option<(u16, usize)> {
        let (mut text, sorted) = (text.as_bytes(), self.sorted());
        loop {
            // A token that `text` begins with is not after it in the order; nor is a longer one before a shorter one.
            let after = sorted.partition_point(|&id| self.text(id) <= text);
            let id = *sorted.get(after.checked_sub(1)?)?;
            let token = self.text(id);
            let common = token.iter().zip(text).take_while(|(a, b)| a == b).count();
            if common == token.len() {
                return Some((id, common));
            }
            // Every shorter candidate is a beginning of what they share. Tokens are whole characters, so it is too.
            text = text.get(..common)?;
            if text.is_empty() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::encode::{EncodeError, Parts, bytes, encode};
    use crate::image::Specials;
    use crate::{Cell, Image, ImageError, Layer, Level, Vocabulary};
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    fn encoded(level: Level, tokens: &[&str], specials: Specials) -> Result<Vec<u32>, EncodeError> {
        let layers = [Layer::new(Cell::GruResetAfter, 1)];
        let mut parts = Parts::random(1, tokens.len(), 0, &layers);
        let vocabulary = &mut parts.vocabularies[1];
        vocabulary.level = level;
        vocabulary.tokens = tokens.iter().map(|t| t.to_string()).collect();
        vocabulary.specials = specials;
        encode(&parts)
    }

    fn vocabulary(level: Level, tokens: &[&str], specials: Specials) -> Vocabulary<'static> {
        let words = encoded(level, tokens, specials).unwrap();
        let image = Image::parse(bytes(words.leak())).unwrap();
        image.vocabulary()
    }

    /// The tokens of `text`, or the part of it that is unknown.
    fn tokens(vocabulary: Vocabulary, text: &str) -> Result<Vec<u16>, String> {
        let (mut rest, mut found) = (text, Vec::new());
        while !rest.is_empty() {
            let known = vocabulary.first(rest);
            let (id, length) = known.map_err(|length| rest[..length].to_string())?;
            found.push(id);
            rest = &rest[length..];
        }
        Ok(found)
    }

    /// The pieces that longest match makes of `text`.
    fn pieces(tokens: &[&str], text: &str) -> Option<Vec<String>> {
        let vocabulary = vocabulary(Level::Pieces, tokens, Specials::default());
        let (mut rest, mut pieces) = (text, Vec::new());
        while !rest.is_empty() {
            let (id, length) = vocabulary.longest_match(rest)?;
            assert_eq!(vocabulary.text(id), &rest.as_bytes()[..length]);
            pieces.push(rest[..length].to_string());
            rest = &rest[length..];
        }
        Some(pieces)
    }

    #[test]
    fn words_are_cut_and_found() {
        let words = [
            "don't", "I", " don't", ".", " ", "i", "\n", "th\u{e9}", "<unk>",
        ];
        let unk = Specials {
            unk: Some(8),
            ..Specials::default()
        };
        for (specials, level, text, expected) in [
            (
                unk,
                Level::Words,
                "I don't.\n th\u{e9}",
                Ok(&[1, 2, 3, 6, 8][..]),
            ),
            (unk, Level::Words, "I  don't,I", Ok(&[1, 4, 2, 8, 1])),
            (
                unk,
                Level::Spaced,
                "I  don't.\n  th\u{e9}x th\u{e9}",
                Ok(&[1, 0, 3, 8, 7]),
            ),
            (
                unk,
                Level::SpacedLower,
                "I DON'T. TH\u{e9}",
                Ok(&[5, 0, 3, 7]),
            ),
            (Specials::default(), Level::Words, "I dont", Err(" dont")),
            (
                Specials::default(),
                Level::Spaced,
                "I   dont",
                Err("   dont"),
            ),
            (
                Specials::default(),
                Level::SpacedLower,
                "I dOnT",
                Err(" dOnT"),
            ),
            // Its name is a token like any other as long as it is not special.
            (Specials::default(), Level::Pieces, "<unk>I", Ok(&[8, 1])),
        ] {
            let found = tokens(vocabulary(level, &words, specials), text);
            let expected = expected.map(<[u16]>::to_vec).map_err(str::to_string);
            assert_eq!(found, expected, "{level:?}, {text:?}");
        }
    }

    #[test]
    fn special_tokens_are_never_found() {
        let names = ["a", "<s>", "</s>", "<", "s", "b"];
        for level in [
            Level::Pieces,
            Level::Words,
            Level::Spaced,
            Level::SpacedLower,
        ] {
            for special in 0..6 {
                for unk in [None, Some(5)] {
                    let specials = Specials {
                        start: Some(1),
                        eos: Some(2),
                        pad: Some(special),
                        unk,
                    };
                    let vocabulary = vocabulary(level, &names, specials);
                    for text in ["a", "<s>", "</s>", "<", "s", "b", "a</s>b<s>"] {
                        let found = tokens(vocabulary, text).unwrap_or_default();
                        let none = |id: &u16| !specials.is(*id) || unk == Some(*id);
                        assert!(
                            found.iter().all(none),
                            "{level:?} {special} {text}: {found:?}"
                        );
                    }
                    // They still have a name.
                    assert_eq!(
                        vocabulary.text(special),
                        names[usize::from(special)].as_bytes()
                    );
                }
            }
        }
    }

    #[test]
    fn bytes_are_their_own_tokens() {
        let names = alloc::vec!["x"; 258];
        let specials = Specials {
            eos: Some(257),
            ..Specials::default()
        };
        let vocabulary = vocabulary(Level::Bytes, &names, specials);
        for byte in 0..=255u8 {
            assert_eq!(vocabulary.text(byte.into()), [byte]);
        }
        assert_eq!(
            (vocabulary.text(256), vocabulary.text(257)),
            (&[][..], &[][..])
        );
        assert_eq!(vocabulary.len(), 258);
        let text = "a\n\u{1f42d}";
        for (place, byte) in text.bytes().enumerate().take(3) {
            let found = vocabulary.first(&text[place..]);
            assert_eq!(found, Ok((byte.into(), 1)));
        }
        assert_eq!(vocabulary.first(""), Err(0));
    }

    #[test]
    fn malformed_lists_are_refused_with_the_token() {
        let refused = |level, names: &[&str], specials| {
            let error = encoded(level, names, specials).unwrap_err();
            let EncodeError::Refused(ImageError::Vocabulary { token }) = error else {
                panic!("{error}");
            };
            token
        };
        let none = Specials::default();
        assert_eq!(refused(Level::Pieces, &["a", "", "b"], none), 1);
        assert_eq!(
            refused(Level::Pieces, &["a", "b", "a"], none),
            3,
            "twice the same text"
        );
        assert_eq!(
            refused(Level::Bytes, &["a", "b"], none),
            2,
            "fewer tokens than bytes"
        );
        // A special token may have a text that another has.
        let pad = Specials {
            pad: Some(2),
            ..none
        };
        assert!(encoded(Level::Pieces, &["a", "b", "a"], pad).is_ok());
        let all = Specials {
            eos: Some(1),
            pad: Some(0),
            ..none
        };
        assert_eq!(
            refused(Level::Pieces, &["a", "b"], all),
            2,
            "no token has a text"
        );
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
