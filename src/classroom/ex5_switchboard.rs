//! The switchboard.

use std::io::Write;
use std::time::{Duration, Instant};

use super::kit::{AT_ONCE, Took, arrive, ask, expect_line, in_time, judge_line};
use super::model::{Act, Switchboard, as_the_task_says, come, conversations, hasty, plays, say, step, talk};
use super::{Check, Exercise};
use crate::lab::client::Reply;
use crate::lab::segments;
use crate::probes::{Explained, Judged, Needs, Trial, falls, skipped, unreachable};

pub(super) const EXERCISE: Exercise = Exercise {
    id: "05",
    title: "The switchboard",
    folder: "chapters/05_bufread_lines/exercise",
    checks: &[
        Check {
            name: "four-commands",
            does: "Gives one command after the other, some of them wrong; each must be answered, and the talk go on",
            needs: Needs::Address,
            why: "A command that isn't known is the client's mistake, and no reason to leave it without an answer",
            page: "05_bufread_lines.html#the-server-of-this-step",
            points: 1,
            starter_falls: false,
            examine: four_commands,
        },
        Check {
            name: "carriage-return",
            does: "Ends its lines with \\r\\n, as telnet does; the \\r before the \\n must not count, and any other \
                   must",
            needs: Needs::Address,
            why: "Half of the world's programs end a line with two bytes, and neither belongs to the text",
            page: "05_bufread_lines.html#linux-macos-windows",
            points: 1,
            starter_falls: true,
            examine: carriage_return,
        },
        Check {
            name: "any-bytes",
            does: "Sends commands whose text isn't ASCII, and some that aren't UTF-8; LEN must count bytes, and UPPER \
                   change nothing but a to z",
            needs: Needs::Address,
            why: "What comes from a stranger is bytes, and whoever takes it for text changes it or chokes on it",
            page: "05_bufread_lines.html#not-utf8",
            points: 1,
            starter_falls: true,
            examine: any_bytes,
        },
        Check {
            name: "longest-line",
            does: "Sends a line of 1,024 bytes, one of 1,025 (with its newline 1,026), and one without an end; what is \
                   too long must be refused before it ends, and the line after it be a command again",
            needs: Needs::Address,
            why: "A newline may never come, and until then the line grows in your memory",
            page: "05_bufread_lines.html#the-pitfall",
            points: 1,
            starter_falls: true,
            examine: longest_line,
        },
        Check {
            name: "joined-commands",
            does: "Sends two commands and half of a third in one write; two answers must come before the other half \
                   does",
            needs: Needs::Address,
            why: "A client may wait for its answers before it says the rest, and then both wait for ever",
            page: "05_bufread_lines.html#why",
            points: 1,
            starter_falls: false,
            examine: joined_commands,
        },
        Check {
            name: "one-write",
            does: "Sends many commands in one packet, some of them wrong or the last one QUIT, again and again; their \
                   answers must come in one piece",
            needs: Needs::Linux,
            why: "Each write is a system call and a packet, and costs more than the answer in it",
            page: "05_bufread_lines.html#why",
            points: 1,
            starter_falls: true,
            examine: one_write,
        },
        Check {
            name: "leaving",
            does: "Says QUIT with much more behind it, and ends its side in the middle of a command; it must get bye \
                   and then the end, not a reset, and the half command no answer",
            needs: Needs::Address,
            why: "The last answer is the easiest to lose, and half of a command may mean the opposite of the whole",
            page: "04_partial_read_write.html#closing-so-that-the-answer-arrives",
            points: 1,
            starter_falls: true,
            examine: leaving,
        },
        as_the_task_says("05_bufread_lines.html#the-server-of-this-step", conversations::<Switchboard>),
    ],
};

/// The longest line, in bytes, its end not counted.
const LONGEST: usize = 1024;

fn four_commands(trial: &Trial<'_>) -> Judged {
    let right = talk(1, &["UPPER hello world\n", "LEN hello world\n"]);
    let wrong = talk(1, &["dial 5\n", "upper hello\n", "LENGTH x\n", "\n", "QUIT now\n"]);
    let more = talk(1, &["UPPER  two  spaces\n", "QUIT\n"]);
    let evidence = "UPPER, LEN and QUIT were carried out, and five wrong commands answered with errors in between";
    plays::<Switchboard>(trial, &[vec![come(1)], right, wrong, more].concat(), evidence)
}

fn carriage_return(trial: &Trial<'_>) -> Judged {
    let longest = format!("LEN {}\r\n", "x".repeat(LONGEST - 4));
    let talk = talk(1, &["LEN over\r\n", "UPPER over\r\n", "LEN o\rver\r\n", &longest, "QUIT\r\n"]);
    let evidence = "lines that ended with \\r\\n were answered like those that end with \\n";
    plays::<Switchboard>(trial, &[vec![come(1)], talk].concat(), evidence)
}

fn any_bytes(trial: &Trial<'_>) -> Judged {
    let text = talk(1, &["LEN caf\u{e9}\n", "UPPER stra\u{df}e\n"]);
    let bytes: [&[u8]; 3] = [b"LEN caf\xe9\n", b"UPPER caf\xe9 \xff\x00 au lait\n", b"\xff\xfe\n"];
    let evidence = "bytes were counted as bytes, and those that aren't a to z came back as they were";
    plays::<Switchboard>(trial, &[vec![come(1)], text, talk(1, &bytes)].concat(), evidence)
}

fn longest_line(trial: &Trial<'_>) -> Judged {
    let longest = format!("LEN {}", "x".repeat(LONGEST - 4));
    let (whole, too_long) = (format!("{longest}\n"), format!("{longest}x\n"));
    // Without an end, and then more of it, which has been refused already.
    let (endless, rest) = ("x".repeat(2 * LONGEST), "x".repeat(50_000) + "\nLEN after\n");
    let evidence =
        "1,024 bytes were taken and 1,025 refused, an endless line before its end, and the next line was a command";
    let talk = talk(1, &[&whole, &too_long, "LEN next\n", &endless, &rest]);
    let evidence = plays::<Switchboard>(trial, &[vec![come(1)], talk].concat(), evidence)?;
    throws_the_rest_away(trial)?;
    Ok(evidence)
}

/// Expects that the rest of a line that is too long isn't kept. Nothing is examined where the memory can't be seen, or where
/// this takes too long.
fn throws_the_rest_away(trial: &Trial<'_>) -> Judged<()> {
    const MIB: usize = 1024 * 1024;
    const REST: usize = 256;
    const AT_MOST: Duration = Duration::from_secs(10);
    let mut server = trial.start()?;
    let mut client = arrive(&mut server, "client 1")?;
    let memory = || usize::try_from(server.tree()?.memory().ok()?).ok();
    ask(trial, &mut client, "LEN first", "5")?;
    let Some(before) = memory() else { return Ok(()) };
    client.note(format!("sends {REST} MiB without a newline"));
    let began = Instant::now();
    for _ in 0..REST {
        // That it can't send is for another check to say.
        if client.stream().write_all(&vec![b'x'; MIB]).is_err() || began.elapsed() > AT_MOST {
            return Ok(());
        }
    }
    match memory().map(|now| now.saturating_sub(before) / MIB) {
        // One that cleans up now and then has kept some of it.
        Some(grown) if grown > REST / 2 => falls!(
            "{REST} MiB without a newline were sent, and its memory has grown by {grown} MiB: what is left of a line that is \
             too long is thrown away"
        ),
        _ => Ok(()),
    }
}

fn joined_commands(trial: &Trial<'_>) -> Judged {
    const TIMES: usize = 20;
    let steps = [come(1), say(1, "LEN one\nUPPER two\nLEN thr"), say(1, "ee\n")];
    let evidence = "the answers to two commands came without waiting for the other half of a third";
    plays::<Switchboard>(trial, &steps, evidence)?;
    // A server that first waits for a moment whether more comes is in no hurry either.
    in_time(trial, || {
        let mut server = trial.start()?;
        let mut client = arrive(&mut server, "client 1")?;
        let began = Instant::now();
        for _ in 0..TIMES {
            client.send(b"LEN one\nUPPER two\nLEN thr");
            expect_line(trial, &mut client, "3")?;
            expect_line(trial, &mut client, "TWO")?;
            ask(trial, &mut client, "ee", "5")?;
        }
        let what = "to answer two commands, with half of a third behind them, 20 times";
        Ok((Took::new(what, began.elapsed(), AT_ONCE), evidence.into()))
    })
}

/// A write of a few hundred bytes is one segment, and the kernel counts them, whenever the client looks. On a busy machine
/// one may be sent again that was thought to be lost. Hence several rounds, and pieces are seen in more than one.
fn one_write(trial: &Trial<'_>) -> Judged {
    const ROUNDS: usize = 24;
    const ENOUGH: usize = 3;
    let mut server = trial.start()?;
    let mut client = arrive(&mut server, "client 1")?;
    client.note(format!("sends packets of commands, up to {ROUNDS}"));
    let mut in_pieces = 0;
    for round in 1..=ROUNDS {
        // 1 KiB of which a part is wrong, as much of which all is, and a talk that ends.
        let upper = |command: usize| (format!("{:x<25}", format!("r{round} c{command} ")), command % 8 != 5);
        let commands: Vec<(String, bool)> = match round % 3 {
            0 => (0..32).map(upper).collect(),
            1 => (0..113).map(|_| ("ab".into(), false)).collect(),
            _ => (0..2).map(upper).collect(),
        };
        let ends = round % 3 == 2;
        let Some(before) = segments::received(client.stream()) else {
            skipped!("this system doesn't tell how many segments have come");
        };
        let line =
            |(text, is_right): &(String, bool)| format!("{} {text}\n", if *is_right { "UPPER" } else { "upper" });
        let packet: String = commands.iter().map(line).chain(ends.then(|| "QUIT\n".into())).collect();
        // As much as one line may have, so that any server has room for it.
        client.quiet_send(packet.as_bytes());
        for (number, (text, is_right)) in commands.iter().enumerate() {
            let got = client.quiet_line(trial.terms.limit);
            let right =
                if *is_right { judge_line((text.to_uppercase() + "\n").as_bytes(), &got) } else { judge_error(&got) };
            right.about(&format!("answer {} of {}", number + 1, commands.len()))?;
        }
        if ends {
            judge_line(b"bye\n", &client.quiet_line(trial.terms.limit))?;
        }
        let pieces = segments::received(client.stream()).unwrap_or(before).saturating_sub(before);
        let what = format!("{} commands", commands.len() + usize::from(ends));
        if ends {
            client = server.connect_with("client 1", &trial.recorder.aside(), None).map_err(unreachable)?;
        }
        if pieces < 2 {
            continue;
        }
        trial.recorder.note("client 1", format!("gets the answers to {what} in {pieces} pieces"));
        in_pieces += 1;
        if in_pieces == ENOUGH {
            falls!(
                "sent {what} in one packet{}, and got the answers in {pieces} segments: they weren't answered with one \
                 write. (Seen {in_pieces} times in {round} rounds.)",
                if ends { ", the last of them QUIT" } else { "" }
            );
        }
    }
    trial.recorder.note("client 1", format!("has got all the answers, each round's in one piece but {in_pieces}"));
    Ok(format!("in {ROUNDS} rounds, the commands of one packet were answered in one piece").into())
}

fn leaving(trial: &Trial<'_>) -> Judged {
    // Little enough for the kernels to take it all, even if the server reads none of it.
    const MORE: usize = 3000;
    let quits = say(1, format!("UPPER one\nQUIT\n{}", "LEN late\n".repeat(MORE)));
    let steps = [come(1), quits, come(2), hasty(say(2, "LEN whole\nLEN ha")), step(2, Act::End)];
    plays::<Switchboard>(trial, &steps, "QUIT was answered with bye and the end, and half a command with the end alone")
}

fn judge_error(got: &Reply) -> Judged<()> {
    match got {
        Reply::Line(line) if line.starts_with(b"error: ") => Ok(()),
        other => falls!("expected a line \"error: …\", got {}", Trial::describe(other)),
    }
}
