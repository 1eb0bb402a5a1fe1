//! Reads the files that a report is made of.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::fs::read_at_most;
use crate::training::artifacts::{CONFIG, METRICS, Metrics, RecordError};
use crate::training::config::Config;

/// The largest file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// The largest loss, rate, step or size that is accepted, so that charts can scale to it.
const MAX_VALUE: f64 = 1e12;

/// A row of `loss.csv`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize)]
pub struct LossPoint {
    /// Optimizer steps done.
    pub step: u64,
    /// Smoothed training loss, nats per token.
    pub train_loss: f64,
    /// Loss on dev, nats per token, if it was measured at this step.
    pub dev_loss: Option<f64>,
    /// Learning rate of the step.
    pub learning_rate: f64,
}

/// Another model to compare with.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Bytes of its model file.
    pub bytes: u64,
    /// Its validation loss.
    pub nats: f64,
}

/// `config.toml` and `metrics.json` of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    config: Config,
    metrics: Metrics,
}

/// Why a file of a training or a table was rejected.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {cause}; expected {expected}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// A line is not one of the table.
    #[error("{}: line {line}: {cause}; expected {expected}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What each line should be.
        expected: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// The settings or the metrics of the training were refused.
    #[error("{0}; expected a folder that trainer train --out has made")]
    Record(#[from] RecordError),
}

/// The lines of `loss.csv`.
///
/// # Errors
/// If it cannot be read, or a line is not what a training writes.
pub fn losses(path: &Path) -> Result<Vec<LossPoint>, FileError> {
    const EXPECTED: &str = "the loss.csv that trainer train writes, with the columns step, train_loss, dev_loss, learning_rate, \
         in the order of steps";
    let mut last = 0;
    table(path, EXPECTED, |row: &LossPoint| {
        check("train_loss", row.train_loss)?;
        check("dev_loss", row.dev_loss.unwrap_or(0.0))?;
        check("learning_rate", row.learning_rate)?;
        check("step", row.step as f64)?;
        if row.step <= last {
            return Err(format!("found step {} after step {last}", row.step));
        }
        last = row.step;
        Ok(())
    })
}

/// The lines of a table of candidates.
///
/// # Errors
/// If it cannot be read, or a line is not `name,bytes,nats`.
pub fn candidates(path: &Path) -> Result<Vec<Candidate>, FileError> {
    const EXPECTED: &str = "a CSV file with the columns name, bytes, nats";
    table(path, EXPECTED, |row: &Candidate| {
        check("bytes", row.bytes as f64)?;
        check("nats", row.nats)
    })
}

fn check(name: &str, value: f64) -> Result<(), String> {
    match (0.0..=MAX_VALUE).contains(&value) {
        true => Ok(()),
        false => Err(format!("found {name} {value}, not 0 to {MAX_VALUE:e}")),
    }
}

/// The lines of a CSV file, each of which passes `check`.
fn table<T: DeserializeOwned>(
    path: &Path,
    expected: &'static str,
    mut check: impl FnMut(&T) -> Result<(), String>,
) -> Result<Vec<T>, FileError> {
    let text = read_at_most(path, MAX_BYTES).map_err(|cause| FileError::Io {
        path: path.into(),
        expected,
        cause,
    })?;
    let fail = |line, cause| FileError::Line {
        path: path.into(),
        line,
        expected,
        cause,
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(&text[..]);
    let place = |error: &csv::Error| error.position().map_or(1, csv::Position::line);
    let headers = reader
        .headers()
        .map_err(|e| fail(place(&e), e.to_string()))?
        .clone();
    let mut rows = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(fail(place(&error), error.to_string())),
        }
        let line = record.position().map_or(1, csv::Position::line);
        let row: T = record.deserialize(Some(&headers)).map_err(|error| {
            // Without the line number, which the error has already.
            let cause = match error.kind() {
                csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
                _ => error.to_string(),
            };
            fail(line, cause)
        })?;
        check(&row).map_err(|cause| fail(line, cause))?;
        rows.push(row);
    }
    Ok(rows)
}

impl Record {
    /// Reads the `config.toml` and the `metrics.json` in a folder.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn read(folder: &Path) -> Result<Self, FileError> {
        Ok(Self {
            config: Config::read(&folder.join(CONFIG))?,
            metrics: Metrics::read(&folder.join(METRICS))?,
        })
    }

    /// What came out.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The loss on dev, if the training was finished.
    pub fn dev_loss(&self) -> Option<f64> {
        let loss = self.metrics.dev_loss;
        loss.filter(|loss| check("", *loss).is_ok())
    }

    /// Every setting under its name, with its section before it.
    pub fn entries(&self) -> Vec<(String, String)> {
        let mut entries = Vec::new();
        flatten("", &self.config.table(), &mut entries);
        entries
    }
}

fn flatten(prefix: &str, table: &toml::Table, entries: &mut Vec<(String, String)>) {
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        match value {
            toml::Value::Table(table) => flatten(&format!("{name}."), table, entries),
            toml::Value::String(text) => entries.push((name, text.clone())),
            value => entries.push((name, value.to_string())),
        }
    }
}
