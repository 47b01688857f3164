//! The scrubber: looks at every segment once in a while, for ever.
//!
//! A round goes over all verified packs, in order, and looks at the segments that are due:
//! healthy ones once per `scrub_interval`, those in doubt eight times within `miner_patience`. Each
//! look is noted in the segment's health, so a restart goes on where the round was. A segment at
//! risk has its whole pack stored again at once ([`crate::health::repair`]); one of which something
//! could not be had is tried again with growing pauses, or when somebody asks.
//!
//! An operator may ask for a round over everything, or over some segments, at any time; it goes
//! before the regular one. Reads are paced by the worker's limit, whoever asked.
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cess::Hash;
use cess::codec::FRAGMENTS;
use meta::Durability;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::health::attempts::Attempts;
use crate::health::judge::{LOOKS, counts, due, judge, spacing};
use crate::health::listing::{self, Listing};
use crate::health::look::{self, Finding, Segment};
use crate::health::record::{self, FragmentState, Record};
use crate::health::repair::{self, live};
use crate::health::report::{self, ScrubReport};
use crate::health::{Shared, now};
use crate::pack::record::{self as packs, Names};
use crate::place::StepError;
use crate::{Error, PackState, Result};

/// Longest pause between two rounds: clocks that jumped are noticed after it.
const PAUSE_MAX: Duration = Duration::from_mins(10);
/// Segments named in a report.
const NAMED: usize = 100;

/// What a round goes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// What is due.
    Due,
    /// Everything.
    All,
    /// These segments (pack, number).
    Segments(BTreeSet<(u64, u32)>),
}

impl Scope {
    /// Whether a segment belongs to it. `rested`: enough time of this process has passed since the
    /// last look at it.
    fn covers(&self, shared: &Shared, pack: u64, number: u32, known: &Record, rested: bool) -> bool {
        match self {
            Self::Due => rested && due(known, &shared.settings, now()),
            Self::All => true,
            Self::Segments(wanted) => wanted.contains(&(pack, number)),
        }
    }
}

/// Rounds that were asked for, and what paces the regular ones.
#[derive(Default)]
pub(crate) struct Rounds {
    asked: Mutex<VecDeque<(Scope, oneshot::Sender<Result<ScrubReport>>)>>,
    wake: Notify,
    /// When this process looked at segments in doubt; by a clock that does not jump.
    doubted: Mutex<HashMap<(u64, u32), Instant>>,
    /// When a look that counted did not find the file of a segment on the chain; by the same clock.
    unlisted: Mutex<HashMap<(u64, u32), Instant>>,
    /// Packs of which something could not be had.
    attempts: Attempts,
}

impl Rounds {
    /// Runs a round over `scope`; answers what it found.
    pub(crate) async fn ask(&self, scope: Scope) -> Result<ScrubReport> {
        let (answer, answered) = oneshot::channel();
        self.asked.lock().push_back((scope, answer));
        self.wake.notify_one();
        answered.await.unwrap_or(Err(Error::ShuttingDown))
    }

    fn rested(&self, pack: u64, number: u32, known: &Record, shared: &Shared) -> bool {
        let looked = self.doubted.lock().get(&(pack, number)).copied();
        looked.is_none_or(|looked| looked.elapsed() >= spacing(known, &shared.settings))
    }
}

/// Scrubs until everything stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    shared.inner.keeper.opened().await;
    loop {
        shared.worker.turn().await;
        let asked = shared.rounds.asked.lock().pop_front();
        let scope = asked.as_ref().map_or(Scope::Due, |(scope, _)| scope.clone());
        let found = round(&shared, &scope).await;
        if let Err(error) = &found {
            tracing::warn!(%error, "a round of the scrubber failed");
            shared.worker.failed(error);
        }
        if let Some((_, answer)) = asked {
            // Who asked may have gone.
            let _ = answer.send(found);
            continue;
        }
        if !shared.rounds.asked.lock().is_empty() {
            continue;
        }
        let pause = pause(&shared).unwrap_or(PAUSE_MAX);
        shared.worker.waits(pause);
        tokio::select! {
            () = shared.rounds.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Time until the next look is due.
fn pause(shared: &Shared) -> Result<Duration> {
    let now = now();
    let mut next = PAUSE_MAX;
    report::each(&*shared.inner.meta.snapshot()?, |pack, number, known| {
        let spacing = spacing(known, &shared.settings);
        let age = Duration::from_millis(now.saturating_sub(known.looked));
        let mut left = spacing.saturating_sub(age);
        if let Some(looked) = shared.rounds.doubted.lock().get(&(pack, number)) {
            left = left.max(spacing.saturating_sub(looked.elapsed()));
        }
        next = next.min(left);
        Ok(())
    })?;
    Ok(next.max(shared.pace.tick))
}

/// Goes over the packs once.
async fn round(shared: &Arc<Shared>, scope: &Scope) -> Result<ScrubReport> {
    let mut report = ScrubReport::default();
    let all: BTreeSet<u64> = packs::all(&*shared.inner.meta.snapshot()?)?
        .into_iter()
        .map(|(pack, _)| pack)
        .collect();
    for seen in [&shared.rounds.doubted, &shared.rounds.unlisted] {
        seen.lock().retain(|(pack, _), _| all.contains(pack));
    }
    shared.rounds.attempts.retain(&all);
    for pack in all {
        if *scope == Scope::Due && !shared.rounds.asked.lock().is_empty() {
            // Somebody waits; what is due stays due.
            break;
        }
        match look_at_pack(shared, pack, scope, &mut report).await {
            Ok(()) => {}
            Err(StepError::Store(error @ (Error::ShuttingDown | Error::Meta(_)))) => return Err(error),
            Err(error) => {
                tracing::warn!(pack, %error, "a pack cannot be cared for now");
                shared.worker.failed(&format!("pack {pack}: {error}"));
            }
        }
    }
    report
        .segments
        .sort_by_key(|segment| (segment.good + segment.doubtful, segment.good));
    report.segments.truncate(NAMED);
    Ok(report)
}

/// Looks at the segments of a pack that belong to the round, and stores it again if it must be.
async fn look_at_pack(
    shared: &Arc<Shared>,
    pack: u64,
    scope: &Scope,
    report: &mut ScrubReport,
) -> Result<(), StepError> {
    let (fid, mut names, wanted) = {
        let snapshot = shared.inner.meta.snapshot()?;
        let Some(about) = packs::get(&*snapshot, pack)? else {
            return Ok(());
        };
        // While staging still has it, it was read back just now.
        let (Some(fid), PackState::Verified, true, false) =
            (about.fid, about.state, about.reclaimed, about.retired)
        else {
            return Ok(());
        };
        let mut wanted = Vec::new();
        for number in 0..about.segments {
            let known = record::get(&*snapshot, pack, number)?.unwrap_or_else(Record::unknown);
            let rested = shared.rounds.rested(pack, number, &known, shared);
            if scope.covers(shared, pack, number, &known, rested) {
                wanted.push(number);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let Some(names) = packs::names(&*snapshot, pack)? else {
            return Err(Error::from(meta::Error::Damaged("pack table: no names".into())).into());
        };
        (Hash(fid), names, wanted)
    };
    shared.worker.turn().await;
    let _work = shared.worker.working(format!("pack {pack}"));
    let listing = listing::ask(shared, pack, fid, &mut names).await?;
    let mut at_risk = Vec::new();
    for number in wanted {
        let known = look_at(shared, pack, fid, number, &names, &listing).await?;
        let standing = judge(&known, &shared.settings, now());
        report.looked += 1;
        if standing.good == FRAGMENTS {
            report.whole += 1;
        } else {
            report.segments.push(report::segment(
                Some(&names),
                pack,
                number,
                Some(&known),
                &shared.settings,
            ));
        }
        if standing.at_risk {
            report.at_risk += 1;
            let text = if listing.listed == Some(false) {
                "the chain does not list the file any more".to_owned()
            } else {
                format!(
                    "segment {number} has {} good fragments of {FRAGMENTS}, {} are lost",
                    standing.good, standing.lost
                )
            };
            at_risk.push(text);
        }
    }
    let Some(reason) = at_risk.first() else {
        shared.rounds.attempts.done(pack);
        return Ok(());
    };
    let good = good(shared, pack)?;
    if *scope == Scope::Due && !shared.rounds.attempts.is_due(pack, good, Instant::now()) {
        return Ok(());
    }
    tracing::warn!(pack, %reason, "pack is at risk and stored again");
    shared.worker.count("repairs tried", 1);
    let outcome = repair::repair(shared, pack, reason).await?;
    shared.worker.count("chunks brought back", outcome.moved);
    report.moved_chunks += outcome.moved;
    report.lost_chunks += outcome.lost;
    if outcome.lost == 0 {
        shared.rounds.attempts.done(pack);
    } else {
        let text = format!("pack {pack}: {} chunks cannot be rebuilt now", outcome.lost);
        shared.worker.failed(&text);
        // Looks at a segment in such a state come as often as this; an attempt costs more.
        let first = 2 * (shared.settings.miner_patience / LOOKS);
        let longest = shared.settings.scrub_interval;
        let attempts = &shared.rounds.attempts;
        attempts.left(pack, good, first, longest, Instant::now());
    }
    Ok(())
}

/// Good fragments in all segments of a pack, as far as the last looks know.
fn good(shared: &Shared, pack: u64) -> Result<usize> {
    let snapshot = shared.inner.meta.snapshot()?;
    let segments = packs::get(&*snapshot, pack)?.map_or(0, |about| about.segments);
    let mut good = 0;
    for number in 0..segments {
        good += record::get(&*snapshot, pack, number)?.map_or(0, |known| known.good());
    }
    Ok(good)
}

/// Looks at one segment and notes what it found.
async fn look_at(
    shared: &Arc<Shared>,
    pack: u64,
    fid: Hash,
    number: u32,
    names: &Names,
    listing: &Listing,
) -> Result<Record, StepError> {
    let (before, slots) = {
        let snapshot = shared.inner.meta.snapshot()?;
        let known = record::get(&*snapshot, pack, number)?.unwrap_or_else(Record::unknown);
        (known, packs::contents(&*snapshot, pack, number)?)
    };
    let found = if live(&*shared.inner.meta.snapshot()?, pack, number)?.is_empty() {
        // Nothing in it is worth a look.
        None
    } else {
        let segment = Segment {
            fid,
            number,
            names,
            slots: &slots,
        };
        let found = look::look(shared, &segment, usize::from(before.whole) % FRAGMENTS).await;
        shared.worker.count("segments looked at", 1);
        Some(found)
    };
    let states = found.as_ref().map(|found| {
        std::array::from_fn::<_, FRAGMENTS, _>(|index| {
            if listing.withdrawn(number, index) {
                FragmentState::Withdrawn
            } else if listing.left(names, number, index) {
                FragmentState::Left
            } else {
                state(&found[index])
            }
        })
    });
    if let Some(found) = &found {
        for (index, finding) in found.iter().enumerate() {
            if let Finding::OutOfReach(why) | Finding::Missing(why) | Finding::Corrupt(why) = finding {
                tracing::warn!(pack, segment = number, index, %why, "a fragment is not good");
            }
        }
    }
    // When nobody answers, it is this gateway that is cut off. (Zeros answer for themselves.)
    let telling = found.as_ref().is_some_and(|found| {
        found.iter().enumerate().any(|(index, finding)| {
            !names.is_zero(number, index) && !matches!(finding, Finding::OutOfReach(_))
        })
    });
    let (listed, empty, settings) = (listing.listed, found.is_none(), shared.settings.clone());
    let looked = Instant::now();
    let missed = shared.rounds.unlisted.lock().get(&(pack, number)).copied();
    let since = missed.map(|missed| looked.saturating_duration_since(missed));
    let (changed, counted, came_into_sight) = shared
        .inner
        .meta
        .write(Durability::Buffered, move |tx| -> Result<(Record, bool, bool)> {
            let mut known = record::get(tx, pack, number)?.unwrap_or_else(Record::unknown);
            let seen = known.is_seen();
            let now = now();
            if let Some(states) = states {
                for (slot, state) in known.slots.iter_mut().zip(states) {
                    *slot = slot.after(state, now, telling);
                }
                known.whole = (known.whole + 1) % FRAGMENTS as u8;
            }
            let counted = listed == Some(false) && counts(&known, since, &settings, now);
            known.unlisted = match listed {
                Some(true) => 0,
                _ if counted => known.unlisted.saturating_add(1),
                _ => known.unlisted,
            };
            known.looked = now;
            if empty || !judge(&known, &settings, now).at_risk {
                // What could not be rebuilt can be now, or nobody wants it any more.
                known.lost = 0;
            }
            if packs::get(tx, pack)?.is_some() {
                record::put(tx, pack, number, &known)?;
            }
            let came_into_sight = known.is_seen() && !seen;
            Ok((known, counted, came_into_sight))
        })
        .await?;
    if came_into_sight {
        // Its level rises, and copies that were kept for its sake may go.
        shared.placing.retired();
    }
    {
        let mut unlisted = shared.rounds.unlisted.lock();
        if listed == Some(true) {
            unlisted.remove(&(pack, number));
        } else if counted {
            unlisted.insert((pack, number), looked);
        } else if listed == Some(false) {
            // It was looked at before a restart, nobody knows when for certain: that long ago at least.
            unlisted.entry((pack, number)).or_insert(looked);
        }
    }
    let mut doubted = shared.rounds.doubted.lock();
    if spacing(&changed, &shared.settings) < shared.settings.scrub_interval {
        doubted.insert((pack, number), Instant::now());
    } else {
        doubted.remove(&(pack, number));
    }
    Ok(changed)
}

const fn state(finding: &Finding) -> FragmentState {
    match finding {
        Finding::Good => FragmentState::Good,
        Finding::OutOfReach(_) => FragmentState::OutOfReach,
        Finding::Missing(_) => FragmentState::Missing,
        Finding::Corrupt(_) => FragmentState::Corrupt,
    }
}
