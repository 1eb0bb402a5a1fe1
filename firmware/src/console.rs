//! The console: lines in, texts out.

use embedded_hal::{delay::DelayNs, digital::OutputPin};
use embedded_io::{Read as ReadBytes, ReadReady, Write};
use pipsqueak::{
    FeatureError, Generator, Task, UnknownCharacter,
    selftest::{self, Extent},
};

use crate::{
    command::{Command, Refusal, unescape},
    line::{Edit, Line},
    model::Model,
    settings::Settings,
    terminal::Terminal,
};

/// Rings the terminal's bell. It opens every refusal, so that a program can tell one from a text.
const BELL: &str = "\x07";

const HELP: &str = "\
A line is a prompt: its text is continued, or translated, classified, or taken as features (name=value), as the model does.
An empty line continues the last text. Ctrl-C stops a text.
  temperature T  how freely to draw: 0 is greedy, 1 as the model learned
  seed N         another seed, another text
  length N       characters per text
  top-k N        draw among the N likeliest, 0: among all
  pace MS        pause after each character
  prompt TEXT    for a text that starts with such a word; \\n is a newline
  reset          default settings, forget the last text
  info           board, model, settings
  selftest       does it compute what was exported?";

#[cfg(feature = "score")]
const SCORE_HELP: &str = "\n  score TEXT     bits per character that the model needs for a text";

/// The console of one board.
pub(crate) struct Console<'i, 'w, S, D, L> {
    pub board: &'static str,
    pub clock_hz: u32,
    /// Words of memory that a model may work in.
    pub available: usize,
    pub terminal: Terminal<S>,
    pub delay: D,
    pub led: L,
    pub model: Model<'i, 'w>,
    pub settings: Settings,
    pub line: Line,
    /// No text has begun: an empty line begins one from nothing.
    pub at_start: bool,
    /// What is left of a token that the end of a text cut.
    pub rest: &'i [u8],
}

impl<S, D, L> Console<'_, '_, S, D, L>
where
    S: ReadBytes + ReadReady + Write,
    D: DelayNs,
    L: OutputPin,
{
    /// Says what is here, and prompts for the first line.
    pub fn greet(&mut self) {
        self.terminal
            .print(concat!("\nPipsqueak ", env!("CARGO_PKG_VERSION"), " on "));
        self.print_board();
        self.terminal.print("\nModel: ");
        self.model.describe(&mut self.terminal);
        self.terminal.print("\nType a text, or help.\n> ");
    }

    /// Obeys what is typed, until the input ends.
    pub fn serve(&mut self) {
        while let Some(byte) = self.terminal.read() {
            match self.line.type_byte(byte) {
                Edit::Nothing => {}
                Edit::Added(character) => {
                    self.terminal.put(character);
                }
                Edit::Erased(cells) => {
                    for _ in 0..cells {
                        self.terminal.print("\x08 \x08");
                    }
                }
                Edit::Full => {
                    self.terminal.print(BELL);
                }
                Edit::Discarded => {
                    self.line.clear();
                    self.terminal.print("^C\n> ");
                }
                Edit::Ended => {
                    self.terminal.print("\n");
                    self.obey();
                    self.line.clear();
                    self.terminal.print("\n> ");
                }
            }
        }
    }

    /// Obeys the line. What that prints ends without a newline.
    fn obey(&mut self) {
        let text;
        let command = Command::parse(self.line.text(), &mut self.settings);
        #[cfg(feature = "score")]
        let scored = matches!(command, Ok(Command::Score(_)));
        let tested = matches!(command, Ok(Command::SelfTest));
        let empty = matches!(command, Ok(Command::Continue));
        let anew = self.at_start || !matches!(command, Ok(Command::Continue));
        let prompt = match command {
            Ok(Command::Continue | Command::SelfTest) => "",
            Ok(Command::Prompt(prompt)) => prompt,
            Ok(Command::EscapedPrompt(escaped)) => {
                text = unescape(escaped);
                &text
            }
            #[cfg(feature = "score")]
            Ok(Command::Score(escaped)) => {
                text = unescape(escaped);
                &text
            }
            Ok(Command::Set) => return self.print_settings(),
            Ok(Command::Reset) => {
                self.settings = self.model.settings();
                self.rest = &[];
                self.at_start = true;
                return self.print_settings();
            }
            Ok(Command::Info) => return self.print_info(),
            Ok(Command::Help) => {
                self.terminal.print(HELP);
                #[cfg(feature = "score")]
                self.terminal.print(SCORE_HELP);
                return;
            }
            Err(Refusal {
                word,
                expected,
                found,
            }) => {
                self.terminal
                    .print(BELL)
                    .print(word)
                    .print(" expects ")
                    .print(expected);
                self.terminal.print("; found \"").print(found);
                self.terminal.print("\". As a text: prompt TEXT");
                return;
            }
        };
        let Model::Ready(generator) = &mut self.model else {
            self.terminal.print(BELL).print("no model: ");
            self.model.describe(&mut self.terminal);
            return;
        };
        if tested {
            // The test has taken the memory of the text.
            self.at_start = true;
            self.rest = &[];
            test(generator, &mut self.terminal);
            return;
        }
        if anew {
            self.rest = &[];
            // Until a text has begun, an empty line has nothing to go on with.
            self.at_start = true;
            let task = generator.image().task();
            if empty && task != Task::Continue {
                return;
            }
            generator.restart(self.settings.generator());
            let _ = self.led.set_high();
            #[cfg(feature = "score")]
            let read = match scored {
                true if task == Task::Continue => generator.score(prompt).map(Read::Bits),
                true => Ok(Read::Nothing),
                false => read(generator, prompt, task),
            };
            #[cfg(not(feature = "score"))]
            let read = read(generator, prompt, task);
            let _ = self.led.set_low();
            match read {
                Err(UnknownCharacter { character, .. }) => {
                    self.terminal
                        .print(BELL)
                        .print("the model has no character ")
                        .put(character);
                    self.terminal
                        .print(" (U+")
                        .number(u32::from(character).into(), 16, 4)
                        .print(")");
                    return;
                }
                #[cfg(feature = "score")]
                Ok(Read::Bits(bits)) => {
                    self.at_start = false;
                    let hundredths = (bits * 100.0 + 0.5) as u64;
                    self.terminal.number(hundredths / 100, 10, 1).print(".");
                    self.terminal
                        .number(hundredths % 100, 10, 2)
                        .print(" bits per character");
                    return;
                }
                Ok(Read::Refused(error)) => {
                    self.terminal.print(BELL).print("features, ").say(&error);
                    return;
                }
                Ok(Read::Class(class)) => {
                    let labels = generator.image().vocabulary();
                    if labels.is_empty() {
                        self.terminal.number(class.into(), 10, 1);
                    } else {
                        self.terminal.print_bytes(labels.text(class));
                    }
                    return;
                }
                Ok(Read::Nothing) => {
                    let refusal = "the model does not go on with texts";
                    self.terminal.print(BELL).print(refusal);
                    return;
                }
                Ok(Read::Prompt) => {
                    self.at_start = false;
                    if task == Task::Continue {
                        self.terminal.print(prompt);
                    }
                }
            };
        }

        let mut left = self.settings.length;
        while left > 0 {
            if self.terminal.interrupted() {
                self.terminal.print("^C");
                return;
            }
            if self.rest.is_empty() {
                let _ = self.led.set_high();
                let next = generator.next();
                let _ = self.led.set_low();
                match next {
                    Some(text) => self.rest = text,
                    // The text has ended.
                    None => return,
                }
            }
            // A token may have several characters: they go out, and are counted, one by one.
            let continues = |byte: &u8| byte & 0xc0 == 0x80;
            let mut bytes = self.rest.iter().skip(1);
            let end = bytes.position(|byte| !continues(byte)).map(|at| at + 1);
            let (character, rest) = self
                .rest
                .split_at_checked(end.unwrap_or(self.rest.len()))
                .unwrap_or_default();
            self.rest = rest;
            self.terminal.print_bytes(character);
            // What goes on with a character counts with its beginning.
            if !character.first().is_some_and(continues) {
                self.delay.delay_ms(self.settings.pace_ms.into());
                left -= 1;
            }
        }
    }

    /// `microbit, 16 MHz`
    fn print_board(&mut self) {
        let mhz = self.clock_hz / 1_000_000;
        self.terminal
            .print(self.board)
            .print(", ")
            .number(mhz.into(), 10, 1)
            .print(" MHz");
    }

    /// All settings in one line.
    fn print_settings(&mut self) {
        let Settings {
            temperature,
            seed,
            length,
            top_k,
            pace_ms,
        } = self.settings;
        self.terminal.print("temperature ").say(&temperature);
        for (name, value) in [
            (", seed ", seed),
            (", length ", length.into()),
            (", top-k ", top_k.into()),
            (", pace ", pace_ms.into()),
        ] {
            self.terminal.print(name).number(value, 10, 1);
        }
    }

    /// Board, model and settings.
    fn print_info(&mut self) {
        self.terminal.print("board      ");
        self.print_board();
        self.terminal.print("\n");
        print_kernel(&mut self.terminal);
        self.terminal.print("\nmodel      ");
        self.model.describe(&mut self.terminal);
        if let Model::Ready(generator) = &self.model {
            let image = generator.image();
            let from = image.provenance();
            self.terminal
                .print("\ncorpus     ")
                .print(from.corpus)
                .print(", ")
                .print(from.split);
            self.terminal
                .print("\ntraining   ")
                .number(from.steps.into(), 10, 1);
            self.terminal
                .print(" steps, seed ")
                .number(from.seed, 10, 1);
            for (part, loss) in [
                (" nats per token in training", from.train_loss),
                (" nats per token in validation", from.validation_loss),
            ] {
                if let Some(loss) = loss {
                    self.terminal
                        .print("\nloss       ")
                        .number((loss / 1000).into(), 10, 1);
                    self.terminal
                        .print(".")
                        .number((loss % 1000).into(), 10, 3)
                        .print(part);
                }
            }
            self.terminal
                .print("\nworkspace  ")
                .number(4 * image.workspace_len() as u64, 10, 1);
            self.terminal
                .print(" of ")
                .number(4 * self.available as u64, 10, 1)
                .print(" bytes");
        }
        self.terminal.print("\nsettings   ");
        self.print_settings();
    }
}

/// The core's kernel against the portable one on all weights, and the outputs against what export has recorded.
fn test<S: ReadBytes + ReadReady + Write>(generator: &mut Generator, terminal: &mut Terminal<S>) {
    let recorded = generator.image().digest();
    let kernel = selftest::kernel(generator.state(), Extent::All);
    let digest = selftest::digest(generator.state());
    if kernel.is_err() || digest != recorded {
        terminal.print(BELL);
    }
    print_kernel(terminal);
    match kernel {
        Ok(weights) => terminal
            .print(" equals portable on ")
            .number(weights as u64, 10, 1)
            .print(" weights"),
        Err(mismatch) => terminal.print(" fails: ").say(&mismatch),
    };
    terminal.print("\ndigest     ").number(digest.into(), 16, 8);
    if digest != recorded {
        terminal.print(", expected ").number(recorded.into(), 16, 8);
    }
    terminal.print(" as exported");
}

fn print_kernel<S: ReadBytes + ReadReady + Write>(terminal: &mut Terminal<S>) {
    terminal.print("kernel     ").print(pipsqueak::kernel());
}

/// What became of a line that is no command.
enum Read {
    /// A text comes.
    Prompt,
    /// It is of this class.
    Class(u16),
    /// It names no features.
    Refused(FeatureError),
    /// The model has nothing to do with lines.
    Nothing,
    /// Bits per character.
    #[cfg(feature = "score")]
    Bits(f32),
}

/// Gives `line` to the model.
fn read(generator: &mut Generator, line: &str, task: Task) -> Result<Read, UnknownCharacter> {
    match task {
        Task::Continue => generator.prompt(line)?,
        Task::Translate => generator.source(line)?,
        Task::Describe => {
            if let Err(error) = generator.describe(line) {
                return Ok(Read::Refused(error));
            }
        }
        Task::Classify => {
            let scores = generator.classify(line)?;
            let best = scores
                .iter()
                .enumerate()
                .rev()
                .max_by_key(|(_, score)| **score);
            return Ok(Read::Class(best.map_or(0, |(class, _)| class as u16)));
        }
        Task::Numbers => return Ok(Read::Nothing),
    }
    Ok(Read::Prompt)
}
