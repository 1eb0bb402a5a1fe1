//! Training as a whole: the same bytes each time, stops that leave no trace, texts that are hard, and the command line.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::trainer;
use trainer::data::corpus::{Corpus, CorpusOptions};
use trainer::data::split::{Part, Split};
use trainer::data::tokenizer::Tokenizer;
use trainer::network::Network;
use trainer::nn::rnn::Cells;
use trainer::training::checkpoint::Checkpoint;
use trainer::training::config::Config;
use trainer::training::presets;
use trainer::training::{self, Data, Outcome, Request, Row, TrainError, Watch};

/// Sentences that a small network learns in no time.
fn text(sentences: usize) -> String {
    let (who, does, what) = (
        ["the cat", "a dog", "my bird"],
        ["sees", "hears"],
        ["a fish.\n", "the moon.\n", "me.\n"],
    );
    (0..sentences)
        .map(|i| format!("{} {} {}", who[i * i % 3], does[i % 2], what[(i / 2) % 3]))
        .collect()
}

fn corpus(text: &str) -> Corpus {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    std::fs::write(&path, text).unwrap();
    Corpus::open(&path, CorpusOptions::default()).unwrap()
}

fn config() -> Config {
    let mut config = presets::text(Tokenizer::CHAR, Some(12), 10_000);
    config.data.split = "80/20/0".parse().unwrap();
    (config.model.layers, config.model.dropout) = (2, 0.2);
    let optimizer = &mut config.optimizer;
    (optimizer.steps, optimizer.warmup_steps) = (60, 10);
    (optimizer.batch_size, optimizer.seq_len) = (5, 8);
    (optimizer.ema_decay, optimizer.patience) = (0.9, 0);
    config
}

/// The settings with a change.
fn with(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config();
    change(&mut config);
    config
}

fn request<'a>(
    corpus: &'a Corpus,
    data: &'a Data,
    config: &'a Config,
    out: &'a Path,
) -> Request<'a> {
    Request {
        corpus,
        data,
        config,
        out,
        initial: None,
        soft: None,
        resume: None,
        checkpoint_every: Duration::from_secs(60),
        threads: 2,
    }
}

fn train(corpus: &Corpus, config: &Config, out: &Path) -> Result<Outcome, TrainError> {
    let data = Data::new(corpus, config, None, 2)?;
    training::run(
        request(corpus, &data, config, out),
        &AtomicBool::new(false),
        &mut (),
    )
}

/// Stops a training after a step, as Ctrl-C does.
struct StopAt<'a>(u64, &'a AtomicBool);

impl Watch for StopAt<'_> {
    fn begins(&mut self, _: &training::Plan) {}
    fn steps(&mut self, step: u64, _: f64) {
        if step == self.0 {
            self.1.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    fn reports(&mut self, _: &Row, _: &Network) {}
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    let (corpus, folder) = (corpus(&text(200)), tempfile::tempdir().unwrap());
    let out = |name| folder.path().join(name);
    let (a, b, c) = (out("a"), out("b"), out("c"));
    train(&corpus, &config(), &a).unwrap();
    train(&corpus, &config(), &b).unwrap();
    train(&corpus, &with(|config| config.optimizer.seed = 2), &c).unwrap();
    for name in ["model.onnx", "loss.csv"] {
        assert_eq!(read(&a, name), read(&b, name), "{name}");
        assert_ne!(read(&a, name), read(&c, name), "{name}");
    }
}

/// Shards are of 16 rows whatever the number of threads, and so are their dropout masks and the order of the sums.
#[test]
fn the_number_of_threads_does_not_change_a_byte() {
    let (corpus, folder) = (corpus(&text(400)), tempfile::tempdir().unwrap());
    // Three shards, the last one of 8 rows.
    let config = with(|config| (config.optimizer.batch_size, config.optimizer.steps) = (40, 30));
    let data = Data::new(&corpus, &config, None, 1).unwrap();
    let outs = [1, 2, 8].map(|threads| {
        let out = folder.path().join(threads.to_string());
        let request = Request {
            threads,
            ..request(&corpus, &data, &config, &out)
        };
        training::run(request, &AtomicBool::new(false), &mut ()).unwrap();
        out
    });
    for name in ["model.onnx", "last.onnx", "loss.csv"] {
        let one = read(&outs[0], name);
        assert!(outs.iter().all(|out| read(out, name) == one), "{name}");
    }
    let end = |out: &PathBuf| Checkpoint::read(&out.join("checkpoint.bin")).unwrap().state;
    assert_eq!(end(&outs[0]), end(&outs[2]));
}

/// Random text cannot be predicted, only memorised: the best step is kept, training stops, and `--resume` can go on.
#[test]
fn the_best_step_is_kept_and_training_stops_when_dev_rises() {
    let mut state = 1u32;
    let noise: String = (0..1_500)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (state >> 24) as u8 % 12)
        })
        .collect();
    let (corpus, folder) = (corpus(&noise), tempfile::tempdir().unwrap());
    let config = with(|config| {
        (
            config.model.hidden_size,
            config.model.layers,
            config.model.dropout,
        ) = (48, 1, 0.0);
        (config.optimizer.steps, config.optimizer.batch_size) = (2_000, 16);
        (config.optimizer.eval_every, config.optimizer.patience) = (20, 5);
        config.optimizer.learning_rate = 0.02;
    });
    let outcome = train(&corpus, &config, folder.path()).unwrap();
    let metrics = &outcome.metrics;
    assert_eq!(outcome.end, training::End::Patience);
    assert!(
        outcome.is_finished() && metrics.steps < 2_000,
        "{metrics:?}"
    );
    assert_eq!(metrics.steps, metrics.best_step + 5 * 20, "{metrics:?}");
    let (best, last) = (metrics.dev_loss.unwrap(), metrics.last_dev_loss.unwrap());
    assert!(best < last, "{metrics:?}");
    let network = |name: &str| trainer::onnx::read(&read(folder.path(), name)).unwrap();
    let (kept, last) = (network("model.onnx"), network("last.onnx"));
    assert_eq!(kept.provenance.steps, metrics.best_step);
    assert_eq!(last.provenance.steps, metrics.steps);
    // The log has the choice: no row has less.
    let log = String::from_utf8(read(folder.path(), "loss.csv")).unwrap();
    let dev = log
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').nth(3)?.parse::<f64>().ok());
    let least = dev.fold(f64::INFINITY, f64::min);
    assert!((least - best).abs() < 1e-3, "{least}, {best}");
    // Best n-gram model: nothing beats the frequencies by much here.
    assert!(metrics.ngram.unwrap().bits_per_char > 3.0);
}

/// `-sum p ln p` of the characters: what is reached by knowing how often each is.
fn unigram_entropy(text: &str) -> f64 {
    let mut counts = BTreeMap::new();
    for character in text.chars() {
        *counts.entry(character).or_insert(0.0) += 1.0;
    }
    let total: f64 = counts.values().sum();
    counts.values().map(|n| -n / total * (n / total).ln()).sum()
}

#[test]
fn every_cell_learns_and_its_file_is_what_was_trained() {
    let corpus = corpus(&text(400));
    let entropy = unigram_entropy(&corpus.text(corpus.all()).unwrap());
    for cells in ["gru", "lstm", "rnn", "lstm,rnn,gru"] {
        let folder = tempfile::tempdir().unwrap();
        let cell: Cells = cells.parse().unwrap();
        let config = with(|config| {
            (config.model.layers, config.model.dropout) = (cell.len(), 0.0);
            (config.model.cell, config.optimizer.steps) = (cell.clone(), 400);
        });
        let outcome = train(&corpus, &config, folder.path()).unwrap();
        // Three of the choices in a sentence of about 20 characters are free: about 0.2 nats a character.
        let loss = outcome.metrics.dev_loss.unwrap();
        assert!(loss < 0.25 * entropy, "{cells}: {loss}, unigrams {entropy}");
        // Read back it is the same network, and tract computes the same from it.
        let file = read(folder.path(), "model.onnx");
        trainer::onnx::check(&outcome.network, &file)
            .unwrap_or_else(|error| panic!("{cells}: {error}"));
    }
}

#[test]
fn a_training_learns() {
    let (corpus, folder) = (corpus(&text(400)), tempfile::tempdir().unwrap());
    let config = with(|config| {
        (config.model.layers, config.model.dropout) = (1, 0.0);
        config.optimizer.steps = 300;
    });
    let outcome = train(&corpus, &config, folder.path()).unwrap();
    assert!(outcome.is_finished() && outcome.metrics.steps == 300);
    // Three of the choices in a sentence of about 20 characters are free: about 0.2 nats a character.
    let loss = outcome.metrics.dev_loss.unwrap();
    assert!(loss < 0.5, "{loss}");
    // What the files say is what was found: the model read back gives the loss by the plain step.
    let network = trainer::onnx::read(&read(folder.path(), "model.onnx")).unwrap();
    assert_eq!(network, outcome.network);
    let tokens = network
        .vocabulary()
        .encode(&corpus.text(corpus.all()).unwrap(), false)
        .unwrap()
        .tokens;
    let dev = &tokens[config.data.split.range(tokens.len(), Part::Dev)];
    let again = trainer::eval::perplexity::float(&network, dev, || ()).nats_per_char;
    assert_eq!(again, loss);
    let log = String::from_utf8(read(folder.path(), "loss.csv")).unwrap();
    assert_eq!(
        log.lines().next().unwrap(),
        "step,tokens,train_loss,dev_loss,learning_rate"
    );
    let last: Vec<&str> = log.lines().last().unwrap().split(',').collect();
    assert_eq!((last[0], last[1]), ("300", "12000"));
    assert!(
        last[3].parse::<f64>().is_ok(),
        "an evaluation at the end: {last:?}"
    );
}

#[test]
fn a_stopped_training_leaves_a_model_and_resumes_to_the_same_bytes() {
    let (corpus, folder) = (corpus(&text(200)), tempfile::tempdir().unwrap());
    for cells in ["gru", "lstm", "rnn", "lstm,gru"] {
        let config = with(|config| config.model.cell = cells.parse().unwrap());
        let data = Data::new(&corpus, &config, None, 2).unwrap();
        let out = |name: &str| folder.path().join(format!("{cells} {name}"));
        let (whole, parts) = (out("whole"), out("parts"));
        train(&corpus, &config, &whole).unwrap();
        let mut resume = None;
        // Inside an epoch, at its end and just before the last step.
        for (stop_at, finished) in [(7, false), (8, false), (59, false), (u64::MAX, true)] {
            let stop = AtomicBool::new(false);
            let request = Request {
                resume: resume.take(),
                ..request(&corpus, &data, &config, &parts)
            };
            let outcome = training::run(request, &stop, &mut StopAt(stop_at, &stop)).unwrap();
            assert_eq!(
                (outcome.is_finished(), outcome.metrics.steps),
                (finished, stop_at.min(60))
            );
            let model = trainer::onnx::read(&read(&parts, "last.onnx")).unwrap();
            assert_eq!(
                model.provenance.steps,
                stop_at.min(60),
                "the model of that moment"
            );
            resume = Some(Checkpoint::read(&parts.join("checkpoint.bin")).unwrap());
        }
        for name in ["model.onnx", "loss.csv"] {
            assert_eq!(read(&whole, name), read(&parts, name), "{cells}, {name}");
        }
        let end = |folder: &Path| {
            Checkpoint::read(&folder.join("checkpoint.bin"))
                .unwrap()
                .state
        };
        assert_eq!(
            end(&whole),
            end(&parts),
            "{cells}: weights, moments and states"
        );
    }
}

#[test]
fn a_checkpoint_of_another_training_is_refused_with_what_differs() {
    let (corpus_a, config, folder) = (corpus(&text(200)), config(), tempfile::tempdir().unwrap());
    train(&corpus_a, &config, folder.path()).unwrap();
    let checkpoint = Checkpoint::read(&folder.path().join("checkpoint.bin")).unwrap();
    let refusal = |corpus: &Corpus, config: &Config, checkpoint: &Checkpoint| {
        let data = Data::new(corpus, config, None, 2).unwrap();
        let request = Request {
            resume: Some(checkpoint.clone()),
            ..request(corpus, &data, config, folder.path())
        };
        training::run(request, &AtomicBool::new(false), &mut ())
            .unwrap_err()
            .to_string()
    };
    let other = with(|config| (config.optimizer.seed, config.model.hidden_size) = (9, 13));
    let other = refusal(&corpus_a, &other, &checkpoint);
    assert!(
        other.contains("seed = 1, not 9") && other.contains("hidden_size = 12, not 13"),
        "{other}"
    );
    let fewer = with(|config| config.optimizer.steps = 50);
    let other = refusal(&corpus_a, &fewer, &checkpoint);
    assert!(other.contains("steps = 60, not 50"), "{other}");
    let other = refusal(&corpus(&text(201)), &config, &checkpoint);
    assert!(other.contains("SHA-256 of the data"), "{other}");
    let mut short = checkpoint.clone();
    short.state.shards.pop();
    assert!(refusal(&corpus_a, &config, &short).contains("sizes"));
    let mut short = checkpoint;
    short.state.shards[0].pop();
    assert!(refusal(&corpus_a, &config, &short).contains("sizes"));
}

/// More steps go on after the end.
#[test]
fn a_finished_training_goes_on_with_more_steps() {
    let (corpus, folder) = (corpus(&text(200)), tempfile::tempdir().unwrap());
    train(&corpus, &config(), folder.path()).unwrap();
    let longer = with(|config| config.optimizer.steps = 90);
    let data = Data::new(&corpus, &longer, None, 2).unwrap();
    let checkpoint = Checkpoint::read(&folder.path().join("checkpoint.bin")).unwrap();
    let request = Request {
        resume: Some(checkpoint),
        ..request(&corpus, &data, &longer, folder.path())
    };
    let outcome = training::run(request, &AtomicBool::new(false), &mut ()).unwrap();
    assert_eq!(
        (outcome.end, outcome.metrics.steps),
        (training::End::Steps, 90)
    );
    let again = Config::read(&folder.path().join("config.toml")).unwrap();
    assert_eq!(again, longer);
}

/// Two trainings do not write to one folder.
#[test]
fn a_folder_takes_one_training_at_a_time() {
    let (corpus, folder) = (corpus(&text(100)), tempfile::tempdir().unwrap());
    let held = training::artifacts::LockedFolder::new(folder.path()).unwrap();
    let error = train(&corpus, &config(), folder.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("another training writes into"), "{error}");
    drop(held);
    train(&corpus, &config(), folder.path()).unwrap();
}

/// Neither the weights nor any choice depend on the test part.
#[test]
fn the_test_part_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = with(|config| config.data.split = Split::default());
    let text = text(300);
    let whole = corpus(&text);
    let split = config.data.split.parts(&whole, false).unwrap();
    let split = split.map(|part| whole.text(part).unwrap());
    // The same characters in another order.
    let backwards: String = split[2].chars().rev().collect();
    let other = format!("{}{}{backwards}", split[0], split[1]);
    assert_ne!(text, other);
    let out = |name: &str| folder.path().join(name);
    let [a, b] = [(&text, "a"), (&other, "b")]
        .map(|(text, name)| train(&corpus(text), &config, &out(name)).unwrap().metrics);
    assert_eq!(
        (a.dev_loss, a.ngram, a.sizes),
        (b.dev_loss, b.ngram, b.sizes)
    );
    for name in ["model.onnx", "last.onnx", "loss.csv"] {
        assert!(read(&out("a"), name) == read(&out("b"), name), "{name}");
    }
    let [train, dev, test] = split.map(|part| part.chars().count());
    assert_eq!(
        (a.sizes.train, a.sizes.dev, a.sizes.test),
        (train, dev, test)
    );
}

#[test]
fn damaged_checkpoints_are_refused() {
    let (corpus, folder) = (corpus(&text(50)), tempfile::tempdir().unwrap());
    let small = with(|config| (config.optimizer.steps, config.model.hidden_size) = (1, 2));
    train(&corpus, &small, folder.path()).unwrap();
    let path = folder.path().join("checkpoint.bin");
    let good = std::fs::read(&path).unwrap();
    for length in (0..good.len()).step_by(7) {
        std::fs::write(&path, &good[..length]).unwrap();
        Checkpoint::read(&path).unwrap_err();
    }
    for byte in (0..good.len()).step_by(3) {
        let mut bad = good.clone();
        bad[byte] ^= 0x10;
        std::fs::write(&path, bad).unwrap();
        Checkpoint::read(&path).unwrap_err();
    }
}

/// Every one of them trains, saves and can be read back, whatever the text is like.
#[test]
fn hard_texts_train() {
    let cases = [
        ("one character, again and again", "a".repeat(500)),
        ("two characters in all", "ab".into()),
        ("one huge line", "x y z ".repeat(2000)),
        ("shorter than a sequence", "short".into()),
        ("Hebrew", "שלום עולם, מה שלומך היום? ".repeat(20)),
        ("emoji of several code points", "👩‍🚀🦀🇮🇱 ok ".repeat(20)),
        (
            "every character another",
            ('\u{4e00}'..'\u{5000}').collect(),
        ),
        (
            "control characters and null",
            "\0\u{1}\u{7f}\r\n\t".repeat(30),
        ),
    ];
    for (what, text) in cases {
        let (corpus, folder) = (corpus(&text), tempfile::tempdir().unwrap());
        let config = with(|config| {
            config.optimizer.steps = 3;
            config.data.split = "100/0/0".parse().unwrap();
        });
        let outcome = train(&corpus, &config, folder.path())
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(outcome.metrics.dev_loss, None);
        let network = trainer::onnx::read(&read(folder.path(), "model.onnx")).unwrap();
        assert_eq!(network, outcome.network, "{what}");
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let (corpus, folder) = (corpus(&text(50)), tempfile::tempdir().unwrap());
    type Change = fn(&mut Config);
    let cases: [(&str, Change); 14] = [
        ("hidden_size is 0", |c| c.model.hidden_size = 0),
        ("layers is 9", |c| c.model.layers = 9),
        (
            "cell is lstm,gru,rnn: expected one cell for all layers",
            |c| {
                c.model.cell = "lstm,gru,rnn".parse().unwrap();
            },
        ),
        ("dropout is 1", |c| c.model.dropout = 1.0),
        ("dropout is NaN", |c| c.model.dropout = f32::NAN),
        ("embedding_dropout is 1", |c| {
            c.model.embedding_dropout = 1.0
        }),
        ("steps is 0", |c| c.optimizer.steps = 0),
        ("batch_size is 0", |c| c.optimizer.batch_size = 0),
        ("seq_len is 0", |c| c.optimizer.seq_len = 0),
        ("learning_rate is -1", |c| c.optimizer.learning_rate = -1.0),
        ("distill_weight is 1", |c| {
            c.distillation.distill_weight = 1.0
        }),
        ("weight_bits is 5", |c| c.quantization.weight_bits = 5),
        ("qat_steps is 7", |c| c.quantization.qat_steps = 7),
        ("characters, 0 of them for training", |c| {
            c.data.split = "0.01/99.99/0".parse().unwrap();
        }),
    ];
    for (expected, change) in cases {
        let error = train(&corpus, &with(change), folder.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let large = with(|c| {
        (c.model.hidden_size, c.model.layers) = (4096, 8);
        (c.optimizer.batch_size, c.optimizer.seq_len) = (4096, 4096);
        c.data.split = "100/0/0".parse().unwrap();
    });
    let error = train(&self::corpus(&text(200_000)), &large, folder.path())
        .unwrap_err()
        .to_string();
    assert!(error.contains("GB of memory"), "{error}");
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing was written"
    );
}

#[test]
fn a_training_that_diverges_says_so() {
    let (corpus, config, folder) = (corpus(&text(200)), config(), tempfile::tempdir().unwrap());
    let data = Data::new(&corpus, &config, None, 2).unwrap();
    let stop = AtomicBool::new(false);
    training::run(
        request(&corpus, &data, &config, folder.path()),
        &stop,
        &mut StopAt(5, &stop),
    )
    .unwrap();
    let mut checkpoint = Checkpoint::read(&folder.path().join("checkpoint.bin")).unwrap();
    checkpoint.state.parameters[0] = f32::NAN;
    let request = Request {
        resume: Some(checkpoint),
        ..request(&corpus, &data, &config, folder.path())
    };
    let error = training::run(request, &AtomicBool::new(false), &mut ())
        .map(|outcome| outcome.metrics)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("diverged at step 5") && error.contains("lower --learning-rate"),
        "{error}"
    );
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn with_text(text: &[u8]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::write(folder.0.path().join("text.txt"), text).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `trainer train text.txt --out OUT` and more arguments.
    fn train(&self, out: &str, more: &[&str]) -> Output {
        let (text, out) = (self.path("text.txt"), self.path(out));
        trainer(
            &[
                &[
                    "train",
                    text.to_str().unwrap(),
                    "--out",
                    out.to_str().unwrap(),
                ],
                more,
            ]
            .concat(),
        )
    }
}

const SMALL: [&str; 8] = [
    "--hidden-size",
    "8",
    "--steps",
    "20",
    "--batch-size",
    "4",
    "--seq-len",
    "10",
];

#[test]
fn the_command_writes_a_training_that_its_settings_repeat() {
    let folder = Folder::with_text(text(200).as_bytes());
    let output = folder.train("a", &SMALL);
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    assert!(
        text.contains("weights") && text.contains("step 20") && text.contains("dev loss"),
        "{text}"
    );
    let toml = folder.path("a/config.toml");
    let output = folder.train("b", &["--config", toml.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(
        read(&folder.path("a"), "model.onnx"),
        read(&folder.path("b"), "model.onnx")
    );
    // An option beside the settings wins.
    let output = folder.train(
        "c",
        &["--config", toml.to_str().unwrap(), "--seed", "5", "--json"],
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let values: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(values.last().unwrap()["steps"], 20);
    assert_eq!(values[0]["type"], "training-progress");
    assert_eq!(values.last().unwrap()["type"], "training-result");
    assert!(values[0]["train_loss"].as_f64().unwrap() > 0.0);
    assert_ne!(
        read(&folder.path("a"), "model.onnx"),
        read(&folder.path("c"), "model.onnx")
    );
}

#[test]
fn the_command_takes_a_cell_for_all_layers_or_one_for_each() {
    let folder = Folder::with_text(text(100).as_bytes());
    let made = |out: &str, more: &[&str]| {
        let output = folder.train(out, &[&SMALL[..], more].concat());
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(read(&folder.path(out), "config.toml")).unwrap()
    };
    let mixed = made("mixed", &["--cell", "lstm,gru"]);
    assert!(
        mixed.contains("cell = \"lstm,gru\"") && mixed.contains("layers = 2"),
        "{mixed}"
    );
    let settings = folder.path("mixed/config.toml");
    let settings = settings.to_str().unwrap();
    made("again", &["--config", settings]);
    assert_eq!(
        read(&folder.path("mixed"), "model.onnx"),
        read(&folder.path("again"), "model.onnx")
    );
    let all = made("all", &["--config", settings, "--cell", "rnn"]);
    assert!(all.contains("cell = \"rnn\"") && all.contains("layers = 2"));
    let refusal = |more: &[&str]| said(&folder.train("refused", more));
    assert!(refusal(&["--cell", "elman"]).contains("\"elman\" is not a cell: expected gru"));
    let three = refusal(&["--cell", "lstm,gru", "--layers", "3"]);
    assert!(three.contains("cell is lstm,gru: expected one"), "{three}");
    assert!(!folder.path("refused").exists());
    let other = folder.train("mixed", &["--resume", "--cell", "gru,lstm"]);
    assert!(
        said(&other).contains("cell = \"lstm,gru\", not \"gru,lstm\""),
        "{}",
        said(&other)
    );
}

#[test]
fn the_command_does_not_overwrite_a_training_unasked() {
    let folder = Folder::with_text(text(100).as_bytes());
    assert!(folder.train("a", &SMALL).status.success());
    let before = read(&folder.path("a"), "model.onnx");
    let refused = folder.train("a", &["--hidden-size", "9", "--steps", "3"]);
    assert!(
        !refused.status.success() && said(&refused).contains("--resume"),
        "{}",
        said(&refused)
    );
    let refused = folder.train("a", &["--resume", "--hidden-size", "9"]);
    assert!(
        said(&refused).contains("hidden_size = 8, not 9"),
        "{}",
        said(&refused)
    );
    let done = folder.train("a", &["--resume"]);
    assert!(
        done.status.success(),
        "a finished training has nothing left to do: {}",
        said(&done)
    );
    assert_eq!(read(&folder.path("a"), "model.onnx"), before);
    assert!(
        folder
            .train("a", &["--overwrite", "--hidden-size", "9", "--steps", "3"])
            .status
            .success()
    );
    assert_ne!(read(&folder.path("a"), "model.onnx"), before);
    // A shipped model has no checkpoint, and is as dear.
    std::fs::remove_file(folder.path("a").join("checkpoint.bin")).unwrap();
    let refused = folder.train("a", &SMALL);
    assert!(said(&refused).contains("--overwrite"), "{}", said(&refused));
}

#[test]
fn the_command_refuses_bad_texts_and_places_in_plain_words() {
    let folder = Folder::with_text(b"bad \xff");
    let refusal = |args: &[&str]| {
        let output = trainer(args);
        let text = said(&output);
        assert!(
            !output.status.success() && text.starts_with("error: ") && !text.contains("panicked"),
            "{text}"
        );
        text
    };
    let (text, out) = (folder.path("text.txt"), folder.path("out"));
    let (text, out) = (text.to_str().unwrap(), out.to_str().unwrap());
    assert!(refusal(&["train", text, "--out", out]).contains("byte 0xff at offset 4"));
    std::fs::write(text, "").unwrap();
    assert!(refusal(&["train", text, "--out", out]).contains("is empty"));
    std::fs::write(text, "a").unwrap();
    assert!(refusal(&["train", text, "--out", out]).contains("has 1 characters"));
    std::fs::write(text, "some text").unwrap();
    assert!(refusal(&["train", text, "--out", text, "--steps", "1"]).contains("text.txt"));
    assert!(refusal(&["train", text, "--out", out, "--resume"]).contains("checkpoint.bin"));
    assert!(refusal(&["train", text, "--out", out, "--time", "0s"]).contains("--time"));
    assert!(
        refusal(&["train", text, "--out", out, "--config", text]).contains("is not a config.toml")
    );
    assert!(refusal(&["train", out, "--out", out]).contains("out"));
    assert!(!Path::new(out).exists());
}

/// Killed without warning at some moment, again and again, a training ends in the very bytes of one that was not.
#[cfg(unix)]
#[test]
fn killed_trainings_resume_to_the_same_bytes() {
    let folder = Folder::with_text(text(400).as_bytes());
    let settings = [
        "--hidden-size",
        "24",
        "--steps",
        "1000",
        "--batch-size",
        "4",
        "--seq-len",
        "20",
        "--patience",
        "0",
        "--quiet",
    ];
    assert!(folder.train("whole", &settings).status.success());
    let (text, out) = (folder.path("text.txt"), folder.path("killed"));
    let (text, out) = (text.to_str().unwrap(), out.to_str().unwrap());
    let unfinished = || {
        let names = std::fs::read_dir(out).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        names
            .map(name)
            .filter(|name| name.to_string_lossy().starts_with(".writing-"))
            .count()
    };
    let begin_or_resume = || {
        if Path::new(out).join("checkpoint.bin").exists() {
            &["--resume"][..]
        } else {
            &settings
        }
    };
    let done = || {
        let checkpoint = Checkpoint::read(&Path::new(out).join("checkpoint.bin"));
        checkpoint.map_or(0, |checkpoint| checkpoint.state.step)
    };
    let mut moment = 1u64;
    let mut steps = 0;
    for round in 0..8 {
        // Time is spent on little but checkpoints, so most kills meet one being written.
        let mut child = Command::new(env!("CARGO_BIN_EXE_trainer"))
            .args(["train", text, "--out", out, "--checkpoint-every", "0"])
            .args(begin_or_resume())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Every other kill may come before the first step, or before anything is read.
        while round % 2 == 0 && done() <= steps {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        moment = moment.wrapping_mul(6_364_136_223_846_793_005) + 1;
        std::thread::sleep(Duration::from_micros((moment >> 33) % 30_000));
        // SIGKILL
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(done() >= steps, "a checkpoint was lost");
        steps = done();
        assert!(unfinished() <= 1, "what was being written piles up");
    }
    assert!(steps > 0);
    let output = folder.train("killed", begin_or_resume());
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(
        read(&folder.path("whole"), "model.onnx"),
        read(&folder.path("killed"), "model.onnx")
    );
    assert_eq!(unfinished(), 0);
    let names: Vec<_> = ["model.onnx", "config.toml", "loss.csv", "checkpoint.bin"]
        .map(|n| Path::new(out).join(n))
        .into();
    assert!(names.iter().all(|name| name.exists()));
}

/// A Ctrl-C leaves a model and says how to go on.
#[cfg(unix)]
#[test]
fn an_interrupt_leaves_a_model() {
    let folder = Folder::with_text(text(400).as_bytes());
    let (text, out) = (folder.path("text.txt"), folder.path("out"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_trainer"))
        .args([
            "train",
            text.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--hidden-size",
            "32",
            "--steps",
            "10000000",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The first checkpoint is written when the handler stands.
    while !out.join("checkpoint.bin").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.code() == Some(130) && said(&output).contains("--resume"),
        "{}",
        said(&output)
    );
    let network = trainer::onnx::read(&read(&out, "model.onnx")).unwrap();
    assert_eq!(network.provenance.validation_loss, None);
    assert!(network.provenance.steps < 10_000_000);
}
