//! Exercise 03 with one mistake: `wrong_03 --fault NAME ADDR`. See `faults/03.diff`.

#![allow(warnings, clippy::all, clippy::pedantic)] // A mistake leaves things unused.

include!(concat!(env!("OUT_DIR"), "/wrong_03.rs"));
