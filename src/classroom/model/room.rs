//! The chat room.

use std::collections::BTreeMap;

use super::{
    Act, CHANGED_UNASKED, Dice, Due, Dues, Lines, Model, NOBODY, Present, STAYS, Step, come, hasty, pause, pieces, say,
    signal, step, talk, without_return,
};

/// The longest line, in bytes, its end not counted.
const LONGEST: usize = 1024;

#[derive(Clone, Default)]
pub(in crate::classroom) struct Room {
    lines: Lines,
    present: Present,
    members: BTreeMap<Vec<u8>, usize>,
}

impl Model for Room {
    const HEARS_NO_MORE: bool = true;

    fn step(&mut self, who: usize, act: &Act) -> Option<Dues> {
        let mut dues = Vec::new();
        match act {
            Act::Come if self.present.is_closing() => return None,
            Act::Come => {
                self.lines.of(who).clear();
                self.present.come(who);
            }
            Act::Say(pieces) => self.hears(who, pieces, &mut dues)?,
            Act::SayOn(pieces) => {
                self.hears(who, pieces, &mut dues)?;
                dues.contains(&(who, Due::Gone)).then_some(())?;
            }
            Act::Leave | Act::Reset | Act::End => self.leaves(who, &mut dues),
            Act::Signal => {
                for who in self.present.close(&mut self.lines)? {
                    self.forget(who);
                    dues.extend([(who, Due::line("bye")), (who, Due::Gone)]);
                }
            }
            Act::Pause(ms) => dues.extend(self.present.pause(*ms)?),
            Act::Flood(_) => self.present.is_flooded = true,
            Act::Insist | Act::Dash(_) => return None,
        }
        if self.present.is_closing() {
            // Whether the others hear of it is left open.
            dues.retain(|(_, due)| !matches!(due, Due::Line(line) if self.may_come(line)));
            if self.present.is_over() {
                dues.push((NOBODY, Due::Exit(None)));
            }
        }
        Some(dues)
    }

    fn may_come(&self, line: &[u8]) -> bool {
        self.present.is_closing() && line.starts_with(b"* ") && line.ends_with(b" left\n")
    }

    fn all_is_read(&mut self) {
        self.present.all_is_read(&mut self.lines);
    }

    fn table() -> Vec<Vec<Step>> {
        let long = |start: &str, length: usize, end: &str| format!("{start}{}{end}", "x".repeat(length - start.len()));
        let talks = |who, lines: &[&str]| talk(who, lines);
        // Everything before `join`, with a member and a guest who listen.
        let mut steps = [vec![come(9), come(8)], talks(9, &["join Witness\n"]), vec![come(1)]].concat();
        let unknown = [
            "", "WHO", " who", "whom", "SAY hi", "say", "say hi", "who", "Join x", "\thi", "* hi", "leave1", "say\thi",
        ];
        for line in unknown {
            steps.extend(talks(1, &[&format!("{line}\n"), &format!("{line}\r\n")]));
        }
        for name in
            ["", " ", " bob", "bob ", "bo b", "bob!", "Zoë", "abcdefghijklmnopq", "a_b", "a.b", "a-b", "bob\t", "٣"]
        {
            steps.extend(talks(1, &[&format!("join {name}\n")]));
        }
        steps.extend(talks(1, &["join\n", "join Witness\n", "join\tbob\n"]));
        // The same as a member.
        steps.extend(talks(1, &["join Witness\n", "join\n", "join b!\n", "join bob\r\n", "who\n", "who\r\n"]));
        for line in unknown.into_iter().filter(|line| *line != "say") {
            steps.push(say(1, format!("{line}\n")));
        }
        for text in [" ", " two  blanks ", "\t", "x\r\r", "a\rb", "Zoë", "* bob left", "say x", "%s\\n"] {
            steps.extend(talks(1, &[&format!("say {text}\n"), &format!("say {text}\r\n")]));
        }
        steps.extend(talk(1, &CHANGED_UNASKED.map(|text| format!("say {text}\n"))));
        steps.extend([say(1, b"say caf\xe9 \xff\0\n"), say(1, b"\xff\n"), say(1, b"join \xff\n")]);
        for length in [1023, 1024] {
            steps.extend(talks(
                1,
                &[&long("say ", length, "\n"), &long("say ", length, "\r\n"), &long("", length, "\n")],
            ));
        }
        // Joined and cut, and half a line that stands while another talks.
        steps.extend([say(1, "say one\nwho\r\nnothing\nsay thr"), say(9, "say between\n"), say(1, "ee\n")]);
        steps.extend([pieces(1, &[b"say ", b"x ", b"\r", b"\n"]), pieces(1, &[b"w", b"h", b"o", b"\r", b"\n"])]);
        steps.extend([say(1, "say x\r"), say(1, "\n"), pieces(1, &[b"say caf\xc3", b"\xa9\n"])]);
        steps.push(pieces(1, &[long("say ", 1024, "").as_bytes(), b"\r", b"\n"]));
        // A third, in the order of bytes, and at the limit of a name.
        steps.extend([come(2), say(2, "join Abcdefghijklmno9\n"), say(2, "who\n"), say(1, "say hi\n"), come(3)]);
        steps.extend([
            come(4),
            say(4, "join Abcdefghijklmno8\n"),
            say(4, "say hi\n"),
            say(4, long("say ", 1024, "\n")),
        ]);
        steps.extend(talks(3, &["join bob\n", "join Bob\n", "say hi\n", "who\n"]));
        steps.extend([come(5), say(5, "join 7up\n"), come(6), say(6, "join 42\n"), say(6, "who\n")]);
        let gone = || (1..=8).flat_map(|who| [say(who, "who\n"), step(who, Act::Leave)]);
        steps.extend(gone());
        steps.extend([come(1), say(1, "join bob\nleave\nwho\nsay late\nsay la"), say(9, "who\n")]);
        // Every way to leave, after which the name is free; in the midst of a line as well.
        let witness = || vec![come(9), say(9, "join Witness\n"), come(1), say(1, "join bob\n")];
        let mut leaving = witness();
        for ending in [Act::Say(vec![b"leave\n".to_vec()]), Act::Leave, Act::Reset] {
            leaving.extend([step(1, ending.clone()), come(1), say(1, "join bob\n"), say(1, "say again\n")]);
            leaving.extend([come(4), say(4, "who"), step(4, ending.clone()), come(4), step(4, ending)]);
        }
        leaving.extend([
            hasty(say(1, "say whole\nsay half")),
            step(1, Act::End),
            step(NOBODY, Act::Dash(vec![])),
            step(NOBODY, Act::Dash("who\n".repeat(2000).into_bytes())),
            come(1),
        ]);
        leaving.extend([
            say(1, "join bob\n"),
            say(1, "say half"),
            step(1, Act::Leave),
            come(1),
            say(1, "leave\r\n"),
            come(1),
            say(1, "join bob\nsay half"),
        ]);
        leaving.extend([step(1, Act::Reset), say(9, "who\n")]);
        leaving.extend(gone());
        // Too long: as a whole and without an end, as a guest and as a member.
        let mut too_long = witness();
        for line in [long("say ", 1025, "\n"), long("say ", 1026, "\r\n"), long("", 1025, "\n"), long("say ", 3000, "")]
        {
            too_long.extend([come(4), say(4, &line), come(4), say(4, "join ann\n"), say(4, &line), say(1, "who\n")]);
        }
        // What came before it in one packet is carried out.
        too_long.extend([come(4), say(4, long("join ann\nsay hi\n", 1100, ""))]);
        too_long.extend([
            come(4),
            say(4, "join ann\n"),
            step(4, Act::SayOn(vec![long("say ", 2000, "").into_bytes()])),
        ]);
        too_long.extend(gone());
        let member = |who: usize| [come(who), say(who, format!("join m{who}\n"))];
        let closing = [come(3)].into_iter().chain([1, 2, 4, 5].into_iter().flat_map(member));
        let halves =
            [say(2, "who\nsay h"), say(4, "who\nsa"), say(5, "who\nlea"), come(6), say(6, "who\njoin s"), signal()];
        let rests = [say(2, "i\n"), say(5, "ve\n"), say(4, "y bye\n"), say(6, "ix\n")];
        let closing = closing.chain(halves).chain(rests);
        let one = vec![come(1), say(1, "who\nsay h"), signal(), say(1, "i\n")];
        // Who stays when it was told the end holds up nobody.
        let stays = member(STAYS).into_iter().chain([signal()]).collect();
        vec![steps, leaving, too_long, closing.collect(), one, stays]
    }

    fn slow() -> Vec<Vec<Step>> {
        let member = |who: usize| [come(who), say(who, format!("join m{who}\n"))];
        let three = || [1, 2, 3].into_iter().flat_map(member).chain([say(1, "who\nsay a"), say(2, "who\nwh")]);
        let flood = step(4, Act::Flood([&b"no".repeat(500)[..], b"\n"].concat()));
        vec![
            three()
                .chain([come(4), pause(5300), say(3, "say hi\n"), say(1, "b\n"), say(2, "o\n"), say(4, "who\n")])
                .chain(member(5))
                .collect(),
            // In the middle of its first command.
            vec![come(1), say(1, "who\n"), come(2), say(2, "jo"), signal(), pause(700), say(2, "in ann\n")],
            three().chain([signal(), pause(1900), say(1, "b\n"), say(2, "o"), pause(1300)]).collect(),
            three().chain([flood, say(3, "say hi\n"), signal(), say(1, "b\n"), pause(3200)]).collect(),
        ]
    }

    fn conversation(dice: &mut Dice) -> Vec<Step> {
        const COMMANDS: &[&str] = &[
            "say ", "say ", "say ", "who", "leave", "join ann", "join bob", "join Ann", "join", " who", "sai",
            "join a!",
        ];
        let clients = 2 + dice.below(3);
        let mut steps = vec![come(9), say(9, "join Witness\n")];
        let first = (1..=clients)
            .flat_map(|who| [come(who), say(who, format!("join {}\n", ["ann", "bob", "Zoe", "a1"][who - 1]))]);
        // Some begin without a good `join`.
        steps.extend(first.filter(|_| !dice.once_in(4)).collect::<Vec<_>>());
        steps.extend(dice.conversation(clients, |dice| {
            let command = dice.pick(COMMANDS).as_bytes();
            let text = match command {
                b"say " if dice.once_in(10) => dice.around(LONGEST - 4),
                b"say " => dice.text(4),
                _ => vec![],
            };
            [command, &text, dice.end()].concat()
        }));
        if dice.once_in(4) {
            steps.retain(|step| step.act != Act::Leave || dice.once_in(3));
            steps.extend(dice.closing(clients, "who", "say h", "i"));
            steps.push(step(9, Act::Leave));
        }
        steps
    }
}

impl Room {
    fn hears(&mut self, who: usize, pieces: &[Vec<u8>], dues: &mut Dues) -> Option<()> {
        self.present.says(who, pieces);
        let lines = self.lines.take(who, pieces);
        let rest = self.lines.of(who).len();
        for (index, line) in lines.iter().enumerate() {
            if !self.carry_out(who, without_return(line), dues)? {
                // Whoever has sent more behind `leave` may be reset, and nobody hears any of it.
                let nothing_behind = rest == 0 && index + 1 == lines.len();
                for (_, due) in dues.iter_mut().filter(|(_, due)| *due == Due::End && !nothing_behind) {
                    *due = Due::Gone;
                }
                return Some(());
            }
        }
        // If the last of them is `\r`, nobody knows.
        (rest != LONGEST + 1).then_some(())?;
        if rest > LONGEST {
            self.too_long(who, dues);
        } else if self.present.is_closing() && !lines.is_empty() {
            // What comes behind the command in progress need not be carried out.
            let is_clear = lines[0].starts_with(b"say ") || lines[0].starts_with(b"join ");
            (lines.len() == 1 && rest == 0 && is_clear).then_some(())?;
            self.forget(who);
            dues.extend([(who, Due::line("bye")), (who, Due::Gone)]);
        }
        Some(())
    }

    /// Carries out a line. False if it was the client's last, and `None` if the task leaves open what comes of it.
    fn carry_out(&mut self, who: usize, line: &[u8], dues: &mut Dues) -> Option<bool> {
        if line.len() > LONGEST {
            self.too_long(who, dues);
            return Some(false);
        }
        let name = self.members.iter().find(|(_, member)| **member == who).map(|(name, _)| name.clone());
        let space = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
        let (command, rest) = (&line[..space], line.get(space + 1..));
        let fits = |name: &[u8]| (1..=16).contains(&name.len()) && name.iter().all(u8::is_ascii_alphanumeric);
        let answer = match (command, rest, name) {
            (b"leave", None, _) => {
                dues.extend([(who, Due::line("bye")), (who, Due::End)]);
                self.leaves(who, dues);
                return Some(false);
            }
            (b"leave", Some(_), _) | (b"who", Some(_), Some(_)) | (b"say", None | Some(b""), Some(_)) => return None,
            (b"join", _, Some(_)) => "error: already joined".into(),
            (b"join", rest, None) => match rest.filter(|name| fits(name)) {
                None => "error: bad name".into(),
                Some(name) if self.members.contains_key(name) => "error: name taken".into(),
                Some(name) => {
                    let shown = String::from_utf8_lossy(name);
                    self.tell(format!("* {shown} joined").as_bytes(), dues);
                    self.members.insert(name.to_vec(), who);
                    format!("welcome {shown}")
                }
            },
            (_, _, None) => "error: join first".into(),
            (b"say", Some(text), Some(name)) => {
                self.tell(&[&name, &b": "[..], text].concat(), dues);
                return Some(true);
            }
            (b"who", None, Some(_)) => {
                let names: Vec<_> = self.members.keys().map(|name| String::from_utf8_lossy(name)).collect();
                format!("here: {}", names.join(", "))
            }
            _ => "error: unknown command".into(),
        };
        dues.push((who, Due::line(answer)));
        Some(true)
    }

    fn tell(&self, text: &[u8], dues: &mut Dues) {
        dues.extend(self.members.values().map(|&member| (member, Due::line(text))));
    }

    fn too_long(&mut self, who: usize, dues: &mut Dues) {
        dues.extend([(who, Due::line("error: line too long")), (who, Due::Gone)]);
        self.leaves(who, dues);
    }

    fn leaves(&mut self, who: usize, dues: &mut Dues) {
        if let Some(name) = self.forget(who) {
            self.tell(format!("* {} left", String::from_utf8_lossy(&name)).as_bytes(), dues);
        }
    }

    /// Without a word to the others. Gives the name, if it had one.
    fn forget(&mut self, who: usize) -> Option<Vec<u8>> {
        self.present.go(who);
        let name = self.members.iter().find(|(_, member)| **member == who).map(|(name, _)| name.clone())?;
        self.members.remove(&name);
        Some(name)
    }
}
