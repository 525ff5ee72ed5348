//! One polite conversation before any verdict: what does this server speak?

use std::time::{Duration, Instant};

use anyhow::{Error, Result, anyhow, bail, ensure};

use super::{Answer, Dialogue, Exchange, Lines, Match, Request, Template};
use crate::lab::client::{Client, LONGEST_ANSWER, State};
use crate::lab::lack::Lack;
use crate::lab::recording::{Payload, Recorder, escape};
use crate::lab::server::{Running, Target};

/// How long the server may take for its first word. One that is slower is judged by the probes.
const PATIENCE: Duration = Duration::from_secs(5);
/// After how long a silence it has said all that it had to say.
const PAUSE: Duration = Duration::from_millis(300);
/// The lines that are sent to find out how lines are echoed. They differ in length, which may stand before the echo.
const LINE: &[u8] = b"hello";
const OTHER_LINE: &[u8] = b"and-how-are-you?";

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
    /// The status of the answer, if it is one of HTTP.
    pub status: Option<u16>,
}

impl Learned {
    /// Nothing, since nothing had to be asked.
    pub fn nothing(dialogue: Dialogue) -> Self {
        Learned { dialogue, says: Vec::new(), silence: None, otherwise: None, status: None }
    }
}

/// Completes a dialogue by what a polite client sees of the server.
///
/// What was claimed stays as it is, and nothing is asked that a claim makes needless: a server that is running already may
/// be up for one conversation only. `answer_is_known` is false where the server's own first answers are to be taken for the
/// right ones.
///
/// # Errors
/// A sentence that says why the server could not be started or reached, that its answers differ from each other or from
/// what was claimed, or that there is none where it was to be learned: all that follows would be held against nothing.
pub fn learn(target: &Target, dialogue: Dialogue, answer_is_known: bool) -> Result<Learned> {
    match &dialogue.lines {
        Some(_) if !dialogue.claimed => learn_lines(Learning::begin(target, dialogue)),
        // The presets that say all there is to know. That a command starts a server is made sure of.
        _ if answer_is_known && dialogue.joined => {
            if let Target::Command(_) = target {
                Conversation::begin(target)?;
            }
            Ok(Learned::nothing(dialogue))
        }
        _ => learn_exchange(Learning::begin(target, dialogue), answer_is_known),
    }
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
        let client = server.connect("client 1");
        if let Some(pid) = server.went_to_background() {
            bail!(
                "the command has ended with status 0, and process {pid} that it started listens on {} in the background. The probes \
                 send signals to what they start, so start it in the foreground: with an option such as -f, --foreground or \
                 --no-daemon, or a setting such as \"daemon off\"",
                server.addr()
            );
        }
        let client = client.map_err(|why| match (server.obituary(), target) {
            (Some(obituary), _) => anyhow!(obituary),
            (None, Target::Address(_)) if Lack::behind(&why).is_none() => {
                anyhow!("{why}. Start the server there, or write its command behind --")
            }
            _ => why,
        })?;
        Ok(Conversation { client, server })
    }

    /// Begins, and hears the greeting if there is one.
    fn begin_politely(target: &Target, dialogue: &Dialogue) -> Result<Self> {
        let mut talk = Self::begin(target)?;
        if dialogue.greeting.is_some() {
            talk.hear(PATIENCE);
        }
        Ok(talk)
    }

    /// All that comes until a pause, and whether the connection ended then. A server that is slow to begin may be slow to
    /// go on, so the pause is as long as it took to begin, up to two seconds.
    fn hear(&mut self, patience: Duration) -> (Vec<u8>, bool) {
        let began = Instant::now();
        let (mut heard, mut ended) = self.client.take_until_pause(patience, PAUSE);
        let pause = began.elapsed().saturating_sub(PAUSE).min(Duration::from_secs(2));
        if !heard.is_empty() && !ended && pause > PAUSE {
            let (rest, then_ended) = self.client.take_until_pause(pause, pause);
            heard.extend(rest);
            ended = then_ended;
        }
        (heard, ended)
    }

    /// Sends bytes, and hears the answer to the end of what is claimed, as `hear_all` does.
    fn ask(&mut self, bytes: &[u8], check: impl Fn(&[u8]) -> Match) -> (Vec<u8>, bool, bool) {
        self.client.send(bytes);
        let heard = self.hear(PATIENCE);
        self.hear_all(heard, check)
    }

    /// Says what has to be said first. That one of these isn't answered is for the probes to judge.
    ///
    /// # Errors
    /// A sentence, if one is answered otherwise than was claimed.
    fn set_up(&mut self, steps: &[Exchange], number: &[u8]) -> Result<()> {
        for step in steps {
            let request = step.fill(number);
            let (answer, _, is_right) = self.ask(&request.bytes, |got| request.check(got));
            if !is_right && !answer.is_empty() {
                return Err(broken(&request, &answer));
            }
        }
        Ok(())
    }

    /// Sends a line, and hears the answer to the end of its line, since it may be a slow one.
    fn ask_line(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let is_whole = |got: &[u8]| if got.ends_with(b"\n") { Match::Whole(got.len()) } else { Match::Partial };
        let (answer, ended, _) = self.ask(bytes, is_whole);
        (answer, ended)
    }

    /// Hears what has begun to the end of what is claimed to come. Gives it, whether the connection ended then, and
    /// whether it is what was claimed.
    fn hear_all(
        &mut self,
        (mut heard, mut ended): (Vec<u8>, bool),
        check: impl Fn(&[u8]) -> Match,
    ) -> (Vec<u8>, bool, bool) {
        let began = Instant::now();
        let goes_on = |heard: &[u8]| {
            let is_open = matches!(check(heard), Match::Partial | Match::UntilEnd);
            is_open && !heard.is_empty() && heard.len() <= LONGEST_ANSWER
        };
        while goes_on(&heard) && !ended && began.elapsed() < 4 * PATIENCE {
            let (rest, then_ended) = self.hear(PATIENCE);
            ended = then_ended;
            if rest.is_empty() && !ended {
                break;
            }
            heard.extend(rest);
        }
        let is_right = match check(&heard) {
            Match::Whole(_) => true,
            Match::UntilEnd => ended,
            Match::Partial | Match::Wrong(_) => false,
        };
        (heard, ended, is_right)
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

/// What has been learned so far.
struct Learning<'a> {
    target: &'a Target,
    dialogue: Dialogue,
    says: Vec<String>,
    claimed_greeting: Option<Template>,
    /// Whether the greeting is claimed, or was asked for. It is asked for once.
    knows_greeting: bool,
}

impl<'a> Learning<'a> {
    fn begin(target: &'a Target, dialogue: Dialogue) -> Self {
        let claimed_greeting = dialogue.greeting.clone();
        Learning { target, dialogue, says: Vec::new(), knows_greeting: claimed_greeting.is_some(), claimed_greeting }
    }

    /// Begins a conversation, and hears the greeting if there is one.
    ///
    /// # Errors
    /// A sentence, if it is another one than was claimed, or can't be learned. That none comes is for the probes to judge.
    fn talk(&mut self) -> Result<(Conversation, Vec<u8>)> {
        let mut talk = Conversation::begin(self.target)?;
        // A server that greets does so before it is asked, as a rule at once.
        let (greeting, _) = talk.hear(if self.dialogue.greeting.is_some() { PATIENCE } else { PAUSE });
        if flood(&greeting).is_some() {
            return Ok((talk, greeting));
        }
        if !greeting.is_empty() && !self.knows_greeting {
            drop(talk);
            self.learn_greeting()?;
            return self.talk();
        }
        if let Some(claim) = &self.claimed_greeting {
            let (greeting, _, is_right) = talk.hear_all((greeting.clone(), false), |got| claim.check(b"", got));
            ensure!(
                is_right || greeting.is_empty(),
                "you say that it greets with \"{claim}\", and it greeted with {}. Correct that, or the server",
                Payload::new(&greeting)
            );
        }
        Ok((talk, greeting))
    }

    /// Learns what the server says unasked, and whether it does. It is heard twice, since it may differ.
    ///
    /// # Errors
    /// A sentence, if the two have nothing in common.
    fn learn_greeting(&mut self) -> Result<bool> {
        self.knows_greeting = true;
        let (first, _) = Conversation::begin(self.target)?.hear(PATIENCE);
        if first.is_empty() {
            return Ok(false);
        }
        let (second, _) = Conversation::begin(self.target)?.hear(PATIENCE);
        let greeting = if second == first { Template::exact(&first) } else { common(&first, &second)? };
        self.says.push(format!("it greets with \"{greeting}\""));
        self.dialogue.greeting = Some(greeting);
        Ok(true)
    }

    /// What is told where nothing was learned for this reason.
    fn silent(self, silence: String) -> Learned {
        Learned { says: self.says, silence: Some(silence), ..Learned::nothing(self.dialogue) }
    }
}

/// What is to be said of a greeting that doesn't end.
fn flood(greeting: &[u8]) -> Option<String> {
    let is_flood = greeting.len() > LONGEST_ANSWER;
    is_flood.then(|| format!("it sends without end, and unasked: {}", Payload::new(greeting)))
}

/// What is to be said of an answer of which more comes than is kept.
fn too_long(request: &[u8], answer: &[u8]) -> Option<String> {
    let is_too_long = answer.len() > LONGEST_ANSWER;
    let sent = escape(request);
    is_too_long.then(|| format!("the answer to \"{sent}\" is longer than {} MiB", LONGEST_ANSWER >> 20))
}

fn learn_lines(mut learning: Learning<'_>) -> Result<Learned> {
    let mut ends: &'static [u8] = b"\n";
    loop {
        let (mut talk, greeting) = learning.talk()?;
        if let Some(flood) = flood(&greeting) {
            return Ok(learning.silent(flood));
        }
        let is_gone = talk.client.state() == State::Ended;
        let sent = [LINE, ends].concat();
        let (answer, ended) = talk.ask_line(&sent);
        if answer.is_empty() {
            if ended {
                let silence = talk.silence(&sent, ended);
                // One that falls, or ends the connection before it is asked anything, answers nobody.
                if greeting.is_empty() && (is_gone || talk.server.obituary().is_some()) {
                    return Ok(learning.silent(silence));
                }
                // Any other wants something else.
                let says = if greeting.is_empty() {
                    String::new()
                } else {
                    format!("it says {}, and ", Payload::new(&greeting))
                };
                return Ok(Learned { otherwise: Some(says + &silence), ..Learned::nothing(learning.dialogue) });
            }
            if ends == b"\n" {
                ends = b"\r\n";
                continue;
            }
            return Ok(learning.silent(format!(
                "neither \"{0}\\n\" nor \"{0}\\r\\n\" was answered within {1} s",
                escape(LINE),
                PATIENCE.as_secs()
            )));
        }
        if let Some(too_long) = too_long(&sent, &answer) {
            return Ok(learning.silent(too_long));
        }
        let Some(lines) = spelling(&answer, LINE, ends) else {
            drop(talk);
            // What stands before the echo may be a greeting that came late.
            let has_echo = answer.windows(LINE.len()).any(|part| part == LINE);
            if !learning.knows_greeting && has_echo && learning.learn_greeting()? {
                continue;
            }
            let otherwise = format!("\"{}\" was answered by {}", escape(&sent), Payload::new(&answer));
            let Learning { says, dialogue, .. } = learning;
            return Ok(Learned { says, otherwise: Some(otherwise), ..Learned::nothing(dialogue) });
        };
        let (second, over) = if ended { (Vec::new(), true) } else { talk.ask_line(&[OTHER_LINE, ends].concat()) };
        drop(talk);
        return learn_echo(learning, lines, &answer, (&second, over));
    }
}

/// Completes the dialogue with a server that has echoed a line like this, and then perhaps a second one. `over` is whether the
/// connection has ended by then.
fn learn_echo(
    learning: Learning<'_>,
    mut lines: Lines,
    first: &[u8],
    (second, over): (&[u8], bool),
) -> Result<Learned> {
    let Learning { target, dialogue, mut says, .. } = learning;
    if lines.ends == b"\r\n" {
        says.push("it answers a line that ends with \\r\\n, and none that ends with \\n alone".into());
    }
    if lines != Lines::of_the_course() {
        let sent = escape(&[LINE, lines.ends].concat());
        says.push(format!("it answers \"{sent}\" by {}, which is taken for its echo", Payload::new(first)));
    }
    if lines.prefix.is_empty() && echoes_bytes(target, &dialogue)? {
        says.push("it gives back bytes before their line is whole, so lines mean nothing to it".into());
        lines.bytewise = true;
    }
    let one_request = second.is_empty() && over;
    says.extend(second.is_empty().then(|| after_one_answer(over)));
    let learned = if changes(target, &dialogue, &lines, second)? {
        after_anything(&lines, &mut says)?
    } else {
        Dialogue::lines(lines)
    };
    let Dialogue { exchange, lines, joined, .. } = learned;
    let dialogue = Dialogue { one_request, joined, lines, ..dialogue }.answered_by(exchange);
    Ok(Learned { says, ..Learned::nothing(dialogue) })
}

/// What is to be said of a server that answers once on each connection.
fn after_one_answer(ends: bool) -> String {
    if ends {
        "it ends the connection after one answer"
    } else {
        "it leaves a second request on a connection unanswered"
    }
    .into()
}

/// How the line was echoed, if it was.
fn spelling(answer: &[u8], line: &[u8], ends: &'static [u8]) -> Option<Lines> {
    let (text, answer_ends) = match answer {
        [text @ .., b'\r', b'\n'] => (text, &b"\r\n"[..]),
        [text @ .., b'\n'] => (text, &b"\n"[..]),
        _ => return None,
    };
    let prefix = text.strip_suffix(line)?;
    (!prefix.contains(&b'\n')).then(|| Lines { prefix: prefix.to_vec(), ends, answer_ends, bytewise: false })
}

/// Whether something else may stand before the next echo: it did before the second, or does for another client, or there is
/// a number in it, as in a time.
fn changes(target: &Target, dialogue: &Dialogue, lines: &Lines, second: &[u8]) -> Result<bool> {
    let Lines { prefix, ends, .. } = lines;
    if prefix.is_empty() || *prefix == Lines::of_the_course().prefix {
        return Ok(false);
    }
    let is_another = |answer: &[u8]| spelling(answer, OTHER_LINE, ends).is_some_and(|lines| lines.prefix != *prefix);
    if prefix.iter().any(u8::is_ascii_digit) || is_another(second) {
        return Ok(true);
    }
    let mut talk = Conversation::begin_politely(target, dialogue)?;
    Ok(is_another(&talk.ask_line(&[OTHER_LINE, ends].concat()).0))
}

/// The echo of a line after anything.
fn after_anything(lines: &Lines, says: &mut Vec<String>) -> Result<Dialogue> {
    let answer = Template::answer(&format!("*hello {{n}}{}", escape(lines.answer_ends)))?;
    let request = Template::around_number(b"hello ", lines.ends);
    says.push(format!(
        "what stands before the echo changes, or has a number that may. So anything may stand there, as with --ask '{request}' \
         --answer '{answer}', and what needs whole lines is skipped"
    ));
    Ok(Dialogue { joined: true, ..Dialogue::of(Exchange { request, answer: Answer::Bytes(answer) }) })
}

/// Whether half a line comes back as it is.
fn echoes_bytes(target: &Target, dialogue: &Dialogue) -> Result<bool> {
    let mut talk = Conversation::begin_politely(target, dialogue)?;
    talk.client.send(LINE);
    let (echo, _) = talk.hear(Duration::from_secs(1));
    Ok(echo == LINE)
}

fn learn_exchange(mut learning: Learning<'_>, answer_is_known: bool) -> Result<Learned> {
    let mut status = None;
    let mut answers: Vec<Vec<u8>> = Vec::new();
    let mut leaves_second = false;
    let rounds = if answer_is_known { 1 } else { 3 };
    while answers.len() < rounds {
        let round = answers.len();
        let (mut talk, greeting) = learning.talk()?;
        if let Some(flood) = flood(&greeting) {
            ensure!(answer_is_known, "{flood}, so there is nothing to judge it by");
            return Ok(learning.silent(flood));
        }
        let number = round.to_string();
        talk.set_up(&learning.dialogue.setup, number.as_bytes())?;
        let request = learning.dialogue.exchange.fill(number.as_bytes());
        let check = |got: &[u8]| if answer_is_known { request.check(got) } else { Match::Whole(got.len()) };
        let (answer, ended, is_right) = talk.ask(&request.bytes, check);
        if let Some(too_long) = too_long(&request.bytes, &answer) {
            bail!(
                "{too_long}, which is more than is kept of one client. Name a request with a shorter answer: \
                 --ask, or --path for HTTP"
            );
        }
        if answer.is_empty() {
            let silence = talk.silence(&request.bytes, ended);
            ensure!(answer_is_known, "{silence}, so there is nothing to judge it by. {}", missing_end(&request.bytes));
            return Ok(learning.silent(silence));
        }
        let is_last = learning.dialogue.one_request || ended || (is_right && request.is_last(&answer));
        let (second, over, as_claimed) =
            if is_last { (Vec::new(), true, true) } else { talk.ask(&request.bytes, check) };
        // What the first answer has more than the second may be a greeting that came late.
        let more = answer.strip_suffix(&second[..]).filter(|more| !more.is_empty() && !second.is_empty());
        if !learning.knows_greeting && (more.is_some() || !is_right) && learning.learn_greeting()? {
            continue;
        }
        let dialogue = &mut learning.dialogue;
        if let Some(more) = more.filter(|_| dialogue.greeting.is_none()) {
            bail!(
                "{} came together with the first answer on a connection, and not with the second. If it is a greeting, the \
                 server doesn't send it before it is asked, so that no client can wait for it",
                Payload::new(more)
            );
        }
        if !is_right {
            return Err(broken(&request, &answer));
        }
        if let (true, Match::Whole(length)) = (answer_is_known, request.check(&answer)) {
            let more = Payload::new(&answer[length..]);
            ensure!(
                length == answer.len(),
                "\"{}\" was answered as you say, and behind that came {more}. Say what its whole answer is, or mend the server",
                escape(&request.bytes)
            );
        }
        if !as_claimed && !second.is_empty() {
            return Err(broken(&request, &second).context("the second time on a connection"));
        }
        let statuses = [&answer, &second].map(|answer| request.status(answer));
        if let [Some(first), Some(then)] = statuses {
            ensure!(
                first == then,
                "\"{}\" was answered with status {first}, and the second time on a connection with status {then}. Correct that in \
                 the server, or name a request that can be repeated",
                escape(&request.bytes)
            );
        }
        if !answer_is_known && !second.is_empty() && second != answer {
            return Err(differing(&answer, &second));
        }
        if round == 0 {
            status = request.status(&answer);
            dialogue.one_request = second.is_empty() && over;
            leaves_second = second.is_empty() && !over;
            dialogue.joined = !second.is_empty() && is_joined(&mut talk, &request, &answer, answer_is_known);
        }
        answers.push(answer);
    }
    let Learning { mut dialogue, mut says, .. } = learning;
    if !answer_is_known {
        let learned = expectation(&dialogue, &answers)?;
        says.push(format!("it answers \"{}\" by \"{learned}\", three times of three", dialogue.exchange.request));
        let exchange = Exchange { answer: Answer::Bytes(learned), ..dialogue.exchange.clone() };
        dialogue = dialogue.answered_by(exchange);
    }
    says.extend(status.map(|status| format!("it answers with status {status}")));
    says.push(match (dialogue.one_request, dialogue.joined) {
        (true, _) => after_one_answer(true),
        _ if leaves_second => after_one_answer(false),
        (false, true) => {
            "it keeps the connection open, and answers each of two requests that were sent together".into()
        }
        (false, false) => "it keeps the connection open, and doesn't answer two requests that are sent together".into(),
    });
    Ok(Learned { says, status, ..Learned::nothing(dialogue) })
}

/// For a server that doesn't answer as was claimed.
fn broken(request: &Request, answer: &[u8]) -> Error {
    anyhow!(
        "you say that \"{}\" is answered by \"{}\", and it was answered by {}. Correct that, or the server",
        escape(&request.bytes),
        escape(&request.expected()),
        Payload::new(answer)
    )
}

/// What to do about a request that nothing answers.
fn missing_end(request: &[u8]) -> String {
    let otherwise = "If its answer takes longer, say what it is with --answer";
    if request.ends_with(b"\n") {
        return otherwise.into();
    }
    format!("Does it lack its end, as in '{}\\r\\n'? {otherwise}", escape(request))
}

/// Whether each of two requests is answered that are sent together.
fn is_joined(talk: &mut Conversation, request: &Request, answer: &[u8], answer_is_known: bool) -> bool {
    let both = request.bytes.repeat(2);
    if !answer_is_known {
        return talk.ask(&both, |got| Match::Whole(got.len())).0 == answer.repeat(2);
    }
    let (.., is_right) = talk.ask(&both, |got| match request.check(got) {
        Match::Whole(first) => request.check(&got[first..]),
        one => one,
    });
    is_right
}

/// What is the same in two greetings: a beginning, and the end of the line.
fn common(one: &[u8], other: &[u8]) -> Result<Template> {
    let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    // A number may begin with the same digits by chance.
    let same = one[..same].iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1);
    let ends = if one.ends_with(b"\r\n") { &b"\r\n"[..] } else { b"\n" };
    // Of one line, since a `*` ends where the line does.
    let is_line =
        |text: &[u8]| text.ends_with(ends) && !text[same.min(text.len() - 1)..text.len() - 1].contains(&b'\n');
    if same == 0 || !is_line(one) || !is_line(other) {
        bail!(
            "it greets with {} and with {}: say what is right with --greeting",
            Payload::new(one),
            Payload::new(other)
        );
    }
    // The word that differs is left out, and numbers before it: of a time, most digits are the same twice.
    let words: Vec<&[u8]> = one[..same].split_inclusive(|&byte| byte == b' ').collect();
    let whole = words.iter().rposition(|word| word.ends_with(b" ")).map_or(0, |last| last + 1);
    let has_number = |word: &&[u8]| word.iter().any(u8::is_ascii_digit);
    let kept = words[..whole].iter().rposition(|word| !has_number(word)).map_or(whole.min(1), |last| last + 1);
    let beginning = if kept == 0 { one[..same].to_vec() } else { words[..kept].concat() };
    Ok(Template::around_anything(&beginning, ends))
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
    Err(differing(&answers[0], &answers[1]))
}

/// For a server whose answers can't be learned.
fn differing(one: &[u8], other: &[u8]) -> Error {
    let differs = one.iter().zip(other).position(|(one, other)| one != other).unwrap_or(0);
    let hint = if one.starts_with(b"HTTP/1.") { "--speaks http" } else { "--answer, with * for what differs" };
    anyhow!(
        "the same request was answered differently, from byte {} on: {} and {}. Say what is right with {hint}",
        differs + 1,
        Payload::new(one),
        Payload::new(other)
    )
}
