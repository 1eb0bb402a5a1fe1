//! Networks that are chosen to fit, and training on from a model, by the command line.

mod common;

use common::{refused_in, said_in, trainer_in};
use trainer::data::tokenizer::Vocabulary;
use trainer::deploy::fit::{Budget, FitError, fit};
use trainer::inference::model::ImageBytes;
use trainer::training::settings::TrainSettings;

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
    let settings = TrainSettings::for_units(128, 100_000);
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
        let found = fit(&settings, &vocabulary, budget).unwrap();
        let image = |hidden: usize, part: f32| {
            let mut settings = settings.clone();
            found.put_into(&mut settings);
            settings.hidden = hidden;
            let shape = settings.shape(vocabulary.len());
            let weights: Vec<f32> = shape.initial(9).iter().map(|w| w * part).collect();
            let network = shape.network(&weights, &vocabulary, Default::default());
            ImageBytes::of(&network, &settings.widths()).unwrap()
        };
        let fits = |hidden: usize| {
            let image = image(hidden, 0.0);
            let speed = board.map(|b| pipsqueak_boards::Prediction::new(b, &image.image()));
            let image = image.image();
            let fast = speed.is_none_or(|p| p.characters_per_second >= 10.0);
            let memory = board.is_none_or(|b| image.workspace_len() <= b.workspace_words);
            image.len() <= flash && fast && memory
        };
        if found.hidden < 400 {
            // Of any weights.
            let bytes = image(found.hidden, 1.0).bytes().len();
            assert_eq!(bytes, found.bytes, "{found:?}");
        }
        assert!(fits(found.hidden), "{found:?}");
        assert!(!fits(found.hidden + 4), "{found:?}");
    }
}

#[test]
fn what_cannot_fit_is_refused_with_the_smallest() {
    let vocabulary = Vocabulary::of_characters("abcdefgh").unwrap();
    let settings = TrainSettings::for_units(128, 100_000);
    let budget = Budget {
        flash: 500,
        board: None,
        speed: 10.0,
    };
    let error = fit(&settings, &vocabulary, budget).unwrap_err();
    let FitError::Nothing { smallest, .. } = error else {
        panic!("{error}");
    };
    let message = error.to_string();
    assert!(smallest > 500 && message.contains("500 bytes"), "{message}");
    let budget = Budget {
        flash: smallest,
        ..budget
    };
    assert_eq!(fit(&settings, &vocabulary, budget).unwrap().bytes, smallest);
}

#[test]
fn a_budget_is_trained_exported_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("book.txt"), text(900)).unwrap();
    let options = [
        "train", "book.txt", "--out", "small", "--flash", "12K", "--steps", "60",
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
        &["train", "book.txt", "--out", "none", "--flash", "256"],
    );
    assert!(error.contains("no network fits into 256 bytes"), "{error}");
    // An argument that is none.
    let refused = trainer_in(
        folder,
        &["train", "book.txt", "--out", "none", "--flash", "lots"],
    );
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains("such as 65536, 64K or 1M"), "{error}");
    assert!(!folder.join("none").exists());
}

/// From the model's own weights, with rounding that costs less than rounding what was trained without it.
#[test]
fn a_model_is_trained_on_with_4_bits_and_a_teacher() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("book.txt"), text(2_000)).unwrap();
    let train = [
        "train", "book.txt", "--out", "large", "--hidden", "24", "--steps", "250", "--quiet",
    ];
    said_in(folder, &train);
    let finetune = [
        "finetune",
        "large/model.onnx",
        "--text",
        "book.txt",
        "--out",
        "round",
        "--bits",
        "4",
        "--head-bits",
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
        "--bits",
        "4",
        "--head-bits",
        "4",
        "--out",
        "rounded.pip",
    ];
    said_in(folder, &rounded);
    let loss = |model: &str| -> f64 {
        let said = said_in(
            folder,
            &[
                "eval", model, "--text", "book.txt", "--last", "0.1", "--json",
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
    let record = std::fs::read_to_string(folder.join("round/train.toml")).unwrap();
    assert!(
        record.contains("rounded_steps = 120") && record.contains("from = \""),
        "{record}"
    );
    let error = refused_in(
        folder,
        &[
            "finetune",
            "trained.pip",
            "--text",
            "book.txt",
            "--out",
            "no",
        ],
    );
    assert!(error.contains("is an image"), "{error}");
}
