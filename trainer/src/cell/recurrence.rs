//! What all cells have in common: the walk along the steps, the products with the weights, and their gradients. A cell is the
//! arithmetic between them.
//!
//! Weights, flat, N gates: `W [N H][I]`, `U [N H][H]`, biases `[N H]`, then those of the products `U h` that stand apart.

use std::ops::Range;

use super::{Cell, Handed, Input};
use crate::math::{Float, products, sum};
use crate::products::{BLOCKS, Outer, Packed, tile};
use crate::series::{LANES, Lanes, Series, TILE};

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
    units: usize,         // H
    steps: usize,         // T
    h: Series,            // [H], slot 0: the state before
    c: Series,            // the same, or nothing
    kept: Vec<G::Kept>,   // [T][groups][H]
    sums: Vec<Lanes>,     // [N H]: W x of one step and group
    carry_h: Series,      // [H], slot 0: gradient by the state, on its way back in time
    carry_c: Series,      // the same, or nothing
    d_recurrent: Series,  // [N H], the steps of one call of Outer::add, from slot 0
    d_input: Series,      // the same where gates stand apart, or nothing
    biases: Vec<Lanes>,   // [N H], then [A H]
    w: Packed<TILE>,      // [N H][I]
    w_back: Packed<TILE>, // [I][N H]
    u: Packed<R>,         // [N H][H], a panel for P units
    u_back: Packed<TILE>, // [H][N H]
    dw: Outer,            // [N H][I], or nothing where tokens are read
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
            (
                Series::new(units, steps, batch),
                Series::new(cells, steps, batch),
            )
        };
        let (h, c) = states(steps);
        let (carry_h, carry_c) = states(0);
        let groups = h.groups();
        // Slots from 0 on.
        let last = Self::chunk(groups) - 1;
        let apart = if G::APART > 0 { N * units } else { 0 };
        Self {
            units,
            steps,
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
            dw: Outer::new(0, 0),
            du: Outer::new(N * units, units),
        }
    }

    /// Steps whose gradients are added up at once.
    fn chunk(groups: usize) -> usize {
        (BLOCKS / groups).max(1)
    }

    fn inputs(&self, weights: &[f32]) -> usize {
        let (units, rest) = (self.units, weights.len() / self.units);
        (rest - N - G::APART) / N - units
    }
}

impl<G: Gates<N>, const N: usize, const P: usize, const R: usize> Cell for Recurrence<G, N, P, R> {
    fn forward(&mut self, weights: &[f32], input: Input) {
        let inputs = self.inputs(weights);
        let [w, u, b, apart] = split::<G, N>(weights, inputs, self.units);
        let Self {
            units,
            steps,
            h,
            c,
            kept,
            sums,
            ..
        } = self;
        let (units, groups) = (*units, h.groups());
        if matches!(input, Input::Series(_)) {
            self.w.pack_rows(w, inputs);
        }
        // A unit's gates one after the other, P units in a panel.
        self.u.pack(u, units, units.div_ceil(P), |row| {
            let (unit, gate) = (row / N, row % N);
            (unit < units).then_some(gate * units + unit)
        });
        let (w, u) = ((w, &self.w), &self.u);
        h.restart();
        c.restart();
        products(
            h.is_narrow(),
            #[inline(always)]
            |float| {
                let mut kept = kept.chunks_exact_mut(units);
                for (slot, group) in
                    (1..=*steps).flat_map(|slot| (0..groups).map(move |g| (slot, g)))
                {
                    input.project(float, w, inputs, (slot, group), groups, sums);
                    let kept = kept.next().expect("one for each step and group");
                    let (h_before, h) = h.block_and_before(slot, group);
                    let (c_before, c) = c.block_and_before(slot, group);
                    for (panel, weights) in u.panels().enumerate() {
                        let tile = tile(float, weights, h_before, [[0.0; LANES]; R]);
                        for (i, products) in tile.as_chunks::<N>().0.iter().enumerate() {
                            let unit = panel * P + i;
                            if unit == units {
                                break;
                            }
                            let mut x = [[0.0; LANES]; N];
                            let mut u = *products;
                            for gate in 0..N {
                                let row = gate * units + unit;
                                let bias = b[row];
                                for (x, sum) in x[gate].iter_mut().zip(&sums[row]) {
                                    *x = sum + bias;
                                }
                            }
                            for (gate, u) in u[N - G::APART..].iter_mut().enumerate() {
                                let bias = apart[gate * units + unit];
                                u.iter_mut().for_each(|u| *u += bias);
                            }
                            let before = State {
                                h: h_before[unit],
                                c: cell::<G, N>(c_before, unit),
                            };
                            let state = G::forward(float, &x, &u, before, &mut kept[unit]);
                            h[unit] = state.h;
                            if G::HAS_CELL {
                                c[unit] = state.c;
                            }
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
        let [w, u, ..] = split::<G, N>(weights, inputs, self.units);
        let Self {
            units,
            steps,
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
        let (units, groups) = (*units, h.groups());
        u_back.pack_transposed(u, units);
        if below.is_some() {
            w_back.pack_transposed(w, inputs);
        }
        if matches!(input, Input::Series(_)) && dw_sum.columns() != inputs {
            *dw_sum = Outer::new(N * units, inputs);
        }
        let (dw, rest) = gradient.split_at_mut(N * units * inputs);
        let (du, db) = rest.split_at_mut(N * units * units);
        carry_h.clear_all();
        carry_c.clear_all();
        biases.fill([0.0; LANES]);
        let chunk = Self::chunk(groups);
        products(
            h.is_narrow(),
            #[inline(always)]
            |float| {
                let mut end = *steps;
                while end > 0 {
                    let first = end.saturating_sub(chunk) + 1;
                    for slot in (first..=end).rev() {
                        if let Some(handed) = handed {
                            handed.add_to(carry_h, carry_c, slot);
                        }
                        for group in 0..groups {
                            let kept = &kept[((slot - 1) * groups + group) * units..][..units];
                            let (h_before, c_before) =
                                (h.block(slot - 1, group), c.block(slot - 1, group));
                            let above = above.block(slot, group);
                            let d = d_recurrent.block_mut(slot - first, group);
                            let d_in = d_input.block_mut(slot - first, group);
                            let carry_h = carry_h.block_mut(0, group);
                            let carry_c = carry_c.block_mut(0, group);
                            for (unit, kept) in kept.iter().enumerate() {
                                let mut by = State {
                                    h: carry_h[unit],
                                    c: cell::<G, N>(carry_c, unit),
                                };
                                for (by, above) in by.h.iter_mut().zip(&above[unit]) {
                                    *by += above;
                                }
                                let before = State {
                                    h: h_before[unit],
                                    c: cell::<G, N>(c_before, unit),
                                };
                                let gradients = G::backward(kept, before, by);
                                carry_h[unit] = gradients.before.h;
                                if G::HAS_CELL {
                                    carry_c[unit] = gradients.before.c;
                                }
                                for gate in 0..N {
                                    let row = gate * units + unit;
                                    d[row] = gradients.recurrent[gate];
                                    if G::APART > 0 {
                                        d_in[row] = gradients.input[gate];
                                    }
                                    add(&mut biases[row], &gradients.input[gate]);
                                }
                                for gate in 0..G::APART {
                                    let by = &gradients.recurrent[N - G::APART + gate];
                                    add(&mut biases[(N + gate) * units + unit], by);
                                }
                            }
                            u_back.multiply_add(float, d, carry_h);
                        }
                    }
                    let d_input = if G::APART > 0 {
                        &*d_input
                    } else {
                        &*d_recurrent
                    };
                    let places =
                        || (first..=end).flat_map(|slot| (0..groups).map(move |g| (slot, g)));
                    let blocks: Vec<_> = places()
                        .map(|(slot, group)| {
                            (
                                d_recurrent.block(slot - first, group),
                                h.block(slot - 1, group),
                            )
                        })
                        .collect();
                    du_sum.add(float, &blocks);
                    match input {
                        Input::Tokens(tokens) => {
                            for (slot, group) in places() {
                                let d = d_input.block(slot - first, group);
                                let tokens = &tokens[(slot - 1) * groups + group];
                                for (dw, d) in dw.chunks_exact_mut(inputs).zip(d) {
                                    for (d, token) in d.iter().zip(tokens) {
                                        dw[usize::from(*token)] += d;
                                    }
                                }
                            }
                        }
                        Input::Series(x) => {
                            let blocks: Vec<_> = places()
                                .map(|(slot, group)| {
                                    (d_input.block(slot - first, group), x.block(slot, group))
                                })
                                .collect();
                            dw_sum.add(float, &blocks);
                        }
                    }
                    if let Some(below) = &mut below {
                        for (slot, group) in places() {
                            let d = d_input.block(slot - first, group);
                            w_back.multiply(float, d, below.block_mut(slot, group));
                        }
                    }
                    end = first - 1;
                }
            },
        );
        du_sum.drain_to(du);
        if let Input::Series(_) = input {
            dw_sum.drain_to(dw);
        }
        for (db, lanes) in db.iter_mut().zip(&*biases) {
            *db += sum(lanes);
        }
    }

    fn start_gradient(&self) -> Vec<f32> {
        let first = vec![0; self.h.batch()];
        [self.carry_h.slots(&first), self.carry_c.slots(&first)].concat()
    }

    fn state(&self) -> Vec<f32> {
        self.states_after(&vec![self.steps; self.h.batch()])
    }

    fn set_state(&mut self, state: &[f32]) {
        let (h, c) = state.split_at(self.units * self.h.batch());
        self.h.set_slot(self.steps, h);
        self.c.set_slot(self.steps, c);
    }

    fn reset(&mut self, rows: Range<usize>) {
        self.h.clear(self.steps, rows.clone());
        self.c.clear(self.steps, rows);
    }
}

/// A unit's cell state, where the cell has one.
#[inline(always)]
fn cell<G: Gates<N>, const N: usize>(block: &[Lanes], unit: usize) -> Lanes {
    if G::HAS_CELL {
        block[unit]
    } else {
        [0.0; LANES]
    }
}

#[inline(always)]
fn add(sums: &mut Lanes, values: &Lanes) {
    sums.iter_mut()
        .zip(values)
        .for_each(|(sum, value)| *sum += value);
}
