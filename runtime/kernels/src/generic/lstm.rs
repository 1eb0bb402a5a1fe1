//! The gates of an LSTM.

use crate::activation::outlined::{sigmoid, tanh};
use crate::fixed::saturate_i16;
use crate::packed::{I16x4, LstmParams, PANEL_ROWS};

/// Computes the next cell state and hidden state of four units of an LSTM that reads gate rows.
///
/// `gate_row` has the token's values of i, o, f and g, four each. `products` are the recurrent products in the same order.
/// `cell` is the cell state, Q8.23; the hidden state is Q15.
#[inline(always)]
pub fn lstm_gates(
    params: &LstmParams,
    gate_row: &[[i8; PANEL_ROWS]; 4],
    products: &[[i32; PANEL_ROWS]; 4],
    cell: &mut [i32; PANEL_ROWS],
    h_next: &mut I16x4,
) {
    let LstmParams {
        input,
        output,
        forget,
        candidate,
    } = params;
    let [i_products, o_products, f_products, g_products] = products;
    let [i_tokens, o_tokens, f_tokens, g_tokens] = gate_row;
    for lane in 0..PANEL_ROWS {
        let gates = [
            input.requantize(lane, i_products[lane], i_tokens[lane]),
            output.requantize(lane, o_products[lane], o_tokens[lane]),
            forget.requantize(lane, f_products[lane], f_tokens[lane]),
            candidate.requantize(lane, g_products[lane], g_tokens[lane]),
        ];
        h_next.0[lane] = lstm_unit(gates, 0, &mut cell[lane]);
    }
}

/// Updates the cell state of one unit from its pre-activations i, o, f, g in Q4.11, and returns the hidden state with
/// `15 - state_shift` fraction bits.
#[inline(always)]
pub(crate) fn lstm_unit([i, o, f, g]: [i32; 4], state_shift: u32, cell: &mut i32) -> i16 {
    *cell = update_cell_state(*cell, sigmoid(f), sigmoid(i), tanh(g));
    hidden_state(*cell, sigmoid(o), state_shift)
}

/// `f c + i g` in Q8.23, saturated; f, i and g are Q15.
#[inline(always)]
fn update_cell_state(c: i32, f: i16, i: i16, g: i16) -> i32 {
    let f = i32::from(f);
    // A product of 31 by 16 bits as two that fit: high half and low half.
    let (high, low) = (c >> 16, c & 0xffff);
    let kept = ((f * high) << 1) + ((f * low + (1 << 14)) >> 15);
    // Q30 to Q23.
    let new = (i32::from(i) * i32::from(g) + (1 << 6)) >> 7;
    kept.saturating_add(new)
}

/// `o tanh(c)` with `15 - state_shift` fraction bits; c is Q8.23, o Q15.
#[inline(always)]
fn hidden_state(c: i32, o: i16, state_shift: u32) -> i16 {
    // Q8.23 to Q4.11.
    let c = saturate_i16(c.saturating_add(1 << 11) >> 12);
    let product = i32::from(o) * i32::from(tanh(c.into()));
    ((product + (1 << (14 + state_shift))) >> (15 + state_shift)) as i16
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
            let found = i64::from(update_cell_state(c, f, i, g));
            assert!((found - exact).abs() <= 2, "{c} {f} {i} {g}: {found}");
        }
        // It saturates at both ends, and does not wrap.
        assert_eq!(update_cell_state(i32::MAX, 32767, 32767, 32767), i32::MAX);
        assert_eq!(update_cell_state(i32::MIN, 32767, 32767, -32767), i32::MIN);
    }

    #[test]
    fn the_hidden_state_is_the_equation_within_its_rounding() {
        for c in (i32::MIN..=i32::MAX).step_by(99_991) {
            for o in [0, 1, 9000, 32767] {
                for shift in [0, 2, 8] {
                    let exact = f64::from(o) / 32768.0 * (f64::from(c) / f64::from(1 << 23)).tanh();
                    let found = f64::from(hidden_state(c, o, shift)) / f64::from(1 << (15 - shift));
                    // Half a step of Q4.11, tanh's own error, half a step of the output.
                    let most = 2.5e-4 + 3.3e-5 + 0.51 / f64::from(1 << (15 - shift));
                    assert!((found - exact).abs() <= most, "{c} {o} {shift}");
                }
            }
        }
    }
}
