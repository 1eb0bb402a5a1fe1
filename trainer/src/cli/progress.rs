//! Progress bars, on a terminal only.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::{self, Display, Write};
use std::time::Duration;

/// A bar over `length` steps on standard error, labelled `what`; nothing is drawn if that is not a terminal.
///
/// # Panics
/// Never: the template is constant.
pub fn bar(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent} % {per_sec} {eta} left")
        .expect("a good template");
    let bar = ProgressBar::new(length).with_style(style);
    bar.set_message(what);
    bar
}

/// A spinner labelled `what`, for work of unknown length.
pub fn spinner(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A line that shows its message, cut at the terminal's edge.
///
/// # Panics
/// Never: the template is constant.
pub fn line() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_msg}").expect("a good template");
    ProgressBar::no_length().with_style(style)
}

/// Makes `bar` one over the steps of a training, `done` of them done before, with the speed in tokens, which are called `unit`.
///
/// # Panics
/// Never: the template is constant.
pub fn training(bar: &ProgressBar, steps: u64, done: u64, step_tokens: u64, unit: &'static str) {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {speed}  {eta} left")
        .expect("a good template")
        .with_key(
            "speed",
            move |state: &ProgressState, out: &mut dyn Write| {
                // A bar that cannot be written has no one to tell.
                let speed = state.per_sec() * step_tokens as f64;
                let _ = write!(out, "{speed:.0} {unit}/s");
            },
        );
    bar.set_length(steps);
    bar.set_style(style);
    bar.set_position(done);
    // What was done before has not taken this run's time.
    bar.reset_eta();
}

/// Columns of a sparkline.
const COLUMNS: u64 = 32;

/// A curve in a line of text: a column for each part of all steps that has passed, as high as the last value in it.
///
/// ```
/// let mut curve = trainer::cli::progress::Sparkline::new(64);
/// for (step, value) in [(1, 9.0), (2, 8.0), (4, 4.5), (6, 1.0)] {
///     curve.add(step, value);
/// }
/// assert_eq!(curve.to_string(), "█▅▁");
/// ```
#[derive(Clone, Debug)]
pub struct Sparkline {
    steps: u64,
    values: Vec<f64>,
    column: Option<u64>,
}

impl Sparkline {
    /// Without a value yet.
    pub fn new(steps: u64) -> Self {
        Self {
            steps: steps.max(1),
            values: Vec::new(),
            column: None,
        }
    }

    /// The value after a step. Steps come in order, from 1.
    pub fn add(&mut self, step: u64, value: f64) {
        let column = step.saturating_sub(1).min(self.steps - 1);
        let column = (u128::from(column) * u128::from(COLUMNS) / u128::from(self.steps)) as u64;
        if self.column == Some(column) {
            self.values.pop();
        }
        self.column = Some(column);
        self.values.push(value);
    }
}

impl Display for Sparkline {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self
            .values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        let range = (most - least).max(f64::MIN_POSITIVE);
        for value in &self.values {
            // A cast from float saturates, and makes 0 of what is no number.
            let level = ((value - least) / range * 7.0).round() as usize;
            f.write_char(LEVELS[level.min(7)])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_has_a_column_for_each_part_of_the_steps() {
        for steps in [1, 5, 32, 33, 1000] {
            let mut curve = Sparkline::new(steps);
            assert_eq!(curve.to_string(), "");
            for step in 1..=steps {
                curve.add(step, (steps - step) as f64);
            }
            let text = curve.to_string();
            assert_eq!(text.chars().count() as u64, steps.min(COLUMNS), "{steps}");
            assert_eq!(text.chars().last(), Some('▁'), "{steps}: {text}");
            let levels: Vec<char> = text.chars().collect();
            assert!(levels.is_sorted_by(|a, b| a >= b), "{text}");
        }
        let mut curve = Sparkline::new(2);
        curve.add(1, f64::NAN);
        curve.add(9, f64::INFINITY);
        assert_eq!(curve.to_string().chars().count(), 2);
    }
}
