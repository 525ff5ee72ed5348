//! Puts the chapter's files into modules, once as they are and once with each mistake, so that no copy is kept and none
//! falls behind.

use std::path::Path;
use std::{env, fs};

/// A mistake: its name, and what it puts in place of what.
type Mistake = (&'static str, &'static [(&'static str, &'static str)]);

/// Those in chapter 7's workers.
const MISTAKES_OF_WORKERS: &[Mistake] = &[
    ("nobody_is_told_of_a_visit", &[("self.visit_waits.notify_one();", "")]),
    ("a_free_thread_is_given_two_visits", &[("if work.free > work.visits.len() {", "if work.free > 0 {")]),
    (
        "who_has_given_up_is_still_counted_as_free",
        &[(
            "work.free -= 1;\n        work.visits.pop_front()",
            "let visit = work.visits.pop_front();\n        drop(work);\n        self.lock().free -= 1;\n        visit",
        )],
    ),
    (
        "a_visit_that_has_come_is_not_looked_for_before_giving_up",
        &[(
            "work.free -= 1;\n        work.visits.pop_front()",
            "work.free -= 1;\n        work.visits.pop_front().filter(|_| !self.visit_waits.is_over())",
        )],
    ),
];

/// Those in chapter 6's wait group and stop.
const MISTAKES: &[Mistake] = &[
    // In connections.rs.
    (
        "leaving_tells_nobody",
        &[(
            "members.finished += usize::from(members.closed);\n        self.connections.changed.notify_all();",
            "members.finished += usize::from(members.closed);",
        )],
    ),
    (
        "close_tells_nobody",
        &[("self.lock().closed = true;\n        self.changed.notify_all();", "self.lock().closed = true;")],
    ),
    (
        "close_tells_before_it_sets_the_flag",
        &[(
            "self.lock().closed = true;\n        self.changed.notify_all();",
            "self.changed.notify_all();\n        self.lock().closed = true;",
        )],
    ),
    (
        "closed_is_read_outside_the_lock",
        &[(
            "let full = |members: &mut Members| members.open.len() >= self.limit && !members.closed;",
            "let closed = self.lock().closed;\n        let full = |members: &mut Members| members.open.len() >= self.limit && !closed;",
        )],
    ),
    ("who_left_before_is_counted", &[("members.finished += usize::from(members.closed);", "members.finished += 1;")]),
    (
        "left_and_counted_under_two_locks",
        &[(
            "drop(members.open.remove(&self.id));",
            "drop(members.open.remove(&self.id));\n        drop(members);\n        let mut members = self.connections.lock();",
        )],
    ),
    (
        "finished_and_cut_under_two_locks",
        &[
            (
                "pub fn cut(&self) -> Stopped {",
                "pub fn cut(&self) -> Stopped {\n        let finished = self.lock().finished;",
            ),
            ("Stopped { finished: members.finished, cut", "Stopped { finished, cut"),
        ],
    ),
    ("cut_only_counts", &[("let _ = stream.shutdown(Shutdown::Both);", "let _ = stream;")]),
    // In stop.rs.
    (
        "a_stranger_is_taken_for_the_other_end",
        &[("if peer == other_end.local_addr()? {", "let _ = peer;\n            if true {")],
    ),
    (
        "the_news_is_for_who_reads_it_first",
        &[
            (
                "other_end.is_some() // Dropped here, and so closed.",
                "other_end.is_some_and(|end| { end.send(b\"!\"); core::mem::forget(end); true })",
            ),
            (
                "Ok(Ready { input, stop })",
                "if stop {\n            (&self.news).read(&mut [0])?;\n        }\n        Ok(Ready { input, stop })",
            ),
        ],
    ),
    (
        "every_stop_is_the_first",
        &[(
            "let other_end = self.other_end.lock().unwrap_or_else(PoisonError::into_inner).take();\n        other_end.is_some()",
            "let first = self.other_end.lock().unwrap_or_else(PoisonError::into_inner).is_some();\n        \
             drop(self.other_end.lock().unwrap_or_else(PoisonError::into_inner).take());\n        first",
        )],
    ),
    (
        "an_interrupted_wait_is_an_error",
        &[("retry_on_intr(|| poll(&mut both, None))?;", "retry_on_intr(|| Ok(()))?;\n        poll(&mut both, None)?;")],
    ),
    (
        "what_had_arrived_is_not_asked",
        &[("Some(ioctl_fionread(self.stream)?)", "Some(0 * ioctl_fionread(self.stream)?)")],
    ),
    ("what_had_arrived_is_asked_at_every_read", &[("if ready.stop && self.arrived.is_none() {", "if ready.stop {")]),
    (
        "the_end_is_given_in_mid_line",
        &[("if self.arrived == Some(0) && self.between_lines {", "if self.arrived == Some(0) {")],
    ),
    (
        "the_stop_is_looked_for_between_lines_only",
        &[(
            "let ready = self.stop.wait(self.stream)?;",
            "let ready = if self.between_lines { self.stop.wait(self.stream)? } else { Ready { input: true, stop: false } };",
        )],
    ),
    (
        "what_stands_behind_the_last_line_is_given_out",
        &[(".map_or(count, |newline| newline + 1)", ".map_or(count, |_| count)")],
    ),
    // In server.rs.
    (
        "the_stop_begins_before_those_who_leave_are_counted",
        &[(
            "self.connections.close();\n        self.stop.begin()",
            "let first = self.stop.begin();\n        self.connections.close();\n        first",
        )],
    ),
];

/// What `server.rs` puts round its `stop`, as far as that concerns it. The whole file would need much more of std.
const SERVER: &str = "
    use std::sync::Arc;
    use super::{connections::Connections, stop::Stop};
    pub struct Server {
        pub connections: Arc<Connections>,
        pub stop: Arc<Stop>,
    }
    impl Server {
";

/// Time, for chapter 7's workers: a free thread waits no longer once it has run out.
const TIME: &str = "
    impl Workers {
        pub fn time_runs_out(&self) {
            let _nobody_is_about_to_wait = self.lock();
            self.visit_waits.run_out();
        }
    }
";

fn main() {
    let server = chapter(6, "server.rs");
    let (_, stop) = server.split_once("    /// Begins the stop").expect("server.rs has its stop");
    let (stop, _) = stop.split_once("\n    }\n").expect("its stop has an end");
    let chapter_6 = format!(
        "pub mod connections {{\n{}}}\npub mod stop {{\n{}}}\npub mod server {{{SERVER}    /// Begins the stop{stop}\n    }}\n}}}}\n",
        chapter(6, "connections.rs"),
        chapter(6, "stop.rs")
    );
    // The model is made without the standard library, and so without its prelude.
    let workers = chapter(7, "workers.rs").replace(" Box<dyn", " alloc::boxed::Box<dyn");
    let chapter_7 = format!("pub mod workers {{\n{workers}\n{TIME}}}\n");
    write("chapter_6.rs", &chapter_6);
    write("chapter_7.rs", &chapter_7);
    write("broken.rs", &(broken(&chapter_6, MISTAKES) + &broken(&chapter_7, MISTAKES_OF_WORKERS)));

    let pitfall = chapter(6, "pitfall.rs");
    let start = pitfall.find("/// A wait group as in Go").expect("pitfall.rs ends with its wait group");
    write("count.rs", &pitfall[start..]);
}

/// A copy of the text for each mistake.
fn broken(text: &str, mistakes: &[Mistake]) -> String {
    let with_mistake = |(name, replacements): &Mistake| {
        let mut text = text.to_owned();
        for (from, to) in *replacements {
            assert_eq!(text.matches(from).count(), 1, "{name}: the chapter's files no longer hold once: {from}");
            text = text.replace(from, to);
        }
        format!("pub mod {name} {{\n{text}}}\n")
    };
    mistakes.iter().map(with_mistake).collect()
}

fn chapter(number: usize, name: &str) -> String {
    let folder = if number == 6 { "06_graceful_shutdown" } else { "07_thread_pool" };
    let path = Path::new("../../chapters").join(folder).join(name);
    println!("cargo::rerun-if-changed={}", path.display());
    // Windows may check files out with its own line ends.
    fs::read_to_string(&path).expect("the chapter is there").replace("\r\n", "\n")
}

fn write(name: &str, text: &str) {
    fs::write(Path::new(&env::var_os("OUT_DIR").unwrap()).join(name), text).unwrap();
}
