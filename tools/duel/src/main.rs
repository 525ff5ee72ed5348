//! `cargo duel`: the course's servers measured against one in Go and against other designs.

#![allow(unreachable_pub, reason = "every module here belongs to this one program")]

#[cfg(target_os = "linux")]
mod chart;
#[cfg(target_os = "linux")]
mod command;
#[cfg(target_os = "linux")]
mod contestants;
#[cfg(target_os = "linux")]
mod cost;
#[cfg(target_os = "linux")]
mod crowd;
#[cfg(target_os = "linux")]
mod duel;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod results;
#[cfg(target_os = "linux")]
mod serve;
#[cfg(target_os = "linux")]
mod syscalls;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod talk;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    command::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("error: the benchmark reads processor time and memory from Linux's /proc, and runs only there");
    std::process::ExitCode::from(2)
}
