//! Surprisal, for display: the only floating-point computation on a token's way, and its result is never fed back.
#![allow(clippy::float_arithmetic, reason = "for display")]

use micromath::F32;

/// Returns the surprisal (information content) of `token` in bits, `-log2(softmax(logits)[token])`, to about 0.03 bits:
/// the error comes from the short series of `micromath`'s `exp` and `ln`.
///
/// `logits` has one element per token, each with `frac_bits` fraction bits, 0 to 15. Returns infinity if `token` is not
/// less than `logits.len()`. The mean over a text is its cross-entropy in bits per token.
/// Source: C. E. Shannon, "A Mathematical Theory of Communication" (1948), section 6.
///
/// ```
/// let uniform = pipsqueak::surprisal_bits(&[100, 100, 100, 100], 9, 2);
/// assert!((uniform - 2.0).abs() < 0.02);
/// assert_eq!(pipsqueak::surprisal_bits(&[100, 100], 9, 2), f32::INFINITY);
/// ```
pub fn surprisal_bits(logits: &[i16], frac_bits: u32, token: u16) -> f32 {
    let Some(&logit) = logits.get(usize::from(token)) else {
        return f32::INFINITY;
    };
    // The maximum is subtracted first, so that no exponential overflows: log-sum-exp.
    let max = logits.iter().fold(logit, |max, &other| max.max(other));
    let to_nats = |distance: u16| f32::from(distance) / (1u32 << frac_bits.min(15)) as f32;
    // `F32`'s own functions, not those of its extension trait: the standard library's would replace these on the host.
    let sum = logits.iter().fold(F32(0.0), |sum, &other| {
        sum + F32(-to_nats(max.abs_diff(other))).exp()
    });
    (sum.ln().0 + to_nats(max.abs_diff(logit))) * core::f32::consts::LOG2_E
}
