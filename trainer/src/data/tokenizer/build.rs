//! Vocabularies from the training part of a text.

use std::collections::{BTreeMap, HashMap};

use tokenizers::Trainer as _;
use tokenizers::models::bpe::{BPE, BpeTrainer};

use super::encode::{WORD_LOOKAHEAD, characters as characters_of};
use super::{EncodeError, SpecialTokens, Tokenizer, TokenizerKind, Vocabulary, VocabularyError};
use crate::data::corpus::{Corpus, CorpusError, Part};
use pipsqueak::Tokenization;

const BOS: &str = "<s>";
const EOS: &str = "<eos>";
const UNK: &str = "<unk>";

impl Tokenizer {
    /// Builds a vocabulary from a part of a corpus: all characters, all 256 bytes, the `size` most frequent words, or `size`
    /// subwords. If `line_documents`, there is a token `<eos>` for the end of a line and none for a line feed.
    ///
    /// # Errors
    /// If the part cannot be read, is empty, or has more different characters than [`MAX_TOKENS`](super::MAX_TOKENS) or, of
    /// subwords, than `size`.
    pub fn build_vocabulary(
        self,
        corpus: &Corpus,
        part: Part,
        size: usize,
        line_documents: bool,
    ) -> Result<Vocabulary, EncodeError> {
        corpus.check_bytes(self.kind() == TokenizerKind::Byte)?;
        let vocabulary = match self.kind() {
            TokenizerKind::Char => {
                let mut characters = CharacterSet::default();
                for chunk in corpus.chunks(part) {
                    characters.add(characters_of(&chunk?));
                }
                Vocabulary::new(characters.iter().map(String::from).collect())?
            }
            TokenizerKind::Byte => Vocabulary::of_bytes(),
            TokenizerKind::Word => {
                let mut counts = HashMap::new();
                for words in Words::new(self.tokenization(), corpus, part) {
                    for word in self.segment(&words?) {
                        *counts.entry(word).or_default() += 1;
                    }
                }
                most_frequent(self, counts, size)?
            }
            TokenizerKind::Subword => subwords(corpus, part, size)?,
        };
        Ok(match line_documents {
            true => with_line_documents(vocabulary)?,
            false => vocabulary,
        })
    }

    /// Builds a vocabulary from the tokens of texts that are single examples: all of them in order, after BOS (`<s>`) and EOS
    /// (`<eos>`) if `has_ends`. Words in an open vocabulary (of `size`) are the most frequent ones that are there more than once,
    /// after UNK (`<unk>`).
    ///
    /// # Errors
    /// If there is no token, or there are more than [`MAX_TOKENS`](super::MAX_TOKENS).
    pub fn build_example_vocabulary<'t>(
        self,
        tokens: impl Iterator<Item = &'t str>,
        size: Option<usize>,
        has_ends: bool,
    ) -> Result<Vocabulary, VocabularyError> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for token in tokens {
            *counts.entry(token).or_default() += 1;
        }
        let mut list = Vec::new();
        let mut add = |token: &str| {
            list.push(token.to_owned());
            Some(list.len() as u16 - 1)
        };
        let mut specials = SpecialTokens::default();
        if has_ends {
            (specials.bos, specials.eos) = (add(BOS), add(EOS));
        }
        match size {
            Some(size) => {
                specials.unk = add(UNK);
                let mut counts: Vec<_> = counts.into_iter().filter(|(_, n)| *n > 1).collect();
                counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                list.extend(counts.into_iter().take(size).map(|(word, _)| word.into()));
            }
            None => list.extend(counts.into_keys().map(String::from)),
        }
        Vocabulary::with(self, specials, list)
    }
}

impl Vocabulary {
    /// Returns the different characters of `text`, by code point.
    ///
    /// # Errors
    /// If the text is empty or has more than [`MAX_TOKENS`](super::MAX_TOKENS) different characters.
    ///
    /// ```
    /// let vocabulary = trainer::data::tokenizer::Vocabulary::of_characters("hello")?;
    /// assert_eq!(vocabulary.tokens(), ["e", "h", "l", "o"]);
    /// # Ok::<(), trainer::data::tokenizer::VocabularyError>(())
    /// ```
    pub fn of_characters(text: &str) -> Result<Self, VocabularyError> {
        let mut characters = CharacterSet::default();
        characters.add(text);
        Self::new(characters.iter().map(String::from).collect())
    }

    /// Returns the 256 bytes.
    ///
    /// # Panics
    /// Never: they are a vocabulary.
    pub fn of_bytes() -> Self {
        let names = (0..=255u8).map(|byte| format!("<0x{byte:02X}>")).collect();
        Self::with(Tokenizer::BYTE, SpecialTokens::default(), names).expect("256 different names")
    }
}

/// UNK, and the `size` most frequent words. Of equally frequent words, the first by their bytes.
fn most_frequent(
    tokenizer: Tokenizer,
    mut counts: HashMap<String, usize>,
    size: usize,
) -> Result<Vocabulary, VocabularyError> {
    // A word may look like the special token; the special token stays.
    counts.remove(UNK);
    let mut words: Vec<(String, usize)> = counts.into_iter().collect();
    words.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then(a.cmp(b)));
    let words = words.into_iter().take(size).map(|(word, _)| word);
    let specials = SpecialTokens {
        unk: Some(0),
        ..SpecialTokens::default()
    };
    let tokens = [UNK.to_owned()].into_iter().chain(words);
    Vocabulary::with(tokenizer, specials, tokens.collect())
}

/// `size` subwords: all characters, and pieces of words by byte pair encoding (R. Sennrich et al., "Neural machine translation
/// of rare words with subword units", 2016). A text is split by the longest match, so the order of the merges is not kept.
fn subwords(corpus: &Corpus, part: Part, size: usize) -> Result<Vocabulary, EncodeError> {
    let refused = |error: tokenizers::Error| VocabularyError::Subwords(error.to_string());
    let mut characters = CharacterSet::default();
    for chunk in corpus.chunks(part) {
        characters.add(characters_of(&chunk?));
    }
    let found = characters.iter().count();
    if found > size {
        let found = format!(
            "found {found} different characters, expected at most {size}, the size of the vocabulary"
        );
        return Err(VocabularyError::Subwords(found).into());
    }
    let mut trainer = BpeTrainer::builder()
        .vocab_size(size)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(characters.iter().collect())
        .build();
    let mut failure = None;
    let mut words = Words::new(Tokenization::Word, corpus, part);
    let texts = std::iter::from_fn(|| match words.next()? {
        Ok(text) => Some(text),
        Err(error) => {
            failure = Some(error);
            None
        }
    });
    let split = |text: &str| Ok(Tokenizer::WORD.segment(text));
    trainer.feed(texts, split).map_err(refused)?;
    if let Some(error) = failure {
        return Err(error.into());
    }
    let mut model = BPE::default();
    trainer.train(&mut model).map_err(refused)?;
    let mut pieces: Vec<(u32, String)> = model
        .get_vocab()
        .into_iter()
        .map(|(text, id)| (id, text))
        .collect();
    pieces.sort_unstable();
    let tokens = pieces.into_iter().map(|(_, text)| text).collect();
    Ok(Vocabulary::new(tokens)?)
}

/// The same vocabulary if every line is a document: without a line feed, with `<eos>` as the last token.
fn with_line_documents(vocabulary: Vocabulary) -> Result<Vocabulary, VocabularyError> {
    let tokenizer = vocabulary.tokenizer();
    let mut specials = vocabulary.specials();
    let mut tokens = vocabulary.tokens().to_vec();
    // UNK is the first token, and keeps its id.
    tokens.retain(|text| tokenizer.kind() == TokenizerKind::Byte || !text.contains(['\n', '\r']));
    specials.eos = u16::try_from(tokens.len()).ok();
    tokens.push(EOS.into());
    Vocabulary::with(tokenizer, specials, tokens)
}

/// The different characters of a text. A table is faster than a hash set.
struct CharacterSet(Vec<bool>);

impl Default for CharacterSet {
    fn default() -> Self {
        Self(vec![false; char::MAX as usize + 1])
    }
}

impl CharacterSet {
    fn add(&mut self, text: &str) {
        text.chars().for_each(|c| self.0[c as usize] = true);
    }

    /// By code point.
    fn iter(&self) -> impl Iterator<Item = char> {
        ('\0'..=char::MAX).filter(|c| self.0[*c as usize])
    }
}

/// A part of a corpus in texts that are cut between words.
struct Words<'c> {
    tokenization: Tokenization,
    chunks: crate::data::corpus::Chunks<'c>,
    /// Words that may go on in the next chunk.
    rest: String,
    is_done: bool,
}

impl<'c> Words<'c> {
    fn new(tokenization: Tokenization, corpus: &'c Corpus, part: Part) -> Self {
        Self {
            tokenization,
            chunks: corpus.chunks(part),
            rest: String::new(),
            is_done: false,
        }
    }
}

impl Iterator for Words<'_> {
    type Item = Result<String, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        match self.chunks.next() {
            Some(Ok(chunk)) => {
                self.rest.push_str(characters_of(&chunk));
                let mut words = self.rest.as_str();
                while let Some((_, after)) = self.tokenization.next_word(words)
                    && after.len() >= WORD_LOOKAHEAD
                {
                    words = after;
                }
                let rest = words.to_owned();
                let ready = self.rest.len() - rest.len();
                let mut all = std::mem::replace(&mut self.rest, rest);
                all.truncate(ready);
                Some(Ok(all))
            }
            Some(Err(error)) => {
                self.is_done = true;
                Some(Err(error))
            }
            None => {
                self.is_done = true;
                Some(Ok(std::mem::take(&mut self.rest)))
            }
        }
    }
}
