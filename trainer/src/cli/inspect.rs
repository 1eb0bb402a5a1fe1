//! `trainer inspect`

use super::print::{RecordType, print_json, print_out};
use crate::inference::model::Model;
use crate::network::{Network, Op, Phase, Provenance, RecurrentCell};
use crate::report::text::ModelReport;
use clap::Args;
use serde::Serialize;
use std::fmt::{self, Display};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  trainer inspect models/shakespeare/model.pip
  trainer inspect models/shakespeare/model.onnx --json";

/// Show what a model contains
///
/// For a model file (.pip) also the memory that it needs, the boards that it fits, and its predicted speed there.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArgs {
    /// Model, .onnx or .pip
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Print one JSON object (trainer/JSON.md)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// A float network.
#[derive(Debug, Serialize)]
struct NetworkReport<'a> {
    tokens: usize,
    embedding_dim: Option<usize>,
    /// The layers of the encoder, if there is one.
    encoder: Vec<LayerReport>,
    layers: Vec<LayerReport>,
    steps_per_token: usize,
    outputs: usize,
    /// The tensors whose quantization scales are in the file, by the names that `export` reports.
    tensors_with_scales: Vec<String>,
    labels: &'a [String],
    features: &'a [String],
    parameters: usize,
    provenance: &'a Provenance,
    vocabulary: &'a [String],
}

#[derive(Debug, Serialize)]
struct LayerReport {
    /// `gru`, `lstm` or `rnn`.
    cell: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_after: Option<bool>,
    hidden_size: usize,
}

impl LayerReport {
    fn new(layer: &RecurrentCell) -> Self {
        Self {
            cell: layer.name().to_lowercase(),
            reset_after: match layer {
                RecurrentCell::Gru(gru) => Some(gru.linear_before_reset),
                _ => None,
            },
            hidden_size: layer.hidden(),
        }
    }
}

impl<'a> NetworkReport<'a> {
    fn new(network: &'a Network) -> Self {
        let layers = |phase| {
            let cells = network.recurrent(phase);
            cells.map(|(_, cell)| LayerReport::new(cell)).collect()
        };
        Self {
            tokens: network.tokens(),
            embedding_dim: match network.reader(Phase::Step).map(|(_, layer)| &layer.op) {
                Some(Op::Token { embedding, .. }) => embedding.as_ref().map(|e| e.columns),
                _ => None,
            },
            encoder: layers(Phase::Source),
            layers: layers(Phase::Step),
            steps_per_token: network.steps_per_token(Phase::Step),
            outputs: network.output_width(),
            tensors_with_scales: tensors_with_scales(network),
            labels: network
                .labels
                .as_ref()
                .map_or(&[], |labels| labels.tokens()),
            features: &network.feature_names,
            parameters: network.parameters(),
            provenance: &network.provenance,
            vocabulary: network.vocabulary.as_ref().map_or(&[], |v| v.tokens()),
        }
    }

    /// All tokens, class names and features in one line.
    fn vocabulary(&self) -> String {
        // Characters are printed without a separator, longer tokens with spaces.
        let long = self.vocabulary.iter().any(|t| t.chars().count() > 1);
        let mut text = self.vocabulary.join(if long { " " } else { "" });
        for (name, more) in [("labels", self.labels), ("features", self.features)] {
            if !more.is_empty() {
                text += &format!("; {name} {}", more.join(" "));
            }
        }
        text
    }
}

/// The tensors whose quantization scales are in the file; those of an encoder first.
fn tensors_with_scales(network: &Network) -> Vec<String> {
    let source = network.source_group_scales.keys();
    let source = source.map(|tensor| format!("encoder {tensor}"));
    source.chain(network.group_scales.keys().cloned()).collect()
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the model cannot be opened.
pub fn run(args: InspectArgs) -> anyhow::Result<()> {
    match Model::open(&args.model)? {
        Model::Integer(bytes) => {
            let report = ModelReport::new(&bytes);
            match args.json {
                true => print_json(RecordType::Model, &report),
                false => print_out(&report.to_string()),
            }
        }
        Model::Float(network) => {
            let report = NetworkReport::new(&network);
            match args.json {
                true => print_json(RecordType::FloatModel, &report),
                false => print_out(&report.to_string()),
            }
        }
    }
}

impl Display for NetworkReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let stack = |layers: &[LayerReport]| {
            let layer = |l: &LayerReport| match l.reset_after {
                Some(false) => format!("GRU (reset before) {}", l.hidden_size),
                _ => format!("{} {}", l.cell.to_uppercase(), l.hidden_size),
            };
            layers.iter().map(layer).collect::<Vec<_>>().join(", ")
        };
        let layers = match &self.encoder[..] {
            [] => stack(&self.layers),
            encoder => format!("{} to {}", stack(encoder), stack(&self.layers)),
        };
        let embedding = self
            .embedding_dim
            .map_or(String::new(), |dim| format!(" (embedding of {dim})"));
        let steps = match self.steps_per_token {
            1 => String::new(),
            steps => format!(", {steps} steps per token"),
        };
        let scales = match &self.tensors_with_scales[..] {
            [] => "not in the file: export rounds to 8 bits".into(),
            tensors => tensors.join(", "),
        };
        let from = self.provenance;
        let loss = |loss: Option<f32>| {
            loss.map_or("not measured".into(), |nats| {
                format!("{nats:.4} nats/token")
            })
        };
        writeln!(
            f,
            "network      {} tokens{embedding}, {layers}{steps}, {} outputs, {} parameters",
            self.tokens, self.outputs, self.parameters
        )?;
        writeln!(f, "scales       {scales}")?;
        writeln!(
            f,
            "trained on   {} ({}), {} steps, seed {}",
            from.corpus, from.split, from.steps, from.seed
        )?;
        writeln!(f, "training     {}", loss(from.train_loss))?;
        writeln!(f, "validation   {}", loss(from.validation_loss))?;
        writeln!(f, "vocabulary   {:?}", self.vocabulary())
    }
}
