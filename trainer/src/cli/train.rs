//! `trainer train`

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::args::open_corpus;
use super::job::Job;
use super::options::{
    DataOptions, DistillationOptions, ModelOptions, OptimizerOptions, QuantizationOptions,
    RunOptions, SizeOptions,
};
use crate::data::corpus::Corpus;
use crate::data::examples::guess_target_tokenizer;
use crate::data::split::Part;
use crate::data::task::Task;
use crate::data::tokenizer::Tokenizer;
use crate::deploy::fit::{self, Budget, FittedConfig, Target};
use crate::training::checkpoint::{self, Checkpoint};
use crate::training::config::{Config, TrainOn};
use crate::training::presets;

const EXAMPLES: &str = "\
Examples:
  trainer train book.txt --out models/mine
  trainer train book.txt --fit --board microbit --time 7m --out models/small
  trainer train titles.txt --line-documents --tokenizer word --out models/titles
  trainer train cmudict.tsv --task sequence-to-sequence --out models/g2p";

/// Train a model
///
/// A language model learns to continue the text. A model of a task on lines (--task) learns a class for a text, a text for a text, or
/// a text for features. Settings that are not given depend on the length of the text and the number of units. Training looks at the
/// training and the dev part only: the best step on dev is kept as model.onnx, and training stops when dev does not improve any more.
/// Ctrl-C stops it in order: the model is written, and --resume continues to the result that a training without a stop has.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainArgs {
    /// Training text (UTF-8), or a file of lines with --task. 100,000 characters is a start; one million works well
    #[arg(value_name = "FILE")]
    pub corpus: PathBuf,
    /// What is learned.
    #[command(flatten)]
    pub data: DataOptions,
    /// The network.
    #[command(flatten)]
    pub model: ModelOptions,
    /// Start from the weights and with the vocabulary of this model.onnx [default: random weights]
    #[arg(long, value_name = "MODEL", help_heading = "Model", conflicts_with_all = ["resume", "cell", "hidden_size", "layers", "embedding_dim", "tie_embeddings", "steps_per_token", "tokenizer", "vocab_size", "line_documents"])]
    pub init_from: Option<PathBuf>,
    /// The optimizer.
    #[command(flatten)]
    pub optimizer: OptimizerOptions,
    /// Weight formats.
    #[command(flatten)]
    pub quantization: QuantizationOptions,
    /// Teachers.
    #[command(flatten)]
    pub distillation: DistillationOptions,
    /// A budget.
    #[command(flatten)]
    pub size: SizeOptions,
    /// Settings from the config.toml of another training; options that are given win [default: none]
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Run",
        conflicts_with = "resume"
    )]
    pub config: Option<PathBuf>,
    /// Continue from the checkpoint in the folder, with its settings; with a larger --steps also after the end [default: off]
    #[arg(long, help_heading = "Run", conflicts_with_all = ["time", "overwrite"])]
    pub resume: bool,
    /// The run.
    #[command(flatten)]
    pub run: RunOptions,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the data, the settings or the checkpoint are refused, the training diverges, or a file cannot be written.
pub fn run(args: TrainArgs) -> anyhow::Result<()> {
    let resume = match args.resume {
        true => Some(Checkpoint::read(&args.run.out.join(checkpoint::FILE))?),
        false => {
            Job::check_folder(&args.run)?;
            None
        }
    };
    let given = args.given(resume.as_ref())?;
    let corpus = open_corpus(
        &args.corpus,
        args.data.keep_cr,
        args.data
            .tokenizer
            .or(given.as_ref().map(|config| config.data.tokenizer)),
    )?;
    let mut config = match given {
        Some(config) => config,
        None => args.preset(&corpus)?,
    };
    let budget = args.size.budget()?;
    args.apply_to(&mut config)?;
    let mut chosen = None;
    if let Some(budget) = budget {
        let fit = fitted(&corpus, &mut config, budget)?;
        // Options win over the recipe of the network that was chosen.
        args.apply_to(&mut config)?;
        chosen = Some((fit, budget));
    }
    args.check_parts(&mut config)?;
    let initial = match &args.init_from {
        Some(path) => Some(Job::initial_model(path, &mut config)?),
        None => Job::resumed_initial_model(&config, args.resume, &args.run)?,
    };
    let time = match (args.optimizer.time, args.optimizer.steps, budget) {
        (None, None, Some(_)) => Some(fit::TIME),
        (time, ..) => time,
    };
    Job {
        corpus: &corpus,
        config,
        initial,
        distillation: &args.distillation,
        chooses_ngram_teacher: args.chooses_ngram_teacher(),
        quantization: &args.quantization,
        time,
        chosen,
        resume,
        run: &args.run,
    }
    .run()
}

impl TrainArgs {
    /// The settings of a checkpoint or a file, before the options.
    fn given(&self, resume: Option<&Checkpoint>) -> anyhow::Result<Option<Config>> {
        let mut config = match (resume, &self.config) {
            (Some(checkpoint), _) => checkpoint.config.clone(),
            (None, Some(path)) => {
                let mut config = Config::read(path)?;
                if !config.model.init_from.is_empty() && self.init_from.is_none() {
                    bail!(
                        "{}: that training started from a model: give it with --init-from",
                        path.display()
                    );
                }
                config.model.init_from.clear();
                config
            }
            (None, None) => return Ok(None),
        };
        if let Some(task) = self.data.task {
            if config.data.task != task && resume.is_none() {
                bail!("--task is another one than that of the settings: leave out --config");
            }
            config.data.task = task;
        }
        Ok(Some(config))
    }

    /// Good settings for the data.
    fn preset(&self, corpus: &Corpus) -> anyhow::Result<Config> {
        let task = self.data.task.unwrap_or_default();
        if task == Task::LanguageModel {
            let split = self.data.split.unwrap_or_default();
            let characters = split.range(corpus.characters(), Part::Train).len();
            let tokenizer = self.data.tokenizer.unwrap_or_default();
            return Ok(presets::text(tokenizer, self.model.hidden_size, characters));
        }
        let source = self.data.source_tokenizer.unwrap_or(match task {
            Task::Classifier => Tokenizer::WHITESPACE_LOWERCASE,
            _ => Tokenizer::CHAR,
        });
        let target = match (self.data.target_tokenizer, task) {
            (Some(target), _) => target,
            (None, Task::SequenceToSequence) => guess_target_tokenizer(corpus)?,
            (None, _) => Tokenizer::CHAR,
        };
        let lines = corpus.text(corpus.all())?.lines().count();
        Ok(presets::lines(task, source, target, lines))
    }

    /// Whether nothing is given that says which teacher there is.
    fn chooses_ngram_teacher(&self) -> bool {
        let distillation = &self.distillation;
        let is_new = !self.resume && self.config.is_none() && self.init_from.is_none();
        is_new && !distillation.is_given() && distillation.ngram_order.is_none()
    }

    fn apply_to(&self, config: &mut Config) -> anyhow::Result<()> {
        self.data.apply_to(config)?;
        self.model.apply_to(config);
        self.optimizer.apply_to(config);
        self.quantization.apply_to(config)?;
        self.distillation.apply_to(config)
    }

    /// Training on dev too leaves nothing to choose on.
    fn check_parts(&self, config: &mut Config) -> anyhow::Result<()> {
        let has_choice =
            config.data.train_on == TrainOn::Train && config.data.split.percent(Part::Dev) > 0.0;
        if has_choice || self.resume {
            return Ok(());
        }
        if self.optimizer.patience.is_some_and(|patience| patience > 0) {
            bail!(
                "--patience needs a dev part that is not trained on: leave it out, or give --train-on train and a dev part with --split"
            );
        }
        let is_known = self.optimizer.steps.is_some() || self.config.is_some();
        if config.data.train_on == TrainOn::TrainAndDev && !is_known {
            bail!(
                "--train-on train+dev needs the number of steps that was good on dev: give --steps STEPS, or --config FILE of that training"
            );
        }
        config.optimizer.patience = 0;
        Ok(())
    }
}

/// The network that fits, and its settings.
fn fitted(corpus: &Corpus, config: &mut Config, budget: Budget) -> anyhow::Result<FittedConfig> {
    config.check()?;
    let data = &config.data;
    let [train, ..] = data.split.parts(corpus, data.line_documents)?;
    let vocabulary =
        data.tokenizer
            .build_vocabulary(corpus, train, data.vocab_size, data.line_documents)?;
    let target = Target {
        config,
        vocabulary: &vocabulary,
        corpus: &corpus.name,
    };
    let fit = fit::fit(target, budget)?;
    *config = fit.config(config, train.characters);
    Ok(fit)
}
