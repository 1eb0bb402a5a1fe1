//! What an image costs on a board, predicted: cycles of a character, bytes of flash, RAM and stack.
//!
//! A character is one step of the network, of an encoder and a decoder the decoder's, the logits, and a draw at temperature
//! 0.8; of a network that draws nothing, it is what a step and its outputs take. Its cycles are taken to be a sum: of
//! each [quantity](QUANTITIES) as many as the shape has, times what one of them costs on the core. The costs are fitted to
//! counts on emulated cores, without wait states of the flash; `measure --fit` fits them anew. A fitted cost by itself says
//! little, and may be negative: what always comes together shares its cycles by chance.

use pipsqueak::encode::{ModelConfig, as_bytes, to_words};
use pipsqueak::format::{OpConfig, Phase, TokenRowsConfig};
use pipsqueak::{Cell, GROUP_SIZE, Model, RecurrentLayerConfig, WeightFormat};
use serde::Serialize;

use crate::{
    Board, Footprint,
    fitted::{CYCLES, FOOTPRINTS},
};

/// What a character's cycles are a sum over. Rows, units and columns count with their padding to multiples of 4.
///
/// A panel is what one call multiplies: four rows of some gates, or 16 rows of the head. One of 4 bits, or of 4 beside 8,
/// calls kernels for each part of its columns, and these begin anew with every group of columns.
pub const QUANTITIES: [&str; 15] = [
    "multiply-accumulate",
    "multiply-accumulate of 4 bits",
    "panel of 4 bits",
    "group of a panel of 4 bits",
    "row of 8 bits beside 4",
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

/// Rows of a gate in a panel.
const ROWS: usize = 4;
/// The most rows of a panel of the head.
const HEAD_ROWS: usize = 16;

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
    pub layers: Vec<RecurrentLayerConfig>,
    /// Outputs of the head's dense layers and the format of their weights; the last has the tokens, V.
    pub head: Vec<(usize, WeightFormat)>,
    /// How often all layers step for a token.
    pub steps_per_token: usize,
}

impl Shape {
    /// The shape of a model of this configuration.
    #[must_use]
    pub fn of(config: &ModelConfig) -> Self {
        let mut shape = Self {
            embedding: 0,
            layers: Vec::new(),
            head: Vec::new(),
            steps_per_token: config.metadata.steps_per_token[1].into(),
        };
        // The result of the layer that the first recurrent one reads.
        let size = |op: &OpConfig| match *op {
            OpConfig::Token { dim, rows, .. } if rows != TokenRowsConfig::Gates => dim as usize,
            OpConfig::Frame { size } => size.into(),
            OpConfig::Dense { output_size, .. } => output_size.into(),
            _ => 0,
        };
        for layer in &config.layers {
            match (layer.phase, layer.op) {
                (Phase::Step, OpConfig::Recurrent(recurrent)) => {
                    if shape.layers.is_empty() {
                        let inputs = layer.inputs.iter();
                        let sizes = inputs.map(|id| size(&config.layers[id.layer()].op));
                        shape.embedding = sizes.map(|n| n.next_multiple_of(ROWS)).sum();
                    }
                    shape.layers.push(recurrent);
                }
                (
                    Phase::Output,
                    OpConfig::Dense {
                        output_size,
                        format,
                        ..
                    },
                ) => shape.head.push((output_size.into(), format)),
                _ => {}
            }
        }
        shape
    }

    /// How many of each of [`QUANTITIES`] a character takes.
    pub(crate) fn quantities(&self) -> Quantities {
        let padded = |n: usize| n.next_multiple_of(ROWS);
        let mut products = Products::default();
        let (mut rows, mut table) = (0.0, 0.0);
        let (mut units, mut before, mut plain) = (0.0, 0.0, 0.0);
        let (mut lstm, mut lstm_table) = (0.0, 0.0);
        let mut inputs = padded(self.embedding);
        for layer in &self.layers {
            let hidden = padded(layer.hidden_size.into());
            let joint = [inputs, hidden];
            // How many gates the panels of four units have, and the columns over the input and over the state.
            let panels: &[(usize, [usize; 2])] = match layer.cell {
                Cell::GruResetAfter if inputs > 0 => {
                    &[(2, joint), (1, [0, hidden]), (1, [inputs, 0])]
                }
                Cell::GruResetAfter => &[(3, joint)],
                Cell::GruResetBefore => &[(2, joint), (1, joint)],
                Cell::Lstm => &[(4, joint)],
                Cell::Rnn => &[(1, joint)],
            };
            for &(gates, columns) in panels {
                products.add(layer.formats, hidden / ROWS, gates * hidden, columns);
                rows += (gates * hidden) as f64;
            }
            let count = hidden as f64;
            if inputs == 0 {
                table += layer.cell.num_gates() as f64 * count;
            }
            match layer.cell {
                Cell::GruResetAfter => units += count,
                Cell::GruResetBefore => (units, before) = (units + count, before + count),
                Cell::Lstm if inputs == 0 => lstm_table += count,
                Cell::Lstm => lstm += count,
                Cell::Rnn => plain += count,
            }
            inputs = hidden;
        }
        let steps = self.steps_per_token as f64;
        let mut products = Products(products.0.map(|quantity| quantity * steps));
        for &(outputs, format) in &self.head {
            let outputs = padded(outputs);
            products.add(
                [format; 2],
                outputs.div_ceil(HEAD_ROWS),
                outputs,
                [inputs, 0],
            );
            inputs = outputs;
        }
        let [macs, four, panels, groups, scaled] = products.0;
        let layers = self.layers.len() as f64;
        let [rows, table, units, before, lstm, lstm_table, plain, layers] =
            [rows, table, units, before, lstm, lstm_table, plain, layers].map(|n| n * steps);
        let logits = self.head.last().map_or(0, |&(outputs, _)| outputs) as f64;
        [
            macs, four, panels, groups, scaled, rows, table, units, before, lstm, lstm_table,
            plain, layers, logits, 1.0,
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

/// The first of [`QUANTITIES`], up to rows of 8 bits beside 4.
#[derive(Default)]
struct Products([f64; 5]);

impl Products {
    /// Adds `panels` with `rows` in all, over so many columns of the input and of the state.
    fn add(&mut self, formats: [WeightFormat; 2], panels: usize, rows: usize, columns: [usize; 2]) {
        let [macs, four, of_four, groups, scaled] = &mut self.0;
        let (mut wide, mut narrow) = (0, [0, 0]);
        for ((format, columns), narrow) in formats.iter().zip(columns).zip(&mut narrow) {
            match format {
                WeightFormat::Int8 | WeightFormat::Int8Scaled => wide += columns,
                WeightFormat::Int4 => *narrow = columns,
            }
        }
        let (panels, rows) = (panels as f64, rows as f64);
        *macs += rows * wide as f64;
        if formats != [WeightFormat::Int8; 2] {
            *four += rows * narrow.iter().sum::<usize>() as f64;
            *of_four += panels;
            *groups += panels * narrow.iter().map(|n| n.div_ceil(GROUP_SIZE)).sum::<usize>() as f64;
            if wide > 0 {
                *scaled += rows;
            }
        }
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

/// Bytes of RAM of a generator on a 32-bit board, its workspace apart.
pub const GENERATOR_RAM: usize = 56;

/// Bytes of RAM of a parsed model on a 32-bit board, with room for so many layers.
#[must_use]
pub const fn model_ram(layers: usize) -> usize {
    164 + 52 * layers
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
    /// Predicts what the model file `model` costs on `board`, whether it fits or not.
    ///
    /// # Panics
    /// If the board is not of the catalogue, or `model` is not a model.
    #[must_use]
    pub fn new(board: &Board, model: &[u8]) -> Self {
        let words = to_words(model);
        let parsed = Model::parse(as_bytes(&words)).expect("a model");
        let config = ModelConfig::of(model);
        let cycles = Shape::of(&config).cycles(board.core);
        let computed = f64::from(board.clock_hz) / cycles;
        let serial = BAUD / BITS_PER_BYTE;
        let footprint = Footprint::of(board);
        Self {
            characters_per_second: computed.min(serial.into()),
            computed_per_second: computed,
            serial_per_second: serial,
            cycles_per_character: cycles.round() as u64,
            flash: footprint.flash + parsed.len(),
            firmware: footprint.flash,
            ram: 4 * parsed.workspace_len() + GENERATOR_RAM + model_ram(config.layers.len()),
            stack: footprint.stack,
        }
    }
}
