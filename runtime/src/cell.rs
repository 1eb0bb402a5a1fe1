//! Recurrent cells in integers: their sections in an image, their check and their step.
//!
//! Rows (`R` of them, each of `C` columns, both padded to multiples of 4) are three sections: weights in the kernel's order
//! (`R * C` bytes), i32 biases `[R]`, scales `[R]`.
//!
//! A GRU layer's sections, J being its joint columns: H over a token table, else the inputs and H, in this order:
//!
//! | section | shape |
//! |---|---|
//! | gates z and r | rows 2H x J; and the candidate h, 3H x J, over a token table with the reset gate after |
//! | candidate h, else | rows H x J; over the state alone, H x H, with the reset gate after |
//! | over a token table: its factors | i32 `[3H]` |
//! | over a token table with the reset gate after: the candidate's input bias | i32 `[H]`, Q5.26 |
//! | over a vector with the reset gate after: the candidate's input side | rows H x inputs |
//!
//! Gates stand block by block of four units, as a step reads them: z of units 0 to 3, r of them, h of them, z of units 4 to 7.
//! So do a token's row of the table and its factors. The reset gate is *after* when it multiplies the recurrent product.

use crate::image::{Cell, ImageError, LayerShape, Sections};
use pipsqueak_kernels::activation::{sigmoid, tanh};
use pipsqueak_kernels::fixed::{
    CANDIDATE_BITS, MAX_SHIFT, MULTIPLIER_END, PRE_ACTIVATION_BITS, Scale, requantize, saturate,
};
use pipsqueak_kernels::kernel::{Operand, ROWS, columns, padded};

/// Rows of a matrix with what turns their accumulators into outputs.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// Words of a block of four rows: its columns.
    columns: usize,
    weights: &'a [u32],
    bias: &'a [i32],
    scale: &'a [u32],
}

impl<'a> Rows<'a> {
    /// Takes `rows` x `columns`; columns are padded already.
    pub(crate) fn take(
        sections: &mut Sections<'a>,
        rows: usize,
        columns: usize,
    ) -> Result<Self, ImageError> {
        let rows = padded(rows);
        Ok(Self {
            columns,
            weights: sections.take((rows / ROWS).saturating_mul(columns))?,
            bias: sections.take(rows)?,
            scale: sections.take(rows)?,
        })
    }

    /// The range certificate: no sum of these rows, with the row's factor times a token's i8, can leave 32 bits.
    /// The error is the row.
    pub(crate) fn check(&self, factor: &dyn Fn(usize) -> i32) -> Result<(), u32> {
        for (index, block) in self.weights.chunks_exact(self.columns.max(1)).enumerate() {
            // At most 16,384 columns twice over, so a norm fits easily.
            let mut norms = [0u32; ROWS];
            for column in columns(block) {
                for (norm, weight) in norms.iter_mut().zip(column) {
                    *norm += u32::from(weight.unsigned_abs());
                }
            }
            for (lane, norm) in norms.into_iter().enumerate() {
                let row = index * ROWS + lane;
                let factor = factor(row);
                let bias = self.bias.get(row).copied().unwrap_or(i32::MAX);
                let sum = (u64::from(norm) << 15)
                    + u64::from(bias.unsigned_abs())
                    + (u64::from(factor.unsigned_abs()) << 7);
                let scale = Scale(self.scale.get(row).copied().unwrap_or(u32::MAX));
                if sum > i32::MAX as u64
                    || scale.multiplier() >= MULTIPLIER_END
                    || scale.shift() > MAX_SHIFT
                {
                    return Err(row as u32);
                }
            }
        }
        Ok(())
    }

    /// The weights, and how many words a block of them has: its columns.
    pub(crate) fn weights(&self) -> (&'a [u32], usize) {
        (self.weights, self.columns)
    }

    /// Number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.bias.len() / ROWS
    }

    /// The outputs of as many blocks as `values` has, from block `first` on: `requantize(rows * x + bias + added)`.
    ///
    /// `values` holds what is added, and then the outputs. It has at most three blocks.
    pub(crate) fn outputs(&self, first: usize, x: Operand, values: &mut [[i32; ROWS]]) {
        let end = first + values.len();
        let mut products = [[0; ROWS]; 3];
        let (Some(weights), Some(bias), Some(scale), Some(products)) = (
            self.weights.get(first * self.columns..end * self.columns),
            self.bias.as_chunks::<ROWS>().0.get(first..end),
            self.scale.as_chunks::<ROWS>().0.get(first..end),
            products.get_mut(..values.len()),
        ) else {
            return;
        };
        x.products(weights, products);
        let rows = products.as_flattened().iter().zip(bias.as_flattened());
        let rows = rows.zip(scale.as_flattened());
        for (((product, bias), scale), value) in rows.zip(values.as_flattened_mut()) {
            *value = requantize(product + bias + *value, Scale(*scale)).into();
        }
    }
}

/// A GRU layer's sections.
#[derive(Clone, Copy)]
pub(crate) struct Gru<'a> {
    shape: LayerShape,
    /// Gates z and r, and the candidate too over a token table with the reset gate after.
    gates: Rows<'a>,
    /// The candidate, unless it stands with the gates.
    h: Rows<'a>,
    /// `[3H]`, empty unless the layer reads a token table.
    factors: &'a [i32],
    /// `[H]` in Q5.26, empty unless the layer reads a token table and resets after the product.
    candidate_bias: &'a [i32],
    /// Without rows unless the layer reads a vector and resets after the product.
    candidate: Rows<'a>,
}

impl<'a> Gru<'a> {
    pub(crate) fn take(sections: &mut Sections<'a>, shape: LayerShape) -> Result<Self, ImageError> {
        let (units, inputs) = (padded(shape.hidden), padded(shape.inputs));
        let joint = inputs + units;
        let after = shape.cell == Cell::GruResetAfter;
        let table = shape.inputs == 0;
        let when = |condition: bool, n: usize| if condition { n } else { 0 };
        let together = table && after;
        Ok(Self {
            shape,
            gates: Rows::take(sections, if together { 3 } else { 2 } * units, joint)?,
            h: Rows::take(
                sections,
                when(!together, units),
                if after { units } else { joint },
            )?,
            factors: sections.take(when(table, 3 * units))?,
            candidate_bias: sections.take(when(together, units))?,
            candidate: Rows::take(sections, when(!table && after, units), inputs)?,
        })
    }

    /// All of its rows, in the order of the sections; some may be none.
    pub(crate) fn rows(&self) -> [&Rows<'a>; 3] {
        [&self.gates, &self.h, &self.candidate]
    }

    fn after(&self) -> bool {
        self.shape.cell == Cell::GruResetAfter
    }

    /// The range certificate of every row; the error is a row, in the order of the sections.
    pub(crate) fn check(&self) -> Result<(), u32> {
        let factor = |gate: usize, row: usize| {
            let place = row / ROWS * 3 * ROWS + gate * ROWS + row % ROWS;
            self.factors.get(place).copied().unwrap_or_default()
        };
        let (gates, candidates) = (self.gates.bias.len() as u32, self.h.bias.len() as u32);
        let together = gates as usize / padded(self.shape.hidden);
        self.gates.check(&|row| {
            let (block, lane) = (row / ROWS, row % ROWS);
            let unit = block / together * ROWS + lane;
            // A candidate that stands with the gates gets the token's part later.
            match block % together {
                2 => 0,
                gate => factor(gate, unit),
            }
        })?;
        let own = |row| if self.after() { 0 } else { factor(2, row) };
        self.h.check(&own).map_err(|row| gates + row)?;
        let before = gates + candidates;
        self.candidate.check(&|_| 0).map_err(|row| before + row)?;
        // A gate times a pre-activation is at most 2^30, and so must this be.
        for (row, bias) in self.candidate_bias.iter().enumerate() {
            let factor = factor(2, row).unsigned_abs();
            let sum = u64::from(bias.unsigned_abs()) + (u64::from(factor) << 7);
            if sum > 1 << (CANDIDATE_BITS + 4) {
                return Err(before + row as u32);
            }
        }
        Ok(())
    }

    /// What a token adds to gates z, r and h of block `index`; zeros for a layer that reads a vector.
    fn added(&self, token: &[i8], index: usize) -> [[i32; ROWS]; 3] {
        let mut added = [[0; ROWS]; 3];
        let place = 3 * ROWS * index..3 * ROWS * (index + 1);
        let token = token.get(place.clone()).unwrap_or_default();
        let factors = self.factors.get(place).unwrap_or_default();
        for (added, (token, factor)) in added
            .as_flattened_mut()
            .iter_mut()
            .zip(token.iter().zip(factors))
        {
            *added = i32::from(*token) * factor;
        }
        added
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
    /// `token` is the token's row of the table (empty for a layer that reads a vector); `joint` is the input vector, if any,
    /// and the state, both Q15; `scratch` holds H elements (reset after), or H and `joint` (reset before). The new state
    /// replaces the old one at the end of `joint`.
    pub(crate) fn step(&self, token: &[i8], joint: &mut [i16], scratch: &mut [i16]) {
        let units = padded(self.shape.hidden);
        let inputs = joint.len().saturating_sub(units);
        let (next, reset) = scratch.split_at_mut_checked(units).unwrap_or_default();
        if self.after() {
            self.step_reset_after(token, joint, inputs, next);
        } else {
            let reset = reset.get_mut(..joint.len()).unwrap_or_default();
            self.step_reset_before(token, joint, inputs, next, reset);
        }
        if let Some(state) = joint.get_mut(inputs..) {
            for (state, next) in state.iter_mut().zip(next) {
                *state = *next;
            }
        }
    }

    fn step_reset_after(&self, token: &[i8], joint: &[i16], inputs: usize, next: &mut [i16]) {
        let (input, state) = joint.split_at_checked(inputs).unwrap_or_default();
        let both = Operand::new(joint);
        let (input, recurrent) = (Operand::new(input), Operand::new(state));
        for (index, (old, new)) in blocks_of(state, next) {
            let mut gates = self.added(token, index);
            let mut candidate = [[0; ROWS]];
            match self.candidate_bias.as_chunks::<ROWS>().0.get(index) {
                Some(bias) => {
                    let added = core::mem::take(&mut gates[2]);
                    candidate = [core::array::from_fn(|i| bias[i] + added[i])];
                    self.gates.outputs(3 * index, both, &mut gates);
                }
                None => {
                    let (joint, own) = gates.split_at_mut(2);
                    self.gates.outputs(2 * index, both, joint);
                    self.h.outputs(index, recurrent, own);
                    self.candidate.outputs(index, input, &mut candidate);
                    let bits = CANDIDATE_BITS - PRE_ACTIVATION_BITS;
                    candidate = [candidate[0].map(|x| x << bits)];
                }
            }
            let ([z, r, h], [candidate]) = (gates, candidate);
            *new = core::array::from_fn(|i| {
                // Q15 times Q4.11 has the candidate's 26 fraction bits; both sides are at most 2^30.
                let sum = candidate[i] + i32::from(sigmoid(r[i] as i16)) * h[i];
                let n = tanh(saturate(
                    (sum + (1 << 14)) >> (CANDIDATE_BITS - PRE_ACTIVATION_BITS),
                ));
                blend(sigmoid(z[i] as i16), old[i], n)
            });
        }
    }

    fn step_reset_before(
        &self,
        token: &[i8],
        joint: &[i16],
        inputs: usize,
        next: &mut [i16],
        reset: &mut [i16],
    ) {
        let state = joint.get(inputs..).unwrap_or_default();
        let both = Operand::new(joint);
        for (to, from) in reset.iter_mut().zip(joint) {
            *to = *from;
        }
        let resets = reset.get_mut(inputs..).unwrap_or_default();
        let resets = resets.as_chunks_mut::<ROWS>().0;
        for ((index, (old, gate)), reset) in blocks_of(state, next).zip(resets) {
            let mut gates = self.added(token, index);
            self.gates.outputs(2 * index, both, &mut gates[..2]);
            let [z, r, _] = gates;
            // The new state waits for all of the reset one; its place keeps the gate.
            *gate = z.map(|z| sigmoid(z as i16));
            *reset = core::array::from_fn(|i| {
                ((i32::from(sigmoid(r[i] as i16)) * i32::from(old[i]) + (1 << 14)) >> 15) as i16
            });
        }
        let reset = Operand::new(reset);
        for (index, (old, new)) in blocks_of(state, next) {
            let mut gates = self.added(token, index);
            self.h.outputs(index, reset, &mut gates[2..]);
            let h = gates[2];
            *new = core::array::from_fn(|i| blend(new[i], old[i], tanh(h[i] as i16)));
        }
    }
}

/// Blocks of four units with their index: what they were and what they become.
fn blocks_of<'s>(
    old: &'s [i16],
    new: &'s mut [i16],
) -> impl Iterator<Item = (usize, (&'s [i16; ROWS], &'s mut [i16; ROWS]))> {
    let (old, new) = (old.as_chunks().0, new.as_chunks_mut().0);
    old.iter().zip(new).enumerate()
}

/// `n + z (h - n)`, rounded to nearest: between n and h, so never out of Q15.
#[inline(always)]
fn blend(z: i16, h: i16, n: i16) -> i16 {
    let difference = i32::from(h) - i32::from(n);
    // 32767 * 65535 + 2^14 is below 2^31.
    (i32::from(n) + ((i32::from(z) * difference + (1 << 14)) >> 15)) as i16
}
