//! The GRU, gates in the order `z, r, h`:
//!
//! ```text
//! z = float.sigmoid(Wz x + Wbz + Uz h)      u  = Uh h + Rbh
//! r = float.sigmoid(Wr x + Wbr + Ur h)      n  = float.tanh(Wh x + Wbh + r * u)
//!                                     h' = n + z * (h - n)
//! ```
//!
//! The recurrent biases of z and r would only add to `Wb`.

use super::recurrence::{Gates, Gradients, Recurrence, State, split};
use crate::network::{self, Matrix};
use crate::nn::simd::Float;
use crate::nn::tensor::{LANES, Lanes};

/// The layer.
pub type Gru = Recurrence<GruGates, 3, 2, 6>;

/// The arithmetic.
pub struct GruGates;

/// Of one unit.
#[derive(Clone, Copy, Default)]
pub struct Kept {
    z: Lanes,
    r: Lanes,
    n: Lanes,
    u: Lanes,
}

impl Gates<3> for GruGates {
    type Kept = Kept;
    const HAS_CELL: bool = false;
    const APART: usize = 1;

    #[inline(always)]
    fn forward(
        float: Float,
        x: &[Lanes; 3],
        u: &[Lanes; 3],
        before: State,
        kept: &mut Kept,
    ) -> State {
        let mut h = before.h;
        for i in 0..LANES {
            let z = float.sigmoid(x[0][i] + u[0][i]);
            let r = float.sigmoid(x[1][i] + u[1][i]);
            let n = float.tanh(x[2][i] + r * u[2][i]);
            h[i] = n + z * (h[i] - n);
            (kept.z[i], kept.r[i], kept.n[i], kept.u[i]) = (z, r, n, u[2][i]);
        }
        State { h, ..before }
    }

    #[inline(always)]
    fn backward(kept: &Kept, before: State, d: State) -> Gradients<3> {
        let mut input = [[0.0; LANES]; 3];
        let mut recurrent = [[0.0; LANES]; 3];
        let mut past = d.h;
        for i in 0..LANES {
            let (z, r, n, u) = (kept.z[i], kept.r[i], kept.n[i], kept.u[i]);
            let dn = d.h[i] * (1.0 - z) * (1.0 - n * n);
            let dr = dn * u * r * (1.0 - r);
            let dz = d.h[i] * (before.h[i] - n) * z * (1.0 - z);
            (input[0][i], input[1][i], input[2][i]) = (dz, dr, dn);
            (recurrent[0][i], recurrent[1][i], recurrent[2][i]) = (dz, dr, dn * r);
            past[i] = d.h[i] * z;
        }
        Gradients {
            input,
            recurrent,
            before: State { h: past, ..d },
        }
    }
}

pub(super) fn layer(weights: &[f32], inputs: usize, units: usize) -> network::Gru {
    let [w, u, wb, rbh] = split::<GruGates, 3>(weights, inputs, units);
    let mut rb = vec![0.0; 3 * units];
    rb[2 * units..].copy_from_slice(rbh);
    network::Gru {
        w: Matrix::new(3 * units, inputs, w.to_vec()),
        r: Matrix::new(3 * units, units, u.to_vec()),
        wb: wb.to_vec(),
        rb,
        linear_before_reset: true,
        activations: network::Activations::default(),
    }
}
