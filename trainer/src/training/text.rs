//! A text as a dataset: tokens of the training part as parallel streams, and the dev part.

use super::TrainError;
use super::config::{Config, TrainOn};
use super::dataset::{DEV_TOKENS, Dataset, DevLoss, PartSizes, Resets, SHARD_ROWS};
use super::distill::SoftTargets;
use super::network::{Batch, Sequences};
use super::stream::Stream;
use super::to_network::Vocabularies;
use crate::data::corpus::Corpus;
use crate::data::notice::Notice;
use crate::data::tokenizer::{CharStats, Encoding, TokenIds, Vocabulary};
use crate::eval::perplexity;
use crate::network::Network;
use crate::nn::softmax::{IGNORE_INDEX, Soft};

/// Tokens that a stretch of dev is read after, so that its states are those of the text before it.
const WARM_UP: usize = 256;

/// Predictions of a stretch of dev, at least: stretches are read side by side.
const STRETCH: usize = 2_048;

/// Stretches of dev, at most.
const STRETCHES: usize = 64;

/// A text, encoded and split.
#[derive(Debug)]
pub struct TextData {
    vocabulary: Vocabulary,
    /// Of the parts that are trained on.
    pub(super) train: TokenIds,
    dev: Encoding,
    /// Characters of the parts.
    sizes: PartSizes,
}

impl TextData {
    /// Encodes a text, with the given vocabulary, or one made from its training part.
    ///
    /// # Errors
    /// If a part for training has no two tokens, or the vocabulary is refused or lacks characters.
    pub fn new(
        corpus: &Corpus,
        config: &Config,
        vocabulary: Option<&Vocabulary>,
    ) -> Result<Self, TrainError> {
        let data = &config.data;
        let line_documents = vocabulary.map_or(data.line_documents, Vocabulary::line_documents);
        let parts = data.split.parts(corpus, line_documents)?;
        let sizes = PartSizes {
            train: parts[0].characters,
            dev: parts[1].characters,
            test: parts[2].characters,
        };
        let (train, dev) = match data.train_on {
            TrainOn::Train => (parts[0], Some(parts[1])),
            TrainOn::TrainAndDev => (data.split.train_and_dev(corpus, line_documents)?, None),
        };
        let too_short = || TrainError::TooShort {
            name: corpus.name.clone(),
            characters: corpus.characters(),
            train: train.characters,
            split: data.split,
        };
        if train.characters < 2 {
            return Err(too_short());
        }
        let vocabulary = match vocabulary {
            Some(vocabulary) => vocabulary.clone(),
            None => {
                data.tokenizer
                    .build_vocabulary(corpus, train, data.vocab_size, line_documents)?
            }
        };
        let tokens = vocabulary.encode_streaming(corpus, train)?;
        // The vocabulary comes from the training part: what only dev has is left out, and reported.
        let dev = match dev {
            Some(dev) => vocabulary.encode_part(corpus, dev, true)?,
            None => Encoding::default(),
        };
        if tokens.len() < 2 {
            return Err(too_short());
        }
        Ok(Self {
            vocabulary,
            train: tokens,
            dev,
            sizes,
        })
    }

    /// What the user should know.
    pub fn notices(&self) -> Vec<Notice> {
        let skipped = &self.dev.skipped;
        let summary = || skipped.summary(self.vocabulary.oov_name());
        let notice = (skipped.count > 0).then(|| Notice::OutOfVocabulary { summary: summary() });
        notice.into_iter().collect()
    }

    /// The vocabularies of a network on this text.
    pub fn vocabularies(&self) -> Vocabularies {
        Vocabularies {
            input: self.vocabulary.clone(),
            ..Vocabularies::default()
        }
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Characters of the parts.
    pub fn sizes(&self) -> PartSizes {
        self.sizes
    }

    /// Tokens of the parts that are trained on.
    pub fn train_tokens(&self) -> usize {
        self.train.len()
    }

    /// The tokens of the parts that are trained on.
    pub fn train_ids(&self) -> Vec<u16> {
        (0..self.train.len()).map(|at| self.train.get(at)).collect()
    }

    /// Tokens of the dev part.
    pub fn dev_tokens(&self) -> usize {
        self.dev.tokens.len()
    }

    /// Tokens of dev that are evaluated.
    fn evaluated(&self) -> &[u16] {
        &self.dev.tokens[..self.dev.tokens.len().min(DEV_TOKENS)]
    }

    /// What the predictions of the evaluated part of dev stand for.
    fn char_stats(&self) -> CharStats {
        let end = self.evaluated().len();
        self.vocabulary.char_stats(&self.dev, 1..end.max(1))
    }

    /// Bits per character of the best n-gram model of orders 0 to `order` on the evaluated part of dev, and its order; `None`
    /// without a dev part.
    pub fn best_ngram(&self, order: usize) -> Option<(usize, f64)> {
        let dev: Vec<u32> = self
            .evaluated()
            .iter()
            .map(|token| u32::from(*token))
            .collect();
        if dev.len() < 2 {
            return None;
        }
        let train: Vec<u32> = (0..self.train.len())
            .map(|at| u32::from(self.train.get(at)))
            .collect();
        let model = crate::data::ngram::KneserNey::new(&train, self.vocabulary.len(), order);
        let bits = model.bits(&dev).into_iter().enumerate();
        let (order, bits) = bits.min_by(|a, b| a.1.total_cmp(&b.1))?;
        let stats = self.char_stats();
        let spelling = stats.spelling / std::f64::consts::LN_2;
        Some((order, (bits + spelling) / stats.characters.max(1) as f64))
    }

    /// The dataset of this text.
    pub fn dataset<'d>(
        &'d self,
        config: &Config,
        soft: Option<&'d SoftTargets>,
    ) -> TextDataset<'d> {
        let optimizer = &config.optimizer;
        let (rows, seq_len, seed) = (optimizer.batch_size, optimizer.seq_len, optimizer.seed);
        let generated = soft.map_or(0, |soft| soft.synthetic().len());
        let share = (config.distillation.synthetic_fraction * rows as f32).round() as usize;
        let share = share.min(rows - 1);
        let tokens = self.train.len();
        let stream = |rows| Stream::new(tokens, rows, seq_len, seed);
        let (stream, synthetic) = if share > 0 && generated > share * seq_len {
            let synthetic = Stream::new(generated, share, seq_len, seed);
            (stream(rows - share), Some(synthetic))
        } else {
            (stream(rows), None)
        };
        // A short text has shorter sequences.
        let synthetic = synthetic.filter(|synthetic| synthetic.seq_len() == stream.seq_len());
        TextDataset {
            data: self,
            vocabularies: self.vocabularies(),
            stream,
            synthetic,
            soft,
            distill_weight: config.distillation.distill_weight,
            step: 0,
        }
    }
}

/// A text in batches: rows of the text, and after them rows of text that teachers generated.
pub struct TextDataset<'d> {
    data: &'d TextData,
    vocabularies: Vocabularies,
    stream: Stream,
    synthetic: Option<Stream>,
    soft: Option<&'d SoftTargets>,
    distill_weight: f32,
    /// The prepared step.
    step: u64,
}

impl TextDataset<'_> {
    /// Rows and tokens of a sequence of the text's own part of each batch.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    fn synthetic_rows(&self) -> usize {
        self.synthetic.map_or(0, |synthetic| synthetic.rows())
    }

    fn rows(&self) -> usize {
        self.stream.rows() + self.synthetic_rows()
    }

    /// Tokens of a step.
    pub fn step_tokens(&self) -> usize {
        self.rows() * self.stream.seq_len()
    }

    /// Rows of a shard, among all rows of the batch.
    fn shard_rows(&self, shard: usize) -> std::ops::Range<usize> {
        let start = shard * SHARD_ROWS;
        start..(start + SHARD_ROWS).min(self.rows())
    }

    /// Stretches of dev: the first prediction of each, and predictions of a stretch.
    fn stretches(&self) -> (usize, usize) {
        let predictions = self.data.evaluated().len().saturating_sub(1);
        let count = predictions.div_ceil(STRETCH).min(STRETCHES);
        (count, predictions.div_ceil(count.max(1)))
    }
}

impl Dataset for TextDataset<'_> {
    fn vocabularies(&self) -> &Vocabularies {
        &self.vocabularies
    }

    fn sizes(&self) -> PartSizes {
        self.data.sizes
    }

    fn prepare(&mut self, step: u64) {
        self.step = step;
    }

    fn shards(&self) -> usize {
        self.rows().div_ceil(SHARD_ROWS)
    }

    fn most_shards(&self) -> usize {
        self.shards()
    }

    fn batch(&self, shard: usize) -> Batch<'_> {
        let (own, rows) = (self.stream.rows(), self.shard_rows(shard));
        let of_text = rows.start.min(own)..rows.end.min(own);
        let generated = rows.start.max(own) - own..rows.end.max(own) - own;
        let seq_len = self.stream.seq_len();
        let count = rows.len() * seq_len;
        let (mut inputs, mut targets) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut probabilities = Vec::new();
        let (text, generated_rows) = (of_text.len(), generated.len());
        let mut places = self.stream.places(self.step, of_text);
        let synthetic = self.synthetic.as_ref();
        let mut more = synthetic.map(|stream| stream.places(self.step, generated.clone()));
        for _ in 0..seq_len {
            for at in places.by_ref().take(text) {
                inputs.push(self.data.train.get(at));
                targets.push(self.data.train.get(at + 1));
                probabilities.extend(self.soft.map(|soft| soft.of_data(at)));
            }
            if let (Some(more), Some(soft)) = (&mut more, self.soft) {
                for at in more.take(generated_rows) {
                    inputs.push(soft.synthetic()[at]);
                    targets.push(soft.synthetic()[at + 1]);
                    probabilities.push(soft.of_synthetic(at));
                }
            }
        }
        Batch {
            inputs: Sequences {
                tokens: inputs,
                lengths: vec![seq_len; rows.len()],
            },
            targets,
            soft: self.soft.map(|_| Soft {
                weight: self.distill_weight,
                probabilities,
            }),
            ..Batch::default()
        }
    }

    fn resets(&self, shard: usize) -> Option<Resets> {
        let own = self.stream.rows();
        let text = self.stream.begins(self.step);
        let generated = self
            .synthetic
            .is_some_and(|stream| stream.begins(self.step));
        let rows = self.shard_rows(shard);
        let begins = |row: &usize| {
            if rows.start + row < own {
                text
            } else {
                generated
            }
        };
        Some((0..rows.len()).filter(begins).collect())
    }

    fn seen(&self, steps: u64) -> u64 {
        steps * self.step_tokens() as u64
    }

    fn dev_shards(&self) -> usize {
        self.stretches().0.div_ceil(SHARD_ROWS)
    }

    fn dev_batches(&self, shard: usize) -> Vec<Batch<'_>> {
        let tokens = self.data.evaluated();
        let (count, stretch) = self.stretches();
        let rows = shard * SHARD_ROWS..((shard + 1) * SHARD_ROWS).min(count);
        let seq_len = self.stream.seq_len().max(32);
        // Each row reads a while before its stretch; the first one has nothing before it.
        let row = |row: usize| {
            let first = row * stretch;
            let last = (first + stretch).min(tokens.len() - 1);
            (first.saturating_sub(WARM_UP), first, last)
        };
        let steps = rows
            .clone()
            .map(row)
            .map(|(from, _, last)| last.saturating_sub(from));
        let steps = steps.max().unwrap_or(0);
        let batch = |start: usize| {
            let length = seq_len.min(steps - start);
            let (mut inputs, mut targets) = (Vec::new(), Vec::new());
            for t in start..start + length {
                for (from, first, last) in rows.clone().map(row) {
                    let at = from + t;
                    let is_counted = (first..last).contains(&at);
                    inputs.push(tokens.get(at).copied().unwrap_or(0));
                    targets.push(if is_counted {
                        tokens[at + 1]
                    } else {
                        IGNORE_INDEX
                    });
                }
            }
            Batch {
                inputs: Sequences {
                    tokens: inputs,
                    lengths: vec![length; rows.len()],
                },
                targets,
                ..Batch::default()
            }
        };
        (0..steps).step_by(seq_len).map(batch).collect()
    }

    fn dev_loss(&self, network: &Network, _: usize) -> Option<DevLoss> {
        let tokens = self.data.evaluated();
        (tokens.len() > 1).then(|| {
            let evaluation = perplexity::float(network, tokens, || ());
            let evaluation = evaluation.per_character(self.data.char_stats());
            DevLoss {
                loss: evaluation.nats_per_token,
                bits_per_char: Some(evaluation.bits_per_char),
            }
        })
    }

    fn bits_per_char(&self, nats: f64) -> Option<f64> {
        let stats = self.data.char_stats();
        let predictions = self.data.evaluated().len().saturating_sub(1);
        let total = nats * predictions as f64 + stats.spelling;
        Some(total / stats.characters.max(1) as f64 / std::f64::consts::LN_2)
    }
}
