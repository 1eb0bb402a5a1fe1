//! The integer step and logits against the equations in f64 on the same quantized values, for many shapes.

use pipsqueak::encode::{GruParts, Input, Parts, Rows, bytes, encode};
use pipsqueak::{Cell, Image, Layer, State};

const Q15: f64 = 32768.0;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `(rows * x + bias + added) * scale`, without any rounding but the bias's half.
fn outputs(rows: &Rows, x: &[f64], added: impl Fn(usize) -> f64) -> Vec<f64> {
    let row = |(index, weights): (usize, &[i8])| {
        let scale = rows.scale[index];
        let product: f64 = weights
            .iter()
            .zip(x)
            .map(|(&w, x)| f64::from(w) * x * Q15)
            .sum();
        let half = if scale.shift() > 0 {
            f64::from(1 << (scale.shift() - 1))
        } else {
            0.0
        };
        let sum = product + f64::from(rows.bias[index]) - half + added(index);
        sum * f64::from(scale.multiplier())
            / f64::from(1u32 << 15)
            / f64::from(1u32 << scale.shift())
    };
    rows.weights.chunks(x.len()).enumerate().map(row).collect()
}

/// The new state of one layer from its input and old state.
fn step(gru: &GruParts, token: Option<&[i8]>, input: &[f64], h: &[f64]) -> Vec<f64> {
    let units = h.len();
    let joint: Vec<f64> = input.iter().chain(h).copied().collect();
    let added = |gate: usize| {
        move |unit: usize| match token {
            Some(token) => {
                f64::from(token[gate * units + unit]) * f64::from(gru.factors[gate * units + unit])
            }
            None => 0.0,
        }
    };
    let pre = |x: Vec<f64>| -> Vec<f64> {
        x.into_iter()
            .map(|x| (x / 2048.0).clamp(-16.0, 16.0 - 1.0 / 2048.0))
            .collect()
    };
    let z = pre(outputs(&gru.gates[0], &joint, added(0)));
    let r = pre(outputs(&gru.gates[1], &joint, added(1)));
    let candidate = match gru.layer.cell {
        Cell::GruResetAfter => {
            let recurrent = pre(outputs(&gru.gates[2], h, |_| 0.0));
            let input: Vec<f64> = match token {
                Some(_) => (0..units)
                    .map(|unit| {
                        (f64::from(gru.candidate_bias[unit]) + added(2)(unit)) / f64::from(1 << 26)
                    })
                    .collect(),
                None => pre(outputs(&gru.candidate, input, |_| 0.0)),
            };
            (0..units)
                .map(|unit| input[unit] + sigmoid(r[unit]) * recurrent[unit])
                .collect()
        }
        Cell::GruResetBefore => {
            let reset = r.iter().zip(h).map(|(r, h)| sigmoid(*r) * h);
            let joint: Vec<f64> = input.iter().copied().chain(reset).collect();
            pre(outputs(&gru.gates[2], &joint, added(2)))
        }
    };
    (0..units)
        .map(|unit| {
            let (z, n): (f64, f64) = (sigmoid(z[unit]), candidate[unit].tanh());
            n + z * (h[unit] - n)
        })
        .collect()
}

fn floats(values: &[i16]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v) / Q15).collect()
}

/// Runs 12 random tokens; each step begins at the integer state, so errors do not add up.
fn check(tokens: usize, embedding: usize, layers: &[Layer]) {
    let parts = Parts::random(7, tokens, embedding, layers);
    let words = encode(&parts).expect("the parts fit");
    let image = Image::parse(bytes(&words)).expect("it is an image");
    let mut workspace = vec![0; image.workspace_len()];
    let mut state =
        State::new(&image, &mut workspace).expect("the workspace is as large as asked for");
    let (mut largest, mut moved) = (0f64, 0f64);
    for i in 0..12usize {
        let token = i * 7919 % tokens;
        let before: Vec<Vec<f64>> = (0..layers.len()).map(|l| floats(state.hidden(l))).collect();
        state.step(token as u16);
        let (row, mut input): (Option<&[i8]>, Vec<f64>) = match &parts.input {
            Input::Table(values) => (
                Some(&values[token * parts.layers[0].factors.len()..]),
                vec![],
            ),
            Input::Embedding { columns, values } => {
                let row = &values[token * columns..][..*columns];
                (None, row.iter().map(|&v| f64::from(v) / 128.0).collect())
            }
        };
        for (index, gru) in parts.layers.iter().enumerate() {
            let expected = step(gru, row.filter(|_| index == 0), &input, &before[index]);
            let found = floats(state.hidden(index));
            for (expected, found) in expected.iter().zip(&found) {
                largest = largest.max((expected - found).abs());
                moved = moved.max(found.abs());
            }
            input = found;
        }
        let expected = outputs(&parts.head, &input, |_| 0.0);
        for (expected, &found) in expected.iter().zip(state.logits()) {
            let expected = expected.clamp(-32768.0, 32767.0);
            assert!(
                (expected - f64::from(found)).abs() < 1.0,
                "logit {found}, expected {expected}"
            );
        }
    }
    // Half a step of up to three pre-activations in Q4.11, the tables' errors and the state's rounding.
    assert!(
        largest < 8e-4,
        "error {largest} with {tokens} tokens, {embedding}, {layers:?}"
    );
    assert!(moved > 0.05, "the state moved by {moved} only");
}

#[test]
fn every_size_of_units_tokens_and_embedding() {
    for cell in [Cell::GruResetAfter, Cell::GruResetBefore] {
        for size in [1u16, 3, 17, 24, 65, 100, 127, 1024] {
            let n = usize::from(size);
            check(n, 0, &[Layer { cell, hidden: size }]);
            check(n, n, &[Layer { cell, hidden: 5 }]);
            check(
                3,
                n.min(127),
                &[
                    Layer { cell, hidden: 9 },
                    Layer {
                        cell,
                        hidden: size.min(127),
                    },
                ],
            );
        }
    }
}

#[test]
fn layers_of_both_kinds_stack() {
    let after = |hidden| Layer {
        cell: Cell::GruResetAfter,
        hidden,
    };
    let before = |hidden| Layer {
        cell: Cell::GruResetBefore,
        hidden,
    };
    check(30, 0, &[after(24), before(17), after(40)]);
    check(
        30,
        6,
        &[
            before(8),
            after(5),
            before(3),
            after(1),
            before(2),
            after(3),
            after(4),
            after(8),
        ],
    );
}
