//! Networks of every cell and shape on every board in its emulator: the host's bytes, from what is typed at the console.
//!
//! The images are those of `tests/golden`, which another implementation has computed too, and the shipped ones.

mod common;

use std::path::{Path, PathBuf};

use clap::Parser as _;
use common::root;
use pipsqueak::{Generator, SamplingParams, Task, Temperature, argmax, encode};
use pipsqueak_boards::{BoardSpec, Session, SessionError};

/// The console's settings when it begins.
const LENGTH: usize = 400;

/// An image of a file.
struct Model {
    path: PathBuf,
    words: Vec<u32>,
}

impl Model {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let words = encode::to_words(&bytes);
        let path = path.to_owned();
        Self { path, words }
    }

    fn model(&self) -> pipsqueak::Model<'_> {
        pipsqueak::Model::parse(encode::as_bytes(&self.words)).expect("a model")
    }

    /// What the console answers to `line`, by the runtime on this machine.
    fn answer(&self, line: &str) -> String {
        let image = self.model();
        let mut workspace = vec![0; image.workspace_len()];
        let mut settings = SamplingParams::default();
        if image.task() == Task::SequenceToSequence {
            settings.temperature = Temperature::GREEDY;
        }
        let mut generator = Generator::new(&image, &mut workspace, settings).unwrap();
        let mut text = match image.task() {
            Task::LanguageModel => {
                generator.prompt(line).unwrap();
                line.as_bytes().to_vec()
            }
            Task::SequenceToSequence => {
                generator.encode_source(line).unwrap();
                Vec::new()
            }
            Task::ConditionalGenerator => {
                generator.set_conditioning_text(line).unwrap();
                Vec::new()
            }
            Task::Classifier => {
                let scores = generator.classify(line).unwrap();
                let class = argmax(scores);
                // Classes without names have numbers.
                return match image.vocabulary().is_empty() {
                    true => class.to_string(),
                    false => String::from_utf8(image.vocabulary().text(class).to_vec()).unwrap(),
                };
            }
            _ => panic!("{} has no texts", self.path.display()),
        };
        let read = String::from_utf8_lossy(&text).chars().count();
        for piece in generator {
            text.extend_from_slice(piece);
            if String::from_utf8_lossy(&text).chars().count() >= read + LENGTH {
                break;
            }
        }
        let text = String::from_utf8(text).unwrap();
        text.chars().take(read + LENGTH).collect()
    }
}

/// The console's answer as the host gives it: of a classifier's, the first class, without the probability behind two spaces.
fn answer<'a>(model: &Model, found: &'a str) -> &'a str {
    match model.model().task() {
        Task::Classifier => found.split("  ").next().unwrap(),
        _ => found,
    }
}

fn golden() -> Vec<Model> {
    let files = std::fs::read_dir(root().join("tests/golden")).unwrap();
    let images = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "pip"));
    let mut images: Vec<PathBuf> = images.collect();
    images.sort();
    images.iter().map(|path| Model::read(path)).collect()
}

fn start(board: &str, model: &Model) -> Session {
    let board = BoardSpec::find(board).unwrap();
    match Session::start(board, &board.firmware(root()), Some(&model.path)) {
        Ok((session, banner)) => {
            assert!(
                banner.contains(" units, ") || banner.contains("outputs"),
                "{banner}"
            );
            session
        }
        Err(error) => panic!("{error}"),
    }
}

/// Every kernel on all weights, and all outputs over the digest's inputs: of an encoder and what it hands over, of vectors,
/// features and means too.
fn every_shape_computes_what_was_exported(board: &str) {
    let models = golden();
    assert!(models.len() >= 12, "{} images", models.len());
    for model in models {
        let mut session = start(board, &model);
        let said = session.command("selftest").unwrap();
        let digest = model.model().digest();
        let expected = format!("\ndigest     {digest:08X} as exported");
        assert!(
            said.ends_with(&expected),
            "{}: {said:?}",
            model.path.display()
        );
    }
}

/// Lines that a model's vocabulary has, a command's word among them where it has its letters.
fn lines_are_answered_as_on_the_host(board: &str) {
    let mut tasks = Vec::new();
    for model in golden() {
        let image = model.model();
        if image.task() == Task::Tensors {
            continue;
        }
        tasks.push(image.task());
        let source = match image.source_vocabulary() {
            source if source.is_empty() => image.vocabulary(),
            source => source,
        };
        let texts: Vec<String> = (0..source.len() as u16)
            .filter(|&id| !source.special_tokens().contains(id))
            .map(|id| String::from_utf8_lossy(source.text(id)).into_owned())
            .filter(|text| text.chars().all(|c| !c.is_control()))
            .take(4)
            .collect();
        let line = texts.concat();
        let mut session = start(board, &model);
        let found = match image.task() {
            Task::LanguageModel => session.generate(&line, LENGTH, |_| ()),
            _ => session.query(&line),
        };
        let name = model.path.display();
        assert_eq!(
            answer(&model, &found.unwrap()),
            model.answer(&line),
            "{name}: {line:?}"
        );
    }
    for task in [Task::LanguageModel, Task::SequenceToSequence] {
        assert!(tasks.contains(&task), "{task:?}");
    }
}

macro_rules! boards {
    ($($board:ident)*) => {
        $(mod $board {
            #[test]
            fn every_shape_computes_what_was_exported() {
                super::every_shape_computes_what_was_exported(stringify!($board));
            }

            #[test]
            fn lines_are_answered_as_on_the_host() {
                super::lines_are_answered_as_on_the_host(stringify!($board));
            }
        })*
    };
}

boards! { microbit stm32f405 pico }

/// The shipped models of each task where they fit, in the words that their users type.
#[test]
fn shipped_models_answer_as_on_the_host() {
    let asked = [
        ("names", "microbit", &["length=0.5,a", "length=0.8, m"][..]),
        ("news", "microbit", &["Stocks rally as oil prices fall"]),
        ("names", "stm32f405", &["length=0.4,z"]),
        (
            "news",
            "stm32f405",
            &["Team wins the cup final", "New planet found"],
        ),
        ("g2p", "stm32f405", &["hello", "recurrent", "network"]),
        ("g2p", "pico", &["board"]),
    ];
    for (name, board, lines) in asked {
        let model = Model::read(&root().join(format!("models/{name}/model.pip")));
        let mut session = start(board, &model);
        for line in lines {
            let found = session.command(line).unwrap();
            println!("{board}: {line} -> {found}");
            assert_eq!(
                answer(&model, &found),
                model.answer(line),
                "{name} on {board}: {line:?}"
            );
        }
    }
}

/// The encoder and decoder of others, where they are at hand: two graphs, one image, words typed at the serial port.
#[test]
fn an_imported_encoder_and_decoder_spell_on_the_board() {
    let Some(data) = std::env::var_os("PIPSQUEAK_DATA") else {
        println!("PIPSQUEAK_DATA is not set: models/g2p alone is tried");
        return;
    };
    let case = PathBuf::from(data).join("cases/g2p_en");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("g2p.pip");
    let file = |name: &str| case.join(name).to_str().unwrap().to_owned();
    let arguments = [
        "trainer".to_owned(),
        "export".into(),
        file("encoder.onnx"),
        file("decoder.onnx"),
        "--vocab".into(),
        file("vocabulary.json"),
        "--out".into(),
        out.to_str().unwrap().into(),
    ];
    trainer::cli::Cli::parse_from(arguments).run().unwrap();
    let model = Model::read(&out);
    assert!(model.model().len() <= 520 * 1024);
    let words = std::fs::read_to_string(case.join("words.tsv")).unwrap();
    let mut session = start("stm32f405", &model);
    for line in words.lines().take(10) {
        let word = line.split('\t').next().unwrap();
        let found = session.query(word).unwrap();
        assert_eq!(found, model.answer(word), "{word}");
        println!("{word} -> {found}");
    }
}

#[test]
fn features_that_are_not_there_are_refused() {
    let path = root().join("models/names/model.pip");
    let mut session = start("microbit", &Model::read(&path));
    for (line, position) in [("nonesuch", 0), ("a, nonesuch=1", 3)] {
        let Err(SessionError::Refused(refusal)) = session.command(line) else {
            panic!("{line} is no feature");
        };
        let expected = format!("byte {position}: expected the name of a feature");
        assert_eq!(refusal, expected);
    }
}
