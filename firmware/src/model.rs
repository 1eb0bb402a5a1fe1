//! The model in the board's slot, or the reason why it cannot run.

use embedded_io::Write;
use pipsqueak::{
    Generator, Model, ModelError, SessionError, Task, Temperature,
    selftest::{self, Coverage, Mismatch},
};

use crate::{settings::ConsoleSettings, terminal::Terminal};

/// The content of the board's slot.
pub(crate) enum LoadedModel<'m, 'w> {
    /// No model.
    Invalid(&'m ModelError),
    /// A model that needs more memory than the board has.
    TooLarge(SessionError),
    /// A model that the core's kernel computes wrongly.
    KernelFailed(Mismatch),
    /// A model that is ready to run.
    Ready(Generator<'m, 'w>),
}

/// Copies the model from `slot` to `ram` and returns the copy, or returns `slot` if the header's length exceeds either.
pub(crate) fn bytes<'m>(slot: &'m [u8], ram: &'m mut [u8]) -> &'m [u8] {
    let [.., a, b, c, d] = *slot.first_chunk::<16>().unwrap_or(&[0xff; 16]);
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    match (slot.get(..length), ram.get_mut(..length)) {
        (Some(source @ [_, ..]), Some(copy)) => {
            copy.copy_from_slice(source);
            copy
        }
        _ => slot,
    }
}

impl<'m, 'w> LoadedModel<'m, 'w> {
    /// Makes the parsed model ready to run in `workspace`, and checks the core's kernel on some of its rows.
    pub fn load(
        parsed: &'m Result<Model<'m>, ModelError>,
        workspace: &'w mut [u32],
        settings: &ConsoleSettings,
    ) -> Self {
        match parsed {
            Err(error) => Self::Invalid(error),
            Ok(model) => match Generator::new(model, workspace, settings.sampling()) {
                Err(error) => Self::TooLarge(error),
                Ok(mut generator) => {
                    match selftest::verify_kernels(generator.session(), Coverage::Quick) {
                        Err(mismatch) => Self::KernelFailed(mismatch),
                        Ok(_) => Self::Ready(generator),
                    }
                }
            },
        }
    }

    /// The model's task, if it can run.
    pub fn task(&self) -> Option<Task> {
        match self {
            Self::Ready(generator) => Some(generator.model().task()),
            _ => None,
        }
    }

    /// The settings that the console begins with: sequence-to-sequence models decode greedily.
    pub fn default_settings(&self) -> ConsoleSettings {
        let mut settings = ConsoleSettings::default();
        if self.task() == Some(Task::SequenceToSequence) {
            settings.temperature = Temperature::GREEDY;
        }
        settings
    }

    /// Prints one line: the model's sizes, or the reason why it cannot run.
    pub fn print_summary<W: Write>(&self, terminal: &mut Terminal<W>) {
        match self {
            Self::Invalid(error) => terminal.print_message(*error),
            Self::TooLarge(error) => terminal.print_message(error),
            Self::KernelFailed(mismatch) => terminal
                .print("SELF-TEST FAILED, kernel ")
                .print(pipsqueak::kernel_name())
                .print(": ")
                .print_message(mismatch),
            Self::Ready(generator) => {
                let model = generator.model();
                let mut last = None;
                for layer in model.layers().filter(|layer| layer.cell().is_some()) {
                    terminal.print(match last {
                        None => "",
                        Some(phase) if phase != layer.phase() => " to ",
                        _ => " + ",
                    });
                    last = Some(layer.phase());
                    terminal.print_decimal(layer.len() as u64);
                }
                let outputs = match model.task() {
                    Task::Classifier => " classes, ",
                    _ if model.is_autoregressive() => " tokens, ",
                    _ => " outputs, ",
                };
                terminal
                    .print(" units, ")
                    .print_decimal(model.output().map_or(0, |output| output.len()) as u64)
                    .print(outputs)
                    .print_decimal(model.len() as u64)
                    .print(" bytes")
            }
        };
    }
}
