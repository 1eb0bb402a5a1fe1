//! Training on whole sequences: every shape learns what can be learned, stops leave no trace, lines are refused by number.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use trainer::inference::tasks::{argmax, classify, translate};
use trainer::onnx;
use trainer::training::artifacts::Metrics;
use trainer::training::config::Config;

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

    fn metrics(&self, out: &str) -> Metrics {
        Metrics::read(&self.path(&format!("{out}/metrics.json"))).unwrap()
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
    "--hidden-size",
    "24",
    "--embedding-dim",
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
        let more = [
            "--task",
            "classifier",
            "--source-tokenizer",
            "char",
            "--cell",
            cell,
        ];
        let text = done(&folder.train(cell, &[&SMALL[..], &more].concat()));
        assert!(text.contains("accuracy 100.00 %"), "{text}");
        let network = onnx::read(&folder.read(&format!("{cell}/model.onnx"))).unwrap();
        let vocabulary = network.vocabulary();
        assert_eq!(vocabulary.tokens(), ["a", "b", "c", "d"]);
        let labels = network.labels.as_ref().unwrap();
        assert_eq!(labels.tokens(), ["is a", "is b", "is c", "is d"]);
        let scores = classify(&network, &[2, 0, 0, 1, 3, 3]);
        assert_eq!(labels.token(argmax(&scores)), "is c");
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
    let more = [
        "--task",
        "sequence-to-sequence",
        "--hidden-size",
        "48",
        "--steps",
        "900",
    ];
    let more = [&SMALL[2..8], &more].concat();
    let text = done(&folder.train("out", &more));
    assert!(
        text.contains("4 different characters to 4 different words"),
        "{text}"
    );
    let measures = folder.metrics("out").dev.unwrap();
    assert!(measures.token_error.unwrap() < 0.05, "{measures:?}");
    let network = onnx::read(&folder.read("out/model.onnx")).unwrap();
    let source = network.source_vocabulary.as_ref().unwrap();
    assert_eq!(source.tokens(), ["a", "b", "c", "d"]);
    let said = translate(&network, &[0, 1, 3], 10);
    let said: Vec<&str> = said
        .iter()
        .map(|token| network.vocabulary().token(*token))
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
    let more = [
        "--task",
        "conditional-generator",
        "--features",
        "length,first-letter",
    ];
    done(&folder.train("out", &[&SMALL[..], &more].concat()));
    let network = onnx::read(&folder.read("out/model.onnx")).unwrap();
    assert_eq!(network.feature_names, ["length", "a", "b", "c", "d"]);
    let measures = folder.metrics("out").dev.unwrap();
    let chain = measures.ngram_without_features.unwrap();
    // Of letters drawn alike, 2 to 5 of them, the first letter and the end are told, and they are about 2 of 4.5 predictions.
    assert!(measures.bits < 0.75 * chain.bits, "{measures:?}");

    // The same features, said in the lines.
    let named = Folder::with_lines(&lines(800, |word| {
        format!("{},length=0.{}\t{word}", &word[..1], word.len())
    }));
    done(&named.train("out", &[&SMALL[..], &more[..2]].concat()));
    let network = onnx::read(&named.read("out/model.onnx")).unwrap();
    assert_eq!(network.feature_names, ["length", "a", "b", "c", "d"]);
    let same = named.metrics("out").dev.unwrap();
    assert!(
        (same.bits - measures.bits).abs() < 0.05,
        "{same:?}, {measures:?}"
    );
}

/// A source with several targets is held back once, with all of them; no source is on both sides.
#[test]
fn any_target_of_a_source_counts_and_none_is_trained_on_that_is_held_back() {
    use trainer::data::corpus::{Corpus, CorpusOptions};
    use trainer::data::examples::{Example, ExampleSet};
    use trainer::data::task::Task;
    use trainer::data::tokenizer::Tokenizer;
    use trainer::training::presets;

    let text = lines(400, |word| format!("{word}\t{word}x\n{word}\t{word}y"));
    let folder = Folder::with_lines(&text);
    let corpus = Corpus::open(&folder.path("lines.tsv"), CorpusOptions::default()).unwrap();
    let config = presets::lines(
        Task::SequenceToSequence,
        Tokenizer::CHAR,
        Tokenizer::CHAR,
        400,
    );
    let data = ExampleSet::read(&corpus, &config.example_options()).unwrap();
    let parts = [&data.dev, &data.test];
    let sources = |examples: &[Example]| -> std::collections::HashSet<Vec<u16>> {
        examples
            .iter()
            .map(|example| example.source.clone())
            .collect()
    };
    for part in parts {
        assert!(part.len() > 5);
        assert_eq!(sources(part).len(), part.len(), "each source once");
        assert!(sources(part).is_disjoint(&sources(&data.train)));
        for held in part {
            assert!(
                held.alternative_targets
                    .iter()
                    .any(|other| *other != held.target)
            );
        }
    }
    assert!(sources(&data.dev).is_disjoint(&sources(&data.test)));
    let references = parts
        .into_iter()
        .flatten()
        .map(|held| 1 + held.alternative_targets.len());
    assert_eq!(data.train.len() + references.sum::<usize>(), 800);
}

#[test]
fn settings_repeat_a_training_and_json_tells_all() {
    let folder = Folder::with_lines(&lines(200, |word| format!("{word}\t{word}{word}")));
    let small = [
        "--task",
        "sequence-to-sequence",
        "--hidden-size",
        "8",
        "--steps",
        "30",
        "--batch-size",
        "4",
    ];
    done(&folder.train("a", &small));
    let toml = folder.path("a/config.toml");
    let toml = toml.to_str().unwrap();
    let again = done(&folder.train("b", &["--config", toml, "--json"]));
    for name in ["model.onnx", "loss.csv"] {
        assert_eq!(
            folder.read(&format!("a/{name}")),
            folder.read(&format!("b/{name}")),
            "{name}"
        );
    }
    let last: serde_json::Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert_eq!(last["steps"], 30);
    assert!(last["dev"]["token_error"].as_f64().is_some(), "{last}");
    done(&folder.train("c", &["--config", toml, "--seed", "3", "--quiet"]));
    assert_ne!(folder.read("a/model.onnx"), folder.read("c/model.onnx"));
    let other = folder.train(
        "a",
        &[
            "--resume",
            "--hidden-size",
            "9",
            "--source-tokenizer",
            "word",
        ],
    );
    assert!(said(&other).contains("--task"), "{}", said(&other));
    let other = folder.train("a", &["--resume", "--hidden-size", "9"]);
    assert!(
        said(&other).contains("hidden_size = 8, not 9"),
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
        "sequence-to-sequence",
        "--hidden-size",
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
    killed_and_resumed(&[
        "--weight-bits",
        "4",
        "--output-weight-bits",
        "4",
        "--qat-steps",
        "290",
    ]);
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
        ("classifier", "--source-tokenizer", "char", &[][..]),
        (
            "sequence-to-sequence",
            "--source-tokenizer",
            "char",
            &["encoder "],
        ),
        (
            "conditional-generator",
            "--features",
            "length,first-letter",
            &[],
        ),
    ];
    for (task, option, value, encoder) in tasks {
        let folder = Folder::with_lines(&lines(600, |word| match task {
            "classifier" => format!("is {}\t{word}", &word[..1]),
            "sequence-to-sequence" => format!("{word}\t{}", swap(&word)),
            _ => word,
        }));
        let settings = [
            &["--task", task, option, value, "--cell", "lstm,gru"],
            &SMALL[..8],
        ];
        let settings = settings.concat();
        let path = |name: &str| folder.path(name).to_str().unwrap().to_owned();
        let loss = |model: &str, out: &str| {
            let (lines, record) = (path("lines.tsv"), path(&format!("{out}/config.toml")));
            let more = ["--data", &lines, "--config", &record];
            let said = json(&[&["eval", &path(model)][..], &more].concat());
            said["loss"].as_f64().unwrap()
        };
        // Both are the same until the second one begins to round.
        done(&folder.train("8", &[&settings[..], &["--steps", "400"]].concat()));
        let four = ["--weight-bits", "4", "--output-weight-bits", "4"];
        let rounds = ["--steps", "500", "--qat-steps", "100"];
        done(&folder.train("4", &[&settings[..], &four, &rounds].concat()));
        let export = |model: &str, image: &str, more: &[&str]| {
            json(&[&["export", &path(model), "--out", &path(image)][..], more].concat())
        };
        let eight = export("8/model.onnx", "8.pip", &[]);
        let report = export("4/model.onnx", "4.pip", &[]);
        export(
            "8/model.onnx",
            "rounded.pip",
            &["--weight-bits", "4", "--output-weight-bits", "4"],
        );

        let inspected = json(&["inspect", &path("4/model.onnx")]);
        let on_grids = inspected["tensors_with_scales"].as_array().unwrap();
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
        let bytes = |report: &serde_json::Value| report["model"]["bytes"].as_u64().unwrap();
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
    let small = [
        "--task",
        "sequence-to-sequence",
        "--hidden-size",
        "8",
        "--steps",
        "60",
    ];
    let four = [
        "--weight-bits",
        "4",
        "--input-weight-bits",
        "8",
        "--output-weight-bits",
        "4",
    ];
    done(&folder.train("a", &[&small[..], &four].concat()));
    let toml = folder.path("a/config.toml");
    let quantization = Config::read(&toml).unwrap().quantization;
    assert_eq!((quantization.qat_steps, quantization.qat_lr), (12, 3e-4));
    done(&folder.train("b", &["--config", toml.to_str().unwrap()]));
    assert!(folder.read("a/model.onnx") == folder.read("b/model.onnx"));

    let all = std::fs::read_to_string(&toml).unwrap();
    // Sections that are missing have their defaults.
    let start = all.find("[quantization]").unwrap();
    let old = &all[..start];
    std::fs::write(folder.path("old.toml"), old).unwrap();
    let old = folder.path("old.toml");
    let old = ["--config", old.to_str().unwrap()];
    done(&folder.train("c", &[&old[..], &four].concat()));
    assert!(folder.read("a/model.onnx") == folder.read("c/model.onnx"));

    // More quantization-aware steps than there are time for.
    let time = ["--time", "0.006s", "--qat-steps", "50"];
    let refused = folder.train("d", &[&small[..4], &four, &time].concat());
    let text = said(&refused);
    assert!(
        text.contains("qat_steps is 50: expected at most as many as steps"),
        "{text}"
    );
    let classifier = ["--task", "classifier", "--steps-per-token", "2"];
    let text = said(&folder.train("d", &classifier));
    assert!(text.contains("steps_per_token is 2: expected 1"), "{text}");
}

/// What language models are trained with, tasks on lines are too, with the same bytes on any number of threads.
#[test]
fn tied_embeddings_steps_per_token_teachers_and_initial_models_work_on_lines() {
    let folder = Folder::with_lines(&lines(400, |word| format!("{word}\t{word}{word}")));
    let task = ["--task", "sequence-to-sequence", "--quiet"];
    let large = ["--hidden-size", "24", "--steps", "150"];
    done(&folder.train("large", &[&task[..], &large].concat()));
    let path = |name: &str| folder.path(name).to_str().unwrap().to_owned();
    let (teacher, soft) = (path("large/model.onnx"), path("soft.bin"));
    let config = path("large/config.toml");
    let distill = [
        "distill",
        &path("lines.tsv"),
        "--teacher",
        &teacher,
        "--config",
        &config,
        "--out",
        &soft,
    ];
    common::said(&distill);
    let small = [
        "--hidden-size",
        "12",
        "--tie-embeddings",
        "--steps-per-token",
        "2",
        "--steps",
        "40",
    ];
    let student = |out: &str, more: &[&str]| {
        done(&folder.train(out, &[&task[..], &small, more].concat()));
        folder.read(&format!("{out}/model.onnx"))
    };
    let plain = student("plain", &[]);
    let one = student("one", &["--teacher", &teacher, "--threads", "1"]);
    let three = student("three", &["--teacher", &teacher, "--threads", "3"]);
    let file = student("file", &["--distillation", &soft]);
    assert!(one == three && one == file && one != plain);
    let network = onnx::read(&one).unwrap();
    assert_eq!(network.steps_per_token(trainer::network::Phase::Step), 2);
    done(&folder.train("one", &["--resume", "--steps", "50"]));
    common::said(&["export", &path("one/model.onnx")]);

    let more = ["--init-from", &path("plain/model.onnx"), "--steps", "20"];
    done(&folder.train("more", &[&task[..], &more].concat()));
    let loss = |out: &str| folder.metrics(out).dev_loss.unwrap();
    assert!(loss("more") < loss("plain") + 0.05);
    let other = Folder::with_lines("x\ty\nz\tw\n");
    let text = said(&other.train("out", &[&task[..2], &more].concat()));
    assert!(
        text.contains("the initial model does not fit the data"),
        "{text}"
    );
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
    let (classify, describe) = (
        ["--task", "classifier"],
        ["--task", "conditional-generator"],
    );
    let text = refusal("a\tb\nc d\n", &classify);
    assert!(
        text.contains("lines.tsv, line 2: found 1 field(s), expected a class, a TAB and"),
        "{text}"
    );
    let text = refusal("a\tb\tc\n", &["--task", "sequence-to-sequence"]);
    assert!(text.contains("line 1: found 3 field(s)"), "{text}");
    let text = refusal("x=1\ty\n\nx=high\ty\n", &describe);
    assert!(
        text.contains("line 3: found \"x=high\", expected features such as"),
        "{text}"
    );
    let text = refusal("anna\n", &describe);
    assert!(text.contains("--features length,first-letter"), "{text}");
    let text = refusal("a\t \n", &classify);
    assert!(text.contains("line 1: found an empty field"), "{text}");
    let text = refusal(
        "a\tb\n",
        &["--task", "classifier", "--split", "0.001/99.999/0"],
    );
    assert!(text.contains("no line for training"), "{text}");
    let text = refusal(
        "anna\n",
        &["--task", "conditional-generator", "--features", "colour"],
    );
    assert!(
        text.contains("\"colour\" is not a feature: expected length"),
        "{text}"
    );
    let folder = Folder::with_lines("a\tb\n");
    let text = said(&folder.train("out", &["--task", "caption"]));
    assert!(text.contains("classifier"), "{text}");
    assert!(!Path::new(&folder.path("out")).exists());
}
