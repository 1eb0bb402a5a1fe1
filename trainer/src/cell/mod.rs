//! Recurrent layers for training: float forward and back-propagation through time, on one thread's rows of the batch.
//!
//! A layer's weights, and their gradient, are one flat slice, so that the optimizer and checkpoints need to know nothing
//! of cells. A further kind of cell is a file beside `gru.rs`, a variant of [`Kind`] and of [`network::Layer`].

pub mod embedding;
pub mod gru;
pub mod lstm;
pub mod rnn;

use std::fmt::{self, Display};
use std::str::FromStr;

use crate::gemm::{MatrixMut, MatrixRef, Target, multiply};
use crate::math::{sum, vectorized};
use crate::network;
use crate::series::Series;

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
/// use trainer::cell::{Cells, Kind};
///
/// let cells: Cells = "lstm,gru".parse()?;
/// assert_eq!(cells.stack(2), Some(vec![Kind::Lstm, Kind::Gru]));
/// assert_eq!(cells.stack(3), None);
/// # Ok::<(), trainer::cell::CellError>(())
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
    /// One-hot tokens, `[steps][batch]`: the input weights are a table with a column for each token.
    Tokens(&'a [u16]),
    /// The layer below, `[inputs][steps][batch]`.
    Series(&'a Series),
}

impl Input<'_> {
    /// `out = w x` of all steps, `w` `[rows][inputs]`: for tokens a column of the table each, else one product.
    fn project(self, w: &[f32], out: &mut Series) {
        let rows = out.features();
        match self {
            Input::Tokens(tokens) => {
                for (row, table) in w.chunks_exact(w.len() / rows).enumerate() {
                    let out = out.row_mut(row);
                    assert_eq!(tokens.len(), out.len(), "tokens of a sequence");
                    for (out, token) in out.iter_mut().zip(tokens) {
                        *out = table[usize::from(*token)];
                    }
                }
            }
            Input::Series(series) => {
                let w = MatrixRef::new(w, rows, series.features());
                multiply(out.steps_mut(), Target::Replace, w, series.steps());
            }
        }
    }

    /// Adds to `dw`, `[rows][inputs]`, the gradient by the weights whose products have the first `rows` rows of `d` as theirs.
    fn weights_backward(self, d: &Series, dw: &mut [f32], inputs: usize) {
        let rows = dw.len() / inputs;
        match self {
            Input::Tokens(tokens) => {
                for (row, table) in dw.chunks_exact_mut(inputs).enumerate() {
                    for (d, token) in d.row(row).iter().zip(tokens) {
                        table[usize::from(*token)] += d;
                    }
                }
            }
            Input::Series(series) => {
                let dw = MatrixMut::new(dw, rows, inputs);
                let x = series.steps().transposed();
                multiply(dw, Target::Add, d.rows(0, rows), x);
            }
        }
    }
}

/// Adds to `db` the gradient by the biases of the rows of `d` from `first` on.
fn biases_backward(d: &Series, first: usize, db: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for (row, db) in db.iter_mut().enumerate() {
                *db += sum(d.row(first + row));
            }
        },
    );
}

/// Backward from `d`, the gradient by the sums `w x + u h + b` of all steps, where `h` is the output: adds to `gradient`, laid
/// out `w`, `u`, `b`, and sets `below`, the gradient by `x`.
fn sums_backward(
    d: &Series,
    h: &Series,
    w: &[f32],
    input: Input,
    gradient: &mut [f32],
    below: Option<&mut Series>,
) {
    let (rows, units) = (d.features(), h.features());
    let inputs = w.len() / rows;
    let (dw, rest) = gradient.split_at_mut(rows * inputs);
    let (du, db) = rest.split_at_mut(rows * units);
    input.weights_backward(d, dw, inputs);
    biases_backward(d, 0, db);
    multiply(
        MatrixMut::new(du, rows, units),
        Target::Add,
        d.steps(),
        h.steps_before().transposed(),
    );
    if let Some(below) = below {
        let w = MatrixRef::new(w, rows, inputs).transposed();
        multiply(below.steps_mut(), Target::Replace, w, d.steps());
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
    /// Adds the gradients of the rows that were taken after `step` steps to `carry`, that by the state there.
    fn add_to(self, carry: &mut [f32], step: usize) {
        let batch = self.steps.len();
        for (row, _) in self.steps.iter().enumerate().filter(|(_, at)| **at == step) {
            let gradient = self.gradient.iter().skip(row).step_by(batch);
            let carry = carry.iter_mut().skip(row).step_by(batch);
            carry.zip(gradient).for_each(|(sum, value)| *sum += value);
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
    fn start_gradient(&self) -> &[f32];

    /// The state that the next forward pass starts from: `[H][B]`, of an LSTM `h` and then `c`.
    fn state(&self) -> &[f32];

    /// The state that the next forward pass starts from.
    fn state_mut(&mut self) -> &mut [f32];
}

impl Kind {
    /// A cell with a state of zeros.
    pub fn cell(self, inputs: usize, units: usize, steps: usize, batch: usize) -> Box<dyn Cell> {
        match self {
            Kind::Gru => Box::new(gru::Gru::new(inputs, units, steps, batch)),
            Kind::Lstm => Box::new(lstm::Lstm::new(inputs, units, steps, batch)),
            Kind::Rnn => Box::new(rnn::Rnn::new(inputs, units, steps, batch)),
        }
    }

    /// How many weights a layer has: first the matrices, which decay, then the biases, which do not.
    pub fn parameters(self, inputs: usize, units: usize) -> (usize, usize) {
        match self {
            Kind::Gru => gru::parameters(inputs, units),
            Kind::Lstm => lstm::parameters(inputs, units),
            Kind::Rnn => rnn::parameters(inputs, units),
        }
    }

    /// Makes good first weights of random ones, uniform within `1 / sqrt(H)`.
    ///
    /// A GRU and an LSTM keep them.
    pub fn initialize(self, weights: &mut [f32], inputs: usize, units: usize) {
        match self {
            Kind::Gru | Kind::Lstm => {}
            Kind::Rnn => rnn::initialize(weights, inputs, units),
        }
    }

    /// The kind of a layer and its weights as one flat slice, where it can be trained here: the inverse of
    /// [`layer`](Self::layer), with biases that only add to others put into them.
    pub fn of(layer: &network::Layer) -> Option<(Self, Vec<f32>)> {
        let kind = match layer {
            _ if !layer.is_usual() => return None,
            network::Layer::Gru(gru) if gru.linear_before_reset => Self::Gru,
            network::Layer::Gru(_) => return None,
            network::Layer::Lstm(_) => Self::Lstm,
            network::Layer::Rnn(_) => Self::Rnn,
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
    pub fn layer(self, weights: &[f32], inputs: usize, units: usize) -> network::Layer {
        match self {
            Kind::Gru => network::Layer::Gru(gru::layer(weights, inputs, units)),
            Kind::Lstm => network::Layer::Lstm(lstm::layer(weights, inputs, units)),
            Kind::Rnn => network::Layer::Rnn(rnn::layer(weights, inputs, units)),
        }
    }
}
