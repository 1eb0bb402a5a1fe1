//! The files that a training leaves: `config.toml`, `metrics.json`, `loss.csv`, `model.onnx` and `last.onnx`.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::config::Config;
use super::dataset::PartSizes;
use super::{Row, TrainError};
use crate::eval::tasks::Measures;
use crate::fs;
use crate::network::Network;

/// The settings.
pub const CONFIG: &str = "config.toml";
/// What came out.
pub const METRICS: &str = "metrics.json";
/// The training curve.
pub const LOSSES: &str = "loss.csv";
/// The model of the best step.
pub const MODEL: &str = "model.onnx";
/// The model of the last step.
pub const LAST: &str = "last.onnx";
/// Locked while a training runs.
const LOCK: &str = "training.lock";

/// The largest `config.toml` or `metrics.json` that is read.
const MAX_BYTES: u64 = 1 << 20;

/// `metrics.json`: what came out of a training. Losses are in nats per prediction.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Metrics {
    /// The data's file name.
    pub corpus: String,
    /// SHA-256 of the data.
    pub sha256: String,
    /// Characters of a text's parts, or examples.
    pub sizes: PartSizes,
    /// Different tokens of the outputs, or classes.
    pub vocab_size: usize,
    /// Parameters of the network.
    pub parameters: usize,
    /// Steps done.
    pub steps: u64,
    /// The step that `model.onnx` is of.
    pub best_step: u64,
    /// Smoothed training loss at that step, with dropout.
    pub train_loss: f64,
    /// Loss on dev, or on its first 131,072 tokens.
    pub dev_loss: Option<f64>,
    /// The same in bits per character, unknown words spelled out.
    pub dev_bits_per_char: Option<f64>,
    /// Loss of the last step on dev.
    pub last_dev_loss: Option<f64>,
    /// The best n-gram model on the same part of dev.
    #[serde(default)]
    pub ngram: Option<NgramBaseline>,
    /// Of a task on lines: what was measured on all of dev.
    #[serde(default)]
    pub dev: Option<Measures>,
    /// Seconds of training.
    pub seconds: f64,
}

/// The best n-gram model of the same tokens, trained on the same part.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NgramBaseline {
    /// Tokens that it sees.
    pub order: usize,
    /// Bits per character of dev.
    pub bits_per_char: f64,
}

/// A file of settings or metrics that was refused.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// It is something else.
    #[error("{} is not a {expected} of a training: {cause}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The file's usual name.
        expected: &'static str,
        /// What is wrong.
        cause: String,
    },
}

fn read_text(path: &Path) -> Result<String, RecordError> {
    use std::io::Read;
    let mut text = String::new();
    let file = File::open(path);
    file.and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
        .map_err(|cause| RecordError::Io {
            path: path.into(),
            cause,
        })?;
    Ok(text)
}

impl Config {
    /// Reads a `config.toml`.
    ///
    /// # Errors
    /// If it cannot be read, or is something else; the error names the line.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        toml::from_str(&read_text(path)?).map_err(|cause: toml::de::Error| RecordError::Format {
            path: path.into(),
            expected: CONFIG,
            cause: cause.to_string(),
        })
    }
}

impl Metrics {
    /// Reads a `metrics.json`.
    ///
    /// # Errors
    /// If it cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        serde_json::from_str(&read_text(path)?).map_err(|cause| RecordError::Format {
            path: path.into(),
            expected: METRICS,
            cause: cause.to_string(),
        })
    }
}

/// A folder that one training writes to, until this is dropped.
#[derive(Debug)]
pub struct LockedFolder {
    _lock: File,
}

impl LockedFolder {
    /// Makes the folder if it is missing, and locks it.
    ///
    /// # Errors
    /// If the folder cannot be made, or another training writes to it.
    pub fn new(folder: &Path) -> Result<Self, TrainError> {
        let refused = |cause| TrainError::Folder {
            path: folder.into(),
            cause,
        };
        std::fs::create_dir_all(folder).map_err(refused)?;
        let lock = File::create(folder.join(LOCK)).map_err(refused)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(TrainError::Locked {
                path: folder.into(),
            }),
            // A file system without locks does as well without it.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _lock: lock }),
        }
    }
}

/// Writes all files into `folder`. `unit`: what the training curve counts.
pub(super) fn write(
    folder: &Path,
    config: &Config,
    metrics: &Metrics,
    (rows, unit): (&[Row], &str),
    [model, last]: [&Network; 2],
) -> Result<(), TrainError> {
    let put = |name: &str, bytes: &[u8]| fs::write_atomically(&folder.join(name), bytes);
    put(LOSSES, csv(rows, unit).as_bytes())?;
    let config = toml::to_string(config).expect("settings can be written as TOML");
    put(CONFIG, config.as_bytes())?;
    let metrics = serde_json::to_string_pretty(metrics).expect("metrics can be written as JSON");
    put(METRICS, (metrics + "\n").as_bytes())?;
    put(LAST, &crate::onnx::write(last))?;
    put(MODEL, &crate::onnx::write(model))?;
    Ok(())
}

fn csv(rows: &[Row], unit: &str) -> String {
    let mut text = format!("step,{unit},train_loss,dev_loss,learning_rate\n");
    for row in rows {
        let dev = row.dev_loss.map(|loss| format!("{loss:.4}"));
        let (dev, seen) = (dev.unwrap_or_default(), row.seen);
        text += &format!(
            "{},{seen},{:.4},{dev},{:.6}\n",
            row.step, row.train_loss, row.learning_rate
        );
    }
    text
}
