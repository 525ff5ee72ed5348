//! One polite conversation before any verdict: what does this server speak?

use std::time::Duration;

use anyhow::{Result, bail};

use super::{Answer, Dialogue, Lines, Match, Template};
use crate::lab::client::Client;
use crate::lab::recording::{Payload, Recorder, escape};
use crate::lab::server::{Running, Target};

/// How long the server may take for its first word. One that is slower is judged by the probes.
const PATIENCE: Duration = Duration::from_secs(5);
/// After how long a silence it has said all that it had to say.
const PAUSE: Duration = Duration::from_millis(300);
/// The line that is sent to find out how lines are echoed.
const LINE: &[u8] = b"hello";

/// What the conversation has shown.
#[derive(Debug)]
pub struct Learned {
    /// The dialogue, completed by it.
    pub dialogue: Dialogue,
    /// What was seen, in sentences.
    pub says: Vec<String>,
    /// Why nothing was learned, if the server didn't answer. What that means is for the probes to judge.
    pub silence: Option<String>,
    /// That it speaks something else than was asked of it, and a sample of that.
    pub otherwise: Option<String>,
}

impl Learned {
    /// Nothing, since nothing had to be asked.
    pub fn nothing(dialogue: Dialogue) -> Self {
        Learned { dialogue, says: Vec::new(), silence: None, otherwise: None }
    }
}

/// Completes a dialogue by what a polite client sees of the server.
///
/// What was claimed stays as it is. `answer_is_known` is false where the server's own first answers are to be taken for
/// the right ones.
///
/// # Errors
/// A sentence that says why the server could not be started or reached, or that its answers differ from each other.
pub fn learn(target: &Target, dialogue: Dialogue, answer_is_known: bool) -> Result<Learned> {
    if dialogue.lines.is_some() {
        return if dialogue.claimed { reach(target, dialogue) } else { learn_lines(target, dialogue) };
    }
    learn_exchange(target, dialogue, answer_is_known)
}

/// Only makes sure that a command starts a server. One that is running already may be up for one conversation only.
fn reach(target: &Target, dialogue: Dialogue) -> Result<Learned> {
    if let Target::Command(_) = target {
        Conversation::begin(target)?;
    }
    Ok(Learned::nothing(dialogue))
}

/// A server, and a client of it.
struct Conversation {
    // The client first: it leaves before the server is ended.
    client: Client,
    server: Running,
}

impl Conversation {
    fn begin(target: &Target) -> Result<Self> {
        let mut server = target.start(&Recorder::new(), None)?;
        let client = server.connect("client 1")?;
        Ok(Conversation { client, server })
    }

    /// All that comes until a pause, and whether the connection ended then.
    fn hear(&mut self, patience: Duration) -> (Vec<u8>, bool) {
        self.client.take_until_pause(patience, PAUSE)
    }

    fn ask(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        self.client.send(bytes);
        self.hear(PATIENCE)
    }

    /// Why nothing came.
    fn silence(&mut self, sent: &[u8], ended: bool) -> String {
        let sent = escape(sent);
        if !ended {
            return format!("\"{sent}\" was not answered within {} s", PATIENCE.as_secs());
        }
        let ended = self.server.obituary().map(|obituary| format!(", and {obituary}")).unwrap_or_default();
        format!("\"{sent}\" was answered by the end of the connection{ended}")
    }
}

/// What the server says unasked.
fn learn_greeting(talk: &mut Conversation, dialogue: &mut Dialogue, says: &mut Vec<String>) {
    if dialogue.greeting.is_some() {
        return;
    }
    let (greeting, _) = talk.hear(PAUSE);
    if !greeting.is_empty() {
        says.push(format!("it greets with {}", Payload::new(&greeting)));
        dialogue.greeting = Some(Template::exact(&greeting));
    }
}

fn learn_lines(target: &Target, mut dialogue: Dialogue) -> Result<Learned> {
    let mut says = Vec::new();
    for ends in [&b"\n"[..], b"\r\n"] {
        let mut talk = Conversation::begin(target)?;
        learn_greeting(&mut talk, &mut dialogue, &mut says);
        let sent = [LINE, ends].concat();
        let (answer, ended) = talk.ask(&sent);
        if answer.is_empty() {
            let silence = talk.silence(&sent, ended);
            // A server that has ended wants no other end of line.
            if ends == b"\n" && !ended {
                continue;
            }
            return Ok(Learned { silence: Some(silence), ..Learned::nothing(dialogue) });
        }
        let Some(mut lines) = spelling(&answer, ends) else {
            let otherwise = format!("\"{}\" was answered by {}", escape(&sent), Payload::new(&answer));
            return Ok(Learned { says, otherwise: Some(otherwise), ..Learned::nothing(dialogue) });
        };
        if ends == b"\r\n" {
            says.push("it answers a line that ends with \\r\\n, and none that ends with \\n alone".into());
        }
        if lines != Lines::of_the_course() {
            says.push(format!(
                "it answers \"{}\" by {}, which is taken for its echo",
                escape(&sent),
                Payload::new(&answer)
            ));
        }
        let one_request = ended || !stays(&mut talk, &sent);
        drop(talk);
        if lines.prefix.is_empty() && echoes_bytes(target, &dialogue)? {
            says.push("it gives back bytes before their line is whole, so lines mean nothing to it".into());
            lines.bytewise = true;
        }
        if one_request {
            says.push("it ends the connection after one answer".into());
        }
        let greeting = dialogue.greeting.take();
        let dialogue = Dialogue { greeting, one_request, ..Dialogue::lines(lines) };
        return Ok(Learned { says, ..Learned::nothing(dialogue) });
    }
    let silence =
        format!("\"{0}\\n\" was not answered within {1} s, nor was \"{0}\\r\\n\"", escape(LINE), PATIENCE.as_secs());
    Ok(Learned { says, silence: Some(silence), ..Learned::nothing(dialogue) })
}

/// How the line was echoed, if it was.
fn spelling(answer: &[u8], ends: &'static [u8]) -> Option<Lines> {
    let (text, answer_ends) = match answer {
        [text @ .., b'\r', b'\n'] => (text, &b"\r\n"[..]),
        [text @ .., b'\n'] => (text, &b"\n"[..]),
        _ => return None,
    };
    let prefix = text.strip_suffix(LINE)?;
    (!prefix.contains(&b'\n')).then(|| Lines { prefix: prefix.to_vec(), ends, answer_ends, bytewise: false })
}

/// Whether the same is answered once more on the same connection.
fn stays(talk: &mut Conversation, sent: &[u8]) -> bool {
    let (answer, _) = talk.ask(sent);
    !answer.is_empty()
}

/// Whether half a line comes back as it is.
fn echoes_bytes(target: &Target, dialogue: &Dialogue) -> Result<bool> {
    let mut talk = Conversation::begin(target)?;
    if dialogue.greeting.is_some() {
        talk.hear(PATIENCE);
    }
    talk.client.send(LINE);
    let (echo, _) = talk.hear(PAUSE);
    Ok(echo == LINE)
}

fn learn_exchange(target: &Target, mut dialogue: Dialogue, answer_is_known: bool) -> Result<Learned> {
    let mut says = Vec::new();
    let mut answers: Vec<Vec<u8>> = Vec::new();
    for round in 0..3 {
        let mut talk = Conversation::begin(target)?;
        learn_greeting(&mut talk, &mut dialogue, &mut says);
        if let Some(greeting) = dialogue.greeting.clone() {
            // Learned in the first round, it has been heard in that one.
            if round > 0 {
                let (heard, _) = talk.hear(PATIENCE);
                if !matches!(greeting.check(b"", &heard), Match::Whole(_)) {
                    dialogue.greeting = Some(common(&greeting, &heard)?);
                }
            }
        }
        for step in dialogue.setup.clone() {
            talk.ask(&step.fill(format!("{round}").as_bytes()).bytes);
        }
        let request = dialogue.exchange.fill(format!("{round}").as_bytes());
        let (answer, ended) = talk.ask(&request.bytes);
        if answer.is_empty() {
            let silence = talk.silence(&request.bytes, ended);
            return Ok(Learned { says, silence: Some(silence), ..Learned::nothing(dialogue) });
        }
        if answer_is_known && !matches!(request.check(&answer), Match::Whole(_)) {
            let sent = escape(&request.bytes);
            let otherwise = format!("\"{sent}\" was answered by {}", Payload::new(&answer));
            return Ok(Learned { says, otherwise: Some(otherwise), ..Learned::nothing(dialogue) });
        }
        if round == 0 {
            dialogue.one_request =
                dialogue.one_request || ended || request.is_last(&answer) || !stays(&mut talk, &request.bytes);
        }
        if round == 1 && !dialogue.one_request {
            let (both, _) = talk.ask(&request.bytes.repeat(2));
            let first = if answer_is_known { whole(&request, &both) } else { Some(answer.len()) };
            let second = first.and_then(|first| both.get(first..)).unwrap_or_default();
            dialogue.joined = if answer_is_known { whole(&request, second).is_some() } else { second == answer };
        }
        answers.push(answer);
    }
    if !answer_is_known {
        let learned = expectation(&dialogue, &answers)?;
        says.push(format!("it answers \"{}\" by \"{learned}\", three times of three", dialogue.exchange.request));
        dialogue.exchange.answer = Answer::Bytes(learned);
    }
    says.push(match (dialogue.one_request, dialogue.joined) {
        (true, _) => "it ends the connection after one answer".into(),
        (false, true) => {
            "it keeps the connection open, and answers each of two requests that were sent together".into()
        }
        (false, false) => "it keeps the connection open, and doesn't answer two requests that are sent together".into(),
    });
    Ok(Learned { says, ..Learned::nothing(dialogue) })
}

/// How long the answer at the beginning of these bytes is.
fn whole(request: &super::Request, got: &[u8]) -> Option<usize> {
    match request.check(got) {
        Match::Whole(length) => Some(length),
        Match::Partial | Match::Wrong(_) => None,
    }
}

/// What is the same in two greetings: a beginning, and the end of the line.
fn common(greeting: &Template, other: &[u8]) -> Result<Template> {
    let first = greeting.fill(b"");
    let same = first.iter().zip(other).take_while(|(one, other)| one == other).count();
    if same == 0 || !other.ends_with(b"\n") {
        bail!(
            "it greets with {} and with {}: say what is right with --greeting",
            Payload::new(&first),
            Payload::new(other)
        );
    }
    Ok(Template::around_anything(&first[..same], b"\n"))
}

/// The answers, if they are the same but for the number that was asked with.
fn expectation(dialogue: &Dialogue, answers: &[Vec<u8>]) -> Result<Template> {
    let exact = Template::exact(&answers[0]);
    if answers.iter().all(|answer| *answer == answers[0]) {
        return Ok(exact);
    }
    if dialogue.exchange.request.is_numbered() {
        // The number 0 stood in the first, 1 in the second.
        for (at, _) in answers[0].iter().enumerate().filter(|(_, byte)| **byte == b'0') {
            let template = Template::around_number(&answers[0][..at], &answers[0][at + 1..]);
            let is_right = |(round, answer): (usize, &Vec<u8>)| template.fill(format!("{round}").as_bytes()) == *answer;
            if answers.iter().enumerate().all(is_right) {
                return Ok(template);
            }
        }
    }
    let differs = answers[0].iter().zip(&answers[1]).position(|(one, other)| one != other).unwrap_or(0);
    let hint = if answers[0].starts_with(b"HTTP/1.") { "--speaks http" } else { "--answer, with * for what differs" };
    bail!(
        "the same request was answered differently, from byte {} on: {} and {}. Say what is right with {hint}",
        differs + 1,
        Payload::new(&answers[0]),
        Payload::new(&answers[1])
    )
}
