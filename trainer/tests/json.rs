//! `--json`: every command prints one object per line, of the types and with the fields that JSON.md lists.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use common::{said, trainer};
use serde_json::Value;
use trainer::cli::print::RecordType;

/// A file of a shipped model.
fn shipped(name: &str, file: &str) -> String {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let path = models.join(name).join(file);
    path.to_str().unwrap().into()
}

/// What JSON.md says of each type: the text of its row, after the type.
fn documented() -> BTreeMap<String, String> {
    let text = include_str!("../JSON.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    // The first one has the names of the columns.
    let rows = rows.filter(|row| !row.starts_with("type`"));
    rows.map(|row| {
        let (name, rest) = row.split_once('`').unwrap();
        (name.to_owned(), rest.to_owned())
    })
    .collect()
}

/// The objects that a command prints, one on each line.
fn objects(text: &str) -> Vec<Value> {
    let objects = text.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(value["type"].is_string(), "{line}");
        assert!(line.starts_with("{\"type\":"), "{line}");
        value
    });
    objects.collect()
}

#[test]
fn the_types_are_documented() {
    let types = RecordType::ALL.map(|t| serde_json::to_value(t).unwrap());
    let types: BTreeSet<&str> = types.iter().map(|t| t.as_str().unwrap()).collect();
    assert_eq!(types.len(), RecordType::ALL.len());
    let documented = documented();
    assert_eq!(types, documented.keys().map(String::as_str).collect());
}

#[test]
fn every_line_has_a_type_and_its_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let shakespeare = shipped("shakespeare", "model.pip");
    let (g2p, news) = (shipped("g2p", "model.pip"), shipped("news", "model.onnx"));
    let text = path("text.txt");
    fs::write(
        &text,
        "To be, or not to be, that is the question.\n".repeat(9),
    )
    .unwrap();
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/gru_vectors_last");
    let io = trainer::cli::run::read(&case.join("io.npz")).unwrap();
    let inputs: Vec<_> = io
        .into_iter()
        .filter_map(|(name, array)| Some((name.strip_prefix("in::")?.to_owned(), array)))
        .collect();
    fs::write(path("in.npz"), trainer::cli::run::encode(&inputs).unwrap()).unwrap();
    fs::write(path("firmware.elf"), firmware()).unwrap();
    let training = path("training");
    said(&[
        "train",
        &text,
        "--out",
        &training,
        "--hidden-size",
        "4",
        "--steps",
        "3",
        "--quiet",
    ]);
    let onnx = format!("{training}/model.onnx");
    let (again, soft) = (path("again"), path("soft.bin"));
    let case = case.join("model.onnx").to_str().unwrap().to_owned();
    let commands: Vec<(Vec<&str>, Vec<&str>)> = vec![
        (
            vec![
                "generate",
                &shakespeare,
                "--length",
                "9",
                "--temperature",
                "0,1",
            ],
            vec!["generation", "generation"],
        ),
        (vec!["generate", &onnx, "--length", "9"], vec!["generation"]),
        (
            vec!["classify", &news, "Team wins", "Stocks fall"],
            vec!["classification", "classification"],
        ),
        (vec!["translate", &g2p, "tea"], vec!["translation"]),
        (
            vec!["eval", &shakespeare, "--data", &text],
            vec!["evaluation"],
        ),
        (vec!["inspect", &shakespeare], vec!["model"]),
        (vec!["inspect", &news], vec!["float-model"]),
        (vec!["ngram", &onnx, "--data", &text], vec!["ngram"]),
        (vec!["report", &training], vec!["report"]),
        (
            vec![
                "train",
                &text,
                "--out",
                &again,
                "--hidden-size",
                "4",
                "--steps",
                "3",
                "--eval-every",
                "3",
            ],
            vec!["training-progress", "training-result"],
        ),
        (
            vec![
                "distill",
                &text,
                "--teacher",
                &onnx,
                "--synthetic-tokens",
                "9",
                "--out",
                &soft,
            ],
            vec!["distillation"],
        ),
    ];
    let (out, outputs, uf2, elf) = (
        path("out.pip"),
        path("out.npz"),
        path("a.uf2"),
        path("firmware.elf"),
    );
    let inputs = path("in.npz");
    let more: Vec<(Vec<&str>, Vec<&str>)> = vec![
        (
            vec!["export", &onnx, "--out", &out, "--data", &text],
            vec!["export"],
        ),
        (
            vec!["run", &case, "--inputs", &inputs, "--outputs", &outputs],
            vec!["run"],
        ),
        (
            vec![
                "flash",
                &shakespeare,
                "--board",
                "pico",
                "--out",
                &uf2,
                "--firmware",
                &elf,
            ],
            vec!["flash"],
        ),
    ];
    let documented = documented();
    let mut seen = BTreeSet::new();
    let mut check = |text: &str, expected: &[&str]| {
        let objects = objects(text);
        let types: Vec<&str> = objects
            .iter()
            .map(|o| o["type"].as_str().unwrap())
            .collect();
        assert_eq!(types, expected, "{text}");
        for object in &objects {
            let name = object["type"].as_str().unwrap();
            let row = &documented[name];
            for field in object.as_object().unwrap().keys().filter(|f| *f != "type") {
                assert!(
                    row.contains(&format!("`{field}`")),
                    "{name}: {field} in {row}"
                );
            }
            seen.insert(name.to_owned());
        }
    };
    for (arguments, expected) in commands.iter().chain(&more) {
        check(&said(&[&arguments[..], &["--json"]].concat()), expected);
    }
    // A text that fails is an object among the others, and the exit code tells.
    for (command, model, answer) in [
        ("translate", &g2p, "translation"),
        ("translate", &shipped("g2p", "model.onnx"), "translation"),
        ("classify", &news, "classification"),
    ] {
        let output = trainer(&[command, model, "tea", "", "tea", "--json"]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let text = String::from_utf8(output.stdout).unwrap();
        check(&text, &[answer, "error", answer]);
        let error = &objects(&text)[1];
        assert_eq!(
            (&error["line"], &error["message"]),
            (&2.into(), &"the text is empty".into())
        );
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            stderr,
            "error: text 2: the text is empty\nerror: 1 of 3 texts failed\n"
        );
    }
    assert_eq!(seen.len(), documented.len(), "{seen:?}");
}

/// Tasks and cells have the names that people know.
#[test]
fn names_are_those_of_the_field() {
    for (model, task) in [
        ("shakespeare", "language-model"),
        ("news", "classifier"),
        ("names", "conditional-generator"),
        ("g2p", "sequence-to-sequence"),
    ] {
        let text = said(&["inspect", &shipped(model, "model.pip"), "--json"]);
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["task"], task);
        let float = said(&["inspect", &shipped(model, "model.onnx"), "--json"]);
        let float: Value = serde_json::from_str(&float).unwrap();
        for layers in ["layers", "encoder"] {
            let cells = |report: &Value| -> Vec<Value> {
                let layers = report[layers].as_array().unwrap();
                layers
                    .iter()
                    .map(|layer| {
                        assert!(["gru", "lstm", "rnn"].contains(&layer["cell"].as_str().unwrap()));
                        serde_json::json!([
                            layer["cell"],
                            layer["reset_after"],
                            layer["hidden_size"]
                        ])
                    })
                    .collect()
            };
            assert_eq!(cells(&report), cells(&float), "{model} {layers}");
        }
        assert!(!text.contains("Gru") && !float.to_string().contains("Gru"));
    }
}

/// A firmware file for the Pico: one loadable segment of some bytes at the start of its flash.
fn firmware() -> Vec<u8> {
    let mut elf = vec![0; 52 + 32];
    elf[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    let mut put = |at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
    put(16, &2u16.to_le_bytes()); // an executable
    put(18, &40u16.to_le_bytes()); // for ARM
    put(20, &1u32.to_le_bytes());
    put(28, &52u32.to_le_bytes()); // program headers follow this header
    put(40, &52u16.to_le_bytes());
    put(42, &32u16.to_le_bytes());
    put(44, &1u16.to_le_bytes());
    put(52, &1u32.to_le_bytes()); // load
    put(52 + 8, &0x1000_0000u32.to_le_bytes());
    put(52 + 12, &0x1000_0000u32.to_le_bytes());
    put(52 + 16, &8u32.to_le_bytes());
    put(52 + 20, &8u32.to_le_bytes());
    elf
}
