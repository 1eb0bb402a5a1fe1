//! A training that a command runs: from settings and data to files, with everything that is shown on the way.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::ProgressBar;

use super::options::{DistillationOptions, QuantizationOptions, RunOptions};
use super::print::{RecordType, print_json, print_out};
use super::signals;
use super::view::{JsonLines, Live, View, Watcher};
use super::{samples, summary, teachers};
use crate::cli::progress;
use crate::data::corpus::Corpus;
use crate::data::hash;
use crate::data::task::Task;
use crate::deploy::fit::{Budget, FittedConfig};
use crate::fs;
use crate::inference::model::{Model, ModelBytes};
use crate::nn::rnn::Cells;
use crate::onnx;
use crate::quantize::Options;
use crate::report::text::ModelReport;
use crate::training::artifacts::{CONFIG, LAST, LOSSES, METRICS, MODEL};
use crate::training::checkpoint::{self, Checkpoint};
use crate::training::config::Config;
use crate::training::distill::SoftTargets;
use crate::training::ngram_teacher;
use crate::training::samples::{FILE as SAMPLES, Log};
use crate::training::to_network::from_network;
use crate::training::{self, Data, InitialModel, Outcome, Plan, Request, Row};

/// The largest `vocab_size` of a configuration.
const MAX_VOCAB_SIZE: usize = 65_533;

/// The copy of the initial model in the folder, to be resumed with.
const INITIAL: &str = "init.onnx";
/// The teachers' probabilities in the folder, to be resumed with.
const SOFT_TARGETS: &str = "distillation.bin";

/// A training.
pub(super) struct Job<'a> {
    pub corpus: &'a Corpus,
    pub config: Config,
    /// The model that it starts from, and its file.
    pub initial: Option<(InitialModel, Vec<u8>)>,
    pub distillation: &'a DistillationOptions,
    /// Whether a small text gets an n-gram teacher.
    pub chooses_ngram_teacher: bool,
    pub quantization: &'a QuantizationOptions,
    /// Train for so long.
    pub time: Option<Duration>,
    /// The network that was chosen for a budget.
    pub chosen: Option<(FittedConfig, Budget)>,
    pub resume: Option<Checkpoint>,
    pub run: &'a RunOptions,
}

impl Job<'_> {
    /// Refuses a folder that has a training, unless it may be replaced.
    pub fn check_folder(run: &RunOptions) -> anyhow::Result<()> {
        let results = [
            checkpoint::FILE,
            MODEL,
            LAST,
            CONFIG,
            METRICS,
            LOSSES,
            SAMPLES,
        ];
        let is_there = |file: &str| run.out.join(file).exists();
        if !run.overwrite && results.into_iter().any(is_there) {
            bail!(
                "{} has a training already: continue it with `train --resume`, or replace it with --overwrite",
                run.out.display()
            );
        }
        Ok(())
    }

    /// The initial model in `path`, whose sizes are set in `config`.
    pub fn initial_model(
        path: &Path,
        config: &mut Config,
    ) -> anyhow::Result<(InitialModel, Vec<u8>)> {
        let bytes = fs::read_at_most(path, onnx::MAX_FILE_BYTES as u64)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let Model::Float(network) = Model::from_bytes(path, &bytes)? else {
            bail!(
                "{} is a quantized model file: expected the model.onnx that it was exported from",
                path.display()
            );
        };
        let (model, parameters, vocabularies) = from_network(&network)
            .map_err(|found| anyhow::anyhow!("{}: {found}", path.display()))?;
        config.model.init_from = hash::sha256(&bytes);
        config.model.hidden_size = model.stack.hidden_size;
        config.model.layers = model.stack.cells.len();
        config.model.cell = Cells::of(&model.stack.cells);
        config.model.embedding_dim = model.stack.embedding_dim.unwrap_or(0);
        config.model.tie_embeddings = model.tie_embeddings;
        config.model.steps_per_token = model.steps_per_token;
        if config.data.task == Task::LanguageModel {
            let (vocabulary, data) = (&vocabularies.input, &mut config.data);
            data.line_documents = vocabulary.line_documents();
            data.tokenizer = vocabulary.tokenizer();
            data.vocab_size = match data.tokenizer.has_vocab_size() {
                true => vocabulary.len().clamp(2, MAX_VOCAB_SIZE),
                false => 0,
            };
        }
        let initial = InitialModel {
            config: model,
            parameters,
            vocabularies,
        };
        Ok((initial, bytes))
    }

    /// The copy of the initial model, where a training that has one is resumed.
    pub fn resumed_initial_model(
        config: &Config,
        resume: bool,
        run: &RunOptions,
    ) -> anyhow::Result<Option<(InitialModel, Vec<u8>)>> {
        if !resume || config.model.init_from.is_empty() {
            return Ok(None);
        }
        let path = run.out.join(INITIAL);
        let mut copy = config.clone();
        let initial = Self::initial_model(&path, &mut copy)?;
        if copy.model.init_from != config.model.init_from {
            bail!(
                "{} is not the model that the training started from",
                path.display()
            );
        }
        Ok(Some(initial))
    }

    /// Trains, and shows it.
    pub fn run(mut self) -> anyhow::Result<()> {
        let threads = self.run.threads();
        if let Some((fit, budget)) = &self.chosen
            && !self.run.json
        {
            print_out(&summary::explain_fit(fit, *budget))?;
        }
        let reading = match self.run.quiet || self.run.json {
            true => ProgressBar::hidden(),
            false => progress::spinner("reading the data"),
        };
        let initial = self.initial.as_ref().map(|(model, _)| model);
        let data = Data::new(self.corpus, &self.config, initial, threads);
        reading.finish_and_clear();
        let data = data?;
        if self.chooses_ngram_teacher {
            ngram_teacher::choose(&data, &mut self.config.distillation);
        }
        let soft = self.soft_targets(&data, threads)?;
        if let Some(time) = self.time {
            let steps = training::steps_within(&data, &self.config, threads, time)?;
            self.config.optimizer.steps = steps;
        }
        self.quantization.default_qat_steps(&mut self.config);
        // The number of steps may be another one now.
        self.config.check()?;
        self.keep_initial_model()?;
        let outcome = self.train(&data, soft.as_ref(), threads)?;
        if self.run.json {
            print_json(RecordType::TrainingResult, &outcome.metrics)?;
        } else {
            print_out(&summary::result(&outcome, &self.config, self.run))?;
        }
        match &self.chosen {
            Some((_, budget)) if outcome.is_finished() => self.export(&outcome, *budget),
            _ => Ok(()),
        }
    }

    fn train(
        &mut self,
        data: &Data,
        soft: Option<&SoftTargets>,
        threads: usize,
    ) -> anyhow::Result<Outcome> {
        let stop = signals::stop_flag();
        let resume = self.resume.take();
        let done = resume.as_ref().map_or(0, |at| at.state.step);
        let past = resume.as_ref().map_or(&[][..], |at| &at.rows);
        let view: Box<dyn View> = match (self.run.json, self.run.quiet) {
            (true, _) => Box::new(JsonLines),
            (_, true) => Box::new(()),
            _ => Box::new(Terminal {
                live: Live::new(self.config.optimizer.steps, past),
                data,
                config: self.config.clone(),
            }),
        };
        let log = Log::begin(&self.run.out, done)?;
        let config = &self.config;
        let mut watch = Watcher::new(view, |network| samples::sample(network, data, config), log);
        let request = Request {
            corpus: self.corpus,
            data,
            config,
            initial: self.initial.as_ref().map(|(model, _)| model),
            soft,
            out: &self.run.out,
            resume,
            checkpoint_every: Duration::from_secs(self.run.checkpoint_every),
            threads,
        };
        let outcome = training::run(request, stop, &mut watch)?;
        watch.ends()?;
        Ok(outcome)
    }

    /// The teachers' probabilities, and their hash in the settings. Those of this training are kept in its folder.
    fn soft_targets(&mut self, data: &Data, threads: usize) -> anyhow::Result<Option<SoftTargets>> {
        let own = self.run.out.join(SOFT_TARGETS);
        let expected = &self.config.distillation.targets;
        let file = match &self.distillation.distillation {
            None if self.resume.is_some() && !expected.is_empty() => Some(&own),
            file => file.as_ref(),
        };
        let (soft, hash) = match file {
            Some(file) => SoftTargets::read(file)?,
            None if self.distillation.teachers.is_empty() => {
                if let (order @ 1.., Data::Text(text)) =
                    (self.config.distillation.ngram_order, data)
                {
                    let seed = self.config.optimizer.seed;
                    let soft = ngram_teacher::soft_targets(text, order, seed, &self.corpus.sha256);
                    return Ok(Some(soft));
                }
                if !expected.is_empty() {
                    bail!(
                        "the training of these settings had teachers: give them with --teacher MODEL, or their probabilities with --distillation FILE"
                    );
                }
                return Ok(None);
            }
            None => {
                let soft = teachers::soft_targets(
                    self.corpus,
                    data,
                    &self.config,
                    &self.distillation.teachers,
                    teachers::SYNTHETIC_TOKENS,
                    threads,
                    !self.run.quiet && !self.run.json,
                )?;
                (soft, String::new())
            }
        };
        self.make_folder()?;
        // A resumed training needs them too.
        self.config.distillation.targets = match file == Some(&own) {
            true => hash,
            false => soft.write(&own)?,
        };
        Ok(Some(soft))
    }

    fn make_folder(&self) -> anyhow::Result<()> {
        let out = &self.run.out;
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))
    }

    /// Copies the initial model into the folder: a resumed training needs its vocabulary.
    fn keep_initial_model(&self) -> anyhow::Result<()> {
        let Some((_, file)) = self.initial.as_ref().filter(|_| self.resume.is_none()) else {
            return Ok(());
        };
        self.make_folder()?;
        fs::write_atomically(&self.run.out.join(INITIAL), file)?;
        Ok(())
    }

    /// Exports the model that was chosen for a budget.
    fn export(&self, outcome: &Outcome, budget: Budget) -> anyhow::Result<()> {
        let model = ModelBytes::of(&outcome.network, &Options::default())?;
        let (path, bytes) = (self.run.out.join("model.pip"), model.bytes().len());
        if bytes > budget.flash {
            bail!(
                "the model file has {bytes} bytes, more than the {} of the budget: this is an error of the trainer",
                budget.flash
            );
        }
        fs::write_atomically(&path, model.bytes())?;
        if self.run.json {
            return print_json(RecordType::Model, &ModelReport::new(&model));
        }
        print_out(&summary::exported(&path, bytes, budget))
    }
}

/// A training as a terminal shows it.
struct Terminal<'a> {
    live: Live,
    data: &'a Data,
    config: Config,
}

impl View for Terminal<'_> {
    fn begins(&mut self, plan: &Plan) {
        self.live.say(&summary::plan(plan, self.data, &self.config));
        for notice in self.data.notices() {
            self.live.say(&notice.to_string());
        }
        let unit = summary::unit(&self.config);
        self.live
            .measure(plan.steps, plan.done, plan.step_size as u64, unit);
    }

    fn steps(&mut self, step: u64, train_loss: f64) {
        self.live.steps(step, train_loss);
    }

    fn reports(&mut self, row: &Row, sample: &str) {
        self.live.reports(row, &format!("{sample}\n"));
    }
}
