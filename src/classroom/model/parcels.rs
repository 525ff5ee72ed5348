//! The parcel office.

use std::collections::BTreeMap;

use super::{
    Act, Dice, Due, Dues, Model, NOBODY, Step, beside_flood, come, crowd, hasty, pause, pieces, say, step, visits,
};

/// The most contents of a parcel, in bytes.
const LARGEST: usize = 1024 * 1024;

#[derive(Clone, Default)]
pub(in crate::classroom) struct Parcels {
    /// What has come of each client's next parcel.
    pending: BTreeMap<usize, Vec<u8>>,
}

impl Model for Parcels {
    const LINGERS: bool = true;

    fn step(&mut self, who: usize, act: &Act) -> Option<Dues> {
        let pending = self.pending.entry(who).or_default();
        let mut dues = Vec::new();
        let refuse = |text: String| vec![(who, Due::Bytes(parcel(text.as_bytes()))), (who, Due::End)];
        match act {
            Act::Come => pending.clear(),
            Act::Say(pieces) | Act::SayOn(pieces) => {
                pending.extend(pieces.concat());
                while let Some((header, rest)) = pending.split_first_chunk() {
                    let length = u32::from_be_bytes(*header) as usize;
                    if length > LARGEST {
                        dues.extend(refuse("error: too large".into()));
                        pending.clear();
                        break;
                    }
                    let Some(contents) = rest.get(..length) else { break };
                    let reversed: Vec<u8> = contents.iter().rev().copied().collect();
                    dues.push((who, Due::Bytes(parcel(&reversed))));
                    pending.drain(..4 + length);
                }
                let refused = dues.last().is_some_and(|(_, due)| *due == Due::End);
                (refused || matches!(act, Act::Say(_))).then_some(())?;
            }
            Act::End => match pending.split_first_chunk() {
                None if pending.is_empty() => dues.push((who, Due::End)),
                None => dues.extend(refuse(format!("error: cut off after {} of 4 bytes", pending.len()))),
                Some((header, rest)) => {
                    let length = u32::from_be_bytes(*header);
                    dues.extend(refuse(format!("error: cut off after {} of {length} bytes", rest.len())));
                }
            },
            Act::Leave | Act::Reset | Act::Flood(_) | Act::Pause(_) => {}
            Act::Insist | Act::Dash(_) | Act::Signal => return None,
        }
        Some(dues)
    }

    fn table() -> Vec<Vec<Step>> {
        let whole = |contents: &[u8]| say(1, parcel(contents));
        let all: Vec<u8> = (0..=255).collect();
        let mut steps = vec![come(1)];
        for contents in [&b"parcel"[..], b"", b"a", b"line\n", b"\r\n\0\xff", b"caf\xc3\xa9", b"error: x", &all] {
            steps.push(whole(contents));
        }
        // Around what two bytes can count, and of an odd length.
        steps.extend([1001, 65_535, 65_536, 65_537, LARGEST].map(|length| whole(&varied(length))));
        // Joined and cut.
        steps.push(say(1, parcel(b"ab").repeat(300)));
        let two = [parcel(b"one"), parcel(b""), parcel(b"three")].concat();
        steps.extend([
            say(1, &two),
            pieces(1, &[b"\0", b"\0\0", b"\x06par", b"cel"]),
            say(1, [&two, &two[..9]].concat()),
        ]);
        steps.extend([say(1, &two[9..]), say(1, b"\0\0"), say(1, b"\0\x02x"), say(1, "y"), step(1, Act::End)]);
        // Cut off: in the header, behind it, and in the contents.
        for length in [1, 3, 4, 5, 9] {
            steps.extend([come(1), whole(b"whole"), hasty(say(1, &parcel(b"123456")[..length])), step(1, Act::End)]);
            steps.extend([come(1), say(1, &parcel(b"123456")[..length]), step(1, Act::End)]);
        }
        for (come_of_it, length) in [(0, 1), (1000, 5000), (100_000, LARGEST)] {
            let part = parcel(&varied(length))[..4 + come_of_it].to_vec();
            steps.extend([come(1), hasty(say(1, part)), step(1, Act::End)]);
        }
        steps.extend([come(1), hasty(whole(b"last")), step(1, Act::End), come(1), step(1, Act::End)]);
        // Too large: by one, by far, behind others, with contents, and with more and more of them.
        for header in [[0, 0x10, 0, 1], [0x7f, 0xff, 0xff, 0xff], [0x80, 0, 0, 0], [0xff; 4]] {
            steps.extend([come(1), say(1, header), come(1), whole(b"one"), say(1, &header[..2]), say(1, &header[2..])]);
            steps.extend([come(1), say(1, [&parcel(b"one")[..], &header, &[b'x'; 2000]].concat())]);
        }
        steps.extend([come(1), step(1, Act::SayOn(vec![vec![1, 0, 0, 0], vec![b'x'; 3 * LARGEST]]))]);
        // Two at a time, others who are gone before they are accepted, and one who is not there any more.
        let mut both = vec![
            come(1),
            step(NOBODY, Act::Dash(vec![])),
            come(2),
            say(1, &two[..5]),
            say(2, parcel(b"two")),
            say(1, &two[5..]),
            step(1, Act::Reset),
        ];
        both.extend([say(2, parcel(b"two")), come(1), say(1, &two[..5]), step(1, Act::Leave), say(2, parcel(b"two"))]);
        both.extend([step(NOBODY, Act::Dash(parcel(b"a").repeat(2000))), say(2, parcel(b"two")), step(2, Act::Leave)]);
        vec![both, steps, crowd(parcel(b"crowd")), visits(parcel(b"visit"))]
    }

    fn slow() -> Vec<Vec<Step>> {
        let whole = parcel(b"slow");
        let begin = [come(1), say(1, &whole[..2]), come(2), say(2, &whole[..6]), come(3), say(3, &whole), come(4)];
        let mut end = vec![pause(5300), say(3, &whole), say(1, &whole[2..]), say(2, &whole[6..]), say(4, &whole)];
        end.extend([come(5), say(5, &whole)]);
        let insists = vec![come(1), hasty(say(1, [0xff; 4])), step(1, Act::Insist)];
        vec![begin.into_iter().chain(end).collect(), insists, beside_flood(&whole, parcel(&[b'x'; 1000]))]
    }

    fn conversation(dice: &mut Dice) -> Vec<Step> {
        let clients = 1 + dice.below(3);
        dice.conversation(clients, |dice| match dice.below(30) {
            0 => u32::try_from(LARGEST + 1 + dice.pick(&[0, 1, 1 << 30])).unwrap_or(u32::MAX).to_be_bytes().to_vec(),
            1 => parcel(&varied(dice.pick(&[255, 256, 257, 1023, 1024, 4095, 8193, 30_000]))),
            2..6 => parcel(b""),
            _ => {
                let end = dice.end();
                parcel(&[&dice.text(4), end].concat())
            }
        })
    }
}

/// Contents of so many bytes, which can't be mistaken for the same from behind.
fn varied(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

pub(in crate::classroom) fn parcel(contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), contents].concat()
}
