//! The recurrent cells and one float step of each.

use super::Matrix;

/// A function of one value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// `x`
    #[default]
    Linear,
    /// `tanh x`
    Tanh,
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `max(0, x)`
    Relu,
    /// `alpha x + beta`, within 0 to 1. Keras 2 has 0.2 and 0.5, Keras 3 1/6 and 0.5.
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
}

impl Activation {
    /// The function's value.
    pub fn of(self, x: f32) -> f32 {
        match self {
            Activation::Linear => x,
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Relu => x.max(0.0),
            Activation::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
        }
    }
}

/// The two functions of a gated cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activations {
    /// Of the gates, usually sigmoid.
    pub gate: Activation,
    /// Of the candidate, and of an LSTM's cell state on its way out; usually tanh.
    pub candidate: Activation,
}

impl Default for Activations {
    /// Sigmoid and tanh: all that the integer runtime has.
    fn default() -> Self {
        Self {
            gate: Activation::Sigmoid,
            candidate: Activation::Tanh,
        }
    }
}

/// One GRU layer with `H` units and `I` inputs; gates in the order `z, r, h`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gru {
    /// Input weights, `[3H][I]`.
    pub w: Matrix,
    /// Recurrent weights, `[3H][H]`.
    pub r: Matrix,
    /// Input biases, `[3H]`.
    pub wb: Vec<f32>,
    /// Recurrent biases, `[3H]`.
    pub rb: Vec<f32>,
    /// Whether the reset gate multiplies the recurrent product (true: PyTorch, Keras `reset_after`) or the state before it (false).
    pub linear_before_reset: bool,
    /// Usually the default.
    pub activations: Activations,
}

/// One LSTM layer with `H` units and `I` inputs; gates in the order `i, o, f, c`.
#[derive(Clone, Debug, PartialEq)]
pub struct Lstm {
    /// Input weights, `[4H][I]`.
    pub w: Matrix,
    /// Recurrent weights, `[4H][H]`.
    pub r: Matrix,
    /// Input biases, `[4H]`.
    pub wb: Vec<f32>,
    /// Recurrent biases, `[4H]`.
    pub rb: Vec<f32>,
    /// Usually the default.
    pub activations: Activations,
}

/// One plain recurrent layer with `H` units and `I` inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Rnn {
    /// Input weights, `[H][I]`.
    pub w: Matrix,
    /// Recurrent weights, `[H][H]`.
    pub r: Matrix,
    /// Input biases, `[H]`.
    pub wb: Vec<f32>,
    /// Recurrent biases, `[H]`.
    pub rb: Vec<f32>,
    /// Usually tanh.
    pub activation: Activation,
}

/// The kind and the weights of a recurrent layer.
#[derive(Clone, Debug, PartialEq)]
pub enum RecurrentCell {
    /// Gated recurrent unit.
    Gru(Gru),
    /// Long short-term memory.
    Lstm(Lstm),
    /// Plain recurrent network, `h' = tanh(W x + R h + b)`.
    Rnn(Rnn),
}

impl Gru {
    /// Units, H.
    pub fn hidden(&self) -> usize {
        self.r.columns
    }

    /// Inputs, I.
    pub fn inputs(&self) -> usize {
        self.w.columns
    }
}

impl Lstm {
    /// Units, H.
    pub fn hidden(&self) -> usize {
        self.r.columns
    }
}

impl Rnn {
    /// Units, H.
    pub fn hidden(&self) -> usize {
        self.r.columns
    }
}

impl RecurrentCell {
    /// The cell's name, as ONNX has it.
    pub fn name(&self) -> &'static str {
        match self {
            RecurrentCell::Gru(_) => "GRU",
            RecurrentCell::Lstm(_) => "LSTM",
            RecurrentCell::Rnn(_) => "RNN",
        }
    }

    /// `w`, `r`, `wb` and `rb`.
    pub fn weights(&self) -> (&Matrix, &Matrix, &[f32], &[f32]) {
        match self {
            RecurrentCell::Gru(Gru { w, r, wb, rb, .. })
            | RecurrentCell::Lstm(Lstm { w, r, wb, rb, .. })
            | RecurrentCell::Rnn(Rnn { w, r, wb, rb, .. }) => (w, r, wb, rb),
        }
    }

    /// The weights over the input and over the hidden state.
    pub(super) fn weights_mut(&mut self) -> (&mut Matrix, &mut Matrix) {
        match self {
            RecurrentCell::Gru(Gru { w, r, .. })
            | RecurrentCell::Lstm(Lstm { w, r, .. })
            | RecurrentCell::Rnn(Rnn { w, r, .. }) => (w, r),
        }
    }

    /// The gates in the order of their rows.
    pub fn gates(&self) -> &'static [&'static str] {
        match self {
            RecurrentCell::Gru(_) => &["z", "r", "h"],
            RecurrentCell::Lstm(_) => &["i", "o", "f", "c"],
            RecurrentCell::Rnn(_) => &["h"],
        }
    }

    /// Number of gates: blocks of H rows of the weights.
    pub fn num_gates(&self) -> usize {
        self.gates().len()
    }

    /// Hidden size, H.
    pub fn hidden(&self) -> usize {
        self.weights().1.columns
    }

    /// Inputs, I.
    pub fn inputs(&self) -> usize {
        self.weights().0.columns
    }

    /// Whether there is a cell state besides the hidden state.
    pub fn has_cell(&self) -> bool {
        matches!(self, RecurrentCell::Lstm(_))
    }

    /// Whether its activations are the standard ones: sigmoid and tanh.
    pub fn has_standard_activations(&self) -> bool {
        match self {
            RecurrentCell::Gru(Gru { activations, .. })
            | RecurrentCell::Lstm(Lstm { activations, .. }) => {
                *activations == Activations::default()
            }
            RecurrentCell::Rnn(rnn) => rnn.activation == Activation::Tanh,
        }
    }

    /// Number of weights and biases.
    pub fn parameters(&self) -> usize {
        let (w, r, wb, rb) = self.weights();
        w.data.len() + r.data.len() + wb.len() + rb.len()
    }

    /// One step: `h` and, in an LSTM, `c` become the next states, `[H]`.
    pub(crate) fn step(&self, x: LayerInput, h: &mut Vec<f32>, c: &mut [f32]) {
        match self {
            RecurrentCell::Gru(gru) => gru.step(x, h),
            RecurrentCell::Lstm(lstm) => lstm.step(x, h, c),
            RecurrentCell::Rnn(rnn) => rnn.step(x, h),
        }
    }
}

/// What a layer gets at a step.
#[derive(Clone, Copy)]
pub(crate) enum LayerInput<'a> {
    /// A vector that is 1 at the token and 0 elsewhere.
    OneHot(usize),
    /// Any vector.
    Vector(&'a [f32]),
}

impl LayerInput<'_> {
    /// `w[row] * x`
    fn dot(&self, w: &Matrix, row: usize) -> f32 {
        match self {
            LayerInput::OneHot(token) => w.row(row)[*token],
            LayerInput::Vector(x) => w.dot(row, x),
        }
    }
}

impl Gru {
    /// `z = s(Wz x + Uz h)`, `r = s(Wr x + Ur h)`, biases implied, then
    /// `n = tanh(Wh x + Wbh + r * (Uh h + Rbh))` with `linear_before_reset`, else `tanh(Wh x + Wbh + Uh (r * h) + Rbh)`;
    /// `h' = (1 - z) * n + z * h`.
    fn step(&self, input: LayerInput, h: &mut Vec<f32>) {
        let units = self.hidden();
        let Activations { gate, candidate } = self.activations;
        let x = |row: usize| input.dot(&self.w, row) + self.wb[row];
        let u = |row: usize, h: &[f32]| self.r.dot(row, h) + self.rb[row];
        let r: Vec<f32> = (units..2 * units)
            .map(|row| gate.of(x(row) + u(row, h)))
            .collect();
        let reset: Vec<f32> = r.iter().zip(&*h).map(|(r, h)| r * h).collect();
        *h = (0..units)
            .map(|j| {
                let z = gate.of(x(j) + u(j, h));
                let row = 2 * units + j;
                let recurrent = if self.linear_before_reset {
                    r[j] * u(row, h)
                } else {
                    u(row, &reset)
                };
                let n = candidate.of(x(row) + recurrent);
                (1.0 - z) * n + z * h[j]
            })
            .collect();
    }
}

impl Lstm {
    /// `i, o, f = s(W x + R h)` of their rows, biases implied, `g = tanh(Wc x + Rc h)`;
    /// `c' = f * c + i * g`, `h' = o * tanh(c')`.
    fn step(&self, input: LayerInput, h: &mut Vec<f32>, c: &mut [f32]) {
        let units = self.hidden();
        let Activations { gate, candidate } = self.activations;
        let sum = |row: usize, h: &[f32]| {
            input.dot(&self.w, row) + self.wb[row] + self.r.dot(row, h) + self.rb[row]
        };
        *h = (0..units)
            .map(|j| {
                let [i, o, f] = [0, 1, 2].map(|k| gate.of(sum(k * units + j, h)));
                let g = candidate.of(sum(3 * units + j, h));
                c[j] = f * c[j] + i * g;
                o * candidate.of(c[j])
            })
            .collect();
    }
}

impl Rnn {
    /// `h' = tanh(W x + R h)`, biases implied.
    fn step(&self, input: LayerInput, h: &mut Vec<f32>) {
        *h = (0..self.hidden())
            .map(|j| {
                let sum = input.dot(&self.w, j) + self.wb[j] + self.r.dot(j, h) + self.rb[j];
                self.activation.of(sum)
            })
            .collect();
    }
}
