//! Vectors of activations, in the type that carries their alignment and padding.

/// Four consecutive elements of a vector in Q15, aligned to 4 bytes.
///
/// A slice of them is what kernels read two elements at a time: aligned to a word, and padded to a multiple of four elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct I16x4(pub [i16; 4]);

/// The elements of a vector.
pub fn elements(vector: &[I16x4]) -> &[i16] {
    bytemuck::must_cast_slice::<I16x4, [i16; 4]>(vector).as_flattened()
}

/// The elements of a vector, to write.
pub fn elements_mut(vector: &mut [I16x4]) -> &mut [i16] {
    bytemuck::must_cast_slice_mut::<I16x4, [i16; 4]>(vector).as_flattened_mut()
}

/// A vector as the int8 and int4 kernels read it.
#[derive(Clone, Copy)]
pub struct PackedActivations<'a> {
    /// Two elements per word, the first in the low half; two words are four columns.
    pub(crate) pairs: &'a [[u32; 2]],
    /// What even rows of an int8 panel subtract: 128 times the sum of the elements, modulo 2^32. 128 is the zero point of their
    /// packed weights (gemmlowp's zero point correction).
    pub(crate) zero_point_correction: i32,
}

impl<'a> PackedActivations<'a> {
    /// Sums the elements of `x`, Q15.
    pub fn new(x: &'a [I16x4]) -> Self {
        let pairs = bytemuck::must_cast_slice::<I16x4, [u32; 2]>(x);
        let sum = pairs.as_flattened().iter().fold(0i32, |sum, &pair| {
            let (first, second) = (i32::from(pair as i16), pair as i32 >> 16);
            sum.wrapping_add(first).wrapping_add(second)
        });
        Self {
            pairs,
            zero_point_correction: sum.wrapping_mul(128),
        }
    }

    /// The number of elements, a multiple of 4.
    #[inline(always)]
    pub fn num_columns(&self) -> usize {
        4 * self.pairs.len()
    }
}
