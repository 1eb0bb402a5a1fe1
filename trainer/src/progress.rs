//! Progress bars, on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};

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
