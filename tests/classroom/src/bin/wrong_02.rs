//! Exercise 02 with one mistake: `wrong_02 --fault NAME ADDR`. See `faults/02.diff`.

#![allow(warnings, clippy::all, clippy::pedantic)] // A mistake leaves things unused.

include!(concat!(env!("OUT_DIR"), "/wrong_02.rs"));
