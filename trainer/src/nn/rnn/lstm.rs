//! The LSTM, gates in the order `i, o, f, c`:
//!
//! ```text
//! i = float.sigmoid(Wi x + Ui h + bi)      g  = float.tanh(Wc x + Uc h + bc)
//! o = float.sigmoid(Wo x + Uo h + bo)      c' = f * c + i * g
//! f = float.sigmoid(Wf x + Uf h + bf)      h' = o * tanh(c')
//! ```
//!
//! Recurrent biases would only add to `b`.

use super::recurrence::{Gates, Gradients, Recurrence, State, split};
use crate::network::{self, Matrix};
use crate::nn::simd::Float;
use crate::nn::tensor::{LANES, Lanes};

/// The layer.
pub type Lstm = Recurrence<LstmGates, 4, 1, 4>;

/// The arithmetic.
pub struct LstmGates;

/// Of one unit.
#[derive(Clone, Copy, Default)]
pub struct Kept {
    i: Lanes,
    o: Lanes,
    f: Lanes,
    g: Lanes,
    /// `tanh(c')`
    t: Lanes,
}

impl Gates<4> for LstmGates {
    type Kept = Kept;
    const HAS_CELL: bool = true;
    const APART: usize = 0;

    #[inline(always)]
    fn forward(
        float: Float,
        x: &[Lanes; 4],
        u: &[Lanes; 4],
        before: State,
        kept: &mut Kept,
    ) -> State {
        let State { mut h, mut c } = before;
        for k in 0..LANES {
            let i = float.sigmoid(x[0][k] + u[0][k]);
            let o = float.sigmoid(x[1][k] + u[1][k]);
            let f = float.sigmoid(x[2][k] + u[2][k]);
            let g = float.tanh(x[3][k] + u[3][k]);
            c[k] = f * c[k] + i * g;
            let t = float.tanh(c[k]);
            h[k] = o * t;
            (kept.i[k], kept.o[k], kept.f[k]) = (i, o, f);
            (kept.g[k], kept.t[k]) = (g, t);
        }
        State { h, c }
    }

    #[inline(always)]
    fn backward(kept: &Kept, before: State, d: State) -> Gradients<4> {
        let [mut di, mut d_o, mut df, mut dg] = [[0.0; LANES]; 4];
        let mut past = State {
            h: [0.0; LANES],
            c: d.c,
        };
        for k in 0..LANES {
            let (i, o, f) = (kept.i[k], kept.o[k], kept.f[k]);
            let (g, t, c) = (kept.g[k], kept.t[k], before.c[k]);
            let dc = d.c[k] + d.h[k] * o * (1.0 - t * t);
            di[k] = dc * g * i * (1.0 - i);
            d_o[k] = d.h[k] * t * o * (1.0 - o);
            df[k] = dc * c * f * (1.0 - f);
            dg[k] = dc * i * (1.0 - g * g);
            past.c[k] = dc * f;
        }
        let sums = [di, d_o, df, dg];
        Gradients {
            input: sums,
            recurrent: sums,
            before: past,
        }
    }
}

pub(super) fn layer(weights: &[f32], inputs: usize, units: usize) -> network::Lstm {
    let [w, u, b, _] = split::<LstmGates, 4>(weights, inputs, units);
    network::Lstm {
        w: Matrix::new(4 * units, inputs, w.to_vec()),
        r: Matrix::new(4 * units, units, u.to_vec()),
        wb: b.to_vec(),
        rb: vec![0.0; 4 * units],
        activations: network::Activations::default(),
    }
}
