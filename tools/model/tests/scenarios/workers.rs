// Played with the chapter's file and with each broken copy, so `Workers` is whichever is tried.

/// Enough for a visit of a scenario.
const STACK_SIZE: usize = 128 * 1024;

/// A flag that a visit raises or waits for.
#[derive(Clone, Default)]
struct Flag(Arc<(Mutex<bool>, Condvar)>);

impl Flag {
    fn raise(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |raised| !*raised).unwrap());
    }
}

/// Has a visit run that raises a flag.
fn visit(workers: &Arc<Workers>) -> Flag {
    let flag = Flag::default();
    let raised = flag.clone();
    workers.run(Box::new(move || raised.raise())).unwrap();
    flag
}

pub(super) fn each_visit_is_run() {
    explore_within(Some(2), || {
        let workers = Workers::new(STACK_SIZE);
        for _ in 0..2 {
            visit(&workers).wait();
        }
        workers.time_runs_out();
    });
}

pub(super) fn a_visit_that_comes_when_the_free_thread_gives_up_is_run() {
    explore_within(Some(2), || {
        let workers = Workers::new(STACK_SIZE);
        visit(&workers).wait();
        let time = thread::spawn({
            let workers = Arc::clone(&workers);
            move || workers.time_runs_out()
        });
        visit(&workers).wait();
        time.join().unwrap();
    });
}

pub(super) fn no_visit_waits_for_another_to_end() {
    explore_within(Some(2), || {
        let workers = Workers::new(STACK_SIZE);
        visit(&workers).wait();
        // A client that is silent until the next one has been served.
        let next_is_served = Flag::default();
        let silent = next_is_served.clone();
        workers.run(Box::new(move || silent.wait())).unwrap();
        visit(&workers).wait();
        next_is_served.raise();
        workers.time_runs_out();
    });
}
