//! Activations of a sequence, all time steps of all features.

use std::ops::{Range, RangeInclusive};

/// Rows of the batch that stand side by side: whole vectors of every CPU.
pub const LANES: usize = 16;

/// Lanes of which a batch of so few rows needs no more.
pub const HALF: usize = LANES / 2;

/// One feature of one step in so many rows of the batch.
pub type Lanes = [f32; LANES];

/// Features are filled up to a multiple of this, with zeros: products make so many at once.
pub const TILE: usize = 6;

/// `[1 + steps][groups][features][LANES]`: slot 0 stands before the first step, slot `t + 1` is step `t`; a group is
/// [`LANES`] rows of the batch, the last one filled up.
///
/// One step of a group is a contiguous block, so that walking along time, either way, reads and writes memory in order. What
/// stands in the rows of a group that are not of the batch is finite, and has a gradient of zeros.
#[derive(Clone, Debug)]
pub struct Series {
    data: Vec<Lanes>,
    features: usize,
    steps: usize,
    batch: usize,
}

impl Series {
    /// All zeros.
    pub fn new(features: usize, steps: usize, batch: usize) -> Self {
        let block = features.next_multiple_of(TILE);
        Self {
            data: vec![[0.0; LANES]; (steps + 1) * batch.div_ceil(LANES) * block],
            features,
            steps,
            batch,
        }
    }

    /// All zeros, in the same shape.
    pub fn zeros_alike(&self) -> Self {
        Self::new(self.features, self.steps, self.batch)
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Rows of the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Groups of rows.
    pub fn groups(&self) -> usize {
        self.batch.div_ceil(LANES)
    }

    /// Whether the batch needs no more than [`HALF`] of the lanes.
    pub fn is_narrow(&self) -> bool {
        self.batch <= HALF
    }

    fn block_len(&self) -> usize {
        self.features.next_multiple_of(TILE)
    }

    fn slot_len(&self) -> usize {
        self.groups() * self.block_len()
    }

    /// One slot of one group: a row for each feature, then rows of zeros.
    #[inline(always)]
    pub fn block(&self, slot: usize, group: usize) -> &[Lanes] {
        let block = self.block_len();
        &self.data[(slot * self.groups() + group) * block..][..block]
    }

    /// One slot of one group. The rows after the features must stay zeros.
    #[inline(always)]
    pub fn block_mut(&mut self, slot: usize, group: usize) -> &mut [Lanes] {
        let block = self.block_len();
        let start = (slot * self.groups() + group) * block;
        &mut self.data[start..][..block]
    }

    /// One slot of one group, and before it the same of the slot before.
    #[inline(always)]
    pub fn block_and_before(&mut self, slot: usize, group: usize) -> (&[Lanes], &mut [Lanes]) {
        let (block, groups) = (self.block_len(), self.groups());
        let (before, this) = self.data.split_at_mut((slot * groups + group) * block);
        let start = before.len() - groups * block;
        (&before[start..][..block], &mut this[..block])
    }

    /// All steps.
    pub fn values(&self) -> &[Lanes] {
        &self.data[self.slot_len()..]
    }

    /// All steps.
    pub fn values_mut(&mut self) -> &mut [Lanes] {
        let before = self.slot_len();
        &mut self.data[before..]
    }

    /// The value of one row of the batch.
    pub fn get(&self, feature: usize, slot: usize, row: usize) -> f32 {
        self.block(slot, row / LANES)[feature][row % LANES]
    }

    /// The value of one row of the batch.
    pub fn get_mut(&mut self, feature: usize, slot: usize, row: usize) -> &mut f32 {
        &mut self.block_mut(slot, row / LANES)[feature][row % LANES]
    }

    /// Of each row of the batch a slot of its own: `[features][batch]`.
    ///
    /// # Panics
    /// If there are not as many slots as rows, or one is beyond the last step.
    pub fn slots(&self, slots: &[usize]) -> Vec<f32> {
        assert_eq!(slots.len(), self.batch, "slots of the batch's rows");
        assert!(slots.iter().all(|slot| *slot <= self.steps), "{slots:?}");
        (0..self.features)
            .flat_map(|feature| {
                let at = move |(row, slot): (usize, &usize)| self.get(feature, *slot, row);
                slots.iter().enumerate().map(at)
            })
            .collect()
    }

    /// A slot of every row of the batch: `[features][batch]`.
    ///
    /// # Panics
    /// If it is beyond the last step.
    pub fn slot(&self, slot: usize) -> Vec<f32> {
        self.slots(&vec![slot; self.batch])
    }

    /// Sets a slot to `values`, `[features][batch]`.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn set_slot(&mut self, slot: usize, values: &[f32]) {
        assert_eq!(values.len(), self.features * self.batch, "values of a slot");
        for (feature, values) in values.chunks_exact(self.batch).enumerate() {
            for (row, value) in values.iter().enumerate() {
                *self.get_mut(feature, slot, row) = *value;
            }
        }
    }

    /// Sets everything to zero.
    pub fn clear_all(&mut self) {
        self.data.fill([0.0; LANES]);
    }

    /// Sets a slot of these rows of the batch to zero.
    pub fn clear(&mut self, slot: usize, rows: Range<usize>) {
        for row in rows {
            for feature in 0..self.features {
                *self.get_mut(feature, slot, row) = 0.0;
            }
        }
    }

    /// Sets slot 0 to the last step.
    pub fn restart(&mut self) {
        let (slot, last) = (self.slot_len(), self.steps * self.slot_len());
        self.data.copy_within(last..last + slot, 0);
    }
}

/// All groups of some slots, slot by slot.
pub fn places(
    slots: RangeInclusive<usize>,
    groups: usize,
) -> impl Iterator<Item = (usize, usize)> + Clone {
    slots.flat_map(move |slot| (0..groups).map(move |group| (slot, group)))
}

/// Where a group of a slot is among [`places`] from slot 1 on.
#[inline(always)]
pub fn place(slot: usize, group: usize, groups: usize) -> usize {
    (slot - 1) * groups + group
}

/// Tokens `[steps][batch]` by groups, `[steps][groups]`, the last group filled up with `filler`.
pub fn grouped(tokens: &[u16], batch: usize, filler: u16) -> Vec<[u16; LANES]> {
    let steps = tokens.chunks_exact(batch);
    steps
        .flat_map(|step| step.chunks(LANES))
        .map(|group| {
            let mut lanes = [filler; LANES];
            lanes[..group.len()].copy_from_slice(group);
            lanes
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_blocks_and_values_are_the_same_values() {
        // The second group has one row.
        let mut series = Series::new(2, 3, LANES + 1);
        for slot in 0..=3 {
            let values: Vec<f32> = (0..2 * (LANES + 1))
                .map(|i| (100 * slot + i) as f32)
                .collect();
            series.set_slot(slot, &values);
            assert_eq!(series.slot(slot), values);
        }
        assert_eq!(series.get(1, 2, 3), 220.0);
        assert_eq!(series.block(2, 0)[1][3], 220.0);
        assert_eq!(
            series.block(2, 1)[..2],
            [[216.0, 0.0], [233.0, 0.0]].map(filled)
        );
        assert_eq!(series.values().len(), 3 * 2 * TILE);
        assert_eq!(
            series.values()[TILE..][..2],
            [[116.0, 0.0], [133.0, 0.0]].map(filled)
        );
        let (before, this) = series.block_and_before(3, 1);
        assert_eq!((before[0][0], this[0][0]), (216.0, 316.0));
        series.restart();
        series.clear(3, 0..1);
        let mut slots = [0; LANES + 1];
        slots[0] = 3;
        assert_eq!(series.slots(&slots)[..2], [0.0, 301.0]);
    }

    fn filled(first: [f32; 2]) -> Lanes {
        let mut lanes = [0.0; LANES];
        lanes[..2].copy_from_slice(&first);
        lanes
    }

    #[test]
    fn tokens_are_filled_up() {
        let tokens: Vec<u16> = (0..2 * (LANES as u16 + 1)).collect();
        let grouped = grouped(&tokens, LANES + 1, 99);
        assert_eq!(grouped.len(), 4);
        assert_eq!(grouped[2][..3], [17, 18, 19]);
        assert_eq!(grouped[3][..2], [33, 99]);
    }
}
