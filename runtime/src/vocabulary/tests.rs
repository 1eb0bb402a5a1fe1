use super::*;
use crate::encode::{EncodeError, ModelParams, as_bytes, encode};
use crate::{Cell, Model, ModelError, RecurrentLayerConfig};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

const SPACED: Tokenization = Tokenization::SpacedWord { lowercase: false };
const SPACED_LOWERCASE: Tokenization = Tokenization::SpacedWord { lowercase: true };

fn encoded(
    tokenization: Tokenization,
    tokens: &[&str],
    special_tokens: SpecialTokens,
) -> Result<Vec<u32>, EncodeError> {
    let layers = [RecurrentLayerConfig::new(Cell::GruResetAfter, 1)];
    let mut params = ModelParams::random_language_model(1, tokens.len(), 0, &layers);
    let vocabulary = &mut params.vocabularies[1];
    vocabulary.tokenization = tokenization;
    vocabulary.tokens = tokens.iter().map(|t| t.to_string()).collect();
    vocabulary.special_tokens = special_tokens;
    encode(&params)
}

fn vocabulary(
    tokenization: Tokenization,
    tokens: &[&str],
    special_tokens: SpecialTokens,
) -> Vocabulary<'static> {
    let words = encoded(tokenization, tokens, special_tokens).unwrap();
    let model = Model::parse(as_bytes(words.leak())).unwrap();
    model.vocabulary()
}

/// The tokens of `text`, after `check` has said the same about it.
fn tokenize(vocabulary: Vocabulary, text: &str) -> Result<Vec<u16>, OutOfVocabulary> {
    let tokens: Result<Vec<u16>, _> = vocabulary.tokenize(text).collect();
    assert_eq!(
        vocabulary.check(text).err(),
        tokens.as_ref().err().copied(),
        "{text:?}"
    );
    tokens
}

/// The pieces of `text` by longest match.
fn longest_matches(tokens: &[&str], text: &str) -> Option<Vec<String>> {
    let vocabulary = vocabulary(Tokenization::Subword, tokens, SpecialTokens::default());
    let (mut rest, mut pieces) = (text, Vec::new());
    while !rest.is_empty() {
        let (id, length) = vocabulary.longest_match(rest)?;
        assert_eq!(vocabulary.text(id), &rest.as_bytes()[..length]);
        pieces.push(rest[..length].to_string());
        rest = &rest[length..];
    }
    Some(pieces)
}

#[test]
fn words_are_split_and_found() {
    let words = [
        "don't", "I", " don't", ".", " ", "i", "\n", "th\u{e9}", "<unk>",
    ];
    let none = SpecialTokens::default();
    let unk = SpecialTokens {
        unk: Some(8),
        ..none
    };
    let refused = |character, position| {
        Err(OutOfVocabulary {
            character,
            position,
        })
    };
    for (special_tokens, tokenization, text, expected) in [
        (
            unk,
            Tokenization::Word,
            "I don't.\n th\u{e9}",
            Ok(&[1, 2, 3, 6, 8][..]),
        ),
        (unk, Tokenization::Word, "I  don't,I", Ok(&[1, 4, 2, 8, 1])),
        (
            unk,
            SPACED,
            "I  don't.\n  th\u{e9}x th\u{e9} \n",
            Ok(&[1, 0, 3, 8, 7]),
        ),
        (unk, SPACED, " \n", Ok(&[])),
        (
            unk,
            SPACED_LOWERCASE,
            "I DON'T. TH\u{e9}",
            Ok(&[5, 0, 3, 7]),
        ),
        (none, Tokenization::Word, "I dont", refused(' ', 1)),
        (none, SPACED, "I   dont", refused('d', 4)),
        (none, SPACED_LOWERCASE, "I dOnT", refused('d', 2)),
        (
            none,
            Tokenization::Subword,
            "don'tI.\u{e9}I",
            refused('\u{e9}', 7),
        ),
        // A name in angle brackets is a token like any other if it is not special.
        (none, Tokenization::Subword, "<unk>I", Ok(&[8, 1])),
        (unk, Tokenization::Subword, "<I", Ok(&[8, 1])),
    ] {
        let found = tokenize(vocabulary(tokenization, &words, special_tokens), text);
        let expected = expected.map(<[u16]>::to_vec);
        assert_eq!(found, expected, "{tokenization:?}, {text:?}");
    }
}

#[test]
fn the_iterator_ends_after_an_error() {
    let vocabulary = vocabulary(Tokenization::Subword, &["a", "b"], SpecialTokens::default());
    let mut tokens = vocabulary.tokenize("axb");
    assert_eq!(tokens.next(), Some(Ok(0)));
    assert!(matches!(tokens.next(), Some(Err(_))));
    assert_eq!(tokens.next(), None);
}

#[test]
fn special_tokens_are_never_found() {
    let names = ["a", "<s>", "</s>", "<", "s", "b"];
    for tokenization in [
        Tokenization::Subword,
        Tokenization::Word,
        SPACED,
        SPACED_LOWERCASE,
    ] {
        for special in 0..6 {
            for unk in [None, Some(5)] {
                let special_tokens = SpecialTokens {
                    bos: Some(1),
                    eos: Some(2),
                    pad: Some(special),
                    unk,
                };
                let vocabulary = vocabulary(tokenization, &names, special_tokens);
                for text in ["a", "<s>", "</s>", "<", "s", "b", "a</s>b<s>"] {
                    let found = tokenize(vocabulary, text).unwrap_or_default();
                    let regular = |id: &u16| !special_tokens.contains(*id) || unk == Some(*id);
                    assert!(
                        found.iter().all(regular),
                        "{tokenization:?} {special} {text}: {found:?}"
                    );
                }
                // They still have a name.
                let texts: Vec<&[u8]> = vocabulary.texts().collect();
                assert_eq!(texts, names.map(str::as_bytes));
            }
        }
    }
}

#[test]
fn bytes_are_their_own_tokens() {
    let names = alloc::vec!["x"; 258];
    let special_tokens = SpecialTokens {
        eos: Some(257),
        ..SpecialTokens::default()
    };
    let vocabulary = vocabulary(Tokenization::Byte, &names, special_tokens);
    for byte in 0..=255u8 {
        assert_eq!(vocabulary.text(byte.into()), [byte]);
    }
    for id in [256, 257, 258, u16::MAX] {
        assert_eq!(vocabulary.text(id), [0; 0]);
    }
    assert_eq!(vocabulary.len(), 258);
    let text = "a\n\u{1f42d}";
    let expected: Vec<u16> = text.bytes().map(u16::from).collect();
    assert_eq!(tokenize(vocabulary, text), Ok(expected));
    assert_eq!(tokenize(vocabulary, ""), Ok(Vec::new()));
}

#[test]
fn malformed_vocabularies_are_refused_with_the_token() {
    let refused = |tokenization, names: &[&str], special_tokens| {
        let error = encoded(tokenization, names, special_tokens).unwrap_err();
        let EncodeError::Refused(ModelError::Vocabulary { token }) = error else {
            panic!("{error}");
        };
        token
    };
    let none = SpecialTokens::default();
    let subword = Tokenization::Subword;
    assert_eq!(refused(subword, &["a", "", "b"], none), 1);
    assert_eq!(
        refused(subword, &["a", "b", "a"], none),
        3,
        "the same text twice"
    );
    assert_eq!(
        refused(Tokenization::Byte, &["a", "b"], none),
        2,
        "fewer tokens than bytes"
    );
    // A special token may have the text of another token.
    let pad = SpecialTokens {
        pad: Some(2),
        ..none
    };
    assert!(encoded(subword, &["a", "b", "a"], pad).is_ok());
    let all = SpecialTokens {
        eos: Some(1),
        pad: Some(0),
        ..none
    };
    assert_eq!(refused(subword, &["a", "b"], all), 2, "no token has a text");
}

#[test]
fn the_longest_token_wins() {
    let tokens = [
        "the",
        "t",
        "h",
        "e",
        "them",
        " ",
        "theses",
        "\u{5e9}",
        "\u{5e9}\u{5dc}",
        "\u{1f42d}",
        "\u{1f42c}",
    ];
    assert_eq!(
        longest_matches(&tokens, "thethemthese"),
        None,
        "there is no token s"
    );
    assert_eq!(
        longest_matches(&tokens, "theththem the").unwrap(),
        ["the", "t", "h", "them", " ", "the"]
    );
    // Characters that share their first bytes are different characters.
    assert_eq!(
        longest_matches(&tokens, "\u{1f42c}\u{5e9}\u{5e9}\u{5dc}\u{1f42d}")
            .unwrap()
            .len(),
        4
    );
    assert_eq!(longest_matches(&tokens, "\u{1f42e}"), None);
    assert_eq!(longest_matches(&["\u{5dc}"], "\u{5e9}"), None);
}

#[test]
fn an_error_names_the_character_and_its_place() {
    let error = |character| {
        let position = 3;
        OutOfVocabulary {
            character,
            position,
        }
        .to_string()
    };
    let expected = "the vocabulary has no token for the text that begins with 'z' (U+007A) at byte 3; remove or replace it";
    assert_eq!(error('z'), expected);
    let expected = "the vocabulary has no token for the text that begins with U+001B at byte 3; remove or replace it";
    assert_eq!(error('\u{1b}'), expected);
}
