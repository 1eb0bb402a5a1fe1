//! A dense layer: `activation(W x + b)`.

use crate::activation::outlined::{sigmoid, tanh};
use crate::fixed::QuantizedMultiplier;
use crate::gemv::{Rhs, gate_group_outputs};
use crate::packed::{
    BiasScale, GateGroup, GateParams, I16x4, PANEL_ROWS, RowFormat, RowParams, WeightFormat,
    unpack_int8_row,
};

/// The activation function of a dense layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// None.
    #[default]
    Linear,
    /// `max(x, 0)`
    Relu,
    /// From Q4.11 to Q15.
    Tanh,
    /// From Q4.11 to Q15.
    Sigmoid,
}

impl Activation {
    /// All activation functions, in the order of their numbers in a model file.
    pub const ALL: [Self; 4] = [Self::Linear, Self::Relu, Self::Tanh, Self::Sigmoid];
}

/// Panels of a dense layer's gate group; the last one has what is left.
pub const DENSE_PANELS: usize = 4;

/// The parameters of a gate group with all its panels.
const KINDS: [RowParams; DENSE_PANELS] = [RowParams::BiasScale; DENSE_PANELS];

/// The shape of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseConfig {
    /// Elements of the input, a multiple of 4.
    pub input_size: usize,
    /// Elements of the output, a multiple of 4.
    pub output_size: usize,
    /// The format of the weights.
    pub format: WeightFormat,
    /// What the outputs go through.
    pub activation: Activation,
}

impl DenseConfig {
    /// Length in words of the layer: gate groups of [`DENSE_PANELS`] panels over the input with [`BiasScale`] parameters.
    pub fn weights_len(&self) -> usize {
        let panel_len = BiasScale::LEN + self.format.panel_len(self.input_size);
        panel_len.saturating_mul(self.output_size / PANEL_ROWS)
    }

    /// The columns of a row.
    pub fn row_format(&self) -> RowFormat {
        RowFormat {
            formats: [self.format; 2],
            columns: [self.input_size, 0],
        }
    }

    /// The layer with these words; `None` if they have another length than [`weights_len`](Self::weights_len), a size is no
    /// multiple of 4 or this build does not support the format.
    pub fn layer<'a>(&self, words: &'a [u32]) -> Option<DenseLayer<'a>> {
        let is_valid = self.format.is_supported()
            && self.input_size.is_multiple_of(PANEL_ROWS)
            && self.output_size.is_multiple_of(PANEL_ROWS)
            && words.len() == self.weights_len();
        if !is_valid {
            return None;
        }
        Some(DenseLayer {
            input_size: self.input_size.try_into().ok()?,
            output_size: self.output_size.try_into().ok()?,
            format: self.format,
            activation: self.activation,
            words,
        })
    }
}

/// A dense layer whose words have been counted.
#[derive(Clone, Copy, Debug)]
pub struct DenseLayer<'a> {
    // A `DenseConfig` in half the memory.
    format: WeightFormat,
    activation: Activation,
    input_size: u16,
    output_size: u16,
    words: &'a [u32],
}

impl<'a> DenseLayer<'a> {
    /// The shape.
    #[inline]
    pub fn config(&self) -> DenseConfig {
        DenseConfig {
            input_size: self.input_size.into(),
            output_size: self.output_size.into(),
            format: self.format,
            activation: self.activation,
        }
    }

    /// Computes the output of `x`. `x` has `input_size` elements, `out` has `output_size`.
    pub fn forward(&self, x: &[I16x4], out: &mut [I16x4]) {
        let x = Rhs::new(x, self.config().row_format());
        let mut words = self.words;
        let mut values = [[0; PANEL_ROWS]; DENSE_PANELS];
        for out in out.chunks_mut(DENSE_PANELS) {
            let (values, _) = values.split_at_mut(out.len().min(DENSE_PANELS));
            gate_group_outputs(&mut words, &x, &[], values);
            for (out, &mut [a, b, c, d]) in out.iter_mut().zip(values) {
                out.0 = [a as i16, b as i16, c as i16, d as i16];
            }
        }
        let activation: fn(i16) -> i16 = match self.activation {
            Activation::Linear => return,
            Activation::Relu => |value| value.max(0),
            Activation::Tanh => |value| tanh(value.into()),
            Activation::Sigmoid => |value| sigmoid(value.into()),
        };
        for out in out {
            *out = I16x4(out.0.map(activation));
        }
    }

    /// Its gate groups in order.
    pub fn gate_groups(&self) -> impl Iterator<Item = GateGroup<'a>> + use<'a> {
        let layer = *self;
        (0..).map_while(move |index| layer.gate_group(index))
    }

    fn gate_group(&self, index: usize) -> Option<GateGroup<'a>> {
        let format = self.config().row_format();
        let panels_before = index * DENSE_PANELS;
        let start = panels_before * (BiasScale::LEN + format.panel_len());
        let panels = (usize::from(self.output_size) / PANEL_ROWS).checked_sub(panels_before)?;
        let kinds = KINDS
            .get(..panels.min(DENSE_PANELS))
            .filter(|kinds| !kinds.is_empty())?;
        GateGroup::split_from(&mut self.words.get(start..)?, format, kinds)
    }

    /// The scale and the weights of row `row`, as a tied embedding reads them; `None` if there is no such row or the weights are
    /// not [`WeightFormat::Int8`].
    pub fn row(
        &self,
        row: usize,
    ) -> Option<(QuantizedMultiplier, impl Iterator<Item = i8> + use<'a>)> {
        const GROUP_ROWS: usize = DENSE_PANELS * PANEL_ROWS;
        let group = self.gate_group(row / GROUP_ROWS)?;
        let gate = group.gates().nth(row % GROUP_ROWS / PANEL_ROWS)?;
        let row = row % PANEL_ROWS;
        match (gate.params, gate.panels) {
            (GateParams::BiasScale(params), [(WeightFormat::Int8, panel), _]) => {
                Some((params.scale[row], unpack_int8_row(panel, row)))
            }
            _ => None,
        }
    }
}
