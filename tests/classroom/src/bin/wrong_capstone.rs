//! Exercise capstone with one mistake: `wrong_capstone --fault NAME ADDR`. See `faults/capstone.diff`.

#![allow(warnings, clippy::all, clippy::pedantic)] // A mistake leaves things unused.

include!(concat!(env!("OUT_DIR"), "/wrong_capstone.rs"));
