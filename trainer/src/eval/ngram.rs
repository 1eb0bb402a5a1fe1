//! Markov chains, the baseline that a network must beat: bytes against bits per character.
//!
//! A chain of order `k` predicts a token from the `k` before it, by how often each (k+1)-gram was seen. Where little was
//! seen, it leans on the order below, by interpolated Kneser-Ney smoothing (R. Kneser and H. Ney, "Improved backing-off
//! for m-gram language modeling", 1995, in the interpolated form of S. Chen and J. Goodman, "An empirical study of
//! smoothing techniques for language modeling", 1998, section 2.7):
//!
//! ```text
//! p(w | h) = (max(c(h w) - D, 0) + D * n(h) * p(w | h without its first token)) / sum of c(h v) over all v
//! ```
//!
//! Here `c` counts, `n(h)` is how many different tokens follow `h`, and the last order below is uniform over the V tokens.
//! In the orders below the highest, `c(h w)` is not how often `h w` was seen but after how many different tokens. The
//! discount of an order is `D = n1 / (n1 + 2 n2)`, where n1 and n2 n-grams have `c` of 1 and 2; 1/2 where n1 is 0.
//!
//! The text counts as a ring, so that every n-gram has a token before it and one after.

use std::collections::HashMap;

/// Gives each different text an id, from 0 in the order in which they come.
#[derive(Clone, Debug, Default)]
pub struct Ids(HashMap<String, u32>);

impl Ids {
    /// The ids of `tokens`, new ones where they are needed.
    pub fn of(&mut self, tokens: &[String]) -> Vec<u32> {
        let id = |token: &String| {
            let next = self.0.len() as u32;
            match self.0.get(token) {
                Some(id) => *id,
                None => *self.0.entry(token.clone()).or_insert(next),
            }
        };
        tokens.iter().map(id).collect()
    }

    /// How many there are, V.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Bytes of all texts, each with a byte for its length.
    pub fn bytes(&self) -> usize {
        self.0.keys().map(|text| text.len() + 1).sum()
    }
}

/// The chains of every order up to the highest, over one text.
#[derive(Clone, Debug)]
pub struct Markov {
    vocabulary: usize,
    /// Level `k` has the (k+1)-grams, sorted.
    levels: Vec<Grams>,
}

#[derive(Clone, Debug, Default)]
struct Grams {
    grams: Vec<Gram>,
    /// Where this is a chain's highest level: by how often an n-gram was seen.
    highest: Discount,
    /// Where it is a lower one: by how many different tokens it was seen after.
    lower: Discount,
}

/// An n-gram: a node of the tree whose children are longer by a token.
#[derive(Clone, Copy, Debug)]
struct Gram {
    /// The last token.
    token: u32,
    /// How often it was seen.
    seen: u32,
    /// After how many different tokens it was seen.
    before: u32,
    /// The first child, in the next level. The children of the next n-gram begin where this one's end.
    children: u32,
}

/// A way of counting, and the discount that goes with it.
#[derive(Clone, Copy, Debug)]
struct Discount {
    count: fn(&Gram) -> u32,
    discount: f64,
    /// Number of different counts.
    different: usize,
}

impl Default for Discount {
    fn default() -> Self {
        Self::new(&[], |gram| gram.seen)
    }
}

impl Discount {
    fn new(grams: &[Gram], count: fn(&Gram) -> u32) -> Self {
        let mut counts: Vec<u32> = grams.iter().map(count).collect();
        counts.sort_unstable();
        let with = |n| counts.partition_point(|c| *c <= n) as f64;
        let (n1, n2) = (with(1), with(2) - with(1));
        counts.dedup();
        Self {
            count,
            discount: if n1 > 0.0 { n1 / (n1 + 2.0 * n2) } else { 0.5 },
            different: counts.len(),
        }
    }

    /// `p(token | h)`, where `children` are the n-grams that begin with `h`, at least one.
    fn smooth(&self, children: &[Gram], token: u32, below: f64) -> f64 {
        let total: u64 = children
            .iter()
            .map(|gram| u64::from((self.count)(gram)))
            .sum();
        let found = children.binary_search_by_key(&token, |gram| gram.token);
        let seen = found.map_or(0.0, |at| {
            f64::from((self.count)(&children[at])) - self.discount
        });
        (seen + self.discount * children.len() as f64 * below) / total as f64
    }
}

impl Markov {
    /// Counts `text`, whose tokens are below `vocabulary`, for chains of orders up to `order`.
    ///
    /// # Panics
    /// If the text has no token, 2^32 or more, or one that is not in the vocabulary.
    pub fn new(text: &[u32], vocabulary: usize, order: usize) -> Self {
        assert!(
            !text.is_empty() && u32::try_from(text.len()).is_ok(),
            "{} tokens",
            text.len()
        );
        assert!(
            text.iter().all(|token| (*token as usize) < vocabulary),
            "tokens are below {vocabulary}"
        );
        // At each place a token, then the longest n-gram that comes after it.
        let ring: Vec<u32> = text
            .iter()
            .copied()
            .cycle()
            .take(text.len() + order + 1)
            .collect();
        let gram = |at: u32| &ring[at as usize + 1..][..order + 1];
        let mut places: Vec<u32> = (0..text.len() as u32).collect();
        places.sort_unstable_by_key(|at| gram(*at));
        let mut levels = vec![Grams::default(); order + 1];
        // Of each level, the last n-gram that each token was seen before.
        let mut seen_before = vec![vec![usize::MAX; vocabulary]; order + 1];
        let mut last: &[u32] = &[];
        for at in places {
            let this = gram(at);
            let same = last.iter().zip(this).take_while(|(a, b)| a == b).count();
            for depth in 0..=order {
                let children = levels
                    .get(depth + 1)
                    .map_or(0, |next| next.grams.len() as u32);
                let grams = &mut levels[depth].grams;
                if depth >= same {
                    let token = this[depth];
                    grams.push(Gram {
                        token,
                        seen: 0,
                        before: 0,
                        children,
                    });
                }
                let number = grams.len();
                let gram = grams
                    .last_mut()
                    .expect("the first one has nothing in common with none");
                gram.seen += 1;
                let seen = &mut seen_before[depth][ring[at as usize] as usize];
                gram.before += u32::from(*seen != number);
                *seen = number;
            }
            last = this;
        }
        for Grams {
            grams,
            highest,
            lower,
        } in &mut levels
        {
            *highest = Discount::new(grams, |gram| gram.seen);
            *lower = Discount::new(grams, |gram| gram.before);
        }
        Self { vocabulary, levels }
    }

    /// The highest order.
    pub fn order(&self) -> usize {
        self.levels.len() - 1
    }

    /// The n-grams that are `context` and a token more; none where the context was not seen.
    fn children(&self, context: &[u32]) -> &[Gram] {
        let mut range = 0..self.levels[0].grams.len();
        for (token, levels) in context.iter().zip(self.levels.windows(2)) {
            let (grams, next) = (&levels[0].grams, &levels[1].grams);
            let Ok(at) = grams[range.clone()].binary_search_by_key(token, |gram| gram.token) else {
                return &[];
            };
            let at = range.start + at;
            let end = grams
                .get(at + 1)
                .map_or(next.len(), |gram| gram.children as usize);
            range = grams[at].children as usize..end;
        }
        &self.levels[context.len()].grams[range]
    }

    /// `p(token | history)` by the chain of each order from 0.
    pub fn probabilities(&self, history: &[u32], token: u32) -> Vec<f64> {
        let mut below = 1.0 / self.vocabulary as f64;
        let mut all = Vec::with_capacity(self.levels.len());
        for (order, level) in self.levels.iter().enumerate() {
            let context = history.len().checked_sub(order);
            let children = context.map_or(&[][..], |from| self.children(&history[from..]));
            if children.is_empty() {
                all.push(below);
            } else {
                all.push(level.highest.smooth(children, token, below));
                below = level.lower.smooth(children, token, below);
            }
        }
        all
    }

    /// Bits that the chain of each order from 0 needs for `text`, all of it but its first token.
    ///
    /// Histories begin in `text`: what was counted is not seen again.
    pub fn bits(&self, text: &[u32]) -> Vec<f64> {
        let mut bits = vec![0.0; self.levels.len()];
        for at in 1..text.len() {
            let history = &text[at.saturating_sub(self.order())..at];
            for (bits, p) in bits.iter_mut().zip(self.probabilities(history, text[at])) {
                *bits -= p.log2();
            }
        }
        bits
    }

    /// How many n-grams the chain of this order holds.
    ///
    /// # Panics
    /// If `order` is above [`order`](Self::order).
    pub fn grams(&self, order: usize) -> usize {
        self.levels[..=order]
            .iter()
            .map(|level| level.grams.len())
            .sum()
    }

    /// Bytes that the chain of this order takes, without its tokens' texts, in a form that can be searched where it lies.
    ///
    /// It is a tree of n-grams, level by level in sorted order. Each n-gram has its last token, in the fewest bits that V
    /// needs; its count, as an index into the level's different counts, in the fewest bits that these need; and, below the
    /// first level, one bit that says whether it is its parent's last child (the LOUDS tree of T. Watanabe et al.,
    /// "A succinct N-gram language model", 2009). Each level has its different counts and its discount, 4 bytes each, and
    /// below the first, 4 bytes for every 256 parents to find their children by.
    ///
    /// # Panics
    /// As [`grams`](Self::grams).
    pub fn bytes(&self, order: usize) -> usize {
        let mut parents = 0;
        let mut bytes = 0;
        for (depth, level) in self.levels[..=order].iter().enumerate() {
            let counts = if depth == order {
                &level.highest
            } else {
                &level.lower
            };
            let last_child = usize::from(depth > 0);
            let gram = width(self.vocabulary) + width(counts.different) + last_child;
            let directory = usize::div_ceil(parents, 256);
            bytes +=
                (level.grams.len() * gram).div_ceil(8) + 4 * (counts.different + 1 + directory);
            parents = level.grams.len();
        }
        bytes
    }
}

/// Bits that a number below `count` needs.
fn width(count: usize) -> usize {
    (usize::BITS - count.saturating_sub(1).leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Small alphabets repeat and surprise at every order.
    fn text(length: usize, vocabulary: u32) -> Vec<u32> {
        let mut x = 1u32;
        let mut next = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 16) % vocabulary
        };
        (0..length).map(|_| next().min(next())).collect()
    }

    /// `c` of every n-gram of `n` tokens, by looking at all places.
    fn counts(text: &[u32], n: usize, highest: bool) -> BTreeMap<Vec<u32>, usize> {
        let mut all: BTreeMap<Vec<u32>, BTreeSet<usize>> = BTreeMap::new();
        for at in 0..text.len() {
            let gram = (at + 1..=at + n).map(|at| text[at % text.len()]).collect();
            // What makes two occurrences different: the place, or the token before.
            let mark = if highest { at } else { text[at] as usize };
            all.entry(gram).or_default().insert(mark);
        }
        all.into_iter()
            .map(|(gram, marks)| (gram, marks.len()))
            .collect()
    }

    /// `p(. | context)` by the formula as it stands.
    fn plain(text: &[u32], vocabulary: usize, context: &[u32], highest: bool) -> Vec<f64> {
        let below = match context {
            [] => vec![1.0 / vocabulary as f64; vocabulary],
            [_, shorter @ ..] => plain(text, vocabulary, shorter, false),
        };
        let counts = counts(text, context.len() + 1, highest);
        let with = |n| counts.values().filter(|c| **c == n).count() as f64;
        let discount = if with(1) == 0.0 {
            0.5
        } else {
            with(1) / (with(1) + 2.0 * with(2))
        };
        let count = |token: usize| {
            let gram = [context, &[token as u32]].concat();
            counts.get(&gram).copied().unwrap_or(0) as f64
        };
        let total: f64 = (0..vocabulary).map(count).sum();
        if total == 0.0 {
            return below;
        }
        let followers = (0..vocabulary).filter(|token| count(*token) > 0.0).count();
        let rest = discount * followers as f64;
        let p = |token| ((count(token) - discount).max(0.0) + rest * below[token]) / total;
        (0..vocabulary).map(p).collect()
    }

    #[test]
    fn probabilities_are_those_of_the_formula() {
        for (length, vocabulary) in [(1, 1), (2, 2), (7, 3), (60, 3), (200, 5)] {
            let text = text(length, vocabulary);
            let last = vocabulary - 1;
            let markov = Markov::new(&text, vocabulary as usize, 4);
            // Short histories, one that was seen, and some that were hardly.
            for history in [
                &[][..],
                &[0],
                &text[..length.min(4)],
                &[0; 4],
                &[0, last, 0, last],
            ] {
                let mut sums = [0.0; 5];
                for token in 0..vocabulary {
                    let found = markov.probabilities(history, token);
                    for (order, found) in found.iter().enumerate() {
                        let (from, highest) = match history.len().checked_sub(order) {
                            Some(from) => (from, true),
                            None => (0, false),
                        };
                        let expected = plain(&text, vocabulary as usize, &history[from..], highest);
                        let expected = expected[token as usize];
                        assert!(
                            (found - expected).abs() < 1e-12,
                            "{history:?} {token}, order {order}: {found}, expected {expected}"
                        );
                        sums[order] += found;
                    }
                }
                assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12), "{sums:?}");
            }
        }
    }

    #[test]
    fn bits_are_those_of_the_probabilities() {
        let (seen, text) = (text(300, 4), &text(340, 4)[300..]);
        let markov = Markov::new(&seen, 4, 3);
        let mut expected = [0.0; 4];
        for at in 1..text.len() {
            let p = markov.probabilities(&text[..at], text[at]);
            (0..4).for_each(|order| expected[order] -= p[order].log2());
        }
        for (found, expected) in markov.bits(text).iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-9,
                "{found}, expected {expected}"
            );
        }
    }

    #[test]
    fn bytes_are_those_of_the_form() {
        let markov = Markov::new(&[0, 1, 0, 2], 3, 1);
        // Three tokens of 2 bits, seen 2, 1 and 1 times, also by different tokens before: 1 bit. Two counts and a discount.
        let first = 2 + 4 * 3;
        // 01, 02, 10 and 20 once each, 2 bits and 1 for the last child. One count, a discount, one part of the directory.
        let second = 2 + 4 * 3;
        assert_eq!((markov.bytes(0), markov.bytes(1)), (first, first + second));
        assert_eq!((markov.grams(0), markov.grams(1)), (3, 7));
        assert_eq!(
            [1, 2, 3, 4, 5, 65, 256, 257].map(width),
            [0, 1, 2, 2, 3, 7, 8, 9]
        );
    }

    #[test]
    fn tokens_are_the_text_and_have_ids_in_order() {
        use crate::data::tokenizer::Tokenizer;
        let text = "Über 3 cats, 3\u{a0}dogs…\n";
        for tokenizer in [Tokenizer::CHAR, Tokenizer::WORD] {
            assert_eq!(tokenizer.segment(text).concat(), text);
        }
        let words = Tokenizer::WORD.segment("Über 3 3, cats 3");
        assert_eq!(words, ["Über", " 3", " 3", ",", " cats", " 3"]);
        let mut ids = Ids::default();
        assert_eq!(ids.of(&words), [0, 1, 1, 2, 3, 1]);
        assert_eq!(ids.of(&[" 3".into(), "dogs".into()]), [1, 4]);
        assert_eq!(ids.count(), 5);
        assert_eq!(ids.bytes(), "Über 3, catsdogs".len() + 5);
        assert!(Tokenizer::WORD.segment("").is_empty());
    }
}
