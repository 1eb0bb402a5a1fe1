//! The command line, as tests run it.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::Path;
use std::process::{Command, Output};

pub fn trainer(arguments: &[&str]) -> Output {
    trainer_in(Path::new("."), arguments)
}

pub fn trainer_in(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trainer"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("the trainer starts")
}

/// What a command prints on standard output; it must succeed.
pub fn said(arguments: &[&str]) -> String {
    said_in(Path::new("."), arguments)
}

pub fn said_in(folder: &Path, arguments: &[&str]) -> String {
    let output = trainer_in(folder, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a refused command prints on standard error; it must exit with 1 and print nothing else.
pub fn refused(arguments: &[&str]) -> String {
    refused_in(Path::new("."), arguments)
}

pub fn refused_in(folder: &Path, arguments: &[&str]) -> String {
    let output = trainer_in(folder, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert!(
        output.stdout.is_empty() && !error.contains("panicked"),
        "{error}"
    );
    assert!(error.starts_with("error: "), "{error}");
    error
}
