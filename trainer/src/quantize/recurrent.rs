//! Recurrent layers in integers.

use super::gptq::{Gptq, Hessian};
use super::operand::Operand;
use super::row::{RowQuantizer, TensorFormat};
use super::token_input::{TokenTable, cell};
use super::{QuantizeError, TensorReport};
use crate::network::RecurrentCell;
use crate::network::formats::{INT4, INT8_INT4};
use pipsqueak::encode::{QuantizedMatrix, RecurrentParams};
use pipsqueak::fixed::{CANDIDATE_FRAC_BITS, PRE_ACTIVATION_FRAC_BITS};
use std::ops::Range;

/// What a recurrent layer reads.
pub(super) enum LayerSource<'t> {
    /// A token's row of gate inputs.
    Gates(&'t TokenTable),
    /// Vectors.
    Vector(Operand),
}

/// A recurrent layer that is to be quantized.
pub(super) struct RecurrentSource<'s> {
    /// The beginning of its tensors' names.
    pub name: &'s str,
    /// Its number among the recurrent layers of its phase.
    pub number: usize,
    pub cell: &'s RecurrentCell,
    pub source: LayerSource<'s>,
    /// The hidden state has 15 - this fraction bits.
    pub state_shift: u8,
    /// Of what it reads, where it is known.
    pub hessian: Option<&'s Hessian>,
    pub format: TensorFormat<'s>,
}

/// Quantizes a recurrent layer. Its initial states are left out.
pub(super) fn quantize_recurrent(
    layer: RecurrentSource,
    tensors: &mut Vec<TensorReport>,
) -> Result<RecurrentParams, QuantizeError> {
    let RecurrentSource {
        name,
        number,
        cell,
        source,
        state_shift,
        hessian,
        format,
    } = layer;
    let (w, r, wb, rb) = cell.weights();
    let units = cell.hidden();
    let after = matches!(cell, RecurrentCell::Gru(gru) if gru.linear_before_reset);
    let (inputs, format) = match &source {
        // Without an input both are the same.
        LayerSource::Gates(_) if format.formats == INT8_INT4 => (
            0,
            TensorFormat {
                formats: INT4,
                ..format
            },
        ),
        LayerSource::Gates(_) => (0, format),
        LayerSource::Vector(x) => (x.columns, format),
    };
    let input_weights = |row: usize| -> Vec<f32> {
        match &source {
            LayerSource::Gates(_) => vec![],
            LayerSource::Vector(x) => x.fold(w.row(row)),
        }
    };
    let one = f32::from(1u16 << state_shift);
    let recurrent = |row: usize| -> Vec<f32> { r.row(row).iter().map(|r| r * one).collect() };
    // Of a token table: the middle of the row's range, and its scale.
    let token = |row: usize| match &source {
        LayerSource::Gates(table) => (table.middles[row], table.scales[row]),
        LayerSource::Vector(_) => (0.0, 0.0),
    };
    let state_scales = vec![f64::from(one); units];
    let input_scales = match &source {
        LayerSource::Gates(_) => &[][..],
        LayerSource::Vector(x) => &x.vector.scales,
    };
    let scales = [input_scales, &state_scales].concat();
    // Weights on padding between joined vectors are 0, and have no Hessian.
    let hessian = hessian.filter(|_| inputs == input_scales.len());
    let gptq = |part: fn(&Hessian, usize) -> Range<usize>, scales: &[f64]| {
        hessian.and_then(|hessian| Gptq::new(hessian, part(hessian, scales.len()), scales))
    };
    let joint_gptq = gptq(Hessian::state, &scales);
    let state_gptq = match after {
        true => gptq(Hessian::state, &state_scales),
        false => None,
    };
    let input_gptq = match after {
        true => gptq(|_, inputs| 0..inputs, input_scales),
        false => None,
    };
    let mut gates: Vec<QuantizedMatrix> = Vec::new();
    let mut token_scales = Vec::new();
    for (gate, letter) in cell.gates().iter().enumerate() {
        // The candidate's two products stay apart where the reset gate stands between them.
        let alone = gate == 2 && after;
        let name = format!("{name} gate {letter}");
        let columns = [if alone { 0 } else { inputs }, units];
        let gptq = match alone {
            true => &state_gptq,
            false => &joint_gptq,
        };
        let mut builder = RowQuantizer::new(name, columns, PRE_ACTIVATION_FRAC_BITS, format)
            .with_gptq(gptq.as_ref());
        for row in gate * units..(gate + 1) * units {
            let recurrent_bias = f64::from(rb[row]);
            if alone {
                builder.push(&recurrent(row), recurrent_bias, 0.0)?;
            } else {
                let (middle, scale) = token(row);
                let weights = [input_weights(row), recurrent(row)].concat();
                let bias = recurrent_bias + f64::from(wb[row]) + middle;
                token_scales.push(builder.push(&weights, bias, scale)?);
            }
        }
        gates.push(builder.finish(tensors));
    }
    let mut candidate_bias = Vec::new();
    match &source {
        LayerSource::Gates(_) if after => {
            let one = f64::from(1 << CANDIDATE_FRAC_BITS);
            for (row, &bias) in wb.iter().enumerate().skip(2 * units) {
                let (middle, scale) = token(row);
                token_scales.push((scale * one).round() as i32);
                candidate_bias.push(((f64::from(bias) + middle) * one).round() as i32);
            }
        }
        LayerSource::Gates(_) => {}
        LayerSource::Vector(_) => {
            token_scales.clear();
            if after {
                let name = format!("{name} candidate input");
                let mut builder =
                    RowQuantizer::new(name, [inputs, 0], PRE_ACTIVATION_FRAC_BITS, format)
                        .with_gptq(input_gptq.as_ref());
                for (row, &bias) in wb.iter().enumerate().skip(2 * units) {
                    builder.push(&input_weights(row), bias.into(), 0.0)?;
                }
                gates.push(builder.finish(tensors));
            }
        }
    }
    Ok(RecurrentParams {
        cell: self::cell(number, cell)?,
        hidden_size: units,
        state_shift,
        formats: format.formats,
        gates,
        token_scales,
        candidate_input_bias: candidate_bias,
        init: [None; 2],
    })
}
