//! The model in the slot, or why there is none.

use embedded_io::{Read, ReadReady, Write};
use pipsqueak::{
    Generator, Image, ImageError, Task, Temperature, WorkspaceError,
    selftest::{self, Extent, Mismatch},
};

use crate::{settings::Settings, terminal::Terminal};

pub(crate) enum Model<'i, 'w> {
    Refused(&'i ImageError),
    TooLarge(WorkspaceError),
    /// The core's kernel is not to be trusted with it.
    Broken(Mismatch),
    Ready(Generator<'i, 'w>),
}

impl<'i, 'w> Model<'i, 'w> {
    pub fn load(
        image: &'i Result<Image<'i>, ImageError>,
        workspace: &'w mut [u32],
        settings: pipsqueak::Settings,
    ) -> Self {
        match image {
            Err(error) => Self::Refused(error),
            Ok(image) => match Generator::new(image, workspace, settings) {
                Err(error) => Self::TooLarge(error),
                Ok(mut generator) => match selftest::kernel(generator.state(), Extent::Start) {
                    Err(mismatch) => Self::Broken(mismatch),
                    Ok(_) => Self::Ready(generator),
                },
            },
        }
    }

    /// The settings that the console begins with: a translation is the likeliest one.
    pub fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        if let Self::Ready(generator) = self
            && generator.image().task() == Task::Translate
        {
            settings.temperature = Temperature::GREEDY;
        }
        settings
    }

    /// Prints one line: the model's sizes, or what is wrong with the slot.
    pub fn describe<S: Read + ReadReady + Write>(&self, terminal: &mut Terminal<S>) {
        match self {
            Self::Refused(error) => terminal.say(*error),
            Self::TooLarge(error) => terminal.say(error),
            Self::Broken(mismatch) => terminal
                .print("SELF-TEST FAILED, kernel ")
                .print(pipsqueak::kernel())
                .print(": ")
                .say(mismatch),
            Self::Ready(generator) => {
                let image = generator.image();

                for network in 0..image.networks() {
                    for (index, layer) in image.layers(network).iter().enumerate() {
                        let first = if network == 0 { "" } else { " to " };
                        terminal.print(if index == 0 { first } else { " + " });
                        terminal.number(layer.layer.hidden.into(), 10, 1);
                    }
                }
                let outputs = match image.generates() {
                    true => " tokens, ",
                    false => " outputs, ",
                };
                terminal
                    .print(" units, ")
                    .number(image.outputs() as u64, 10, 1);
                terminal
                    .print(outputs)
                    .number(image.len() as u64, 10, 1)
                    .print(" bytes")
            }
        };
    }
}
