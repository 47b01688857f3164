//! Failpoints: named places between two steps, where a test may break this process.
//!
//! The facility lies in the lowest crate that has steps worth breaking; `store` names its own points
//! with it. A build with debug assertions reads the environment variable [`VARIABLE`] once, when the
//! first point is reached. Without the variable a point is one load and one branch; a release build
//! has no points at all, whatever the environment says.
//!
//! ```text
//! CESS_FAILPOINTS = "NAME=ACTION[@FIRST][*TIMES];…"
//!
//! ACTION  kill      SIGKILL to this process, there and then
//!         eio       the step fails as if the disk had
//!         enospc    the step fails as if the disk were full
//!         delay:MS  the step begins so many milliseconds later
//! FIRST   number of the first visit that counts, from 1 (default 1)
//! TIMES   visits that count from there on (default: all)
//! ```
use std::io;
#[cfg(debug_assertions)]
use std::time::Duration;

/// The environment variable that says what happens where.
pub const VARIABLE: &str = "CESS_FAILPOINTS";

/// A commit is about to reach the engine.
pub const COMMIT: Point = Point::new("meta.commit");
/// A group's commits are about to be synced.
pub const SYNC: Point = Point::new("meta.sync");
/// A group is synced; the guard file does not say so yet.
pub const SYNCED: Point = Point::new("meta.synced");
/// The guard file says so; nobody was answered yet.
pub const GUARDED: Point = Point::new("meta.guarded");

/// The points of this crate.
pub const POINTS: [Point; 4] = [COMMIT, SYNC, SYNCED, GUARDED];

/// A named place between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point(&'static str);

impl Point {
    /// A point with this name. Names are `part.step`, and no two are the same.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// The process has come here, on a thread that may block. An error stands for a failed step.
    #[cfg(debug_assertions)]
    pub fn reach(self) -> io::Result<()> {
        match armed::visit(self.0) {
            None => Ok(()),
            Some(armed::Action::Delay(time)) => {
                std::thread::sleep(time);
                Ok(())
            }
            Some(action) => action.act(self.0),
        }
    }

    /// The process has come here, in a task that must not block. An error stands for a failed step.
    #[cfg(debug_assertions)]
    pub async fn reach_async(self) -> io::Result<()> {
        match armed::visit(self.0) {
            None => Ok(()),
            Some(armed::Action::Delay(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(action) => action.act(self.0),
        }
    }

    /// A release build has no points.
    #[cfg(not(debug_assertions))]
    #[inline(always)]
    pub const fn reach(self) -> io::Result<()> {
        Ok(())
    }

    /// A release build has no points.
    #[cfg(not(debug_assertions))]
    #[inline(always)]
    pub async fn reach_async(self) -> io::Result<()> {
        Ok(())
    }
}

/// What the environment asked for.
#[cfg(debug_assertions)]
mod armed {
    use std::collections::BTreeMap;
    use std::sync::OnceLock;

    use parking_lot::Mutex;

    use super::{Duration, VARIABLE, io};

    /// What happens at a point.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Action {
        Kill,
        Fail(nix::errno::Errno),
        Delay(Duration),
    }

    impl Action {
        /// Everything but a delay.
        pub(super) fn act(self, name: &str) -> io::Result<()> {
            match self {
                Self::Delay(_) => Ok(()),
                Self::Fail(errno) => {
                    tracing::warn!(point = name, %errno, "failpoint");
                    Err(errno.into())
                }
                Self::Kill => {
                    use std::io::Write as _;
                    // What a test looks for; a process that is about to die has no other reader.
                    let _ = writeln!(io::stderr(), "failpoint {name}: killed");
                    let killed = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
                    // The signal takes this thread before it comes back from the system call.
                    Err(killed.err().unwrap_or(nix::errno::Errno::EINTR).into())
                }
            }
        }
    }

    /// An action and the visits that it still waits for, and still counts for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Armed {
        pub(super) action: Action,
        pub(super) skip: u64,
        pub(super) times: u64,
    }

    type Points = BTreeMap<String, Armed>;

    /// `None`: nothing was asked for.
    fn points() -> Option<&'static Mutex<Points>> {
        static POINTS: OnceLock<Option<Mutex<Points>>> = OnceLock::new();
        POINTS
            .get_or_init(|| {
                let text = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty())?;
                match parse(&text) {
                    Ok(points) => {
                        tracing::warn!(variable = VARIABLE, %text, "this process is to be broken by a test");
                        Some(Mutex::new(points))
                    }
                    Err(wrong) => {
                        tracing::error!(variable = VARIABLE, %wrong, "not understood; no failpoint is set");
                        None
                    }
                }
            })
            .as_ref()
    }

    pub(super) fn visit(name: &str) -> Option<Action> {
        let mut points = points()?.lock();
        let armed = points.get_mut(name)?;
        if armed.skip > 0 {
            armed.skip -= 1;
            return None;
        }
        armed.times = armed.times.checked_sub(1)?;
        Some(armed.action)
    }

    /// Answers the part that is wrong.
    pub(super) fn parse(text: &str) -> Result<Points, String> {
        text.split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| one(part).ok_or_else(|| part.to_owned()))
            .collect()
    }

    fn one(part: &str) -> Option<(String, Armed)> {
        let (name, rest) = part.split_once('=')?;
        let (rest, times) = match rest.split_once('*') {
            Some((rest, times)) => (rest, times.parse().ok()?),
            None => (rest, u64::MAX),
        };
        let (action, first) = match rest.split_once('@') {
            Some((action, first)) => (action, first.parse::<u64>().ok()?),
            None => (rest, 1),
        };
        let action = match action.split_once(':') {
            None if action == "kill" => Action::Kill,
            None if action == "eio" => Action::Fail(nix::errno::Errno::EIO),
            None if action == "enospc" => Action::Fail(nix::errno::Errno::ENOSPC),
            Some(("delay", millis)) => Action::Delay(Duration::from_millis(millis.parse().ok()?)),
            _ => return None,
        };
        let skip = first.checked_sub(1)?;
        Some((name.trim().to_owned(), Armed { action, skip, times }))
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::armed::{Action, Armed, parse};
    use super::*;

    #[test]
    fn orders_are_read_and_mistakes_are_named() {
        let points = parse("a.b=kill@3; c.d=delay:250*2;e.f=eio;").unwrap();
        let expected = [
            ("a.b", Action::Kill, 2, u64::MAX),
            ("c.d", Action::Delay(Duration::from_millis(250)), 0, 2),
            ("e.f", Action::Fail(nix::errno::Errno::EIO), 0, u64::MAX),
        ];
        for (name, action, skip, times) in expected {
            assert_eq!(points[name], Armed { action, skip, times });
        }
        for wrong in [
            "a",
            "a=",
            "a=die",
            "a=delay",
            "a=delay:x",
            "a=kill@0",
            "a=kill@x",
            "a=eio*x",
        ] {
            assert_eq!(parse(wrong).unwrap_err(), wrong);
        }
    }

    #[test]
    fn without_an_order_nothing_happens() {
        for point in POINTS {
            point.reach().unwrap();
        }
    }
}
