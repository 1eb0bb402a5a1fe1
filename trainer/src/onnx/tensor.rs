//! Constants of a graph: their shapes and values, checked.

use super::read::{ReadError, show};
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

const KEEP_INSIDE: &str = "save the model as one file with its weights inside, as 32-bit floats";

/// The values of a float constant of shape `shape`, all finite.
pub fn floats(proto: &TensorProto, shape: &[usize]) -> Result<Vec<f32>, ReadError> {
    let bytes = raw(proto, DataType::Float, shape, 4)?;
    let values: Vec<f32> = match bytes {
        Some(bytes) => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        None => proto.float_data.clone(),
    };
    count(proto, values.len(), shape)?;
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return Err(refuse(
            proto,
            format!("{} at position {at}", values[at]),
            "finite numbers".into(),
            "the training has diverged: train again with a lower learning rate",
        ));
    }
    Ok(values)
}

/// The values of an int64 constant of shape `shape`.
pub fn integers(proto: &TensorProto, shape: &[usize]) -> Result<Vec<i64>, ReadError> {
    let bytes = raw(proto, DataType::Int64, shape, 8)?;
    let values: Vec<i64> = match bytes {
        Some(bytes) => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| i64::from_le_bytes(*b))
            .collect(),
        None => proto.int64_data.clone(),
    };
    count(proto, values.len(), shape)?;
    Ok(values)
}

/// The shape of a constant: at most four dimensions, each at least 1.
pub fn shape(proto: &TensorProto) -> Result<Vec<usize>, ReadError> {
    let sizes: Option<Vec<usize>> = proto
        .dims
        .iter()
        .map(|&d| usize::try_from(d).ok().filter(|&d| d > 0))
        .collect();
    sizes.filter(|sizes| sizes.len() <= 4).ok_or_else(|| {
        let some: Vec<i64> = proto.dims.iter().copied().take(8).collect();
        let found = format!("{} dimensions, {some:?}", proto.dims.len());
        refuse(
            proto,
            found,
            "at most 4 dimensions, each at least 1".into(),
            "export the model again",
        )
    })
}

/// Checks type, shape and place of the data; the raw bytes, or none where the data is in the typed field.
fn raw<'a>(
    proto: &'a TensorProto,
    data_type: DataType,
    expected: &[usize],
    width: usize,
) -> Result<Option<&'a [u8]>, ReadError> {
    if proto.data_type != i32::from(data_type) {
        let found = match DataType::try_from(proto.data_type) {
            Ok(found) => found.as_str_name().to_lowercase(),
            Err(_) => format!("data type {}", proto.data_type),
        };
        let expected = data_type.as_str_name().to_lowercase();
        return Err(refuse(proto, found, expected, KEEP_INSIDE));
    }
    let outside = proto
        .data_location
        .is_some_and(|place| place != i32::from(DataLocation::Default));
    if outside || !proto.external_data.is_empty() {
        return Err(refuse(
            proto,
            "data in another file".into(),
            "data inside".into(),
            KEEP_INSIDE,
        ));
    }
    if proto.segment.is_some() {
        return Err(refuse(
            proto,
            "a part of a tensor".into(),
            "a whole tensor".into(),
            KEEP_INSIDE,
        ));
    }
    let found = shape(proto)?;
    if found != expected {
        return Err(refuse(
            proto,
            format!("shape {found:?}"),
            format!("shape {expected:?}"),
            "export the model again",
        ));
    }
    if proto.raw_data.is_empty() {
        return Ok(None);
    }
    if !proto.raw_data.len().is_multiple_of(width) {
        count(proto, usize::MAX, expected)?;
    }
    Ok(Some(&proto.raw_data))
}

/// Checks the number of values against the shape.
fn count(proto: &TensorProto, found: usize, shape: &[usize]) -> Result<(), ReadError> {
    let expected = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
    if expected == Some(found) {
        return Ok(());
    }
    let bytes = proto.raw_data.len();
    let found = if bytes > 0 {
        format!("{bytes} bytes")
    } else {
        format!("{found} values")
    };
    let expected = format!("the values of shape {shape:?}");
    Err(refuse(
        proto,
        found,
        expected,
        "the file is damaged or cut off: copy or export it again",
    ))
}

fn refuse(proto: &TensorProto, found: String, expected: String, advice: &str) -> ReadError {
    ReadError::refused(
        format!("tensor {}", show(&proto.name)),
        found,
        expected,
        advice,
    )
}
