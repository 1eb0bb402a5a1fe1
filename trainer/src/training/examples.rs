//! Lines to examples: what goes in, what shall come out, and the part that each belongs to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use super::dataset::PartSizes;
use super::config::{Config, DataConfig, TrainOn};
use super::task::{Cut, Feature, Task};
use crate::data::corpus::Corpus;
use crate::data::split::Part;
use crate::data::vocab::{SpecialTokens, Vocabulary, VocabularyError};
use crate::inference::tasks;

/// The token that a decoder is fed first.
const BOS: &str = "<s>";
/// The token that ends what a decoder says.
const EOS: &str = "<eos>";
/// The token for a word that is rare.
const UNKNOWN: &str = "<unk>";

/// One line, encoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// What is read; empty where features are.
    pub source: Vec<u16>,
    /// A value for each channel; empty where a source is.
    pub features: Vec<f32>,
    /// The class alone, or the text without its end.
    pub target: Vec<u16>,
    /// Of an example of dev or test: other targets that are as right.
    pub others: Vec<Vec<u16>>,
}

/// The longest source and target of some examples, ends counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lengths {
    /// Tokens of the source.
    pub source: usize,
    /// Tokens of the target and its end.
    pub target: usize,
}

/// A file's lines, encoded and divided.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// What sources are made of; none where features come in.
    pub source: Option<Vocabulary>,
    /// The names of the features; none where a source is read.
    pub channels: Vec<String>,
    /// The classes, or what targets are made of: their start and end first.
    pub target: Vocabulary,
    /// To train on.
    pub train: Vec<Example>,
    /// The dev part, each source once.
    pub dev: Vec<Example>,
    /// The test part, each source once.
    pub test: Vec<Example>,
    /// Lines that were left out: longer than the settings allow, or without any token.
    pub left_out: usize,
}

/// Why lines were refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum DataError {
    /// A line that does not have its parts.
    #[error("{file}, line {line}: found {found}, expected {expected}")]
    Line {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What is there.
        found: String,
        /// What should be there.
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
}

/// A line's parts.
struct Line<'t> {
    /// What is read: a text, or features.
    source: &'t str,
    /// What shall come out.
    target: &'t str,
}

/// The parts of every line that is not empty.
fn lines<'t>(
    corpus: &'t Corpus,
    task: Task,
    plain: bool,
) -> Result<Vec<(usize, Line<'t>)>, DataError> {
    let mut lines = Vec::new();
    for (number, text) in corpus.text.lines().enumerate() {
        let text = text.trim_end_matches('\r');
        if text.is_empty() {
            continue;
        }
        let refused = |found: String, expected| DataError::Line {
            file: corpus.name.clone(),
            line: number + 1,
            found,
            expected,
        };
        let parts: Vec<&str> = text.split('\t').collect();
        let line = match (task, &parts[..]) {
            (Task::ConditionalGenerator, [text]) if plain => Line {
                source: "",
                target: text,
            },
            (Task::Classifier, [class, text]) => Line {
                source: text,
                target: class,
            },
            (Task::SequenceToSequence | Task::ConditionalGenerator, [source, target]) if !plain => {
                Line { source, target }
            }
            _ => {
                let expected = match task {
                    Task::Classifier => "a class, a TAB and a text",
                    Task::SequenceToSequence => "a source, a TAB and a target",
                    Task::LanguageModel => "a text for a language model: leave out --task",
                    Task::ConditionalGenerator if plain => "a text alone: features are computed, by --features",
                    Task::ConditionalGenerator => {
                        "features, a TAB and a text; of plain texts, let them be computed with --features length,first-letter"
                    }
                };
                return Err(refused(format!("{} part(s)", parts.len()), expected));
            }
        };
        if line.target.trim().is_empty() || (line.source.trim().is_empty() && !plain) {
            return Err(refused(
                "an empty part".into(),
                "a text on both sides of the TAB",
            ));
        }
        lines.push((number + 1, line));
    }
    Ok(lines)
}

/// The place of a source among all sources, 0 to below 1, by its SHA-256: so neither the order of the lines nor a seed decides
/// the part that it belongs to.
///
/// ```
/// let fraction = trainer::training::examples::hash_fraction;
/// let low = (0..10_000).filter(|i| fraction(&i.to_string()) < 0.1).count();
/// assert!((900..1100).contains(&low));
/// ```
pub fn hash_fraction(source: &str) -> f64 {
    let hash = Sha256::digest(source);
    let first = u64::from_be_bytes(*hash.first_chunk().expect("32 bytes"));
    // Of 53 bits the float is exact.
    (first >> 11) as f64 / (1u64 << 53) as f64
}

/// The cut of a target where nothing is said: symbols, where every line is some of at most 1,000 different ones, which are used
/// again and again, between white space; else characters.
pub fn target_cut(corpus: &Corpus) -> Cut {
    let (mut count, mut spaced, mut lines) = (0, 0, 0);
    let mut different = BTreeSet::new();
    for target in corpus
        .text
        .lines()
        .filter_map(|line| line.split('\t').nth(1))
    {
        let before = count;
        for symbol in target.split_whitespace() {
            count += 1;
            different.insert(symbol);
        }
        lines += 1;
        spaced += usize::from(count - before > 1);
    }
    let symbols = 2 * spaced > lines && different.len() <= 1_000 && count >= 4 * different.len();
    if symbols { Cut::Symbol } else { Cut::Char }
}

impl Examples {
    /// The examples in `corpus`.
    ///
    /// # Errors
    /// If a line does not have its parts, no line is for training, or a vocabulary is too large.
    pub fn new(corpus: &Corpus, config: &Config) -> Result<Self, DataError> {
        let DataConfig {
            task,
            source_tokenizer: source,
            target_tokenizer: target,
            ..
        } = config.data;
        let computed = &config.data.features.0;
        let lines = lines(corpus, task, !computed.is_empty())?;
        // What the same answer must not stand on both sides for.
        let key = |line: &Line<'_>| match task {
            Task::ConditionalGenerator => line.target.to_owned(),
            _ => line.source.to_owned(),
        };
        let part = |(_, line): &(usize, Line<'_>)| {
            let part = config.data.split.part_of(hash_fraction(&key(line)));
            match (part, config.data.train_on) {
                (Part::Dev, TrainOn::TrainAndDev) => Part::Train,
                (part, _) => part,
            }
        };
        let parts: Vec<Part> = lines.iter().map(part).collect();
        let held: Vec<bool> = parts.iter().map(|part| *part != Part::Train).collect();

        let empty = || DataError::Empty {
            file: corpus.name.clone(),
        };
        if held.iter().all(|held| *held) {
            return Err(empty());
        }

        let mut features = Vec::new();
        if task == Task::ConditionalGenerator {
            for (number, line) in &lines {
                let found = if computed.is_empty() {
                    named(line.source).map_err(|found| DataError::Line {
                        file: corpus.name.clone(),
                        line: *number,
                        found,
                        expected: "features such as length=0.5,a: names alone, or with a number",
                    })?
                } else {
                    compute(computed, line.target)
                };
                features.push(found);
            }
        }
        let channels = channels(&features);
        let every = lines.iter().map(|(_, line)| line);
        let sources: Vec<Vec<String>> = match task {
            Task::ConditionalGenerator => Vec::new(),
            _ => every
                .clone()
                .map(|line| source.tokens(line.source))
                .collect(),
        };
        let targets: Vec<Vec<String>> = match task {
            Task::Classifier => every.map(|line| vec![line.target.to_owned()]).collect(),
            _ => every.map(|line| target.tokens(line.target)).collect(),
        };
        let source_vocabulary = match task {
            Task::ConditionalGenerator => None,
            _ => Some(vocabulary(&sources, &held, source, config.data.vocab_size, &[])?),
        };
        let target_vocabulary = match task {
            Task::Classifier => vocabulary(&targets, &held, Cut::Char, config.data.vocab_size, &[])?,
            _ => vocabulary(&targets, &held, target, config.data.vocab_size, &[BOS, EOS])?,
        };

        let mut dataset = Self {
            channels,
            train: Vec::new(),
            dev: Vec::new(),
            test: Vec::new(),
            left_out: 0,
            source: source_vocabulary,
            target: target_vocabulary,
        };
        let sources_ids = dataset.source.as_ref().map(ids);
        let target_ids = ids(&dataset.target);
        // Of an example of dev or test, the place of its source.
        let mut places: HashMap<String, usize> = HashMap::new();
        for (i, (_, line)) in lines.iter().enumerate() {
            let features = features.get(i).map(|named| {
                let value = |channel: &String| named.get(channel).copied().unwrap_or(0.0);
                dataset.channels.iter().map(value).collect()
            });
            let example = Example {
                source: sources_ids
                    .as_ref()
                    .map_or_else(Vec::new, |ids| encode(ids, &sources[i])),
                features: features.unwrap_or_default(),
                target: encode(&target_ids, &targets[i]),
                others: Vec::new(),
            };
            let longest = example.source.len().max(example.target.len() + 1);
            let nothing = dataset.source.is_some() && example.source.is_empty();
            if longest > config.optimizer.seq_len || nothing || example.target.is_empty() {
                dataset.left_out += 1;
                continue;
            }
            let examples = match parts[i] {
                Part::Train => &mut dataset.train,
                Part::Dev => &mut dataset.dev,
                Part::Test => &mut dataset.test,
            };
            // Equal sources are in one part.
            let place = places.get(line.source).copied();
            let place = place.filter(|_| held[i] && task == Task::SequenceToSequence);
            match place {
                Some(place) => examples[place].others.push(example.target),
                None => {
                    places.insert(line.source.to_owned(), examples.len());
                    examples.push(example);
                }
            }
        }
        if dataset.train.is_empty() {
            return Err(empty());
        }
        Ok(dataset)
    }

    /// Sizes of the parts, in examples.
    pub fn sizes(&self) -> PartSizes {
        PartSizes {
            train: self.train.len(),
            dev: self.dev.len(),
            test: self.test.len(),
        }
    }

    /// The longest source and target to train on.
    pub fn longest(&self) -> Lengths {
        let most = |length: fn(&Example) -> usize| self.train.iter().map(length).max().unwrap_or(0);
        Lengths {
            source: most(|example| example.source.len()),
            target: most(|example| example.target.len() + 1),
        }
    }
}

/// The features that a line names, each once.
fn named(text: &str) -> Result<BTreeMap<String, f32>, String> {
    let mut features = BTreeMap::new();
    for part in tasks::parse_features(text) {
        let (name, value) = part.map_err(|part| format!("{part:?}"))?;
        if name.is_empty() || features.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name:?} without a name, or twice"));
        }
    }
    Ok(features)
}

/// The features of a text.
fn compute(features: &[Feature], text: &str) -> BTreeMap<String, f32> {
    let feature = |feature: &Feature| match feature {
        Feature::Length => ("length".to_owned(), text.chars().count() as f32 / 10.0),
        Feature::FirstLetter => (text.chars().take(1).collect(), 1.0),
    };
    features.iter().map(feature).collect()
}

/// Every name, those of several characters first.
fn channels(features: &[BTreeMap<String, f32>]) -> Vec<String> {
    let names: BTreeSet<&String> = features.iter().flat_map(BTreeMap::keys).collect();
    let mut names: Vec<String> = names.into_iter().cloned().collect();
    names.sort_by_key(|name| name.chars().count() == 1);
    names
}

/// `specials`, then the different tokens: of words [`UNKNOWN`] and the most frequent ones for training that were seen twice, else
/// all that there are, by text.
fn vocabulary(
    texts: &[Vec<String>],
    held: &[bool],
    cut: Cut,
    words: usize,
    specials: &[&str],
) -> Result<Vocabulary, VocabularyError> {
    let mut tokens: Vec<String> = specials.iter().map(|text| (*text).to_owned()).collect();
    if cut == Cut::Word {
        let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
        let seen = texts.iter().zip(held).filter(|(_, held)| !**held);
        for word in seen.flat_map(|(text, _)| text) {
            *counts.entry(word).or_default() += 1;
        }
        let mut counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 1).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        tokens.push(UNKNOWN.into());
        tokens.extend(counts.into_iter().take(words).map(|(word, _)| word.clone()));
    } else {
        let different: BTreeSet<&String> = texts.iter().flatten().collect();
        tokens.extend(different.into_iter().cloned());
    }
    let special = |text: &str| {
        let at = tokens
            .iter()
            .take(specials.len() + 1)
            .position(|token| token == text);
        at.map(|at| at as u16)
    };
    let specials = SpecialTokens {
        bos: special(BOS),
        eos: special(EOS),
        pad: None,
        unk: special(UNKNOWN),
    };
    Vocabulary::with(cut.level(), specials, tokens)
}

fn ids(vocabulary: &Vocabulary) -> HashMap<&str, u16> {
    let texts = vocabulary.texts().iter().zip(0..);
    texts.map(|(text, id)| (&**text, id)).collect()
}

/// The tokens' ids; what has none is [`UNKNOWN`], or left out where there is no such token.
fn encode(ids: &HashMap<&str, u16>, tokens: &[String]) -> Vec<u16> {
    let unknown = ids.get(UNKNOWN);
    tokens
        .iter()
        .filter_map(|token| ids.get(&**token).or(unknown).copied())
        .collect()
}
