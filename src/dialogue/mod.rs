//! What is said to a server, and what a right answer is. Echoed lines are the default.

mod http;
mod learn;
mod template;

pub use self::http::HttpAnswer;
pub use self::learn::{Learned, learn};
pub use self::template::Template;
pub use crate::lab::client::Match;

/// A protocol of requests and answers, as far as the probes need to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialogue {
    /// What the server says before it is asked anything.
    pub greeting: Option<Template>,
    /// What has to be said first on each connection, a request and its answer at a time.
    pub setup: Vec<Exchange>,
    /// A request and its answer.
    pub exchange: Exchange,
    /// A request whose answer takes the server a second or more, if it has such a one.
    pub slow: Option<Exchange>,
    /// A request that never ends, if there is one: its beginning, and what is then sent again and again.
    pub endless: Option<(Vec<u8>, Vec<u8>)>,
    /// After how many bytes half a request ends. Without it, half of its bytes.
    pub split: Option<usize>,
    /// Whether the connection is over after one answer.
    pub one_request: bool,
    /// Whether requests that are sent together are each answered.
    pub joined: bool,
    /// If this is the echo of lines: how it is spelled.
    pub lines: Option<Lines>,
    /// Whether the user says that the server speaks it, so that a difference is a fault.
    pub claimed: bool,
}

/// A request, and what a right answer to it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The request.
    pub request: Template,
    /// The answer.
    pub answer: Answer,
}

/// What a right answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These bytes.
    Bytes(Template),
    /// An HTTP response.
    Http(HttpAnswer),
}

/// How a server spells the echo of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// What stands before the line.
    pub prefix: Vec<u8>,
    /// How a line that is sent must end: `\n`, or `\r\n`.
    pub ends: &'static [u8],
    /// How an answer ends.
    pub answer_ends: &'static [u8],
    /// Whether bytes come back before their line is whole.
    pub bytewise: bool,
}

/// One request, with everything filled in.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// What is expected.
    answer: Answer,
    /// What `{n}` stands for in it.
    number: Vec<u8>,
}

impl Lines {
    /// The protocol of the course: a line that ends with `\n` is answered `echo: ` and the line.
    pub fn of_the_course() -> Self {
        Lines { prefix: b"echo: ".to_vec(), ends: b"\n", answer_ends: b"\n", bytewise: false }
    }
}

impl Dialogue {
    /// The echo of lines, spelled like this.
    pub fn lines(lines: Lines) -> Self {
        let exchange = Exchange {
            request: Template::around_number(b"", lines.ends),
            answer: Answer::Bytes(Template::around_number(&lines.prefix, lines.answer_ends)),
        };
        Dialogue { lines: Some(lines), joined: true, ..Self::of(exchange) }
    }

    /// Redis: `ECHO`, in its inline form.
    pub fn redis() -> Self {
        let request = Template::around_number(b"ECHO m", b"\r\n");
        let answer = Template::answer("$*\\r\\nm{n}\\r\\n").expect("it is well-formed");
        Dialogue { joined: true, ..Self::of(Exchange { request, answer: Answer::Bytes(answer) }) }
    }

    /// HTTP/1.1: `GET` of this path, and the status that is right, if it isn't any.
    pub fn http(path: &str, status: Option<u16>) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = Answer::Http(HttpAnswer { status });
        Self::of(Exchange { request: Template::exact(request.as_bytes()), answer })
    }

    /// A dialogue of this exchange, about which nothing else is known.
    pub fn of(exchange: Exchange) -> Self {
        Dialogue {
            greeting: None,
            setup: Vec::new(),
            exchange,
            slow: None,
            endless: None,
            split: None,
            one_request: false,
            joined: false,
            lines: None,
            claimed: false,
        }
    }

    /// The same with another exchange. A slow request that is answered as the other is goes on to be.
    fn answered_by(mut self, exchange: Exchange) -> Self {
        if let Some(slow) = self.slow.as_mut().filter(|slow| slow.answer == self.exchange.answer) {
            slow.answer = exchange.answer.clone();
        }
        Dialogue { exchange, ..self }
    }

    /// A request. A line is this text; other protocols may have no room for it and get the number instead.
    pub fn request(&self, text: &str, number: usize) -> Request {
        let filling = if self.lines.is_some() { text.to_owned() } else { number.to_string() };
        self.exchange.fill(filling.as_bytes())
    }

    /// The beginning of a request, which no server can take for a whole one.
    pub fn half<'r>(&self, request: &'r Request) -> &'r [u8] {
        let most = request.bytes.len().saturating_sub(1);
        &request.bytes[..self.split.unwrap_or(request.bytes.len() / 2).min(most)]
    }
}

impl Exchange {
    /// One request, `{n}` filled in.
    pub fn fill(&self, number: &[u8]) -> Request {
        Request { bytes: self.request.fill(number), answer: self.answer.clone(), number: number.to_vec() }
    }
}

impl Request {
    /// Holds what came against what was expected.
    pub fn check(&self, got: &[u8]) -> Match {
        match &self.answer {
            Answer::Bytes(template) => template.check(&self.number, got),
            Answer::Http(answer) => answer.check(got),
        }
    }

    /// Whether these bytes, all that came at once or until the end of the connection, are the right answer and nothing more.
    pub fn is_answered_by(&self, got: &[u8]) -> bool {
        matches!(self.check(got), Match::UntilEnd) || self.check(got) == Match::Whole(got.len())
    }

    /// The status of an answer of HTTP.
    pub fn status(&self, answer: &[u8]) -> Option<u16> {
        let is_http = matches!(self.answer, Answer::Http(_));
        http::parse(answer).ok().flatten().filter(|_| is_http).map(|parsed| parsed.status)
    }

    /// The right answer, as far as it can be written down.
    pub fn expected(&self) -> Vec<u8> {
        match &self.answer {
            Answer::Bytes(template) => template.fill(&self.number),
            Answer::Http(HttpAnswer { status: Some(status) }) => format!("HTTP/1.1 {status} …").into_bytes(),
            Answer::Http(HttpAnswer { status: None }) => "HTTP/1.1 …".into(),
        }
    }

    /// Whether the server announces with this answer that it ends the connection.
    pub fn is_last(&self, answer: &[u8]) -> bool {
        matches!(self.answer, Answer::Http(_))
            && http::parse(answer).is_ok_and(|parsed| parsed.is_some_and(|parsed| parsed.is_last))
    }
}
