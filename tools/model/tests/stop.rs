//! The wait group and the stop of chapter 6, in every order of their threads' steps.
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

            use loom::thread::{self, JoinHandle};
            use tcp_pitfalls_model::io::Read;
            use tcp_pitfalls_model::net::{self, SocketAddr, TcpListener, TcpStream, connect};
            use tcp_pitfalls_model::time::Instant;

            use self::chapter_6::connections::{Connections, Seat, Stopped};
            use self::chapter_6::server::Server;
            use self::chapter_6::stop::{Stop, UntilStop};
            use crate::explorer::explore;
            use $module as chapter_6;

            include!("scenarios/stop.rs");
        }
    };
}

scenarios!(chapter, tcp_pitfalls_model::chapter_6);

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
    who_leaves_makes_room
    a_stop_ends_the_wait_for_room
    who_leaves_before_the_stop_is_not_counted
    who_leaves_after_the_stop_is_counted
    who_leaves_while_the_time_runs_out_is_finished_or_cut
    who_hears_of_the_stop_and_leaves_is_counted
    one_of_two_stops_is_the_first
    all_who_wait_hear_of_the_stop
    a_signal_that_interrupts_a_wait_does_not_end_it
    a_stranger_does_not_get_the_news
    a_line_that_had_arrived_before_the_stop_is_answered
    half_a_line_that_had_arrived_before_the_stop_is_read_to_its_end
    what_comes_during_the_stop_is_answered_in_whole_lines
    a_client_who_never_pauses_is_ended_between_two_lines
    who_stays_in_mid_line_is_cut
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
    close_tells_nobody: a_stop_ends_the_wait_for_room, "deadlock";
    close_tells_before_it_sets_the_flag: a_stop_ends_the_wait_for_room, "deadlock";
    closed_is_read_outside_the_lock: a_stop_ends_the_wait_for_room, "deadlock";
    who_left_before_is_counted: who_leaves_before_the_stop_is_not_counted, "2 finished, and 1 before the stop";
    left_and_counted_under_two_locks: who_leaves_after_the_stop_is_counted, "left: Stopped { finished: 1, cut: 0 }";
    finished_and_cut_under_two_locks: who_leaves_while_the_time_runs_out_is_finished_or_cut, "right: 2";
    cut_only_counts: who_stays_in_mid_line_is_cut, "deadlock";
    a_stranger_is_taken_for_the_other_end: a_stranger_does_not_get_the_news, "deadlock";
    the_news_is_for_who_reads_it_first: all_who_wait_hear_of_the_stop, "deadlock";
    every_stop_is_the_first: one_of_two_stops_is_the_first, "server.stop() != other";
    an_interrupted_wait_is_an_error: a_signal_that_interrupts_a_wait_does_not_end_it, "Interrupted";
    what_had_arrived_is_not_asked: a_line_that_had_arrived_before_the_stop_is_answered, "left: []";
    what_had_arrived_is_asked_at_every_read: a_client_who_never_pauses_is_ended_between_two_lines, "never ended";
    the_end_is_given_in_mid_line: half_a_line_that_had_arrived_before_the_stop_is_read_to_its_end, "left: [97, 10, 98]";
    the_stop_is_looked_for_between_lines_only: a_client_who_never_pauses_is_ended_between_two_lines, "never ended";
    what_stands_behind_the_last_line_is_given_out: a_client_who_never_pauses_is_ended_between_two_lines, "never ended";
    the_stop_begins_before_those_who_leave_are_counted: who_hears_of_the_stop_and_leaves_is_counted, "left: Stopped { finished: 0, cut: 0 }";
}
