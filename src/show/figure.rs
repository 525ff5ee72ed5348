//! Draws recordings as sequence diagrams: SVG that stands alone and that a page of the book can take in.
//!
//! Time runs down, and every event gets the room that its words need: the order is drawn, not the clock, so that two
//! runs with the same events give the same figure. Colours are those of the page's theme, with others for a file that
//! stands alone. What the figure shows is also told in words, in its description.

use std::fmt::Write;
use std::time::Duration;

use super::scene::{Run, Scene};
use super::timeline;
use crate::lab::recording::{AGAIN, Action, Event, Recording, with_thousands};
use crate::probes::{Finding, Verdict};

/// The width of a figure in its own units. On a phone one of them is one pixel.
const WIDTH: i32 = 360;
/// How far everything stays from the edges.
const MARGIN: i32 = 6;
/// From one line of text to the next.
const LINE: i32 = 15;
/// The room between two events.
const GAP: i32 = 9;
/// The height of a lane's head, and what a second line in it takes.
const HEAD: i32 = 24;
const SECOND_LINE: i32 = 13;
/// How far the outermost lanes stand from the edges.
const OUTERMOST: i32 = 32;
/// The widest a label gets before it is broken into lines.
const LABEL: i32 = 276;

/// What stands in front of the servers `s1` and `s2`, and is all that a client sees of them.
const BALANCER: &str = "HAProxy";

/// One side of a scene, or both, one under the other.
///
/// The text has no blank line, which would end the figure in the middle of a page written in Markdown.
pub(super) fn draw(scene: &Scene, sides: &[(&str, &Run)]) -> String {
    let title = |side: &str| format!("{}: the {side}", scene.name);
    let mut body = String::new();
    let mut top = 0;
    for (side, run) in sides {
        let mut drawing = Drawing::new(run, top);
        drawing.draw(&title(side), run);
        body.push_str(&drawing.finish());
        top = drawing.y + 2 * GAP;
    }
    let height = top - GAP;
    let first = sides.first().map_or("", |(side, _)| side);
    let id = format!("figure-{}-{}-{first}", scene.chapter, scene.name);
    let titles: Vec<String> = sides.iter().map(|(side, _)| title(side)).collect();
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"tcp-figure\" role=\"img\" aria-labelledby=\"{id}-title \
         {id}-desc\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{}\" height=\"{}\">",
        WIDTH * 4 / 3,
        height * 4 / 3
    );
    let _ = writeln!(svg, "<title id=\"{id}-title\">{}</title>", escape(&titles.join(", then ")));
    let story: Vec<String> = sides.iter().map(|(side, run)| story(&title(side), run)).collect();
    let _ = writeln!(svg, "<desc id=\"{id}-desc\">{}</desc>", escape(&story.join("\n")));
    let _ = writeln!(svg, "<style>\n{STYLE}</style>");
    let _ = writeln!(svg, "<rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>");
    svg.push_str(&body);
    svg.push_str("</svg>\n");
    svg
}

/// Only for this figure: a style in a page is one for the whole page.
const STYLE: &str = "\
.tcp-figure { max-width: 100%; height: auto; font: 12px 'Open Sans', Arial, sans-serif; }
.tcp-figure text { fill: var(--fg, #222); }
.tcp-figure .code { font-family: var(--mono-font, 'Source Code Pro', Consolas, Menlo, monospace); font-size: 11px; }
.tcp-figure .loose { paint-order: stroke; stroke: var(--bg, #fff); stroke-width: 6px; stroke-linejoin: round; }
.tcp-figure .aside { font-style: italic; }
.tcp-figure .strong { font-weight: bold; }
.tcp-figure .title { font-size: 14px; }
.tcp-figure .paper { fill: var(--bg, #fff); }
.tcp-figure .client { --lane: var(--blockquote-note-color, #0969da); }
.tcp-figure .kernel { --lane: var(--blockquote-important-color, #8250df); }
.tcp-figure .server { --lane: var(--blockquote-warning-color, #9a6700); }
.tcp-figure .aside, .tcp-figure .skipped, .tcp-figure .note { --lane: var(--icons, #747474); }
.tcp-figure .differs { --lane: var(--blockquote-warning-color, #9a6700); }
.tcp-figure .falls { --lane: var(--blockquote-caution-color, #b52731); }
.tcp-figure .holds { --lane: var(--blockquote-tip-color, #008000); }
.tcp-figure .line { fill: none; stroke: var(--lane); stroke-width: 1.5; stroke-linecap: round; }
.tcp-figure .faint { stroke-width: 1; opacity: 0.6; }
.tcp-figure .dashed { stroke-dasharray: 5 4; }
.tcp-figure .dotted { stroke-dasharray: 1 5; }
.tcp-figure .solid { fill: var(--lane); }
.tcp-figure .box { fill: var(--bg, #fff); stroke: var(--lane); stroke-width: 1.2; }
.tcp-figure .foot { fill: var(--quote-bg, #f1f6f9); }
";

/// What is drawn of a recording. A probe that is unsure plays everything twice, and the second time looks like the first.
fn drawn(recording: &Recording) -> Vec<Event> {
    let is_again = |event: &Event| matches!(&event.action, Action::Note { text } if text == AGAIN);
    let mut events = timeline::shortened(recording);
    if let Some(first_round) = events.iter().position(is_again) {
        events.truncate(first_round + 1);
    }
    events
}

/// What happened, in words: a line for each event.
fn story(title: &str, run: &Run) -> String {
    let mut told = format!("{title}: {}.\n", run.caption);
    for event in drawn(&run.recording) {
        let said = if event.action.is_summary() {
            event.action.to_string()
        } else {
            format!("{}: {}", event.who, event.action)
        };
        let _ = writeln!(told, "{}.", one_line(&said).trim_end_matches('.'));
    }
    let _ = write!(told, "Verdict: {}: {}.", run.finding.verdict.word(), one_line(&run.finding.evidence.sentence));
    told
}

/// One who takes part, and where its line stands.
struct Lane<'a> {
    who: &'a str,
    x: i32,
}

struct Drawing<'a> {
    lanes: Vec<Lane<'a>>,
    top: i32,
    y: i32,
    head: String,
    body: String,
    /// Where nothing happens for a while, and so the lanes are dotted.
    breaks: Vec<(i32, i32)>,
    /// Whether the server's own calls are recorded. Then an answer is an arrow at its `write`; if they aren't, it is one
    /// when it is received.
    calls_are_recorded: bool,
}

impl<'a> Drawing<'a> {
    fn new(run: &'a Run, top: i32) -> Self {
        let events = &run.recording.events;
        let calls = |event: &Event| matches!(event.action, Action::Read(_) | Action::ReadEnd | Action::Wrote { .. });
        Drawing {
            lanes: lanes(events),
            top,
            y: top + MARGIN,
            head: String::new(),
            body: String::new(),
            breaks: Vec::new(),
            calls_are_recorded: events.iter().any(calls),
        }
    }

    /// All of a run, from its title to its verdict.
    fn draw(&mut self, title: &str, run: &Run) {
        let class = run.finding.verdict.word();
        self.head_text(title, "strong title", 17);
        self.head_text(&run.caption, "", LINE);
        self.y += GAP + 1;
        self.top = self.y + self.head_height();
        self.y = self.top + GAP + 3;
        for event in drawn(&run.recording) {
            let at = Duration::from_nanos(event.at_ns).as_secs_f64();
            let kernel = event.kernel.as_ref().and_then(|side| serde_json::to_string(side).ok());
            let kernel = kernel.map_or(String::new(), |side| format!(" data-kernel=\"{}\"", escape(&side)));
            let _ = writeln!(self.body, "<g class=\"step\" data-at=\"{at:.3}\"{kernel}>");
            match &event.action {
                Action::MoreCalls { .. } | Action::Repeats { .. } => {
                    self.summary(&event.action.to_string(), self.lane(&event.who));
                }
                Action::LeftOut { .. } => self.stage(&event.action.to_string(), "dotted"),
                _ => self.event(&event, &run.recording),
            }
            self.body.push_str("</g>\n");
        }
        self.body.push_str("<g class=\"step\">\n");
        self.verdict(&run.finding, class);
        self.body.push_str("</g>\n");
    }

    /// Puts the lanes behind what was drawn. Their heads are a group, and each event is one: the book's player shows them one
    /// after the other, and keeps the heads in sight.
    fn finish(&self) -> String {
        let mut drawn = self.head.clone();
        let bottom = self.breaks.last().map_or(self.y, |&(_, end)| end);
        for lane in &self.lanes {
            let (x, class) = (lane.x, class(lane.who));
            let mut from = self.top;
            for &(start, end) in &self.breaks {
                let _ = writeln!(drawn, "<path class=\"line faint {class}\" d=\"M{x} {from}V{start}\"/>");
                if end < bottom {
                    let _ = writeln!(drawn, "<path class=\"line faint dotted {class}\" d=\"M{x} {start}V{end}\"/>");
                }
                from = end;
            }
        }
        let (height, room) = (self.head_height(), self.room());
        let top = self.top - height;
        let _ = writeln!(
            drawn,
            "<g class=\"heads\"><rect class=\"paper\" y=\"{top}\" width=\"{WIDTH}\" height=\"{height}\"/>"
        );
        for lane in &self.lanes {
            let lines = wrap(lane.who, room - 4, false);
            let width = (widest(&lines, false) + 18).min(room);
            let left = (lane.x - width / 2).clamp(1, WIDTH - 1 - width);
            let _ = writeln!(
                drawn,
                "<g class=\"{}\"><rect class=\"box\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>",
                class(lane.who)
            );
            let first = top + height / 2 + 4 - SECOND_LINE * (count(&lines) - 1) / 2;
            let text = spans(&lines, left + width / 2, first, SECOND_LINE);
            let _ = writeln!(drawn, "<text class=\"strong\" text-anchor=\"middle\">{text}</text></g>");
        }
        drawn + "</g>\n" + &self.body
    }

    /// How wide the head of a lane may be.
    fn room(&self) -> i32 {
        WIDTH / i32::try_from(self.lanes.len()).unwrap_or(1).max(1) - 4
    }

    /// A name that is too wide for its lane stands in two lines.
    fn head_height(&self) -> i32 {
        let is_wide = |lane: &Lane<'_>| wrap(lane.who, self.room() - 4, false).len() > 1;
        if self.lanes.iter().any(is_wide) { HEAD + SECOND_LINE } else { HEAD }
    }

    /// Whom the clients talk to.
    fn front(&self) -> &'static str {
        if self.lanes.iter().any(|lane| lane.who == BALANCER) { BALANCER } else { "server" }
    }

    fn lane(&self, who: &str) -> i32 {
        self.lanes.iter().find(|lane| lane.who == who).map_or(WIDTH / 2, |lane| lane.x)
    }

    fn head_text(&mut self, text: &str, class: &str, height: i32) {
        // The title's letters are larger and bold.
        let width = if class.is_empty() { WIDTH - 2 * MARGIN } else { (WIDTH - 2 * MARGIN) * 4 / 5 };
        for line in wrap(text, width, false) {
            self.y += height;
            let _ =
                writeln!(self.head, "<text class=\"{class}\" x=\"{MARGIN}\" y=\"{}\">{}</text>", self.y, escape(&line));
        }
    }

    fn event(&mut self, event: &Event, recording: &Recording) {
        let (who, label) = (event.who.as_str(), label(&event.action));
        let (here, server) = (self.lane(who), self.lane(self.front()));
        let lane = class(who);
        match &event.action {
            Action::Connects | Action::Sends(_) => self.arrow(&label, is_call(&event.action), (here, server), lane),
            Action::HalfCloses | Action::Leaves => {
                self.arrow(&label, false, (here, server), &format!("{lane} dashed"));
            }
            Action::CannotConnect { .. } | Action::Resets => {
                self.arrow(&label, false, (here, server), "falls dashed");
            }
            Action::SeesEnd => self.arrow(&label, false, (server, here), "server dashed"),
            Action::SeesReset => self.arrow(&label, false, (server, here), "falls dashed"),
            Action::Receives(_) if !self.calls_are_recorded => self.arrow(&label, true, (server, here), "server"),
            Action::Wrote { given, taken } => {
                let class = if *given == taken.len() { lane } else { "falls" };
                self.arrow(&label, true, (here, self.lane(reader(event, recording))), class);
            }
            Action::HearsNothing { .. } => self.silence(&label, here, lane),
            Action::Failed { .. } => self.note(&label, true, here, "falls"),
            Action::Note { .. } if is_stage(who) => self.stage(&format!("{who} {label}"), "dashed"),
            _ => self.note(&label, is_call(&event.action), here, lane),
        }
    }

    /// Something that goes from one lane to another, with its words above it.
    fn arrow(&mut self, label: &str, code: bool, (from, to): (i32, i32), class: &str) {
        let lines = wrap(label, LABEL, code);
        let width = widest(&lines, code);
        let middle = ((from + to) / 2).clamp(MARGIN + width / 2, WIDTH - MARGIN - width / 2);
        self.text(&lines, if code { "code loose" } else { "loose" }, middle, "middle");
        self.y += 7;
        let y = self.y;
        let ahead = if from < to { 1 } else { -1 };
        let tip = to - 2 * ahead;
        // A dashed line ends before the head, which is whole.
        let _ = writeln!(
            self.body,
            "<g class=\"{}\"><circle class=\"solid\" cx=\"{from}\" cy=\"{y}\" r=\"2.5\"/><path class=\"line{}\" d=\"M{from} \
             {y}H{}\"/><path class=\"solid\" d=\"M{tip} {y}l{} -4.5v9z\"/></g>",
            class.trim_end_matches(" dashed"),
            if class.ends_with("dashed") { " dashed" } else { "" },
            tip - 7 * ahead,
            -9 * ahead,
        );
        self.y += GAP + 2;
    }

    /// Something that happens in a lane.
    fn note(&mut self, label: &str, code: bool, x: i32, class: &str) {
        let lines = wrap(label, LABEL, code);
        let (width, height) = (widest(&lines, code) + 14, LINE * count(&lines) + 6);
        let left = (x - width / 2).clamp(MARGIN, WIDTH - MARGIN - width);
        let _ = writeln!(
            self.body,
            "<rect class=\"box {class}\" x=\"{left}\" y=\"{}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>",
            self.y
        );
        self.y += 2;
        self.text(&lines, if code { "code" } else { "" }, left + width / 2, "middle");
        self.y += 4 + GAP;
    }

    /// What was too much to draw.
    fn summary(&mut self, text: &str, x: i32) {
        let lines = wrap(text, LABEL, false);
        let width = widest(&lines, false);
        let middle = x.clamp(MARGIN + width / 2, WIDTH - MARGIN - width / 2);
        let from = self.y;
        self.text(&lines, "aside loose", middle, "middle");
        self.y += GAP;
        self.breaks.push((from - 2, self.y - 2));
    }

    /// A wait in vain: a bracket beside a lane, and time that passes in all of them.
    fn silence(&mut self, label: &str, x: i32, class: &str) {
        let (from, to) = (self.y, self.y + LINE + 26);
        let inward = if x < WIDTH / 2 { 1 } else { -1 };
        let edge = x + 12 * inward;
        let _ = writeln!(
            self.body,
            "<path class=\"line {class}\" d=\"M{} {from}H{edge}V{to}H{}\"/>",
            edge - 5 * inward,
            edge - 5 * inward
        );
        self.y += 13;
        let anchor = if inward > 0 { "start" } else { "end" };
        self.text(&[label.to_owned()], "aside loose", edge + 9 * inward, anchor);
        self.y = to + GAP + 2;
        self.breaks.push((from, to));
    }

    /// What concerns everybody, right across.
    fn stage(&mut self, text: &str, style: &str) {
        let lines = wrap(text, LABEL, false);
        let middle = self.y + (LINE * count(&lines)) / 2;
        let _ = writeln!(self.body, "<path class=\"line aside {style}\" d=\"M{MARGIN} {middle}H{}\"/>", WIDTH - MARGIN);
        self.text(&lines, "aside loose", WIDTH / 2, "middle");
        self.y += GAP + 3;
    }

    fn verdict(&mut self, finding: &Finding, class: &str) {
        self.y += 2;
        self.breaks.push((self.y, self.y));
        self.y += GAP - 2;
        let top = self.y;
        let lines = wrap(&format!("{}: {}", finding.verdict.word(), finding.evidence), WIDTH - 50, false);
        let height = LINE * count(&lines) + 14;
        let _ = writeln!(
            self.body,
            "<g class=\"{class}\"><rect class=\"foot\" x=\"{MARGIN}\" y=\"{top}\" width=\"{}\" height=\"{height}\" rx=\"6\"/>\
             <rect class=\"solid\" x=\"{MARGIN}\" y=\"{top}\" width=\"4\" height=\"{height}\" rx=\"2\"/>\
             <path class=\"line\" style=\"stroke-width: 2.5\" d=\"{}\"/></g>",
            WIDTH - 2 * MARGIN,
            match finding.verdict {
                Verdict::Holds => format!("M19 {}l4 5l7 -10", top + 14),
                Verdict::Falls => format!("M20 {}l9 9m0 -9l-9 9", top + 10),
                Verdict::Differs => format!("M19 {}h10m-10 5h10m-1 -8l-8 11", top + 12),
                Verdict::Note => format!("M24 {}v.1m0 5v5", top + 10),
                Verdict::Skipped => format!("M20 {}h9", top + 15),
            },
        );
        let text = spans(&lines, 38, top + LINE + 4, LINE);
        let strong = text.replacen(&format!("{class}:"), &format!("<tspan class=\"strong\">{class}</tspan>:"), 1);
        let _ = writeln!(self.body, "<text>{strong}</text>");
        self.y = top + height;
    }

    /// Lines of text below `y`, which moves on.
    fn text(&mut self, lines: &[String], class: &str, x: i32, anchor: &str) {
        let spans = spans(lines, x, self.y + LINE - 4, LINE);
        let _ = writeln!(self.body, "<text class=\"{class}\" text-anchor=\"{anchor}\">{spans}</text>");
        self.y += LINE * count(lines);
    }
}

/// Lines of text, the first at `y`, each so far below the one before.
fn spans(lines: &[String], x: i32, y: i32, apart: i32) -> String {
    let span = |(line, number): (&String, i32)| {
        format!("<tspan x=\"{x}\" y=\"{}\">{}</tspan>", y + number * apart, escape(line))
    };
    lines.iter().zip(0..).map(span).collect::<Vec<_>>().join(" ")
}

/// Who takes part: clients from the left, the server at the right, and what is between them.
fn lanes(events: &[Event]) -> Vec<Lane<'_>> {
    let mut names: Vec<&str> = Vec::new();
    for event in events {
        if !names.contains(&event.who.as_str()) && !is_stage(&event.who) {
            names.push(&event.who);
        }
    }
    // What a client does, it does to a server, whether or not that does anything of its own.
    if names.iter().any(|who| class(who) == "client") && !names.contains(&"server") && !names.contains(&BALANCER) {
        names.push("server");
    }
    names.sort_by_key(|who| match class(who) {
        "client" => 0,
        _ if *who == "server" => 2,
        _ => 1,
    });
    let last = i32::try_from(names.len()).unwrap_or(1) - 1;
    let x = |index: i32| if last == 0 { WIDTH / 2 } else { OUTERMOST + (WIDTH - 2 * OUTERMOST) * index / last };
    names.into_iter().zip(0..).map(|(who, index)| Lane { who, x: x(index) }).collect()
}

/// The probe has no lane, as what it does is for all, and neither has what was left out.
fn is_stage(who: &str) -> bool {
    matches!(who, "probe" | "")
}

/// The class that gives a lane its colour.
fn class(who: &str) -> &'static str {
    match who {
        "server" | "s1" | "s2" => "server",
        _ if who.contains("client") => "client",
        _ => "kernel",
    }
}

/// Whose answer a `write` of the server is: that of the client who gets something next, or who did something last.
fn reader<'a>(event: &Event, recording: &'a Recording) -> &'a str {
    let is_client = |other: &&Event| class(&other.who) == "client";
    let gets = |other: &&Event| matches!(other.action, Action::Receives(_) | Action::SeesEnd | Action::SeesReset);
    let (before, after): (Vec<&Event>, Vec<&Event>) =
        recording.events.iter().partition(|other| other.at_ns < event.at_ns);
    let next = after.into_iter().find(|other| is_client(other) && gets(other));
    next.or_else(|| before.into_iter().rfind(is_client)).map_or("server", |client| &client.who)
}

/// Whether this is a call with its result, or bytes: set as code.
fn is_call(action: &Action) -> bool {
    matches!(
        action,
        Action::Sends(_)
            | Action::Receives(_)
            | Action::Read(_)
            | Action::ReadEnd
            | Action::Wrote { .. }
            | Action::Failed { .. }
    )
}

/// An event in as few words as a figure has room for.
fn label(action: &Action) -> String {
    match action {
        Action::SeesEnd => "sees the end".into(),
        Action::SeesReset => "sees a reset".into(),
        Action::HalfCloses => "ends its side (half-close)".into(),
        Action::Resets => "resets".into(),
        Action::HearsNothing { .. } => action.to_string().replace("has heard", "hears"),
        Action::Wrote { given, taken } if *given == taken.len() => format!("write → {taken}"),
        Action::Wrote { given, taken } => {
            format!("write → only {} of {} bytes", with_thousands(taken.len()), with_thousands(*given))
        }
        _ => action.to_string(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn count(lines: &[String]) -> i32 {
    i32::try_from(lines.len()).unwrap_or(i32::MAX)
}

fn widest(lines: &[String], code: bool) -> i32 {
    lines.iter().map(|line| text_width(line, code)).max().unwrap_or(0)
}

/// Breaks text where it would get wider than this.
fn wrap(text: &str, width: i32, code: bool) -> Vec<String> {
    // A number stays with what it counts.
    let text = one_line(text).replace(" bytes)", "\u{a0}bytes)").replace(" byte)", "\u{a0}byte)");
    let text = text.replace("os error ", "os\u{a0}error\u{a0}");
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a line from the beginning");
        let longer = format!("{line} {word}");
        if line.is_empty() {
            line.push_str(word);
        } else if text_width(&longer, code) <= width {
            *line = longer;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// About how wide text is: as in the book's own fonts, of which others are seldom wider.
fn text_width(text: &str, code: bool) -> i32 {
    let hundredths = |character: char| match character {
        _ if code => 665,
        'i' | 'j' | 'l' | '\'' | '.' | ',' | ':' | ';' | '!' | '|' | ' ' => 320,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' | '\\' | '"' | '`' => 440,
        'm' | 'w' | '…' | '→' | '─' => 1040,
        'A'..='Z' => 820,
        _ => 680,
    };
    text.chars().map(hundredths).sum::<i32>() / 100
}

/// As text of an XML document, which can't hold most control characters at all.
fn escape(text: &str) -> String {
    // A backtick marks code in a terminal, where there are no letters of another kind.
    let letters = text.chars().filter(|&it| it != '`');
    let shown = letters.map(|it| if it.is_control() && it != '\n' { '\u{fffd}' } else { it });
    quick_xml::escape::escape(shown.collect::<String>()).into_owned()
}
