//! The declared inputs of a graph, and the ways in which their open dimensions can be read.
//!
//! ONNX does not say which dimension is the batch and which the time. So a file is read as its framework usually means it, and
//! where that cannot be understood, in another way; whatever way it is, the network is proved from there on.

use super::fault::{Fault, show};
use super::read::ReadError;
use crate::network::ElementType;
use std::collections::HashMap;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{GraphProto, ValueInfoProto, type_proto};

/// What a dimension of an input is taken for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    Fixed(usize),
    /// One sequence is looked at.
    Batch,
    /// A length, by the number of its symbol.
    Time(usize),
}

/// An input of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    pub name: String,
    pub element: ElementType,
    pub sizes: Vec<Size>,
}

/// Lengths that open time dimensions get while the graph is walked: primes, unlikely as sizes of layers.
const LENGTHS: [usize; 5] = [11, 13, 17, 19, 23];

impl Declared {
    /// The shape in pass 0 or 1, which differ in all lengths.
    pub fn shape(&self, pass: usize) -> Vec<usize> {
        let size = |size: &Size| match *size {
            Size::Fixed(size) => size,
            Size::Batch => 1,
            Size::Time(symbol) => LENGTHS[(symbol + pass) % LENGTHS.len()],
        };
        self.sizes.iter().map(size).collect()
    }
}

/// A declared dimension.
#[derive(Clone, PartialEq)]
enum Dim {
    Fixed(usize),
    /// With its name; no two unnamed ones are the same.
    Open(String),
}

/// The declared shape of an input or output, where it is declared: sizes, none where open.
pub fn declared_shape(value: &ValueInfoProto) -> Option<Vec<Option<usize>>> {
    let dims = dims(value, &mut 0).ok()??;
    Some(
        dims.into_iter()
            .map(|dim| {
                if let Dim::Fixed(size) = dim {
                    Some(size)
                } else {
                    None
                }
            })
            .collect(),
    )
}

fn tensor_type(value: &ValueInfoProto) -> Option<&type_proto::Tensor> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some(tensor),
    }
}

fn dims(value: &ValueInfoProto, unnamed: &mut usize) -> Result<Option<Vec<Dim>>, Fault> {
    let Some(shape) = tensor_type(value).and_then(|tensor| tensor.shape.as_ref()) else {
        return Ok(None);
    };
    let dim = |dim: &tract_onnx::pb::tensor_shape_proto::Dimension| match &dim.value {
        Some(dimension::Value::DimValue(size)) if *size > 0 => Ok(Dim::Fixed(*size as usize)),
        // Old files write 0 or -1 for an open dimension.
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => Ok(Dim::Open(name.clone())),
        _ => {
            *unnamed += 1;
            Ok(Dim::Open(format!("\0{unnamed}")))
        }
    };
    shape
        .dim
        .iter()
        .map(dim)
        .collect::<Result<Vec<Dim>, Fault>>()
        .map(Some)
}

/// The ways to read a graph's inputs, the likeliest first. Constants that are listed as inputs are left out.
pub fn readings(graph: &GraphProto) -> Result<Vec<Vec<Declared>>, ReadError> {
    let mut unnamed = 0;
    let mut inputs = Vec::new();
    for input in &graph.input {
        if graph
            .initializer
            .iter()
            .any(|tensor| tensor.name == input.name)
        {
            continue;
        }
        let refused = |found: String| {
            Fault::new(
                found,
                "int32, int64 or float, with up to 4 dimensions",
                "export the model with typed inputs",
            )
            .at(format!("input {}", show(&input.name)))
        };
        let element = match tensor_type(input).map(|tensor| DataType::try_from(tensor.elem_type)) {
            Some(Ok(DataType::Float)) => ElementType::Float,
            Some(Ok(DataType::Int32)) => ElementType::Int32,
            Some(Ok(DataType::Int64)) => ElementType::Int64,
            Some(Ok(other)) => return Err(refused(other.as_str_name().to_lowercase())),
            _ => return Err(refused("no tensor type".into())),
        };
        let dims = dims(input, &mut unnamed)
            .map_err(|fault| fault.at(format!("input {}", show(&input.name))))?;
        let dims = dims.ok_or_else(|| refused("no shape".into()))?;
        if dims.len() > 4 {
            return Err(refused(format!("{} dimensions", dims.len())));
        }
        inputs.push((input.name.clone(), element, dims));
    }
    let ways = [
        Way::default(),
        Way {
            swapped: true,
            ..Way::default()
        },
        Way {
            batch: Some(0),
            ..Way::default()
        },
        Way {
            batch: Some(1),
            ..Way::default()
        },
    ];
    let mut readings: Vec<Vec<Declared>> = Vec::new();
    for way in ways {
        let reading = way.read(&inputs);
        if !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    Ok(readings)
}

/// One way to read open dimensions.
#[derive(Clone, Copy, Default)]
struct Way {
    /// Of two open dimensions the first is the time.
    swapped: bool,
    /// A fixed dimension that is the batch.
    batch: Option<usize>,
}

impl Way {
    fn read(self, inputs: &[(String, ElementType, Vec<Dim>)]) -> Vec<Declared> {
        let mut symbols: HashMap<String, Size> = HashMap::new();
        let mut lengths = 0;
        let mut known = HashMap::new();
        // Tokens are the surest: their other dimension is the batch.
        let tokens_first = |element: &ElementType| usize::from(*element == ElementType::Float);
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|&i| tokens_first(&inputs[i].1));
        let has_tokens = inputs
            .iter()
            .any(|(_, element, _)| *element != ElementType::Float);
        for i in order {
            let (name, element, dims) = &inputs[i];
            let float = *element == ElementType::Float;
            let rank = dims.len();
            // The last dimension of floats are the features.
            let leading = if float { rank.saturating_sub(1) } else { rank };
            let open: Vec<usize> = (0..leading)
                .filter(|&d| matches!(dims[d], Dim::Open(_)))
                .collect();
            let time = match (&open[..], self.swapped) {
                ([], _) => None,
                // A state [layers, batch, units], or [batch, units].
                ([_], _) if float && (rank < 3 || has_tokens) => None,
                ([one], _) if float && rank == 3 => match &dims[1 - one] {
                    Dim::Fixed(1) => Some(*one),
                    _ => None,
                },
                // One of them is fixed: at 1 it is the batch, else it is the time.
                ([one], _) if rank == 2 => match &dims[1 - one] {
                    Dim::Fixed(1) => Some(*one),
                    _ => None,
                },
                ([one], _) => Some(*one),
                ([first, ..], true) => Some(*first),
                ([_, second, ..], false) => Some(*second),
            };
            let mut sizes = Vec::new();
            for (d, dim) in dims.iter().enumerate() {
                let guess = |lengths: &mut usize| {
                    if Some(d) == time {
                        *lengths += 1;
                        Size::Time(*lengths - 1)
                    } else {
                        Size::Batch
                    }
                };
                sizes.push(match dim {
                    Dim::Fixed(size)
                        if Some(d) == self.batch && *size > 1 && d + 1 < rank.max(2) =>
                    {
                        Size::Batch
                    }
                    Dim::Fixed(size) => Size::Fixed(*size),
                    Dim::Open(symbol) => *symbols
                        .entry(symbol.clone())
                        .or_insert_with(|| guess(&mut lengths)),
                });
            }
            known.insert(
                i,
                Declared {
                    name: name.clone(),
                    element: *element,
                    sizes,
                },
            );
        }
        (0..inputs.len())
            .map(|i| known.remove(&i).expect("every input was read"))
            .collect()
    }
}
