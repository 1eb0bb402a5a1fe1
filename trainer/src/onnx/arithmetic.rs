//! The operators that compute: sums, products, functions, dense layers, softmax and means of what comes in.

use super::array::{Array, View, axis, common, count};
use super::fault::{AGAIN, Fault};
use super::graph::{MASK, Value, Walk, advice, moved, reduced};
use super::node::Node;
use super::symbol::{
    Element, Elements, Form, Function, MatrixId, Node as Formula, Part, Real, Symbols,
};
use super::tensor::Tensor;
use crate::network::Matrix;
use std::rc::Rc;
use tract_onnx::pb::tensor_proto::DataType;

impl Walk<'_, '_> {
    /// A function of every row.
    pub fn map(
        &mut self,
        value: &Value,
        f: impl Fn(&mut Symbols, Part) -> Result<Part, Fault>,
    ) -> Result<Value, Fault> {
        let Value::Data(elements) = value else {
            return Err(Fault::new(
                value.describe(),
                "a value computed from what comes in",
                MASK,
            ));
        };
        let width = elements.shape.last().copied().unwrap_or(1);
        let mut data = Vec::with_capacity(elements.data.len());
        for row in elements.data.chunks(width.max(1)) {
            for part in self.symbols.row(row)? {
                data.extend(f(&mut self.symbols, part)?.elements());
            }
        }
        Ok(Value::Data(Rc::new(Array {
            shape: elements.shape.clone(),
            data,
        })))
    }

    /// Whether a cast changes nothing: to float, or of a one-hot, which is 0 and 1 in every type.
    pub fn keeps(&self, value: &Value, to: DataType) -> bool {
        let Value::Data(elements) = value else {
            return false;
        };
        let one_hot = |e: &Element| matches!(self.symbols.node(e.node), Formula::OneHot { .. });
        match to {
            DataType::Float => true,
            DataType::Int32 | DataType::Int64 | DataType::Double => {
                elements.data.iter().all(one_hot)
            }
            _ => false,
        }
    }

    pub fn pointwise(&mut self, node: &Node, operands: &[&Value]) -> Result<Value, Fault> {
        node.only(&[])?;
        let &[a, b] = operands else {
            return Err(Fault::new(
                format!("{} operands", operands.len()),
                "2",
                AGAIN,
            ));
        };
        if let Some(ids) = [a, b].into_iter().find(|v| matches!(v, Value::Ids(_))) {
            return Err(Fault::new(
                ids.describe(),
                "weights, or vectors of the network",
                MASK,
            ));
        }
        let op = &*node.proto.op_type;
        if let ("Min" | "Max", Value::Data(_), Value::Known(limit))
        | ("Min" | "Max", Value::Known(limit), Value::Data(_)) = (op, a, b)
        {
            let limit = limit.scalar()? as f32;
            let (low, high) = if op == "Min" {
                (f32::MIN, limit)
            } else {
                (limit, f32::MAX)
            };
            let function = Function::Clip(Real::new(low), Real::new(high));
            let data = if let Value::Data(_) = a { a } else { b };
            return self.map(data, |symbols, part| symbols.apply(function, part));
        }
        let shape = common(a.shape(), b.shape())?;
        let wide = |value: &Value| -> Result<Value, Fault> {
            Ok(moved(value, View::broadcast(value.shape(), &shape)?))
        };
        let (a, b) = (wide(a)?, wide(b)?);
        let (a, b) = (rows(&a)?, rows(&b)?);
        self.zip(op, &a, &b)
    }

    /// An operator on two values of one shape, row by row and, where a row has several parts, part by part.
    pub fn zip(&mut self, op: &str, a: &Rows, b: &Rows) -> Result<Value, Fault> {
        let shape = if a.shape().len() >= b.shape().len() {
            a.shape()
        } else {
            b.shape()
        };
        let width = shape.last().copied().unwrap_or(1).max(1);
        let lines = count(shape)? / width;
        let mut data = Vec::with_capacity(lines * width);
        for line in 0..lines {
            let left = self.pieces(a, line, width)?;
            let right = self.pieces(b, line, width)?;
            // A constant follows the cuts of the other side.
            let mut at = 0;
            while at < width {
                let end = [&left, &right]
                    .iter()
                    .filter_map(|side| side.end_after(at))
                    .min()
                    .unwrap_or(width);
                let (x, y) = (
                    left.cut(&mut self.symbols, at, end)?,
                    right.cut(&mut self.symbols, at, end)?,
                );
                let part = self.combine(op, x, y)?;
                data.extend(part.elements());
                at = end;
            }
        }
        Ok(Value::Data(Rc::new(Array {
            shape: shape.to_vec(),
            data,
        })))
    }

    fn combine(&mut self, op: &str, x: Piece, y: Piece) -> Result<Part, Fault> {
        let symbols = &mut self.symbols;
        let form = |symbols: &Symbols, piece: &Piece| match piece {
            Piece::Known(values) => Form::constant(values),
            Piece::Part(part) => symbols.form(*part),
        };
        match (op, &x, &y) {
            ("Add" | "Sub", ..) => {
                let (x, y) = (form(symbols, &x), form(symbols, &y));
                symbols.sum(&x, &y, if op == "Add" { 1.0 } else { -1.0 })
            }
            ("Mul", Piece::Part(x), Piece::Part(y)) => symbols.product(*x, *y),
            ("Mul", Piece::Part(part), Piece::Known(values))
            | ("Mul", Piece::Known(values), Piece::Part(part)) => {
                let form = symbols.form(*part);
                let scaled = symbols.scaled(&form, values)?;
                symbols.finish(scaled)
            }
            ("Div", Piece::Part(part), Piece::Known(values))
                if values.iter().all(|&x| x != 0.0) =>
            {
                let values: Vec<f32> = values.iter().map(|x| 1.0 / x).collect();
                let form = symbols.form(*part);
                let scaled = symbols.scaled(&form, &values)?;
                symbols.finish(scaled)
            }
            _ => Err(Fault::new(
                format!("operator {op} of two values that come in"),
                "sums and products",
                advice(op),
            )),
        }
    }

    fn pieces(&mut self, rows: &Rows, line: usize, width: usize) -> Result<Pieces, Fault> {
        match rows {
            Rows::Known(array) if array.data.len() == 1 => {
                Ok(Pieces::Known(vec![array.data[0]; width]))
            }
            Rows::Known(array) => Ok(Pieces::Known(array.data[line * width..][..width].to_vec())),
            Rows::Data(elements) => {
                let parts = self.symbols.row(&elements.data[line * width..][..width])?;
                Ok(Pieces::Parts(parts))
            }
        }
    }

    pub fn softmax(&mut self, node: &Node, value: &Value) -> Result<Value, Fault> {
        node.only(&["axis"])?;
        let shape = value.shape();
        // Before opset 13 everything from the axis on is one vector.
        let default = if self.opset < 13 { 1 } else { -1 };
        let along = axis(node.int("axis")?.unwrap_or(default), shape.len())?;
        let last = along + 1 == shape.len();
        if !last && (self.opset >= 13 || shape[along..].iter().rev().skip(1).any(|&size| size != 1))
        {
            return Err(Fault::new(
                format!("axis {along} of {shape:?}"),
                "the last axis",
                AGAIN,
            ));
        }
        let log = node.proto.op_type == "LogSoftmax";
        let width = shape.last().copied().unwrap_or(1);
        self.map(value, |symbols, of| {
            if of.len as usize != width {
                return Err(Fault::new(
                    "a vector of several pieces",
                    "one vector",
                    AGAIN,
                ));
            }
            let id = symbols.intern(Formula::Softmax { log, of })?;
            Ok(symbols.whole(id))
        })
    }

    /// The matrix `[N][K]` of a constant `[K][N]`, or `[N][K]` where `transposed`.
    fn matrix(&mut self, tensor: &Rc<Tensor>, transposed: bool) -> Result<MatrixId, Fault> {
        let key = (Rc::as_ptr(tensor), transposed);
        if let Some((_, id)) = self.matrices.get(&key) {
            return Ok(*id);
        }
        let floats = tensor.floats()?;
        // Leading sizes of 1 are a batch of one.
        let leading = floats.shape.len().saturating_sub(2);
        let (&[rows, columns], true) = (
            &floats.shape[leading..],
            floats.shape[..leading].iter().all(|&d| d == 1),
        ) else {
            return Err(Fault::new(
                format!("weights of shape {:?}", floats.shape),
                "a matrix",
                AGAIN,
            ));
        };
        let matrix = if transposed {
            Matrix::new(rows, columns, floats.data.clone())
        } else {
            let view = View::transpose(&[rows, columns], &[1, 0])?;
            Matrix::new(columns, rows, view.of(&floats.data).data)
        };
        if matrix.data.is_empty() {
            return Err(Fault::new("an empty matrix", "weights", AGAIN));
        }
        let id = self.symbols.add_matrix(matrix)?;
        self.matrices.insert(key, (tensor.clone(), id));
        Ok(id)
    }

    pub fn mat_mul(
        &mut self,
        a: &Value,
        b: &Value,
        transposed: bool,
        alpha: f32,
    ) -> Result<Value, Fault> {
        let (Value::Data(data), Value::Known(weights)) = (a, b) else {
            let found = format!("a product of {} and {}", a.describe(), b.describe());
            return Err(Fault::new(
                found,
                "a product of a vector and weights",
                "weights must be constants of the file; attention is not supported",
            ));
        };
        let matrix = self.matrix(weights, transposed)?;
        let (columns, rows) = {
            let matrix = self.symbols.matrix(matrix);
            (matrix.columns, matrix.rows)
        };
        let Some((&width, outer)) = data.shape.split_last() else {
            return Err(Fault::new("a single number", "a vector", AGAIN));
        };
        if width != columns || width == 0 {
            return Err(Fault::new(
                format!("a vector of {width}"),
                format!("one of {columns}, as the weights have"),
                AGAIN,
            ));
        }
        let shape = [outer, &[rows]].concat();
        let mut result = Vec::with_capacity(count(&shape)?);
        for row in data.data.chunks(width) {
            let parts = self.symbols.row(row)?;
            let form = self.symbols.dense(matrix, &parts)?;
            let form = self.symbols.scaled(&form, &vec![alpha; rows])?;
            result.extend(self.symbols.finish(form)?.elements());
        }
        Ok(Value::Data(Rc::new(Array {
            shape,
            data: result,
        })))
    }

    pub fn gemm(&mut self, node: &Node, operands: &[Option<Value>]) -> Result<Value, Fault> {
        node.only(&["alpha", "beta", "transA", "transB"])?;
        let (Some(Some(a)), Some(Some(b))) = (operands.first(), operands.get(1)) else {
            return Err(Fault::new("too few operands", "two or three", AGAIN));
        };
        if node.int("transA")?.unwrap_or(0) != 0 || a.shape().len() != 2 {
            return Err(Fault::new(
                "a transposed first operand",
                "a row for each vector",
                AGAIN,
            ));
        }
        let alpha = node.float("alpha")?.unwrap_or(1.0);
        let beta = node.float("beta")?.unwrap_or(1.0);
        let product = self.mat_mul(a, b, node.int("transB")?.unwrap_or(0) != 0, alpha)?;
        let Some(Some(c)) = operands.get(2) else {
            return Ok(product);
        };
        let wide = moved(c, View::broadcast(c.shape(), product.shape())?);
        let (c, product) = (rows(&wide)?, rows(&product)?);
        if beta == 1.0 {
            return self.zip("Add", &product, &c);
        }
        let beta = Rows::Known(Array {
            shape: vec![],
            data: vec![beta],
        });
        let c = match c {
            Rows::Known(array) => {
                let Rows::Known(beta) = &beta else {
                    unreachable!("made above")
                };
                let data = array.data.iter().map(|x| x * beta.data[0]).collect();
                Rows::Known(Array {
                    shape: array.shape,
                    data,
                })
            }
            data => rows(&self.zip("Mul", &data, &beta)?)?,
        };
        self.zip("Add", &product, &c)
    }

    pub fn reduce(
        &mut self,
        node: &Node,
        value: &Value,
        constants: &[Option<Rc<Tensor>>],
    ) -> Result<Value, Fault> {
        let Value::Data(elements) = value else {
            return Err(Fault::new(
                value.describe(),
                "a value computed from what comes in",
                MASK,
            ));
        };
        let rank = elements.shape.len();
        let axes = match constants.get(1) {
            Some(Some(axes)) => Some(axes.integers()?.data.clone()),
            _ => None,
        };
        let (axes, keep) = reduced(node, rank, axes)?;
        if rank == 0 || axes.contains(&(rank - 1)) {
            let found = format!("{} over the features", node.proto.op_type);
            return Err(Fault::new(
                found,
                "one over the steps",
                "train without it: the integer runtime has no such layer",
            ));
        }
        let rest: Vec<usize> = (0..rank).filter(|dim| !axes.contains(dim)).collect();
        let perm = [&rest[..rest.len() - 1], &axes, &[rank - 1]].concat();
        let array = View::transpose(&elements.shape, &perm)?.of(&elements.data);
        let summed: usize = axes.iter().map(|&axis| elements.shape[axis]).product();
        let width = elements.shape[rank - 1];
        let mean = node.proto.op_type == "ReduceMean";
        let mut data = Vec::new();
        for group in array.data.chunks((summed * width).max(1)) {
            let mut total = Form::constant(&vec![0.0; width]);
            for row in group.chunks(width) {
                let [part] = self.symbols.row(row)?[..] else {
                    return Err(Fault::new(
                        "a vector of several pieces",
                        "one vector",
                        AGAIN,
                    ));
                };
                // Each vector is one term, whatever it is made of.
                total.add(&self.symbols.single(part));
            }
            let scale = if mean { 1.0 / summed as f32 } else { 1.0 };
            let scaled = self.symbols.scaled(&total, &vec![scale; width])?;
            let part = self.symbols.finish(scaled)?;
            data.extend(part.elements());
        }
        let shape: Vec<usize> = (0..rank)
            .filter(|dim| keep || !axes.contains(dim))
            .map(|dim| {
                if axes.contains(&dim) {
                    1
                } else {
                    elements.shape[dim]
                }
            })
            .collect();
        if count(&shape)? != data.len() {
            return Err(Fault::new(
                format!("{} of {:?}", node.proto.op_type, elements.shape),
                "something to reduce",
                AGAIN,
            ));
        }
        Ok(Value::Data(Rc::new(Array { shape, data })))
    }
}

/// An operand that is read row by row.
pub enum Rows {
    Known(Array<f32>),
    Data(Rc<Elements>),
}

impl Rows {
    fn shape(&self) -> &[usize] {
        match self {
            Rows::Known(array) => &array.shape,
            Rows::Data(elements) => &elements.shape,
        }
    }
}

pub fn rows(value: &Value) -> Result<Rows, Fault> {
    match value {
        Value::Known(tensor) => Ok(Rows::Known(tensor.floats()?.clone())),
        Value::Data(elements) => Ok(Rows::Data(elements.clone())),
        Value::Ids(_) => Err(Fault::new(
            value.describe(),
            "weights, or vectors of the network",
            MASK,
        )),
    }
}

/// A row of one operand.
enum Pieces {
    Known(Vec<f32>),
    Parts(Vec<Part>),
}

enum Piece {
    Known(Vec<f32>),
    Part(Part),
}

impl Pieces {
    /// Where the part that `at` is in ends.
    fn end_after(&self, at: usize) -> Option<usize> {
        let Pieces::Parts(parts) = self else {
            return None;
        };
        let mut end = 0;
        parts.iter().find_map(|part| {
            end += part.len as usize;
            (end > at).then_some(end)
        })
    }

    fn cut(&self, symbols: &mut Symbols, start: usize, end: usize) -> Result<Piece, Fault> {
        match self {
            Pieces::Known(values) => Ok(Piece::Known(values[start..end].to_vec())),
            Pieces::Parts(parts) => {
                let mut before = 0;
                for part in parts {
                    let next = before + part.len as usize;
                    if start < next {
                        let cut = Part {
                            node: part.node,
                            start: part.start + (start - before) as u32,
                            len: (end - start) as u32,
                        };
                        return Ok(Piece::Part(symbols.part(cut)?));
                    }
                    before = next;
                }
                unreachable!("a cut lies within the row")
            }
        }
    }
}
