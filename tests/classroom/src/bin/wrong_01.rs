//! Exercise 01 with one mistake: `wrong_01 --fault NAME ADDR`. See `faults/01.diff`.

#![allow(warnings, clippy::all, clippy::pedantic)] // A mistake leaves things unused.

include!(concat!(env!("OUT_DIR"), "/wrong_01.rs"));
