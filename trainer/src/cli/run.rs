//! `trainer run`

use super::print::{RecordType, print_json};
use crate::fs::write_atomically;
use crate::inference::integer::{IntegerNetwork, MissingSignature};
use crate::inference::model::{Model, ModelFileError};
use crate::network::{Array, Values, run_arrays};
use anyhow::{Context, bail};
use clap::Args;
use npyz::{NpyFile, WriterBuilder};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// The largest file of arrays, and the most bytes of all its arrays.
const MAX_BYTES: u64 = 256 << 20;

const EXAMPLES: &str = "\
Examples:
  python3 -c \"import numpy; numpy.savez('in.npz', x=numpy.zeros((1, 10, 3), 'float32'))\"
  trainer run model.onnx --inputs in.npz --outputs float.npz
  trainer run model.pip --inputs in.npz --outputs integer.npz";

/// Run a network on arrays
///
/// Inputs and outputs are NumPy .npz files of arrays by the names of the graph's inputs and outputs. States that are not given are
/// the graph's initial states, or zero. The exit code is 2 if the model is rejected, 1 for other errors.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// Model: .onnx runs in float, .pip in integers as on a board
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Arrays to read, by the names of the graph's inputs
    #[arg(long, value_name = "FILE.npz", help_heading = "Input")]
    pub inputs: PathBuf,
    /// File to write, with arrays by the names of the graph's outputs
    #[arg(long, value_name = "FILE.npz", help_heading = "Output")]
    pub outputs: PathBuf,
    /// Print one JSON object (trainer/JSON.md)
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The result as JSON.
#[derive(Serialize)]
struct RunRecord<'a> {
    model: &'a Path,
    inputs: &'a Path,
    outputs: &'a Path,
    arrays: Vec<ArrayRecord<'a>>,
}

/// An output array as JSON.
#[derive(Serialize)]
struct ArrayRecord<'a> {
    name: &'a str,
    dtype: &'static str,
    shape: &'a [usize],
}

/// The model was rejected, which has an exit code of its own.
#[derive(Debug, thiserror::Error)]
pub enum ModelRejected {
    /// The file is not a model that can be run.
    #[error(transparent)]
    Model(ModelFileError),
    /// A model file without the names of its graph's inputs and outputs.
    #[error("{}: {cause}", path.display())]
    Interface {
        /// The model file.
        path: PathBuf,
        /// What is missing.
        cause: MissingSignature,
    },
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the model is rejected ([`ModelRejected`]), the arrays do not match its inputs, or a file cannot be read or
/// written.
pub fn run(args: RunArgs) -> anyhow::Result<()> {
    let model = Model::open(&args.model).map_err(|error| match error {
        error @ ModelFileError::Io { .. } => anyhow::Error::from(error),
        error => ModelRejected::Model(error).into(),
    })?;
    let inputs = read(&args.inputs);
    let outputs = match &model {
        Model::Float(network) => run_arrays(&**network, &inputs?),
        Model::Integer(bytes) => {
            let view = bytes.model();
            let rejected = |cause| ModelRejected::Interface {
                path: args.model.clone(),
                cause,
            };
            let network = IntegerNetwork::new(&view).map_err(rejected)?;
            let inputs = inputs?;
            check_finite(&inputs).with_context(|| args.inputs.display().to_string())?;
            run_arrays(&network, &inputs)
        }
    };
    let outputs = outputs.with_context(|| args.inputs.display().to_string())?;
    write_atomically(&args.outputs, &encode(&outputs)?)?;
    if args.json {
        let arrays = outputs.iter().map(|(name, array)| ArrayRecord {
            name,
            dtype: match array.values {
                Values::Float(_) => "float32",
                Values::Int32(_) => "int32",
                Values::Int64(_) => "int64",
            },
            shape: &array.shape,
        });
        let record = RunRecord {
            model: &args.model,
            inputs: &args.inputs,
            outputs: &args.outputs,
            arrays: arrays.collect(),
        };
        print_json(RecordType::Run, &record)?;
    }
    Ok(())
}

/// Checks that no input is NaN or infinite, which integers cannot represent.
fn check_finite(inputs: &BTreeMap<String, Array>) -> anyhow::Result<()> {
    for (name, array) in inputs {
        let Values::Float(values) = &array.values else {
            continue;
        };
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            bail!(
                "array {name:?}: element {at} is {}, expected finite numbers",
                values[at]
            );
        }
    }
    Ok(())
}

/// Reads the arrays of an .npz file.
///
/// # Errors
/// Returns an error if it cannot be read, or an array is not of float32, int32 or int64.
pub fn read(path: &Path) -> anyhow::Result<BTreeMap<String, Array>> {
    let place = || path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut archive =
        ZipArchive::new(file).with_context(|| format!("{} is not an .npz file", path.display()))?;
    let mut arrays = BTreeMap::new();
    let mut left = MAX_BYTES;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).with_context(place)?;
        let name = entry.name().with_context(place)?.into_owned();
        let Some(name) = npyz::npz::array_name_from_file_name(&name) else {
            bail!(
                "{}: found {name:?}, expected arrays only (.npy)",
                path.display()
            );
        };
        let name = name.to_owned();
        let mut bytes = Vec::new();
        entry
            .take(left + 1)
            .read_to_end(&mut bytes)
            .with_context(place)?;
        left = left.checked_sub(bytes.len() as u64).with_context(|| {
            format!("{}: more than {MAX_BYTES} bytes of arrays", path.display())
        })?;
        let array =
            decode(&bytes).with_context(|| format!("{}: array {name:?}", path.display()))?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// Checks what the parser of .npy files does not bound: nested values in the header, which only records need, take exponential time,
/// and strides of large shapes overflow, even if the array is empty.
fn check_header(bytes: &[u8]) -> anyhow::Result<()> {
    // Magic, version, length of the header (2 bytes in version 1), then the header, which ends with a line feed.
    let header = bytes.get(8..).unwrap_or_default();
    let header = header.split(|byte| *byte == b'\n').next();
    let header = String::from_utf8_lossy(header.unwrap_or_default());
    if header.contains('[') || header.matches('(').count() > 1 || header.matches('{').count() > 1 {
        bail!(
            "found records or nested values in the header, expected an array of float32, int32 or int64"
        );
    }
    let shape = header.split(['(', ')']).nth(1).unwrap_or_default();
    let sizes = shape.split(',').filter_map(|size| size.trim().parse().ok());
    let extent = sizes.filter(|size| *size > 0).try_fold(1, u64::checked_mul);
    if extent.is_none_or(|extent| extent > MAX_BYTES) {
        bail!("found shape ({shape}), expected at most {MAX_BYTES} elements");
    }
    Ok(())
}

/// Decodes an .npy file.
///
/// # Errors
/// Returns an error if it is malformed, or not of float32, int32 or int64.
pub fn decode(bytes: &[u8]) -> anyhow::Result<Array> {
    check_header(bytes)?;
    let file = NpyFile::new(Cursor::new(bytes))?;
    let shape: Vec<usize> = file
        .shape()
        .iter()
        .map(|&size| usize::try_from(size))
        .collect::<Result<_, _>>()?;
    // A header may state more elements than follow.
    let elements = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
    if elements.is_none_or(|n| n > bytes.len()) {
        bail!("found shape {shape:?}, which has more elements than the array has bytes");
    }
    if shape.len() > 1 && file.order() == npyz::Order::Fortran {
        bail!("found Fortran order, expected C order: save numpy.ascontiguousarray(array)");
    }
    let npyz::DType::Plain(kind) = file.dtype() else {
        bail!("found records, expected float32, int32 or int64");
    };
    let values = match kind.to_string().trim_start_matches(['<', '|', '=']) {
        "f4" => Values::Float(file.into_vec()?),
        "i4" => Values::Int32(file.into_vec()?),
        "i8" => Values::Int64(file.into_vec()?),
        other => bail!(
            "found type {other}, expected float32 (f4), int32 (i4) or int64 (i8): convert it with array.astype"
        ),
    };
    Ok(Array { shape, values })
}

/// Encodes arrays as an .npz file.
///
/// # Errors
/// Returns an error if memory runs out.
pub fn encode(arrays: &[(String, Array)]) -> anyhow::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, array) in arrays {
        let shape: Vec<u64> = array.shape.iter().map(|&size| size as u64).collect();
        let mut bytes = Vec::new();
        match &array.values {
            Values::Float(values) => npy(&mut bytes, &shape, values)?,
            Values::Int32(values) => npy(&mut bytes, &shape, values)?,
            Values::Int64(values) => npy(&mut bytes, &shape, values)?,
        }
        archive.start_file(npyz::npz::file_name_from_array_name(name), options)?;
        archive.write_all(&bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

fn npy<T: npyz::AutoSerialize + Copy>(
    bytes: &mut Vec<u8>,
    shape: &[u64],
    values: &[T],
) -> anyhow::Result<()> {
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(shape)
        .writer(bytes)
        .begin_nd()?;
    writer.extend(values.iter().copied())?;
    Ok(writer.finish()?)
}
