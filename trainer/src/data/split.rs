//! Training, dev and test parts of a data set.

use std::fmt::{self, Display};
use std::ops::Range;
use std::str::FromStr;

use super::corpus::{self, Corpus, CorpusError};

/// Percentages of a data set for training, dev and test; they sum up to 100. As text `80/10/10`.
///
/// A text is cut by position: the first characters are for training, then come dev and test. Lines are assigned by a hash of
/// their source, so that equal sources are in one part whatever the order of the lines: the lowest hashes are dev, then come
/// test and training.
///
/// ```
/// use trainer::data::split::{Part, Split};
/// let split: Split = "80/10/10".parse()?;
/// assert_eq!(split.range(1_000, Part::Dev), 800..900);
/// assert_eq!(split.part_of(0.15), Part::Test);
/// assert!("80/10".parse::<Split>().is_err());
/// # Ok::<(), trainer::data::split::SplitError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Split {
    train: f64,
    dev: f64,
    test: f64,
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What the weights are trained on.
    Train,
    /// What every choice looks at.
    Dev,
    /// What nothing looks at but `eval --split test`.
    Test,
}

/// A split that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "found {0:?}: expected three percentages TRAIN/DEV/TEST that sum up to 100, such as 80/10/10 or 90/10/0"
)]
pub struct SplitError(String);

impl Default for Split {
    /// `80/10/10`
    fn default() -> Self {
        Self {
            train: 80.0,
            dev: 10.0,
            test: 10.0,
        }
    }
}

impl Split {
    /// The split that a model's provenance names: `80/10/10 = ...`, or `first 90 %` in the files of older models.
    pub fn of_provenance(text: &str) -> Option<Self> {
        let first = text.split_whitespace().next()?;
        let older = || {
            let train: f64 = text
                .strip_prefix("first ")?
                .strip_suffix(" %")?
                .parse()
                .ok()?;
            format!("{train}/{}/0", 100.0 - train).parse().ok()
        };
        first.parse().ok().or_else(older)
    }

    /// The training, dev and test part of a text. If every line is a document, the line that a border falls into belongs to the
    /// part before.
    ///
    /// # Errors
    /// If the text cannot be read again.
    pub fn parts(
        &self,
        corpus: &Corpus,
        line_documents: bool,
    ) -> Result<[corpus::Part; 3], CorpusError> {
        let characters = corpus.characters();
        let ends = [Part::Train, Part::Dev].map(|part| self.range(characters, part).end);
        let parts = corpus.split(&ends, line_documents)?;
        Ok([parts[0], parts[1], parts[2]])
    }

    /// The training and the dev part of a text as one.
    ///
    /// # Errors
    /// As [`parts`](Self::parts).
    pub fn train_and_dev(
        &self,
        corpus: &Corpus,
        line_documents: bool,
    ) -> Result<corpus::Part, CorpusError> {
        let end = self.range(corpus.characters(), Part::Dev).end;
        Ok(corpus.split(&[end], line_documents)?[0])
    }

    /// The percentage of a part.
    pub fn percent(&self, part: Part) -> f64 {
        match part {
            Part::Train => self.train,
            Part::Dev => self.dev,
            Part::Test => self.test,
        }
    }

    /// The part of a source whose hash is at `fraction`, 0 to below 1, of all hashes.
    pub fn part_of(&self, fraction: f64) -> Part {
        if fraction < self.dev / 100.0 {
            Part::Dev
        } else if fraction < (self.dev + self.test) / 100.0 {
            Part::Test
        } else {
            Part::Train
        }
    }

    /// The range of a part among `count` characters.
    pub fn range(&self, count: usize, part: Part) -> Range<usize> {
        // Rounded before it is cut, so that 0.29 * 100 is 29.
        let at = |percent: f64| ((count as f64 * percent / 100.0 + 1e-6) as usize).min(count);
        let (first, second) = (at(self.train), at(self.train + self.dev));
        match part {
            Part::Train => 0..first,
            Part::Dev => first..second,
            Part::Test => second..count,
        }
    }
}

impl FromStr for Split {
    type Err = SplitError;

    fn from_str(text: &str) -> Result<Self, SplitError> {
        let refused = || SplitError(text.into());
        let percent = |part: &str| part.trim().parse().map_err(|_| refused());
        let parts: Vec<f64> = text.split('/').map(percent).collect::<Result<_, _>>()?;
        let [train, dev, test] = parts[..] else {
            return Err(refused());
        };
        let good = parts.iter().all(|part| (0.0..=100.0).contains(part));
        if !good || train == 0.0 || (train + dev + test - 100.0).abs() > 1e-6 {
            return Err(refused());
        }
        Ok(Self { train, dev, test })
    }
}

impl TryFrom<String> for Split {
    type Error = SplitError;

    fn try_from(text: String) -> Result<Self, SplitError> {
        text.parse()
    }
}

impl Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}/{}", self.train, self.dev, self.test)
    }
}

impl From<Split> for String {
    fn from(split: Split) -> Self {
        split.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_and_are_all() {
        for text in ["80/10/10", "90/10/0", "33.3/33.3/33.4", "100/0/0"] {
            let split: Split = text.parse().unwrap();
            assert_eq!(split.to_string(), text);
            for count in [0, 1, 2, 10, 977, 1_115_394] {
                let [train, dev, test] =
                    [Part::Train, Part::Dev, Part::Test].map(|part| split.range(count, part));
                assert_eq!(
                    (train.start, train.end, dev.end, test.end),
                    (0, dev.start, test.start, count)
                );
            }
            assert_eq!(split.part_of(0.999), Part::Train);
        }
        let split: Split = "90/10/0".parse().unwrap();
        // What the shipped models were trained on.
        assert_eq!(split.range(1_115_394, Part::Train), 0..1_003_854);
        assert_eq!(
            [0.0999, 0.1].map(|at| split.part_of(at)),
            [Part::Dev, Part::Train]
        );
        assert_eq!(Split::of_provenance("first 90 %"), Some(split));
        let of = Split::of_provenance("80/10/10 = 8/1/1, trained on train");
        assert_eq!(of, Some(Split::default()));
        assert_eq!(Split::of_provenance("all"), None);
        for wrong in [
            "",
            "80",
            "80/20",
            "80/10/11",
            "0/50/50",
            "a/b/c",
            "120/-10/-10",
            "NaN/1/99",
        ] {
            assert!(wrong.parse::<Split>().is_err(), "{wrong}");
        }
    }
}
