//! `trainer inspect`

use super::print::{print_json, print_out};
use crate::inference::model::Model;
use crate::network::{Network, Op, Phase, RecurrentCell};
use crate::report::text::ImageReport;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Tells what a model file holds, what it needs and on which boards it fits.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The model, .onnx or .pip
    pub model: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What a float network is.
#[derive(Debug, Serialize)]
struct NetworkReport<'a> {
    tokens: usize,
    embedding: Option<usize>,
    /// Of the encoder, where there is one.
    encoder: Vec<LayerReport>,
    layers: Vec<LayerReport>,
    steps_per_token: usize,
    outputs: usize,
    /// Tensors whose weights stand on grids that the file brings, by the names that export reports them by.
    on_grids: Vec<String>,
    labels: &'a [String],
    channels: &'a [String],
    parameters: usize,
    provenance: &'a crate::network::Provenance,
    vocabulary: &'a [String],
}

#[derive(Debug, Serialize)]
struct LayerReport {
    cell: &'static str,
    hidden: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    linear_before_reset: Option<bool>,
}

/// The tensors that a file has grids of, an encoder's first.
fn on_grids(network: &Network) -> Vec<String> {
    let source = network.source_group_scales.keys();
    let source = source.map(|tensor| format!("encoder {tensor}"));
    source.chain(network.group_scales.keys().cloned()).collect()
}

/// Runs the command.
///
/// # Errors
/// If the model cannot be read.
pub fn run(args: InspectArgs) -> anyhow::Result<()> {
    match Model::open(&args.model)? {
        Model::Integer(bytes) => {
            let report = ImageReport::new(&bytes);
            if args.json {
                print_json(&report)
            } else {
                print_out(&report.to_string())
            }
        }
        Model::Float(network) => {
            let layer = |layer: &RecurrentCell| LayerReport {
                cell: layer.name(),
                hidden: layer.hidden(),
                linear_before_reset: match layer {
                    RecurrentCell::Gru(gru) => Some(gru.linear_before_reset),
                    _ => None,
                },
            };
            let layers = |phase| {
                network
                    .recurrent(phase)
                    .map(|(_, cell)| layer(cell))
                    .collect()
            };
            let report = NetworkReport {
                tokens: network.tokens(),
                embedding: match network.reader(Phase::Step).map(|(_, layer)| &layer.op) {
                    Some(Op::Token { embedding, .. }) => embedding.as_ref().map(|e| e.columns),
                    _ => None,
                },
                encoder: layers(Phase::Source),
                layers: layers(Phase::Step),
                steps_per_token: network.steps_per_token(Phase::Step),
                outputs: network.output_width(),
                on_grids: on_grids(&network),
                labels: network.labels.as_ref().map_or(&[], |labels| labels.texts()),
                channels: &network.feature_names,
                parameters: network.parameters(),
                provenance: &network.provenance,
                vocabulary: network.vocabulary.as_ref().map_or(&[], |v| v.texts()),
            };
            if args.json {
                return print_json(&report);
            }
            let stack = |layers: &[LayerReport]| {
                let layer = |l: &LayerReport| format!("{} {}", l.cell, l.hidden);
                layers.iter().map(layer).collect::<Vec<_>>().join(", ")
            };
            let layers = match &report.encoder[..] {
                [] => stack(&report.layers),
                encoder => format!("{} to {}", stack(encoder), stack(&report.layers)),
            };
            // Characters stand side by side, longer tokens apart.
            let long = report.vocabulary.iter().any(|t| t.chars().count() > 1);
            let mut texts = report.vocabulary.join(if long { " " } else { "" });
            for (name, more) in [("labels", report.labels), ("features", report.channels)] {
                if !more.is_empty() {
                    texts += &format!("; {name} {}", more.join(" "));
                }
            }
            let embedding = report.embedding.map_or(String::new(), |columns| {
                format!(" by an embedding of {columns}")
            });
            let steps = match report.steps_per_token {
                1 => String::new(),
                steps => format!(", {steps} steps per token"),
            };
            let grids = match &report.on_grids[..] {
                [] => "none: export rounds to weights of 8 bits".into(),
                tensors => tensors.join(", "),
            };
            let from = report.provenance;
            let loss = |loss: Option<f32>| {
                loss.map_or("not measured".into(), |nats| {
                    format!("{nats:.4} nats/token")
                })
            };
            print_out(&format!(
                "network      {} tokens{embedding}, {layers}{steps}, {} outputs, {} parameters\non grids     {grids}\n\
                 trained on   {} ({}), {} steps, seed {}\n\
                 training     {}\nvalidation   {}\nvocabulary   {:?}\n",
                report.tokens,
                report.outputs,
                report.parameters,
                from.corpus,
                from.split,
                from.steps,
                from.seed,
                loss(from.train_loss),
                loss(from.validation_loss),
                texts,
            ))
        }
    }
}
