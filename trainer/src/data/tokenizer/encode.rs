//! Text to token ids, also in chunks: the ids do not depend on where a text is cut into chunks.

use std::collections::BTreeSet;

use super::{TokenIds, TokenizerKind, Vocabulary, VocabularyError};
use crate::data::corpus::{Corpus, CorpusError, Part};

/// The token ids of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoding {
    /// Ids, in the text's order.
    pub tokens: Vec<u16>,
    /// What each UNK token stands for, in the text's order.
    pub unknown: Vec<OovToken>,
    /// What is not in the vocabulary and was left out.
    pub skipped: OovStats,
}

/// What an UNK token stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct OovToken {
    /// Its place among the tokens.
    pub at: usize,
    /// The text that is not in the vocabulary.
    pub text: String,
}

/// What a vocabulary without an UNK token cannot encode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OovStats {
    /// The number of tokens that are not in the vocabulary.
    pub count: usize,
    /// Their number of characters.
    pub characters: usize,
    /// The different ones.
    pub texts: BTreeSet<String>,
}

impl OovStats {
    /// Counts one more token that is not in the vocabulary.
    pub fn add(&mut self, text: &str) {
        self.count += 1;
        self.characters += text.chars().count();
        if !self.texts.contains(text) {
            self.texts.insert(text.into());
        }
    }

    /// Says how many there are and shows up to eight of them; `token` is the name of a token.
    ///
    /// ```
    /// let mut stats = trainer::data::tokenizer::OovStats::default();
    /// stats.add("€");
    /// assert_eq!(stats.summary("character"), "1 character is not in the vocabulary (e.g. '€' U+20AC)");
    /// ```
    pub fn summary(&self, token: &str) -> String {
        let show = |text: &String| match text.chars().collect::<Vec<_>>()[..] {
            [c] => format!("{c:?} U+{:04X}", u32::from(c)),
            _ => format!("{text:?}"),
        };
        let examples: Vec<String> = self.texts.iter().take(8).map(show).collect();
        let (plural, are) = match self.count {
            1 => ("", "is"),
            _ => ("s", "are"),
        };
        format!(
            "{} {token}{plural} {are} not in the vocabulary (e.g. {})",
            self.count,
            examples.join(", ")
        )
    }
}

/// Why a corpus could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The corpus cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// It does not fit the vocabulary.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
}

impl Vocabulary {
    /// Encodes a text. What is not in the vocabulary becomes the UNK token, if there is one; else it is left out and counted if
    /// `skip_unknown`.
    ///
    /// # Errors
    /// [`VocabularyError::Unknown`] if there is no UNK token and not `skip_unknown`.
    pub fn encode(&self, text: &str, skip_unknown: bool) -> Result<Encoding, VocabularyError> {
        let mut collector = Collector::new(self);
        let rest = self.segment(text, true, &mut |found| collector.add(found));
        debug_assert!(rest.is_empty(), "nothing comes after the text");
        collector.finish(skip_unknown)
    }

    /// Encodes a text as a model of this vocabulary is trained and evaluated on it: if
    /// [every line is a document](Self::line_documents), as the initial token and then every line that is not empty, followed
    /// by EOS; else like [`encode`](Self::encode).
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_stream(
        &self,
        text: &str,
        skip_unknown: bool,
    ) -> Result<Encoding, VocabularyError> {
        let mut collector = Collector::new(self);
        let mut stream = Stream::new(self);
        stream.push(text.as_bytes(), &mut |found| collector.add(found));
        stream.finish(&mut |found| collector.add(found));
        collector.finish(skip_unknown)
    }

    /// [`encode_stream`](Self::encode_stream) of a part of a corpus.
    ///
    /// # Errors
    /// As [`encode_stream`](Self::encode_stream), and if the corpus cannot be read or was opened as bytes and tokens are not.
    pub fn encode_part(
        &self,
        corpus: &Corpus,
        part: Part,
        skip_unknown: bool,
    ) -> Result<Encoding, EncodeError> {
        let mut collector = Collector::new(self);
        self.stream(corpus, part, &mut |found| collector.add(found))?;
        Ok(collector.finish(skip_unknown)?)
    }

    /// The ids of [`encode_part`](Self::encode_part) in little memory.
    ///
    /// # Errors
    /// As [`encode_part`](Self::encode_part) without `skip_unknown`.
    pub fn encode_streaming(&self, corpus: &Corpus, part: Part) -> Result<TokenIds, EncodeError> {
        let mut tokens = TokenIds::new(self.len());
        let mut unknown = OovStats::default();
        let unk = self.specials().unk;
        self.stream(
            corpus,
            part,
            &mut |found| match found.or_else(|text| unk.ok_or(text)) {
                Ok(id) => tokens.push(id),
                Err(text) => unknown.add(text),
            },
        )?;
        self.refuse(&unknown)?;
        Ok(tokens)
    }

    /// Calls `each` for every token of a part.
    fn stream<F: FnMut(Result<u16, &str>)>(
        &self,
        corpus: &Corpus,
        part: Part,
        each: &mut F,
    ) -> Result<(), CorpusError> {
        corpus.check_bytes(self.tokenizer().kind() == TokenizerKind::Byte)?;
        let mut stream = Stream::new(self);
        for chunk in corpus.chunks(part) {
            stream.push(&chunk?, each);
        }
        stream.finish(each);
        Ok(())
    }

    /// Calls `each` for the tokens of a text in order, with their ids or with the text of one that has none. Returns the rest
    /// of the text, which is not empty only if not `is_last` and what follows decides on the next token.
    fn segment<'t, F: FnMut(Result<u16, &str>)>(
        &self,
        text: &'t str,
        is_last: bool,
        each: &mut F,
    ) -> &'t str {
        let tokenizer = self.tokenizer();
        let tokenization = tokenizer.tokenization();
        let mut rest = text;
        while let Some(&first) = rest.as_bytes().first() {
            if let Some(&Some(id)) = self.single_char_ids.get(usize::from(first)) {
                each(Ok(id));
                rest = &rest[1..];
                continue;
            }
            let (token, after) = match tokenizer.kind() {
                TokenizerKind::Byte => {
                    rest.bytes().for_each(|byte| each(Ok(byte.into())));
                    return "";
                }
                TokenizerKind::Word => match tokenization.next_word(rest) {
                    Some((_, after)) if !is_last && after.len() < WORD_LOOKAHEAD => return rest,
                    Some(split) => split,
                    None => return "",
                },
                _ if !is_last && rest.len() < self.longest => return rest,
                _ => rest.split_at(self.longest_match(rest)),
            };
            rest = after;
            let id = match tokenizer.lowercase() {
                true => self.ids.get(&token.to_ascii_lowercase()),
                false => self.ids.get(token),
            };
            each(id.copied().ok_or(token));
        }
        ""
    }

    /// Bytes of the longest token that `text` begins with; of its first character if there is none.
    fn longest_match(&self, text: &str) -> usize {
        let first = text.chars().next().map_or(0, char::len_utf8);
        let known = |length: &usize| {
            let start = text.get(..*length);
            start.is_some_and(|start| self.ids.contains_key(start))
        };
        (first..=self.longest.min(text.len()))
            .rev()
            .find(known)
            .unwrap_or(first)
    }

    fn refuse(&self, unknown: &OovStats) -> Result<(), VocabularyError> {
        match unknown.count {
            0 => Ok(()),
            _ => Err(VocabularyError::Unknown(unknown.summary(self.oov_name()))),
        }
    }

    /// The name of what is not in the vocabulary, in the singular.
    pub fn oov_name(&self) -> &'static str {
        match self.tokenizer().kind() {
            TokenizerKind::Word => "word",
            _ => "character",
        }
    }
}

/// A word is known to have ended once this many bytes after it are known: a letter, an apostrophe or a hyphen and a letter.
pub(super) const WORD_LOOKAHEAD: usize = 2;

/// Collects the ids of a text.
struct Collector<'v> {
    vocabulary: &'v Vocabulary,
    encoding: Encoding,
}

impl<'v> Collector<'v> {
    fn new(vocabulary: &'v Vocabulary) -> Self {
        Self {
            vocabulary,
            encoding: Encoding::default(),
        }
    }

    fn add(&mut self, found: Result<u16, &str>) {
        let encoding = &mut self.encoding;
        match (found, self.vocabulary.specials().unk) {
            (Ok(id), _) => encoding.tokens.push(id),
            (Err(text), Some(unk)) => {
                let (at, text) = (encoding.tokens.len(), text.to_owned());
                encoding.unknown.push(OovToken { at, text });
                encoding.tokens.push(unk);
            }
            (Err(text), None) => encoding.skipped.add(text),
        }
    }

    fn finish(self, skip_unknown: bool) -> Result<Encoding, VocabularyError> {
        if !skip_unknown {
            self.vocabulary.refuse(&self.encoding.skipped)?;
        }
        Ok(self.encoding)
    }
}

/// Segments a text in chunks that end at characters, or anywhere if tokens are bytes.
struct Stream<'v> {
    vocabulary: &'v Vocabulary,
    /// The last bytes, which what follows decides on.
    rest: Vec<u8>,
    /// Whether there was a line, if every line is a document.
    has_line: bool,
}

impl<'v> Stream<'v> {
    fn new(vocabulary: &'v Vocabulary) -> Self {
        Self {
            vocabulary,
            rest: Vec::new(),
            has_line: false,
        }
    }

    fn push<F: FnMut(Result<u16, &str>)>(&mut self, chunk: &[u8], each: &mut F) {
        self.rest.extend_from_slice(chunk);
        let ready = match self.vocabulary.line_documents() {
            false => self.rest.len(),
            true => {
                let from = self.rest.len() - chunk.len();
                let end = self.rest[from..].iter().rposition(|byte| *byte == b'\n');
                end.map_or(0, |at| from + at + 1)
            }
        };
        let text: Vec<u8> = self.rest.drain(..ready).collect();
        self.segment(&text, false, each);
    }

    fn finish<F: FnMut(Result<u16, &str>)>(mut self, each: &mut F) {
        let text = std::mem::take(&mut self.rest);
        self.segment(&text, true, each);
        if self.vocabulary.line_documents() && !self.has_line {
            each(Ok(self.vocabulary.initial_token()));
        }
    }

    fn segment<F: FnMut(Result<u16, &str>)>(&mut self, text: &[u8], is_last: bool, each: &mut F) {
        let vocabulary = self.vocabulary;
        if vocabulary.line_documents() {
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                self.line(line, each);
            }
        } else if vocabulary.tokenizer().kind() == TokenizerKind::Byte {
            text.iter().for_each(|byte| each(Ok((*byte).into())));
        } else {
            let rest = vocabulary.segment(characters(text), is_last, each);
            self.rest.splice(..0, rest.bytes());
        }
    }

    /// Segments a line, which ends in a line feed unless it is the last one.
    fn line<F: FnMut(Result<u16, &str>)>(&mut self, line: &[u8], each: &mut F) {
        let vocabulary = self.vocabulary;
        let line = match line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => line,
        };
        if std::str::from_utf8(line).is_ok_and(|line| line.trim().is_empty()) {
            return;
        }
        let specials = vocabulary.specials();
        match std::mem::replace(&mut self.has_line, true) {
            false => each(Ok(vocabulary.initial_token())),
            true => specials.bos.into_iter().for_each(|bos| each(Ok(bos))),
        }
        match vocabulary.tokenizer().kind() {
            TokenizerKind::Byte => line.iter().for_each(|byte| each(Ok((*byte).into()))),
            _ => {
                vocabulary.segment(characters(line), true, each);
            }
        }
        specials.eos.into_iter().for_each(|eos| each(Ok(eos)));
    }
}

/// The characters of a chunk, which a text that is not [bytes](crate::data::corpus::CorpusOptions::bytes) is cut between.
pub(super) fn characters(chunk: &[u8]) -> &str {
    std::str::from_utf8(chunk).expect("a text is cut between characters")
}
