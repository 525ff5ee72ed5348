//! Makes a conversation shorter that ends with a difference, as long as it still does.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Act, Step};

/// The shortest conversation that was found until then, each step towards it tried with a new server.
pub(super) fn shortest(steps: &[Step], until: Instant, fails: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut shortest = steps.to_vec();
    let keep_if_it_fails = |shorter: Vec<Step>, shortest: &mut Vec<Step>| {
        let better = Instant::now() < until && shorter != *shortest && fails(&shorter);
        if better {
            *shortest = shorter;
        }
        better
    };
    // Whole clients first.
    for who in steps.iter().map(|step| step.who).collect::<BTreeSet<_>>() {
        let without = shortest.iter().filter(|step| step.who != who).cloned().collect();
        keep_if_it_fails(without, &mut shortest);
    }
    // Then halves of the steps, quarters, and so on.
    leave_out(shortest.len(), until, |from, to| {
        let left = [&shortest[..from.min(shortest.len())], &shortest[to.min(shortest.len())..]].concat();
        keep_if_it_fails(left, &mut shortest)
    });
    // Then what is said: in one piece, and less of it.
    for index in 0..shortest.len() {
        let Act::Say(pieces) = &shortest[index].act else { continue };
        let with = |pieces: Vec<Vec<u8>>, shortest: &[Step]| {
            let mut steps = shortest.to_vec();
            steps[index].act = Act::Say(pieces);
            steps
        };
        let mut pieces = pieces.clone();
        if keep_if_it_fails(with(vec![pieces.concat()], &shortest), &mut shortest) {
            pieces = vec![pieces.concat()];
        }
        for piece in 0..pieces.len() {
            leave_out(pieces[piece].len(), until, |from, to| {
                let mut less = pieces.clone();
                let whole = &pieces[piece];
                less[piece] = [&whole[..from.min(whole.len())], &whole[to.min(whole.len())..]].concat();
                let better = keep_if_it_fails(with(less.clone(), &shortest), &mut shortest);
                if better {
                    pieces = less;
                }
                better
            });
        }
    }
    shortest
}

/// Tries to leave out each half, each quarter, and so on of so many things, from the end to the beginning, so that what
/// stands before keeps its place.
fn leave_out(count: usize, until: Instant, mut without: impl FnMut(usize, usize) -> bool) {
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
