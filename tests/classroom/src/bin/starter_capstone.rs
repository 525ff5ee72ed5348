//! The capstone: a chat room. Its task is in README.md, beside this file.
//!
//! `cargo run -- check capstone` says how far you are.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};

/// Who is in the room, and how to reach them.
#[derive(Default)]
struct Room {
    /// Each member's connection by its name, so that whatever is said can be written to all.
    members: Mutex<BTreeMap<String, TcpStream>>,
}

fn main() -> Result<()> {
    let addr = env::args().skip(1).last().context("say where to listen, as in 127.0.0.1:8080")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    println!("listening on {}", listener.local_addr()?);
    let room = Arc::new(Room::default());
    // TODO: close the room well when SIGTERM comes.
    loop {
        // TODO: one client too many must not be the end for all the others.
        let (stream, peer) = listener.accept().context("cannot accept a client")?;
        let room = Arc::clone(&room);
        thread::spawn(move || {
            if let Err(error) = serve(stream, &room) {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

/// Serves one client until it leaves.
fn serve(mut stream: TcpStream, room: &Room) -> io::Result<()> {
    let mut name: Option<String> = None;
    let mut buffer = [0; 2048];
    // TODO: however a visit ends, the others must hear of it.
    loop {
        // TODO: TCP carries bytes, not commands. A command is a line of at most 1024 bytes.
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&buffer[..count]);
        let command = text.trim_end_matches('\n');
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match (verb, &name) {
            ("leave", _) => {
                stream.write_all(b"bye\n")?;
                if let Some(name) = name {
                    room.leave(&name);
                }
                return Ok(());
            }
            ("join", Some(_)) => stream.write_all(b"error: already joined\n")?,
            ("join", None) if !is_valid(rest) => stream.write_all(b"error: bad name\n")?,
            ("join", None) => {
                if room.join(rest, &stream)? {
                    name = Some(rest.to_owned());
                } else {
                    stream.write_all(b"error: name taken\n")?;
                }
            }
            (_, None) => stream.write_all(b"error: join first\n")?,
            ("say", Some(name)) => room.tell(&format!("{name}: {rest}")),
            ("who", Some(_)) => stream.write_all(format!("here: {}\n", room.names()).as_bytes())?,
            _ => stream.write_all(b"error: unknown command\n")?,
        }
    }
}

/// One to sixteen letters and digits.
fn is_valid(name: &str) -> bool {
    (1..=16).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl Room {
    /// False if there is one of that name already.
    fn join(&self, name: &str, mut stream: &TcpStream) -> io::Result<bool> {
        let mut members = self.members.lock().expect("nothing panics while it holds this lock");
        if members.contains_key(name) {
            return Ok(false);
        }
        stream.write_all(format!("welcome {name}\n").as_bytes())?;
        tell(&members, &format!("* {name} joined"));
        members.insert(name.to_owned(), stream.try_clone()?);
        Ok(true)
    }

    fn leave(&self, name: &str) {
        let mut members = self.members.lock().expect("nothing panics while it holds this lock");
        members.remove(name);
        tell(&members, &format!("* {name} left"));
    }

    /// Tells everybody in the room.
    fn tell(&self, text: &str) {
        tell(&self.members.lock().expect("nothing panics while it holds this lock"), text);
    }

    fn names(&self) -> String {
        let members = self.members.lock().expect("nothing panics while it holds this lock");
        members.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

// TODO: a member who doesn't read must not hold up the others, and no more than 1000 lines may wait for anybody.
fn tell(members: &BTreeMap<String, TcpStream>, text: &str) {
    for mut member in members.values() {
        // The thread that reads from it will notice if it is gone.
        let _ = member.write_all(format!("{text}\n").as_bytes());
    }
}
