//! The answers to `help` and `info`, in the terms of the model's task.

use embedded_hal::{delay::DelayNs, digital::OutputPin};
use embedded_io::Write;
use pipsqueak::Task;

use crate::{
    Input,
    console::{Console, print_kernel},
    model::LoadedModel,
    settings::ConsoleSettings,
};

const HELP_FOR_GENERATORS: &str = "
An empty line continues the last text, Ctrl-C stops.
  temperature T  0 (greedy) or 0.01 to 100
  seed N         random seed
  length N       characters per text
  top-k N        only the N likeliest; 0: all
  pace MS        pause after each character";

const HELP: &str = "
  prompt TEXT    a line like a command; \\n is a newline
  reset          default settings
  info           board, model, settings
  selftest       checks against the host
  help";

#[cfg(feature = "score")]
const SCORE_HELP: &str = "\n  score TEXT     cross-entropy of a text in bits per character";

impl<I, W, D, L> Console<'_, '_, I, W, D, L>
where
    I: Input,
    W: Write,
    D: DelayNs,
    L: OutputPin,
{
    /// Prints what a line does, and the commands.
    pub fn print_help(&mut self) {
        let task = self.model.task();
        self.terminal.print(match task {
            None => "There is no model to run: see info.",
            Some(Task::LanguageModel) => "A line is a text, which the model continues.",
            Some(Task::SequenceToSequence) => {
                "A line is a text, which the model maps to another text."
            }
            Some(Task::Classifier) => "A line is a text, which the model classifies.",
            Some(Task::ConditionalGenerator) => {
                "A line is features of a text: name=value, name=value"
            }
            Some(_) => "The model takes no lines.",
        });
        if !matches!(task, Some(Task::Classifier | Task::Tensors)) {
            self.terminal.print(HELP_FOR_GENERATORS);
        }
        #[cfg(feature = "score")]
        if task == Some(Task::LanguageModel) {
            self.terminal.print(SCORE_HELP);
        }
        self.terminal.print(HELP);
    }

    /// `microbit, 16 MHz`
    pub fn print_board(&mut self) {
        let mhz = self.clock_hz / 1_000_000;
        self.terminal
            .print(self.board)
            .print(", ")
            .print_decimal(mhz.into())
            .print(" MHz");
    }

    /// All settings in one line.
    pub fn print_settings(&mut self) {
        let ConsoleSettings {
            temperature,
            seed,
            length,
            top_k,
            pace_ms,
        } = self.settings;
        self.terminal
            .print("temperature ")
            .print_message(&temperature);
        for (name, value) in [
            (", seed ", seed),
            (", length ", length.into()),
            (", top-k ", top_k.into()),
            (", pace ", pace_ms.into()),
        ] {
            self.terminal.print(name).print_decimal(value);
        }
    }

    /// Board, model and settings.
    pub fn print_info(&mut self) {
        self.terminal.print("board      ");
        self.print_board();
        self.terminal.print("\n");
        print_kernel(&mut self.terminal);
        self.terminal.print("\nmodel      ");
        self.model.print_summary(&mut self.terminal);
        if let LoadedModel::Ready(generator) = &self.model {
            let model = generator.model();
            let training = model.training_info().unwrap_or_default();
            let (task, loss_unit) = match model.task() {
                Task::LanguageModel => ("language model", " nats per token in "),
                Task::SequenceToSequence => ("sequence-to-sequence", " nats per token in "),
                Task::Classifier => ("classifier", " nats per text in "),
                Task::ConditionalGenerator => ("conditional generator", " nats per token in "),
                _ => ("tensors", " in "),
            };
            self.terminal
                .print("\ntask       ")
                .print(task)
                .print("\ncorpus     ")
                .print_bytes_escaped(training.corpus.as_bytes())
                .print(", ")
                .print_bytes_escaped(training.split.as_bytes())
                .print("\ntraining   ")
                .print_decimal(training.steps.into())
                .print(" steps, seed ")
                .print_decimal(training.seed);
            for (part, loss) in [
                ("training", training.train_loss),
                ("validation", training.validation_loss),
            ] {
                if let Some(loss) = loss {
                    self.terminal
                        .print("\nloss       ")
                        .print_fixed(loss.into(), 3)
                        .print(loss_unit)
                        .print(part);
                }
            }
            self.print_usage(
                "\nworkspace  ",
                4 * model.workspace_len(),
                4 * self.available,
            );
        }
        let stack = (self.stack)();
        self.print_usage("\nstack      ", stack.peak, stack.size);
        self.terminal.print("\nsettings   ");
        self.print_settings();
    }

    /// `1200 of 8192 bytes`
    fn print_usage(&mut self, name: &str, used: usize, available: usize) {
        self.terminal
            .print(name)
            .print_decimal(used as u64)
            .print(" of ")
            .print_decimal(available as u64)
            .print(" bytes");
    }
}
