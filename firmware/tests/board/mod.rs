//! A board on the host: a script of the bytes that its serial port receives, and a record of the actions of its parts.

use std::{cell::RefCell, collections::VecDeque, convert::Infallible, rc::Rc, sync::LazyLock};

use embedded_hal::{delay::DelayNs, digital};
use embedded_io::{ErrorType, Write};
use pipsqueak::{
    Cell, Generator, Model, RecurrentLayerConfig, SamplingParams, TrainingInfo,
    encode::{self, ModelParams},
};
use pipsqueak_firmware::{
    Input, Peripherals, StackUsage,
    receive::{Consumer, Producer, ReceiveBuffer, Received},
};

/// The tokens of the model here.
const TOKENS: [&str; 10] = ["a", "b", "c", " ", "\n", "א", "ב", "😀", "Zz", "0"];

/// An untrained model with some provenance.
static WORDS: LazyLock<Vec<u32>> =
    LazyLock::new(|| encode::encode(&params()).expect("a model of these sizes is one"));

pub fn params() -> ModelParams<'static> {
    let layers = [RecurrentLayerConfig::new(Cell::GruResetAfter, 12)];
    let mut params = ModelParams::random_language_model(1, TOKENS.len(), 0, &layers);
    params.vocabularies[1].tokens = TOKENS.map(str::to_owned).to_vec();
    params.training = TrainingInfo {
        corpus: "small.txt",
        split: "all",
        steps: 123,
        seed: 9,
        train_loss: Some(1045),
        validation_loss: Some(2500),
    };
    params
}

pub fn bytes() -> &'static [u8] {
    encode::as_bytes(&WORDS)
}

pub fn model() -> Model<'static> {
    Model::parse(bytes()).unwrap()
}

/// The expected output of the console: the prompt and the runtime's text, newlines as CRLF.
pub fn text(prompt: &str, length: usize, params: SamplingParams) -> String {
    let model = model();
    let mut workspace = vec![0; model.workspace_len()];
    let mut generator = Generator::new(&model, &mut workspace, params).unwrap();
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

/// The buffer between the serial port and the console: as large as the boards'.
const RECEIVE_BYTES: usize = 1024;

/// The events of a session, in order.
#[derive(Clone)]
pub struct ScriptedSerial {
    events: VecDeque<Event>,
    slot: Vec<u32>,
    slot_bytes: usize,
    model_copy_bytes: usize,
    workspace: usize,
}

#[derive(Clone)]
enum Event {
    /// Bytes arrive when the console waits and the queue is empty.
    WhenIdle(Vec<u8>),
    /// Bytes arrive while the model computes for the next time.
    WhileComputing(Vec<u8>),
    /// Bytes arrive during the next pause.
    WhilePausing(Vec<u8>),
    /// The serial port loses a byte when the console waits.
    Error,
}

/// The actions of the board's parts.
#[derive(Default)]
pub struct Record {
    pub output: Vec<u8>,
    pub waited_ms: u64,
    pub flashes: usize,
    pub lit: bool,
}

impl ScriptedSerial {
    pub fn new() -> Self {
        Self {
            events: VecDeque::new(),
            slot: WORDS.clone(),
            slot_bytes: bytes().len(),
            model_copy_bytes: 0,
            workspace: 1024,
        }
    }

    pub fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.events
            .push_back(Event::WhenIdle(bytes.as_ref().to_vec()));
        self
    }

    pub fn line(self, line: &str) -> Self {
        self.bytes(format!("{line}\r"))
    }

    pub fn while_computing(mut self, bytes: &[u8]) -> Self {
        self.events.push_back(Event::WhileComputing(bytes.to_vec()));
        self
    }

    pub fn while_pausing(mut self, bytes: &[u8]) -> Self {
        self.events.push_back(Event::WhilePausing(bytes.to_vec()));
        self
    }

    pub fn error(mut self) -> Self {
        self.events.push_back(Event::Error);
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

    pub fn model_copy(mut self, bytes: usize) -> Self {
        self.model_copy_bytes = bytes;
        self
    }

    pub fn workspace(mut self, words: usize) -> Self {
        self.workspace = words;
        self
    }

    /// Runs the console on this script.
    pub fn play(&self) -> Record {
        let mut buffer = ReceiveBuffer::<RECEIVE_BYTES>::new();
        let (producer, consumer) = buffer.split();
        let port = Rc::new(RefCell::new(Port {
            events: self.events.clone(),
            producer,
            record: Record::default(),
        }));
        let mut copy = vec![0_u32; self.model_copy_bytes.div_ceil(4)];
        // An empty slice, as boards without a copy pass it, is not aligned.
        let copy: &mut [u8] = match self.model_copy_bytes {
            0 => &mut [],
            bytes => &mut bytemuck::cast_slice_mut(&mut copy)[..bytes],
        };
        pipsqueak_firmware::run_until_eof(Peripherals {
            name: "pipe",
            clock_hz: 16_000_000,
            input: ScriptedInput(consumer, port.clone()),
            output: Output(port.clone()),
            delay: Delay(port.clone()),
            led: Led(port.clone()),
            slot: &encode::as_bytes(&self.slot)[..self.slot_bytes],
            model_copy: copy,
            workspace: &mut vec![0; self.workspace],
            stack: || StackUsage {
                peak: 1234,
                size: 6144,
            },
        });
        port.borrow_mut().take_record()
    }

    /// All that the console wrote.
    pub fn run(&self) -> String {
        String::from_utf8(self.play().output).expect("the console writes UTF-8")
    }

    /// The console's answer to each line, without the echo. For lines of known characters only.
    pub fn answers(&self) -> Vec<String> {
        let output = self.run();
        let lines = self.events.iter().filter_map(|event| match event {
            Event::WhenIdle(bytes) => Some(String::from_utf8(bytes.clone()).unwrap()),
            _ => None,
        });
        let mut rest = &output[output.find("> ").unwrap()..];
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

/// The board's side: future events, the interrupt handler's end of the buffer, and the record.
struct Port<'b> {
    events: VecDeque<Event>,
    producer: Producer<'b>,
    record: Record,
}

type Shared<'b> = Rc<RefCell<Port<'b>>>;

impl Port<'_> {
    /// Receives the next event if it is one that `now` accepts.
    fn receive(&mut self, now: impl Fn(&Event) -> bool) -> bool {
        let Some(event) = self.events.pop_front_if(|event| now(event)) else {
            return false;
        };
        match event {
            Event::WhenIdle(bytes) | Event::WhileComputing(bytes) | Event::WhilePausing(bytes) => {
                bytes.iter().for_each(|&byte| self.producer.push(byte));
            }
            Event::Error => self.producer.lose_byte(),
        }
        true
    }

    fn take_record(&mut self) -> Record {
        std::mem::take(&mut self.record)
    }
}

struct ScriptedInput<'b>(Consumer<'b>, Shared<'b>);

impl Input for ScriptedInput<'_> {
    fn read(&mut self) -> Option<Received> {
        loop {
            if let Some(received) = self.0.pop() {
                return Some(received);
            }
            let idle = |event: &Event| matches!(event, Event::WhenIdle(_) | Event::Error);
            if !self.1.borrow_mut().receive(idle) {
                assert!(self.1.borrow().events.is_empty(), "an event never came");
                return None;
            }
        }
    }

    fn take_interrupt(&mut self) -> bool {
        self.0.take_interrupt()
    }

    fn is_interrupted(&self) -> bool {
        self.0.is_interrupted()
    }
}

struct Output<'b>(Shared<'b>);

impl ErrorType for Output<'_> {
    type Error = Infallible;
}

impl Write for Output<'_> {
    fn write(&mut self, buffer: &[u8]) -> Result<usize, Infallible> {
        self.0.borrow_mut().record.output.extend(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct Delay<'b>(Shared<'b>);

impl DelayNs for Delay<'_> {
    fn delay_ns(&mut self, ns: u32) {
        self.0.borrow_mut().record.waited_ms += u64::from(ns) / 1_000_000;
    }

    fn delay_ms(&mut self, ms: u32) {
        let mut port = self.0.borrow_mut();
        port.record.waited_ms += u64::from(ms);
        port.receive(|event| matches!(event, Event::WhilePausing(_)));
    }
}

struct Led<'b>(Shared<'b>);

impl digital::ErrorType for Led<'_> {
    type Error = Infallible;
}

impl digital::OutputPin for Led<'_> {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.borrow_mut().record.lit = false;
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        let mut port = self.0.borrow_mut();
        port.record.lit = true;
        port.record.flashes += 1;
        port.receive(|event| matches!(event, Event::WhileComputing(_)));
        Ok(())
    }
}
