//! Tokens in integers.

use super::operand::Vector;
use super::row::span;
use super::{QuantizeError, TensorReport, padded};
use crate::network::{Activations, Matrix, RecurrentCell};
use pipsqueak::{Cell, WeightFormat};

/// How a model file holds what tokens add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenEncoding {
    /// What each token adds to each gate of the first layer.
    Table,
    /// An embedding, and the first layer's weights on it.
    Embedding,
    /// The rows of the head's last dense layer as the embedding.
    Tied,
}

impl TokenEncoding {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "as a table",
            Self::Embedding => "as an embedding",
            Self::Tied => "by the head's rows",
        }
    }
}

/// The bytes that an encoding of the tokens takes, the first layer's input weights included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TokenBytes {
    /// The encoding.
    #[serde(rename = "form")]
    pub encoding: TokenEncoding,
    /// Table and factors, or embedding and input weights.
    pub bytes: usize,
}

/// The bytes of each encoding that tokens can have, the smallest first.
///
/// `reader` is the recurrent layer that alone reads the tokens, if there is one; its weights over its input have the format `format`.
/// `embedding` is `[V][E]`, or none where tokens are one-hot; `tied` says whether the output layer has the same numbers.
pub(super) fn encodings(
    reader: Option<&RecurrentCell>,
    count: usize,
    embedding: Option<&Matrix>,
    tied: bool,
    format: WeightFormat,
) -> Vec<TokenBytes> {
    let rows = reader.map_or(0, |layer| {
        layer.weights().1.rows / layer.hidden() * padded(layer.hidden())
    });
    let mut encodings = Vec::new();
    let mut push = |encoding, bytes| encodings.push(TokenBytes { encoding, bytes });
    if reader.is_some() {
        push(TokenEncoding::Table, rows * (count + 4));
    }
    if let Some(embedding) = embedding {
        let columns = padded(embedding.columns);
        // Of four rows the words are as many as the bytes of each.
        let weights = format.panel_len(columns);
        if tied && reader.is_some() {
            push(TokenEncoding::Tied, weights * rows);
        }
        push(TokenEncoding::Embedding, columns * count + weights * rows);
    }
    // Where two are as small, the one named first.
    encodings.sort_by_key(|encoding| encoding.bytes);
    encodings
}

/// What group scales were found for, where they are `given`: the smallest encoding as a vector, if they are of weights over one, else the
/// table. Without group scales the smallest of `encodings`. Where that should be `exact`, a table of up to three times the bytes is taken: each of
/// its rows has a scale of its own, while the weights on an embedding, itself rounded, share theirs with those on the state.
pub(super) fn choose_encoding(
    encodings: &[TokenBytes],
    exact: bool,
    given: Option<bool>,
) -> Option<TokenEncoding> {
    let is_table = |encoding: &TokenBytes| encoding.encoding == TokenEncoding::Table;
    if let Some(vector) = given
        && let Some(found) = encodings
            .iter()
            .find(|encoding| is_table(encoding) != vector)
    {
        return Some(found.encoding);
    }
    let smallest = encodings.first()?;
    let table = encodings.iter().find(|encoding| is_table(encoding));
    let table = table.filter(|table| exact && table.bytes <= 3 * smallest.bytes);
    Some(table.unwrap_or(smallest).encoding)
}

/// The cell of recurrent layer `layer`, number `index` of its phase, if integers have it.
pub(super) fn cell(index: usize, layer: &RecurrentCell) -> Result<Cell, QuantizeError> {
    let refused = |found| {
        Err(QuantizeError::Cell {
            layer: index,
            found,
        })
    };
    match layer {
        _ if layer.has_standard_activations() => {}
        RecurrentCell::Gru(gru) => {
            return refused(format!("a GRU with {}", named(&gru.activations)));
        }
        RecurrentCell::Lstm(lstm) => {
            return refused(format!("an LSTM with {}", named(&lstm.activations)));
        }
        RecurrentCell::Rnn(rnn) => return refused(format!("an RNN with {:?}", rnn.activation)),
    }
    Ok(match layer {
        RecurrentCell::Gru(gru) if gru.linear_before_reset => Cell::GruResetAfter,
        RecurrentCell::Gru(_) => Cell::GruResetBefore,
        RecurrentCell::Lstm(_) => Cell::Lstm,
        RecurrentCell::Rnn(_) => Cell::Rnn,
    })
}

fn named(activations: &Activations) -> String {
    format!("{:?} and {:?}", activations.gate, activations.candidate)
}

/// What each token adds to each gate row, in i8 around the middle of the row's range.
pub(super) struct TokenTable {
    units: usize,
    /// `[V][gates x H]`
    pub values: Vec<i8>,
    /// The scales: `[gates x H]`.
    pub scales: Vec<f64>,
    /// The middle of the range: `[gates x H]`; goes into the row's bias.
    pub middles: Vec<f64>,
    /// Sum of squared errors and of squared values.
    squares: [f64; 2],
}

impl TokenTable {
    /// The products `W e(token)` without biases; a one-hot token picks a column of `W`.
    pub fn new(layer: &RecurrentCell, embedding: Option<&Matrix>, tokens: usize) -> Self {
        let (w, _, biases, _) = layer.weights();
        let rows = w.rows;
        let product = |row: usize, token: usize| -> f64 {
            match embedding {
                None => w.row(row)[token].into(),
                Some(e) => {
                    let pairs = e.row(token).iter().zip(w.row(row));
                    pairs.map(|(e, w)| f64::from(*e) * f64::from(*w)).sum()
                }
            }
        };
        let mut table = Self {
            units: layer.hidden(),
            values: vec![0; tokens * rows],
            scales: vec![],
            middles: vec![],
            squares: [0.0; 2],
        };
        for (row, &bias) in biases.iter().enumerate() {
            // A pre-activation ends at 16; so may what a token adds to it, with its bias.
            let bias = f64::from(bias);
            let column: Vec<f64> = (0..tokens)
                .map(|t| (product(row, t) + bias).clamp(-15.5, 15.5) - bias)
                .collect();
            let (low, high) = column
                .iter()
                .fold((f64::MAX, f64::MIN), |(l, h), &x| (l.min(x), h.max(x)));
            let middle = (low + high) / 2.0;
            let scale = ((high - low) / 2.0 / 127.0).max(1e-9);
            for (token, x) in column.iter().enumerate() {
                let value = ((x - middle) / scale).round().clamp(-127.0, 127.0);
                table.values[token * rows + row] = value as i8;
                table.squares[0] += (value * scale + middle - x).powi(2);
                table.squares[1] += x * x;
            }
            table.scales.push(scale);
            table.middles.push(middle);
        }
        table
    }

    pub fn report(&self, name: String) -> TensorReport {
        let rows = self.scales.len();
        let tokens = self.values.len() / rows;
        TensorReport {
            name,
            shape: [tokens, rows],
            bytes: tokens * rows / self.units * padded(self.units),
            scale: span(&self.scales),
            relative_error: (self.squares[0] / self.squares[1].max(1e-30)).sqrt(),
            group_scales: None,
        }
    }
}

/// i8 values `[V][E]` in 1/128 of a scale per column, and the vector that they give.
pub(super) fn quantize_embedding(
    name: String,
    embedding: &Matrix,
) -> (Vec<i8>, Vector, TensorReport) {
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
        name,
        shape: [embedding.rows, embedding.columns],
        bytes: embedding.rows * padded(embedding.columns),
        scale: span(&scales.iter().map(|s| s / 128.0).collect::<Vec<_>>()),
        relative_error: (squares[0] / f64::max(squares[1], 1e-30)).sqrt(),
        group_scales: None,
    };
    (values, Vector::scaled(scales), report)
}
