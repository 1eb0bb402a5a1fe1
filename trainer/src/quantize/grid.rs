//! The grid of a row whose weights have 4 bits, or 8 over the input and 4 over the state: a unit, and for each
//! [group](RowFormat::scale_groups) of columns a scale that its weights are multiplied with.

use pipsqueak::fixed::{MAX_SHIFT, MULTIPLIER_LIMIT, QuantizedMultiplier};
use pipsqueak::{INT4_RANGE, RowFormat};

/// Steps that are tried for a group: the one that its largest weight needs, and each time this much of it less.
const TRIED: u32 = 16;
const LESS: f32 = 0.04;

/// A row of weights on its grid.
#[derive(Clone, Debug, PartialEq)]
pub struct GridRow {
    /// What a weight of 1 in a group of scale 1 is worth.
    pub unit: f64,
    /// `[groups]`, 1 to 255.
    pub scales: Vec<u8>,
    /// `[columns]`, -8 to 7; over an input of 8 bits -127 to 127.
    pub weights: Vec<i8>,
}

impl GridRow {
    /// Searches the grid that `weights` err least on, group by group in the mean square; a group of 8 bits has the least scale
    /// that reaches its largest weight.
    ///
    /// `exact` is the smallest unit, at least its argument, that an image's record holds ([`exact_unit`]). The unit is as small
    /// as scales of 8 bits allow, but the sum of magnitudes of scale times weight is at most `norm` of the unit: what is left
    /// to it by the range certificate, 65,535 and less.
    ///
    /// None if no unit is exact.
    ///
    /// ```
    /// use pipsqueak::RowFormat;
    /// use trainer::quantize::formats::{INT4, INT8_INT4};
    /// use trainer::quantize::{GridRow, exact_unit};
    /// let exact = |least| Some(exact_unit(least, 11)?.1);
    /// let weights = [0.7, -0.8, 0.1, 0.07];
    /// let columns = |formats| RowFormat { formats, columns: [2, 2] };
    /// let row = GridRow::search(&weights, columns(INT4), exact, |_| 60_000.0).unwrap();
    /// // The second part's largest weight is a seventh of the first's, and so is its scale.
    /// assert_eq!(row.weights, [7, -8, 7, 5]);
    /// assert_eq!(row.scales, [255, 36]);
    /// let row = GridRow::search(&weights, columns(INT8_INT4), exact, |_| 60_000.0).unwrap();
    /// assert_eq!(row.weights, [111, -126, 7, 5]);
    /// ```
    pub fn search(
        weights: &[f32],
        columns: RowFormat,
        exact: impl Fn(f64) -> Option<f64>,
        norm: impl Fn(f64) -> f64,
    ) -> Option<Self> {
        let steps = groups(weights, columns).map(|(group, range)| match is_wide(range) {
            true => (largest_of(group) / f64::from(range[1]), range),
            false => (best_step(group).into(), range),
        });
        let steps: Vec<(f64, [i8; 2])> = steps.collect();
        let largest = steps.iter().fold(0.0, |a: f64, b| a.max(b.0));
        // A row of zeros may have any.
        let mut least = if largest > 0.0 { largest } else { 1.0 } / 255.0;
        loop {
            let unit = exact(least)?;
            let scale = |&(step, range): &(f64, _)| match is_wide(range) {
                true => (step / unit).ceil().clamp(1.0, 255.0) as u8,
                false => (step / unit).round().clamp(1.0, 255.0) as u8,
            };
            let row = Self::round(weights, columns, unit, steps.iter().map(scale).collect());
            if f64::from(row.norm(columns)) <= norm(unit) {
                return Some(row);
            }
            least = unit * 1.01;
        }
    }

    /// `weights` to the nearest on a grid that is known.
    pub fn round(weights: &[f32], columns: RowFormat, unit: f64, scales: Vec<u8>) -> Self {
        let mut rounded = Vec::with_capacity(weights.len());
        for ((group, range), scale) in groups(weights, columns).zip(&scales) {
            let step = unit * f64::from(*scale);
            rounded.extend(group.iter().map(|&w| nearest(w, step, range) as i8));
        }
        Self {
            unit,
            scales,
            weights: rounded,
        }
    }

    /// What a step of each weight is worth, `[columns]`.
    pub fn steps(&self, columns: RowFormat) -> Vec<f64> {
        let scales = columns.scale_groups().zip(&self.scales);
        scales
            .flat_map(|((count, _), &scale)| vec![self.unit * f64::from(scale); count])
            .collect()
    }

    /// The sum of magnitudes of scale times weight.
    pub fn norm(&self, columns: RowFormat) -> u32 {
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
pub fn exact_unit(least: f64, bits: u32) -> Option<(QuantizedMultiplier, f64)> {
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

/// Whether weights have more than 4 bits.
fn is_wide(range: [i8; 2]) -> bool {
    range != INT4_RANGE
}

fn largest_of(group: &[f32]) -> f64 {
    group.iter().fold(0.0, |a: f32, w| a.max(w.abs())).into()
}

/// The step of 4 bits that a group's weights err least on, in the mean square; 0 for zeros.
// In f32 and in eight sums, so that training can search in every step.
#[inline(always)]
pub fn best_step(group: &[f32]) -> f32 {
    let [low, high] = INT4_RANGE.map(f32::from);
    let whole = group.iter().fold(0f32, |a, w| a.max(w.abs())) / high;
    if whole == 0.0 {
        return 0.0;
    }
    let (mut best, mut least) = (whole, f32::MAX);
    for tried in 0..TRIED {
        let step = whole * (1.0 - LESS * tried as f32);
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

fn nearest(weight: f32, step: f64, range: [i8; 2]) -> f64 {
    let [least, most] = range.map(f64::from);
    (f64::from(weight) / step).round().clamp(least, most)
}
