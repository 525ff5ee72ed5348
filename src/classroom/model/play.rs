//! The player: it takes the steps of a conversation with a real server, and awaits what the model says is owed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::{Act, Due, Dues, Model, NOBODY, STAYS, Step, shrink};
use crate::classroom::full_hands::{FULL, FullHands};
use crate::classroom::kit::{Lateness, beside_control_server, not_judged};
use crate::lab::client::{Client, Match, Reply, State};
use crate::lab::kernel;
use crate::lab::load;
use crate::lab::recording::{Payload, Recorder, escape};
use crate::lab::server::{LIMIT, Running};
use crate::lab::wait::{wait_for, wait_until};
use crate::probes::{Difference, Explained, Judged, Otherwise, Trial, falls, require_no_wrapper};

/// How many descriptors the server has: plenty for those who are there, also if each has one to read and others to write,
/// and too few for one that keeps those of the gone.
pub(super) const DESCRIPTORS: Option<usize> = if cfg!(unix) { Some(128) } else { None };

/// How often a conversation of the table is played for which this machine was too slow.
const ATTEMPTS: usize = 4;

/// How long random conversations go on, not counting how long servers need to start.
const PLAYING: Duration = Duration::from_secs(3);

/// How many there are at least, even if it takes longer, and how long that may be.
const LEAST: usize = 12;
const AT_MOST: Duration = Duration::from_secs(25);

/// How long what is owed may take: the tasks say "at once", which is a second, and here half of one more.
pub(super) const PATIENCE: Duration = Duration::from_millis(1500);

/// How long it may take when that is played again, and the student is shown what stays away.
pub(super) const LAST_PATIENCE: Duration = Duration::from_secs(6);

/// The same after a pause, with which the time is over that the task gives.
const AFTER_A_PAUSE: Duration = Duration::from_millis(1200);

/// How long "a moment later" is at most, and a little more.
const A_MOMENT: Duration = Duration::from_millis(1200);

/// How long a client goes on sending that doesn't look at its answer.
const GOING_ON: Duration = Duration::from_millis(900);

/// What it sends, again and again: so much that nobody can keep it.
const MORE: &[u8] = &[b'x'; 4096];

/// When a client may be cut off at the earliest that was refused and goes on sending.
const CUT_OFF: Duration = Duration::from_secs(1);

/// How long a client goes on that insists: three seconds, which the task gives the server, and a little more.
const INSISTING: Duration = Duration::from_millis(3500);

/// Between two pieces, so that a server meets them with two reads. If they meet on the way, a faulty server may pass.
const GAP: Duration = Duration::from_millis(4);

/// How long bytes may be on their way on a busy machine. Who knows when they have been acknowledged doesn't wait for it.
const ARRIVING: Duration = Duration::from_millis(20);

/// How long the server may take to read the first of them, where that can be seen.
const READING: Duration = Duration::from_millis(200);

/// How long the server may take until it has read all that was sent, and waits for more.
const DONE: Duration = Duration::from_millis(600);

/// How long what is owed may take while a conversation is made shorter. It is judged only when the result is played at last.
const HASTE: Duration = Duration::from_millis(400);

/// How long is spent on making it shorter.
const SHRINKING: Duration = Duration::from_millis(2500);

/// Plays the conversations of a model with servers, and shows the first difference.
pub(in crate::classroom) fn conversations<M: Model>(trial: &Trial<'_>) -> Judged {
    let found = AtomicBool::new(false);
    let found = &found;
    let (announces, quick, slow) = thread::scope(|scope| {
        let announces = scope.spawn(|| announces(trial));
        let play = |steps: Vec<Step>| scope.spawn(move || once::<M>(trial, &steps, found));
        let slow: Vec<_> = M::slow().into_iter().map(play).collect();
        let quick = many::<M>(trial, found);
        let slow: Vec<_> = slow.into_iter().filter_map(|played| played.join().ok()).collect();
        (announces.join().unwrap_or(Ok(())), quick, slow)
    });
    let played = [quick].into_iter().chain(slow).collect::<Judged<Vec<Played>>>()?;
    announces?;
    let sum = |of: fn(&Played) -> usize| played.iter().map(of).sum::<usize>();
    let (right, random, unjudged) =
        (sum(|played| played.right), sum(|played| played.random), sum(|played| played.unjudged));
    let (right, seed) = (right + random, trial.terms.seed.unwrap_or(1));
    let evidence = format!("{right} conversations, {random} of them random with seed {seed}, went as the task says");
    // Those by dice that are void are made up for by others.
    let unjudged = unjudged + LEAST.saturating_sub(random);
    if unjudged == 0 {
        return Ok(evidence.into());
    }
    let why = if load::overload().is_some() {
        load::too_busy()
    } else {
        "this server takes its time for each, and there was none left".into()
    };
    let evidence = format!("{evidence}; {unjudged} more could not be judged: {why}");
    // The points are for what was seen to be right.
    Err(if right > unjudged { Otherwise::note(evidence) } else { Otherwise::skipped(evidence) })
}

/// Expects the line that tells where it listens, from a server that has let somebody in. Whoever started it waits for that.
fn announces(trial: &Trial<'_>) -> Judged<()> {
    let recorder = trial.recorder.aside();
    let mut server = trial.target.start(&recorder, None).map_err(|why| Otherwise::skipped(format!("{why:#}")))?;
    // That nobody can connect is said by all else.
    let Ok(_client) = server.connect("client 1") else { return Ok(()) };
    let Some(process) = server.process() else { return Ok(()) };
    let is_there =
        |text: &str| text.split_inclusive('\n').any(|line| line.starts_with("listening on ") && line.ends_with('\n'));
    let patience = LIMIT.max(trial.terms.limit);
    if process.waits_until(patience, |process| is_there(&process.printed()).then_some(())).is_some() {
        return Ok(());
    }
    let printed = Payload::new(process.printed().as_bytes());
    trial.recorder.adopt(&recorder);
    falls!(
        "client 1 was let in, and {} s later the line \"listening on ADDR\" was not on standard output, which had \
         {printed}. Is it held back in a buffer?",
        patience.as_secs()
    )
}

/// How many conversations went as the task says, those by dice apart, and how many others could not be judged.
#[derive(Default)]
struct Played {
    right: usize,
    random: usize,
    unjudged: usize,
}

impl Played {
    const RIGHT: Played = Played { right: 1, random: 0, unjudged: 0 };
    const UNJUDGED: Played = Played { right: 0, random: 0, unjudged: 1 };
}

/// Plays one conversation, which is all of a check, and shows the first difference.
pub(in crate::classroom) fn plays<M: Model>(trial: &Trial<'_>, steps: &[Step], evidence: &str) -> Judged {
    for _ in 0..ATTEMPTS {
        let attempt = || -> Judged<_> {
            let mut player = Player::<M>::new(trial, trial.recorder, trial.terms.limit)?;
            let outcome = player.play(steps);
            Ok((outcome, player.server))
        };
        let (control, attempt) = beside_control_server(trial, attempt)?;
        match attempt? {
            (Ok(()), _) => return Ok(evidence.into()),
            (Err(Stop::Differs(first)), mut server) if !first.is_explained_by(control) => {
                return Err(first.falls("")).with_obituary(&mut server);
            }
            (Err(_), _) => {
                trial.recorder.note("check", "was held up by this machine; once more from the beginning");
            }
        }
    }
    Err(not_judged("what came was right, and not all of it in time"))
}

/// One conversation that takes long. Nothing is left out of it: each attempt would take as long.
fn once<M: Model>(trial: &Trial<'_>, steps: &[Step], found: &AtomicBool) -> Judged<Played> {
    const WHICH: &str = "in a conversation of some seconds";
    let recorder = trial.recorder.aside();
    let mut player = Player::<M>::new(trial, &recorder, PATIENCE)?;
    let outcome = player.play(steps);
    // What it has written until now belongs to the story.
    drop(player);
    match outcome {
        // One difference is enough to be shown, and those of the others are quicker to show.
        Err(Stop::Differs(first)) if !found.swap(true, SeqCst) => {
            if first.late_by.is_some() {
                return show::<M>(trial, WHICH, &[steps], &first);
            }
            trial.recorder.adopt(&recorder);
            Err(first.finding(WHICH, ""))
        }
        Ok(()) => Ok(Played::RIGHT),
        Err(_) => Ok(Played::UNJUDGED),
    }
}

/// The conversations of the table, and then random ones while there is time.
fn many<M: Model>(trial: &Trial<'_>, found: &AtomicBool) -> Judged<Played> {
    let began = Instant::now();
    let mut starting = Duration::ZERO;
    let tables = M::table();
    let (mut player, mut number, mut attempt) = (None::<Player<M>>, 0, 1);
    let mut all = Played::default();
    loop {
        let random = number >= tables.len();
        let enough = match () {
            () if began.elapsed() >= AT_MOST => true,
            () if random => began.elapsed() >= starting + PLAYING && all.random >= LEAST,
            // A server that is right, but slow, may not come to the end of the table.
            () => began.elapsed() >= starting + 3 * PLAYING,
        };
        if enough {
            all.unjudged += tables.len().saturating_sub(number);
            player.map_or(Ok(()), Player::expect_nothing_kept)?;
            return Ok(all);
        }
        let steps = match tables.get(number) {
            Some(steps) => steps.clone(),
            None => M::conversation(&mut Dice::new(trial.terms.seed.unwrap_or(1), number as u64)),
        };
        let mut playing = match player.take() {
            Some(player) => player,
            None => Player::<M>::new(trial, &trial.recorder.aside(), PATIENCE)?,
        };
        let outcome = playing.play(&steps);
        starting += std::mem::take(&mut playing.starting);
        match outcome {
            Err(Stop::Void) if !random && attempt < ATTEMPTS => {
                attempt += 1;
                continue;
            }
            Ok(()) => {
                let kind = if random { &mut all.random } else { &mut all.right };
                *kind += 1;
                // The server is kept, so that what a conversation leaves behind shows in the next.
                player = (!playing.stopped).then_some(playing);
            }
            Err(Stop::Void) => all.unjudged += usize::from(!random),
            Err(Stop::Differs(first)) => {
                found.store(true, SeqCst);
                let which = if random {
                    let seed = trial.terms.seed.unwrap_or(1);
                    format!("in conversation {number} of seed {seed}, which --seed {seed} plays again")
                } else {
                    "in the task's table".into()
                };
                let steps = &steps[..first.steps];
                let shortest = shorter::<M>(trial, steps, &playing.played, &first);
                let shown = show::<M>(trial, &which, &[&shortest, steps, &playing.played], &first)?;
                all.right += shown.right;
                all.unjudged += shown.unjudged;
            }
        }
        (number, attempt) = (number + 1, 1);
    }
}

/// The shortest conversation found that ends with such a difference. It is cut from this one or, if that doesn't fail by
/// itself, from all that was played with the same server.
fn shorter<M: Model>(trial: &Trial<'_>, steps: &[Step], played: &[Step], first: &Mismatch) -> Vec<Step> {
    let fails = |steps: &[Step]| {
        let replayed = replay::<M>(trial, &trial.recorder.aside(), steps, HASTE);
        matches!(replayed, Err(Stop::Differs(difference)) if difference.late_by.is_some() == first.late_by.is_some())
    };
    let until = Instant::now() + SHRINKING;
    match [steps, played].into_iter().find(|steps| fails(steps)) {
        Some(steps) => shrink::shortest(steps, until, fails),
        None => steps.to_vec(),
    }
}

/// Plays these conversations until one fails once more, for the student to see. What differed falls in any case. What did not
/// come in time falls only if it stays away again.
fn show<M: Model>(trial: &Trial<'_>, which: &str, conversations: &[&[Step]], first: &Mismatch) -> Judged<Played> {
    let mut played = Played::UNJUDGED;
    // On a machine that is too slow to judge what is late, once more.
    for steps in conversations.iter().flat_map(|steps| [steps, steps]) {
        let recorder = trial.recorder.aside();
        let replay = || replay::<M>(trial, &recorder, steps, LAST_PATIENCE.max(trial.terms.limit));
        played = match beside_control_server(trial, replay)? {
            (control, Err(Stop::Differs(difference))) if !difference.is_explained_by(control) => {
                trial.recorder.adopt(&recorder);
                let (from, to) = (first.steps, steps.len());
                let cut = if to < from { format!(", cut down from {from} steps to {to}") } else { String::new() };
                return Err(difference.finding(which, &cut));
            }
            (_, Ok(())) => Played::RIGHT,
            (_, Err(_)) => Played::UNJUDGED,
        };
    }
    if first.late_by.is_none() {
        return Err(first.clone().finding(which, ", which did not happen again"));
    }
    trial.recorder.note("check", "has played it again, and this time all came as it should, or was not judged");
    Ok(played)
}

/// Plays these steps with a new server, to the first difference.
fn replay<M: Model>(trial: &Trial<'_>, recorder: &Recorder, steps: &[Step], patience: Duration) -> Result<(), Stop> {
    let mut player = Player::<M>::new(trial, recorder, patience).map_err(|_| Stop::Void)?;
    let mut outcome = player.play(steps);
    if let (Err(Stop::Differs(difference)), true) = (&mut outcome, patience >= LAST_PATIENCE) {
        difference.obituary = player.server.obituary().or_else(|| player.shortage());
    }
    outcome
}

/// Why a conversation was not played to its end.
enum Stop {
    /// This machine was too slow to judge it.
    Void,
    /// The server did something else than it should.
    Differs(Box<Mismatch>),
}

impl Stop {
    /// The same with these bytes beside the text.
    fn showing(self, bytes: Option<Difference>) -> Self {
        match self {
            Stop::Differs(mismatch) => Stop::Differs(Mismatch { bytes, ..*mismatch }.into()),
            Stop::Void => Stop::Void,
        }
    }
}

/// Later than any machine is.
const NEVER: Duration = Duration::MAX;

/// What was owed and what came.
#[derive(Clone)]
struct Mismatch {
    text: String,
    /// Where two lines differ.
    bytes: Option<Difference>,
    /// By how much something was late, which may be this machine's fault, if that is all. `NEVER` if it hadn't come at all.
    late_by: Option<Duration>,
    /// How many steps had been taken.
    steps: usize,
    /// How the process has ended, if it has.
    obituary: Option<String>,
}

impl Mismatch {
    /// Whether it only came late, and this machine may be the cause.
    fn is_explained_by(&self, control: Lateness) -> bool {
        self.late_by.is_some_and(|late_by| control.explains(late_by))
    }

    fn finding(self, which: &str, cut: &str) -> Otherwise {
        let obituary = self.obituary.as_ref().map_or(String::new(), |obituary| format!("\n{obituary}"));
        self.falls(&format!("{which}{cut}, ")).reword(|sentence| format!("{sentence}{obituary}"))
    }

    fn falls(self, which: &str) -> Otherwise {
        let falls = Otherwise::falls(format!("{which}{}", self.text));
        match self.bytes {
            Some(bytes) => falls.showing(bytes),
            None => falls,
        }
    }
}

/// The clients of one server, and what they are owed.
struct Player<M> {
    model: M,
    server: Running,
    recorder: Recorder,
    clients: BTreeMap<usize, Client>,
    /// Those who are owed nothing more, and stay.
    staying: Vec<Client>,
    owed: Dues,
    patience: Duration,
    /// How many descriptors the server had open when the first had connected.
    descriptors: Option<usize>,
    /// How long it took until the first could connect.
    starting: Duration,
    /// Since when somebody is there, or the last long pause or flood is over.
    since: Instant,
    played: Vec<Step>,
    /// How many of them belong to this conversation.
    steps: usize,
    /// Whether it was sent SIGTERM.
    stopped: bool,
}

impl<M: Model> Player<M> {
    fn new(trial: &Trial<'_>, recorder: &Recorder, patience: Duration) -> Judged<Self> {
        let server = trial.target.start(recorder, DESCRIPTORS).map_err(|why| Otherwise::skipped(format!("{why:#}")))?;
        Ok(Player {
            model: M::default(),
            server,
            recorder: recorder.clone(),
            clients: BTreeMap::new(),
            staying: Vec::new(),
            owed: Vec::new(),
            patience,
            descriptors: None,
            starting: Duration::ZERO,
            since: Instant::now(),
            played: Vec::new(),
            steps: 0,
            stopped: false,
        })
    }

    /// Whether the server has kept what those had who are gone.
    fn shortage(&self) -> Option<String> {
        let open = kernel::descriptors(self.server.id()?)?;
        let clients = self.clients.len();
        let short = DESCRIPTORS.is_some_and(|most| open + 4 >= most);
        short.then(|| {
            format!("its process has {open} descriptors open, and {clients} clients: it keeps those of the gone")
        })
    }

    /// When all clients have gone, expects that the server has closed what it had for them.
    fn expect_nothing_kept(self) -> Judged<()> {
        /// A program may open more of them as it goes on.
        const A_FEW: usize = 32;
        /// It may listen to the gone for seconds, and this machine may be busy.
        const MOST: Duration = Duration::from_secs(12);
        drop((self.clients, self.staying));
        let Some((pid, before)) = self.server.id().zip(self.descriptors) else { return Ok(()) };
        let too_many = || kernel::descriptors(pid).filter(|&open| open > before + A_FEW);
        if wait_until(MOST, || too_many().is_none().then_some(())).is_none() {
            let open = too_many().unwrap_or_default();
            falls!(
                "its process has {open} descriptors open {} s after all clients have gone, and had {before} at the beginning: \
                 it keeps those of the gone",
                MOST.as_secs()
            );
        }
        Ok(())
    }

    fn play(&mut self, steps: &[Step]) -> Result<(), Stop> {
        self.steps = 0;
        for (index, step) in steps.iter().enumerate() {
            self.steps += 1;
            self.played.push(step.clone());
            let next = steps.get(index + 1).filter(|next| next.who == step.who);
            let speaks = next.is_some_and(|next| next.act.speaks());
            let began = Instant::now();
            if let Some(dues) = self.allowed(step) {
                self.owed.extend(dues);
                self.take(step)?;
            }
            // Whoever comes again until there is room can't have gone on already.
            let turned_away = step.act != Act::Come || self.owed.contains(&(step.who, Due::End));
            if !(step.hasty && speaks && turned_away && step.act != Act::End) {
                self.settle(step, began)?;
            }
        }
        Ok(())
    }

    /// What is owed after this step, if it can be taken.
    fn allowed(&mut self, step: &Step) -> Option<Dues> {
        let here = self.clients.contains_key(&step.who) || step.who == NOBODY;
        let possible = match step.act {
            Act::Come | Act::Flood(_) => !here,
            Act::Signal => !self.stopped && cfg!(unix) && require_no_wrapper(&self.server).is_ok(),
            _ => here,
        };
        if self.owed.iter().any(|(who, due)| *who == step.who && matches!(due, Due::End | Due::Gone)) {
            return (step.act.speaks() && M::LINGERS).then(Vec::new);
        }
        // In no task they are owed anything.
        if matches!(step.act, Act::Dash(_)) {
            return (!self.clients.is_empty()).then(Vec::new);
        }
        if step.act == Act::Signal && self.all_is_read() {
            self.model.all_is_read();
        }
        let mut model = self.model.clone();
        let dues = possible.then(|| model.step(step.who, &step.act)).flatten()?;
        self.model = model;
        Some(dues)
    }

    /// Whether the server has read all that was sent, and is done with it. False where that can't be seen.
    fn all_is_read(&self) -> bool {
        let Some(pid) = self.server.id() else { return false };
        let is_read = |client: &Client| {
            let own = client.stream().local_addr().ok()?;
            Some(kernel::to_server(self.server.addr(), own)? == (0, 0))
        };
        let all_is_read = || self.clients.values().all(|client| is_read(client) == Some(true));
        wait_until(DONE, || (all_is_read() && is_asleep(pid)).then_some(())).is_some()
    }

    fn take(&mut self, step: &Step) -> Result<(), Stop> {
        let first = self.clients.is_empty();
        match &step.act {
            Act::Come => drop(self.connect(step.who)?),
            Act::Say(pieces) | Act::SayOn(pieces) => self.speak(step, pieces)?,
            Act::Insist => self.insist(step.who)?,
            Act::Dash(said) => self.dash(said)?,
            Act::Flood(bytes) => self.flood(step.who, bytes)?,
            Act::End => self.end(step.who),
            Act::Leave => self.clients.remove(&step.who).into_iter().for_each(Client::leave),
            Act::Reset => self.clients.remove(&step.who).into_iter().for_each(Client::reset),
            Act::Pause(ms) => {
                wait_for(Duration::from_millis(*ms));
                if *ms > 3000 {
                    self.since = Instant::now();
                }
            }
            Act::Signal => {
                self.stopped = true;
                self.recorder.note("check", "sends SIGTERM");
                let _ = self.server.process().is_some_and(|process| process.ask_to_stop());
            }
        }
        // A server may need longer than that to start.
        if first {
            self.since = Instant::now();
        }
        match M::HURRY {
            Some(limit) if self.since.elapsed() > limit => Err(Stop::Void),
            _ => Ok(()),
        }
    }

    fn connect(&mut self, who: usize) -> Result<(), Stop> {
        let (is_first, began) = (!self.server.was_reached(), Instant::now());
        let connected =
            self.server.connect(&format!("client {who}")).map_err(|why| self.missing(format!("{why:#}")))?;
        self.clients.insert(who, connected);
        if is_first {
            self.starting = began.elapsed();
            self.descriptors = self.server.id().and_then(kernel::descriptors);
        }
        Ok(())
    }

    fn speak(&mut self, step: &Step, pieces: &[Vec<u8>]) -> Result<(), Stop> {
        let Some(client) = self.clients.get_mut(&step.who) else { return Ok(()) };
        let began = Instant::now();
        for (index, piece) in pieces.iter().enumerate() {
            if index > 0 {
                let_it_read(&self.server, client);
            }
            client.send(piece);
        }
        if matches!(step.act, Act::SayOn(_)) {
            client.note("goes on sending");
            let reset = wait_until(GOING_ON, || (!client.quiet_send(MORE)).then_some(()));
            // If it was this machine that took so long, the server may have had enough.
            let after = began.elapsed();
            if reset.is_some() && after < CUT_OFF && self.owed.contains(&(step.who, Due::End)) {
                let text = format!("client {} went on sending, and was reset after {} ms", step.who, after.as_millis());
                return Err(self.differs(text));
            }
        }
        Ok(())
    }

    /// A client that doesn't look at what it is told has to be cut off, and is owed nothing more.
    fn insist(&mut self, who: usize) -> Result<(), Stop> {
        let Some(client) = self.clients.get(&who) else { return Ok(()) };
        client.note("goes on sending, and reads nothing");
        let cut_off = wait_until(INSISTING, || (!client.quiet_send(MORE)).then_some(()));
        if cut_off.is_none() {
            let text = format!("client {who} went on sending for {} s, and was not cut off", INSISTING.as_secs_f32());
            return Err(self.missing(text));
        }
        client.note("is cut off");
        self.owed.retain(|(whose, _)| *whose != who);
        self.clients.remove(&who);
        Ok(())
    }

    /// A client that says nothing more.
    fn end(&mut self, who: usize) {
        self.clients.get_mut(&who).into_iter().for_each(Client::half_close);
        if M::HEARS_NO_MORE {
            self.owed.retain(|(whose, _)| *whose != who);
            self.staying.extend(self.clients.remove(&who));
        }
    }

    /// Clients of whom most have gone when the server looks at them. To halt it would be surer, and ends some system calls of
    /// a right server with EINTR.
    fn dash(&mut self, said: &[u8]) -> Result<(), Stop> {
        const CLIENTS: usize = 8;
        for _ in 0..CLIENTS {
            let connected = self.server.connect_with("one of eight", &Recorder::new(), None);
            let mut client = connected.map_err(|why| self.missing(format!("{why:#}")))?;
            if said.is_empty() {
                client.reset();
            } else {
                client.send(said);
                // The reset that follows comes behind an end, which makes of a write EPIPE, and SIGPIPE.
                client.half_close();
                client.leave();
            }
        }
        self.recorder.note("eight clients", format!("connect, say {}, and are gone", Payload::new(said)));
        Ok(())
    }

    /// A client that takes no answer, so that the server can't write any more.
    fn flood(&mut self, who: usize, bytes: &[u8]) -> Result<(), Stop> {
        const AT_MOST: Duration = Duration::from_secs(2);
        let came = FullHands::come(&mut self.server, &format!("client {who}"), &Recorder::new(), bytes.to_vec());
        let mut full = came.map_err(|why| self.missing(format!("{why:#}")))?;
        full.is_cut_off(FULL, AT_MOST);
        self.staying.push(full.client);
        self.since = Instant::now();
        Ok(())
    }

    /// Awaits all that is owed, and looks whether anything else has come.
    fn settle(&mut self, after: &Step, began: Instant) -> Result<(), Stop> {
        let patience = self.patience;
        let most = if matches!(after.act, Act::Pause(1300..)) { AFTER_A_PAUSE } else { PATIENCE };
        // Who was let in too early or too late comes again.
        let may_retry = |due: &Due| after.act == Act::Come && matches!(due, Due::Line(_)) && began.elapsed() < A_MOMENT;
        let is_not_yet = |got: &Reply| matches!(got, Reply::Line(line) if M::NOT_YET == Some(line));
        let waits_since = Instant::now();
        for (who, due) in std::mem::take(&mut self.owed) {
            if let Due::Exit(line) = &due {
                self.expect_exit(line.as_deref())?;
                continue;
            }
            let Some(mut got) = self.next(who, &due, patience) else { continue };
            while !due.is_met_by(&got) && is_not_yet(&got) && may_retry(&due) {
                self.connect(who)?;
                got = self.next(who, &due, patience).unwrap_or(got);
            }
            match (&due, &got) {
                _ if !due.is_met_by(&got) => {
                    // Who has gone on for so long may be cut off.
                    if matches!((&after.act, &got), (Act::SayOn(_), Reply::Reset(_))) && began.elapsed() > CUT_OFF {
                        return Err(Stop::Void);
                    }
                    let late_by = matches!(got, Reply::Nothing(..)).then_some(NEVER);
                    let (missed, bytes) = due.missed(&got);
                    let text = format!("after {after}:\nclient {who}: {missed}");
                    return Err(self.stop(text, late_by).showing(bytes));
                }
                (Due::OneOf(_), Reply::Line(line)) => self.model.heard(line),
                (Due::End | Due::Gone, _) => {
                    self.staying.extend(self.clients.remove(&who).filter(|_| who >= STAYS));
                }
                _ => {}
            }
            let took = waits_since.elapsed();
            if took > most {
                let seconds = took.as_secs_f32();
                let text = format!("after {after}:\nclient {who}: {due} came only {seconds:.1} s after that");
                return Err(self.stop(text, Some(took.saturating_sub(most))));
            }
        }
        self.expect_nothing_else(after)
    }

    /// What this client gets next, of that which has to come.
    fn next(&mut self, who: usize, due: &Due, patience: Duration) -> Option<Reply> {
        let client = self.clients.get_mut(&who)?;
        loop {
            let got = match due {
                Due::Bytes(bytes) => client.answer(patience, |got| beginning(bytes, got)),
                _ => client.line(patience),
            };
            if !matches!(&got, Reply::Line(line) if self.model.may_come(line)) {
                return Some(got);
            }
        }
    }

    fn expect_nothing_else(&mut self, after: &Step) -> Result<(), Stop> {
        let stray = self.clients.iter_mut().find_map(|(who, client)| {
            while client.state() != State::Open {
                let got = client.line(Duration::ZERO);
                if !matches!(&got, Reply::Line(line) if self.model.may_come(line)) {
                    return Some((*who, got));
                }
            }
            None
        });
        let Some((who, got)) = stray else { return Ok(()) };
        let got = match &got {
            Reply::Nothing(part, _) => Payload::new(part).to_string(),
            got => Trial::describe(got),
        };
        Err(self.differs(format!("after {after}:\nclient {who}: expected nothing, got {got}")))
    }

    fn expect_exit(&mut self, last: Option<&str>) -> Result<(), Stop> {
        let (patience, began) = (self.patience, Instant::now());
        let Some(process) = self.server.process() else { return Ok(()) };
        let Some(status) = process.exits_within(patience) else {
            return Err(
                self.missing("after the signal everybody had gone or had no time left: the process still runs".into())
            );
        };
        let took = began.elapsed();
        process.last_output();
        let printed = process.printed();
        let end = printed.lines().last().unwrap_or_default();
        if !status.success() {
            return Err(self.differs(format!("the process ended with {status}, and not with status 0")));
        }
        if !printed.lines().any(|line| line.starts_with("listening on ")) {
            let printed = Payload::new(printed.as_bytes());
            let text = format!("standard output should have had a line \"listening on ADDR\", and has {printed}");
            return Err(self.differs(text));
        }
        if let Some(last) = last {
            if printed.lines().filter(|line| line.starts_with("tally:")).count() > 1 {
                return Err(self.differs("standard output has more than one tally".into()));
            }
            if last != end {
                let stop = self.differs("the last line on standard output is another than was expected".into());
                return Err(stop.showing(Some(Difference::between(last.as_bytes(), end.as_bytes()))));
            }
        }
        if took > PATIENCE {
            let seconds = took.as_secs_f32();
            let text = format!("after the signal everybody had gone or had no time left: it ran on for {seconds:.1} s");
            return Err(self.stop(text, Some(took.saturating_sub(PATIENCE))));
        }
        Ok(())
    }

    fn differs(&self, text: String) -> Stop {
        self.stop(text, None)
    }

    fn missing(&self, text: String) -> Stop {
        self.stop(text, Some(NEVER))
    }

    fn stop(&self, text: String, late_by: Option<Duration>) -> Stop {
        Stop::Differs(Mismatch { text, bytes: None, late_by, steps: self.steps, obituary: None }.into())
    }
}

/// Whether every thread of a process sleeps until something happens. False where that can't be seen.
fn is_asleep(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut stats = threads.map(|thread| std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default());
    // The state stands behind the program's name, which may hold anything (proc(5)).
    stats.all(|stat| stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('S')))
}

/// Gives the server time to read what was sent, so that it needs another read for the next bytes. If it takes longer, both may
/// come with one, and a faulty server may pass. Each look takes milliseconds where the kernel has thousands of connections.
fn let_it_read(server: &Running, client: &Client) {
    let Ok(own) = client.stream().local_addr() else { return };
    let began = Instant::now();
    wait_until(READING, || match kernel::to_server(server.addr(), own) {
        // What is nowhere has been read, or has still to come.
        Some((unacknowledged, unread)) => {
            (unread == 0 && (unacknowledged == 0 || began.elapsed() >= ARRIVING)).then_some(())
        }
        // Where that can't be seen, it is a short wait.
        None => (began.elapsed() >= GAP).then_some(()),
    });
}

/// How far what has come is what was expected.
pub(in crate::classroom) fn beginning(expected: &[u8], got: &[u8]) -> Match {
    if got.starts_with(expected) {
        Match::Whole(expected.len())
    } else if expected.starts_with(got) {
        Match::Partial
    } else {
        Match::Wrong(Difference::between(expected, got).at)
    }
}

impl Act {
    /// Whether it says something, or that nothing more will come.
    fn speaks(&self) -> bool {
        matches!(self, Act::Say(_) | Act::SayOn(_) | Act::Insist | Act::End)
    }
}

impl Due {
    fn is_met_by(&self, got: &Reply) -> bool {
        match (self, got) {
            (Due::Line(line) | Due::Bytes(line), Reply::Line(got)) => line == got,
            (Due::OneOf(lines), Reply::Line(got)) => lines.contains(got),
            (Due::Begins(start), Reply::Line(got)) => got.starts_with(start),
            (Due::End, Reply::End(rest)) | (Due::Gone, Reply::End(rest) | Reply::Reset(rest)) => rest.is_empty(),
            _ => false,
        }
    }

    /// What was owed and what came instead, and the bytes, unless they only end too early.
    fn missed(&self, got: &Reply) -> (String, Option<Difference>) {
        let expected = match self {
            Due::Line(expected) | Due::Bytes(expected) => Some(expected),
            Due::OneOf(lines) if lines.len() == 1 => lines.first(),
            _ => None,
        };
        let came = match got {
            Reply::Line(came) | Reply::End(came) | Reply::Reset(came) | Reply::Nothing(came, _) => Some(came),
            Reply::Flood => None,
        };
        let differs = expected.zip(came).filter(|(expected, came)| !expected.starts_with(came));
        let bytes = differs.map(|(expected, came)| Difference::between(expected, came));
        (format!("expected {self}, got {}", Trial::describe(got)), bytes)
    }
}

impl std::fmt::Display for Due {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Due::Line(bytes) | Due::Bytes(bytes) => write!(f, "{}", Payload::new(bytes)),
            Due::OneOf(lines) => {
                let lines: Vec<String> = lines.iter().map(|line| Payload::new(line).to_string()).collect();
                write!(f, "{}", lines.join(" or "))
            }
            Due::Begins(start) => write!(f, "\"{}…\"", escape(start)),
            Due::End | Due::Gone => write!(f, "the end of the connection"),
            Due::Exit(_) => write!(f, "the end of the process"),
        }
    }
}
