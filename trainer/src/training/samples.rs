//! `samples.jsonl`: what a network generated during its training, a line of JSON for each evaluation.

use std::path::{Path, PathBuf};

use crate::fs::{self, OutputError};

/// The file's name in the folder of a training.
pub const FILE: &str = "samples.jsonl";

/// A line of the file.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sample {
    /// Optimizer steps done.
    pub step: u64,
    /// Smoothed training loss, nats per token.
    pub train_loss: f64,
    /// Loss on dev, nats per token, where it was measured.
    pub dev_loss: Option<f64>,
    /// What the network generated; of a task on lines, some examples and its outputs.
    pub text: String,
}

/// Why the samples of a training cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SamplesError {
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// A line is no sample.
    #[error("{}: line {line}: expected a sample such as {{\"step\":100,\"train_loss\":2.1,\"dev_loss\":null,\"text\":\"...\"}}: {cause}; remove the file to go on without the samples so far", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

/// The samples of the training in `folder`; none where it has written none.
///
/// # Errors
/// If the file cannot be read, or a line of it is no sample.
pub fn read(folder: &Path) -> Result<Vec<Sample>, SamplesError> {
    let path = folder.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(SamplesError::Io { path, cause }),
    };
    let sample = |(index, line)| {
        serde_json::from_str(line).map_err(|cause| SamplesError::Line {
            path: path.clone(),
            line: index + 1,
            cause,
        })
    };
    text.lines().enumerate().map(sample).collect()
}

/// The file of a training that goes on.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    lines: String,
}

impl Log {
    /// The log of a training in `folder` that has done so many steps: what was written after them is forgotten, as the steps are.
    ///
    /// # Errors
    /// If a training is resumed and its samples cannot be read.
    ///
    /// # Panics
    /// Never: every sample can be written as JSON.
    pub fn begin(folder: &Path, done: u64) -> Result<Self, SamplesError> {
        let mut log = Self {
            path: folder.join(FILE),
            lines: String::new(),
        };
        if done > 0 {
            let before = read(folder)?;
            let kept = before.iter().filter(|sample| sample.step <= done);
            kept.for_each(|sample| log.put(sample));
        }
        Ok(log)
    }

    fn put(&mut self, sample: &Sample) {
        self.lines += &serde_json::to_string(sample).expect("a sample can be written as JSON");
        self.lines.push('\n');
    }

    /// Writes the file with one more sample.
    ///
    /// # Errors
    /// If the file cannot be written.
    ///
    /// # Panics
    /// Never: every sample can be written as JSON.
    pub fn add(&mut self, sample: &Sample) -> Result<(), OutputError> {
        self.put(sample);
        fs::write_atomically(&self.path, self.lines.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(step: u64) -> Sample {
        Sample {
            step,
            train_loss: 2.5,
            dev_loss: (step > 1).then_some(2.25),
            text: format!("\"{step}\"\n\u{5d0}</script>"),
        }
    }

    #[test]
    fn a_resumed_training_keeps_what_it_had_written_before_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::begin(folder.path(), 0).unwrap();
        assert_eq!(read(folder.path()).unwrap(), []);
        let samples = [1, 2, 3].map(sample);
        for sample in &samples {
            log.add(sample).unwrap();
        }
        assert_eq!(read(folder.path()).unwrap(), samples);
        // A crash after step 3, with a checkpoint of step 2.
        let mut log = Log::begin(folder.path(), 2).unwrap();
        log.add(&sample(4)).unwrap();
        assert_eq!(read(folder.path()).unwrap(), [1, 2, 4].map(sample));
        // Another training in the same folder.
        Log::begin(folder.path(), 0)
            .unwrap()
            .add(&sample(9))
            .unwrap();
        assert_eq!(read(folder.path()).unwrap(), [sample(9)]);
    }

    #[test]
    fn a_broken_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let good = serde_json::to_string(&sample(1)).unwrap();
        std::fs::write(
            folder.path().join(FILE),
            format!("{good}\n{{\"step\":2}}\n"),
        )
        .unwrap();
        let said = read(folder.path()).unwrap_err().to_string();
        assert!(
            said.contains("samples.jsonl: line 2") && said.contains("train_loss"),
            "{said}"
        );
        Log::begin(folder.path(), 1).unwrap_err();
        Log::begin(folder.path(), 0).unwrap();
    }
}
