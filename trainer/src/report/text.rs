//! What export and inspect tell: tensors, boards, and float against integer loss.

use crate::eval::perplexity::Evaluation;
use crate::inference::model::ImageBytes;
use crate::quantize::formats::bits;
use crate::quantize::{TensorReport, TokenBytes};
use pipsqueak::Task;
use pipsqueak::encode::ModelConfig;
use pipsqueak::format::MAX_LAYERS;
use pipsqueak::format::{OpConfig, Phase, TokenRowsConfig};
use pipsqueak::{GENERATOR_RAM, LAYER_RAM, MODEL_RAM};
use pipsqueak_boards::{BAUD, BOARDS, Prediction};
use serde::Serialize;
use std::fmt::{self, Display};

/// What an image needs and where it fits.
#[derive(Debug, Serialize)]
pub struct ImageReport {
    /// Bytes of the image: flash.
    pub bytes: usize,
    /// The kernel that runs it on this machine.
    pub kernel: &'static str,
    /// The digest of its outputs, as a board's `selftest` prints it.
    pub digest: String,
    /// Tokens, V.
    pub tokens: usize,
    /// The embedding's size; 0 where it is folded into the token table.
    pub embedding: usize,
    /// What it does with a line of text.
    pub task: &'static str,
    /// What goes in first.
    pub input: String,
    /// Cell and units of each layer of the encoder, where there is one.
    pub encoder: Vec<LayerReport>,
    /// Cell and units of each layer, of the decoder's where there is an encoder.
    pub layers: Vec<LayerReport>,
    /// How often all of these layers step for a token.
    pub steps_per_token: u8,
    /// Bits of the weights of each of the head's dense layers.
    pub head_bits: Vec<u8>,
    /// RAM, besides the image.
    pub ram: RamReport,
    /// Each known board.
    pub boards: Vec<BoardReport>,
    /// Where the network comes from.
    pub provenance: ProvenanceReport,
}

/// A layer's shape.
#[derive(Debug, Serialize)]
pub struct LayerReport {
    /// Which cell.
    pub cell: String,
    /// Its units.
    pub hidden: u16,
    /// Bits of its weights.
    pub bits: u8,
    /// Bits of those over its input.
    pub input_bits: u8,
}

/// Bytes of RAM, the stack apart.
#[derive(Debug, Serialize)]
pub struct RamReport {
    /// State, logits and what a step needs.
    pub workspace: usize,
    /// The generator, as on a 32-bit board.
    pub generator: usize,
    /// The parsed image, as on a 32-bit board.
    pub image: usize,
    /// All three.
    pub total: usize,
}

/// Whether an image fits a board, and what it will cost there.
#[derive(Debug, Serialize)]
pub struct BoardReport {
    /// The board's name.
    pub name: &'static str,
    /// Its processor's core.
    pub core: &'static str,
    /// The clock that the prediction is for, in Hz.
    pub clock_hz: u32,
    /// What the prediction assumes of the board's memory.
    pub assumption: &'static str,
    /// The kernel that its firmware runs.
    pub kernel: &'static str,
    /// Bytes of its model slot.
    pub slot: u32,
    /// Bytes of workspace that its firmware offers.
    pub workspace: usize,
    /// Whether both suffice.
    pub fits: bool,
    /// What the image will cost, if it fits.
    #[serde(flatten)]
    pub prediction: Prediction,
}

/// Where a network comes from.
#[derive(Debug, Serialize)]
pub struct ProvenanceReport {
    /// The corpus' file name.
    pub corpus: String,
    /// The part of it that was trained on.
    pub split: String,
    /// Optimizer steps.
    pub steps: u32,
    /// The training's seed.
    pub seed: u64,
    /// Loss on the training part, nats per token.
    pub train_loss: Option<f64>,
    /// Loss on the validation part, nats per token.
    pub validation_loss: Option<f64>,
}

impl ImageReport {
    /// Reports on an image.
    pub fn new(image: &ImageBytes) -> Self {
        let model = image.image();
        let config = ModelConfig::of(image.bytes());
        let workspace = model.workspace_len() * 4;
        // The firmware has room for the largest model.
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
            tokens: model.output().map_or(0, |output| output.len()),
            embedding: embedding(&config),
            task: match model.task() {
                Task::LanguageModel => "goes on with a text",
                Task::SequenceToSequence => "makes a text of a text",
                Task::Classifier => "names the class of a text",
                Task::ConditionalGenerator => "makes a text of features",
                _ => "numbers in, numbers out",
            },
            input: input(&config, first),
            encoder: layers(&config, Phase::Source),
            layers: layers(&config, Phase::Step),
            steps_per_token: model.steps_per_token(),
            head_bits: head_bits(&config),
            ram: RamReport {
                workspace,
                generator,
                image: parsed,
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

impl ImageReport {
    /// The network in a line: what goes in, the layers, what comes out.
    pub fn network(&self) -> String {
        let layer =
            |l: &LayerReport| format!("{} {}{}", l.cell, l.hidden, said(l.input_bits, l.bits));
        let stack =
            |layers: &[LayerReport]| layers.iter().map(layer).collect::<Vec<_>>().join(", ");
        let encoder = match &self.encoder[..] {
            [] => String::new(),
            layers => format!("{} to ", stack(layers)),
        };
        let (input, outputs) = (&self.input, self.tokens);
        let layers = stack(&self.layers);
        let steps = match self.steps_per_token {
            1 => String::new(),
            n => format!(", {n} steps per token"),
        };
        let head = self.head_bits.iter().copied().min().unwrap_or(8);
        let head = said(head, head);
        format!("{input}; {encoder}{layers}{steps}; {outputs} outputs{head}")
    }

    /// Whether it fits `board`, and if not, why.
    pub fn verdict(&self, board: &BoardReport) -> String {
        if board.fits {
            "yes".into()
        } else if self.bytes > board.slot as usize {
            format!("no: its slot has {} bytes", board.slot)
        } else {
            format!("no: its workspace has {} bytes", board.workspace)
        }
    }
}

/// What the layers of `phase` read.
fn input(config: &ModelConfig, phase: Phase) -> String {
    let size = |phase| {
        let mut layers = config.layers.iter().filter(|layer| layer.phase == phase);
        layers.find_map(|layer| match layer.op {
            OpConfig::Frame { size } => Some(size),
            _ => None,
        })
    };
    let features = size(Phase::Begin);
    let said = features.map_or(String::new(), |n| format!(", {n} features at the start"));
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
            format!("{tokens} tokens by a table{said}")
        }
        (Some((tokens, dim, TokenRowsConfig::Embedding)), _) => {
            format!("{tokens} tokens by an embedding of {dim}{said}")
        }
        (Some((tokens, _, TokenRowsConfig::Tied { .. })), _) => {
            format!("{tokens} tokens by the embedding that is the output's{said}")
        }
        (None, Some(size)) => format!("vectors of {size}{said}"),
        (None, None) => {
            let (features, steps) = (features.unwrap_or(0), config.metadata.fixed_steps);
            format!("{features} features at {steps} steps")
        }
    }
}

/// Elements of the embedding; 0 if there is none.
fn embedding(config: &ModelConfig) -> usize {
    let embedding = config.layers.iter().find_map(|layer| match layer.op {
        OpConfig::Token { dim, rows, .. } if layer.phase == Phase::Step => match rows {
            TokenRowsConfig::Gates => None,
            TokenRowsConfig::Embedding | TokenRowsConfig::Tied { .. } => Some(dim as usize),
        },
        _ => None,
    });
    embedding.unwrap_or(0)
}

/// Cell and units of the recurrent layers of `phase`.
fn layers(config: &ModelConfig, phase: Phase) -> Vec<LayerReport> {
    let layers = config.layers.iter().filter(|layer| layer.phase == phase);
    let layers = layers.filter_map(|layer| match layer.op {
        OpConfig::Recurrent(recurrent) => Some(LayerReport {
            cell: format!("{:?}", recurrent.cell),
            hidden: recurrent.hidden_size,
            bits: bits(recurrent.formats[1]),
            input_bits: bits(recurrent.formats[0]),
        }),
        _ => None,
    });
    layers.collect()
}

/// Bits of the weights of the head's dense layers.
fn head_bits(config: &ModelConfig) -> Vec<u8> {
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

/// What is said where weights are not of the usual 8 bits.
fn said(input: u8, bits: u8) -> &'static str {
    match (input, bits) {
        (8, 4) => " (8/4 bits)",
        (_, 4) => " (4 bits)",
        _ => "",
    }
}

impl Display for ImageReport {
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
            "image        {} bytes ({:.1} KB)",
            self.bytes,
            self.bytes as f64 / 1024.0
        )?;
        writeln!(f, "digest       {}", self.digest)?;
        writeln!(f, "kernel       {} on this machine", self.kernel)?;
        let ram = &self.ram;
        writeln!(
            f,
            "RAM          {} bytes: workspace {}, generator {}, parsed image {}",
            ram.total, ram.workspace, ram.generator, ram.image
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
            writeln!(f, "{}", self.verdict(board))?;
        }
        writeln!(
            f,
            "\nPredicted for temperature 0.8 from counts on emulated cores; flash and stack are those of the whole firmware. Assumed:"
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
                "{:<10} at most {bytes} bytes per second leave the serial port ({BAUD} baud)",
                "all"
            )?;
        }
        Ok(())
    }
}

/// Everything that `export` tells.
#[derive(Debug, Serialize)]
pub struct ExportReport {
    /// What the image needs.
    pub image: ImageReport,
    /// What became of each tensor.
    pub tensors: Vec<TensorReport>,
    /// The forms that tokens could have and their bytes, the smallest first; of the encoder, if any, and of the network itself.
    pub forms: Vec<Vec<TokenBytes>>,
    /// What was assumed about numbers whose sizes the network does not tell.
    pub assumed: Vec<String>,
    /// Losses on a text, if one was given.
    pub losses: Option<Losses>,
}

/// Float against integer loss on the same text.
#[derive(Debug, Serialize)]
pub struct Losses {
    /// Of the float network.
    pub float: Evaluation,
    /// Of the image, run by the boards' own code.
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
        for forms in self.forms.iter().filter(|forms| forms.len() > 1) {
            let form = |form: &TokenBytes| format!("{} {} bytes", form.encoding.name(), form.bytes);
            let forms: Vec<String> = forms.iter().map(form).collect();
            writeln!(f, "\ntokens       {}", forms.join(", "))?;
        }
        for assumed in &self.assumed {
            writeln!(f, "assumed      {assumed}")?;
        }
        write!(f, "\n{}", self.image)?;
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
