//! How well a network does what it was trained for, on examples that it was not trained on.

use crate::data::examples::{BOS, EOS, Example, ExampleSet, predictions};
use crate::data::ngram::KneserNey;
use crate::data::task::Task;
use crate::inference::generate::{GREEDY, tokens};
use crate::inference::integer::IntegerNetwork;
use crate::inference::tasks::{argmax, translate};
use crate::network::{Inputs, Network, SequenceModel, SubnetInputs, cross_entropy};
use pipsqueak::{Generator, StepInput};

/// The highest order of an n-gram model.
const ORDER: usize = 8;

/// What was measured on examples that were not trained on.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Measures {
    /// How many examples.
    pub examples: usize,
    /// Nats per prediction: a class, or a token of the target or its end, where the ones before are given.
    pub loss: f64,
    /// The same in bits: per character, ends counted, where tokens are characters.
    pub bits: f64,
    /// Part of the examples whose class is the likeliest one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy: Option<f64>,
    /// Tokens to insert, leave out or replace, as a part of the references' tokens, with the nearest reference.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token_error: Option<f64>,
    /// Part of the examples that came out as one of the references.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub whole_right: Option<f64>,
    /// The best n-gram model over the same targets, which does not know the features: not comparable to `bits`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ngram_without_features: Option<NgramBits>,
    /// The same where the first token of a text costs nothing, as a feature names it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ngram_given_first_letter: Option<NgramBits>,
}

/// An n-gram model.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NgramBits {
    /// How many tokens it sees.
    pub order: usize,
    /// Bits per prediction.
    pub bits: f64,
}

/// Sums over examples.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    nats: f64,
    predictions: usize,
    right: usize,
    errors: usize,
    tokens: usize,
}

impl Sums {
    fn add(mut self, other: Self) -> Self {
        self.nats += other.nats;
        self.predictions += other.predictions;
        self.right += other.right;
        self.errors += other.errors;
        self.tokens += other.tokens;
        self
    }
}

/// What gives answers to examples: a float network, or an image.
pub trait Predictor: SequenceModel + Sync {
    /// What `source` becomes, always the likeliest token, of at most `limit` tokens; the end is left out.
    fn translation(&self, source: &[u16], limit: usize) -> Vec<u16>;
}

impl Predictor for Network {
    fn translation(&self, source: &[u16], limit: usize) -> Vec<u16> {
        translate(self, source, limit)
    }
}

impl Predictor for IntegerNetwork<'_> {
    fn translation(&self, source: &[u16], limit: usize) -> Vec<u16> {
        let mut workspace = vec![0; self.model().workspace_len()];
        let mut generator = Generator::new(self.model(), &mut workspace, GREEDY)
            .expect("the workspace has the length asked for");
        for &token in source {
            let pushed = generator.session().push_source(StepInput::Token(token));
            pushed.expect("an encoder of these tokens");
        }
        tokens(&mut generator).take(limit).collect()
    }
}

/// The loss alone, nats per prediction; none without examples.
pub fn loss(network: &Network, task: Task, examples: &[&Example], threads: usize) -> Option<f64> {
    let sums = over(examples, threads, |example| Sums {
        nats: nats_of(&logits(network, task, example), task, example),
        predictions: predictions(task, example),
        ..Sums::default()
    });
    (sums.predictions > 0).then(|| sums.nats / sums.predictions as f64)
}

/// Everything, on `part`, the dev or test part of `data`; none where it is empty.
pub fn measure(
    network: &impl Predictor,
    task: Task,
    data: &ExampleSet,
    part: &[Example],
    threads: usize,
) -> Option<Measures> {
    let limit = 2 * data.longest().target;
    let examples: Vec<&Example> = part.iter().collect();
    let sums = over(&examples, threads, |example| {
        let logits = logits(network, task, example);
        let mut sums = Sums {
            nats: nats_of(&logits, task, example),
            predictions: predictions(task, example),
            ..Sums::default()
        };
        match task {
            Task::Classifier => {
                sums.right = usize::from(argmax(&logits) == example.target[0]);
            }
            Task::SequenceToSequence => {
                let said = network.translation(&example.source, limit);
                let references =
                    std::iter::once(&example.target).chain(&example.alternative_targets);
                let nearest =
                    references.map(|reference| (distance(&said, reference), reference.len()));
                let (errors, tokens) = nearest.min().expect("a target");
                (sums.errors, sums.tokens) = (errors, tokens);
                sums.right = usize::from(errors == 0);
            }
            Task::ConditionalGenerator | Task::LanguageModel => {}
        }
        sums
    });
    if sums.predictions == 0 {
        return None;
    }
    let ratio = |count: usize, of: usize| count as f64 / of as f64;
    let right = ratio(sums.right, examples.len());
    let loss = sums.nats / sums.predictions as f64;
    let [without, given] = match task {
        Task::ConditionalGenerator => best_ngrams(data, part),
        _ => [None; 2],
    };
    Some(Measures {
        examples: examples.len(),
        loss,
        bits: loss / std::f64::consts::LN_2,
        accuracy: (task == Task::Classifier).then_some(right),
        token_error: (task == Task::SequenceToSequence).then(|| ratio(sums.errors, sums.tokens)),
        whole_right: (task == Task::SequenceToSequence).then_some(right),
        ngram_without_features: without,
        ngram_given_first_letter: given,
    })
}

/// The sums over all examples, each thread with its part of them, added in their order.
fn over(examples: &[&Example], threads: usize, of: impl Fn(&Example) -> Sums + Sync) -> Sums {
    let share = examples.len().div_ceil(threads.max(1)).max(1);
    let of = &of;
    std::thread::scope(|scope| {
        let parts: Vec<_> = examples
            .chunks(share)
            .map(|part| {
                scope.spawn(move || {
                    part.iter()
                        .map(|example| of(example))
                        .fold(Sums::default(), Sums::add)
                })
            })
            .collect();
        parts
            .into_iter()
            .map(|part| part.join().expect("a part does not panic"))
            .fold(Sums::default(), Sums::add)
    })
}

/// The logits of an example's predictions, one after the other, each with the right tokens before it.
fn logits(network: &impl SequenceModel, task: Task, example: &Example) -> Vec<f32> {
    let inputs = match task {
        Task::Classifier => Inputs::of_tokens(&example.source),
        _ => Inputs {
            source: SubnetInputs::of_tokens(&example.source),
            step: SubnetInputs::of_tokens(&[&[BOS], &example.target[..]].concat()),
            features: example.features.clone(),
        },
    };
    network.run_sequence(&inputs).values.swap_remove(0)
}

/// What `logits` of an example's predictions lose: of its class, or of its target's tokens and its end.
fn nats_of(logits: &[f32], task: Task, example: &Example) -> f64 {
    let end = (task != Task::Classifier).then_some(&EOS);
    let outputs = logits.len() / predictions(task, example);
    logits
        .chunks_exact(outputs)
        .zip(example.target.iter().chain(end))
        .map(|(logits, target)| cross_entropy(logits, *target))
        .sum()
}

/// The n-gram models with the fewest bits over the targets of `part`, as one text of targets and ends; counted on the training
/// part. First without the features, then with the first token of each text given, if a feature names it.
fn best_ngrams(data: &ExampleSet, part: &[Example]) -> [Option<NgramBits>; 2] {
    let text = |examples: &[Example]| {
        let mut text = vec![u32::from(EOS)];
        for example in examples {
            let tokens = example.target.iter().chain([&EOS]);
            text.extend(tokens.map(|token| u32::from(*token)));
        }
        text
    };
    let model = KneserNey::new(&text(&data.train), data.target.len(), ORDER);
    let held = text(part);
    let mut sums = [[0.0; 2]; ORDER + 1];
    for at in 1..held.len() {
        let history = &held[at.saturating_sub(ORDER)..at];
        let is_first = held[at - 1] == u32::from(EOS);
        for (sums, p) in sums.iter_mut().zip(model.probabilities(history, held[at])) {
            sums[0] -= p.log2();
            sums[1] -= if is_first { 0.0 } else { p.log2() };
        }
    }
    let best = |which: usize| {
        let of_orders = sums
            .iter()
            .map(|sums| sums[which] / (held.len() - 1) as f64);
        let best = of_orders.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        best.map(|(order, bits)| NgramBits { order, bits })
    };
    let is_given = |example: &Example| {
        let first = example
            .target
            .first()
            .map(|token| data.target.token(*token));
        let features = data.feature_names.iter().zip(&example.features);
        let mut named = features.filter(|(_, value)| **value != 0.0);
        named.any(|(name, _)| Some(&**name) == first)
    };
    [
        best(0),
        part.iter().all(is_given).then(|| best(1)).flatten(),
    ]
}

/// Levenshtein's distance: the fewest tokens to insert, leave out or replace.
///
/// ```
/// use trainer::eval::tasks::distance;
/// assert_eq!(distance(&[1, 2, 3], &[1, 4, 3, 5]), 2);
/// assert_eq!(distance(&[], &[7, 7]), 2);
/// ```
pub fn distance(a: &[u16], b: &[u16]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
