//! Every board in its emulator: the firmware that would be flashed, talked to over its serial port.
//!
//! `make test` builds the firmware before. With PIPSQUEAK_EXTENDED set, the Pico, whose emulator is slow, says as much as
//! the others.

use std::{
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use pipsqueak::{
    Cell, Generator, Image, Layer, Settings, Temperature,
    encode::{self, Parts},
};
use pipsqueak_boards::{BOARDS, Board, Emulator, Firmware, LINE_BYTES, Session, SessionError};

/// The same tests for each board.
macro_rules! boards {
    ($($board:ident)*) => {
        $(mod $board {
            const BOARD: &str = stringify!($board);

            #[test]
            fn greets_and_obeys() {
                super::greets_and_obeys(super::board(BOARD));
            }

            #[test]
            fn says_what_is_wrong_with_its_slot() {
                super::says_what_is_wrong_with_its_slot(super::board(BOARD));
            }

            #[test]
            fn selftest_finds_what_is_broken() {
                super::selftest_finds_what_is_broken(super::board(BOARD));
            }

            #[test]
            fn texts_are_multi_byte_and_can_be_stopped() {
                super::texts_are_multi_byte_and_can_be_stopped(super::board(BOARD));
            }

            #[test]
            fn writes_the_bytes_that_the_host_does() {
                super::writes_the_bytes_that_the_host_does(super::board(BOARD));
            }
        })*

        const TESTED: &[&str] = &[$(stringify!($board)),*];
    };
}

boards! { microbit stm32f405 pico }

#[test]
fn every_board_is_tested() {
    assert_eq!(TESTED, BOARDS.each_ref().map(|board| board.name));
}

#[test]
fn the_catalogue_says_what_the_firmware_was_linked_to() {
    for board in &BOARDS {
        let firmware = Firmware::read(&firmware(board)).unwrap();
        let slot = board.slot_address..board.slot_address + board.slot_bytes;
        assert_eq!(firmware.slot, slot, "{}", board.name);
        for segment in &firmware.segments {
            let end = segment.address + segment.bytes.len() as u32;
            assert!(end <= slot.start, "{}: code up to {end:#x}", board.name);
        }
    }
}

fn greets_and_obeys(board: &'static Board) {
    let model = Model::small();
    let (mut session, banner) = start(board, Some(model.path()));
    assert!(
        banner.contains(&format!("Pipsqueak 0.1.0 on {}, ", board.name)),
        "{banner:?}"
    );
    assert!(
        banner.contains("\r\nModel: 24 units, 9 tokens, "),
        "{banner:?}"
    );

    let info = session.command("info").unwrap();
    // The F405's crystal is not emulated: the firmware must have done without.
    let hz = if board.name == "stm32f405" {
        16_000_000
    } else {
        board.clock_hz
    };
    let needed = 4 * model.image().workspace_len();
    let available = 4 * board.workspace_words;
    assert!(
        info.contains(&format!("{}, {} MHz\n", board.name, hz / 1_000_000)),
        "{info:?}"
    );
    assert!(
        info.contains(&format!("workspace  {needed} of {available} bytes\n")),
        "{info:?}"
    );
    assert!(
        info.contains(&format!("\nkernel     {}\n", board.kernel)),
        "{info:?}"
    );

    assert!(session.command("help").unwrap().contains("  temperature T"));
    let set = session.command("temperature 0.25").unwrap();
    assert_eq!(
        set,
        "temperature 0.25, seed 42, length 400, top-k 0, pace 0"
    );
    let Err(SessionError::Refused(refusal)) = session.command("seed x") else {
        panic!("a seed of x was taken");
    };
    assert!(
        refusal.starts_with("seed expects a whole number below 2^64; found \"x\""),
        "{refusal:?}"
    );
    let reset = session.command("reset").unwrap();
    assert_eq!(
        reset,
        "temperature 0.8, seed 42, length 400, top-k 0, pace 0"
    );

    // A long line is full at the 128th byte: the next character rings.
    let long = "a".repeat(LINE_BYTES);
    for character in long.chars() {
        session.type_character(character).unwrap();
    }
    session.send(b"a").unwrap();
    session.expect("\x07").unwrap();
    session.send(b"\x15").unwrap();
    session.expect(&"\x08 \x08".repeat(LINE_BYTES)).unwrap();

    // The pace comes from a timer of the board.
    session.command("length 3").unwrap();
    session.command("pace 2").unwrap();
    let text = session.generate("ab", 3, |_| ()).unwrap();
    assert_eq!(text, model.text("ab", 3, Settings::default()));
}

fn says_what_is_wrong_with_its_slot(board: &'static Board) {
    let whole = Model::small();
    let cut = Model::of(&whole.bytes()[..whole.bytes().len() / 2]);
    let garbage = Model::of(&[0x5a; 1000]);
    // A logit of each token is more than the workspace has room for.
    let vast = Model::of(&Model::random(2 * board.workspace_words, 1));
    for (slot, why) in [
        (None, "no image here"),
        (
            Some(garbage.path()),
            "not an image: expected the bytes 50 49 50 53 (PIPS), found 5A 5A 5A 5A",
        ),
        (Some(cut.path()), "the image is damaged: expected CRC "),
        (Some(vast.path()), "the model needs a workspace of "),
    ] {
        let (mut session, banner) = start(board, slot);
        assert!(
            banner.contains(&format!("\r\nModel: {why}")),
            "{}: {banner:?}",
            board.name
        );
        match session.command("prompt ab") {
            Err(SessionError::Refused(refusal)) => {
                assert!(
                    refusal.starts_with(&format!("no model: {why}")),
                    "{refusal:?}"
                );
            }
            other => panic!("a text without a model: {other:?}"),
        }
        assert!(session.command("info").unwrap().contains(why));
    }
}

fn selftest_finds_what_is_broken(board: &'static Board) {
    let good = Model::small();
    let kernel = format!("kernel     {} equals portable on ", board.kernel);
    let digest = good.image().digest();
    let (mut session, _) = start(board, Some(good.path()));
    let said = session.command("selftest").unwrap();
    assert!(said.starts_with(&kernel), "{said:?}");
    let expected = format!("\ndigest     {digest:08X} as exported");
    assert!(said.ends_with(&expected), "{said:?}");

    // Another weight, the same digest, and a CRC that fits.
    let mut parts = Model::small_parts();
    parts.networks[0].layers[0].gates[1].weights[3] ^= 0x20;
    let mut changed = encode::bytes(&encode::encode(&parts).unwrap()).to_vec();
    changed[16..20].copy_from_slice(&good.bytes()[16..20]);
    encode::seal(&mut changed);
    let changed = Model::of(&changed);
    let (mut session, _) = start(board, Some(changed.path()));
    let Err(SessionError::Refused(refusal)) = session.command("selftest") else {
        panic!("a changed weight was not found");
    };
    assert!(refusal.starts_with(&kernel), "{refusal:?}");
    let expected = format!(", expected {digest:08X} as exported");
    assert!(refusal.ends_with(&expected), "{refusal:?}");

    let broken = with_broken_kernel(board, "6kernel17h").expect("every board has one");
    let (mut session, banner) = Session::start(board, broken.path(), Some(good.path())).unwrap();
    let failed = format!(
        "SELF-TEST FAILED, kernel {}: row 0 of layer 0: expected ",
        board.kernel
    );
    assert!(banner.contains(&format!("Model: {failed}")), "{banner:?}");
    for command in ["prompt ab", "selftest"] {
        let Err(SessionError::Refused(refusal)) = session.command(command) else {
            panic!("{command} with a broken kernel");
        };
        assert!(
            refusal.starts_with(&format!("no model: {failed}")),
            "{refusal:?}"
        );
    }

    // What stands around the products; on the micro:bit the digest alone can tell.
    for name in [
        "12gates_kernel17h",
        "11walk_kernel17h",
        "14largest_kernel17h",
    ] {
        let Some(broken) = with_broken_kernel(board, name) else {
            assert!(board.name != "stm32f405", "{name} is a function of its own");
            continue;
        };
        let (mut session, _) = Session::start(board, broken.path(), Some(good.path())).unwrap();
        let Err(SessionError::Refused(refusal)) = session.command("selftest") else {
            panic!("{name} does nothing, and nothing was found");
        };
        let thorough = refusal.contains(": row ");
        assert!(thorough || board.name == "microbit", "{name}: {refusal:?}");
    }
}

/// The board's firmware with a kernel that returns at once: the one whose mangled path has `name` in it, if there is one.
fn with_broken_kernel(board: &'static Board, name: &str) -> Option<tempfile::NamedTempFile> {
    use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
    const BX_LR: [u8; 2] = [0x70, 0x47];
    let mut elf = std::fs::read(firmware(board)).unwrap();
    let place = {
        let file = object::File::parse(&*elf).unwrap();
        let kernel = |found: &str| found.contains("cortex_m") && found.contains(name);
        let mut symbols = file.symbols();
        let symbol = symbols.find(|symbol| symbol.name().is_ok_and(kernel))?;
        let section = file
            .section_by_index(symbol.section_index().unwrap())
            .unwrap();
        let (start, _) = section.file_range().unwrap();
        (start + (symbol.address() & !1) - section.address()) as usize
    };
    elf[place..place + 2].copy_from_slice(&BX_LR);
    let broken = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&broken, elf).unwrap();
    Some(broken)
}

fn texts_are_multi_byte_and_can_be_stopped(board: &'static Board) {
    let model = Model::small();
    let (mut session, _) = start(board, Some(model.path()));
    session.command("length 60").unwrap();
    for prompt in ["שלום", "😀 ש", "\n\\a"] {
        let text = session.generate(prompt, 60, |_| ());
        if prompt.contains('\\') {
            let Err(SessionError::Refused(refusal)) = text else {
                panic!("the model has no backslash, but there was {text:?}");
            };
            assert_eq!(refusal, "the model has no character \\ (U+005C)");
        } else {
            assert_eq!(text.unwrap(), model.text(prompt, 60, Settings::default()));
        }
    }

    // Backspace takes a whole character and its cells.
    for (character, erased) in [('ש', "\x08 \x08"), ('😀', "\x08 \x08\x08 \x08")] {
        session.type_character(character).unwrap();
        session.send(b"\x7f").unwrap();
        session.expect(erased).unwrap();
    }

    session.command("length 4000000000").unwrap();
    session.type_line("שa").unwrap();
    session.read_until("שa").unwrap();
    session.send(b"xy\x03").unwrap();
    session.read_until("^C\r\n> ").unwrap();
    session.command("info").unwrap();
    session.type_character('a').unwrap();
    session.send(b"\x03").unwrap();
    session.expect("^C\r\n> ").unwrap();
}

fn writes_the_bytes_that_the_host_does(board: &'static Board) {
    // 128 units and 65 tokens are what the smallest board is made for.
    let untrained = Model::of(&Model::random(65, 128));
    let shipped = Model::of(
        &std::fs::read(root().join("models/shakespeare/model.pip")).expect("the shipped model"),
    );
    let extended = std::env::var_os("PIPSQUEAK_EXTENDED").is_some();
    let length = match board.emulator {
        Emulator::Rp2040js if !extended => 300,
        _ => 2000,
    };
    for (model, prompt) in [(shipped, "ROMEO:"), (untrained, "ab")] {
        let (mut session, _) = start(board, Some(model.path()));
        session.command(&format!("length {length}")).unwrap();
        for (temperature, seed) in [
            ("0", 42),
            ("0.5", 1),
            ("0.5", 2),
            ("0.5", 3),
            ("1", 1),
            ("1", 2),
            ("1", 3),
        ] {
            session
                .command(&format!("temperature {temperature}"))
                .unwrap();
            session.command(&format!("seed {seed}")).unwrap();
            let text = session.generate(prompt, length, |_| ()).unwrap();
            let temperature = Temperature::parse(temperature).unwrap();
            let settings = Settings {
                temperature,
                top_k: 0,
                seed,
            };
            assert_eq!(
                text,
                model.text(prompt, length, settings),
                "{}: {settings:?}",
                board.name
            );
            if board.emulator == Emulator::Rp2040js && !extended && prompt == "ab" {
                break;
            }
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn board(name: &str) -> &'static Board {
    Board::find(name).unwrap()
}

fn firmware(board: &Board) -> PathBuf {
    board.firmware(root())
}

fn start(board: &'static Board, model: Option<&Path>) -> (Session, String) {
    match Session::start(board, &firmware(board), model) {
        Ok(started) => started,
        // Not in debug format: the message says what to do.
        Err(error) => panic!("{error}"),
    }
}

/// An image in a file of its own.
struct Model {
    words: Vec<u32>,
    path: PathBuf,
}

impl Model {
    fn of(bytes: &[u8]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // A comma is special to QEMU, a space to shells.
        let name = format!("model {},{count}.pip", process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, bytes).unwrap();
        let words = encode::aligned(bytes);
        Self { words, path }
    }

    /// A small untrained model of characters of one to four bytes.
    fn small() -> Self {
        Self::of(encode::bytes(
            &encode::encode(&Self::small_parts()).unwrap(),
        ))
    }

    fn small_parts() -> Parts<'static> {
        let tokens = ["a", "b", " ", "\n", "ש", "ל", "ם", "ו", "😀"];
        let mut parts = parts(tokens.len(), 24);
        parts.vocabularies[1].tokens = tokens.map(str::to_owned).to_vec();
        parts
    }

    fn random(tokens: usize, units: u16) -> Vec<u8> {
        encode::bytes(&encode::encode(&parts(tokens, units)).unwrap()).to_vec()
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn bytes(&self) -> &[u8] {
        encode::bytes(&self.words)
    }

    fn image(&self) -> Image<'_> {
        Image::parse(self.bytes()).unwrap()
    }

    /// The prompt and what the host makes of it.
    fn text(&self, prompt: &str, length: usize, settings: Settings) -> String {
        let image = self.image();
        let mut workspace = vec![0; image.workspace_len()];
        let mut generator = Generator::new(&image, &mut workspace, settings).unwrap();
        generator.prompt(prompt).unwrap();
        // A token is a character here.
        let text: Vec<u8> = generator.take(length).flatten().copied().collect();
        prompt.to_owned() + &String::from_utf8(text).unwrap()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn parts(tokens: usize, units: u16) -> Parts<'static> {
    let layer = Layer::new(Cell::GruResetAfter, units);
    Parts::random(1, tokens, 0, &[layer])
}
