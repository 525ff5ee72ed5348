//! Random conversations. What matters is chosen more often than chance would: ends of lines that are cut in two, bytes that
//! aren't text, and several clients at a time.

use super::{Act, Step, come, say, signal, step};
use crate::lab::random::Random;

/// Random numbers, and what is made of them.
pub(in crate::classroom) struct Dice(Random);

impl Dice {
    /// For one conversation of a run.
    pub(super) fn new(seed: u64, conversation: u64) -> Self {
        Dice(Random(Random(seed).next() ^ conversation))
    }

    /// A number below `limit`, which is at least 1.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0.below(limit)
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.0.one_in(times)
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Up to `most` pieces of text and of what is none, without `\n`.
    pub(super) fn text(&mut self, most: usize) -> Vec<u8> {
        const ODD: &[&[u8]] = &[
            b"a",
            b"Tea",
            b"x y",
            b"hello",
            b"42",
            b" ",
            b"  ",
            b"\t",
            b"\r",
            b"\r\r",
            b"\0",
            b"\xff",
            b"\xc3",
            b"caf\xe9",
            b"\xc3\xa9",
            b"\xe2\x82\xac",
            b"\xc2\xa0",
            b"\x1b[1m",
            b"\"",
            b"\\n",
            b":",
            b",",
            b"%s",
            b"%%",
            b"\xef\xbb\xbf",
            b"\xf0\x9f\x8d\xb5",
            b"\x0b",
            b"\xc2\x85",
        ];
        (0..=self.below(most)).flat_map(|_| self.pick(ODD)).copied().collect()
    }

    /// So many bytes, as long as a limit, or a little shorter or longer.
    pub(super) fn around(&mut self, limit: usize) -> Vec<u8> {
        let length = (limit + self.below(5)).saturating_sub(2);
        vec![self.pick(b"xyz\xe9"); length]
    }

    /// The end of a line, and sometimes more `\r` than belong to it.
    pub(super) fn end(&mut self) -> &'static [u8] {
        self.pick(&[&b"\n"[..], b"\n", b"\n", b"\n", b"\r\n", b"\r\n", b"\r\r\n"])
    }

    /// Where to cut these bytes in two: often before the end of a line, in the middle of it, or behind a blank.
    fn cut(&mut self, bytes: &[u8]) -> usize {
        let likely: Vec<usize> = (1..bytes.len())
            .filter(|&at| matches!(bytes[at - 1], b'\r' | b' ') || matches!(bytes[at], b'\r' | b'\n'))
            .collect();
        if likely.is_empty() || self.once_in(3) { self.below(bytes.len() + 1) } else { self.pick(&likely) }
    }

    /// The same bytes, in one piece or in several.
    fn pieces(&mut self, mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        if bytes.len() < 16 && self.once_in(6) {
            return bytes.iter().map(|&byte| vec![byte]).collect();
        }
        let mut pieces = Vec::new();
        while bytes.len() > 1 && self.once_in(3) {
            let rest = bytes.split_off(self.cut(&bytes));
            pieces.push(std::mem::replace(&mut bytes, rest));
        }
        pieces.push(bytes);
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    /// A conversation of up to so many clients. Each says what `command` gives, joined and cut, and at last something that
    /// is whole, whose answer shows what came too much before.
    pub(super) fn conversation(&mut self, clients: usize, mut command: impl FnMut(&mut Self) -> Vec<u8>) -> Vec<Step> {
        let mut unsaid: Vec<Option<Vec<u8>>> = vec![None; clients];
        let mut steps = Vec::new();
        for _ in 0..4 + self.below(14) {
            let who = self.below(clients);
            let Some(rest) = &mut unsaid[who] else {
                steps.push(come(who + 1));
                unsaid[who] = Some(Vec::new());
                continue;
            };
            if self.once_in(10) {
                steps.push(step(who + 1, self.pick(&[Act::End, Act::Leave, Act::Reset])));
                unsaid[who] = None;
                continue;
            }
            for _ in 0..self.pick(&[1, 1, 1, 2, 3]) {
                rest.extend(command(self));
            }
            let now = if self.once_in(3) { self.cut(rest) } else { rest.len() };
            let later = rest.split_off(now);
            let said = std::mem::replace(rest, later);
            let mut speaking = step(who + 1, Act::Say(self.pieces(said)));
            speaking.hasty = self.once_in(8);
            steps.push(speaking);
        }
        for (who, rest) in unsaid.into_iter().enumerate() {
            let Some(rest) = rest else { continue };
            let last = [rest, command(self)].concat();
            steps.push(step(who + 1, Act::Say(vec![last])));
            steps.push(step(who + 1, Act::Leave));
        }
        steps
    }

    /// The end of a conversation of so many clients: SIGTERM, with some of them in the middle of a command that the server
    /// has read. Whoever is, finishes it or goes.
    pub(super) fn closing(&mut self, clients: usize, whole: &str, half: &str, rest: &str) -> Vec<Step> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for who in 1..=clients {
            if self.once_in(3) {
                before.push(come(who));
            }
            let in_the_middle = self.once_in(2);
            let half = if in_the_middle { half } else { "" };
            before.push(say(who, format!("\n{whole}\n{half}")));
            let ending =
                if self.once_in(5) { Act::Leave } else { Act::Say(self.pieces(format!("{rest}\n").into_bytes())) };
            after.insert(self.below(after.len() + 1), step(who, ending));
        }
        before.push(signal());
        [before, after].concat()
    }
}
