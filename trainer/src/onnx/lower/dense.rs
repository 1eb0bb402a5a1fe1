//! Dense layers among expressions, and what an output is made of.

use super::Lowering;
use super::build::{Head, Pooling};
use crate::network::{Activation, Dense, Matrix, Normalization};
use crate::onnx::fault::AGAIN;
use crate::onnx::read::ReadError;
use crate::onnx::symbol::{Function, Node, Part, Product, Real};

impl Lowering<'_> {
    /// A dense layer that is the same over all `parts`: the layer and what goes in.
    pub(super) fn dense(&self, parts: &[Part]) -> Option<(Dense, Vec<Part>)> {
        let first = *parts.first()?;
        let (function, sum) = match self.symbols.node(first.node) {
            &Node::Applied { function, of } if self.symbols.full(first).is_some() => {
                (Some(function), of)
            }
            _ => (None, first),
        };
        let activation = function.map_or(Some(Activation::Linear), Function::activation)?;
        let inner = |part: &Part| match (function, self.symbols.node(part.node)) {
            (None, _) => Some(*part),
            (Some(f), &Node::Applied { function, of })
                if f == function && self.symbols.full(*part).is_some() =>
            {
                Some(of)
            }
            _ => None,
        };
        let sums: Vec<Part> = parts.iter().map(inner).collect::<Option<_>>()?;
        let shape = self
            .sum(sum)
            .filter(|form| form.products.is_empty() && form.matrices.len() == 1);
        let Some(form) = shape else {
            // A function alone is a dense layer that changes nothing before it.
            function?;
            let units = sum.len as usize;
            let same = sums.iter().all(|s| s.len == sum.len) && self.sum(sum).is_none();
            if !same || units > 4096 {
                return None;
            }
            let unit = (0..units * units).map(|i| f32::from(u8::from(i % (units + 1) == 0)));
            let w = Matrix::new(units, units, unit.collect());
            let b = vec![0.0; units];
            return Some((Dense { w, b, activation }, sums));
        };
        let term = &form.matrices[0];
        let operand = |part: &Part| {
            let other = self.sum(*part)?;
            let [one] = &other.matrices[..] else {
                return None;
            };
            let same = (one.matrix, one.row) == (term.matrix, term.row) && other.bias == form.bias;
            (same && other.products.is_empty()).then_some(one.operand)
        };
        let operands = sums.iter().map(operand).collect::<Option<_>>()?;
        let matrix = self.symbols.matrix(term.matrix);
        let rows = (0..form.len()).flat_map(|j| matrix.row(term.row as usize + j).iter().copied());
        let w = Matrix::new(form.len(), matrix.columns, rows.collect());
        let b = form.bias.iter().map(|b| b.get()).collect();
        Some((Dense { w, b, activation }, operands))
    }

    /// The dense layers that `parts` come out of, the first one first, and what goes in.
    pub(super) fn dense_layers(&self, mut parts: Vec<Part>) -> (Vec<Dense>, Vec<Part>) {
        let mut layers = Vec::new();
        while let Some((dense, inner)) = self.dense(&parts) {
            layers.push(dense);
            parts = inner;
        }
        layers.reverse();
        (layers, parts)
    }

    /// What an output makes of the last layer's hidden states, and these.
    pub(super) fn head(&mut self, parts: &[Part]) -> Result<(Head, Vec<Part>), ReadError> {
        let mut parts = parts.to_vec();
        let soft = |part: &Part| match self.symbols.node(part.node) {
            &Node::Softmax { log, of } if self.symbols.full(*part).is_some() => Some((log, of)),
            _ => None,
        };
        let mut normalization = Normalization::None;
        if let Some(softs) = parts.iter().map(soft).collect::<Option<Vec<_>>>() {
            let log = softs[0].0;
            normalization = if log {
                Normalization::LogSoftmax
            } else {
                Normalization::Softmax
            };
            if softs.iter().any(|soft| soft.0 != log) {
                return Err(self.refused(parts[0], "Softmax and LogSoftmax", "one of them", AGAIN));
            }
            parts = softs.into_iter().map(|soft| soft.1).collect();
        }
        // A plain RNN's step looks like a dense layer of two inputs, and is none: a dense layer has one.
        let (dense, tops) = self.dense_layers(parts);
        let (pooling, tops) = match tops[..] {
            [one] => match self.mean(one) {
                Some(all) => (Pooling::Mean, all),
                None => match self.chain(one)? {
                    Some(chain) if chain.hidden.len() > 1 => (Pooling::LastStep, chain.hidden),
                    _ => (Pooling::EveryStep, tops),
                },
            },
            _ => (Pooling::EveryStep, tops),
        };
        Ok((
            Head {
                pooling,
                dense,
                normalization,
            },
            tops,
        ))
    }

    /// The vectors of which a part is the mean, in the order in which they were made.
    pub(super) fn mean(&self, part: Part) -> Option<Vec<Part>> {
        let form = self.sum(part)?;
        let count = form.products.len();
        let share = Real::new(1.0 / count as f32);
        let even = |p: &Product| p.factors.len() == 1 && p.coefficient.iter().all(|&c| c == share);
        if !form.matrices.is_empty()
            || form.has_bias()
            || count < 2
            || !form.products.iter().all(even)
        {
            return None;
        }
        let mut all: Vec<Part> = form.products.iter().map(|p| p.factors[0]).collect();
        // The last step is the one that no other follows.
        let last = *all.iter().find(|&&part| {
            !all.iter().any(|&other| {
                self.step(other)
                    .is_some_and(|step| step.operands.contains(&part))
            })
        })?;
        let mut order = vec![last];
        all.retain(|&part| part != last);
        while !all.is_empty() {
            let step = self.step(*order.last()?)?;
            let next = *all.iter().find(|part| step.operands.contains(part))?;
            all.retain(|&part| part != next);
            order.push(next);
        }
        order.reverse();
        Some(order)
    }
}
