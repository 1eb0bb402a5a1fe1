//! The last layer of a classifier of tokens: `logits = W h + b`, the softmax's loss, and all gradients. Without biases it is the
//! factor below such a layer too.

use crate::nn::gemm::{Outer, Packed, add, add_sums, chunks};
use crate::nn::simd::{Float, products};
use crate::nn::tensor::{LANES, Lanes, Series, TILE, places};

/// A target that is none: what stands there has no loss and no gradient. No token has this id.
pub const IGNORE_INDEX: u16 = u16::MAX;

/// V tokens over H units. Where the layers below take several steps for each token, it reads the last of them.
pub struct Head {
    w: Packed<TILE>,      // [V][H]
    w_back: Packed<TILE>, // [H][V]
    dw: Outer,            // [V][H]
}

impl Head {
    /// Over so many tokens and units.
    pub fn new(tokens: usize, units: usize) -> Self {
        Self {
            w: Packed::default(),
            w_back: Packed::default(),
            dw: Outer::new(tokens, units),
        }
    }

    /// `logits = w h + b` of all tokens: `w [V][H]`, `b [V]`, `h [H]`, `logits [V]`.
    ///
    /// # Panics
    /// If the shapes do not fit each other.
    pub fn forward(&mut self, w: &[f32], b: &[f32], h: &Series, logits: &mut Series) {
        let (every, groups) = (every(h, logits), h.groups());
        self.w.pack_rows(w, h.features());
        products(
            h.is_narrow(),
            #[inline(always)]
            |float| {
                for (slot, group) in places(1..=logits.steps(), groups) {
                    let logits = logits.block_mut(slot, group);
                    self.w.multiply(float, h.block(slot * every, group), logits);
                    for (logits, bias) in logits.iter_mut().zip(b) {
                        logits.iter_mut().for_each(|logit| *logit += bias);
                    }
                }
            },
        );
    }

    /// From `d`, the gradient by the logits, sets `dh`, that by `h`, and adds those by `w` and `b` to `dw` and `db`.
    ///
    /// # Panics
    /// If the shapes do not fit each other.
    pub fn backward(
        &mut self,
        w: &[f32],
        h: &Series,
        d: &Series,
        (dw, db): (&mut [f32], &mut [f32]),
        dh: &mut Series,
    ) {
        let (every, groups) = (every(h, d), h.groups());
        self.w_back.pack_transposed(w, h.features());
        if every > 1 {
            dh.clear_all();
        }
        let mut biases = vec![[0.0; LANES]; db.len()];
        products(
            h.is_narrow(),
            #[inline(always)]
            |float| {
                for slots in chunks(d.steps(), groups) {
                    let places = places(slots, groups);
                    let blocks: Vec<_> = places
                        .clone()
                        .map(|(slot, group)| (d.block(slot, group), h.block(slot * every, group)))
                        .collect();
                    self.dw.add(float, &blocks);
                    for (slot, group) in places {
                        let d = d.block(slot, group);
                        let dh = dh.block_mut(slot * every, group);
                        self.w_back.multiply(float, d, dh);
                        for (sums, d) in biases.iter_mut().zip(d) {
                            add(sums, d);
                        }
                    }
                }
            },
        );
        self.dw.drain_to(dw);
        add_sums(db, &biases);
    }
}

/// The steps that each token has.
fn every(h: &Series, logits: &Series) -> usize {
    let every = h.steps() / logits.steps();
    assert_eq!(
        (h.steps(), h.batch()),
        (every * logits.steps(), logits.batch()),
        "steps and rows"
    );
    every
}

/// The sum of the losses of all predictions, in nats, from their logits, which become the gradient by them: probabilities,
/// less 1 at the targets, `[steps][groups]`.
///
/// # Panics
/// If the length does not fit, or a target is not below V and not [`IGNORE_INDEX`].
pub fn loss(logits: &mut Series, targets: &[[u16; LANES]]) -> f64 {
    let (tokens, groups) = (logits.features(), logits.groups());
    assert_eq!(
        targets.len(),
        logits.steps() * groups,
        "targets of all steps and rows"
    );
    products(
        false,
        #[inline(always)]
        |float| {
            let mut loss = 0.0;
            for ((slot, group), targets) in places(1..=logits.steps(), groups).zip(targets) {
                let logits = &mut logits.block_mut(slot, group)[..tokens];
                loss += block_loss(float, logits, targets);
            }
            loss
        },
    )
}

/// The loss of one step of a group.
#[inline(always)]
fn block_loss(float: Float, logits: &mut [Lanes], targets: &[u16; LANES]) -> f64 {
    let mut loss = 0.0;
    let mut max = [f32::MIN; LANES];
    for logits in &*logits {
        for (max, logit) in max.iter_mut().zip(logits) {
            *max = max.max(*logit);
        }
    }
    for ((lane, target), max) in targets.iter().enumerate().zip(&max) {
        if *target != IGNORE_INDEX {
            loss -= f64::from(logits[usize::from(*target)][lane] - max);
        }
    }
    let mut total = [0.0; LANES];
    for logits in &mut *logits {
        for ((logit, max), total) in logits.iter_mut().zip(&max).zip(&mut total) {
            *logit = float.exp(*logit - max);
            *total += *logit;
        }
    }
    for (total, target) in total.iter_mut().zip(targets) {
        if *target == IGNORE_INDEX {
            *total = 0.0;
        } else {
            loss += f64::from(*total).ln();
            *total = 1.0 / *total;
        }
    }
    for logits in &mut *logits {
        for (p, total) in logits.iter_mut().zip(&total) {
            *p *= total;
        }
    }
    for (lane, target) in targets.iter().enumerate() {
        if *target != IGNORE_INDEX {
            logits[usize::from(*target)][lane] -= 1.0;
        }
    }
    loss
}

/// Soft targets: what teachers took each prediction for.
#[derive(Clone, Debug)]
pub struct Soft<'a> {
    /// Their part in the mixture with the plain targets, 0 to 1.
    pub weight: f32,
    /// The probabilities of all tokens in 1/65,535, for each prediction, `[steps][batch]`.
    pub probabilities: Vec<&'a [u16]>,
}

/// Makes the gradient by the logits that by the loss of a mixture of plain and soft targets.
///
/// # Panics
/// If a length does not fit, or a target is not below V.
pub fn soften(gradient: &mut Series, targets: &[u16], soft: &Soft) {
    let batch = gradient.batch();
    assert_eq!(targets.len(), soft.probabilities.len(), "soft targets");
    let one = soft.weight / f32::from(u16::MAX);
    let predictions = targets.iter().zip(&soft.probabilities);
    for (place, (target, probabilities)) in predictions.enumerate() {
        if *target == IGNORE_INDEX {
            continue;
        }
        let (slot, row) = (1 + place / batch, place % batch);
        let block = gradient.block_mut(slot, row / LANES);
        for (d, p) in block.iter_mut().zip(*probabilities) {
            d[row % LANES] -= f32::from(*p) * one;
        }
        block[usize::from(*target)][row % LANES] += soft.weight;
    }
}
