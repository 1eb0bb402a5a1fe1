//! The equations in f64, on the quantized values of an image.
//!
//! Vectors are in units of their last bit, and bounds of the errors go along with the values.

use pipsqueak::encode::{DenseParts, InputParts, LayerParts, NetworkParts, Rows, StartParts};
use pipsqueak::image::{Activation, Bits, CELL_SHIFT};
use pipsqueak::{Cell, State};

pub const Q15: f64 = 32768.0;
pub const Q23: f64 = 8_388_608.0;

pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub fn bits(bits: u32) -> f64 {
    f64::from(1u32 << bits)
}

pub fn to_i16(x: f64) -> f64 {
    x.clamp(-32768.0, 32767.0)
}

/// A value, and how far from it the integer may be.
pub type Near = (f64, f64);

pub fn exact<T: Copy + Into<f64>>(values: &[T]) -> Vec<Near> {
    values.iter().map(|&value| (value.into(), 0.0)).collect()
}

/// What the weights of a row stand for: each times its group's scale. Over the input of mixed rows all columns are a group.
fn meant(rows: &Rows, row: usize) -> Vec<f64> {
    let [input, state] = rows.columns.parts;
    let width = input + state;
    let mut weights = rows.weights[row * width..][..width].iter();
    if rows.scales.is_empty() {
        return weights.map(|&w| f64::from(w)).collect();
    }
    let groups = rows.scales.len() / rows.bias.len();
    let mut scales = rows.scales[row * groups..][..groups].iter();
    let mut meant = vec![];
    let group = match rows.columns.bits {
        Bits::Mixed => usize::MAX,
        _ => 32,
    };
    for (part, group) in [(input, group), (state, 32)] {
        let mut scale = 0.0;
        for column in 0..part {
            if column % group == 0 {
                scale = f64::from(*scales.next().unwrap());
            }
            meant.push(scale * f64::from(*weights.next().unwrap()));
        }
    }
    assert!(scales.next().is_none());
    meant
}

/// `(rows * x + bias + added) * scale`, without any rounding but the bias's half.
pub fn outputs(rows: &Rows, x: &[Near], added: impl Fn(usize) -> f64) -> Vec<Near> {
    let row = |index: usize| {
        let scale = rows.scale[index];
        let weights = meant(rows, index);
        let pairs = || weights.iter().copied().zip(x);
        let product: f64 = pairs().map(|(w, x)| w * x.0).sum();
        let error: f64 = pairs().map(|(w, x)| w.abs() * x.1).sum();
        let half = match scale.shift() {
            0 => 0.0,
            shift => bits(shift - 1),
        };
        let sum = product + f64::from(rows.bias[index]) - half + added(index);
        let factor = f64::from(scale.multiplier()) / bits(15) / bits(scale.shift());
        (to_i16(sum * factor), error * factor + 1.0)
    };
    assert_eq!(rows.weights.len(), rows.bias.len() * x.len());
    (0..rows.bias.len()).map(row).collect()
}

/// What dense layers make of `x`.
pub fn chain(list: &[DenseParts], x: Vec<Near>) -> Vec<Near> {
    list.iter().fold(x, |x, dense| {
        let mut out = outputs(&dense.rows, &x, |_| 0.0);
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
    })
}

/// The hidden and the cell state of each layer of a network.
pub type States = Vec<(Vec<f64>, Vec<f64>)>;

pub fn states(state: &State, index: usize, network: &NetworkParts) -> States {
    let of = |layer| {
        let hidden = floats(state.hidden_of(index, layer));
        (hidden, floats(state.cell_of(index, layer)))
    };
    (0..network.layers.len()).map(of).collect()
}

/// The new hidden and cell state of one layer.
pub fn step(
    layer: &LayerParts,
    token: Option<&[i8]>,
    input: &[Near],
    (hidden, cell): &(Vec<f64>, Vec<f64>),
) -> [Vec<Near>; 2] {
    let units = hidden.len();
    let one = bits(15 - u32::from(layer.shift));
    let h = exact(hidden);
    let joint: Vec<Near> = input.iter().chain(&h).copied().collect();
    let added = |gate: usize| {
        move |unit: usize| match token {
            Some(token) => {
                let at = gate * units + unit;
                f64::from(token[at]) * f64::from(layer.factors[at])
            }
            None => 0.0,
        }
    };
    // The input's error as if it went straight through every gate, and the rounding of pre-activations in Q4.11, the
    // tables' and the state's.
    let mut errors = vec![0.0; units];
    let mut gate = |gate: usize, x: &[Near], added: &dyn Fn(usize) -> f64| -> Vec<f64> {
        let rows = outputs(&layer.gates[gate], x, added);
        let each = rows.into_iter().zip(&mut errors);
        each.map(|((value, error), sum)| {
            *sum += (error - 1.0) / 2048.0;
            value / 2048.0
        })
        .collect()
    };
    let (mut next, mut next_cell) = (vec![], vec![]);
    match layer.layer.cell {
        Cell::Rnn => {
            for pre in gate(0, &joint, &added(0)) {
                next.push(pre.tanh() * one);
            }
        }
        Cell::Lstm => {
            let [i, o, f, g] = [0, 1, 2, 3].map(|n| gate(n, &joint, &added(n)));
            for unit in 0..units {
                let kept = sigmoid(f[unit]) * cell[unit];
                let c = kept + sigmoid(i[unit]) * g[unit].tanh() * Q23;
                let c = c.clamp(f64::from(i32::MIN), f64::from(i32::MAX));
                let extra = cell[unit].abs() / Q23;
                errors[unit] *= 1.0 + extra;
                next_cell.push((c, (8e-4 + 1.5e-4 * extra + errors[unit]) * Q23));
                errors[unit] += 1.5e-4 * extra + 2.5e-4;
                next.push(sigmoid(o[unit]) * (c / Q23).tanh() * one);
            }
        }
        Cell::GruResetAfter | Cell::GruResetBefore => {
            let z = gate(0, &joint, &added(0));
            let r = gate(1, &joint, &added(1));
            let candidate = if layer.layer.cell == Cell::GruResetBefore {
                let reset = r.iter().zip(&h).map(|(r, h)| (sigmoid(*r) * h.0, 0.5));
                let joint: Vec<Near> = input.iter().copied().chain(reset).collect();
                gate(2, &joint, &added(2))
            } else {
                let recurrent = gate(2, &h, &|_| 0.0);
                let input = match token {
                    Some(_) => (0..units)
                        .map(|unit| {
                            let sum = f64::from(layer.candidate_bias[unit]) + added(2)(unit);
                            sum / bits(26)
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
            }
        }
    }
    let round = if layer.shift > 0 { 1.0 } else { 0.0 };
    let next = next.into_iter().zip(errors);
    let next = next.map(|(h, error)| (to_i16(h), (8e-4 + error) * one + round));
    [next.collect(), next_cell]
}

/// Every value within its bound; gives back the largest magnitude.
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

pub fn floats<T: Copy + Into<f64>>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// What is fed at a step.
pub enum Fed {
    Token(u16),
    Vector(Vec<i16>),
    Again,
}

/// What comes into the first layer: a row of its table, or a vector.
pub fn input<'p>(
    network: &'p NetworkParts,
    fed: &Fed,
    features: &[i16],
) -> (Option<&'p [i8]>, Vec<Near>) {
    match (&network.input, fed) {
        (InputParts::Table(values), Fed::Token(token)) => {
            let rows = network.layers[0].factors.len();
            (Some(&values[usize::from(*token) * rows..][..rows]), vec![])
        }
        (InputParts::Embedding { columns, values }, Fed::Token(token)) => {
            let row = &values[usize::from(*token) * columns..][..*columns];
            let values = row.iter().map(|&v| (f64::from(v) * 256.0, 0.0));
            (None, values.collect())
        }
        (InputParts::Tied { shift }, Fed::Token(token)) => {
            let rows = &network.head.last().unwrap().rows;
            let (token, columns) = (usize::from(*token), rows.columns.parts[0]);
            let scale = rows.scale[token];
            let right = 6 + scale.shift() - u32::from(*shift);
            let factor = f64::from(scale.multiplier()) / bits(right);
            let row = &rows.weights[token * columns..][..columns];
            let values = row.iter().map(|&w| (to_i16(f64::from(w) * factor), 0.5));
            (None, values.collect())
        }
        (InputParts::Vectors(_), Fed::Vector(vector)) => {
            (None, chain(&network.dense, exact(vector)))
        }
        (InputParts::Features { .. }, Fed::Again) => (None, chain(&network.dense, exact(features))),
        _ => panic!("not what the network is fed"),
    }
}

/// Where a state begins, `one` being 1 in its format.
pub fn start(
    from: &StartParts,
    units: usize,
    one: f64,
    features: &[i16],
    encoder: Option<(&NetworkParts, &States)>,
) -> Vec<Near> {
    // Into the state's format, which is rounded if it has fewer bits.
    let into = |values: Vec<Near>, unit: f64| -> Vec<Near> {
        let round = if one < unit { 0.5 } else { 0.0 };
        let end = if one > Q15 {
            f64::from(i32::MAX) + 1.0
        } else {
            Q15
        };
        values
            .into_iter()
            .map(|(value, error)| {
                let value = value * one / unit;
                (value.clamp(-end, end - 1.0), error * one / unit + round)
            })
            .collect()
    };
    match from {
        StartParts::Zero => vec![(0.0, 0.0); units],
        StartParts::Constant(values) => exact(values),
        StartParts::Features(dense) => {
            let last = dense.last().unwrap();
            into(chain(dense, exact(features)), bits(last.bits.into()))
        }
        StartParts::Encoder { layer, cell, dense } => {
            let (network, states) = encoder.unwrap();
            let (hidden, cells) = &states[*layer];
            if *cell && one == Q23 && dense.is_empty() {
                return exact(cells);
            }
            let mut unit = bits(15 - u32::from(network.layers[*layer].shift));
            let mut values = exact(hidden);
            if *cell {
                unit = bits(15 - CELL_SHIFT);
                let short = |&c: &f64| (to_i16(c * unit / Q23), 0.5);
                values = cells.iter().map(short).collect();
            }
            if let Some(last) = dense.last() {
                unit = bits(last.bits.into());
            }
            into(chain(dense, values), unit)
        }
    }
}
