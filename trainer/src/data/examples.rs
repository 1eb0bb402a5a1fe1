//! Files of examples, one per line: what a network reads, and what it should answer.
//!
//! | task | line |
//! |---|---|
//! | [`Task::Classifier`] | `class TAB text` |
//! | [`Task::SequenceToSequence`] | `source TAB target` |
//! | [`Task::ConditionalGenerator`] | `features TAB text`, or `text` if features are computed |

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::corpus::{Corpus, CorpusError};
use super::features::{Features, parse_features};
use super::hash::part_of;
use super::notice::Notice;
use super::split::{Part, Split};
use super::task::Task;
use super::tokenizer::{OovStats, Tokenizer, TokenizerKind, Vocabulary, VocabularyError};

/// How a file of examples is read.
#[derive(Clone, Copy, Debug)]
pub struct ExampleOptions<'o> {
    /// The form of the lines.
    pub task: Task,
    /// The tokenizer of sources.
    pub source: Tokenizer,
    /// The tokenizer of targets.
    pub target: Tokenizer,
    /// The largest number of words in a vocabulary of words; the others are UNK.
    pub vocab_size: usize,
    /// The features to compute, if the lines are plain texts.
    pub features: &'o Features,
    /// The largest number of tokens of a source, or of a target and its end. Longer examples are skipped.
    pub max_len: usize,
    /// The percentages of all texts in the parts.
    pub split: Split,
    /// Whether the training part has the examples of dev too, and dev has none.
    pub trains_on_dev: bool,
}

/// One encoded line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// The token ids of the source; empty if there are features.
    pub source: Vec<u16>,
    /// The value of each feature; empty if there is a source.
    pub features: Vec<f32>,
    /// The class, or the token ids of the text without its end.
    pub target: Vec<u16>,
    /// Other targets of the same source, which are equally right. Only outside of the training part.
    pub alternative_targets: Vec<Vec<u16>>,
}

/// How many predictions an example asks for: a class, or the tokens of the target and its end.
pub fn predictions(task: Task, example: &Example) -> usize {
    match task {
        Task::Classifier => 1,
        _ => example.target.len() + 1,
    }
}

/// The decoder's special tokens are the first ones of its vocabulary.
pub const BOS: u16 = 0;
/// As [`BOS`].
pub const EOS: u16 = 1;

/// The lengths of the longest source and target of some examples, EOS included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lengths {
    /// Tokens of the source.
    pub source: usize,
    /// Tokens of the target and its EOS.
    pub target: usize,
}

/// A file of examples, encoded and split.
///
/// An example belongs to a part by the [hash](part_of) of its source, or of its text if it has features: `dev` has the hashes
/// from 0, `test` those after it, `train` the others. Vocabularies come from the training part.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleSet {
    /// The tokens of sources; none if there are features.
    pub source: Option<Vocabulary>,
    /// The names of the features; none if there is a source.
    pub feature_names: Vec<String>,
    /// The classes, or the tokens of targets, of which the first two are BOS and EOS.
    pub target: Vocabulary,
    /// The training part.
    pub train: Vec<Example>,
    /// The dev part; every source is there once.
    pub dev: Vec<Example>,
    /// The test part; every source is there once.
    pub test: Vec<Example>,
    /// Examples that were skipped, because they are too long or have no token that the vocabulary knows.
    pub skipped: usize,
    /// What the user should know.
    pub notices: Vec<Notice>,
}

/// Why a file of examples was refused.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A line of another form.
    #[error("{file}, line {line}: found {found}, expected {expected}")]
    Line {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What the line contains.
        found: String,
        /// What it should contain.
        expected: &'static str,
    },
    /// No example for training.
    #[error(
        "{file}: found no line for training, expected at least 1; give more lines, or a larger training part with --split"
    )]
    Empty {
        /// The file.
        file: String,
    },
    /// Too many different tokens.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// The file cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
}

/// The fields of a line.
struct Line<'t> {
    /// From 1.
    number: usize,
    /// A text, or features.
    source: &'t str,
    target: &'t str,
    part: Part,
}

/// The fields of every line that is not empty.
fn lines<'t>(
    file: &str,
    text: &'t str,
    options: &ExampleOptions,
) -> Result<Vec<Line<'t>>, DataError> {
    let (task, is_plain) = (options.task, !options.features.0.is_empty());
    let mut lines = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let number = index + 1;
        let text = text.trim_end_matches('\r');
        if text.is_empty() {
            continue;
        }
        let refused = |found: String, expected| DataError::Line {
            file: file.into(),
            line: number,
            found,
            expected,
        };
        let fields: Vec<&str> = text.split('\t').collect();
        let (source, target) = match (task, &fields[..]) {
            (Task::ConditionalGenerator, [text]) if is_plain => ("", *text),
            (Task::Classifier, [class, text]) => (*text, *class),
            (Task::SequenceToSequence | Task::ConditionalGenerator, [source, target])
                if !is_plain =>
            {
                (*source, *target)
            }
            _ => {
                let expected = match task {
                    Task::LanguageModel => "a task on lines: give another --task",
                    Task::Classifier => "a class, a TAB and a text",
                    Task::SequenceToSequence => "a source, a TAB and a target",
                    Task::ConditionalGenerator if is_plain => {
                        "a text alone: features are computed, by --features"
                    }
                    Task::ConditionalGenerator => {
                        "features, a TAB and a text; of plain texts, let them be computed with --features length,first-letter"
                    }
                };
                return Err(refused(format!("{} field(s)", fields.len()), expected));
            }
        };
        if target.trim().is_empty() || (source.trim().is_empty() && !is_plain) {
            let expected = "a text on both sides of the TAB";
            return Err(refused("an empty field".into(), expected));
        }
        // Equal keys must not be in two parts.
        let key = match task {
            Task::ConditionalGenerator => target,
            _ => source,
        };
        let part = match options.split.part_of(part_of(key)) {
            Part::Dev if options.trains_on_dev => Part::Train,
            part => part,
        };
        lines.push(Line {
            number,
            source,
            target,
            part,
        });
    }
    Ok(lines)
}

/// Guesses the tokenizer of targets: words at white space, if most lines have several of at most 1,000 different ones, which occur
/// four times on average; else characters.
///
/// # Errors
/// If the file cannot be read.
pub fn guess_target_tokenizer(corpus: &Corpus) -> Result<Tokenizer, CorpusError> {
    let text = corpus.text(corpus.all())?;
    let (mut count, mut spaced, mut lines) = (0, 0, 0);
    let mut different = BTreeSet::new();
    for target in text.lines().filter_map(|line| line.split('\t').nth(1)) {
        let before = count;
        for symbol in target.split_whitespace() {
            count += 1;
            different.insert(symbol);
        }
        lines += 1;
        spaced += usize::from(count - before > 1);
    }
    let symbols = 2 * spaced > lines && different.len() <= 1_000 && count >= 4 * different.len();
    Ok(match symbols {
        true => Tokenizer::WHITESPACE,
        false => Tokenizer::CHAR,
    })
}

impl ExampleSet {
    /// Reads the examples of a file.
    ///
    /// # Errors
    /// If a line has another form, no line is for training, or a vocabulary is too large.
    ///
    /// # Panics
    /// If a tokenizer is [`Tokenizer::BYTE`] or [`Tokenizer::SUBWORD`].
    pub fn read(corpus: &Corpus, options: &ExampleOptions) -> Result<Self, DataError> {
        let text = corpus.text(corpus.all())?;
        let lines = lines(&corpus.name, &text, options)?;
        let empty = || DataError::Empty {
            file: corpus.name.clone(),
        };
        if lines.iter().all(|line| line.part != Part::Train) {
            return Err(empty());
        }
        let features = match options.task {
            Task::ConditionalGenerator => line_features(&corpus.name, &lines, options.features)?,
            _ => Vec::new(),
        };
        let tokens = segment(&lines, options);
        let (source, target) = vocabularies(&lines, &tokens, options)?;
        let mut set = Self {
            feature_names: feature_names(&features),
            train: Vec::new(),
            dev: Vec::new(),
            test: Vec::new(),
            skipped: 0,
            notices: Vec::new(),
            source,
            target,
        };
        let mut unknown = [OovStats::default(), OovStats::default()];
        // The index of each source in its part.
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (i, (line, (source, target))) in lines.iter().zip(&tokens).enumerate() {
            let features = features.get(i).map(|named| {
                let value = |name: &String| named.get(name).copied().unwrap_or(0.0);
                set.feature_names.iter().map(value).collect()
            });
            let vocabulary = set.source.as_ref();
            let example = Example {
                source: vocabulary.map_or_else(Vec::new, |vocabulary| {
                    encode(vocabulary, source, &mut unknown[0])
                }),
                features: features.unwrap_or_default(),
                target: encode(&set.target, target, &mut unknown[1]),
                alternative_targets: Vec::new(),
            };
            let longest = example.source.len().max(example.target.len() + 1);
            let nothing = vocabulary.is_some() && example.source.is_empty();
            if longest > options.max_len || nothing || example.target.is_empty() {
                set.skipped += 1;
                continue;
            }
            let part = match line.part {
                Part::Train => {
                    set.train.push(example);
                    continue;
                }
                Part::Dev => &mut set.dev,
                Part::Test => &mut set.test,
            };
            if options.task == Task::SequenceToSequence
                && let Some(place) = places.get(line.source)
            {
                part[*place].alternative_targets.push(example.target);
            } else {
                places.insert(line.source, part.len());
                part.push(example);
            }
        }
        if set.train.is_empty() {
            return Err(empty());
        }
        let sources = set.source.as_ref().map(Vocabulary::oov_name);
        let targets = match options.task {
            Task::Classifier => "label",
            _ => set.target.oov_name(),
        };
        for (name, unknown) in [sources.unwrap_or_default(), targets].iter().zip(unknown) {
            if unknown.count > 0 {
                let summary = unknown.summary(name);
                set.notices.push(Notice::OutOfVocabulary { summary });
            }
        }
        Ok(set)
    }

    /// Returns the lengths of the longest source and target of the training part.
    pub fn longest(&self) -> Lengths {
        let most = |length: fn(&Example) -> usize| self.train.iter().map(length).max().unwrap_or(0);
        Lengths {
            source: most(|example| example.source.len()),
            target: most(|example| example.target.len() + 1),
        }
    }
}

/// The source tokens and target tokens of every line. A class is one token; features have no source tokens.
fn segment(lines: &[Line], options: &ExampleOptions) -> Vec<(Vec<String>, Vec<String>)> {
    let tokens = |line: &Line| {
        let source = match options.task {
            Task::ConditionalGenerator => Vec::new(),
            _ => options.source.segment(line.source),
        };
        let target = match options.task {
            Task::Classifier => vec![line.target.to_owned()],
            _ => options.target.segment(line.target),
        };
        (source, target)
    };
    lines.iter().map(tokens).collect()
}

/// The features of every line, by name.
fn line_features(
    file: &str,
    lines: &[Line],
    computed: &Features,
) -> Result<Vec<BTreeMap<String, f32>>, DataError> {
    let features = lines.iter().map(|line| match computed.0.is_empty() {
        true => named_features(line.source).map_err(|found| DataError::Line {
            file: file.into(),
            line: line.number,
            found,
            expected: "features such as length=0.5,a: names alone, or with a number",
        }),
        false => Ok(computed.compute(line.target)),
    });
    features.collect()
}

/// The features that a line names, each once.
fn named_features(text: &str) -> Result<BTreeMap<String, f32>, String> {
    let mut features = BTreeMap::new();
    for part in parse_features(text) {
        let (name, value) = part.map_err(|part| format!("{part:?}"))?;
        if name.is_empty() || features.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name:?} without a name, or twice"));
        }
    }
    Ok(features)
}

/// Every name, those of several characters first.
fn feature_names(features: &[BTreeMap<String, f32>]) -> Vec<String> {
    let names: BTreeSet<&String> = features.iter().flat_map(BTreeMap::keys).collect();
    let mut names: Vec<String> = names.into_iter().cloned().collect();
    names.sort_by_key(|name| name.chars().count() == 1);
    names
}

/// The vocabularies of the training part's sources, unless there are features, and of its targets.
///
/// Characters, classes and words at white space as they are, such as phonemes, are a closed set; other words are an open one, of
/// which the rare ones are UNK.
fn vocabularies(
    lines: &[Line],
    tokens: &[(Vec<String>, Vec<String>)],
    options: &ExampleOptions,
) -> Result<(Option<Vocabulary>, Vocabulary), VocabularyError> {
    let train = lines.iter().zip(tokens);
    let train = train.filter(|(line, _)| line.part == Part::Train);
    let train = train.map(|(_, tokens)| tokens);
    let size = |tokenizer: Tokenizer| {
        let is_open = tokenizer.kind() == TokenizerKind::Word && tokenizer != Tokenizer::WHITESPACE;
        is_open.then_some(options.vocab_size)
    };
    let source = match options.task {
        Task::ConditionalGenerator => None,
        _ => {
            let sources = train.clone().flat_map(|(source, _)| source);
            let (tokenizer, sources) = (options.source, sources.map(String::as_str));
            Some(tokenizer.build_example_vocabulary(sources, size(tokenizer), false)?)
        }
    };
    let (tokenizer, has_ends) = match options.task {
        Task::Classifier => (Tokenizer::CHAR, false),
        _ => (options.target, true),
    };
    let targets = train.flat_map(|(_, target)| target).map(String::as_str);
    let target = tokenizer.build_example_vocabulary(targets, size(tokenizer), has_ends)?;
    Ok((source, target))
}

/// The ids of tokens. One that is not in the vocabulary becomes UNK, or is left out and counted if there is no UNK.
fn encode(vocabulary: &Vocabulary, tokens: &[String], unknown: &mut OovStats) -> Vec<u16> {
    let id = |token: &String| {
        let id = vocabulary.id(token).or(vocabulary.specials().unk);
        if id.is_none() {
            unknown.add(token);
        }
        id
    };
    tokens.iter().filter_map(id).collect()
}
