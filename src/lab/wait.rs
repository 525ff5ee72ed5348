//! The one place in the instruments that may pause.

use std::thread;
use std::time::{Duration, Instant};

/// Looks again and again until `look` gives something, at most for `limit`. Looks at least once.
///
/// For what no event announces, such as the end of a process or a number in `/proc`. A read with a timeout needs none.
pub fn wait_until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return None;
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Lets so much time pass. For a client that is slow on purpose.
pub fn wait_for(time: Duration) {
    wait_until(time, || None::<()>);
}
