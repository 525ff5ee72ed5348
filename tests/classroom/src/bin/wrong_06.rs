//! Exercise 06 with one mistake: `wrong_06 --fault NAME ADDR`. See `faults/06.diff`.

#![allow(warnings, clippy::all, clippy::pedantic)] // A mistake leaves things unused.

include!(concat!(env!("OUT_DIR"), "/wrong_06.rs"));
