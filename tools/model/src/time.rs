//! `std::time`, where now is always the same.

pub use core::time::Duration;

/// Now, or never.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Instant {
    Now,
    Never,
}

impl Instant {
    pub fn now() -> Self {
        Instant::Now
    }

    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        if self == earlier { Duration::ZERO } else { Duration::MAX }
    }
}
