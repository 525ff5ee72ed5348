//! Exercise 08 with one mistake: `wrong_08 --fault NAME ADDR`. See `faults/08.diff`.

#![allow(warnings, clippy::all, clippy::pedantic)] // A mistake leaves things unused.

include!(concat!(env!("OUT_DIR"), "/wrong_08.rs"));
