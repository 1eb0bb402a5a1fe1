//! Reads the sections of a model file in order.

use super::ModelError;

/// The rest of a model file. Each section starts at a multiple of 4 bytes and has no length of its own: the metadata
/// determines it.
pub(crate) struct SectionReader<'a> {
    rest: &'a [u8],
    /// Bytes before `rest`; after a section that the model is too short for, the bytes that it would need.
    offset: usize,
    /// Bytes of the model.
    len: usize,
}

impl<'a> SectionReader<'a> {
    /// Reads `model` from its first byte on.
    pub(crate) fn new(model: &'a [u8]) -> Self {
        Self {
            rest: model,
            offset: 0,
            len: model.len(),
        }
    }

    /// The next `count` values; `None` if the model is too short.
    pub(crate) fn section<T: bytemuck::AnyBitPattern>(&mut self, count: usize) -> Option<&'a [T]> {
        let bytes = self.bytes(count.saturating_mul(size_of::<T>()))?;
        bytemuck::try_cast_slice(bytes).ok()
    }

    #[inline(never)]
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        // Saturated, it is longer than any model.
        let padded = length.saturating_add(3) & !3;
        self.offset = self.offset.saturating_add(padded);
        self.rest.split_off(..padded)?.get(..length)
    }

    /// Why the last section was not read, or that bytes are left.
    pub(crate) fn error(&self) -> ModelError {
        ModelError::SizeMismatch {
            expected: self.offset as u32,
            found: self.len as u32,
        }
    }

    /// Whether nothing is left.
    pub(crate) fn is_finished(&self) -> bool {
        self.rest.is_empty()
    }
}
