//! What an image costs on a board, predicted: cycles of a character, bytes of flash, RAM and stack.
//!
//! A character is one step of the network, the logits, and a draw at temperature 0.8. Its cycles are taken to be a sum: of
//! each [quantity](QUANTITIES) as many as the shape has, times what one of them costs on the core. The costs are fitted to
//! counts on emulated cores, without wait states of the flash; `measure --fit` fits them anew. A fitted cost by itself says
//! little, and may be negative: what always comes together shares its cycles by chance.

use pipsqueak::{Cell, GENERATOR_RAM, IMAGE_RAM, Image, Layer};
use serde::Serialize;

use crate::{
    Board, Footprint,
    fitted::{CYCLES, FOOTPRINTS},
};

/// What a character's cycles are a sum over. Rows, units and columns count with their padding to multiples of 4.
pub const QUANTITIES: [&str; 8] = [
    "multiply-accumulate",
    "row of a layer",
    "value of a token's row in a token table",
    "unit",
    "unit whose reset gate is before the product",
    "layer",
    "logit",
    "character",
];

/// A number for each of [`QUANTITIES`].
pub(crate) type Quantities = [f64; QUANTITIES.len()];

/// The bits per second of every board's console.
pub const BAUD: u32 = 115_200;
/// Bits that the port sends per byte: one before and one after.
const BITS_PER_BYTE: u32 = 10;

/// All of a network that its cost depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Tokens, V.
    pub tokens: usize,
    /// The embedding's size; 0 for a token table.
    pub embedding: usize,
    /// The layers, from the input on.
    pub layers: Vec<Layer>,
}

impl Shape {
    /// The shape of `image`.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        Self {
            tokens: image.outputs(),
            embedding: image.embedding(),
            layers: image
                .layers(image.main())
                .iter()
                .map(|recurrent| recurrent.layer)
                .collect(),
        }
    }

    /// How many of each of [`QUANTITIES`] a character takes.
    pub(crate) fn quantities(&self) -> Quantities {
        let padded = |n: usize| n.next_multiple_of(4) as f64;
        let (mut macs, mut rows, mut table, mut units, mut before) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let mut inputs = padded(self.embedding);
        for layer in &self.layers {
            let hidden = padded(layer.hidden.into());
            let joint = inputs + hidden;
            // The candidate's rows over the input and those over the state, apart or together.
            let gates = layer.cell.gates() as f64;
            macs += gates * hidden * joint;
            rows += match layer.cell {
                Cell::GruResetAfter if inputs > 0.0 => 4.0 * hidden,
                _ => gates * hidden,
            };
            if inputs == 0.0 {
                table += gates * hidden;
            }
            units += hidden;
            if layer.cell == Cell::GruResetBefore {
                before += hidden;
            }
            inputs = hidden;
        }
        macs += padded(self.tokens) * inputs;
        let layers = self.layers.len() as f64;
        let logits = self.tokens as f64;
        [macs, rows, table, units, before, layers, logits, 1.0]
    }

    /// The cycles of a character on a core of the catalogue of boards.
    ///
    /// # Panics
    /// If no board has such a core.
    #[must_use]
    pub fn cycles(&self, core: &str) -> f64 {
        let fitted = CYCLES.iter().find(|(name, _)| *name == core);
        let (_, costs) = fitted.expect("every core of a board is fitted");
        let pairs = self.quantities().into_iter().zip(costs);
        pairs.map(|(quantity, cost)| quantity * cost).sum()
    }
}

impl Footprint {
    /// The board's, as it was when the predictions were fitted.
    ///
    /// # Panics
    /// If the board is not of the catalogue.
    #[must_use]
    pub fn of(board: &Board) -> Self {
        let footprint = FOOTPRINTS.iter().find(|f| f.board == board.name);
        *footprint.expect("every board of the catalogue is measured")
    }
}

/// What an image will cost on a board.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// Characters per second at temperature 0.8: the smaller one of the two below.
    pub characters_per_second: f64,
    /// Characters that the core computes per second.
    pub computed_per_second: f64,
    /// Bytes that the serial port sends per second.
    pub serial_per_second: u32,
    /// Cycles of a character.
    pub cycles_per_character: u64,
    /// Flash: firmware and image, in bytes.
    pub flash: usize,
    /// Of that the firmware.
    pub firmware: usize,
    /// RAM that the image takes while it runs: workspace, generator and parsed image, in bytes.
    pub ram: usize,
    /// Bytes of stack that the firmware takes at most, as measured in the emulator: generator and parsed image stand there.
    pub stack: usize,
}

impl Prediction {
    /// Predicts what `image` costs on `board`, whether it fits or not.
    ///
    /// # Panics
    /// If the board is not of the catalogue.
    #[must_use]
    pub fn new(board: &Board, image: &Image) -> Self {
        let cycles = Shape::of(image).cycles(board.core);
        let computed = f64::from(board.clock_hz) / cycles;
        let serial = BAUD / BITS_PER_BYTE;
        let footprint = Footprint::of(board);
        Self {
            characters_per_second: computed.min(serial.into()),
            computed_per_second: computed,
            serial_per_second: serial,
            cycles_per_character: cycles.round() as u64,
            flash: footprint.flash + image.len(),
            firmware: footprint.flash,
            ram: 4 * image.workspace_len() + GENERATOR_RAM + IMAGE_RAM,
            stack: footprint.stack,
        }
    }
}
