//! The hybrid logical clock: wall-clock milliseconds and a counter in one number that never goes back.
//!
//! Invariants:
//! 1. A tick is greater than every earlier tick and every observed reading.
//! 2. A tick is never more than [`DRIFT_MS_MAX`] past the wall clock it was given.
//!
//! Source: Kulkarni, Demirbas et al., "Logical Physical Clocks", 2014; here both parts share one
//! 64-bit number (48 bits of milliseconds, 16 of counter), so a counter overflow carries into the time.

use crate::limits::DRIFT_MS_MAX;

/// A reading of the hybrid logical clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(u64);

impl Hlc {
    /// Before every tick; the reading of rows that existed before sync.
    pub const ZERO: Self = Self(0);

    /// Builds the first reading of a millisecond since the Unix epoch.
    pub const fn from_ms(unix_ms: u64) -> Self {
        Self(unix_ms << 16)
    }
    /// Wraps the packed number.
    pub const fn from_u64(packed: u64) -> Self {
        Self(packed)
    }
    /// Unwraps the packed number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
    /// Returns the wall-clock part, in milliseconds since the Unix epoch.
    pub const fn unix_ms(self) -> u64 {
        self.0 >> 16
    }
    /// Returns the reading `ticks` later, or `None` past the end of the number.
    pub const fn checked_add(self, ticks: u64) -> Option<Self> {
        match self.0.checked_add(ticks) {
            Some(packed) => Some(Self(packed)),
            None => None,
        }
    }
    /// Tells whether the reading is further ahead of the wall clock than [`DRIFT_MS_MAX`] allows.
    pub const fn is_ahead_of(self, now_unix_ms: u64) -> bool {
        self.unix_ms() > now_unix_ms.saturating_add(DRIFT_MS_MAX)
    }
}

/// Reports that the next stamp would be too far past the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the last stamp is {ahead_ms} ms ahead of this device's clock, more than the {DRIFT_MS_MAX} ms allowed; set the clock right"
)]
pub struct ClockAheadError {
    /// How far the next stamp would be ahead, in milliseconds.
    pub ahead_ms: u64,
}

/// Hands out readings that only grow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    last: Hlc,
}

impl Clock {
    /// Goes on after the last known reading.
    pub const fn after(last: Hlc) -> Self {
        Self { last }
    }

    /// Returns the last reading handed out or observed.
    pub const fn last(&self) -> Hlc {
        self.last
    }

    /// Reserves `count` consecutive readings and returns the first; the clock stays as it was on error.
    pub fn tick(&mut self, now_unix_ms: u64, count: u64) -> Result<Hlc, ClockAheadError> {
        let first = Hlc::from_ms(now_unix_ms).0.max(self.last.0.saturating_add(1));
        let last = Hlc(first.saturating_add(count.max(1) - 1));
        if last.is_ahead_of(now_unix_ms) {
            return Err(ClockAheadError { ahead_ms: last.unix_ms() - now_unix_ms });
        }
        self.last = last;
        Ok(Hlc(first))
    }

    /// Takes note of another device's reading, so that the next tick is greater.
    pub fn observe(&mut self, remote: Hlc) {
        self.last = self.last.max(remote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn backward_wall_clock_never_turns_the_clock_back() {
        let mut clock = Clock::default();
        let first = clock.tick(1_000_000, 3).unwrap();
        let second = clock.tick(999_000, 1).unwrap();
        assert_eq!(second.as_u64(), first.as_u64() + 3);
    }

    #[test]
    fn clock_refuses_to_run_ahead_and_keeps_its_state() {
        let mut clock = Clock::after(Hlc::from_ms(1_000_000 + DRIFT_MS_MAX + 1));
        let before = clock.last();
        assert_eq!(clock.tick(1_000_000, 1), Err(ClockAheadError { ahead_ms: DRIFT_MS_MAX + 1 }));
        assert_eq!(clock.last(), before);
    }

    proptest! {
        #[test]
        fn ticks_grow(steps in proptest::collection::vec((0u64..2_000_000, 1u64..5000, proptest::option::of(0u64..2_000_000)), 1..50)) {
            let mut clock = Clock::default();
            let mut greatest = Hlc::ZERO;
            for (now, count, seen) in steps {
                if let Some(seen) = seen {
                    clock.observe(Hlc::from_ms(seen));
                    greatest = greatest.max(Hlc::from_ms(seen));
                }
                if let Ok(first) = clock.tick(now, count) {
                    prop_assert!(first > greatest);
                    greatest = first.checked_add(count - 1).unwrap();
                    prop_assert!(!greatest.is_ahead_of(now));
                }
            }
        }
    }
}
