//! The tokens that each step sees of a text.

use std::ops::Range;

use crate::nn::random::{self, Purpose};

/// Stateful batches: each row of the batch reads its own stretch of the text, one sequence after the other, so that states
/// carry over. Each epoch starts at another place of the text, which is taken as a ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stream {
    tokens: usize,
    rows: usize,
    seq_len: usize,
    seed: u64,
}

impl Stream {
    /// Batches of `rows` rows and `seq_len` tokens over a text of `tokens`.
    ///
    /// A text too short for that gets fewer rows, then a shorter sequence.
    ///
    /// # Panics
    /// If there are fewer than 2 tokens, no rows or no sequence.
    pub fn new(tokens: usize, rows: usize, seq_len: usize, seed: u64) -> Self {
        assert!(
            tokens >= 2 && rows >= 1 && seq_len >= 1,
            "{tokens} tokens, {rows} x {seq_len}"
        );
        let predictions = tokens - 1;
        let rows = rows.min((predictions / seq_len).max(1));
        let seq_len = seq_len.min(predictions / rows);
        Self {
            tokens,
            rows,
            seq_len,
            seed,
        }
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Tokens of a sequence.
    pub fn seq_len(&self) -> usize {
        self.seq_len
    }

    /// Steps of an epoch.
    pub fn epoch(&self) -> u64 {
        ((self.tokens - 1) / self.rows / self.seq_len) as u64
    }

    /// Whether step `step`, from 0, begins an epoch, and so from a state of zeros.
    pub fn begins(&self, step: u64) -> bool {
        step.is_multiple_of(self.epoch())
    }

    /// Where in the text the inputs of step `step`, from 0, stand for these rows: `[seq_len][rows]`.
    pub fn places(&self, step: u64, rows: Range<usize>) -> impl Iterator<Item = usize> {
        let Self {
            seq_len, rows: all, ..
        } = *self;
        let ring = self.tokens - 1;
        let start = random::below(
            &mut random::stream(self.seed, Purpose::Offset, step / self.epoch(), 0),
            ring,
        );
        let done = (step % self.epoch()) as usize * seq_len;
        (0..seq_len).flat_map(move |t| {
            let row = move |row| (start + row * (ring / all) + done + t) % ring;
            rows.clone().map(row)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_on_and_an_epoch_sees_each_character_at_most_once() {
        let stream = Stream::new(1000, 4, 10, 3);
        assert_eq!(
            (stream.rows(), stream.seq_len(), stream.epoch()),
            (4, 10, 24)
        );
        let mut before: Option<Vec<usize>> = None;
        let mut seen = std::collections::BTreeSet::new();
        for step in 24..48 {
            assert_eq!(stream.begins(step), step == 24);
            let inputs: Vec<usize> = stream.places(step, 0..4).collect();
            // A target stands behind each input.
            assert!(inputs.iter().all(|at| *at < 999));
            // The last targets are the next step's first inputs, but where the ring closes.
            let joins = before.replace(inputs[36..].to_vec()).map(|last| {
                last.iter()
                    .zip(&inputs[..4])
                    .all(|(last, first)| (last + 1) % 999 == *first)
            });
            assert_ne!(joins, Some(false));
            assert!(
                inputs.iter().all(|input| seen.insert(*input)),
                "twice in an epoch"
            );
        }
        let first = |step| stream.places(step, 0..1).next();
        assert_ne!(first(0), first(24), "each epoch has its own start");
    }

    #[test]
    fn parts_of_the_rows_are_columns_of_the_whole() {
        let stream = Stream::new(100, 3, 5, 1);
        let part = |rows| -> Vec<usize> { stream.places(2, rows).collect() };
        let (whole, left, right) = (part(0..3), part(0..1), part(1..3));
        for t in 0..5 {
            assert_eq!(
                whole[3 * t..][..3],
                [left[t], right[2 * t], right[2 * t + 1]]
            );
        }
    }

    #[test]
    fn short_texts_shrink_the_batch() {
        let shape = |tokens| {
            let stream = Stream::new(tokens, 32, 64, 1);
            (stream.rows(), stream.seq_len(), stream.epoch())
        };
        assert_eq!(shape(2049), (32, 64, 1));
        assert_eq!(shape(2048), (31, 64, 1));
        assert_eq!(shape(129), (2, 64, 1));
        assert_eq!(shape(65), (1, 64, 1));
        assert_eq!(shape(64), (1, 63, 1));
        assert_eq!(shape(2), (1, 1, 1));
    }
}
