//! The switchboard.

use std::collections::BTreeSet;

use super::{
    Act, CHANGED_UNASKED, Dice, Due, Dues, Lines, Model, Step, beside_flood, come, crowd, hasty, pause, pieces, say,
    step, talk, visits, without_return,
};

/// The longest line, in bytes, its end not counted.
const LONGEST: usize = 1024;

const ERROR: Due = Due::Begins(b"error: ");

#[derive(Clone, Default)]
pub(in crate::classroom) struct Switchboard {
    lines: Lines,
    /// In the midst of a line that was too long, and is thrown away.
    skipping: BTreeSet<usize>,
}

impl Model for Switchboard {
    const LINGERS: bool = true;

    fn step(&mut self, who: usize, act: &Act) -> Option<Dues> {
        let mut dues = Vec::new();
        match act {
            Act::Say(pieces) | Act::SayOn(pieces) => {
                for line in self.lines.take(who, pieces) {
                    if self.skipping.remove(&who) {
                        continue;
                    }
                    let line = without_return(&line);
                    dues.push((who, if line.len() > LONGEST { ERROR } else { answer(line) }));
                    if line == b"QUIT" {
                        dues.push((who, Due::End));
                        return Some(dues);
                    }
                }
                match self.lines.of(who) {
                    rest if self.skipping.contains(&who) => rest.clear(),
                    // If the last of them is `\r`, nobody knows.
                    rest if rest.len() == LONGEST + 1 => return None,
                    rest if rest.len() > LONGEST => {
                        rest.clear();
                        self.skipping.insert(who);
                        dues.push((who, ERROR));
                    }
                    _ => {}
                }
                matches!(act, Act::Say(_)).then_some(())?;
            }
            Act::End => dues.push((who, Due::End)),
            Act::Come => {
                self.lines.of(who).clear();
                self.skipping.remove(&who);
            }
            Act::Leave | Act::Reset | Act::Flood(_) | Act::Pause(_) => {}
            Act::Insist | Act::Dash(_) | Act::Signal => return None,
        }
        Some(dues)
    }

    fn table() -> Vec<Vec<Step>> {
        let long = |start: &str, length: usize, end: &str| format!("{start}{}{end}", "x".repeat(length - start.len()));
        let mut steps = vec![come(1)];
        // Every row, with every end.
        for end in ["\n", "\r\n"] {
            for text in ["", "a", "a b", " two  blanks ", "\t", "Zoë", "az AZ 09 {|}~`@", "x\r", "\r", "a\rb"] {
                steps.extend(talk(1, &[format!("UPPER {text}{end}"), format!("LEN {text}{end}")]));
            }
            for wrong in [
                "",
                " ",
                "UPPER",
                "LEN",
                "upper a",
                "Len a",
                "LENGTH a",
                "UPPERa",
                " LEN a",
                "QUIT ",
                " QUIT",
                "quit",
                "LEN\ta",
                "UPPER\ta",
                "UPPER\u{a0}a",
                "QUIT\t",
            ] {
                steps.push(say(1, format!("{wrong}{end}")));
            }
            for length in [1023, 1024, 1025, 1026, 1027, 3000] {
                steps.extend(talk(1, &[long("UPPER ", length, end), long("LEN ", length, end), long("", length, end)]));
            }
        }
        for bytes in
            [&b"LEN \xff\xfe\n"[..], b"UPPER caf\xe9 \0 \xc3\n", b"\xff\n", b"UPPER \xdf\xb5\xe0z\n", b"LEN \0\n"]
        {
            steps.push(say(1, bytes));
        }
        for text in CHANGED_UNASKED {
            steps.extend(talk(1, &[format!("UPPER {text}\n"), format!("LEN {text}\n"), format!("{text}\n")]));
        }
        steps.extend(talk(1, &["QUIT\r\r\n", "\rQUIT\n"]));
        steps.extend([say(1, "\0QUIT\n"), say(1, "LEN a\n".repeat(1500)), say(1, "no\n".repeat(300))]);
        // Joined and cut.
        steps.extend([
            say(1, "LEN one\nUPPER two\r\nno\nLEN thr"),
            say(1, "ee\n"),
            pieces(1, &[b"UP", b"PER ", b"a\r", b"\n"]),
        ]);
        steps.extend([
            pieces(1, &[b"LEN a", b"\r", b"\r", b"\n"]),
            say(1, "LEN a\r"),
            say(1, "b\n"),
            say(1, "LEN a\n\r"),
            say(1, "\n"),
        ]);
        steps.push(pieces(1, &[long("LEN ", 1024, "").as_bytes(), b"\r", b"\n"]));
        // Refused before it ends, once, and the talk goes on behind its end.
        steps.extend([say(1, long("LEN ", 1026, "")), say(1, long("", 5000, "\rQUIT\r")), say(1, "\nLEN after\n")]);
        steps.extend([say(1, long("", 1024, &"\r".repeat(100))), say(1, "\n")]);
        steps.extend([say(1, "LEN a\n".to_owned() + &long("", 2000, "")), say(1, "LEN b"), say(1, "\nLEN c\n")]);
        steps.extend([
            say(1, long("LEN ", 1500, "\nLEN c\nUPPER d\n")),
            hasty(say(1, "LEN a\nLEN b")),
            step(1, Act::End),
        ]);
        steps.extend([come(1), say(1, long("", 3000, "")), step(1, Act::End)]);
        // The end: said, with more behind it and more to come, and by ending the side.
        steps.extend([come(1), say(1, "QUIT\r\n"), come(1), say(1, "LEN a\nQUIT\nLEN b\nLEN c")]);
        steps.extend([
            come(1),
            step(1, Act::SayOn(vec![b"QUIT\n".to_vec()])),
            come(1),
            hasty(say(1, "QUIT")),
            step(1, Act::End),
        ]);
        steps.extend([come(1), hasty(say(1, "LEN a\r\n")), step(1, Act::End), come(1), step(1, Act::End)]);
        // Two at a time, and one who is not there any more.
        let mut two = vec![come(1), come(2), say(1, "LEN a"), say(2, "LEN bc\n"), say(1, "b\n"), step(1, Act::Reset)];
        two.extend([
            say(2, "LEN bc\n"),
            come(1),
            say(1, "LEN"),
            step(1, Act::Leave),
            say(2, "LEN bc\n"),
            step(2, Act::Leave),
        ]);
        vec![two, steps, crowd("LEN a\n"), visits("LEN a\n")]
    }

    fn slow() -> Vec<Vec<Step>> {
        let begin = [come(1), say(1, "LEN a"), come(2), say(2, "LEN b\n"), come(3), pause(5300)];
        let flooded = beside_flood("LEN a\n", [b"UPPER ", &b"x".repeat(1000)[..], b"\n"].concat());
        let end = [say(2, "LEN b\n"), say(1, "b\n"), say(3, "QUIT\n"), come(4), say(4, "LEN d\n")];
        vec![begin.into_iter().chain(end).collect(), flooded]
    }

    fn conversation(dice: &mut Dice) -> Vec<Step> {
        const VERBS: &[&str] =
            &["UPPER ", "LEN ", "UPPER ", "LEN ", "UPPER  ", "LEN", "UPPER\t", "upper ", " LEN ", "", "QUIT", "QUIT "];
        let clients = 1 + dice.below(3);
        dice.conversation(clients, |dice| {
            let verb = dice.pick(VERBS).as_bytes();
            let text = match verb {
                b"QUIT" if dice.once_in(2) => vec![],
                _ if dice.once_in(6) => dice.around(LONGEST - verb.len()),
                _ => dice.text(5),
            };
            [verb, &text, dice.end()].concat()
        })
    }
}

fn answer(line: &[u8]) -> Due {
    if let Some(text) = line.strip_prefix(b"UPPER ") {
        return Due::line(text.to_ascii_uppercase());
    }
    match line.strip_prefix(b"LEN ") {
        Some(text) => Due::line(text.len().to_string()),
        None if line == b"QUIT" => Due::line("bye"),
        None => ERROR,
    }
}
