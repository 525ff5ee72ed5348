//! How TCP servers really break: six steps, each a whole server that avoids one more pitfall than the one before.
//!
//! This page is the table of contents. The chapters are what the course teaches; read their `server` modules in
//! order. The modules after them are the instruments that the chapters are examined with.

#![forbid(unsafe_code)]

/// Listening: which addresses there are, who can reach them, and why listening fails.
#[path = "../chapters/01_listen"]
pub mod chapter_01 {
    pub mod announce;
    pub mod listen;
    pub mod pitfall;
    pub mod server;
}

/// Accepting one client after the other, and what a silent one does to those behind it.
#[path = "../chapters/02_accept_blocking"]
pub mod chapter_02 {
    pub mod pitfall;
    pub mod server;
}

/// A thread for each connection, and a bound on what connections take.
#[path = "../chapters/03_thread_per_conn"]
pub mod chapter_03 {
    pub mod backoff;
    pub mod permits;
    pub mod pitfall;
    pub mod server;
}

/// Bytes are not messages: partial reads, partial writes, and closing so that the last answer arrives.
#[path = "../chapters/04_partial_read_write"]
pub mod chapter_04 {
    pub mod close;
    pub mod frame;
    pub mod pitfall;
    pub mod server;
}

/// Lines through a buffer: bounded, flushed in time, and whatever bytes they hold.
#[path = "../chapters/05_bufread_lines"]
pub mod chapter_05 {
    pub mod buf_pair;
    pub mod buf_stream;
    pub mod line_reader;
    pub mod pitfall;
    pub mod server;
}

/// Stopping: no new clients, no lost answers, and an end in bounded time.
#[path = "../chapters/06_graceful_shutdown"]
pub mod chapter_06 {
    pub mod connections;
    pub mod pitfall;
    pub mod server;
    pub mod stop;
}

/// Beyond the article: threads that stay when their client has left, and why a pool of a fixed size starves.
#[path = "../chapters/07_thread_pool"]
pub mod chapter_07 {
    pub mod pitfall;
    pub mod server;
    pub mod workers;
}

/// Beyond the article: how long a client may take, for a line, between lines, and for its answers.
#[path = "../chapters/08_deadlines"]
pub mod chapter_08 {
    pub mod deadlines;
    pub mod pitfall;
    pub mod server;
}

/// Beyond the article: a task for each client, on tokio. Only with the feature `async`.
#[cfg(feature = "async")]
#[path = "../chapters/09_async"]
pub mod chapter_09 {
    pub mod pitfall;
    pub mod server;
    pub mod talk;
}

// The instruments stand in floors, the lowest first. None uses what stands further down in this list.
pub mod lab;

pub mod dialogue;

pub mod probes;

pub mod classroom;
pub mod examination;
pub mod show;

pub mod demo;
pub mod staircase;
pub mod steps;

pub mod go;
pub mod program;
