//! Which network fits: cell, units, layers, steps and bits for a board's slot, its memory and a speed.
//!
//! Candidates are the forms that gave the best text for their bytes (`models/RUNS.md`); each is made as large as fits. Sizes
//! and memory are those of an image that is really made, of weights of zeros; the speed is predicted from it.

use crate::data::tokenizer::Vocabulary;
use crate::inference::model::{BuildError, ModelBytes};
use crate::network::Provenance;
use crate::training::config::Config;
use crate::training::presets;
use crate::training::to_network::{Vocabularies, to_network};
use pipsqueak_boards::{BoardSpec, Prediction};
use std::time::Duration;

/// What there is.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Bytes for the image.
    pub flash: usize,
    /// The board, whose memory and speed count too.
    pub board: Option<&'static BoardSpec>,
    /// Tokens a second that the board shall give at least.
    pub speed: f64,
}

/// How long a training for a budget takes, if nothing else is given.
pub const TIME: Duration = Duration::from_secs(7 * 60);

/// A network, and what it takes.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct FittedConfig {
    /// Units of each layer.
    pub hidden_size: usize,
    /// Layers.
    pub layers: usize,
    /// Recurrent steps for each token.
    pub steps_per_token: usize,
    /// Columns of the embedding; 0: a table.
    pub embedding_dim: usize,
    /// Bits of the layers' weights.
    pub weight_bits: u8,
    /// Bits of the first layer's weights over its input.
    pub input_weight_bits: u8,
    /// Bits of the output layer's weights.
    pub output_weight_bits: u8,
    /// Bytes of the model file.
    pub bytes: usize,
    /// Bytes of memory that it works in.
    pub workspace: usize,
    /// Predicted tokens a second, where a board is known.
    pub speed: Option<f64>,
}

/// Why nothing fits.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// Not even a network of four units does.
    #[error(
        "no network fits into {flash} bytes with {tokens} different tokens at {speed} of them a second: the smallest takes {smallest} bytes; give more flash, fewer tokens or a lower speed"
    )]
    Nothing {
        /// The bytes that there are.
        flash: usize,
        /// Different tokens, V.
        tokens: usize,
        /// Tokens a second that were asked for.
        speed: f64,
        /// Bytes of the smallest network.
        smallest: usize,
    },
    /// An image cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A form of network.
struct Form {
    layers: usize,
    steps_per_token: usize,
    embedding: usize,
    bits: [u8; 2],
    /// Bytes from which it is better than those after it.
    from: usize,
}

/// The better ones first.
const FORMS: [Form; 3] = [
    Form {
        layers: 2,
        steps_per_token: 1,
        embedding: 0,
        bits: [4, 8],
        from: 400_000,
    },
    Form {
        layers: 1,
        steps_per_token: 2,
        embedding: 16,
        bits: [4, 4],
        from: 0,
    },
    Form {
        layers: 1,
        steps_per_token: 1,
        embedding: 16,
        bits: [4, 4],
        from: 0,
    },
];

/// A form that has to be smaller than this part of the next one's units, to be as fast as is asked for, is worse than that.
const WORTH: f64 = 0.6;

/// The most units that are tried, as a number of [`STEP`]s: larger networks learn a text by heart before they are of use.
const MOST: usize = 256;
/// Columns of the embedding of words.
const WORD_EMBEDDING: usize = 64;
/// Units are a multiple of this.
const STEP: usize = 4;

/// Bytes that a model file keeps of the description of a split.
const MAX_SPLIT: usize = 64;

/// What a model file has besides the network.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The settings, of which those of the network are replaced.
    pub config: &'a Config,
    /// The tokens.
    pub vocabulary: &'a Vocabulary,
    /// The name of the text, which the file keeps.
    pub corpus: &'a str,
}

/// The largest network of the best form that fits. No training of it makes a larger model file.
///
/// # Errors
/// If not even the smallest fits, or a model file cannot be made.
pub fn fit(target: Target, budget: Budget) -> Result<FittedConfig, FitError> {
    let mut best: Option<FittedConfig> = None;
    for form in FORMS.iter().filter(|form| budget.flash >= form.from) {
        // The most steps that fit, by halving: everything grows with the units.
        let (mut fits, mut beyond) = (0, MOST + 1);
        while beyond - fits > 1 {
            let middle = fits.midpoint(beyond);
            let small = form.least_bytes(STEP * middle) <= budget.flash;
            if small && budget.holds(&form.sized(STEP * middle, &target, budget.board)?) {
                fits = middle;
            } else {
                beyond = middle;
            }
        }
        if fits == 0 {
            continue;
        }
        let found = form.sized(STEP * fits, &target, budget.board)?;
        let smaller =
            |best: &FittedConfig| (best.hidden_size as f64) < WORTH * found.hidden_size as f64;
        if best.as_ref().is_none_or(smaller) {
            best = Some(found);
        }
    }
    let smallest = FORMS[2].sized(STEP, &target, budget.board)?;
    best.ok_or(FitError::Nothing {
        flash: budget.flash,
        tokens: target.vocabulary.len(),
        speed: budget.speed,
        smallest: smallest.bytes,
    })
}

impl Budget {
    fn holds(&self, fit: &FittedConfig) -> bool {
        let memory = self
            .board
            .is_none_or(|board| fit.workspace <= 4 * board.workspace_words);
        let fast = fit.speed.is_none_or(|speed| speed >= self.speed);
        fit.bytes <= self.flash && memory && fast
    }
}

impl Form {
    /// The bytes of the recurrent weights alone: a model file that is too large by these need not be made.
    fn least_bytes(&self, hidden_size: usize) -> usize {
        let matrices = 2 * self.layers - 1;
        3 * hidden_size * hidden_size * matrices * usize::from(self.bits[0]) / 8
    }

    /// A network of this form with so many units, as a model file.
    fn sized(
        &self,
        hidden_size: usize,
        target: &Target,
        board: Option<&BoardSpec>,
    ) -> Result<FittedConfig, BuildError> {
        // Many tokens differ in more than a few ways.
        let embedding_dim = match target.vocabulary.len() {
            ..=256 => self.embedding,
            _ => WORD_EMBEDDING,
        };
        let fit = FittedConfig {
            hidden_size,
            layers: self.layers,
            steps_per_token: self.steps_per_token,
            embedding_dim,
            weight_bits: self.bits[0],
            // An embedding's few columns cost more in 4 bits than their bytes are worth.
            input_weight_bits: if embedding_dim > 0 { 8 } else { self.bits[0] },
            output_weight_bits: self.bits[1],
            bytes: 0,
            workspace: 0,
            speed: None,
        };
        let mut config = target.config.clone();
        fit.apply_to(&mut config);
        let model = config.language_model(target.vocabulary.len());
        // Weights of zeros are on any grid, and take as many bytes as others.
        let weights = vec![0.0; model.num_parameters()];
        let vocabularies = Vocabularies {
            input: target.vocabulary.clone(),
            ..Vocabularies::default()
        };
        let network = to_network(&model, &weights, &vocabularies, target.provenance());
        let bytes = ModelBytes::of(&network, &config.weight_formats())?;
        let image = bytes.model();
        Ok(FittedConfig {
            bytes: image.len(),
            workspace: 4 * image.workspace_len(),
            speed: board.map(|board| Prediction::new(board, &bytes.model()).characters_per_second),
            ..fit
        })
    }
}

impl Target<'_> {
    /// The largest that a training can write into the model file.
    fn provenance(&self) -> Provenance {
        Provenance {
            corpus: self.corpus.into(),
            split: "x".repeat(MAX_SPLIT),
            steps: u32::MAX.into(),
            seed: self.config.optimizer.seed,
            train_loss: Some(1e9),
            validation_loss: Some(1e9),
        }
    }
}

/// Layers of so many units are trained in larger batches, which is faster.
const LARGE: usize = 300;

impl FittedConfig {
    /// Settings of this network, for a text with `characters` characters to train on. Those that do not depend on the network are
    /// those of `config`.
    pub fn config(&self, config: &Config, characters: usize) -> Config {
        let recipe = presets::text(config.data.tokenizer, Some(self.hidden_size), characters);
        let mut fitted = config.clone();
        fitted.model.dropout = recipe.model.dropout;
        fitted.optimizer.learning_rate = recipe.optimizer.learning_rate;
        fitted.optimizer.weight_decay = recipe.optimizer.weight_decay;
        if self.layers > 1 {
            (fitted.model.dropout, fitted.optimizer.weight_decay) = (0.4, 0.1);
            fitted.optimizer.learning_rate = 4e-3;
        }
        if self.layers > 1 || self.hidden_size >= LARGE {
            fitted.optimizer.batch_size = 64;
        }
        self.apply_to(&mut fitted);
        fitted
    }

    /// Makes the settings those of this network.
    pub fn apply_to(&self, config: &mut Config) {
        let model = &mut config.model;
        model.hidden_size = self.hidden_size;
        model.layers = self.layers;
        model.steps_per_token = self.steps_per_token;
        model.embedding_dim = self.embedding_dim;
        model.tie_embeddings = false;
        let quantization = &mut config.quantization;
        quantization.weight_bits = self.weight_bits;
        quantization.input_weight_bits = Some(self.input_weight_bits);
        quantization.output_weight_bits = self.output_weight_bits;
    }
}
