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
    /// So many sequences, which do not know of each other; one where the number is open.
    Batch(usize),
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

/// The largest fixed batch.
const MAX_BATCH: usize = 64;

/// Lengths that open time dimensions get while the graph is walked: primes, unlikely as sizes of layers.
const LENGTHS: [usize; 5] = [11, 13, 17, 19, 23];

impl Declared {
    /// The shape in pass 0 or 1, which differ in all lengths.
    pub fn shape(&self, pass: usize) -> Vec<usize> {
        let size = |size: &Size| match *size {
            Size::Fixed(size) => size,
            Size::Batch(size) => size,
            Size::Time(symbol) => LENGTHS[(symbol + pass) % LENGTHS.len()],
        };
        self.sizes.iter().map(size).collect()
    }

    /// The dimension that is the batch.
    pub fn batch_axis(&self) -> Option<usize> {
        self.sizes
            .iter()
            .position(|size| matches!(size, Size::Batch(_)))
    }

    /// The number of sequences.
    pub fn batch(&self) -> usize {
        let size = |size: &Size| match size {
            Size::Batch(size) => *size,
            _ => 1,
        };
        self.sizes.iter().map(size).max().unwrap_or(1)
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
    let plain = Way {
        swapped: false,
        batch: None,
    };
    let swapped = Way {
        swapped: true,
        batch: None,
    };
    let fixed = [0, 1].map(|axis| Way {
        swapped: false,
        batch: fixed_batch(&inputs, axis).map(|size| (axis, size)),
    });
    let mut readings: Vec<Vec<Declared>> = Vec::new();
    for way in [plain, swapped].into_iter().chain(fixed) {
        let reading = way.read(&inputs);
        if !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    Ok(readings)
}

type Shapes = [(String, ElementType, Vec<Dim>)];

/// The fixed size of dimension `axis` of the sequence that comes in, where it may be a batch.
fn fixed_batch(inputs: &Shapes, axis: usize) -> Option<usize> {
    let tokens = inputs
        .iter()
        .find(|(_, element, dims)| *element != ElementType::Float && dims.len() == 2);
    let vectors = || inputs.iter().find(|(_, _, dims)| dims.len() == 3);
    let (_, _, dims) = tokens.or_else(vectors).or_else(|| inputs.first())?;
    match dims.get(axis) {
        Some(Dim::Fixed(size)) if (2..=MAX_BATCH).contains(size) => Some(*size),
        _ => None,
    }
}

/// One way to read dimensions.
#[derive(Clone, Copy)]
struct Way {
    /// Of two open dimensions the first is the time.
    swapped: bool,
    /// The dimension and its fixed size that are the batch of the sequence that comes in.
    batch: Option<(usize, usize)>,
}

impl Way {
    /// Which dimension of an input is the batch of a fixed size.
    fn batch_axis(self, float: bool, dims: &[Dim]) -> Option<usize> {
        let (axis, size) = self.batch?;
        let is = |at: usize| dims.get(at) == Some(&Dim::Fixed(size));
        match dims.len() {
            // [T, batch, F] and [layers, batch, H] are more usual than the others.
            3 if is(1) && (axis == 1 || dims[0] == Dim::Fixed(1)) => Some(1),
            3 if is(axis) => Some(axis),
            3 if is(1) => Some(1),
            2 if float && is(0) => Some(0),
            2 if !float && is(axis) => Some(axis),
            1 if !float && is(0) => Some(0),
            _ => None,
        }
    }

    fn read(self, inputs: &Shapes) -> Vec<Declared> {
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
            // Floats without a fixed number of features are tokens.
            let features = !matches!(dims.last(), Some(Dim::Open(_)));
            let float = *element == ElementType::Float && features;
            let rank = dims.len();
            // The last dimension of floats are the features.
            let leading = if float { rank.saturating_sub(1) } else { rank };
            let open: Vec<usize> = (0..leading)
                .filter(|&d| matches!(dims[d], Dim::Open(_)))
                .collect();
            let batch = self.batch_axis(float, dims);
            let time = match (&open[..], self.swapped) {
                ([], _) => None,
                ([one], _) if batch.is_some() && (!float || rank == 3) => Some(*one),
                // Vectors without a batch, [T, width].
                ([one], true) if float && rank == 2 && !has_tokens => Some(*one),
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
                        Size::Batch(1)
                    }
                };
                sizes.push(match dim {
                    Dim::Fixed(size) if Some(d) == batch => Size::Batch(*size),
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
