//! The console on the host, on a scripted serial port. Its texts are compared with the runtime's.

mod board;

use board::ScriptedSerial;
use pipsqueak::encode::{self, ModelParams, OpParams, QuantizedMatrix, VocabularyParams};
use pipsqueak::format::Role;
use pipsqueak::{Cell, RecurrentLayerConfig, SamplingParams, Temperature, Tokenization};

const PROMPT: &str = "\r\n> ";
/// How the refusal of an unknown character begins.
const NO_TOKEN: &str = "the vocabulary has no token for the text that begins with ";

#[test]
fn greets_with_board_and_model() {
    let answers = ScriptedSerial::new().run();
    assert!(
        answers.contains("Pipsqueak 0.1.0 on pipe, 16 MHz\r\n"),
        "{answers}"
    );
    assert!(
        answers.contains("Model: 12 units, 10 tokens, "),
        "{answers}"
    );
    assert!(answers.ends_with("or help.\r\n> "), "{answers}");
}

#[test]
fn continues_a_prompt_as_the_runtime_does() {
    let answers = ScriptedSerial::new().line("abc").answers();
    assert_eq!(
        answers,
        [board::text("abc", 400, SamplingParams::default())]
    );
}

#[test]
fn settings_count() {
    let settings = SamplingParams {
        temperature: temperature("1.2"),
        top_k: 3,
        seed: 7,
    };
    let typed = ScriptedSerial::new()
        .line("temperature 1.2")
        .line("seed 7")
        .line("top-k 3")
        .line("length 25")
        .line("ab");
    let answers = typed.answers();
    assert_eq!(
        answers[3],
        "temperature 1.2, seed 7, length 25, top-k 3, pace 0"
    );
    assert_eq!(answers[4], board::text("ab", 25, settings));
}

/// Against the softmax in f64 of the very logits.
#[cfg(feature = "score")]
#[test]
fn scores_a_text() {
    let text = "abc \u{5d0}\u{5d1}Zz0\nab";
    let model = board::model();
    let mut workspace = vec![0; model.workspace_len()];
    let mut session = pipsqueak::Session::new(&model, &mut workspace).unwrap();
    let mut before = model.vocabulary().initial_token();
    let (mut rest, mut bits) = (text, 0.0);
    while let Some((token, length)) = model.vocabulary().longest_match(rest) {
        session.push_token(before).unwrap();
        let one = f64::from(1 << model.output().unwrap().frac_bits());
        let logits = session.logits().unwrap();
        let logits: Vec<f64> = logits.iter().map(|&l| f64::from(l) / one).collect();
        let sum: f64 = logits.iter().map(|l| l.exp()).sum();
        bits += (sum.ln() - logits[usize::from(token)]) / std::f64::consts::LN_2;
        (before, rest) = (token, &rest[length..]);
    }
    let expected = bits / text.chars().count() as f64;
    let escaped = text.replace('\n', "\\n");
    let answers = ScriptedSerial::new()
        .line(&format!("score {escaped}"))
        .line("score abx")
        .answers();
    let (found, unit) = answers[0].split_once(' ').unwrap();
    let found: f64 = found.parse().unwrap();
    assert!(
        (found - expected).abs() < 0.03,
        "{found}, expected {expected}"
    );
    assert_eq!(unit, "bits per character");
    assert!(
        answers[1].contains("begins with 'x' (U+0078)"),
        "{}",
        answers[1]
    );
}

#[test]
fn every_prompt_starts_afresh() {
    let answers = ScriptedSerial::new()
        .line("abc")
        .line("ba")
        .line("abc")
        .answers();
    assert_ne!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}

/// `prompt` without a text, or an empty line where no text has begun: with the settings of now.
#[test]
fn a_text_can_begin_from_nothing() {
    let settings = SamplingParams {
        seed: 7,
        ..SamplingParams::default()
    };
    let begun = board::text("", 30, settings);
    let answers = ScriptedSerial::new()
        .line("seed 7")
        .line("length 30")
        .line("");
    assert_eq!(answers.answers()[2], begun);
    let answers = ScriptedSerial::new()
        .line("length 30")
        .line("abc")
        .line("seed 7");
    let answers = answers.line("prompt").line("prompt ").line("").answers();
    assert_eq!(answers[3..5], [begun.clone(), begun.clone()]);
    assert_eq!(answers[4..].concat(), board::text("", 60, settings));
    let answers = ScriptedSerial::new()
        .line("seed 7")
        .line("abc")
        .line("reset");
    let answers = answers.line("length 30").line("").answers();
    assert_eq!(answers[4], board::text("", 30, SamplingParams::default()));
}

#[test]
fn an_empty_line_continues() {
    let typed = ScriptedSerial::new()
        .line("length 10")
        .line("abc")
        .line("")
        .line("");
    let answers = typed.answers();
    let whole = board::text("abc", 30, SamplingParams::default());
    assert_eq!(answers[1..].concat(), whole);
}

#[test]
fn a_token_cut_by_the_length_goes_on_where_it_was_cut() {
    // One token of the model is "Zz": with length 1, one of its characters comes at a time.
    let typed = ScriptedSerial::new()
        .line("temperature 9")
        .line("length 1")
        .line("a");
    let answers = (0..60).fold(typed, |typed, _| typed.line("")).answers();
    let settings = SamplingParams {
        temperature: temperature("9"),
        ..SamplingParams::default()
    };
    let whole = board::text("a", 61, settings);
    assert!(whole.contains("Zz"), "no such token in {whole:?}");
    assert_eq!(answers[2..].concat(), whole);
}

#[test]
fn what_is_left_of_a_cut_token_does_not_reach_another_text() {
    let settings = SamplingParams {
        temperature: temperature("9"),
        ..SamplingParams::default()
    };
    let whole = board::text("a", 61, settings);
    let cut = whole
        .find("Zz")
        .unwrap_or_else(|| panic!("no such token in {whole:?}"));
    let length = whole[..cut].replace("\r\n", "\n").chars().count();
    let cut = ScriptedSerial::new()
        .line("temperature 9")
        .line(&format!("length {length}"))
        .line("a");
    let answers = cut.clone().line("b").answers();
    assert!(answers[2].ends_with('Z'));
    assert_eq!(answers[3], board::text("b", length, settings));
    let answers = cut.line("reset").line("length 5").line("").answers();
    let fresh = ScriptedSerial::new().line("length 5").line("").answers();
    assert_eq!(answers[5], fresh[1]);
}

#[test]
fn reset_restores_settings_and_state() {
    let answers = ScriptedSerial::new()
        .line("length 9")
        .line("")
        .line("seed 5")
        .line("abc")
        .line("reset")
        .line("length 9")
        .line("")
        .answers();
    assert_eq!(
        answers[4],
        "temperature 0.8, seed 42, length 400, top-k 0, pace 0"
    );
    assert_eq!(answers[1], answers[6]);
    assert_ne!(answers[1], "");
}

#[test]
fn refusals_name_the_range_and_what_was_found() {
    const TEMPERATURE: &str = "0 (greedy) or 0.01 to 100, at most 4 decimals";
    const SEED: &str = "a whole number from 0 to 18446744073709551615";
    const LENGTH: &str = "a whole number from 1 to 4294967295";
    for (line, expected, found) in [
        ("temperature warm", TEMPERATURE, "warm"),
        ("temperature", TEMPERATURE, ""),
        ("temperature 1000", TEMPERATURE, "1000"),
        ("seed -1", SEED, "-1"),
        ("seed +1", SEED, "+1"),
        ("seed 18446744073709551616", SEED, "18446744073709551616"),
        ("length 0", LENGTH, "0"),
        ("length 4294967296", LENGTH, "4294967296"),
        ("top-k 65536", "a whole number from 0 to 65535", "65536"),
        ("pace 1 2", "a whole number from 0 to 65535", "1 2"),
        ("help me", "no argument", "me"),
    ] {
        let answers = ScriptedSerial::new().line(line).line("info").answers();
        let word = line.split(' ').next().unwrap();
        let refusal =
            format!("\x07{word} expects {expected}; found \"{found}\". As a text: prompt {line}");
        assert_eq!(answers[0], refusal);
        assert!(
            answers[1].ends_with("temperature 0.8, seed 42, length 400, top-k 0, pace 0"),
            "{line} changed {}",
            answers[1]
        );
    }
}

#[test]
fn misspelt_commands_get_a_hint() {
    for (line, meant) in [
        ("?", "help"),
        ("quit", "help"),
        ("exit", "help"),
        ("Help", "help"),
        ("INFO", "info"),
        ("topk 3", "top-k"),
        ("Top_K 3", "top-k"),
        ("Seed 12", "seed"),
        ("self-test", "selftest"),
    ] {
        let answers = ScriptedSerial::new().line(line).answers();
        let hint = format!("\x07did you mean {meant}? As a text: prompt {line}");
        assert_eq!(answers, [hint]);
    }
    // A text may well begin with such a word.
    for line in ["Help me", "quit it", "Seed a", "helpa", "Temperature 3 b"] {
        let answers = ScriptedSerial::new().line(line).answers();
        assert!(
            answers[0].contains("the vocabulary has no token for"),
            "{answers:?}"
        );
    }
}

#[test]
fn largest_arguments_are_taken() {
    let typed = ScriptedSerial::new()
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
    let answers = &ScriptedSerial::new().line("help").answers()[0];
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
            answers.contains(&format!("\r\n  {word} ")),
            "{word} is not in {answers}"
        );
    }
}

#[test]
fn info_tells_board_model_and_settings() {
    let answers = &ScriptedSerial::new().line("info").answers()[0];
    let needed = 4 * board::model().workspace_len();
    let bytes = board::model().len();
    let expected = format!(
        "board      pipe, 16 MHz\r\nkernel     {}\r\nmodel      12 units, 10 tokens, {bytes} bytes\r\ntask       language model\r\ncorpus     small.txt, all\r\n\
         training   123 steps, seed 9\r\nloss       1.045 nats per token in training\r\n\
         loss       2.500 nats per token in validation\r\nworkspace  {needed} of 4096 bytes\r\nstack      1234 of 6144 bytes\r\n\
         settings   temperature 0.8, seed 42, length 400, top-k 0, pace 0",
        pipsqueak::kernel_name()
    );
    assert_eq!(*answers, expected);
}

#[test]
fn selftest_compares_kernel_and_digest() {
    let answers = ScriptedSerial::new().line("abc").line("selftest").answers();
    // 3H x H and V x H, padded.
    let weights = 3 * 12 * 12 + 12 * 12;
    let (kernel, digest) = (pipsqueak::kernel_name(), board::model().digest());
    assert_eq!(
        answers[1],
        format!(
            "kernel     {kernel} equals generic on {weights} weights\r\ndigest     {digest:08X} as exported"
        )
    );
    // The text before is lost.
    let answers = ScriptedSerial::new()
        .line("length 9")
        .line("abc")
        .line("selftest");
    let answers = answers.line("").answers();
    assert_eq!(answers[3], board::text("", 9, SamplingParams::default()));
    let answers = ScriptedSerial::new().line("selftest now").answers();
    assert!(answers[0].starts_with("\x07selftest expects no argument; found \"now\"."));
}

#[test]
fn selftest_refuses_a_changed_weight_behind_a_good_crc() {
    let mut params = board::params();
    output_matrix(&mut params).weights[0] ^= 0x20;
    let words = encode::encode(&params).unwrap();
    let mut changed = encode::as_bytes(&words).to_vec();
    changed[16..20].copy_from_slice(&board::bytes()[16..20]);
    encode::update_checksum(&mut changed);
    let answers = ScriptedSerial::new()
        .slot(&changed)
        .line("selftest")
        .answers();
    let expected = board::model().digest();
    let (kernel, digest) = answers[0].split_once("\r\n").unwrap();
    assert!(kernel.starts_with("\x07kernel     ") && kernel.contains(" equals generic on "));
    let digest = digest.strip_prefix("digest     ").unwrap();
    let (found, rest) = digest.split_at(8);
    assert_ne!(found, format!("{expected:08X}"));
    assert_eq!(rest, format!(", expected {expected:08X} as exported"));
}

#[test]
fn prompt_takes_a_command_s_word_and_escapes() {
    let answers = ScriptedSerial::new()
        .line("length 20")
        .line(r"prompt \nab\n")
        .line(r"prompt abc")
        .line("prompt  a")
        .answers();
    let settings = SamplingParams::default();
    assert_eq!(answers[1], board::text("\nab\n", 20, settings));
    assert_eq!(answers[2], board::text("abc", 20, settings));
    assert_eq!(answers[3], board::text(" a", 20, settings));
    let answers = ScriptedSerial::new().line(r"prompt \\na").answers();
    assert_eq!(
        answers,
        [format!(
            "\x07{NO_TOKEN}'\\' (U+005C) at byte 0; remove or replace it"
        )]
    );
}

#[test]
fn unknown_characters_are_named_and_nothing_generated() {
    let answers = ScriptedSerial::new().line("abQc").line("ab😱").answers();
    assert!(answers[0].starts_with(&format!("\x07{NO_TOKEN}'Q' (U+0051) at byte ")));
    assert!(answers[1].starts_with(&format!("\x07{NO_TOKEN}'😱' (U+1F631) at byte ")));
}

#[test]
fn multi_byte_prompts_go_the_whole_road() {
    let answers = ScriptedSerial::new().line("אב😀").answers();
    assert_eq!(
        answers,
        [board::text("אב😀", 400, SamplingParams::default())]
    );
    assert!(answers[0].contains('😀') && answers[0].contains('א'));
}

#[test]
fn each_line_end_ends_once() {
    let expected = ScriptedSerial::new().line("abc").line("ba").run();
    for end in ["\r", "\n", "\r\n"] {
        let answers = ScriptedSerial::new()
            .bytes(format!("abc{end}"))
            .bytes(format!("ba{end}"))
            .run();
        assert_eq!(answers, expected, "{end:?}");
    }
}

#[test]
fn a_newline_late_after_its_carriage_return_is_none() {
    let answers = ScriptedSerial::new().bytes("abc\r").bytes("\nba\r").run();
    assert_eq!(answers, ScriptedSerial::new().line("abc").line("ba").run());
}

#[test]
fn backspace_takes_whole_characters_and_their_cells() {
    let answers = ScriptedSerial::new().bytes("aQ\x7fbא\x08😀\x7fc\r").run();
    let echo = "aQ\x08 \x08bא\x08 \x08😀\x08 \x08\x08 \x08c\r\n";
    assert!(answers.contains(&format!("> {echo}abc")), "{answers:?}");
}

#[test]
fn backspace_at_the_start_does_nothing() {
    let answers = ScriptedSerial::new().bytes("\x7f\x08abc\r").run();
    assert_eq!(answers, ScriptedSerial::new().line("abc").run());
}

#[test]
fn control_u_clears_the_line() {
    let answers = ScriptedSerial::new().bytes("xyz😀\x15abc\r").run();
    assert!(
        answers.contains(&format!("xyz😀{}abc\r\nabc", "\x08 \x08".repeat(5))),
        "{answers:?}"
    );
}

#[test]
fn control_c_discards_the_line() {
    let output = ScriptedSerial::new()
        .bytes("Q")
        .bytes("\x03")
        .bytes("abc\r")
        .run();
    assert!(output.contains("> Q^C\r\n> abc\r\nabc"), "{output:?}");
}

#[test]
fn control_c_drops_lines_typed_ahead() {
    let typed = "seed 3\r".repeat(40) + "\x03seed 4\r";
    let output = ScriptedSerial::new().bytes(typed).run();
    assert!(output.ends_with("or help.\r\n> ^C\r\n> seed 4\r\ntemperature 0.8, seed 4, length 400, top-k 0, pace 0\r\n> "), "{output:?}");
}

#[test]
fn control_c_stops_a_text_and_drops_what_was_typed_before() {
    let output = ScriptedSerial::new()
        .bytes("abc\r")
        .while_computing(b"xy\x03")
        .line("length 3")
        .line("")
        .run();
    assert!(
        output.contains("> abc\r\nabc^C\r\n> length 3"),
        "{output:?}"
    );
    assert!(
        output.contains(&board::text("abc", 3, SamplingParams::default())["abc".len()..]),
        "{output:?}"
    );
}

#[test]
fn lines_typed_while_a_text_is_generated_are_executed_in_order() {
    let lines: Vec<String> = (0..20).map(|n| format!("seed {n}")).collect();
    let output = ScriptedSerial::new()
        .bytes("abc\r")
        .while_computing((lines.join("\r") + "\r").as_bytes())
        .run();
    let mut rest = output.as_str();
    for line in lines {
        let answer = format!("\r\n> {line}\r\ntemperature 0.8, {line}, length");
        let at = rest
            .find(&answer)
            .unwrap_or_else(|| panic!("{line}: {rest:?}"));
        rest = &rest[at + answer.len()..];
    }
}

#[test]
fn control_c_ends_a_long_pause_and_is_seen_after_a_self_test() {
    let record = ScriptedSerial::new()
        .line("pace 65535")
        .bytes("abc\r")
        .while_pausing(b"\x03")
        .play();
    // The first slice of the first pause.
    assert_eq!(record.waited_ms, 20);
    let output = String::from_utf8(record.output).unwrap();
    assert!(output.ends_with("^C\r\n> "), "{output:?}");

    let output = ScriptedSerial::new()
        .bytes("abc\r")
        .while_computing(b"selftest\rselftest\rinfo\r\x03")
        .run();
    assert!(!output.contains("digest"), "{output:?}");
}

#[test]
fn lost_input_is_an_error_and_its_line_is_discarded() {
    let text = "length 5\r".to_owned() + &"seed 1\r".repeat(200) + "seed 2\r";
    let output = ScriptedSerial::new().bytes(&text).line("seed 3").run();
    let lost = text.len() - (1023 - 1);
    let report = format!("\r\n\x07line discarded: {lost} bytes lost so far\r\n> seed 3\r\n");
    assert!(output.contains(&report), "{output:?}");
    assert!(!output.contains("> seed 2\r\n"), "{output:?}");
    // Incomplete lines are not executed.
    assert_eq!(
        output.matches("temperature 0.8").count(),
        1 + (1022 - 9) / 7 + 1
    );
}

#[test]
fn other_control_bytes_and_broken_utf8_are_ignored() {
    let noise: &[u8] = b"\x04\x1b\x00a\xff\xc3\xd7b\xe2\x82c\x80\xc2\x85\xf0\x9f\x98\r";
    let answers = ScriptedSerial::new().bytes(noise).run();
    assert_eq!(answers, ScriptedSerial::new().line("abc").run());
}

#[test]
fn a_full_line_rings_and_keeps_whole_characters() {
    // 127 bytes, then a character of two and one of one.
    let long = "a".repeat(127);
    let answers = ScriptedSerial::new()
        .line("length 5")
        .bytes(format!("{long}אbc\r"))
        .answers();
    let answers = &answers[1];
    assert!(
        answers.starts_with(&board::text(
            &format!("{long}b"),
            5,
            SamplingParams::default()
        )),
        "{answers:?}"
    );
    let echoed = ScriptedSerial::new().bytes(format!("{long}אb\r")).run();
    assert!(echoed.contains(&format!("{long}\x07b\r\n")), "{echoed:?}");
}

#[test]
fn a_receive_error_discards_the_line() {
    let output = ScriptedSerial::new().bytes("ab").error().bytes("c\r").run();
    let report = "> ab\r\n\x07line discarded: 1 bytes lost so far\r\n> c\r\n";
    assert!(output.contains(report), "{output:?}");
}

#[test]
fn arrow_up_recalls_the_last_line() {
    let up = "\x1b[A";
    let expected = ScriptedSerial::new()
        .line("length 5")
        .line("abc")
        .line("abc")
        .run();
    let output = ScriptedSerial::new()
        .line("length 5")
        .line("abc")
        .bytes(format!("{up}\r"))
        .run();
    assert_eq!(output, expected);
    // It replaces the line, also by the keypad's sequence; arrow down clears the line.
    let output = ScriptedSerial::new()
        .line("length 5")
        .bytes("x😀\x1bOA\x1b[Babc\r")
        .run();
    let erased = "\x08 \x08";
    let echo = format!(
        "> x😀{}length 5{}abc\r\nabc",
        erased.repeat(3),
        erased.repeat(8)
    );
    assert!(output.contains(&echo), "{output:?}");
    // Before the first line there is nothing to recall.
    assert_eq!(
        ScriptedSerial::new().bytes(format!("{up}abc\r")).run(),
        ScriptedSerial::new().line("abc").run()
    );
}

#[test]
fn other_keys_are_ignored() {
    let keys = "\x1b[C\x1b[D\x1b[H\x1b[3~\x1b[1;5C\x1bOP";
    let output = ScriptedSerial::new().bytes(format!("a{keys}bc\r")).run();
    assert_eq!(output, ScriptedSerial::new().line("abc").run());
}

/// The weights of the output layer, the last one.
fn output_matrix<'a>(params: &'a mut ModelParams) -> &'a mut QuantizedMatrix {
    match &mut params.layers.last_mut().expect("a layer").op {
        OpParams::Dense(dense) => &mut dense.matrix,
        op => panic!("expected a dense layer, found {op:?}"),
    }
}

/// A model of single bytes whose output layer ignores the state: it generates `byte` always.
fn model_that_repeats(byte: u8) -> Vec<u32> {
    let layers = [RecurrentLayerConfig::new(Cell::Rnn, 4)];
    let mut params = ModelParams::random_language_model(1, 256, 0, &layers);
    params.vocabularies[1].tokens = vec![String::new(); 256];
    params.vocabularies[1].tokenization = Tokenization::Byte;
    let output = output_matrix(&mut params);
    output.weights.fill(0);
    output.bias.fill(0);
    output.bias[usize::from(byte)] = 1 << 20;
    encode::encode(&params).unwrap()
}

/// Bytes that are no characters count as characters, and are shown.
#[test]
fn length_bounds_a_model_of_bytes() {
    for (byte, shown) in [
        (0x80, "\\x80"),
        (0xc3, "\\xC3"),
        (0xff, "\\xFF"),
        (b'z', "z"),
        (b'\n', "\r\n"),
        (b'\t', "\t"),
        (0x1b, "\\x1B"),
        (0x07, "\\x07"),
        (0x00, "\\x00"),
        (0x7f, "\\x7F"),
    ] {
        let words = model_that_repeats(byte);
        let script = ScriptedSerial::new().slot(encode::as_bytes(&words));
        let answers = script
            .line("temperature 0")
            .line("length 5")
            .line("ab")
            .answers();
        assert_eq!(answers[2], format!("ab{}", shown.repeat(5)), "{byte:#x}");
    }
}

#[test]
fn control_characters_of_a_vocabulary_are_shown() {
    let mut params = board::params();
    let names = ["\x1b[2J", "\x07", "\r", "\u{9b}x"];
    for (token, name) in params.vocabularies[1].tokens.iter_mut().zip(names) {
        *token = name.to_owned();
    }
    let words = encode::encode(&params).unwrap();
    let script = ScriptedSerial::new().slot(encode::as_bytes(&words));
    let output = script.line("temperature 9").line("").run();
    assert!(!output.contains(['\x1b', '\x07', '\u{9b}']), "{output:?}");
    for shown in ["\\x1B[2J", "\\x07", "\\x0D", "\\x9Bx"] {
        assert!(output.contains(shown), "{shown} is not in {output:?}");
    }
}

/// A copy that is large enough is used, any other is not: the text is the same.
#[test]
fn a_model_runs_from_its_copy_or_from_the_slot() {
    let expected = ScriptedSerial::new().line("abc").run();
    let size = board::bytes().len();
    for copy in [4, 16, size - 4, size, size + 4, 2 * size] {
        let output = ScriptedSerial::new().model_copy(copy).line("abc").run();
        assert_eq!(output, expected, "{copy} of {size} bytes");
    }
    let output = ScriptedSerial::new()
        .slot(&[0xff; 4096])
        .model_copy(1024)
        .run();
    assert!(output.contains("Model: no model here"), "{output}");
}

#[test]
fn pace_waits_after_each_character_and_the_led_shows_activity() {
    let typed = ScriptedSerial::new()
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
        (vec![0xff; 4096], "no model here"),
        (vec![0; 4096], "no model here"),
        (
            vec![0x55; 4096],
            "not a model: expected the bytes 50 49 50 53 (PIPS), found 55 55 55 55",
        ),
        (
            good[..good.len() - 4].to_vec(),
            "the model is truncated: expected",
        ),
        (damaged, "the model is damaged: expected CRC"),
    ] {
        let typed = ScriptedSerial::new()
            .slot(&slot)
            .line("abc")
            .line("")
            .line("seed 5")
            .line("reset")
            .line("info");
        let answers = typed.run();
        assert!(answers.contains(&format!("\r\nModel: {why}")), "{answers}");
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
    let needed = 4 * board::model().workspace_len();
    let answers = ScriptedSerial::new().workspace(3).line("abc").run();
    assert!(
        answers.contains(&format!(
            "the model needs a workspace of {needed} bytes, found 12"
        )),
        "{answers}"
    );
}

#[test]
fn the_end_of_the_input_ends_the_console() {
    assert!(ScriptedSerial::new().run().ends_with(PROMPT));
    assert!(ScriptedSerial::new().bytes("abc").run().ends_with("> abc"));
    assert!(ScriptedSerial::new().bytes("abc\r").run().ends_with(PROMPT));
}

fn temperature(text: &str) -> Temperature {
    Temperature::parse(text).unwrap()
}

/// A line is input for the model, and an empty line after it starts nothing.
#[test]
fn a_classifier_and_a_sequence_to_sequence_model_answer_lines() {
    let mut params = board::params();
    params.outputs[0].role = Role::Scores;
    params.outputs[0].every_step = false;
    let labels = VocabularyParams {
        tokens: (0..10).map(|n| format!("class {n}")).collect(),
        ..VocabularyParams::default()
    };
    params.vocabularies.swap(0, 1);
    params.vocabularies[1] = labels;
    let words = encode::encode(&params).unwrap();
    let typed = ScriptedSerial::new().slot(encode::as_bytes(&words));
    let answers = typed
        .clone()
        .line("ab")
        .line("")
        .line("x")
        .line("")
        .answers();
    let model = pipsqueak::Model::parse(encode::as_bytes(&words)).unwrap();
    let mut workspace = vec![0; model.workspace_len()];
    let mut generator =
        pipsqueak::Generator::new(&model, &mut workspace, SamplingParams::default()).unwrap();
    let scores = generator.classify("ab").unwrap();
    let one = f64::from(1 << model.output().unwrap().frac_bits());
    let powers: Vec<f64> = scores.iter().map(|&s| (f64::from(s) / one).exp()).collect();
    let sum: f64 = powers.iter().sum();
    let mut ranked: Vec<usize> = (0..scores.len()).collect();
    ranked.sort_by_key(|&class| (-i32::from(scores[class]), class));
    let lines: Vec<&str> = answers[0].split("\r\n").collect();
    assert_eq!(lines.len(), 5);
    for (line, &class) in lines.iter().zip(&ranked) {
        let (label, percent) = line.split_once("  ").unwrap();
        assert_eq!(label, format!("class {class}"));
        let percent: f64 = percent.strip_suffix(" %").unwrap().parse().unwrap();
        let expected = 100.0 * powers[class] / sum;
        assert!((percent - expected).abs() <= 0.06, "{line}: {expected}");
    }
    assert_eq!(answers[1], "");
    assert!(answers[2].contains("begins with 'x'"), "{}", answers[2]);
    assert_eq!(answers[3], "");
    let answers = typed.clone().line("info").line("help").answers();
    assert!(
        answers[0].contains("12 units, 10 classes, "),
        "{}",
        answers[0]
    );
    assert!(
        answers[0].contains("task       classifier\r\n"),
        "{}",
        answers[0]
    );
    assert!(
        answers[0].contains(" nats per text in validation\r\n"),
        "{}",
        answers[0]
    );
    assert!(answers[1].starts_with("A line is a text, which the model classifies."));
    assert!(!answers[1].contains("temperature"), "{}", answers[1]);

    // Without names, classes have numbers.
    params.vocabularies[1] = VocabularyParams::default();
    let words = encode::encode(&params).unwrap();
    let answers = ScriptedSerial::new()
        .slot(encode::as_bytes(&words))
        .line("ab")
        .answers();
    assert!(
        answers[0].starts_with(&format!("{}  ", ranked[0])),
        "{}",
        answers[0]
    );

    let mut translator = encode::sample_configs()
        .into_iter()
        .find_map(|(name, config)| (name == "translator").then_some(config))
        .unwrap();
    translator.metadata.vocabularies[0].special_tokens.unk = None;
    let words = encode::encode(&ModelParams::random(3, &translator)).unwrap();
    let typed = ScriptedSerial::new().slot(encode::as_bytes(&words));
    let answers = typed.line("\u{5d0}").line("").answers();
    assert!(answers[0].contains("no token for"), "{}", answers[0]);
    assert_eq!(answers[1], "", "a refused line has started a text");
}
