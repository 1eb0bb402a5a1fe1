//! What a training shows while it runs, and the samples that it leaves.

use indicatif::{MultiProgress, ProgressBar};

use super::print::{RecordType, print_json, print_out};
use crate::cli::progress::{self, Sparkline};
use crate::fs::OutputError;
use crate::network::Network;
use crate::training::samples::{Log, Sample};
use crate::training::{Plan, Row, Watch};

/// Shows a training.
pub(super) trait View {
    /// Before the first step.
    fn begins(&mut self, _: &Plan) {}
    /// After each step: steps done, and the smoothed training loss.
    fn steps(&mut self, _: u64, _: f64) {}
    /// Every so often: a row of the log, and what the network writes by now.
    fn reports(&mut self, _: &Row, _: &str) {}
}

/// Shows nothing.
impl View for () {}

/// A line of JSON for each report.
pub(super) struct JsonLines;

impl View for JsonLines {
    fn reports(&mut self, row: &Row, _: &str) {
        // A reader that went away does not end the training.
        drop(print_json(RecordType::TrainingProgress, row));
    }
}

/// Has a training shown, and keeps its samples.
pub(super) struct Watcher<'a> {
    view: Box<dyn View + 'a>,
    sample: Box<dyn Fn(&Network) -> String + 'a>,
    log: Log,
    /// Whether all samples were.
    kept: Result<(), OutputError>,
}

impl<'a> Watcher<'a> {
    /// `sample` makes what the network writes.
    pub fn new(
        view: Box<dyn View + 'a>,
        sample: impl Fn(&Network) -> String + 'a,
        log: Log,
    ) -> Self {
        Self {
            view,
            sample: Box::new(sample),
            log,
            kept: Ok(()),
        }
    }

    /// Takes the view away, before the result is told.
    ///
    /// # Errors
    /// If the samples could not be written.
    pub fn ends(self) -> Result<(), OutputError> {
        self.kept
    }
}

impl Watch for Watcher<'_> {
    fn begins(&mut self, plan: &Plan) {
        self.view.begins(plan);
    }

    fn steps(&mut self, step: u64, train_loss: f64) {
        self.view.steps(step, train_loss);
    }

    fn reports(&mut self, row: &Row, network: &Network) {
        let sample = Sample {
            step: row.step,
            train_loss: row.train_loss,
            dev_loss: row.dev_loss,
            text: (self.sample)(network),
        };
        self.view.reports(row, &sample.text);
        // The training goes on; the first failure is told at its end.
        if self.kept.is_ok() {
            self.kept = self.log.add(&sample);
        }
    }
}

/// On standard error, where that is a terminal, lines in place: progress, losses, the end of the last sample. Reports and samples on
/// standard output.
pub(super) struct Live {
    lines: MultiProgress,
    bar: ProgressBar,
    losses: ProgressBar,
    sample: ProgressBar,
    curve: Sparkline,
    /// The last loss on dev, as it is shown.
    dev: String,
}

impl Live {
    /// Of a training that may have a past.
    pub fn new(steps: u64, past: &[Row]) -> Self {
        let lines = MultiProgress::new();
        let line = || lines.add(progress::line());
        let mut live = Self {
            bar: line(),
            losses: line(),
            sample: line(),
            curve: Sparkline::new(steps),
            dev: String::new(),
            lines,
        };
        for row in past {
            live.curve.add(row.step, row.train_loss);
            live.note_dev(row);
        }
        live
    }

    /// Says how fast it is, in `unit`, of which a step sees `step_tokens`.
    pub fn measure(&self, steps: u64, done: u64, step_tokens: u64, unit: &'static str) {
        progress::training(&self.bar, steps, done, step_tokens, unit);
    }

    /// Above the lines. A reader that went away does not end the training.
    pub fn say(&self, text: &str) {
        self.lines.suspend(|| drop(print_out(&format!("{text}\n"))));
    }

    fn note_dev(&mut self, row: &Row) {
        if let Some(loss) = row.dev_loss {
            self.dev = format!("  dev {loss:.3}");
        }
    }
}

impl View for Live {
    fn steps(&mut self, step: u64, train_loss: f64) {
        self.curve.add(step, train_loss);
        self.losses
            .set_message(format!("loss {train_loss:.3}{}  {}", self.dev, self.curve));
        self.bar.set_position(step);
    }

    /// Under a head of its losses.
    fn reports(&mut self, row: &Row, text: &str) {
        let dev = row
            .dev_loss
            .map_or(String::new(), |loss| format!(", dev {loss:.4}"));
        let bits = row
            .dev_bits_per_char
            .map_or(String::new(), |bits| format!(" ({bits:.4} bits/char)"));
        self.say(&format!(
            "step {}: loss {:.4}{dev}{bits}\n{text}",
            row.step, row.train_loss
        ));
        self.note_dev(row);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        // A terminal obeys control characters, and a text may hold any.
        let shown: String = last
            .unwrap_or_default()
            .chars()
            .filter(|character| !character.is_control())
            .collect();
        self.sample.set_message(shown);
    }
}

impl Drop for Live {
    /// The lines go, what was said above them stays.
    fn drop(&mut self) {
        drop(self.lines.clear());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64, dev_loss: Option<f64>) -> Row {
        Row {
            step,
            seen: 10 * step,
            train_loss: 2.0,
            dev_loss,
            dev_bits_per_char: None,
            learning_rate: 0.01,
        }
    }

    #[test]
    fn lines_tell_losses_and_the_end_of_the_last_sample() {
        let mut live = Live::new(40, &[row(10, Some(3.25)), row(20, None)]);
        live.measure(40, 20, 5, "bytes");
        live.steps(21, 1.5);
        assert_eq!(live.bar.position(), 21);
        let said = live.losses.message();
        assert!(said.starts_with("loss 1.500  dev 3.250  "), "{said}");
        live.reports(&row(22, Some(1.125)), "first\n\u{1b}[2Jlast\n\n");
        assert_eq!(live.sample.message(), "[2Jlast");
        live.steps(23, 1.25);
        let said = live.losses.message();
        assert!(said.starts_with("loss 1.250  dev 1.125  "), "{said}");
    }
}
