//! Running a float network, a step at a time or a whole sequence.

use super::cells::Signal;
use super::{Dense, Input, Network, Normalization, Reads, Start, StateId};

/// The states of a [`Network`]'s layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatState {
    /// Hidden state of each layer, `[H]`.
    pub hidden: Vec<Vec<f32>>,
    /// Cell state of each layer, `[H]`; empty in a layer that has none.
    pub cell: Vec<Vec<f32>>,
}

impl FloatState {
    /// One state.
    pub fn get(&self, id: StateId) -> &[f32] {
        if id.cell {
            &self.cell[id.layer]
        } else {
            &self.hidden[id.layer]
        }
    }

    fn set(&mut self, id: StateId, value: &[f32]) {
        let all = if id.cell {
            &mut self.cell
        } else {
            &mut self.hidden
        };
        all[id.layer] = value.to_vec();
    }
}

/// What one sequence is made of. What the network has no use for is left empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feeds {
    /// Ids, one for each step.
    pub tokens: Vec<usize>,
    /// `[T][width]`
    pub vectors: Vec<f32>,
    /// `[width]`
    pub features: Vec<f32>,
    /// Those states that are [given](Start::Given), `[H]` each; the others are zero.
    pub states: Vec<(StateId, Vec<f32>)>,
    /// What the encoder gets.
    pub encoder: Option<Box<Feeds>>,
}

/// What a sequence gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// Of the head: `[T][V]`, or `[V]` where it gives one output a sequence.
    pub head: Vec<f32>,
    /// After the last step.
    pub state: FloatState,
    /// What the encoder gave.
    pub encoder: Option<Box<Results>>,
}

/// What is told of each layer at each step.
pub(crate) type Watch<'w> = &'w mut dyn FnMut(usize, Signal, &[f32]);

impl Network {
    /// A state of zeros.
    pub fn state(&self) -> FloatState {
        let zeros = |units| vec![0.0; units];
        let cell = |l: &super::Layer| zeros(if l.has_cell() { l.hidden() } else { 0 });
        FloatState {
            hidden: self.layers.iter().map(|l| zeros(l.hidden())).collect(),
            cell: self.layers.iter().map(cell).collect(),
        }
    }

    /// Feeds `token` to every layer, [as often](Self::steps_per_token) as the network says.
    ///
    /// # Panics
    /// If `token` is not below [`tokens`](Self::tokens).
    pub fn step(&self, state: &mut FloatState, token: u16) {
        let token = usize::from(token);
        match &self.input {
            Input::Tokens {
                embedding: None, ..
            } => self.feed(state, Signal::OneHot(token)),
            Input::Tokens {
                embedding: Some(table),
                ..
            } => {
                self.feed(state, Signal::Vector(table.row(token)));
            }
            _ => panic!("the network takes vectors, not tokens"),
        }
    }

    fn feed(&self, state: &mut FloatState, signal: Signal) {
        self.feed_watched(state, signal, &mut |_, _, _| ());
    }

    /// All steps of one token, or the step of a vector.
    fn feed_watched(&self, state: &mut FloatState, signal: Signal, watch: Watch) {
        for _ in 0..self.steps_per_token {
            let mut below: Vec<f32> = Vec::new();
            for (depth, layer) in self.layers.iter().enumerate() {
                let signal = if depth == 0 {
                    signal
                } else {
                    Signal::Vector(&below)
                };
                watch(depth, signal, &state.hidden[depth]);
                layer.step(signal, &mut state.hidden[depth], &mut state.cell[depth]);
                below.clone_from(&state.hidden[depth]);
            }
        }
    }

    /// What the head makes of the last layer's state, before any [`Normalization`]: of a language model the logits, `[V]`.
    ///
    /// # Panics
    /// If the network has no layer.
    pub fn logits(&self, state: &FloatState) -> Vec<f32> {
        let top = state.hidden.last().expect("the network has a layer");
        through(&self.head.dense, top)
    }

    /// Runs one sequence from its start.
    ///
    /// # Panics
    /// If a feed is missing, has another length than the network's sizes say, or holds an id that is no token.
    pub fn run(&self, feeds: &Feeds) -> Results {
        self.run_watched(feeds, &mut |_, _, _| ())
    }

    /// The same; `watch` is told what comes into each layer at each step: its number, its input and its hidden state.
    pub(crate) fn run_watched(&self, feeds: &Feeds, watch: Watch) -> Results {
        let encoder = self.encode(feeds);
        let mut state = self.start(feeds, encoder.as_deref());
        let mut read = Vec::new();
        let mut steps = 0;
        let mut sum: Vec<f32> = Vec::new();
        self.each_step(feeds, |signal| {
            self.feed_watched(&mut state, signal, watch);
            let top = match (state.hidden.last(), signal) {
                (Some(top), _) => top.clone(),
                (None, Signal::Vector(x)) => x.to_vec(),
                (None, Signal::OneHot(token)) => {
                    let mut x = vec![0.0; self.input.width()];
                    x[token] = 1.0;
                    x
                }
            };
            steps += 1;
            match self.head.reads {
                Reads::EveryStep => read.extend(self.finish(&top)),
                Reads::LastStep => sum = top,
                Reads::Mean => {
                    sum.resize(top.len(), 0.0);
                    sum.iter_mut().zip(top).for_each(|(sum, x)| *sum += x);
                }
            }
        });
        if self.head.reads == Reads::Mean {
            sum.iter_mut().for_each(|sum| *sum /= steps as f32);
        }
        let head = match self.head.reads {
            Reads::EveryStep => read,
            Reads::LastStep | Reads::Mean => self.finish(&sum),
        };
        Results {
            head,
            state,
            encoder,
        }
    }

    /// The state before the first step; an encoder has then run over its feeds.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn begin(&self, feeds: &Feeds) -> FloatState {
        let encoder = self.encode(feeds);
        self.start(feeds, encoder.as_deref())
    }

    fn encode(&self, feeds: &Feeds) -> Option<Box<Results>> {
        let encoder = self.encoder.as_ref()?;
        let feeds = feeds.encoder.as_ref().expect("feeds of the encoder");
        Some(Box::new(encoder.run(feeds)))
    }

    fn start(&self, feeds: &Feeds, encoder: Option<&Results>) -> FloatState {
        let mut state = self.state();
        for (layer, starts) in self.starts.iter().enumerate() {
            for (cell, start) in [(false, &starts.hidden), (true, &starts.cell)] {
                let id = StateId { layer, cell };
                match start {
                    Start::Zero | Start::Given => {}
                    Start::Constant(values) => state.set(id, values),
                    Start::Features(dense) => state.set(id, &through(dense, &feeds.features)),
                    Start::Encoder(from, dense) => {
                        let encoder = encoder.expect("a start from an encoder comes with one");
                        state.set(id, &through(dense, encoder.state.get(*from)));
                    }
                }
            }
        }
        for (id, value) in &feeds.states {
            assert_eq!(value.len(), state.get(*id).len(), "values of {id:?}");
            state.set(*id, value);
        }
        state
    }

    fn each_step(&self, feeds: &Feeds, mut step: impl FnMut(Signal)) {
        match &self.input {
            Input::Tokens { embedding, .. } => {
                for &token in &feeds.tokens {
                    match embedding {
                        None => step(Signal::OneHot(token)),
                        Some(table) => step(Signal::Vector(table.row(token))),
                    }
                }
            }
            Input::Vectors { width, dense } => {
                for x in feeds.vectors.chunks(*width) {
                    step(Signal::Vector(&through(dense, x)));
                }
            }
            Input::Features { dense, steps, .. } => {
                let x = through(dense, &feeds.features);
                (0..*steps).for_each(|_| step(Signal::Vector(&x)));
            }
        }
    }

    /// The head with its normalization.
    fn finish(&self, x: &[f32]) -> Vec<f32> {
        let mut y = through(&self.head.dense, x);
        normalize(self.head.normalization, &mut y);
        y
    }
}

/// `y` after `normalization`.
pub(crate) fn normalize(normalization: Normalization, y: &mut [f32]) {
    if normalization == Normalization::None {
        return;
    }
    let max = y.iter().fold(f32::MIN, |a, &b| a.max(b));
    let sum = y.iter().map(|y| (y - max).exp()).sum::<f32>();
    for y in y {
        *y = match normalization {
            Normalization::Softmax => (*y - max).exp() / sum,
            _ => *y - max - sum.ln(),
        };
    }
}

/// `x` after the dense layers.
pub(crate) fn through(dense: &[Dense], x: &[f32]) -> Vec<f32> {
    dense
        .iter()
        .fold(x.to_vec(), |x, Dense { w, b, activation }| {
            assert_eq!(x.len(), w.columns, "inputs of a dense layer");
            (0..w.rows)
                .map(|row| activation.of(w.dot(row, &x) + b[row]))
                .collect()
        })
}

/// `-ln softmax(logits)[target]`, in nats.
pub fn nats(logits: &[f32], target: u16) -> f64 {
    let max = logits.iter().fold(f32::MIN, |a, &b| a.max(b));
    let sum: f64 = logits.iter().map(|&l| f64::from(l - max).exp()).sum();
    sum.ln() - f64::from(logits[usize::from(target)] - max)
}
