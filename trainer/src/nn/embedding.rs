//! The embedding: each token's row of a table `[V][E]`, as the first layer's input.

use crate::nn::tensor::{LANES, Series, places};

/// `out[t][e] = table[token][e]`: the rows of `tokens`, `[T][groups]`, out of `table`, `[V][E]`.
///
/// # Panics
/// If there are not T tokens of each group, or one is not below V.
pub fn forward(table: &[f32], tokens: &[[u16; LANES]], out: &mut Series) {
    let (columns, groups) = (out.features(), out.groups());
    assert_eq!(tokens.len(), out.steps() * groups, "tokens of a sequence");
    for ((slot, group), tokens) in places(1..=out.steps(), groups).zip(tokens) {
        let block = out.block_mut(slot, group);
        for (lane, token) in tokens.iter().enumerate() {
            let row = &table[usize::from(*token) * columns..][..columns];
            for (out, value) in block.iter_mut().zip(row) {
                out[lane] = *value;
            }
        }
    }
}

/// Adds `d`, the gradient by what [`forward`] gave, to `gradient`, that by the table, `[V][E]`.
///
/// # Panics
/// As [`forward`].
pub fn backward(d: &Series, tokens: &[[u16; LANES]], gradient: &mut [f32]) {
    let (columns, groups) = (d.features(), d.groups());
    assert_eq!(tokens.len(), d.steps() * groups, "tokens of a sequence");
    for ((slot, group), tokens) in places(1..=d.steps(), groups).zip(tokens) {
        let block = d.block(slot, group);
        for (lane, token) in tokens.iter().enumerate() {
            let row = &mut gradient[usize::from(*token) * columns..][..columns];
            for (sum, d) in row.iter_mut().zip(block) {
                *sum += d[lane];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::tensor::grouped;

    #[test]
    fn rows_come_out_and_gradients_go_back_to_them() {
        // V = 3, E = 2; T = 2, B = 2.
        let (table, tokens) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], grouped(&[2, 0, 2, 2], 2, 0));
        let mut out = Series::new(2, 2, 2);
        forward(&table, &tokens, &mut out);
        assert_eq!(out.slots(&[1, 1]), [5.0, 1.0, 6.0, 2.0]);
        assert_eq!(out.slots(&[2, 2]), [5.0, 5.0, 6.0, 6.0]);
        // What fills the group up has no gradient.
        for slot in 1..=2 {
            out.block_mut(slot, 0)
                .iter_mut()
                .for_each(|lanes| lanes[2..].fill(0.0));
        }
        let mut gradient = [0.5; 6];
        backward(&out, &tokens, &mut gradient);
        assert_eq!(gradient, [1.5, 2.5, 0.5, 0.5, 15.5, 18.5]);
    }
}
