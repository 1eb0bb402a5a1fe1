//! The hidden state and the step of a whole network.

use crate::image::Image;
use crate::say::{Part, Say, display};
use pipsqueak_kernels::kernel::padded;
use pipsqueak_kernels::rows::dense;

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
        for gru in image.shapes() {
            scratch += gru.units;
            largest = largest.max(gru.scratch());
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

impl Say for WorkspaceError {
    fn say(&self, out: &mut dyn FnMut(Part)) {
        let bytes = |words: usize| Part::Number((words * 4) as u32);
        out(Part::Text("the model needs a workspace of "));
        out(bytes(self.needed));
        out(Part::Text(" bytes, but "));
        out(bytes(self.found));
        out(Part::Text(" are there"));
    }
}

impl core::fmt::Display for WorkspaceError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
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
        let mut rows = self.image.rows();
        let mut start = 0;
        for gru in self.image.shapes() {
            let words = rows.split_off(..gru.words()).unwrap_or_default();
            let end = start + gru.inputs + gru.units;
            if let Some(joint) = states.get_mut(start..end) {
                gru.step(words, row, joint, scratch);
            }
            start += gru.inputs;
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
        let (states, scratch) = self
            .memory
            .split_at_mut_checked(self.scratch)
            .unwrap_or_default();
        let tokens = self.image.vocabulary().len();
        let (words, units) = self.image.head();
        let top = states.get(states.len().saturating_sub(units)..);
        let logits = scratch.get_mut(..padded(tokens)).unwrap_or_default();
        dense(words, top.unwrap_or_default(), logits);
        logits.get(..tokens).unwrap_or_default()
    }
}
