//! The list of the tokens' texts.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use pipsqueak::{SpecialTokens, Tokenization};

use super::encode::{Encoding, OovToken};
use super::spelling::OovSpellingModel;
use super::{Tokenizer, TokenizerKind};

/// The largest number of tokens of a model file.
pub const MAX_TOKENS: usize = 65_535;

/// The names of the tokenizations in ONNX metadata, in the order of [`Tokenization::ALL`].
const METADATA_NAMES: [&str; 5] = ["pieces", "bytes", "words", "spaced", "spaced-lower"];

/// What an ONNX file says about a vocabulary besides the tokens' texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TokenizerMetadata {
    #[serde(serialize_with = "write_name", deserialize_with = "read_name")]
    level: Tokenization,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eos: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pad: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unk: Option<u16>,
}

fn write_name<S: serde::Serializer>(level: &Tokenization, to: S) -> Result<S::Ok, S::Error> {
    let named = TokenizerMetadata::tokenizations().find(|(_, other)| other == level);
    to.serialize_str(named.expect("every tokenization has a name").0)
}

fn read_name<'d, D: serde::Deserializer<'d>>(from: D) -> Result<Tokenization, D::Error> {
    let name: String = serde::Deserialize::deserialize(from)?;
    let named = TokenizerMetadata::tokenizations().find(|(other, _)| *other == name);
    named.map(|(_, level)| level).ok_or_else(|| {
        let expected = METADATA_NAMES.join(", ");
        serde::de::Error::custom(format!("level {name:?}: expected one of {expected}"))
    })
}

impl TokenizerMetadata {
    /// The names that `level` may have.
    pub const NAMES: [&str; 5] = METADATA_NAMES;

    fn tokenizations() -> impl Iterator<Item = (&'static str, Tokenization)> {
        METADATA_NAMES.into_iter().zip(Tokenization::ALL)
    }

    /// Returns the metadata of a vocabulary.
    pub fn of(vocabulary: &Vocabulary) -> Self {
        let SpecialTokens { bos, eos, pad, unk } = vocabulary.specials;
        Self {
            level: vocabulary.tokenizer.tokenization(),
            start: bos,
            eos,
            pad,
            unk,
        }
    }

    /// Returns the vocabulary of `tokens` with this metadata.
    ///
    /// # Errors
    /// As [`Vocabulary::with`].
    pub fn vocabulary(self, tokens: Vec<String>) -> Result<Vocabulary, VocabularyError> {
        let Self {
            level,
            start,
            eos,
            pad,
            unk,
        } = self;
        let specials = SpecialTokens {
            bos: start,
            eos,
            pad,
            unk,
        };
        Vocabulary::with(level, specials, tokens)
    }
}

/// The tokens' texts, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vocabulary {
    tokenizer: Tokenizer,
    specials: SpecialTokens,
    tokens: Vec<String>,
    /// The ids of the tokens that are not special.
    pub(super) ids: HashMap<String, u16>,
    /// Bytes of the longest text.
    pub(super) longest: usize,
    /// The token of each ASCII character, if no other token begins with it. Most texts mostly consist of these.
    pub(super) single_char_ids: Vec<Option<u16>>,
}

/// The text that tokens stand for, to convert a loss per token to a loss per character.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CharStats {
    /// Characters of the text; an end of text counts as one.
    pub characters: usize,
    /// How many tokens stand for what the vocabulary lacks.
    pub unknown: usize,
    /// What it takes to spell that out, nats.
    pub spelling: f64,
}

/// Why a vocabulary or a text was refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum VocabularyError {
    /// No token at all.
    #[error("the vocabulary is empty: expected at least 1 token")]
    Empty,
    /// Too many for 16-bit ids.
    #[error("the vocabulary has {0} tokens: expected at most {MAX_TOKENS}")]
    TooLarge(usize),
    /// A token that stands twice.
    #[error("the vocabulary has {0:?} twice: every token must be different")]
    Duplicate(String),
    /// A token with no text.
    #[error("token {0} of the vocabulary has no text")]
    EmptyToken(usize),
    /// A special token that is not there.
    #[error(
        "the special token {name} has the id {id}: expected one below {tokens}, the number of tokens"
    )]
    Special {
        /// Which one.
        name: &'static str,
        /// Its id.
        id: u16,
        /// V
        tokens: usize,
    },
    /// Bytes, and something else.
    #[error("a vocabulary of bytes has {0} tokens: expected 256, and special ones after them")]
    Bytes(usize),
    /// Nothing that could be generated.
    #[error("the vocabulary has only special tokens: expected at least one that is text")]
    OnlySpecial,
    /// The text cannot give such a vocabulary.
    #[error("no vocabulary of subwords can be made of this text: {0}")]
    Subwords(String),
    /// The text has characters or words that are not in the vocabulary.
    #[error("{0}; remove them")]
    Unknown(String),
}

impl Vocabulary {
    /// Returns a vocabulary of these characters or subwords, without special tokens; an id is a position.
    ///
    /// # Errors
    /// If there is none, more than [`MAX_TOKENS`], one without text or one twice.
    pub fn new(tokens: Vec<String>) -> Result<Self, VocabularyError> {
        Self::with(Tokenizer::SUBWORD, SpecialTokens::default(), tokens)
    }

    /// Returns a vocabulary of these tokens, the special ones among them; an id is a position. Of characters and subwords the
    /// tokens themselves tell which they are.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if a special token is not there, all are special, or they are bytes and not 256.
    pub fn with(
        tokenizer: impl Into<Tokenizer>,
        specials: SpecialTokens,
        tokens: Vec<String>,
    ) -> Result<Self, VocabularyError> {
        if tokens.is_empty() {
            return Err(VocabularyError::Empty);
        }
        if tokens.len() > MAX_TOKENS {
            return Err(VocabularyError::TooLarge(tokens.len()));
        }
        for (name, id) in ["bos", "eos", "pad", "unk"].into_iter().zip(specials.all()) {
            if let Some(id) = id.filter(|id| usize::from(*id) >= tokens.len()) {
                let tokens = tokens.len();
                return Err(VocabularyError::Special { name, id, tokens });
            }
        }
        // An id may be set twice, such as a padding that also ends a text.
        let special: BTreeSet<u16> = specials.all().into_iter().flatten().collect();
        if special.len() == tokens.len() {
            return Err(VocabularyError::OnlySpecial);
        }
        let mut tokenizer = tokenizer.into();
        let first = special.first().copied();
        if tokenizer.kind() == TokenizerKind::Byte
            && (tokens.len() != 256 + special.len() || first.is_some_and(|id| id < 256))
        {
            return Err(VocabularyError::Bytes(tokens.len()));
        }
        let mut ids = HashMap::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            if token.is_empty() {
                return Err(VocabularyError::EmptyToken(id));
            }
            if ids.insert(token.clone(), id as u16).is_some() {
                return Err(VocabularyError::Duplicate(token.clone()));
            }
        }
        ids.retain(|_, id| !special.contains(id));
        if tokenizer.tokenization() == Tokenization::Subword {
            let single = |token: &String| token.chars().nth(1).is_none();
            tokenizer = match ids.keys().all(single) {
                true => Tokenizer::CHAR,
                false => Tokenizer::SUBWORD,
            };
        }
        Ok(Self {
            single_char_ids: single_char_ids(tokenizer, &ids),
            longest: ids.keys().map(String::len).max().unwrap_or(0),
            tokenizer,
            specials,
            tokens,
            ids,
        })
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> Tokenizer {
        self.tokenizer
    }

    /// Returns the ids of the special tokens.
    pub fn specials(&self) -> SpecialTokens {
        self.specials
    }

    /// Returns the number of tokens, V.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Returns `false`: a vocabulary has a token.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Returns the tokens' texts, by id. Special tokens have names such as `<eos>`, bytes names such as `<0x41>`.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Returns the text of a token, or its name.
    ///
    /// # Panics
    /// If `token` is not below [`len`](Self::len).
    pub fn token(&self, token: u16) -> &str {
        &self.tokens[usize::from(token)]
    }

    /// Returns the id of a token that is not special, by its text.
    pub fn id(&self, token: &str) -> Option<u16> {
        self.ids.get(token).copied()
    }

    /// Returns the bytes that are printed for a token: none for a special one.
    ///
    /// # Panics
    /// If `token` is not below [`len`](Self::len).
    pub fn surface_bytes(&self, token: u16) -> &[u8] {
        const BYTES: [u8; 256] = {
            let mut bytes = [0; 256];
            let mut i = 0;
            while i < 256 {
                bytes[i] = i as u8;
                i += 1;
            }
            bytes
        };
        let text = self.token(token).as_bytes();
        match self.tokenizer.kind() {
            _ if self.specials.contains(token) => &[],
            TokenizerKind::Byte => &BYTES[usize::from(token)..][..1],
            _ => text,
        }
    }

    /// Returns the token that a text starts after: BOS, otherwise EOS, a line feed, a space, or token 0.
    pub fn initial_token(&self) -> u16 {
        let text = |text: &str| match self.tokenizer.kind() {
            TokenizerKind::Byte => Some(u16::from(text.as_bytes()[0])),
            _ => self.id(text),
        };
        let SpecialTokens { bos, eos, .. } = self.specials;
        bos.or(eos)
            .or_else(|| ["\n", " "].into_iter().find_map(text))
            .unwrap_or(0)
    }

    /// Returns whether every line is a document: there is an EOS token, and no token for a line feed, unless tokens are bytes.
    pub fn line_documents(&self) -> bool {
        self.specials.eos.is_some() && self.id("\n").is_none()
    }

    /// Returns the text of tokens as it is printed. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Panics
    /// If a token is not below [`len`](Self::len).
    pub fn decode(&self, tokens: &[u16]) -> String {
        let mut bytes = Vec::new();
        for &token in tokens {
            self.write_token(token, !bytes.is_empty(), &mut bytes);
        }
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Appends the bytes that are printed for `token`, after a space if it comes `after_text` and the tokenizer drops spaces.
    ///
    /// # Panics
    /// If `token` is not below [`len`](Self::len).
    pub fn write_token(&self, token: u16, after_text: bool, out: &mut Vec<u8>) {
        let printed = self.surface_bytes(token);
        if self.tokenizer.drops_spaces() && after_text && !printed.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(printed);
    }

    /// Iterates over the texts of all tokens that are not special, by id.
    fn regular_tokens(&self) -> impl Iterator<Item = &str> {
        let tokens = self.tokens.iter().enumerate();
        tokens
            .filter(|(id, _)| !self.specials.contains(*id as u16))
            .map(|(_, token)| &**token)
    }

    /// Returns the characters that the tokens of `range` stand for.
    ///
    /// # Panics
    /// If `range` is not within the tokens.
    pub fn char_stats(&self, encoding: &Encoding, range: Range<usize>) -> CharStats {
        let mut stats = CharStats::default();
        let spaced = usize::from(self.tokenizer.drops_spaces());
        for &token in &encoding.tokens[range.clone()] {
            stats.characters += match Some(token) {
                eos if eos == self.specials.eos => 1,
                _ => {
                    let printed = self.surface_bytes(token);
                    // All bytes of a character but the first start with the bits 10.
                    let characters = printed.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
                    characters + if printed.is_empty() { 0 } else { spaced }
                }
            };
        }
        let unknown = encoding.unknown.iter().filter(|u| range.contains(&u.at));
        let mut spelling = None;
        for OovToken { text, .. } in unknown {
            stats.characters += text.chars().count() + spaced;
            stats.unknown += 1;
            stats.spelling += spelling
                .get_or_insert_with(|| OovSpellingModel::new(self.regular_tokens()))
                .nats(text);
        }
        stats
    }
}

/// The token of each ASCII character that no other token begins with.
fn single_char_ids(tokenizer: Tokenizer, ids: &HashMap<String, u16>) -> Vec<Option<u16>> {
    let mut beginning = [0; 256];
    for text in ids.keys() {
        beginning[usize::from(text.as_bytes()[0])] += 1;
    }
    let is_matched = tokenizer.tokenization() == Tokenization::Subword;
    let single = |byte: u8| {
        let id = ids.get(char::from(byte).encode_utf8(&mut [0; 4]) as &str);
        id.copied()
            .filter(|_| is_matched && beginning[usize::from(byte)] == 1)
    };
    (0..128).map(single).collect()
}
