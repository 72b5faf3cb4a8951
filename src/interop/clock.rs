//! Time that only goes forward, in nanoseconds.

/// Chooses the cheapest clock.
pub fn prepare() {
    platform::prepare();
}

/// The time by the clock that is precise. It stands still while the machine sleeps (on Linux and macOS).
pub fn precise() -> u64 {
    platform::precise()
}

/// How far the cheapest clock is behind at most. It ticks each 4 ms; on a loaded machine it was seen to lag by 7.9 ms.
const LAG: u64 = 50_000_000;

/// The time by the cheapest clock, which is never ahead of [`precise`].
#[inline]
pub fn cheap() -> u64 {
    platform::cheap()
}

/// Whether a time has come, by what [`cheap`] just said; where that can't tell, the precise clock is asked.
#[inline]
pub fn is_past(time: u64, cheap: u64) -> bool {
    time <= cheap.saturating_add(LAG) && time <= precise()
}

#[cfg(target_os = "linux")]
mod platform {
    use std::sync::atomic::{AtomicI32, Ordering};

    const SECOND: u64 = 1_000_000_000;

    fn nanoseconds(time: libc::timespec) -> u64 {
        #[allow(clippy::cast_sign_loss, reason = "no such clock is before its start")]
        let (seconds, nanoseconds) = (time.tv_sec as u64, time.tv_nsec as u64);
        seconds * SECOND + nanoseconds
    }

    #[inline]
    fn read(clock: libc::clockid_t) -> u64 {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the pointer is valid for the call, which fails only for clocks that the system doesn't know; the time is
        // zero then, and nothing is due.
        unsafe { libc::clock_gettime(clock, &raw mut time) };
        nanoseconds(time)
    }

    static CHEAP: AtomicI32 = AtomicI32::new(libc::CLOCK_MONOTONIC);

    /// Takes the coarse clock where its steps are at most 4 ms, a kernel's tick at 250 Hz.
    pub fn prepare() {
        let mut step = libc::timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        // SAFETY: as above; where it fails, the step stays too long.
        unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut step) };
        if (1..=4_000_000).contains(&nanoseconds(step)) {
            CHEAP.store(libc::CLOCK_MONOTONIC_COARSE, Ordering::Relaxed);
        }
    }

    pub fn precise() -> u64 {
        read(libc::CLOCK_MONOTONIC)
    }

    #[inline]
    pub fn cheap() -> u64 {
        read(CHEAP.load(Ordering::Relaxed))
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::sync::LazyLock;
    use std::time::Instant;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    pub fn prepare() {}

    pub fn precise() -> u64 {
        u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX - 1)
    }

    #[inline]
    pub fn cheap() -> u64 {
        precise()
    }
}
