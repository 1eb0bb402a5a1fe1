//! The canonical float network: what training and the ONNX reader give, what the ONNX writer and the quantizer take.
//!
//! Every matrix is row-major, `[outputs][inputs]`. Gates stand in ONNX order: `z, r, h` for a GRU.
//! The step below is the plain reading of the equations. It is the float reference of everything else.

use crate::vocab::Vocabulary;

/// A dense matrix, row-major: `data[row * columns + column]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// Number of rows (outputs).
    pub rows: usize,
    /// Number of columns (inputs).
    pub columns: usize,
    /// `rows * columns` values.
    pub data: Vec<f32>,
}

impl Matrix {
    /// A matrix of `rows` x `columns` over `data`.
    ///
    /// # Panics
    /// If `data` does not hold `rows * columns` values.
    pub fn new(rows: usize, columns: usize, data: Vec<f32>) -> Self {
        assert_eq!(data.len(), rows * columns, "a {rows}x{columns} matrix");
        Self {
            rows,
            columns,
            data,
        }
    }

    /// Row `row`: `columns` values.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.columns..][..self.columns]
    }

    /// `matrix * x`, for one row.
    fn dot(&self, row: usize, x: &[f32]) -> f32 {
        // Eight partial sums let the compiler use vector registers.
        let row = self.row(row);
        let mut sums = [0f32; 8];
        let (a, a_rest) = row.as_chunks::<8>();
        let (b, b_rest) = x.as_chunks::<8>();
        for (a, b) in a.iter().zip(b) {
            for i in 0..8 {
                sums[i] += a[i] * b[i];
            }
        }
        sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
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

/// A recurrent layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Gated recurrent unit.
    Gru(Gru),
}

impl Layer {
    /// Units, H.
    pub fn hidden(&self) -> usize {
        match self {
            Layer::Gru(gru) => gru.hidden(),
        }
    }

    /// Inputs, I.
    pub fn inputs(&self) -> usize {
        match self {
            Layer::Gru(gru) => gru.inputs(),
        }
    }
}

/// A dense layer, `y = w x + b`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dense {
    /// Weights, `[V][H]`.
    pub w: Matrix,
    /// Biases, `[V]`.
    pub b: Vec<f32>,
}

/// Where a network comes from, as its files carry it. Losses are in nats per character.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Provenance {
    /// The corpus' file name, without its folder.
    pub corpus: String,
    /// Which part of the corpus was trained on, such as `first 90 %`.
    pub split: String,
    /// Optimizer steps done.
    pub steps: u64,
    /// Seed of the training.
    pub seed: u64,
    /// Loss on the training part, smoothed, at the end.
    pub train_loss: Option<f32>,
    /// Loss on the validation part at the end, as one stream.
    pub validation_loss: Option<f32>,
}

/// A token-level language model: tokens in, logits over the same vocabulary out.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The V tokens.
    pub vocabulary: Vocabulary,
    /// `[V][E]`, or none where the first layer's `w` takes a one-hot token (`E = V`).
    pub embedding: Option<Matrix>,
    /// At least one; the first has E inputs, each next one the units of the one before.
    pub layers: Vec<Layer>,
    /// `[V][H]` of the last layer's units.
    pub head: Dense,
    /// Corpus, split, losses.
    pub provenance: Provenance,
}

/// The hidden states of a [`Network`], zero at the start, and what a step needs for itself.
#[derive(Clone, Debug)]
pub struct FloatState {
    /// Hidden state of each layer, `[H]`.
    pub hidden: Vec<Vec<f32>>,
}

impl Network {
    /// Number of tokens, V.
    pub fn tokens(&self) -> usize {
        self.vocabulary.len()
    }

    /// Number of float parameters.
    pub fn parameters(&self) -> usize {
        let embedding = self.embedding.as_ref().map_or(0, |e| e.data.len());
        let layers: usize = self
            .layers
            .iter()
            .map(|Layer::Gru(g)| g.w.data.len() + g.r.data.len() + g.wb.len() + g.rb.len())
            .sum();
        embedding + layers + self.head.w.data.len() + self.head.b.len()
    }

    /// A state of zeros.
    pub fn state(&self) -> FloatState {
        FloatState {
            hidden: self.layers.iter().map(|l| vec![0.0; l.hidden()]).collect(),
        }
    }

    /// Feeds `token` to every layer.
    ///
    /// # Panics
    /// If `token` is not below [`tokens`](Self::tokens).
    pub fn step(&self, state: &mut FloatState, token: u16) {
        let token = usize::from(token);
        let mut below: Vec<f32> = Vec::new();
        for (depth, (Layer::Gru(gru), hidden)) in
            self.layers.iter().zip(&mut state.hidden).enumerate()
        {
            let input = match (depth, &self.embedding) {
                (0, None) => Input::OneHot(token),
                (0, Some(embedding)) => Input::Vector(embedding.row(token)),
                _ => Input::Vector(&below),
            };
            gru_step(gru, input, hidden);
            below.clone_from(hidden);
        }
    }

    /// Logits `[V]` of the last layer's state.
    pub fn logits(&self, state: &FloatState) -> Vec<f32> {
        let top = state.hidden.last().expect("a network has a layer");
        (0..self.head.w.rows)
            .map(|v| self.head.w.dot(v, top) + self.head.b[v])
            .collect()
    }
}

enum Input<'a> {
    OneHot(usize),
    Vector(&'a [f32]),
}

impl Input<'_> {
    /// `w[row] * input`
    fn dot(&self, w: &Matrix, row: usize) -> f32 {
        match self {
            Input::OneHot(token) => w.row(row)[*token],
            Input::Vector(x) => w.dot(row, x),
        }
    }
}

/// `z = s(Wz x + Uz h)`, `r = s(Wr x + Ur h)`, biases implied, then
/// `n = tanh(Wh x + Wbh + r * (Uh h + Rbh))` with `linear_before_reset`, else `tanh(Wh x + Wbh + Uh (r * h) + Rbh)`;
/// `h' = (1 - z) * n + z * h`.
fn gru_step(gru: &Gru, input: Input, h: &mut Vec<f32>) {
    let units = gru.hidden();
    let x = |row: usize| input.dot(&gru.w, row) + gru.wb[row];
    let u = |row: usize, h: &[f32]| gru.r.dot(row, h) + gru.rb[row];
    let r: Vec<f32> = (units..2 * units)
        .map(|row| sigmoid(x(row) + u(row, h)))
        .collect();
    let reset: Vec<f32> = r.iter().zip(&*h).map(|(r, h)| r * h).collect();
    *h = (0..units)
        .map(|j| {
            let z = sigmoid(x(j) + u(j, h));
            let row = 2 * units + j;
            let recurrent = if gru.linear_before_reset {
                r[j] * u(row, h)
            } else {
                u(row, &reset)
            };
            let n = (x(row) + recurrent).tanh();
            (1.0 - z) * n + z * h[j]
        })
        .collect();
}

/// `1 / (1 + e^-x)`
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// `-ln softmax(logits)[target]`, in nats.
pub fn nats(logits: &[f32], target: u16) -> f64 {
    let max = logits.iter().fold(f32::MIN, |a, &b| a.max(b));
    let sum: f64 = logits.iter().map(|&l| f64::from(l - max).exp()).sum();
    sum.ln() - f64::from(logits[usize::from(target)] - max)
}
