//! Initial states in integers.

use super::layers::{Quantizer, bound_of, shift_of};
use super::{QuantizeError, unsupported};
use crate::network::{InitialState, Op, VectorId};
use pipsqueak::encode::OpParams;
use pipsqueak::fixed::CELL_FRAC_BITS;

impl Quantizer<'_, '_> {
    /// A constant that is a cell state is one in a model file too.
    pub(super) fn initial_vector(&self, id: VectorId) -> VectorId {
        match self.network.layers()[id.layer].op {
            Op::Constant(_) => VectorId {
                is_cell_state: self.is_cell_constant(id.layer),
                ..id
            },
            _ => id,
        }
    }

    /// The recurrent layers that begin at layer `index`, and whether by their cell states.
    fn begins(&self, index: usize) -> impl Iterator<Item = (usize, bool)> {
        let layers = self.network.layers().iter().enumerate();
        let inits = layers.filter_map(|(other, layer)| match &layer.op {
            Op::Recurrent { init, .. } => Some((other, init)),
            _ => None,
        });
        let id = InitialState::Vector(VectorId::result(index));
        inits.flat_map(move |(other, init)| {
            let both = [(false, init[0]), (true, init[1])].into_iter();
            both.filter(move |(_, init)| *init == id)
                .map(move |(is_cell_state, _)| (other, is_cell_state))
        })
    }

    fn is_cell_constant(&self, index: usize) -> bool {
        self.begins(index).any(|(_, is_cell_state)| is_cell_state)
    }

    /// Quantizes constants: a hidden state in the format of its layer.
    pub(super) fn constants(&mut self) -> Result<(), QuantizeError> {
        for (index, layer) in self.network.layers().iter().enumerate() {
            let Op::Constant(values) = &layer.op else {
                continue;
            };
            let id = VectorId::result(index);
            let is_read = self.network.layers().iter().any(|l| l.inputs.contains(&id));
            let shift = shift_of(bound_of(values));
            let begun = self.begins(index).next();
            let begun = begun.map(|(layer, _)| self.state_shifts[layer]);
            let op = if self.is_cell_constant(index) {
                if is_read || !self.begins(index).all(|(_, is_cell_state)| is_cell_state) {
                    return unsupported(
                        "constants that are a cell state and something else",
                        "two",
                    );
                }
                OpParams::ConstantCell {
                    values: fixed(values, CELL_FRAC_BITS, i32::MIN, i32::MAX).collect(),
                }
            } else {
                let shift = match is_read {
                    true => shift,
                    false => begun.unwrap_or(shift),
                };
                let frac_bits = 15 - shift;
                let values = fixed(values, frac_bits.into(), i16::MIN.into(), i16::MAX.into());
                OpParams::Constant {
                    values: values.map(|value| value as i16).collect(),
                    frac_bits,
                }
            };
            self.ops[index] = Some(op);
        }
        Ok(())
    }
}

/// Values with so many fraction bits.
fn fixed(values: &[f32], frac_bits: u32, low: i32, high: i32) -> impl Iterator<Item = i32> {
    let one = f64::from(1u32 << frac_bits);
    // A cast from float saturates.
    let fixed = move |v: &f32| ((f64::from(*v) * one).round() as i32).clamp(low, high);
    values.iter().map(fixed)
}
