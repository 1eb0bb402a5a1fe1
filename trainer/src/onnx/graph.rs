//! Walks a graph node by node and keeps, for every value, what is known of it.
//!
//! Constants are folded. Everything else is arrays of [`Element`](super::symbol::Element)s: an operator that moves elements
//! moves them, one that computes makes formulas of them. Nothing is guessed from names, and an operator that is not
//! understood is refused.

use super::arithmetic::rows;
use super::array::{Array, View, axis, concat, count};
use super::fault::{AGAIN, Fault, show};
use super::fold;
use super::layout;
use super::node::Node;
use super::read::ReadError;
use super::symbol::{Elements, Function, MatrixId, Node as Formula, Real, Symbols};
use super::tensor::{Source, Tensor};
use super::tokens::Ids;
use std::collections::HashMap;
use std::rc::Rc;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto};

/// The most elements that all results may have together; those of formulas count twice.
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
    pub matrices: HashMap<(*const Tensor, bool), (Rc<Tensor>, MatrixId)>,
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
                self.source.decode(proto)?
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
                    Some(proto) => self.source.decode(proto)?,
                    None => Tensor::Float(Array {
                        shape: vec![1],
                        data: vec![0.0],
                    }),
                };
                let one = value.scalar()?;
                Ok(match value {
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

pub fn known(tensor: Tensor) -> Value {
    Value::Known(Rc::new(tensor))
}

/// A value's elements in another order.
pub fn moved(value: &Value, view: View) -> Value {
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
pub fn reduced(
    node: &Node,
    rank: usize,
    axes: Option<Vec<i64>>,
) -> Result<(Vec<usize>, bool), Fault> {
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
