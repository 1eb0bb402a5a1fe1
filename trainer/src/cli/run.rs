//! `trainer run`

use crate::fs::write_atomically;
use crate::inference::integer::{IntegerNetwork, MissingSignature};
use crate::inference::model::{Model, ModelFileError};
use crate::network::{Array, Values, run_arrays};
use anyhow::{Context, bail};
use clap::Args;
use npyz::{NpyFile, WriterBuilder};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// The largest file of arrays, and the most bytes of all its arrays.
const MAX_BYTES: u64 = 256 << 20;

/// Runs a network on arrays, to compare it with the framework that it comes from.
///
/// Arrays go in and come out by the names of the graph, in numpy's .npz files: `numpy.savez("in.npz", x=tokens)`. States that
/// are left out are zero, or what the graph starts from. The exit code is 0 when the network ran, 2 when the model is refused, 1 for anything else.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The model: .onnx in float, .pip in integers as on a board
    pub model: PathBuf,
    /// Arrays by the names of the graph's inputs
    #[arg(long, value_name = "FILE.npz")]
    pub inputs: PathBuf,
    /// Where to write arrays by the names of the graph's outputs
    #[arg(long, value_name = "FILE.npz")]
    pub outputs: PathBuf,
}

/// The model was refused: what the exit code tells from other errors.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The file is no model that can be run.
    #[error(transparent)]
    Model(ModelFileError),
    /// An image that does not say what its arrays are.
    #[error("{}: {cause}", path.display())]
    Interface {
        /// The image.
        path: PathBuf,
        /// What is missing.
        cause: MissingSignature,
    },
}

/// Runs the command.
///
/// # Errors
/// If the model is refused ([`Refused`]), the arrays do not fit it, or a file cannot be read or written.
pub fn run(args: RunArgs) -> anyhow::Result<()> {
    let model = Model::open(&args.model).map_err(|error| match error {
        error @ ModelFileError::Io { .. } => anyhow::Error::from(error),
        error => Refused::Model(error).into(),
    })?;
    let inputs = read(&args.inputs);
    let outputs = match &model {
        Model::Float(network) => run_arrays(&**network, &inputs?),
        Model::Integer(bytes) => {
            let image = bytes.image();
            let refused = |cause| Refused::Interface {
                path: args.model.clone(),
                cause,
            };
            let network = IntegerNetwork::new(&image).map_err(refused)?;
            run_arrays(&network, &inputs?)
        }
    };
    let outputs = outputs.with_context(|| args.inputs.display().to_string())?;
    write_atomically(&args.outputs, &encode(&outputs)?)?;
    Ok(())
}

/// The arrays of an .npz file.
///
/// # Errors
/// If it cannot be read, or holds other numbers than floats and integers.
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

/// The array of an .npy file.
///
/// # Errors
/// If it is none, or holds other numbers than floats and integers.
pub fn decode(bytes: &[u8]) -> anyhow::Result<Array> {
    let file = NpyFile::new(Cursor::new(bytes))?;
    let shape: Vec<usize> = file
        .shape()
        .iter()
        .map(|&size| usize::try_from(size))
        .collect::<Result<_, _>>()?;
    // A header may claim more than follows.
    let elements = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
    if elements.is_none_or(|n| n > bytes.len()) {
        bail!("found shape {shape:?}, expected a shape with as many values as there are");
    }
    if shape.len() > 1 && file.order() == npyz::Order::Fortran {
        bail!(
            "found columns first (Fortran order), expected rows first: save numpy.ascontiguousarray(array)"
        );
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

/// Arrays as an .npz file.
///
/// # Errors
/// If memory runs out.
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
