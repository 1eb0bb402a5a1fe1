//! Texts from the command line, or the lines of standard input.

use super::print_out;
use anyhow::{Context, bail};
use std::io::BufRead;

/// Calls `each` for every text of `arguments`, or for every line of standard input if there are none; an error names the line.
/// An empty line is answered by one.
///
/// # Errors
/// The first that `each` gives, or of reading.
pub fn each_line(
    arguments: &[String],
    mut each: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut each = |text: &str| match text {
        "" => bail!("the text is empty"),
        text => each(text),
    };
    for (index, text) in arguments.iter().enumerate() {
        each(text).with_context(|| format!("text {}", index + 1))?;
    }
    if arguments.is_empty() {
        for (index, line) in std::io::stdin().lock().lines().enumerate() {
            let place = || format!("line {} of standard input", index + 1);
            match line.with_context(place)?.as_str() {
                "" => print_out("\n")?,
                line => each(line).with_context(place)?,
            }
        }
    }
    Ok(())
}
