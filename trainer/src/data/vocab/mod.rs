//! Text to tokens and back.
//!
//! A vocabulary is a list of texts; a token is a position in it. [`Tokenization`] says how a text is cut into them, here and on the
//! boards. Special tokens stand in the same list under names such as `<eos>`; no text is ever cut into them.

mod build;
pub mod file;
mod spelling;
mod tokens;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

pub use build::Kind;
pub use pipsqueak::{SpecialTokens, Tokenization};
pub use tokens::Tokens;

/// The most tokens that an image can hold.
pub const MAX_TOKENS: usize = 65_535;

/// The names of the levels, in the order of [`Tokenization::ALL`].
pub const LEVELS: [&str; 5] = ["pieces", "bytes", "words", "spaced", "spaced-lower"];

/// The name of a level in files and on the command line.
pub fn level_name(level: Tokenization) -> &'static str {
    let at = Tokenization::ALL.iter().position(|other| *other == level);
    LEVELS[at.expect("all of them are listed")]
}

/// The level of that name.
pub fn level_named(name: &str) -> Option<Tokenization> {
    let at = LEVELS.iter().position(|other| *other == name)?;
    Some(Tokenization::ALL[at])
}

/// What a vocabulary's tokens are: all of it but their texts, as files carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TokenKind {
    #[serde(serialize_with = "write_level", deserialize_with = "read_level")]
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

fn write_level<S: serde::Serializer>(level: &Tokenization, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(level_name(*level))
}

fn read_level<'d, D: serde::Deserializer<'d>>(from: D) -> Result<Tokenization, D::Error> {
    let name: String = serde::Deserialize::deserialize(from)?;
    level_named(&name).ok_or_else(|| {
        let expected = LEVELS.join(", ");
        serde::de::Error::custom(format!("level {name:?}: expected one of {expected}"))
    })
}

impl TokenKind {
    /// That of a vocabulary.
    pub fn of(vocabulary: &Vocabulary) -> Self {
        let SpecialTokens { bos, eos, pad, unk } = vocabulary.specials;
        Self {
            level: vocabulary.level,
            start: bos,
            eos,
            pad,
            unk,
        }
    }

    /// The vocabulary of such tokens.
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
    level: Tokenization,
    specials: SpecialTokens,
    tokens: Vec<String>,
    /// Of the tokens that are text.
    ids: HashMap<String, u16>,
    /// Bytes of the longest text.
    longest: usize,
    /// By ASCII character: its token, where that is the only one that begins with it. What most of most texts is made of.
    alone: Vec<Option<u16>>,
}

/// What of a text has no token.
#[derive(Default)]
struct Lacking {
    count: usize,
    characters: usize,
    texts: BTreeSet<String>,
}

impl Lacking {
    fn add(&mut self, text: &str) {
        self.count += 1;
        self.characters += text.chars().count();
        if !self.texts.contains(text) {
            self.texts.insert(text.into());
        }
    }
}

/// What a text's encoding gives: the tokens, and what was left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    /// Ids, in the text's order.
    pub tokens: Vec<u16>,
    /// How many characters the vocabulary lacks and that were skipped.
    pub skipped: usize,
    /// What each unknown-token stands for, in the text's order.
    pub unknown: Vec<Unknown>,
}

/// What an unknown-token stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Unknown {
    /// Its place among the tokens.
    pub at: usize,
    /// The text that the vocabulary lacks.
    pub text: String,
}

/// What tokens stand for, so that losses by the token can be told by the character.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measure {
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
    /// What the vocabulary lacks.
    #[error(
        "the text has {count} {what}(s) that the vocabulary lacks, such as {}: leave them out of the text (or by --skip-unknown, where the command has it)",
        list(examples)
    )]
    Unknown {
        /// Number of such places in the text.
        count: usize,
        /// What is lacking: a character, or a word.
        what: &'static str,
        /// Up to eight different ones.
        examples: Vec<String>,
    },
}

fn list(examples: &[String]) -> String {
    let named: Vec<String> = examples
        .iter()
        .map(|text| match text.chars().collect::<Vec<_>>()[..] {
            [c] => format!("{c:?} (U+{:04X})", u32::from(c)),
            _ => format!("{text:?}"),
        })
        .collect();
    named.join(", ")
}

impl Vocabulary {
    /// A vocabulary of these pieces, without special tokens; ids are their positions.
    ///
    /// # Errors
    /// If there is none, more than [`MAX_TOKENS`], one without text or one twice.
    pub fn new(tokens: Vec<String>) -> Result<Self, VocabularyError> {
        Self::with(Tokenization::Subword, SpecialTokens::default(), tokens)
    }

    /// A vocabulary of these tokens, the special ones among them; ids are their positions.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if a special token is not there, all are special, or they are bytes and not 256.
    pub fn with(
        level: Tokenization,
        specials: SpecialTokens,
        tokens: Vec<String>,
    ) -> Result<Self, VocabularyError> {
        if tokens.is_empty() {
            return Err(VocabularyError::Empty);
        }
        if tokens.len() > MAX_TOKENS {
            return Err(VocabularyError::TooLarge(tokens.len()));
        }
        for (name, id) in ["start", "eos", "pad", "unk"]
            .into_iter()
            .zip(specials.all())
        {
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
        let first = special.first().copied();
        if level == Tokenization::Byte
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
        let longest = ids.keys().map(String::len).max().unwrap_or(0);
        let mut beginning = [0; 256];
        for text in ids.keys() {
            beginning[usize::from(text.as_bytes()[0])] += 1;
        }
        let alone = |byte: u8| {
            let id = ids.get(char::from(byte).encode_utf8(&mut [0; 4]) as &str);
            id.copied()
                .filter(|_| level == Tokenization::Subword && beginning[usize::from(byte)] == 1)
        };
        Ok(Self {
            alone: (0..128).map(alone).collect(),
            level,
            specials,
            tokens,
            ids,
            longest,
        })
    }

    /// What the tokens are.
    pub fn level(&self) -> Tokenization {
        self.level
    }

    /// The tokens that are no text.
    pub fn specials(&self) -> SpecialTokens {
        self.specials
    }

    /// Number of tokens, V.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Never true: a vocabulary has a token.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens' texts, by id: names such as `<eos>` of special tokens, and of bytes such as `<0x41>`.
    pub fn texts(&self) -> &[String] {
        &self.tokens
    }

    /// The text of `token`, or its name.
    ///
    /// # Panics
    /// If `token` is not below [`len`](Self::len).
    pub fn text(&self, token: u16) -> &str {
        &self.tokens[usize::from(token)]
    }

    /// What is printed for `token`: nothing for a special one, and for a byte that byte.
    ///
    /// # Panics
    /// If `token` is not below [`len`](Self::len).
    pub fn printed(&self, token: u16) -> &[u8] {
        const BYTES: [u8; 256] = {
            let mut bytes = [0; 256];
            let mut i = 0;
            while i < 256 {
                bytes[i] = i as u8;
                i += 1;
            }
            bytes
        };
        let text = self.text(token).as_bytes();
        match self.level {
            _ if self.specials.contains(token) => &[],
            Tokenization::Byte => &BYTES[usize::from(token)..][..1],
            _ => text,
        }
    }

    /// The token that a text starts after: the special start, else the special end, else a line's end, a space, the first token.
    pub fn start(&self) -> u16 {
        let text = |text: &str| match self.level {
            Tokenization::Byte => Some(u16::from(text.as_bytes()[0])),
            _ => self.ids.get(text).copied(),
        };
        let SpecialTokens { bos, eos, .. } = self.specials;
        bos.or(eos)
            .or_else(|| ["\n", " "].into_iter().find_map(text))
            .unwrap_or(0)
    }

    /// Whether each line is a text of its own: a text has an end, and a line's end is no token (but of bytes, which are all).
    pub fn is_by_line(&self) -> bool {
        self.specials.eos.is_some() && !self.ids.contains_key("\n")
    }

    /// Encodes a text. What is unknown becomes the unknown-token where there is one; else it is an error unless
    /// `skip_unknown`.
    ///
    /// # Errors
    /// [`VocabularyError::Unknown`] names what is missing.
    pub fn encode(&self, text: &str, skip_unknown: bool) -> Result<Encoded, VocabularyError> {
        self.collect(skip_unknown, |each| self.cut(text, each))
    }

    /// Encodes what a model of this vocabulary is trained and measured on: where [each line is a text](Self::is_by_line), the
    /// start, then the lines that are not empty, each with its end; else the text as it is.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_stream(
        &self,
        text: &str,
        skip_unknown: bool,
    ) -> Result<Encoded, VocabularyError> {
        self.collect(skip_unknown, |each| self.cut_stream(text, each))
    }

    /// The tokens of [`encode_stream`](Self::encode_stream) alone, for texts of any length. `passed` is called every few
    /// million tokens.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_long(
        &self,
        text: &str,
        mut passed: impl FnMut(),
    ) -> Result<Tokens, VocabularyError> {
        let mut tokens = Tokens::new(self.len());
        let mut lacking = Lacking::default();
        let unknown = self.specials.unk;
        self.cut_stream(text, &mut |found| {
            match found.or_else(|text| unknown.ok_or(text)) {
                Ok(id) => tokens.push(id),
                Err(text) => return lacking.add(text),
            }
            if tokens.len().is_multiple_of(1 << 22) {
                passed();
            }
        });
        self.refuse(lacking)?;
        Ok(tokens)
    }

    /// Collects what `cut` finds.
    fn collect(
        &self,
        skip_unknown: bool,
        cut: impl FnOnce(&mut dyn FnMut(Result<u16, &str>)),
    ) -> Result<Encoded, VocabularyError> {
        let mut encoded = Encoded::default();
        let mut lacking = Lacking::default();
        cut(&mut |found| match (found, self.specials.unk) {
            (Ok(id), _) => encoded.tokens.push(id),
            (Err(text), Some(unk)) => {
                let (at, text) = (encoded.tokens.len(), text.to_owned());
                encoded.unknown.push(Unknown { at, text });
                encoded.tokens.push(unk);
            }
            (Err(text), None) => lacking.add(text),
        });
        if skip_unknown {
            encoded.skipped = lacking.characters;
        } else {
            self.refuse(lacking)?;
        }
        Ok(encoded)
    }

    /// The tokens of a stream of texts, in order: ids, or what has none.
    fn cut_stream<'t, F: FnMut(Result<u16, &'t str>) + ?Sized>(&self, text: &'t str, each: &mut F) {
        let Some(eos) = self.specials.eos.filter(|_| self.is_by_line()) else {
            return self.cut(text, each);
        };
        each(Ok(self.start()));
        let mut between = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if let Some(start) = between {
                each(Ok(start));
            }
            self.cut(line, each);
            each(Ok(eos));
            between = self.specials.bos;
        }
    }

    /// The tokens of a text, in order: ids, or what has none.
    fn cut<'t, F: FnMut(Result<u16, &'t str>) + ?Sized>(&self, text: &'t str, each: &mut F) {
        let mut rest = text;
        while let Some(&first) = rest.as_bytes().first() {
            if let Some(&Some(id)) = self.alone.get(usize::from(first)) {
                each(Ok(id));
                rest = &rest[1..];
                continue;
            }
            let split = match self.level.is_word_based() {
                true => self.level.next_word(rest),
                false => Some(rest.split_at(self.first_piece(rest))),
            };
            let Some((token, after)) = split else {
                return;
            };
            rest = after;
            let id = match self.level {
                Tokenization::Byte => {
                    token.bytes().for_each(|byte| each(Ok(byte.into())));
                    continue;
                }
                Tokenization::SpacedWord { lowercase: true } => {
                    self.ids.get(&token.to_ascii_lowercase())
                }
                _ => self.ids.get(token),
            };
            each(id.copied().ok_or(token));
        }
    }

    /// Bytes of the longest token that `text`, which is not empty, begins with; of its first character where there is none.
    fn first_piece(&self, text: &str) -> usize {
        let first = text.chars().next().map_or(0, char::len_utf8);
        if self.level == Tokenization::Byte {
            return text.len();
        }
        let known = |length: &usize| {
            let start = text.get(..*length);
            start.is_some_and(|start| self.ids.contains_key(start))
        };
        (first..=self.longest.min(text.len()))
            .rev()
            .find(known)
            .unwrap_or(first)
    }

    /// Tells what is lacking.
    fn refuse(&self, lacking: Lacking) -> Result<(), VocabularyError> {
        if lacking.count == 0 {
            return Ok(());
        }
        Err(VocabularyError::Unknown {
            count: lacking.count,
            what: if self.level.is_word_based() {
                "word"
            } else {
                "character"
            },
            examples: lacking.texts.into_iter().take(8).collect(),
        })
    }

    /// The text of tokens, as it is printed. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Panics
    /// If a token is not below [`len`](Self::len).
    pub fn decode(&self, tokens: &[u16]) -> String {
        let mut bytes = Vec::new();
        for &token in tokens {
            self.print(token, !bytes.is_empty(), &mut bytes);
        }
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Appends what is printed for `token`, `after_text` or as the first: with a space between tokens where the level has one.
    ///
    /// # Panics
    /// If `token` is not below [`len`](Self::len).
    pub fn print(&self, token: u16, after_text: bool, out: &mut Vec<u8>) {
        let printed = self.printed(token);
        if self.level.joins_with_space() && after_text && !printed.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(printed);
    }

    /// The texts of all tokens that are not special, by id.
    fn plain(&self) -> impl Iterator<Item = &str> {
        let texts = self.tokens.iter().enumerate();
        texts
            .filter(|(id, _)| !self.specials.contains(*id as u16))
            .map(|(_, text)| &**text)
    }

    /// What the tokens of `range` stand for.
    ///
    /// # Panics
    /// If `range` is not within the tokens.
    pub fn measure(&self, encoded: &Encoded, range: Range<usize>) -> Measure {
        let mut measure = Measure::default();
        let spaced = usize::from(self.level.joins_with_space());
        for &token in &encoded.tokens[range.clone()] {
            measure.characters += match Some(token) {
                eos if eos == self.specials.eos => 1,
                _ => {
                    let printed = self.printed(token);
                    // Of a character's bytes all but the first begin with the bits 10.
                    let characters = printed.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
                    characters + if printed.is_empty() { 0 } else { spaced }
                }
            };
        }
        let lacking = encoded.unknown.iter().filter(|u| range.contains(&u.at));
        let mut spelling = None;
        for Unknown { text, .. } in lacking {
            measure.characters += text.chars().count() + spaced;
            measure.unknown += 1;
            measure.spelling += spelling
                .get_or_insert_with(|| spelling::Spelling::new(self.plain()))
                .nats(text);
        }
        measure
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
