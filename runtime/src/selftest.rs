//! Whether a core computes what was exported: its kernel against the portable one, and its outputs against a digest.
//!
//! ```
//! # use pipsqueak::{encode, Cell, Layer};
//! use pipsqueak::selftest::{Extent, digest, kernel};
//! use pipsqueak::{Image, State};
//!
//! # let parts = encode::Parts::random(1, 20, 0, &[Layer { cell: Cell::GruResetAfter, hidden: 16 }]);
//! # let words = encode::encode(&parts).unwrap();
//! # let bytes: &[u8] = encode::bytes(&words);
//! let image = Image::parse(bytes)?;
//! let mut workspace = [0; 64];
//! let mut state = State::new(&image, &mut workspace).unwrap();
//! assert_eq!(kernel(&mut state, Extent::All), Ok(3 * 16 * 16 + 20 * 16));
//! assert_eq!(digest(&mut state), image.digest());
//! # Ok::<(), pipsqueak::ImageError>(())
//! ```

use crate::cell::{Gru, Rows};
use crate::image::{Image, crc};
use crate::state::State;
use pipsqueak_kernels::kernel::{Operand, ROWS};

/// Steps of the sequence that [`digest`] runs over.
pub const STEPS: u32 = 32;
/// Token i of that sequence is `i * STRIDE` modulo the size of the vocabulary. A prime: as long as the vocabulary is no
/// multiple of it, a token comes back only after all others.
pub const STRIDE: u32 = 7919;

/// The digest of all outputs over a fixed sequence of [`STEPS`] tokens from the zero state. It begins at 0; each step
/// rotates it left by one bit and adds, bit by bit modulo 2, the CRC-32 (ISO-HDLC) of all logits in the order of the
/// tokens, as little-endian i16.
///
/// It is [`Image::digest`](crate::Image::digest) wherever the image is the exported one and the core computes as the
/// exporting one did. Of a token table or an embedding only the rows of these tokens take part, and a change that rounding
/// hides is not seen. Leaves the state at zero.
pub fn digest(state: &mut State) -> u32 {
    state.reset();
    let tokens = (state.image().vocabulary().len() as u32).max(1);
    let digest = (0..STEPS).fold(0u32, |digest, i| {
        state.step((i * STRIDE % tokens) as u16);
        digest.rotate_left(1) ^ crc(bytemuck::cast_slice(state.logits()))
    });
    state.reset();
    digest
}

/// How much [`kernel`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The first 64 columns of the first and of the last block of each matrix: a matter of milliseconds.
    Ends,
    /// All weights.
    All,
}

/// The first row whose product differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The layer, from 0; the number of layers for the head.
    pub layer: u32,
    /// The row in it, counted through its matrices in the order of the image's sections.
    pub row: u32,
    /// The portable kernel's product, modulo 2^32.
    pub expected: u32,
    /// The product of the core's kernel.
    pub found: u32,
}

impl core::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        let Self {
            layer,
            row,
            expected,
            found,
        } = self;
        write!(
            f,
            "row {row} of layer {layer}: expected {expected:08x}, found {found:08x}"
        )
    }
}

impl core::error::Error for Mismatch {}

/// Columns that [`Extent::Ends`] compares. Of an image with the most layers these are the ends of 25 matrices: some 300,000
/// cycles of a Cortex-M0, or 20 ms at 16 MHz.
const COLUMNS: usize = 64;

/// Compares the kernel of this core, [`crate::kernel`], with the portable one: the weights of each layer and of the head,
/// block by block, times the same pseudo-random activations of the whole range of i16. Gives back how many weights it
/// compared. Leaves the state at zero.
///
/// # Errors
/// The first row that differs.
pub fn kernel(state: &mut State, extent: Extent) -> Result<usize, Mismatch> {
    let image = state.image();
    let memory = state.memory();
    let width = match extent {
        Extent::Ends => COLUMNS.min(memory.len()),
        Extent::All => memory.len(),
    };
    let x = memory.get_mut(..width).unwrap_or_default();
    // A linear congruential generator (Numerical Recipes, "quick and dirty"), of which the high half is random enough.
    let mut random = 0u32;
    x.fill_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) as i16
    });
    let mut comparison = Comparison {
        x,
        extent,
        layer: 0,
        row: 0,
        weights: 0,
    };
    let result = comparison.image(image);
    let weights = comparison.weights;
    state.reset();
    result.map(|()| weights)
}

/// Where a comparison is.
struct Comparison<'x> {
    x: &'x [i16],
    extent: Extent,
    layer: usize,
    row: usize,
    /// How many weights it has compared.
    weights: usize,
}

impl Comparison<'_> {
    fn image(&mut self, image: &Image) -> Result<(), Mismatch> {
        let mut sections = image.layer_sections();
        for shape in image.shapes() {
            // Parse has taken every section before.
            if let Ok(gru) = Gru::take(&mut sections, shape) {
                for rows in gru.rows() {
                    self.rows(rows)?;
                }
            }
            self.layer += 1;
            self.row = 0;
        }
        image.head().map_or(Ok(()), |head| self.rows(&head))
    }

    /// Block by block.
    fn rows(&mut self, rows: &Rows) -> Result<(), Mismatch> {
        let (weights, columns) = rows.weights();
        let x = self.x.get(..columns).unwrap_or(self.x);
        let operand = Operand::new(x);
        for block in 0..rows.blocks() {
            let end = block == 0 || block + 1 == rows.blocks();
            if end || self.extent == Extent::All {
                // The first columns of a block are a block, too.
                let start = block * columns;
                let weights = weights.get(start..start + x.len()).unwrap_or_default();
                let (mut expected, mut found) = ([[0; ROWS]], [[0; ROWS]]);
                operand.products_portable(weights, &mut expected);
                operand.products(weights, &mut found);
                let mut lanes = expected[0].iter().zip(&found[0]).zip(self.row..);
                if let Some(((&expected, &found), row)) = lanes.find(|((a, b), _)| a != b) {
                    return Err(Mismatch {
                        layer: self.layer as u32,
                        row: row as u32,
                        expected: expected as u32,
                        found: found as u32,
                    });
                }
                self.weights += ROWS * x.len();
            }
            self.row += ROWS;
        }
        Ok(())
    }
}
