//! The embedding: each token's row of a table `[V][E]`, as the first layer's input.

use crate::series::Series;

/// `out[e][t][b] = table[token][e]`: the rows of `tokens`, `[T][B]`, out of `table`, `[V][E]`.
///
/// # Panics
/// If there are not T B tokens, or one is not below V.
pub fn forward(table: &[f32], tokens: &[u16], out: &mut Series) {
    let columns = out.features();
    for column in 0..columns {
        let out = out.row_mut(column);
        assert_eq!(tokens.len(), out.len(), "tokens of a sequence");
        for (out, token) in out.iter_mut().zip(tokens) {
            *out = table[usize::from(*token) * columns + column];
        }
    }
}

/// Adds `d`, the gradient by what [`forward`] gave, to `gradient`, that by the table, `[V][E]`.
///
/// # Panics
/// As [`forward`].
pub fn backward(d: &Series, tokens: &[u16], gradient: &mut [f32]) {
    let columns = d.features();
    for column in 0..columns {
        let d = d.row(column);
        assert_eq!(tokens.len(), d.len(), "tokens of a sequence");
        for (d, token) in d.iter().zip(tokens) {
            gradient[usize::from(*token) * columns + column] += d;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_and_gradients_go_back_to_them() {
        // V = 3, E = 2; T = 2, B = 2.
        let (table, tokens) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 0, 2, 2]);
        let mut out = Series::new(2, 2, 2);
        forward(&table, &tokens, &mut out);
        assert_eq!(out.row(0), [5.0, 1.0, 5.0, 5.0]);
        assert_eq!(out.row(1), [6.0, 2.0, 6.0, 6.0]);
        let mut gradient = [0.5; 6];
        backward(&out, &tokens, &mut gradient);
        assert_eq!(gradient, [1.5, 2.5, 0.5, 0.5, 15.5, 18.5]);
    }
}
