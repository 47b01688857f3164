//! Saying that one is there, and looking whether the others are.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meta::Durability;

use super::{DEAD, Members, is_end, rows};
use crate::{Result, clock};

/// Beats in the time after which a member that is silent is declared dead.
const BEATS: u32 = 5;

/// What is known of another member.
struct Seen {
    generation: u64,
    beat: u64,
    /// How long the beat has stood still, as far as that can be blamed on the member.
    silent: Duration,
}

/// Looks at the others.
pub(super) struct Observer {
    seen: HashMap<u16, Seen>,
    last: Option<Instant>,
}

impl Observer {
    pub(super) fn new() -> Self {
        Self {
            seen: HashMap::new(),
            last: None,
        }
    }

    /// Looks once, at `now`, right after an own beat was taken; answers who has been silent for too long,
    /// and in which generation.
    pub(super) fn look(&mut self, members: &Members, now: Instant) -> Result<Vec<(u16, u64)>> {
        let most = members.patience / BEATS * 2;
        let passed = self.last.map_or(Duration::ZERO, |last| {
            now.saturating_duration_since(last).min(most)
        });
        self.last = Some(now);
        let snapshot = members.meta.snapshot()?;
        let mut silent = Vec::new();
        let mut seen = HashMap::new();
        for (member, row) in rows::all(&*snapshot)? {
            if member == members.me.member || !row.alive {
                continue;
            }
            let beat = rows::beat(&*snapshot, member)?.map_or(0, |(beat, _)| beat);
            let stood = match self.seen.get(&member) {
                Some(known) if (known.generation, known.beat) == (row.generation, beat) => {
                    known.silent + passed
                }
                _ => Duration::ZERO,
            };
            if stood >= members.patience {
                silent.push((member, row.generation));
            }
            let generation = row.generation;
            seen.insert(
                member,
                Seen {
                    generation,
                    beat,
                    silent: stood,
                },
            );
        }
        self.seen = seen;
        Ok(silent)
    }

    /// The database was away: nobody can be blamed for the time since the last look.
    pub(super) fn excuse(&mut self) {
        self.last = None;
    }
}

/// Beats and looks until everything stops, or this gateway was declared dead.
pub(crate) async fn run(members: Arc<Members>) {
    if !members.is_shared() {
        return;
    }
    let mut observer = Observer::new();
    let mut beat = 0;
    loop {
        tokio::time::sleep(members.patience / BEATS).await;
        beat += 1;
        match members.beat(beat).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::debug!(%error, "cannot say that this gateway is there");
                observer.excuse();
                continue;
            }
        }
        let looked = match observer.look(&members, clock::monotonic()) {
            Ok(silent) => members.declare_dead(silent).await,
            Err(error) => Err(error),
        };
        if let Err(error) = looked {
            tracing::debug!(%error, "cannot look after the other gateways");
        }
    }
}

impl Members {
    /// Writes a beat; false when this gateway was declared dead. Its metadata may have been moved to another database
    /// since the last one, which numbers its start in its own way: that is what others have to end.
    pub(super) async fn beat(&self, beat: u64) -> Result<bool> {
        let (me, start) = (self.me, self.meta.start());
        let taken = self
            .meta
            .write(Durability::Buffered, move |tx| -> Result<bool> {
                if !super::lives(tx, me)? {
                    return Ok(false);
                }
                if let Some(start) = start
                    && let Some(mut row) = rows::get(tx, me.member)?
                    && row.start != start
                {
                    row.start = start;
                    rows::put(tx, me.member, &row)?;
                }
                rows::put_beat(tx, me.member, beat)?;
                Ok(true)
            })
            .await;
        match taken {
            Ok(true) => Ok(true),
            Ok(false) => {
                self.lose(DEAD);
                Ok(false)
            }
            Err(error) if is_end(&error) => {
                self.lose(DEAD);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends members and says so. What was cut off in between is done by the next who looks.
    pub(crate) async fn declare_dead(&self, silent: Vec<(u16, u64)>) -> Result<()> {
        for (member, generation) in silent {
            let Some(own) = self.meta.start() else { continue };
            let start = {
                let all = rows::all(&*self.meta.snapshot()?)?;
                let same = all
                    .iter()
                    .any(|(number, row)| *number == member && row.alive && row.generation == generation);
                if !same {
                    continue;
                }
                rows::to_end(&all, member, own)
            };
            if let Some(start) = start {
                self.meta.end(start).await?;
            }
            let name = self
                .meta
                .write(Durability::Synced, move |tx| -> Result<Option<String>> {
                    let Some(mut row) = rows::get(tx, member)? else {
                        return Ok(None);
                    };
                    // It may have been started again. Its beats no longer count: its opening has ended.
                    if row.generation != generation || !row.alive {
                        return Ok(None);
                    }
                    row.alive = false;
                    rows::put(tx, member, &row)?;
                    Ok(Some(row.name))
                })
                .await?;
            if let Some(name) = name {
                tracing::warn!(
                    member,
                    name,
                    "a gateway was silent for too long and is declared dead"
                );
            }
        }
        Ok(())
    }
}
