//! `trainer ngram`: losses that can be computed by hand, comparison with a model, and errors.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn ngram(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trainer"))
        .arg("ngram")
        .args(args)
        .output()
        .unwrap()
}

fn json(args: &[&str]) -> serde_json::Value {
    let output = ngram(&[args, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("text.txt");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_text_that_is_counted_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    // Five times "abb" are counted, circularly, and "abbab" is predicted.
    let path = write(folder.path(), "abbabbabbabbabbabbab");
    let found = json(&[
        "--data",
        path.to_str().unwrap(),
        "--last",
        "0.25",
        "--order",
        "2",
    ]);
    assert_eq!(
        (&found["counted_characters"], &found["predicted_characters"]),
        (&15.into(), &4.into())
    );
    // After a comes b, 5 of 5; after b comes a or b, 5 of 10 each. No pair is seen once, so the discount is 1/2. Characters,
    // in the order below: a after b alone, b after a and b, n1 = n2 = 1, so the discount is 1/3.
    let below = |seen: f64| (seen - 1.0 / 3.0 + 2.0 / 3.0 * 0.5) / 3.0;
    let (a, b) = (below(1.0), below(2.0));
    let after_a = (5.0 - 0.5 + 0.5 * b) / 5.0;
    let after_b = |below: f64| (5.0 - 0.5 + 2.0 * 0.5 * below) / 10.0;
    let bits = -(f64::log2(after_a) * 2.0 + f64::log2(after_b(b)) + f64::log2(after_b(a))) / 4.0;
    let order_1 = found["ngrams"][0]["bits_per_char"].as_f64().unwrap();
    assert!((order_1 - bits).abs() < 1e-12, "{order_1}, expected {bits}");
    // Characters, then pairs: 2 of 2 bits, counts 1 and 2, a discount; 3 of 2 bits, count 5, a discount, a directory.
    // Two texts of one byte with their lengths.
    let bytes = (1 + 4 * 3) + (1 + 4 * 3) + 4;
    assert_eq!(found["ngrams"][0]["bytes"], bytes);
    assert_eq!(found["ngrams"][0]["ngrams"], 5);
}

#[test]
fn words_are_measured_by_the_character() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &"one two, three. ".repeat(40));
    let path = path.to_str().unwrap();
    let words = json(&["--data", path, "--tokenizer", "word"]);
    let characters = json(&["--data", path]);
    assert_eq!(
        (&words["tokens"], &characters["tokens"]),
        (&7.into(), &10.into())
    );
    assert_eq!(characters["predicted_characters"], 63);
    assert_eq!(words["predicted_characters"], 61, "all but \"one\"");
    for found in [words, characters] {
        let last = &found["ngrams"][7];
        assert!(last["bits_per_char"].as_f64().unwrap() < 0.4, "{last}");
    }
}

#[test]
fn a_model_is_compared_by_the_loss_that_eval_reports() {
    let folder = tempfile::tempdir().unwrap();
    let text = "the cat sees me. a dog hears the moon. ".repeat(20);
    let path = write(folder.path(), &text);
    let (path, out) = (path.to_str().unwrap(), folder.path().join("out"));
    let trainer = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_trainer"))
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    trainer(&[
        "train",
        path,
        "--out",
        out.to_str().unwrap(),
        "--hidden-size",
        "8",
        "--steps",
        "3",
    ]);
    let model = out.join("model.onnx");
    let model = model.to_str().unwrap();
    let found = json(&[model, "--data", path]);
    let eval = trainer(&["eval", model, "--data", path, "--split", "dev", "--json"]);
    let eval: serde_json::Value = serde_json::from_slice(&eval).unwrap();
    assert_eq!(found["model"]["bits_per_char"], eval["bits_per_char"]);
    assert_eq!(found["predicted_characters"], eval["characters"]);
    let shown = ngram(&[model, "--data", path]).stdout;
    let shown = String::from_utf8(shown).unwrap();
    assert!(
        shown.contains("order 8") && shown.contains("model.onnx"),
        "{shown}"
    );
}

#[test]
fn refusals_are_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |text: &str, args: &[&str]| {
        let path = write(folder.path(), text);
        let output = ngram(&[&["--data", path.to_str().unwrap()], args].concat());
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{said}");
        said
    };
    assert!(refusal("abcdef", &["--last", "1"]).contains("found 0 and 6"));
    assert!(refusal("abcdef", &[]).contains("found 5 and 1"));
    assert!(refusal("", &[]).contains("is empty"));
    assert!(refusal("abcdef", &["--order", "0"]).contains("order"));
    assert!(refusal("abcdef", &["--last", "2"]).contains("at most 1"));
}
