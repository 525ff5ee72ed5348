//! The probes, on servers that fall and on right ones that are easily accused. One program, so that its tests, which
//! mostly wait, are run beside each other.

#[path = "../common/mod.rs"]
mod common;

mod dialogue;
mod every_probe;
mod fair_accepting;
mod own_limits;
mod stopping;
