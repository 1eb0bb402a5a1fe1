//! Soft targets of the models that a command line names as teachers.

use std::path::PathBuf;

use anyhow::bail;

use super::progress;
use crate::data::corpus::Corpus;
use crate::inference::model::Model;
use crate::training::Data;
use crate::training::config::Config;
use crate::training::distill::SoftTargets;
use crate::training::to_network::from_network;

/// Tokens that teachers generate, if nothing else is given.
pub(super) const SYNTHETIC_TOKENS: usize = 2_000_000;

/// The probabilities of these models on the training part of the data, and on about `synthetic` tokens that they generate.
pub(super) fn soft_targets(
    corpus: &Corpus,
    data: &Data,
    config: &Config,
    teachers: &[PathBuf],
    synthetic: usize,
    threads: usize,
    shows: bool,
) -> anyhow::Result<SoftTargets> {
    let mut networks = Vec::new();
    for path in teachers {
        let Model::Float(network) = Model::open(path)? else {
            bail!(
                "{} is a quantized model file: expected the model.onnx that it was exported from",
                path.display()
            );
        };
        from_network(&network).map_err(|found| anyhow::anyhow!("{}: {found}", path.display()))?;
        networks.push((path.display().to_string(), *network));
    }
    let bar = match shows {
        true => progress::bar(1000, "teachers"),
        false => indicatif::ProgressBar::hidden(),
    };
    let set = |done| bar.set_position(done);
    let vocabularies = data.vocabularies(config);
    let soft = match data {
        Data::Text(text) => {
            let text = (&*corpus.sha256, &text.train_ids()[..]);
            let synthetic = (synthetic, config.optimizer.seed);
            SoftTargets::of_text(&networks, &vocabularies, text, synthetic, threads, &set)
        }
        Data::Lines(examples) => {
            let task = config.data.task;
            SoftTargets::of_examples(&networks, task, examples, &corpus.sha256, threads, &set)
        }
    };
    bar.finish_and_clear();
    Ok(soft?)
}
