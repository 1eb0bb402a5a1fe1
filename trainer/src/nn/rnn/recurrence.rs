//! What all cells have in common: the walk along the steps, the products with the weights, and their gradients. A cell is the
//! arithmetic between them.
//!
//! Weights, flat, N gates: `W [N H][I]`, `U [N H][H]`, biases `[N H]`, then those of the products `U h` that stand apart.

use std::ops::Range;

use super::{Cell, Handed, Input};
use crate::nn::gemm::{Outer, Packed, add, add_sums, chunk, chunks, tile};
use crate::nn::simd::{Float, products};
use crate::nn::tensor::{LANES, Lanes, Series, TILE, place, places};

/// One unit's states in the rows of a group, or the loss's gradient by them.
#[derive(Clone, Copy)]
pub struct State {
    /// The hidden state.
    pub h: Lanes,
    /// The cell state; zeros in a cell without.
    pub c: Lanes,
}

/// One unit's gradients in the rows of a group.
pub struct Gradients<const N: usize> {
    /// By the gates' sums, what the input and its bias add.
    pub input: [Lanes; N],
    /// By what the recurrent product and its bias add.
    pub recurrent: [Lanes; N],
    /// By the states before, past the recurrent product.
    pub before: State,
}

/// The arithmetic of a cell with N gates, for one unit in the rows of a group.
pub trait Gates<const N: usize>: Send {
    /// What the backward pass needs to know of a step.
    type Kept: Copy + Default + Send;
    /// Whether there is a cell state.
    const HAS_CELL: bool;
    /// Of how many gates, the last ones, the recurrent product stands apart, with a bias of its own. All others only need the
    /// sum, and their two gradients are the same.
    const APART: usize;

    /// One step from the input's products, biases added, and the recurrent ones.
    fn forward(
        float: Float,
        x: &[Lanes; N],
        u: &[Lanes; N],
        before: State,
        kept: &mut Self::Kept,
    ) -> State;

    /// Back through a step: `d` is the gradient by the states that it gave.
    fn backward(kept: &Self::Kept, before: State, d: State) -> Gradients<N>;
}

/// H units over I inputs, T steps, B rows of the batch. Products make P units at once, R = N P rows.
pub struct Recurrence<G: Gates<N>, const N: usize, const P: usize, const R: usize> {
    h: Series,            // [H][T], slot 0: the state before
    c: Series,            // the same, or nothing
    kept: Vec<G::Kept>,   // [T][groups][H]
    sums: Vec<Lanes>,     // [N H]: W x of one step and group
    carry_h: Series,      // [H], slot 0: gradient by the state, on its way back in time
    carry_c: Series,      // the same, or nothing
    d_recurrent: Series,  // [N H], a chunk of steps, from slot 0
    d_input: Series,      // the same where gates stand apart, or nothing
    biases: Vec<Lanes>,   // [N H], then those apart
    w: Packed<TILE>,      // [N H][I]
    w_back: Packed<TILE>, // [I][N H]
    u: Packed<R>,         // [N H][H], a panel for P units
    u_back: Packed<TILE>, // [H][N H]
    dw: Option<Outer>,    // [N H][I], where no tokens are read
    du: Outer,            // [N H][H]
}

/// Weights in matrices and in biases.
pub fn parameters<G: Gates<N>, const N: usize>(inputs: usize, units: usize) -> (usize, usize) {
    (N * units * (inputs + units), (N + G::APART) * units)
}

/// A cell's flat weights: `W`, `U`, the biases, and those that stand apart.
///
/// # Panics
/// If there are not as many as a cell of so many inputs and units has.
pub fn split<G: Gates<N>, const N: usize>(
    weights: &[f32],
    inputs: usize,
    units: usize,
) -> [&[f32]; 4] {
    let (matrices, biases) = parameters::<G, N>(inputs, units);
    assert_eq!(
        weights.len(),
        matrices + biases,
        "weights of a cell with {inputs} inputs and {units} units"
    );
    let (w, rest) = weights.split_at(N * units * inputs);
    let (u, rest) = rest.split_at(N * units * units);
    let (b, apart) = rest.split_at(N * units);
    [w, u, b, apart]
}

impl<G: Gates<N>, const N: usize, const P: usize, const R: usize> Recurrence<G, N, P, R> {
    /// A state of zeros.
    pub fn new(units: usize, steps: usize, batch: usize) -> Self {
        const { assert!(R == N * P) };
        let states = |steps| {
            let cells = if G::HAS_CELL { units } else { 0 };
            [units, cells].map(|features| Series::new(features, steps, batch))
        };
        let ([h, c], [carry_h, carry_c]) = (states(steps), states(0));
        let groups = h.groups();
        // Slots from 0 on.
        let last = chunk(groups) - 1;
        let apart = if G::APART > 0 { N * units } else { 0 };
        Self {
            kept: vec![G::Kept::default(); steps * groups * units],
            sums: vec![[0.0; LANES]; (N * units).next_multiple_of(TILE)],
            h,
            c,
            carry_h,
            carry_c,
            d_recurrent: Series::new(N * units, last, batch),
            d_input: Series::new(apart, last, batch),
            biases: vec![[0.0; LANES]; (N + G::APART) * units],
            w: Packed::default(),
            w_back: Packed::default(),
            u: Packed::default(),
            u_back: Packed::default(),
            dw: None,
            du: Outer::new(N * units, units),
        }
    }

    fn inputs(&self, weights: &[f32]) -> usize {
        let units = self.h.features();
        (weights.len() / units - N - G::APART) / N - units
    }
}

impl<G: Gates<N>, const N: usize, const P: usize, const R: usize> Cell for Recurrence<G, N, P, R> {
    fn forward(&mut self, weights: &[f32], input: Input) {
        let inputs = self.inputs(weights);
        let Self {
            h,
            c,
            kept,
            sums,
            w: w_packed,
            u: u_packed,
            ..
        } = self;
        let (units, groups) = (h.features(), h.groups());
        let [w, u, b, apart] = split::<G, N>(weights, inputs, units);
        if matches!(input, Input::Series(_)) {
            w_packed.pack_rows(w, inputs);
        }
        // A unit's gates one after the other, P units in a panel.
        u_packed.pack(u, units, units.div_ceil(P), |row| {
            let (unit, gate) = (row / N, row % N);
            (unit < units).then_some(gate * units + unit)
        });
        h.restart();
        c.restart();
        products(
            h.is_narrow(),
            #[inline(always)]
            |float| {
                let places = places(1..=h.steps(), groups);
                for ((slot, group), kept) in places.zip(kept.chunks_exact_mut(units)) {
                    input.project(float, (w, w_packed), inputs, [slot, group, groups], sums);
                    let (h_before, h) = h.block_and_before(slot, group);
                    let (c_before, c) = c.block_and_before(slot, group);
                    for (panel, weights) in u_packed.panels().enumerate() {
                        let tile = tile(float, weights, h_before, [[0.0; LANES]; R]);
                        let of_units = tile.as_chunks::<N>().0.iter();
                        for (unit, products) in (panel * P..units).zip(of_units) {
                            let (x, u) = biased::<G, N>(unit, units, sums, products, [b, apart]);
                            let before = state::<G, N>(h_before, c_before, unit);
                            let state = G::forward(float, &x, &u, before, &mut kept[unit]);
                            set_state::<G, N>(state, h, c, unit);
                        }
                    }
                }
            },
        );
    }

    fn output(&self) -> &Series {
        &self.h
    }

    fn states_after(&self, steps: &[usize]) -> Vec<f32> {
        [self.h.slots(steps), self.c.slots(steps)].concat()
    }

    fn backward(
        &mut self,
        weights: &[f32],
        input: Input,
        above: &Series,
        handed: Option<Handed>,
        gradient: &mut [f32],
        mut below: Option<&mut Series>,
    ) {
        let inputs = self.inputs(weights);
        let Self {
            h,
            c,
            kept,
            carry_h,
            carry_c,
            d_recurrent,
            d_input,
            biases,
            w_back,
            u_back,
            dw: dw_sum,
            du: du_sum,
            ..
        } = self;
        let (units, groups) = (h.features(), h.groups());
        let [w, u, ..] = split::<G, N>(weights, inputs, units);
        u_back.pack_transposed(u, units);
        if below.is_some() {
            w_back.pack_transposed(w, inputs);
        }
        let (dw, rest) = gradient.split_at_mut(N * units * inputs);
        let (du, db) = rest.split_at_mut(N * units * units);
        carry_h.clear_all();
        carry_c.clear_all();
        biases.fill([0.0; LANES]);
        products(
            h.is_narrow(),
            #[inline(always)]
            |float| {
                for slots in chunks(h.steps(), groups).rev() {
                    let first = *slots.start();
                    for slot in slots.clone().rev() {
                        if let Some(handed) = handed {
                            handed.add_to(carry_h, carry_c, slot);
                        }
                        for group in 0..groups {
                            let at = place(slot, group, groups) * units;
                            let step = Step::<G, N> {
                                kept: &kept[at..][..units],
                                h: h.block(slot - 1, group),
                                c: c.block(slot - 1, group),
                                above: above.block(slot, group),
                            };
                            let d = d_recurrent.block_mut(slot - first, group);
                            let d_input = d_input.block_mut(slot - first, group);
                            let carry = carry_h.block_mut(0, group);
                            let carry_c = carry_c.block_mut(0, group);
                            step.backward([carry, carry_c], d, d_input, biases);
                            u_back.multiply_add(float, d, carry);
                        }
                    }
                    let d_input = if G::APART > 0 {
                        &*d_input
                    } else {
                        &*d_recurrent
                    };
                    let places = places(slots, groups);
                    let blocks: Vec<_> = places
                        .clone()
                        .map(|(slot, group)| {
                            let d = d_recurrent.block(slot - first, group);
                            (d, h.block(slot - 1, group))
                        })
                        .collect();
                    du_sum.add(float, &blocks);
                    let d = places
                        .clone()
                        .map(|(slot, group)| d_input.block(slot - first, group));
                    match input {
                        Input::Tokens(tokens) => {
                            let tokens = &tokens[place(first, 0, groups)..];
                            for (d, tokens) in d.clone().zip(tokens) {
                                add_columns(dw, inputs, d, tokens);
                            }
                        }
                        Input::Series(x) => {
                            let x = places.clone().map(|(slot, group)| x.block(slot, group));
                            let blocks: Vec<_> = d.clone().zip(x).collect();
                            dw_sum
                                .get_or_insert_with(|| Outer::new(N * units, inputs))
                                .add(float, &blocks);
                        }
                    }
                    if let Some(below) = &mut below {
                        for ((slot, group), d) in places.zip(d) {
                            w_back.multiply(float, d, below.block_mut(slot, group));
                        }
                    }
                }
            },
        );
        du_sum.drain_to(du);
        if let Some(sum) = dw_sum {
            sum.drain_to(dw);
        }
        add_sums(db, biases);
    }

    fn start_gradient(&self) -> Vec<f32> {
        [self.carry_h.slot(0), self.carry_c.slot(0)].concat()
    }

    fn state(&self) -> Vec<f32> {
        let last = self.h.steps();
        [self.h.slot(last), self.c.slot(last)].concat()
    }

    fn set_state(&mut self, state: &[f32]) {
        let last = self.h.steps();
        let (h, c) = state.split_at(self.h.features() * self.h.batch());
        self.h.set_slot(last, h);
        self.c.set_slot(last, c);
    }

    fn reset(&mut self, rows: Range<usize>) {
        let last = self.h.steps();
        self.h.clear(last, rows.clone());
        self.c.clear(last, rows);
    }
}

/// A unit's states out of their blocks.
#[inline(always)]
fn state<G: Gates<N>, const N: usize>(h: &[Lanes], c: &[Lanes], unit: usize) -> State {
    State {
        h: h[unit],
        c: if G::HAS_CELL { c[unit] } else { [0.0; LANES] },
    }
}

/// Into their blocks.
#[inline(always)]
fn set_state<G: Gates<N>, const N: usize>(
    state: State,
    h: &mut [Lanes],
    c: &mut [Lanes],
    unit: usize,
) {
    h[unit] = state.h;
    if G::HAS_CELL {
        c[unit] = state.c;
    }
}

/// What a unit's gates add: the input's products, of all units in `sums`, and its recurrent ones, with the biases.
#[inline(always)]
fn biased<G: Gates<N>, const N: usize>(
    unit: usize,
    units: usize,
    sums: &[Lanes],
    products: &[Lanes; N],
    [b, apart]: [&[f32]; 2],
) -> ([Lanes; N], [Lanes; N]) {
    let (mut x, mut u) = ([[0.0; LANES]; N], *products);
    for (gate, x) in x.iter_mut().enumerate() {
        let row = gate * units + unit;
        for (x, sum) in x.iter_mut().zip(&sums[row]) {
            *x = sum + b[row];
        }
    }
    for (gate, u) in u[N - G::APART..].iter_mut().enumerate() {
        let bias = apart[gate * units + unit];
        u.iter_mut().for_each(|u| *u += bias);
    }
    (x, u)
}

/// What is known of a step of a group: the blocks of what was kept, of the states before, and of the gradient by the output.
struct Step<'s, G: Gates<N>, const N: usize> {
    kept: &'s [G::Kept],
    h: &'s [Lanes],
    c: &'s [Lanes],
    above: &'s [Lanes],
}

impl<G: Gates<N>, const N: usize> Step<'_, G, N> {
    /// Back through the gates. `carry` is the gradient by the states after the step, then that by those before it, past the
    /// recurrent product. Sets `d` and, where gates stand apart, `d_input`, and adds to `biases`.
    #[inline(always)]
    fn backward(
        &self,
        [carry_h, carry_c]: [&mut [Lanes]; 2],
        d: &mut [Lanes],
        d_input: &mut [Lanes],
        biases: &mut [Lanes],
    ) {
        let units = self.kept.len();
        for (unit, kept) in self.kept.iter().enumerate() {
            let mut by = state::<G, N>(carry_h, carry_c, unit);
            add(&mut by.h, &self.above[unit]);
            let before = state::<G, N>(self.h, self.c, unit);
            let gradients = G::backward(kept, before, by);
            set_state::<G, N>(gradients.before, carry_h, carry_c, unit);
            for gate in 0..N {
                let row = gate * units + unit;
                d[row] = gradients.recurrent[gate];
                if G::APART > 0 {
                    d_input[row] = gradients.input[gate];
                }
                add(&mut biases[row], &gradients.input[gate]);
            }
            for gate in 0..G::APART {
                let by = &gradients.recurrent[N - G::APART + gate];
                add(&mut biases[(N + gate) * units + unit], by);
            }
        }
    }
}

/// Adds each lane's gradients, `d`, to the column of its token in `dw`, `[rows][inputs]`.
#[inline(always)]
fn add_columns(dw: &mut [f32], inputs: usize, d: &[Lanes], tokens: &[u16; LANES]) {
    for (dw, d) in dw.chunks_exact_mut(inputs).zip(d) {
        for (d, token) in d.iter().zip(tokens) {
            dw[usize::from(*token)] += d;
        }
    }
}
