//! `trainer train --task`: whole sequences, a line each.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use pipsqueak::{SamplingParams, Temperature};

use super::args::print_notices;
use super::print::print_out;
use super::train::{TrainArgs, print_json_line, stop, time};
use super::view::{JsonLines, Live, View, Watcher};
use crate::data::corpus::Corpus;
use crate::data::examples::{Example, ExampleSet, Task, guess_target_tokenizer};
use crate::data::tokenizer::Tokenizer;
use crate::inference::tasks::{best, classify, describe, translate};
use crate::network::Network;
use crate::training::checkpoint::Checkpoint;
use crate::training::samples::Log;
use crate::training::sequence::settings::SequenceSettings;
use crate::training::sequence::{self, Outcome, Record, Request};

/// Examples that a report shows.
const SHOWN: usize = 5;

/// Tokens of a shown text, at most.
const SHOWN_TOKENS: usize = 60;

/// Whether the file is a `train.toml` of a training on lines.
pub(super) fn is_record(path: &Path) -> bool {
    read_record(path).is_ok()
}

fn read_record(path: &Path) -> anyhow::Result<SequenceSettings> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let record: Record = toml::from_str(&text)
        .with_context(|| format!("{} is not a train.toml of lines", path.display()))?;
    Ok(record.settings)
}

/// Trains on the lines of `corpus`.
pub(super) fn run(args: &TrainArgs, corpus: &Corpus) -> anyhow::Result<()> {
    let resume: Option<Checkpoint<SequenceSettings>> = match args.resume {
        true => Some(Checkpoint::read(&args.out.join("checkpoint.bin"))?),
        false => None,
    };
    let mut settings = match (&resume, &args.settings) {
        (Some(checkpoint), _) => checkpoint.settings.clone(),
        (None, Some(path)) => read_record(path)?,
        (None, None) => {
            let task = args.task.context("--task is needed to train on lines")?;
            let source = match task {
                Task::Classify => Tokenizer::WHITESPACE_LOWERCASE,
                Task::Translate | Task::Describe => Tokenizer::CHAR,
            };
            let target = match task {
                Task::Translate => guess_target_tokenizer(corpus)?,
                Task::Classify | Task::Describe => Tokenizer::CHAR,
            };
            SequenceSettings::for_task(
                task,
                source,
                target,
                corpus.text(corpus.all())?.lines().count(),
            )
        }
    };
    settings.task = args.task.unwrap_or(settings.task);
    settings.source = args.source.unwrap_or(settings.source);
    settings.target = args.target.unwrap_or(settings.target);
    if let Some(features) = &args.features {
        settings.features = features.clone();
    }
    args.put_into(&mut settings.train);
    // Words are counted here, not by the text's level.
    settings.train.vocabulary = 0;
    settings.words = args.vocabulary.unwrap_or(settings.words);

    let data = sequence::examples(corpus, &settings)?;
    print_notices(&corpus.name, &data.notices);
    if let Some(minutes) = args.minutes {
        settings.train.steps = sequence::steps_within(corpus, &data, &settings, time(minutes)?)?;
    }
    args.put_rounded_steps(&mut settings.train);
    // The number of steps may be another one now.
    settings.check()?;
    let stop = stop()?;
    let done = resume.as_ref().map_or(0, |at| at.progress.step);
    let log = Log::begin(&args.out, done)?;
    let view: Box<dyn View> = match (args.json, args.quiet) {
        (true, _) => Box::new(JsonLines),
        (_, true) => Box::new(()),
        _ => {
            print_out(&summary(&data, &settings))?;
            let (steps, batch) = (settings.train.steps, settings.train.batch as u64);
            let past = resume.as_ref().map_or(&[][..], |at| &at.rows);
            let live = Live::new(steps, past);
            live.measure(steps, done, batch, "examples");
            Box::new(live)
        }
    };
    let shown = |network: &Network| examples(network, &data, settings.task);
    let mut watch = Watcher::new(view, shown, log);
    let report_every = args
        .sample_every
        .unwrap_or(settings.train.steps.div_ceil(10));
    let request = Request {
        corpus,
        data: &data,
        settings: &settings,
        out: &args.out,
        resume,
        report_every,
        checkpoint_every: Duration::from_secs(args.checkpoint_every),
    };
    let outcome = sequence::run(request, stop, &mut watch)?;
    watch.ends()?;
    if args.json {
        print_json_line(&outcome.result)
    } else {
        print_out(&result(&outcome, &args.out, &settings))
    }
}

/// What is about to be trained on.
fn summary(data: &ExampleSet, settings: &SequenceSettings) -> String {
    let tokens = |tokenizer: Tokenizer| tokenizer.token_names();
    let source = match &data.source {
        Some(source) => format!("{} different {}", source.len(), tokens(settings.source)),
        None => format!("{} features", data.feature_names.len()),
    };
    let target = match settings.task {
        Task::Classify => format!("{} classes", data.target.len()),
        Task::Translate | Task::Describe => {
            format!(
                "{} different {}",
                data.target.len() - 2,
                tokens(settings.target)
            )
        }
    };
    let left_out = match data.skipped {
        0 => String::new(),
        count => format!(
            "; {count} line(s) left out, longer than {} tokens or empty",
            settings.train.sequence
        ),
    };
    format!(
        "{} examples for training, {} held back by the hash of their text; {source} to {target}{left_out}\n",
        data.train.len(),
        data.dev.len()
    )
}

fn percent(part: f64) -> String {
    format!("{:.2} %", 100.0 * part)
}

fn result(outcome: &Outcome, out: &Path, settings: &SequenceSettings) -> String {
    let result = &outcome.result;
    let mut text = format!(
        "{}: {} of {} steps in {:.0} s, {} weights, training loss {:.4}\n",
        out.join("model.onnx").display(),
        result.steps,
        settings.train.steps,
        result.seconds,
        result.parameters,
        result.train_loss
    );
    if let Some(measures) = &result.validation {
        text += &format!(
            "of {} examples held back: loss {:.4} nats ({:.4} bits) a prediction",
            measures.examples, measures.loss, measures.bits
        );
        let parts = [
            (measures.accuracy, "accuracy"),
            (measures.token_error, "token error"),
            (measures.whole_right, "wholly right"),
        ];
        for (part, name) in parts {
            if let Some(part) = part {
                text += &format!(", {name} {}", percent(part));
            }
        }
        if let Some(chain) = &measures.markov {
            text += &format!(
                "; the best Markov chain, of order {}, {:.4} bits",
                chain.order, chain.bits
            );
        }
        text.push('\n');
    }
    if !outcome.finished {
        text += &format!(
            "stopped; `trainer train FILE --out {} --resume` goes on\n",
            out.display()
        );
    }
    text
}

/// Some examples, and what the network makes of them, a line each.
fn examples(network: &Network, data: &ExampleSet, task: Task) -> String {
    // Where nothing is held back, what was trained on.
    let examples = match &data.dev[..] {
        [] => &data.train,
        held => held,
    };
    let shown = examples.iter().take(SHOWN).enumerate();
    let line = |(seed, example)| format!("  {}", show(network, data, task, example, seed as u64));
    shown.map(line).collect::<Vec<_>>().join("\n")
}

/// An example, and what the network makes of it.
fn show(network: &Network, data: &ExampleSet, task: Task, example: &Example, seed: u64) -> String {
    let target = |tokens: &[u16]| data.target.decode(tokens);
    let source = || {
        let vocabulary = data.source.as_ref().expect("a source");
        vocabulary.decode(&example.source)
    };
    match task {
        Task::Classify => {
            let said = best(&classify(network, &example.source));
            let class = |class| data.target.token(class);
            format!("{} <- {}", class(said), source())
        }
        Task::Translate => {
            let said = translate(network, &example.source, SHOWN_TOKENS);
            format!("{} -> {}", source(), target(&said))
        }
        Task::Describe => {
            let temperature = Temperature::DEFAULT;
            let settings = SamplingParams {
                temperature,
                top_k: 0,
                seed,
            };
            let said = describe(network, &example.features, settings, SHOWN_TOKENS);
            let named = data.feature_names.iter().zip(&example.features);
            let named = named.filter(|(_, value)| **value != 0.0);
            let named: Vec<String> = named
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("{} -> {}", named.join(","), target(&said))
        }
    }
}
