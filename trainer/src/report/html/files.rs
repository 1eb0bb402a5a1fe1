//! Reads the files that a report is made of.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::fs::read_at_most;

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
    /// Validation loss, nats per token, if it was measured at this step.
    pub validation_loss: Option<f64>,
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

/// `train.toml`, of a training on a text or on lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Record(toml::Table);

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
    /// It is no TOML.
    #[error("{} is not a train.toml: {cause}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: toml::de::Error,
    },
    /// It is another TOML file.
    #[error("{} is not a train.toml: it has no section [{section}]", path.display())]
    Section {
        /// The file.
        path: PathBuf,
        /// What is missing.
        section: &'static str,
    },
}

/// The lines of `loss.csv`.
///
/// # Errors
/// If it cannot be read, or a line is not what a training writes.
pub fn losses(path: &Path) -> Result<Vec<LossPoint>, FileError> {
    const EXPECTED: &str = "the loss.csv that trainer train writes, with the columns step, train_loss, validation_loss, learning_rate, \
         in the order of steps";
    let mut last = 0;
    table(path, EXPECTED, |row: &LossPoint| {
        check("train_loss", row.train_loss)?;
        check("validation_loss", row.validation_loss.unwrap_or(0.0))?;
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
    /// Reads a `train.toml`.
    ///
    /// # Errors
    /// If it cannot be read, or has no settings or no result.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = read_at_most(path, MAX_BYTES).map_err(|cause| FileError::Io {
            path: path.into(),
            expected: "a folder that trainer train --out has made",
            cause,
        })?;
        let table: toml::Table = toml::from_slice(&text).map_err(|cause| FileError::Toml {
            path: path.into(),
            cause,
        })?;
        for section in ["settings", "result"] {
            if !table.get(section).is_some_and(toml::Value::is_table) {
                return Err(FileError::Section {
                    path: path.into(),
                    section,
                });
            }
        }
        Ok(Self(table))
    }

    /// File name of the training data.
    pub fn corpus(&self) -> &str {
        let sections = ["corpus", "data"].into_iter();
        let mut names = sections.filter_map(|section| self.0.get(section)?.get("name")?.as_str());
        names.next().unwrap_or("a text without a name")
    }

    /// A number of the outcome.
    pub fn result(&self, key: &str) -> Option<f64> {
        number(self.0.get("result")?.get(key)?)
    }

    /// The validation loss, if all steps were done.
    pub fn validation_loss(&self) -> Option<f64> {
        let of_lines = || number(self.0.get("result")?.get("validation")?.get("loss")?);
        let loss = self.result("validation_loss").or_else(of_lines);
        loss.filter(|loss| check("", *loss).is_ok())
    }

    /// Every value under its name, with its sections before it.
    pub fn entries(&self) -> Vec<(String, String)> {
        let mut entries = Vec::new();
        flatten("", &self.0, &mut entries);
        entries
    }
}

fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or(value.as_integer().map(|n| n as f64))
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
