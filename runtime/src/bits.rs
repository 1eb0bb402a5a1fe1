//! The widths of weights that a model has, as formats of the kernels.

use pipsqueak_kernels::packed::{RowFormat, WeightFormat};

/// How wide weights are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bits {
    /// 8 bits, -127 to 127.
    #[default]
    Eight,
    /// 4 bits, -8 to 7, times the scale of their group.
    Four,
    /// 8 bits over the input, times a scale of the row; 4 over the state, as [`Four`](Self::Four).
    Mixed,
}

impl Bits {
    /// All of them, in the order of the numbers that stand for them in an image.
    pub const ALL: [Self; 3] = [Self::Eight, Self::Four, Self::Mixed];

    /// The formats over the input and over the hidden state.
    pub(crate) const fn formats(self) -> [WeightFormat; 2] {
        match self {
            Self::Eight => [WeightFormat::Int8, WeightFormat::Int8],
            Self::Four => [WeightFormat::Int4, WeightFormat::Int4],
            Self::Mixed => [WeightFormat::Int8Scaled, WeightFormat::Int4],
        }
    }
}

/// The columns of a panel's rows and how wide their weights are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The width of the weights.
    pub bits: Bits,
    /// Columns over the input and over the state; 0 where there is none of them.
    pub parts: [usize; 2],
}

impl Columns {
    /// All of them.
    pub const fn count(self) -> usize {
        self.parts[0] + self.parts[1]
    }

    /// The runs of a row's columns that have a scale of their own, from the first on: how many columns, and the least and
    /// the largest weight. Rows of 8 bits have none.
    pub fn groups(self) -> impl Iterator<Item = (usize, [i8; 2])> {
        self.format().scale_groups()
    }

    pub(crate) const fn format(self) -> RowFormat {
        RowFormat {
            formats: self.bits.formats(),
            columns: self.parts,
        }
    }
}
