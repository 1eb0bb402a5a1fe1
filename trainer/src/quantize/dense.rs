//! Dense layers in integers.

use super::operand::{Operand, Vector};
use super::row::{RowQuantizer, TensorFormat};
use super::{QuantizeError, TensorReport};
use crate::network::{self, Dense};
use pipsqueak::Activation;
use pipsqueak::encode::DenseParams;
use pipsqueak::fixed::PRE_ACTIVATION_FRAC_BITS;

/// Fraction bits that an output or an input may lose to the bound by norms, within which it never saturates.
pub(super) const MAX_LOST_BITS: u8 = 3;
/// The same of an initial state: a cell keeps its state in the range of the initial state at every step.
pub(super) const MAX_LOST_BITS_INIT: u8 = 0;

/// The format of a dense layer's result.
#[derive(Clone, Copy)]
pub(super) struct DenseFormat {
    pub activation: Activation,
    pub frac_bits: u8,
}

/// The format of the result of `dense` over `x`, and the result.
///
/// `range` is the range of the result, where the network was run on samples: it is used where the norms of the rows, which no
/// input can exceed, would cost more than `max_lost_bits`.
pub(super) fn dense_format(
    name: &str,
    dense: &Dense,
    x: &Vector,
    range: Option<f64>,
    max_lost_bits: u8,
) -> Result<(DenseFormat, Vector), QuantizeError> {
    let activation = activation(name, dense.activation)?;
    let norms = norms(dense, &x.bounds);
    let frac_bits = match activation {
        Activation::Tanh | Activation::Sigmoid => 15,
        Activation::Linear | Activation::Relu => choose_frac_bits(&norms, range, max_lost_bits),
    };
    let scale = f64::from(1u32 << (15 - frac_bits));
    let bound = |norm: &f64| match activation {
        Activation::Tanh | Activation::Sigmoid => 1.0,
        Activation::Linear | Activation::Relu => norm.min(scale),
    };
    let result = Vector {
        scales: vec![scale; dense.w.rows],
        bounds: norms.iter().map(bound).collect(),
    };
    let format = DenseFormat {
        activation,
        frac_bits,
    };
    Ok((format, result))
}

/// The fraction bits of a vector whose elements cannot exceed `norms` and whose range was measured.
pub(super) fn choose_frac_bits(norms: &[f64], range: Option<f64>, max_lost_bits: u8) -> u8 {
    let by_norm = fraction_bits(norms.iter().fold(1e-6, |a, &b| a.max(b)));
    let by_range = range.map(|range| fraction_bits(range.max(1e-6)));
    let by_range = by_range.filter(|&bits| bits > by_norm + max_lost_bits);
    by_range.unwrap_or(by_norm)
}

/// Quantizes a dense layer over `x`.
pub(super) fn quantize_dense(
    name: &str,
    dense: &Dense,
    x: &Operand,
    result: DenseFormat,
    format: TensorFormat,
    tensors: &mut Vec<TensorReport>,
) -> Result<DenseParams, QuantizeError> {
    let DenseFormat {
        activation,
        frac_bits,
    } = result;
    let accumulated = match activation {
        Activation::Tanh | Activation::Sigmoid => PRE_ACTIVATION_FRAC_BITS,
        Activation::Linear | Activation::Relu => frac_bits.into(),
    };
    let mut rows = RowQuantizer::new(name.into(), [x.columns, 0], accumulated, format);
    for row in 0..dense.w.rows {
        rows.push(&x.fold(dense.w.row(row)), dense.b[row].into(), 0.0)?;
    }
    Ok(DenseParams {
        matrix: rows.finish(tensors),
        activation,
        frac_bits,
    })
}

fn activation(name: &str, activation: network::Activation) -> Result<Activation, QuantizeError> {
    match activation {
        network::Activation::Linear => Ok(Activation::Linear),
        network::Activation::Relu => Ok(Activation::Relu),
        network::Activation::Tanh => Ok(Activation::Tanh),
        network::Activation::Sigmoid => Ok(Activation::Sigmoid),
        network::Activation::HardSigmoid { .. } => Err(QuantizeError::Activation {
            dense: name.to_owned(),
            found: format!("{activation:?}"),
        }),
    }
}

/// What no output of each row can exceed, for inputs within `bounds`.
fn norms(dense: &Dense, bounds: &[f64]) -> Vec<f64> {
    let norm = |row: usize| {
        let pairs = dense.w.row(row).iter().zip(bounds);
        pairs
            .map(|(w, bound)| f64::from(w.abs()) * bound)
            .sum::<f64>()
            + f64::from(dense.b[row].abs())
    };
    (0..dense.w.rows).map(norm).collect()
}

/// The most fraction bits with which an i16 holds `largest`.
fn fraction_bits(largest: f64) -> u8 {
    (32767.0 / largest).log2().floor().clamp(0.0, 15.0) as u8
}
