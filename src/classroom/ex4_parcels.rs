//! The parcel office.

use std::time::Duration;

use super::kit::judge_line;
use super::model::{
    Act, Parcels, as_the_task_says, beginning, come, conversations, hasty, parcel, pieces, plays, say, step, talk,
};
use super::{Check, Exercise};
use crate::lab::recording::with_thousands;
use crate::lab::wait::wait_for;
use crate::probes::{Explained, Judged, Needs, Sending, Trial, unreachable};

pub(super) const EXERCISE: Exercise = Exercise {
    id: "04",
    title: "The parcel office",
    folder: "chapters/04_partial_read_write/exercise",
    checks: &[
        Check {
            name: "plain-parcels",
            does: "Sends parcels one after the other: text, an empty one, and bytes that are no text; each must come \
                   back reversed, while the client keeps its side open",
            needs: Needs::Address,
            why: "Contents are bytes, any of them, and none at all is a parcel too",
            page: "04_partial_read_write.html#a-frame-with-a-header",
            points: 1,
            starter_falls: false,
            examine: plain_parcels,
        },
        Check {
            name: "header-in-pieces",
            does: "Sends a parcel in pieces, the first of them a byte of its header; it must be answered as a whole",
            needs: Needs::Address,
            why: "A read returns what has come, and that may be half a header",
            page: "04_partial_read_write.html#half-a-header",
            points: 1,
            starter_falls: true,
            examine: header_in_pieces,
        },
        Check {
            name: "joined-parcels",
            does: "Sends three parcels and half of a fourth in one write; three answers must come, and the fourth when \
                   its other half has followed",
            needs: Needs::Address,
            why: "What arrives together need not belong together: a read ends anywhere, also in the next parcel",
            page: "04_partial_read_write.html#two-messages-in-one-read",
            points: 1,
            starter_falls: true,
            examine: joined_parcels,
        },
        Check {
            name: "largest-parcel",
            does: "Sends eight parcels of exactly 1 MiB and reads late, through a small window; every byte must come \
                   back",
            needs: Needs::Address,
            why: "A large parcel fits neither one read nor, when its client is slow, one write",
            page: "04_partial_read_write.html#a-write-that-takes-half",
            points: 1,
            starter_falls: true,
            examine: largest_parcel,
        },
        Check {
            name: "oversize-refused",
            does: "Sends the header of a parcel of 1 MiB and a byte, and that of one of 4 GiB, and nothing more; each \
                   must be refused at once",
            needs: Needs::Address,
            why: "The four bytes of a header come from a stranger, and can ask for 4 GiB of your memory",
            page: "04_partial_read_write.html#a-frame-with-a-header",
            points: 1,
            starter_falls: true,
            examine: oversize_refused,
        },
        Check {
            name: "refusal-arrives",
            does: "Sends the header of a parcel of 2 MiB and its first bytes in one write; the refusal must come, and \
                   then the end, not a reset",
            needs: Needs::Address,
            why: "A connection closed with bytes unread is reset, and a reset can overtake the last answer",
            page: "04_partial_read_write.html#the-reset-that-destroys-the-answer",
            points: 1,
            starter_falls: true,
            examine: refusal_arrives,
        },
        Check {
            name: "cut-off-parcel",
            does: "Ends its side in the middle of a parcel, and in the middle of a header; it must be told how much \
                   had come, and the half parcel not be answered",
            needs: Needs::Address,
            why: "An end in the middle of a message is not the end of a conversation, and half a message is no message",
            page: "04_partial_read_write.html#the-server-of-this-step",
            points: 1,
            starter_falls: true,
            examine: cut_off_parcel,
        },
        as_the_task_says("04_partial_read_write.html#the-server-of-this-step", conversations::<Parcels>),
    ],
};

/// The largest parcel, in bytes.
const LARGEST: usize = 1024 * 1024;

fn plain_parcels(trial: &Trial<'_>) -> Judged {
    let contents: [&[u8]; 4] = [b"parcel", b"", b"\x00\xff\x0d\x0a caf\xe9", b"!"];
    let steps = [vec![come(1)], talk(1, &contents.map(parcel)), vec![step(1, Act::End)]].concat();
    plays::<Parcels>(trial, &steps, "four parcels came back reversed, and after the last the end")
}

fn header_in_pieces(trial: &Trial<'_>) -> Judged {
    let whole = parcel(b"piece by piece");
    // The third piece holds the end of the header and the beginning of the contents.
    let steps = [come(1), pieces(1, &[&whole[..1], &whole[1..3], &whole[3..7], &whole[7..]])];
    plays::<Parcels>(trial, &steps, "a parcel in four pieces was answered as a whole")
}

fn joined_parcels(trial: &Trial<'_>) -> Judged {
    let fourth = parcel(b"and the fourth");
    let (half, other_half) = fourth.split_at(10);
    let together = [&parcel(b"one"), &parcel(b"two two"), &parcel(b"three"), half].concat();
    let steps = [come(1), say(1, together), say(1, other_half), step(1, Act::End)];
    plays::<Parcels>(
        trial,
        &steps,
        "three parcels and a half in one write: three answers, and the fourth when it was whole",
    )
}

fn largest_parcel(trial: &Trial<'_>) -> Judged {
    // So many that the kernels can't hold all the answers while the client doesn't read.
    const PARCELS: u8 = 8;
    const WINDOW: usize = 32 * 1024;
    // Long enough for a server to write all that goes without waiting. A shorter time only lets a faulty one pass.
    const LATE: Duration = Duration::from_millis(500);
    let mut server = trial.start()?;
    let mut client = server.connect_with("client 1", trial.recorder, Some(WINDOW)).map_err(unreachable)?;
    let contents = |number: u8| -> Vec<u8> {
        let letters = (1..LARGEST).map(|index| b'a' + u8::try_from(index / 7 % 26).unwrap_or(0));
        letters.chain([b'0' + number]).collect()
    };
    client
        .note(format!("sends {PARCELS} parcels of {} bytes, and reads nothing for a moment", with_thousands(LARGEST)));
    let mut unsent = 0..PARCELS;
    let _sending = Sending::begin(&client, move || unsent.next().map(|number| parcel(&contents(number))))?;
    wait_for(LATE);
    for number in 0..PARCELS {
        let reversed: Vec<u8> = contents(number).into_iter().rev().collect();
        let expected = parcel(&reversed);
        let got = client.answer(trial.terms.limit, |got| beginning(&expected, got));
        judge_line(&expected, &got).about(&format!("parcel {}", number + 1))?;
    }
    Ok(format!("{PARCELS} parcels of {} bytes came back whole, to a client that read late", with_thousands(LARGEST))
        .into())
}

fn oversize_refused(trial: &Trial<'_>) -> Judged {
    let steps = [come(1), say(1, header(LARGEST + 1)), come(2), say(2, header(u32::MAX as usize))];
    let evidence = "parcels of 1 MiB and a byte and of 4 GiB were refused as soon as their headers had come";
    plays::<Parcels>(trial, &steps, evidence)
}

fn refusal_arrives(trial: &Trial<'_>) -> Judged {
    // Little enough for the kernels to take it all, even if the server reads none of it.
    const SENT: usize = 48 * 1024;
    let steps = [come(1), say(1, [&header(2 * LARGEST)[..], &vec![b'x'; SENT]].concat())];
    let evidence =
        format!("the refusal came, and then the end, though {} bytes more had been sent", with_thousands(SENT));
    plays::<Parcels>(trial, &steps, &evidence)
}

fn cut_off_parcel(trial: &Trial<'_>) -> Judged {
    let whole = || say(1, parcel(b"whole"));
    let mut steps = vec![come(1), whole(), hasty(say(1, &parcel(b"0123456789")[..8])), step(1, Act::End)];
    steps.extend([come(1), whole(), hasty(say(1, &header(10)[..2])), step(1, Act::End)]);
    plays::<Parcels>(trial, &steps, "half a parcel and half a header were answered with how much of them had come")
}

/// The four bytes before so many bytes of contents.
fn header(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}
