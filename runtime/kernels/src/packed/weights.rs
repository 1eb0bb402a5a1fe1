//! The weights of four rows, and the formats they have.
//!
//! # int8
//! Two words per pair of columns: rows 0 and 1, then rows 2 and 3. A word's halfword is one column,
//! `(even row + 128) | odd row << 8`. With S the sum of activations times halfwords and B that of activations times high bytes,
//! `odd = B` and `even = S - 256 B - 128 sum(x)`, exact modulo 2^32: one byte extraction and two multiplications serve two
//! weights.
//!
//! # int4
//! Groups of up to [`GROUP_SIZE`] columns, the last one with what is left. A group is a word of four scales, row 0's in the
//! lowest byte, then a word per pair of columns. A word's halfword is one column:
//! `(a + 8) | (b + 8) << 4 | (c + 8) << 8 | d << 12`, d in two's complement. With `P_k` the sum of activations times
//! `halfword >> 4 k`, an arithmetic shift, a group's rows are
//!
//! ```text
//! a = P_0 - 16 P_1 - 8 sum(x)    b = P_1 - 16 P_2 - 8 sum(x)    c = P_2 - 16 P_3 - 8 sum(x)    d = P_3
//! ```
//!
//! exact modulo 2^32. A row adds each group's sum, at most 2^23, times the group's scale to its accumulator.

/// Rows of a panel. Rows and columns are padded to a multiple of it.
pub const PANEL_ROWS: usize = 4;
/// Columns of a group of int4 weights that share a scale.
pub const GROUP_SIZE: usize = 32;
/// The least and the largest int8 weight.
pub const INT8_RANGE: [i8; 2] = [-127, 127];
/// The least and the largest int4 weight.
pub const INT4_RANGE: [i8; 2] = [-8, 7];

/// Rounds `n` up to a multiple of [`PANEL_ROWS`].
pub const fn round_up(n: usize) -> usize {
    n.div_ceil(PANEL_ROWS) * PANEL_ROWS
}

/// The format of the weights over one part of a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightFormat {
    /// 8 bits, -127 to 127.
    #[default]
    Int8,
    /// As [`Int8`](Self::Int8), times a scale of the row, 0 to 255: a word of four scales, row 0's in the lowest byte, and then
    /// the int8 panel. The scale brings the rows to the unit of another part's int4 groups.
    Int8Scaled,
    /// 4 bits, -8 to 7, times a scale of the row's group of [`GROUP_SIZE`] columns, 0 to 255.
    Int4,
}

impl WeightFormat {
    /// All formats, in the order of their numbers in a model file.
    pub const ALL: [Self; 3] = [Self::Int8, Self::Int8Scaled, Self::Int4];

    /// Whether this build has the kernels of the format: those of [`Int8Scaled`](Self::Int8Scaled) and [`Int4`](Self::Int4)
    /// need the feature `int4`.
    pub const fn is_supported(self) -> bool {
        matches!(self, Self::Int8) || cfg!(feature = "int4")
    }

    /// Length in words of a panel over `columns` columns, a multiple of 4; 0 for none.
    #[inline]
    pub const fn panel_len(self, columns: usize) -> usize {
        match self {
            Self::Int8Scaled if columns > 0 => 1 + columns,
            Self::Int8 | Self::Int8Scaled => columns,
            Self::Int4 => columns / 2 + columns.div_ceil(GROUP_SIZE),
        }
    }

    /// The least and the largest weight.
    pub const fn range(self) -> [i8; 2] {
        match self {
            Self::Int8 | Self::Int8Scaled => INT8_RANGE,
            Self::Int4 => INT4_RANGE,
        }
    }
}

/// The columns of a gate group's rows: over the input part and over the hidden part of a vector `[x; h]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowFormat {
    /// The format of the weights over each part.
    pub formats: [WeightFormat; 2],
    /// The number of columns over each part, multiples of 4; 0 for a part that is absent.
    pub columns: [usize; 2],
}

impl RowFormat {
    /// The number of columns over both parts.
    pub const fn num_columns(self) -> usize {
        self.columns[0] + self.columns[1]
    }

    /// Whether a gate's rows go over the whole vector `[x; h]` at once: every part that is present has [`WeightFormat::Int8`].
    #[inline]
    pub const fn is_concat(self) -> bool {
        let ([input, hidden], [input_columns, hidden_columns]) = (self.formats, self.columns);
        (matches!(input, WeightFormat::Int8) || input_columns == 0)
            && (matches!(hidden, WeightFormat::Int8) || hidden_columns == 0)
    }

    /// Length in words of a gate's panel over each part.
    pub const fn part_lens(self) -> [usize; 2] {
        let ([input, hidden], [input_columns, hidden_columns]) = (self.formats, self.columns);
        [
            input.panel_len(input_columns),
            hidden.panel_len(hidden_columns),
        ]
    }

    /// Length in words of a gate's panels over both parts.
    pub const fn panel_len(self) -> usize {
        let [input, hidden] = self.part_lens();
        input + hidden
    }

    /// The runs of a row's columns that have a scale of their own, from the first column on: the number of columns and the least
    /// and the largest weight. [`WeightFormat::Int8`] beside another format is one run, of scale 1.
    pub fn scale_groups(self) -> impl Iterator<Item = (usize, [i8; 2])> {
        let is_concat = self.is_concat();
        let parts = self.formats.into_iter().zip(self.columns);
        parts
            .filter(move |_| !is_concat)
            .flat_map(|(format, columns)| {
                let group_size = match format {
                    WeightFormat::Int4 => GROUP_SIZE,
                    WeightFormat::Int8 | WeightFormat::Int8Scaled => columns.max(1),
                };
                let starts = (0..columns).step_by(group_size);
                starts.map(move |start| (group_size.min(columns - start), format.range()))
            })
    }

    /// The first columns, at most `max_columns`.
    pub fn truncate(self, max_columns: usize) -> Self {
        let input = self.columns[0].min(max_columns);
        let hidden = self.columns[1].min(max_columns - input);
        Self {
            columns: [input, hidden],
            ..self
        }
    }

    /// The panels of gate `gate` among the weights of a gate group with `num_gates` gates: over the input part and over the hidden
    /// part, or one over the whole vector and an empty one if [`is_concat`](Self::is_concat). They are empty if `weights` are too
    /// few.
    pub fn gate_panels(
        self,
        weights: &[u32],
        num_gates: usize,
        gate: usize,
    ) -> [(WeightFormat, &[u32]); 2] {
        let panel = |start: usize, len: usize| {
            weights
                .get(start + gate * len..)
                .and_then(|w| w.get(..len))
                .unwrap_or(&[])
        };
        let [input, hidden] = self.part_lens();
        if self.is_concat() {
            let whole = panel(0, input + hidden);
            return [(WeightFormat::Int8, whole), (WeightFormat::Int8, &[])];
        }
        [
            (self.formats[0], panel(0, input)),
            (self.formats[1], panel(num_gates * input, hidden)),
        ]
    }
}

/// Consecutive panels of `len` words; none if a panel has no words.
// Unlike `chunks_exact` it neither divides nor panics.
#[inline(always)]
pub(crate) fn panels(mut words: &[u32], len: usize) -> impl Iterator<Item = &[u32]> {
    core::iter::from_fn(move || match len {
        0 => None,
        _ => words.split_off(..len),
    })
}

/// The L1 norm of each row of a panel: the sum of |weight|, or of |weight| times scale. In one pass over the words.
///
/// At most 65,536 columns of 255 x 127, below 2^31.
pub fn l1_norms(format: WeightFormat, panel: &[u32]) -> [u32; PANEL_ROWS] {
    match format {
        // There is no panel of a format that is not supported: code for it is left out.
        _ if !format.is_supported() => [0; PANEL_ROWS],
        WeightFormat::Int8 => l1_norms_int8(panel),
        WeightFormat::Int8Scaled => panel
            .split_first()
            .map_or([0; PANEL_ROWS], |(scales, rows)| {
                times_scales(l1_norms_int8(rows), *scales)
            }),
        WeightFormat::Int4 => int4_groups(panel).fold([0; PANEL_ROWS], |norms, (scales, words)| {
            let group = times_scales(l1_norms_int4(words), scales);
            core::array::from_fn(|row| norms[row] + group[row])
        }),
    }
}

fn times_scales(norms: [u32; PANEL_ROWS], scales: u32) -> [u32; PANEL_ROWS] {
    let scales = scales.to_le_bytes();
    core::array::from_fn(|row| norms[row] * u32::from(scales[row]))
}

// Out of line: the sums of four rows fill the registers of a small core.
#[inline(never)]
fn l1_norms_int8(panel: &[u32]) -> [u32; PANEL_ROWS] {
    let mut norms = [0; PANEL_ROWS];
    for &[rows_01, rows_23] in panel.as_chunks().0 {
        for (words, norms) in [rows_01, rows_23].into_iter().zip(norms.as_chunks_mut().0) {
            let [even, odd] = norms;
            for column in [words, words >> 16] {
                *even += (i32::from(column as u8) - 128).unsigned_abs();
                *odd += i32::from((column >> 8) as i8).unsigned_abs();
            }
        }
    }
    norms
}

fn l1_norms_int4(words: &[u32]) -> [u32; PANEL_ROWS] {
    let mut norms = [0; PANEL_ROWS];
    for &word in words {
        for column in [word, word >> 16] {
            for (row, norm) in norms.iter_mut().enumerate() {
                *norm += u32::from(int4_weight(column, row).unsigned_abs());
            }
        }
    }
    norms
}

/// The scales and the words of each group of an int4 panel.
pub(crate) fn int4_groups(panel: &[u32]) -> impl Iterator<Item = (u32, &[u32])> {
    let groups = panel.chunks(1 + GROUP_SIZE / 2);
    groups.filter_map(|group| group.split_first().map(|(scales, words)| (*scales, words)))
}

/// The weight of row `row` in the halfword of a column.
#[inline(always)]
pub(crate) fn int4_weight(column: u32, row: usize) -> i8 {
    let nibble = (column >> (PANEL_ROWS * row) & 15) as i8;
    if row == PANEL_ROWS - 1 {
        (nibble ^ 8) - 8
    } else {
        nibble - 8
    }
}

/// The words of an int8 panel. `columns` are the four rows' weights of each column, an even number of them.
///
/// ```
/// use pipsqueak_kernels::packed::{pack_int8, unpack_int8};
///
/// let columns = [[1, 2, 3, 4], [-5, -6, -7, -8]];
/// let panel: Vec<u32> = pack_int8(&columns).collect();
/// assert_eq!(panel, [0xfa7b_0281, 0xf879_0483]);
/// assert!(unpack_int8(&panel).eq(columns));
/// ```
pub fn pack_int8(columns: &[[i8; PANEL_ROWS]]) -> impl Iterator<Item = u32> {
    let half =
        |even: i8, odd: i8| u32::from((even as u8).wrapping_add(128)) | u32::from(odd as u8) << 8;
    columns.as_chunks::<2>().0.iter().flat_map(move |[a, b]| {
        [
            half(a[0], a[1]) | half(b[0], b[1]) << 16,
            half(a[2], a[3]) | half(b[2], b[3]) << 16,
        ]
    })
}

/// The four rows' weights of each column of an int8 panel: the inverse of [`pack_int8`].
pub fn unpack_int8(panel: &[u32]) -> impl Iterator<Item = [i8; PANEL_ROWS]> {
    let even = |column: u32| (column as u8).wrapping_sub(128) as i8;
    let odd = |column: u32| (column >> 8) as i8;
    let column = move |a: u32, b: u32| [even(a), odd(a), even(b), odd(b)];
    let pairs = panel.as_chunks::<2>().0.iter();
    pairs.flat_map(move |&[a, b]| [column(a, b), column(a >> 16, b >> 16)])
}

/// The weights of row `row`, 0 to 3, of an int8 panel.
pub fn unpack_int8_row(panel: &[u32], row: usize) -> impl Iterator<Item = i8> {
    let words = panel.as_chunks::<2>().0.iter();
    words.flat_map(move |&[rows_01, rows_23]| {
        let word = if row < 2 { rows_01 } else { rows_23 };
        [word, word >> 16].map(|column| match row % 2 {
            0 => (column as u8).wrapping_sub(128) as i8,
            _ => (column >> 8) as i8,
        })
    })
}

/// The words of an int4 panel. `columns` are the four rows' weights of each column, an even number of them, in
/// [`INT4_RANGE`]; `scales` are the four rows' scales of each group of [`GROUP_SIZE`] columns.
pub fn pack_int4(
    columns: &[[i8; PANEL_ROWS]],
    scales: &[[u8; PANEL_ROWS]],
) -> impl Iterator<Item = u32> {
    let half = |[a, b, c, d]: [i8; PANEL_ROWS]| {
        let low = |w: i8| (w as u32).wrapping_add(8) & 15;
        low(a) | low(b) << 4 | low(c) << 8 | (d as u32 & 15) << 12
    };
    let groups = columns.chunks(GROUP_SIZE).zip(scales);
    groups.flat_map(move |(columns, scales)| {
        let words = columns.as_chunks::<2>().0.iter();
        core::iter::once(u32::from_le_bytes(*scales))
            .chain(words.map(move |&[first, second]| half(first) | half(second) << 16))
    })
}

/// Scale times weight of the four rows of each column of an int4 panel: the inverse of [`pack_int4`].
pub fn unpack_int4(panel: &[u32]) -> impl Iterator<Item = [i16; PANEL_ROWS]> {
    int4_groups(panel).flat_map(|(scales, words)| {
        let scales = scales.to_le_bytes().map(i16::from);
        let columns = words.iter().flat_map(|&word| [word, word >> 16]);
        columns.map(move |column| {
            core::array::from_fn(|row| scales[row] * i16::from(int4_weight(column, row)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;
    use std::vec::Vec;

    fn columns(count: usize, shift: u32) -> Vec<[i8; PANEL_ROWS]> {
        let mut rng = rand_pcg::Pcg32::new(count as u64, 1);
        let mut weight = || (rng.next_u32() as i32 >> shift).max(-127) as i8;
        (0..count)
            .map(|_| core::array::from_fn(|_| weight()))
            .collect()
    }

    /// The sum of |weight| of each row, a column at a time.
    fn norms(columns: impl Iterator<Item = [i16; PANEL_ROWS]>) -> [u32; PANEL_ROWS] {
        columns.fold([0; PANEL_ROWS], |norms, column| {
            core::array::from_fn(|row| norms[row] + u32::from(column[row].unsigned_abs()))
        })
    }

    #[test]
    fn int8_panels_unpack_to_what_was_packed() {
        for count in [4, 8, 12, 128, 516] {
            let columns = columns(count, 24);
            let panel: Vec<u32> = pack_int8(&columns).collect();
            assert_eq!(panel.len(), WeightFormat::Int8.panel_len(count));
            assert_eq!(unpack_int8(&panel).collect::<Vec<_>>(), columns);
            for row in 0..PANEL_ROWS {
                assert!(unpack_int8_row(&panel, row).eq(columns.iter().map(|column| column[row])));
            }
            let expected = norms(columns.iter().map(|column| column.map(i16::from)));
            assert_eq!(l1_norms(WeightFormat::Int8, &panel), expected);
            let scaled: Vec<u32> = [u32::from_le_bytes([1, 0, 3, 255])]
                .into_iter()
                .chain(panel)
                .collect();
            assert_eq!(scaled.len(), WeightFormat::Int8Scaled.panel_len(count));
            let [a, _, c, d] = expected;
            assert_eq!(
                l1_norms(WeightFormat::Int8Scaled, &scaled),
                [a, 0, 3 * c, 255 * d]
            );
        }
    }

    #[test]
    fn int4_panels_unpack_to_scale_times_weight() {
        for count in [4, 8, 32, 36, 64, 128, 516] {
            let columns = columns(count, 28);
            let scales: Vec<[u8; PANEL_ROWS]> = (0..count.div_ceil(GROUP_SIZE))
                .map(|group| [0, 1, 200, 255].map(|scale: u8| scale.wrapping_sub(group as u8)))
                .collect();
            let panel: Vec<u32> = pack_int4(&columns, &scales).collect();
            assert_eq!(panel.len(), WeightFormat::Int4.panel_len(count));
            let expected: Vec<[i16; PANEL_ROWS]> = columns
                .iter()
                .enumerate()
                .map(|(index, column)| {
                    let scales = scales[index / GROUP_SIZE];
                    core::array::from_fn(|row| i16::from(scales[row]) * i16::from(column[row]))
                })
                .collect();
            assert_eq!(unpack_int4(&panel).collect::<Vec<_>>(), expected);
            assert_eq!(
                l1_norms(WeightFormat::Int4, &panel),
                norms(expected.into_iter())
            );
        }
    }

    #[test]
    fn every_combination_of_formats_has_its_panels() {
        for input in WeightFormat::ALL {
            for hidden in WeightFormat::ALL {
                for columns in [[0, 36], [36, 0], [36, 68]] {
                    let format = RowFormat {
                        formats: [input, hidden],
                        columns,
                    };
                    let gates = 3;
                    let words: Vec<u32> = (0..(gates * format.panel_len()) as u32).collect();
                    let lens = match format.is_concat() {
                        true => [format.num_columns(), 0],
                        false => [input.panel_len(columns[0]), hidden.panel_len(columns[1])],
                    };
                    // Every word is in one panel, in the order of part, gate, word.
                    let part = |part: usize| {
                        (0..gates).flat_map(move |gate| {
                            (0..lens[part]).map(move |word| (part, gate, word))
                        })
                    };
                    for (at, (part, gate, word)) in part(0).chain(part(1)).enumerate() {
                        let (_, panel) = format.gate_panels(&words, gates, gate)[part];
                        assert_eq!((panel.len(), panel[word]), (lens[part], at as u32));
                    }
                    let columns_with_scales: usize =
                        format.scale_groups().map(|group| group.0).sum();
                    let expected = if format.is_concat() {
                        0
                    } else {
                        format.num_columns()
                    };
                    assert_eq!(columns_with_scales, expected);
                }
            }
        }
    }
}
