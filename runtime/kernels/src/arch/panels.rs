//! How many panels a kernel computes, and how many at a time.

/// The number of panels of `panel_len` words that there are both weights and accumulators for, as the specification's `zip`
/// counts them. Layers check their lengths when they are built, so it is that of the accumulators: the comparison is what makes
/// a kernel that does not compare sound.
#[inline(always)]
pub(super) fn num_panels(weights: &[u32], panel_len: usize, accumulators: &[[i32; 4]]) -> usize {
    let has_weights = |count: usize| match count {
        // A slice has at most `isize::MAX` bytes, so `panel_len` is below `usize::MAX / 4`: four times it does not wrap.
        // For more, the check for that is a call on cores without a long product.
        ..=4 => panel_len * count <= weights.len(),
        _ => panel_len
            .checked_mul(count)
            .is_some_and(|len| len <= weights.len()),
    };
    let mut count = accumulators.len();
    while !has_weights(count) {
        count -= 1;
    }
    count
}

/// Calls `three` with three panels at a time, and `one` with each that is left: a kernel that spreads activations over lanes
/// does so once for three panels, as many as a GRU has gates.
#[cfg(any(kernels = "aarch64", kernels = "x86_64"))]
#[inline(always)]
pub(super) fn for_each_three_panels(
    weights: &[u32],
    panel_len: usize,
    accumulators: &mut [[i32; 4]],
    mut three: impl FnMut(&[u32], &mut [[i32; 4]; 3]),
    mut one: impl FnMut(&[u32], &mut [[i32; 4]; 1]),
) {
    let (threes, ones) = accumulators.as_chunks_mut();
    let (weights, rest) = weights.split_at(3 * panel_len * threes.len());
    for (weights, out) in weights.chunks_exact(3 * panel_len).zip(threes) {
        three(weights, out);
    }
    for (weights, out) in rest.chunks_exact(panel_len).zip(ones.as_chunks_mut().0) {
        one(weights, out);
    }
}
