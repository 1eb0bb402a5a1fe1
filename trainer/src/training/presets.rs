//! Settings that were measured to be good, by the size of the training text, by the network's size, and by task.

use super::config::{
    Config, DataConfig, DistillationConfig, ModelSection, OptimizerConfig, QuantizationConfig,
    TrainOn, default_cells,
};
use crate::data::features::Features;
use crate::data::split::Split;
use crate::data::task::Task;
use crate::data::tokenizer::Tokenizer;

/// A row of the table of texts.
struct TextPreset {
    /// Up to this number of characters for training.
    characters: usize,
    dropout: f32,
    seq_len: usize,
    ema_decay: f32,
    /// Steps, at least: training stops when dev does not improve any more.
    min_steps: u64,
}

/// Used where no number of units is given: all texts get 128 units. Small texts have an n-gram teacher, so that there is little to
/// memorise; without it they would want much more dropout.
const TEXTS: [TextPreset; 4] = [
    TextPreset {
        characters: 4_000,
        dropout: 0.2,
        seq_len: 32,
        ema_decay: 0.99,
        min_steps: 1_000,
    },
    TextPreset {
        characters: 24_000,
        dropout: 0.2,
        seq_len: 32,
        ema_decay: 0.99,
        min_steps: 2_000,
    },
    TextPreset {
        characters: 300_000,
        dropout: 0.1,
        seq_len: 64,
        ema_decay: 0.99,
        min_steps: 3_000,
    },
    TextPreset {
        characters: usize::MAX,
        dropout: 0.0,
        seq_len: 64,
        ema_decay: 0.999,
        min_steps: 1_000,
    },
];

/// Units where none are given: they fit every board that the project knows.
const HIDDEN_SIZE: usize = 128;

/// Used where the number of units is given, measured on a million characters: from so many units on, dropout, learning rate,
/// weight decay, epochs.
const SIZES: [(usize, f32, f64, f32, f64); 4] = [
    (128, 0.0, 8e-3, 0.05, 20.0),
    (168, 0.1, 6e-3, 0.05, 16.0),
    (256, 0.25, 5e-3, 0.05, 16.0),
    (512, 0.4, 3e-3, 0.1, 12.0),
];

/// Units, embedding, dropout, learning rate, batch size and epochs of the tasks on lines.
const TASKS: [(Task, usize, usize, f32, f64, usize, f64); 3] = [
    (Task::Classifier, 64, 32, 0.5, 3e-3, 32, 12.0),
    (Task::SequenceToSequence, 192, 32, 0.1, 4e-3, 64, 16.0),
    (Task::ConditionalGenerator, 128, 16, 0.2, 4e-3, 64, 12.0),
];

/// Words or subwords of a vocabulary, where nothing else is given.
pub const VOCAB_SIZE: usize = 4_000;

/// Evaluations without an improvement after which a training stops, where nothing else is given.
pub const PATIENCE: u64 = 10;

fn preset(task: Task, hidden_size: usize) -> Config {
    Config {
        data: DataConfig {
            task,
            tokenizer: Tokenizer::CHAR,
            vocab_size: 0,
            line_documents: false,
            source_tokenizer: Tokenizer::CHAR,
            target_tokenizer: Tokenizer::CHAR,
            features: Features::default(),
            split: Split::default(),
            train_on: TrainOn::Train,
        },
        model: ModelSection {
            cell: default_cells(),
            embedding_dim: 0,
            tie_embeddings: false,
            hidden_size,
            layers: 1,
            steps_per_token: 1,
            dropout: 0.0,
            embedding_dropout: 0.0,
            init_from: String::new(),
        },
        optimizer: OptimizerConfig {
            seed: 1,
            steps: 1_000,
            batch_size: 32,
            seq_len: 64,
            learning_rate: 8e-3,
            min_lr_ratio: 0.02,
            warmup_steps: 100,
            weight_decay: 0.05,
            grad_clip: 1.0,
            ema_decay: 0.999,
            eval_every: 0,
            patience: PATIENCE,
        },
        quantization: QuantizationConfig::default(),
        distillation: DistillationConfig::default(),
    }
}

/// Settings of a language model on a text with `characters` characters to train on, of `hidden_size` units if given.
pub fn text(tokenizer: Tokenizer, hidden_size: Option<usize>, characters: usize) -> Config {
    let size = hidden_size.unwrap_or(HIDDEN_SIZE);
    let row = SIZES.iter().rev().find(|row| row.0 <= size);
    let &(_, dropout, rate, decay, epochs) = row.unwrap_or(&SIZES[0]);
    let mut config = preset(Task::LanguageModel, size);
    config.model.dropout = dropout;
    config.optimizer.weight_decay = decay;
    config.optimizer.learning_rate = rate;
    config.optimizer.steps = steps(epochs, characters, 32 * 64).max(1_000);
    if hidden_size.is_none() {
        let row = TEXTS.iter().find(|row| characters <= row.characters);
        let row = row.expect("a last row for all");
        config.model.dropout = row.dropout;
        config.optimizer.seq_len = row.seq_len;
        config.optimizer.ema_decay = row.ema_decay;
        config.optimizer.steps = config.optimizer.steps.max(row.min_steps);
    }
    config.data.tokenizer = tokenizer;
    if tokenizer.has_vocab_size() {
        config.data.vocab_size = VOCAB_SIZE;
        config.model.embedding_dim = config.model.hidden_size;
        config.model.tie_embeddings = true;
        config.model.dropout = config.model.dropout.max(0.25);
        config.optimizer.seq_len = 32;
        config.optimizer.learning_rate = 6e-3;
        // A token has about 4 characters in English.
        config.optimizer.steps = steps(12.0, characters / 4, 32 * 32).max(1_000);
    }
    config
}

/// Small texts are seen more often, large ones less.
fn steps(epochs: f64, tokens: usize, step_tokens: usize) -> u64 {
    let steps = epochs * tokens as f64 / step_tokens as f64;
    (steps as u64).clamp(300, 40_000)
}

/// Settings of `task` on `lines` lines with these tokenizers.
///
/// # Panics
/// If the task is a language model.
pub fn lines(task: Task, source: Tokenizer, target: Tokenizer, lines: usize) -> Config {
    let row = TASKS.iter().find(|row| row.0 == task);
    let &(_, hidden_size, embedding_dim, dropout, learning_rate, batch_size, epochs) =
        row.expect("a task on lines");
    let mut config = preset(task, hidden_size);
    (config.data.source_tokenizer, config.data.target_tokenizer) = (source, target);
    if config.data.has_open_vocabulary() {
        config.data.vocab_size = VOCAB_SIZE;
    }
    config.model.embedding_dim = embedding_dim;
    (config.model.dropout, config.model.embedding_dropout) = (dropout, dropout);
    let optimizer = &mut config.optimizer;
    (optimizer.learning_rate, optimizer.batch_size) = (learning_rate, batch_size);
    optimizer.seq_len = 512;
    let steps = (epochs * lines as f64 / batch_size as f64) as u64;
    optimizer.steps = steps.clamp(500, 60_000);
    config
}
