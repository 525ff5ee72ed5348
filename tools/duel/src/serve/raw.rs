//! A thread for each connection that gives back the bytes it gets: the most that this design can do.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

use anyhow::Result;
use tcp_pitfalls::chapter_01::announce::announce;
use tcp_pitfalls::chapter_01::listen::listen;
use tcp_pitfalls::chapter_05::line_reader::CHUNK;

/// As for the threads of the course.
const STACK_SIZE: usize = 128 * 1024;

/// Runs the server. It knows no lines, so it gives them back without a prefix.
pub fn run(addr: &str) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    loop {
        let (stream, _peer) = listener.accept()?;
        thread::Builder::new().stack_size(STACK_SIZE).spawn(move || echo(&stream))?;
    }
}

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}
