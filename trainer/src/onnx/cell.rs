//! Recurrent cells among formulas.
//!
//! Two roads lead to a [`Step`](Node::Step): a GRU, LSTM or RNN node of the graph says it, or the formula of a vector is that of
//! a step. The second serves loops, unrolled sequences and single cells alike.

use super::fault::Fault;
use super::symbol::{Form, Function, Id, MatrixId, MatrixTerm, Node, Part, Product, Real, Symbols};
use crate::network::{Activations, Gru, Lstm, Matrix, RecurrentCell, Rnn};
use std::rc::Rc;

/// How deep two formulas are compared: a step has five functions and sums inside each other.
const MAX_DEPTH: usize = 16;

/// The equations of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Gru { linear_before_reset: bool },
    Lstm,
    Rnn,
}

impl Kind {
    /// How many blocks of H rows its matrices have.
    pub fn gates(self) -> usize {
        match self {
            Kind::Gru { .. } => 3,
            Kind::Lstm => 4,
            Kind::Rnn => 1,
        }
    }
}

/// H rows of a matrix, from `row` on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rows {
    pub matrix: MatrixId,
    pub row: u32,
}

/// A cell with its weights. Two steps with equal keys are steps of the same layer.
#[derive(PartialEq, Eq, Hash)]
pub struct CellKey {
    pub kind: Kind,
    pub gate: Function,
    pub candidate: Function,
    /// Units, H.
    pub hidden: usize,
    /// For each operand of a step, and for each gate in ONNX order.
    pub weights: Vec<Vec<Rows>>,
    /// `[gates * H]`
    pub wb: Vec<Real>,
    /// `[gates * H]`
    pub rb: Vec<Real>,
}

impl CellKey {
    /// The layer, where operand `state` of the steps is the state before and the other one the input.
    ///
    /// None where a function is none that a network has, or there are not two operands.
    pub fn layer(&self, symbols: &Symbols, state: usize) -> Option<RecurrentCell> {
        let activations = Activations {
            gate: self.gate.activation()?,
            candidate: self.candidate.activation()?,
        };
        if self.weights.len() != 2 || state > 1 {
            return None;
        }
        let matrix = |operand: usize| {
            let rows = &self.weights[operand];
            let columns = symbols.matrix(rows[0].matrix).columns;
            let data = rows.iter().flat_map(|&Rows { matrix, row }| {
                let matrix = symbols.matrix(matrix);
                (0..self.hidden).flat_map(move |j| matrix.row(row as usize + j).iter().copied())
            });
            Matrix::new(rows.len() * self.hidden, columns, data.collect())
        };
        let values = |reals: &[Real]| reals.iter().map(|r| r.get()).collect::<Vec<f32>>();
        let (w, r) = (matrix(1 - state), matrix(state));
        let (wb, rb) = (values(&self.wb), values(&self.rb));
        if r.columns != self.hidden {
            return None;
        }
        Some(match self.kind {
            Kind::Gru {
                linear_before_reset,
            } => RecurrentCell::Gru(Gru {
                w,
                r,
                wb,
                rb,
                linear_before_reset,
                activations,
            }),
            Kind::Lstm => RecurrentCell::Lstm(Lstm {
                w,
                r,
                wb,
                rb,
                activations,
            }),
            Kind::Rnn => RecurrentCell::Rnn(Rnn {
                w,
                r,
                wb,
                rb,
                activation: activations.candidate,
            }),
        })
    }
}

/// A gate: a function of matrices times vectors. Gives its function and its sum.
fn gate(symbols: &Symbols, part: Part) -> Option<(Function, &Form)> {
    symbols.full(part)?;
    let Node::Applied { function, of } = symbols.node(part.node) else {
        return None;
    };
    symbols.full(*of)?;
    match symbols.node(of.node) {
        Node::Form(form) if !form.matrices.is_empty() => Some((*function, form)),
        _ => None,
    }
}

/// The two of a product without coefficient.
fn pair(product: &Product) -> Option<(Part, Part)> {
    match product.factors[..] {
        [a, b] if product.is(1.0) => Some((a, b)),
        _ => None,
    }
}

/// The rows that a sum multiplies `operand` with, if there is one such matrix.
fn rows(form: &Form, operand: Part) -> Option<Rows> {
    let mut found = form.matrices.iter().filter(|term| term.operand == operand);
    let &MatrixTerm { matrix, row, .. } = found.next()?;
    found.next().is_none().then_some(Rows { matrix, row })
}

/// Whether it is `n - z * n`.
pub fn is_half(symbols: &Symbols, form: &Form) -> bool {
    let [a, b] = &form.products[..] else {
        return false;
    };
    let (single, double) = if a.factors.len() == 1 { (a, b) } else { (b, a) };
    let ([n], [p, q]) = (&single.factors[..], &double.factors[..]) else {
        return false;
    };
    let applied = |part: &Part| matches!(symbols.node(part.node), Node::Applied { .. });
    let empty = form.matrices.is_empty() && !form.has_bias();
    empty && single.is(1.0) && double.is(-1.0) && (p == n || q == n) && applied(p) && applied(q)
}

impl Symbols {
    /// The step that a sum is the result of.
    pub fn recognize(&mut self, form: &Form) -> Result<Option<Id>, Fault> {
        if !form.matrices.is_empty() || form.has_bias() {
            return Ok(None);
        }
        let step = match &form.products[..] {
            [one] => pair(one).and_then(|(a, b)| self.lstm(a, b).or_else(|| self.lstm(b, a))),
            [_, _] | [_, _, _] => return self.gru_step(&self.opened(form)),
            _ => None,
        };
        let Some((step, state)) = step else {
            return Ok(None);
        };
        let id = self.intern(step)?;
        if let Some(state) = state {
            self.cell_states.insert(state, id);
        }
        Ok(Some(id))
    }

    /// The step of a GRU, whose update gate may say how much is new instead of how much is kept.
    fn gru_step(&mut self, form: &Form) -> Result<Option<Id>, Fault> {
        let Some((mut key, operands, is_new)) = self.gru(form) else {
            return Ok(None);
        };
        if is_new {
            // 1 - sigmoid(x) = sigmoid(-x)
            let units = key.hidden;
            for weights in &mut key.weights {
                let Rows { matrix, row } = weights[0];
                let old = self.matrix(matrix).clone();
                let rows = (0..units).flat_map(|j| old.row(row as usize + j).iter().map(|w| -w));
                let matrix = self.add_matrix(Matrix::new(units, old.columns, rows.collect()))?;
                weights[0] = Rows { matrix, row: 0 };
            }
            for bias in &mut key.wb[..units] {
                *bias = Real::new(-bias.get());
            }
        }
        let key = Rc::new(key);
        let id = self.intern(Node::Step {
            key,
            operands,
            state: Some(1),
            cell: None,
        })?;
        Ok(Some(id))
    }

    /// `o * tanh(c')` with `c' = f * c + i * g`. Gives the step and the node of `c'`.
    fn lstm(&self, o: Part, out: Part) -> Option<(Node, Option<Id>)> {
        let (gate_function, output) = gate(self, o)?;
        let &Node::Applied {
            function: candidate,
            of,
        } = self.node(self.full(out)?)
        else {
            return None;
        };
        let Node::Form(sum) = self.node(self.full(of)?) else {
            return None;
        };
        let [p, q] = &sum.products[..] else {
            return None;
        };
        if !sum.matrices.is_empty() || sum.has_bias() || !output.products.is_empty() {
            return None;
        }
        // By their matrices, so that all steps of a layer have them in one order.
        let mut terms: Vec<&MatrixTerm> = output.matrices.iter().collect();
        terms.sort_by_key(|term| (term.matrix, term.row));
        let operands: Vec<Part> = terms.iter().map(|term| term.operand).collect();
        let is_gate = |part: Part, function: Function| match gate(self, part) {
            Some((found, form)) if found == function && form.products.is_empty() => {
                form.matrices.len() == operands.len()
                    && operands.iter().all(|&o| rows(form, o).is_some())
            }
            _ => false,
        };
        // The old state is no gate; the candidate and its gate are two.
        let (mut kept, mut new) = (None, None);
        for (a, b) in [pair(p)?, pair(q)?] {
            for (a, b) in [(a, b), (b, a)] {
                if is_gate(a, gate_function) && is_gate(b, candidate) {
                    new = Some((a, b));
                } else if is_gate(a, gate_function) && !is_gate(b, gate_function) {
                    kept = Some((a, b));
                }
            }
        }
        let ((f, cell), (i, g)) = (kept?, new?);
        let forms: Option<Vec<&Form>> = [i, o, f, g]
            .into_iter()
            .map(|part| Some(gate(self, part)?.1))
            .collect();
        let forms = forms?;
        if operands.len() != 2 || forms.iter().any(|form| form.len() != output.len()) {
            return None;
        }
        let of_operand = |&operand: &Part| forms.iter().map(|form| rows(form, operand)).collect();
        let wb: Vec<Real> = forms
            .iter()
            .flat_map(|form| form.bias.iter().copied())
            .collect();
        let key = CellKey {
            kind: Kind::Lstm,
            gate: gate_function,
            candidate,
            hidden: output.len(),
            weights: operands.iter().map(of_operand).collect::<Option<_>>()?,
            rb: vec![Real::new(0.0); wb.len()],
            wb,
        };
        let step = Node::Step {
            key: Rc::new(key),
            operands,
            state: None,
            cell: Some(cell),
        };
        Some((step, Some(of.node)))
    }

    /// `n + z * h - z * n`, or with `n` and `h` in each other's place. Gives the cell, its input and state, and whether it is the
    /// second.
    fn gru(&self, form: &Form) -> Option<(CellKey, Vec<Part>, bool)> {
        let [single] = &form
            .products
            .iter()
            .filter(|p| p.factors.len() == 1)
            .collect::<Vec<_>>()[..]
        else {
            return None;
        };
        let doubles: Vec<&Product> = form
            .products
            .iter()
            .filter(|p| p.factors.len() == 2)
            .collect();
        let (&[n], [a, b]) = (&single.factors[..], &doubles[..]) else {
            return None;
        };
        let (less, more) = if a.is(-1.0) { (a, b) } else { (b, a) };
        if !single.is(1.0)
            || !less.is(-1.0)
            || !more.is(1.0)
            || form.products.len() != 3
            || form.has_bias()
        {
            return None;
        }
        let other = |product: &Product, one: Part| match product.factors[..] {
            [a, b] if a == one => Some(b),
            [a, b] if b == one => Some(a),
            _ => None,
        };
        let z = other(less, n)?;
        let h = other(more, z)?;
        let (gate_function, update) = gate(self, z)?;
        // The old state is what the gates see.
        let sees = |part: Part| rows(update, part).is_some();
        let (n, h, is_new) = match (sees(h), sees(n)) {
            (true, false) => (n, h, false),
            (false, true) if gate_function == Function::Sigmoid => (h, n, true),
            _ => return None,
        };
        let (candidate, new) = gate(self, n)?;
        // The candidate: its input, and the state through the reset gate.
        let (x, r, recurrent, bias, linear_before_reset) =
            match (&new.matrices[..], &new.products[..]) {
                ([term], [product]) => {
                    let (p, q) = pair(product)?;
                    let sum = |part: Part| match self.node(part.node) {
                        Node::Form(form) => Some(form),
                        _ => None,
                    };
                    let (r, inner) = match (sum(p), sum(q)) {
                        (None, Some(form)) => (p, form),
                        (Some(form), None) => (q, form),
                        _ => return None,
                    };
                    if inner.matrices.len() != 1 || !inner.products.is_empty() {
                        return None;
                    }
                    (term.operand, r, rows(inner, h)?, inner.bias.clone(), true)
                }
                ([a, b], []) => {
                    let reset = |term: &MatrixTerm| match self.node(self.full(term.operand)?) {
                        Node::Form(form) if form.matrices.is_empty() && !form.has_bias() => {
                            match &form.products[..] {
                                [product] if product.is(1.0) => other(product, h),
                                _ => None,
                            }
                        }
                        _ => None,
                    };
                    let (x, term, r) = match (reset(a), reset(b)) {
                        (None, Some(r)) => (a.operand, b, r),
                        (Some(r), None) => (b.operand, a, r),
                        _ => return None,
                    };
                    let rows = Rows {
                        matrix: term.matrix,
                        row: term.row,
                    };
                    (x, r, rows, vec![Real::new(0.0); new.len()], false)
                }
                _ => return None,
            };
        let (reset_function, reset) = gate(self, r)?;
        let two = |form: &Form| form.matrices.len() == 2 && form.products.is_empty();
        let same = [update, reset, new]
            .iter()
            .all(|form| form.len() == h.len as usize);
        if reset_function != gate_function || !two(update) || !two(reset) || !same || x == h {
            return None;
        }
        let zeros = vec![Real::new(0.0); 2 * new.len()];
        let key = CellKey {
            kind: Kind::Gru {
                linear_before_reset,
            },
            gate: gate_function,
            candidate,
            hidden: new.len(),
            weights: vec![
                vec![rows(update, x)?, rows(reset, x)?, rows(new, x)?],
                vec![rows(update, h)?, rows(reset, h)?, recurrent],
            ],
            wb: [&update.bias[..], &reset.bias, &new.bias].concat(),
            rb: [zeros, bias].concat(),
        };
        Some((key, vec![x, h], is_new))
    }

    /// What the hidden state and the cell state after a step of `key` from zeros are, as formulas: exporters leave the zeros
    /// out.
    pub fn step_from_zero(
        &mut self,
        key: &CellKey,
        state: usize,
        x: Part,
    ) -> Result<(Part, Option<Part>), Fault> {
        let units = key.hidden;
        let sum = |gate: usize, with_recurrent: bool| {
            let Rows { matrix, row } = key.weights[1 - state][gate];
            let range = gate * units..(gate + 1) * units;
            let rb = |r: &Real| if with_recurrent { r.get() } else { 0.0 };
            let pairs = key.wb[range.clone()].iter().zip(&key.rb[range]);
            let bias = pairs.map(|(w, r)| Real::new(w.get() + rb(r))).collect();
            Form {
                matrices: vec![MatrixTerm {
                    matrix,
                    row,
                    operand: x,
                }],
                products: vec![],
                bias,
            }
        };
        let apply = |symbols: &mut Self, function: Function, form: Form| {
            let part = symbols.finish(form)?;
            symbols.apply(function, part)
        };
        match key.kind {
            Kind::Rnn => Ok((apply(self, key.candidate, sum(0, true))?, None)),
            Kind::Lstm => {
                let i = apply(self, key.gate, sum(0, true))?;
                let o = apply(self, key.gate, sum(1, true))?;
                let g = apply(self, key.candidate, sum(3, true))?;
                let c = self.product(i, g)?;
                let out = self.apply(key.candidate, c)?;
                Ok((self.product(o, out)?, Some(c)))
            }
            Kind::Gru {
                linear_before_reset,
            } => {
                let z = apply(self, key.gate, sum(0, true))?;
                let new = if linear_before_reset {
                    let r = apply(self, key.gate, sum(1, true))?;
                    let rb: Vec<f32> = key.rb[2 * units..].iter().map(|r| r.get()).collect();
                    let form = self.form(r);
                    let reset = self.scaled(&form, &rb)?;
                    let part = self.sum(&sum(2, false), &reset, 1.0)?;
                    self.apply(key.candidate, part)?
                } else {
                    apply(self, key.candidate, sum(2, true))?
                };
                let both = self.product(z, new)?;
                let (new, both) = (self.form(new), self.form(both));
                Ok((self.sum(&new, &both, -1.0)?, None))
            }
        }
    }

    /// Whether two parts are equal but for the last bits of constants, which exporters compute in another order.
    pub fn alike(&self, a: Part, b: Part) -> bool {
        self.alike_within(a, b, MAX_DEPTH)
    }

    fn alike_within(&self, a: Part, b: Part, depth: usize) -> bool {
        if a == b {
            return true;
        }
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        let (Some(a), Some(b)) = (self.full(a), self.full(b)) else {
            return false;
        };
        match (self.node(a), self.node(b)) {
            (Node::Applied { function: f, of: a }, Node::Applied { function: g, of: b }) => {
                f == g && self.alike_within(*a, *b, depth)
            }
            (Node::Form(a), Node::Form(b)) => {
                let terms =
                    a.matrices.len() == b.matrices.len() && a.products.len() == b.products.len();
                let term = |(a, b): (&MatrixTerm, &MatrixTerm)| {
                    (a.matrix, a.row) == (b.matrix, b.row)
                        && self.alike_within(a.operand, b.operand, depth)
                };
                let factors = |a: &[Part], b: &[Part]| match (a, b) {
                    ([a], [b]) => self.alike_within(*a, *b, depth),
                    ([a, b], [c, d]) => {
                        self.alike_within(*a, *c, depth) && self.alike_within(*b, *d, depth)
                            || self.alike_within(*a, *d, depth) && self.alike_within(*b, *c, depth)
                    }
                    _ => false,
                };
                let product = |a: &Product| {
                    let same = |b: &Product| {
                        close(&a.coefficient, &b.coefficient) && factors(&a.factors, &b.factors)
                    };
                    b.products.iter().any(same)
                };
                terms
                    && close(&a.bias, &b.bias)
                    && a.matrices.iter().zip(&b.matrices).all(term)
                    && a.products.iter().all(product)
            }
            _ => false,
        }
    }

    /// The vector that `matrix` is multiplied with somewhere in the formula of `part`.
    pub fn operand_of(&self, matrix: Rows, part: Part) -> Option<Part> {
        match self.node(part.node) {
            Node::Applied { of, .. } => self.operand_of(matrix, *of),
            Node::Form(form) => rows_operand(form, matrix).or_else(|| {
                let mut factors = form.products.iter().flat_map(|p| &p.factors);
                factors.find_map(|&factor| self.operand_of(matrix, factor))
            }),
            _ => None,
        }
    }
}

fn rows_operand(form: &Form, rows: Rows) -> Option<Part> {
    let found = form
        .matrices
        .iter()
        .find(|term| (term.matrix, term.row) == (rows.matrix, rows.row));
    found.map(|term| term.operand)
}

fn close(a: &[Real], b: &[Real]) -> bool {
    let near = |(a, b): (&Real, &Real)| (a.get() - b.get()).abs() <= 2e-6 * a.get().abs().max(1.0);
    a.len() == b.len() && a.iter().zip(b).all(near)
}
