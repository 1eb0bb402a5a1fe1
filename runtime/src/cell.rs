//! Recurrent cells in integers: their sections in an image, their check and their step.
//!
//! Rows (`R` of them, each of `C` columns, both padded to multiples of 4) are three sections: weights in the kernel's order
//! (`R * C` bytes), i32 biases `[R]`, scales `[R]`.
//!
//! A GRU layer's sections, J being its joint columns: H over a token table, else the inputs and H, in this order:
//!
//! | section | shape |
//! |---|---|
//! | gate z | rows H x J |
//! | gate r | rows H x J |
//! | candidate h | rows H x J; over the state alone, H x H, when the reset gate comes after the product |
//! | over a token table: its factors | i32 `[3H]` |
//! | reset after, over a token table: the candidate's input bias | i32 `[H]`, Q5.26 |
//! | reset after, else: the candidate's input side | rows H x inputs |

use crate::activation::{sigmoid, tanh};
use crate::fixed::{
    CANDIDATE_BITS, MAX_SHIFT, MULTIPLIER_END, PRE_ACTIVATION_BITS, Scale, requantize, saturate,
};
use crate::image::{Cell, ImageError, LayerShape, Sections};
use crate::kernel::{Operand, ROWS, columns, padded};

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

    /// The range certificate: no sum of these rows, with `factors` times a token's i8 where there are, can leave 32 bits.
    /// The error is the row.
    pub(crate) fn check(&self, factors: Option<&[i32]>) -> Result<(), u32> {
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
                let factor = factors.map_or(0, |f| f.get(row).copied().unwrap_or(i32::MAX));
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

    /// Number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.bias.len() / ROWS
    }

    /// Four outputs of block `index`: `requantize(rows * x + bias + added)`; zeros for a block that is not there.
    pub(crate) fn outputs(&self, index: usize, x: Operand, added: [i32; ROWS]) -> [i16; ROWS] {
        let weights = index * self.columns..(index + 1) * self.columns;
        let (Some(weights), Some(bias), Some(scale)) = (
            self.weights.get(weights),
            self.bias.as_chunks::<ROWS>().0.get(index),
            self.scale.as_chunks::<ROWS>().0.get(index),
        ) else {
            return [0; ROWS];
        };
        let products = x.rows(weights);
        core::array::from_fn(|i| requantize(products[i] + bias[i] + added[i], Scale(scale[i])))
    }
}

/// A GRU layer's sections.
#[derive(Clone, Copy)]
pub(crate) struct Gru<'a> {
    shape: LayerShape,
    z: Rows<'a>,
    r: Rows<'a>,
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
        Ok(Self {
            shape,
            z: Rows::take(sections, units, joint)?,
            r: Rows::take(sections, units, joint)?,
            h: Rows::take(sections, units, if after { units } else { joint })?,
            factors: sections.take(when(table, 3 * units))?,
            candidate_bias: sections.take(when(table && after, units))?,
            candidate: Rows::take(sections, when(!table && after, units), inputs)?,
        })
    }

    fn after(&self) -> bool {
        self.shape.cell == Cell::GruResetAfter
    }

    /// Gate `gate`'s third of a token table's row or of the factors.
    fn third<'b, T>(&self, gate: usize, values: &'b [T]) -> &'b [T] {
        let units = padded(self.shape.hidden);
        values
            .get(gate * units..(gate + 1) * units)
            .unwrap_or_default()
    }

    /// The range certificate of every row; the error is a row, gate after gate.
    pub(crate) fn check(&self) -> Result<(), u32> {
        let units = padded(self.shape.hidden) as u32;
        let factors = |gate| match self.factors {
            [] => None,
            all => Some(self.third(gate, all)),
        };
        self.z.check(factors(0))?;
        self.r.check(factors(1)).map_err(|row| units + row)?;
        let candidate = if self.after() { None } else { factors(2) };
        self.h.check(candidate).map_err(|row| 2 * units + row)?;
        self.candidate.check(None).map_err(|row| 3 * units + row)?;
        // A gate times a pre-activation is at most 2^30, and so must this be.
        for (row, (bias, factor)) in self
            .candidate_bias
            .iter()
            .zip(self.third(2, self.factors))
            .enumerate()
        {
            let sum = u64::from(bias.unsigned_abs()) + (u64::from(factor.unsigned_abs()) << 7);
            if sum > 1 << (CANDIDATE_BITS + 4) {
                return Err(3 * units + row as u32);
            }
        }
        Ok(())
    }

    /// What a token adds to block `index` of gate `gate`; zeros for a layer that reads a vector.
    fn added(&self, gate: usize, token: &[i8], index: usize) -> [i32; ROWS] {
        let token = self.third(gate, token).as_chunks::<ROWS>().0.get(index);
        let factors = self
            .third(gate, self.factors)
            .as_chunks::<ROWS>()
            .0
            .get(index);
        match (token, factors) {
            (Some(token), Some(factors)) => {
                core::array::from_fn(|i| i32::from(token[i]) * factors[i])
            }
            _ => [0; ROWS],
        }
    }

    /// The candidate's input side, Q5.26, of block `index`, when the reset gate comes after the product.
    fn candidate(&self, token: &[i8], input: Operand, index: usize) -> [i32; ROWS] {
        match self.candidate_bias.as_chunks::<ROWS>().0.get(index) {
            Some(bias) => {
                let added = self.added(2, token, index);
                core::array::from_fn(|i| bias[i] + added[i])
            }
            None => self
                .candidate
                .outputs(index, input, [0; ROWS])
                .map(|x| i32::from(x) << (CANDIDATE_BITS - PRE_ACTIVATION_BITS)),
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
        let blocks = blocks_of(state, next);
        for (index, (old, new)) in blocks {
            let z = self.z.outputs(index, both, self.added(0, token, index));
            let r = self.r.outputs(index, both, self.added(1, token, index));
            let h = self.h.outputs(index, recurrent, [0; ROWS]);
            let candidate = self.candidate(token, input, index);
            *new = core::array::from_fn(|i| {
                // Q15 times Q4.11 has the candidate's 26 fraction bits; both sides are at most 2^30.
                let sum = candidate[i] + i32::from(sigmoid(r[i])) * i32::from(h[i]);
                let n = tanh(saturate(
                    (sum + (1 << 14)) >> (CANDIDATE_BITS - PRE_ACTIVATION_BITS),
                ));
                blend(sigmoid(z[i]), old[i], n)
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
        for (index, (old, reset)) in blocks_of(state, reset.get_mut(inputs..).unwrap_or_default()) {
            let r = self.r.outputs(index, both, self.added(1, token, index));
            *reset = core::array::from_fn(|i| {
                ((i32::from(sigmoid(r[i])) * i32::from(old[i]) + (1 << 14)) >> 15) as i16
            });
        }
        let reset = Operand::new(reset);
        for (index, (old, new)) in blocks_of(state, next) {
            let z = self.z.outputs(index, both, self.added(0, token, index));
            let h = self.h.outputs(index, reset, self.added(2, token, index));
            *new = core::array::from_fn(|i| blend(sigmoid(z[i]), old[i], tanh(h[i])));
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
