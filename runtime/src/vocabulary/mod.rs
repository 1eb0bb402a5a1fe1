//! The tokens of a model and their texts, read in place.

mod error;
mod lookup;
pub(crate) mod tokenization;

use crate::format::{ModelError, SectionReader, SpecialTokens, VocabularyConfig};
pub use error::OutOfVocabulary;
pub use tokenization::Tokenization;

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

impl<'a> Vocabulary<'a> {
    /// Reads the section of a vocabulary and checks it: offsets that rise at character boundaries of UTF-8, and ids that
    /// sort the texts.
    ///
    /// `config` has passed the check of the metadata: its tokens are less than `config.tokens`.
    ///
    /// # Errors
    /// [`ModelError::SizeMismatch`] if the section ends early, and [`ModelError::Vocabulary`] with the first token that has no
    /// text or, if the table as a whole is invalid, with `config.tokens`.
    pub(crate) fn read(
        sections: &mut SectionReader<'a>,
        config: &VocabularyConfig,
    ) -> Result<Self, ModelError> {
        let mut vocabulary = Self {
            offsets: &[],
            sorted: &[],
            texts: &[],
            tokens: config.tokens,
            initial_token: config.initial_token,
            special_tokens: config.special_tokens.all().map(|id| id.unwrap_or(NO_TOKEN)),
            tokenization: config.tokenization,
        };
        if config.tokens == 0 {
            return Ok(vocabulary);
        }
        let valid = if config.tokenization == Tokenization::Byte {
            vocabulary.len() >= BYTES.len() && config.text_len == 0
        } else {
            vocabulary.offsets = sections.section(vocabulary.len() + 1)?;
            vocabulary.sorted = sections.section(vocabulary.regular_tokens().count())?;
            vocabulary.texts = sections.section(config.text_len as usize)?;
            vocabulary.check_texts()?;
            vocabulary.is_sorted()
        };
        match valid {
            true => Ok(vocabulary),
            false => Err(refused(vocabulary.len())),
        }
    }

    /// The tokens with a text, in order.
    fn regular_tokens(&self) -> impl Iterator<Item = u16> {
        let special_tokens = self.special_tokens;
        (0..self.tokens).filter(move |id| !special_tokens.contains(id))
    }

    /// Checks that the offsets split the texts, which are UTF-8, into V texts that are not empty.
    fn check_texts(&self) -> Result<(), ModelError> {
        let texts = core::str::from_utf8(self.texts).map_err(|_| refused(0))?;
        for (token, [start, end]) in self.offsets.array_windows().enumerate() {
            let text = texts.get(*start as usize..*end as usize);
            if text.is_none_or(str::is_empty) {
                return Err(refused(token));
            }
        }
        let ends = (self.offsets.first(), self.offsets.last());
        match ends {
            (Some(0), Some(end)) if *end as usize == self.texts.len() => Ok(()),
            _ => Err(refused(self.len())),
        }
    }

    /// Returns whether `sorted` contains all tokens with a text, at least one, in the order of their texts.
    fn is_sorted(&self) -> bool {
        // As many different ids as there are: texts that rise strictly are all different, and so are their ids.
        let regular = |id: &u16| *id < self.tokens && !self.special_tokens.contains(id);
        let rising = |[a, b]: &[u16; 2]| self.text(*a) < self.text(*b);
        !self.sorted.is_empty()
            && self.sorted.iter().all(regular)
            && self.sorted.array_windows().all(rising)
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

fn some_token(id: u16) -> Option<u16> {
    Some(id).filter(|id| *id != NO_TOKEN)
}

/// Returns the error at `token`, or for the table as a whole if it is V.
fn refused(token: usize) -> ModelError {
    ModelError::Vocabulary {
        token: token as u32,
    }
}

#[cfg(test)]
mod tests;
