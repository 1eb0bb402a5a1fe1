//! One node: its words in errors and its attributes.

use super::fault::{AGAIN, Fault, show};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, NodeProto};

/// A node and what is asked of it.
pub struct Node<'m> {
    pub proto: &'m NodeProto,
}

impl<'m> Node<'m> {
    /// Its words in errors: its name, or else that of its first result.
    pub fn place(&self) -> String {
        let op = show(&self.proto.op_type);
        match (
            &*self.proto.name,
            self.proto.output.iter().find(|name| !name.is_empty()),
        ) {
            ("", Some(output)) => format!("node of {} ({op})", show(output)),
            (name, _) => format!("node {} ({op})", show(name)),
        }
    }

    /// That every attribute is known and there once.
    pub fn only(&self, known: &[&str]) -> Result<(), Fault> {
        let list = &self.proto.attribute;
        for (index, attribute) in list.iter().enumerate() {
            if !known.contains(&&*attribute.name) || !attribute.ref_attr_name.is_empty() {
                let expected = if known.is_empty() {
                    "none".into()
                } else {
                    known.join(", ")
                };
                let found = format!("attribute {}", show(&attribute.name));
                return Err(Fault::new(found, expected, "export the model without it"));
            }
            if list[..index]
                .iter()
                .any(|before| before.name == attribute.name)
            {
                return Err(Fault::new(
                    format!("attribute {} twice", attribute.name),
                    "once",
                    AGAIN,
                ));
            }
        }
        Ok(())
    }

    pub fn get(
        &self,
        name: &str,
        kind: AttributeType,
    ) -> Result<Option<&'m AttributeProto>, Fault> {
        match self
            .proto
            .attribute
            .iter()
            .find(|attribute| attribute.name == name)
        {
            Some(attribute) if attribute.r#type != i32::from(kind) => {
                let found = format!("attribute {name} of type {}", attribute.r#type);
                Err(Fault::new(found, kind.as_str_name(), AGAIN))
            }
            found => Ok(found),
        }
    }

    pub fn int(&self, name: &str) -> Result<Option<i64>, Fault> {
        Ok(self
            .get(name, AttributeType::Int)?
            .map(|attribute| attribute.i))
    }

    pub fn float(&self, name: &str) -> Result<Option<f32>, Fault> {
        Ok(self
            .get(name, AttributeType::Float)?
            .map(|attribute| attribute.f))
    }

    pub fn ints(&self, name: &str) -> Result<Option<&'m [i64]>, Fault> {
        Ok(self
            .get(name, AttributeType::Ints)?
            .map(|attribute| &attribute.ints[..]))
    }

    pub fn floats(&self, name: &str) -> Result<Option<&'m [f32]>, Fault> {
        Ok(self
            .get(name, AttributeType::Floats)?
            .map(|attribute| &attribute.floats[..]))
    }

    pub fn string(&self, name: &str) -> Result<Option<&'m [u8]>, Fault> {
        Ok(self
            .get(name, AttributeType::String)?
            .map(|attribute| &attribute.s[..]))
    }

    pub fn strings(&self, name: &str) -> Result<Option<&'m [Vec<u8>]>, Fault> {
        Ok(self
            .get(name, AttributeType::Strings)?
            .map(|attribute| &attribute.strings[..]))
    }
}
