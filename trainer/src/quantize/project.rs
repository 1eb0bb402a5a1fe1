//! A float network whose weights are multiples of their quantization scales: any framework runs it to the loss that 4 bits cost.

use super::grid::GroupedRow;
use super::operand::Operand;
use super::{Options, QuantizeError, quantize_with};
use crate::network::{GroupScales, TensorScales};
use crate::network::{Network, Op, Phase};
use pipsqueak::RowFormat;

/// What weights of a layer read in integers.
#[derive(Clone, Debug, Default)]
pub(super) struct InputScales {
    /// The joined inputs; no columns over a row of gate inputs.
    pub input: Operand,
    /// The scale of the hidden state.
    pub state: f64,
}

/// `network` with searched group scales for what `options` give another format than int8, and its weights projected to them. Its
/// model file is the same, and nothing is searched for it.
///
/// # Errors
/// As [`quantize_with`].
pub fn project_to_grid(network: &Network, options: &Options) -> Result<Network, QuantizeError> {
    let found = quantize_with(network, options)?;
    let mut projected = network.clone();
    for (index, scales) in found.input_scales.iter().enumerate() {
        let group_scales = match network.layers()[index].phase {
            Phase::Source => &found.source_group_scales,
            _ => &found.group_scales,
        };
        project_layer(&mut projected, index, scales, group_scales);
    }
    projected.source_group_scales = found.source_group_scales;
    projected.group_scales = found.group_scales;
    Ok(projected)
}

fn project_layer(network: &mut Network, index: usize, scales: &InputScales, of: &GroupScales) {
    let layer = &network.layers()[index];
    let name = super::name_in_group_scales(layer).to_owned();
    let op = layer.op.clone();
    let [w, r] = network.weights_mut(index);
    match op {
        Op::Dense(dense) => {
            if let Some(scales_of) = of.get(&name) {
                for row in 0..dense.w.rows {
                    let w = &mut w[row * dense.w.columns..][..dense.w.columns];
                    project_row(scales_of, row, [Some(w), None], scales);
                }
            }
        }
        Op::Recurrent { cell, .. } => {
            let (units, inputs) = (cell.hidden(), cell.inputs());
            for (gate, letter) in cell.gates().iter().enumerate() {
                let rows = gate * units..(gate + 1) * units;
                if let Some(scales_of) = of.get(&format!("{name} gate {letter}")) {
                    let covers_input = scales_of.covers_input(units);
                    for (place, row) in rows.clone().enumerate() {
                        let input = covers_input.then(|| &mut w[row * inputs..][..inputs]);
                        let state = &mut r[row * units..][..units];
                        project_row(scales_of, place, [input, Some(state)], scales);
                    }
                }
                let candidate = of.get(&format!("{name} candidate input"));
                if let Some(scales_of) = candidate.filter(|_| gate == 2) {
                    for (place, row) in rows.enumerate() {
                        let input = &mut w[row * inputs..][..inputs];
                        project_row(scales_of, place, [Some(input), None], scales);
                    }
                }
            }
        }
        _ => {}
    }
}

/// Projects a row over the input and over the hidden state, as far as the tensor has them, by row `place` of its scales.
fn project_row(
    of: &TensorScales,
    place: usize,
    [input, state]: [Option<&mut [f32]>; 2],
    scales: &InputScales,
) {
    let columns = RowFormat {
        formats: of.formats(),
        columns: [
            input.as_ref().map_or(0, |_| scales.input.columns),
            state.as_ref().map_or(0, |state| state.len()),
        ],
    };
    let mut folded = Vec::new();
    if let Some(input) = &input {
        folded.extend(scales.input.fold(input));
    }
    if let Some(state) = &state {
        let pairs = state.iter().map(|w| (f64::from(*w) * scales.state) as f32);
        folded.extend(pairs);
    }
    let groups = columns.scale_groups().count();
    let own = of.scales[place * groups..][..groups].to_vec();
    let row_scale = f64::from(of.row_scales[place]);
    let found = GroupedRow::round(&folded, columns, row_scale, own);
    let weights = found.weights.iter().zip(found.weight_scales(columns));
    let values: Vec<f64> = weights
        .map(|(weight, scale)| f64::from(*weight) * scale)
        .collect();
    let (of_input, of_state) = values.split_at(columns.columns[0]);
    if let Some(input) = input {
        scales.input.unfold(of_input, input);
    }
    for (w, value) in state.into_iter().flatten().zip(of_state) {
        *w = (value / scales.state) as f32;
    }
}
