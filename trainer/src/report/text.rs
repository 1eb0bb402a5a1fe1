//! Reports of `export` and `inspect`: size, memory, boards, tensors, and float against integer loss.

use crate::eval::perplexity::Evaluation;
use crate::inference::model::ModelBytes;
use crate::network::formats::bits;
use crate::quantize::{TensorReport, TokenBytes};
use pipsqueak::encode::ModelConfig;
use pipsqueak::format::MAX_LAYERS;
use pipsqueak::format::{OpConfig, Phase, TokenRowsConfig};
use pipsqueak::{Cell, Task};
use pipsqueak::{GENERATOR_RAM, LAYER_RAM, MODEL_RAM};
use pipsqueak_boards::{BAUD, BOARDS, Prediction};
use serde::Serialize;
use std::fmt::{self, Display};

/// What a model is, what it needs, and which boards it fits.
#[derive(Debug, Serialize)]
pub struct ModelReport {
    /// Bytes of the model file: flash.
    pub bytes: usize,
    /// The kernel that runs the model on this machine.
    pub kernel: &'static str,
    /// Digest of the model's outputs, as `selftest` prints it on a board.
    pub digest: String,
    /// Outputs: tokens, classes or values.
    pub outputs: usize,
    /// Size of the embedding; 0 if it is folded into a table of gate inputs.
    pub embedding_dim: usize,
    /// The task, as [`task_name`] returns it.
    pub task: &'static str,
    /// What the first layer reads.
    pub input: String,
    /// The recurrent layers of the encoder, if there is one.
    pub encoder: Vec<LayerReport>,
    /// The recurrent layers; of the decoder, if there is an encoder.
    pub layers: Vec<LayerReport>,
    /// How many times the recurrent layers run per token.
    pub steps_per_token: u8,
    /// Bits of the weights of each dense output layer.
    pub output_weight_bits: Vec<u8>,
    /// RAM, in addition to the model file in flash.
    pub ram: RamReport,
    /// Each known board.
    pub boards: Vec<BoardReport>,
    /// How the network was trained.
    pub provenance: ProvenanceReport,
}

/// A recurrent layer.
#[derive(Debug, Serialize)]
pub struct LayerReport {
    /// `gru`, `lstm` or `rnn`.
    pub cell: &'static str,
    /// Of a GRU: whether the reset gate is applied after the recurrent product, as PyTorch does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_after: Option<bool>,
    /// Units.
    pub hidden_size: u16,
    /// Bits of the recurrent weights.
    pub weight_bits: u8,
    /// Bits of the input weights.
    pub input_weight_bits: u8,
}

/// Bytes of RAM without the stack.
#[derive(Debug, Serialize)]
pub struct RamReport {
    /// State, logits and scratch memory.
    pub workspace: usize,
    /// The generator on a 32-bit board.
    pub generator: usize,
    /// The parsed model on a 32-bit board.
    pub parsed_model: usize,
    /// The sum.
    pub total: usize,
}

/// Whether a model fits a board, and its predicted cost there.
#[derive(Debug, Serialize)]
pub struct BoardReport {
    /// The board's name.
    pub name: &'static str,
    /// Its processor's core.
    pub core: &'static str,
    /// Clock of the prediction, in Hz.
    pub clock_hz: u32,
    /// What the prediction assumes about the board's memory.
    pub assumption: &'static str,
    /// The kernel of its firmware.
    pub kernel: &'static str,
    /// Bytes of its model slot.
    pub slot: u32,
    /// Bytes of its firmware's workspace.
    pub workspace: usize,
    /// Whether the model fits both.
    pub fits: bool,
    /// Predicted speed and memory.
    #[serde(flatten)]
    pub prediction: Prediction,
}

/// How a network was trained.
#[derive(Debug, Serialize)]
pub struct ProvenanceReport {
    /// File name of the corpus.
    pub corpus: String,
    /// The training part of the corpus.
    pub split: String,
    /// Optimizer steps.
    pub steps: u32,
    /// Seed of the training.
    pub seed: u64,
    /// Loss on the training part, nats per token.
    pub train_loss: Option<f64>,
    /// Loss on the validation part, nats per token.
    pub validation_loss: Option<f64>,
}

/// The name of a task in reports and JSON.
pub fn task_name(task: Task) -> &'static str {
    match task {
        Task::LanguageModel => "language-model",
        Task::SequenceToSequence => "sequence-to-sequence",
        Task::Classifier => "classifier",
        Task::ConditionalGenerator => "conditional-generator",
        _ => "frames",
    }
}

impl ModelReport {
    /// Reports on a model.
    pub fn new(bytes: &ModelBytes) -> Self {
        let model = bytes.model();
        let config = ModelConfig::of(bytes.bytes());
        let workspace = model.workspace_len() * 4;
        // The firmware reserves memory for the largest model.
        let (generator, parsed) = (GENERATOR_RAM, MODEL_RAM + MAX_LAYERS * LAYER_RAM);
        let from = model.training_info().unwrap_or_default();
        let nats = |thousandths: Option<u16>| thousandths.map(|n| f64::from(n) / 1000.0);
        let first = if model.has_source() {
            Phase::Source
        } else {
            Phase::Step
        };
        Self {
            bytes: model.len(),
            kernel: pipsqueak::kernel_name(),
            digest: format!("{:08X}", model.digest()),
            outputs: model.output().map_or(0, |output| output.len()),
            embedding_dim: embedding_dim(&config),
            task: task_name(model.task()),
            input: input(&config, first),
            encoder: layers(&config, Phase::Source),
            layers: layers(&config, Phase::Step),
            steps_per_token: model.steps_per_token(),
            output_weight_bits: output_weight_bits(&config),
            ram: RamReport {
                workspace,
                generator,
                parsed_model: parsed,
                total: workspace + generator + parsed,
            },
            boards: BOARDS
                .iter()
                .map(|board| BoardReport {
                    name: board.name,
                    core: board.core,
                    clock_hz: board.clock_hz,
                    assumption: board.assumption,
                    kernel: board.kernel,
                    slot: board.slot_bytes,
                    workspace: board.workspace_words * 4,
                    fits: model.len() <= board.slot_bytes as usize
                        && model.workspace_len() <= board.workspace_words,
                    prediction: Prediction::new(board, &model),
                })
                .collect(),
            provenance: ProvenanceReport {
                corpus: from.corpus.into(),
                split: from.split.into(),
                steps: from.steps,
                seed: from.seed,
                train_loss: nats(from.train_loss),
                validation_loss: nats(from.validation_loss),
            },
        }
    }
}

impl ModelReport {
    /// The network in one line: input, layers, outputs.
    pub fn network(&self) -> String {
        let layer = |l: &LayerReport| {
            let cell = match l.reset_after {
                Some(false) => "GRU (reset before)".into(),
                _ => l.cell.to_uppercase(),
            };
            let bits = format_bits(l.input_weight_bits, l.weight_bits);
            format!("{cell} {}{bits}", l.hidden_size)
        };
        let stack =
            |layers: &[LayerReport]| layers.iter().map(layer).collect::<Vec<_>>().join(", ");
        let encoder = match &self.encoder[..] {
            [] => String::new(),
            layers => format!("{} to ", stack(layers)),
        };
        let (input, outputs) = (&self.input, self.outputs);
        let layers = stack(&self.layers);
        let steps = match self.steps_per_token {
            1 => String::new(),
            n => format!(", {n} steps per token"),
        };
        let bits = self.output_weight_bits.iter().copied().min().unwrap_or(8);
        let bits = format_bits(bits, bits);
        format!("{input}; {encoder}{layers}{steps}; {outputs} outputs{bits}")
    }

    /// Whether the model fits `board`, and if not, why.
    pub fn format_fit(&self, board: &BoardReport) -> String {
        if board.fits {
            "yes".into()
        } else if self.bytes > board.slot as usize {
            format!("no: its slot has {} bytes", board.slot)
        } else {
            format!("no: its workspace has {} bytes", board.workspace)
        }
    }
}

/// What the first layer of `phase` reads.
fn input(config: &ModelConfig, phase: Phase) -> String {
    let size = |phase| {
        let mut layers = config.layers.iter().filter(|layer| layer.phase == phase);
        layers.find_map(|layer| match layer.op {
            OpConfig::Frame { size } => Some(size),
            _ => None,
        })
    };
    let features = size(Phase::Begin);
    let conditioning = features.map_or(String::new(), |n| format!(", {n} conditioning features"));
    let mut layers = config.layers.iter().filter(|layer| layer.phase == phase);
    let token = layers.find_map(|layer| match layer.op {
        OpConfig::Token {
            vocab_size,
            dim,
            rows,
        } => Some((vocab_size, dim, rows)),
        _ => None,
    });
    match (token, size(phase)) {
        (Some((tokens, _, TokenRowsConfig::Gates)), _) => {
            format!("{tokens} tokens, gate table{conditioning}")
        }
        (Some((tokens, dim, TokenRowsConfig::Embedding)), _) => {
            format!("{tokens} tokens, embedding of {dim}{conditioning}")
        }
        (Some((tokens, _, TokenRowsConfig::Tied { .. })), _) => {
            format!("{tokens} tokens, tied embedding{conditioning}")
        }
        (None, Some(size)) => format!("frames of {size} values{conditioning}"),
        (None, None) => {
            let (features, steps) = (features.unwrap_or(0), config.metadata.fixed_steps);
            format!("{features} features, repeated for {steps} steps")
        }
    }
}

/// Size of the embedding; 0 if there is none.
fn embedding_dim(config: &ModelConfig) -> usize {
    let embedding = config.layers.iter().find_map(|layer| match layer.op {
        OpConfig::Token { dim, rows, .. } if layer.phase == Phase::Step => match rows {
            TokenRowsConfig::Gates => None,
            TokenRowsConfig::Embedding | TokenRowsConfig::Tied { .. } => Some(dim as usize),
        },
        _ => None,
    });
    embedding.unwrap_or(0)
}

/// The recurrent layers of `phase`.
fn layers(config: &ModelConfig, phase: Phase) -> Vec<LayerReport> {
    let layers = config.layers.iter().filter(|layer| layer.phase == phase);
    let layers = layers.filter_map(|layer| match layer.op {
        OpConfig::Recurrent(recurrent) => Some(LayerReport {
            cell: match recurrent.cell {
                Cell::GruResetAfter | Cell::GruResetBefore => "gru",
                Cell::Lstm => "lstm",
                Cell::Rnn => "rnn",
            },
            reset_after: match recurrent.cell {
                Cell::GruResetAfter => Some(true),
                Cell::GruResetBefore => Some(false),
                Cell::Lstm | Cell::Rnn => None,
            },
            hidden_size: recurrent.hidden_size,
            weight_bits: bits(recurrent.formats[1]),
            input_weight_bits: bits(recurrent.formats[0]),
        }),
        _ => None,
    });
    layers.collect()
}

/// Bits of the weights of the dense output layers.
fn output_weight_bits(config: &ModelConfig) -> Vec<u8> {
    let head = config
        .layers
        .iter()
        .filter(|layer| layer.phase == Phase::Output);
    let head = head.filter_map(|layer| match layer.op {
        OpConfig::Dense { format, .. } => Some(bits(format)),
        _ => None,
    });
    head.collect()
}

/// The bits of a layer's weights, if they are not 8.
fn format_bits(input: u8, bits: u8) -> &'static str {
    match (input, bits) {
        (8, 4) => " (8-bit input weights, 4-bit recurrent weights)",
        (_, 4) => " (4-bit weights)",
        _ => "",
    }
}

impl Display for ModelReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "network      {}", self.network())?;
        writeln!(f, "task         {}", self.task)?;
        let from = &self.provenance;
        writeln!(
            f,
            "trained on   {} ({}), {} steps, seed {}",
            from.corpus, from.split, from.steps, from.seed
        )?;
        if let Some(loss) = from.validation_loss {
            writeln!(f, "validation   {loss:.3} nats/token in float")?;
        }
        writeln!(
            f,
            "model file   {} bytes ({:.1} KB)",
            self.bytes,
            self.bytes as f64 / 1024.0
        )?;
        writeln!(f, "digest       {}", self.digest)?;
        writeln!(f, "kernel       {} on this machine", self.kernel)?;
        let ram = &self.ram;
        writeln!(
            f,
            "RAM          {} bytes: workspace {}, generator {}, parsed model {}",
            ram.total, ram.workspace, ram.generator, ram.parsed_model
        )?;
        writeln!(
            f,
            "\n{:<10} {:<16} {:>8} {:>9} {:>7} {:>6}  fits",
            "board", "kernel", "chars/s", "flash", "RAM", "stack"
        )?;
        for board in &self.boards {
            let BoardReport { name, kernel, .. } = board;
            let Prediction {
                characters_per_second: speed,
                flash,
                ram,
                stack,
                ..
            } = board.prediction;
            write!(
                f,
                "{name:<10} {kernel:<16} {speed:>8.0} {flash:>9} {ram:>7} {stack:>6}  "
            )?;
            writeln!(f, "{}", self.format_fit(board))?;
        }
        writeln!(
            f,
            "\nPredicted for temperature 0.8 from instruction counts of emulated cores. Flash and stack are those of the whole firmware. Assumptions:"
        )?;
        for board in &self.boards {
            let (core, mhz) = (board.core, board.clock_hz / 1_000_000);
            writeln!(
                f,
                "{:<10} {core}, {mhz} MHz: {}",
                board.name, board.assumption
            )?;
        }
        if let Some(board) = self.boards.first() {
            let bytes = board.prediction.serial_per_second;
            writeln!(
                f,
                "{:<10} the serial port sends at most {bytes} bytes/s ({BAUD} baud)",
                "all"
            )?;
        }
        Ok(())
    }
}

/// The result of `export`.
#[derive(Debug, Serialize)]
pub struct ExportReport {
    /// The model file.
    pub model: ModelReport,
    /// The quantized tensors.
    pub tensors: Vec<TensorReport>,
    /// The possible encodings of tokens and their bytes, smallest first: for the encoder, if there is one, and for the network.
    pub token_encodings: Vec<Vec<TokenBytes>>,
    /// Assumptions about value ranges that the network does not state.
    pub assumptions: Vec<String>,
    /// LossComparison on a text, if one was given.
    pub losses: Option<LossComparison>,
}

/// Float against integer loss on the same text.
#[derive(Debug, Serialize)]
pub struct LossComparison {
    /// Of the float network.
    pub float: Evaluation,
    /// Of the model file, run by the code that runs on boards.
    pub integer: Evaluation,
    /// Integer minus float, nats per character.
    pub difference: f64,
}

impl Display for ExportReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "{:<30} {:>12} {:>9} {:>23} {:>10}",
            "tensor", "shape", "bytes", "scale", "error"
        )?;
        for tensor in &self.tensors {
            let [rows, columns] = tensor.shape;
            let shape = format!("{rows} x {columns}");
            let scale = format!("{:.2e} to {:.2e}", tensor.scale[0], tensor.scale[1]);
            let error = format!("{:.2} %", tensor.relative_error * 100.0);
            writeln!(
                f,
                "{:<30} {shape:>12} {:>9} {scale:>23} {error:>10}",
                tensor.name, tensor.bytes
            )?;
        }
        for encodings in self
            .token_encodings
            .iter()
            .filter(|encodings| encodings.len() > 1)
        {
            let name = |e: &TokenBytes| format!("{} {} bytes", e.encoding.name(), e.bytes);
            let names: Vec<String> = encodings.iter().map(name).collect();
            writeln!(f, "\ntokens       {}", names.join(", "))?;
        }
        for assumption in &self.assumptions {
            writeln!(f, "assumed      {assumption}")?;
        }
        write!(f, "\n{}", self.model)?;
        if let Some(losses) = &self.losses {
            writeln!(
                f,
                "\n{:<12} {:>10} {:>10} {:>12}",
                "loss", "nats/char", "bits/char", "perplexity"
            )?;
            for (name, loss) in [("float", &losses.float), ("integer", &losses.integer)] {
                let Evaluation {
                    nats_per_char,
                    bits_per_char,
                    perplexity,
                    ..
                } = loss;
                writeln!(
                    f,
                    "{name:<12} {nats_per_char:>10.4} {bits_per_char:>10.4} {perplexity:>12.3}"
                )?;
            }
            let (characters, skipped) = (losses.integer.characters, losses.integer.skipped);
            writeln!(
                f,
                "difference   {:>+10.5} over {characters} characters, {skipped} skipped",
                losses.difference
            )?;
        }
        Ok(())
    }
}
