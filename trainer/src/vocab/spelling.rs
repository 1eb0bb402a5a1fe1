//! What it takes to spell a text that a vocabulary lacks, so that a model of words can be compared by the character.
//!
//! An unknown-token says only that something else stands there. To make the text of it, its bytes must be told too: here by
//! how often each byte is in the vocabulary's own texts, every one counted once, with an end after each; one more of
//! everything is counted, so that any text can be spelled. All of that is in the vocabulary, so any reader of the model
//! could decode such a text, and the model's file and its image measure the same.

/// Symbols: bytes, and the end of a text.
const SYMBOLS: usize = 257;

/// Nats of each symbol.
#[derive(Clone, Debug)]
pub(super) struct Spelling([f64; SYMBOLS]);

impl Spelling {
    /// By the frequencies in `texts`.
    pub fn new(texts: impl Iterator<Item = impl AsRef<[u8]>>) -> Self {
        let mut counts = [1u64; SYMBOLS];
        for text in texts {
            for byte in text.as_ref() {
                counts[usize::from(*byte)] += 1;
            }
            counts[SYMBOLS - 1] += 1;
        }
        let total = counts.iter().sum::<u64>() as f64;
        Self(counts.map(|count| (total / count as f64).ln()))
    }

    /// What `text` and its end take.
    pub fn nats(&self, text: &str) -> f64 {
        let bytes = text.bytes().map(|byte| self.0[usize::from(byte)]);
        bytes.sum::<f64>() + self.0[SYMBOLS - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_takes_what_the_counts_say() {
        // a: 2 + 1, b: 1 + 1, end: 2 + 1; 257 + 5 in all.
        let spelling = Spelling::new(["aa", "b"].iter());
        let p = [3.0, 2.0, 1.0, 3.0].map(|count: f64| -(count / 262.0).ln());
        let expected = p[0] + p[1] + p[3];
        assert!((spelling.nats("ab") - expected).abs() < 1e-12);
        assert!((spelling.nats("é") - (2.0 * p[2] + p[3])).abs() < 1e-12);
        // All symbols together are certain.
        let sum: f64 = spelling.0.iter().map(|nats| (-nats).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}
