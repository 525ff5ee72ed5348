//! What each task says, as a model of its server, and conversations in which a server is compared with it.
//!
//! The first conversation plays every row of the task's table and the exact limits. All others are made by dice. What is
//! owed is awaited before the next client does anything, so that the model's order is the only right one.

mod clerk;
mod counter;
mod dice;
mod door;
mod parcels;
mod play;
mod room;
mod shrink;
mod switchboard;
mod till;
mod window;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub(super) use self::clerk::Clerk;
pub(super) use self::counter::Counter;
use self::dice::Dice;
pub(super) use self::door::{doors, doors_at, greeted, has_ipv6, refused};
pub(super) use self::parcels::{Parcels, parcel};
use self::play::DESCRIPTORS;
pub(super) use self::play::{beginning, conversations, plays};
pub(super) use self::room::Room;
pub(super) use self::switchboard::Switchboard;
pub(super) use self::till::Till;
pub(super) use self::window::Window;
use super::Check;
use crate::lab::recording::{Payload, escape};
use crate::probes::{Judged, Needs, Trial};

/// The check that is worth the most, in every exercise: of the kinds of mistakes that nobody has listed, it finds many.
pub(super) const fn as_the_task_says(page: &'static str, examine: fn(&Trial<'_>) -> Judged) -> Check {
    Check {
        name: "as-the-task-says",
        does: "Compares your server with a model of the task: in each row of its tables, at the exact limits, and then at \
               random for three seconds; the first difference is shown, in as few steps as still show it",
        needs: Needs::Command,
        why: "Clients do what nobody thought of, and all they can rely on is what the task says",
        page,
        points: 3,
        starter_falls: true,
        examine,
    }
}

/// What a right server does, as a table of what clients do and what they are owed.
pub(super) trait Model: Clone + Default {
    /// Where the task gives the server a moment to notice who has left: the answer for which a client comes again.
    const NOT_YET: Option<&'static [u8]> = None;

    /// Where the task gives clients a time: how long this side of a conversation may take to count.
    const HURRY: Option<Duration> = None;

    /// Whether a client whose connection is about to end may go on speaking, and must see the end all the same.
    const LINGERS: bool = false;

    /// Whether the task leaves open what a client still hears that has ended its side.
    const HEARS_NO_MORE: bool = false;

    /// What is owed after this, and to whom. `None` if it is not played: the task leaves open what comes of it.
    fn step(&mut self, who: usize, act: &Act) -> Option<Dues>;

    /// Takes note of a line that was one of several right ones.
    fn heard(&mut self, _line: &[u8]) {}

    /// Takes note that the server has read all that was sent, and waits for more.
    fn all_is_read(&mut self) {}

    /// Whether this line may come or not.
    fn may_come(&self, _line: &[u8]) -> bool {
        false
    }

    /// The conversations that are not random.
    fn table() -> Vec<Vec<Step>>;

    /// Those that take seconds. Each is played beside the others.
    fn slow() -> Vec<Vec<Step>>;

    /// A random conversation.
    fn conversation(dice: &mut Dice) -> Vec<Step>;
}

/// What is owed, to whom, in the order in which each client gets it.
pub(super) type Dues = Vec<(usize, Due)>;

/// Clients from this number on don't close their connections when they are told the end.
const STAYS: usize = 50;

/// Who takes the steps that no client takes.
pub(super) const NOBODY: usize = 0;

/// One step of a conversation. What it leads to depends on those before it, so any selection of steps is a conversation:
/// what can't be done, such as leaving twice, is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The client's number.
    who: usize,
    /// What it does.
    act: Act,
    /// Whether it goes on before what it is owed has come.
    hasty: bool,
}

/// What can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Connects.
    Come,
    /// Sends bytes, each piece with a write of its own.
    Say(Vec<Vec<u8>>),
    /// The same, and goes on sending for a moment before it reads.
    SayOn(Vec<Vec<u8>>),
    /// Goes on sending, whatever comes, until it is cut off.
    Insist,
    /// Connects, and sends this again and again without taking any answer, until its connection is full. So it stays.
    Flood(Vec<u8>),
    /// Eight clients connect, say this, and close their connections, or reset them if that is nothing.
    Dash(Vec<u8>),
    /// Ends its sending side.
    End,
    /// Closes its connection.
    Leave,
    /// Resets its connection.
    Reset,
    /// All wait for so many milliseconds.
    Pause(u64),
    /// The server gets SIGTERM.
    Signal,
}

/// What a client is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// This line, its `\n` included.
    Line(Vec<u8>),
    /// One of these lines.
    OneOf(Vec<Vec<u8>>),
    /// A line that begins so.
    Begins(&'static [u8]),
    /// These bytes, which are no lines.
    Bytes(Vec<u8>),
    /// The end of the connection.
    End,
    /// The end of the connection, or a reset.
    Gone,
    /// The end of the process with status 0, this line printed last.
    Exit(Option<String>),
}

impl Due {
    fn line(text: impl AsRef<[u8]>) -> Self {
        Due::Line([text.as_ref(), b"\n"].concat())
    }
}

// Steps, as the tables of the models and the checks write them.

pub(super) fn step(who: usize, act: Act) -> Step {
    Step { who, act, hasty: false }
}

pub(super) fn come(who: usize) -> Step {
    step(who, Act::Come)
}

pub(super) fn say(who: usize, bytes: impl AsRef<[u8]>) -> Step {
    pieces(who, &[bytes.as_ref()])
}

pub(super) fn pieces(who: usize, pieces: &[&[u8]]) -> Step {
    step(who, Act::Say(pieces.iter().map(|piece| piece.to_vec()).collect()))
}

/// Sends each of these and awaits the answer before the next.
pub(super) fn talk<T: AsRef<[u8]>>(who: usize, lines: &[T]) -> Vec<Step> {
    lines.iter().map(|line| say(who, line)).collect()
}

fn pause(ms: u64) -> Step {
    step(NOBODY, Act::Pause(ms))
}

fn signal() -> Step {
    step(NOBODY, Act::Signal)
}

/// What some languages and libraries change without being asked: marks of an encoding, bytes of zero, characters of two units
/// or of two parts, formats, blanks of other alphabets, comments, characters that steer a terminal.
const CHANGED_UNASKED: [&str; 8] = [
    "\u{feff}mark",
    "ze\0ro",
    "\u{1f375} e\u{301}",
    "100%% %s",
    "\u{3000}wide\u{2003}",
    "\u{a0}\u{85}",
    "# one",
    "\u{1b}[1m\u{7}\u{8}\u{7f}",
];

/// Many who are there at the same time, and are answered from the last to the first.
fn crowd(word: impl AsRef<[u8]>) -> Vec<Step> {
    let all = 1..=30;
    let answered = all.clone().rev().map(|who| say(who, &word));
    all.clone().map(come).chain(answered).chain(all.map(|who| step(who, Act::Leave))).collect()
}

/// More visits than the server has descriptors, one after the other.
fn visits(word: impl AsRef<[u8]>) -> Vec<Step> {
    (0..DESCRIPTORS.unwrap_or_default()).flat_map(|_| [come(1), say(1, &word), step(1, Act::Leave)]).collect()
}

/// Client 1 says this before and after a client which says that and takes no answer, and so does one that comes then.
fn beside_flood(word: impl AsRef<[u8]>, flood: Vec<u8>) -> Vec<Step> {
    vec![come(1), say(1, &word), step(2, Act::Flood(flood)), say(1, &word), come(3), say(3, &word)]
}

pub(super) fn hasty(step: Step) -> Step {
    Step { hasty: true, ..step }
}

/// For each client what has come of its next line.
#[derive(Clone, Default)]
struct Lines(BTreeMap<usize, Vec<u8>>);

impl Lines {
    /// What has come of this client's next line.
    fn of(&mut self, who: usize) -> &mut Vec<u8> {
        self.0.entry(who).or_default()
    }

    /// Adds these pieces, and takes the lines that are whole now, each without its `\n`.
    fn take(&mut self, who: usize, pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let pending = self.of(who);
        pending.extend(pieces.concat());
        let mut lines: Vec<Vec<u8>> = pending.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        *pending = lines.pop().unwrap_or_default();
        lines
    }
}

/// Who is there, and what the server is sure to know of them when it gets SIGTERM: whom it has let in, and who is in the
/// middle of a command. What it has not read yet has not arrived.
#[derive(Clone, Default)]
struct Present {
    guests: Vec<Guest>,
    /// Whether it has answered anybody. Before that it may be starting, and know of no signal yet.
    is_up: bool,
    /// Whether somebody is there who takes no answer. It need not be told anything.
    is_flooded: bool,
    /// How many milliseconds of pauses there were since SIGTERM, if it was sent.
    closing: Option<u64>,
}

#[derive(Clone)]
struct Guest {
    who: usize,
    /// Whether it was let in for sure: the server has answered it, or has read what it sent.
    answered: bool,
    /// Whether the server is sure to have read the beginning of its next command: that came in one write with a command
    /// that was answered, or all is read.
    half_is_read: bool,
}

impl Present {
    fn come(&mut self, who: usize) {
        self.guests.push(Guest { who, answered: false, half_is_read: false });
    }

    fn go(&mut self, who: usize) {
        self.guests.retain(|guest| guest.who != who);
    }

    fn says(&mut self, who: usize, pieces: &[Vec<u8>]) {
        let Some(last) = pieces.iter().rfind(|piece| piece.contains(&b'\n')) else { return };
        self.is_up = true;
        for guest in self.guests.iter_mut().filter(|guest| guest.who == who) {
            guest.answered = true;
            guest.half_is_read = !last.ends_with(b"\n");
        }
    }

    fn all_is_read(&mut self, lines: &mut Lines) {
        for guest in self.guests.iter_mut().filter(|guest| !lines.of(guest.who).is_empty()) {
            (guest.answered, guest.half_is_read) = (true, true);
        }
    }

    /// SIGTERM: gives those who are idle. `None` if the server may not know of somebody yet.
    fn close(&mut self, lines: &mut Lines) -> Option<Vec<usize>> {
        self.is_up.then_some(())?;
        self.closing = Some(0);
        let mut known = false;
        for guest in self.guests.iter().rev() {
            // Or somebody was who came later.
            known |= guest.answered;
            (known && (guest.half_is_read || lines.of(guest.who).is_empty())).then_some(())?;
        }
        Some(self.guests.iter().map(|guest| guest.who).filter(|&who| lines.of(who).is_empty()).collect())
    }

    /// All wait for so many milliseconds. Gives what is owed to those whom that cuts off, who are gone then. `None` near the
    /// end of the three seconds, where nobody knows.
    fn pause(&mut self, ms: u64) -> Option<Dues> {
        let Some(since) = &mut self.closing else { return Some(Vec::new()) };
        *since += ms;
        match since {
            0..2000 => Some(Vec::new()),
            2000..3000 => None,
            _ => {
                self.is_flooded = false;
                Some(self.guests.drain(..).map(|guest| (guest.who, Due::Gone)).collect())
            }
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    fn is_over(&self) -> bool {
        self.is_closing() && self.guests.is_empty() && !self.is_flooded
    }
}

/// A line without the one `\r` that belongs to its end.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = format!("client {}", self.who);
        match &self.act {
            Act::Come => write!(f, "{who} connects"),
            Act::Say(pieces) | Act::SayOn(pieces) if pieces.len() == 1 => {
                write!(f, "{who} sends {}", Payload::new(&pieces[0]))
            }
            Act::Say(pieces) | Act::SayOn(pieces) => {
                let whole: Vec<String> = pieces.iter().map(|piece| escape(piece)).collect();
                let whole = whole.join(" | ");
                let shown: String = whole.chars().take(72).collect();
                let more = if shown.len() < whole.len() { "…" } else { "" };
                write!(f, "{who} sends, piece by piece, {shown}{more}")
            }
            Act::Insist => write!(f, "{who} goes on sending"),
            Act::Flood(_) => write!(f, "{who} connects, sends without end, and takes no answer"),
            Act::Dash(said) => write!(f, "eight clients connect, say {}, and are gone", Payload::new(said)),
            Act::End => write!(f, "{who} ends its side"),
            Act::Leave => write!(f, "{who} leaves"),
            Act::Reset => write!(f, "{who} resets its connection"),
            Act::Pause(ms) => write!(f, "a pause of {}.{} s", ms / 1000, ms % 1000 / 100),
            Act::Signal => write!(f, "the server gets SIGTERM"),
        }
    }
}
