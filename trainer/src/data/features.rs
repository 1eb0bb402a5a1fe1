//! Features that a text is generated for: their form in text, and those that are computed from a text.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;

/// Parses features such as `length=0.5, a`: names with values; a name without a value has the value 1. If a value is not a
/// finite number, the error is that part of the text.
pub fn parse_features(text: &str) -> impl Iterator<Item = Result<(&str, f32), &str>> {
    let between = |c: char| c == ',' || c.is_ascii_whitespace();
    let parts = text.split(between).filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, "1"));
        let value = value.parse().ok().filter(|value: &f32| value.is_finite());
        value.map(|value| (name, value)).ok_or(part)
    })
}

/// A feature that is computed from a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Its number of characters divided by 10.
    Length,
    /// One feature for each first character, 1 for the text's own and 0 for the others.
    FirstLetter,
}

/// Features that are computed from each text, such as `length,first-letter`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Features(pub Vec<Feature>);

/// A feature that does not exist.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is not a feature: expected length, first-letter or both, such as length,first-letter"
)]
pub struct FeatureError(String);

impl FromStr for Features {
    type Err = FeatureError;

    fn from_str(text: &str) -> Result<Self, FeatureError> {
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let feature = |name: &str| match name {
            "length" => Ok(Feature::Length),
            "first-letter" => Ok(Feature::FirstLetter),
            other => Err(FeatureError(other.into())),
        };
        Ok(Self(names.map(feature).collect::<Result<_, _>>()?))
    }
}

impl TryFrom<String> for Features {
    type Error = FeatureError;

    fn try_from(text: String) -> Result<Self, FeatureError> {
        text.parse()
    }
}

impl Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (i, feature) in self.0.iter().enumerate() {
            let name = match feature {
                Feature::Length => "length",
                Feature::FirstLetter => "first-letter",
            };
            write!(f, "{}{name}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl From<Features> for String {
    fn from(features: Features) -> Self {
        features.to_string()
    }
}

impl Features {
    /// Computes the features of a text, by name.
    pub fn compute(&self, text: &str) -> BTreeMap<String, f32> {
        let feature = |feature: &Feature| match feature {
            Feature::Length => ("length".to_owned(), text.chars().count() as f32 / 10.0),
            Feature::FirstLetter => (text.chars().take(1).collect(), 1.0),
        };
        self.0.iter().map(feature).collect()
    }
}
