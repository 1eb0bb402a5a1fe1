//! How surprised a model is: shown to people, never fed back. The only float of the library's run time.
#![allow(clippy::float_arithmetic, reason = "for display")]

use micromath::F32;

/// The surprise of `token` in bits, `-log2 softmax(logits)[token]`, to about 0.03 bits (micromath's short series).
///
/// `logits` have `logit_bits` fraction bits. A token that is not there surprises infinitely.
///
/// ```
/// let even = pipsqueak::surprise(&[100, 100, 100, 100], 9, 2);
/// assert!((even - 2.0).abs() < 0.02);
/// ```
pub fn surprise(logits: &[i16], logit_bits: u32, token: u16) -> f32 {
    let Some(&logit) = logits.get(usize::from(token)) else {
        return f32::INFINITY;
    };
    let max = logits.iter().copied().max().unwrap_or(0);
    let nats = |distance: u16| f32::from(distance) / (1u32 << logit_bits.min(15)) as f32;
    // F32's own functions by name: the extension trait gives way to the standard library's where that is linked.
    let sum = logits
        .iter()
        .fold(F32(0.0), |sum, &l| sum + F32(-nats(max.abs_diff(l))).exp());
    (sum.ln().0 + nats(max.abs_diff(logit))) * core::f32::consts::LOG2_E
}
