//! What a model costs on a board, predicted: cycles of a character, bytes of flash, RAM and stack.
//!
//! A character is one step of the network, of an encoder and a decoder the decoder's, the logits, and a draw at temperature
//! 0.8; of a network that draws nothing, it is what a step and its outputs take. Its cycles are taken to be a sum: of
//! each [quantity](crate::QUANTITIES) as many as the shape has, times what one of them costs on the core. The costs are fitted to
//! counts on emulated cores, without wait states of the flash; `measure --fit` fits them anew. A fitted cost by itself says
//! little, and may be negative: what always comes together shares its cycles by chance.

use pipsqueak::format::{MAX_LAYERS, Phase};
use pipsqueak::{
    Cell, DenseConfig, GENERATOR_RAM, GROUP_SIZE, LAYER_RAM, Layer, MODEL_RAM, ModelView,
    RecurrentConfig, RowFormat, WeightFormat,
};
use serde::Serialize;

use crate::{
    BoardSpec,
    fitted::{CYCLES, FOOTPRINTS},
    quantities::{Footprint, Quantities},
};

/// Rows of a gate in a panel.
const ROWS: usize = 4;
/// Maximum number of rows of a gate group of a dense layer.
const DENSE_ROWS: usize = 16;

/// The bits per second of every board's console.
pub const BAUD: u32 = 115_200;
/// Bits that the port sends per byte: one before and one after.
const BITS_PER_BYTE: u32 = 10;

/// All of a model that the cycles of one step and its outputs depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The recurrent layers of the step.
    pub layers: Vec<RecurrentConfig>,
    /// The dense layers of the step and of the outputs.
    pub dense: Vec<DenseConfig>,
    /// Values of the first output.
    pub logits: usize,
    /// How many steps the recurrent layers run per token.
    pub steps_per_token: usize,
}

impl Shape {
    /// The shape of `model`.
    #[must_use]
    pub fn of(model: &ModelView) -> Self {
        let run = |layer: &&Layer| matches!(layer.phase(), Phase::Step | Phase::Output);
        Self {
            layers: model
                .layers()
                .filter(run)
                .filter_map(Layer::recurrent)
                .collect(),
            dense: model
                .layers()
                .filter(run)
                .filter_map(Layer::dense)
                .collect(),
            logits: model.output().map_or(0, |output| output.len()),
            steps_per_token: model.steps_per_token().into(),
        }
    }

    /// How many of each of [`QUANTITIES`](crate::QUANTITIES) a character takes.
    pub(crate) fn quantities(&self) -> Quantities {
        let mut products = Products::default();
        let (mut rows, mut table) = (0.0, 0.0);
        let (mut units, mut before, mut plain) = (0.0, 0.0, 0.0);
        let (mut lstm, mut lstm_table) = (0.0, 0.0);
        for layer in &self.layers {
            let (inputs, hidden) = (layer.input_size, layer.hidden_size);
            for group in layer.passes().iter().copied().flatten() {
                let gates = group.params.len();
                products.add(layer.row_format(group.span), hidden / ROWS, gates * hidden);
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
        }
        let steps = self.steps_per_token as f64;
        let mut products = Products(products.0.map(|quantity| quantity * steps));
        for dense in &self.dense {
            let format = RowFormat {
                formats: [dense.format; 2],
                columns: [dense.input_size, 0],
            };
            products.add(
                format,
                dense.output_size.div_ceil(DENSE_ROWS),
                dense.output_size,
            );
        }
        let [macs, four, panels, groups, scaled] = products.0;
        let layers = self.layers.len() as f64;
        let [rows, table, units, before, lstm, lstm_table, plain, layers] =
            [rows, table, units, before, lstm, lstm_table, plain, layers].map(|n| n * steps);
        [
            macs,
            four,
            panels,
            groups,
            scaled,
            rows,
            table,
            units,
            before,
            lstm,
            lstm_table,
            plain,
            layers,
            self.logits as f64,
            1.0,
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

/// The first five of [`QUANTITIES`](crate::QUANTITIES): multiplications, panels and groups.
#[derive(Default)]
struct Products([f64; 5]);

impl Products {
    /// Adds `groups` gate groups with `rows` rows in all.
    fn add(&mut self, format: RowFormat, groups: usize, rows: usize) {
        let [macs, four, of_four, scale_groups, scaled] = &mut self.0;
        let (panels, rows) = (groups as f64, rows as f64);
        let is_int4 = |format: WeightFormat| format == WeightFormat::Int4;
        for (columns, format) in format.columns.into_iter().zip(format.formats) {
            if is_int4(format) {
                *four += rows * columns as f64;
                *scale_groups += panels * columns.div_ceil(GROUP_SIZE) as f64;
            } else {
                *macs += rows * columns as f64;
                if format == WeightFormat::Int8Scaled && columns > 0 {
                    *scaled += rows;
                }
            }
        }
        if !format.is_concat() {
            *of_four += panels;
        }
    }
}

impl Footprint {
    /// The board's, as it was when the predictions were fitted.
    ///
    /// # Panics
    /// If the board is not of the catalogue.
    #[must_use]
    pub fn of(board: &BoardSpec) -> Self {
        let footprint = FOOTPRINTS.iter().find(|f| f.board == board.name);
        *footprint.expect("every board of the catalogue is measured")
    }
}

/// What a model will cost on a board.
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
    /// Flash: firmware and model file, in bytes.
    pub flash: usize,
    /// Of that the firmware.
    pub firmware: usize,
    /// RAM that the model takes while it runs: workspace, generator and parsed model, in bytes.
    pub ram: usize,
    /// Bytes of stack that the firmware takes at most, as measured in the emulator: generator and parsed model are on it.
    pub stack: usize,
}

impl Prediction {
    /// Predicts what `model` costs on `board`, whether it fits or not.
    ///
    /// # Panics
    /// If the board is not of the catalogue.
    #[must_use]
    pub fn new(board: &BoardSpec, model: &ModelView) -> Self {
        let cycles = Shape::of(model).cycles(board.core);
        let computed = f64::from(board.clock_hz) / cycles;
        let serial = BAUD / BITS_PER_BYTE;
        let footprint = Footprint::of(board);
        Self {
            characters_per_second: computed.min(serial.into()),
            computed_per_second: computed,
            serial_per_second: serial,
            cycles_per_character: cycles.round() as u64,
            flash: footprint.flash + model.len(),
            firmware: footprint.flash,
            ram: 4 * model.workspace_len() + GENERATOR_RAM + MODEL_RAM + MAX_LAYERS * LAYER_RAM,
            stack: footprint.stack,
        }
    }
}
