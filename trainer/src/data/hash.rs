//! Hashes: whether a file is the same, and which part of a split a text belongs to.

use sha2::{Digest, Sha256};

/// Returns the SHA-256 of `bytes` in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns where `text` falls in a split by hash: a number from 0 to below 1, computed from the SHA-256 of the text.
///
/// A part of a split is a range of these numbers. Neither the order of the texts nor a seed matters, and equal texts are always
/// in the same part.
///
/// ```
/// use trainer::data::hash::part_of;
/// let dev = (0..10_000).filter(|i| part_of(&i.to_string()) < 0.1).count();
/// assert!((900..1100).contains(&dev));
/// ```
pub fn part_of(text: &str) -> f64 {
    let hash = Sha256::digest(text);
    let (first, _) = hash.split_first_chunk().expect("32 bytes");
    // 53 bits: the conversion to f64 and the division are exact.
    (u64::from_be_bytes(*first) >> 11) as f64 / (1u64 << 53) as f64
}
