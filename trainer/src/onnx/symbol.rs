//! What the values of a graph are, as formulas.
//!
//! A vector of a graph is a [`Node`]: something that comes in, or a formula over other nodes. Equal formulas are one node, so
//! that two nodes are equal exactly when their numbers are. Sums, products and dense layers are kept in one normal form
//! ([`Form`]), whatever operators and order a framework wrote them in: `(1 - z) * n + z * h` and `(h - n) * z + n` are equal.

use super::array::Array;
use super::cell::CellKey;
use super::fault::Fault;
use crate::network::{Activation, Matrix};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// The most elements of all formulas together.
const MAX_COST: usize = 1 << 25;

/// The most pieces that one vector is put together from.
const MAX_PIECES: usize = 64;

/// Functions in functions; the most that any cell has is five. What walks formulas recurses as deep.
const MAX_NESTING: u16 = 64;

/// A node of the table.
pub type Id = u32;

/// A matrix of the table.
pub type MatrixId = u32;

/// A float that can be compared and hashed; both zeros are one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Real(u32);

impl Real {
    pub fn new(x: f32) -> Self {
        Real((x + 0.0).to_bits())
    }

    pub fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

/// One element of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Element {
    pub node: Id,
    pub index: u32,
}

/// Some elements of a node, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    pub node: Id,
    pub start: u32,
    pub len: u32,
}

impl Part {
    pub fn elements(self) -> impl Iterator<Item = Element> {
        let Part { node, start, len } = self;
        (start..start + len).map(move |index| Element { node, index })
    }
}

/// A function of every element by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    Tanh,
    Sigmoid,
    Relu,
    /// Slope and value at 0.
    HardSigmoid(Real, Real),
    /// Cut off below and above; no cell or head has it.
    Clip(Real, Real),
}

impl Function {
    /// As the network has it.
    pub fn activation(self) -> Option<Activation> {
        match self {
            Function::Tanh => Some(Activation::Tanh),
            Function::Sigmoid => Some(Activation::Sigmoid),
            Function::Relu => Some(Activation::Relu),
            Function::HardSigmoid(alpha, beta) => {
                let (alpha, beta) = (alpha.get(), beta.get());
                Some(Activation::HardSigmoid { alpha, beta })
            }
            Function::Clip(..) => None,
        }
    }
}

/// Rows of a matrix, from `row` on, times a vector.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MatrixTerm {
    pub matrix: MatrixId,
    pub row: u32,
    pub operand: Part,
}

/// One or two vectors multiplied element by element, and with a coefficient for each element.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Product {
    pub factors: Vec<Part>,
    pub coefficient: Vec<Real>,
}

impl Product {
    /// Whether every coefficient is `x`.
    pub fn is(&self, x: f32) -> bool {
        self.coefficient.iter().all(|&c| c == Real::new(x))
    }
}

/// A sum: matrices times vectors, products, and a constant vector.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Form {
    pub matrices: Vec<MatrixTerm>,
    /// By their factors, each set of factors once.
    pub products: Vec<Product>,
    pub bias: Vec<Real>,
}

impl Form {
    pub fn constant(values: &[f32]) -> Self {
        Self {
            matrices: vec![],
            products: vec![],
            bias: values.iter().map(|&x| Real::new(x)).collect(),
        }
    }

    pub fn len(&self) -> usize {
        self.bias.len()
    }

    pub fn has_bias(&self) -> bool {
        self.bias.iter().any(|&b| b != Real::new(0.0))
    }

    /// Adds another sum.
    pub fn add(&mut self, form: &Form) {
        for (a, b) in self.bias.iter_mut().zip(&form.bias) {
            *a = Real::new(a.get() + b.get());
        }
        self.matrices.extend_from_slice(&form.matrices);
        form.products
            .iter()
            .for_each(|product| add_product(self, product));
    }

    /// Whether it is a sum of vectors and constants: what can be multiplied out.
    fn is_plain(&self) -> bool {
        self.matrices.is_empty() && self.products.iter().all(|p| p.factors.len() == 1)
    }
}

/// A vector.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Node {
    /// A float input of the graph, all of it that belongs to one sequence of the batch.
    Input { port: usize, batch: u32, len: u32 },
    /// A token's id; one element.
    Token {
        port: usize,
        batch: u32,
        position: u32,
    },
    /// The token's row of a table.
    Embedded { table: MatrixId, token: Id },
    /// 1 at the token's place among `count`.
    OneHot { count: u32, token: Id },
    /// Known numbers that are a state.
    Constant(Vec<Real>),
    /// Nothing: what is multiplied with it goes away.
    Zeros { len: u32 },
    /// A sum.
    Form(Form),
    /// A function of every element of a part.
    Applied { function: Function, of: Part },
    /// The hidden state after a step. `operands` are the input and the state before; which is which, `state` says where it
    /// is known. `cell` is an LSTM's cell state before.
    Step {
        key: Rc<CellKey>,
        operands: Vec<Part>,
        state: Option<usize>,
        cell: Option<Part>,
    },
    /// The cell state after a step of an LSTM.
    CellState { step: Id },
    /// Softmax of a part, or its logarithm.
    Softmax { log: bool, of: Part },
}

/// The table of nodes and matrices.
#[derive(Default)]
pub struct Symbols {
    nodes: Vec<Rc<Node>>,
    /// Which node of the graph made it.
    origins: Vec<u32>,
    /// How deep functions and products are nested in it, dense layers and steps left out.
    nestings: Vec<u16>,
    ids: HashMap<Rc<Node>, Id>,
    matrices: Vec<Rc<Matrix>>,
    matrix_ids: HashMap<u64, Vec<MatrixId>>,
    /// Sums `n - z * n`, which are half of a GRU step, or one from a state of zeros.
    halves: HashSet<Id>,
    /// Cell states by their formula: of recognized steps.
    pub cell_states: HashMap<Id, Id>,
    cost: usize,
    /// The node of the graph that is being read.
    pub current: u32,
}

impl Symbols {
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub fn shared(&self, id: Id) -> Rc<Node> {
        self.nodes[id as usize].clone()
    }

    /// The node of the graph that made `id`.
    pub fn origin(&self, id: Id) -> u32 {
        self.origins[id as usize]
    }

    pub fn matrix(&self, id: MatrixId) -> &Rc<Matrix> {
        &self.matrices[id as usize]
    }

    /// The node of the cell state after a step of an LSTM, if there is one.
    pub fn cell_state(&self, step: Id) -> Option<Part> {
        let direct = self.ids.get(&Node::CellState { step }).copied();
        let formula = || {
            self.cell_states
                .iter()
                .find(|(_, of)| **of == step)
                .map(|(&id, _)| id)
        };
        direct.or_else(formula).map(|id| self.whole(id))
    }

    /// Adds a matrix, or finds it.
    pub fn add_matrix(&mut self, matrix: Matrix) -> Result<MatrixId, Fault> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (matrix.rows, matrix.columns).hash(&mut hasher);
        matrix
            .data
            .iter()
            .for_each(|x| x.to_bits().hash(&mut hasher));
        let same = self.matrix_ids.entry(hasher.finish()).or_default();
        if let Some(&id) = same
            .iter()
            .find(|&&id| *self.matrices[id as usize] == matrix)
        {
            return Ok(id);
        }
        self.cost += matrix.data.len();
        let id = self.matrices.len() as MatrixId;
        same.push(id);
        self.matrices.push(Rc::new(matrix));
        self.bearable()?;
        Ok(id)
    }

    fn bearable(&self) -> Result<(), Fault> {
        if self.cost > MAX_COST {
            let found = format!("formulas of more than {MAX_COST} elements");
            return Err(Fault::new(
                found,
                "fewer",
                "a board needs a smaller network",
            ));
        }
        Ok(())
    }

    /// Adds a node, or finds it.
    pub fn intern(&mut self, node: Node) -> Result<Id, Fault> {
        if let Some(&id) = self.ids.get(&node) {
            return Ok(id);
        }
        let nesting = self.nesting(&node);
        if nesting > MAX_NESTING {
            let found = format!("functions of functions, more than {MAX_NESTING} deep");
            return Err(Fault::new(found, "layers", super::fault::AGAIN));
        }
        self.cost += 64;
        if let Node::Form(form) = &node {
            self.cost += form.len() * (1 + form.products.len()) + 16 * form.matrices.len();
        }
        self.bearable()?;
        let id = self.nodes.len() as Id;
        let node = Rc::new(node);
        self.nodes.push(node.clone());
        self.origins.push(self.current);
        self.nestings.push(nesting);
        self.ids.insert(node, id);
        Ok(id)
    }

    fn nesting(&self, node: &Node) -> u16 {
        let of = |part: &Part| self.nestings[part.node as usize];
        match node {
            Node::Applied { of: part, .. } => of(part) + 1,
            Node::Form(form) => {
                let factors = form.products.iter().flat_map(|p| &p.factors);
                factors.map(of).max().map_or(0, |deepest| deepest + 1)
            }
            _ => 0,
        }
    }

    /// Number of elements.
    pub fn len(&self, id: Id) -> u32 {
        match self.node(id) {
            Node::Input { len, .. } => *len,
            Node::Token { .. } => 1,
            Node::Embedded { table, .. } => self.matrix(*table).columns as u32,
            Node::OneHot { count, .. } => *count,
            Node::Constant(values) => values.len() as u32,
            Node::Zeros { len } => *len,
            Node::Form(form) => form.len() as u32,
            Node::Applied { of, .. } | Node::Softmax { of, .. } => of.len,
            Node::Step { key, .. } => key.hidden as u32,
            Node::CellState { step } => self.len(*step),
        }
    }

    /// All of a node.
    pub fn whole(&self, node: Id) -> Part {
        Part {
            node,
            start: 0,
            len: self.len(node),
        }
    }

    /// The node, where the part is all of it.
    pub fn full(&self, part: Part) -> Option<Id> {
        (part == self.whole(part.node)).then_some(part.node)
    }

    /// A part of a node; that of a formula is a formula of its own.
    pub fn part(&mut self, part: Part) -> Result<Part, Fault> {
        if self.full(part).is_some() {
            return Ok(part);
        }
        let Part { node, start, len } = part;
        match &*self.shared(node) {
            Node::Form(form) => {
                let range = start as usize..(start + len) as usize;
                let mut cut = Form {
                    matrices: form.matrices.clone(),
                    products: vec![],
                    bias: form.bias[range.clone()].to_vec(),
                };
                cut.matrices.iter_mut().for_each(|term| term.row += start);
                for product in &form.products {
                    let factors = product.factors.iter().map(|f| {
                        self.part(Part {
                            start: f.start + start,
                            len,
                            ..*f
                        })
                    });
                    let factors = factors.collect::<Result<_, _>>()?;
                    let coefficient = product.coefficient[range.clone()].to_vec();
                    cut.products.push(Product {
                        factors,
                        coefficient,
                    });
                }
                self.finish(cut)
            }
            Node::Applied { function, of } => {
                let of = self.part(Part {
                    node: of.node,
                    start: of.start + start,
                    len,
                })?;
                self.apply(*function, of)
            }
            _ => Ok(part),
        }
    }

    /// The parts that a row of elements is made of.
    pub fn row(&mut self, elements: &[Element]) -> Result<Vec<Part>, Fault> {
        let mut parts: Vec<Part> = Vec::new();
        for element in elements {
            match parts.last_mut() {
                Some(last)
                    if last.node == element.node && last.start + last.len == element.index =>
                {
                    last.len += 1
                }
                _ => parts.push(Part {
                    node: element.node,
                    start: element.index,
                    len: 1,
                }),
            }
            if parts.len() > MAX_PIECES {
                return Err(Fault::new(
                    format!("a vector of more than {MAX_PIECES} pieces"),
                    "vectors whole, with their features on the last axis",
                    super::fault::AGAIN,
                ));
            }
        }
        parts.into_iter().map(|part| self.part(part)).collect()
    }

    /// A part as a sum; a formula is taken apart unless it is one half of a GRU step.
    pub fn form(&self, part: Part) -> Form {
        match self.node(part.node) {
            Node::Form(form) if !self.halves.contains(&part.node) => form.clone(),
            Node::Zeros { .. } => Form::constant(&vec![0.0; part.len as usize]),
            _ => self.single(part),
        }
    }

    /// A part as the only term of a sum.
    pub fn single(&self, part: Part) -> Form {
        let len = part.len as usize;
        let product = Product {
            factors: vec![part],
            coefficient: vec![Real::new(1.0); len],
        };
        Form {
            matrices: vec![],
            products: vec![product],
            bias: vec![Real::new(0.0); len],
        }
    }

    /// A sum as a part: of what it is equal to, or of a new formula.
    pub fn finish(&mut self, mut form: Form) -> Result<Part, Fault> {
        form.products.retain(|p| !p.is(0.0));
        if form.matrices.is_empty() && form.products.is_empty() && !form.has_bias() {
            let len = form.len() as u32;
            let id = self.intern(Node::Zeros { len })?;
            return Ok(self.whole(id));
        }
        form.products.sort_by(|a, b| a.factors.cmp(&b.factors));
        if form.matrices.is_empty()
            && !form.has_bias()
            && let [product] = &form.products[..]
        {
            if product.is(1.0)
                && let [factor] = product.factors[..]
            {
                return Ok(factor);
            }
            if let Some(part) = self.hard_sigmoid(product)? {
                return Ok(part);
            }
        }
        if let Some(step) = self.recognize(&form)? {
            return Ok(self.whole(step));
        }
        let half = super::cell::is_half(self, &form);
        let id = self.intern(Node::Form(form))?;
        if half {
            self.halves.insert(id);
        }
        Ok(self.whole(id))
    }

    /// `clip(x, 0, 1 / k) * k`, which is a hard sigmoid.
    fn hard_sigmoid(&mut self, product: &Product) -> Result<Option<Part>, Fault> {
        let [factor] = product.factors[..] else {
            return Ok(None);
        };
        let k = product.coefficient[0].get();
        let &Node::Applied {
            function: Function::Clip(low, high),
            of,
        } = self.node(factor.node)
        else {
            return Ok(None);
        };
        if low != Real::new(0.0) || !product.is(k) || (k * high.get() - 1.0).abs() > 1e-6 {
            return Ok(None);
        }
        self.apply(Function::HardSigmoid(Real::new(k), Real::new(0.0)), of)
            .map(Some)
    }

    /// The sum with every half of a GRU step taken apart.
    pub fn opened(&self, form: &Form) -> Form {
        let mut open = Form {
            products: vec![],
            ..form.clone()
        };
        for product in &form.products {
            match (&product.factors[..], product.is(1.0)) {
                ([one], true) if self.halves.contains(&one.node) => {
                    let Node::Form(half) = self.node(one.node) else {
                        unreachable!("halves are sums");
                    };
                    open.add(half);
                }
                _ => add_product(&mut open, product),
            }
        }
        open.products.sort_by(|a, b| a.factors.cmp(&b.factors));
        open
    }

    /// `a + sign * b`
    pub fn sum(&mut self, a: &Form, b: &Form, sign: f32) -> Result<Part, Fault> {
        let mut total = a.clone();
        total.add(&self.scaled(b, &vec![sign; b.len()])?);
        self.finish(total)
    }

    /// Every element times its factor.
    pub fn scaled(&mut self, form: &Form, by: &[f32]) -> Result<Form, Fault> {
        if by.iter().all(|&x| x == 1.0) {
            return Ok(form.clone());
        }
        let mut scaled = form.clone();
        let zip = |values: &mut Vec<Real>| {
            values
                .iter_mut()
                .zip(by)
                .for_each(|(value, by)| *value = Real::new(value.get() * by));
        };
        zip(&mut scaled.bias);
        scaled
            .products
            .iter_mut()
            .for_each(|product| zip(&mut product.coefficient));
        for term in &mut scaled.matrices {
            let matrix = self.matrix(term.matrix).clone();
            let rows = (0..by.len()).flat_map(|j| {
                matrix
                    .row(term.row as usize + j)
                    .iter()
                    .map(move |w| w * by[j])
            });
            let matrix = Matrix::new(by.len(), matrix.columns, rows.collect());
            term.matrix = self.add_matrix(matrix)?;
            term.row = 0;
        }
        Ok(scaled)
    }

    /// `a * b`, element by element.
    pub fn product(&mut self, a: Part, b: Part) -> Result<Part, Fault> {
        let (fa, fb) = (self.form(a), self.form(b));
        let fa = if fa.is_plain() { fa } else { self.single(a) };
        let fb = if fb.is_plain() { fb } else { self.single(b) };
        let values = |form: &Form| form.bias.iter().map(|b| b.get()).collect::<Vec<f32>>();
        let no_bias = |form: &Form| Form {
            bias: vec![Real::new(0.0); form.len()],
            ..form.clone()
        };
        // (p + a)(q + b) = pq + pb + qa + ab
        let mut total = self.scaled(&no_bias(&fa), &values(&fb))?;
        let rest = self.scaled(&fb, &values(&fa))?;
        total.add(&rest);
        for p in &fa.products {
            for q in &fb.products {
                let mut factors = [&p.factors[..], &q.factors].concat();
                factors.sort();
                let pairs = p.coefficient.iter().zip(&q.coefficient);
                let coefficient = pairs.map(|(p, q)| Real::new(p.get() * q.get())).collect();
                add_product(
                    &mut total,
                    &Product {
                        factors,
                        coefficient,
                    },
                );
            }
        }
        self.finish(total)
    }

    /// A function of a part.
    pub fn apply(&mut self, function: Function, of: Part) -> Result<Part, Fault> {
        let (zero, one) = (Real::new(0.0), Real::new(1.0));
        let function = match function {
            Function::Clip(low, high) if (low, high) == (zero, one) => {
                Function::HardSigmoid(one, zero)
            }
            Function::Clip(low, high) if low == zero && high.get() >= f32::MAX => Function::Relu,
            other => other,
        };
        // min(max(x, 0), 6) and the like are one clip.
        let (function, of) = match (function, self.node(of.node)) {
            (
                Function::Clip(low, high),
                &Node::Applied {
                    function: Function::Relu,
                    of: inner,
                },
            ) if self.full(of).is_some() && low.get() <= 0.0 => (Function::Clip(zero, high), inner),
            (function, _) => (function, of),
        };
        let id = self.intern(Node::Applied { function, of })?;
        Ok(self.whole(id))
    }

    /// `matrix * operand`, where the operand is put together from parts.
    pub fn dense(&mut self, matrix: MatrixId, operand: &[Part]) -> Result<Form, Fault> {
        let whole = self.matrix(matrix).clone();
        let mut form = Form::constant(&vec![0.0; whole.rows]);
        let mut column = 0;
        for &part in operand {
            let width = part.len as usize;
            if let Node::Zeros { .. } = self.node(part.node) {
                column += width;
                continue;
            }
            let matrix = if width == whole.columns {
                matrix
            } else {
                let rows = (0..whole.rows).flat_map(|row| &whole.row(row)[column..column + width]);
                self.add_matrix(Matrix::new(whole.rows, width, rows.copied().collect()))?
            };
            form.matrices.push(MatrixTerm {
                matrix,
                row: 0,
                operand: part,
            });
            column += width;
        }
        Ok(form)
    }

    /// Which sequences of a batch each node depends on, a bit for each. Ports that are `shared` count for none.
    pub fn sequences(&self, shared: &[bool]) -> Vec<u64> {
        let mut all: Vec<u64> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            // What a node is made of is before it.
            let of = |part: &Part| all[part.node as usize];
            let mask = match &**node {
                Node::Input { port, .. } | Node::Token { port, .. } if shared[*port] => 0,
                Node::Input { batch, .. } | Node::Token { batch, .. } => 1 << (batch % 64),
                Node::Embedded { token, .. } | Node::OneHot { token, .. } => all[*token as usize],
                Node::Constant(_) | Node::Zeros { .. } => 0,
                Node::Form(form) => {
                    let matrices = form.matrices.iter().map(|term| of(&term.operand));
                    let products = form.products.iter().flat_map(|p| &p.factors).map(of);
                    matrices.chain(products).fold(0, |a, b| a | b)
                }
                Node::Applied { of: part, .. } | Node::Softmax { of: part, .. } => of(part),
                Node::Step { operands, cell, .. } => {
                    operands.iter().chain(cell).map(of).fold(0, |a, b| a | b)
                }
                Node::CellState { step } => all[*step as usize],
            };
            all.push(mask);
        }
        all
    }

    /// The elements of a part that stand for it in an array.
    pub fn elements(parts: &[Part]) -> Vec<Element> {
        parts.iter().flat_map(|part| part.elements()).collect()
    }
}

fn add_product(total: &mut Form, product: &Product) {
    match total
        .products
        .iter_mut()
        .find(|p| p.factors == product.factors)
    {
        Some(same) => {
            for (a, b) in same.coefficient.iter_mut().zip(&product.coefficient) {
                *a = Real::new(a.get() + b.get());
            }
        }
        None => total.products.push(product.clone()),
    }
}

/// What a graph's value is known to be.
pub type Elements = Array<Element>;
