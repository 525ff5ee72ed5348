//! Looks for a stream in which `line_reader_agrees` of tests/streams does not hold.

#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;

#[path = "../../../tests/streams/mod.rs"]
mod streams;

fuzz_target!(|bytes: &[u8]| {
    // The only error would be a lack of bytes.
    let _ = streams::line_reader_agrees(&mut Unstructured::new(bytes));
});
