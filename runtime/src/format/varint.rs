//! Reads the numbers of the metadata.

use super::{Field, ModelError};

/// Reads the numbers that postcard encodes as varints.
pub(crate) struct VarintReader<'a> {
    rest: &'a [u8],
    error: ModelError,
}

impl<'a> VarintReader<'a> {
    /// Reads `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            error: ModelError::Metadata,
        }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Why the last number was not read.
    pub(crate) fn error(&self) -> ModelError {
        self.error
    }

    /// The next number, if it is within the range of `field`.
    #[inline(never)]
    pub(crate) fn number(&mut self, field: Field) -> Option<u32> {
        let (number, rest) = postcard::take_from_bytes::<u32>(self.rest).ok()?;
        self.rest = rest;
        let (min, max) = field.range();
        self.check(field, number, min, max)?;
        Some(number)
    }

    /// The next numbers, one per field.
    #[inline(never)]
    pub(crate) fn numbers(&mut self, fields: &[Field], numbers: &mut [u32]) -> Option<()> {
        for (number, field) in numbers.iter_mut().zip(fields) {
            *number = self.number(*field)?;
        }
        Some(())
    }

    /// Checks that `number` is within `min..=max`.
    pub(crate) fn check(&mut self, field: Field, number: u32, min: u32, max: u32) -> Option<()> {
        if (min..=max).contains(&number) {
            return Some(());
        }
        self.error = ModelError::OutOfRange {
            what: field,
            expected: max,
            found: number,
        };
        None
    }
}
