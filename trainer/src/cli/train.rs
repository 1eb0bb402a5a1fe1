//! `trainer train`

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::ProgressBar;
use pipsqueak::SamplingParams;
use pipsqueak_boards::BoardSpec;

use super::args::open_text;
use super::print::print_out;
use super::view::{JsonLines, Live, View, Watcher};
use super::{flash, teach, train_lines};
use crate::cli::progress;
use crate::data::corpus::{self, Corpus};
use crate::data::examples::Task;
use crate::data::features::Features;
use crate::data::hash;
use crate::data::tokenizer::Tokenizer;
use crate::deploy::fit::{self, Budget, Fit};
use crate::fs;
use crate::inference::generate::FloatGenerator;
use crate::inference::model::{ImageBytes, Model};
use crate::network::Network;
use crate::nn::rnn::Cells;
use crate::quantize::Options;
use crate::report::text::ImageReport;
use crate::training::checkpoint::Checkpoint;
use crate::training::lessons::Lessons;
use crate::training::model::Shape;
use crate::training::samples::{self, Log};
use crate::training::sequence::settings::SequenceSettings;
use crate::training::settings::{self, TrainSettings};
use crate::training::{self, Outcome, Plan, Record, Request, Row};

/// Trains a network: to go on with a text, by characters, bytes, words or subwords, or on a file of lines (`--task`).
///
/// `--task classify` takes lines `class TAB text` and learns to name the class (many-to-one); `--task translate` takes lines
/// `source TAB target` and learns to say the target (sequence-to-sequence); `--task describe` takes lines `features TAB text`, such
/// as `length=0.5,a TAB anna`, and learns to make a text for features (one-to-many), which `--features` computes of plain texts.
/// Of these, what is held back is chosen by each text's hash, so that neither the lines' order nor a seed matters.
///
/// Every option has a default that is good for the number of units and the length of the text. Training can be stopped at any
/// time with Ctrl-C: the model of that moment is written, and `--resume` goes on to the very result that a training without
/// a stop would have had.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The text to learn, or the lines, UTF-8: a book, all of a poet, a year of a log. A hundred thousand characters are a start, a million is good
    pub corpus: PathBuf,
    /// What to learn: without it a language model of the text; else what the lines say, see above
    #[arg(long, value_name = "TASK")]
    pub task: Option<Task>,
    /// With --task: how a source is cut. By default words for classify, characters for translate
    #[arg(long, value_name = "TOKENIZER", requires = "task")]
    pub source: Option<Tokenizer>,
    /// With --task: how a target is cut. By default symbols where the lines are some of a few ones between spaces, else characters
    #[arg(long, value_name = "TOKENIZER", requires = "task")]
    pub target: Option<Tokenizer>,
    /// With --task describe: what to compute of each line, where they are plain texts: length (in tens of characters), first-letter
    #[arg(long, value_name = "FEATURES", requires = "task")]
    pub features: Option<Features>,
    /// Folder for model.onnx, train.toml (all settings), loss.csv, samples.jsonl and checkpoint.bin
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// What a token is: char, byte (any text), word (what is rarer than the vocabulary is unknown) or subword (words and parts of them)
    #[arg(long, value_enum)]
    pub level: Option<Tokenizer>,
    /// Words or subwords that the network knows, the most frequent ones [default: 4000]
    #[arg(long, value_name = "TOKENS")]
    pub vocabulary: Option<usize>,
    /// Each line is a text of its own, such as a title or a name; what is generated ends where a line would
    #[arg(long)]
    pub lines: bool,
    /// Columns of the embedding, a table of what the network sees of each token; 0: none. Good for words and subwords, where it is as wide as the layers by default
    #[arg(long, value_name = "COLUMNS")]
    pub embedding: Option<usize>,
    /// Use the embedding for the output too, which halves the image of a large vocabulary; the default for words and subwords. With
    /// other columns than units (--embedding 64) the output reads through a matrix between, and the image is smaller still
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub tied: Option<bool>,
    /// Recurrent cell: gru (the default), lstm or rnn; or one for each layer, the lowest first, such as lstm,gru
    #[arg(long, value_name = "CELLS")]
    pub cell: Option<Cells>,
    /// Units of a layer: more learn more, and take flash, time on the board and training. 128 make an image of about 87 KB, 256 of about 269 KB
    #[arg(long, value_name = "UNITS")]
    pub hidden: Option<usize>,
    /// Recurrent layers, one above the other. One wider layer is mostly better than two
    #[arg(long)]
    pub layers: Option<usize>,
    /// Recurrent steps that each token is fed for: 2 make a better text of the same bytes, in twice the time on the board
    #[arg(long, value_name = "STEPS")]
    pub steps_per_token: Option<usize>,
    /// Bits of the layers' weights in the image, an encoder's too: 8, or 4 for half the flash, which the last part of the training
    /// is done with. Tables of tokens, embeddings and what makes states of features have 8 always
    #[arg(long)]
    pub bits: Option<u8>,
    /// Bits of the first layer's weights over its input: 8 beside --bits 4 are good for an embedding, which has few columns
    /// [default: as --bits]
    #[arg(long, value_name = "BITS")]
    pub input_bits: Option<u8>,
    /// Bits of the head's weights in the image: 8 or 4; 8 where they are the embedding's (--tied)
    #[arg(long, value_name = "BITS")]
    pub head_bits: Option<u8>,
    /// Of all steps the last ones, done with rounded weights where they have 4 bits. While the others alone still make the model
    /// better, it is better trained with --bits 8 and rounded by `export --bits 4` [default: a fifth]
    #[arg(long, value_name = "STEPS")]
    pub rounded_steps: Option<u64>,
    /// The highest learning rate of these
    #[arg(long, value_name = "RATE")]
    pub rounded_rate: Option<f64>,
    /// The decay of the moving average of the weights in these
    #[arg(long, value_name = "DECAY")]
    pub rounded_average: Option<f32>,
    /// Begin from this model's weights instead of random ones
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["task", "resume"])]
    pub from: Option<PathBuf>,
    /// Learn what a larger model says of the text beside the text itself, and from text that it makes up; several are averaged
    #[arg(long = "teacher", value_name = "MODEL", conflicts_with_all = ["task", "lessons"])]
    pub teachers: Vec<PathBuf>,
    /// The same from a file of `trainer teach`
    #[arg(long, value_name = "FILE", conflicts_with = "task")]
    pub lessons: Option<PathBuf>,
    /// The part of the teachers' word in what is learned, 0 to 1
    #[arg(long, value_name = "PART")]
    pub soft: Option<f32>,
    /// Part of the batch's rows that are of the text that teachers made up
    #[arg(long, value_name = "PART")]
    pub imagined: Option<f32>,
    /// The decay of the moving average of the weights, which is what the model gets; 0: the last weights
    #[arg(long, value_name = "DECAY")]
    pub average: Option<f32>,
    /// Choose cell, units, layers and bits so that the image fits this board: its slot, its memory, and --speed. Then train
    /// (--minutes 7, if neither minutes nor steps are given) and export
    #[arg(long, value_name = "BOARD", value_parser = flash::parse_board, conflicts_with_all = ["hidden", "layers", "cell", "embedding", "tied", "steps_per_token", "bits", "input_bits", "head_bits", "task", "from", "resume", "settings"])]
    pub fit: Option<&'static BoardSpec>,
    /// The same for so many bytes of flash, such as 64K, alone or on the board of --fit
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with_all = ["hidden", "layers", "cell", "embedding", "tied", "steps_per_token", "bits", "input_bits", "head_bits", "task", "from", "resume", "settings"])]
    pub flash: Option<usize>,
    /// Tokens a second that the board of --fit shall give at least
    #[arg(long, value_name = "TOKENS", default_value_t = 10.0, requires = "fit")]
    pub speed: f64,
    /// Part of the layers' outputs that is dropped while training, 0 to below 1: keeps large networks from learning a small text by heart
    #[arg(long, value_name = "PART")]
    pub dropout: Option<f32>,
    /// Another seed gives another network, about as good. The same seed and settings give the same bytes on the same machine
    #[arg(long)]
    pub seed: Option<u64>,
    /// Optimizer steps. Each sees batch x sequence characters
    #[arg(long, conflicts_with = "minutes")]
    pub steps: Option<u64>,
    /// Instead of --steps: as many as this machine does in about so many minutes. They are counted once, before the first, and written to train.toml
    #[arg(long)]
    pub minutes: Option<f64>,
    /// Characters that gradients go back through. The state is carried on beyond them
    #[arg(long, value_name = "CHARACTERS")]
    pub sequence: Option<usize>,
    /// Sequences side by side in each step: more are faster by the character, fewer learn more from each
    #[arg(long, value_name = "ROWS")]
    pub batch: Option<usize>,
    /// The highest learning rate; a warm-up leads to it, a cosine down from it. Lower it when a training diverges
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Pulls weights towards 0, against learning by heart
    #[arg(long, value_name = "DECAY")]
    pub weight_decay: Option<f32>,
    /// Part of the text, at its end, that is not trained on but measured with, 0 to below 1. By default a tenth, at most a million characters
    #[arg(long, value_name = "PART")]
    pub validation: Option<f64>,
    /// Threads; all cores by default. They share the batch's rows, best 8 or 16 each: for more cores take a larger --batch. Another
    /// number gives other last digits
    #[arg(long)]
    pub threads: Option<usize>,
    /// Settings from the train.toml of another training, to repeat it; options given beside it win
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub settings: Option<PathBuf>,
    /// Go on from FOLDER/checkpoint.bin, with its settings
    #[arg(long, conflicts_with_all = ["minutes", "overwrite"])]
    pub resume: bool,
    /// Start anew in a folder that has a training already
    #[arg(long)]
    pub overwrite: bool,
    /// Steps between two samples of generated text, each with a look at the validation text; 0: only one, at the end. By default ten
    #[arg(long, value_name = "STEPS")]
    pub sample_every: Option<u64>,
    /// Seconds between two checkpoints, each a place to resume from after a crash
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub checkpoint_every: u64,
    /// Say only the result
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
    /// Print a line of JSON for each report, and one for the result
    #[arg(long)]
    pub json: bool,
}

/// Units where nothing else is said: fits every board that the project knows.
const HIDDEN: usize = 128;

/// Runs the command.
///
/// # Errors
/// If the text, the settings or the checkpoint are refused, the training diverges, or a file cannot be written.
pub fn run(args: TrainArgs) -> anyhow::Result<()> {
    let checkpoint = args.out.join("checkpoint.bin");
    let lines = args.task.is_some()
        || (args.resume && Checkpoint::<SequenceSettings>::is_one(&checkpoint))
        || args.settings.as_deref().is_some_and(train_lines::is_record);
    let results = [
        "checkpoint.bin",
        "model.onnx",
        "train.toml",
        "loss.csv",
        samples::FILE,
    ];
    let there = |file| args.out.join(file).exists();
    if !args.resume && !args.overwrite && results.into_iter().any(there) {
        bail!(
            "{} has a training already: go on with --resume, or start anew with --overwrite",
            args.out.display()
        );
    }
    if lines {
        let corpus = open_text(&args.corpus, Tokenizer::default())?;
        return train_lines::run(&args, &corpus);
    }
    let resume: Option<Checkpoint> = if args.resume {
        Some(Checkpoint::read(&checkpoint)?)
    } else {
        None
    };
    let given = match (&resume, &args.settings) {
        (Some(checkpoint), _) => Some(checkpoint.settings.clone()),
        (None, Some(path)) => Some(read_settings(path)?),
        (None, None) => None,
    };
    let level = given.as_ref().map(|settings| settings.level);
    let corpus = open_text(&args.corpus, args.level.or(level).unwrap_or_default())?;
    let mut settings = match given {
        Some(settings) => settings,
        None => {
            let all = corpus.characters();
            let validation = args.validation.unwrap_or(settings::validation(all));
            let characters = corpus::training_part(all, validation);
            let hidden = args.hidden.unwrap_or(HIDDEN);
            TrainSettings {
                validation,
                ..TrainSettings::for_level(args.level.unwrap_or_default(), hidden, characters)
            }
        }
    };
    let fitted = match args.budget() {
        None => None,
        Some(budget) => {
            let fit = fitted(&args, &corpus, &mut settings, budget)?;
            let said = explained(&fit, budget);
            if !args.json {
                print_out(&said)?;
            }
            Some(budget)
        }
    };
    args.put_into(&mut settings);
    let lessons = lessons(&args, &corpus, &mut settings)?;
    let first = match &args.from {
        None => None,
        Some(path) => Some(first_weights(path, &mut settings)?),
    };
    let minutes = args
        .minutes
        .or((fitted.is_some() && args.steps.is_none()).then_some(FIT_MINUTES));
    if let Some(minutes) = minutes {
        settings.steps = training::steps_within(&corpus, &settings, time(minutes)?)?;
    }
    args.put_rounded_steps(&mut settings);
    let stop = stop()?;
    let past = resume.as_ref().map_or(&[][..], |at| &at.rows);
    let view: Box<dyn View> = match (args.json, args.quiet) {
        (true, _) => Box::new(JsonLines),
        (_, true) => Box::new(()),
        _ => Box::new(Terminal {
            live: Live::new(settings.steps, past),
            reading: progress::waiting("reading the text"),
        }),
    };
    let done = resume.as_ref().map_or(0, |at| at.progress.step);
    let log = Log::begin(&args.out, done)?;
    let mut watch = Watcher::new(view, |network| sample(network, settings.seed), log);
    let report_every = args.sample_every.unwrap_or(settings.steps.div_ceil(10));
    let request = Request {
        corpus: &corpus,
        settings: &settings,
        first,
        lessons: lessons.as_ref(),
        out: &args.out,
        resume,
        report_every,
        checkpoint_every: Duration::from_secs(args.checkpoint_every),
    };
    let outcome = training::run(request, stop, &mut watch)?;
    watch.ends()?;
    if args.json {
        print_json_line(&outcome.result)?;
    } else {
        print_out(&summary(&outcome, &args.out, &settings))?;
    }
    let Some(budget) = fitted.filter(|_| outcome.finished) else {
        return Ok(());
    };
    let image = ImageBytes::of(&outcome.network, &Options::default())?;
    let path = args.out.join("model.pip");
    fs::write_atomically(&path, image.bytes())?;
    if args.json {
        return print_json_line(&ImageReport::new(&image));
    }
    let mut next = format!("{}: {} bytes\n", path.display(), image.bytes().len());
    if let Some(board) = budget.board {
        let path = path.display();
        next += &format!(
            "`trainer flash {path} --board {0}` puts it on the board, `make demo BOARD={0} MODEL={path}` emulates it\n",
            board.name
        );
    }
    print_out(&next)
}

/// Minutes that a training for a budget takes, where nothing is said.
const FIT_MINUTES: f64 = 7.0;

/// Of all steps this part is done with rounded weights.
const ROUNDED_PART: u64 = 5;

/// Bytes, as `65536`, `64K` or `1M`.
fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let bytes = digits.parse().ok().and_then(|n: usize| n.checked_mul(unit));
    bytes.ok_or_else(|| "expected bytes, such as 65536, 64K or 1M".into())
}

/// The network that fits, and its settings.
fn fitted(
    args: &TrainArgs,
    corpus: &Corpus,
    settings: &mut TrainSettings,
    budget: Budget,
) -> anyhow::Result<Fit> {
    args.put_into(settings);
    let [first, _] = corpus.parts(settings.validation, settings.lines)?;
    let vocabulary =
        settings
            .level
            .build_vocabulary(corpus, first, settings.vocabulary, settings.lines)?;
    let fit = fit::fit(settings, &vocabulary, budget)?;
    *settings = TrainSettings::for_fit(&fit, settings, first.characters);
    Ok(fit)
}

/// What was chosen and why.
fn explained(fit: &Fit, budget: Budget) -> String {
    let layers = if fit.layers == 1 {
        "one GRU".into()
    } else {
        format!("{} GRUs", fit.layers)
    };
    let steps = if fit.steps_per_token == 1 {
        "one step"
    } else {
        "two steps"
    };
    let tokens = match fit.embedding {
        0 => "a table of tokens".into(),
        columns => format!("an embedding of {columns}"),
    };
    let bits = match (fit.input_bits, fit.bits) {
        (input, bits) if input != bits => format!("{input}/{bits}"),
        (_, bits) => bits.to_string(),
    };
    let mut text = format!(
        "chosen: {layers} of {} units, {steps} per token, {tokens}, weights of {bits} bits, head of {}\nit takes {} of {} bytes",
        fit.hidden, fit.head_bits, fit.bytes, budget.flash
    );
    if let (Some(board), Some(speed)) = (budget.board, fit.speed) {
        text += &format!(
            ", {} of {} bytes of memory, and makes {speed:.0} tokens a second on the {} (at least {} were asked for)",
            fit.workspace,
            4 * board.workspace_words,
            board.title,
            budget.speed
        );
    }
    text + "; larger ones do not fit, other forms of this size write worse\n"
}

/// What teachers say, and its hash in the settings. What they say in this training is kept beside it, to be resumed with.
fn lessons(
    args: &TrainArgs,
    corpus: &Corpus,
    settings: &mut TrainSettings,
) -> anyhow::Result<Option<Lessons>> {
    let own = args.out.join("lessons.bin");
    let file = match &args.lessons {
        None if args.resume && !settings.lessons.is_empty() => Some(&own),
        file => file.as_ref(),
    };
    if let Some(file) = file {
        let (lessons, hash) = Lessons::read(file)?;
        settings.lessons = hash;
        return Ok(Some(lessons));
    }
    if args.teachers.is_empty() {
        if !settings.lessons.is_empty() {
            bail!(
                "the training of these settings had teachers: give them with --teacher MODEL, or what they said with --lessons FILE"
            );
        }
        return Ok(None);
    }
    let &mut TrainSettings {
        validation,
        seed,
        threads,
        ..
    } = settings;
    settings.check()?;
    let (lessons, _) = teach::lessons(
        corpus,
        &args.teachers,
        validation,
        teach::IMAGINE,
        seed,
        threads,
    )?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make {}", args.out.display()))?;
    settings.lessons = lessons.write(&own)?;
    Ok(Some(lessons))
}

/// The weights of a model, and its shape in the settings.
fn first_weights(path: &Path, settings: &mut TrainSettings) -> anyhow::Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Model::Float(network) = Model::open(path)? else {
        bail!("{} is an image: expected a model.onnx", path.display());
    };
    let (shape, weights) =
        Shape::of(&network).map_err(|found| anyhow::anyhow!("{}: {found}", path.display()))?;
    settings.from = hash::sha256(&bytes);
    settings.hidden = shape.stack.hidden;
    settings.layers = shape.stack.cells.len();
    settings.cell = Cells::of(&shape.stack.cells);
    settings.embedding = shape.stack.embedding.unwrap_or(0);
    settings.tied = shape.tied;
    settings.steps_per_token = shape.steps_per_token;
    Ok(weights)
}

/// So many minutes.
pub(super) fn time(minutes: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(60.0 * minutes)
        .ok()
        .filter(|time| !time.is_zero())
        .with_context(|| format!("--minutes {minutes}: expected a number above 0"))
}

/// What Ctrl-C makes true.
pub(super) fn stop() -> anyhow::Result<&'static AtomicBool> {
    // One handler serves every training of the process.
    static STOP: AtomicBool = AtomicBool::new(false);
    let handler = ctrlc::set_handler(|| {
        // The second Ctrl-C does not wait.
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    if !matches!(handler, Err(ctrlc::Error::MultipleHandlers)) {
        handler?;
    }
    Ok(&STOP)
}

fn read_settings(path: &Path) -> anyhow::Result<TrainSettings> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let record: Record =
        toml::from_str(&text).with_context(|| format!("{} is not a train.toml", path.display()))?;
    Ok(record.settings)
}

impl TrainArgs {
    /// What the network shall fit into, if it is to be chosen.
    fn budget(&self) -> Option<Budget> {
        let slot = self.fit.map(|board| board.slot_bytes as usize);
        let flash = match (slot, self.flash) {
            (None, None) => return None,
            (Some(slot), Some(flash)) => slot.min(flash),
            (slot, flash) => slot.or(flash)?,
        };
        Some(Budget {
            flash,
            board: self.fit,
            speed: self.speed,
        })
    }

    /// Options that were given win over settings.
    pub(super) fn put_into(&self, settings: &mut TrainSettings) {
        fn put<T: Copy>(setting: &mut T, option: Option<T>) {
            *setting = option.unwrap_or(*setting);
        }
        if let Some(cells) = &self.cell {
            settings.cell = cells.clone();
            if cells.len() > 1 {
                settings.layers = cells.len();
            }
        }
        put(&mut settings.level, self.level);
        put(&mut settings.vocabulary, self.vocabulary);
        settings.lines |= self.lines;
        put(&mut settings.embedding, self.embedding);
        put(&mut settings.tied, self.tied);
        put(&mut settings.hidden, self.hidden);
        put(&mut settings.layers, self.layers);
        put(&mut settings.steps_per_token, self.steps_per_token);
        put(&mut settings.bits, self.bits);
        settings.input_bits = self.input_bits.or(settings.input_bits);
        put(&mut settings.head_bits, self.head_bits);
        put(&mut settings.rounded_steps, self.rounded_steps);
        put(&mut settings.rounded_rate, self.rounded_rate);
        put(&mut settings.rounded_average, self.rounded_average);
        put(&mut settings.soft, self.soft);
        put(&mut settings.imagined, self.imagined);
        put(&mut settings.average, self.average);
        put(&mut settings.dropout, self.dropout);
        put(&mut settings.seed, self.seed);
        put(&mut settings.steps, self.steps);
        put(&mut settings.sequence, self.sequence);
        put(&mut settings.batch, self.batch);
        put(&mut settings.learning_rate, self.learning_rate);
        put(&mut settings.weight_decay, self.weight_decay);
        put(&mut settings.validation, self.validation);
        put(&mut settings.threads, self.threads);
    }

    /// As many rounded steps as are good, where weights have 4 bits and nothing is said. All steps are known by now.
    pub(super) fn put_rounded_steps(&self, settings: &mut TrainSettings) {
        if settings.rounds() && settings.rounded_steps == 0 && self.rounded_steps.is_none() {
            settings.rounded_steps = settings.steps / ROUNDED_PART;
        }
    }
}

pub(super) fn print_json_line(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print_out(&format!("{}\n", serde_json::to_string(value)?))
}

fn summary(outcome: &Outcome, out: &Path, settings: &TrainSettings) -> String {
    let result = &outcome.result;
    let validation = result.validation_loss.map_or(String::new(), |loss| {
        format!(
            ", validation loss {loss:.4} nats/{} ({:.4} bits/char)",
            settings.level.token_name(),
            result.validation_bits.unwrap_or_default()
        )
    });
    let model = out.join("model.onnx");
    let mut text = format!(
        "{}: {} of {} steps in {:.0} s, training loss {:.4}{validation}\n",
        model.display(),
        result.steps,
        settings.steps,
        result.seconds,
        result.train_loss
    );
    if !outcome.finished {
        text += &format!(
            "stopped; `trainer train CORPUS --out {} --resume` goes on\n",
            out.display()
        );
    }
    text
}

/// A training on a text, as a terminal shows it.
struct Terminal {
    live: Live,
    /// Until the first step.
    reading: ProgressBar,
}

impl View for Terminal {
    fn begins(&mut self, plan: &Plan) {
        let &Plan {
            parameters,
            tokens,
            train_tokens,
            validation_tokens,
            step_tokens,
            ..
        } = plan;
        let (steps, unit) = (plan.steps, plan.level.token_names());
        self.reading.finish_and_clear();
        self.live.say(&format!(
            "{parameters} weights, {tokens} different {unit}, {train_tokens} for training, \
             {validation_tokens} for validation; {steps} steps of {step_tokens} {unit}, {:.1} times the text",
            (steps * step_tokens as u64) as f64 / train_tokens as f64
        ));
        if let Some((rows, sequence)) = plan.shrunk {
            self.live.say(&format!(
                "the text is short: the batch is {rows} sequence(s) of {sequence} {unit}"
            ));
        }
        for notice in &plan.notices {
            self.live.say(&notice.to_string());
        }
        self.live
            .measure(plan.steps, plan.done, step_tokens as u64, unit);
    }

    fn steps(&mut self, step: u64, train_loss: f64) {
        self.live.steps(step, train_loss);
    }

    fn reports(&mut self, row: &Row, sample: &str) {
        self.live.reports(row, &format!("{sample}\n"));
    }
}

/// What people judge such models by.
fn sample(network: &Network, seed: u64) -> String {
    let settings = SamplingParams {
        seed,
        ..SamplingParams::default()
    };
    let vocabulary = network.vocabulary();
    // Where texts are short, there is room for some of them.
    let mut lines = Vec::new();
    let mut characters = 0;
    while characters < SAMPLE && lines.len() < 8 {
        let seed = seed.wrapping_add(lines.len() as u64);
        let generator = FloatGenerator::new(
            network,
            network.state(),
            &[],
            SamplingParams { seed, ..settings },
        );
        let mut tokens = Vec::new();
        let mut text = String::new();
        for token in generator {
            tokens.push(token);
            text = vocabulary.decode(&tokens);
            if characters + text.chars().count() >= SAMPLE {
                break;
            }
        }
        characters += text.chars().count() + 1;
        lines.push(text);
    }
    lines.join("\n")
}

/// Characters of a sample.
const SAMPLE: usize = 240;
