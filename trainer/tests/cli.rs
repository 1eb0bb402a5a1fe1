//! The command line as a user meets it: exit codes, streams, refusals, and files that stay whole.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{refused, trainer};

/// An image of an untrained network, and its path as text.
fn image(folder: &Path) -> (PathBuf, String) {
    use pipsqueak::encode::{ModelParams, as_bytes, encode};
    use pipsqueak::{Cell, RecurrentLayerConfig};
    let layers = [RecurrentLayerConfig::new(Cell::GruResetAfter, 16)];
    let words = encode(&ModelParams::random_language_model(1, 26, 0, &layers)).unwrap();
    let path = folder.join("random.pip");
    fs::write(&path, as_bytes(&words)).unwrap();
    (path.clone(), path.to_str().unwrap().into())
}

#[test]
fn help_names_every_command() {
    let help = String::from_utf8(trainer(&["--help"]).stdout).unwrap();
    for command in [
        "train",
        "distill",
        "finetune",
        "export",
        "generate",
        "classify",
        "translate",
        "eval",
        "ngram",
        "run",
        "inspect",
        "report",
        "flash",
        "completions",
    ] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command} is missing:\n{help}"
        );
        let help = trainer(&[command, "--help"]);
        assert!(
            help.status.success() && help.stdout.len() > 200,
            "{command} --help teaches nothing"
        );
    }
    // A wrong command line is clap's to explain, with its own code.
    assert_eq!(trainer(&["generate"]).status.code(), Some(2));
    for lacking in [
        &["eval", "x.pip"][..],
        &["export", "x.onnx", "--split", "dev"],
        &["export", "x.onnx", "--skip-unknown"],
    ] {
        let output = trainer(lacking);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("--data <FILE>"));
    }
    assert_eq!(
        trainer(&["generate", "x.pip", "--temperature", "hot"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn generate_streams_text_and_tells_speed_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (_, model) = image(folder.path());
    let generate = |more: &[&str]| {
        trainer(
            &[
                &["generate", &model, "--prompt", "abc", "--length", "50"],
                more,
            ]
            .concat(),
        )
    };
    let output = generate(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("abc") && text.trim_end().len() == 53,
        "{text:?}"
    );
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("tokens/s")
    );
    assert_eq!(
        String::from_utf8(generate(&["--seed", "42"]).stdout).unwrap(),
        text,
        "42 is the default seed"
    );
    assert_ne!(
        String::from_utf8(generate(&["--seed", "43", "--temperature", "5"]).stdout).unwrap(),
        text
    );
    let greedy = |k: &str, t: &str| generate(&["--top-k", k, "--temperature", t]).stdout;
    assert_eq!(
        greedy("1", "1"),
        greedy("0", "0"),
        "the likeliest of one is the likeliest of all"
    );
}

#[test]
fn inspect_and_eval_speak_json() {
    let folder = tempfile::tempdir().unwrap();
    let (path, model) = image(folder.path());
    let text = folder.path().join("text.txt");
    fs::write(&text, "abcdef zyx").unwrap();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = trainer(arguments);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let report = json(&["inspect", &model, "--json"]);
    assert_eq!(report["bytes"], fs::metadata(path).unwrap().len());
    assert_eq!(report["boards"][0]["fits"], true);
    let text = text.to_str().unwrap();
    let losses = json(&["eval", &model, "--data", text, "--skip-unknown", "--json"]);
    assert_eq!(
        (losses["characters"].as_u64(), losses["skipped"].as_u64()),
        (Some(8), Some(1))
    );
    let nats = losses["nats_per_char"].as_f64().unwrap();
    assert!((losses["perplexity"].as_f64().unwrap() - nats.exp()).abs() < 1e-9);
    assert!((losses["bits_per_char"].as_f64().unwrap() - nats / 2f64.ln()).abs() < 1e-9);
    let short = folder.path().join("short.txt");
    fs::write(&short, "a \u{2603}").unwrap();
    let short = short.to_str().unwrap();
    let error = refused(&["eval", &model, "--data", short, "--skip-unknown"]);
    assert!(error.contains("found 1 (2 skipped)"), "{error}");
    let error = refused(&["eval", &model, "--data", text]);
    assert!(
        error.contains("' ' U+0020") && error.contains("--skip-unknown"),
        "{error}"
    );
}

#[test]
fn inspect_shows_steps_and_scales_of_a_network() {
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../models/shakespeare-64k/model.onnx"
    );
    let report: serde_json::Value =
        serde_json::from_slice(&trainer(&["inspect", model, "--json"]).stdout).unwrap();
    assert_eq!(
        (&report["steps_per_token"], &report["embedding_dim"]),
        (&2.into(), &16.into())
    );
    let text = String::from_utf8(trainer(&["inspect", model]).stdout).unwrap();
    assert!(text.contains("GRU 164, 2 steps per token"), "{text}");
    let tensors = report["tensors_with_scales"].as_array().unwrap().iter();
    let tensors: Vec<&str> = tensors.map(|tensor| tensor.as_str().unwrap()).collect();
    assert!(tensors.contains(&"head") && tensors.contains(&"layer 0 gate z"));
    let line = format!("\nscales       {}\n", tensors.join(", "));
    assert!(text.contains(&line), "{text}");
}

#[test]
fn inspect_predicts_what_each_board_will_do() {
    use pipsqueak::encode::{ModelParams, as_bytes, encode};
    use pipsqueak::{Cell, RecurrentLayerConfig};
    let folder = tempfile::tempdir().unwrap();
    let inspect = |tokens, hidden, json: bool| {
        let cell = Cell::GruResetAfter;
        let layers = [RecurrentLayerConfig::new(cell, hidden)];
        let params = ModelParams::random_language_model(1, tokens, 0, &layers);
        let path = folder.path().join("random.pip");
        fs::write(&path, as_bytes(&encode(&params).unwrap())).unwrap();
        let path = path.to_str().unwrap();
        let output = match json {
            true => trainer(&["inspect", path, "--json"]),
            false => trainer(&["inspect", path]),
        };
        String::from_utf8(output.stdout).unwrap()
    };
    let boards = |tokens, hidden| -> Vec<serde_json::Value> {
        let mut report: serde_json::Value =
            serde_json::from_str(&inspect(tokens, hidden, true)).unwrap();
        serde_json::from_value(report["boards"].take()).unwrap()
    };
    for (board, large) in boards(64, 128).iter().zip(boards(64, 200)) {
        let number = |name: &str| board[name].as_f64().unwrap();
        let (cycles, clock) = (number("cycles_per_character"), number("clock_hz"));
        let rate = number("computed_per_second");
        assert!((rate - clock / cycles).abs() < 0.001 * rate);
        assert_eq!(number("characters_per_second"), rate, "the port is faster");
        assert!(number("flash") > number("firmware") && number("firmware") > 1000.0);
        assert!(number("stack") > 100.0 && number("ram") > 600.0);
        assert!(large["cycles_per_character"].as_f64().unwrap() > 1.5 * cycles);
    }
    // The fastest board computes a tiny network faster than the port sends it.
    let tiny = &boards(4, 4)[1];
    assert!(tiny["computed_per_second"].as_f64() > Some(11_520.0));
    assert_eq!(tiny["characters_per_second"], 11_520.0);

    let text = inspect(64, 128, false);
    for expected in ["chars/s", "ARMv6-M", "Cortex-M SMLAD", "no wait states"] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let text = inspect(64, 512, false);
    assert!(text.contains("no: its slot has 204800 bytes"), "{text}");
    let text = inspect(5000, 1, false);
    assert!(text.contains("no: its workspace has 8192 bytes"), "{text}");
}

#[test]
fn files_that_are_not_models_are_refused_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let (path, model) = image(folder.path());
    let error = refused(&["inspect", "nowhere.pip"]);
    assert!(
        error.contains("nowhere.pip") && error.contains("No such file"),
        "{error}"
    );
    let bytes = fs::read(&path).unwrap();
    for (name, bytes, expected) in [
        ("cut.pip", &bytes[..100], "the model is truncated: expected"),
        (
            "long.pip",
            &[&bytes[..], b"1234"].concat()[..],
            "bytes, but it has",
        ),
        ("empty.pip", b"", "expected 20 bytes, found 0"),
        ("text.onnx", b"To be or not to be", "not an ONNX file"),
        (
            "text.pip",
            b"To be or not to be: that",
            "expected the bytes 50 49 50 53",
        ),
    ] {
        let bad = folder.path().join(name);
        fs::write(&bad, bytes).unwrap();
        for command in ["inspect", "generate", "export"] {
            let error = refused(&[command, bad.to_str().unwrap()]);
            assert!(
                error.contains(name) && error.contains(expected),
                "{command}: {error}"
            );
        }
    }
    let error = refused(&["export", &model]);
    assert!(error.contains("is a model file already"), "{error}");
    assert_eq!(
        fs::read(&path).unwrap(),
        bytes,
        "a refused export leaves the image alone"
    );
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_ends_the_text_quietly() {
    use std::process::Stdio;
    let folder = tempfile::tempdir().unwrap();
    let (_, model) = image(folder.path());
    let mut child = Command::new(env!("CARGO_BIN_EXE_trainer"))
        .args(["generate", &model, "--length", "1000000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{:?}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A small case: its model, and a folder with its inputs as `run` takes them.
fn arrays_of(case: &str) -> (PathBuf, tempfile::TempDir) {
    let case = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(case);
    let folder = tempfile::tempdir().unwrap();
    let io = trainer::cli::run::read(&case.join("io.npz")).unwrap();
    let inputs: Vec<_> = io
        .into_iter()
        .filter_map(|(name, array)| Some((name.strip_prefix("in::")?.to_owned(), array)))
        .collect();
    std::fs::write(
        folder.path().join("in.npz"),
        trainer::cli::run::encode(&inputs).unwrap(),
    )
    .unwrap();
    (case.join("model.onnx"), folder)
}

/// The exit code of `run`, and what it prints on standard error.
fn run_arrays(model: &Path, inputs: &Path, outputs: &Path) -> (Option<i32>, String) {
    let [model, inputs, outputs] = [model, inputs, outputs].map(|path| path.to_str().unwrap());
    let output = trainer(&["run", model, "--inputs", inputs, "--outputs", outputs]);
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[test]
fn run_takes_and_gives_arrays_by_name() {
    use trainer::network::{Array, Values};
    let (model, folder) = arrays_of("lstm_embed_2_layers_states");
    let [inputs, outputs] = ["in.npz", "out.npz"].map(|name| folder.path().join(name));
    let run = |model: &Path| run_arrays(model, &inputs, &outputs);
    assert_eq!(run(&model), (Some(0), String::new()));
    let found = trainer::cli::run::read(&outputs).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["cn", "hn", "logits"]);
    assert_eq!(found["hn"].shape, [2, 1, 5]);
    // Missing states are zeros.
    let mut given = trainer::cli::run::read(&inputs).unwrap();
    for name in ["h0", "c0"] {
        let shape = given[name].shape.clone();
        let values = Values::Float(vec![0.0; shape.iter().product()]);
        given.insert(name.into(), Array { shape, values });
    }
    let write = |arrays: &std::collections::BTreeMap<String, Array>| {
        let arrays: Vec<_> = arrays.clone().into_iter().collect();
        std::fs::write(&inputs, trainer::cli::run::encode(&arrays).unwrap()).unwrap();
    };
    write(&given);
    assert_eq!(run(&model).0, Some(0));
    let zeros = trainer::cli::run::read(&outputs).unwrap();
    given.retain(|name, _| name == "x");
    write(&given);
    assert_eq!(run(&model).0, Some(0));
    assert_eq!(trainer::cli::run::read(&outputs).unwrap(), zeros);
    assert_ne!(zeros, found);
    // Names, types and sizes are checked.
    let other = Array {
        shape: vec![1],
        values: Values::Float(vec![0.0]),
    };
    given.insert("y".into(), other.clone());
    write(&given);
    let (code, said) = run(&model);
    assert!(
        code == Some(1)
            && said.contains("\"y\" is no input of the model: its inputs are x, h0, c0"),
        "{said}"
    );
    given.remove("y");
    given.insert("x".into(), other);
    write(&given);
    let (code, said) = run(&model);
    assert!(
        code == Some(1) && said.contains("found float32 [1], expected int64 [1, T]"),
        "{said}"
    );
    given.clear();
    write(&given);
    let (code, said) = run(&model);
    assert!(
        code == Some(1) && said.contains("the input \"x\" is missing"),
        "{said}"
    );
}

#[test]
fn run_tells_a_refused_model_from_other_errors() {
    let (model, folder) = arrays_of("refused_layer_norm");
    let [inputs, outputs] = ["in.npz", "out.npz"].map(|name| folder.path().join(name));
    let run = |model: &Path| run_arrays(model, &inputs, &outputs);
    let (code, said) = run(&model);
    assert!(
        code == Some(2) && said.contains("LayerNormalization") && said.contains("node \""),
        "{said}"
    );
    assert!(!outputs.exists());
    assert_eq!(run(&folder.path().join("nothing.onnx")).0, Some(1));
    let image = folder.path().join("model.pip");
    std::fs::write(&image, b"no image").unwrap();
    assert_eq!(run(&image).0, Some(2));
}
