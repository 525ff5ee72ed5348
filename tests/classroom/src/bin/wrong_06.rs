//! Exercise 6, the till that closes: a server with one mistake.
//!
//! `wrong_06 --fault NAME ADDR` does all that the exercise asks for, except one thing. NAME is a check, which finds it, or a
//! fault that only `as-the-task-says` finds; tests/as_the_task_says.rs has them all.

use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// No thread waits for longer than this without a look at whether the till is closing.
fn tick() -> Duration {
    Duration::from_millis(if wrong("tick-of-2500-ms") { 2500 } else { 20 })
}
const GRACE: Duration = Duration::from_secs(3);
const LONGEST_COMMAND: u64 = 64;
/// How many clients can wait in the kernel, connected and not yet accepted: as many as std asks it to keep.
const QUEUE: usize = 128;

/// Whether this is the mistake to make.
fn wrong(fault: &str) -> bool {
    env::args().nth(2).is_some_and(|name| name == fault)
}

/// What all threads share.
#[derive(Default)]
struct Shop {
    closing: AtomicBool,
    tally: Mutex<Tally>,
    clients: Mutex<usize>,
    client_left: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    sales: u64,
    sum: u64,
}

fn main() -> Result<()> {
    let addr = env::args().skip(1).last().context("say where to listen, as in 127.0.0.1:8080")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    listener
        .set_nonblocking(!wrong("accept-sees-no-signal"))
        .context("cannot have accept return when nobody is there")?;
    let shop = Arc::new(Shop::default());
    let on_signal = Arc::clone(&shop);
    ctrlc::set_handler(move || on_signal.closing.store(true, SeqCst)).context("cannot ask to be told about signals")?;
    if wrong("announces-on-stderr") {
        eprintln!("listening on {}", listener.local_addr()?);
    } else {
        println!("listening on {}", listener.local_addr()?);
    }

    while !shop.is_closing() {
        if let Err(error) = shop.admit(&listener) {
            if error.kind() != ErrorKind::WouldBlock {
                eprintln!("cannot accept a client: {error}");
            }
            thread::sleep(tick());
        }
    }
    listener.set_nonblocking(true)?;
    if wrong("shuts-after-2-seconds") {
        thread::sleep(Duration::from_secs(2));
    }
    // For the kernel these are connected, and may have sent something. Closing the listener would reset them.
    for _ in 0..QUEUE {
        if shop.admit(&listener).is_err() {
            break;
        }
    }
    if wrong("door-closes") {
        // Open to the very end of the process, it lets clients connect whom nobody will serve.
        std::mem::forget(listener);
    } else {
        drop(listener);
    }
    if wrong("two-tallies") {
        println!("tally: sales {}, sum {}", shop.tally().sales, shop.tally().sum);
    }
    if wrong("always-3-seconds") {
        thread::sleep(GRACE);
    }
    shop.wait_until_empty(match () {
        () if wrong("grace-ends") || wrong("grace-for-each-byte") => Duration::MAX,
        () if wrong("grace-8-seconds") => Duration::from_secs(8),
        () if wrong("grace-1-second") => Duration::from_secs(1),
        () => GRACE,
    });
    let Tally { sales, sum } = shop.tally();
    match () {
        () if wrong("tally-on-stderr") => eprintln!("tally: sales {sales}, sum {sum}"),
        () if wrong("tally-says-otherwise") => println!("tally: {sales} sales, sum {sum}"),
        () => println!("tally: sales {sales}, sum {sum}"),
    }
    anyhow::ensure!(!wrong("ends-with-status-1"), "closed");
    Ok(())
}

impl Shop {
    fn is_closing(&self) -> bool {
        self.closing.load(SeqCst)
    }

    /// Accepts a client, if one is there, and serves it on a thread of its own.
    fn admit(self: &Arc<Self>, listener: &TcpListener) -> io::Result<()> {
        let (stream, peer) = listener.accept()?;
        // Linux gives out a blocking stream anyway; macOS and Windows hand the listener's mode on.
        stream.set_nonblocking(false)?;
        // Counted before its thread starts: later, nobody might wait for it any more.
        let place = Place::take(self);
        let serving = thread::Builder::new().spawn(move || {
            if let Err(error) = serve(&stream, &place.0) {
                eprintln!("{peer}: {error}");
            }
            if wrong("keeps-open") {
                std::mem::forget(stream.try_clone());
            }
            // Closed first, and only then counted as gone.
            drop(stream);
            drop(place);
        })?;
        if wrong("one-client") {
            let _ = serving.join();
        }
        Ok(())
    }

    fn wait_until_empty(&self, limit: Duration) {
        let clients = self.clients.lock().expect("nothing panics while it holds this lock");
        drop(self.client_left.wait_timeout_while(clients, limit, |clients| *clients > 0));
    }

    fn sell(&self, price: u64) {
        // What is sold after the signal is missing from the tally.
        if self.is_closing() && wrong("tally-adds-up") {
            return;
        }
        let mut tally = self.tally.lock().expect("nothing panics while it holds this lock");
        tally.sales += 1;
        tally.sum = tally.sum.saturating_add(price);
    }

    fn tally(&self) -> Tally {
        *self.tally.lock().expect("nothing panics while it holds this lock")
    }
}

/// A client's place among those who are there. Dropping it gives it back, also when a panic does that.
struct Place(Arc<Shop>);

impl Place {
    fn take(shop: &Arc<Shop>) -> Self {
        *shop.clients.lock().expect("nothing panics while it holds this lock") += 1;
        Place(Arc::clone(shop))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.clients.lock().expect("nothing panics while it holds this lock") -= 1;
        self.0.client_left.notify_all();
    }
}

fn serve(mut stream: &TcpStream, shop: &Shop) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(tick()))?;
    let mut reader = BufReader::new(stream);
    let mut command = Vec::new();
    let mut answered = 0;
    let mut late = false;
    let mut mine = Vec::new();
    let since = Instant::now();
    let mut last = (0, since);
    loop {
        let room = LONGEST_COMMAND.saturating_sub(command.len() as u64);
        match reader.by_ref().take(room).read_until(b'\n', &mut command) {
            Ok(_) if command.ends_with(b"\n") => {
                let answer = carry_out(&command, shop, &mut mine);
                if wrong("error-ends") && answer.starts_with("error") {
                    return stream.write_all(answer.as_bytes());
                }
                if wrong("one-read") {
                    let more = reader.buffer().len();
                    reader.consume(more);
                }
                command.clear();
                answered += 1;
                late |= shop.is_closing();
                stream.write_all(answer.as_bytes())?;
            }
            // The end, perhaps in the middle of a command; or the command is too long.
            Ok(_) => {
                mine.drain(..).for_each(|price| shop.sell(price));
                return Ok(());
            }
            // Nothing came in one second.
            Err(_) if wrong("idle-limit") && since.elapsed() > Duration::from_secs(1) => return Ok(()),
            // Nothing came in this tick. What came before it is kept in `command`.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        if last.0 != command.len() || !shop.is_closing() {
            last = (command.len(), Instant::now());
        }
        if wrong("grace-for-each-byte") && last.1.elapsed() > GRACE {
            return Ok(());
        }
        let idle = command.is_empty() && reader.buffer().is_empty();
        let idle = idle && !(answered == 0 && wrong("silent-client-hears-nothing"));
        let idle = idle || wrong("half-is-dropped");
        // As if it looked at the sign only in a pause, and such a client made none.
        let talks_on = answered > 20 && wrong("talker-hears-bye");
        if idle && shop.is_closing() && !talks_on {
            mine.drain(..).for_each(|price| shop.sell(price));
            let silent = answered <= 20 && wrong(if late { "command-finishes" } else { "idle-hears-bye" });
            return if silent { Ok(()) } else { stream.write_all(b"bye\n") };
        }
    }
}

fn carry_out(command: &[u8], shop: &Shop, mine: &mut Vec<u64>) -> String {
    let text = std::str::from_utf8(command).map(str::trim_end).unwrap_or_default();
    let folded = text.to_lowercase();
    let text = match () {
        () if wrong("any-case") => &*folded,
        () if wrong("blanks-before") => text.trim_start(),
        () => text,
    };
    let mut price: Option<u64> = text.strip_prefix("sell ").and_then(|price| price.parse().ok());
    if wrong("number-and-more") {
        let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
        price = text.strip_prefix("sell ").and_then(|price| digits(price).parse().ok());
    }
    if wrong("small-numbers") {
        price = price.filter(|&price| price <= u32::MAX.into());
    }
    match price {
        Some(price) if wrong("counted-at-the-end") => {
            mine.push(price);
            format!("sold {price}\n")
        }
        Some(price) => {
            shop.sell(price);
            format!("sold {price}\n")
        }
        None if wrong("till-sells") => "what?\n".into(),
        None if wrong("counts-errors") => {
            shop.sell(0);
            "error: say sell and a whole number\n".into()
        }
        None => "error: say sell and a whole number\n".into(),
    }
}
