//! Dense layers in integers.

use super::rows::{RowsBuilder, Width};
use super::{QuantizeError, TensorReport, Vector};
use crate::network::{self, Dense};
use pipsqueak::Activation;
use pipsqueak::encode::DenseParams;
use pipsqueak::fixed::PRE_ACTIVATION_FRAC_BITS;

/// Fraction bits that a bound by norms may cost a head or an input, which never saturates then.
pub(super) const NORM_COST: u8 = 3;
/// The same of a start: a cell keeps its state in the start's range at every step.
pub(super) const START_COST: u8 = 0;

/// Quantizes dense layers, each after the other, over `x`; gives what comes out of the last one.
///
/// `seen` has the range of each one's outputs, where the network was run on samples: it decides where the norms of the rows,
/// which no input can exceed, would cost more than `cost` bits.
pub(super) fn quantize_chain(
    name: &str,
    list: &[Dense],
    mut x: Vector,
    seen: Option<&[f64]>,
    cost: u8,
    width: Width,
    tensors: &mut Vec<TensorReport>,
) -> Result<(Vec<DenseParams>, Vector), QuantizeError> {
    let mut parts = Vec::with_capacity(list.len());
    for (index, dense) in list.iter().enumerate() {
        let name = link_name(name, index, list.len());
        let activation = activation(&name, dense.activation)?;
        let norms = norms(dense, &x.bounds);
        let (accumulated, bits) = match activation {
            Activation::Tanh | Activation::Sigmoid => (PRE_ACTIVATION_FRAC_BITS as u8, 15),
            Activation::Linear | Activation::Relu => {
                let by_norm = fraction_bits(norms.iter().fold(1e-6, |a, &b| a.max(b)));
                let by_sight = seen.map(|seen| fraction_bits(seen[index].max(1e-6)));
                let bits = by_sight.filter(|&bits| bits > by_norm + cost);
                let bits = bits.unwrap_or(by_norm);
                (bits, bits)
            }
        };
        let mut builder = RowsBuilder::new(name, [dense.w.columns, 0], accumulated.into(), width);
        for row in 0..dense.w.rows {
            builder.push(&x.fold(dense.w.row(row)), dense.b[row].into(), 0.0)?;
        }
        let scale = f64::from(1u32 << (15 - bits));
        let bound = |norm: &f64| match activation {
            Activation::Tanh | Activation::Sigmoid => 1.0,
            Activation::Linear | Activation::Relu => norm.min(scale),
        };
        x = Vector {
            scales: vec![scale; dense.w.rows],
            bounds: norms.iter().map(bound).collect(),
        };
        parts.push(DenseParams {
            matrix: builder.finish(tensors),
            activation,
            frac_bits: bits,
        });
    }
    Ok((parts, x))
}

/// What one of `count` dense layers in a chain is called.
pub(super) fn link_name(chain: &str, index: usize, count: usize) -> String {
    match count {
        1 => chain.to_owned(),
        _ => format!("{chain} {index}"),
    }
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
