//! Text to tokens and back.
//!
//! A vocabulary is a list of texts; a token is a position in it. Characters are Unicode code points.

use std::collections::{BTreeSet, HashMap};

/// The most tokens that an image can hold.
pub const MAX_TOKENS: usize = 65_535;

/// The tokens' texts, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vocabulary {
    tokens: Vec<String>,
    ids: HashMap<String, u16>,
}

/// What a text's encoding gives: the tokens, and what was left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    /// Ids, in the text's order.
    pub tokens: Vec<u16>,
    /// How many characters the vocabulary lacks and that were skipped.
    pub skipped: usize,
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
    /// Characters that the vocabulary lacks.
    #[error(
        "the text has {count} character(s) that the vocabulary lacks, such as {}: leave them out of the text, or skip them with --skip-unknown",
        list(examples)
    )]
    Unknown {
        /// Number of such characters in the text.
        count: usize,
        /// Up to eight different ones.
        examples: Vec<char>,
    },
}

fn list(characters: &[char]) -> String {
    let named: Vec<String> = characters
        .iter()
        .map(|c| format!("{c:?} (U+{:04X})", u32::from(*c)))
        .collect();
    named.join(", ")
}

impl Vocabulary {
    /// A vocabulary of these tokens; ids are their positions.
    ///
    /// # Errors
    /// If there is none, more than [`MAX_TOKENS`], one without text or one twice.
    pub fn new(tokens: Vec<String>) -> Result<Self, VocabularyError> {
        if tokens.is_empty() {
            return Err(VocabularyError::Empty);
        }
        if tokens.len() > MAX_TOKENS {
            return Err(VocabularyError::TooLarge(tokens.len()));
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
        Ok(Self { tokens, ids })
    }

    /// The different characters of `text`, by code point.
    ///
    /// # Errors
    /// If the text is empty or has more than [`MAX_TOKENS`] different characters.
    ///
    /// ```
    /// let vocabulary = trainer::vocab::Vocabulary::of_characters("hello")?;
    /// assert_eq!(vocabulary.texts(), ["e", "h", "l", "o"]);
    /// # Ok::<(), trainer::vocab::VocabularyError>(())
    /// ```
    pub fn of_characters(text: &str) -> Result<Self, VocabularyError> {
        let characters: BTreeSet<char> = text.chars().collect();
        Self::new(characters.into_iter().map(String::from).collect())
    }

    /// Number of tokens, V.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Never true: a vocabulary has a token.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The tokens' texts, by id.
    pub fn texts(&self) -> &[String] {
        &self.tokens
    }

    /// The text of `token`.
    ///
    /// # Panics
    /// If `token` is not below [`len`](Self::len).
    pub fn text(&self, token: u16) -> &str {
        &self.tokens[usize::from(token)]
    }

    /// The token that a text starts after when there is no prompt: a line's end, else a space, else the first token.
    pub fn start(&self) -> u16 {
        ["\n", " "]
            .iter()
            .find_map(|t| self.ids.get(*t).copied())
            .unwrap_or(0)
    }

    /// Encodes a text, one token a character; unknown characters are an error unless `skip_unknown`.
    ///
    /// # Errors
    /// [`VocabularyError::Unknown`] names what is missing.
    pub fn encode(&self, text: &str, skip_unknown: bool) -> Result<Encoded, VocabularyError> {
        let mut encoded = Encoded::default();
        let mut examples = BTreeSet::new();
        let mut buffer = [0; 4];
        for character in text.chars() {
            match self.ids.get(&*character.encode_utf8(&mut buffer)) {
                Some(&id) => encoded.tokens.push(id),
                None => {
                    encoded.skipped += 1;
                    examples.insert(character);
                }
            }
        }
        if encoded.skipped > 0 && !skip_unknown {
            let examples = examples.into_iter().take(8).collect();
            return Err(VocabularyError::Unknown {
                count: encoded.skipped,
                examples,
            });
        }
        Ok(encoded)
    }
}
