//! Networks that are chosen to fit, and training on from a model, by the command line.

mod common;

use common::{refused_in, said_in, trainer_in};
use trainer::data::tokenizer::{Tokenizer, Vocabulary};
use trainer::deploy::fit::{Budget, FitError, Target, fit};
use trainer::inference::model::ModelBytes;
use trainer::network::Provenance;
use trainer::training::presets;
use trainer::training::to_network::{Vocabularies, to_network};

/// A text with an order to learn, of so many lines.
fn text(lines: usize) -> String {
    let words = ["the river", "a stone", "my lord", "the night", "no man"];
    let verbs = ["knows", "carries", "hears", "forgets"];
    let line = |i: usize| {
        let (a, b, c) = (words[i % 5], verbs[i / 3 % 4], words[(i * i + 1) % 5]);
        format!("{a} {b} {c}.\n")
    };
    (0..lines).map(line).collect()
}

/// What fits is as large as can be: it fits, and one step of units more does not.
#[test]
fn the_largest_network_that_fits_is_chosen() {
    let vocabulary = Vocabulary::of_characters("abcdefghijklmnopqrstuvwxyz .,\n").unwrap();
    let config = presets::text(Tokenizer::CHAR, Some(128), 100_000);
    let target = Target {
        config: &config,
        vocabulary: &vocabulary,
        corpus: "a text.txt",
    };
    for (flash, board) in [
        (12_000, None),
        (65_536, None),
        (600_000, None),
        (200_000, Some("microbit")),
        (1_000_000, Some("stm32f405")),
    ] {
        let board = board.map(|name| pipsqueak_boards::BoardSpec::find(name).unwrap());
        let budget = Budget {
            flash,
            board,
            speed: 10.0,
        };
        let found = fit(target, budget).unwrap();
        let image = |hidden: usize, part: f32| {
            let mut config = config.clone();
            found.apply_to(&mut config);
            config.model.hidden_size = hidden;
            let model = config.language_model(vocabulary.len());
            let weights: Vec<f32> = model
                .initial_parameters(9)
                .iter()
                .map(|w| w * part)
                .collect();
            let vocabularies = Vocabularies {
                input: vocabulary.clone(),
                ..Vocabularies::default()
            };
            // The longest that a training can write.
            let provenance = Provenance {
                corpus: "a text.txt".into(),
                split: "80/10/10 = 100000000/10000000/10000000, trained on train+dev".repeat(2),
                steps: 4_000_000_000,
                seed: 1,
                train_loss: Some(70.0),
                validation_loss: Some(70.0),
            };
            let network = to_network(&model, &weights, &vocabularies, provenance);
            ModelBytes::of(&network, &config.weight_formats()).unwrap()
        };
        let fits = |hidden: usize| {
            let image = image(hidden, 0.0);
            let speed = board.map(|b| pipsqueak_boards::Prediction::new(b, &image.model()));
            let image = image.model();
            let fast = speed.is_none_or(|p| p.characters_per_second >= 10.0);
            let memory = board.is_none_or(|b| image.workspace_len() <= b.workspace_words);
            image.len() <= flash && fast && memory
        };
        if found.hidden_size < 400 {
            // Of any weights.
            let bytes = image(found.hidden_size, 1.0).bytes().len();
            assert_eq!(bytes, found.bytes, "{found:?}");
        }
        assert!(fits(found.hidden_size), "{found:?}");
        assert!(!fits(found.hidden_size + 4), "{found:?}");
    }
}

#[test]
fn what_cannot_fit_is_refused_with_the_smallest() {
    let vocabulary = Vocabulary::of_characters("abcdefgh").unwrap();
    let config = presets::text(Tokenizer::CHAR, Some(128), 100_000);
    let target = Target {
        config: &config,
        vocabulary: &vocabulary,
        corpus: "a text.txt",
    };
    let budget = Budget {
        flash: 500,
        board: None,
        speed: 10.0,
    };
    let error = fit(target, budget).unwrap_err();
    let FitError::Nothing { smallest, .. } = error else {
        panic!("{error}");
    };
    let message = error.to_string();
    assert!(smallest > 500 && message.contains("500 bytes"), "{message}");
    let budget = Budget {
        flash: smallest,
        ..budget
    };
    assert_eq!(fit(target, budget).unwrap().bytes, smallest);
}

#[test]
fn a_budget_is_trained_exported_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("book.txt"), text(900)).unwrap();
    let options = [
        "train",
        "book.txt",
        "--out",
        "small",
        "--fit",
        "--max-size",
        "12K",
        "--steps",
        "60",
    ];
    let said = said_in(folder, &options);
    assert!(
        said.contains("chosen:") && said.contains("of 12288 bytes"),
        "{said}"
    );
    let image = std::fs::read(folder.join("small/model.pip")).unwrap();
    assert!(
        image.len() <= 12_288 && image.len() > 10_000,
        "{}",
        image.len()
    );
    // The file that training writes is exported as it is: nothing is searched anew.
    said_in(
        folder,
        &["export", "small/model.onnx", "--out", "again.pip"],
    );
    assert!(std::fs::read(folder.join("again.pip")).unwrap() == image);
    let error = refused_in(
        folder,
        &[
            "train",
            "book.txt",
            "--out",
            "none",
            "--fit",
            "--max-size",
            "256",
        ],
    );
    assert!(error.contains("no network fits into 256 bytes"), "{error}");
    // An argument that is none.
    let refused = trainer_in(
        folder,
        &[
            "train",
            "book.txt",
            "--out",
            "none",
            "--fit",
            "--max-size",
            "lots",
        ],
    );
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains("such as 65536, 64K or 1M"), "{error}");
    assert!(!folder.join("none").exists());
}

/// A text of another character set is refused, with the characters and the remedy; a text of fewer characters is not.
#[test]
fn a_model_is_trained_on_with_its_own_vocabulary() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("book.txt"), text(300)).unwrap();
    std::fs::write(folder.join("other.txt"), "Zürich & Genf\n".repeat(50)).unwrap();
    std::fs::write(
        folder.join("fewer.txt"),
        "the river knows a stone\n".repeat(50),
    )
    .unwrap();
    let train = [
        "train",
        "book.txt",
        "--out",
        "model",
        "--hidden-size",
        "8",
        "--steps",
        "20",
        "--quiet",
    ];
    said_in(folder, &train);
    for command in [
        &["finetune", "model/model.onnx", "--data"][..],
        &["train", "--init-from", "model/model.onnx"],
    ] {
        let with = |text, out| [command, &[text, "--out", out, "--steps", "5", "--quiet"]].concat();
        let error = refused_in(folder, &with("other.txt", "none"));
        assert!(error.contains("'Z'") && error.contains("'&'"), "{error}");
        assert!(!folder.join("none/model.onnx").exists());
        said_in(folder, &with("fewer.txt", &format!("fewer-{}", command[0])));
    }
}

/// From the model's own weights, with rounding that costs less than rounding what was trained without it.
#[test]
fn a_model_is_trained_on_with_4_bits_and_a_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("book.txt"), text(2_000)).unwrap();
    let train = [
        "train",
        "book.txt",
        "--out",
        "large",
        "--hidden-size",
        "24",
        "--steps",
        "250",
        "--quiet",
    ];
    said_in(folder, &train);
    let finetune = [
        "finetune",
        "large/model.onnx",
        "--data",
        "book.txt",
        "--out",
        "round",
        "--weight-bits",
        "4",
        "--output-weight-bits",
        "4",
        "--steps",
        "120",
        "--learning-rate",
        "0.002",
        "--teacher",
        "large/model.onnx",
        "--quiet",
    ];
    said_in(folder, &finetune);
    said_in(
        folder,
        &["export", "round/model.onnx", "--out", "trained.pip"],
    );
    let rounded = [
        "export",
        "large/model.onnx",
        "--weight-bits",
        "4",
        "--output-weight-bits",
        "4",
        "--out",
        "rounded.pip",
    ];
    said_in(folder, &rounded);
    let loss = |model: &str| -> f64 {
        let said = said_in(
            folder,
            &[
                "eval", model, "--data", "book.txt", "--split", "dev", "--json",
            ],
        );
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        said["nats_per_token"].as_f64().unwrap()
    };
    let (float, image) = (loss("round/model.onnx"), loss("trained.pip"));
    assert!((float - image).abs() < 0.01, "{float}, {image}");
    assert!(
        image < loss("rounded.pip"),
        "{image}, {}",
        loss("rounded.pip")
    );
    // The file says what it was made of, and another model is not taken for it.
    let record = std::fs::read_to_string(folder.join("round/config.toml")).unwrap();
    assert!(
        record.contains("qat_steps = 120") && record.contains("init_from = \""),
        "{record}"
    );
    let error = refused_in(
        folder,
        &[
            "finetune",
            "trained.pip",
            "--data",
            "book.txt",
            "--out",
            "no",
        ],
    );
    assert!(error.contains("is a quantized model file"), "{error}");
}
