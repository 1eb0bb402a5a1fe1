//! The declared types and shapes of a graph's inputs and outputs.

use super::read::{AGAIN, ReadError, show};
use std::fmt;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{ValueInfoProto, type_proto};

/// What is expected of one dimension of an input or output.
#[derive(Clone, Copy)]
pub enum Size {
    /// This number.
    Is(usize),
    /// Some number, at least 1.
    Fixed,
    /// Open, such as the number of tokens `T`.
    Open,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Size::Is(size) => write!(f, "{size}"),
            Size::Fixed => write!(f, "a number"),
            Size::Open => write!(f, "T"),
        }
    }
}

/// Checks the declared type and shape of an input or output. Gives the sizes, 0 for an open one.
pub fn declared(
    value: &ValueInfoProto,
    kind: &str,
    data_type: DataType,
    expected: &[Size],
) -> Result<Vec<usize>, ReadError> {
    let refused = |found: String| {
        let sizes: Vec<String> = expected.iter().map(Size::to_string).collect();
        let expected = format!(
            "{} [{}]",
            data_type.as_str_name().to_lowercase(),
            sizes.join(", ")
        );
        ReadError::refused(
            format!("{kind} {}", show(&value.name)),
            found,
            expected,
            AGAIN,
        )
    };
    let tensor = match value.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor,
        None => return Err(refused("no tensor type".into())),
    };
    if tensor.elem_type != i32::from(data_type) {
        return Err(refused(format!("element type {}", tensor.elem_type)));
    }
    let found: Vec<Option<i64>> = tensor
        .shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(fixed_size)
        .collect();
    let matched: Option<Vec<usize>> = found
        .iter()
        .zip(expected)
        .map(
            |(found, expected)| match (found.map(usize::try_from), expected) {
                (Some(Ok(found)), Size::Is(size)) => (found == *size).then_some(found),
                (Some(Ok(found)), Size::Fixed) => (found > 0).then_some(found),
                (None, Size::Open) => Some(0),
                _ => None,
            },
        )
        .collect();
    matched
        .filter(|_| found.len() == expected.len())
        .ok_or_else(|| {
            let some: Vec<String> = found
                .iter()
                .take(8)
                .map(|d| d.map_or("open".into(), |d| d.to_string()))
                .collect();
            refused(format!("{} dimensions, [{}]", found.len(), some.join(", ")))
        })
}

/// The size of a dimension, or none where it is open.
fn fixed_size(dim: &Dimension) -> Option<i64> {
    match dim.value {
        Some(dimension::Value::DimValue(size)) => Some(size),
        Some(dimension::Value::DimParam(_)) | None => None,
    }
}
