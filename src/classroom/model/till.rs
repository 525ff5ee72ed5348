//! The till that closes.

use super::{
    Act, Dice, Due, Dues, Lines, Model, NOBODY, Present, STAYS, Step, come, crowd, hasty, pause, pieces, say, signal,
    step, talk, visits,
};

/// The longest command, in bytes.
const LONGEST: usize = 64;

#[derive(Clone, Default)]
pub(in crate::classroom) struct Till {
    lines: Lines,
    present: Present,
    sales: u64,
    sum: u64,
}

impl Model for Till {
    fn step(&mut self, who: usize, act: &Act) -> Option<Dues> {
        let mut dues = Vec::new();
        match act {
            Act::Come if self.present.is_closing() => return None,
            Act::Come => {
                self.lines.of(who).clear();
                self.present.come(who);
            }
            Act::Say(pieces) => {
                self.present.says(who, pieces);
                let commands = self.lines.take(who, pieces);
                for command in &commands {
                    (command.len() < LONGEST).then_some(())?;
                    dues.push((who, self.carry_out(command)?));
                }
                let idle = self.lines.of(who).is_empty();
                (self.lines.of(who).len() < LONGEST).then_some(())?;
                match &commands[..] {
                    [_] if self.present.is_closing() && idle => dues.extend(self.parts(who)),
                    // What comes behind the command in progress need not be carried out.
                    [_, ..] if self.present.is_closing() => return None,
                    _ => {}
                }
            }
            Act::End => {
                self.present.go(who);
                dues.push((who, Due::Gone));
            }
            Act::Leave | Act::Reset => self.present.go(who),
            Act::Signal => {
                let idle = self.present.close(&mut self.lines)?;
                dues.extend(idle.into_iter().flat_map(|who| self.parts(who)));
            }
            Act::Pause(ms) => dues.extend(self.present.pause(*ms)?),
            Act::Flood(_) => self.present.is_flooded = true,
            Act::SayOn(_) | Act::Insist | Act::Dash(_) => return None,
        }
        if self.present.is_over() {
            dues.push((NOBODY, Due::Exit(Some(format!("tally: sales {}, sum {}", self.sales, self.sum)))));
        }
        Some(dues)
    }

    fn all_is_read(&mut self) {
        self.present.all_is_read(&mut self.lines);
    }

    fn table() -> Vec<Vec<Step>> {
        let sells = talk(
            1,
            &[
                "sell 1\n",
                "sell 42\n",
                "sell 999999999999999\n",
                "buy 5\n",
                "\n",
                " \n",
                "sell\n",
                "sell \n",
                "Sell 5\n",
            ],
        );
        let errors = talk(
            1,
            &["sell five\n", "sell 5kg\n", "sell5\n", " sell 5\n", "sell\t5\n", "\r\n", "resell 5\n", "sells 5\n"],
        );
        let odd: [&[u8]; 3] = [b"caf\xe9\n", b"\xff\xfe\0\n", "söll 5\n".as_bytes()];
        let mut rows = [vec![come(1)], sells, errors, talk(1, &odd)].concat();
        rows.push(say(1, "sell 1\n".repeat(200)));
        rows.extend([say(1, "sell 1\nsell 2\nno\nsell 3"), say(1, "0\n"), pieces(1, &[b"se", b"ll ", b"7", b"\n"])]);
        rows.extend([
            come(2),
            say(2, "sell 10\nse"),
            say(1, "sell 20\n"),
            say(2, "ll 30\n"),
            say(2, "sell 4"),
            step(2, Act::End),
        ]);
        rows.extend([
            come(3),
            say(3, "sell 5\n"),
            step(3, Act::Leave),
            come(3),
            say(3, "sell 6\nsell 7"),
            step(3, Act::Reset),
        ]);
        // Idle: has spoken, has never spoken. In the middle of a command: of each length, also of one that is none.
        rows.extend([
            come(4),
            come(2),
            say(2, "sell 8\ns"),
            come(3),
            say(3, "no\nbu"),
            signal(),
            say(2, "ell 9\n"),
            say(3, "y\n"),
        ]);
        let nothing = vec![come(1), say(1, "no\n"), signal()];
        let gone = vec![
            come(1),
            say(1, "no\n"),
            step(NOBODY, Act::Dash(vec![])),
            step(NOBODY, Act::Dash("no\n".repeat(2000).into_bytes())),
            come(3),
            hasty(say(3, "sell 5\nsell 6\n")),
        ];
        let gone = [gone, vec![step(3, Act::End), say(1, "sell 7\n"), signal()]].concat();
        // A sum that a `double` can't hold; and one who is gone counts once.
        let mut much = vec![come(1), say(1, "sell 999999999999999\n".repeat(11)), come(3), say(3, "no\nsell 1")];
        much.extend([step(3, Act::Reset), come(2), say(2, "no\nsell 1"), say(1, "no\nsell 1"), signal()]);
        much.extend([say(2, "0\n"), say(1, "0\n")]);
        let nobody = vec![come(1), say(1, "sell 3\n"), step(1, Act::Leave), signal()];
        let last = vec![come(1), come(2), say(2, "sell 5\nsell 60"), signal(), say(2, "0"), say(2, "\n")];
        let goes = vec![
            come(1),
            say(1, "sell 5\nsell 6"),
            come(2),
            say(2, "sell 1\nsell 2"),
            signal(),
            step(1, Act::Reset),
            step(2, Act::End),
        ];
        vec![visits("sell 4\n"), crowd("sell 2\n"), rows, nothing, gone, much, nobody, last, goes]
    }

    fn slow() -> Vec<Vec<Step>> {
        let two = [come(1), come(2), say(2, "sell 5\nsell 6"), say(1, "sell 1\nsell 2")];
        let then = |then: &[Step]| [&two[..], then].concat();
        let flood = step(4, Act::Flood([&b"no".repeat(30)[..], b"\n"].concat()));
        vec![
            then(&[pause(3200), come(3), say(3, "no\n"), say(1, "0\n"), signal(), say(2, "0\n")]),
            then(&[signal(), pause(1800), say(1, "0\n"), say(2, "0\n")]),
            // In the middle of its first command.
            then(&[come(3), say(3, "sel"), signal(), pause(700), say(3, "l 4\n"), say(1, "0\n"), say(2, "0\n")]),
            // Who stays when it was told the end, and who takes no answer, holds up nobody.
            then(&[come(STAYS), say(STAYS, "sell 3\n"), signal(), say(1, "0\n"), say(2, "0\n")]),
            then(&[flood.clone(), come(3), say(3, "sell 7\n"), signal(), say(1, "0\n"), pause(3200)]),
            // A word now and then is no more time.
            then(&[signal(), say(1, "0\n"), pause(1900), say(2, "0"), pause(1300)]),
        ]
    }

    fn conversation(dice: &mut Dice) -> Vec<Step> {
        let clients = 1 + dice.below(4);
        let mut steps = dice.conversation(clients, |dice| match dice.below(8) {
            0 => [&dice.text(3), &b"\n"[..]].concat(),
            1 => dice.pick(&[&b"sell x\n"[..], b"sell \n", b"sell\n", b"SELL 5\n", b"\n"]).to_vec(),
            _ => format!("sell {}\n", 1 + dice.below(1000)).into_bytes(),
        });
        steps.retain(|step| step.act != Act::Leave || dice.once_in(3));
        steps.extend(dice.closing(clients, "sell 5", "sell 1", "0"));
        steps
    }
}

impl Till {
    /// The answer to one command. `None` if the task leaves it open whether this is a whole number.
    fn carry_out(&mut self, command: &[u8]) -> Option<Due> {
        let error = Some(Due::line("error: say sell and a whole number"));
        let Some(price) = command.strip_prefix(b"sell ") else { return error };
        let digits = price.iter().all(u8::is_ascii_digit) && (1..16).contains(&price.len()) && price[0] != b'0';
        if digits {
            let number = std::str::from_utf8(price).ok()?.parse::<u64>().ok()?;
            self.sales += 1;
            self.sum += number;
            return Some(Due::line([b"sold ", price].concat()));
        }
        let is_like_a_number = |&byte: &u8| !byte.is_ascii_alphabetic() || b"exob_EXOB".contains(&byte);
        if price.is_empty() || !price.iter().all(is_like_a_number) { error } else { None }
    }

    fn parts(&mut self, who: usize) -> Dues {
        self.present.go(who);
        vec![(who, Due::line("bye")), (who, Due::Gone)]
    }
}
