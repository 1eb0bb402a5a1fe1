//! The equations in f64, layer by layer, on the quantized values of a model.
//!
//! Vectors are in units of their last bit, and bounds of the errors are computed along with the values.

use pipsqueak::encode::{
    DenseParams, ModelParams, OpParams, QuantizedMatrix, RecurrentParams, TokenRows,
};
use pipsqueak::format::{Phase, VectorId};
use pipsqueak::{Activation, Cell, Session, WeightFormat};
use std::ops::Range;

pub const Q15: f64 = 32768.0;
pub const Q23: f64 = 8_388_608.0;
/// A cell state is read as a vector in Q5.10.
const CELL_VECTOR: f64 = 1024.0;

pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub fn pow2(bits: u32) -> f64 {
    f64::from(1u32 << bits)
}

fn to_i16(x: f64) -> f64 {
    x.clamp(-32768.0, 32767.0)
}

/// A value, and how far from it the integer may be.
pub type Near = (f64, f64);

pub fn exact<T: Copy + Into<f64>>(values: &[T]) -> Vec<Near> {
    values.iter().map(|&value| (value.into(), 0.0)).collect()
}

pub fn floats<T: Copy + Into<f64>>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// Checks that every value is within its bound, and returns the largest magnitude.
#[track_caller]
pub fn hold(what: &str, expected: &[Near], found: &[f64]) -> f64 {
    assert_eq!(expected.len(), found.len(), "{what}");
    for (place, ((value, error), found)) in expected.iter().zip(found).enumerate() {
        assert!(
            (value - found).abs() <= error + 1e-9,
            "{what} {place}: expected {value} to within {error}, found {found}"
        );
    }
    found.iter().fold(0.0, |most, found| most.max(found.abs()))
}

/// The real weights of a row: each times its group's scale. Int8 columns are one group, whose scale counts with
/// [`WeightFormat::Int8Scaled`] only.
fn weights(matrix: &QuantizedMatrix, row: usize) -> Vec<f64> {
    let width: usize = matrix.format.columns.iter().sum();
    let mut weights = matrix.weights[row * width..][..width].iter();
    let groups = matrix.scales.len() / matrix.bias.len();
    let mut scales = matrix.scales[row * groups..][..groups].iter();
    let mut out = vec![];
    for (columns, format) in matrix.format.columns.into_iter().zip(matrix.format.formats) {
        let group = match format {
            WeightFormat::Int8 | WeightFormat::Int8Scaled => usize::MAX,
            WeightFormat::Int4 => 32,
        };
        let mut scale = 1.0;
        for column in 0..columns {
            if column % group == 0 && groups > 0 {
                scale = f64::from(*scales.next().unwrap());
            }
            if format == WeightFormat::Int8 {
                scale = 1.0;
            }
            out.push(scale * f64::from(*weights.next().unwrap()));
        }
    }
    assert!(scales.next().is_none());
    out
}

/// `(matrix * x + bias + added) * multiplier`, without any rounding but the bias's half.
fn rows(matrix: &QuantizedMatrix, x: &[Near], added: impl Fn(usize) -> f64) -> Vec<Near> {
    let row = |index: usize| {
        let scale = matrix.multiplier[index];
        let weights = weights(matrix, index);
        let pairs = || weights.iter().copied().zip(x);
        let product: f64 = pairs().map(|(w, x)| w * x.0).sum();
        let error: f64 = pairs().map(|(w, x)| w.abs() * x.1).sum();
        let half = match scale.shift() {
            0 => 0.0,
            shift => pow2(shift - 1),
        };
        let sum = product + f64::from(matrix.bias[index]) - half + added(index);
        let factor = f64::from(scale.multiplier()) / pow2(15) / pow2(scale.shift());
        (to_i16(sum * factor), error * factor + 1.0)
    };
    assert_eq!(matrix.weights.len(), matrix.bias.len() * x.len());
    (0..matrix.bias.len()).map(row).collect()
}

/// The result of a dense layer.
fn dense(dense: &DenseParams, x: &[Near]) -> Vec<Near> {
    let mut out = rows(&dense.matrix, x, |_| 0.0);
    for (value, error) in &mut out {
        let pre = *value / 2048.0;
        // The slope is at most 1, and 1/4; a table's error is about one unit.
        (*value, *error) = match dense.activation {
            Activation::Linear => (*value, *error),
            Activation::Relu => (value.max(0.0), *error),
            Activation::Tanh => (pre.tanh() * Q15, *error * 16.0 + 2.1),
            Activation::Sigmoid => (sigmoid(pre) * Q15, *error * 4.0 + 2.1),
        };
    }
    out
}

/// The next hidden and cell state of a recurrent layer.
pub fn step(
    layer: &RecurrentParams,
    token: Option<&[i8]>,
    input: &[Near],
    h: &[Near],
    cell: &[Near],
) -> [Vec<Near>; 2] {
    let units = h.len();
    let one = pow2(15 - u32::from(layer.state_shift));
    let joined: Vec<Near> = input.iter().chain(h).copied().collect();
    let added = |gate: usize| {
        move |unit: usize| match token {
            Some(token) => {
                let at = gate * units + unit;
                f64::from(token[at]) * f64::from(layer.token_scales[at])
            }
            None => 0.0,
        }
    };
    // The input's error as if it went straight through every gate, and the rounding of pre-activations in Q4.11, the tables' and
    // the state's.
    let mut errors = vec![0.0; units];
    let mut gate = |gate: usize, x: &[Near], added: &dyn Fn(usize) -> f64| -> Vec<f64> {
        let rows = rows(&layer.gates[gate], x, added);
        let each = rows.into_iter().zip(&mut errors);
        each.map(|((value, error), sum)| {
            *sum += (error - 1.0) / 2048.0;
            value / 2048.0
        })
        .collect()
    };
    let (mut next, mut next_cell) = (vec![], vec![]);
    match layer.cell {
        Cell::Rnn => {
            for pre in gate(0, &joined, &added(0)) {
                next.push(pre.tanh() * one);
            }
        }
        Cell::Lstm => {
            let [i, o, f, g] = [0, 1, 2, 3].map(|n| gate(n, &joined, &added(n)));
            for unit in 0..units {
                let (old, old_error) = cell[unit];
                let kept = sigmoid(f[unit]) * old;
                let c = kept + sigmoid(i[unit]) * g[unit].tanh() * Q23;
                let c = c.clamp(f64::from(i32::MIN), f64::from(i32::MAX));
                let extra = old.abs() / Q23;
                errors[unit] = errors[unit] * (1.0 + extra) + old_error / Q23;
                next_cell.push((c, (8e-4 + 1.5e-4 * extra + errors[unit]) * Q23));
                errors[unit] += 1.5e-4 * extra + 2.5e-4;
                next.push(sigmoid(o[unit]) * (c / Q23).tanh() * one);
            }
        }
        Cell::GruResetAfter | Cell::GruResetBefore => {
            let z = gate(0, &joined, &added(0));
            let r = gate(1, &joined, &added(1));
            let candidate = if layer.cell == Cell::GruResetBefore {
                let reset = r.iter().zip(h).map(|(r, h)| (sigmoid(*r) * h.0, 0.5 + h.1));
                let joined: Vec<Near> = input.iter().copied().chain(reset).collect();
                gate(2, &joined, &added(2))
            } else {
                let recurrent = gate(2, h, &|_| 0.0);
                let input = match token {
                    Some(_) => (0..units)
                        .map(|unit| {
                            let bias = f64::from(layer.candidate_input_bias[unit]);
                            (bias + added(2)(unit)) / pow2(26)
                        })
                        .collect(),
                    None => gate(3, input, &|_| 0.0),
                };
                let end = 16.0 - 1.0 / 2048.0;
                (0..units)
                    .map(|n| (input[n] + sigmoid(r[n]) * recurrent[n]).clamp(-16.0, end))
                    .collect()
            };
            for unit in 0..units {
                let (z, n) = (sigmoid(z[unit]), candidate[unit].tanh() * one);
                next.push(n + z * (h[unit].0 - n));
                errors[unit] += h[unit].1 / one;
            }
        }
    }
    let round = if layer.state_shift > 0 { 1.0 } else { 0.0 };
    let next = next.into_iter().zip(errors);
    let next = next.map(|(h, error)| (to_i16(h), (8e-4 + error) * one + round));
    [next.collect(), next_cell]
}

/// What the caller gives for a step.
pub enum Given {
    Token(u16),
    Frame(Vec<i16>),
    Nothing,
}

/// The values of one layer.
#[derive(Clone, Default)]
struct Values {
    result: Vec<Near>,
    cell: Vec<Near>,
    /// The row of gate inputs.
    row: usize,
    /// The sums of a mean and its steps.
    sums: Vec<Near>,
    steps: f64,
}

/// A model that runs in f64.
pub struct Reference<'p> {
    params: &'p ModelParams<'static>,
    values: Vec<Values>,
    /// The largest magnitude of a hidden state, as a real number.
    pub largest_state: f64,
}

impl<'p> Reference<'p> {
    pub fn new(params: &'p ModelParams<'static>) -> Self {
        let mut reference = Self {
            params,
            values: vec![Values::default(); params.layers.len()],
            largest_state: 0.0,
        };
        for index in 0..params.layers.len() {
            let size = reference.size(index);
            let values = &mut reference.values[index];
            values.result = vec![(0.0, 0.0); size];
            values.sums = values.result.clone();
            if let OpParams::ConstantCell { values: cell } = &params.layers[index].op {
                values.cell = exact(cell);
            } else {
                values.cell = values.result.clone();
            }
        }
        reference
    }

    fn size(&self, index: usize) -> usize {
        let layer = &self.params.layers[index];
        match &layer.op {
            OpParams::Token { rows, .. } => match rows {
                TokenRows::Gates(_) => 0,
                TokenRows::Embedding { dim, .. } | TokenRows::Tied { dim, .. } => *dim,
            },
            OpParams::Frame { exponents } => exponents.len(),
            OpParams::Constant { values, .. } => values.len(),
            OpParams::ConstantCell { values } => values.len(),
            OpParams::Dense(dense) => dense.matrix.bias.len(),
            OpParams::Recurrent(recurrent) => recurrent.hidden_size,
            OpParams::Sum { .. } | OpParams::Mean => self.size(layer.inputs[0].layer()),
        }
    }

    /// 1 in the format of the result of layer `index`.
    fn one(&self, index: usize) -> f64 {
        let layer = &self.params.layers[index];
        match &layer.op {
            OpParams::Token { .. } | OpParams::Frame { .. } => Q15,
            OpParams::Constant { frac_bits, .. } | OpParams::Sum { frac_bits } => {
                pow2((*frac_bits).into())
            }
            OpParams::ConstantCell { .. } => Q23,
            OpParams::Dense(dense) => pow2(dense.frac_bits.into()),
            OpParams::Recurrent(recurrent) => pow2(15 - u32::from(recurrent.state_shift)),
            OpParams::Mean => self.one(layer.inputs[0].layer()),
        }
    }

    /// A vector, and 1 in its format.
    pub fn vector(&self, id: VectorId) -> (Vec<Near>, f64) {
        let values = &self.values[id.layer()];
        if !id.is_cell_state() {
            return (values.result.clone(), self.one(id.layer()));
        }
        let narrow = |&(c, error): &Near| {
            let unit = CELL_VECTOR / Q23;
            (to_i16(c * unit), error * unit + 0.5)
        };
        (values.cell.iter().map(narrow).collect(), CELL_VECTOR)
    }

    /// The joined inputs of layer `index`: each but the last is padded by zeros.
    fn joined(&self, index: usize) -> Vec<Near> {
        let mut joined: Vec<Near> = vec![];
        for &id in &self.params.layers[index].inputs {
            joined.resize(joined.len().next_multiple_of(4), (0.0, 0.0));
            joined.extend(self.vector(id).0);
        }
        joined
    }

    /// Runs the begin layers before `phase`, and sets the initial states of its recurrent layers.
    pub fn begin(&mut self, phase: Phase, features: &[i16]) {
        let layers = &self.params.layers;
        let source = layers.iter().position(|layer| layer.phase == Phase::Source);
        let before_source = |index: usize| source.is_none_or(|source| index < source);
        #[allow(clippy::needless_range_loop, reason = "`self` is borrowed in the loop")]
        for index in 0..layers.len() {
            let now = match source {
                Some(_) => before_source(index) == (phase == Phase::Source),
                None => true,
            };
            if layers[index].phase == Phase::Begin && now {
                self.run_layer(index, &Given::Frame(features.to_vec()), None);
            }
        }
        #[allow(clippy::needless_range_loop, reason = "`self` is borrowed in the loop")]
        for index in 0..layers.len() {
            if layers[index].phase == phase {
                self.initialize(index);
            }
        }
    }

    fn initialize(&mut self, index: usize) {
        let OpParams::Recurrent(recurrent) = &self.params.layers[index].op else {
            return;
        };
        if let Some(id) = recurrent.init[0] {
            let (values, unit) = self.vector(id);
            let one = self.one(index);
            // Rounded if the state has fewer bits.
            let round = if one < unit { 0.5 } else { 0.0 };
            let convert =
                |(value, error): Near| (to_i16(value * one / unit), error * one / unit + round);
            self.values[index].result = values.into_iter().map(convert).collect();
        }
        if let Some(id) = recurrent.init[1] {
            self.values[index].cell = if id.is_cell_state() {
                self.values[id.layer()].cell.clone()
            } else {
                let (values, unit) = self.vector(id);
                let end = f64::from(i32::MAX) + 1.0;
                let convert = |(value, error): Near| {
                    let value = value * Q23 / unit;
                    (value.clamp(-end, end - 1.0), error * Q23 / unit)
                };
                values.into_iter().map(convert).collect()
            };
        }
    }

    /// Compares the states of the recurrent layers of `phase` with those of `session`, and continues from these.
    pub fn compare_states(&mut self, what: &str, phase: Phase, session: &mut Session) {
        for index in 0..self.params.layers.len() {
            if self.params.layers[index].phase == phase {
                self.compare(what, index, session);
            }
        }
    }

    fn compare(&mut self, what: &str, index: usize, session: &mut Session) {
        let OpParams::Recurrent(recurrent) = &self.params.layers[index].op else {
            return;
        };
        let one = self.one(index);
        let found = floats(session.hidden(index).unwrap());
        let what = format!("{what}, layer {index}, unit");
        let largest = hold(&what, &self.values[index].result, &found);
        self.largest_state = self.largest_state.max(largest / one);
        self.values[index].result = exact(&found);
        if recurrent.cell == Cell::Lstm {
            let found = floats(session.cell_state(index).unwrap());
            hold(
                &format!("cell state, {what}"),
                &self.values[index].cell,
                &found,
            );
            self.values[index].cell = exact(&found);
        }
    }

    /// Runs layers. The states of recurrent layers are compared with those of `session`, and the later layers read these.
    pub fn run(&mut self, layers: Range<usize>, given: &Given, mut session: Option<&mut Session>) {
        for index in layers {
            self.run_layer(index, given, session.as_deref_mut());
        }
    }

    fn run_layer(&mut self, index: usize, given: &Given, session: Option<&mut Session>) {
        let layer = &self.params.layers[index];
        match (&layer.op, given) {
            (OpParams::Token { rows, .. }, Given::Token(token)) => {
                let token = usize::from(*token);
                self.values[index].row = token;
                self.values[index].result = self.token(rows, token);
            }
            (OpParams::Token { .. }, _) => panic!("layer {index} reads tokens"),
            (OpParams::Frame { .. }, Given::Frame(frame)) => {
                let size = self.size(index);
                self.values[index].result = exact(&frame[..size]);
            }
            (OpParams::Frame { .. }, _) => panic!("layer {index} reads frames"),
            (OpParams::Constant { values, .. }, _) => self.values[index].result = exact(values),
            (OpParams::ConstantCell { .. }, _) => {}
            (OpParams::Dense(params), _) => {
                self.values[index].result = dense(params, &self.joined(index));
            }
            (OpParams::Recurrent(recurrent), _) => {
                let first = layer.inputs[0].layer();
                let row = match &self.params.layers[first].op {
                    OpParams::Token {
                        rows: TokenRows::Gates(values),
                        ..
                    } => {
                        let row = recurrent.token_scales.len();
                        Some(&values[self.values[first].row * row..][..row])
                    }
                    _ => None,
                };
                let values = &self.values[index];
                let x = self.joined(index);
                let [hidden, cell] = step(recurrent, row, &x, &values.result, &values.cell);
                self.values[index].result = hidden;
                if recurrent.cell == Cell::Lstm {
                    self.values[index].cell = cell;
                }
                self.compare("step", index, session.expect("states to compare with"));
            }
            (OpParams::Sum { .. }, _) => self.values[index].result = self.sum(index),
            (OpParams::Mean, _) => {
                let (input, _) = self.vector(layer.inputs[0]);
                let values = &mut self.values[index];
                values.steps += 1.0;
                for ((sum, value), out) in values.sums.iter_mut().zip(input).zip(&mut values.result)
                {
                    *sum = (sum.0 + value.0, sum.1 + value.1);
                    *out = (sum.0 / values.steps, sum.1 / values.steps + 0.5);
                }
            }
        }
    }

    fn token(&self, rows: &TokenRows, token: usize) -> Vec<Near> {
        match rows {
            TokenRows::Gates(_) => vec![],
            TokenRows::Embedding { dim, values } => {
                let row = &values[token * dim..][..*dim];
                row.iter().map(|&v| (f64::from(v) * 256.0, 0.0)).collect()
            }
            TokenRows::Tied {
                dim,
                layer,
                min_shift,
            } => {
                let OpParams::Dense(DenseParams { matrix, .. }) = &self.params.layers[*layer].op
                else {
                    panic!("layer {layer} is not a dense layer");
                };
                let columns = matrix.format.columns[0];
                let scale = matrix.multiplier[token];
                let right = 6 + scale.shift() - u32::from(*min_shift);
                let factor = f64::from(scale.multiplier()) / pow2(right);
                let row = matrix.weights[token * columns..][..columns].iter();
                let mut row: Vec<Near> =
                    row.map(|&w| (to_i16(f64::from(w) * factor), 0.5)).collect();
                row.resize(*dim, (0.0, 0.0));
                row
            }
        }
    }

    fn sum(&self, index: usize) -> Vec<Near> {
        let one = self.one(index);
        let mut sums = vec![(0.0, 0.0); self.size(index)];
        for &id in &self.params.layers[index].inputs {
            let (values, unit) = self.vector(id);
            let round = if one < unit { 0.5 } else { 0.0 };
            for (sum, (value, error)) in sums.iter_mut().zip(values) {
                sum.0 += to_i16(value * one / unit);
                sum.1 += error * one / unit + round;
            }
        }
        sums.into_iter()
            .map(|(sum, error)| (to_i16(sum), error))
            .collect()
    }
}
