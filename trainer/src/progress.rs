//! Progress bars, on a terminal only.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;

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

/// A bar over the steps of a training, `done` of them done before, with the loss as its message and characters per second.
///
/// # Panics
/// Never: the template is constant.
pub fn training(steps: u64, done: u64, step_characters: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg} {wide_bar} {pos}/{len} {speed} characters/s {eta} left",
    )
    .expect("a good template")
    .with_key(
        "speed",
        move |state: &ProgressState, out: &mut dyn Write| {
            // A bar that cannot be written has no one to tell.
            let _ = write!(out, "{:.0}", state.per_sec() * step_characters as f64);
        },
    );
    ProgressBar::new(steps)
        .with_style(style)
        .with_position(done)
}
