//! What `train` and `finetune` print before and after a training.

use std::path::Path;

use super::options::RunOptions;
use crate::data::task::Task;
use crate::deploy::fit::{Budget, FittedConfig};
use crate::training::artifacts::{LAST, MODEL, Metrics};
use crate::training::config::Config;
use crate::training::{Data, End, Outcome, Plan};

/// A loss on dev that is larger than the best one by this factor has risen.
const RISEN: f64 = 1.01;

/// What a step counts.
pub(super) fn unit(config: &Config) -> &'static str {
    match config.data.task {
        Task::LanguageModel => config.data.tokenizer.token_names(),
        _ => "examples",
    }
}

/// A prediction, in units of losses.
fn short_unit(config: &Config) -> &'static str {
    match config.data.task {
        Task::LanguageModel => config.data.tokenizer.token_name(),
        _ => "prediction",
    }
}

/// What is about to be trained on.
pub(super) fn plan(plan: &Plan, data: &Data, config: &Config) -> String {
    let unit = unit(config);
    let examples = match data {
        Data::Lines(examples) => examples,
        Data::Text(_) => return text_plan(plan, unit),
    };
    let source = match &examples.source {
        Some(source) => format!(
            "{} different {}",
            source.len(),
            config.data.source_tokenizer.token_names()
        ),
        None => format!("{} features", examples.feature_names.len()),
    };
    let target = match config.data.task {
        Task::Classifier => format!("{} classes", examples.target.len()),
        _ => {
            let count = examples.target.len() - 2;
            format!(
                "{count} different {}",
                config.data.target_tokenizer.token_names()
            )
        }
    };
    let left_out = match examples.skipped {
        0 => String::new(),
        count => format!(
            "; {count} line(s) left out, longer than {} tokens or empty",
            config.optimizer.seq_len
        ),
    };
    let sizes = plan.sizes;
    format!(
        "{} weights; {} examples for training, {} for dev, {} for test; {source} to {target}{left_out}",
        plan.parameters, sizes.train, sizes.dev, sizes.test
    )
}

fn text_plan(plan: &Plan, unit: &str) -> String {
    let Plan {
        parameters,
        vocab_size,
        train_tokens,
        dev_tokens,
        step_size,
        steps,
        ..
    } = *plan;
    let sizes = plan.sizes;
    let mut text = format!(
        "{parameters} weights, {vocab_size} different {unit}; split into {} / {} / {} characters for training, dev and test; \
         {steps} steps of {step_size} {unit}, {:.1} times the training part",
        sizes.train,
        sizes.dev,
        sizes.test,
        (steps * step_size as u64) as f64 / train_tokens as f64
    );
    let most = crate::training::dataset::DEV_TOKENS;
    if dev_tokens > most {
        text += &format!("\ndev is large: its first {most} {unit} are evaluated");
    }
    if let Some((rows, seq_len)) = plan.shrunk {
        text +=
            &format!("\nthe text is short: the batch is {rows} sequence(s) of {seq_len} {unit}");
    }
    text
}

/// What came out.
pub(super) fn result(outcome: &Outcome, config: &Config, run: &RunOptions) -> String {
    let metrics = &outcome.metrics;
    let mut text = format!(
        "{}: {} of {} steps in {:.0} s, {} weights, training loss {:.4}",
        run.out.join(MODEL).display(),
        metrics.steps,
        config.optimizer.steps,
        metrics.seconds,
        metrics.parameters,
        metrics.train_loss
    );
    if let Some(loss) = metrics.dev_loss {
        text += &format!(", dev loss {loss:.4} nats/{}", short_unit(config));
    }
    if let Some(bits) = metrics.dev_bits_per_char {
        text += &format!(" ({bits:.4} bits/char)");
    }
    text.push('\n');
    text += &choice(metrics, outcome.end, run);
    text += &measures(metrics);
    text += &baseline(metrics);
    if outcome.end == End::Stopped {
        let out = run.out.display();
        text += &format!("stopped; continue with `trainer train FILE --out {out} --resume`\n");
    }
    text
}

/// The step that was kept, and why.
fn choice(metrics: &Metrics, end: End, run: &RunOptions) -> String {
    let &Metrics {
        best_step, steps, ..
    } = metrics;
    let (Some(best), Some(last)) = (metrics.dev_loss, metrics.last_dev_loss) else {
        return String::new();
    };
    if best_step == steps {
        return String::new();
    }
    let last_file = run.out.join(LAST);
    let last_file = last_file.display();
    let stopped = match end {
        End::Patience => format!("; training stopped after {steps} steps"),
        _ => String::new(),
    };
    if last > RISEN * best {
        format!(
            "dev loss has risen since step {best_step} ({best:.2}, now {last:.2}): the data is memorised; kept step {best_step}{stopped} (the last step is {last_file})\n"
        )
    } else {
        format!(
            "kept step {best_step}, the best one on dev{stopped} (the last step is {last_file})\n"
        )
    }
}

fn measures(metrics: &Metrics) -> String {
    let Some(measures) = &metrics.dev else {
        return String::new();
    };
    let mut text = format!(
        "on {} examples of dev: loss {:.4} nats ({:.4} bits) per prediction",
        measures.examples, measures.loss, measures.bits
    );
    let parts = [
        (measures.accuracy, "accuracy"),
        (measures.token_error, "token error rate"),
        (measures.whole_right, "exact match"),
    ];
    for (part, name) in parts {
        if let Some(part) = part {
            text += &format!(", {name} {:.2} %", 100.0 * part);
        }
    }
    if let Some(ngram) = &measures.ngram_without_features {
        text += &format!(
            "; order-{} n-gram model without the features {:.4} bits (not comparable)",
            ngram.order, ngram.bits
        );
    }
    if let Some(ngram) = &measures.ngram_given_first_letter {
        text += &format!(
            ", order-{} n-gram model given the first letter {:.4} bits",
            ngram.order, ngram.bits
        );
    }
    text + "\n"
}

/// The comparison with n-gram models.
fn baseline(metrics: &Metrics) -> String {
    let (Some(ngram), Some(bits)) = (metrics.ngram, metrics.dev_bits_per_char) else {
        return String::new();
    };
    let by = bits - ngram.bits_per_char;
    match by > 0.0 {
        true => format!(
            "an n-gram model of order {} is better on dev by {by:.4} bits/char ({:.4}): the network needs more text, or other settings\n",
            ngram.order, ngram.bits_per_char
        ),
        false => format!(
            "better on dev than the best n-gram model (order {}, {:.4} bits/char) by {:.4} bits/char\n",
            ngram.order, ngram.bits_per_char, -by
        ),
    }
}

/// The network that was chosen for a budget.
pub(super) fn explain_fit(fit: &FittedConfig, budget: Budget) -> String {
    let layers = match fit.layers {
        1 => "one GRU".into(),
        layers => format!("{layers} GRUs"),
    };
    let steps = match fit.steps_per_token {
        1 => "one step",
        _ => "two steps",
    };
    let tokens = match fit.embedding_dim {
        0 => "a token table".into(),
        columns => format!("an embedding of {columns}"),
    };
    let bits = match (fit.input_weight_bits, fit.weight_bits) {
        (input, bits) if input != bits => format!("{input}/{bits}"),
        (_, bits) => bits.to_string(),
    };
    let mut text = format!(
        "chosen: {layers} of {} units, {steps} per token, {tokens}, {bits}-bit weights, {}-bit output layer\nits model file has at most {} of {} bytes",
        fit.hidden_size, fit.output_weight_bits, fit.bytes, budget.flash
    );
    if let (Some(board), Some(speed)) = (budget.board, fit.speed) {
        text += &format!(
            "; it uses {} of {} bytes of RAM, and generates {speed:.0} tokens per second on the {} (at least {} were asked for)",
            fit.workspace,
            4 * board.workspace_words,
            board.title,
            budget.speed
        );
    }
    text + "\nThis is the largest candidate that fits the budget.\n"
}

/// The model file that was exported, and what to do with it.
pub(super) fn exported(path: &Path, bytes: usize, budget: Budget) -> String {
    let path = path.display();
    let mut text = format!("{path}: {bytes} bytes\n");
    if let Some(board) = budget.board {
        text += &format!(
            "`trainer flash {path} --board {0}` writes it to the board, `make demo BOARD={0} MODEL={path}` emulates it\n",
            board.name
        );
    }
    text
}
