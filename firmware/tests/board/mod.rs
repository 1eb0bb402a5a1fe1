//! A board made of a byte pipe.

use std::{cell::RefCell, collections::VecDeque, convert::Infallible, rc::Rc, sync::LazyLock};

use embedded_hal::{delay::DelayNs, digital};
use embedded_io::{ErrorKind, ErrorType, Read, ReadReady, Write};
use pipsqueak::{
    Cell, Generator, Image, Layer, Provenance, Settings,
    encode::{self, Parts},
};
use pipsqueak_firmware::Board;

/// The tokens of the model here.
const TOKENS: [&str; 10] = ["a", "b", "c", " ", "\n", "א", "ב", "😀", "Zz", "0"];

/// An untrained model with some provenance.
static WORDS: LazyLock<Vec<u32>> =
    LazyLock::new(|| encode::encode(&parts()).expect("a model of these sizes is one"));

pub fn parts() -> Parts<'static> {
    let layer = Layer::new(Cell::GruResetAfter, 12);
    let mut parts = Parts::random(1, TOKENS.len(), 0, &[layer]);
    parts.vocabularies[1].tokens = TOKENS.map(str::to_owned).to_vec();
    parts.provenance = Provenance {
        corpus: "small.txt",
        split: "all",
        steps: 123,
        seed: 9,
        train_loss: Some(1045),
        validation_loss: Some(2500),
    };
    parts
}

pub fn bytes() -> &'static [u8] {
    encode::bytes(&WORDS)
}

pub fn image() -> Image<'static> {
    Image::parse(bytes()).unwrap()
}

/// What the console must write: prompt and text from the runtime, newlines as CRLF.
pub fn text(prompt: &str, length: usize, settings: Settings) -> String {
    let image = image();
    let mut workspace = vec![0; image.workspace_len()];
    let mut generator = Generator::new(&image, &mut workspace, settings).unwrap();
    generator.prompt(prompt).unwrap();
    let mut text = Vec::new();
    // Whole tokens, of which the last may be cut.
    for piece in generator {
        text.extend_from_slice(piece);
        let characters = String::from_utf8_lossy(&text).chars().count();
        if characters >= length {
            break;
        }
    }
    let text = String::from_utf8(text).unwrap();
    let text = prompt.chars().chain(text.chars().take(length));
    text.collect::<String>().replace('\n', "\r\n")
}

/// What is typed, in portions. A portion arrives when all before it has been read and the console waits for a byte; what
/// of a portion is not read yet is there for a console that only looks.
#[derive(Clone)]
pub struct Typed {
    portions: VecDeque<Portion>,
    slot: Vec<u32>,
    slot_bytes: usize,
    workspace: usize,
}

#[derive(Clone)]
enum Portion {
    Bytes(VecDeque<u8>),
    Error,
}

/// What the board's other parts saw.
#[derive(Default)]
pub struct Seen {
    pub output: Vec<u8>,
    pub waited_ms: u64,
    pub flashes: usize,
    pub lit: bool,
}

impl Typed {
    pub fn new() -> Self {
        Self {
            portions: VecDeque::new(),
            slot: WORDS.clone(),
            slot_bytes: bytes().len(),
            workspace: 1024,
        }
    }

    pub fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.portions
            .push_back(Portion::Bytes(bytes.as_ref().iter().copied().collect()));
        self
    }

    pub fn line(self, line: &str) -> Self {
        self.bytes(format!("{line}\r"))
    }

    pub fn error(mut self) -> Self {
        self.portions.push_back(Portion::Error);
        self
    }

    pub fn slot(mut self, bytes: &[u8]) -> Self {
        self.slot_bytes = bytes.len();
        self.slot = bytes
            .chunks(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        self
    }

    pub fn workspace(mut self, words: usize) -> Self {
        self.workspace = words;
        self
    }

    /// Plays it to the console.
    pub fn play(&self) -> Seen {
        let seen = Rc::new(RefCell::new(Seen::default()));
        pipsqueak_firmware::serve(Board {
            name: "pipe",
            clock_hz: 16_000_000,
            serial: Pipe {
                input: self.portions.clone(),
                arrived: false,
                seen: seen.clone(),
            },
            delay: Delay(seen.clone()),
            led: Led(seen.clone()),
            slot: &encode::bytes(&self.slot)[..self.slot_bytes],
            workspace: &mut vec![0; self.workspace],
        });
        seen.take()
    }

    /// All that the console wrote.
    pub fn run(&self) -> String {
        String::from_utf8(self.play().output).expect("the console writes UTF-8")
    }

    /// What the console answered to each line, without the lines' echoes. For lines of known characters only.
    pub fn answers(&self) -> Vec<String> {
        let said = self.run();
        let lines = self.portions.iter().filter_map(|portion| match portion {
            Portion::Bytes(bytes) => {
                Some(String::from_utf8(bytes.iter().copied().collect()).unwrap())
            }
            Portion::Error => None,
        });
        let mut rest = &said[said.find("> ").unwrap()..];
        let mut answers = Vec::new();
        for line in lines {
            let shown = rest.strip_prefix("> ").unwrap();
            // A line that does not fit is not echoed in full.
            let echo = shown.find("\r\n").unwrap();
            let typed = line.trim_end_matches('\r');
            assert!(
                shown[..echo].contains('\x07') || &shown[..echo] == typed,
                "{shown:?} does not echo {typed:?}"
            );
            let answer = &shown[echo + 2..];
            let end = answer.find("\r\n> ").unwrap();
            answers.push(answer[..end].to_owned());
            rest = &answer[end + 2..];
        }
        assert_eq!(rest, "> ");
        answers
    }
}

struct Pipe {
    input: VecDeque<Portion>,
    /// Whether the first portion has arrived.
    arrived: bool,
    seen: Rc<RefCell<Seen>>,
}

impl ErrorType for Pipe {
    type Error = ErrorKind;
}

impl ReadReady for Pipe {
    fn read_ready(&mut self) -> Result<bool, ErrorKind> {
        Ok(
            matches!(self.input.front(), Some(Portion::Bytes(bytes)) if self.arrived && !bytes.is_empty()),
        )
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        loop {
            match self.input.front_mut() {
                None => return Ok(0),
                Some(Portion::Error) => {
                    self.input.pop_front();
                    self.arrived = false;
                    return Err(ErrorKind::Other);
                }
                Some(Portion::Bytes(bytes)) => match bytes.pop_front() {
                    Some(byte) => {
                        buffer[0] = byte;
                        self.arrived = true;
                        return Ok(1);
                    }
                    None => {
                        self.input.pop_front();
                        self.arrived = false;
                    }
                },
            }
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, ErrorKind> {
        self.seen.borrow_mut().output.extend(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

struct Delay(Rc<RefCell<Seen>>);

impl DelayNs for Delay {
    fn delay_ns(&mut self, ns: u32) {
        self.0.borrow_mut().waited_ms += u64::from(ns) / 1_000_000;
    }

    fn delay_ms(&mut self, ms: u32) {
        self.0.borrow_mut().waited_ms += u64::from(ms);
    }
}

struct Led(Rc<RefCell<Seen>>);

impl digital::ErrorType for Led {
    type Error = Infallible;
}

impl digital::OutputPin for Led {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.borrow_mut().lit = false;
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        let mut seen = self.0.borrow_mut();
        seen.lit = true;
        seen.flashes += 1;
        Ok(())
    }
}
