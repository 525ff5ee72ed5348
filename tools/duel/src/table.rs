//! The results as text of at most 100 columns.

use std::fmt::Write;

use tcp_pitfalls::show::screen::{BAD, BOLD, DIM, paragraph};

use crate::crowd::{BURST, IDLE};
use crate::duel::{PING_PONG, PIPELINED, WORKLOADS};
use crate::machine::BUSY;
use crate::results::{Results, Server, Speed, Spread};

/// All of it.
pub fn draw(results: &Results) -> String {
    let Results { machine, rounds, servers } = results;
    let mut text = String::new();
    let base = results.base();
    let core = machine.shared_core.map_or("on any core".to_owned(), |core| format!("sharing core {core}"));
    let go = machine.go.as_deref().unwrap_or("no Go");
    text += &format!("{BOLD}How many times as fast as {base}{BOLD:#}\n\n");
    text += &paragraph(
        &format!("Medians of {rounds} rounds, and below each the least and the greatest. Client and server {core}."),
        0,
    );
    text += "\n";
    text += &row("", WORKLOADS.iter().map(|workload| workload.head[0].to_owned()), 12);
    text += &row("", WORKLOADS.iter().map(|workload| workload.head[1].to_owned()), 12);
    for server in servers {
        let cell = |speed: &Speed| match speed.ratio {
            Some(ratio) => times(ratio.median),
            None if server.failures.iter().any(|failure| failure.starts_with(speed.workload)) => "fails".to_owned(),
            None => "-".to_owned(),
        };
        let range = |speed: &Speed| {
            speed.ratio.map_or(String::new(), |ratio| format!("{}–{}", times(ratio.min), times(ratio.max)))
        };
        text += &row(&server.name, server.speeds.iter().map(cell), 12);
        text += &format!("{DIM}{}{DIM:#}", row("", server.speeds.iter().map(range), 12));
    }
    text += &format!(
        "\n{BOLD}The same by processor time{BOLD:#}, of client and server together; other programs hardly disturb it\n\n"
    );
    for server in servers {
        let ratio = |speed: &Speed| speed.ratio_by_processor_time.map_or("-".to_owned(), |ratio| times(ratio.median));
        text += &row(&server.name, server.speeds.iter().map(ratio), 12);
    }
    text += &format!("\n{BOLD}What it costs{BOLD:#}\n\n");
    text += &row("", COSTS.iter().map(|cost| cost.head[0].to_owned()), 9);
    text += &row("", COSTS.iter().map(|cost| cost.head[1].to_owned()), 9);
    for server in servers {
        text += &row(&server.name, COSTS.iter().map(|cost| (cost.cell)(server).unwrap_or("-".into())), 9);
    }
    text += &hardship(servers);
    text += "\n";
    let legend = format!(
        "s/M: seconds of the server's processor time for a million lines. client: the load generator's share of all \
         processor time, in the middle of all rounds. calls: system calls for each line, counted by strace{}. burst: \
         milliseconds until the last of {BURST} clients that connect at once has its answer, the slowest round. lost: how \
         many had none. accept: milliseconds until {IDLE} connections are accepted. silent: resident bytes for each of \
         them before it has said a line, said: after it has.",
        if servers.iter().any(|server| server.calls_ping_pong.is_some()) { "" } else { " if it is installed" }
    );
    text += &paragraph(&legend, 0);
    if servers.iter().any(|server| !server.failures.is_empty()) {
        text += "\n";
    }
    for server in servers {
        for failure in &server.failures {
            text += &paragraph(&format!("{} fails: {failure}.", server.name), 0);
        }
    }
    let load = |load: &Option<String>| load.clone().unwrap_or("?".into());
    let about = format!(
        "{}, {} cores; Linux {}; {}; {go}; load {} at the start and {} at the end. Other programs took at most {:.0} % of the \
         processors in the second before a round.",
        machine.processor,
        machine.cores,
        machine.kernel,
        machine.rustc,
        load(&machine.load_at_start),
        load(&machine.load_at_end),
        machine.most_taken()
    );
    text += "\n";
    text += &paragraph(&about, 0);
    if machine.most_taken() > BUSY {
        text += &format!("{BAD}The machine was busy: don't build on these figures.{BAD:#}\n");
    }
    text
}

/// What becomes of servers that have more clients than they can serve, if that was tried.
fn hardship(servers: &[Server]) -> String {
    if servers.iter().all(|server| server.survival.is_none() && server.starved.is_none()) {
        return String::new();
    }
    let yes = |is: bool| if is { "served" } else { "not served" }.to_owned();
    let mut text = format!("\n{BOLD}More clients than it can serve{BOLD:#}\n\n");
    let heads = [
        ["of 19,900", "connected"],
        ["the first", "of them"],
        ["one more", "after"],
        ["EMFILE", "core used"],
        ["one more", "after"],
    ];
    for line in [0, 1] {
        text += &row("", heads.iter().map(|head| head[line].to_owned()), 13);
    }
    for server in servers {
        let none = || "-".to_owned();
        let survival = server.survival;
        let starved = server.starved;
        let cells = [
            survival.map_or_else(none, |survival| survival.connected.to_string()),
            survival.map_or_else(none, |survival| yes(survival.first_is_served)),
            survival.map_or_else(none, |survival| yes(survival.next_is_served)),
            starved.map_or_else(none, |starved| format!("{:.1} %", starved.processor_percent)),
            starved.map_or_else(none, |starved| yes(starved.next_is_served)),
        ];
        text += &row(&server.name, cells.into_iter(), 13);
    }
    text
}

/// A column of the second table.
struct Cost {
    head: [&'static str; 2],
    cell: fn(&Server) -> Option<String>,
}

const COSTS: [Cost; 10] = [
    Cost { head: ["s/M", "1 line"], cell: |server| seconds_per_million(server, PING_PONG) },
    Cost { head: ["s/M", "64 lines"], cell: |server| seconds_per_million(server, PIPELINED) },
    Cost { head: ["client", "1 line"], cell: |server| client_share(server, PING_PONG) },
    Cost { head: ["client", "64 lines"], cell: |server| client_share(server, PIPELINED) },
    Cost { head: ["calls", "1 line"], cell: |server| server.calls_ping_pong.map(|calls| format!("{calls:.2}")) },
    Cost { head: ["calls", "64 lines"], cell: |server| server.calls_pipelined.map(|calls| format!("{calls:.3}")) },
    Cost { head: ["burst", "lost"], cell: burst },
    Cost { head: ["accept", "ms"], cell: |server| middle(server.idle.iter().map(|idle| idle.accepted_ms)) },
    Cost { head: ["silent", "bytes"], cell: |server| bytes(server.idle.iter().map(|idle| idle.silent_bytes)) },
    Cost { head: ["said", "bytes"], cell: |server| bytes(server.idle.iter().map(|idle| idle.after_a_line_bytes)) },
];

fn seconds_per_million(server: &Server, workload: usize) -> Option<String> {
    let samples = server.speeds[workload].samples.iter();
    Spread::of(samples.map(|sample| sample.server_us)).map(|spread| times(spread.median))
}

fn client_share(server: &Server, workload: usize) -> Option<String> {
    let samples = server.speeds[workload].samples.iter();
    let share = Spread::of(samples.map(|sample| sample.client_us / (sample.client_us + sample.server_us)))?;
    Some(format!("{:.0} %", share.median * 100.0))
}

fn burst(server: &Server) -> Option<String> {
    let slowest = Spread::of(server.bursts.iter().map(|burst| burst.last_answered_ms))?;
    let lost = server.bursts.iter().map(|burst| burst.lost).max()?;
    Some(format!("{:.0}/{lost}", slowest.max))
}

fn middle(numbers: impl Iterator<Item = f64>) -> Option<String> {
    Spread::of(numbers).map(|spread| format!("{:.0}", spread.median))
}

#[expect(clippy::cast_precision_loss, reason = "these are small numbers")]
fn bytes(numbers: impl Iterator<Item = u64>) -> Option<String> {
    middle(numbers.map(|number| number as f64))
}

fn row(name: &str, cells: impl Iterator<Item = String>, width: usize) -> String {
    let mut row = format!("{name:9}");
    for cell in cells {
        // Writing to a string doesn't fail.
        let _ = write!(row, "{cell:>width$}");
    }
    row.truncate(row.trim_end().len());
    row + "\n"
}

/// A number with as many digits as are worth reading.
pub fn times(number: f64) -> String {
    match number {
        10.0.. => format!("{number:.1}"),
        0.1.. => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}
