//! Makes a conversation shorter that ends with a difference, as long as it still does.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Act, Step};

/// The shortest conversation that was found until then, each step towards it tried with a new server.
pub(super) fn shortest(steps: &[Step], until: Instant, fails: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut shortest = steps.to_vec();
    let keep_if_it_fails = |shorter: Vec<Step>, shortest: &mut Vec<Step>| {
        if Instant::now() < until && shorter != *shortest && fails(&shorter) {
            *shortest = shorter;
        }
    };
    // Whole clients first.
    for who in steps.iter().map(|step| step.who).collect::<BTreeSet<_>>() {
        let without = shortest.iter().filter(|step| step.who != who).cloned().collect();
        keep_if_it_fails(without, &mut shortest);
    }
    // Then halves of the steps, quarters, and so on.
    leave_out(shortest.len(), until, |from, to| keep_if_it_fails(without(&shortest, from, to), &mut shortest));
    // Then what is said: in one piece, and less of it.
    for index in 0..shortest.len() {
        let said = |steps: &[Step]| match &steps[index].act {
            Act::Say(pieces) => pieces.clone(),
            _ => Vec::new(),
        };
        let saying = |pieces: Vec<Vec<u8>>, steps: &[Step]| {
            let mut steps = steps.to_vec();
            steps[index].act = Act::Say(pieces);
            steps
        };
        let pieces = said(&shortest);
        if pieces.len() > 1 {
            keep_if_it_fails(saying(vec![pieces.concat()], &shortest), &mut shortest);
        }
        for piece in 0..said(&shortest).len() {
            leave_out(said(&shortest)[piece].len(), until, |from, to| {
                let mut pieces = said(&shortest);
                pieces[piece] = without(&pieces[piece], from, to);
                keep_if_it_fails(saying(pieces, &shortest), &mut shortest);
            });
        }
    }
    shortest
}

/// All of these but those from `from` to `to`, as far as there are so many.
fn without<T: Clone>(all: &[T], from: usize, to: usize) -> Vec<T> {
    [&all[..from.min(all.len())], &all[to.min(all.len())..]].concat()
}

/// Tries to leave out each half, each quarter, and so on of so many things, from the end to the beginning, so that what
/// stands before keeps its place.
fn leave_out(count: usize, until: Instant, mut without: impl FnMut(usize, usize)) {
    let mut size = count.div_ceil(2);
    while size > 0 {
        for from in (0..count.div_ceil(size)).rev().map(|part| part * size) {
            if Instant::now() >= until {
                return;
            }
            without(from, from + size);
        }
        size /= 2;
    }
}
