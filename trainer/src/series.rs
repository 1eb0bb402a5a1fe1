//! Activations of a sequence, all time steps of all features.

use crate::gemm::{MatrixMut, MatrixRef};

/// `[features][1 + steps][batch]`: slot 0 of each feature stands before the first step, slot `t + 1` is step `t`.
///
/// One step is a strided matrix `[features][batch]`, all steps together are one `[features][steps * batch]`, so that
/// whatever needs no order in time is a single large product. The extra slot holds a state's start, and keeps rows
/// from falling on the same cache sets.
#[derive(Clone, Debug)]
pub struct Series {
    data: Vec<f32>,
    features: usize,
    steps: usize,
    batch: usize,
}

impl Series {
    /// All zeros.
    pub fn new(features: usize, steps: usize, batch: usize) -> Self {
        Self {
            data: vec![0.0; features * (steps + 1) * batch],
            features,
            steps,
            batch,
        }
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.features
    }

    /// All zeros, in the same shape.
    pub fn zeros_alike(&self) -> Self {
        Self::new(self.features, self.steps, self.batch)
    }

    /// Rows of the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    fn stride(&self) -> usize {
        (self.steps + 1) * self.batch
    }

    /// Every step of `feature`: `[steps * batch]`.
    pub fn row(&self, feature: usize) -> &[f32] {
        &self.data[feature * self.stride() + self.batch..][..self.steps * self.batch]
    }

    /// Every step of `feature`: `[steps * batch]`.
    pub fn row_mut(&mut self, feature: usize) -> &mut [f32] {
        let start = feature * self.stride() + self.batch;
        &mut self.data[start..][..self.steps * self.batch]
    }

    /// One slot of one feature: `[batch]`.
    #[inline(always)]
    pub fn at(&self, feature: usize, slot: usize) -> &[f32] {
        &self.data[feature * self.stride() + slot * self.batch..][..self.batch]
    }

    /// One slot of one feature: `[batch]`.
    #[inline(always)]
    pub fn at_mut(&mut self, feature: usize, slot: usize) -> &mut [f32] {
        let start = feature * self.stride() + slot * self.batch;
        &mut self.data[start..][..self.batch]
    }

    /// Sets slot 0 to the first `features` rows of `state`, `[batch]` each.
    pub fn start_from(&mut self, state: &[f32]) {
        let rows = state.chunks_exact(self.batch).take(self.features);
        for (feature, row) in rows.enumerate() {
            self.at_mut(feature, 0).copy_from_slice(row);
        }
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
                let at = move |(row, slot): (usize, &usize)| self.at(feature, *slot)[row];
                slots.iter().enumerate().map(at)
            })
            .collect()
    }

    /// One slot of every feature: `[features][batch]`.
    pub fn slot(&self, slot: usize) -> MatrixRef<'_> {
        let data = &self.data[slot * self.batch..];
        MatrixRef::strided(data, self.features, self.batch, self.stride())
    }

    /// One slot of every feature: `[features][batch]`.
    pub fn slot_mut(&mut self, slot: usize) -> MatrixMut<'_> {
        let (features, batch, stride) = (self.features, self.batch, self.stride());
        MatrixMut::strided(&mut self.data[slot * batch..], features, batch, stride)
    }

    /// One slot of different features: `[batch]` each.
    ///
    /// # Panics
    /// If a feature stands twice.
    #[inline(always)]
    pub fn at_each_mut<const N: usize>(
        &mut self,
        features: [usize; N],
        slot: usize,
    ) -> [&mut [f32]; N] {
        let (stride, batch) = (self.stride(), self.batch);
        let ranges = features.map(|feature| {
            let start = feature * stride + slot * batch;
            start..start + batch
        });
        self.data
            .get_disjoint_mut(ranges)
            .expect("different features")
    }

    /// All steps: `[features][steps * batch]`.
    pub fn steps(&self) -> MatrixRef<'_> {
        self.rows(0, self.features)
    }

    /// All steps of features `first..first + count`: `[count][steps * batch]`.
    pub fn rows(&self, first: usize, count: usize) -> MatrixRef<'_> {
        let data = &self.data[first * self.stride() + self.batch..];
        MatrixRef::strided(data, count, self.steps * self.batch, self.stride())
    }

    /// All steps, each one step earlier: slots `0..steps`, `[features][steps * batch]`.
    pub fn steps_before(&self) -> MatrixRef<'_> {
        MatrixRef::strided(
            &self.data,
            self.features,
            self.steps * self.batch,
            self.stride(),
        )
    }

    /// All steps: `[features][steps * batch]`.
    pub fn steps_mut(&mut self) -> MatrixMut<'_> {
        let (features, steps, batch, stride) =
            (self.features, self.steps, self.batch, self.stride());
        MatrixMut::strided(&mut self.data[batch..], features, steps * batch, stride)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_and_rows_are_the_same_values() {
        let mut series = Series::new(2, 3, 2);
        for slot in 0..=3 {
            for feature in 0..2 {
                let value = (100 * feature + 10 * slot) as f32;
                series
                    .at_mut(feature, slot)
                    .copy_from_slice(&[value, value + 1.0]);
            }
        }
        assert_eq!(series.row(1), [110.0, 111.0, 120.0, 121.0, 130.0, 131.0]);
        assert_eq!(series.at(1, 0), [100.0, 101.0]);
        series.row_mut(0)[5] = -1.0;
        assert_eq!(series.at(0, 3), [30.0, -1.0]);
    }
}
