//! A gate group of a layer, as whoever checks or compares a layer's rows takes it apart.

use super::params::{GateParams, RowParams};
use super::weights::{RowFormat, WeightFormat, l1_norms};

/// Rows of four units over one vector: the panels of several gates, after their parameters.
///
/// Only [`GateGroup::split_from`] makes one, so the parameters and the weights have the lengths that the format asks for.
#[derive(Clone, Copy, Debug)]
pub struct GateGroup<'a> {
    format: RowFormat,
    kinds: &'static [RowParams],
    params: &'a [u32],
    weights: &'a [u32],
}

impl<'a> GateGroup<'a> {
    /// Splits a gate group from the front of `words`; `None` if there are too few.
    pub fn split_from(
        words: &mut &'a [u32],
        format: RowFormat,
        kinds: &'static [RowParams],
    ) -> Option<Self> {
        let params = words.split_off(..kinds.iter().map(|kind| kind.len()).sum())?;
        let weights = words.split_off(..kinds.len() * format.panel_len())?;
        Some(Self {
            format,
            kinds,
            params,
            weights,
        })
    }

    /// The columns of its rows and the format of their weights.
    pub fn format(&self) -> RowFormat {
        self.format
    }

    /// The number of gates.
    pub fn num_gates(&self) -> usize {
        self.kinds.len()
    }

    /// The words of all parameters.
    pub fn params(&self) -> &'a [u32] {
        self.params
    }

    /// The words of all weights.
    pub fn weights(&self) -> &'a [u32] {
        self.weights
    }

    /// Its gates in order.
    pub fn gates(&self) -> impl Iterator<Item = Gate<'a>> {
        let (group, mut params) = (*self, self.params);
        self.kinds
            .iter()
            .enumerate()
            .filter_map(move |(gate, kind)| {
                Some(Gate {
                    params: kind.split_from(&mut params)?,
                    panels: group
                        .format
                        .gate_panels(group.weights, group.kinds.len(), gate),
                })
            })
    }
}

/// Four rows of one gate.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// Biases and scales.
    pub params: GateParams<'a>,
    /// The rows over the input part and over the hidden part; all of them first if the format is one over the whole vector.
    pub panels: [(WeightFormat, &'a [u32]); 2],
}

impl Gate<'_> {
    /// The L1 norm of each row: the sum of |weight| times scale. At most 2 x 65,532 columns of 255 x 127, below 2^32.
    pub fn l1_norms(&self) -> [u32; 4] {
        let [a, b] = self.panels.map(|(format, panel)| l1_norms(format, panel));
        [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
    }
}
