//! The console: reads lines, and executes each.

use embedded_hal::{delay::DelayNs, digital::OutputPin};
use embedded_io::Write;
use pipsqueak::{
    Generator, Task, TextError,
    selftest::{self, Coverage},
};

use crate::{
    StackUsage, classes,
    command::{Command, CommandError, unescape},
    line::{Edit, LineEditor},
    model::LoadedModel,
    receive::{Input, Received},
    settings::ConsoleSettings,
    terminal::Terminal,
    utf8::Utf8Decoder,
};

/// Rings the terminal's bell. Every refusal starts with it, so that a program can distinguish it from text.
const BELL: &str = "\x07";

/// The longest pause in which Ctrl-C is not looked at, in milliseconds.
const PAUSE_MS: u32 = 20;

/// The console of one board.
pub(crate) struct Console<'m, 'w, I, W, D, L> {
    pub board: &'static str,
    pub clock_hz: u32,
    /// Words of memory that a model may work in.
    pub available: usize,
    pub stack: fn() -> StackUsage,
    pub input: I,
    pub terminal: Terminal<W>,
    pub delay: D,
    pub led: L,
    pub model: LoadedModel<'m, 'w>,
    pub settings: ConsoleSettings,
    pub text: TextOutput<'m>,
}

/// The text being generated, between the model's tokens and the terminal's characters.
#[derive(Default)]
pub(crate) struct TextOutput<'m> {
    /// A text has begun, which an empty line continues.
    begun: bool,
    /// The bytes of a token behind the last character that `length` allowed.
    unprinted: &'m [u8],
    decoder: Utf8Decoder,
}

/// What the model made of a line.
enum Outcome<'g> {
    /// A text can be generated.
    Text,
    /// The logits of the classes.
    Classes(&'g [i16]),
    /// Cross-entropy in bits per character.
    #[cfg(feature = "score")]
    Score(f32),
    /// The model takes no such line.
    Unsupported,
    /// The model cannot read the line.
    Refused(TextError),
}

impl<I, W, D, L> Console<'_, '_, I, W, D, L>
where
    I: Input,
    W: Write,
    D: DelayNs,
    L: OutputPin,
{
    /// Prints the board and the model, and prompts for the first line.
    pub fn print_banner(&mut self) {
        self.terminal
            .print(concat!("\nPipsqueak ", env!("CARGO_PKG_VERSION"), " on "));
        self.print_board();
        self.terminal.print("\nModel: ");
        self.model.print_summary(&mut self.terminal);
        let input = input_name(self.model.task());
        self.terminal
            .print("\nType ")
            .print(input)
            .print(", or help.\n> ");
    }

    /// Reads and executes lines until the input ends.
    pub fn run_until_eof(&mut self) {
        let mut line = LineEditor::default();
        while let Some(received) = self.input.read() {
            match received {
                Received::Byte(byte) => self.push_byte(&mut line, byte),
                Received::Interrupt => {
                    line.clear();
                    self.terminal.print("^C\n> ");
                }
                Received::Overrun { total } => {
                    // A part of the line is missing.
                    line.clear();
                    self.terminal
                        .print("\n")
                        .print(BELL)
                        .print("line discarded: ")
                        .print_decimal(total.into())
                        .print(" bytes lost so far\n> ");
                }
            }
        }
    }

    fn push_byte(&mut self, line: &mut LineEditor, byte: u8) {
        match line.push_byte(byte) {
            Edit::None => {}
            Edit::Added(character) => {
                self.terminal.print_char(character);
            }
            Edit::Erased(width) => self.erase(width),
            Edit::Replaced(width) => {
                self.erase(width);
                self.terminal.print(line.text());
            }
            Edit::Full => {
                self.terminal.print(BELL);
            }
            Edit::Entered => {
                self.terminal.print("\n");
                self.execute(line.enter());
                self.terminal.print("\n> ");
            }
        }
    }

    /// Erases columns before the cursor.
    fn erase(&mut self, width: usize) {
        for _ in 0..width {
            self.terminal.print("\x08 \x08");
        }
    }

    /// Executes a line. The answer ends without a newline.
    fn execute(&mut self, line: &str) {
        match Command::parse(line) {
            Ok(Command::Set(setting)) => {
                self.settings.set(setting);
                self.print_settings();
            }
            Ok(Command::Reset) => {
                self.settings = self.model.default_settings();
                self.text = TextOutput::default();
                self.print_settings();
            }
            Ok(Command::Info) => self.print_info(),
            Ok(Command::Help) => self.print_help(),
            Ok(Command::SelfTest) => self.run_selftest(),
            Ok(Command::Continue) if self.text.begun => self.print_text(),
            // Without a line, the other tasks have no input.
            Ok(Command::Continue)
                if matches!(self.model.task(), None | Some(Task::LanguageModel)) =>
            {
                self.run_model("", read_line);
            }
            Ok(Command::Continue) => {}
            Ok(Command::Prompt(text)) => self.run_model(text, read_line),
            Ok(Command::EscapedPrompt(escaped)) => self.run_model(&unescape(escaped), read_line),
            #[cfg(feature = "score")]
            Ok(Command::Score(escaped)) => self.run_model(&unescape(escaped), score_line),
            Err(error) => print_refusal(&mut self.terminal, &error, line),
        }
    }

    /// Starts the model from the beginning with `text`, which `read` gives to it, and prints what the model makes of it.
    fn run_model(&mut self, text: &str, read: for<'g> fn(&'g mut Generator, &str) -> Outcome<'g>) {
        self.text = TextOutput::default();
        let LoadedModel::Ready(generator) = &mut self.model else {
            return self.refuse_without_model();
        };
        generator.reset(self.settings.sampling());
        let (model, terminal) = (generator.model(), &mut self.terminal);
        let _ = self.led.set_high();
        let outcome = read(generator, text);
        let _ = self.led.set_low();
        match outcome {
            Outcome::Text => {
                self.text.begun = true;
                if model.task() == Task::LanguageModel {
                    terminal.print(text);
                }
                self.print_text();
            }
            Outcome::Classes(scores) => classes::print(model, scores, terminal),
            #[cfg(feature = "score")]
            Outcome::Score(bits) => {
                self.text.begun = true;
                terminal
                    .print_fixed((bits * 100.0 + 0.5) as u32, 2)
                    .print(" bits per character");
            }
            Outcome::Unsupported => {
                terminal
                    .print(BELL)
                    .print("not an input of this model: see help");
            }
            Outcome::Refused(error) => {
                terminal.print(BELL).print_message(&error);
            }
        }
    }

    /// Generates up to `length` characters and prints each as it comes.
    fn print_text(&mut self) {
        let LoadedModel::Ready(generator) = &mut self.model else {
            return;
        };
        let TextOutput {
            unprinted, decoder, ..
        } = &mut self.text;
        let mut left = self.settings.length;
        while left > 0 {
            if self.input.take_interrupt() {
                self.terminal.print("^C");
                return;
            }
            let unit = match decoder.next(unprinted) {
                Some(unit) => unit,
                None => {
                    let _ = self.led.set_high();
                    let token = generator.next();
                    let _ = self.led.set_low();
                    if let Some(token) = token {
                        *unprinted = token;
                        continue;
                    }
                    // The text has ended.
                    match decoder.finish() {
                        Some(unit) => unit,
                        None => return,
                    }
                }
            };
            self.terminal.print_escaped(&unit);
            left -= 1;
            pause(&mut self.delay, &mut self.input, self.settings.pace_ms);
        }
    }

    /// Compares the core's kernel with the generic one on all weights, and the outputs with those that export recorded.
    fn run_selftest(&mut self) {
        // The test overwrites the state of the text.
        self.text = TextOutput::default();
        let LoadedModel::Ready(generator) = &mut self.model else {
            return self.refuse_without_model();
        };
        let recorded = generator.model().digest();
        let kernel = selftest::verify_kernels(generator.session(), Coverage::Full);
        // An internal error gives no digest, and so another one than the recorded.
        let digest = selftest::output_digest(generator.session()).unwrap_or(!recorded);
        let terminal = &mut self.terminal;
        if kernel.is_err() || digest != recorded {
            terminal.print(BELL);
        }
        print_kernel(terminal);
        match kernel {
            Ok(weights) => terminal
                .print(" equals generic on ")
                .print_decimal(weights as u64)
                .print(" weights"),
            Err(mismatch) => terminal.print(" fails: ").print_message(&mismatch),
        };
        terminal.print("\ndigest     ").print_hex(digest, 8);
        if digest != recorded {
            terminal.print(", expected ").print_hex(recorded, 8);
        }
        terminal.print(" as exported");
        if self.input.take_interrupt() {
            self.terminal.print("^C");
        }
    }

    fn refuse_without_model(&mut self) {
        self.terminal.print(BELL).print("no model: ");
        self.model.print_summary(&mut self.terminal);
    }
}

/// Waits for `pace_ms` milliseconds, less if Ctrl-C comes: the caller looks for it next.
fn pause<D: DelayNs, I: Input>(delay: &mut D, input: &mut I, pace_ms: u16) {
    let mut left = u32::from(pace_ms);
    while left > 0 && !input.is_interrupted() {
        let slice = left.min(PAUSE_MS);
        delay.delay_ms(slice);
        left -= slice;
    }
}

/// Prints why a line is refused, and how to give it to the model as a text.
fn print_refusal<W: Write>(terminal: &mut Terminal<W>, error: &CommandError, line: &str) {
    terminal.print(BELL);
    match error {
        CommandError::Argument {
            command,
            expected,
            found,
        } => terminal
            .print(command)
            .print(" expects ")
            .print(expected)
            .print("; found \"")
            .print(found)
            .print("\"."),
        CommandError::Unknown { suggestion } => {
            terminal.print("did you mean ").print(suggestion).print("?")
        }
    };
    terminal.print(" As a text: prompt ").print(line);
}

/// Gives a line to the model, as its task takes it.
fn read_line<'g>(generator: &'g mut Generator, line: &str) -> Outcome<'g> {
    let result = match generator.model().task() {
        Task::LanguageModel => generator.prompt(line),
        Task::SequenceToSequence => generator.encode_source(line),
        Task::ConditionalGenerator => generator.set_conditioning_text(line),
        Task::Classifier => {
            return match generator.classify(line) {
                Ok(scores) => Outcome::Classes(scores),
                Err(error) => Outcome::Refused(error),
            };
        }
        _ => return Outcome::Unsupported,
    };
    match result {
        Ok(()) => Outcome::Text,
        Err(error) => Outcome::Refused(error),
    }
}

/// Computes a language model's cross-entropy on a line.
#[cfg(feature = "score")]
fn score_line<'g>(generator: &'g mut Generator, line: &str) -> Outcome<'g> {
    match generator.model().task() {
        Task::LanguageModel => match generator.bits_per_char(line) {
            Ok(bits) => Outcome::Score(bits),
            Err(error) => Outcome::Refused(error),
        },
        _ => Outcome::Unsupported,
    }
}

/// What the user can type as input of a model for this task.
fn input_name(task: Option<Task>) -> &'static str {
    match task {
        Some(Task::ConditionalGenerator) => "features",
        Some(_) => "a command",
        _ => "a text",
    }
}

/// The kernel that the runtime uses on this core.
pub(crate) fn print_kernel<W: Write>(terminal: &mut Terminal<W>) {
    terminal
        .print("kernel     ")
        .print(pipsqueak::kernel_name());
}
