//! Vocabulary files of other programs.
//!
//! | form | what it is |
//! |---|---|
//! | `["a", "b"]` | JSON list of the tokens' texts, by id |
//! | `{"itos": ["a", "b"]}` | torchtext; other keys are ignored |
//! | a token a line | torchtext's list as plain text |
//! | `{"a": 1, "b": 2}` | Keras `word_index`; also under the key `word_index`. Id 0, which it leaves out, is padding |
//! | `{"input_vocabulary": [..], "output_vocabulary": [..], ..}` | encoder and decoder, with `append_to_input`, `start`, `stop`, `max_output` |
//!
//! **Special tokens** are known by their names, whatever the case: padding `<pad>`, `[PAD]`, and an empty text with id 0 (Keras
//! `TextVectorization`); unknown `<unk>`, `[UNK]`, `<oov>`, `[OOV]`; start `<s>`, `<sos>`, `<bos>`, `<start>`, `<go>`, `[START]`,
//! `[BOS]`, `[SOS]`; end `</s>`, `<eos>`, `<end>`, `[END]`, `[EOS]`. Of two for the same thing the first is taken. All others
//! are texts, also BERT's `[CLS]`, `[SEP]`, `[MASK]`, and plain words such as `startseq`.
//!
//! **The tokenizer** is guessed: where all other tokens are single characters, a text is cut into characters; else into words, and
//! made small where no token has a capital of ASCII.

use super::{SpecialTokens, Tokenizer, Vocabulary, VocabularyError};
use serde_json::{Map, Value};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file that is read, bytes.
const MAX_BYTES: u64 = 64 << 20;

const PAD: &[&str] = &["<pad>", "[pad]"];
const UNK: &[&str] = &["<unk>", "[unk]", "<oov>", "[oov]"];
const START: &[&str] = &[
    "<s>", "<sos>", "<bos>", "<start>", "<go>", "[start]", "[bos]", "[sos]",
];
const EOS: &[&str] = &["</s>", "<eos>", "<end>", "[end]", "[eos]"];

/// What a vocabulary file says.
#[derive(Clone, Debug, PartialEq)]
pub struct VocabularyFile {
    /// The file, as it was named.
    path: PathBuf,
    /// The tokens that an encoder reads, where they are others.
    pub source: Option<Vocabulary>,
    /// The tokens of the network, of an encoder and decoder those of the output.
    pub target: Vocabulary,
    /// The token of the source that every input ends with.
    pub source_eos: Option<u16>,
    /// The token of the target that an output starts after.
    pub bos: Option<u16>,
    /// The token of the target that ends an output.
    pub eos: Option<u16>,
    /// The most tokens of an output.
    pub max_len: Option<usize>,
}

/// Why a vocabulary file was refused.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyFileError {
    /// As many vocabularies as the model has not.
    #[error("{}: found {found}, expected {expected}", path.display())]
    Sides {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: &'static str,
        /// What the model needs.
        expected: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// It is something else.
    #[error("{}: found {found}, expected {expected}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What there is.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// Its tokens are no vocabulary.
    #[error("{}: {place}: {cause}", path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// Which of its parts.
        place: &'static str,
        /// What is wrong.
        cause: VocabularyError,
    },
    /// It belongs to another model.
    #[error("{}: {place} has {found} tokens, the model has {expected}: give the vocabulary that the model was trained with", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Which of its parts.
        place: &'static str,
        /// Tokens of the file.
        found: usize,
        /// Tokens of the model.
        expected: usize,
    },
}

/// What is wrong with the contents: found, expected.
type Fault = (String, String);

const FORMS: &str = "a JSON list of texts, {\"itos\": [..]}, a Keras word_index, {\"input_vocabulary\": [..], \"output_vocabulary\": [..]}, or a token a line";

impl VocabularyFile {
    /// Reads a file; `tokenizer` is that of its vocabularies; without it, it is guessed.
    ///
    /// # Errors
    /// If it cannot be read, has none of the forms, or its tokens are no vocabulary.
    pub fn read(path: &Path, tokenizer: Option<Tokenizer>) -> Result<Self, VocabularyFileError> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|cause| VocabularyFileError::Io {
                path: path.into(),
                cause,
            })?;
        let form = |(found, expected)| VocabularyFileError::Form {
            path: path.into(),
            found,
            expected,
        };
        if bytes.len() as u64 > MAX_BYTES {
            let found = format!("more than {MAX_BYTES} bytes");
            return Err(form((found, "a vocabulary".into())));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            form((format!("no UTF-8 at byte {at}"), FORMS.into()))
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let named_json = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let parts = Parts::parse(text, named_json).map_err(form)?;
        let vocabulary = |place, texts| {
            vocabulary(texts, tokenizer).map_err(|cause| VocabularyFileError::Vocabulary {
                path: path.into(),
                place,
                cause,
            })
        };
        let source = parts.source.map(|texts| vocabulary(SOURCE, texts));
        let source = source.transpose()?;
        let place = if source.is_some() { TARGET } else { ONLY };
        let mut target = vocabulary(place, parts.target)?;
        // What the file says of its tokens counts more than their names.
        let id = |of: &Vocabulary, key: &str, text: Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let at = of.tokens().iter().position(|other| *other == text);
            let missing = || {
                let found = format!("{key:?} is {text:?}, which is no token");
                form((found, "one of the vocabulary's texts".into()))
            };
            at.map(|at| Some(at as u16)).ok_or_else(missing)
        };
        let append = id(
            source.as_ref().unwrap_or(&target),
            "append_to_input",
            parts.append,
        )?;
        let [start, stop] = [("start", parts.start), ("stop", parts.stop)];
        // The board reads the end of a source after it, if there is one: what the file does not append is none.
        let source = source.map(|source| {
            let specials = SpecialTokens {
                eos: append,
                ..source.specials()
            };
            let made = Vocabulary::with(source.tokenizer(), specials, source.tokens().to_vec());
            made.map_err(|cause| VocabularyFileError::Vocabulary {
                path: path.into(),
                place: SOURCE,
                cause,
            })
        });
        let source = source.transpose()?;
        let start = id(&target, start.0, start.1)?.or(target.specials().bos);
        let stop = id(&target, stop.0, stop.1)?.or(target.specials().eos);
        let specials = SpecialTokens {
            bos: start,
            eos: stop,
            ..target.specials()
        };
        target = Vocabulary::with(target.tokenizer(), specials, target.tokens().to_vec()).map_err(
            |cause| VocabularyFileError::Vocabulary {
                path: path.into(),
                place,
                cause,
            },
        )?;
        Ok(Self {
            path: path.into(),
            source,
            target,
            source_eos: append,
            bos: start,
            eos: stop,
            max_len: parts.limit,
        })
    }

    /// Checks that these are the vocabularies of a network that reads `tokens` tokens, and whose encoder, if it has one, reads
    /// `source` tokens.
    ///
    /// # Errors
    /// If the numbers of tokens differ, or there is one vocabulary for two networks or two for one.
    pub fn check_sizes(
        &self,
        source: Option<usize>,
        tokens: usize,
    ) -> Result<(), VocabularyFileError> {
        let path = || self.path.clone();
        let fits = |place, vocabulary: &Vocabulary, expected| match vocabulary.len() {
            found if found == expected => Ok(()),
            found => Err(VocabularyFileError::Size {
                path: path(),
                place,
                found,
                expected,
            }),
        };
        match (&self.source, source) {
            (None, None) => fits(ONLY, &self.target, tokens),
            (Some(vocabulary), Some(source)) => {
                fits(TARGET, &self.target, tokens)?;
                fits(SOURCE, vocabulary, source)
            }
            (Some(_), None) => Err(VocabularyFileError::Sides {
                path: path(),
                found: "two vocabularies",
                expected: "one: the model has no encoder",
            }),
            (None, Some(_)) => Err(VocabularyFileError::Sides {
                path: path(),
                found: "one vocabulary",
                expected: "input_vocabulary and output_vocabulary: the model is an encoder and a decoder",
            }),
        }
    }
}

const SOURCE: &str = "the input's vocabulary";
const TARGET: &str = "the output's vocabulary";
const ONLY: &str = "the vocabulary";

/// What a file says, before its tokens are understood.
#[derive(Default)]
struct Parts {
    source: Option<Vec<String>>,
    target: Vec<String>,
    append: Option<String>,
    start: Option<String>,
    stop: Option<String>,
    limit: Option<usize>,
}

impl Parts {
    fn of(target: Vec<String>) -> Self {
        Self {
            target,
            ..Self::default()
        }
    }

    /// A list of tokens may begin as JSON does, with `[PAD]`: where the name does not say that it is JSON, what is none is lines.
    fn parse(text: &str, named_json: bool) -> Result<Self, Fault> {
        if !named_json && !text.trim_start().starts_with(['[', '{']) {
            return lines(text).map(Self::of);
        }
        match serde_json::from_str(text) {
            Ok(Value::Array(values)) => strings(&values, "the list").map(Self::of),
            Ok(Value::Object(object)) => Self::object(&object),
            Ok(other) => Err((kind(&other).into(), FORMS.into())),
            Err(_) if !named_json => lines(text).map(Self::of),
            Err(error) => Err((format!("no JSON ({error})"), FORMS.into())),
        }
    }

    fn object(object: &Map<String, Value>) -> Result<Self, Fault> {
        let list = |key: &str| match object.get(key) {
            Some(Value::Array(values)) => strings(values, key),
            Some(other) => Err((
                format!("{key:?} is {}", kind(other)),
                "a list of texts".into(),
            )),
            None => Err((format!("no {key:?}"), "both vocabularies".into())),
        };
        let text = |key: &str| match object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err((
                format!("{key:?} is {}", kind(other)),
                "a token's text".into(),
            )),
        };
        if object.contains_key("input_vocabulary") || object.contains_key("output_vocabulary") {
            let limit = match object.get("max_output") {
                None | Some(Value::Null) => None,
                Some(value) => match value.as_u64() {
                    Some(limit) if limit > 0 => usize::try_from(limit).ok(),
                    _ => {
                        let found = format!("\"max_output\" is {value}");
                        return Err((found, "a whole number above 0".into()));
                    }
                },
            };
            return Ok(Self {
                source: Some(list("input_vocabulary")?),
                target: list("output_vocabulary")?,
                append: text("append_to_input")?,
                start: text("start")?,
                stop: text("stop")?,
                limit,
            });
        }
        // A word_index may have a word that is a key of another form: there it has an id.
        match (object.get("itos"), object.get("word_index")) {
            (Some(Value::Array(values)), _) => strings(values, "itos").map(Self::of),
            (_, Some(Value::Object(index))) => word_index(index).map(Self::of),
            _ => word_index(object).map(Self::of),
        }
    }
}

/// What a JSON value is, for an error.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn strings(values: &[Value], place: &str) -> Result<Vec<String>, Fault> {
    let text = |(id, value): (usize, &Value)| match value {
        Value::String(text) => Ok(text.clone()),
        other => Err((
            format!("{} at {id} of {place}", kind(other)),
            "texts only".into(),
        )),
    };
    values.iter().enumerate().map(text).collect()
}

fn lines(text: &str) -> Result<Vec<String>, Fault> {
    let mut texts = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() && number > 0 {
            let found = format!("an empty line {}", number + 1);
            let expected = "a token a line; a line's end as a token needs a JSON list";
            return Err((found, expected.into()));
        }
        texts.push(line.to_owned());
    }
    Ok(texts)
}

/// The texts of an object from text to id.
fn word_index(object: &Map<String, Value>) -> Result<Vec<String>, Fault> {
    let mut texts: Vec<Option<&str>> = vec![None; object.len() + 1];
    for (text, value) in object {
        let id = value.as_u64().and_then(|id| usize::try_from(id).ok());
        let Some(id) = id else {
            let found = format!("{} for {text:?}", kind(value));
            return Err((found, FORMS.into()));
        };
        let most = object.len();
        let Some(place) = texts.get_mut(id) else {
            let found = format!("the id {id} for {text:?}");
            return Err((found, format!("ids without a gap, here at most {most}")));
        };
        if let Some(other) = place.replace(text) {
            let found = format!("the id {id} for {other:?} and {text:?}");
            return Err((found, "an id for each text".into()));
        }
    }
    if texts[0].is_some() {
        // From 0 on: the place for the id of padding is left over.
        texts.pop();
    } else {
        texts[0] = Some("");
    }
    // All ids are different and none is too large, so only the last can be missing.
    Ok(texts.into_iter().flatten().map(String::from).collect())
}

fn vocabulary(
    mut texts: Vec<String>,
    tokenizer: Option<Tokenizer>,
) -> Result<Vocabulary, VocabularyError> {
    if let Some(first) = texts.first_mut().filter(|text| text.is_empty()) {
        *first = PAD[0].into();
    }
    let find = |names: &[&str]| {
        let named = |text: &String| names.contains(&&*text.to_ascii_lowercase());
        texts
            .iter()
            .position(named)
            .and_then(|at| u16::try_from(at).ok())
    };
    let specials = SpecialTokens {
        bos: find(START),
        eos: find(EOS),
        pad: find(PAD),
        unk: find(UNK),
    };
    let plain = || {
        let named = texts.iter().enumerate();
        named.filter_map(|(id, text)| (!specials.contains(id as u16)).then_some(text))
    };
    let tokenizer = tokenizer.unwrap_or_else(|| {
        if plain().all(|text| text.chars().count() == 1) {
            Tokenizer::SUBWORD
        } else if plain().any(|text| text.contains(|c: char| c.is_ascii_uppercase())) {
            Tokenizer::WHITESPACE
        } else {
            Tokenizer::WHITESPACE_LOWERCASE
        }
    });
    Vocabulary::with(tokenizer, specials, texts)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
