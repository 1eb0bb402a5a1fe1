//! Recurrent layers for training: float forward and back-propagation through time, on one thread's rows of the batch.
//!
//! A layer's weights, and their gradient, are one flat slice, so that the optimizer and checkpoints need to know nothing
//! of cells. A further kind of cell is a file beside `gru.rs`, a variant of [`Kind`] and of [`network::RecurrentCell`].

pub mod elman;
pub mod gru;
pub mod lstm;
pub mod recurrence;

use std::fmt::{self, Display};
use std::ops::Range;
use std::str::FromStr;

use crate::network;
use crate::nn::gemm::Packed;
use crate::nn::simd::Float;
use crate::nn::tensor::{LANES, Lanes, Series, TILE, place};

/// Which recurrent cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Gated recurrent unit, the reset gate after the recurrent product.
    #[default]
    Gru,
    /// Long short-term memory, with a forget gate and without peepholes.
    Lstm,
    /// The vanilla RNN, with tanh.
    Rnn,
}

/// The cells of a stack: one kind for all layers, or one for each from the first to the last. As text `gru` or `lstm,gru`.
///
/// ```
/// use trainer::nn::rnn::{Cells, Kind};
///
/// let cells: Cells = "lstm,gru".parse()?;
/// assert_eq!(cells.stack(2), Some(vec![Kind::Lstm, Kind::Gru]));
/// assert_eq!(cells.stack(3), None);
/// # Ok::<(), trainer::nn::rnn::CellError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cells(Vec<Kind>);

/// A cell that does not exist.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is not a cell: expected gru, lstm or rnn, or one of them for each layer, such as lstm,gru"
)]
pub struct CellError(String);

impl Cells {
    /// How many are named: 1, or as many as the layers.
    #[allow(clippy::len_without_is_empty)] // There is always one.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The cell of each of `layers` layers; none where another number is named.
    pub fn stack(&self, layers: usize) -> Option<Vec<Kind>> {
        match self.0[..] {
            [all] => Some(vec![all; layers]),
            _ => (self.0.len() == layers).then(|| self.0.clone()),
        }
    }
}

impl From<Kind> for Cells {
    fn from(kind: Kind) -> Self {
        Self(vec![kind])
    }
}

impl FromStr for Cells {
    type Err = CellError;

    fn from_str(text: &str) -> Result<Self, CellError> {
        let kind = |name: &str| match name.trim() {
            "gru" => Ok(Kind::Gru),
            "lstm" => Ok(Kind::Lstm),
            "rnn" => Ok(Kind::Rnn),
            other => Err(CellError(other.into())),
        };
        Ok(Self(text.split(',').map(kind).collect::<Result<_, _>>()?))
    }
}

impl TryFrom<String> for Cells {
    type Error = CellError;

    fn try_from(text: String) -> Result<Self, CellError> {
        text.parse()
    }
}

impl Cells {
    /// The cells of these layers, from the first to the last.
    pub fn of(layers: &[Kind]) -> Self {
        match layers {
            [first, others @ ..] if others.iter().all(|other| other == first) => Self(vec![*first]),
            _ => Self(layers.to_vec()),
        }
    }
}

impl Display for Cells {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, kind) in self.0.iter().enumerate() {
            let name = match kind {
                Kind::Gru => "gru",
                Kind::Lstm => "lstm",
                Kind::Rnn => "rnn",
            };
            write!(f, "{}{name}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl From<Cells> for String {
    fn from(cells: Cells) -> Self {
        cells.to_string()
    }
}

/// What a layer reads at each step, for all steps of a sequence.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// One-hot tokens, `[steps][groups]`: the input weights are a table with a column for each token.
    Tokens(&'a [[u16; LANES]]),
    /// The layer below, `[inputs][steps][batch]`.
    Series(&'a Series),
}

impl Input<'_> {
    /// `out = w x` of one slot and group, `w` `[rows][inputs]`, as it is and packed: for tokens a column of the table each, else
    /// a product.
    #[inline(always)]
    fn project(
        self,
        float: Float,
        (w, packed): (&[f32], &Packed<TILE>),
        inputs: usize,
        [slot, group, groups]: [usize; 3],
        out: &mut [Lanes],
    ) {
        match self {
            Input::Tokens(tokens) => {
                let tokens = &tokens[place(slot, group, groups)];
                for (out, table) in out.iter_mut().zip(w.chunks_exact(inputs)) {
                    for (out, token) in out.iter_mut().zip(tokens) {
                        *out = table[usize::from(*token)];
                    }
                }
            }
            Input::Series(series) => packed.multiply(float, series.block(slot, group), out),
        }
    }
}

/// States that were handed to another network, each row's after a number of steps of its own.
#[derive(Clone, Copy, Debug)]
pub struct Handed<'a> {
    /// After how many steps each row's state was taken, 1 to T: `[B]`.
    pub steps: &'a [usize],
    /// The loss's gradient by these states, laid out as [`Cell::state`].
    pub gradient: &'a [f32],
}

impl Handed<'_> {
    /// Adds the gradients of the rows that were taken after `step` steps to those by the states there, slots 0.
    fn add_to(self, carry_h: &mut Series, carry_c: &mut Series, step: usize) {
        let (batch, units) = (self.steps.len(), carry_h.features());
        for (row, _) in self.steps.iter().enumerate().filter(|(_, at)| **at == step) {
            let gradient = self.gradient.iter().skip(row).step_by(batch);
            for (feature, value) in gradient.enumerate() {
                *match feature.checked_sub(units) {
                    None => carry_h.get_mut(feature, 0, row),
                    Some(feature) => carry_c.get_mut(feature, 0, row),
                } += value;
            }
        }
    }
}

/// One recurrent layer over its part of the batch: its state and what the backward pass must remember.
pub trait Cell: Send {
    /// Runs all steps from the current state, and leaves the last state there.
    ///
    /// # Panics
    /// If `weights` or `input` have other shapes than the cell was made for.
    fn forward(&mut self, weights: &[f32], input: Input);

    /// What the last forward pass gave, `[units][steps][batch]`.
    fn output(&self) -> &Series;

    /// The states of the last forward pass, each row's after a number of steps of its own, 0 to T, laid out as
    /// [`state`](Self::state).
    ///
    /// # Panics
    /// If there are not B numbers, or one is above T.
    fn states_after(&self, steps: &[usize]) -> Vec<f32>;

    /// Back-propagation through the last forward pass.
    ///
    /// `above` is the loss's gradient by the output, `[units][steps][batch]`, `handed` that by states that others took. That by
    /// the weights is added to `gradient`; that by the input replaces `below`, `[inputs][steps][batch]`, where given.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    fn backward(
        &mut self,
        weights: &[f32],
        input: Input,
        above: &Series,
        handed: Option<Handed>,
        gradient: &mut [f32],
        below: Option<&mut Series>,
    );

    /// The gradient by the state before the first step, which the last backward pass found, laid out as [`state`](Self::state).
    fn start_gradient(&self) -> Vec<f32>;

    /// The state that the next forward pass starts from: `[H][B]`, of an LSTM `h` and then `c`.
    fn state(&self) -> Vec<f32>;

    /// Sets the state that the next forward pass starts from.
    ///
    /// # Panics
    /// If there are not as many values.
    fn set_state(&mut self, state: &[f32]);

    /// Sets the state of these rows of the batch to zeros.
    fn reset(&mut self, rows: Range<usize>);
}

impl Kind {
    /// A cell with a state of zeros.
    pub fn cell(self, units: usize, steps: usize, batch: usize) -> Box<dyn Cell> {
        match self {
            Kind::Gru => Box::new(gru::Gru::new(units, steps, batch)),
            Kind::Lstm => Box::new(lstm::Lstm::new(units, steps, batch)),
            Kind::Rnn => Box::new(elman::Rnn::new(units, steps, batch)),
        }
    }

    /// How many weights a layer has: first the matrices, which decay, then the biases, which do not.
    pub fn parameters(self, inputs: usize, units: usize) -> (usize, usize) {
        match self {
            Kind::Gru => recurrence::parameters::<gru::GruGates, 3>(inputs, units),
            Kind::Lstm => recurrence::parameters::<lstm::LstmGates, 4>(inputs, units),
            Kind::Rnn => recurrence::parameters::<elman::RnnGates, 1>(inputs, units),
        }
    }

    /// Makes good first weights of random ones, uniform within `1 / sqrt(H)`.
    ///
    /// A GRU and an LSTM keep them.
    pub fn initialize(self, weights: &mut [f32], inputs: usize, units: usize) {
        match self {
            Kind::Gru | Kind::Lstm => {}
            Kind::Rnn => elman::initialize(weights, inputs, units),
        }
    }

    /// The kind of a layer and its weights as one flat slice, where it can be trained here: the inverse of
    /// [`layer`](Self::layer), with biases that only add to others put into them.
    pub fn of(layer: &network::RecurrentCell) -> Option<(Self, Vec<f32>)> {
        let kind = match layer {
            _ if !layer.has_standard_activations() => return None,
            network::RecurrentCell::Gru(gru) if gru.linear_before_reset => Self::Gru,
            network::RecurrentCell::Gru(_) => return None,
            network::RecurrentCell::Lstm(_) => Self::Lstm,
            network::RecurrentCell::Rnn(_) => Self::Rnn,
        };
        let (w, r, wb, rb) = layer.weights();
        let apart = match kind {
            Self::Gru => 2 * layer.hidden(),
            _ => rb.len(),
        };
        let mut weights = [&w.data[..], &r.data, wb].concat();
        let biases = weights.len() - wb.len();
        for (sum, bias) in weights[biases..].iter_mut().zip(&rb[..apart]) {
            *sum += bias;
        }
        weights.extend(&rb[apart..]);
        Some((kind, weights))
    }

    /// The weights as a layer of the canonical network.
    ///
    /// # Panics
    /// If there are not as many weights as [`parameters`](Self::parameters) says.
    pub fn layer(self, weights: &[f32], inputs: usize, units: usize) -> network::RecurrentCell {
        match self {
            Kind::Gru => network::RecurrentCell::Gru(gru::layer(weights, inputs, units)),
            Kind::Lstm => network::RecurrentCell::Lstm(lstm::layer(weights, inputs, units)),
            Kind::Rnn => network::RecurrentCell::Rnn(elman::layer(weights, inputs, units)),
        }
    }
}
