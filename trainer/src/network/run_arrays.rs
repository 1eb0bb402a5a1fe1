//! Running a model on named arrays, as its ONNX file names them.

use super::{
    Array, Dim, ElementType, Inputs, Network, Outputs, Phase, RunError, Signature, TensorRole,
    TensorSpec, Values, subnet,
};
use pipsqueak::Pcg32;
use rand_core::Rng;
use std::collections::BTreeMap;

/// The sizes that a run has and the graph leaves open.
#[derive(Clone, Copy, Default)]
struct OpenDims {
    batch: Option<usize>,
    /// Of the source and of the step.
    steps: [Option<usize>; 2],
}

/// The source or the step of a model, as its arrays see it.
#[derive(Clone, Debug)]
pub struct SubnetView<'n> {
    /// The source or the step.
    pub phase: Phase,
    /// Names, types, shapes and roles of its arrays.
    pub signature: &'n Signature,
    /// Number of tokens.
    pub vocab_size: usize,
    /// Hidden size of each recurrent layer.
    pub hidden_sizes: Vec<usize>,
    /// Number of steps of a sequence, where it does not depend on the input.
    pub steps: Option<usize>,
}

/// A model that runs one sequence at a time: a network in float, or a model file in integers.
pub trait SequenceModel {
    /// The source, if there is one, and the step.
    fn subnets(&self) -> Vec<SubnetView<'_>>;

    /// Runs one sequence from its start, on inputs of the sizes that [`subnets`](Self::subnets) say.
    fn run_sequence(&self, inputs: &Inputs) -> Outputs;
}

impl SequenceModel for Network {
    fn subnets(&self) -> Vec<SubnetView<'_>> {
        let view = |phase| SubnetView {
            phase,
            signature: self.signature(phase),
            vocab_size: self.vocab_size(phase),
            hidden_sizes: self
                .recurrent(phase)
                .map(|(_, cell)| cell.hidden())
                .collect(),
            steps: match self.reader(phase) {
                None => Some(self.fixed_steps()),
                Some(_) => None,
            },
        };
        self.step_phases().map(view).collect()
    }

    fn run_sequence(&self, inputs: &Inputs) -> Outputs {
        self.run(inputs)
    }
}

/// Runs a model on arrays by the names of the graph's inputs; returns those of its outputs. States that are missing are
/// zero. Where the graph has a batch dimension, each sequence of it is run by itself.
///
/// # Errors
/// If a name is unknown, an array missing or of another type or shape, or a token out of range.
pub fn run_arrays(
    model: &impl SequenceModel,
    arrays: &BTreeMap<String, Array>,
) -> Result<Vec<(String, Array)>, RunError> {
    let subnets = model.subnets();
    let (inputs, open) = cut_sequences(&subnets, arrays)?;
    let results: Vec<Outputs> = inputs
        .iter()
        .map(|inputs| model.run_sequence(inputs))
        .collect();
    let mut outputs = Vec::new();
    for view in &subnets {
        for spec in &view.signature.outputs {
            let parts = results
                .iter()
                .map(|results| output(spec, results, view.phase));
            let steps = view.steps.or(open.steps[subnet(view.phase)]).unwrap_or(1);
            let array = join(spec, parts.collect(), results.len(), steps);
            outputs.push((spec.name.clone(), array));
        }
    }
    Ok(outputs)
}

/// The sequences that arrays hold, by the names of the graph's inputs.
///
/// # Errors
/// As [`run_arrays`].
pub fn sequences(
    model: &impl SequenceModel,
    arrays: &BTreeMap<String, Array>,
) -> Result<Vec<Inputs>, RunError> {
    cut_sequences(&model.subnets(), arrays).map(|(inputs, _)| inputs)
}

fn cut_sequences(
    subnets: &[SubnetView],
    arrays: &BTreeMap<String, Array>,
) -> Result<(Vec<Inputs>, OpenDims), RunError> {
    let specs = || subnets.iter().flat_map(|view| &view.signature.inputs);
    if let Some(found) = arrays
        .keys()
        .find(|name| specs().all(|spec| spec.name != **name))
    {
        return Err(RunError::Unknown {
            found: found.clone(),
            inputs: specs().map(|spec| spec.name.clone()).collect(),
        });
    }
    let mut open = OpenDims::default();
    for view in subnets.iter().rev() {
        for spec in &view.signature.inputs {
            match arrays.get(&spec.name) {
                Some(array) => check(spec, array, subnet(view.phase), &mut open)?,
                None if matches!(spec.role, TensorRole::States(_)) => {}
                None => return Err(RunError::Missing(spec.name.clone())),
            }
        }
    }
    let one = |sequence| {
        let mut inputs = Inputs::default();
        for view in subnets {
            read_sequence(&mut inputs, view, arrays, sequence)?;
        }
        Ok(inputs)
    };
    let inputs: Result<_, _> = (0..open.batch.unwrap_or(1)).map(one).collect();
    Ok((inputs?, open))
}

/// Takes what sequence `sequence` of the batch gives to the source or to the step.
fn read_sequence(
    inputs: &mut Inputs,
    view: &SubnetView,
    arrays: &BTreeMap<String, Array>,
    sequence: usize,
) -> Result<(), RunError> {
    for spec in &view.signature.inputs {
        let Some(array) = arrays.get(&spec.name) else {
            continue;
        };
        let own = inputs.of_mut(view.phase);
        match (&spec.role, &array.values) {
            (TensorRole::Tokens, values) => {
                let ids = token_ids(spec, &array.shape, values, sequence);
                let count = view.vocab_size;
                if let Some(&token) = ids.iter().find(|&&id| id < 0 || id >= count as i64) {
                    return Err(RunError::Token {
                        name: spec.name.clone(),
                        token,
                        count,
                    });
                }
                own.tokens = ids.iter().map(|&id| id as usize).collect();
            }
            (role, Values::Float(v)) => {
                let mut values = cut(spec, &array.shape, v, sequence);
                match role {
                    TensorRole::Frames => own.frames = values,
                    TensorRole::Features => inputs.features = values,
                    TensorRole::States(ids) => {
                        for id in ids {
                            let rest = values.split_off(view.hidden_sizes[id.layer]);
                            own.states.push((*id, values));
                            values = rest;
                        }
                    }
                    TensorRole::Tokens | TensorRole::Output | TensorRole::OtherOutput(_) => {
                        unreachable!("tokens are above, and an output is no input")
                    }
                }
            }
            _ => unreachable!("the type was checked"),
        }
    }
    Ok(())
}

fn token_ids(spec: &TensorSpec, shape: &[usize], values: &Values, sequence: usize) -> Vec<i64> {
    match values {
        Values::Float(v) => {
            let ids = cut(spec, shape, v, sequence);
            ids.iter().map(|&x| x as i64).collect()
        }
        Values::Int32(v) => {
            let ids = cut(spec, shape, v, sequence);
            ids.iter().map(|&x| x.into()).collect()
        }
        Values::Int64(v) => cut(spec, shape, v, sequence),
    }
}

impl Network {
    /// [`run_arrays`] of the network in float.
    ///
    /// # Errors
    /// As [`run_arrays`].
    pub fn run_arrays(
        &self,
        arrays: &BTreeMap<String, Array>,
    ) -> Result<Vec<(String, Array)>, RunError> {
        run_arrays(self, arrays)
    }

    /// An array for the input `name`: tokens from all over the vocabulary, or floats between -1 and 1.
    ///
    /// # Panics
    /// If no input has that name.
    pub fn random_array(&self, name: &str, shape: &[usize], seed: u64) -> Array {
        let subnets = self.subnets();
        let mut specs = subnets
            .iter()
            .flat_map(|view| view.signature.inputs.iter().map(move |spec| (view, spec)));
        let (view, spec) = specs
            .find(|(_, spec)| spec.name == name)
            .expect("an input of that name");
        let mut random = Pcg32::new(seed, 7);
        let mut id = || i64::from(random.next_u32()) % view.vocab_size.max(1) as i64;
        let count = 0..shape.iter().product();
        let values = match (&spec.role, spec.element) {
            (TensorRole::Tokens, ElementType::Float) => {
                Values::Float(count.map(|_| id() as f32).collect())
            }
            (_, ElementType::Int32) => Values::Int32(count.map(|_| id() as i32).collect()),
            (_, ElementType::Int64) => Values::Int64(count.map(|_| id()).collect()),
            _ => {
                let unit = |x: u32| (x >> 8) as f32 / (1 << 23) as f32 - 1.0;
                Values::Float(count.map(|_: usize| unit(random.next_u32())).collect())
            }
        };
        let shape = shape.to_vec();
        Array { shape, values }
    }

    /// Every input of the graph: the source's, then the step's.
    pub fn input_specs(&self) -> impl Iterator<Item = &TensorSpec> {
        let phases = [Phase::Source, Phase::Step].into_iter();
        phases.flat_map(|phase| &self.signature(phase).inputs)
    }

    /// Every output of the graph: the source's, then the step's.
    pub fn output_specs(&self) -> impl Iterator<Item = &TensorSpec> {
        let phases = [Phase::Source, Phase::Step].into_iter();
        phases.flat_map(|phase| &self.signature(phase).outputs)
    }

    /// The network as its own file has it: every array is of one sequence, there is no batch.
    pub fn without_batch(mut self) -> Self {
        for signature in &mut self.signatures {
            for spec in signature.inputs.iter_mut().chain(&mut signature.outputs) {
                let batches = spec.shape.iter_mut().filter(|dim| **dim == Dim::Batch);
                batches.for_each(|dim| *dim = Dim::Fixed(1));
            }
        }
        self
    }
}

/// Checks an array against its specification, and takes the sizes that are open from it.
fn check(
    spec: &TensorSpec,
    array: &Array,
    subnet: usize,
    open: &mut OpenDims,
) -> Result<(), RunError> {
    let fits = array.shape.len() == spec.shape.len()
        && array
            .shape
            .iter()
            .zip(&spec.shape)
            .all(|(&size, dim)| match dim {
                Dim::Fixed(fixed) => size == *fixed,
                Dim::Batch => size > 0 && *open.batch.get_or_insert(size) == size,
                Dim::Steps => size > 0 && *open.steps[subnet].get_or_insert(size) == size,
            });
    if fits && array.values.element() == spec.element {
        return Ok(());
    }
    let sizes: Vec<String> = spec
        .shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => size.to_string(),
            Dim::Batch => open.batch.map_or("batch".into(), |n| n.to_string()),
            Dim::Steps => open.steps[subnet].map_or("T".into(), |n| n.to_string()),
        })
        .collect();
    Err(RunError::Shape {
        name: spec.name.clone(),
        found: format!("{} {:?}", array.values.element().name(), array.shape),
        expected: format!("{} [{}]", spec.element.name(), sizes.join(", ")),
    })
}

/// One sequence of the batch.
fn cut<T: Copy>(spec: &TensorSpec, shape: &[usize], values: &[T], sequence: usize) -> Vec<T> {
    let Some(axis) = spec.shape.iter().position(|dim| *dim == Dim::Batch) else {
        return values.to_vec();
    };
    let inner: usize = shape[axis + 1..].iter().product();
    let lines = values.chunks(inner.max(1));
    lines
        .enumerate()
        .filter(|(line, _)| line % shape[axis] == sequence)
        .flat_map(|(_, line)| line.iter().copied())
        .collect()
}

/// What one sequence gives for an output.
fn output(spec: &TensorSpec, results: &Outputs, phase: Phase) -> Vec<f32> {
    match &spec.role {
        TensorRole::States(ids) => ids
            .iter()
            .flat_map(|&id| results.states[subnet(phase)].get(id).iter().copied())
            .collect(),
        TensorRole::OtherOutput(index) => results.values[*index].clone(),
        _ => results.values[0].clone(),
    }
}

/// The sequences of a batch side by side.
fn join(spec: &TensorSpec, parts: Vec<Vec<f32>>, batch: usize, steps: usize) -> Array {
    let shape: Vec<usize> = spec
        .shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => *size,
            Dim::Batch => batch,
            Dim::Steps => steps,
        })
        .collect();
    let axis = spec
        .shape
        .iter()
        .position(|dim| *dim == Dim::Batch)
        .unwrap_or(0);
    let inner: usize = shape.get(axis + 1..).unwrap_or_default().iter().product();
    let outer = parts[0].len() / inner.max(1);
    let mut values = Vec::with_capacity(parts.len() * parts[0].len());
    for line in 0..outer {
        parts
            .iter()
            .for_each(|part| values.extend_from_slice(&part[line * inner..][..inner]));
    }
    Array {
        shape,
        values: Values::Float(values),
    }
}
