//! The GRU, gates in the order z, r, h:
//!
//! ```text
//! z = s(Wz x + Uz h + bz)    r = s(Wr x + Ur h + br)
//! n = tanh(Wh x + bh + r (Uh h + ch))    reset after
//! n = tanh(Wh x + bh + Uh (r h))         reset before
//! h' = n + z (h - n)
//! ```

use super::{Shape, shifted, small};
use crate::activation::{sigmoid, tanh};
use crate::fixed::{CANDIDATE_BITS, PRE_ACTIVATION_BITS, saturate};
use crate::kernel::{self, Operand, ROWS};
use crate::rows::{Bits, Factor, Over, Record, by_parts, output, outputs};

/// Values of four units in a token's row.
pub const GATES: usize = 3 * ROWS;

/// Most texts are made here: a block is two calls of the core's kernel.
pub(super) fn after_table(
    shape: &Shape,
    words: &[u32],
    token: &[i8],
    state: &[i16],
    next: &mut [i16],
) {
    let x = Operand::new(state);
    match shape.bits {
        Bits::Eight => by_table(shape, words, token, state, next, |weights, products| {
            x.products(weights, products);
        }),
        // Over the state alone both are the same.
        Bits::Four | Bits::Mixed => {
            let parts = [Operand::new(&[]), x];
            by_table(shape, words, token, state, next, |weights, products| {
                by_parts(Bits::Four, &parts, weights, products);
            });
        }
    }
}

/// A copy for each width of weights: the loop of the usual one is as short as it can be.
#[inline(always)]
fn by_table(
    shape: &Shape,
    words: &[u32],
    token: &[i8],
    state: &[i16],
    next: &mut [i16],
    multiply: impl Fn(&[u32], &mut [[i32; ROWS]; 3]),
) {
    let shift = shape.shift;
    let mut products = [[0; ROWS]; 3];
    let (token, state) = (token.as_chunks().0, state.as_chunks().0);
    let units = token.iter().zip(state).zip(next.as_chunks_mut::<ROWS>().0);
    let blocks = words.chunks_exact(RECORDS + 3 * shape.columns(Over::State).words());
    for (block, ((token, old), new)) in blocks.zip(units) {
        let Some((records, weights)) = block.split_first_chunk::<RECORDS>() else {
            return;
        };
        multiply(weights, &mut products);
        match shift {
            0 => kernel::gates(records, token, &products, old, new),
            _ => gates_shifted(records, token, &products, old, new, shift),
        }
    }
}

/// Words of the records of [`gates_portable`].
pub const RECORDS: usize = 2 * Record::Token.words() + Record::Candidate.words();

/// The new state of four units of a GRU over a token table that resets after, from their products: z, r, h.
///
/// This is the specification of [`kernel::gates`].
#[inline(always)]
pub fn gates_portable(
    records: &[u32; RECORDS],
    token: &[i8; GATES],
    products: &[[i32; ROWS]; 3],
    old: &[i16; ROWS],
    new: &mut [i16; ROWS],
) {
    gates_of(records, token, products, old, new, 0);
}

/// The same for a state of 15 - `shift` fraction bits.
#[inline(never)]
fn gates_shifted(
    records: &[u32; RECORDS],
    token: &[i8; GATES],
    products: &[[i32; ROWS]; 3],
    old: &[i16; ROWS],
    new: &mut [i16; ROWS],
    shift: u32,
) {
    gates_of(records, token, products, old, new, shift);
}

#[inline(always)]
fn gates_of(
    records: &[u32; RECORDS],
    token: &[i8; GATES],
    products: &[[i32; ROWS]; 3],
    old: &[i16; ROWS],
    new: &mut [i16; ROWS],
    shift: u32,
) {
    for i in 0..ROWS {
        let token = |gate: usize| i32::from(token[ROWS * gate + i]);
        let record = |quad: usize| records[ROWS * quad + i];
        let added = |gate: usize, quad: usize| token(gate) * record(quad) as i32;
        let z = output(products[0][i], record(0), record(1), added(0, 2));
        let r = output(products[1][i], record(3), record(4), added(1, 5));
        let h = output(products[2][i], record(6), record(7), 0);
        let sum = candidate(record(8) as i32 + added(2, 9), sigmoid(r as i16), h);
        let n = shifted(tanh(sum as i16), shift);
        new[i] = blend(sigmoid(z as i16), old[i], n);
    }
}

pub(super) fn after_vector(shape: &Shape, mut words: &[u32], joint: &[i16], next: &mut [i16]) {
    let shift = shape.shift;
    let (input, state) = joint.split_at_checked(shape.inputs).unwrap_or_default();
    let factor = |x, over| Factor::new(x, shape.columns(over));
    let both = factor(joint, Over::Joint);
    let (input, recurrent) = (factor(input, Over::Input), factor(state, Over::State));
    for (old, new) in blocks_of(state, next) {
        let (mut gates, mut h, mut added) = ([[0; ROWS]; 2], [[0; ROWS]], [[0; ROWS]]);
        outputs(&mut words, &both, &[], &mut gates);
        outputs(&mut words, &recurrent, &[], &mut h);
        outputs(&mut words, &input, &[], &mut added);
        for i in 0..ROWS {
            let added = added[0][i] << (CANDIDATE_BITS - PRE_ACTIVATION_BITS);
            let n = small::tanh(candidate(added, small::sigmoid(gates[1][i]), h[0][i]));
            let n = shifted(n, shift);
            new[i] = blend(small::sigmoid(gates[0][i]), old[i], n);
        }
    }
}

pub(super) fn before(
    shape: &Shape,
    mut words: &[u32],
    token: &[i8],
    joint: &[i16],
    next: &mut [i16],
    reset: &mut [i16],
) {
    let (inputs, shift) = (shape.inputs, shape.shift);
    let columns = shape.columns(Over::Joint);
    let both = Factor::new(joint, columns);
    let state = joint.get(inputs..).unwrap_or_default();
    for (to, from) in reset.iter_mut().zip(joint) {
        *to = *from;
    }
    let resets = reset.get_mut(inputs..).unwrap_or_default();
    let resets = resets.as_chunks_mut::<ROWS>().0;
    let mut tokens = token.chunks_exact(GATES);
    for ((old, gate), reset) in blocks_of(state, next).zip(resets) {
        let (token, _) = tokens
            .next()
            .unwrap_or_default()
            .split_at_checked(2 * ROWS)
            .unwrap_or_default();
        let mut gates = [[0; ROWS]; 2];
        outputs(&mut words, &both, token, &mut gates);
        for i in 0..ROWS {
            // The new state waits for all of the reset one; its place keeps the gate.
            gate[i] = small::sigmoid(gates[0][i]);
            let r = i32::from(small::sigmoid(gates[1][i]));
            reset[i] = ((r * i32::from(old[i]) + (1 << 14)) >> 15) as i16;
        }
    }
    let reset = Factor::new(reset, columns);
    let mut tokens = token.chunks_exact(GATES);
    for (old, new) in blocks_of(state, next) {
        let (_, token) = tokens
            .next()
            .unwrap_or_default()
            .split_at_checked(2 * ROWS)
            .unwrap_or_default();
        let mut h = [[0; ROWS]];
        outputs(&mut words, &reset, token, &mut h);
        for i in 0..ROWS {
            new[i] = blend(new[i], old[i], shifted(small::tanh(h[0][i]), shift));
        }
    }
}

/// Blocks of four units: what they were and what they become.
fn blocks_of<'s>(
    old: &'s [i16],
    new: &'s mut [i16],
) -> impl Iterator<Item = (&'s [i16; ROWS], &'s mut [i16; ROWS])> {
    old.as_chunks().0.iter().zip(new.as_chunks_mut().0)
}

/// `added + r h` in Q4.11, added being Q5.26.
#[inline(always)]
fn candidate(added: i32, r: i16, h: i32) -> i32 {
    // Q15 times Q4.11 has the candidate's 26 fraction bits; both sides are at most 2^30.
    let sum = added + i32::from(r) * h;
    saturate((sum + (1 << 14)) >> (CANDIDATE_BITS - PRE_ACTIVATION_BITS)).into()
}

/// `n + z (h - n)`, rounded to nearest: between n and h, so never out of their range.
#[inline(always)]
fn blend(z: i16, h: i16, n: i16) -> i16 {
    let difference = i32::from(h) - i32::from(n);
    // 32767 * 65535 + 2^14 is below 2^31.
    (i32::from(n) + ((i32::from(z) * difference + (1 << 14)) >> 15)) as i16
}
