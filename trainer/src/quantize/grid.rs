//! A row of 4-bit weights, or of 8-bit input weights and 4-bit recurrent ones: a scale of the row, and for each
//! [group](RowFormat::scale_groups) of columns a scale that it is multiplied by.

use pipsqueak::fixed::{MAX_SHIFT, MULTIPLIER_LIMIT, QuantizedMultiplier};
use pipsqueak::{INT4_RANGE, RowFormat};

/// Scales that are tried for a group: the one that its largest weight needs, and each time this part of it less.
const SCALE_CANDIDATES: u32 = 16;
const SHRINK: f32 = 0.04;

/// A row of weights with group scales.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupedRow {
    /// The value of a weight of 1 in a group of scale 1.
    pub row_scale: f64,
    /// `[groups]`, 1 to 255.
    pub scales: Vec<u8>,
    /// `[columns]`, -8 to 7; 8-bit input weights -127 to 127.
    pub weights: Vec<i8>,
}

impl GroupedRow {
    /// Searches the scales with the least mean squared error of `weights`, group by group; an 8-bit group has the smallest scale
    /// that reaches its largest weight.
    ///
    /// `representable` is the smallest row scale, at least its argument, that a model file holds ([`representable_scale`]). The row scale
    /// is as small as 8-bit group scales allow, but the sum of magnitudes of scale times weight is at most `max_l1_norm` of it: what
    /// the accumulator bound leaves to the weights, 65,535 and less.
    ///
    /// None if no row scale is representable.
    ///
    /// ```
    /// use pipsqueak::RowFormat;
    /// use trainer::network::formats::{INT4, INT8_INT4};
    /// use trainer::quantize::{GroupedRow, representable_scale};
    /// let representable = |least| Some(representable_scale(least, 11)?.1);
    /// let weights = [0.7, -0.8, 0.1, 0.07];
    /// let columns = |formats| RowFormat { formats, columns: [2, 2] };
    /// let row = GroupedRow::search(&weights, columns(INT4), representable, |_| 60_000.0).unwrap();
    /// // The second part's largest weight is a seventh of the first's, and so is its scale.
    /// assert_eq!(row.weights, [7, -8, 7, 5]);
    /// assert_eq!(row.scales, [255, 36]);
    /// let row = GroupedRow::search(&weights, columns(INT8_INT4), representable, |_| 60_000.0).unwrap();
    /// assert_eq!(row.weights, [111, -126, 7, 5]);
    /// ```
    pub fn search(
        weights: &[f32],
        columns: RowFormat,
        representable: impl Fn(f64) -> Option<f64>,
        max_l1_norm: impl Fn(f64) -> f64,
    ) -> Option<Self> {
        let scales = groups(weights, columns).map(|(group, range)| match is_8bit(range) {
            true => (largest_of(group) / f64::from(range[1]), range),
            false => (best_scale(group).into(), range),
        });
        let scales: Vec<(f64, [i8; 2])> = scales.collect();
        let largest = scales.iter().fold(0.0, |a: f64, b| a.max(b.0));
        // A row of zeros may have any.
        let mut least = if largest > 0.0 { largest } else { 1.0 } / 255.0;
        loop {
            let row_scale = representable(least)?;
            let group_scale = |&(scale, range): &(f64, _)| match is_8bit(range) {
                true => (scale / row_scale).ceil().clamp(1.0, 255.0) as u8,
                false => (scale / row_scale).round().clamp(1.0, 255.0) as u8,
            };
            let row = Self::round(
                weights,
                columns,
                row_scale,
                scales.iter().map(group_scale).collect(),
            );
            if f64::from(row.l1_norm(columns)) <= max_l1_norm(row_scale) {
                return Some(row);
            }
            least = row_scale * 1.01;
        }
    }

    /// `weights` rounded to nearest by known scales.
    pub fn round(weights: &[f32], columns: RowFormat, row_scale: f64, scales: Vec<u8>) -> Self {
        let mut rounded = Vec::with_capacity(weights.len());
        for ((group, range), scale) in groups(weights, columns).zip(&scales) {
            let scale = row_scale * f64::from(*scale);
            rounded.extend(group.iter().map(|&w| nearest(w, scale, range) as i8));
        }
        Self {
            row_scale,
            scales,
            weights: rounded,
        }
    }

    /// The scale of each weight, `[columns]`.
    pub fn weight_scales(&self, columns: RowFormat) -> Vec<f64> {
        let scales = columns.scale_groups().zip(&self.scales);
        scales
            .flat_map(|((count, _), &scale)| vec![self.row_scale * f64::from(scale); count])
            .collect()
    }

    /// The sum of magnitudes of scale times weight.
    pub fn l1_norm(&self, columns: RowFormat) -> u32 {
        let group = |((group, _), &scale): ((&[i8], _), &u8)| -> u32 {
            let weights = group.iter().map(|w| u32::from(w.unsigned_abs()));
            u32::from(scale) * weights.sum::<u32>()
        };
        groups(&self.weights, columns)
            .zip(&self.scales)
            .map(group)
            .sum()
    }
}

/// The multiplier of a row whose accumulator's unit, times 2^15, is at least `least`, and that unit. `bits` are the
/// fraction bits of the row's output.
///
/// None where the record holds none so large.
pub fn representable_scale(least: f64, bits: u32) -> Option<(QuantizedMultiplier, f64)> {
    // Accumulator times 2^-15 times the unit, to `bits` fraction bits, is multiplier * 2^-(15 + shift).
    let factor = least * f64::from(1u32 << bits);
    // The largest shift whose multiplier fits; small units are met by a smaller multiplier.
    let shift = (0..=MAX_SHIFT)
        .rev()
        .find(|&shift| (factor * f64::from(1u32 << shift)).ceil() < f64::from(MULTIPLIER_LIMIT))?;
    let multiplier = (factor * f64::from(1u32 << shift)).ceil();
    let unit = multiplier / f64::from(1u32 << shift) / f64::from(1u32 << bits);
    Some((
        QuantizedMultiplier::new(multiplier as u16, shift as u8),
        unit,
    ))
}

/// The groups of a row, each with its least and its largest weight.
fn groups<T>(mut row: &[T], columns: RowFormat) -> impl Iterator<Item = (&[T], [i8; 2])> {
    columns.scale_groups().map(move |(count, range)| {
        let (own, rest) = row.split_at(count);
        row = rest;
        (own, range)
    })
}

/// Whether the weights have 8 bits.
fn is_8bit(range: [i8; 2]) -> bool {
    range != INT4_RANGE
}

fn largest_of(group: &[f32]) -> f64 {
    group.iter().fold(0.0, |a: f32, w| a.max(w.abs())).into()
}

/// The 4-bit scale with the least mean squared error of a group's weights; 0 for zeros.
// In f32 and in eight sums, so that training can search in every step.
#[inline(always)]
pub fn best_scale(group: &[f32]) -> f32 {
    let [low, high] = INT4_RANGE.map(f32::from);
    let whole = group.iter().fold(0f32, |a, w| a.max(w.abs())) / high;
    if whole == 0.0 {
        return 0.0;
    }
    let (mut best, mut least) = (whole, f32::MAX);
    for tried in 0..SCALE_CANDIDATES {
        let step = whole * (1.0 - SHRINK * tried as f32);
        let inverse = 1.0 / step;
        let error = |w: f32| {
            let rounded = (w * inverse).round_ties_even().clamp(low, high) * step;
            (rounded - w) * (rounded - w)
        };
        let mut sums = [0f32; 8];
        let (eights, rest) = group.as_chunks::<8>();
        for eight in eights {
            for (sum, w) in sums.iter_mut().zip(eight) {
                *sum += error(*w);
            }
        }
        let error = sums.iter().sum::<f32>() + rest.iter().map(|w| error(*w)).sum::<f32>();
        if error < least {
            (best, least) = (step, error);
        }
    }
    best
}

fn nearest(weight: f32, scale: f64, range: [i8; 2]) -> f64 {
    let [least, most] = range.map(f64::from);
    (f64::from(weight) / scale).round().clamp(least, most)
}
