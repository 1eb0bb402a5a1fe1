//! The workspace, divided as the plan says.
//!
//! A model's plan and its layers are made together, so no place is outside its region. The compiler cannot know that: an access
//! that misses is `None`, which the session reports as [`SessionError::Internal`](super::SessionError::Internal), never a value.

use crate::model::{Place, Plan, Region};
use core::ops::Range;
use pipsqueak_kernels::packed::{I16x4, elements_mut};

/// The regions of a workspace.
pub(super) struct Memory<'w> {
    wide: &'w mut [[i32; 4]],
    /// The state region, then the scratch region.
    vectors: &'w mut [I16x4],
    /// Where the scratch region begins.
    scratch_start: usize,
}

impl<'w> Memory<'w> {
    /// Divides `words`.
    pub fn new(words: &'w mut [u32], plan: &Plan) -> Option<Self> {
        let (wide, vectors) = words.split_at_mut_checked(4 * usize::from(plan.wide))?;
        Some(Self {
            wide: bytemuck::must_cast_slice_mut(wide.as_chunks_mut::<4>().0),
            vectors: bytemuck::must_cast_slice_mut(vectors.as_chunks_mut::<2>().0),
            scratch_start: plan.state.into(),
        })
    }

    /// All vectors from `place` on, for as long as the workspace is borrowed.
    pub fn into_vectors(self, place: Place) -> Option<&'w mut [I16x4]> {
        let Range { start, .. } = self.range(place, 0);
        self.vectors.get_mut(start..)
    }

    /// `size` elements from `place` on, for as long as the workspace is borrowed.
    pub fn into_elements(self, place: Place, size: usize) -> Option<&'w mut [i16]> {
        elements_mut(self.into_vectors(place)?).get_mut(..size)
    }

    /// `size` 32-bit values from `start` on, for as long as the workspace is borrowed.
    pub fn into_wide(self, start: u16, size: usize) -> Option<&'w mut [i32]> {
        let values = self.wide.get_mut(start.into()..)?;
        values.as_flattened_mut().get_mut(..size)
    }

    /// Where `quads` units at `place` are among the vectors.
    fn range(&self, place: Place, quads: usize) -> Range<usize> {
        let start = match place.region() {
            Region::State => place.start(),
            Region::Scratch => self.scratch_start + place.start(),
        };
        start..start + quads
    }

    /// The vector at `place`.
    pub fn vector(&mut self, place: Place, quads: usize) -> Option<&mut [I16x4]> {
        let range = self.range(place, quads);
        self.vectors.get_mut(range)
    }

    /// The 32-bit values from `start` on.
    pub fn wide(&mut self, start: u16, quads: usize) -> Option<&mut [[i32; 4]]> {
        let start = usize::from(start);
        self.wide.get_mut(start..start + quads)
    }

    /// Two vectors that do not overlap, the first one to read.
    pub fn two(
        &mut self,
        (from, from_quads): (Place, usize),
        (to, to_quads): (Place, usize),
    ) -> Option<(&[I16x4], &mut [I16x4])> {
        let (from, to) = (self.range(from, from_quads), self.range(to, to_quads));
        let (from, to) = if from.end <= to.start {
            let (before, after) = self.vectors.split_at_mut_checked(to.start)?;
            (before.get_mut(from)?, after.get_mut(..to_quads)?)
        } else {
            let (before, after) = self.vectors.split_at_mut_checked(from.start)?;
            (after.get_mut(..from_quads)?, before.get_mut(to)?)
        };
        Some((from, to))
    }

    /// 32-bit values and a vector.
    #[allow(clippy::type_complexity, reason = "two slices")]
    pub fn wide_and_vector(
        &mut self,
        (wide, wide_quads): (u16, usize),
        (place, quads): (Place, usize),
    ) -> Option<(&mut [[i32; 4]], &mut [I16x4])> {
        let (start, range) = (usize::from(wide), self.range(place, quads));
        let wide = self.wide.get_mut(start..start + wide_quads)?;
        Some((wide, self.vectors.get_mut(range)?))
    }

    /// Copies 32-bit values.
    pub fn copy_wide(&mut self, from: u16, to: u16, quads: usize) -> Option<()> {
        let [from, to] = [from, to].map(usize::from);
        let ranges = [from..from + quads, to..to + quads];
        let [from, to] = self.wide.get_disjoint_mut(ranges).ok()?;
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        Some(())
    }

    /// What one recurrent step works on: `[x; h]`, the cell state and the layer's own memory.
    #[allow(clippy::type_complexity, reason = "three slices")]
    pub fn recurrent(
        &mut self,
        (operand, quads): (Place, usize),
        (cell, cell_quads): (u16, usize),
        (scratch, scratch_quads): (u16, usize),
    ) -> Option<(&mut [I16x4], &mut [[i32; 4]], &mut [I16x4])> {
        let [start, cell, scratch] = [operand.start(), cell.into(), scratch.into()];
        let cell = self.wide.get_mut(cell..cell + cell_quads)?;
        let (state, scratches) = self.vectors.split_at_mut_checked(self.scratch_start)?;
        let xh = state.get_mut(start..start + quads)?;
        Some((
            xh,
            cell,
            scratches.get_mut(scratch..scratch + scratch_quads)?,
        ))
    }
}
