//! A classifier's answer: the most likely classes with their probabilities.

use core::cmp::Reverse;

use embedded_io::Write;
use pipsqueak::{Image, activation::exp2_negative};

use crate::terminal::Terminal;

/// How many classes are shown at most.
const SHOWN: usize = 5;
/// log2(e) in Q16.
const LOG2_E: u64 = 94_548;

/// Prints the most likely classes, one a line: name or number, two spaces, probability in percent. `scores` are the logits
/// of all classes, with the image's number of fraction bits.
pub(crate) fn print<W: Write>(image: &Image, scores: &[i16], terminal: &mut Terminal<W>) {
    let Some(max) = scores.iter().copied().max() else {
        return;
    };
    // Softmax: `e^(score - max)` in Q16. The sum of 2^16 classes fits into 32 bits.
    let weight = |score: i16| {
        let exponent = (u64::from(max.abs_diff(score)) * LOG2_E) >> image.logit_bits();
        exp2_negative(u32::try_from(exponent).unwrap_or(u32::MAX)) >> 9
    };
    let sum = scores
        .iter()
        .map(|&score| weight(score))
        .sum::<u32>()
        .max(1);
    let labels = image.vocabulary();
    // By score, of equal ones the first.
    let rank = |class: usize, score: i16| (score, Reverse(class));
    let mut last = None;
    for place in 0..SHOWN.min(scores.len()) {
        let all = scores
            .iter()
            .enumerate()
            .map(|(class, &score)| rank(class, score));
        let next = all
            .filter(|&next| last.is_none_or(|last| next < last))
            .max();
        let Some((score, Reverse(class))) = next else {
            return;
        };
        last = next;
        terminal.print(if place == 0 { "" } else { "\n" });
        if labels.is_empty() {
            terminal.print_decimal(class as u64);
        } else {
            terminal.print_bytes_escaped(labels.text(class as u16));
        }
        // Tenths of a percent, rounded.
        let permille = (weight(score) * 1000 + sum / 2) / sum;
        terminal.print("  ").print_fixed(permille, 1).print(" %");
    }
}
