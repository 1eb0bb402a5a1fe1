//! Progress bars, on a terminal only.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::time::Duration;

/// A bar over `length` steps on standard error; nothing is drawn where that is not a terminal.
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

/// Says `what` takes so long, where nothing is known of its length.
pub fn waiting(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A bar over the steps of a training, `done` of them done before, with the loss as its message and the speed in tokens, which
/// are called `unit`.
///
/// # Panics
/// Never: the template is constant.
pub fn training(steps: u64, done: u64, step_tokens: u64, unit: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {speed} {eta} left")
        .expect("a good template")
        .with_key(
            "speed",
            move |state: &ProgressState, out: &mut dyn Write| {
                // A bar that cannot be written has no one to tell.
                let speed = state.per_sec() * step_tokens as f64;
                let _ = write!(out, "{speed:.0} {unit}/s");
            },
        );
    ProgressBar::new(steps)
        .with_style(style)
        .with_position(done)
}
