//! The definition of the command line: help, values, completion scripts and manual pages.

mod common;

use std::process::Command as Process;

use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory, Parser};
use trainer::cli::Cli;

use common::{said, trainer};

/// Values that are numbers.
const NUMBERS: [&str; 9] = [
    "BITS",
    "BITS,...",
    "BYTES",
    "CHARACTERS",
    "FRACTION",
    "ORDER",
    "SEED",
    "T,...",
    "TOKENS",
];

/// Every command with its own help.
fn commands() -> Vec<Command> {
    let mut cli = Cli::command();
    cli.build();
    let commands = cli.get_subcommands().cloned();
    let named = commands.filter(|command| command.get_name() != "help");
    let commands: Vec<Command> = named.collect();
    assert!(commands.len() >= 15);
    commands
}

/// The arguments of a command, without those that clap adds.
fn arguments(command: &Command) -> Vec<Arg> {
    let own = |arg: &&Arg| !["help", "version"].contains(&arg.get_id().as_str());
    command.get_arguments().filter(own).cloned().collect()
}

#[test]
fn help_explains_every_option() {
    for mut command in commands() {
        let name = command.get_name().to_owned();
        let about = command.get_about().expect("a first line").to_string();
        assert!(
            about.len() < 80 && !about.contains('\n') && !about.ends_with('.'),
            "{name}: {about:?}"
        );
        let examples = command
            .get_after_help()
            .map_or(String::new(), ToString::to_string);
        let count = examples.matches(&format!("  trainer {name} ")).count();
        let hidden = command.is_hide_set();
        assert!(hidden || count >= 2, "{name} has examples: {examples:?}");
        let rendered = command.render_long_help().to_string();
        for arg in arguments(&command) {
            let place = format!("{name} {}", arg.get_id());
            let help = arg.get_help().expect(&place).to_string();
            assert!(help.len() > 4 && !help.contains('\n'), "{place}: {help:?}");
            if arg.is_positional() {
                continue;
            }
            assert!(arg.get_help_heading().is_some(), "{place} has a heading");
            if !arg.get_action().takes_values() || arg.is_required_set() {
                continue;
            }
            let defaults: Vec<_> = arg
                .get_default_values()
                .iter()
                .map(|value| value.to_string_lossy())
                .collect();
            let shown = match defaults.is_empty() || arg.is_hide_default_value_set() {
                true => help.contains("[default: "),
                false => rendered.contains(&format!("[default: {}]", defaults.join(" "))),
            };
            assert!(shown, "{place} shows its default: {help:?}");
        }
    }
}

/// Words that only this project once used.
#[test]
fn help_is_in_the_words_of_the_field() {
    for mut command in commands() {
        let name = command.get_name().to_owned();
        let help = command.render_long_help().to_string().to_lowercase();
        for word in [
            "image",
            "foresee",
            "markov",
            "anew",
            "goes on",
            "makes up",
            "made up",
            "beside",
            "held back",
            "likeliest",
        ] {
            assert!(!help.contains(word), "{name}: {word:?} in\n{help}");
        }
    }
}

/// A negative number is refused by the option that it is given to, not as an unknown option.
#[test]
fn negative_numbers_are_told_the_range() {
    let mut checked = 0;
    for command in commands() {
        let name = command.get_name().to_owned();
        for arg in arguments(&command) {
            let value_names = arg.get_value_names().unwrap_or_default();
            if !value_names.iter().any(|v| NUMBERS.contains(&v.as_str())) {
                continue;
            }
            let option = format!("--{}", arg.get_long().expect("numbers have options"));
            for value in ["-1", "x", "1e999", "99999999999999999999999", "nan"] {
                let error = Cli::try_parse_from(["trainer", &name, &option, value]).unwrap_err();
                assert_eq!(
                    error.kind(),
                    ErrorKind::ValueValidation,
                    "{name} {option} {value}: {error}"
                );
                let text = error.to_string();
                assert!(
                    text.contains(": expected "),
                    "{name} {option} {value}: {text}"
                );
            }
            checked += 1;
        }
    }
    assert!(checked >= 12, "{checked}");
}

/// Options that another one would make meaningless are refused together.
#[test]
fn no_option_is_ignored() {
    for (arguments, expected) in [
        (
            "generate m.pip --tokenizer word",
            ErrorKind::MissingRequiredArgument,
        ),
        ("generate m.pip --json --quiet", ErrorKind::ArgumentConflict),
        ("classify m.pip text --data f", ErrorKind::ArgumentConflict),
        ("eval m.pip", ErrorKind::MissingRequiredArgument),
        (
            "export m.onnx --split dev",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "train f --out o --min-speed 5",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "train f --out o --max-size 64K",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "train f --out o --fit --board pico --hidden-size 8",
            ErrorKind::ArgumentConflict,
        ),
        (
            "train f --out o --init-from m --hidden-size 8",
            ErrorKind::ArgumentConflict,
        ),
        (
            "train f --out o --steps 5 --time 7m",
            ErrorKind::ArgumentConflict,
        ),
        (
            "train f --out o --features length",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "train f --out o --teacher m --distillation d",
            ErrorKind::ArgumentConflict,
        ),
        (
            "export m.onnx --skip-unknown",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "export m.onnx --input-weight-bits 8",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "flash m.pip --board pico --firmware f.elf",
            ErrorKind::MissingRequiredArgument,
        ),
        ("flash m.pip", ErrorKind::MissingRequiredArgument),
        (
            "run m.pip --inputs a.npz",
            ErrorKind::MissingRequiredArgument,
        ),
        ("ngram m.pip", ErrorKind::MissingRequiredArgument),
        ("report", ErrorKind::MissingRequiredArgument),
        ("completions tcsh", ErrorKind::InvalidValue),
    ] {
        let words = std::iter::once("trainer").chain(arguments.split(' '));
        let error = Cli::try_parse_from(words).expect_err(arguments);
        assert_eq!(error.kind(), expected, "{arguments}: {error}");
        assert_eq!(error.exit_code(), 2, "{arguments}");
    }
}

#[test]
fn completion_scripts_are_scripts() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = said(&["completions", shell]);
        assert!(
            script.contains("skip-unknown") && script.contains("ngram"),
            "{shell}"
        );
        let path = folder.path().join(shell);
        std::fs::write(&path, script).unwrap();
        if shell == "bash" {
            let parsed = Process::new("bash").arg("-n").arg(&path).output().unwrap();
            assert!(parsed.status.success() && parsed.stderr.is_empty());
            // And it completes.
            let completed = Process::new("bash")
                .arg("-c")
                .arg(format!(
                    "source {}; COMP_WORDS=(trainer generate --tem); COMP_CWORD=2; _trainer trainer --tem generate; echo \"${{COMPREPLY[@]}}\"",
                    path.display()
                ))
                .output()
                .unwrap();
            assert_eq!(
                String::from_utf8_lossy(&completed.stdout).trim(),
                "--temperature"
            );
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    said(&["man", folder.path().to_str().unwrap()]);
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name));
    let all = page("trainer.1").unwrap();
    assert!(all.contains(".TH trainer 1") && all.contains("trainer\\-generate(1)"));
    let mut pages = 1;
    for command in commands() {
        let name = command.get_name();
        if command.is_hide_set() {
            assert!(page(&format!("trainer-{name}.1")).is_err(), "{name}");
            continue;
        }
        let text = page(&format!("trainer-{name}.1")).expect(name);
        assert!(text.contains(".SH SYNOPSIS"), "{name}");
        for arg in arguments(&command) {
            let Some(long) = arg.get_long() else { continue };
            let long = format!("\\-\\-{}", long.replace('-', "\\-"));
            assert!(text.contains(&long), "{name} {long}");
        }
        pages += 1;
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), pages);
    let nowhere = folder.path().join("nowhere");
    let output = trainer(&["man", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
}
