//! Training on whole sequences: every shape learns what can be learned, stops leave no trace, lines are refused by number.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use trainer::inference::tasks::{best, classify, translate};
use trainer::onnx;
use trainer::training::sequence::Record;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with_lines(lines: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::write(folder.path("lines.tsv"), lines).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn record(&self, out: &str) -> Record {
        let text = String::from_utf8(self.read(&format!("{out}/train.toml"))).unwrap();
        toml::from_str(&text).unwrap()
    }

    fn command(&self, out: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.arg("train").arg(self.path("lines.tsv"));
        command.arg("--out").arg(self.path(out)).args(more);
        command
    }

    fn train(&self, out: &str, more: &[&str]) -> Output {
        self.command(out, more).output().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

/// Numbers that look random, the same everywhere.
fn numbers() -> impl Iterator<Item = usize> {
    let mut state = 12_345u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    })
}

/// A word of 2 to 5 letters of `a` to `d`.
fn word(numbers: &mut impl Iterator<Item = usize>) -> String {
    let length = 2 + numbers.next().unwrap() % 4;
    let letters = numbers.take(length).map(|n| ["a", "b", "c", "d"][n % 4]);
    letters.collect()
}

fn lines(count: usize, mut line: impl FnMut(String) -> String) -> String {
    let mut numbers = numbers();
    (0..count)
        .map(|_| line(word(&mut numbers)) + "\n")
        .collect()
}

const SMALL: [&str; 10] = [
    "--hidden",
    "24",
    "--embedding",
    "6",
    "--dropout",
    "0",
    "--learning-rate",
    "0.01",
    "--steps",
    "400",
];

/// The class is the first letter: what an average of the letters does not tell.
#[test]
fn a_classifier_learns_what_is_long_past() {
    let folder = Folder::with_lines(&lines(600, |word| format!("is {}\t{word}", &word[..1])));
    for cell in ["gru", "lstm"] {
        let more = ["--task", "classify", "--source", "char", "--cell", cell];
        let text = done(&folder.train(cell, &[&SMALL[..], &more].concat()));
        assert!(text.contains("accuracy 100.00 %"), "{text}");
        let network = onnx::read(&folder.read(&format!("{cell}/model.onnx"))).unwrap();
        let vocabulary = network.vocabulary();
        assert_eq!(vocabulary.texts(), ["a", "b", "c", "d"]);
        let labels = network.labels.as_ref().unwrap();
        assert_eq!(labels.texts(), ["is a", "is b", "is c", "is d"]);
        let scores = classify(&network, &[2, 0, 0, 1, 3, 3]);
        assert_eq!(labels.text(best(&scores)), "is c");
    }
}

/// The target is the source backwards, in symbols of its own.
#[test]
fn a_translator_learns_to_turn_words_round() {
    let backwards = |word: &str| -> String {
        let symbols = word
            .chars()
            .rev()
            .map(|letter| format!("{}1", letter.to_uppercase()));
        symbols.collect::<Vec<_>>().join(" ")
    };
    let folder = Folder::with_lines(&lines(3000, |word| format!("{word}\t{}", backwards(&word))));
    let more = ["--task", "translate", "--hidden", "48", "--steps", "900"];
    let more = [&SMALL[2..8], &more].concat();
    let text = done(&folder.train("out", &more));
    assert!(
        text.contains("4 different characters to 4 different symbols"),
        "{text}"
    );
    let measures = folder.record("out").result.validation.unwrap();
    assert!(measures.token_error.unwrap() < 0.05, "{measures:?}");
    let network = onnx::read(&folder.read("out/model.onnx")).unwrap();
    let source = network.source_vocabulary.as_ref().unwrap();
    assert_eq!(source.texts(), ["a", "b", "c", "d"]);
    let said = translate(&network, &[0, 1, 3], 10);
    let said: Vec<&str> = said
        .iter()
        .map(|token| network.vocabulary().text(*token))
        .collect();
    assert_eq!(said, ["D1", "B1", "A1"]);
    assert_eq!(
        translate(&network, &[0, 1, 3], 2).len(),
        2,
        "the limit holds"
    );
}

/// Features tell the first letter and the length: a network that hears them is surer than a chain that does not.
#[test]
fn a_describer_hears_its_features() {
    let folder = Folder::with_lines(&lines(800, |word| word));
    let more = ["--task", "describe", "--features", "length,first-letter"];
    done(&folder.train("out", &[&SMALL[..], &more].concat()));
    let network = onnx::read(&folder.read("out/model.onnx")).unwrap();
    assert_eq!(network.feature_names, ["length", "a", "b", "c", "d"]);
    let measures = folder.record("out").result.validation.unwrap();
    let chain = measures.markov.unwrap();
    // Of letters drawn alike, 2 to 5 of them, the first letter and the end are told, and they are about 2 of 4.5 predictions.
    assert!(measures.bits < 0.75 * chain.bits, "{measures:?}");

    // The same features, said in the lines.
    let named = Folder::with_lines(&lines(800, |word| {
        format!("{},length=0.{}\t{word}", &word[..1], word.len())
    }));
    done(&named.train("out", &[&SMALL[..], &more[..2]].concat()));
    let network = onnx::read(&named.read("out/model.onnx")).unwrap();
    assert_eq!(network.feature_names, ["length", "a", "b", "c", "d"]);
    let same = named.record("out").result.validation.unwrap();
    assert!(
        (same.bits - measures.bits).abs() < 0.05,
        "{same:?}, {measures:?}"
    );
}

/// A source with several targets is held back once, with all of them; no source is on both sides.
#[test]
fn any_target_of_a_source_counts_and_none_is_trained_on_that_is_held_back() {
    use trainer::data::corpus::Corpus;
    use trainer::training::sequence::examples;
    use trainer::training::sequence::settings::{Cut, SequenceSettings, Task};

    let text = lines(400, |word| format!("{word}\t{word}x\n{word}\t{word}y"));
    let folder = Folder::with_lines(&text);
    let corpus = Corpus::read(&folder.path("lines.tsv")).unwrap();
    let settings = SequenceSettings::for_task(Task::Translate, Cut::Char, Cut::Char, 400);
    let data = examples(&corpus, &settings).unwrap();
    assert!(data.validation.len() > 5);
    for held in &data.validation {
        assert!(held.others.iter().any(|other| *other != held.target));
        assert!(
            data.train
                .iter()
                .all(|example| example.source != held.source)
        );
        let same = data
            .validation
            .iter()
            .filter(|other| other.source == held.source);
        assert_eq!(same.count(), 1);
    }
    let references: usize = data
        .validation
        .iter()
        .map(|held| 1 + held.others.len())
        .sum();
    assert_eq!(data.train.len() + references, 800);
}

#[test]
fn settings_repeat_a_training_and_json_tells_all() {
    let folder = Folder::with_lines(&lines(200, |word| format!("{word}\t{word}{word}")));
    let small = [
        "--task",
        "translate",
        "--hidden",
        "8",
        "--steps",
        "30",
        "--batch",
        "4",
    ];
    done(&folder.train("a", &small));
    let toml = folder.path("a/train.toml");
    let toml = toml.to_str().unwrap();
    let again = done(&folder.train("b", &["--settings", toml, "--json"]));
    for name in ["model.onnx", "loss.csv"] {
        assert_eq!(
            folder.read(&format!("a/{name}")),
            folder.read(&format!("b/{name}")),
            "{name}"
        );
    }
    let last: serde_json::Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert_eq!(last["steps"], 30);
    assert!(
        last["validation"]["token_error"].as_f64().is_some(),
        "{last}"
    );
    done(&folder.train("c", &["--settings", toml, "--seed", "3", "--quiet"]));
    assert_ne!(folder.read("a/model.onnx"), folder.read("c/model.onnx"));
    let other = folder.train("a", &["--resume", "--hidden", "9", "--source", "word"]);
    assert!(said(&other).contains("--task"), "{}", said(&other));
    let other = folder.train("a", &["--resume", "--hidden", "9"]);
    assert!(
        said(&other).contains("hidden = 8, not 9"),
        "{}",
        said(&other)
    );
}

/// Killed without warning at some moment, again and again, a training ends in the very bytes of one that was not.
#[cfg(unix)]
fn killed_and_resumed(more: &[&str]) {
    let folder = Folder::with_lines(&lines(300, |word| format!("{word}\t{word}{word}")));
    let settings = [
        "--task",
        "translate",
        "--hidden",
        "16",
        "--steps",
        "300",
        "--quiet",
    ];
    let settings = [&settings[..], more].concat();
    done(&folder.train("whole", &settings));
    let checkpoint = folder.path("killed/checkpoint.bin");
    let begin_or_resume = || {
        if checkpoint.exists() {
            &["--resume"][..]
        } else {
            &settings
        }
    };
    let mut resumed = 0;
    for wait in [3, 25, 60, 60] {
        resumed += usize::from(checkpoint.exists());
        let mut child = folder
            .command("killed", begin_or_resume())
            .args(["--checkpoint-every", "0"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while !checkpoint.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(wait));
        // SIGKILL
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(resumed, 3);
    done(&folder.train("killed", begin_or_resume()));
    for name in ["model.onnx", "loss.csv"] {
        let [whole, killed] = ["whole", "killed"].map(|out| folder.read(&format!("{out}/{name}")));
        assert!(whole == killed, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn killed_trainings_resume_to_the_same_bytes() {
    killed_and_resumed(&[]);
}

#[cfg(unix)]
#[test]
fn killed_trainings_of_4_bits_resume_to_the_same_bytes() {
    killed_and_resumed(&["--bits", "4", "--head-bits", "4", "--rounded-steps", "290"]);
}

/// What a command says in JSON, after `train`.
fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&common::said(&[arguments, &["--json"]].concat())).unwrap()
}

/// Trained with 4 bits, the file has its grids, the image stands on them, and both are as good; as rounding what was trained
/// without is not.
#[test]
fn every_task_is_trained_with_weights_of_4_bits() {
    let swap = |word: &str| word.chars().rev().collect::<String>();
    let tasks = [
        ("classify", "--source", "char", &[][..]),
        ("translate", "--source", "char", &["encoder "]),
        ("describe", "--features", "length,first-letter", &[]),
    ];
    for (task, option, value, encoder) in tasks {
        let folder = Folder::with_lines(&lines(600, |word| match task {
            "classify" => format!("is {}\t{word}", &word[..1]),
            "translate" => format!("{word}\t{}", swap(&word)),
            _ => word,
        }));
        let settings = [
            &["--task", task, option, value, "--cell", "lstm,gru"],
            &SMALL[..8],
        ];
        let settings = settings.concat();
        let path = |name: &str| folder.path(name).to_str().unwrap().to_owned();
        let loss = |model: &str, out: &str| {
            let (lines, record) = (path("lines.tsv"), path(&format!("{out}/train.toml")));
            let more = ["--lines", &lines, "--settings", &record];
            let said = json(&[&["eval", &path(model)][..], &more].concat());
            said["loss"].as_f64().unwrap()
        };
        // Both are the same until the second one begins to round.
        done(&folder.train("8", &[&settings[..], &["--steps", "400"]].concat()));
        let four = ["--bits", "4", "--head-bits", "4"];
        let rounds = ["--steps", "500", "--rounded-steps", "100"];
        done(&folder.train("4", &[&settings[..], &four, &rounds].concat()));
        let export = |model: &str, image: &str, more: &[&str]| {
            json(&[&["export", &path(model), "--out", &path(image)][..], more].concat())
        };
        let eight = export("8/model.onnx", "8.pip", &[]);
        let report = export("4/model.onnx", "4.pip", &[]);
        export("8/model.onnx", "rounded.pip", &four);

        let inspected = json(&["inspect", &path("4/model.onnx")]);
        let on_grids = inspected["on_grids"].as_array().unwrap();
        let mut expected = vec!["head".to_owned()];
        for network in [""].iter().chain(encoder) {
            for gate in ["i", "o", "f", "c"] {
                expected.push(format!("{network}layer 0 gate {gate}"));
            }
            for gate in ["gate z", "gate r", "gate h", "candidate input"] {
                expected.push(format!("{network}layer 1 {gate}"));
            }
        }
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        let found = on_grids.iter().map(|name| name.as_str().unwrap().into());
        assert_eq!(sorted(found.collect()), sorted(expected), "{task}");
        // Nothing is rounded but what had 8 bits in training.
        for tensor in report["tensors"].as_array().unwrap() {
            let error = tensor["relative_error"].as_f64().unwrap();
            assert_eq!(on_grids.contains(&tensor["name"]), error < 1e-6, "{tensor}");
        }
        let bytes = |report: &serde_json::Value| report["image"]["bytes"].as_u64().unwrap();
        assert!(4 * bytes(&report) < 3 * bytes(&eight), "{task}");

        let (float, image) = (loss("4/model.onnx", "4"), loss("4.pip", "4"));
        assert!((float - image).abs() < 0.01, "{task}: {float}, {image}");
        let rounded = loss("rounded.pip", "8");
        assert!(image < rounded, "{task}: {image}, {rounded}");

        // A recurrent row's 24 columns are a group of the file's floats: 16 values at most.
        let network = onnx::read(&folder.read("4/model.onnx")).unwrap();
        for cell in network.layers().iter().filter_map(|layer| layer.cell()) {
            for row in cell.weights().1.data.chunks(24) {
                let values: std::collections::HashSet<u32> =
                    row.iter().map(|w| w.to_bits()).collect();
                let signed_zero = usize::from(values.contains(&(-0f32).to_bits()));
                assert!(values.len() - signed_zero <= 16, "{task}: {row:?}");
            }
        }
    }
}

/// The settings say all, and those of a training before there were 4 bits are good for one.
#[test]
fn settings_repeat_a_training_of_4_bits() {
    let folder = Folder::with_lines(&lines(200, |word| format!("{word}\t{word}{word}")));
    let small = ["--task", "translate", "--hidden", "8", "--steps", "60"];
    let four = ["--bits", "4", "--input-bits", "8", "--head-bits", "4"];
    done(&folder.train("a", &[&small[..], &four].concat()));
    let record = folder.record("a").settings.train;
    assert_eq!((record.rounded_steps, record.rounded_rate), (12, 3e-4));
    let toml = folder.path("a/train.toml");
    done(&folder.train("b", &["--settings", toml.to_str().unwrap()]));
    assert!(folder.read("a/model.onnx") == folder.read("b/model.onnx"));

    let all = std::fs::read_to_string(&toml).unwrap();
    let new = ["bits = 4", "input_bits", "head_bits", "rounded"];
    let old = all
        .lines()
        .filter(|line| !new.iter().any(|new| line.starts_with(new)));
    let old: Vec<&str> = old.collect();
    assert_eq!(old.len() + 6, all.lines().count(), "{all}");
    std::fs::write(folder.path("old.toml"), old.join("\n")).unwrap();
    let old = folder.path("old.toml");
    let old = ["--settings", old.to_str().unwrap()];
    done(&folder.train("c", &[&old[..], &four].concat()));
    assert!(folder.read("a/model.onnx") == folder.read("c/model.onnx"));

    // More rounded steps than there are time for.
    let time = ["--minutes", "0.0001", "--rounded-steps", "50"];
    let refused = folder.train("d", &[&small[..4], &four, &time].concat());
    let text = said(&refused);
    assert!(
        text.contains("rounded_steps is 50: expected at most as many as steps"),
        "{text}"
    );
    let text = said(&folder.train("d", &[&small[..], &["--steps-per-token", "2"]].concat()));
    assert!(text.contains("steps_per_token is 2: expected 1"), "{text}");
}

#[test]
fn lines_are_refused_by_their_number() {
    let refusal = |lines: &str, more: &[&str]| {
        let folder = Folder::with_lines(lines);
        let output = folder.train("out", more);
        let text = said(&output);
        assert!(
            !output.status.success() && text.starts_with("error: "),
            "{text}"
        );
        assert!(
            !text.contains("panicked") && !folder.path("out").exists(),
            "{text}"
        );
        text
    };
    let (classify, describe) = (["--task", "classify"], ["--task", "describe"]);
    let text = refusal("a\tb\nc d\n", &classify);
    assert!(
        text.contains("lines.tsv, line 2: found 1 part(s), expected a class, a TAB and"),
        "{text}"
    );
    let text = refusal("a\tb\tc\n", &["--task", "translate"]);
    assert!(text.contains("line 1: found 3 part(s)"), "{text}");
    let text = refusal("x=1\ty\n\nx=high\ty\n", &describe);
    assert!(
        text.contains("line 3: found \"x=high\", expected features such as"),
        "{text}"
    );
    let text = refusal("anna\n", &describe);
    assert!(text.contains("--features length,first-letter"), "{text}");
    let text = refusal("a\t \n", &classify);
    assert!(text.contains("line 1: found an empty part"), "{text}");
    let text = refusal("a\tb\n", &["--task", "classify", "--validation", "0.99999"]);
    assert!(text.contains("no line for training"), "{text}");
    let text = refusal("anna\n", &["--task", "describe", "--features", "colour"]);
    assert!(
        text.contains("\"colour\" is not a feature: expected length"),
        "{text}"
    );
    let folder = Folder::with_lines("a\tb\n");
    let text = said(&folder.train("out", &["--task", "caption"]));
    assert!(text.contains("classify"), "{text}");
    assert!(!Path::new(&folder.path("out")).exists());
}
