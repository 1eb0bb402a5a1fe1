//! The hidden state and the step of a whole network.

use crate::cell::Gru;
use crate::image::{Cell, Image};
use pipsqueak_kernels::kernel::{Operand, ROWS, padded};

/// Where things stand in a workspace, in i16 elements: `[embedded token][state of each layer][scratch]`.
///
/// A layer's input stands right before its state, so the two are one vector.
pub(crate) struct Plan {
    /// End of the states.
    scratch: usize,
    /// End of the scratch, which serves the steps in turn and then the logits.
    pub len: usize,
}

impl Plan {
    pub(crate) fn new(image: &Image) -> Self {
        let mut scratch = padded(image.embedding());
        let mut largest = padded(image.vocabulary().len());
        for shape in image.shapes() {
            let units = padded(shape.hidden);
            scratch += units;
            largest = largest.max(match shape.cell {
                Cell::GruResetAfter => units,
                Cell::GruResetBefore => 2 * units + padded(shape.inputs),
            });
        }
        Self {
            scratch,
            len: scratch + largest,
        }
    }
}

/// The memory for a state is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceError {
    /// 32-bit words needed.
    pub needed: usize,
    /// 32-bit words given.
    pub found: usize,
}

impl core::fmt::Display for WorkspaceError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        let (needed, found) = (self.needed * 4, self.found * 4);
        write!(
            f,
            "the model needs a workspace of {needed} bytes, but {found} are there"
        )
    }
}

impl core::error::Error for WorkspaceError {}

/// The hidden states of a network that runs: zero at the start.
#[derive(Debug)]
pub struct State<'i, 'w> {
    image: &'i Image<'i>,
    /// As [`Plan`] lays it out.
    memory: &'w mut [i16],
    scratch: usize,
}

impl<'i, 'w> State<'i, 'w> {
    /// A state of zeros in `workspace`, of which it uses the first [`Image::workspace_len`] words.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn new(image: &'i Image<'i>, workspace: &'w mut [u32]) -> Result<Self, WorkspaceError> {
        let error = WorkspaceError {
            needed: image.workspace_len(),
            found: workspace.len(),
        };
        let memory = workspace.get_mut(..error.needed).ok_or(error)?;
        let mut state = Self {
            image,
            memory: bytemuck::cast_slice_mut(memory),
            scratch: Plan::new(image).scratch,
        };
        state.reset();
        Ok(state)
    }

    /// The image that runs.
    pub fn image(&self) -> &'i Image<'i> {
        self.image
    }

    /// All of its memory: room for a vector of any layer or the head. [`reset`](Self::reset) before the next step.
    pub(crate) fn memory(&mut self) -> &mut [i16] {
        self.memory
    }

    /// Sets every state to zero.
    pub fn reset(&mut self) {
        self.memory.fill(0);
    }

    /// Feeds `token` to every layer; token 0 in place of one that is not in the vocabulary.
    pub fn step(&mut self, token: u16) {
        let row = self.image.token_row(token);
        let (states, scratch) = self
            .memory
            .split_at_mut_checked(self.scratch)
            .unwrap_or_default();
        if self.image.embedding() > 0 {
            // Full scale in 1/128 of a column's scale: Q15.
            for (to, &from) in states.iter_mut().zip(row) {
                *to = i16::from(from) << 8;
            }
        }
        let mut sections = self.image.layer_sections();
        let mut start = 0;
        for shape in self.image.shapes() {
            // Parse has taken every section before.
            let Ok(gru) = Gru::take(&mut sections, shape) else {
                return;
            };
            let inputs = padded(shape.inputs);
            let end = start + inputs + padded(shape.hidden);
            if let Some(joint) = states.get_mut(start..end) {
                gru.step(row, joint, scratch);
            }
            start += inputs;
        }
    }

    /// The state of layer `layer`, Q15; nothing for one that is not there.
    pub fn hidden(&self, layer: usize) -> &[i16] {
        let before = |n: usize| -> usize {
            self.image
                .layers()
                .iter()
                .take(n)
                .map(|l| padded(l.hidden.into()))
                .sum()
        };
        let start = padded(self.image.embedding()) + before(layer);
        let units = self
            .image
            .layers()
            .get(layer)
            .map_or(0, |l| usize::from(l.hidden));
        self.memory.get(start..start + units).unwrap_or_default()
    }

    /// Computes the logits of the last layer's state: V values with [`Image::logit_bits`] fraction bits.
    /// They stand in the workspace until the next step.
    pub fn logits(&mut self) -> &[i16] {
        let units = self
            .image
            .layers()
            .last()
            .map_or(0, |l| padded(l.hidden.into()));
        let (states, scratch) = self
            .memory
            .split_at_mut_checked(self.scratch)
            .unwrap_or_default();
        let top = Operand::new(
            states
                .get(states.len().saturating_sub(units)..)
                .unwrap_or_default(),
        );
        if let Some(head) = self.image.head() {
            for (index, logits) in scratch
                .as_chunks_mut::<ROWS>()
                .0
                .iter_mut()
                .enumerate()
                .take(head.blocks())
            {
                let mut outputs = [[0; ROWS]];
                head.outputs(index, top, &mut outputs);
                *logits = outputs[0].map(|logit| logit as i16);
            }
        }
        scratch
            .get(..self.image.vocabulary().len())
            .unwrap_or_default()
    }
}
