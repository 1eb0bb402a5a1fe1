//! Which network fits: cell, units, layers, steps and bits for a board's slot, its memory and a speed.
//!
//! Candidates are the forms that gave the best text for their bytes (`models/RUNS.md`); each is made as large as fits. Sizes
//! and memory are those of an image that is really made, of weights of zeros; the speed is predicted from it.

use crate::data::tokenizer::Vocabulary;
use crate::inference::model::{BuildError, ImageBytes};
use crate::network::Provenance;
use crate::training::settings::TrainSettings;
use pipsqueak_boards::{BoardSpec, Prediction};

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

/// A network, and what it takes.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Fit {
    /// Units of each layer.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Recurrent steps for each token.
    pub steps_per_token: usize,
    /// Columns of the embedding; 0: a table.
    pub embedding: usize,
    /// Bits of the layers' weights.
    pub bits: u8,
    /// Bits of the first layer's weights over its input.
    pub input_bits: u8,
    /// Bits of the head's weights.
    pub head_bits: u8,
    /// Bytes of the image.
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

/// The largest network of the best form that fits. Of `settings` only the shape of tokens matters.
///
/// # Errors
/// If not even the smallest fits, or an image cannot be made.
pub fn fit(
    settings: &TrainSettings,
    vocabulary: &Vocabulary,
    budget: Budget,
) -> Result<Fit, FitError> {
    let mut best: Option<Fit> = None;
    for form in FORMS.iter().filter(|form| budget.flash >= form.from) {
        // The most steps that fit, by halving: everything grows with the units.
        let (mut fits, mut beyond) = (0, MOST + 1);
        while beyond - fits > 1 {
            let middle = fits.midpoint(beyond);
            let small = form.least_bytes(STEP * middle) <= budget.flash;
            if small
                && budget.holds(&form.sized(STEP * middle, settings, vocabulary, budget.board)?)
            {
                fits = middle;
            } else {
                beyond = middle;
            }
        }
        if fits == 0 {
            continue;
        }
        let found = form.sized(STEP * fits, settings, vocabulary, budget.board)?;
        let smaller = |best: &Fit| (best.hidden as f64) < WORTH * found.hidden as f64;
        if best.as_ref().is_none_or(smaller) {
            best = Some(found);
        }
    }
    let smallest = FORMS[2].sized(STEP, settings, vocabulary, budget.board)?;
    best.ok_or(FitError::Nothing {
        flash: budget.flash,
        tokens: vocabulary.len(),
        speed: budget.speed,
        smallest: smallest.bytes,
    })
}

impl Budget {
    fn holds(&self, fit: &Fit) -> bool {
        let memory = self
            .board
            .is_none_or(|board| fit.workspace <= 4 * board.workspace_words);
        let fast = fit.speed.is_none_or(|speed| speed >= self.speed);
        fit.bytes <= self.flash && memory && fast
    }
}

impl Form {
    /// The bytes of the recurrent weights alone: an image that is too large by these need not be made.
    fn least_bytes(&self, hidden: usize) -> usize {
        let matrices = 2 * self.layers - 1;
        3 * hidden * hidden * matrices * usize::from(self.bits[0]) / 8
    }

    /// A network of this form with so many units, as an image.
    fn sized(
        &self,
        hidden: usize,
        settings: &TrainSettings,
        vocabulary: &Vocabulary,
        board: Option<&BoardSpec>,
    ) -> Result<Fit, BuildError> {
        // Many tokens differ in more than a few ways.
        let embedding = match vocabulary.len() {
            ..=256 => self.embedding,
            _ => WORD_EMBEDDING,
        };
        let fit = Fit {
            hidden,
            layers: self.layers,
            steps_per_token: self.steps_per_token,
            embedding,
            bits: self.bits[0],
            // An embedding's few columns cost more in 4 bits than their bytes are worth.
            input_bits: if embedding > 0 { 8 } else { self.bits[0] },
            head_bits: self.bits[1],
            bytes: 0,
            workspace: 0,
            speed: None,
        };
        let mut settings = settings.clone();
        fit.put_into(&mut settings);
        let shape = settings.shape(vocabulary.len());
        // Weights of zeros are on any grid, and take as many bytes as others.
        let weights = vec![0.0; shape.parameters()];
        let network = shape.network(&weights, vocabulary, Provenance::default());
        let bytes = ImageBytes::of(&network, &settings.widths())?;
        let image = bytes.image();
        Ok(Fit {
            bytes: image.len(),
            workspace: 4 * image.workspace_len(),
            speed: board.map(|board| Prediction::new(board, &bytes.image()).characters_per_second),
            ..fit
        })
    }
}

impl Fit {
    /// Makes `settings` those of this network.
    pub fn put_into(&self, settings: &mut TrainSettings) {
        settings.hidden = self.hidden;
        settings.layers = self.layers;
        settings.steps_per_token = self.steps_per_token;
        settings.embedding = self.embedding;
        settings.tied = false;
        settings.bits = self.bits;
        settings.input_bits = Some(self.input_bits);
        settings.head_bits = self.head_bits;
    }
}
