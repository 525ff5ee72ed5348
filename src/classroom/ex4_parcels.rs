//! The parcel office.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::kit::{differing, probe};
use super::{Check, Exercise, model};
use crate::lab::client::{Client, Reply};
use crate::lab::kernel;
use crate::lab::lack;
use crate::lab::recording::{Action, Payload, escape, with_thousands};
use crate::lab::server::Running;
use crate::lab::wait::wait_until;
use crate::probes::{Difference, Explained, Judged, Needs, Otherwise, Trial, falls, unreachable};

pub(super) const EXERCISE: Exercise = Exercise {
    id: "04",
    title: "The parcel office",
    folder: "chapters/04_partial_read_write/exercise",
    checks: &[
        Check {
            probe: probe(
                4,
                Needs::Address,
                "plain-parcels",
                "Sends parcels one after the other: text, an empty one, and bytes that are no text; each must come \
                 back reversed, while the client keeps its side open",
                plain_parcels,
            ),
            why: "Contents are bytes, any of them, and none at all is a parcel too",
            points: 1,
            page: "04_partial_read_write.html#a-frame-with-a-header",
            starter_falls: false,
        },
        Check {
            probe: probe(
                4,
                Needs::Address,
                "header-in-pieces",
                "Sends a parcel in pieces, the first of them a byte of its header; it must be answered as a whole",
                header_in_pieces,
            ),
            why: "A read returns what has come, and that may be half a header",
            points: 1,
            page: "04_partial_read_write.html#half-a-header",
            starter_falls: true,
        },
        Check {
            probe: probe(
                4,
                Needs::Address,
                "joined-parcels",
                "Sends three parcels and half of a fourth in one write; three answers must come, and the fourth when \
                 its other half has followed",
                joined_parcels,
            ),
            why: "What arrives together need not belong together: a read ends anywhere, also in the next parcel",
            points: 1,
            page: "04_partial_read_write.html#two-messages-in-one-read",
            starter_falls: true,
        },
        Check {
            probe: probe(
                4,
                Needs::Address,
                "largest-parcel",
                "Sends eight parcels of exactly 1 MiB and reads late, through a small window; every byte must come \
                 back",
                largest_parcel,
            ),
            why: "A large parcel fits neither one read nor, when its client is slow, one write",
            points: 1,
            page: "04_partial_read_write.html#a-write-that-takes-half",
            starter_falls: true,
        },
        Check {
            probe: probe(
                4,
                Needs::Address,
                "oversize-refused",
                "Sends the header of a parcel of 1 MiB and a byte, and that of one of 4 GiB, and nothing more; each \
                 must be refused at once",
                oversize_refused,
            ),
            why: "The four bytes of a header come from a stranger, and can ask for 4 GiB of your memory",
            points: 1,
            page: "04_partial_read_write.html#a-frame-with-a-header",
            starter_falls: true,
        },
        Check {
            probe: probe(
                4,
                Needs::Address,
                "refusal-arrives",
                "Sends the header of a parcel of 2 MiB and its first bytes in one write; the refusal must come, and \
                 then the end, not a reset",
                refusal_arrives,
            ),
            why: "A connection closed with bytes unread is reset, and a reset can overtake the last answer",
            points: 1,
            page: "04_partial_read_write.html#the-reset-that-destroys-the-answer",
            starter_falls: true,
        },
        Check {
            probe: probe(
                4,
                Needs::Address,
                "cut-off-parcel",
                "Ends its side in the middle of a parcel, and in the middle of a header; it must be told how much had \
                 come, and the half parcel not be answered",
                cut_off_parcel,
            ),
            why: "An end in the middle of a message is not the end of a conversation, and half a message is no message",
            points: 1,
            page: "04_partial_read_write.html#the-server-of-this-step",
            starter_falls: true,
        },
        model::as_the_task_says(4),
    ],
};

/// The largest parcel, in bytes.
const LARGEST: usize = 1024 * 1024;

fn plain_parcels(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut office = Office::open(trial, &mut server, None)?;
    for contents in [&b"parcel"[..], b"", b"\x00\xff\x0d\x0a caf\xe9", b"!"] {
        office.client.send(&parcel(contents));
        office.expect_back(contents)?;
    }
    office.client.half_close();
    office.expect_end()?;
    Ok("four parcels came back reversed, and after the last the end".into())
}

fn header_in_pieces(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut office = Office::open(trial, &mut server, None)?;
    let contents = b"piece by piece";
    let whole = parcel(contents);
    // The third piece holds the end of the header and the beginning of the contents.
    for piece in [&whole[..1], &whole[1..3], &whole[3..7], &whole[7..]] {
        office.client.send(piece);
        let_it_read(&server, &office.client);
    }
    office.expect_back(contents)?;
    Ok("a parcel in four pieces was answered as a whole".into())
}

fn joined_parcels(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut office = Office::open(trial, &mut server, None)?;
    let fourth = parcel(b"and the fourth");
    let (half, other_half) = fourth.split_at(10);
    office.client.send(&[&parcel(b"one"), &parcel(b"two two"), &parcel(b"three"), half].concat());
    for contents in [&b"one"[..], b"two two", b"three"] {
        office.expect_back(contents)?;
    }
    office.client.send(other_half);
    office.expect_back(b"and the fourth")?;
    office.client.half_close();
    office.expect_end()?;
    Ok("three parcels and a half in one write: three answers, and the fourth when it was whole".into())
}

fn largest_parcel(trial: &Trial<'_>) -> Judged {
    // So many that the kernels can't hold all the answers while the client doesn't read.
    const PARCELS: u8 = 8;
    const WINDOW: usize = 32 * 1024;
    // Long enough for a server to write all that goes without waiting. A shorter time only lets a faulty one pass.
    const LATE: Duration = Duration::from_millis(500);
    let mut server = trial.start()?;
    let office = Office::open(trial, &mut server, Some(WINDOW))?;
    let contents = |number: u8| -> Vec<u8> {
        (0..LARGEST)
            .map(|index| b'a' + u8::try_from(index / 7 % 26).unwrap_or(0))
            .chain([b'0' + number])
            .skip(1)
            .collect()
    };
    let mut sender =
        office.client.stream().try_clone().map_err(|error| Otherwise::skipped(format!("no second handle: {error}")))?;
    office
        .client
        .note(format!("sends {PARCELS} parcels of {} bytes, and reads nothing for a moment", with_thousands(LARGEST)));
    let sending = lack::spawn(move || {
        // An error means that the server doesn't take them, which shows at the reading side.
        let _ = (0..PARCELS).try_for_each(|number| sender.write_all(&parcel(&contents(number))));
    })?;
    wait_until(LATE, || None::<()>);
    let judged = (0..PARCELS)
        .try_for_each(|number| office.expect_back(&contents(number)).about(&format!("parcel {}", number + 1)));
    drop(office.client.stream().shutdown(Shutdown::Both));
    let _ = sending.join();
    judged?;
    Ok(format!("{PARCELS} parcels of {} bytes came back whole, to a client that read late", with_thousands(LARGEST))
        .into())
}

fn oversize_refused(trial: &Trial<'_>) -> Judged {
    for announced in [LARGEST + 1, u32::MAX as usize] {
        let mut server = trial.start()?;
        let mut office = Office::open(trial, &mut server, None)?;
        office.client.send(&header(announced));
        office
            .expect_refusal("error: too large")
            .about(&format!("a header announced {} bytes", with_thousands(announced)))?;
        office.expect_end()?;
    }
    Ok("parcels of 1 MiB and a byte and of 4 GiB were refused as soon as their headers had come".into())
}

fn refusal_arrives(trial: &Trial<'_>) -> Judged {
    // Little enough for the kernels to take it all, even if the server reads none of it.
    const SENT: usize = 48 * 1024;
    let mut server = trial.start()?;
    let mut office = Office::open(trial, &mut server, None)?;
    office.client.send(&[&header(2 * LARGEST)[..], &vec![b'x'; SENT]].concat());
    office.expect_refusal("error: too large")?;
    office.expect_end().about("after the refusal")?;
    Ok(format!("the refusal came, and then the end, though {} bytes more had been sent", with_thousands(SENT)).into())
}

fn cut_off_parcel(trial: &Trial<'_>) -> Judged {
    for (sent, refusal) in [
        (&parcel(b"0123456789")[..8], "error: cut off after 4 of 10 bytes"),
        (&header(10)[..2], "error: cut off after 2 of 4 bytes"),
    ] {
        let mut server = trial.start()?;
        let mut office = Office::open(trial, &mut server, None)?;
        office.client.send(&parcel(b"whole"));
        office.expect_back(b"whole")?;
        office.client.send(sent);
        office.client.half_close();
        office.expect_refusal(refusal).about(&format!("the client sent {} and ended its side", shown(sent)))?;
        office.expect_end()?;
    }
    Ok("half a parcel and half a header were answered with how much of them had come".into())
}

/// The four bytes before so many bytes of contents.
fn header(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn parcel(contents: &[u8]) -> Vec<u8> {
    [&header(contents.len()), contents].concat()
}

/// Gives the server time to read what was sent, so that the next bytes come with another read. If it needs longer, they
/// may come together, and a faulty server pass.
fn let_it_read(server: &Running, client: &Client) {
    let own = client.stream().local_addr().ok();
    let unread = || own.and_then(|own| kernel::unread(server.addr(), own));
    // Where that can't be seen, it is a short wait.
    let patience = Duration::from_millis(if unread().is_some() { 1000 } else { 50 });
    wait_until(patience, || (unread() == Some(0)).then_some(()));
}

/// A client that reads parcels.
struct Office<'a> {
    trial: &'a Trial<'a>,
    client: Client,
}

impl<'a> Office<'a> {
    fn open(trial: &'a Trial<'a>, server: &mut Running, window: Option<usize>) -> Judged<Self> {
        let client = server.connect_with("client 1", trial.recorder, window).map_err(unreachable)?;
        Ok(Office { trial, client })
    }

    /// Expects these contents to come back, reversed.
    fn expect_back(&self, contents: &[u8]) -> Judged<()> {
        let reversed: Vec<u8> = contents.iter().rev().copied().collect();
        self.expect(&reversed)
    }

    /// Expects this text as a parcel. It isn't reversed.
    fn expect_refusal(&self, text: &str) -> Judged<()> {
        self.expect(text.as_bytes())
    }

    /// Expects a parcel with these contents.
    fn expect(&self, contents: &[u8]) -> Judged<()> {
        // A wrong one may be of any length, and never come whole.
        const CURIOSITY: Duration = Duration::from_millis(300);
        let limit = self.trial.terms.limit;
        let expected = header(contents.len());
        let mut got = Vec::new();
        let mut came = self.read(&mut got, expected.len(), limit);
        let right = got == expected;
        if right {
            came = self.read(&mut got, contents.len(), limit);
        } else if came.is_ok() {
            // It is wrong already. What else has come is only shown.
            let _ = self.read(&mut got, 48, CURIOSITY);
        }
        self.write_down(&got);
        match came {
            Ok(()) if right && got[4..] == *contents => Ok(()),
            Ok(()) if right => Err(differing(contents, &got[4..])),
            Ok(()) => Err(wrong_header(contents, &got)),
            Err(other) => {
                let expected = shown(&[&expected, contents].concat());
                falls!("expected {expected}, got {}", self.fate(&got, &other))
            }
        }
    }

    /// Expects the end of the connection, and nothing before it.
    fn expect_end(&self) -> Judged<()> {
        let mut got = Vec::new();
        match self.read(&mut got, 1, self.trial.terms.limit) {
            Err(Reply::End(_)) => {
                self.trial.recorder.record("client 1", Action::SeesEnd);
                Ok(())
            }
            Err(other) => {
                falls!("expected the end of the connection, got {}", self.fate(&got, &other))
            }
            Ok(()) => {
                self.write_down(&got);
                falls!("expected the end of the connection, got {}", shown(&got))
            }
        }
    }

    /// Appends `count` bytes to `got`, or as many as come before something else.
    fn read(&self, got: &mut Vec<u8>, count: usize, patience: Duration) -> Result<(), Reply> {
        let mut buffer = [0; 16 * 1024];
        let wanted = got.len() + count;
        let deadline = Instant::now() + patience;
        while got.len() < wanted {
            let left = deadline.saturating_duration_since(Instant::now());
            // A timeout of zero is an error to std; a last look is still due.
            let _ = self.client.stream().set_read_timeout(Some(left.max(Duration::from_millis(1))));
            let most = buffer.len().min(wanted - got.len());
            match self.client.stream().read(&mut buffer[..most]) {
                Ok(0) => return Err(Reply::End(Vec::new())),
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if left.is_zero() {
                        return Err(Reply::Nothing(Vec::new(), patience));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Reply::Reset(Vec::new())),
            }
        }
        Ok(())
    }

    fn write_down(&self, got: &[u8]) {
        if !got.is_empty() {
            self.trial.recorder.record("client 1", Action::Receives(Payload::new(got)));
        }
    }

    /// Writes down what came instead, and says it as part of a sentence.
    fn fate(&self, got: &[u8], other: &Reply) -> String {
        let what = match other {
            Reply::End(_) => Action::SeesEnd,
            Reply::Nothing(_, patience) => {
                Action::HearsNothing { for_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX) }
            }
            _ => Action::SeesReset,
        };
        self.trial.recorder.record("client 1", what);
        let fate = Trial::describe(other);
        if got.is_empty() { fate } else { format!("{}, then {fate}", shown(got)) }
    }
}

/// `[00 00 00 06] "lecrap" (10 bytes)`: the header as numbers, the contents as text.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 40;
    let (header, contents) = bytes.split_at(bytes.len().min(4));
    let more = if contents.len() > MOST { "…" } else { "" };
    let text = match contents {
        [] => String::new(),
        _ => format!(" \"{}{more}\"", escape(&contents[..contents.len().min(MOST)])),
    };
    let unit = if bytes.len() == 1 { "byte" } else { "bytes" };
    format!("[{}]{text} ({} {unit})", in_hex(header), with_thousands(bytes.len()))
}

fn in_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// Another header came than was expected.
fn wrong_header(contents: &[u8], got: &[u8]) -> Otherwise {
    let expected = [&header(contents.len()), contents].concat();
    let (right, wrong) = (in_hex(&expected[..4]), in_hex(&got[..4]));
    Otherwise::falls(format!("expected header {right}, got header {wrong}"))
        .showing(Difference::between(&expected, got))
}
