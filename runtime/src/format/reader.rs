//! Reads the sections of a model file in order.

use super::ModelError;

/// The rest of a model file. Each section starts at a multiple of 4 bytes and has no length of its own: the metadata
/// determines it.
pub(crate) struct SectionReader<'a> {
    rest: &'a [u8],
    /// Bytes before `rest`.
    offset: usize,
}

impl<'a> SectionReader<'a> {
    /// Reads `model` from `offset` on.
    ///
    /// # Errors
    /// If the model ends before.
    pub(crate) fn new(model: &'a [u8], offset: usize) -> Result<Self, ModelError> {
        let (_, rest) = model
            .split_at_checked(offset)
            .ok_or(ModelError::SizeMismatch {
                expected: offset as u32,
                found: model.len() as u32,
            })?;
        Ok(Self { rest, offset })
    }

    /// The next `count` values.
    ///
    /// # Errors
    /// If the model is too short.
    pub(crate) fn section<T: bytemuck::AnyBitPattern>(
        &mut self,
        count: usize,
    ) -> Result<&'a [T], ModelError> {
        let bytes = self.bytes(count.saturating_mul(size_of::<T>()))?;
        bytemuck::try_cast_slice(bytes).map_err(|_| ModelError::Misaligned)
    }

    #[inline(never)]
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], ModelError> {
        // Saturated, it is longer than any model.
        let padded = length.saturating_add(3) & !3;
        let section = self.rest.split_at_checked(padded);
        let (Some((section, rest)), Some(end)) = (section, self.offset.checked_add(padded)) else {
            return Err(ModelError::SizeMismatch {
                expected: self.offset.saturating_add(padded) as u32,
                found: self.offset.saturating_add(self.rest.len()) as u32,
            });
        };
        (self.rest, self.offset) = (rest, end);
        section.get(..length).ok_or(ModelError::Misaligned)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// If there is.
    pub(crate) fn finish(self) -> Result<(), ModelError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(ModelError::SizeMismatch {
                expected: self.offset as u32,
                found: (self.offset + left) as u32,
            }),
        }
    }
}
