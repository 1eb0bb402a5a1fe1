//! The model in the board's slot, or the reason why it cannot run.

use embedded_io::Write;
use pipsqueak::{
    Generator, Image, ImageError, Task, Temperature, WorkspaceError,
    selftest::{self, Extent, Mismatch},
};

use crate::{settings::ConsoleSettings, terminal::Terminal};

/// The content of the board's slot.
pub(crate) enum LoadedModel<'m, 'w> {
    /// No model.
    Invalid(&'m ImageError),
    /// A model that needs more memory than the board has.
    TooLarge(WorkspaceError),
    /// A model that the core's kernel computes wrongly.
    KernelFailed(Mismatch),
    /// A model that is ready to run.
    Ready(Generator<'m, 'w>),
}

/// Parses the model in `slot`: in its copy in `ram`, if it fits there.
///
/// # Errors
/// The slot holds no valid model.
pub(crate) fn parse<'m>(slot: &'m [u8], ram: &'m mut [u8]) -> Result<Image<'m>, ImageError> {
    let length = ram.len().min(slot.len());
    let (Some(source), Some(copy @ [_, ..])) = (slot.get(..length), ram.get_mut(..length)) else {
        return Image::parse(slot);
    };
    copy.copy_from_slice(source);
    match Image::parse(copy) {
        // Found by the length in the header: the model has not been parsed yet.
        Err(ImageError::Truncated { .. }) => Image::parse(slot),
        parsed => parsed,
    }
}

impl<'m, 'w> LoadedModel<'m, 'w> {
    /// Makes the parsed model ready to run in `workspace`, and checks the core's kernel on some of its rows.
    pub fn load(
        parsed: &'m Result<Image<'m>, ImageError>,
        workspace: &'w mut [u32],
        settings: &ConsoleSettings,
    ) -> Self {
        match parsed {
            Err(error) => Self::Invalid(error),
            Ok(image) => match Generator::new(image, workspace, settings.sampling()) {
                Err(error) => Self::TooLarge(error),
                Ok(mut generator) => match selftest::kernel(generator.state(), Extent::Start) {
                    Err(mismatch) => Self::KernelFailed(mismatch),
                    Ok(_) => Self::Ready(generator),
                },
            },
        }
    }

    /// The model's task, if it can run.
    pub fn task(&self) -> Option<Task> {
        match self {
            Self::Ready(generator) => Some(generator.image().task()),
            _ => None,
        }
    }

    /// The settings that the console begins with: sequence-to-sequence models decode greedily.
    pub fn default_settings(&self) -> ConsoleSettings {
        let mut settings = ConsoleSettings::default();
        if self.task() == Some(Task::Translate) {
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
                .print(pipsqueak::kernel())
                .print(": ")
                .print_message(mismatch),
            Self::Ready(generator) => {
                let image = generator.image();
                for network in 0..image.networks() {
                    for (index, layer) in image.layers(network).iter().enumerate() {
                        terminal.print(match (network, index) {
                            (0, 0) => "",
                            (_, 0) => " to ",
                            _ => " + ",
                        });
                        terminal.print_decimal(layer.layer.hidden.into());
                    }
                }
                let outputs = match image.task() {
                    Task::Classify => " classes, ",
                    _ if image.generates() => " tokens, ",
                    _ => " outputs, ",
                };
                terminal
                    .print(" units, ")
                    .print_decimal(image.outputs() as u64)
                    .print(outputs)
                    .print_decimal(image.len() as u64)
                    .print(" bytes")
            }
        };
    }
}
