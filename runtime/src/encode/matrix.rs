//! Matrices of quantized weights, and their packing into panels of four rows.

use alloc::vec;
use alloc::vec::Vec;
use pipsqueak_kernels::fixed::QuantizedMultiplier;
use pipsqueak_kernels::packed::{
    GROUP_SIZE, PANEL_ROWS, RowFormat, WeightFormat, pack_int4, pack_int8, round_up,
};

/// A matrix of quantized weights.
///
/// Its columns are those over the input and those over the hidden state, side by side. Where an input is several vectors joined,
/// each but the last is padded to a multiple of four columns, by columns of zeros.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuantizedMatrix {
    /// Numbers and formats of the columns over the input and over the hidden state; not padded.
    pub format: RowFormat,
    /// `[rows][columns]`, within the range of each format.
    pub weights: Vec<i8>,
    /// `[rows][groups]`: what weights are multiplied with, by the groups of [`RowFormat::scale_groups`]. The scale of an
    /// [`Int8`](WeightFormat::Int8) group is 1, whatever is here.
    pub scales: Vec<u8>,
    /// `[rows]` in units of the accumulator, with half of the multiplier's shift, `2^(shift - 1)`, added.
    pub bias: Vec<i32>,
    /// `[rows]`: from the accumulator to the result.
    pub multiplier: Vec<QuantizedMultiplier>,
}

/// Four rows.
pub(super) struct PackedRows {
    /// Biases and multipliers.
    pub params: [u32; 2 * PANEL_ROWS],
    /// The words over each part, or over both if they are one.
    pub panels: Vec<Vec<u32>>,
}

/// Values 4 `index` to 4 `index` + 3, or zeros after the last.
pub(super) fn four(values: &[i32], index: usize) -> [u32; PANEL_ROWS] {
    let value = |row: usize| {
        values
            .get(PANEL_ROWS * index + row)
            .copied()
            .unwrap_or_default()
    };
    core::array::from_fn(|row| value(row) as u32)
}

impl QuantizedMatrix {
    /// The weights of column `column` over the input, if the matrix has columns over it.
    fn input_column(&mut self, column: usize) -> impl Iterator<Item = &mut i8> {
        let width = self.format.num_columns();
        let found = column < self.format.columns[0];
        let rows = self.weights.chunks_exact_mut(width.max(1));
        rows.filter_map(move |row| row.get_mut(column).filter(|_| found))
    }

    /// Sets the weights of some columns over the input to 0.
    pub(super) fn clear_columns(&mut self, columns: &[usize]) {
        for &column in columns {
            self.input_column(column).for_each(|weight| *weight = 0);
        }
    }

    /// Four rows at a time, padded.
    ///
    /// # Panics
    /// If a list has another length than the shape, or a weight is out of range.
    pub(super) fn packed_rows(&self) -> Vec<PackedRows> {
        let multipliers: Vec<i32> = self.multiplier.iter().map(|m| m.0 as i32).collect();
        let parts = self.columns_by_four();
        let packed = |(index, parts): (usize, &Vec<Vec<[i8; PANEL_ROWS]>>)| {
            let params = [four(&self.bias, index), four(&multipliers, index)];
            PackedRows {
                params: bytemuck::cast(params),
                panels: match self.format.is_concat() {
                    true => vec![pack_int8(&parts.concat()).collect()],
                    false => self.pack_parts(index, parts),
                },
            }
        };
        parts.iter().enumerate().map(packed).collect()
    }

    /// The words over each part of rows 4 `index` to 4 `index` + 3.
    fn pack_parts(&self, index: usize, parts: &[Vec<[i8; PANEL_ROWS]>]) -> Vec<Vec<u32>> {
        let groups = self.format.scale_groups().count();
        let scale = |row: usize, group: usize| {
            let row = PANEL_ROWS * index + row;
            self.scales
                .get(row * groups + group)
                .copied()
                .unwrap_or_default()
        };
        let four_scales =
            |group: usize| -> [u8; PANEL_ROWS] { core::array::from_fn(|row| scale(row, group)) };
        let mut first = 0;
        let words = parts
            .iter()
            .zip(self.format.formats)
            .map(|(columns, format)| {
                let count = match format {
                    _ if columns.is_empty() => 0,
                    WeightFormat::Int8 | WeightFormat::Int8Scaled => 1,
                    WeightFormat::Int4 => columns.len().div_ceil(GROUP_SIZE),
                };
                let scales: Vec<[u8; PANEL_ROWS]> =
                    (first..first + count).map(four_scales).collect();
                first += count;
                match format {
                    WeightFormat::Int4 => pack_int4(columns, &scales).collect(),
                    WeightFormat::Int8 => pack_int8(columns).collect(),
                    WeightFormat::Int8Scaled => {
                        let scales = scales.into_iter().map(u32::from_le_bytes);
                        scales.chain(pack_int8(columns)).collect()
                    }
                }
            });
        words.collect()
    }

    /// The padded columns over each part of four rows at a time.
    fn columns_by_four(&self) -> Vec<Vec<Vec<[i8; PANEL_ROWS]>>> {
        let (width, rows) = (self.format.num_columns(), self.bias.len());
        assert_eq!(self.weights.len(), rows * width, "{:?}", self.format);
        let groups = self.format.scale_groups().count();
        assert_eq!(self.scales.len(), rows * groups, "scales of groups");
        let weights: Vec<&[i8]> = self.weights.chunks_exact(width.max(1)).collect();
        for row in &weights {
            let mut row = *row;
            for (columns, format) in self.format.columns.into_iter().zip(self.format.formats) {
                let (part, rest) = row.split_at(columns);
                let [min, max] = format.range();
                let mut part = part.iter();
                let within = part.all(|weight| (min..=max).contains(weight));
                assert!(within, "weights within {min} to {max}");
                row = rest;
            }
        }
        let parts = |block: &[&[i8]]| {
            let at = |row: usize, column: usize| block.get(row).map_or(0, |row| row[column]);
            let mut start = 0;
            let parts = self.format.columns.iter().map(|&columns| {
                let range = start..start + columns;
                start = range.end;
                let mut columns: Vec<[i8; PANEL_ROWS]> = range
                    .map(|column| core::array::from_fn(|row| at(row, column)))
                    .collect();
                columns.resize(round_up(columns.len()), [0; PANEL_ROWS]);
                columns
            });
            parts.collect()
        };
        weights.chunks(PANEL_ROWS).map(parts).collect()
    }
}
