//! Rows of any weight format times a vector, and the outputs of gate groups.

use crate::dispatch;
use crate::generic;
use crate::packed::{
    BiasScale, I16x4, PANEL_ROWS, PackedActivations, RowFormat, TokenScale, WeightFormat, panels,
};

/// The right-hand side of a product: a vector as the rows of a gate group are multiplied with it.
#[derive(Clone, Copy)]
pub enum Rhs<'a> {
    /// The whole vector `[x; h]`, for int8 rows.
    Concat(PackedActivations<'a>),
    /// The input part and the hidden part, for rows with a format per part.
    Parts([WeightFormat; 2], [PackedActivations<'a>; 2]),
}

/// A kernel of [`crate::generic`] or [`crate::dispatch`].
type Gemv = fn(&[u32], &PackedActivations, &mut [[i32; PANEL_ROWS]]);

impl<'a> Rhs<'a> {
    /// `x` has the columns of `format`: the input part, then the hidden part.
    pub fn new(x: &'a [I16x4], format: RowFormat) -> Self {
        // There is no layer with a format that is not supported: code for it is left out.
        if WeightFormat::Int4.is_supported() && !format.is_concat() {
            let input_len = (format.columns[0] / PANEL_ROWS).min(x.len());
            let (input, hidden) = x.split_at(input_len);
            let parts = [input, hidden].map(PackedActivations::new);
            return Self::Parts(format.formats, parts);
        }
        Self::Concat(PackedActivations::new(x))
    }

    /// Length in words of a gate's panels.
    #[inline(always)]
    pub fn panel_len(&self) -> usize {
        match self {
            Self::Concat(x) => x.num_columns(),
            Self::Parts(formats, parts) => parts_len(formats, parts),
        }
    }

    /// Writes the accumulators of a gate group: as many gates as there are accumulators, each with
    /// [`panel_len`](Self::panel_len) words of `weights`. Modulo 2^32.
    #[inline(always)]
    pub fn gemv(&self, weights: &[u32], accumulators: &mut [[i32; PANEL_ROWS]]) {
        match self {
            Self::Concat(x) => dispatch::gemv_int8(weights, x, accumulators),
            Self::Parts(..) if !WeightFormat::Int4.is_supported() => {}
            Self::Parts(formats, parts) => {
                gemv_parts_dispatch(formats, parts, weights, accumulators)
            }
        }
    }

    /// As [`gemv`](Self::gemv) by the specification, whatever the core.
    pub fn gemv_generic(&self, weights: &[u32], accumulators: &mut [[i32; PANEL_ROWS]]) {
        match self {
            Self::Concat(x) => generic::gemv_int8(weights, x, accumulators),
            Self::Parts(formats, parts) => gemv_parts(
                formats,
                parts,
                weights,
                accumulators,
                generic::gemv_int8,
                generic::gemv_int4,
            ),
        }
    }
}

// Functions of their own, so that the int8 path stays short.
#[inline(never)]
fn parts_len(formats: &[WeightFormat; 2], parts: &[PackedActivations; 2]) -> usize {
    let panel_len = |part: usize| formats[part].panel_len(parts[part].num_columns());
    panel_len(0) + panel_len(1)
}

#[inline(never)]
fn gemv_parts_dispatch(
    formats: &[WeightFormat; 2],
    parts: &[PackedActivations; 2],
    weights: &[u32],
    accumulators: &mut [[i32; PANEL_ROWS]],
) {
    let (int8, int4) = (dispatch::gemv_int8, dispatch::gemv_int4);
    gemv_parts(formats, parts, weights, accumulators, int8, int4);
}

/// The panels of all gates over the input part, then those over the hidden part.
#[inline(always)]
fn gemv_parts(
    formats: &[WeightFormat; 2],
    parts: &[PackedActivations; 2],
    mut weights: &[u32],
    accumulators: &mut [[i32; PANEL_ROWS]],
    gemv_int8: Gemv,
    gemv_int4: Gemv,
) {
    accumulators.fill([0; PANEL_ROWS]);
    for (format, x) in formats.iter().zip(parts) {
        let panel_len = format.panel_len(x.num_columns());
        let part = take(&mut weights, accumulators.len() * panel_len);
        if *format == WeightFormat::Int4 {
            gemv_int4(part, x, accumulators);
            continue;
        }
        for (accumulator, panel) in accumulators.iter_mut().zip(panels(part, panel_len)) {
            let (scales, panel) = match (format, panel) {
                (WeightFormat::Int8Scaled, [scales, panel @ ..]) => (scales.to_le_bytes(), panel),
                _ => ([1; PANEL_ROWS], panel),
            };
            let mut product = [[0; PANEL_ROWS]];
            gemv_int8(panel, x, &mut product);
            for (row, accumulator) in accumulator.iter_mut().enumerate() {
                // Exact modulo 2^32, as the product is: a parser bounds what it stands for.
                let scaled = product[0][row].wrapping_mul(scales[row].into());
                *accumulator = accumulator.wrapping_add(scaled);
            }
        }
    }
}

/// Splits `len` words from the front of `words`. A layer has counted its words when it was built, so they are there.
fn take<'a>(words: &mut &'a [u32], len: usize) -> &'a [u32] {
    words.split_off(..len).unwrap_or_default()
}

/// Computes the outputs of the gate group at the front of `words`, four values per gate, and moves `words` on to the next one.
///
/// Its gates have [`TokenScale`] parameters and add the token's values `gate_row`, or [`BiasScale`] if `gate_row` is empty.
#[inline(never)]
pub(crate) fn gate_group_outputs(
    words: &mut &[u32],
    x: &Rhs,
    gate_row: &[[i8; PANEL_ROWS]],
    outputs: &mut [[i32; PANEL_ROWS]],
) {
    let params_len = if gate_row.is_empty() {
        BiasScale::LEN
    } else {
        TokenScale::LEN
    };
    let Some(params) = words.split_off(..outputs.len() * params_len) else {
        return;
    };
    let Some(weights) = words.split_off(..outputs.len() * x.panel_len()) else {
        return;
    };
    x.gemv(weights, outputs);
    if gate_row.is_empty() {
        let params = params.as_chunks::<{ BiasScale::LEN }>().0;
        let params = bytemuck::must_cast_slice::<_, BiasScale>(params);
        for (outputs, params) in outputs.iter_mut().zip(params) {
            let [a, b, c, d] = *outputs;
            *outputs = [
                params.requantize(0, a),
                params.requantize(1, b),
                params.requantize(2, c),
                params.requantize(3, d),
            ];
        }
    } else {
        let params = params.as_chunks::<{ TokenScale::LEN }>().0;
        let params = bytemuck::must_cast_slice::<_, TokenScale>(params);
        for ((outputs, params), tokens) in outputs.iter_mut().zip(params).zip(gate_row) {
            for (row, value) in outputs.iter_mut().enumerate() {
                *value = params.requantize(row, *value, tokens[row]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::{GROUP_SIZE, WeightFormat, elements, pack_int4, pack_int8};
    use crate::testing::{Random, vector};
    use std::vec::Vec;

    /// A part of a gate's four rows: its words, and scale times weight of each column.
    fn part(
        random: &mut Random,
        format: WeightFormat,
        columns: usize,
    ) -> (Vec<u32>, Vec<[i32; 4]>) {
        let [least, largest] = format.range();
        let mut weights =
            |_| core::array::from_fn(|_| (random.bits(8) as i8).clamp(least, largest));
        let weights: Vec<[i8; 4]> = (0..columns).map(&mut weights).collect();
        let scales: Vec<[u8; 4]> = (0..columns.div_ceil(GROUP_SIZE))
            .map(|_| core::array::from_fn(|_| random.bits(8) as u8))
            .collect();
        let scale = |column: usize, row: usize| match format {
            WeightFormat::Int8 => 1,
            WeightFormat::Int8Scaled => i32::from(scales[0][row]),
            WeightFormat::Int4 => i32::from(scales[column / GROUP_SIZE][row]),
        };
        let scaled = weights.iter().enumerate().map(|(column, weights)| {
            core::array::from_fn(|row| scale(column, row) * i32::from(weights[row]))
        });
        let words = match format {
            WeightFormat::Int8 => pack_int8(&weights).collect(),
            WeightFormat::Int8Scaled => scales
                .first()
                .map(|scales| u32::from_le_bytes(*scales))
                .into_iter()
                .chain(pack_int8(&weights))
                .collect(),
            WeightFormat::Int4 => pack_int4(&weights, &scales).collect(),
        };
        (words, scaled.collect())
    }

    #[test]
    fn every_combination_of_formats_is_the_sum_of_products() {
        let mut random = Random::new(5);
        for input in WeightFormat::ALL {
            for hidden in WeightFormat::ALL {
                for columns in [[0, 36], [36, 0], [4, 68], [64, 32]] {
                    for num_gates in 1..=4 {
                        let format = RowFormat {
                            formats: [input, hidden],
                            columns,
                        };
                        let x = vector(&mut random, format.num_columns());
                        let gates: Vec<_> = (0..num_gates)
                            .map(|_| {
                                [0, 1].map(|p| part(&mut random, format.formats[p], columns[p]))
                            })
                            .collect();
                        let words: Vec<u32> = if format.is_concat() {
                            gates
                                .iter()
                                .flatten()
                                .flat_map(|part| part.0.clone())
                                .collect()
                        } else {
                            [0, 1]
                                .iter()
                                .flat_map(|&p| gates.iter().flat_map(move |gate| gate[p].0.clone()))
                                .collect()
                        };
                        let rhs = Rhs::new(&x, format);
                        assert_eq!(rhs.panel_len(), format.panel_len());
                        assert_eq!(words.len(), num_gates * format.panel_len());
                        let (mut generic, mut found) = ([[3; 4]; 4], [[3; 4]; 4]);
                        rhs.gemv_generic(&words, &mut generic[..num_gates]);
                        rhs.gemv(&words, &mut found[..num_gates]);
                        assert_eq!(found, generic);
                        for (gate, found) in gates.iter().zip(found) {
                            let weights = gate.iter().flat_map(|part| &part.1);
                            let expected =
                                weights
                                    .zip(elements(&x))
                                    .fold([0i32; 4], |sums, (weights, &x)| {
                                        core::array::from_fn(|row| {
                                            sums[row]
                                                .wrapping_add(weights[row].wrapping_mul(x.into()))
                                        })
                                    });
                            assert_eq!(found, expected, "{format:?}");
                        }
                    }
                }
            }
        }
    }
}
