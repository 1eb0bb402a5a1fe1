//! Language models at every level: training, what the files say, texts that end, vocabulary files, and the command line.

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::trainer;
use pipsqueak::{SamplingParams, Temperature};
use trainer::data::corpus::{Corpus, CorpusOptions};
use trainer::data::tokenizer::{SpecialTokens, Tokenizer, Vocabulary};
use trainer::inference::generate::FloatGenerator;
use trainer::network::{Dense, Matrix, Network, Phase, Provenance};
use trainer::training::artifacts::Metrics;
use trainer::training::checkpoint::Checkpoint;
use trainer::training::config::Config;
use trainer::training::presets;
use trainer::training::{self, Data, Outcome, Request, Row, TrainError, Watch};

/// Titles of three words, some of them rare.
fn titles() -> String {
    let (first, second) = (
        ["The cat", "A dog", "My bird"],
        ["sings", "sleeps", "flies away"],
    );
    (0..400)
        .map(|i| {
            let rare = if i % 40 == 7 { " tortoise" } else { "" };
            format!("{} {}{rare}\n", first[i * i % 3], second[i / 2 % 3])
        })
        .collect()
}

fn corpus() -> Corpus {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("titles.txt");
    std::fs::write(&path, titles()).unwrap();
    Corpus::open(&path, CorpusOptions::default()).unwrap()
}

fn config(tokenizer: Tokenizer, lines: bool) -> Config {
    let mut config = presets::text(tokenizer, Some(12), 10_000);
    config.data.line_documents = lines;
    config.data.vocab_size = if tokenizer.has_vocab_size() { 40 } else { 0 };
    config.data.split = "80/20/0".parse().unwrap();
    let model = &mut config.model;
    // As many columns as units; other ones need a projection.
    model.embedding_dim = if tokenizer == Tokenizer::WORD { 9 } else { 12 };
    (model.tie_embeddings, model.dropout) = (true, 0.1);
    let optimizer = &mut config.optimizer;
    (optimizer.steps, optimizer.warmup_steps) = (150, 10);
    (optimizer.batch_size, optimizer.seq_len) = (4, 8);
    (optimizer.learning_rate, optimizer.ema_decay) = (0.02, 0.9);
    config
}

struct StopAt<'a>(u64, &'a AtomicBool);

impl Watch for StopAt<'_> {
    fn begins(&mut self, _: &training::Plan) {}
    fn steps(&mut self, step: u64, _: f64) {
        self.1
            .store(step >= self.0, std::sync::atomic::Ordering::Relaxed);
    }
    fn reports(&mut self, _: &Row, _: &Network) {}
}

fn run(
    corpus: &Corpus,
    config: &Config,
    out: &Path,
    resume: Option<Checkpoint>,
    stop_at: u64,
) -> Result<Outcome, TrainError> {
    let stop = AtomicBool::new(false);
    let data = Data::new(corpus, config, None, 2)?;
    let request = Request {
        corpus,
        data: &data,
        config,
        out,
        initial: None,
        soft: None,
        resume,
        checkpoint_every: Duration::from_secs(60),
        threads: 2,
    };
    training::run(request, &stop, &mut StopAt(stop_at, &stop))
}

#[test]
fn every_level_trains_resumes_and_is_what_its_file_says() {
    let corpus = corpus();
    let uniform = |network: &Network| (network.tokens() as f64).ln();
    for (level, lines) in [
        (Tokenizer::CHAR, true),
        (Tokenizer::BYTE, false),
        (Tokenizer::BYTE, true),
        (Tokenizer::WORD, false),
        (Tokenizer::WORD, true),
        (Tokenizer::SUBWORD, false),
        (Tokenizer::SUBWORD, true),
    ] {
        let what = format!("{level}, lines {lines}");
        let folder = tempfile::tempdir().unwrap();
        let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
        let config = config(level, lines);
        let outcome = run(&corpus, &config, &whole, None, u64::MAX).unwrap();
        run(&corpus, &config, &parts, None, 60).unwrap();
        let checkpoint = Checkpoint::read(&parts.join("checkpoint.bin")).unwrap();
        run(&corpus, &config, &parts, Some(checkpoint), u64::MAX).unwrap();
        let read = |folder: &Path| std::fs::read(folder.join("model.onnx")).unwrap();
        assert_eq!(read(&whole), read(&parts), "{what}");
        let network = trainer::onnx::read(&read(&whole)).unwrap();
        assert_eq!(network, outcome.network, "{what}");
        trainer::onnx::check(&network, &read(&whole)).unwrap();
        // What the settings say, repeated from the file of settings.
        let again = Config::read(&whole.join("config.toml")).unwrap();
        assert_eq!(again, config, "{what}");
        Metrics::read(&whole.join("metrics.json")).unwrap();
        let metrics = std::fs::read_to_string(whole.join("metrics.json")).unwrap();
        let expected = serde_json::to_string_pretty(&outcome.metrics).unwrap();
        assert_eq!(metrics, expected + "\n", "{what}");

        let loss = outcome.metrics.dev_loss.unwrap();
        assert!(loss < 0.5 * uniform(&network), "{what}: {loss}");
        // Bits per character, by hand: the tokens' losses, the spelling of the unknown, over the characters after the first.
        let vocabulary = network.vocabulary();
        let [_, last, _] = config.data.split.parts(&corpus, lines).unwrap();
        let last = corpus.text(last).unwrap();
        let encoded = vocabulary.encode_stream(&last, false).unwrap();
        assert_eq!(vocabulary.line_documents(), lines, "{what}");
        let tokens = (encoded.tokens.len() - 1) as f64;
        let spelling = vocabulary
            .char_stats(&encoded, 1..encoded.tokens.len())
            .spelling;
        let first = if lines {
            0
        } else {
            vocabulary.decode(&encoded.tokens[..1]).chars().count()
        };
        let characters = (last.chars().count() - first) as f64;
        let bits = (loss * tokens + spelling) / characters / std::f64::consts::LN_2;
        let found = outcome.metrics.dev_bits_per_char.unwrap();
        assert!(
            (found - bits).abs() < 1e-9,
            "{what}: {found}, expected {bits}"
        );
        if lines {
            // Each line that is made is short, as those of the text are.
            let temperature = Temperature::parse("0.5").unwrap();
            let settings = SamplingParams {
                temperature,
                ..SamplingParams::default()
            };
            let line: Vec<u16> = FloatGenerator::new(&network, network.state(), &[], settings)
                .take(1000)
                .collect();
            assert!(line.len() < 100, "{what}: {}", vocabulary.decode(&line));
            assert!(!vocabulary.decode(&line).contains('\n'), "{what}");
        }
    }
}

#[test]
fn settings_of_vocabularies_are_checked() {
    let (corpus, folder) = (corpus(), tempfile::tempdir().unwrap());
    let refusal = |tokenizer, change: fn(&mut Config)| {
        let mut config = config(tokenizer, false);
        change(&mut config);
        let error = run(&corpus, &config, folder.path(), None, 1).unwrap_err();
        error.to_string()
    };
    let said = refusal(Tokenizer::CHAR, |c| c.data.vocab_size = 5);
    assert!(said.contains("vocab_size is 5: expected"), "{said}");
    let said = refusal(Tokenizer::WORD, |c| c.data.vocab_size = 0);
    assert!(said.contains("vocab_size is 0: expected"), "{said}");
    let said = refusal(Tokenizer::WORD, |c| c.model.embedding_dim = 0);
    assert!(
        said.contains("tie_embeddings is true with embedding_dim 0 and hidden_size 12"),
        "{said}"
    );
    let said = refusal(Tokenizer::WORD, |c| c.quantization.output_weight_bits = 4);
    assert!(
        said.contains("output_weight_bits is 4 with tie_embeddings true"),
        "{said}"
    );
    let said = refusal(Tokenizer::SUBWORD, |c| c.data.vocab_size = 4);
    assert!(
        said.contains("different characters, expected at most 4"),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A network whose logits are its head's biases, whatever it reads.
fn constant(logits: &[f32], specials: SpecialTokens) -> Network {
    let (v, units) = (logits.len(), 2);
    let texts = (0..v).map(|i| format!("{i};")).collect();
    let vocabulary = Vocabulary::with(Tokenizer::SUBWORD, specials, texts).unwrap();
    let shape = trainer::network::sample::Shape {
        tokens: v,
        units,
        layers: 1,
        embedding: false,
        linear_before_reset: true,
    };
    let network = trainer::network::sample::network(1, shape);
    let layers = network.recurrent(Phase::Step);
    let layers = layers.map(|(_, cell)| cell.clone()).collect();
    let head = Dense::linear(Matrix::new(v, units, vec![0.0; v * units]), logits.to_vec());
    Network::language_model(
        vocabulary,
        None,
        layers,
        1,
        vec![head],
        Provenance::default(),
    )
    .unwrap()
}

fn drawn(network: &Network, temperature: &str, seed: u64, count: usize) -> Vec<u16> {
    let temperature = Temperature::parse(temperature).unwrap();
    let settings = SamplingParams {
        temperature,
        top_k: 0,
        seed,
    };
    FloatGenerator::new(network, network.state(), &[], settings)
        .take(count)
        .collect()
}

/// The course's notebook crashes at a temperature of 1.8, where padding is drawn.
#[test]
fn what_is_no_text_is_never_drawn_and_the_rest_as_if_it_were_not_there() {
    // The special ones are by far the likeliest.
    let logits = [9.0, 0.5, 9.0, 1.5, 0.0, 9.0];
    for (special, rest) in [
        (vec![0, 2, 5], vec![1, 3, 4]),
        (vec![5, 4, 3], vec![0, 1, 2]),
    ] {
        let id = |i: usize| special.get(i).map(|id| *id as u16);
        let specials = SpecialTokens {
            bos: id(0),
            eos: None,
            pad: id(1),
            unk: id(2),
        };
        let network = constant(&logits, specials);
        let mut counts = [0usize; 6];
        for temperature in ["0", "1", "1.8"] {
            let tokens = drawn(&network, temperature, 3, 2000);
            assert!(
                tokens.iter().all(|t| rest.contains(&usize::from(*t))),
                "{temperature}"
            );
            if temperature == "1" {
                tokens.iter().for_each(|t| counts[usize::from(*t)] += 1);
            }
        }
        // Shares at temperature 1 are those of a softmax over the rest.
        let total: f32 = rest.iter().map(|i| logits[*i].exp()).sum();
        for i in rest {
            let (found, expected) = (counts[i] as f32 / 2000.0, logits[i].exp() / total);
            assert!(
                (found - expected).abs() < 0.05,
                "{i}: {found}, expected {expected}"
            );
        }
    }
    // An end that is the likeliest ends the text at once, also where it fills batches or starts texts too.
    let eos = Some(2);
    let specials = SpecialTokens {
        bos: eos,
        eos,
        pad: eos,
        unk: None,
    };
    assert_eq!(
        drawn(&constant(&logits[..4], specials), "0", 1, 10),
        [0; 10]
    );
    let ends = constant(&[0.0, 0.0, 9.0], specials);
    assert!(drawn(&ends, "0", 1, 10).is_empty());
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn good(args: &[&str]) -> (String, String) {
    let output = trainer(args);
    let said = said(&output);
    assert!(output.status.success(), "{args:?}: {}", said.1);
    said
}

#[test]
fn the_command_line_from_titles_to_a_title() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (text, out) = (path("titles.txt"), path("out"));
    std::fs::write(&text, titles()).unwrap();
    let options = "--tokenizer word --vocab-size 30 --line-documents --hidden-size 12 --steps 60 --batch-size 4 --seq-len 8 --split 90/10/0";
    let mut args = vec!["train", &text, "--out", &out];
    args.extend(options.split(' '));
    let (shown, _) = good(&args);
    assert!(
        shown.contains("different words") && shown.contains("nats/word"),
        "{shown}"
    );
    let model = format!("{out}/model.onnx");
    let eval = ["eval", &*model, "--data", &text, "--split", "dev"];
    let (shown, _) = good(&eval);
    assert!(
        shown.contains("nats/token") && shown.contains("unknown"),
        "{shown}"
    );
    let (json, _) = good(&[&eval[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let metrics = Metrics::read(&Path::new(&out).join("metrics.json")).unwrap();
    assert_eq!(json["nats_per_token"].as_f64(), metrics.dev_loss);
    assert_eq!(json["bits_per_char"].as_f64(), metrics.dev_bits_per_char);
    // N-gram models of the same tokens pay the same for what is unknown.
    let ngrams = [
        "ngram",
        &*model,
        "--data",
        &text,
        "--tokenizer",
        "model",
        "--json",
    ];
    let (ngrams, _) = good(&ngrams);
    let ngrams: serde_json::Value = serde_json::from_str(&ngrams).unwrap();
    assert_eq!(ngrams["predicted_characters"], json["characters"]);
    assert_eq!(ngrams["model"]["bits_per_char"], json["bits_per_char"]);
    // All fit beside floats, so it is the best of all.
    let bits = |line: &serde_json::Value| line["bits_per_char"].as_f64().unwrap();
    let all = ngrams["ngrams"].as_array().unwrap().iter().map(bits);
    assert_eq!(bits(&ngrams["best"]), all.fold(f64::MAX, f64::min));
    // The image ends its texts as the network does.
    let image = model.replace("model.onnx", "model.pip");
    good(&["export", &model]);
    let (title, _) = good(&["generate", &image, "--seed", "3"]);
    assert_eq!(title, good(&["generate", &model, "--seed", "3"]).0);
    // Titles at five temperatures, each under its own.
    let five = [
        "generate",
        &*model,
        "--prompt",
        "The",
        "--temperature",
        "0.3,0.8,1.0,1.3,1.8",
    ];
    let (shown, _) = good(&five);
    let heads: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("--- "))
        .collect();
    assert_eq!(heads.len(), 5, "{shown}");
    assert_eq!(
        (heads[0], heads[4]),
        ("--- temperature 0.3", "--- temperature 1.8")
    );
    assert_eq!(
        shown.lines().filter(|line| line.starts_with("The")).count(),
        5
    );
    assert!(
        !shown.contains("<unk>") && !shown.contains("<eos>"),
        "{shown}"
    );
    let refused = trainer(&["generate", &model, "--temperature", "0.3,x"]);
    assert!(!refused.status.success());
}

#[test]
fn a_greedy_text_that_repeats_is_said_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let network = constant(&[0.0, 1.0, 0.5], SpecialTokens::default());
    std::fs::write(&path, trainer::onnx::write(&network)).unwrap();
    let model = path.to_str().unwrap();
    let (text, error) = good(&["generate", model, "--temperature", "0", "--length", "20"]);
    assert_eq!(text, "1;".repeat(10) + "\n");
    assert!(
        error.contains("repeats the same 2 characters after the first 0"),
        "{error}"
    );
    let (_, error) = good(&["generate", model, "--temperature", "1", "--length", "20"]);
    assert!(!error.contains("repeats"), "{error}");
}

#[test]
fn a_vocabulary_file_gives_a_model_its_texts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut network = constant(&[0.0, 1.0, 0.5], SpecialTokens::default());
    network.vocabulary = None;
    let model = path("model.onnx");
    std::fs::write(&model, trainer::onnx::write(&network)).unwrap();
    let (list, short, text) = (path("list.json"), path("short.txt"), path("text.txt"));
    std::fs::write(&list, r#"["a", "b", "c"]"#).unwrap();
    std::fs::write(&short, "a\nb\n").unwrap();
    std::fs::write(&text, "abcabc").unwrap();
    let show = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let [model, list, short, text] = [&model, &list, &short, &text].map(show);
    for command in [
        vec!["generate", &*model, "--length", "5"],
        vec!["eval", &*model, "--data", &text],
        vec!["export", &*model, "--data", &text],
    ] {
        let output = trainer(&command);
        assert!(!output.status.success(), "{command:?}");
        assert!(said(&output).1.contains("vocabulary"), "{command:?}");
        let with = |file| [&command[..], &["--vocab", file]].concat();
        good(&with(&list));
        let (_, error) = said(&trainer(&with(&short)));
        assert!(error.contains("has 2 tokens, the model has 3"), "{error}");
    }
    let (greedy, _) = good(&[
        "generate",
        &model,
        "--vocab",
        &list,
        "--temperature",
        "0",
        "--length",
        "3",
    ]);
    assert_eq!(greedy, "bbb\n");
    let image = model.replace("onnx", "pip");
    let (_, error) = said(&trainer(&["generate", &image, "--vocab", &list]));
    assert!(
        error.contains("is a model file, which has its own vocabulary"),
        "{error}"
    );
}

#[test]
fn files_of_before_are_read_and_written_byte_for_byte() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    for name in ["shakespeare", "shakespeare-256"] {
        let folder = models.join(name);
        let bytes = std::fs::read(folder.join("model.onnx")).unwrap();
        let network = trainer::onnx::read(&bytes).unwrap();
        assert_eq!(network.vocabulary().specials(), SpecialTokens::default());
        assert_eq!(trainer::onnx::write(&network), bytes, "{name}");
        let config = Config::read(&folder.join("config.toml")).unwrap();
        config.check().unwrap();
        assert_eq!(
            (config.data.tokenizer, config.model.embedding_dim),
            (Tokenizer::CHAR, 0)
        );
        Metrics::read(&folder.join("metrics.json")).unwrap();
    }
}
