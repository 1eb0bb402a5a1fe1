//! The tokens of a model and their texts, read in place.

mod error;
mod lookup;

use crate::format::{SectionReader, SpecialTokens, VocabularyConfig};
use crate::tokenization::Tokenization;
pub use error::OutOfVocabulary;

/// The texts of V tokens, in a model's bytes.
///
/// The section of a vocabulary that is not of [bytes](Tokenization::Byte) contains, each padded to a multiple of 4 bytes:
/// u32 `[V + 1]` offsets of the texts, u16 `[V - special tokens]` ids sorted by the bytes of their texts, and the
/// concatenated texts in UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary<'a> {
    /// `[V + 1]`: token i has the text `texts[offsets[i]..offsets[i + 1]]`. Empty without a section.
    offsets: &'a [u32],
    /// All ids but those of special tokens, by the bytes of their texts. Empty without a section.
    sorted: &'a [u16],
    texts: &'a [u8],
    /// V.
    tokens: u16,
    initial_token: u16,
    /// [`SpecialTokens::all`], with [`NO_TOKEN`] instead of `None`: half the RAM.
    special_tokens: [u16; 4],
    tokenization: Tokenization,
}

/// Not a token: ids are at most 65,534.
const NO_TOKEN: u16 = u16::MAX;

/// The texts of [`Tokenization::Byte`].
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut i = 0;
    while i < 256 {
        bytes[i] = i as u8;
        i += 1;
    }
    bytes
};

impl Default for Vocabulary<'_> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a> Vocabulary<'a> {
    /// No tokens.
    pub(crate) const EMPTY: Self = Self {
        offsets: &[],
        sorted: &[],
        texts: &[],
        tokens: 0,
        initial_token: 0,
        special_tokens: [NO_TOKEN; 4],
        tokenization: Tokenization::Subword,
    };

    /// Reads the section of a vocabulary, without a look at it. `None` if it ends early.
    ///
    /// `config` has passed the check of the metadata: its tokens are less than `config.tokens`.
    pub(crate) fn read(
        sections: &mut SectionReader<'a>,
        config: &VocabularyConfig,
    ) -> Option<Self> {
        let mut vocabulary = Self {
            tokens: config.tokens,
            initial_token: config.initial_token,
            special_tokens: config.special_tokens.all().map(|id| id.unwrap_or(NO_TOKEN)),
            tokenization: config.tokenization,
            ..Self::EMPTY
        };
        if let Some(lens) = config.section_lens() {
            vocabulary.offsets = sections.section(lens.offsets)?;
            vocabulary.sorted = sections.section(lens.sorted)?;
            vocabulary.texts = sections.section(lens.texts)?;
        }
        Some(vocabulary)
    }

    /// Checks a vocabulary with texts of `text_len` bytes: offsets that rise at character boundaries of UTF-8, and ids that sort
    /// the texts.
    ///
    /// # Errors
    /// The first token that has no text or, if the table as a whole is invalid, the number of tokens.
    pub(crate) fn validate(&self, text_len: u32) -> Result<(), u16> {
        let is_valid = match self.tokenization {
            _ if self.is_empty() => true,
            Tokenization::Byte => self.len() >= BYTES.len() && text_len == 0,
            _ => {
                self.validate_texts()?;
                self.is_sorted()
            }
        };
        if is_valid { Ok(()) } else { Err(self.tokens) }
    }

    /// Checks that the offsets split the texts, which are UTF-8, into V texts that are not empty.
    fn validate_texts(&self) -> Result<(), u16> {
        let texts = core::str::from_utf8(self.texts).map_err(|_| 0u16)?;
        let Some((0, ends)) = self.offsets.split_first() else {
            return Err(self.tokens);
        };
        let mut start = 0;
        for (end, token) in ends.iter().zip(0..) {
            let end = *end as usize;
            if end <= start || !texts.is_char_boundary(end) {
                return Err(token);
            }
            start = end;
        }
        if start == texts.len() {
            Ok(())
        } else {
            Err(self.tokens)
        }
    }

    /// Returns whether `sorted` contains all tokens with a text, at least one, in the order of their texts.
    fn is_sorted(&self) -> bool {
        // As many different ids as there are: texts that rise strictly are all different, and so are their ids.
        let mut last: &[u8] = &[];
        self.sorted.iter().all(|id| {
            let text = self.text(*id);
            let rises = *id < self.tokens && !self.is_special(*id) && is_before(last, text);
            last = text;
            rises
        }) && !last.is_empty()
    }

    fn is_special(&self, id: u16) -> bool {
        self.special_tokens.contains(&id)
    }

    /// Returns the number of tokens, V; 0 if there is no vocabulary.
    pub fn len(&self) -> usize {
        self.tokens.into()
    }

    /// Returns whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }

    /// Returns how a text is split into tokens.
    pub fn tokenization(&self) -> Tokenization {
        self.tokenization
    }

    /// Returns the tokens without text.
    pub fn special_tokens(&self) -> SpecialTokens {
        let [bos, eos, pad, unk] = self.special_tokens.map(some_token);
        SpecialTokens { bos, eos, pad, unk }
    }

    /// Returns whether any special token exists.
    pub(crate) fn has_special_tokens(&self) -> bool {
        self.special_tokens != [NO_TOKEN; 4]
    }

    fn unk(&self) -> Option<u16> {
        let [_, _, _, unk] = self.special_tokens;
        some_token(unk)
    }

    /// Returns the token that the model reads first if there is no prompt.
    pub fn initial_token(&self) -> u16 {
        self.initial_token
    }

    /// Returns the text of token `id`: UTF-8, but a single byte for [`Tokenization::Byte`]. A special token has a name
    /// instead. Empty if `id` is not less than [`len`](Self::len), or is a special token among bytes.
    #[inline(never)]
    pub fn text(&self, id: u16) -> &'a [u8] {
        let index = usize::from(id);
        let text = match self.tokenization {
            Tokenization::Byte if id < self.tokens => BYTES.get(index..=index),
            Tokenization::Byte => None,
            _ => self.offsets.get(index..).and_then(|offsets| {
                let [start, end] = *offsets.first_chunk()?;
                self.texts.get(start as usize..end as usize)
            }),
        };
        text.unwrap_or(&[])
    }

    /// Iterates over the [texts](Self::text) of all tokens, in order.
    pub fn texts(self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        (0..self.tokens).map(move |id| self.text(id))
    }
}

/// Whether the text `a` sorts before `b`.
fn is_before(a: &[u8], b: &[u8]) -> bool {
    lookup::compare(a, b, false).is_lt()
}

fn some_token(id: u16) -> Option<u16> {
    Some(id).filter(|id| *id != NO_TOKEN)
}

#[cfg(test)]
mod tests;
