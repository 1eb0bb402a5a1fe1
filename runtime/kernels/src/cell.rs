//! The steps of recurrent cells in integers.
//!
//! A layer's words are runs of blocks, and a block has panels ([`crate::rows`]) of four units:
//!
//! | GRU | a block's panels |
//! |---|---|
//! | reset after, over a token table | z, r with [`Record::Token`] and h with [`Record::Candidate`], over the state |
//! | reset after, over a vector | z, r over the input and the state; h over the state; the candidate's input side over the input |
//! | reset before, over a token table | z, r with [`Record::Token`]; in a second run h with [`Record::Token`], over the reset state |
//! | reset before, over a vector | z, r over the input and the state; in a second run h over the input and the reset state |
//!
//! A token's row of the table has z, r and h of units 0 to 3, then of units 4 to 7, and so on.
//! The reset gate is *after* when it multiplies the recurrent product.

use crate::activation::{sigmoid, tanh};
use crate::fixed::{CANDIDATE_BITS, PRE_ACTIVATION_BITS, saturate};
use crate::kernel::{self, Operand, ROWS};
use crate::rows::{Over, Panel, Record, output, outputs};

/// Values of four units in a token's row.
pub const GATES: usize = 3 * ROWS;

/// A GRU layer's shape. All lengths are padded.
#[derive(Clone, Copy, Debug)]
pub struct Gru {
    /// Whether the reset gate multiplies the recurrent product (or the state before it).
    pub reset_after: bool,
    /// Elements of the input vector; 0 over a token table.
    pub inputs: usize,
    /// Units, H.
    pub units: usize,
}

impl Gru {
    /// The panels of a block, for each run of blocks, with gates in the order z, r, h, and last a candidate's input side
    /// that has rows of its own.
    pub fn runs(&self) -> &'static [&'static [Panel]] {
        use Over::{Input, Joint, State};
        use Record::{Candidate, Plain, Token};
        const fn panel(over: Over, gates: &'static [Record]) -> Panel {
            Panel { over, gates }
        }
        match (self.reset_after, self.inputs > 0) {
            (true, false) => const { &[&[panel(State, &[Token, Token, Candidate])]] },
            (true, true) => {
                const {
                    &[&[
                        panel(Joint, &[Plain, Plain]),
                        panel(State, &[Plain]),
                        panel(Input, &[Plain]),
                    ]]
                }
            }
            (false, false) => {
                const { &[&[panel(State, &[Token, Token])], &[panel(State, &[Token])]] }
            }
            (false, true) => {
                const { &[&[panel(Joint, &[Plain, Plain])], &[panel(Joint, &[Plain])]] }
            }
        }
    }

    /// Columns of a panel over `over`.
    pub fn columns(&self, over: Over) -> usize {
        match over {
            Over::Input => self.inputs,
            Over::State => self.units,
            Over::Joint => self.inputs + self.units,
        }
    }

    /// Words of the layer.
    pub fn words(&self) -> usize {
        // What `runs` says, added up.
        let records = match (self.reset_after, self.inputs > 0) {
            (true, false) => RECORDS,
            (true, true) => 4 * Record::Plain.words(),
            (false, false) => 3 * Record::Token.words(),
            (false, true) => 3 * Record::Plain.words(),
        };
        let weights = 3 * (self.inputs + self.units);
        (records + weights).saturating_mul(self.units / ROWS)
    }

    /// Elements that [`step`](Self::step) needs beside the joint vector.
    pub fn scratch(&self) -> usize {
        match self.reset_after {
            true => self.units,
            false => 2 * self.units + self.inputs,
        }
    }

    /// One step.
    ///
    /// ```text
    /// z = s(Wz x + Uz h + bz)    r = s(Wr x + Ur h + br)
    /// n = tanh(Wh x + bh + r (Uh h + ch))    reset after
    /// n = tanh(Wh x + bh + Uh (r h))         reset before
    /// h' = n + z (h - n)
    /// ```
    ///
    /// `words` are the layer's; `token` is the token's row of the table, which a layer that reads a vector leaves alone;
    /// `joint` is the input vector, if any, and the state, both Q15; `scratch` has [`scratch`](Self::scratch) elements.
    /// The new state replaces the old one at the end of `joint`.
    #[inline(never)]
    pub fn step(&self, words: &[u32], token: &[i8], joint: &mut [i16], scratch: &mut [i16]) {
        let (next, reset) = scratch.split_at_mut_checked(self.units).unwrap_or_default();
        let token = if self.inputs == 0 { token } else { &[] };
        if !self.reset_after {
            let reset = reset.get_mut(..joint.len()).unwrap_or_default();
            before(words, token, joint, self.inputs, next, reset);
        } else if self.inputs == 0 {
            after_table(words, token, joint, next);
        } else {
            after_vector(words, joint, self.inputs, next);
        }
        if let Some(state) = joint.get_mut(self.inputs..) {
            for (state, next) in state.iter_mut().zip(next) {
                *state = *next;
            }
        }
    }
}

/// Most texts are made here: a block is two calls of the core's kernel.
fn after_table(words: &[u32], token: &[i8], state: &[i16], next: &mut [i16]) {
    let x = Operand::new(state);
    let mut products = [[0; ROWS]; 3];
    let (token, state) = (token.as_chunks().0, state.as_chunks().0);
    let units = token.iter().zip(state).zip(next.as_chunks_mut::<ROWS>().0);
    let blocks = words.chunks_exact(RECORDS + 3 * x.columns());
    for (block, ((token, old), new)) in blocks.zip(units) {
        let Some((records, weights)) = block.split_first_chunk::<RECORDS>() else {
            return;
        };
        x.products(weights, &mut products);
        kernel::gates(records, token, &products, old, new);
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
    for i in 0..ROWS {
        let token = |gate: usize| i32::from(token[ROWS * gate + i]);
        let record = |quad: usize| records[ROWS * quad + i];
        let added = |gate: usize, quad: usize| token(gate) * record(quad) as i32;
        let z = output(products[0][i], record(0), record(1), added(0, 2));
        let r = output(products[1][i], record(3), record(4), added(1, 5));
        let h = output(products[2][i], record(6), record(7), 0);
        let sum = candidate(record(8) as i32 + added(2, 9), sigmoid(r as i16), h);
        new[i] = blend(sigmoid(z as i16), old[i], tanh(sum as i16));
    }
}

fn after_vector(mut words: &[u32], joint: &[i16], inputs: usize, next: &mut [i16]) {
    let (input, state) = joint.split_at_checked(inputs).unwrap_or_default();
    let both = Operand::new(joint);
    let (input, recurrent) = (Operand::new(input), Operand::new(state));
    for (old, new) in blocks_of(state, next) {
        let (mut gates, mut h, mut added) = ([[0; ROWS]; 2], [[0; ROWS]], [[0; ROWS]]);
        outputs(&mut words, both, &[], &mut gates);
        outputs(&mut words, recurrent, &[], &mut h);
        outputs(&mut words, input, &[], &mut added);
        for i in 0..ROWS {
            let added = added[0][i] << (CANDIDATE_BITS - PRE_ACTIVATION_BITS);
            let n = small::tanh(candidate(added, small::sigmoid(gates[1][i]), h[0][i]));
            new[i] = blend(small::sigmoid(gates[0][i]), old[i], n);
        }
    }
}

fn before(
    mut words: &[u32],
    token: &[i8],
    joint: &[i16],
    inputs: usize,
    next: &mut [i16],
    reset: &mut [i16],
) {
    let both = Operand::new(joint);
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
        outputs(&mut words, both, token, &mut gates);
        for i in 0..ROWS {
            // The new state waits for all of the reset one; its place keeps the gate.
            gate[i] = small::sigmoid(gates[0][i]);
            let r = i32::from(small::sigmoid(gates[1][i]));
            reset[i] = ((r * i32::from(old[i]) + (1 << 14)) >> 15) as i16;
        }
    }
    let reset = Operand::new(reset);
    let mut tokens = token.chunks_exact(GATES);
    for (old, new) in blocks_of(state, next) {
        let (_, token) = tokens
            .next()
            .unwrap_or_default()
            .split_at_checked(2 * ROWS)
            .unwrap_or_default();
        let mut h = [[0; ROWS]];
        outputs(&mut words, reset, token, &mut h);
        for i in 0..ROWS {
            new[i] = blend(new[i], old[i], small::tanh(h[0][i]));
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

/// The activations as functions that are called: not every cell is worth a copy of them.
mod small {
    #[inline(never)]
    pub(super) fn sigmoid(x: i32) -> i16 {
        crate::activation::sigmoid(x as i16)
    }

    #[inline(never)]
    pub(super) fn tanh(x: i32) -> i16 {
        crate::activation::tanh(x as i16)
    }
}

/// `added + r h` in Q4.11, added being Q5.26.
#[inline(always)]
fn candidate(added: i32, r: i16, h: i32) -> i32 {
    // Q15 times Q4.11 has the candidate's 26 fraction bits; both sides are at most 2^30.
    let sum = added + i32::from(r) * h;
    saturate((sum + (1 << 14)) >> (CANDIDATE_BITS - PRE_ACTIVATION_BITS)).into()
}

/// `n + z (h - n)`, rounded to nearest: between n and h, so never out of Q15.
#[inline(always)]
fn blend(z: i16, h: i16, n: i16) -> i16 {
    let difference = i32::from(h) - i32::from(n);
    // 32767 * 65535 + 2^14 is below 2^31.
    (i32::from(n) + ((i32::from(z) * difference + (1 << 14)) >> 15)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_panels() {
        for reset_after in [true, false] {
            for inputs in [0, 4, 36] {
                let units = 12;
                let gru = Gru {
                    reset_after,
                    inputs,
                    units,
                };
                let words = |panel: &Panel| {
                    panel.record_words() + panel.gates.len() * gru.columns(panel.over)
                };
                let block: usize = gru.runs().iter().copied().flatten().map(words).sum();
                assert_eq!(gru.words(), block * units / ROWS);
            }
        }
    }
}
