//! Walks a graph node by node and keeps, for every value, what is known of it.
//!
//! Constants are folded. Everything else is arrays of [`Element`]s: an operator that moves elements moves them, one that
//! computes makes formulas of them. Nothing is guessed from names, and an operator that is not understood is refused.

use super::array::{Array, View, axis, common, concat, count};
use super::fault::{AGAIN, Fault, show};
use super::fold;
use super::layout;
use super::node::Node;
use super::read::ReadError;
use super::symbol::{
    Element, Elements, Form, Function, MatrixId, Node as Formula, Part, Real, Symbols,
};
use super::tensor::{Source, Tensor};
use super::tokens::Ids;
use crate::network::Matrix;
use std::collections::HashMap;
use std::rc::Rc;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto};

/// The most elements that all results may have together; those that are not constants count twice.
const MAX_ELEMENTS: usize = 1 << 26;

/// The most nodes that are executed, those of a loop again for each time.
const MAX_NODES: usize = 200_000;

/// What to do about masks and lengths.
pub const MASK: &str = "what depends on the tokens themselves, such as Masking or mask_zero, does not run on a board: drop it and \
                    feed whole sequences";

/// What is known of a value.
#[derive(Clone)]
pub enum Value {
    Known(Rc<Tensor>),
    Ids(Rc<Ids>),
    Data(Rc<Elements>),
}

impl Value {
    pub fn shape(&self) -> &[usize] {
        match self {
            Value::Known(tensor) => tensor.shape(),
            Value::Ids(ids) => &ids.elements.shape,
            Value::Data(elements) => &elements.shape,
        }
    }

    pub fn describe(&self) -> &'static str {
        match self {
            Value::Known(_) => "a constant",
            Value::Ids(_) => "a value computed from the token ids",
            Value::Data(_) => "a value computed from what comes in",
        }
    }
}

/// The names of a graph, those of an outer graph first.
pub type Scopes<'m> = Vec<HashMap<&'m str, Value>>;

/// The state of a walk.
pub struct Walk<'m, 'a> {
    pub symbols: Symbols,
    pub source: &'a Source<'a>,
    /// The nodes' places, as [`Symbols::origin`] counts them.
    pub places: Vec<String>,
    pub opset: i64,
    /// Everything that comes in is known: the graph is evaluated.
    pub concrete: bool,
    /// Keeps constants alive, so that an address means one constant.
    matrices: HashMap<(*const Tensor, bool), (Rc<Tensor>, MatrixId)>,
    elements: usize,
    nodes: usize,
    pub id_operators: usize,
    _model: std::marker::PhantomData<&'m ()>,
}

impl<'m, 'a> Walk<'m, 'a> {
    pub fn new(source: &'a Source<'a>, opset: i64) -> Self {
        Self {
            symbols: Symbols::default(),
            source,
            places: vec!["graph".into()],
            opset,
            concrete: false,
            matrices: HashMap::new(),
            elements: 0,
            nodes: 0,
            id_operators: 0,
            _model: std::marker::PhantomData,
        }
    }

    /// Executes `graph`: its constants and nodes go into the last of `scopes`.
    pub fn graph(
        &mut self,
        graph: &'m GraphProto,
        scopes: &mut Scopes<'m>,
    ) -> Result<(), ReadError> {
        if !graph.sparse_initializer.is_empty() || !graph.quantization_annotation.is_empty() {
            let fault = Fault::new(
                "sparse or quantized tensors",
                "dense floats",
                "export the model in 32-bit float",
            );
            return Err(fault.at("graph"));
        }
        for proto in &graph.initializer {
            let tensor = self.source.tensor(proto)?;
            self.charge(tensor.shape(), 1)
                .map_err(|fault| fault.at(format!("tensor {}", show(&proto.name))))?;
            // An input with the same name only says the constant's type.
            define(scopes, &proto.name, Value::Known(tensor))?;
        }
        for proto in &graph.node {
            self.execute(proto, scopes)?;
        }
        Ok(())
    }

    fn charge(&mut self, shape: &[usize], times: usize) -> Result<(), Fault> {
        self.elements += count(shape)? * times;
        if self.elements > MAX_ELEMENTS {
            let found = format!("more than {MAX_ELEMENTS} elements in all values");
            return Err(Fault::new(
                found,
                "fewer",
                "a board needs a smaller network",
            ));
        }
        Ok(())
    }

    fn execute(&mut self, proto: &'m NodeProto, scopes: &mut Scopes<'m>) -> Result<(), ReadError> {
        let node = Node { proto };
        self.nodes += 1;
        let place = node.place();
        if self.nodes > MAX_NODES {
            let fault = Fault::new(
                format!("more than {MAX_NODES} operators, loops unrolled"),
                "fewer",
                AGAIN,
            );
            return Err(fault.at(place));
        }
        if self.places.last() != Some(&place) {
            self.places.push(place.clone());
        }
        self.symbols.current = self.places.len() as u32 - 1;
        let results = self
            .results(&node, scopes)
            .map_err(|error| error.at(&place))?;
        if results.len() < proto.output.len()
            && proto.output[results.len()..]
                .iter()
                .any(|name| !name.is_empty())
        {
            let found = format!("{} outputs", proto.output.len());
            return Err(Fault::new(found, format!("at most {}", results.len()), AGAIN).at(place));
        }
        for (name, value) in proto.output.iter().zip(results) {
            if let Some(value) = value
                && !name.is_empty()
            {
                let times = if let Value::Data(_) = value { 2 } else { 1 };
                self.charge(value.shape(), times)
                    .map_err(|fault| fault.at(&*place))?;
                define(scopes, name, value)?;
            }
        }
        Ok(())
    }

    fn results(
        &mut self,
        node: &Node<'m>,
        scopes: &mut Scopes<'m>,
    ) -> Result<Vec<Option<Value>>, Error> {
        let proto = node.proto;
        if !matches!(&*proto.domain, "" | "ai.onnx") {
            let found = format!(
                "operator {} of domain {}",
                show(&proto.op_type),
                show(&proto.domain)
            );
            return Err(Fault::new(
                found,
                "standard operators",
                "export the model without extensions or optimizer fusions",
            )
            .into());
        }
        if proto.input.len() > 256 && proto.op_type != "Concat" {
            return Err(Fault::new(
                format!("{} inputs", proto.input.len()),
                "at most 256",
                AGAIN,
            )
            .into());
        }
        let mut operands = Vec::with_capacity(proto.input.len());
        for name in &proto.input {
            operands.push(match &**name {
                "" => None,
                name => Some(lookup(scopes, name).ok_or_else(|| {
                    Fault::new(
                        format!("input {}", show(name)),
                        "a value defined before this node",
                        AGAIN,
                    )
                })?),
            });
        }
        if proto.op_type == "Loop" {
            return self.run_loop(node, &operands, scopes);
        }
        Ok(self.compute(node, &operands)?)
    }

    fn compute(
        &mut self,
        node: &Node<'m>,
        operands: &[Option<Value>],
    ) -> Result<Vec<Option<Value>>, Fault> {
        let op = &*node.proto.op_type;
        let one = |value: Value| Ok(vec![Some(value)]);
        match op {
            "Constant" => return one(self.constant(node)?),
            "GRU" | "LSTM" | "RNN" => return self.recurrent(node, operands),
            _ => {}
        }
        let first = operands.first().cloned().flatten();
        let first = first.ok_or_else(|| Fault::new("no operand", "one", AGAIN))?;
        if op == "Shape" {
            node.only(&["start", "end"])?;
            let shape = first.shape();
            let rank = shape.len() as i64;
            let clamp =
                |at: i64| if at < 0 { at.saturating_add(rank) } else { at }.clamp(0, rank) as usize;
            let start = clamp(node.int("start")?.unwrap_or(0));
            let end = clamp(node.int("end")?.unwrap_or(rank)).max(start);
            let data: Vec<i64> = shape[start..end].iter().map(|&d| d as i64).collect();
            return one(known(Tensor::Int(Array {
                shape: vec![data.len()],
                data,
            })));
        }
        if op == "Size" {
            let data = vec![count(first.shape())? as i64];
            return one(known(Tensor::Int(Array {
                shape: vec![],
                data,
            })));
        }
        let constants: Vec<Option<Rc<Tensor>>> = operands
            .iter()
            .map(|operand| match operand {
                Some(Value::Known(tensor)) => Some(tensor.clone()),
                _ => None,
            })
            .collect();
        if let Some(views) = layout::views(node, first.shape(), &constants)? {
            return Ok(views
                .into_iter()
                .map(|view| Some(moved(&first, view)))
                .collect());
        }
        let present: Vec<&Value> = operands.iter().flatten().collect();
        if op == "Concat" {
            return one(self.concat(node, &present)?);
        }
        if present.iter().all(|value| matches!(value, Value::Known(_))) {
            let constants: Vec<&Tensor> =
                constants.iter().flatten().map(|tensor| &**tensor).collect();
            return one(known(self.fold(node, &constants)?));
        }
        if present.iter().all(|value| !matches!(value, Value::Data(_))) {
            return one(self.on_ids(node, &present)?);
        }
        match op {
            "Cast" if self.keeps(&first, cast_to(node)?) => one(first),
            "Cast" => one(self.as_tokens(&first, cast_to(node)?)?),
            "Add" | "Sub" | "Mul" | "Div" | "Min" | "Max" => one(self.pointwise(node, &present)?),
            "Neg" => {
                let minus = known(Tensor::Float(Array {
                    shape: vec![],
                    data: vec![-1.0],
                }));
                let (a, b) = (rows(&first)?, rows(&minus)?);
                one(self.zip("Mul", &a, &b)?)
            }
            "Tanh" | "Sigmoid" | "Relu" | "HardSigmoid" | "Clip" => {
                let function = function(node, &constants)?;
                one(self.map(&first, |symbols, part| symbols.apply(function, part))?)
            }
            "Softmax" | "LogSoftmax" => one(self.softmax(node, &first)?),
            "MatMul" => {
                node.only(&[])?;
                let [a, b] = present[..] else {
                    return Err(Fault::new(
                        format!("{} operands", present.len()),
                        "2",
                        AGAIN,
                    ));
                };
                one(self.mat_mul(a, b, false, 1.0)?)
            }
            "Gemm" => one(self.gemm(node, operands)?),
            "ReduceMean" | "ReduceSum" => one(self.reduce(node, &first, &constants)?),
            _ => Err(Fault::new(
                format!(
                    "operator {op} on {}",
                    present
                        .iter()
                        .find(|v| !matches!(v, Value::Known(_)))
                        .expect("one is not")
                        .describe()
                ),
                "GRU, LSTM, RNN, Loop, dense layers, Tanh, Sigmoid, Relu, Softmax, means, and what moves elements about",
                advice(op),
            )),
        }
    }

    fn constant(&mut self, node: &Node<'m>) -> Result<Value, Fault> {
        let attribute = match &node.proto.attribute[..] {
            [one] => one,
            all => {
                return Err(Fault::new(
                    format!("{} attributes", all.len()),
                    "one",
                    AGAIN,
                ));
            }
        };
        let int = |shape: Vec<usize>, data: Vec<i64>| Tensor::Int(Array { shape, data });
        let float = |shape: Vec<usize>, data: Vec<f32>| Tensor::Float(Array { shape, data });
        Ok(known(match &*attribute.name {
            "value" => {
                let proto = node
                    .get("value", AttributeType::Tensor)?
                    .and_then(|a| a.t.as_ref());
                let proto = proto.ok_or_else(|| Fault::new("no tensor", "one", AGAIN))?;
                let tensor = self.source.tensor(proto).map_err(|error| match error {
                    ReadError::Refused {
                        found,
                        expected,
                        advice,
                        ..
                    } => Fault {
                        found,
                        expected,
                        advice,
                    },
                    other => Fault::new(other.to_string(), "a tensor", AGAIN),
                })?;
                return Ok(Value::Known(tensor));
            }
            "value_int" => int(vec![], node.int("value_int")?.into_iter().collect()),
            "value_float" => float(vec![], node.float("value_float")?.into_iter().collect()),
            "value_ints" => {
                let data = node.ints("value_ints")?.unwrap_or_default().to_vec();
                int(vec![data.len()], data)
            }
            "value_floats" => {
                let data = node.floats("value_floats")?.unwrap_or_default().to_vec();
                float(vec![data.len()], data)
            }
            other => {
                return Err(Fault::new(
                    format!("attribute {}", show(other)),
                    "value",
                    AGAIN,
                ));
            }
        }))
    }

    fn concat(&mut self, node: &Node, present: &[&Value]) -> Result<Value, Fault> {
        node.only(&["axis"])?;
        let along = node
            .int("axis")?
            .ok_or_else(|| Fault::new("no axis", "one", AGAIN))?;
        let along = axis(along, present[0].shape().len())?;
        let total: usize = present
            .iter()
            .map(|v| v.shape().iter().product::<usize>())
            .sum();
        count(&[total])?;
        if present.iter().all(|v| matches!(v, Value::Data(_))) {
            let parts: Vec<&Elements> = present
                .iter()
                .filter_map(|v| {
                    if let Value::Data(elements) = v {
                        Some(&**elements)
                    } else {
                        None
                    }
                })
                .collect();
            return Ok(Value::Data(Rc::new(concat(&parts, along)?)));
        }
        if present.iter().any(|v| matches!(v, Value::Data(_))) {
            // A state of zeros beside an input, in a cell that joins the two.
            let parts: Vec<Rc<Elements>> = present
                .iter()
                .map(|v| self.as_data(v))
                .collect::<Result<_, _>>()?;
            let parts: Vec<&Elements> = parts.iter().map(|part| &**part).collect();
            return Ok(Value::Data(Rc::new(concat(&parts, along)?)));
        }
        let tensors: Option<Vec<&Tensor>> = present
            .iter()
            .map(|v| {
                if let Value::Known(tensor) = v {
                    Some(&**tensor)
                } else {
                    None
                }
            })
            .collect();
        let Some(tensors) = tensors else {
            return Err(Fault::new(
                "constants beside what comes in",
                "parts of one kind",
                "feed whole sequences",
            ));
        };
        let kinds = |f: fn(&Tensor) -> bool| tensors.iter().all(|t| f(t));
        if kinds(|t| matches!(t, Tensor::Int(_))) {
            let parts: Vec<_> = tensors
                .iter()
                .map(|t| t.integers())
                .collect::<Result<_, _>>()?;
            return Ok(known(Tensor::Int(concat(&parts, along)?)));
        }
        let parts: Vec<_> = tensors
            .iter()
            .map(|t| t.floats())
            .collect::<Result<_, _>>()?;
        Ok(known(Tensor::Float(concat(&parts, along)?)))
    }

    /// What comes in, or constants beside it.
    fn as_data(&mut self, value: &Value) -> Result<Rc<Elements>, Fault> {
        let tensor = match value {
            Value::Data(elements) => return Ok(elements.clone()),
            Value::Ids(_) => {
                return Err(Fault::new(value.describe(), "vectors of the network", MASK));
            }
            Value::Known(tensor) => tensor,
        };
        let array = tensor.floats()?;
        if array.data.iter().any(|&x| x != 0.0) {
            return self.opaque(array);
        }
        let width = array.shape.last().copied().unwrap_or(1);
        let id = self.symbols.intern(Formula::Zeros { len: width as u32 })?;
        let row = || self.symbols.whole(id).elements();
        let data = (0..array.data.len() / width.max(1))
            .flat_map(|_| row())
            .collect();
        Ok(Rc::new(Array {
            shape: array.shape.clone(),
            data,
        }))
    }

    /// An operator whose operands are all constants.
    fn fold(&mut self, node: &Node, operands: &[&Tensor]) -> Result<Tensor, Fault> {
        let op = &*node.proto.op_type;
        if let Some(result) = fold::apply(op, operands)? {
            return Ok(result);
        }
        let sizes = |tensor: &Tensor| -> Result<Vec<usize>, Fault> {
            let sizes: Option<Vec<usize>> = tensor
                .integers()?
                .data
                .iter()
                .map(|&d| usize::try_from(d).ok())
                .collect();
            sizes.ok_or_else(|| Fault::new("a negative size", "sizes", AGAIN))
        };
        match (op, operands) {
            ("Cast", &[tensor]) => {
                let values = tensor.doubles();
                let shape = values.shape;
                match cast_to(node)? {
                    DataType::Float | DataType::Double => Ok(Tensor::Float(Array {
                        shape,
                        data: values.data.iter().map(|&x| x as f32).collect(),
                    })),
                    DataType::Int32 | DataType::Int64 => {
                        let data = match tensor {
                            Tensor::Int(array) => array.data.clone(),
                            _ => values.data.iter().map(|&x| x as i64).collect(),
                        };
                        Ok(Tensor::Int(Array { shape, data }))
                    }
                    DataType::Bool => Ok(Tensor::Bool(Array {
                        shape,
                        data: values.data.iter().map(|&x| x != 0.0).collect(),
                    })),
                    other => Err(Fault::new(
                        format!("a cast to {}", other.as_str_name()),
                        "float, integer or bool",
                        AGAIN,
                    )),
                }
            }
            ("ConstantOfShape", &[shape]) => {
                let shape = sizes(shape)?;
                let elements = count(&shape)?;
                self.charge(&shape, 1)?;
                let value = match node
                    .get("value", AttributeType::Tensor)?
                    .and_then(|a| a.t.as_ref())
                {
                    Some(proto) => self
                        .source
                        .tensor(proto)
                        .map_err(|e| Fault::new(e.to_string(), "a number", AGAIN))?,
                    None => Rc::new(Tensor::Float(Array {
                        shape: vec![1],
                        data: vec![0.0],
                    })),
                };
                let one = value.scalar()?;
                Ok(match &*value {
                    Tensor::Float(_) => Tensor::Float(Array {
                        shape,
                        data: vec![one as f32; elements],
                    }),
                    Tensor::Int(_) => Tensor::Int(Array {
                        shape,
                        data: vec![one as i64; elements],
                    }),
                    Tensor::Bool(_) => Tensor::Bool(Array {
                        shape,
                        data: vec![one != 0.0; elements],
                    }),
                })
            }
            ("Range", &[start, limit, step]) => {
                let float = matches!(start, Tensor::Float(_));
                let (start, limit, step) = (start.scalar()?, limit.scalar()?, step.scalar()?);
                let length = ((limit - start) / step).ceil().max(0.0);
                if !length.is_finite() || length > (1 << 20) as f64 {
                    return Err(Fault::new(
                        format!("a range of {length}"),
                        "a shorter one",
                        AGAIN,
                    ));
                }
                let values = (0..length as usize).map(|i| start + step * i as f64);
                let shape = vec![length as usize];
                Ok(if float {
                    Tensor::Float(Array {
                        shape,
                        data: values.map(|x| x as f32).collect(),
                    })
                } else {
                    Tensor::Int(Array {
                        shape,
                        data: values.map(|x| x as i64).collect(),
                    })
                })
            }
            ("MatMul", &[a, b]) => fold::mat_mul(a, b),
            ("OneHot", &[ids, depth, values]) => fold::one_hot(ids, depth, values),
            ("HardSigmoid", &[x]) => {
                let alpha = node.float("alpha")?.unwrap_or(0.2);
                let beta = node.float("beta")?.unwrap_or(0.5);
                Ok(fold::map(x.floats()?, |x| {
                    (alpha * x + beta).clamp(0.0, 1.0)
                }))
            }
            ("Clip", &[x, ..]) => {
                let constants: Vec<_> =
                    operands.iter().map(|&t| Some(Rc::new(t.clone()))).collect();
                match function(node, &constants)? {
                    Function::Clip(low, high) if low.get() <= high.get() => {
                        Ok(fold::map(x.floats()?, |x| x.clamp(low.get(), high.get())))
                    }
                    _ => Err(Fault::new(
                        "limits in the wrong order",
                        "low and high",
                        AGAIN,
                    )),
                }
            }
            ("Softmax" | "LogSoftmax", &[x]) => fold::softmax(x.floats()?, op == "LogSoftmax"),
            ("ReduceSum" | "ReduceMean" | "ReduceProd" | "ReduceMax" | "ReduceMin", &[a, ..]) => {
                let axes = operands
                    .get(1)
                    .map(|axes| axes.integers().map(|a| a.data.clone()))
                    .transpose()?;
                let (axes, keep) = reduced(node, a.shape().len(), axes)?;
                fold::reduce(op, a, &axes, keep)
            }
            ("Gemm", &[a, b, ref rest @ ..]) => {
                node.only(&["alpha", "beta", "transA", "transB"])?;
                let turned = |tensor: &Tensor, name: &str| -> Result<Tensor, Fault> {
                    let floats = tensor.floats()?;
                    Ok(Tensor::Float(match node.int(name)?.unwrap_or(0) {
                        0 => floats.clone(),
                        _ => View::transpose(&floats.shape, &[1, 0])?.of(&floats.data),
                    }))
                };
                let number = |x: f32| {
                    Tensor::Float(Array {
                        shape: vec![],
                        data: vec![x],
                    })
                };
                let times = |a: &Tensor, x: f32| {
                    fold::apply("Mul", &[a, &number(x)]).map(|t| t.expect("Mul is known"))
                };
                let product = fold::mat_mul(&turned(a, "transA")?, &turned(b, "transB")?)?;
                let product = times(&product, node.float("alpha")?.unwrap_or(1.0))?;
                match rest.first() {
                    None => Ok(product),
                    Some(c) => {
                        let c = times(c, node.float("beta")?.unwrap_or(1.0))?;
                        Ok(fold::apply("Add", &[&product, &c])?.expect("Add is known"))
                    }
                }
            }
            _ => Err(Fault::new(
                format!("operator {}", show(op)),
                "an operator that is known",
                advice(op),
            )),
        }
    }

    /// A function of every row.
    fn map(
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
    fn keeps(&self, value: &Value, to: DataType) -> bool {
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

    fn pointwise(&mut self, node: &Node, operands: &[&Value]) -> Result<Value, Fault> {
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
    fn zip(&mut self, op: &str, a: &Rows, b: &Rows) -> Result<Value, Fault> {
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

    fn softmax(&mut self, node: &Node, value: &Value) -> Result<Value, Fault> {
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

    fn mat_mul(
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

    fn gemm(&mut self, node: &Node, operands: &[Option<Value>]) -> Result<Value, Fault> {
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

    fn reduce(
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

/// What an operator's refusal is made of: a fault here, or an error of a node inside.
pub enum Error {
    Fault(Fault),
    Inside(ReadError),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Error::Fault(fault)
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Error::Inside(error)
    }
}

impl Error {
    fn at(self, place: &str) -> ReadError {
        match self {
            Error::Fault(fault) => fault.at(place),
            Error::Inside(error) => error,
        }
    }
}

/// An operand that is read row by row.
enum Rows {
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

fn rows(value: &Value) -> Result<Rows, Fault> {
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

pub fn known(tensor: Tensor) -> Value {
    Value::Known(Rc::new(tensor))
}

/// A value's elements in another order.
fn moved(value: &Value, view: View) -> Value {
    match value {
        Value::Known(tensor) => known(match &**tensor {
            Tensor::Float(array) => Tensor::Float(view.of(&array.data)),
            Tensor::Int(array) => Tensor::Int(view.of(&array.data)),
            Tensor::Bool(array) => Tensor::Bool(view.of(&array.data)),
        }),
        Value::Ids(ids) => {
            let elements = view.of(&ids.elements.data);
            Value::Ids(Rc::new(ids.moved(elements)))
        }
        Value::Data(elements) => Value::Data(Rc::new(view.of(&elements.data))),
    }
}

/// The axes of a reduction, and whether they stay with size 1.
fn reduced(node: &Node, rank: usize, axes: Option<Vec<i64>>) -> Result<(Vec<usize>, bool), Fault> {
    node.only(&["axes", "keepdims", "noop_with_empty_axes"])?;
    let axes = match (node.ints("axes")?, axes) {
        (Some(axes), _) => axes.to_vec(),
        (None, Some(axes)) => axes,
        (None, None) => vec![],
    };
    let mut axes: Vec<usize> = axes
        .iter()
        .map(|&a| axis(a, rank))
        .collect::<Result<_, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    if axes.is_empty() && node.int("noop_with_empty_axes")?.unwrap_or(0) == 0 {
        axes = (0..rank).collect();
    }
    Ok((axes, node.int("keepdims")?.unwrap_or(1) != 0))
}

pub fn cast_to(node: &Node) -> Result<DataType, Fault> {
    let to = node.int("to")?.unwrap_or(0);
    i32::try_from(to)
        .ok()
        .and_then(|to| DataType::try_from(to).ok())
        .ok_or_else(|| Fault::new(format!("type {to}"), "a data type", AGAIN))
}

/// The activation that a node applies.
fn function(node: &Node, constants: &[Option<Rc<Tensor>>]) -> Result<Function, Fault> {
    let limit = |index: usize, name: &str, open: f32| -> Result<Real, Fault> {
        let value = match (constants.get(index), node.float(name)?) {
            (_, Some(value)) => value,
            (Some(Some(tensor)), None) => tensor.scalar()? as f32,
            _ if node
                .proto
                .input
                .get(index)
                .is_some_and(|name| !name.is_empty()) =>
            {
                return Err(Fault::new("limits that come in", "constants", AGAIN));
            }
            _ => open,
        };
        Ok(Real::new(value.clamp(f32::MIN, f32::MAX)))
    };
    match &*node.proto.op_type {
        "Tanh" => Ok(Function::Tanh),
        "Sigmoid" => Ok(Function::Sigmoid),
        "Relu" => Ok(Function::Relu),
        "HardSigmoid" => {
            node.only(&["alpha", "beta"])?;
            let (alpha, beta) = (
                node.float("alpha")?.unwrap_or(0.2),
                node.float("beta")?.unwrap_or(0.5),
            );
            Ok(Function::HardSigmoid(Real::new(alpha), Real::new(beta)))
        }
        _ => {
            node.only(&["min", "max"])?;
            Ok(Function::Clip(
                limit(1, "min", f32::MIN)?,
                limit(2, "max", f32::MAX)?,
            ))
        }
    }
}

/// What to do about an operator that no network here has.
pub fn advice(op: &str) -> &'static str {
    match op {
        "Where" | "Equal" | "Not" | "And" | "Or" | "Greater" | "Less" | "ReverseSequence"
        | "NonZero" | "Compress" => MASK,
        "LayerNormalization"
        | "BatchNormalization"
        | "InstanceNormalization"
        | "GroupNormalization" => {
            "train without normalization layers: the integer runtime has none"
        }
        "If" | "Scan" => {
            "export the model without control flow: fixed choices, and torch.jit.script left out"
        }
        "ReduceMax" | "GlobalMaxPool" | "MaxPool" => {
            "read the last step or the mean over the steps instead of the maximum"
        }
        "Conv" => "only recurrent and dense layers run on a board: train without convolutions",
        "ArgMax" | "TopK" => "export the logits and leave the choice to the board",
        _ => {
            "only recurrent and dense layers with tanh, relu or sigmoid run on a board: build the model of these"
        }
    }
}

/// Gives a name its value; a name has one.
pub fn define<'m>(scopes: &mut Scopes<'m>, name: &'m str, value: Value) -> Result<(), ReadError> {
    let scope = scopes.last_mut().expect("a graph has a scope");
    if name.is_empty() || scope.insert(name, value).is_some() {
        let found = if name.is_empty() {
            "no name"
        } else {
            "two definitions"
        };
        return Err(Fault::new(
            found,
            "one name, defined once",
            "the file is not valid ONNX: check it with onnx.checker",
        )
        .at(format!("value {}", show(name))));
    }
    Ok(())
}

/// The value of a name, from the innermost graph out.
pub fn lookup(scopes: &Scopes, name: &str) -> Option<Value> {
    scopes
        .iter()
        .rev()
        .find_map(|scope| scope.get(name).cloned())
}
