//! Exercise 04 with one mistake: `wrong_04 --fault NAME ADDR`. See `faults/04.diff`.

#![allow(warnings, clippy::all, clippy::pedantic)] // A mistake leaves things unused.

include!(concat!(env!("OUT_DIR"), "/wrong_04.rs"));
