//! The wait group and the stop signal of chapter 6, in every order of their threads' steps.
//!
//! A lost wake-up shows as a deadlock: in these models no time ever runs out. `--nocapture` prints how many orders a
//! scenario has.

mod explorer;

/// The scenarios, with the module that is to be tried.
macro_rules! scenarios {
    ($name:ident, $module:path) => {
        #[allow(dead_code, clippy::wildcard_imports)]
        mod $name {
            use std::sync::Arc;
            use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

            use loom::thread;
            use tcp_pitfalls_model::io::Read;
            use tcp_pitfalls_model::net::{self, Client};
            use tcp_pitfalls_model::time::Instant;

            use crate::explorer::{explore, explore_likely};
            use $module::*;

            include!("scenarios/connections.rs");
        }
    };
}

scenarios!(chapter, tcp_pitfalls_model::connections);

macro_rules! hold {
    ($($scenario:ident)*) => {
        $(#[test]
        fn $scenario() {
            chapter::$scenario();
        })*
    };
}

hold! {
    the_last_to_leave_ends_the_wait
    who_leaves_during_the_stop_is_counted_at_most_once
    all_who_were_open_at_the_stop_are_counted
    who_leaves_while_the_time_runs_out_is_finished_or_cut
    a_stop_ends_the_wait_for_room
    who_leaves_makes_room
    one_of_two_stops_is_the_first
    a_stop_ends_silent_connections
    a_line_that_has_arrived_before_the_stop_is_answered
    half_a_line_that_has_arrived_before_the_stop_may_be_ended
    a_line_that_arrives_during_the_stop_keeps_nobody
}

/// A broken copy, the scenario that finds its mistake, and what it finds.
macro_rules! fall {
    ($($mistake:ident: $scenario:ident, $finding:literal;)*) => {
        $(scenarios!($mistake, tcp_pitfalls_model::broken::$mistake);)*

        /// Only to be run by those in `found`: loom ends a deadlock with two panics, and so the process.
        mod plays {
            $(#[test]
            #[ignore = "it fails, as it is meant to"]
            fn $mistake() {
                super::$mistake::$scenario();
            })*
        }

        mod found {
            $(#[test]
            fn $mistake() {
                crate::explorer::finds(concat!("plays::", stringify!($mistake)), $finding);
            })*
        }
    };
}

fall! {
    leaving_tells_nobody: the_last_to_leave_ends_the_wait, "deadlock";
    stop_tells_nobody: a_stop_ends_the_wait_for_room, "deadlock";
    stop_tells_before_it_locks: a_stop_ends_the_wait_for_room, "deadlock";
    flag_is_read_outside_the_lock: a_stop_ends_the_wait_for_room, "deadlock";
    rest_looks_before_it_says_so: a_stop_ends_silent_connections, "deadlock";
    rest_does_not_look: a_stop_ends_silent_connections, "deadlock";
    stop_cuts_lines_that_have_arrived: half_a_line_that_has_arrived_before_the_stop_may_be_ended, "first half was read";
    left_and_counted_under_two_locks: all_who_were_open_at_the_stop_are_counted, "left: (1, 0)";
    finished_and_cut_under_two_locks: who_leaves_while_the_time_runs_out_is_finished_or_cut, "right: 2";
    every_stop_is_the_first: one_of_two_stops_is_the_first, "this != other";
}
