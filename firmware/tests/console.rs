//! The console on the host, through a byte pipe. What it generates is held against the runtime itself.

mod board;

use board::Typed;
use pipsqueak::{Settings, Temperature, encode};

const PROMPT: &str = "\r\n> ";

#[test]
fn greets_with_board_and_model() {
    let said = Typed::new().run();
    assert!(
        said.contains("Pipsqueak 0.1.0 on pipe, 16 MHz\r\n"),
        "{said}"
    );
    assert!(said.contains("Model: 12 units, 10 tokens, "), "{said}");
    assert!(said.ends_with("or help.\r\n> "), "{said}");
}

#[test]
fn continues_a_prompt_as_the_runtime_does() {
    let said = Typed::new().line("abc").answers();
    assert_eq!(said, [board::text("abc", 400, Settings::default())]);
}

#[test]
fn settings_count() {
    let settings = Settings {
        temperature: temperature("1.2"),
        top_k: 3,
        seed: 7,
    };
    let typed = Typed::new()
        .line("temperature 1.2")
        .line("seed 7")
        .line("top-k 3")
        .line("length 25")
        .line("ab");
    let said = typed.answers();
    assert_eq!(
        said[3],
        "temperature 1.2, seed 7, length 25, top-k 3, pace 0"
    );
    assert_eq!(said[4], board::text("ab", 25, settings));
}

/// Against the softmax in f64 of the very logits.
#[cfg(feature = "score")]
#[test]
fn scores_a_text() {
    let text = "abc \u{5d0}\u{5d1}Zz0\nab";
    let image = board::image();
    let mut workspace = vec![0; image.workspace_len()];
    let mut state = pipsqueak::State::new(&image, &mut workspace).unwrap();
    let mut before = image.start();
    let (mut rest, mut bits) = (text, 0.0);
    while let Some((token, length)) = image.vocabulary().longest_match(rest) {
        state.step(before);
        let one = f64::from(1 << image.logit_bits());
        let logits: Vec<f64> = state.logits().iter().map(|&l| f64::from(l) / one).collect();
        let sum: f64 = logits.iter().map(|l| l.exp()).sum();
        bits += (sum.ln() - logits[usize::from(token)]) / std::f64::consts::LN_2;
        (before, rest) = (token, &rest[length..]);
    }
    let expected = bits / text.chars().count() as f64;
    let escaped = text.replace('\n', "\\n");
    let said = Typed::new()
        .line(&format!("score {escaped}"))
        .line("score abx")
        .answers();
    let (found, unit) = said[0].split_once(' ').unwrap();
    let found: f64 = found.parse().unwrap();
    assert!(
        (found - expected).abs() < 0.03,
        "{found}, expected {expected}"
    );
    assert_eq!(unit, "bits per character");
    assert!(said[1].contains("no character x (U+0078)"), "{}", said[1]);
}

#[test]
fn every_prompt_starts_afresh() {
    let said = Typed::new().line("abc").line("ba").line("abc").answers();
    assert_ne!(said[0], said[1]);
    assert_eq!(said[0], said[2]);
}

/// `prompt` without a text, or an empty line where no text has begun: with the settings of now.
#[test]
fn a_text_can_begin_from_nothing() {
    let settings = Settings {
        seed: 7,
        ..Settings::default()
    };
    let begun = board::text("", 30, settings);
    let said = Typed::new().line("seed 7").line("length 30").line("");
    assert_eq!(said.answers()[2], begun);
    let said = Typed::new().line("length 30").line("abc").line("seed 7");
    let said = said.line("prompt").line("prompt ").line("").answers();
    assert_eq!(said[3..5], [begun.clone(), begun.clone()]);
    assert_eq!(said[4..].concat(), board::text("", 60, settings));
    let said = Typed::new().line("seed 7").line("abc").line("reset");
    let said = said.line("length 30").line("").answers();
    assert_eq!(said[4], board::text("", 30, Settings::default()));
}

#[test]
fn an_empty_line_continues() {
    let typed = Typed::new().line("length 10").line("abc").line("").line("");
    let said = typed.answers();
    let whole = board::text("abc", 30, Settings::default());
    assert_eq!(said[1..].concat(), whole);
}

#[test]
fn a_token_cut_by_the_length_goes_on_where_it_was_cut() {
    // One token of the model is "Zz": with length 1, one of its characters comes at a time.
    let typed = Typed::new()
        .line("temperature 9")
        .line("length 1")
        .line("a");
    let said = (0..60).fold(typed, |typed, _| typed.line("")).answers();
    let settings = Settings {
        temperature: temperature("9"),
        ..Settings::default()
    };
    let whole = board::text("a", 61, settings);
    assert!(whole.contains("Zz"), "no such token in {whole:?}");
    assert_eq!(said[2..].concat(), whole);
}

#[test]
fn what_is_left_of_a_cut_token_does_not_reach_another_text() {
    let settings = Settings {
        temperature: temperature("9"),
        ..Settings::default()
    };
    let whole = board::text("a", 61, settings);
    let cut = whole
        .find("Zz")
        .unwrap_or_else(|| panic!("no such token in {whole:?}"));
    let length = whole[..cut].replace("\r\n", "\n").chars().count();
    let cut = Typed::new()
        .line("temperature 9")
        .line(&format!("length {length}"))
        .line("a");
    let said = cut.clone().line("b").answers();
    assert!(said[2].ends_with('Z'));
    assert_eq!(said[3], board::text("b", length, settings));
    let said = cut.line("reset").line("length 5").line("").answers();
    let fresh = Typed::new().line("length 5").line("").answers();
    assert_eq!(said[5], fresh[1]);
}

#[test]
fn reset_restores_settings_and_state() {
    let said = Typed::new()
        .line("length 9")
        .line("")
        .line("seed 5")
        .line("abc")
        .line("reset")
        .line("length 9")
        .line("")
        .answers();
    assert_eq!(
        said[4],
        "temperature 0.8, seed 42, length 400, top-k 0, pace 0"
    );
    assert_eq!(said[1], said[6]);
    assert_ne!(said[1], "");
}

#[test]
fn bad_arguments_say_expected_and_found() {
    for (line, expected, found) in [
        (
            "temperature warm",
            "a number such as 0.8, or 0 to be greedy",
            "warm",
        ),
        ("temperature", "a number such as 0.8, or 0 to be greedy", ""),
        ("seed -1", "a whole number below 2^64", "-1"),
        ("seed +1", "a whole number below 2^64", "+1"),
        (
            "seed 18446744073709551616",
            "a whole number below 2^64",
            "18446744073709551616",
        ),
        (
            "length 4294967296",
            "a whole number below 2^32",
            "4294967296",
        ),
        ("top-k 65536", "a whole number up to 65535", "65536"),
        ("pace 1 2", "a whole number up to 65535", "1 2"),
        ("help me", "nothing after it", "me"),
    ] {
        let said = Typed::new().line(line).line("info").answers();
        let word = line.split(' ').next().unwrap();
        let refusal =
            format!("\x07{word} expects {expected}; found \"{found}\". As a text: prompt TEXT");
        assert_eq!(said[0], refusal);
        assert!(
            said[1].ends_with("temperature 0.8, seed 42, length 400, top-k 0, pace 0"),
            "{line} changed {}",
            said[1]
        );
    }
}

#[test]
fn largest_arguments_are_taken() {
    let typed = Typed::new()
        .line("seed 18446744073709551615")
        .line("length 4294967295")
        .line("top-k  65535 ")
        .line("pace 65535");
    assert_eq!(
        typed.answers()[3],
        "temperature 0.8, seed 18446744073709551615, length 4294967295, top-k 65535, pace 65535"
    );
}

#[test]
fn help_names_every_command() {
    let said = &Typed::new().line("help").answers()[0];
    for word in [
        "temperature",
        "seed",
        "length",
        "top-k",
        "pace",
        "prompt",
        "reset",
        "info",
        "selftest",
    ] {
        assert!(
            said.contains(&format!("\r\n  {word} ")),
            "{word} is not in {said}"
        );
    }
}

#[test]
fn info_tells_board_model_and_settings() {
    let said = &Typed::new().line("info").answers()[0];
    let needed = 4 * board::image().workspace_len();
    let bytes = board::image().len();
    let expected = format!(
        "board      pipe, 16 MHz\r\nkernel     {}\r\nmodel      12 units, 10 tokens, {bytes} bytes\r\ncorpus     small.txt, all\r\n\
         training   123 steps, seed 9\r\nloss       1.045 nats per token in training\r\n\
         loss       2.500 nats per token in validation\r\nworkspace  {needed} of 4096 bytes\r\n\
         settings   temperature 0.8, seed 42, length 400, top-k 0, pace 0",
        pipsqueak::kernel()
    );
    assert_eq!(*said, expected);
}

#[test]
fn selftest_compares_kernel_and_digest() {
    let said = Typed::new().line("abc").line("selftest").answers();
    // 3H x H and V x H, padded.
    let weights = 3 * 12 * 12 + 12 * 12;
    let (kernel, digest) = (pipsqueak::kernel(), board::image().digest());
    assert_eq!(
        said[1],
        format!(
            "kernel     {kernel} equals portable on {weights} weights\r\ndigest     {digest:08X} as exported"
        )
    );
    // The text before is lost.
    let said = Typed::new().line("length 9").line("abc").line("selftest");
    let said = said.line("").answers();
    assert_eq!(said[3], board::text("", 9, Settings::default()));
    let said = Typed::new().line("selftest now").answers();
    assert!(said[0].starts_with("\x07selftest expects nothing after it; found \"now\"."));
}

#[test]
fn selftest_refuses_a_changed_weight_behind_a_good_crc() {
    let mut parts = board::parts();
    parts.networks[0].head[0].rows.weights[0] ^= 0x20;
    let words = encode::encode(&parts).unwrap();
    let mut changed = encode::bytes(&words).to_vec();
    changed[16..20].copy_from_slice(&board::bytes()[16..20]);
    encode::seal(&mut changed);
    let said = Typed::new().slot(&changed).line("selftest").answers();
    let expected = board::image().digest();
    let (kernel, digest) = said[0].split_once("\r\n").unwrap();
    assert!(kernel.starts_with("\x07kernel     ") && kernel.contains(" equals portable on "));
    let digest = digest.strip_prefix("digest     ").unwrap();
    let (found, rest) = digest.split_at(8);
    assert_ne!(found, format!("{expected:08X}"));
    assert_eq!(rest, format!(", expected {expected:08X} as exported"));
}

#[test]
fn prompt_takes_a_command_s_word_and_escapes() {
    let said = Typed::new()
        .line("length 20")
        .line(r"prompt \nab\n")
        .line(r"prompt abc")
        .line("prompt  a")
        .answers();
    let settings = Settings::default();
    assert_eq!(said[1], board::text("\nab\n", 20, settings));
    assert_eq!(said[2], board::text("abc", 20, settings));
    assert_eq!(said[3], board::text(" a", 20, settings));
    let said = Typed::new().line(r"prompt \\na").answers();
    assert_eq!(said, ["\x07the model has no character \\ (U+005C)"]);
}

#[test]
fn unknown_characters_are_named_and_nothing_generated() {
    let said = Typed::new().line("abQc").line("ab😱").answers();
    assert_eq!(said[0], "\x07the model has no character Q (U+0051)");
    assert_eq!(said[1], "\x07the model has no character 😱 (U+1F631)");
}

#[test]
fn multi_byte_prompts_go_the_whole_road() {
    let said = Typed::new().line("אב😀").answers();
    assert_eq!(said, [board::text("אב😀", 400, Settings::default())]);
    assert!(said[0].contains('😀') && said[0].contains('א'));
}

#[test]
fn each_line_end_ends_once() {
    let expected = Typed::new().line("abc").line("ba").run();
    for end in ["\r", "\n", "\r\n"] {
        let said = Typed::new()
            .bytes(format!("abc{end}"))
            .bytes(format!("ba{end}"))
            .run();
        assert_eq!(said, expected, "{end:?}");
    }
}

#[test]
fn a_newline_late_after_its_carriage_return_is_none() {
    let said = Typed::new().bytes("abc\r").bytes("\nba\r").run();
    assert_eq!(said, Typed::new().line("abc").line("ba").run());
}

#[test]
fn backspace_takes_whole_characters_and_their_cells() {
    let said = Typed::new().bytes("aQ\x7fbא\x08😀\x7fc\r").run();
    let echo = "aQ\x08 \x08bא\x08 \x08😀\x08 \x08\x08 \x08c\r\n";
    assert!(said.contains(&format!("> {echo}abc")), "{said:?}");
}

#[test]
fn backspace_at_the_start_does_nothing() {
    let said = Typed::new().bytes("\x7f\x08abc\r").run();
    assert_eq!(said, Typed::new().line("abc").run());
}

#[test]
fn control_u_clears_the_line() {
    let said = Typed::new().bytes("xyz😀\x15abc\r").run();
    assert!(
        said.contains(&format!("xyz😀{}abc\r\nabc", "\x08 \x08".repeat(5))),
        "{said:?}"
    );
}

#[test]
fn control_c_discards_the_line() {
    let said = Typed::new().bytes("Q\x03abc\r").run();
    assert!(said.contains("> Q^C\r\n> abc\r\nabc"), "{said:?}");
}

#[test]
fn control_c_stops_a_text_and_the_rest_is_dropped() {
    let said = Typed::new()
        .bytes("abc\rxy\x03")
        .line("length 3")
        .line("")
        .run();
    assert!(said.contains("> abc\r\nabc^C\r\n> length 3"), "{said:?}");
    assert!(
        said.contains(&board::text("abc", 3, Settings::default())["abc".len()..]),
        "{said:?}"
    );
}

#[test]
fn other_control_bytes_and_broken_utf8_are_ignored() {
    let noise: &[u8] = b"\x04\x1b\x00a\xff\xc3\xd7b\xe2\x82c\x80\xc2\x85\xf0\x9f\x98\r";
    let said = Typed::new().bytes(noise).run();
    assert_eq!(said, Typed::new().line("abc").run());
}

#[test]
fn a_full_line_rings_and_keeps_whole_characters() {
    // 127 bytes, then a character of two and one of one.
    let long = "a".repeat(127);
    let said = Typed::new()
        .line("length 5")
        .bytes(format!("{long}אbc\r"))
        .answers();
    let said = &said[1];
    assert!(
        said.starts_with(&board::text(&format!("{long}b"), 5, Settings::default())),
        "{said:?}"
    );
    let echoed = Typed::new().bytes(format!("{long}אb\r")).run();
    assert!(echoed.contains(&format!("{long}\x07b\r\n")), "{echoed:?}");
}

#[test]
fn serial_errors_lose_a_byte_and_no_more() {
    let said = Typed::new().bytes("ab").error().bytes("c\r").error().run();
    assert_eq!(said, Typed::new().line("abc").run());
}

#[test]
fn pace_waits_after_each_character_and_the_led_shows_activity() {
    let typed = Typed::new()
        .line("length 7")
        .line("abc")
        .line("pace 30")
        .line("abc");
    let seen = typed.play();
    assert_eq!(seen.waited_ms, 7 * 30);
    // Once for each prompt, and once for each token that was drawn.
    assert!(
        seen.flashes >= 2 * (1 + 4) && seen.flashes <= 2 * (1 + 7),
        "{}",
        seen.flashes
    );
    assert!(!seen.lit);
}

#[test]
fn without_a_model_the_console_still_works() {
    let good = board::bytes();
    let mut damaged = good.to_vec();
    damaged[100] ^= 4;
    for (slot, why) in [
        (vec![0xff; 4096], "no image here"),
        (vec![0; 4096], "no image here"),
        (
            vec![0x55; 4096],
            "not an image: expected the bytes 50 49 50 53 (PIPS), found 55 55 55 55",
        ),
        (
            good[..good.len() - 4].to_vec(),
            "the image is cut off: expected",
        ),
        (damaged, "the image is damaged: expected CRC"),
    ] {
        let typed = Typed::new()
            .slot(&slot)
            .line("abc")
            .line("")
            .line("seed 5")
            .line("reset")
            .line("info");
        let said = typed.run();
        assert!(said.contains(&format!("\r\nModel: {why}")), "{said}");
        let answers = typed.answers();
        assert!(
            answers[0].starts_with(&format!("\x07no model: {why}")),
            "{}",
            answers[0]
        );
        assert_eq!(answers[0], answers[1]);
        assert_eq!(
            answers[2],
            "temperature 0.8, seed 5, length 400, top-k 0, pace 0"
        );
        assert!(
            answers[4].contains(&format!("model      {why}")),
            "{}",
            answers[4]
        );
    }
}

#[test]
fn a_model_too_large_for_the_workspace_is_refused_with_numbers() {
    let needed = 4 * board::image().workspace_len();
    let said = Typed::new().workspace(3).line("abc").run();
    assert!(
        said.contains(&format!(
            "the model needs a workspace of {needed} bytes, but 12 are there"
        )),
        "{said}"
    );
}

#[test]
fn the_end_of_the_input_ends_the_console() {
    assert!(Typed::new().run().ends_with(PROMPT));
    assert!(Typed::new().bytes("abc").run().ends_with("> abc"));
    assert!(Typed::new().bytes("abc\r").run().ends_with(PROMPT));
}

fn temperature(text: &str) -> Temperature {
    Temperature::parse(text).unwrap()
}

/// A line is what the model does with it, and an empty line after it begins nothing of its own.
#[test]
fn a_classifier_and_a_translator_answer_lines_and_nothing_else() {
    use pipsqueak::encode::{Parts, VocabularyParts, shapes};
    use pipsqueak::image::Reads;

    let mut parts = board::parts();
    parts.networks[0].reads = Reads::LastStep;
    let labels = VocabularyParts {
        tokens: (0..10).map(|n| format!("class {n}")).collect(),
        ..VocabularyParts::default()
    };
    parts.vocabularies.swap(0, 1);
    parts.vocabularies[1] = labels;
    let words = encode::encode(&parts).unwrap();
    let typed = Typed::new().slot(encode::bytes(&words));
    let said = typed.line("ab").line("").line("x").line("").answers();
    let image = pipsqueak::Image::parse(encode::bytes(&words)).unwrap();
    let mut workspace = vec![0; image.workspace_len()];
    let mut generator =
        pipsqueak::Generator::new(&image, &mut workspace, Settings::default()).unwrap();
    let scores = generator.classify("ab").unwrap();
    let best = (0..scores.len()).rev().max_by_key(|&class| scores[class]);
    assert_eq!(said[0], format!("class {}", best.unwrap()));
    assert_eq!(said[1], "");
    assert!(said[2].contains("no character x"), "{}", said[2]);
    assert_eq!(said[3], "");

    // Without names, classes have numbers.
    parts.vocabularies[1] = VocabularyParts::default();
    let words = encode::encode(&parts).unwrap();
    let said = Typed::new()
        .slot(encode::bytes(&words))
        .line("ab")
        .answers();
    assert_eq!(said, [best.unwrap().to_string()]);

    let (_, mut translator) = shapes()
        .into_iter()
        .find(|(name, _)| *name == "translator")
        .unwrap();
    translator.vocabularies[0].specials.unk = None;
    let words = encode::encode(&Parts::random_of(3, &translator)).unwrap();
    let typed = Typed::new().slot(encode::bytes(&words));
    let said = typed.line("\u{5d0}").line("").answers();
    assert!(said[0].contains("no character"), "{}", said[0]);
    assert_eq!(said[1], "", "what was refused has begun no text");
}
