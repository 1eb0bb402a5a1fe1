//! Language models at every level: training, what the files say, texts that end, vocabulary files, and the command line.

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::trainer;
use pipsqueak::{SamplingParams, Temperature};
use trainer::data::corpus::Corpus;
use trainer::data::vocab::{Kind, SpecialTokens, Tokenization, Vocabulary};
use trainer::inference::generate::FloatGenerator;
use trainer::network::{Dense, Matrix, Network, Phase, Provenance};
use trainer::training::checkpoint::Checkpoint;
use trainer::training::settings::TrainSettings;
use trainer::training::{self, Outcome, Record, Request, Row, TrainError, Watch};

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
    Corpus::read(&path).unwrap()
}

fn settings(level: Kind, lines: bool) -> TrainSettings {
    TrainSettings {
        lines,
        vocabulary: if level.is_sized() { 40 } else { 0 },
        // As many columns as units; other ones need a factor.
        embedding: if level == Kind::Word { 9 } else { 12 },
        tied: true,
        steps: 150,
        batch: 4,
        sequence: 8,
        threads: 2,
        warmup: 10,
        learning_rate: 0.02,
        average: 0.9,
        dropout: 0.1,
        validation: 0.2,
        ..TrainSettings::for_level(level, 12, 10_000)
    }
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
    settings: &TrainSettings,
    out: &Path,
    resume: Option<Checkpoint>,
    stop_at: u64,
) -> Result<Outcome, TrainError> {
    let stop = AtomicBool::new(false);
    let request = Request {
        corpus,
        settings,
        out,
        first: None,
        lessons: None,
        resume,
        report_every: 0,
        checkpoint_every: Duration::from_secs(60),
    };
    training::run(request, &stop, &mut StopAt(stop_at, &stop))
}

#[test]
fn every_level_trains_resumes_and_is_what_its_file_says() {
    let corpus = corpus();
    let uniform = |network: &Network| (network.tokens() as f64).ln();
    for (level, lines) in [
        (Kind::Char, true),
        (Kind::Byte, false),
        (Kind::Byte, true),
        (Kind::Word, false),
        (Kind::Word, true),
        (Kind::Subword, false),
        (Kind::Subword, true),
    ] {
        let what = format!("{level:?}, lines {lines}");
        let folder = tempfile::tempdir().unwrap();
        let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
        let settings = settings(level, lines);
        let outcome = run(&corpus, &settings, &whole, None, u64::MAX).unwrap();
        run(&corpus, &settings, &parts, None, 60).unwrap();
        let checkpoint = Checkpoint::read(&parts.join("checkpoint.bin")).unwrap();
        run(&corpus, &settings, &parts, Some(checkpoint), u64::MAX).unwrap();
        let read = |folder: &Path| std::fs::read(folder.join("model.onnx")).unwrap();
        assert_eq!(read(&whole), read(&parts), "{what}");
        let network = trainer::onnx::read(&read(&whole)).unwrap();
        assert_eq!(network, outcome.network, "{what}");
        trainer::onnx::check(&network, &read(&whole)).unwrap();
        // What the settings say, repeated from the file of settings.
        let record = std::fs::read_to_string(whole.join("train.toml")).unwrap();
        let record: Record = toml::from_str(&record).unwrap();
        assert_eq!(
            (&record.settings, &record.result),
            (&settings, &outcome.result),
            "{what}"
        );

        let loss = outcome.result.validation_loss.unwrap();
        assert!(loss < 0.5 * uniform(&network), "{what}: {loss}");
        // Bits per character, by hand: the tokens' losses, the spelling of the unknown, over the characters after the first.
        let vocabulary = network.vocabulary();
        let (_, last) = corpus.parts(settings.validation, lines);
        let encoded = vocabulary.encode_stream(last, false).unwrap();
        assert_eq!(vocabulary.is_by_line(), lines, "{what}");
        let tokens = (encoded.tokens.len() - 1) as f64;
        let spelling = vocabulary
            .measure(&encoded, 1..encoded.tokens.len())
            .spelling;
        let first = if lines {
            0
        } else {
            vocabulary.decode(&encoded.tokens[..1]).chars().count()
        };
        let characters = (last.chars().count() - first) as f64;
        let bits = (loss * tokens + spelling) / characters / std::f64::consts::LN_2;
        let found = outcome.result.validation_bits.unwrap();
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
    let refusal = |settings: TrainSettings| {
        let error = run(&corpus, &settings, folder.path(), None, 1).unwrap_err();
        error.to_string()
    };
    let said = refusal(TrainSettings {
        vocabulary: 5,
        ..settings(Kind::Char, false)
    });
    assert!(said.contains("vocabulary is 5 with level Char"), "{said}");
    let said = refusal(TrainSettings {
        vocabulary: 0,
        ..settings(Kind::Word, false)
    });
    assert!(said.contains("vocabulary is 0 with level Word"), "{said}");
    let said = refusal(TrainSettings {
        embedding: 0,
        ..settings(Kind::Word, false)
    });
    assert!(
        said.contains("tied is true with embedding 0 and hidden 12"),
        "{said}"
    );
    let said = refusal(TrainSettings {
        head_bits: 4,
        ..settings(Kind::Word, false)
    });
    assert!(said.contains("head_bits is 4 with tied true"), "{said}");
    let said = refusal(TrainSettings {
        vocabulary: 4,
        ..settings(Kind::Subword, false)
    });
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
    let vocabulary = Vocabulary::with(Tokenization::Subword, specials, texts).unwrap();
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
    let options =
        "--level word --vocabulary 30 --lines --hidden 12 --steps 60 --batch 4 --sequence 8";
    let mut args = vec!["train", &text, "--out", &out];
    args.extend(options.split(' '));
    let (shown, _) = good(&args);
    assert!(
        shown.contains("different words") && shown.contains("nats/word"),
        "{shown}"
    );
    let model = format!("{out}/model.onnx");
    let eval = ["eval", &*model, "--text", &text, "--last", "0.1"];
    let (shown, _) = good(&eval);
    assert!(
        shown.contains("nats/token") && shown.contains("unknown"),
        "{shown}"
    );
    let (json, _) = good(&[&eval[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let record = std::fs::read_to_string(format!("{out}/train.toml")).unwrap();
    let record: Record = toml::from_str(&record).unwrap();
    assert_eq!(
        json["nats_per_token"].as_f64(),
        record.result.validation_loss
    );
    assert_eq!(
        json["bits_per_char"].as_f64(),
        record.result.validation_bits
    );
    // The chains of the same tokens pay the same for what is unknown.
    let chains = [
        "baseline",
        &*text,
        "--model",
        &model,
        "--model-tokens",
        "--json",
    ];
    let (chains, _) = good(&chains);
    let chains: serde_json::Value = serde_json::from_str(&chains).unwrap();
    assert_eq!(chains["predicted_characters"], json["characters"]);
    assert_eq!(chains["model"]["bits_per_char"], json["bits_per_char"]);
    // All fit beside floats, so it is the best of all.
    let bits = |line: &serde_json::Value| line["bits_per_char"].as_f64().unwrap();
    let all = chains["chains"].as_array().unwrap().iter().map(bits);
    assert_eq!(bits(&chains["best"]), all.fold(f64::MAX, f64::min));
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
        "--temperatures",
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
    let refused = trainer(&["generate", &model, "--temperatures", "0.3,x"]);
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
    assert!(error.contains("a cycle of 2 characters after 0"), "{error}");
    let (_, error) = good(&["generate", model, "--temperature", "1", "--length", "20"]);
    assert!(!error.contains("cycle"), "{error}");
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
        vec!["eval", &*model, "--text", &text],
        vec!["export", &*model, "--text", &text],
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
        error.contains("is an image, which has its vocabulary"),
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
        let record = std::fs::read_to_string(folder.join("train.toml")).unwrap();
        let record: Record = toml::from_str(&record).unwrap();
        assert_eq!(
            (record.settings.level, record.settings.embedding),
            (Kind::Char, 0)
        );
    }
}
