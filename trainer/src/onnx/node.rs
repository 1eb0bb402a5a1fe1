//! One node: its words in errors, its constants, its attributes.

use super::read::{AGAIN, ReadError, show};
use super::tensor;
use super::value::Value;
use crate::network::Matrix;
use std::fmt;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

/// A node and its words in errors.
pub struct Node<'m> {
    pub proto: &'m NodeProto,
}

impl<'m> Node<'m> {
    pub fn refused(
        &self,
        found: impl fmt::Display,
        expected: impl Into<String>,
        advice: &str,
    ) -> ReadError {
        let place = format!(
            "node {} ({})",
            show(&self.proto.name),
            show(&self.proto.op_type)
        );
        ReadError::refused(place, found.to_string(), expected, advice)
    }

    pub fn constant(&self, value: Value<'m>) -> Result<&'m TensorProto, ReadError> {
        match value {
            Value::Constant(tensor) => Ok(tensor),
            other => {
                Err(self.refused(other, "a constant", "weights must be constants of the file"))
            }
        }
    }

    /// A float constant of two dimensions.
    pub fn matrix(&self, value: Value<'m>, expected: &str) -> Result<Matrix, ReadError> {
        let proto = self.constant(value)?;
        match tensor::shape(proto)?[..] {
            [rows, columns] => Ok(Matrix::new(
                rows,
                columns,
                tensor::floats(proto, &[rows, columns])?,
            )),
            ref shape => Err(self.refused(format!("weights of shape {shape:?}"), expected, AGAIN)),
        }
    }

    /// The attributes, each known and there once.
    pub fn attributes(&self, known: &[&str]) -> Result<Attributes<'_, 'm>, ReadError> {
        let list = &self.proto.attribute;
        for (index, attribute) in list.iter().enumerate() {
            if !known.contains(&&*attribute.name) || !attribute.ref_attr_name.is_empty() {
                let expected = if known.is_empty() {
                    "none".into()
                } else {
                    known.join(", ")
                };
                let found = format!("attribute {}", show(&attribute.name));
                return Err(self.refused(found, expected, "export the model without it"));
            }
            if list[..index]
                .iter()
                .any(|before| before.name == attribute.name)
            {
                return Err(self.refused(
                    format!("attribute {} twice", attribute.name),
                    "once",
                    AGAIN,
                ));
            }
        }
        Ok(Attributes { node: self })
    }
}

pub struct Attributes<'n, 'm> {
    node: &'n Node<'m>,
}

impl<'m> Attributes<'_, 'm> {
    fn get(
        &self,
        name: &str,
        kind: AttributeType,
    ) -> Result<Option<&'m AttributeProto>, ReadError> {
        match self
            .node
            .proto
            .attribute
            .iter()
            .find(|attribute| attribute.name == name)
        {
            Some(attribute) if attribute.r#type != i32::from(kind) => {
                let found = format!("attribute {name} of type {}", attribute.r#type);
                Err(self.node.refused(found, kind.as_str_name(), AGAIN))
            }
            found => Ok(found),
        }
    }

    pub fn int(&self, name: &str) -> Result<Option<i64>, ReadError> {
        Ok(self
            .get(name, AttributeType::Int)?
            .map(|attribute| attribute.i))
    }

    pub fn ints(&self, name: &str) -> Result<Option<&'m [i64]>, ReadError> {
        Ok(self
            .get(name, AttributeType::Ints)?
            .map(|attribute| &attribute.ints[..]))
    }

    pub fn string(&self, name: &str) -> Result<Option<&'m [u8]>, ReadError> {
        Ok(self
            .get(name, AttributeType::String)?
            .map(|attribute| &attribute.s[..]))
    }

    pub fn strings(&self, name: &str) -> Result<Option<&'m [Vec<u8>]>, ReadError> {
        Ok(self
            .get(name, AttributeType::Strings)?
            .map(|attribute| &attribute.strings[..]))
    }
}
