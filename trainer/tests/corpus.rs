//! Texts of every encoding from the command line: files, standard input, line ends, bytes, and what is no text.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::trainer;

const SMALL: &str = "--hidden-size 8 --steps 4 --batch-size 2 --seq-len 8 --overwrite";

fn arguments<'a>(text: &'a str, out: &'a str, more: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["train", text, "--out", out];
    arguments.extend(SMALL.split(' ').chain(more.split_whitespace()));
    arguments
}

/// Trains on the bytes of a file in `folder`.
fn train(folder: &Path, bytes: &[u8], out: &str, more: &str) -> Output {
    let text = folder.join("text.txt").display().to_string();
    std::fs::write(&text, bytes).unwrap();
    let out = folder.join(out).display().to_string();
    trainer(&arguments(&text, &out, more))
}

fn good(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned() + &error
}

fn vocabulary(folder: &Path, out: &str) -> Vec<String> {
    let bytes = std::fs::read(folder.join(out).join("model.onnx")).unwrap();
    trainer::onnx::read(&bytes)
        .unwrap()
        .vocabulary()
        .tokens()
        .to_vec()
}

#[test]
fn standard_input_is_a_text_like_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = "a cat sat on a mat. ".repeat(30);
    good(&train(folder.path(), text.as_bytes(), "file", ""));
    let out = folder.path().join("pipe").display().to_string();
    let mut process = Command::new(env!("CARGO_BIN_EXE_trainer"))
        .args(arguments("-", &out, ""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    good(&process.wait_with_output().unwrap());
    let metrics = |out: &str| std::fs::read_to_string(folder.path().join(out).join("metrics.json"));
    let [file, pipe] = ["file", "pipe"].map(|out| metrics(out).unwrap());
    let line = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(key));
        line.unwrap().to_owned()
    };
    for key in ["\"sha256\"", "\"train\"", "\"train_loss\"", "\"dev_loss\""] {
        assert_eq!(line(&file, key), line(&pipe, key));
    }
    assert!(pipe.contains("standard input"), "{pipe}");
}

#[test]
fn line_ends_and_marks_are_no_characters_and_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let text = "one line\r\nand two\r\n".repeat(30);
    let marked = format!("\u{feff}{text}");
    let said = good(&train(folder.path(), marked.as_bytes(), "out", ""));
    assert!(
        said.contains("60 CR or CR LF line ends are read as LF")
            && said.contains("byte order mark"),
        "{said}"
    );
    let tokens = vocabulary(folder.path(), "out");
    assert!(!tokens.contains(&"\r".to_owned()) && !tokens.contains(&"\u{feff}".to_owned()));
    assert!(tokens.contains(&"\n".to_owned()));
    let plain = text.replace('\r', "");
    let said = good(&train(folder.path(), plain.as_bytes(), "plain", ""));
    assert!(!said.contains("CR"), "{said}");
    let model = |out: &str| std::fs::read(folder.path().join(out).join("model.onnx")).unwrap();
    assert_eq!(model("out"), model("plain"));
}

#[test]
fn a_byte_tokenizer_takes_any_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..4000u32).map(|i| (i * i / 7 % 256) as u8).collect();
    let refused = train(folder.path(), &bytes, "out", "");
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{error}");
    good(&train(folder.path(), &bytes, "out", "--tokenizer byte"));
    assert_eq!(vocabulary(folder.path(), "out").len(), 256);
    let [model, text] =
        ["out/model.onnx", "text.txt"].map(|file| folder.path().join(file).display().to_string());
    let said = good(&trainer(&["eval", &model, "--data", &text]));
    assert!(said.contains("0 skipped"), "{said}");
}

#[test]
fn characters_of_the_held_out_text_alone_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}ab€ab€ab", "ab".repeat(200));
    let said = good(&train(
        folder.path(),
        text.as_bytes(),
        "out",
        "--split 90/10/0",
    ));
    assert!(
        said.contains("2 characters are not in the vocabulary (e.g. '€' U+20AC)"),
        "{said}"
    );
    assert_eq!(vocabulary(folder.path(), "out"), ["a", "b"]);
    // Of lines too, by the hash of their text.
    let lines: String = (0..40)
        .map(|i| {
            let odd = trainer::data::hash::part_of(&format!("w{i}")) < 0.3;
            format!("w{i}\t{}\n", if odd { "x§" } else { "x" })
        })
        .collect();
    let more = "--task sequence-to-sequence --target-tokenizer char --split 70/30/0";
    let said = good(&train(folder.path(), lines.as_bytes(), "lines", more));
    assert!(said.contains("'§' U+00A7"), "{said}");
}

#[test]
fn what_is_no_text_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let utf16: Vec<u8> = "\u{feff}text\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/shakespeare/model.onnx");
    for (bytes, expected) in [
        (utf16, "UTF-16: `iconv -f utf-16 -t utf-8 IN > OUT`"),
        (
            b"na\xefve\n".to_vec(),
            "`iconv -f cp1252 -t utf-8 IN > OUT`",
        ),
        (std::fs::read(model).unwrap(), "is an ONNX model"),
    ] {
        let refused = train(folder.path(), &bytes, "out", "");
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{error}");
        assert!(
            error.contains("text.txt") && error.contains(expected),
            "{error}"
        );
        assert!(!folder.path().join("out").exists());
    }
}
