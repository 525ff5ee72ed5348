//! The ticket window.

use std::collections::VecDeque;
use std::time::Duration;

use super::{
    Act, CHANGED_UNASKED, Dice, Due, Dues, Model, STAYS, Step, come, hasty, pause, pieces, say, step, talk, visits,
    without_return,
};

/// The longest name that the task speaks of, in bytes.
const LONGEST: usize = 1000;

#[derive(Clone, Default)]
pub(in crate::classroom) struct Window {
    queue: VecDeque<Customer>,
    /// How many numbers are spent for sure.
    spent: u32,
    /// How many more may be, for customers who were gone when their tickets came.
    perhaps: u32,
    /// Both, as they were for each ticket that hasn't been heard of yet.
    owed: VecDeque<(u32, u32)>,
}

#[derive(Clone)]
struct Customer {
    who: usize,
    said: Vec<u8>,
    /// Ended its side.
    ended: bool,
    /// Closed or reset its connection.
    gone: bool,
}

impl Customer {
    fn name(&self) -> Option<&[u8]> {
        self.said.strip_suffix(b"\n").map(without_return)
    }
}

impl Model for Window {
    /// Of the two seconds that a customer has.
    const HURRY: Option<Duration> = Some(Duration::from_millis(1600));

    fn step(&mut self, who: usize, act: &Act) -> Option<Dues> {
        let mut dues = Vec::new();
        let customer = self.queue.iter_mut().find(|customer| customer.who == who && !customer.gone);
        match (act, customer) {
            (Act::Come, _) => self.queue.push_back(Customer { who, said: Vec::new(), ended: false, gone: false }),
            (Act::Say(pieces), Some(customer)) if !customer.ended && customer.name().is_none() => {
                customer.said.extend(pieces.concat());
                let end = customer.said.iter().position(|&byte| byte == b'\n').unwrap_or(customer.said.len());
                let nothing_behind = end + 1 >= customer.said.len();
                let fits = match customer.name() {
                    Some(name) => (1..=LONGEST).contains(&name.len()),
                    None => end <= LONGEST,
                };
                (nothing_behind && fits).then_some(())?;
            }
            (Act::End, Some(customer)) if !customer.ended => customer.ended = true,
            (Act::Leave | Act::Reset, Some(customer)) => customer.gone = true,
            (Act::Pause(..1300), _) => {}
            (Act::Pause(3000..), _) => {
                let Some(slow) = self.queue.pop_front() else { return Some(dues) };
                // Those behind it must not be waited for: nobody knows how much of their time is left.
                self.queue.iter().all(|next| next.name().is_some() || next.gone || next.ended).then_some(())?;
                dues.extend([(slow.who, Due::line("too slow")), (slow.who, Due::Gone)]);
            }
            _ => return None,
        }
        self.call(&mut dues);
        Some(dues)
    }

    fn heard(&mut self, line: &[u8]) {
        let number =
            std::str::from_utf8(&line[7..]).unwrap_or_default().split(' ').next().and_then(|it| it.parse().ok());
        if let (Some(number), Some((spent, perhaps))) = (number, self.owed.pop_front()) {
            // Now it is known how many of those who had gone spent a number.
            let more = u32::saturating_sub(number, spent + 1);
            for (spent, maybe) in
                self.owed.iter_mut().map(|(one, two)| (one, two)).chain([(&mut self.spent, &mut self.perhaps)])
            {
                *spent += more;
                *maybe = maybe.saturating_sub(perhaps);
            }
        }
    }

    fn table() -> Vec<Vec<Step>> {
        let mut steps = Vec::new();
        let longest = [vec![b'x'; LONGEST], b"\n".to_vec()].concat();
        let longest_with_return = [&longest[..LONGEST], b"\r\n"].concat();
        let names: [&[u8]; 15] = [
            b"Ada\n",
            b"Grace Hopper\r\n",
            b"Zo\xc3\xab\n",
            b" Lin \n",
            b"\ta b\t\n",
            b"x\r\r\n",
            b"\r\r\n",
            b"a\rb\n",
            b"Ren\xe9\n",
            b"\xff\0\n",
            b" \n",
            b"\xc2\xa0nbsp\xc2\xa0\r\n",
            b"%s\\n\"\n",
            &longest,
            &longest_with_return,
        ];
        for name in names {
            steps.extend([come(1), say(1, name)]);
        }
        for name in CHANGED_UNASKED {
            steps.extend([come(1), say(1, format!("{name}\n"))]);
        }
        // A name in pieces, also in the midst of its end and of a character; and bytes by themselves.
        steps.extend([come(1), pieces(1, &[&longest[..999], &longest[999..LONGEST], b"\n"])]);
        steps.extend([come(1), pieces(1, &[&longest[..LONGEST], b"\r", b"\n"])]);
        steps.extend([come(1), pieces(1, &[b"Gr", b"ace \xc3", b"\xab\r", b"\n"]), come(1)]);
        steps.extend(talk(1, &["A", " ", "b", "\r", "\n"]));
        // In the order in which they came, whoever speaks first.
        steps.extend([come(1), come(2), come(3), say(2, "two\n"), say(3, "three\n"), say(1, "one"), say(1, "\n")]);
        // Who vanishes before the name is whole spends no number; who ends its side behind a name gets the ticket.
        steps.extend([come(1), say(1, "Ad"), step(1, Act::End), come(1), step(1, Act::End)]);
        steps.extend([come(1), say(1, "Ad"), step(1, Act::Leave), come(1), say(1, "Ad"), step(1, Act::Reset)]);
        steps.extend([come(1), step(1, Act::Leave), come(1), step(1, Act::Reset), come(1), say(1, "next\n")]);
        steps.extend([come(1), come(2), hasty(say(2, "two\n")), step(2, Act::End), say(1, "one\n")]);
        // Who stays with its ticket is not waited for.
        steps.extend([come(STAYS), say(STAYS, "stays\n"), come(1), say(1, "next\n")]);
        // Gone from the queue, with a name and without.
        let queue = [come(1), come(2), come(3), come(4), say(2, "two\n"), say(3, "thr"), say(4, "four\n")];
        for going in [Act::Leave, Act::Reset] {
            steps.extend(queue.clone());
            steps.extend([step(2, going.clone()), step(3, going.clone()), say(1, "one\n"), come(1), say(1, "five\n")]);
        }
        // There is time for a name of more than a second.
        let unhurried = vec![come(1), say(1, "A"), pause(1100), say(1, "da\n"), come(1), say(1, "Lin\n")];
        // Twice: more tickets than a byte counts.
        vec![steps, unhurried, visits("Ada\n"), visits("Ada\n")]
    }

    fn slow() -> Vec<Vec<Step>> {
        let slow = |first: Vec<Step>| {
            let then = [come(2), say(2, "Grace\n"), pause(3200), come(1), say(1, "Ada\n")];
            [come(3), say(3, "Lin\n"), come(STAYS)].into_iter().chain(first).chain(then).collect()
        };
        let quiet = vec![come(1), say(1, "Ada\n"), pause(3200), come(2), say(2, "Grace\n")];
        vec![slow(vec![]), slow(vec![say(STAYS, "Ad")]), quiet]
    }

    fn conversation(dice: &mut Dice) -> Vec<Step> {
        let clients = 1 + dice.below(4);
        dice.conversation(clients, |dice| {
            let name = if dice.once_in(8) { dice.around(LONGEST - 8) } else { dice.text(4) };
            [&name, dice.end()].concat()
        })
    }
}

impl Window {
    /// Serves whoever stands at the window, and calls the next, until somebody is there who has said no name yet.
    fn call(&mut self, dues: &mut Dues) {
        while let Some(Customer { who, ended, gone, .. }) = self.queue.front().cloned() {
            let name = self.queue[0].name().map(<[u8]>::to_vec);
            match name {
                Some(_) if gone => self.perhaps += 1,
                Some(name) => {
                    let numbers = self.spent + 1..=self.spent + 1 + self.perhaps;
                    let ticket = |number| [format!("ticket {number} for ").as_bytes(), &name, b"\n"].concat();
                    dues.extend([(who, Due::OneOf(numbers.map(ticket).collect())), (who, Due::End)]);
                    self.owed.push_back((self.spent, self.perhaps));
                    self.spent += 1;
                }
                None if gone => {}
                None if ended => dues.push((who, Due::Gone)),
                None => return,
            }
            self.queue.pop_front();
        }
    }
}
