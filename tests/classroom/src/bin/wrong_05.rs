//! Exercise 05 with one mistake: `wrong_05 --fault NAME ADDR`. See `faults/05.diff`.

#![allow(warnings, clippy::all, clippy::pedantic)] // A mistake leaves things unused.

include!(concat!(env!("OUT_DIR"), "/wrong_05.rs"));
