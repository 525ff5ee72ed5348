//! The workers of chapter 7, in every order of their threads' steps. A visit that nobody runs shows as a deadlock.

mod explorer;

/// The scenarios, with the module that is to be tried.
macro_rules! scenarios {
    ($name:ident, $module:path) => {
        #[allow(dead_code)]
        mod $name {
            use std::sync::Arc;

            use loom::sync::Mutex;
            use loom::thread;
            use tcp_pitfalls_model::sync::Condvar;

            use self::chapter_7::workers::Workers;
            use crate::explorer::explore_within;
            use $module as chapter_7;

            include!("scenarios/workers.rs");
        }
    };
}

scenarios!(chapter, tcp_pitfalls_model::chapter_7);

#[test]
fn each_visit_is_run() {
    chapter::each_visit_is_run();
}

#[test]
fn a_visit_that_comes_when_the_free_thread_gives_up_is_run() {
    chapter::a_visit_that_comes_when_the_free_thread_gives_up_is_run();
}

#[test]
fn no_visit_waits_for_another_to_end() {
    chapter::no_visit_waits_for_another_to_end();
}

/// A broken copy, and the scenario that finds its mistake.
macro_rules! fall {
    ($($mistake:ident: $scenario:ident;)*) => {
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
                crate::explorer::finds(concat!("plays::", stringify!($mistake)), "deadlock");
            })*
        }
    };
}

fall! {
    nobody_is_told_of_a_visit: each_visit_is_run;
    a_free_thread_is_given_two_visits: no_visit_waits_for_another_to_end;
    who_has_given_up_is_still_counted_as_free: a_visit_that_comes_when_the_free_thread_gives_up_is_run;
    a_visit_that_has_come_is_not_looked_for_before_giving_up: a_visit_that_comes_when_the_free_thread_gives_up_is_run;
}
