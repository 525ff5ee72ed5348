//! Exercise 6: a till. Its task is in README.md, beside this file.
//!
//! `cargo run -- check 06` says how far you are.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};

/// What all threads share.
#[derive(Default)]
struct Shop {
    /// Whether the signal has come.
    closing: AtomicBool,
    /// What was sold so far, by all clients together.
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    /// How many sales there were.
    sales: u64,
    /// What they add up to.
    sum: u64,
}

fn main() -> Result<()> {
    let addr = env::args().skip(1).last().context("say where to listen, as in 127.0.0.1:8080")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    let shop = Arc::new(Shop::default());
    let on_signal = Arc::clone(&shop);
    // Runs on a thread of its own when SIGTERM or Ctrl-C comes.
    ctrlc::set_handler(move || on_signal.closing.store(true, SeqCst)).context("cannot ask to be told about signals")?;
    println!("listening on {}", listener.local_addr()?);

    // TODO: close the door as soon as the signal has come, and not when the next client does.
    while !shop.closing.load(SeqCst) {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("cannot accept a client: {error}");
                continue;
            }
        };
        let shop = Arc::clone(&shop);
        thread::spawn(move || {
            if let Err(error) = serve(&stream, &shop) {
                eprintln!("{peer}: {error}");
            }
        });
    }
    // TODO: give clients in the middle of a command three seconds to finish it, and no longer.
    // TODO: print the tally as the last thing: "tally: sales 3, sum 60".
    Ok(())
}

/// Serves one client until it leaves.
fn serve(mut stream: &TcpStream, shop: &Shop) -> io::Result<()> {
    // TODO: when the till is closing, say "bye" to a client that is not in the middle of a command, and part.
    let mut reader = BufReader::new(stream);
    let mut command = Vec::new();
    while reader.read_until(b'\n', &mut command)? > 0 {
        if !command.ends_with(b"\n") {
            break;
        }
        let answer = carry_out(&command, shop);
        command.clear();
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn carry_out(command: &[u8], shop: &Shop) -> String {
    let price: Option<u64> =
        std::str::from_utf8(command).ok().and_then(|text| text.trim_end().strip_prefix("sell ")?.parse().ok());
    match price {
        Some(price) => {
            let mut tally = shop.tally.lock().expect("nothing panics while it holds this lock");
            tally.sales += 1;
            tally.sum += price;
            format!("sold {price}\n")
        }
        None => "error: say sell and a whole number\n".into(),
    }
}
