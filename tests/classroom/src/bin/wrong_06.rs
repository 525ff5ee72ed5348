//! The till of exercise 6 with one mistake, the one that this check is there to find: `wrong_06 --check NAME ADDR`.

use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

const TICK: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_secs(3);
const LONGEST_COMMAND: u64 = 64;
/// How many clients can wait in the kernel, connected and not yet accepted: as many as std asks it to keep.
const QUEUE: usize = 128;

/// Whether this is the mistake to make.
fn wrong(check: &str) -> bool {
    env::args().skip_while(|argument| argument != "--check").nth(1).is_some_and(|chosen| chosen == check)
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
    listener.set_nonblocking(true).context("cannot have accept return when nobody is there")?;
    let shop = Arc::new(Shop::default());
    let on_signal = Arc::clone(&shop);
    ctrlc::set_handler(move || on_signal.closing.store(true, SeqCst)).context("cannot ask to be told about signals")?;
    println!("listening on {}", listener.local_addr()?);

    while !shop.is_closing() {
        if let Err(error) = shop.admit(&listener) {
            if error.kind() != ErrorKind::WouldBlock {
                eprintln!("cannot accept a client: {error}");
            }
            thread::sleep(TICK);
        }
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
    shop.wait_until_empty(if wrong("grace-ends") { Duration::MAX } else { GRACE });
    let Tally { sales, sum } = shop.tally();
    println!("tally: sales {sales}, sum {sum}");
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
        thread::Builder::new().spawn(move || {
            if let Err(error) = serve(&stream, &place.0) {
                eprintln!("{peer}: {error}");
            }
            // Closed first, and only then counted as gone.
            drop(stream);
            drop(place);
        })?;
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
    stream.set_read_timeout(Some(TICK))?;
    let mut reader = BufReader::new(stream);
    let mut command = Vec::new();
    let mut answered = 0;
    let mut late = false;
    loop {
        let room = LONGEST_COMMAND.saturating_sub(command.len() as u64);
        match reader.by_ref().take(room).read_until(b'\n', &mut command) {
            Ok(_) if command.ends_with(b"\n") => {
                let answer = carry_out(&command, shop);
                command.clear();
                answered += 1;
                late |= shop.is_closing();
                stream.write_all(answer.as_bytes())?;
            }
            // The end, perhaps in the middle of a command; or the command is too long.
            Ok(_) => return Ok(()),
            // Nothing came in this tick. What came before it is kept in `command`.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        let idle = command.is_empty() && reader.buffer().is_empty();
        // As if it looked at the sign only in a pause, and such a client made none.
        let talks_on = answered > 20 && wrong("talker-hears-bye");
        if idle && shop.is_closing() && !talks_on {
            let silent = answered <= 20 && wrong(if late { "command-finishes" } else { "idle-hears-bye" });
            return if silent { Ok(()) } else { stream.write_all(b"bye\n") };
        }
    }
}

fn carry_out(command: &[u8], shop: &Shop) -> String {
    let price: Option<u64> =
        std::str::from_utf8(command).ok().and_then(|text| text.trim_end().strip_prefix("sell ")?.parse().ok());
    match price {
        Some(price) => {
            shop.sell(price);
            format!("sold {price}\n")
        }
        None if wrong("till-sells") => "what?\n".into(),
        None => "error: say sell and a whole number\n".into(),
    }
}
