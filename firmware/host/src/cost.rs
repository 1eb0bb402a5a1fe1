//! What an image costs on a board, predicted: cycles of a character, bytes of flash, RAM and stack.
//!
//! A character is one step of the network, of an encoder and a decoder the decoder's, the logits, and a draw at temperature
//! 0.8; of a network that draws nothing, it is what a step and its outputs take. Its cycles are taken to be a sum: of
//! each [quantity](QUANTITIES) as many as the shape has, times what one of them costs on the core. The costs are fitted to
//! counts on emulated cores, without wait states of the flash; `measure --fit` fits them anew. A fitted cost by itself says
//! little, and may be negative: what always comes together shares its cycles by chance.

use pipsqueak::{Cell, GENERATOR_RAM, IMAGE_RAM, Image, Layer, image::Bits};
use serde::Serialize;

use crate::{
    Board, Footprint,
    fitted::{CYCLES, FOOTPRINTS},
};

/// What a character's cycles are a sum over. Rows, units and columns count with their padding to multiples of 4.
pub const QUANTITIES: [&str; 11] = [
    "multiply-accumulate",
    "row of a layer",
    "value of a token's row in a token table",
    "unit",
    "unit whose reset gate is before the product",
    "unit of an LSTM",
    "unit of an LSTM over a token table",
    "unit of a plain layer",
    "layer",
    "logit",
    "character",
];

/// A multiply-accumulate of weights of 4 bits counts as so many of 8 bits: what their kernels may cost at most.
const FOUR_BITS: f64 = 1.25;

/// A number for each of [`QUANTITIES`].
pub(crate) type Quantities = [f64; QUANTITIES.len()];

/// The bits per second of every board's console.
pub const BAUD: u32 = 115_200;
/// Bits that the port sends per byte: one before and one after.
const BITS_PER_BYTE: u32 = 10;

/// All of a network that its cost depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Elements of the vector that the first layer reads: the embedding's size; 0 for a token table.
    pub embedding: usize,
    /// The layers, from the input on.
    pub layers: Vec<Layer>,
    /// Outputs of the head's dense layers and the width of their weights; the last has the tokens, V.
    pub head: Vec<(usize, Bits)>,
    /// How often all layers step for a token.
    pub steps_per_token: usize,
}

impl Shape {
    /// The shape of `image`.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        let main = image.main();
        let head = image.network(main).map_or(0, |network| network.head.into());
        let dense = image.dense(main).iter().rev().take(head).rev();
        Self {
            embedding: image.width(main),
            layers: image.layers(main).iter().map(|layer| layer.layer).collect(),
            head: dense
                .map(|dense| (dense.outputs.into(), dense.bits()))
                .collect(),
            steps_per_token: image
                .network(main)
                .map_or(1, |network| network.steps_per_token.into()),
        }
    }

    /// How many of each of [`QUANTITIES`] a character takes.
    pub(crate) fn quantities(&self) -> Quantities {
        let padded = |n: usize| n.next_multiple_of(4) as f64;
        // Over the input and over the state.
        let cost = |bits: Bits| match bits {
            Bits::Eight => [1.0, 1.0],
            Bits::Four => [FOUR_BITS, FOUR_BITS],
            Bits::Mixed => [1.0, FOUR_BITS],
        };
        let (mut macs, mut rows, mut table) = (0.0, 0.0, 0.0);
        let (mut units, mut before, mut plain) = (0.0, 0.0, 0.0);
        let (mut lstm, mut lstm_table) = (0.0, 0.0);
        let mut inputs = padded(self.embedding);
        for layer in &self.layers {
            let hidden = padded(layer.hidden.into());
            let gates = layer.cell.gates() as f64;
            // A candidate's rows over the input and those over the state, apart or together.
            let [of_input, of_state] = cost(layer.bits);
            macs += gates * hidden * (inputs * of_input + hidden * of_state);
            rows += match layer.cell {
                Cell::GruResetAfter if inputs > 0.0 => 4.0 * hidden,
                _ => gates * hidden,
            };
            if inputs == 0.0 {
                table += gates * hidden;
            }
            match layer.cell {
                Cell::GruResetAfter => units += hidden,
                Cell::GruResetBefore => (units, before) = (units + hidden, before + hidden),
                Cell::Lstm if inputs == 0.0 => lstm_table += hidden,
                Cell::Lstm => lstm += hidden,
                Cell::Rnn => plain += hidden,
            }
            inputs = hidden;
        }
        let layers = self.layers.len() as f64;
        let recurrent = [
            macs, rows, table, units, before, lstm, lstm_table, plain, layers,
        ];
        let steps = self.steps_per_token as f64;
        let [
            mut macs,
            rows,
            table,
            units,
            before,
            lstm,
            lstm_table,
            plain,
            layers,
        ] = recurrent.map(|quantity| quantity * steps);
        for &(outputs, bits) in &self.head {
            macs += padded(outputs) * inputs * cost(bits)[0];
            inputs = padded(outputs);
        }
        let logits = self.head.last().map_or(0, |&(outputs, _)| outputs) as f64;
        [
            macs, rows, table, units, before, lstm, lstm_table, plain, layers, logits, 1.0,
        ]
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
