//! The counter with six seats.

use super::{
    Act, CHANGED_UNASKED, Dice, Due, Dues, Lines, Model, NOBODY, STAYS, Step, beside_flood, come, hasty, pause, pieces,
    say, step, talk, visits,
};

const SEATS: usize = 6;

/// The longest order, in bytes.
const LONGEST: usize = 2000;

#[derive(Clone, Default)]
pub(in crate::classroom) struct Counter {
    seated: Vec<usize>,
    orders: Lines,
}

impl Model for Counter {
    const NOT_YET: Option<&'static [u8]> = Some(b"busy\n");
    const LINGERS: bool = true;

    fn step(&mut self, who: usize, act: &Act) -> Option<Dues> {
        let is_seated = self.seated.contains(&who);
        Some(match act {
            Act::Come if self.seated.len() < SEATS => {
                self.seated.push(who);
                vec![(who, Due::line("seated"))]
            }
            Act::Come => vec![(who, Due::line("busy")), (who, Due::End)],
            Act::Say(pieces) if is_seated => {
                let orders = self.orders.take(who, pieces);
                let clear = |order: &Vec<u8>| {
                    (1..=LONGEST).contains(&order.len())
                        && !order.contains(&b'\r')
                        && std::str::from_utf8(order).is_ok()
                };
                orders.iter().all(clear).then_some(())?;
                match orders.iter().position(|order| order == b"fire") {
                    Some(0) => {
                        self.rises(who);
                        vec![(who, Due::Gone)]
                    }
                    // What was ordered before it may go unanswered.
                    Some(_) => return None,
                    None => {
                        orders.iter().map(|order| (who, Due::line([b"here is your ", &order[..]].concat()))).collect()
                    }
                }
            }
            // Half a line before the end may be answered or not.
            Act::End if is_seated && !self.orders.of(who).is_empty() => return None,
            Act::End if is_seated => {
                self.rises(who);
                vec![(who, Due::End)]
            }
            Act::Leave | Act::Reset => {
                self.rises(who);
                vec![]
            }
            Act::Pause(_) => vec![],
            Act::Flood(_) if self.seated.len() < SEATS => {
                self.seated.push(who);
                vec![]
            }
            _ => return None,
        })
    }

    fn table() -> Vec<Vec<Step>> {
        let full = || (1..=6).map(come);
        let order = |who| say(who, format!("tea {who}\n"));
        let mut steps: Vec<Step> = full().collect();
        steps.extend(talk(
            1,
            &["tea\n", "café au lait\n", " two  blanks \n", "t", "ea", "\n", "FIRE\n", "fire!\n", " fire\n"],
        ));
        steps.extend(talk(1, &CHANGED_UNASKED.map(|text| format!("{text}\n"))));
        // What some languages take for the end of a line.
        steps.extend(talk(1, &["a\u{b}b\u{c}c\n", "a\u{1c}b\u{85}c\u{2028}d\n"]));
        // The longest, at once and with two reads.
        let longest = [&b"cake ".repeat(LONGEST / 5)[..], b"\n"].concat();
        steps.extend([say(1, &longest), pieces(1, &[&longest[..LONGEST - 1], &longest[LONGEST - 1..]])]);
        steps.extend([
            say(1, "tea\n".repeat(100)),
            say(2, "one\ntwo\nthr"),
            say(2, "ee\n"),
            pieces(3, &[b"caf\xc3", b"\xa9 ", b"x", b"\n"]),
            pieces(3, &["cake ".repeat(500).as_bytes(), b"\n"]),
        ]);
        steps.extend((1..=6).rev().map(order));
        // Who ends its side behind an order is served.
        steps.extend([hasty(say(2, "last\n")), step(2, Act::End), come(2)]);
        // One too many, who has said nothing, has ordered, has ended its side, or goes on ordering.
        steps.push(come(7));
        steps.extend([hasty(come(7)), say(7, "tea\n"), hasty(come(7)), step(7, Act::End)]);
        steps.extend([hasty(come(7)), step(7, Act::SayOn(vec![b"tea\n".to_vec()]))]);
        // In whatever way a visit ends, its seat is free, and one seat at a time.
        for ending in [Act::Leave, Act::Reset, Act::End, Act::Say(vec![b"fire\n".to_vec()])] {
            for who in [1, 6] {
                steps.extend([
                    say(who, "sugar\n"),
                    step(who, ending.clone()),
                    come(who),
                    order(who),
                    order(2),
                    come(7),
                ]);
            }
        }
        // Gone in the middle of an order, and more than once.
        for _ in 0..3 {
            for ending in [Act::Leave, Act::Reset] {
                steps.extend([say(5, "te"), step(5, ending), come(5), order(5), come(7)]);
            }
        }
        // Who stays when it was thrown out has no seat, either.
        let fire = say(STAYS, "fire\n");
        steps.extend([step(5, Act::Leave), come(STAYS), fire, come(5), order(5), come(7)]);
        steps.extend((1..=6).map(order));
        steps.extend((1..=6).map(|who| step(who, Act::Leave)));
        // Gone while they are served.
        let dash = step(NOBODY, Act::Dash("tea\n".repeat(2000).into_bytes()));
        steps.extend([come(1), order(1), dash, order(1), come(2), order(2), step(1, Act::Leave), step(2, Act::Leave)]);
        steps.extend(full());
        steps.push(come(7));
        steps.extend((1..=6).map(|who| step(who, Act::Leave)));
        vec![steps, visits("tea\n")]
    }

    fn slow() -> Vec<Vec<Step>> {
        let begin = [come(1), say(1, "te"), come(2), come(3), say(3, "tea\n"), pause(5300)];
        let end = [say(2, "tea\n"), say(1, "a\n"), say(3, "tea\n"), come(4), say(4, "tea\n")];
        let flooded = beside_flood("tea\n", [&b"cake ".repeat(200)[..], b"\n"].concat());
        vec![begin.into_iter().chain(end).collect(), flooded]
    }

    fn conversation(dice: &mut Dice) -> Vec<Step> {
        const ORDERS: &[&str] =
            &["tea", "cake", " tea", "tea ", "café", "🍵 5", "fire", "Fire", "fire 2", "a:b", "\t", "  ", "%%s", "\0"];
        let clients = 5 + dice.below(4);
        let mut steps = dice.conversation(clients, |dice| format!("{}\n", dice.pick(ORDERS)).into_bytes());
        for step in &mut steps {
            // Orders that nobody has awaited may come in one packet with fire, and needn't be answered then.
            step.hasty = step.act == Act::Come && dice.once_in(2);
        }
        steps
    }
}

impl Counter {
    fn rises(&mut self, who: usize) {
        self.seated.retain(|&guest| guest != who);
        self.orders.of(who).clear();
    }
}
