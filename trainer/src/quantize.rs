//! The float network in integers: int8 weights with a scale per row, and the range certificate.
//!
//! A row's accumulator counts in units of `u`, the row's scale times 2^-15. The unit is chosen last and exactly: it is the one
//! that the row's integer multiplier and shift mean, so the only error is that of rounding each weight.

use crate::network::{Activations, Gru, LanguageModel, Layer, Matrix, Network, NotLanguageModel};
use crate::vocab::TokenKind;
use pipsqueak::encode::{GruParts, Input, Parts, Rows};
use pipsqueak::fixed::{CANDIDATE_BITS, MAX_SHIFT, MULTIPLIER_END, PRE_ACTIVATION_BITS, Scale};
use pipsqueak::image::{MAX_LAYERS, MAX_UNITS};
use pipsqueak::{Cell, Provenance};

/// A network in integers, and what became of each tensor.
#[derive(Debug)]
pub struct Quantized<'a> {
    /// What [`pipsqueak::encode::encode`] takes.
    pub parts: Parts<'a>,
    /// One entry per tensor, from the input on.
    pub tensors: Vec<TensorReport>,
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TensorReport {
    /// Layer and gate.
    pub name: String,
    /// Rows and columns, not padded.
    pub shape: [usize; 2],
    /// Bytes in the image, padding, biases and scales included.
    pub bytes: usize,
    /// Smallest and largest scale of a row: what one step of a weight is worth.
    pub scale: [f64; 2],
    /// Root of the mean squared rounding error over that of the values.
    pub relative_error: f64,
}

/// A network that integers cannot hold.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum QuantizeError {
    /// Another kind of network than the integer runtime runs.
    #[error(transparent)]
    Kind(#[from] NotLanguageModel),
    /// A cell, or an activation in it, that the integer runtime lacks.
    #[error(
        "layer {layer} is {found}: the integer runtime has no such cell yet, only GRU with sigmoid and tanh"
    )]
    Cell {
        /// The layer.
        layer: usize,
        /// What it is.
        found: String,
    },
    /// Tokens that an image cannot hold.
    #[error("the vocabulary is of {found}: the image has only pieces without special tokens yet")]
    Vocabulary {
        /// What they are.
        found: String,
    },
    /// More than an image can hold.
    #[error("the network has {found} {what}, but an image holds at most {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there may be.
        limit: usize,
    },
    /// A weight or bias that no unit of a row reaches.
    #[error(
        "row {row} of {tensor} has values as large as {value}: expected weights below 256 and biases below 65,536; larger ones come from a training that diverged"
    )]
    Value {
        /// The tensor.
        tensor: String,
        /// The row.
        row: usize,
        /// The largest value.
        value: f64,
    },
}

/// Quantizes `network`.
///
/// Where it has an embedding, tokens are folded with the first layer's input weights if that takes fewer bytes.
///
/// # Errors
/// If the network is larger than an image can be, or its values are.
pub fn quantize(network: &Network) -> Result<Quantized<'_>, QuantizeError> {
    let model = network.as_language_model()?;
    let grus = grus(model.layers)?;
    check_sizes(&model)?;
    let kind = TokenKind::of(model.vocabulary);
    if kind != TokenKind::default() {
        let found = format!("{kind:?}");
        return Err(QuantizeError::Vocabulary { found });
    }
    let mut tensors = Vec::new();
    let folds = match model.embedding {
        None => true,
        Some(embedding) => folded_bytes(&model) <= embedding_bytes(&model, embedding.columns),
    };
    let mut token_input = None;
    let (input, column_scales) = match model.embedding {
        Some(embedding) if !folds => {
            let (values, scales, report) = quantize_embedding(embedding);
            tensors.push(report);
            (
                Input::Embedding {
                    columns: embedding.columns,
                    values,
                },
                Some(scales),
            )
        }
        embedding => {
            let table = TokenTable::new(grus[0], embedding, model.vocabulary.len());
            tensors.push(table.report(model.embedding));
            let values = table.values.clone();
            token_input = Some(table);
            (Input::Table(values), None)
        }
    };
    let mut layers = Vec::new();
    for (index, gru) in grus.into_iter().enumerate() {
        let source = match (index, token_input.take(), &column_scales) {
            (0, Some(table), _) => Source::Table(table),
            (0, None, Some(scales)) => Source::Vector(scales.clone()),
            _ => Source::Vector(vec![1.0; gru.inputs()]),
        };
        layers.push(quantize_gru(index, gru, source, &mut tensors)?);
    }
    let head = model.head;
    let logit_bits = logit_bits(&head.w, &head.b);
    let mut builder = RowsBuilder::new("head".into(), vec![head.w.columns], logit_bits.into());
    for row in 0..head.w.rows {
        builder.push(head.w.row(row), head.b[row].into(), 0.0)?;
    }
    let head = builder.finish(&mut tensors);
    let parts = Parts {
        tokens: model.vocabulary.texts().to_vec(),
        start: model.vocabulary.start(),
        input,
        layers,
        head,
        logit_bits,
        provenance: provenance(network),
    };
    Ok(Quantized { parts, tensors })
}

/// The layers, all of the one cell that integers have.
fn grus<'n>(layers: &'n [Layer]) -> Result<Vec<&'n Gru>, QuantizeError> {
    let gru = |(layer, any): (usize, &'n Layer)| match any {
        Layer::Gru(gru) if gru.activations == Activations::default() => Ok(gru),
        other => {
            let found = match other {
                Layer::Gru(gru) => format!("a GRU with {:?}", gru.activations),
                other => format!("an {}", other.name()),
            };
            Err(QuantizeError::Cell { layer, found })
        }
    };
    layers.iter().enumerate().map(gru).collect()
}

fn check_sizes(network: &LanguageModel) -> Result<(), QuantizeError> {
    let limit = |what, found, limit| match found {
        n if n > limit => Err(QuantizeError::TooLarge { what, found, limit }),
        _ => Ok(()),
    };
    limit("layers", network.layers.len(), MAX_LAYERS)?;
    for layer in network.layers {
        limit("units in a layer", layer.hidden(), MAX_UNITS.into())?;
    }
    limit(
        "elements in the embedding",
        network.embedding.map_or(0, |e| e.columns),
        MAX_UNITS.into(),
    )
}

/// The image keeps names of at most 64 bytes.
fn provenance(network: &Network) -> Provenance<'_> {
    let cut = |text: &'_ str| text.floor_char_boundary(64);
    let from = &network.provenance;
    let thousandths =
        |loss: Option<f32>| loss.map(|nats| (nats * 1000.0).round().clamp(0.0, 65535.0) as u16);
    Provenance {
        corpus: &from.corpus[..cut(&from.corpus)],
        split: &from.split[..cut(&from.split)],
        steps: from.steps.min(u32::MAX.into()) as u32,
        seed: from.seed,
        train_loss: thousandths(from.train_loss),
        validation_loss: thousandths(from.validation_loss),
    }
}

/// `n` as the image pads it.
fn padded(n: usize) -> usize {
    n.next_multiple_of(4)
}

/// Bytes of token table and factors.
fn folded_bytes(network: &LanguageModel) -> usize {
    let units = padded(network.layers[0].hidden());
    3 * units * (network.vocabulary.len() + 4)
}

/// Bytes of an embedding and the input weights.
fn embedding_bytes(network: &LanguageModel, columns: usize) -> usize {
    padded(columns) * (network.vocabulary.len() + 3 * padded(network.layers[0].hidden()))
}

/// The most fraction bits with which no logit can saturate: from the rows' norms, since a state is below 1.
fn logit_bits(w: &Matrix, b: &[f32]) -> u8 {
    let norm = |row: usize| {
        w.row(row).iter().map(|w| f64::from(w.abs())).sum::<f64>() + f64::from(b[row].abs())
    };
    let largest = (0..w.rows).map(norm).fold(1e-6, f64::max);
    (32767.0 / largest).log2().floor().clamp(0.0, 15.0) as u8
}

/// Where a layer's input comes from.
enum Source {
    /// A token's row of the table.
    Table(TokenTable),
    /// A vector in Q15 times these scales per column.
    Vector(Vec<f64>),
}

/// What each token adds to each gate row, in i8 around the middle of the row's range.
struct TokenTable {
    units: usize,
    /// `[V][3H]`
    values: Vec<i8>,
    /// What one step is worth: `[3H]`.
    steps: Vec<f64>,
    /// The middle of the range: `[3H]`; goes into the row's bias.
    middles: Vec<f64>,
    /// Sum of squared errors and of squared values.
    squares: [f64; 2],
}

impl TokenTable {
    /// The products `W e(token)` without biases; a one-hot token picks a column of `W`.
    fn new(gru: &Gru, embedding: Option<&Matrix>, tokens: usize) -> Self {
        let rows = 3 * gru.hidden();
        let product = |row: usize, token: usize| -> f64 {
            match embedding {
                None => gru.w.row(row)[token].into(),
                Some(e) => e
                    .row(token)
                    .iter()
                    .zip(gru.w.row(row))
                    .map(|(e, w)| f64::from(*e) * f64::from(*w))
                    .sum(),
            }
        };
        let mut table = Self {
            units: gru.hidden(),
            values: vec![0; tokens * rows],
            steps: vec![],
            middles: vec![],
            squares: [0.0; 2],
        };
        for row in 0..rows {
            // A pre-activation ends at 16; so may what a token adds to it, with its bias.
            let bias = f64::from(gru.wb[row]);
            let column: Vec<f64> = (0..tokens)
                .map(|t| (product(row, t) + bias).clamp(-15.5, 15.5) - bias)
                .collect();
            let (low, high) = column
                .iter()
                .fold((f64::MAX, f64::MIN), |(l, h), &x| (l.min(x), h.max(x)));
            let middle = (low + high) / 2.0;
            let step = ((high - low) / 2.0 / 127.0).max(1e-9);
            for (token, x) in column.iter().enumerate() {
                let value = ((x - middle) / step).round().clamp(-127.0, 127.0);
                table.values[token * rows + row] = value as i8;
                table.squares[0] += (value * step + middle - x).powi(2);
                table.squares[1] += x * x;
            }
            table.steps.push(step);
            table.middles.push(middle);
        }
        table
    }

    fn report(&self, embedding: Option<&Matrix>) -> TensorReport {
        let rows = 3 * self.units;
        let tokens = self.values.len() / rows;
        let name = if embedding.is_some() {
            "token table (embedding folded)"
        } else {
            "token table"
        };
        TensorReport {
            name: name.into(),
            shape: [tokens, rows],
            bytes: tokens * 3 * padded(self.units),
            scale: span(&self.steps),
            relative_error: (self.squares[0] / self.squares[1].max(1e-30)).sqrt(),
        }
    }
}

/// i8 values `[V][E]` in 1/128 of a scale per column, and the scales.
fn quantize_embedding(embedding: &Matrix) -> (Vec<i8>, Vec<f64>, TensorReport) {
    let column = |c: usize| (0..embedding.rows).map(move |r| f64::from(embedding.row(r)[c]));
    let largest = |c: usize| column(c).map(f64::abs).fold(1e-9, f64::max);
    let scales: Vec<f64> = (0..embedding.columns)
        .map(|c| largest(c) * 128.0 / 127.0)
        .collect();
    let mut squares = [0.0, 0.0];
    let values = (0..embedding.rows * embedding.columns)
        .map(|i| {
            let (x, scale) = (f64::from(embedding.data[i]), scales[i % embedding.columns]);
            let value = (x / scale * 128.0).round().clamp(-127.0, 127.0);
            squares[0] += (value * scale / 128.0 - x).powi(2);
            squares[1] += x * x;
            value as i8
        })
        .collect();
    let report = TensorReport {
        name: "embedding".into(),
        shape: [embedding.rows, embedding.columns],
        bytes: embedding.rows * padded(embedding.columns),
        scale: span(&scales.iter().map(|s| s / 128.0).collect::<Vec<_>>()),
        relative_error: (squares[0] / f64::max(squares[1], 1e-30)).sqrt(),
    };
    (values, scales, report)
}

fn quantize_gru(
    index: usize,
    gru: &Gru,
    source: Source,
    tensors: &mut Vec<TensorReport>,
) -> Result<GruParts, QuantizeError> {
    let units = gru.hidden();
    let after = gru.linear_before_reset;
    let inputs = match &source {
        Source::Table(_) => vec![],
        Source::Vector(scales) => vec![scales.len()],
    };
    let joint = [&inputs[..], &[units]].concat();
    let input_weights = |row: usize| -> Vec<f32> {
        match &source {
            Source::Table(_) => vec![],
            Source::Vector(scales) => gru
                .w
                .row(row)
                .iter()
                .zip(scales)
                .map(|(w, s)| (f64::from(*w) * s) as f32)
                .collect(),
        }
    };
    // What a token table has in the row's place: the middle of its range and one step.
    let token = |row: usize| match &source {
        Source::Table(table) => (table.middles[row], table.steps[row]),
        Source::Vector(_) => (0.0, 0.0),
    };
    let mut gates = Vec::new();
    let mut factors = Vec::new();
    for (gate, letter) in ["z", "r", "h"].into_iter().enumerate() {
        let alone = gate == 2 && after;
        let name = format!("layer {index} gate {letter}");
        let columns = if alone { vec![units] } else { joint.clone() };
        let mut builder = RowsBuilder::new(name, columns, PRE_ACTIVATION_BITS);
        for row in gate * units..(gate + 1) * units {
            let recurrent_bias = f64::from(gru.rb[row]);
            if alone {
                builder.push(gru.r.row(row), recurrent_bias, 0.0)?;
            } else {
                let (middle, step) = token(row);
                let weights = [&input_weights(row)[..], gru.r.row(row)].concat();
                let bias = recurrent_bias + f64::from(gru.wb[row]) + middle;
                factors.push(builder.push(&weights, bias, step)?);
            }
        }
        gates.push(builder.finish(tensors));
    }
    let mut candidate_bias = Vec::new();
    let mut candidate = Rows::default();
    let one = f64::from(1 << CANDIDATE_BITS);
    match &source {
        Source::Table(_) if after => {
            for row in 2 * units..3 * units {
                let (middle, step) = token(row);
                factors.push((step * one).round() as i32);
                candidate_bias.push(((f64::from(gru.wb[row]) + middle) * one).round() as i32);
            }
        }
        Source::Table(_) => (),
        Source::Vector(_) => {
            factors.clear();
            if after {
                let mut builder = RowsBuilder::new(
                    format!("layer {index} candidate input"),
                    inputs,
                    PRE_ACTIVATION_BITS,
                );
                for row in 2 * units..3 * units {
                    builder.push(&input_weights(row), gru.wb[row].into(), 0.0)?;
                }
                candidate = builder.finish(tensors);
            }
        }
    }
    let cell = if after {
        Cell::GruResetAfter
    } else {
        Cell::GruResetBefore
    };
    let layer = pipsqueak::Layer {
        cell,
        hidden: units as u16,
    };
    let gates = gates.try_into().expect("a GRU has three gates");
    Ok(GruParts {
        layer,
        gates,
        factors,
        candidate_bias,
        candidate,
    })
}

/// Quantizes rows one by one.
struct RowsBuilder {
    name: String,
    rows: Rows,
    /// Fraction bits of the outputs.
    bits: u32,
    scales: Vec<f64>,
    squares: [f64; 2],
}

impl RowsBuilder {
    fn new(name: String, columns: Vec<usize>, bits: u32) -> Self {
        Self {
            name,
            rows: Rows {
                columns,
                ..Rows::default()
            },
            bits,
            scales: vec![],
            squares: [0.0; 2],
        }
    }

    /// Adds a row of real weights on a vector in Q15. `step` is what one step of a token's i8 adds; gives the token's factor.
    fn push(&mut self, weights: &[f32], bias: f64, step: f64) -> Result<i32, QuantizeError> {
        let largest = weights
            .iter()
            .map(|w| f64::from(w.abs()))
            .fold(0.0, f64::max);
        let refused = QuantizeError::Value {
            tensor: self.name.clone(),
            row: self.scales.len(),
            value: largest.max(bias.abs()),
        };
        if !(largest < 256.0 && bias.abs() < 65536.0) {
            return Err(refused);
        }
        // A row of zeros has a bias to hold and nothing else.
        let mut least = if largest > 0.0 {
            largest / 127.0
        } else {
            1.0 / 127.0
        };
        loop {
            let (scale, weight) = self.scale(least).ok_or_else(|| refused.clone())?;
            let unit = weight / 32768.0;
            let quantized: Vec<i8> = weights
                .iter()
                .map(|&w| (f64::from(w) / weight).round().clamp(-127.0, 127.0) as i8)
                .collect();
            let norm: f64 = quantized.iter().map(|&w| f64::from(w).abs()).sum();
            let half = if scale.shift() > 0 {
                f64::from(1u32 << (scale.shift() - 1))
            } else {
                0.0
            };
            let bias = (bias / unit).round() + half;
            let factor = (step / unit).round();
            // The range certificate, as the image's check has it.
            if norm * 32768.0 + bias.abs() + factor.abs() * 128.0 > f64::from(i32::MAX) {
                least = weight * 1.01;
                continue;
            }
            for (&w, &q) in weights.iter().zip(&quantized) {
                self.squares[0] += (f64::from(q) * weight - f64::from(w)).powi(2);
                self.squares[1] += f64::from(w).powi(2);
            }
            self.rows.weights.extend(quantized);
            self.rows.bias.push(bias as i32);
            self.rows.scale.push(scale);
            self.scales.push(weight);
            return Ok(factor as i32);
        }
    }

    /// The integer scale whose weights' step is at least `least`, and that step.
    fn scale(&self, least: f64) -> Option<(Scale, f64)> {
        // Accumulator times 2^-15 times the step, to `bits` fraction bits, is multiplier * 2^-(15 + shift).
        let factor = least * f64::from(1u32 << self.bits);
        // The largest shift whose multiplier fits; small steps are met by a smaller multiplier.
        let shift = (0..=MAX_SHIFT).rev().find(|&shift| {
            (factor * f64::from(1u32 << shift)).ceil() < f64::from(MULTIPLIER_END)
        })?;
        let multiplier = (factor * f64::from(1u32 << shift)).ceil();
        let scale = Scale::new(multiplier as u16, shift as u8);
        Some((
            scale,
            multiplier / f64::from(1u32 << shift) / f64::from(1u32 << self.bits),
        ))
    }

    fn finish(self, tensors: &mut Vec<TensorReport>) -> Rows {
        let rows = self.rows.bias.len();
        let columns = self.rows.columns.iter().sum();
        let padded_columns: usize = self.rows.columns.iter().map(|&c| padded(c)).sum();
        tensors.push(TensorReport {
            name: self.name,
            shape: [rows, columns],
            bytes: padded(rows) * (padded_columns + 8),
            scale: span(&self.scales),
            relative_error: (self.squares[0] / self.squares[1].max(1e-30)).sqrt(),
        });
        self.rows
    }
}

fn span(values: &[f64]) -> [f64; 2] {
    values.iter().fold([f64::MAX, f64::MIN], |[low, high], &v| {
        [low.min(v), high.max(v)]
    })
}
