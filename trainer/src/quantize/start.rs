//! Where states begin, in integers, and so how large they can be.

use super::calibrate::{Seen, any_state};
use super::dense::{START_COST, quantize_chain};
use super::parts::{RecurrentParts, StartParts};
use super::rows::Width;
use super::{QuantizeError, TensorReport, Vector};
use crate::network::{Layer, Network, Start};
use pipsqueak::fixed::CELL_FRAC_BITS;

/// A cell state is read as a vector in Q5.10: 15 fraction bits less these.
const CELL_SHIFT: u32 = 5;
/// The most that a hidden state has less than 15 fraction bits.
const MAX_STATE_SHIFT: u8 = 8;

/// A layer's starts, and the shift of its hidden state.
pub(super) struct Starts {
    pub parts: [StartParts; 2],
    pub shift: u8,
}

/// What starts are made of.
#[derive(Clone, Copy)]
pub(super) struct Origins<'a> {
    /// The layers of the encoder.
    pub encoder: &'a [RecurrentParts],
    /// The feature vector.
    pub features: &'a Vector,
}

/// Quantizes the starts of layer `layer`. The shift is not below `least`.
pub(super) fn quantize_starts(
    name: &str,
    network: &Network,
    layer: usize,
    origins: Origins,
    least: u8,
    seen: Option<&Seen>,
    tensors: &mut Vec<TensorReport>,
) -> Result<Starts, QuantizeError> {
    let starts = &network.starts[layer];
    // The shift that a cell computes itself within is 0: its outputs are below 1.
    let mut shift = 0;
    let mut parts = [StartParts::Zero, StartParts::Zero];
    for (cell, start) in [(false, &starts.hidden), (true, &starts.cell)] {
        let letter = if cell { "c" } else { "h" };
        let name = format!("{name} start of {letter}");
        let largest = seen.map(|seen| &seen.starts[layer][usize::from(cell)][..]);
        let mut through = |dense, from: Vector| {
            quantize_chain(
                &name,
                dense,
                from,
                largest.map(|l| &l[1..]),
                START_COST,
                Width::INT8,
                tensors,
            )
        };
        let mut bound = 1.0;
        parts[usize::from(cell)] = match start {
            Start::Zero => StartParts::Zero,
            Start::Given => {
                if !cell && any_state(network, layer) {
                    bound = seen.map_or(0.0, |seen| seen.given[layer]);
                }
                StartParts::Zero
            }
            Start::Constant(values) => {
                bound = values.iter().fold(0.0, |a, v| v.abs().max(a)).into();
                // Values at the bound itself must fit, too.
                bound *= 32768.0 / 32767.0;
                let bits = if cell {
                    CELL_FRAC_BITS
                } else {
                    u32::from(15 - shift_of(bound).max(least))
                };
                let (low, high) = if cell {
                    (i32::MIN, i32::MAX)
                } else {
                    (i16::MIN.into(), i16::MAX.into())
                };
                let one = f64::from(1u32 << bits);
                // A cast from float saturates.
                let value = |v: &f32| ((f64::from(*v) * one).round() as i32).clamp(low, high);
                StartParts::Constant(values.iter().map(value).collect())
            }
            Start::Features(dense) => {
                let (dense, made) = through(dense, origins.features.clone())?;
                bound = made.bound();
                StartParts::Features(dense)
            }
            Start::Encoder(from, dense) => {
                let state = if from.cell {
                    // It enters dense layers in this range, and saturates at it.
                    Vector::uniform(from_units(network, from.layer), CELL_SHIFT)
                } else {
                    let shift = origins.encoder[from.layer].state_shift;
                    Vector::uniform(from_units(network, from.layer), shift.into())
                };
                bound = state.bound();
                if from.cell && dense.is_empty() {
                    bound = largest.map_or(bound, |l| bound.min(l[0]));
                }
                let (dense, made) = through(dense, state)?;
                if !dense.is_empty() {
                    bound = made.bound();
                }
                StartParts::Encoder { from: *from, dense }
            }
        };
        if !cell {
            shift = shift_of(bound).max(least);
        }
    }
    Ok(Starts { parts, shift })
}

fn from_units(network: &Network, layer: usize) -> usize {
    let layers = network
        .encoder
        .as_deref()
        .map(|encoder| &encoder.layers[..]);
    layers.map_or(0, |layers| Layer::hidden(&layers[layer]))
}

/// The shift of a state below `bound`.
fn shift_of(bound: f64) -> u8 {
    (bound.log2().ceil().max(0.0) as u8).min(MAX_STATE_SHIFT)
}
