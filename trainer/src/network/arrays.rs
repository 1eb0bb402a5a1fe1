//! Running a network on named arrays, as its graph names them.

use super::{Dim, ElementType, Feeds, Input, Interface, Network, Port, Results, Role};
use pipsqueak::Pcg32;
use rand_core::Rng;
use std::collections::BTreeMap;

/// The values of an array.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    Float(Vec<f32>),
    /// 32-bit integers.
    Int32(Vec<i32>),
    /// 64-bit integers.
    Int64(Vec<i64>),
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Values::Float(v) => v.len(),
            Values::Int32(v) => v.len(),
            Values::Int64(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn element(&self) -> ElementType {
        match self {
            Values::Float(_) => ElementType::Float,
            Values::Int32(_) => ElementType::Int32,
            Values::Int64(_) => ElementType::Int64,
        }
    }
}

/// A named array's shape and values, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Sizes.
    pub shape: Vec<usize>,
    /// As many as the sizes say.
    pub values: Values,
}

/// Why arrays do not fit a network.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum RunError {
    /// A name that no input has.
    #[error("{found:?} is no input of the model: its inputs are {}", .inputs.join(", "))]
    Unknown {
        /// The name.
        found: String,
        /// The names of all inputs.
        inputs: Vec<String>,
    },
    /// An input that is not there.
    #[error("the input {0:?} is missing: only states may be left out, they are zero then")]
    Missing(String),
    /// An array of another type or shape.
    #[error("input {name:?}: found {found}, expected {expected}")]
    Shape {
        /// The input.
        name: String,
        /// Type and shape.
        found: String,
        /// Type and shape.
        expected: String,
    },
    /// A token that the model does not have.
    #[error("input {name:?}: found token {token}, expected 0 to {}", .count - 1)]
    Token {
        /// The input.
        name: String,
        /// The id.
        token: i64,
        /// V
        count: usize,
    },
}

/// The sizes that a run has and the graph leaves open.
#[derive(Clone, Copy, Default)]
struct Open {
    batch: Option<usize>,
    /// Of the network itself and of its encoder.
    steps: [Option<usize>; 2],
}

/// One network of those that run a sequence, as its arrays see it.
#[derive(Clone, Debug)]
pub struct Side<'n> {
    /// Names, types, shapes and roles of its arrays.
    pub interface: &'n Interface,
    /// Tokens that may come in.
    pub tokens: usize,
    /// Units of each layer.
    pub units: Vec<usize>,
    /// Steps of a sequence, where the input does not say them.
    pub steps: Option<usize>,
}

/// What runs one sequence at a time: a network in float, or an image in integers.
pub trait Sequences {
    /// The network itself and then its encoder, if it has one.
    fn sides(&self) -> Vec<Side<'_>>;

    /// Runs one sequence from its start, with feeds of the sizes that [`sides`](Self::sides) tell.
    fn run_sequence(&self, feeds: &Feeds) -> Results;
}

impl Sequences for Network {
    fn sides(&self) -> Vec<Side<'_>> {
        let all = std::iter::once(self).chain(self.encoder.as_deref());
        all.map(|network| Side {
            interface: &network.interface,
            tokens: network.tokens(),
            units: network.layers.iter().map(|layer| layer.hidden()).collect(),
            steps: match &network.input {
                Input::Features { steps, .. } => Some(*steps),
                Input::Tokens { .. } | Input::Vectors { .. } => None,
            },
        })
        .collect()
    }

    fn run_sequence(&self, feeds: &Feeds) -> Results {
        self.run(feeds)
    }
}

/// Runs a network on arrays by the names of the graph's inputs; gives those of its outputs. States that are missing are
/// zero. Where the graph has a batch dimension, each sequence of it is run by itself.
///
/// # Errors
/// If a name is unknown, an array missing or of another type or shape, or a token out of range.
pub fn run_arrays(
    network: &impl Sequences,
    arrays: &BTreeMap<String, Array>,
) -> Result<Vec<(String, Array)>, RunError> {
    let sides = network.sides();
    let (feeds, open) = cut_sequences(&sides, arrays)?;
    let results: Vec<Results> = feeds
        .iter()
        .map(|feeds| network.run_sequence(feeds))
        .collect();
    let mut outputs = Vec::new();
    for (index, side) in sides.iter().enumerate().rev() {
        for port in &side.interface.outputs {
            let parts = results.iter().map(|results| {
                let own = match (index, results.encoder.as_deref()) {
                    (0, _) => results,
                    (_, encoder) => encoder.expect("an encoder gives results"),
                };
                output(port, own)
            });
            let steps = side.steps.or(open.steps[index]).unwrap_or(1);
            let array = join(port, parts.collect(), results.len(), steps);
            outputs.push((port.name.clone(), array));
        }
    }
    Ok(outputs)
}

/// The sequences that arrays hold, by the names of the graph's inputs.
///
/// # Errors
/// As [`run_arrays`].
pub fn sequences(
    network: &impl Sequences,
    arrays: &BTreeMap<String, Array>,
) -> Result<Vec<Feeds>, RunError> {
    cut_sequences(&network.sides(), arrays).map(|(feeds, _)| feeds)
}

fn cut_sequences(
    sides: &[Side],
    arrays: &BTreeMap<String, Array>,
) -> Result<(Vec<Feeds>, Open), RunError> {
    // As the graph has them: the encoder's first.
    let ports = || sides.iter().rev().flat_map(|side| &side.interface.inputs);
    if let Some(found) = arrays
        .keys()
        .find(|name| ports().all(|port| port.name != **name))
    {
        return Err(RunError::Unknown {
            found: found.clone(),
            inputs: ports().map(|port| port.name.clone()).collect(),
        });
    }
    let mut open = Open::default();
    for (index, side) in sides.iter().enumerate() {
        for port in &side.interface.inputs {
            match arrays.get(&port.name) {
                Some(array) => check(port, array, index, &mut open)?,
                None if matches!(port.role, Role::States(_)) => {}
                None => return Err(RunError::Missing(port.name.clone())),
            }
        }
    }
    let one = |sequence| feeds(sides, arrays, sequence);
    let feeds: Result<_, _> = (0..open.batch.unwrap_or(1)).map(one).collect();
    Ok((feeds?, open))
}

/// What one sequence of the batch is.
fn feeds(
    sides: &[Side],
    arrays: &BTreeMap<String, Array>,
    sequence: usize,
) -> Result<Feeds, RunError> {
    let mut feeds = Feeds::default();
    let Some((side, encoder)) = sides.split_first() else {
        return Ok(feeds);
    };
    for port in &side.interface.inputs {
        let Some(array) = arrays.get(&port.name) else {
            continue;
        };
        match (&port.role, &array.values) {
            (Role::Tokens, values) => {
                let ids: Vec<i64> = match values {
                    Values::Float(v) => cut(port, &array.shape, v, sequence)
                        .iter()
                        .map(|&x| x as i64)
                        .collect(),
                    Values::Int32(v) => cut(port, &array.shape, v, sequence)
                        .iter()
                        .map(|&x| x.into())
                        .collect(),
                    Values::Int64(v) => cut(port, &array.shape, v, sequence),
                };
                let count = side.tokens;
                if let Some(&token) = ids.iter().find(|&&id| id < 0 || id >= count as i64) {
                    return Err(RunError::Token {
                        name: port.name.clone(),
                        token,
                        count,
                    });
                }
                feeds.tokens = ids.iter().map(|&id| id as usize).collect();
            }
            (role, Values::Float(v)) => {
                let mut values = cut(port, &array.shape, v, sequence);
                match role {
                    Role::Vectors => feeds.vectors = values,
                    Role::Features => feeds.features = values,
                    Role::States(ids) => {
                        for id in ids {
                            let rest = values.split_off(side.units[id.layer]);
                            feeds.states.push((*id, values));
                            values = rest;
                        }
                    }
                    Role::Tokens | Role::Head => {
                        unreachable!("tokens are above, and the head is no input")
                    }
                }
            }
            _ => unreachable!("the type was checked"),
        }
    }
    if !encoder.is_empty() {
        feeds.encoder = Some(Box::new(self::feeds(encoder, arrays, sequence)?));
    }
    Ok(feeds)
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
        let sides = std::iter::once(self).chain(self.encoder.as_deref());
        let mut ports =
            sides.flat_map(|side| side.interface.inputs.iter().map(move |port| (side, port)));
        let (side, port) = ports
            .find(|(_, port)| port.name == name)
            .expect("an input of that name");
        let mut random = Pcg32::new(seed, 7);
        let mut id = || i64::from(random.next_u32()) % side.tokens().max(1) as i64;
        let count = 0..shape.iter().product();
        let values = match (&port.role, port.element) {
            (Role::Tokens, ElementType::Float) => {
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
}

/// Checks an array against its port, and takes the sizes that are open from it.
fn check(port: &Port, array: &Array, side: usize, open: &mut Open) -> Result<(), RunError> {
    let fits = array.shape.len() == port.shape.len()
        && array
            .shape
            .iter()
            .zip(&port.shape)
            .all(|(&size, dim)| match dim {
                Dim::Fixed(fixed) => size == *fixed,
                Dim::Batch => size > 0 && *open.batch.get_or_insert(size) == size,
                Dim::Steps => size > 0 && *open.steps[side].get_or_insert(size) == size,
            });
    if fits && array.values.element() == port.element {
        return Ok(());
    }
    let sizes: Vec<String> = port
        .shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => size.to_string(),
            Dim::Batch => open.batch.map_or("batch".into(), |n| n.to_string()),
            Dim::Steps => open.steps[side].map_or("T".into(), |n| n.to_string()),
        })
        .collect();
    Err(RunError::Shape {
        name: port.name.clone(),
        found: format!("{} {:?}", array.values.element().name(), array.shape),
        expected: format!("{} [{}]", port.element.name(), sizes.join(", ")),
    })
}

/// One sequence of the batch.
fn cut<T: Copy>(port: &Port, shape: &[usize], values: &[T], sequence: usize) -> Vec<T> {
    let Some(axis) = port.shape.iter().position(|dim| *dim == Dim::Batch) else {
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

fn output(port: &Port, results: &Results) -> Vec<f32> {
    match &port.role {
        Role::States(ids) => ids
            .iter()
            .flat_map(|&id| results.state.get(id).iter().copied())
            .collect(),
        _ => results.head.clone(),
    }
}

/// The sequences of a batch side by side.
fn join(port: &Port, parts: Vec<Vec<f32>>, batch: usize, steps: usize) -> Array {
    let shape: Vec<usize> = port
        .shape
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => *size,
            Dim::Batch => batch,
            Dim::Steps => steps,
        })
        .collect();
    let axis = port
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

impl ElementType {
    /// As numpy names it.
    pub fn name(self) -> &'static str {
        match self {
            ElementType::Float => "float32",
            ElementType::Int32 => "int32",
            ElementType::Int64 => "int64",
        }
    }
}
