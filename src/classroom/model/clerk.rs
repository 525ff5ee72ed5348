//! The counter that waits for nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    Act, CHANGED_UNASKED, Dice, Due, Dues, Lines, Model, NOBODY, Step, beside_flood, come, crowd, hasty, pause, pieces,
    say, signal, step, talk, visits,
};

/// The longest line, in bytes, its end not counted.
const LONGEST: usize = 1000;

#[derive(Clone, Default)]
pub(in crate::classroom) struct Clerk {
    customers: BTreeMap<usize, Customer>,
    lines: Lines,
    lost: u32,
    /// Whether it has answered anybody. Before that it may be starting, and know of no signal yet.
    is_up: bool,
    is_closed: bool,
}

#[derive(Clone, Default)]
struct Customer {
    answered: u32,
    /// How many milliseconds of pauses there were since its time began.
    waited: u64,
}

impl Model for Clerk {
    /// Of the two seconds that a customer has for a line.
    const HURRY: Option<Duration> = Some(Duration::from_millis(1600));

    fn step(&mut self, who: usize, act: &Act) -> Option<Dues> {
        if self.is_closed {
            return None;
        }
        Some(match act {
            Act::Come => {
                self.go(who);
                self.customers.insert(who, Customer::default());
                vec![]
            }
            Act::Say(pieces) => self.hears(who, pieces)?,
            // Half a line at the end is not answered.
            Act::End => {
                self.go(who);
                vec![(who, Due::End)]
            }
            Act::Leave | Act::Reset => {
                self.go(who);
                vec![]
            }
            Act::Pause(ms) => self.waits(*ms)?,
            Act::Signal => {
                self.is_up.then_some(())?;
                self.is_closed = true;
                let tally = Due::Exit(Some(format!("tally: places lost {}", self.lost)));
                self.customers.keys().map(|&who| (who, Due::Gone)).chain([(NOBODY, tally)]).collect()
            }
            // It loses its place in the end, so there is no tally after this.
            Act::Flood(_) => {
                self.is_up = false;
                vec![]
            }
            Act::SayOn(_) | Act::Insist | Act::Dash(_) => return None,
        })
    }

    fn table() -> Vec<Vec<Step>> {
        let longest = |end: &str| format!("{}{end}", "x".repeat(LONGEST - end.len() + 1));
        let lines =
            ["one\n", "\n", " two  blanks \n", "\ta\u{b}b\n", "x\r\n", "\r\n", "a\rb\r\r\n", "caf\u{e9}\n", "7: x\n"];
        let mut talks = [vec![come(1)], talk(1, &lines), talk(1, &[longest("\n"), longest("\r\n")])].concat();
        talks.extend(talk(
            1,
            &[&b"caf\xe9 \xff\0x\n"[..], b"\xc2\x85 \xe2\x80\xa8\n", b"error: too slow\n", b"%s\\n\n"],
        ));
        talks.extend(talk(1, &CHANGED_UNASKED.map(|text| format!("{text}\n"))));
        // Each has numbers of its own. Joined, cut, and half a line that stands while another talks.
        talks.extend([come(2), say(2, "one\ntwo\nthr"), say(1, "between\n"), say(2, "ee\n")]);
        talks.push(pieces(1, &[longest("\n").trim_end().as_bytes(), b"\n"]));
        talks.extend([pieces(2, &[b"caf\xc3", b"\xa9", b"\r", b"\n"]), say(1, "a\n".repeat(100))]);
        talks.extend([
            pieces(1, &[b"f", b"o", b"ur\n", b"five\nsi", b"x\n"]),
            step(1, Act::Leave),
            come(1),
            say(1, "x\n"),
        ]);
        let gone = || [1, 2].map(|who| step(who, Act::Leave));
        talks.extend(gone());
        // Whoever goes has lost no place, in the middle of a line or not. Who ends its side is answered before.
        let mut going = Vec::new();
        for ending in [Act::End, Act::Leave, Act::Reset] {
            let go = || step(1, ending.clone());
            going.extend([come(1), go(), come(1), say(1, "hal"), go(), come(1), say(1, "one\n"), go()]);
            going.extend([come(1), say(1, "one\nhal"), go()]);
        }
        going.extend([come(1), hasty(say(1, "one\ntwo\nhal")), step(1, Act::End)]);
        // In the middle of an answer as well.
        going.extend([come(4), say(4, "one\n"), step(NOBODY, Act::Dash("one\n".repeat(2000).into_bytes()))]);
        going.extend([come(2), say(2, "one\n"), come(3), say(3, "one\nhal"), come(1), say(1, "x\n")]);
        going.push(signal());
        // There is time for a line, and for a silence, of more than a second.
        let mut unhurried = vec![come(1), say(1, "ha"), come(2), come(3), say(3, "one\n")];
        unhurried.extend([pause(1200), say(1, "lf\n"), say(2, "one\n"), say(3, "two\n")]);
        unhurried.extend([step(3, Act::Leave)].into_iter().chain(gone()));
        vec![talks, unhurried, going, crowd("hello\n"), visits("hello\n")]
    }

    fn slow() -> Vec<Vec<Step>> {
        // The beginning of a line that came with the end of the one before is a beginning.
        let halves = [come(1), say(1, "hal"), come(2), say(2, "one\nhal"), come(3), say(3, "on"), say(3, "e\nt")];
        let next = [come(4), say(4, "one\ntw"), say(4, "o\n")];
        let told = [&halves[..], &[pause(3100)], &next, &[signal()]].concat();
        let silent = [come(1), come(2), say(2, "one\n"), come(3), say(3, "on"), say(3, "e\n"), come(4), say(4, "hal")];
        let let_go = [&silent[..], &[pause(4200), come(5), say(5, "one\nhal"), signal()]].concat();
        let one = vec![come(1), say(1, "one\n"), say(1, "hal"), pause(3100), come(2), say(2, "one\n"), signal()];
        vec![told, let_go, one, beside_flood("one\n", [&b"x".repeat(999)[..], b"\n"].concat())]
    }

    fn conversation(dice: &mut Dice) -> Vec<Step> {
        let clients = 1 + dice.below(4);
        let mut steps = dice.conversation(clients, |dice| {
            let line = if dice.once_in(8) { dice.around(LONGEST - 2) } else { dice.text(4) };
            [&line, &b"\n"[..]].concat()
        });
        if dice.once_in(4) {
            steps.retain(|step| step.act != Act::Leave || dice.once_in(3));
            steps.push(signal());
        }
        steps
    }
}

impl Clerk {
    fn go(&mut self, who: usize) {
        self.customers.remove(&who);
        self.lines.of(who).clear();
    }

    fn hears(&mut self, who: usize, pieces: &[Vec<u8>]) -> Option<Dues> {
        let customer = self.customers.get_mut(&who)?;
        let goes_on = !self.lines.of(who).is_empty();
        let lines = self.lines.take(who, pieces);
        let fit = lines.iter().chain([&*self.lines.of(who)]).all(|line| line.len() <= LONGEST);
        fit.then_some(())?;
        self.is_up |= !lines.is_empty();
        if !goes_on || !lines.is_empty() {
            customer.waited = 0;
        }
        let answers = lines.iter().map(|line| {
            customer.answered += 1;
            (who, Due::line([format!("{}: ", customer.answered).as_bytes(), line].concat()))
        });
        Some(answers.collect())
    }

    /// `None` where nobody knows whether the time of somebody is over.
    fn waits(&mut self, ms: u64) -> Option<Dues> {
        let mut dues = Vec::new();
        for (who, mut customer) in std::mem::take(&mut self.customers) {
            customer.waited += ms;
            let is_idle = self.lines.of(who).is_empty();
            let limit = if is_idle { 4000 } else { 2000 };
            if customer.waited <= 1300 {
                self.customers.insert(who, customer);
                continue;
            }
            (customer.waited > limit).then_some(())?;
            self.lost += 1;
            if !is_idle {
                dues.push((who, Due::line("error: too slow")));
            }
            dues.push((who, Due::End));
            self.lines.of(who).clear();
        }
        Some(dues)
    }
}
