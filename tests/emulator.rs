//! Every board of the table in its emulator: the firmware that would be flashed, in a session over its serial port.
//!
//! `make test` builds the firmware before. With PIPSQUEAK_EXTENDED set, the Pico, whose emulator is slow, generates texts as
//! long as the others.

use std::{
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use pipsqueak::{
    Cell, Generator, Model, RecurrentLayerConfig, SamplingParams, Temperature,
    encode::{self, ModelParams, OpParams},
};
use pipsqueak_boards::{BOARDS, BoardSpec, Emulator, Firmware, Session, SessionError};

/// Runs `test` on each board of the table, all at once.
fn on_each_board(test: fn(&'static BoardSpec)) {
    let failed: Vec<&str> = thread::scope(|scope| {
        let run = |board: &'static BoardSpec| {
            let thread = thread::Builder::new().name(board.name.to_owned());
            let running = thread.spawn_scoped(scope, move || test(board)).unwrap();
            (board.name, running)
        };
        let running: Vec<_> = BOARDS.iter().map(run).collect();
        let failed = running
            .into_iter()
            .filter_map(|(name, running)| running.join().err().map(|_| name));
        failed.collect()
    });
    assert!(
        failed.is_empty(),
        "failed on {}: see above",
        failed.join(", ")
    );
}

#[test]
fn prints_its_banner_and_executes_commands() {
    on_each_board(prints_its_banner_and_executes_commands_on);
}

#[test]
fn reports_what_is_wrong_with_its_slot() {
    on_each_board(reports_what_is_wrong_with_its_slot_on);
}

#[test]
fn selftest_finds_a_broken_model_and_a_broken_kernel() {
    on_each_board(selftest_finds_a_broken_model_and_a_broken_kernel_on);
}

#[test]
fn texts_are_multi_byte_and_can_be_stopped() {
    on_each_board(texts_are_multi_byte_and_can_be_stopped_on);
}

#[test]
fn generates_the_bytes_that_the_host_generates() {
    on_each_board(generates_the_bytes_that_the_host_generates_on);
}

#[test]
fn lines_pasted_at_once_are_all_answered() {
    on_each_board(lines_pasted_at_once_are_all_answered_on);
}

#[test]
fn a_fault_is_reported() {
    on_each_board(a_fault_is_reported_on);
}

#[test]
fn the_stack_is_large_enough_for_every_model() {
    on_each_board(the_stack_is_large_enough_for_every_model_on);
}

#[test]
fn the_firmware_is_linked_as_the_table_describes() {
    for board in &BOARDS {
        let firmware = Firmware::read(&firmware(board)).unwrap();
        let name = board.name;
        let slot = board.slot_address..board.slot_address + board.slot_bytes;
        assert_eq!(firmware.slot, slot, "{name}");
        for segment in &firmware.segments {
            let end = segment.address + segment.bytes.len() as u32;
            assert!(end <= slot.start, "{name}: code up to {end:#x}");
        }
        // A stack that overflows must leave the RAM, and not run into data.
        let stack = board.ram_address..board.ram_address + board.stack_bytes;
        assert_eq!(firmware.stack, stack, "{name}");
        assert!(
            firmware.data.start >= stack.end,
            "{name}: {:x?}",
            firmware.data
        );
        assert!(
            firmware.data.end <= board.ram_address + board.ram_bytes,
            "{name}: {:x?}",
            firmware.data
        );
    }
}

fn prints_its_banner_and_executes_commands_on(board: &'static BoardSpec) {
    let model = ModelFile::small();
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
    let needed = 4 * model.model().workspace_len();
    let available = 4 * board.workspace_words;
    assert!(
        info.contains(&format!(
            "{}, {} MHz\n",
            board.name,
            board.emulated_clock_hz / 1_000_000
        )),
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
        panic!("a seed of x was accepted");
    };
    assert!(
        refusal
            .starts_with("seed expects a whole number from 0 to 18446744073709551615; found \"x\""),
        "{refusal:?}"
    );
    let reset = session.command("reset").unwrap();
    assert_eq!(
        reset,
        "temperature 0.8, seed 42, length 400, top-k 0, pace 0"
    );

    // A line holds 128 bytes: the next character rings the bell.
    for character in "a".repeat(128).chars() {
        session.type_character(character).unwrap();
    }
    let full = session.type_character('b');
    assert!(matches!(full, Err(SessionError::LineFull('b'))), "{full:?}");
    session.send(b"\x15").unwrap();
    session.expect(&"\x08 \x08".repeat(128)).unwrap();

    // Arrow up recalls the last line.
    session.send(b"\x1b[A\r").unwrap();
    session.expect("reset\r\n").unwrap();
    session.read_until("\r\n> ").unwrap();

    // The pace comes from a timer of the board.
    session.command("length 3").unwrap();
    session.command("pace 2").unwrap();
    let text = session.generate("ab", 3, |_| ()).unwrap();
    assert_eq!(text, model.text("ab", 3, SamplingParams::default()));
}

fn reports_what_is_wrong_with_its_slot_on(board: &'static BoardSpec) {
    let whole = ModelFile::small();
    let cut = ModelFile::of(&whole.bytes()[..whole.bytes().len() / 2]);
    let garbage = ModelFile::of(&[0x5a; 1000]);
    // The logits are larger than the workspace.
    let vast = ModelFile::of(&ModelFile::random(2 * board.workspace_words, 1));
    for (slot, why) in [
        (None, "no model here"),
        (
            Some(garbage.path()),
            "not a model: expected the bytes 50 49 50 53 (PIPS), found 5A 5A 5A 5A",
        ),
        (Some(cut.path()), "the model is damaged: expected CRC "),
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

fn selftest_finds_a_broken_model_and_a_broken_kernel_on(board: &'static BoardSpec) {
    let good = ModelFile::small();
    let kernel = format!("kernel     {} equals generic on ", board.kernel);
    let digest = good.model().digest();
    let (mut session, _) = start(board, Some(good.path()));
    let output = session.command("selftest").unwrap();
    assert!(output.starts_with(&kernel), "{output:?}");
    let expected = format!("\ndigest     {digest:08X} as exported");
    assert!(output.ends_with(&expected), "{output:?}");

    // One weight changed, the digest kept, the CRC corrected.
    let mut params = ModelFile::small_params();
    let OpParams::Recurrent(layer) = &mut params.layers[1].op else {
        panic!("layer 1 is recurrent");
    };
    layer.gates[1].weights[3] ^= 0x20;
    let mut changed = encode::as_bytes(&encode::encode(&params).unwrap()).to_vec();
    changed[16..20].copy_from_slice(&good.bytes()[16..20]);
    encode::update_checksum(&mut changed);
    let changed = ModelFile::of(&changed);
    let (mut session, _) = start(board, Some(changed.path()));
    let Err(SessionError::Refused(refusal)) = session.command("selftest") else {
        panic!("a changed weight was not found");
    };
    assert!(refusal.starts_with(&kernel), "{refusal:?}");
    let expected = format!(", expected {digest:08X} as exported");
    assert!(refusal.ends_with(&expected), "{refusal:?}");

    let broken = with_broken_kernel(board, "9gemv_int817h").expect("every board has one");
    let (mut session, banner) = Session::start(board, broken.path(), Some(good.path())).unwrap();
    let failed = format!(
        "SELF-TEST FAILED, kernel {}: layer 1, row 0: expected ",
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

    // The other kernels; on the micro:bit, only the digest depends on them.
    for name in ["9gru_gates17h", "17cumulative_search17h", "7max_i1617h"] {
        let Some(broken) = with_broken_kernel(board, name) else {
            assert!(
                board.name != "stm32f405",
                "{name} must be a separate function"
            );
            continue;
        };
        let (mut session, _) = Session::start(board, broken.path(), Some(good.path())).unwrap();
        let Err(SessionError::Refused(refusal)) = session.command("selftest") else {
            panic!("{name} does nothing, and nothing was found");
        };
        let thorough = refusal.contains(", row ");
        assert!(thorough || board.name == "microbit", "{name}: {refusal:?}");
    }
}

/// The board's firmware with a kernel that returns at once: the kernel with `name` in its mangled path, if there is one.
fn with_broken_kernel(board: &BoardSpec, name: &str) -> Option<tempfile::NamedTempFile> {
    const BX_LR: [u8; 2] = [0x70, 0x47];
    with_patched_kernel(board, name, |_, _| BX_LR.to_vec())
}

/// The board's firmware with other instructions at the start of a kernel, which `code` makes of the kernel's address and of
/// the look-up of functions' addresses.
fn with_patched_kernel(
    board: &BoardSpec,
    name: &str,
    code: impl Fn(u32, &dyn Fn(&str) -> u32) -> Vec<u8>,
) -> Option<tempfile::NamedTempFile> {
    use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
    let mut elf = std::fs::read(firmware(board)).unwrap();
    let (place, code) = {
        let file = object::File::parse(&*elf).unwrap();
        let kernel = |found: &str| found.contains("cortex_m") && found.contains(name);
        let mut symbols = file.symbols();
        let symbol = symbols.find(|symbol| symbol.name().is_ok_and(kernel))?;
        let section = file
            .section_by_index(symbol.section_index().unwrap())
            .unwrap();
        let (start, _) = section.file_range().unwrap();
        let address = symbol.address() & !1;
        let function = |name: &str| {
            let mut symbols = file.symbols();
            let found =
                symbols.find(|symbol| symbol.name().is_ok_and(|found| found.contains(name)));
            found.unwrap_or_else(|| panic!("no {name}")).address() as u32 & !1
        };
        (
            (start + address - section.address()) as usize,
            code(address as u32, &function),
        )
    };
    elf[place..place + code.len()].copy_from_slice(&code);
    let broken = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&broken, elf).unwrap();
    Some(broken)
}

fn texts_are_multi_byte_and_can_be_stopped_on(board: &'static BoardSpec) {
    let model = ModelFile::small();
    let (mut session, _) = start(board, Some(model.path()));
    session.command("length 60").unwrap();
    for prompt in ["שלום", "😀 ש", "\n\\a"] {
        let text = session.generate(prompt, 60, |_| ());
        if prompt.contains('\\') {
            let Err(SessionError::Refused(refusal)) = text else {
                panic!("the model has no backslash, but there was {text:?}");
            };
            let expected =
                "the vocabulary has no token for the text that begins with '\\' (U+005C) at byte ";
            assert!(refusal.starts_with(expected), "{refusal:?}");
        } else {
            assert_eq!(
                text.unwrap(),
                model.text(prompt, 60, SamplingParams::default())
            );
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
    // Ctrl-C drops the lines typed before it.
    session.send(b"seed 5\rxy\x03").unwrap();
    session.read_until("^C\r\n> ").unwrap();
    session.command("info").unwrap();
    session.type_character('a').unwrap();
    session.send(b"\x03").unwrap();
    session.expect("^C\r\n> ").unwrap();
}

fn generates_the_bytes_that_the_host_generates_on(board: &'static BoardSpec) {
    // 128 units and 65 tokens: the model size that the smallest board is designed for.
    let untrained = ModelFile::of(&ModelFile::random(65, 128));
    let shipped = ModelFile::of(
        &std::fs::read(root().join("models/shakespeare/model.pip")).expect("the shipped model"),
    );
    let extended = is_extended();
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
            let settings = SamplingParams {
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

/// 20 lines at once, sent without waiting: while a text is generated, and then at the prompt.
fn lines_pasted_at_once_are_all_answered_on(board: &'static BoardSpec) {
    let model = ModelFile::of(&ModelFile::random(65, 128));
    let (mut session, _) = start(board, Some(model.path()));
    session.command("length 20").unwrap();
    for prompt in ["ab", ""] {
        if !prompt.is_empty() {
            session.send(format!("{prompt}\r").as_bytes()).unwrap();
            session.read_until("ab\r\nab").unwrap();
        }
        let lines: Vec<String> = (100..120).map(|seed| format!("seed {seed}")).collect();
        session.send((lines.join("\r") + "\r").as_bytes()).unwrap();
        for line in lines {
            let echo = format!("{line}\r\n");
            // The text before the first prompt.
            session.read_until(&echo).unwrap();
            let answer = session.read_until("\r\n> ").unwrap();
            assert_eq!(
                answer,
                format!("temperature 0.8, {line}, length 20, top-k 0, pace 0")
            );
        }
    }
    // More than the buffer holds is refused. QEMU does not send a byte before the last one was taken: only the emulator of
    // the Pico sends at the baud rate, to a board that is busy.
    if board.emulator == Emulator::Rp2040js {
        session.command("length 4000000000").unwrap();
        session.send(b"ab\r").unwrap();
        session.read_until("ab\r\nab").unwrap();
        session.send(&[b'a'; 1500]).unwrap();
        session.send(b"\x03").unwrap();
        session.read_until("^C\r\n> ").unwrap();
        let report = session.read_until("\r\n> ").unwrap();
        assert!(report.starts_with("\r\n\x07line discarded: "), "{report:?}");
        assert!(report.ends_with(" bytes lost so far"), "{report:?}");
        session.command("info").unwrap();
    }
}

/// An undefined instruction, and a panic, at the first use of the kernel: at the start.
fn a_fault_is_reported_on(board: &'static BoardSpec) {
    const UDF: [u8; 2] = [0x00, 0xde];
    if board.emulator == Emulator::Rp2040js {
        // rp2040js stops at an undefined instruction, as in a debugger, and has no other fault.
        println!("{}: faults are not emulated", board.name);
    } else {
        let broken = with_patched_kernel(board, "9gemv_int817h", |_, _| UDF.to_vec()).unwrap();
        let report = report_of(board, broken.path());
        assert!(report.contains("\x07HARD FAULT at "), "{report:?}");
    }
    // The panic handler's argument must be a real one where it prints the message.
    if board.name == "microbit" {
        let call_panic = |address: u32, function: &dyn Fn(&str) -> u32| {
            let offset = function("rust_begin_unwind").wrapping_sub(address + 4);
            branch_with_link(offset).to_vec()
        };
        let broken = with_patched_kernel(board, "9gemv_int817h", call_panic).unwrap();
        let report = report_of(board, broken.path());
        assert!(report.contains("\x07PANIC, called from 0000"), "{report:?}");
    }
}

fn report_of(board: &'static BoardSpec, firmware: &Path) -> String {
    let model = ModelFile::small();
    let mut session = Session::power_on(board, firmware, Some(model.path())).unwrap();
    let report = session.read_until(". Stopped\r\n").unwrap();
    println!("{}: {report:?}", board.name);
    report
}

/// The instruction BL, encoding T1, ARMv6-M Architecture Reference Manual A6.7.13.
fn branch_with_link(offset: u32) -> [u8; 4] {
    let bit = |n: u32| offset >> n & 1;
    let s = bit(24);
    let (j1, j2) = (1 ^ bit(23) ^ s, 1 ^ bit(22) ^ s);
    let first = 0xf000 | s << 10 | offset >> 12 & 0x3ff;
    let second = 0xd000 | j1 << 13 | j2 << 11 | offset >> 1 & 0x7ff;
    let [a, b] = (first as u16).to_le_bytes();
    let [c, d] = (second as u16).to_le_bytes();
    [a, b, c, d]
}

/// Every golden and every shipped model that the board holds; on the Pico, whose emulator is slow, the golden ones, which are
/// small and of every shape. `info` reports the peak, which must leave a quarter.
fn the_stack_is_large_enough_for_every_model_on(board: &'static BoardSpec) {
    let files = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path())
    };
    let golden = files("tests/golden").filter(|path| path.extension().is_some_and(|e| e == "pip"));
    let shipped = files("models").map(|path| path.join("model.pip"));
    let with_shipped = board.emulator != Emulator::Rp2040js || is_extended();
    let shipped = shipped.filter(|path| with_shipped && path.exists());
    let mut peaks = Vec::new();
    for path in golden.chain(shipped) {
        if std::fs::metadata(&path).unwrap().len() > board.slot_bytes.into() {
            continue;
        }
        let (mut session, banner) = start(board, Some(&path));
        if banner.contains("the model needs a workspace of ") {
            continue;
        }
        session.command("length 20").unwrap();
        for line in ["top-k 5", "prompt ", "prompt a", "help", "selftest"] {
            // Some models have no such input; the board is as busy refusing it.
            match session.command(line) {
                Ok(_) | Err(SessionError::Refused(_)) => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
        let info = session.command("info").unwrap();
        let usage = info
            .lines()
            .find_map(|line| line.strip_prefix("stack "))
            .expect("a line on the stack");
        let (peak, size) = usage.trim_start().split_once(" of ").unwrap();
        assert_eq!(size, format!("{} bytes", board.stack_bytes));
        let peak: u32 = peak.parse().unwrap();
        let seen_from_outside = session.peak_stack().unwrap() as u32;
        // The measurement may itself use more stack than it has measured.
        assert!(
            // From outside bytes are counted, from inside words.
            seen_from_outside + 4 > peak && seen_from_outside <= peak + 256,
            "{peak}, {seen_from_outside}"
        );
        peaks.push((peak, path));
    }
    peaks.sort();
    for (peak, path) in &peaks {
        println!(
            "{}: stack {peak} of {} bytes, {}",
            board.name,
            board.stack_bytes,
            path.display()
        );
    }
    let (peak, path) = peaks.last().expect("a model");
    assert!(
        4 * peak <= 3 * board.stack_bytes,
        "{}: {peak} bytes",
        path.display()
    );
}

fn is_extended() -> bool {
    std::env::var_os("PIPSQUEAK_EXTENDED").is_some()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn firmware(board: &BoardSpec) -> PathBuf {
    board.firmware(root())
}

fn start(board: &'static BoardSpec, model: Option<&Path>) -> (Session, String) {
    match Session::start(board, &firmware(board), model) {
        Ok(started) => started,
        // Not in debug format: the message contains the command to run.
        Err(error) => panic!("{error}"),
    }
}

/// A model in a temporary file.
struct ModelFile {
    words: Vec<u32>,
    path: PathBuf,
}

impl ModelFile {
    fn of(bytes: &[u8]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // A comma is special to QEMU, a space to shells.
        let name = format!("model {},{count}.pip", process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, bytes).unwrap();
        let words = encode::to_words(bytes);
        Self { words, path }
    }

    /// A small untrained model of characters of one to four bytes.
    fn small() -> Self {
        Self::of(encode::as_bytes(
            &encode::encode(&Self::small_params()).unwrap(),
        ))
    }

    fn small_params() -> ModelParams<'static> {
        let tokens = ["a", "b", " ", "\n", "ש", "ל", "ם", "ו", "😀"];
        let mut params = params(tokens.len(), 24);
        params.vocabularies[1].tokens = tokens.map(str::to_owned).to_vec();
        params
    }

    fn random(tokens: usize, units: u16) -> Vec<u8> {
        encode::as_bytes(&encode::encode(&params(tokens, units)).unwrap()).to_vec()
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn bytes(&self) -> &[u8] {
        encode::as_bytes(&self.words)
    }

    fn model(&self) -> Model<'_> {
        Model::parse(self.bytes()).unwrap()
    }

    /// The prompt and the text that the host generates after it.
    fn text(&self, prompt: &str, length: usize, settings: SamplingParams) -> String {
        let model = self.model();
        let mut workspace = vec![0; model.workspace_len()];
        let mut generator = Generator::new(&model, &mut workspace, settings).unwrap();
        generator.prompt(prompt).unwrap();
        // A token is a character here.
        let text: Vec<u8> = generator.take(length).flatten().copied().collect();
        prompt.to_owned() + &String::from_utf8(text).unwrap()
    }
}

impl Drop for ModelFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn params(tokens: usize, units: u16) -> ModelParams<'static> {
    let layers = [RecurrentLayerConfig::new(Cell::GruResetAfter, units)];
    ModelParams::random_language_model(1, tokens, 0, &layers)
}
