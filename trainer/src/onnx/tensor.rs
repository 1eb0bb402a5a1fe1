//! Known numbers of a graph: read from the file, checked.

use super::array::{Array, count};
use super::fault::{AGAIN, Fault, show};
use super::limits::MAX_FILE_BYTES;
use super::read::ReadError;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};

/// Known numbers. Integers of every width are `i64`, floats of every width `f32`: a graph's own arithmetic on constants is
/// about shapes and weights, and its token ids fit both.
#[derive(Clone, Debug, PartialEq)]
pub enum Tensor {
    Float(Array<f32>),
    Int(Array<i64>),
    Bool(Array<bool>),
}

impl Tensor {
    pub fn shape(&self) -> &[usize] {
        match self {
            Tensor::Float(a) => &a.shape,
            Tensor::Int(a) => &a.shape,
            Tensor::Bool(a) => &a.shape,
        }
    }

    pub fn floats(&self) -> Result<&Array<f32>, Fault> {
        match self {
            Tensor::Float(array) => Ok(array),
            _ => Err(Fault::new("integers", "floats", AGAIN)),
        }
    }

    pub fn integers(&self) -> Result<&Array<i64>, Fault> {
        match self {
            Tensor::Int(array) => Ok(array),
            _ => Err(Fault::new("floats", "integers", AGAIN)),
        }
    }

    /// Every value as a double: integers of up to 53 bits and floats are exact.
    pub fn doubles(&self) -> Array<f64> {
        let (shape, data) = match self {
            Tensor::Float(a) => (&a.shape, a.data.iter().map(|&x| x.into()).collect()),
            Tensor::Int(a) => (&a.shape, a.data.iter().map(|&x| x as f64).collect()),
            Tensor::Bool(a) => (&a.shape, a.data.iter().map(|&x| x.into()).collect()),
        };
        Array {
            shape: shape.clone(),
            data,
        }
    }

    /// The only value of an array of one.
    pub fn scalar(&self) -> Result<f64, Fault> {
        match self.doubles().data[..] {
            [one] => Ok(one),
            ref all => Err(Fault::new(format!("{} values", all.len()), "one", AGAIN)),
        }
    }
}

/// Decodes the tensors of a file, some of which may lie in other files of `folder`.
pub struct Source<'a> {
    pub folder: Option<&'a Path>,
}

impl Source<'_> {
    /// The tensor's values; floats are all finite, but for a tensor of one, such as the open end of a Clip.
    pub fn tensor(&self, proto: &TensorProto) -> Result<Rc<Tensor>, ReadError> {
        let tensor = self
            .decode(proto)
            .map_err(|fault| fault.at(format!("tensor {}", show(&proto.name))))?;
        Ok(Rc::new(tensor))
    }

    /// As [`tensor`](Self::tensor), for whoever names the place.
    pub fn decode(&self, proto: &TensorProto) -> Result<Tensor, Fault> {
        let shape: Option<Vec<usize>> = proto
            .dims
            .iter()
            .map(|&d| usize::try_from(d).ok())
            .collect();
        let shape = shape.ok_or_else(|| Fault::new("a negative dimension", "sizes", AGAIN))?;
        let elements = count(&shape)?;
        if proto.segment.is_some() {
            return Err(Fault::new("a part of a tensor", "a whole tensor", AGAIN));
        }
        let kind = DataType::try_from(proto.data_type).map_err(|_| {
            Fault::new(
                format!("data type {}", proto.data_type),
                "floats or integers",
                AGAIN,
            )
        })?;
        let outside = if proto.data_location == Some(DataLocation::External.into())
            || !proto.external_data.is_empty()
        {
            self.outside(proto)?
        } else {
            Vec::new()
        };
        let raw: &[u8] = if outside.is_empty() {
            &proto.raw_data
        } else {
            &outside
        };
        let typed = raw.is_empty();
        let ints = || proto.int32_data.iter().map(|&x| i64::from(x));
        let tensor = match kind {
            DataType::Float if typed => {
                Tensor::Float(filled(&shape, elements, proto.float_data.clone())?)
            }
            DataType::Float => {
                Tensor::Float(filled(&shape, elements, numbers(raw, f32::from_le_bytes)?)?)
            }
            DataType::Double => {
                let data = if typed {
                    proto.double_data.clone()
                } else {
                    numbers(raw, f64::from_le_bytes)?
                };
                Tensor::Float(filled(
                    &shape,
                    elements,
                    data.iter().map(|&x| x as f32).collect(),
                )?)
            }
            DataType::Int64 if typed => {
                Tensor::Int(filled(&shape, elements, proto.int64_data.clone())?)
            }
            DataType::Int64 => {
                Tensor::Int(filled(&shape, elements, numbers(raw, i64::from_le_bytes)?)?)
            }
            DataType::Int32 if typed => Tensor::Int(filled(&shape, elements, ints().collect())?),
            DataType::Int32 => {
                let data = numbers(raw, i32::from_le_bytes)?
                    .into_iter()
                    .map(i64::from)
                    .collect();
                Tensor::Int(filled(&shape, elements, data)?)
            }
            DataType::Bool if typed => {
                Tensor::Bool(filled(&shape, elements, ints().map(|x| x != 0).collect())?)
            }
            DataType::Bool => Tensor::Bool(filled(
                &shape,
                elements,
                raw.iter().map(|&x| x != 0).collect(),
            )?),
            other => {
                let found = other.as_str_name().to_lowercase();
                return Err(Fault::new(
                    found,
                    "float",
                    "save the model with 32-bit float weights",
                ));
            }
        };
        if let Tensor::Float(array) = &tensor
            && let Some(at) = array.data.iter().position(|v| !v.is_finite())
        {
            // The ends of a Clip may be open; weights may not.
            if elements > 1 {
                return Err(Fault::new(
                    format!("{} at position {at}", array.data[at]),
                    "finite numbers",
                    "the training has diverged: train again with a lower learning rate",
                ));
            }
        }
        Ok(tensor)
    }

    /// The bytes of a tensor that lies in another file of the model's folder.
    fn outside(&self, proto: &TensorProto) -> Result<Vec<u8>, Fault> {
        let inside = "save the model as one file with its weights inside";
        let refused = |found: String, expected: &str| Fault::new(found, expected, inside);
        let entry = |key: &str| {
            proto
                .external_data
                .iter()
                .find(|e| e.key == key)
                .map(|e| &*e.value)
        };
        let number = |key: &str| {
            entry(key).map(|v| {
                v.parse::<u64>()
                    .map_err(|_| refused(format!("{key} {}", show(v)), "a number"))
            })
        };
        let name = entry("location").unwrap_or_default();
        let Some(folder) = self.folder else {
            return Err(refused("data in another file".into(), "data inside"));
        };
        // Nothing of the name may lead out of the folder.
        let mut parts = Path::new(name).components();
        let plain = matches!(
            (parts.next(), parts.next()),
            (Some(std::path::Component::Normal(_)), None)
        );
        if !plain {
            return Err(refused(
                format!("data in {}", show(name)),
                "a file beside the model",
            ));
        }
        let path = folder.join(name);
        let bytes = std::fs::metadata(&path).map_err(|e| {
            refused(
                format!("data in {}: {e}", show(name)),
                "a file beside the model",
            )
        })?;
        let offset = number("offset").transpose()?.unwrap_or(0);
        let length = match number("length").transpose()? {
            Some(length) => length,
            None => bytes.len().saturating_sub(offset),
        };
        let within = offset
            .checked_add(length)
            .is_some_and(|end| end <= bytes.len());
        if !bytes.is_file() || !within || length > MAX_FILE_BYTES as u64 || length == 0 {
            let found = format!(
                "bytes {offset} to +{length} of {}, which has {}",
                show(name),
                bytes.len()
            );
            return Err(refused(found, "bytes that are there"));
        }
        let mut data = vec![0; length as usize];
        File::open(&path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(offset))?;
                file.read_exact(&mut data)
            })
            .map_err(|e| refused(format!("data in {}: {e}", show(name)), "a readable file"))?;
        Ok(data)
    }
}

fn numbers<T, const N: usize>(raw: &[u8], number: impl Fn([u8; N]) -> T) -> Result<Vec<T>, Fault> {
    match raw.as_chunks() {
        (chunks, []) => Ok(chunks.iter().map(|&chunk| number(chunk)).collect()),
        _ => Err(damaged(
            format!("{} bytes", raw.len()),
            format!("a multiple of {N}"),
        )),
    }
}

fn filled<T>(shape: &[usize], elements: usize, data: Vec<T>) -> Result<Array<T>, Fault> {
    if data.len() == elements {
        return Ok(Array {
            shape: shape.to_vec(),
            data,
        });
    }
    Err(damaged(
        format!("{} values", data.len()),
        format!("the values of shape {shape:?}"),
    ))
}

fn damaged(found: String, expected: String) -> Fault {
    Fault::new(
        found,
        expected,
        "the file is damaged or cut off: copy or export it again",
    )
}
