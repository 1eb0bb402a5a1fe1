//! The ranges of all settings.

use super::config::Config;
use super::ngram_teacher;
use crate::data::task::Task;
use crate::data::tokenizer::{self, Tokenizer, TokenizerKind};

/// A setting that was refused.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{name} is {found}: expected {expected}")]
pub struct ConfigError {
    /// The setting, as in `config.toml`.
    name: &'static str,
    found: String,
    expected: &'static str,
}

/// Checks settings one by one.
fn check(
    name: &'static str,
    found: impl ToString,
    good: bool,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if good {
        return Ok(());
    }
    let found = found.to_string();
    Err(ConfigError {
        name,
        found,
        expected,
    })
}

fn fraction(name: &'static str, value: f64) -> Result<(), ConfigError> {
    check(
        name,
        value,
        (0.0..1.0).contains(&value),
        "0 or more, below 1",
    )
}

fn count(
    name: &'static str,
    value: usize,
    most: usize,
    expected: &'static str,
) -> Result<(), ConfigError> {
    check(name, value, (1..=most).contains(&value), expected)
}

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// Names the setting, the value found and the values expected.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_data()?;
        self.check_model()?;
        self.check_quantization()?;
        self.check_optimizer()?;
        let distillation = &self.distillation;
        let is_text = self.data.task == Task::LanguageModel;
        check(
            "ngram_order",
            distillation.ngram_order,
            distillation.ngram_order <= ngram_teacher::MAX_ORDER
                && (distillation.ngram_order == 0 || (is_text && distillation.targets.is_empty())),
            "0 (none) to 8 for a language model without other teachers",
        )?;
        fraction("distill_weight", distillation.distill_weight.into())?;
        fraction("synthetic_fraction", distillation.synthetic_fraction.into())
    }

    fn check_data(&self) -> Result<(), ConfigError> {
        let data = &self.data;
        let is_text = data.task == Task::LanguageModel;
        let sized = match is_text {
            true => data.tokenizer.has_vocab_size(),
            false => data.has_open_vocabulary(),
        };
        check(
            "vocab_size",
            data.vocab_size,
            match sized {
                true => (2..tokenizer::MAX_TOKENS - 1).contains(&data.vocab_size),
                false => data.vocab_size == 0,
            },
            "2 to 65533 of words or subwords, 0 of characters, bytes or symbols",
        )?;
        check(
            "line_documents",
            data.line_documents,
            is_text || !data.line_documents,
            "false with this task, whose lines are examples",
        )?;
        check(
            "tokenizer",
            data.tokenizer,
            is_text || data.tokenizer == Tokenizer::default(),
            "none with this task: its lines have --source-tokenizer and --target-tokenizer",
        )?;
        for (name, tokenizer) in [
            ("source_tokenizer", data.source_tokenizer),
            ("target_tokenizer", data.target_tokenizer),
        ] {
            check(
                name,
                tokenizer,
                !matches!(
                    tokenizer.kind(),
                    TokenizerKind::Byte | TokenizerKind::Subword
                ),
                "char, word, whitespace or whitespace-lowercase",
            )?;
        }
        check(
            "features",
            format!("{:?}", data.features.to_string()),
            data.task == Task::ConditionalGenerator || data.features.0.is_empty(),
            "none, but of a conditional generator",
        )
    }

    fn check_model(&self) -> Result<(), ConfigError> {
        let model = &self.model;
        count("hidden_size", model.hidden_size, 4096, "1 to 4096")?;
        count("layers", model.layers, 8, "1 to 8")?;
        count("steps_per_token", model.steps_per_token, 4, "1 to 4")?;
        check(
            "steps_per_token",
            model.steps_per_token,
            model.steps_per_token == 1 || self.data.task != Task::Classifier,
            "1 with a classifier, of whose ONNX file more steps could not be read",
        )?;
        check(
            "embedding_dim",
            model.embedding_dim,
            model.embedding_dim <= 4096,
            "0 (none) to 4096",
        )?;
        let (dim, hidden) = (model.embedding_dim, model.hidden_size);
        check(
            "tie_embeddings",
            format!(
                "{} with embedding_dim {dim} and hidden_size {hidden}",
                model.tie_embeddings
            ),
            !model.tie_embeddings || dim > 0,
            "false, or an embedding",
        )?;
        check(
            "tie_embeddings",
            model.tie_embeddings,
            !model.tie_embeddings || self.data.task != Task::Classifier,
            "false with a classifier, whose outputs are classes and not tokens",
        )?;
        check(
            "cell",
            &model.cell,
            model.cell.stack(model.layers).is_some(),
            "one cell for all layers, or as many as there are layers",
        )?;
        fraction("dropout", model.dropout.into())?;
        fraction("embedding_dropout", model.embedding_dropout.into())
    }

    fn check_quantization(&self) -> Result<(), ConfigError> {
        let q = &self.quantization;
        for (name, bits) in [
            ("weight_bits", q.weight_bits),
            ("output_weight_bits", q.output_weight_bits),
        ] {
            check(name, bits, [4, 8].contains(&bits), "4 or 8")?;
        }
        if let Some(input) = q.input_weight_bits {
            check(
                "input_weight_bits",
                format!("{input} with weight_bits {}", q.weight_bits),
                input == q.weight_bits || q.is_mixed(),
                "8, or 4 beside weight_bits of 4",
            )?;
        }
        let tied = self.model.tie_embeddings;
        check(
            "output_weight_bits",
            format!("{} with tie_embeddings {tied}", q.output_weight_bits),
            !tied || q.output_weight_bits == 8,
            "8, as an embedding has, or tie_embeddings = false",
        )?;
        check(
            "qat_steps",
            q.qat_steps,
            q.qat_steps <= self.optimizer.steps && (q.qat_steps == 0 || q.has_int4()),
            "at most as many as steps, and 0 without 4-bit weights",
        )?;
        fraction("qat_ema_decay", q.qat_ema_decay.into())?;
        let good = q.qat_steps == 0 || q.qat_lr > 0.0 && q.qat_lr <= 1.0;
        check("qat_lr", q.qat_lr, good, "above 0, at most 1")
    }

    fn check_optimizer(&self) -> Result<(), ConfigError> {
        let optimizer = &self.optimizer;
        count("batch_size", optimizer.batch_size, 4096, "1 to 4096")?;
        count("seq_len", optimizer.seq_len, 4096, "1 to 4096")?;
        let (steps, seed) = (optimizer.steps, optimizer.seed);
        check(
            "steps",
            steps,
            (1..=1 << 31).contains(&steps),
            "1 to 2147483648",
        )?;
        // TOML has signed integers.
        let good = i64::try_from(seed).is_ok();
        check("seed", seed, good, "0 to 9223372036854775807")?;
        for (name, value) in [
            ("eval_every", optimizer.eval_every),
            ("warmup_steps", optimizer.warmup_steps),
            ("patience", optimizer.patience),
        ] {
            check(name, value, value <= 1 << 31, "0 to 2147483648")?;
        }
        fraction("ema_decay", optimizer.ema_decay.into())?;
        fraction("weight_decay", optimizer.weight_decay.into())?;
        let (rate, last) = (optimizer.learning_rate, optimizer.min_lr_ratio);
        check(
            "learning_rate",
            rate,
            rate > 0.0 && rate <= 1.0,
            "above 0, at most 1",
        )?;
        check(
            "grad_clip",
            optimizer.grad_clip,
            optimizer.grad_clip > 0.0,
            "above 0",
        )?;
        check("min_lr_ratio", last, (0.0..=1.0).contains(&last), "0 to 1")
    }
}
