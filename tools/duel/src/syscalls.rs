//! System calls, counted by strace.
//!
//! Not from `/proc/PID/io`: its `syscr` and `syscw` count `read` and `write`, but neither `recv` nor `send`, which
//! is what std and tokio call. Go calls `read` and `write`.

use std::env;
use std::fs;
use std::process::{self, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tcp_pitfalls::lab::wait::wait_until;

use crate::contestants::Contestant;
use crate::talk::{Conversation, text};

/// Whether strace can be run here.
pub fn can_be_counted() -> bool {
    let said = Command::new("strace").args(["-c", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    said.is_ok_and(|status| status.success())
}

/// How many system calls the server makes for each line, with so many lines in flight on one connection.
#[expect(clippy::cast_precision_loss, reason = "these are small numbers")]
pub fn per_line(contestant: &Contestant, in_flight: usize) -> Result<f64> {
    const LAPS: usize = 200;
    // Starting and ending the server take calls as well. They are in both counts, and so not in the difference.
    let (few, many) = (count(contestant, in_flight, 1)?, count(contestant, in_flight, 1 + LAPS)?);
    Ok((many as f64 - few as f64) / (LAPS * in_flight) as f64)
}

fn count(contestant: &Contestant, in_flight: usize, laps: usize) -> Result<usize> {
    let file = env::temp_dir().join(format!("duel-{}.strace", process::id()));
    // -DD: strace is no parent of the server but a process of its own, which outlives the server and then reports.
    let strace = ["strace", "-DD", "-f", "-c", "-o", &file.to_string_lossy()].map(str::to_owned);
    let mut server = contestant.start_under(&strace)?;
    let lines: Vec<String> = (0..in_flight).map(|line| text(0, line, 31)).collect();
    let stream = std::net::TcpStream::connect(server.addr).context("cannot connect")?;
    let mut conversation = Conversation::new(stream, &lines, contestant.prefix)?;
    let mut scratch = vec![0; 64 * 1024];
    for _ in 0..laps {
        conversation.begin()?;
        conversation.finish(&mut scratch)?;
    }
    // Only the server: to drop it would end strace as well.
    server.process.kill();
    let report = wait_until(Duration::from_secs(10), || {
        fs::read_to_string(&file).ok().filter(|report| report.contains(" total"))
    });
    let _ = fs::remove_file(&file);
    let report = report.context("strace did not report")?;
    let total = report.lines().rfind(|line| line.ends_with(" total")).and_then(|line| line.split_whitespace().nth(3));
    total.and_then(|total| total.parse().ok()).context("strace's report has no total")
}
