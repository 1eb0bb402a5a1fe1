//! `trainer completions` and `trainer man`: files made from the definition of the command line.

use super::print::print_bytes;
use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  trainer completions bash > ~/.local/share/bash-completion/completions/trainer
  trainer completions zsh > ~/.zfunc/_trainer
  trainer completions fish > ~/.config/fish/completions/trainer.fish";

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// Shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Write the manual pages of all commands
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder for the pages, which must exist
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// Prints the completion script of `command`.
///
/// # Errors
/// Returns an error if standard output cannot be written.
pub fn run(args: CompletionsArgs, mut command: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "trainer", &mut script);
    print_bytes(&script)
}

/// Writes a manual page for `command` and for each of its subcommands.
///
/// # Errors
/// Returns an error if a page cannot be written.
pub fn man(args: ManArgs, command: Command) -> anyhow::Result<()> {
    // Without the command `help`, which would have a page for each command once more.
    let command = command.disable_help_subcommand(true);
    clap_mangen::generate_to(command, &args.folder)
        .with_context(|| format!("cannot write into {}", args.folder.display()))
}
