//! What a verdict rests on: kept as data, and drawn for people.

use tcp_pitfalls::lab::recording::Recording;
use tcp_pitfalls::probes::{Difference, Evidence, Finding, Verdict};
use tcp_pitfalls::show::evidence;
use tcp_pitfalls::show::scene::{Run, Scene};
use tcp_pitfalls::staircase::{Row, STEPS, Staircase};

fn compared(expected: &[u8], got: &[u8]) -> Evidence {
    let difference = Some(Difference::between(expected, got));
    Evidence { difference, ..Evidence::from("something else came") }
}

#[test]
fn a_finding_survives_json() {
    let every_byte: Vec<u8> = (0..=255).collect();
    for bytes in [&every_byte[..], b"", b"\\n\\x00\\u{41}", "caf\u{e9} \u{301}\u{200b}\"'".as_bytes(), b"\xc3"] {
        let finding = Finding::falls(compared(bytes, b"else"));
        let json = serde_json::to_string(&finding).unwrap();
        assert_eq!(serde_json::from_str::<Finding>(&json).unwrap(), finding, "{json}");
    }
    let json = serde_json::to_value(Finding::falls(compared(b"yes\n", b"yea\xff\n"))).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "verdict": "falls",
            "evidence": "something else came",
            "difference": { "expected": "yes\\n", "got": "yea\\xff\\n", "at": 2 },
        })
    );
    let json = r#"{"verdict":"holds","evidence":"all is well"}"#;
    let finding = Finding::holds("all is well");
    assert_eq!(serde_json::from_str::<Finding>(json).unwrap(), finding);
    assert_eq!(serde_json::to_string(&finding).unwrap(), json);
}

#[test]
fn no_blank_is_lost_where_a_line_ends_within_quotes() {
    for before in 0..60 {
        let sentence = format!("{} sends \"join  bob  x\" (11 bytes), and\"", "x".repeat(before));
        for sentence in [&sentence[..], sentence.trim_end_matches('"')] {
            let lines = evidence::lines(&Evidence::from(sentence), 30);
            let whole = lines.iter().any(|line| line.contains("\"join  bob  x\""));
            assert!(whole || sentence.ends_with('"'), "{lines:?}");
        }
    }
    // What is longer than a line has to be broken, and keeps its blanks all the same.
    let quoted = format!("\"{}\"", "a  b ".repeat(30));
    assert_eq!(evidence::lines(&Evidence::from(&quoted[..]), 30).concat(), quoted);
}

#[test]
fn the_caret_stands_below_the_first_byte_that_differs() {
    let drawn = |expected: &str, got: &str| evidence::lines(&compared(expected.as_bytes(), got.as_bytes()), 60);
    assert_eq!(
        drawn("* bob left\n", "* bob gone\n"),
        ["something else came", r#"expected "* bob left\n""#, r#"     got "* bob gone\n""#, "                ^ byte 6"]
    );
    // The second byte of the last letter differs.
    let cafe = drawn("caf\u{e9}", "caf\u{e8}");
    assert_eq!(cafe[1..], ["expected \"caf\u{e9}\"", "     got \"caf\u{e8}\"", "             ^ byte 4"]);
    // One is the beginning of the other.
    assert_eq!(drawn("one\n", "one\ntwo\n")[3], "               ^ byte 4");
}

#[test]
fn long_bytes_are_drawn_around_the_difference_in_any_width() {
    let mut got = vec![b'x'; 5_000];
    got[3_000] = b'y';
    let binary: Vec<u8> = (0..5_000_u32).flat_map(|number| (number * 40_503).to_le_bytes()).collect();
    let mut other = binary.clone();
    other[9_999] ^= 1;
    for (expected, got) in [(&[b'x'; 5_000][..], &got), (&binary, &other)] {
        for width in [60, 76, 100] {
            let lines = evidence::lines(&compared(expected, got), width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
            let caret = lines[3].find('^').unwrap();
            let below = |line: &str| line.chars().nth(caret).unwrap();
            assert!(lines[1].contains("\"…") && lines[2].ends_with("…\""), "{lines:#?}");
            if expected[0] == b'x' {
                assert_eq!((below(&lines[1]), below(&lines[2])), ('x', 'y'), "{lines:#?}");
            }
        }
    }
}

#[test]
fn every_verdict_has_its_letter_in_the_table_and_its_sign_in_a_figure() {
    for verdict in [Verdict::Holds, Verdict::Falls, Verdict::Differs, Verdict::Note, Verdict::Skipped] {
        let finding = Finding { verdict, evidence: "as seen".into() };
        let row = Row { name: "clean-exit".into(), chapter: 6, headline: false, findings: vec![finding.clone(); 6] };
        let table =
            Staircase { steps: STEPS.map(Into::into).to_vec(), probes: vec![row], surprises: Vec::new() }.table(true);
        let letter = match verdict {
            Verdict::Falls => "F",
            Verdict::Holds => ".",
            Verdict::Differs => "d",
            Verdict::Note => "n",
            Verdict::Skipped => "-",
        };
        let table = anstream::adapter::strip_str(&table).to_string();
        let last = table.lines().last().unwrap();
        assert_eq!(last.split_whitespace().filter(|cell| *cell == letter).count(), 6, "{table}");
        assert!(last.chars().count() <= 80, "{table}");

        let run = || Run { caption: "a".into(), finding: finding.clone(), recording: Recording::default() };
        let scene = Scene { chapter: "00".into(), name: "scene".into(), pitfall: run(), cure: run() };
        let svg = scene.figure(&scene.sides());
        let document = roxmltree::Document::parse(&svg).unwrap();
        let class = |node: &roxmltree::Node<'_, '_>| node.attribute("class") == Some(verdict.word());
        let drawn = document.descendants().find(class).expect("the verdict has a class of its own");
        assert!(drawn.children().any(|node| node.has_tag_name("path")), "and a sign");
        assert!(svg.contains(&format!(".tcp-figure .{}", verdict.word())), "and a colour");
    }
}
