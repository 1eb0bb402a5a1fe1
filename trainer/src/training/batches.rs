//! Which characters each step sees.

use std::ops::Range;

use crate::nn::random::{self, Purpose};

/// Stateful batches: each row of the batch reads its own stretch of the text, one sequence after the other, so that states
/// carry on. Each epoch starts at another place of the text, which is taken as a ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batches {
    characters: usize,
    rows: usize,
    sequence: usize,
    seed: u64,
}

impl Batches {
    /// Batches of `rows` rows and `sequence` characters over a text of `characters`.
    ///
    /// A text too short for that gets fewer rows, then a shorter sequence.
    ///
    /// # Panics
    /// If there are fewer than 2 characters, no rows or no sequence.
    pub fn new(characters: usize, rows: usize, sequence: usize, seed: u64) -> Self {
        assert!(
            characters >= 2 && rows >= 1 && sequence >= 1,
            "{characters} characters, {rows} x {sequence}"
        );
        let predictions = characters - 1;
        let rows = rows.min((predictions / sequence).max(1));
        let sequence = sequence.min(predictions / rows);
        Self {
            characters,
            rows,
            sequence,
            seed,
        }
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Characters of a sequence.
    pub fn sequence(&self) -> usize {
        self.sequence
    }

    /// Steps of an epoch.
    pub fn epoch(&self) -> u64 {
        ((self.characters - 1) / self.rows / self.sequence) as u64
    }

    /// Whether step `step`, from 0, begins an epoch, and so from a state of zeros.
    pub fn begins(&self, step: u64) -> bool {
        step.is_multiple_of(self.epoch())
    }

    /// Where in the text the inputs of step `step`, from 0, stand for these rows: `[sequence][rows]`.
    pub fn places(&self, step: u64, rows: Range<usize>) -> impl Iterator<Item = usize> {
        let Self {
            sequence,
            rows: all,
            ..
        } = *self;
        let ring = self.characters - 1;
        let start = random::below(
            &mut random::stream(self.seed, Purpose::Offset, step / self.epoch(), 0),
            ring,
        );
        let done = (step % self.epoch()) as usize * sequence;
        (0..sequence).flat_map(move |t| {
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
        let batches = Batches::new(1000, 4, 10, 3);
        assert_eq!(
            (batches.rows(), batches.sequence(), batches.epoch()),
            (4, 10, 24)
        );
        let mut before: Option<Vec<usize>> = None;
        let mut seen = std::collections::BTreeSet::new();
        for step in 24..48 {
            assert_eq!(batches.begins(step), step == 24);
            let inputs: Vec<usize> = batches.places(step, 0..4).collect();
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
        let first = |step| batches.places(step, 0..1).next();
        assert_ne!(first(0), first(24), "each epoch has its own start");
    }

    #[test]
    fn parts_of_the_rows_are_columns_of_the_whole() {
        let batches = Batches::new(100, 3, 5, 1);
        let part = |rows| -> Vec<usize> { batches.places(2, rows).collect() };
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
        let shape = |characters| {
            let batches = Batches::new(characters, 32, 64, 1);
            (batches.rows(), batches.sequence(), batches.epoch())
        };
        assert_eq!(shape(2049), (32, 64, 1));
        assert_eq!(shape(2048), (31, 64, 1));
        assert_eq!(shape(129), (2, 64, 1));
        assert_eq!(shape(65), (1, 64, 1));
        assert_eq!(shape(64), (1, 63, 1));
        assert_eq!(shape(2), (1, 1, 1));
    }
}
