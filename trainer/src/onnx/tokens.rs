//! Tokens: what exporters compute from their ids, and how they become vectors.

use super::array::{Array, count};
use super::fault::{AGAIN, Fault, show};
use super::fold;
use super::graph::{MASK, Value, Walk, advice, cast_to};
use super::node::Node;
use super::symbol::{Element, Elements, Node as Formula};
use super::tensor::Tensor;
use crate::data::tokenizer::MAX_TOKENS;
use crate::network::Matrix;
use std::rc::Rc;
use tract_onnx::pb::tensor_proto::DataType;

/// The most operators on token ids: each is evaluated for every id.
const MAX_ID_OPERATORS: usize = 256;

/// Token ids, or what an exporter computes from each of them.
pub struct Ids {
    /// Which token each is.
    pub elements: Elements,
    /// What an id becomes, for each id of 0..=65535.
    values: Rc<Vec<f64>>,
}

impl Ids {
    /// The ids themselves.
    pub fn new(elements: Elements) -> Self {
        let values = Rc::new((0..=MAX_TOKENS).map(|id| id as f64).collect());
        Self { elements, values }
    }

    /// The same of other tokens.
    pub fn moved(&self, elements: Elements) -> Self {
        let values = self.values.clone();
        Self { elements, values }
    }

    /// That every one of `count` ids is what came in.
    fn untouched(&self, count: usize) -> Result<(), Fault> {
        let changed = (0..count).find(|&id| self.values.get(id) != Some(&(id as f64)));
        match changed {
            None => Ok(()),
            Some(id) => Err(Fault::new(
                format!(
                    "token ids that are changed first: {id} to {}",
                    self.values.get(id).unwrap_or(&f64::NAN)
                ),
                format!("the ids 0 to {} as they come in", count - 1),
                "leave the tokens' ids as they are",
            )),
        }
    }
}

enum Column<'v> {
    One(f64),
    Ids(&'v [f64]),
}

impl Walk<'_, '_> {
    /// An operator on token ids and constants: one of the ways to turn tokens into vectors, or arithmetic.
    pub fn on_ids(&mut self, node: &Node, operands: &[&Value]) -> Result<Value, Fault> {
        let op = &*node.proto.op_type;
        match (op, operands) {
            ("Gather", &[Value::Known(table), Value::Ids(ids)]) => {
                return self.embed(node, table, ids);
            }
            ("OneHot", &[Value::Ids(ids), Value::Known(depth), Value::Known(values)]) => {
                node.only(&["axis"])?;
                let rank = ids.elements.shape.len() as i64;
                let along = node.int("axis")?.unwrap_or(-1);
                let off_on = values.doubles().data;
                if along != -1 && along != rank || off_on != [0.0, 1.0] {
                    return Err(Fault::new(
                        format!("axis {along}, values {off_on:?}"),
                        "the last axis, values [0, 1]",
                        AGAIN,
                    ));
                }
                return self.one_hot(ids, depth.scalar()?);
            }
            ("Equal", &[Value::Ids(ids), Value::Known(table)])
            | ("Equal", &[Value::Known(table), Value::Ids(ids)])
                if table.shape().last().is_some_and(|&count| count > 1) =>
            {
                let numbers = table.doubles().data;
                let counts = numbers.iter().enumerate().all(|(i, &x)| x == i as f64);
                if !counts || ids.elements.shape.last() != Some(&1) {
                    return Err(Fault::new(
                        "a comparison of tokens with a table",
                        "the table 0, 1, 2, ...",
                        AGAIN,
                    ));
                }
                let shape = &ids.elements.shape;
                let narrow = Array {
                    shape: shape[..shape.len() - 1].to_vec(),
                    data: ids.elements.data.clone(),
                };
                let narrow = Ids {
                    elements: narrow,
                    values: ids.values.clone(),
                };
                return self.one_hot(&narrow, numbers.len() as f64);
            }
            ("Cast", &[Value::Ids(ids)]) => {
                let to = cast_to(node)?;
                let whole = matches!(
                    to,
                    DataType::Int32 | DataType::Int64 | DataType::Int16 | DataType::Uint8
                );
                let value = |&x: &f64| match to {
                    _ if whole => x.trunc(),
                    DataType::Bool => f64::from(u8::from(x != 0.0)),
                    _ => x,
                };
                return self.mapped(ids, ids.values.iter().map(value).collect());
            }
            _ => {}
        }
        let zeros = vec![0.0; operands.len()];
        let ids: Vec<&Rc<Ids>> = operands
            .iter()
            .filter_map(|v| {
                if let Value::Ids(ids) = v {
                    Some(ids)
                } else {
                    None
                }
            })
            .collect();
        if fold::elementwise(op, &zeros).is_none() {
            return Err(Fault::new(
                format!("operator {} on the tokens", show(op)),
                "Gather or OneHot",
                advice(op),
            ));
        }
        let mut columns = Vec::new();
        for operand in operands {
            columns.push(match operand {
                Value::Known(tensor) => Column::One(
                    tensor
                        .scalar()
                        .map_err(|_| Fault::new("a table beside tokens", "one number", MASK))?,
                ),
                Value::Ids(other) if other.elements == ids[0].elements => {
                    Column::Ids(&other.values)
                }
                _ => {
                    return Err(Fault::new(
                        "different tokens in one place",
                        "each token by itself",
                        AGAIN,
                    ));
                }
            });
        }
        let mut row = zeros;
        let integer = op == "Div";
        let values = (0..=MAX_TOKENS).map(|id| {
            row.iter_mut().zip(&columns).for_each(|(value, column)| {
                *value = match column {
                    Column::One(x) => *x,
                    Column::Ids(values) => values[id],
                }
            });
            let result = fold::elementwise(op, &row).expect("checked above");
            if integer { result.trunc() } else { result }
        });
        let values = values.collect();
        self.mapped(ids[0], values)
    }

    fn mapped(&mut self, ids: &Ids, values: Vec<f64>) -> Result<Value, Fault> {
        self.id_operators += 1;
        if self.id_operators > MAX_ID_OPERATORS {
            return Err(Fault::new(
                format!("more than {MAX_ID_OPERATORS} operators on token ids"),
                "fewer",
                AGAIN,
            ));
        }
        Ok(Value::Ids(Rc::new(Ids {
            elements: ids.elements.clone(),
            values: Rc::new(values),
        })))
    }

    fn embed(&mut self, node: &Node, table: &Rc<Tensor>, ids: &Ids) -> Result<Value, Fault> {
        let &[count, width] = table.shape() else {
            return Err(Fault::new(
                format!("a table of shape {:?}", table.shape()),
                "[tokens, width]",
                MASK,
            ));
        };
        if node.int("axis")?.unwrap_or(0) != 0 || count == 0 || count > MAX_TOKENS {
            return Err(Fault::new(
                format!("a table of shape {:?}", table.shape()),
                "1 to 65535 tokens, along axis 0",
                AGAIN,
            ));
        }
        ids.untouched(count)?;
        let matrix = Matrix::new(count, width, table.floats()?.data.clone());
        // A table that is 1 on its diagonal is a one-hot.
        let unit = |row: usize| {
            matrix
                .row(row)
                .iter()
                .enumerate()
                .all(|(i, &x)| x == f32::from(u8::from(i == row)))
        };
        if count == width && (0..count).all(unit) {
            return self.one_hot(ids, count as f64);
        }
        let table = self.symbols.add_matrix(matrix)?;
        self.tokens(ids, width, |token| Formula::Embedded { table, token })
    }

    fn one_hot(&mut self, ids: &Ids, depth: f64) -> Result<Value, Fault> {
        if !(1.0..=MAX_TOKENS as f64).contains(&depth) || depth.fract() != 0.0 {
            return Err(Fault::new(
                format!("depth {depth}"),
                format!("1 to {MAX_TOKENS}"),
                AGAIN,
            ));
        }
        ids.untouched(depth as usize)?;
        let count = depth as u32;
        self.tokens(ids, count as usize, |token| Formula::OneHot {
            count,
            token,
        })
    }

    /// A vector for each token.
    fn tokens(
        &mut self,
        ids: &Ids,
        width: usize,
        formula: impl Fn(u32) -> Formula,
    ) -> Result<Value, Fault> {
        let shape = [&ids.elements.shape[..], &[width]].concat();
        let mut data = Vec::with_capacity(count(&shape)?);
        for element in &ids.elements.data {
            let id = self.symbols.intern(formula(element.node))?;
            data.extend(self.symbols.whole(id).elements());
        }
        Ok(Value::Data(Rc::new(Array { shape, data })))
    }

    /// Floats that come in and are used as whole numbers, as Keras has tokens where nothing else is said.
    pub fn as_tokens(&mut self, value: &Value, to: DataType) -> Result<Value, Fault> {
        let refused = || {
            let found = format!(
                "a cast of {} to {}",
                value.describe(),
                to.as_str_name().to_lowercase()
            );
            Fault::new(found, "a cast of tokens as they come in", MASK)
        };
        let Value::Data(elements) = value else {
            return Err(refused());
        };
        if !matches!(to, DataType::Int32 | DataType::Int64) {
            return Err(refused());
        }
        let mut data = Vec::with_capacity(elements.data.len());
        for element in &elements.data {
            let &Formula::Input { port, batch, .. } = self.symbols.node(element.node) else {
                return Err(refused());
            };
            let position = element.index;
            let node = self.symbols.intern(Formula::Token {
                port,
                batch,
                position,
            })?;
            data.push(Element { node, index: 0 });
        }
        let shape = elements.shape.clone();
        Ok(Value::Ids(Rc::new(Ids::new(Array { shape, data }))))
    }
}
