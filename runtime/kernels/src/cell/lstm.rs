//! The LSTM, gates in the order i, o, f, c:
//!
//! ```text
//! i, o, f = s(W x + U h + b)    g = tanh(Wc x + Uc h + bc)
//! c' = f c + i g                h' = o tanh(c')
//! ```
//!
//! The cell state is Q8.23 and its addition saturates: it can grow by almost 1 a step, and trained cells reach 20.

use super::Shape;
use super::small::{sigmoid, tanh};
use crate::fixed::saturate;
use crate::kernel::{self, ROWS};
use crate::rows::{self, Factor, Over, Record, outputs};

const GATES: usize = 4;
/// Values of four units in a token's row.
pub const LSTM_GATES: usize = GATES * ROWS;
/// Words of the records of [`lstm_gates_portable`].
pub const LSTM_RECORDS: usize = GATES * Record::Token.words();

pub(super) fn step(
    shape: &Shape,
    words: &[u32],
    token: &[i8],
    joint: &[i16],
    cell: &mut [i32],
    next: &mut [i16],
) {
    let x = Factor::new(joint, shape.columns(Over::Joint));
    let units = cell.as_chunks_mut::<ROWS>().0.iter_mut();
    let units = units.zip(next.as_chunks_mut::<ROWS>().0);
    if kernel::OWN_LSTM_GATES && shape.shift == 0 && !token.is_empty() {
        let words = words.chunks_exact(LSTM_RECORDS + GATES * shape.columns(Over::State).words());
        over_table(words, token, &x, units)
    } else {
        in_general(words, token, &x, shape.shift, units)
    }
}

/// Where a core has its own kernel for gates: a block is two calls of kernels.
fn over_table<'s>(
    blocks: impl Iterator<Item = &'s [u32]>,
    token: &[i8],
    x: &Factor,
    units: impl Iterator<Item = (&'s mut [i32; ROWS], &'s mut [i16; ROWS])>,
) {
    let mut products = [[0; ROWS]; GATES];
    for ((block, token), (cell, new)) in blocks.zip(token.as_chunks().0).zip(units) {
        let Some((records, weights)) = block.split_first_chunk::<LSTM_RECORDS>() else {
            return;
        };
        x.products(weights, &mut products);
        kernel::lstm_gates(records, token, &products, cell, new);
    }
}

fn in_general<'s>(
    mut words: &[u32],
    token: &[i8],
    x: &Factor,
    shift: u32,
    units: impl Iterator<Item = (&'s mut [i32; ROWS], &'s mut [i16; ROWS])>,
) {
    let mut tokens = token.as_chunks::<LSTM_GATES>().0.iter();
    for (cell, new) in units {
        let token = tokens.next().map_or(&[][..], |token| token);
        let mut sums = [[0; ROWS]; GATES];
        outputs(&mut words, x, token, &mut sums);
        for lane in 0..ROWS {
            unit(
                [0, 1, 2, 3].map(|gate| sums[gate][lane]),
                shift,
                &mut cell[lane],
                &mut new[lane],
            );
        }
    }
}

/// The new states of four units of an LSTM over a token table, from their products: i, o, f, c.
///
/// This is the specification of [`kernel::lstm_gates`].
#[inline(always)]
pub fn lstm_gates_portable(
    records: &[u32; LSTM_RECORDS],
    token: &[i8; LSTM_GATES],
    products: &[[i32; ROWS]; GATES],
    cell: &mut [i32; ROWS],
    new: &mut [i16; ROWS],
) {
    for lane in 0..ROWS {
        let sum = |gate: usize| {
            let record = |quad: usize| records[ROWS * (3 * gate + quad) + lane];
            let added = i32::from(token[ROWS * gate + lane]) * record(2) as i32;
            rows::output(products[gate][lane], record(0), record(1), added)
        };
        unit([0, 1, 2, 3].map(sum), 0, &mut cell[lane], &mut new[lane]);
    }
}

/// One unit, from the sums of its gates in Q4.11.
#[inline(always)]
fn unit([i, o, f, g]: [i32; GATES], shift: u32, cell: &mut i32, new: &mut i16) {
    *cell = remember(*cell, sigmoid(f), sigmoid(i), tanh(g));
    *new = output(*cell, sigmoid(o), shift);
}

/// `f c + i g` in Q8.23, saturated; f, i and g are Q15.
#[inline(always)]
fn remember(c: i32, f: i16, i: i16, g: i16) -> i32 {
    let f = i32::from(f);
    // A product of 31 by 16 bits as two that fit: high half and low half.
    let (high, low) = (c >> 16, c & 0xffff);
    let kept = ((f * high) << 1) + ((f * low + (1 << 14)) >> 15);
    // Q30 to Q23.
    let new = (i32::from(i) * i32::from(g) + (1 << 6)) >> 7;
    kept.saturating_add(new)
}

/// `o tanh(c)` with 15 - `shift` fraction bits.
#[inline(always)]
fn output(c: i32, o: i16, shift: u32) -> i16 {
    // Q8.23 to Q4.11.
    let c = saturate(c.saturating_add(1 << 11) >> 12);
    let product = i32::from(o) * i32::from(tanh(c.into()));
    ((product + (1 << (14 + shift))) >> (15 + shift)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    #[test]
    fn the_cell_state_is_the_equation_within_its_rounding() {
        let mut random = rand_pcg::Pcg32::new(1, 1);
        let mut half = || (random.next_u32() >> 16) as i16;
        let ends = [i16::MIN, -1, 0, 1, i16::MAX];
        for round in 0..200_000 {
            let (high, low) = match round {
                0..5 => (ends[round], -1),
                5..10 => (ends[round - 5], 0),
                _ => (half(), half()),
            };
            let c = i32::from(high) << 16 | i32::from(low as u16);
            let (f, i, g) = (half() & 0x7fff, half() & 0x7fff, half().max(-32767));
            let exact = i64::from(f) * i64::from(c) / 32768 + i64::from(i) * i64::from(g) / 128;
            let exact = exact.clamp(i32::MIN.into(), i32::MAX.into());
            let found = i64::from(remember(c, f, i, g));
            assert!((found - exact).abs() <= 2, "{c} {f} {i} {g}: {found}");
        }
        // It saturates at both ends, and does not wrap.
        assert_eq!(remember(i32::MAX, 32767, 32767, 32767), i32::MAX);
        assert_eq!(remember(i32::MIN, 32767, 32767, -32767), i32::MIN);
    }

    #[test]
    fn the_output_is_the_equation_within_its_rounding() {
        for c in (i32::MIN..=i32::MAX).step_by(99_991) {
            for o in [0, 1, 9000, 32767] {
                for shift in [0, 2, 8] {
                    let exact = f64::from(o) / 32768.0 * (f64::from(c) / f64::from(1 << 23)).tanh();
                    let found = f64::from(output(c, o, shift)) / f64::from(1 << (15 - shift));
                    // Half a step of Q4.11, tanh's own error, half a step of the output.
                    let most = 2.5e-4 + 3.3e-5 + 0.51 / f64::from(1 << (15 - shift));
                    assert!((found - exact).abs() <= most, "{c} {o} {shift}");
                }
            }
        }
    }
}
