//! The recurrent cells in integers.

use super::input::{Source, cell};
use super::parts::{RecurrentParts, StartParts};
use super::rounding::{Moment, Rounding};
use super::rows::{RowsBuilder, Width};
use super::{QuantizeError, TensorReport};
use crate::network::Layer;
use crate::quantize::formats::{INT4, INT8_INT4};
use pipsqueak::encode::QuantizedMatrix;
use pipsqueak::fixed::{CANDIDATE_FRAC_BITS, PRE_ACTIVATION_FRAC_BITS};
use std::ops::Range;

/// Quantizes `layer`, number `index` of its network, whose hidden state has 15 - `shift` fraction bits and begins at
/// `starts`. `name` is its tensors' beginning; `moment` is of what comes in, where it is known; `width` is its weights'.
#[allow(clippy::too_many_arguments)]
pub(super) fn quantize_layer(
    name: &str,
    index: usize,
    layer: &Layer,
    source: &Source,
    (shift, starts): (u8, [StartParts; 2]),
    moment: Option<&Moment>,
    width: Width,
    tensors: &mut Vec<TensorReport>,
) -> Result<RecurrentParts, QuantizeError> {
    let (w, r, wb, rb) = layer.weights();
    let units = layer.hidden();
    let (letters, after) = match layer {
        Layer::Gru(gru) => (&["z", "r", "h"][..], gru.linear_before_reset),
        Layer::Lstm(_) => (&["i", "o", "f", "c"][..], false),
        Layer::Rnn(_) => (&["h"][..], false),
    };
    let (inputs, width) = match source {
        // Without an input both are the same.
        Source::Table(_) if width.formats == INT8_INT4 => (
            0,
            Width {
                formats: INT4,
                ..width
            },
        ),
        Source::Table(_) => (0, width),
        Source::Vector(x) => (x.scales.len(), width),
    };
    let input_weights = |row: usize| -> Vec<f32> {
        match source {
            Source::Table(_) => vec![],
            Source::Vector(x) => x.fold(w.row(row)),
        }
    };
    let one = f32::from(1u16 << shift);
    let recurrent = |row: usize| -> Vec<f32> { r.row(row).iter().map(|r| r * one).collect() };
    // What a token table has in the row's place: the middle of its range and one step.
    let token = |row: usize| match source {
        Source::Table(table) => (table.middles[row], table.steps[row]),
        Source::Vector(_) => (0.0, 0.0),
    };
    let state_scales = vec![f64::from(one); units];
    let input_scales = match source {
        Source::Table(_) => &[][..],
        Source::Vector(x) => &x.scales,
    };
    let scales = [input_scales, &state_scales].concat();
    let rounding = |part: fn(&Moment, usize) -> Range<usize>, scales: &[f64]| {
        moment.and_then(|moment| Rounding::new(moment, part(moment, scales.len()), scales))
    };
    let joint_rounding = rounding(Moment::state, &scales);
    let state_rounding = if after {
        rounding(Moment::state, &state_scales)
    } else {
        None
    };
    let input_rounding = if after {
        rounding(|_, inputs| 0..inputs, input_scales)
    } else {
        None
    };
    let mut gates: Vec<QuantizedMatrix> = Vec::new();
    let mut factors = Vec::new();
    for (gate, letter) in letters.iter().enumerate() {
        // The candidate's two products stay apart where the reset gate stands between them.
        let alone = gate == 2 && after;
        let name = format!("{name} gate {letter}");
        let columns = [if alone { 0 } else { inputs }, units];
        let rounding = if alone {
            &state_rounding
        } else {
            &joint_rounding
        };
        let mut builder = RowsBuilder::new(name, columns, PRE_ACTIVATION_FRAC_BITS, width)
            .rounded_by(rounding.as_ref());
        for row in gate * units..(gate + 1) * units {
            let recurrent_bias = f64::from(rb[row]);
            if alone {
                builder.push(&recurrent(row), recurrent_bias, 0.0)?;
            } else {
                let (middle, step) = token(row);
                let weights = [input_weights(row), recurrent(row)].concat();
                let bias = recurrent_bias + f64::from(wb[row]) + middle;
                factors.push(builder.push(&weights, bias, step)?);
            }
        }
        gates.push(builder.finish(tensors));
    }
    let mut candidate_bias = Vec::new();
    match source {
        Source::Table(_) if after => {
            let one = f64::from(1 << CANDIDATE_FRAC_BITS);
            for (row, &bias) in wb.iter().enumerate().skip(2 * units) {
                let (middle, step) = token(row);
                factors.push((step * one).round() as i32);
                candidate_bias.push(((f64::from(bias) + middle) * one).round() as i32);
            }
        }
        Source::Table(_) => {}
        Source::Vector(_) => {
            factors.clear();
            if after {
                let name = format!("{name} candidate input");
                let mut builder =
                    RowsBuilder::new(name, [inputs, 0], PRE_ACTIVATION_FRAC_BITS, width)
                        .rounded_by(input_rounding.as_ref());
                for (row, &bias) in wb.iter().enumerate().skip(2 * units) {
                    builder.push(&input_weights(row), bias.into(), 0.0)?;
                }
                gates.push(builder.finish(tensors));
            }
        }
    }
    Ok(RecurrentParts {
        cell: cell(index, layer)?,
        hidden: units,
        state_shift: shift,
        formats: width.formats,
        gates,
        token_scales: factors,
        candidate_input_bias: candidate_bias,
        starts,
    })
}
