//! A classifier's answer: the most likely classes with their probabilities.

use embedded_io::Write;
use pipsqueak::{ModelView, activation::exp2_neg};

use crate::terminal::Terminal;

/// How many classes are shown at most.
const SHOWN: usize = 5;
/// log2(e) in Q14.
const LOG2_E: u32 = 23_637;

/// Prints the most likely classes, one a line: name or number, two spaces, probability in percent. `scores` are the logits
/// of all classes, with the model's number of fraction bits.
pub(crate) fn print<W: Write>(model: &ModelView, scores: &[i16], terminal: &mut Terminal<W>) {
    let frac_bits = model.output().map_or(0, |output| output.frac_bits());
    let max = scores.iter().copied().max().unwrap_or(0);
    // Softmax: `e^(score - max)` in Q16. The sum of 2^16 classes fits into 32 bits.
    let weight = |score: i16| {
        let exponent = (u32::from(max.abs_diff(score)) * LOG2_E) >> frac_bits;
        exp2_neg(exponent.saturating_mul(4)) >> 9
    };
    let sum = scores.iter().fold(1, |sum, &score| sum + weight(score));
    // Ordered by score; of equal scores, the first class is the largest.
    let rank = |class: usize, score: i16| {
        (u32::from(score as u16 ^ 0x8000) << 16) | (class as u32 ^ 0xffff)
    };
    let labels = model.vocabulary();
    let mut limit = u32::MAX;
    for place in 0..SHOWN.min(scores.len()) {
        let ranks = scores
            .iter()
            .enumerate()
            .map(|(class, &score)| rank(class, score));
        limit = ranks.filter(|&rank| rank < limit).max().unwrap_or(0);
        let class = limit as u16 ^ 0xffff;
        let score = (limit >> 16) as u16 ^ 0x8000;
        if place > 0 {
            terminal.print("\n");
        }
        if labels.is_empty() {
            terminal.print_decimal(class.into());
        } else {
            terminal.print_bytes_escaped(labels.text(class));
        }
        // Tenths of a percent, rounded.
        let permille = (weight(score as i16) * 1000 + sum / 2) / sum;
        terminal.print("  ").print_fixed(permille, 1).print(" %");
    }
}
