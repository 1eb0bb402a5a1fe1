//! Walks a graph node by node and says what every value in it *means*.
//!
//! Each name gets a [`Value`]; each operator has one function that knows which meanings it takes and gives.
//! A graph is understood when its outputs are the logits and the last states. Nothing is guessed from names.

use super::interface::{Size, declared};
use super::node::Node;
use super::read::{AGAIN, ReadError, show};
use super::tensor;
use super::value::{Axes, Value, Vectors};
use crate::network::{Activations, Dense, Gru, Layer, Matrix};
use std::collections::HashMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ValueInfoProto};

/// The weights of a network.
pub struct Body {
    pub embedding: Option<Matrix>,
    pub layers: Vec<Layer>,
    pub head: Dense,
}

/// Understands `graph`, or says which node stands in the way.
pub fn walk(graph: &GraphProto) -> Result<Body, ReadError> {
    let mut walk = Walk::default();
    walk.constants(graph)?;
    walk.inputs(graph)?;
    for node in &graph.node {
        walk.node(&Node { proto: node })?;
    }
    walk.outputs(graph)
}

#[derive(Default)]
struct Walk<'m> {
    values: HashMap<&'m str, Value<'m>>,
    /// Token count V and the table, once the tokens became vectors.
    first: Option<(usize, Option<Matrix>)>,
    layers: Vec<Layer>,
    /// `[V][H]`
    weight: Option<Matrix>,
    bias: Option<Vec<f32>>,
}

impl<'m> Walk<'m> {
    /// Gives a name its meaning; a name has one.
    fn define(&mut self, name: &'m str, value: Value<'m>) -> Result<(), ReadError> {
        if name.is_empty() || self.values.insert(name, value).is_some() {
            return Err(ReadError::refused(
                format!("value {}", show(name)),
                if name.is_empty() {
                    "no name"
                } else {
                    "two definitions"
                },
                "one name, defined once",
                "the file is not valid ONNX: check it with onnx.checker",
            ));
        }
        Ok(())
    }

    fn constants(&mut self, graph: &'m GraphProto) -> Result<(), ReadError> {
        if !graph.sparse_initializer.is_empty() || !graph.quantization_annotation.is_empty() {
            return Err(ReadError::refused(
                "graph",
                "sparse or quantized tensors",
                "dense floats",
                AGAIN,
            ));
        }
        graph
            .initializer
            .iter()
            .try_for_each(|tensor| self.define(&tensor.name, Value::Constant(tensor)))
    }

    /// The tokens, then one state per layer.
    fn inputs(&mut self, graph: &'m GraphProto) -> Result<(), ReadError> {
        let (tokens, states) = graph.input.split_first().ok_or_else(|| {
            ReadError::refused(
                "graph",
                "no inputs",
                "the tokens and a state per layer",
                AGAIN,
            )
        })?;
        declared(tokens, "input", DataType::Int64, &[Size::Is(1), Size::Open])?;
        self.define(&tokens.name, Value::Tokens)?;
        for (layer, state) in states.iter().enumerate() {
            let sizes = declared(
                state,
                "input",
                DataType::Float,
                &[Size::Is(1), Size::Is(1), Size::Fixed],
            )?;
            let units = sizes[2];
            self.define(&state.name, Value::InitialState { layer, units })?;
        }
        Ok(())
    }

    fn node(&mut self, node: &Node<'m>) -> Result<(), ReadError> {
        if !matches!(&*node.proto.domain, "" | "ai.onnx") {
            return Err(node.refused(
                format!("domain {}", show(&node.proto.domain)),
                "the standard domain",
                AGAIN,
            ));
        }
        match &*node.proto.op_type {
            "OneHot" => self.one_hot(node),
            "Gather" => self.gather(node),
            "Transpose" => self.transpose(node),
            "GRU" => self.gru(node),
            "Squeeze" => self.squeeze(node),
            "MatMul" => self.mat_mul(node),
            "Add" => self.add(node),
            other => Err(node.refused(
                format!("operator {}", show(other)),
                "one of OneHot, Gather, Transpose, GRU, Squeeze, MatMul, Add",
                AGAIN,
            )),
        }
    }

    /// `OneHot(tokens, V, [0, 1])`: `[1, T, V]`
    fn one_hot(&mut self, node: &Node<'m>) -> Result<(), ReadError> {
        let [tokens, depth, values] = self.operands(node)?;
        self.tokens(node, tokens)?;
        let depth = node.constant(depth)?;
        // The depth may be a scalar or a list of one.
        let shape: &[usize] = if depth.dims.is_empty() { &[] } else { &[1] };
        let depth = tensor::integers(depth, shape)?[0];
        let off_on = tensor::floats(node.constant(values)?, &[2])?;
        if off_on != [0.0, 1.0] {
            return Err(node.refused(format!("values {off_on:?}"), "[0, 1]", AGAIN));
        }
        let width = usize::try_from(depth)
            .ok()
            .filter(|&depth| depth > 0)
            .ok_or_else(|| node.refused(format!("depth {depth}"), "at least 1", AGAIN))?;
        let attributes = node.attributes(&["axis"])?;
        if !matches!(attributes.int("axis")?, None | Some(-1 | 2)) {
            return Err(node.refused("another axis", "the last axis", AGAIN));
        }
        self.first = Some((width, None));
        self.features(node, 0, width, Axes::BatchFirst)
    }

    /// `Gather(embedding, tokens)`: `[1, T, E]`
    fn gather(&mut self, node: &Node<'m>) -> Result<(), ReadError> {
        let [table, tokens] = self.operands(node)?;
        self.tokens(node, tokens)?;
        let table = node.matrix(table, "[tokens, width]")?;
        let attributes = node.attributes(&["axis"])?;
        if !matches!(attributes.int("axis")?, None | Some(0)) {
            return Err(node.refused("another axis", "axis 0", AGAIN));
        }
        let width = table.columns;
        self.first = Some((table.rows, Some(table)));
        self.features(node, 0, width, Axes::BatchFirst)
    }

    /// `[1, T, width]` to `[T, 1, width]` or back.
    fn transpose(&mut self, node: &Node<'m>) -> Result<(), ReadError> {
        let [x] = self.operands(node)?;
        let perm = node.attributes(&["perm"])?.ints("perm")?;
        if perm != Some(&[1, 0, 2]) {
            return Err(node.refused(format!("perm {perm:?}"), "perm [1, 0, 2]", AGAIN));
        }
        let (vectors, axes) = match x {
            Value::Sequence {
                vectors,
                axes: Axes::BatchFirst,
            } => (vectors, Axes::TimeFirst),
            Value::Sequence {
                vectors,
                axes: Axes::TimeFirst,
            } => (vectors, Axes::BatchFirst),
            other => return Err(node.refused(other, "a sequence with three dimensions", AGAIN)),
        };
        self.result(node, &[Value::Sequence { vectors, axes }])
    }

    /// `GRU(x, W, R, B, "", h0)`: `[T, 1, 1, H]` and the last state.
    fn gru(&mut self, node: &Node<'m>) -> Result<(), ReadError> {
        let layer = self.layers.len();
        let [x, w, r, b, lengths, h0] = self.optional_operands(node)?;
        let inputs = match x {
            Some(Value::Sequence {
                vectors: Vectors::Features { layers, width },
                axes: Axes::TimeFirst,
            }) if layers == layer => width,
            other => {
                let expected = format!("the input of layer {layer} as [T, 1, width]");
                return Err(node.refused(or_nothing(other), expected, AGAIN));
            }
        };
        let units = match h0 {
            Some(Value::InitialState { layer: of, units }) if of == layer => units,
            other => {
                let expected = format!("the initial state of layer {layer}");
                return Err(node.refused(
                    or_nothing(other),
                    expected,
                    "make the states inputs, in the layers' order",
                ));
            }
        };
        if let Some(lengths) = lengths {
            return Err(node.refused(
                format!("sequence_lens {lengths}"),
                "nothing",
                "export without lengths",
            ));
        }
        let linear_before_reset = gru_attributes(node, units)?;
        let gates = units
            .checked_mul(3)
            .filter(|gates| gates.checked_mul(2).is_some())
            .ok_or_else(|| node.refused(format!("{units} units"), "fewer", AGAIN))?;
        let constant = |value: Option<Value<'m>>, what: &str| match value {
            Some(value) => node.constant(value),
            None => Err(node.refused(
                format!("no {what}"),
                "weights W, R and biases B",
                "export with biases",
            )),
        };
        let w = tensor::floats(constant(w, "W")?, &[1, gates, inputs])?;
        let r = tensor::floats(constant(r, "R")?, &[1, gates, units])?;
        let mut wb = tensor::floats(constant(b, "B")?, &[1, 2 * gates])?;
        let rb = wb.split_off(gates);
        self.layers.push(Layer::Gru(Gru {
            w: Matrix::new(gates, inputs, w),
            r: Matrix::new(gates, units, r),
            wb,
            rb,
            linear_before_reset,
            activations: Activations::default(),
        }));
        let vectors = Vectors::Features {
            layers: layer + 1,
            width: units,
        };
        let y = Value::Sequence {
            vectors,
            axes: Axes::WithDirection,
        };
        self.result(node, &[y, Value::FinalState { layer }])
    }

    /// `[T, 1, 1, width]` to `[T, 1, width]`, by dropping the direction.
    fn squeeze(&mut self, node: &Node<'m>) -> Result<(), ReadError> {
        let [x, axes] = self.operands(node)?;
        node.attributes(&[])?;
        let axes = tensor::integers(node.constant(axes)?, &[1])?;
        match x {
            Value::Sequence {
                vectors,
                axes: Axes::WithDirection,
            } if axes == [1] => self.result(
                node,
                &[Value::Sequence {
                    vectors,
                    axes: Axes::TimeFirst,
                }],
            ),
            other => Err(node.refused(
                format!("{other}, axes {axes:?}"),
                "the output of a GRU, axes [1]",
                AGAIN,
            )),
        }
    }

    /// `MatMul(features, [H][V])`: `[1, T, V]`
    fn mat_mul(&mut self, node: &Node<'m>) -> Result<(), ReadError> {
        let [x, weight] = self.operands(node)?;
        node.attributes(&[])?;
        let depth = self.layers.len();
        let width = match x {
            Value::Sequence {
                vectors: Vectors::Features { layers, width },
                axes: Axes::BatchFirst,
            } if layers == depth && depth > 0 => width,
            other => {
                return Err(node.refused(
                    other,
                    "the output of the last layer as [1, T, width]",
                    AGAIN,
                ));
            }
        };
        let columns = node.matrix(weight, "[units, tokens]")?;
        if columns.rows != width {
            let found = format!("weights of {} rows", columns.rows);
            return Err(node.refused(
                found,
                format!("{width}, one per unit of the last layer"),
                AGAIN,
            ));
        }
        if self.weight.is_some() {
            return Err(node.refused("a second head", "one MatMul", AGAIN));
        }
        let tokens = columns.columns;
        let rows = (0..tokens).flat_map(|v| (0..width).map(move |h| (v, h)));
        let data = rows.map(|(v, h)| columns.data[h * tokens + v]).collect();
        self.weight = Some(Matrix::new(tokens, width, data));
        self.result(
            node,
            &[Value::Sequence {
                vectors: Vectors::Product,
                axes: Axes::BatchFirst,
            }],
        )
    }

    /// `Add(product, [V])`: `[1, T, V]`; the bias may stand first.
    fn add(&mut self, node: &Node<'m>) -> Result<(), ReadError> {
        let [a, b] = self.operands(node)?;
        node.attributes(&[])?;
        const PRODUCT: Value = Value::Sequence {
            vectors: Vectors::Product,
            axes: Axes::BatchFirst,
        };
        let is_product = |v: &Value| {
            matches!(
                v,
                Value::Sequence {
                    vectors: Vectors::Product,
                    axes: Axes::BatchFirst
                }
            )
        };
        let bias = match (a, b) {
            (product, bias @ Value::Constant(_)) | (bias @ Value::Constant(_), product)
                if is_product(&product) =>
            {
                bias
            }
            (a, b) => {
                return Err(node.refused(
                    format!("{a} and {b}"),
                    format!("{PRODUCT} and a constant"),
                    AGAIN,
                ));
            }
        };
        let tokens = self.weight.as_ref().map_or(0, |weight| weight.rows);
        if self.bias.is_some() {
            return Err(node.refused("a second bias of the head", "one Add", AGAIN));
        }
        self.bias = Some(tensor::floats(node.constant(bias)?, &[tokens])?);
        self.result(
            node,
            &[Value::Sequence {
                vectors: Vectors::Logits,
                axes: Axes::BatchFirst,
            }],
        )
    }

    /// The logits, then the last state of every layer.
    fn outputs(self, graph: &'m GraphProto) -> Result<Body, ReadError> {
        let states = self.layers.len();
        let found = (graph.input.len(), graph.output.len());
        if found != (states + 1, states + 1) {
            let found = format!("{} inputs and {} outputs", found.0, found.1);
            let expected = format!(
                "{} each: tokens or logits, and the state of every layer",
                states + 1
            );
            return Err(ReadError::refused("graph", found, expected, AGAIN));
        }
        let (logits, states) = graph
            .output
            .split_first()
            .expect("there is one more than states");
        match self.values.get(&*logits.name) {
            Some(Value::Sequence {
                vectors: Vectors::Logits,
                axes: Axes::BatchFirst,
            }) => {}
            other => {
                return Err(refused_output(
                    logits,
                    other,
                    "the logits as [1, T, width]".into(),
                ));
            }
        }
        for (index, (state, layer)) in states.iter().zip(&self.layers).enumerate() {
            match self.values.get(&*state.name) {
                Some(Value::FinalState { layer }) if *layer == index => {}
                other => {
                    return Err(refused_output(
                        state,
                        other,
                        format!("the last state of layer {index}"),
                    ));
                }
            }
            let shape = [Size::Is(1), Size::Is(1), Size::Is(layer.hidden())];
            declared(state, "output", DataType::Float, &shape)?;
        }
        // Where there are logits, there are all three.
        let (Some((tokens, embedding)), Some(w), Some(b)) = (self.first, self.weight, self.bias)
        else {
            return Err(ReadError::refused(
                "graph",
                "no head",
                "MatMul and Add",
                AGAIN,
            ));
        };
        if w.rows != tokens {
            let expected = format!("{tokens}, as many as the input has");
            let place = format!("output {}", show(&logits.name));
            return Err(ReadError::refused(
                place,
                format!("{} tokens", w.rows),
                expected,
                AGAIN,
            ));
        }
        declared(
            logits,
            "output",
            DataType::Float,
            &[Size::Is(1), Size::Open, Size::Is(tokens)],
        )?;
        Ok(Body {
            embedding,
            layers: self.layers,
            head: Dense::linear(w, b),
        })
    }

    /// The node's `N` inputs, all there.
    fn operands<const N: usize>(&self, node: &Node<'m>) -> Result<[Value<'m>; N], ReadError> {
        let present: Vec<Value> = self
            .optional_operands::<N>(node)?
            .into_iter()
            .flatten()
            .collect();
        present.try_into().map_err(|present: Vec<Value>| {
            node.refused(format!("{} inputs", present.len()), format!("{N}"), AGAIN)
        })
    }

    /// The node's inputs, at most `N`: a missing one has no name or is not listed.
    fn optional_operands<const N: usize>(
        &self,
        node: &Node<'m>,
    ) -> Result<[Option<Value<'m>>; N], ReadError> {
        let names = &node.proto.input;
        if names.len() > N {
            return Err(node.refused(
                format!("{} inputs", names.len()),
                format!("at most {N}"),
                AGAIN,
            ));
        }
        let mut operands = [None; N];
        for (operand, name) in operands.iter_mut().zip(names) {
            if !name.is_empty() {
                let value = self.values.get(&**name).copied();
                let found = || {
                    node.refused(
                        format!("input {}", show(name)),
                        "a value defined before this node",
                        AGAIN,
                    )
                };
                *operand = Some(value.ok_or_else(found)?);
            }
        }
        Ok(operands)
    }

    /// That `value` is the tokens, and that they become vectors once.
    fn tokens(&self, node: &Node, value: Value) -> Result<(), ReadError> {
        match value {
            Value::Tokens if self.first.is_none() => Ok(()),
            Value::Tokens => {
                Err(node.refused("a second use of the tokens", "one OneHot or Gather", AGAIN))
            }
            other => Err(node.refused(other, "the tokens [1, T]", AGAIN)),
        }
    }

    fn features(
        &mut self,
        node: &Node<'m>,
        layers: usize,
        width: usize,
        axes: Axes,
    ) -> Result<(), ReadError> {
        self.result(
            node,
            &[Value::Sequence {
                vectors: Vectors::Features { layers, width },
                axes,
            }],
        )
    }

    /// Names the node's results; one that nobody needs may have no name.
    fn result(&mut self, node: &Node<'m>, values: &[Value<'m>]) -> Result<(), ReadError> {
        let names = &node.proto.output;
        if names.is_empty() || names.len() > values.len() {
            return Err(node.refused(
                format!("{} outputs", names.len()),
                format!("1 to {}", values.len()),
                AGAIN,
            ));
        }
        for (name, value) in names.iter().zip(values) {
            if !name.is_empty() {
                self.define(name, *value)?;
            }
        }
        Ok(())
    }
}

fn refused_output(output: &ValueInfoProto, found: Option<&Value>, expected: String) -> ReadError {
    ReadError::refused(
        format!("output {}", show(&output.name)),
        or_nothing(found.copied()),
        expected,
        AGAIN,
    )
}

fn or_nothing(value: Option<Value>) -> String {
    value.map_or("nothing".into(), |value| value.to_string())
}

/// What changes a GRU's equations must be absent or as usual. Gives `linear_before_reset`.
fn gru_attributes(node: &Node, units: usize) -> Result<bool, ReadError> {
    let attributes = node.attributes(&[
        "hidden_size",
        "linear_before_reset",
        "direction",
        "layout",
        "activations",
    ])?;
    if let Some(found) = attributes.int("hidden_size")?
        && usize::try_from(found) != Ok(units)
    {
        return Err(node.refused(
            format!("hidden_size {found}"),
            format!("{units}, as the initial state"),
            AGAIN,
        ));
    }
    if let Some(direction) = attributes.string("direction")?
        && direction != b"forward"
    {
        let found = format!("direction {}", show(&String::from_utf8_lossy(direction)));
        return Err(node.refused(
            found,
            "forward",
            "train a network that reads from left to right",
        ));
    }
    if let Some(layout) = attributes.int("layout")?
        && layout != 0
    {
        return Err(node.refused(format!("layout {layout}"), "layout 0", AGAIN));
    }
    if let Some(activations) = attributes.strings("activations")?
        && activations != [&b"Sigmoid"[..], b"Tanh"]
    {
        return Err(node.refused(
            "other activations",
            "Sigmoid, Tanh",
            "train with the usual activations",
        ));
    }
    match attributes.int("linear_before_reset")? {
        None | Some(0) => Ok(false),
        Some(1) => Ok(true),
        Some(other) => Err(node.refused(format!("linear_before_reset {other}"), "0 or 1", AGAIN)),
    }
}
