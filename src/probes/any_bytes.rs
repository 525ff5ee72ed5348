//! Random conversations, compared with a model of the echo: what nobody has thought of asking.

use std::time::{Duration, Instant};

use super::ch4_messages::four_in_one_write;
use super::trial::{LONGEST, Trial, shown, too_slow, until_read};
use super::{Difference, Judged, Otherwise, PLAIN, Probe, falls, skipped};
use crate::dialogue::{Lines, Request};
use crate::lab::client::{Client, Reply, State};
use crate::lab::random::{self, Random};
use crate::lab::recording::Payload;
use crate::lab::server::Running;

pub(super) const PROBES: &[Probe] = &[Probe {
    name: "any-bytes",
    chapter: 4,
    does: "Sends 200 random lines in writes that are split and joined anywhere; each must come back as it is, empty ones as \
           well, and to the client that sent it",
    remedy: Some(
        "Take off the end of the line and nothing else: no trimming, no special case for an empty line or a zero byte. Give \
         each connection a buffer of its own",
    ),
    examine: any_bytes,
    ..PLAIN
}];

/// How many lines each of the two conversations has.
const LINES: usize = 100;
/// The lengths of lines that are tried, to find one that the server takes.
const LENGTHS: [usize; 5] = [4096, 1000, 500, 250, 80];

/// Letters of two, three and four bytes. A server that takes each read for text breaks those that end in the next one.
const LETTERS: [&str; 3] = ["é", "€", "😀"];

/// How long a server is given to read a write.
const TO_READ: Duration = Duration::from_millis(200);

/// For how long a write may wait until the one before it has been read. Then they may meet on their way.
const WAITING: Duration = Duration::from_secs(5);

/// How this server takes lines, as far as other probes judge it.
struct Model {
    /// The longest line that was answered.
    longest: usize,
    /// What may stand at the end of a line.
    ends: Vec<&'static [u8]>,
    /// Whether letters of several bytes are given back, in UTF-8.
    letters: bool,
    /// Whether a line is given back that isn't UTF-8.
    any_byte: bool,
}

/// One line of a conversation.
struct Line {
    text: Vec<u8>,
    ends: &'static [u8],
}

fn any_bytes(trial: &Trial<'_>) -> Judged {
    let lines = trial.lines()?;
    trial.stays_open()?;
    let seed = trial.terms.seed.unwrap_or_else(random::seed);
    let judged = converse(trial, lines, seed).and_then(|evidence| {
        trial.aside(kept_apart)?;
        trial.aside(|trial| each_its_own(trial, &mut trial.start()?))?;
        Ok(evidence)
    });
    let simpler = "it goes wrong with plain lines already; see split-message and joined-messages";
    trial.unless_simpler(judged, simpler, plain_lines)
}

/// Expects that what two clients send isn't mixed, one of them while the other is in the middle of a line. Whether a
/// second client is served meanwhile at all is for others to tell.
fn kept_apart(trial: &Trial<'_>) -> Judged<()> {
    const PATIENCE: Duration = Duration::from_secs(1);
    if trial.terms.dialogue.greeting.is_some() || !trial.terms.dialogue.setup.is_empty() {
        return Ok(());
    }
    let mut server = trial.start()?;
    let mut connect = |name| trial.connect(&mut server, name);
    let (mut one, mut two) = (connect("client 1")?, connect("client 2")?);
    let (long, short) = (trial.line(b"first and last of client 1"), trial.line(b"all of client 2"));
    let (first, last) = long.bytes.split_at(b"first".len());
    let mixed = |who: &str, got: &[u8]| -> Judged<()> {
        falls!("client 2 sent a line while client 1 was in the middle of one, and {who} got {}", Payload::new(got))
    };
    one.send(first);
    until_read(&server, &one, TO_READ);
    two.send(&short.bytes);
    let answer = two.answer(PATIENCE, |got| short.check(got));
    if one.state() == State::HasBytes {
        return mixed("client 1", one.received());
    }
    match answer {
        Reply::Line(answer) if short.is_answered_by(&answer) => {}
        Reply::Line(answer) if answer.windows(first.len()).any(|part| part == first) => {
            return mixed("client 2", &answer);
        }
        _ => return Ok(()),
    }
    one.send(last);
    match one.answer(trial.terms.limit, |got| long.check(got)) {
        Reply::Line(answer) if !long.is_answered_by(&answer) => mixed("client 1, when it had sent the rest,", &answer),
        _ => Ok(()),
    }
}

/// Expects that of clients that ask in the same moment each has its own answer. Threads that share a buffer cross them only
/// now and then. Anything else that goes wrong is for others to tell.
pub(super) fn each_its_own(trial: &Trial<'_>, server: &mut Running) -> Judged<()> {
    const ROUNDS: usize = 20;
    const PATIENCE: Duration = Duration::from_secs(1);
    let dialogue = &trial.terms.dialogue;
    if dialogue.one_request || dialogue.greeting.is_some() || !dialogue.setup.is_empty() {
        return Ok(());
    }
    let mut clients = Vec::new();
    for number in 1..=8 {
        let Ok(client) = trial.connect(server, &format!("client {number}")) else { return Ok(()) };
        clients.push(client);
    }
    for round in 1..=ROUNDS {
        let requests: Vec<Request> =
            (1..=clients.len()).map(|number| trial.request(&format!("client-{number}-asks-{round}"))).collect();
        for (client, request) in clients.iter_mut().zip(&requests) {
            client.send(&request.bytes);
        }
        for (client, request) in clients.iter_mut().zip(&requests) {
            let Reply::Line(answer) = client.answer(PATIENCE, |got| request.check(got)) else { return Ok(()) };
            if request.is_answered_by(&answer) {
                continue;
            }
            if requests.iter().any(|other| other.is_answered_by(&answer)) {
                falls!(
                    "{} clients asked at once: one that sent {} got the answer to another one, {}",
                    requests.len(),
                    shown(&request.bytes),
                    shown(&answer)
                );
            }
            return Ok(());
        }
    }
    Ok(())
}

/// The control: four lines in one write, and one in two.
fn plain_lines(trial: &Trial<'_>, server: &mut Running) -> Judged<()> {
    four_in_one_write(trial, server, ["one", "two", "three", "four"])?;
    let mut client = trial.connect(server, "client")?;
    let one = trial.line(b"one");
    client.send(&one.bytes[..2]);
    until_read(server, &client, TO_READ);
    client.send(&one.bytes[2..]);
    trial.expect(&mut client, &one)
}

fn converse(trial: &Trial<'_>, lines: &Lines, seed: u64) -> Judged {
    let mut asked = trial.start()?;
    let model = trial.aside(|trial| find_out(trial, &mut asked, lines))?;
    drop(asked);
    // Bytes that aren't UTF-8 may have ended that one, which is for not-utf8 to tell.
    let mut server = trial.start()?;
    let mut random = Random(seed);
    trial.recorder.note(
        "client 1",
        format!(
            "sends {LINES} lines of text, and {LINES} of any bytes, up to {} bytes long (seed {seed})",
            model.longest
        ),
    );
    let began = Instant::now();
    let text: Vec<Line> = (0..LINES).map(|_| random.line(&model, Random::text)).collect();
    let with_seed = |why: Otherwise| why.reword(|what| format!("{what} (seed {seed})"));
    exchange(trial, &mut server, &mut random, &text, began, Otherwise::falls).map_err(with_seed)?;
    let any: Vec<Line> = (0..LINES).map(|_| random.line(&model, Random::bytes)).collect();
    exchange(trial, &mut server, &mut random, &any, began, |evidence| trial.differs(evidence)).map_err(with_seed)?;
    trial.recorder.note("client 1", "has each of them back");
    Ok(format!("{} random lines came back as they were (seed {seed})", 2 * LINES).into())
}

/// What stays out of the conversations because another probe is about it.
fn find_out(trial: &Trial<'_>, server: &mut Running, lines: &Lines) -> Judged<Model> {
    let mut answers = |bytes: &[u8], line: &[u8]| -> Judged<bool> {
        let mut client = trial.connect(server, "client")?;
        let request = trial.line(line);
        client.send(bytes);
        let reply = client.answer(trial.terms.limit.min(Duration::from_secs(3)), |got| request.check(got));
        let Reply::Line(answer) = reply else { return Ok(false) };
        let is_right = request.is_answered_by(&answer);
        // A bound is told, or the connection ends. Who echoes a line in pieces has one as well: endless-line tells that.
        let is_cut = !is_right && line.len() > 40 && answer.starts_with(&[&lines.prefix[..], &line[..40]].concat());
        if is_cut && !matches!(client.line(Duration::from_millis(300)), Reply::Line(_)) {
            let (length, cut) = (line.len(), Payload::new(&answer));
            return Err(trial.differs(format!("a line of {length} bytes came back as {cut}, without the rest")));
        }
        Ok(is_right)
    };
    let mut longest = None;
    for length in LENGTHS {
        let line = vec![b'x'; length];
        if answers(&trial.line(&line).bytes, &line)? {
            longest = Some(length);
            break;
        }
    }
    // A bound may count the end of the line.
    let Some(longest) = longest.map(|longest| longest - 2) else {
        skipped!("it doesn't answer a line of {} bytes; see withheld-answer", LENGTHS[LENGTHS.len() - 1]);
    };
    let mut ends = vec![lines.ends];
    if lines.ends == b"\n" && answers(b"hi\r\n", b"hi")? {
        ends.push(b"\r\n");
    }
    let letters = LETTERS.concat();
    let letters = answers(&trial.line(letters.as_bytes()).bytes, letters.as_bytes())?;
    let any_byte = letters && answers(&trial.line(b"\xff caf\xe9").bytes, b"\xff caf\xe9")?;
    Ok(Model { longest, ends, letters, any_byte })
}

/// Sends these lines in writes that end anywhere, and takes each answer as soon as it is due. The first that is wrong is
/// judged by `verdict`.
fn exchange(
    trial: &Trial<'_>,
    server: &mut Running,
    random: &mut Random,
    lines: &[Line],
    began: Instant,
    verdict: impl Fn(String) -> Otherwise,
) -> Judged<()> {
    let mut client = trial.connect_with(server, "client 1", &trial.recorder.aside(), None)?;
    let stream: Vec<u8> = lines.iter().flat_map(|line| [&line.text[..], line.ends].concat()).collect();
    let mut ends = lines.iter().scan(0, |at, line| {
        *at += line.text.len() + line.ends.len();
        Some(*at)
    });
    let mut due = ends.next();
    let (mut at, mut number) = (0, 0);
    while at < stream.len() {
        if began.elapsed() > LONGEST {
            return Err(too_slow(number));
        }
        let mut cut = (at + random.length(3000)).min(stream.len());
        // Where it is thought of least.
        if let Some(between) = stream[at..cut].windows(2).position(|pair| pair == b"\r\n").filter(|_| random.one_in(3))
        {
            cut = at + between + 1;
        }
        client.send(&stream[at..cut]);
        at = cut;
        while due.is_some_and(|end| end <= at) {
            let Line { text, ends: end } = &lines[number];
            let request = trial.line(text);
            number += 1;
            let starved = trial.recorder.leash().starved();
            match client.answer(trial.terms.limit, |got| request.check(got)) {
                Reply::Line(answer) if request.is_answered_by(&answer) => {}
                got => {
                    trial.is_no_starvation(&got, starved)?;
                    let more = &stream[at..ends.find(|&end| end >= at).unwrap_or(at)];
                    if matches!(got, Reply::Nothing(..)) && is_waited_for(trial, &mut client, &request, more) {
                        skipped!(
                            "line {number} of {LINES} was not answered until more had been sent; see joined-messages and \
                             withheld-answer"
                        );
                    }
                    let (sent, expected) = (shown(&[&text[..], end].concat()), request.expected());
                    let instead = Trial::describe(&got);
                    trial.recorder.note("client 1", format!("sends {sent} as line {number} and gets {instead}"));
                    let verdict = verdict(format!(
                        "line {number} of {LINES}, {sent}: expected {}, got {instead}",
                        Payload::new(&expected)
                    ));
                    return Err(match &got {
                        Reply::Line(answer) => verdict.showing(Difference::between(&expected, answer)),
                        _ => verdict,
                    });
                }
            }
            due = ends.next();
        }
        // A write in three meets the server by itself, and one that ends within a letter; the others may meet each other on
        // their way. On a machine with very many connections the kernel takes long to tell.
        let within_letter = stream.get(at).is_some_and(|next| matches!(next, 0x80..=0xbf));
        if due.is_some() && (within_letter || random.one_in(3)) && began.elapsed() < WAITING {
            until_read(server, &client, TO_READ);
        }
    }
    Ok(())
}

/// Whether the answer comes when more is sent: what is in the line is then not what it depends on.
fn is_waited_for(trial: &Trial<'_>, client: &mut Client, request: &Request, rest_of_next: &[u8]) -> bool {
    client.send(&[rest_of_next, &trial.line(b"more").bytes].concat());
    let got = client.answer(trial.terms.limit, |got| request.check(got));
    matches!(got, Reply::Line(answer) if request.is_answered_by(&answer))
}

impl Random {
    fn byte_below(&mut self, end: usize) -> u8 {
        self.below(end.min(256)).to_le_bytes()[0]
    }

    /// From 1 to `most`, and mostly little.
    fn length(&mut self, most: usize) -> usize {
        let most = if self.one_in(4) { most } else { most.min(12) };
        1 + self.below(most)
    }

    fn line(&mut self, model: &Model, filling: fn(&mut Self, &Model, usize) -> Vec<u8>) -> Line {
        let length = match self.below(24) {
            0..4 => 0,
            // Where buffers end.
            4..7 => ((1 << (4 + self.below(9))) - 1 + self.below(3)).min(model.longest),
            _ => self.length(model.longest),
        };
        let ends = model.ends[self.below(model.ends.len())];
        Line { text: filling(self, model, length), ends }
    }

    /// Printable, with blanks only in the middle.
    fn text(&mut self, model: &Model, length: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(length);
        while text.len() < length {
            let letter = LETTERS[self.below(LETTERS.len())].as_bytes();
            if model.letters && text.len() + letter.len() <= length && self.one_in(4) {
                text.extend(letter);
            } else {
                text.push(b' ' + self.byte_below(95));
            }
        }
        for end in [0, length.saturating_sub(1)] {
            if text.get(end) == Some(&b' ') {
                text[end] = b'.';
            }
        }
        text
    }

    /// Any bytes but the end of the line, those more often that mean something to somebody.
    fn bytes(&mut self, model: &Model, length: usize) -> Vec<u8> {
        const SPECIAL: &[u8] = b"\0\r\t \x0b\x0c\x1a\x1b\x7f\\%\"\xff";
        let (highest, special) = if model.any_byte { (256, SPECIAL) } else { (128, &SPECIAL[..SPECIAL.len() - 1]) };
        let byte = |random: &mut Self| {
            if random.one_in(3) { special[random.below(special.len())] } else { random.byte_below(highest) }
        };
        let mut bytes: Vec<u8> =
            (0..length).map(|_| byte(self)).map(|byte| if byte == b'\n' { b' ' } else { byte }).collect();
        // What a line begins with may mean something as well.
        if let Some(first) = bytes.first_mut().filter(|_| self.one_in(8)) {
            *first = b"#/:.;!"[self.below(6)];
        }
        // A \r before the end is a part of the end, or of the line: crlf's to judge.
        while bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        bytes
    }
}
