//! What it takes to spell a text that a vocabulary lacks, so that a model of words can be compared by the character.
//!
//! An unknown-token says only that something else stands there. To make the text of it, its bytes must be told too: here by an
//! [n-gram model](crate::data::ngram) of order 2 over the vocabulary's own texts, every one counted once, with an end after each.
//! All of that is in the vocabulary, so whoever has the model could decode such a text by it, and the model's file and its
//! image measure the same. Nothing is known of the words that the vocabulary lacks.

use crate::data::ngram::KneserNey;

/// Symbols: bytes, and the end of a text.
const SYMBOLS: usize = 257;
const END: u32 = 256;

/// Bytes that each one is foreseen by. More do not pay for some thousand texts.
const ORDER: usize = 2;

/// How likely each text is.
#[derive(Clone, Debug)]
pub(super) struct OovSpellingModel(KneserNey);

fn symbols(text: &str) -> impl Iterator<Item = u32> {
    text.bytes().map(u32::from).chain([END])
}

impl OovSpellingModel {
    /// By `texts`, at least one.
    pub fn new<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        // As many ends before a text as the model sees, so that it knows how texts begin.
        let all = texts.flat_map(|text| symbols(text).chain([END; ORDER - 1]));
        let all: Vec<u32> = all.collect();
        Self(KneserNey::new(&all, SYMBOLS, ORDER))
    }

    /// Nats that `text` and its end take.
    pub fn nats(&self, text: &str) -> f64 {
        let all: Vec<u32> = [END; ORDER].into_iter().chain(symbols(text)).collect();
        let symbol =
            |window: &[u32]| -self.0.probabilities(&window[..ORDER], window[ORDER])[ORDER].ln();
        all.windows(ORDER + 1).map(symbol).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_together_are_certain() {
        let spelling = OovSpellingModel::new(["cat", "cab", "a"].into_iter());
        let p = |text: &str| (-spelling.nats(text)).exp();
        assert!(
            p("cat") > 0.01 && p("cat") > 100.0 * p("tac"),
            "{} {}",
            p("cat"),
            p("tac")
        );
        // Texts that begin with a byte are together as likely as the byte.
        let first = |byte: u32| spelling.0.probabilities(&[END, END], byte)[ORDER];
        let sum: f64 = (0..=END).map(first).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        let after = |byte: u32| spelling.0.probabilities(&[END, u32::from(b'c')], byte)[ORDER];
        let expected = first(b'c'.into()) * after(END);
        assert!((p("c") - expected).abs() < 1e-12);
        // Two of three texts begin with c, one with a, none with z.
        assert!(first(b'c'.into()) > first(b'a'.into()) && first(b'z'.into()) < 0.01);
        assert!(spelling.nats("é🦀").is_finite());
    }
}
