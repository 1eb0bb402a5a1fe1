//! Output of the commands on standard output.

/// Prints a serializable value as JSON on standard output.
pub(super) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print_out(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Prints to standard output; a reader that went away is an error that `main` knows.
pub(super) fn print_out(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

/// The same of bytes, which may be a part of a character.
pub(super) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}
