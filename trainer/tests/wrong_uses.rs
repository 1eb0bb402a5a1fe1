//! Wrong uses of every command: each gets an error that names what is wrong, and none panics, hangs or leaves a file.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::trainer_in;

/// Files of every wrong kind, and short names for the shipped models.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let copy = |model: &str, file: &str, name: &str| {
        write(name, &fs::read(models.join(model).join(file)).unwrap());
    };
    copy("shakespeare", "model.pip", "lm.pip");
    copy("shakespeare", "model.onnx", "lm.onnx");
    copy("news", "model.pip", "classifier.pip");
    copy("news", "config.toml", "news.toml");
    copy("news", "metrics.json", "metrics.json");
    copy("g2p", "model.pip", "seq2seq.pip");
    copy("g2p", "model.onnx", "seq2seq.onnx");
    copy("names", "model.pip", "conditional.pip");
    let vectors =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/gru_vectors_last/model.onnx");
    write("frames.onnx", &fs::read(vectors).unwrap());
    write("text.txt", b"To be, or not to be.\n");
    write("short.txt", b"T");
    write("snow.txt", "\u{2603}\u{2603}\u{2603}".as_bytes());
    write("latin1.txt", b"caf\xe9 caf\xe9");
    write("empty", b"");
    write("empty.pip", b"");
    write("zip.npz", b"PK\x03\x04");
    write("nan.npz", &array(&[f32::NAN; 15]));
    write("infinite.npz", &array(&[f32::INFINITY; 15]));
    write(
        "huge.npz",
        &npz("(0, 18446744073709551615, 18446744073709551615)", &[]),
    );
    write("long.npz", &npz("(0, 4611686018427387904, 4)", &[]));
    write("larger.npz", &npz("(99999999999999999999999999,)", &[]));
    write("nested.npz", &npz(&"(".repeat(40), &[]));
    fs::create_dir(folder.path().join("a folder")).unwrap();
    folder
}

/// An .npz file of one array `x` of 5 frames of 3 floats.
fn array(values: &[f32; 15]) -> Vec<u8> {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    npz("(1, 5, 3)", &bytes)
}

/// An .npz file of one float array `x` with a header that says any shape.
fn npz(shape: &str, values: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    npy.extend(values);
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options: zip::write::SimpleFileOptions = Default::default();
    archive.start_file("x.npy", options).unwrap();
    archive.write_all(&npy).unwrap();
    archive.finish().unwrap().into_inner()
}

/// Arguments, the exit code, and what the error says.
const WRONG: &[(&str, i32, &str)] = &[
    // No command, no such command.
    ("", 2, "Usage: trainer"),
    ("sing", 2, "unrecognized subcommand"),
    ("baseline text.txt", 2, "unrecognized subcommand"),
    // Numbers.
    (
        "generate lm.pip --temperature -1",
        2,
        "expected a temperature from 0.01 to 100",
    ),
    (
        "generate lm.pip --temperature nan",
        2,
        "expected a temperature from 0.01 to 100",
    ),
    (
        "generate lm.pip --temperature 0.8,,1",
        2,
        "expected a temperature from 0.01 to 100",
    ),
    (
        "generate lm.pip --temperature 1e9",
        2,
        "expected a temperature from 0.01 to 100",
    ),
    (
        "generate lm.pip --length -1",
        2,
        "expected a whole number from 0 to 18446744073709551615",
    ),
    (
        "generate lm.pip --length 99999999999999999999",
        2,
        "expected a whole number",
    ),
    (
        "generate lm.pip --seed -1",
        2,
        "expected a whole number from 0 to 18446744073709551615",
    ),
    (
        "generate lm.pip --top-k 65536",
        2,
        "expected a whole number from 0 to 65535",
    ),
    (
        "generate lm.pip --top-k -1",
        2,
        "expected a whole number from 0 to 65535",
    ),
    (
        "eval lm.pip --data text.txt --split half",
        2,
        "invalid value 'half'",
    ),
    (
        "train text.txt --out out --dropout -1",
        2,
        "expected a number from 0 to below 1",
    ),
    (
        "train text.txt --out out --time 5",
        2,
        "such as 90s, 7m or 1h",
    ),
    (
        "train text.txt --out out --split 80/30/10",
        2,
        "that sum up to 100",
    ),
    (
        "train text.txt --out out --fit",
        1,
        "--fit needs --max-size SIZE",
    ),
    (
        "train text.txt --out out --train-on train+dev",
        1,
        "needs the number of steps that was good on dev",
    ),
    (
        "train text.txt --out out --qat-lr 0.1",
        1,
        "need 4-bit weights",
    ),
    (
        "train text.txt --out out --distill-weight 0.5",
        1,
        "need a teacher",
    ),
    (
        "ngram --data text.txt --order 17",
        2,
        "expected a whole number from 1 to 16",
    ),
    (
        "ngram --data text.txt --order 0",
        2,
        "expected a whole number from 1 to 16",
    ),
    (
        "ngram --data text.txt --max-bytes -5",
        2,
        "expected a whole number from 0 to 18446744073709551615",
    ),
    ("export lm.onnx --weight-bits 5", 2, "expected 8 or 4"),
    ("export lm.onnx --weight-bits -4", 2, "expected 8 or 4"),
    (
        "export lm.onnx --output-weight-bits 16",
        2,
        "expected 8 or 4",
    ),
    (
        "export lm.onnx --weight-bits 8 --input-weight-bits 4 --out o.pip",
        1,
        "--input-weight-bits 4 needs --weight-bits 4",
    ),
    (
        "export lm.onnx --weight-bits 8,8,8,8 --out o.pip",
        1,
        "--weight-bits has 4 values, the network 1 recurrent layer(s)",
    ),
    (
        "report x --length 1000000",
        2,
        "expected a whole number from 0 to 100000",
    ),
    // Models that are missing, folders, empty, of other kinds.
    ("generate none.pip", 1, "cannot read none.pip: No such file"),
    ("generate a_folder", 1, "cannot read a folder"),
    ("inspect a_folder", 1, "cannot read a folder"),
    ("inspect empty", 1, "empty: this is not an ONNX file"),
    ("inspect empty.pip", 1, "empty.pip"),
    ("inspect text.txt", 1, "text.txt: this is not an ONNX file"),
    (
        "generate seq2seq.pip",
        1,
        "seq2seq.pip: the model does not continue text: it is a sequence-to-sequence model; use `trainer translate`",
    ),
    (
        "generate classifier.pip",
        1,
        "it is a classifier; use `trainer classify`",
    ),
    ("generate frames.onnx", 1, "frames.onnx"),
    ("generate conditional.pip", 1, "--features"),
    ("generate conditional.pip --features height=2", 1, "height"),
    (
        "generate conditional.pip --features length=nan",
        1,
        "length=nan",
    ),
    ("generate lm.pip --features a", 1, "takes no features"),
    ("generate lm.pip --prompt \u{2603}", 1, "U+2603"),
    (
        "generate lm.pip --vocab text.txt",
        1,
        "is a model file, which has its own vocabulary",
    ),
    ("generate lm.onnx --vocab none.json", 1, "none.json"),
    ("classify lm.pip text", 1, "is not a classifier"),
    ("classify lm.onnx text", 1, "is not a classifier"),
    ("classify seq2seq.pip text", 1, "is not a classifier"),
    ("classify frames.onnx text", 1, "frames.onnx"),
    (
        "classify classifier.pip --data none.txt",
        1,
        "cannot read none.txt",
    ),
    ("classify classifier.pip --data a_folder", 1, "a folder"),
    (
        "classify classifier.pip --data latin1.txt",
        1,
        "line 1 of latin1.txt: expected UTF-8",
    ),
    (
        "translate lm.pip text",
        1,
        "expected an encoder and a decoder",
    ),
    (
        "translate classifier.pip text",
        1,
        "expected an encoder and a decoder",
    ),
    ("translate seq2seq.pip \u{2603}", 1, "text 1: "),
    ("translate seq2seq.onnx \u{2603}", 1, "text 1: "),
    // Data.
    ("eval lm.pip --data none.txt", 1, "none.txt"),
    ("eval lm.pip --data a_folder", 1, "is a folder"),
    ("eval lm.pip --data empty", 1, "is empty"),
    (
        "eval lm.pip --data short.txt",
        1,
        "expected at least 2 tokens of the model's vocabulary, found 1",
    ),
    (
        "eval lm.pip --data snow.txt --skip-unknown",
        1,
        "found 0 (3 skipped)",
    ),
    ("eval lm.pip --data latin1.txt", 1, "not UTF-8"),
    (
        "eval classifier.pip --data text.txt",
        1,
        "it is a classifier",
    ),
    ("eval conditional.pip --data text.txt", 1, "--config"),
    (
        "eval classifier.pip --data text.txt --config news.toml",
        1,
        "text.txt is not the data of news.toml",
    ),
    (
        "eval classifier.pip --data text.txt --config text.txt",
        1,
        "text.txt is not a config.toml",
    ),
    (
        "eval classifier.pip --data text.txt --config none.toml",
        1,
        "cannot read none.toml",
    ),
    (
        "eval classifier.pip --data text.txt --config a_folder",
        1,
        "cannot read a folder",
    ),
    (
        "ngram --data short.txt",
        1,
        "expected at least 1 token to count and 2 to predict, found 0 and 1",
    ),
    ("ngram --data empty", 1, "is empty"),
    (
        "ngram --data text.txt --tokenizer model",
        1,
        "give the MODEL",
    ),
    (
        "ngram classifier.pip --data text.txt",
        1,
        "it is a classifier",
    ),
    (
        "ngram conditional.pip --data text.txt",
        1,
        "expected a language model",
    ),
    (
        "ngram text.txt --data text.txt",
        1,
        "text.txt: this is not an ONNX file",
    ),
    ("ngram lm.pip --data snow.txt", 1, "snow.txt"),
    // Files to write.
    ("export lm.pip", 1, "is a model file already"),
    (
        "export lm.onnx --out lm.onnx",
        1,
        "would replace the network",
    ),
    (
        "export lm.onnx --out none/o.pip",
        1,
        "the folder none does not exist",
    ),
    ("export lm.onnx --out a_folder", 1, "it is a folder"),
    ("export lm.onnx --data snow.txt --out o.pip", 1, "U+2603"),
    (
        "export frames.onnx --data text.txt --out o.pip",
        1,
        "language model",
    ),
    (
        "export lm.onnx --calibration text.txt --out o.pip",
        1,
        "text.txt is not an .npz file",
    ),
    ("export lm.onnx lm.onnx lm.onnx", 2, "MODEL"),
    (
        "export lm.onnx seq2seq.onnx --out o.pip",
        1,
        "lm.onnx and seq2seq.onnx",
    ),
    (
        "flash lm.pip --board esp32",
        2,
        "expected one of microbit, stm32f405, pico",
    ),
    (
        "flash lm.onnx --board pico --out o.uf2",
        1,
        "expected a model file from `trainer export",
    ),
    (
        "flash none.pip --board pico --out o.uf2",
        1,
        "cannot read none.pip",
    ),
    (
        "flash a_folder --board pico --out o.uf2",
        1,
        "cannot read a folder",
    ),
    (
        "flash lm.pip --board pico --out o.hex",
        1,
        "pico takes .elf or .uf2",
    ),
    (
        "flash lm.pip --board pico --out o.uf2 --firmware text.txt",
        1,
        "text.txt: the firmware is refused",
    ),
    (
        "flash lm.pip --board pico --out o.uf2 --firmware none.elf",
        1,
        "cannot read none.elf",
    ),
    (
        "flash lm.pip --board pico --out o.uf2 --firmware /dev/zero",
        1,
        "more than 67108864 bytes",
    ),
    (
        "report none",
        1,
        "expected a folder that trainer train --out has made",
    ),
    ("report text.txt", 1, "text.txt"),
    ("report .", 1, "config.toml"),
    ("completions", 2, "SHELL"),
    // Arrays.
    (
        "run none.onnx --inputs nan.npz --outputs o.npz",
        1,
        "cannot read none.onnx",
    ),
    (
        "run text.txt --inputs nan.npz --outputs o.npz",
        2,
        "this is not an ONNX file",
    ),
    (
        "run frames.onnx --inputs none.npz --outputs o.npz",
        1,
        "cannot read none.npz",
    ),
    (
        "run frames.onnx --inputs a_folder --outputs o.npz",
        1,
        "a folder",
    ),
    (
        "run frames.onnx --inputs zip.npz --outputs o.npz",
        1,
        "zip.npz is not an .npz file",
    ),
    (
        "run frames.onnx --inputs huge.npz --outputs o.npz",
        1,
        "huge.npz: array \"x\"",
    ),
    (
        "run frames.onnx --inputs long.npz --outputs o.npz",
        1,
        "long.npz: array \"x\"",
    ),
    (
        "run frames.onnx --inputs larger.npz --outputs o.npz",
        1,
        "larger.npz: array \"x\"",
    ),
    (
        "run frames.onnx --inputs nested.npz --outputs o.npz",
        1,
        "nested.npz: array \"x\"",
    ),
];

#[test]
fn wrong_uses_are_explained() {
    let folder = folder();
    let files = || {
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = files();
    let mut wrong = Vec::new();
    for &(line, code, expected) in WRONG {
        // A folder with a space in its name is one argument.
        let arguments: Vec<String> = line
            .split_whitespace()
            .map(|word| word.replace("a_folder", "a folder"))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = trainer_in(folder.path(), &arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        let empty = String::from_utf8_lossy(&output.stdout).trim().is_empty();
        let good = output.status.code() == Some(code)
            && error.contains(expected)
            && !error.contains("panicked")
            && empty;
        if !good {
            wrong.push(format!(
                "trainer {line}\n  expected {code}: {expected}\n  found {:?}: {error}{}",
                output.status.code(),
                String::from_utf8_lossy(&output.stdout)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(files(), before, "a refused command leaves no file");
}

/// Integers have no NaN: what a model file would make of one is no number.
#[test]
fn arrays_that_are_not_finite_are_refused_by_a_model_file() {
    let folder = folder();
    let run = |arguments: &[&str]| {
        let output = trainer_in(folder.path(), arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), error)
    };
    assert_eq!(run(&["export", "frames.onnx", "--quiet"]).0, Some(0));
    for (file, found) in [("nan.npz", "NaN"), ("infinite.npz", "inf")] {
        let arguments = ["run", "frames.pip", "--inputs", file, "--outputs", "o.npz"];
        let (code, error) = run(&arguments);
        assert_eq!(code, Some(1), "{error}");
        let expected =
            format!("{file}: array \"x\": element 0 is {found}, expected finite numbers");
        assert!(error.contains(&expected), "{error}");
    }
    assert!(!folder.path().join("o.npz").exists());
}

/// Ctrl-C ends a command that runs with 130, as shells report it.
#[cfg(unix)]
#[test]
fn ctrl_c_is_exit_code_130() {
    use std::io::Read;
    let folder = folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_trainer"))
        .current_dir(folder.path())
        .args(["generate", "lm.pip", "--length", "1000000000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It runs when it has printed something.
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stderr.is_empty());
}

/// A line that is not UTF-8 or has unknown characters does not end a batch.
#[test]
fn a_batch_goes_on_after_a_bad_line() {
    let folder = folder();
    let lines = b"tea\r\ncaf\xe9\n\n\xe2\x98\x83\ntea";
    fs::write(folder.path().join("lines.txt"), lines).unwrap();
    for (model, more) in [("seq2seq.pip", &["--json"][..]), ("seq2seq.onnx", &[])] {
        let arguments = [&["translate", model, "--data", "lines.txt"][..], more].concat();
        let output = trainer_in(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        let errors: Vec<&str> = error.lines().collect();
        assert!(
            errors[0].starts_with("error: line 2 of lines.txt: expected UTF-8"),
            "{error}"
        );
        assert!(
            errors[1].starts_with("error: line 4 of lines.txt: "),
            "{error}"
        );
        assert_eq!(errors[2..], ["error: 2 of 4 texts failed"]);
        let text = String::from_utf8(output.stdout).unwrap();
        if more.is_empty() {
            assert_eq!(text, "T IY1\n\n\n\nT IY1\n");
        } else {
            let numbers = text.lines().map(|line| {
                let object: serde_json::Value = serde_json::from_str(line).unwrap();
                object["line"].as_u64().unwrap()
            });
            assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 4, 5]);
        }
    }
}
