//! Deciding by cost which packs go.
//!
//! What a pack costs is territory: 96 MiB per segment, for as long as it stays. What getting it back
//! costs is moving what lives: read from miners, sent to twelve of them again, and the chain's fees
//! for a declaration and a deletion. The two are compared in what the chain charges for space, so
//! that no price has to be guessed:
//! - a byte of territory freed is worth leasing it for [`Prices::horizon`];
//! - a byte moved, down or up, costs as much as leasing it for [`Prices::transfer`];
//! - fees cost what they cost.
//!
//! Packs are taken in the order of how little of their segments lives, together with what waits for
//! a pack anyway, as long as the whole is worth more than it costs; the best such choice is the
//! plan. A pack in which nothing lives costs no move and always goes. Packs that were closed early
//! are no special case: their segments are full of nothing.
//!
//! What pays is not always possible: the new packs take territory before the old ones give any back,
//! and what is moved lies in staging meanwhile. So the choice ends where one of the two does
//! ([`Means`]), and the plan says so when it would have gone on.
use std::time::Duration;

use cess::codec::SEGMENT_SIZE;
use serde::{Deserialize, Serialize};

use crate::reclaim::tally::{self, CHARGE, Tally};

/// Bytes of frames that a segment holds at least, when it is filled; the rest is for its index and
/// for a frame that did not fit.
const ROOM: u64 = (SEGMENT_SIZE - SEGMENT_SIZE / 32) as u64;
const GIB: f64 = (1u64 << 30) as f64;
const DAY: f64 = 86_400.0;
/// Fees in planck, from the formula of the chain at its normal congestion: of a declaration, of
/// each segment in it, and of a deletion.
const FEE_DECLARE: f64 = 4.95e15;
const FEE_SEGMENT: f64 = 8.34e15;
const FEE_DELETE: f64 = 3.5e15;

/// What the decision weighs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prices {
    /// Planck for a GiB of territory and day; 0 when the chain leases for nothing, which leaves
    /// only bytes to compare.
    pub unit: u128,
    /// How long a pack is expected to stay if it is not reclaimed.
    pub horizon: Duration,
    /// A byte moved costs as much as leasing it for this long.
    pub transfer: Duration,
}

/// What there is to move with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Means {
    /// Bytes of frames that wait for a pack anyway, or are about to.
    pub waiting: u64,
    /// Segments that the territory can pay for, beside those of packs that are made already.
    pub segments: u64,
    /// Why the territory pays for nothing at all, if it does not.
    pub unpaid: Option<String>,
    /// Bytes of frames that staging can take.
    pub spare: u64,
}

/// Live bytes moved in one go at most: what staging holds of them, and what a restart repeats of
/// the decision.
const ROUND: u64 = 1 << 30;

impl Means {
    /// Why the territory cannot pay for `live` bytes of frames beside what waits.
    pub(crate) fn unpayable(&self, live: u64) -> Option<String> {
        let needed = segments(self.waiting.saturating_add(live));
        if needed <= self.segments {
            return None;
        }
        Some(self.unpaid.clone().unwrap_or_else(|| {
            format!(
                "the territory has room for {} more segment(s) of 96 MiB, and what waits for a pack would take \
                 {needed} with what is moved, before old packs give theirs back; expand it, or delete data",
                self.segments
            )
        }))
    }

    /// Why `live` bytes of frames cannot be moved in one go.
    fn obstacle(&self, live: u64) -> Option<String> {
        if let Some(why) = self.unpayable(live) {
            return Some(why);
        }
        if live > self.spare {
            return Some(format!(
                "staging has room for {} MiB of what comes back from old packs, {} MiB would come; it gets room as \
                 the network takes what is there, or with a larger store.staging_limit",
                self.spare >> 20,
                live.div_ceil(1 << 20)
            ));
        }
        (live > ROUND).then(|| format!("at most {} MiB are moved at a time", ROUND >> 20))
    }
}

/// One pack that would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReclaimPack {
    /// Number of the pack.
    pub pack: u64,
    /// Segments of 32 MiB.
    pub segments: u32,
    /// Bytes of frames in it that somebody refers to: to be moved. 0: it is only deleted.
    pub live_bytes: u64,
    /// Bytes of frames in it that nobody refers to.
    pub dead_bytes: u64,
}

/// What reclaim would do, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReclaimPlan {
    /// Territory that all packs take, in bytes.
    pub leased_bytes: u64,
    /// Bytes of frames in all packs that somebody refers to.
    pub live_bytes: u64,
    /// The packs that go, those that cost least to move first.
    pub packs: Vec<ReclaimPack>,
    /// Territory given back, less what the moved chunks take anew, in bytes.
    pub freed_bytes: u64,
    /// Bytes to be read from miners.
    pub download_bytes: u64,
    /// Bytes to be sent to miners, all fragments counted.
    pub upload_bytes: u64,
    /// What the territory given back is worth, in TCESS.
    pub worth: f64,
    /// What moving and fees cost, in TCESS.
    pub cost: f64,
    /// Packs that hold something dead or empty segments, and stay because moving costs more.
    pub kept: u64,
    /// What the chain charges for a GiB of territory and day, in TCESS.
    pub price: f64,
    /// Why less is moved than would pay; `None` when nothing is in the way.
    #[serde(default)]
    pub held_back: Option<String>,
}

/// Segments that `bytes` of frames fill.
const fn segments(bytes: u64) -> u64 {
    bytes.div_ceil(ROOM)
}

/// Worth and cost of a choice, in planck, or in GiB-days where space costs nothing.
fn weigh(prices: &Prices, freed: u64, moved: u64, fees: f64) -> (f64, f64) {
    let days = |duration: Duration| duration.as_secs_f64() / DAY;
    let unit = if prices.unit == 0 { 1.0 } else { prices.unit as f64 };
    let fees = if prices.unit == 0 { 0.0 } else { fees };
    (
        freed as f64 / GIB * days(prices.horizon) * unit,
        moved as f64 / GIB * days(prices.transfer) * unit + fees,
    )
}

/// The best choice among candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Choice {
    /// How many of them go.
    packs: usize,
    freed: u64,
    download: u64,
    upload: u64,
    worth: f64,
    cost: f64,
}

/// The choice among `candidates`, in their order, that is worth most beyond its cost, as far as
/// `possible` says yes to the live bytes of it.
fn choose(
    candidates: &[ReclaimPack],
    waiting: u64,
    prices: &Prices,
    possible: impl Fn(u64) -> bool,
) -> Choice {
    let before = segments(waiting);
    let (mut taken, mut live) = (0u64, 0u64);
    let mut best = Choice::default();
    for (index, pack) in candidates.iter().enumerate() {
        taken += u64::from(pack.segments);
        live += pack.live_bytes;
        if !possible(live) {
            break;
        }
        let made = segments(waiting + live).saturating_sub(before);
        let freed = taken.saturating_sub(made) * CHARGE;
        // What fills segments that are sent anyway costs no upload of its own.
        let upload = made * CHARGE;
        let fees = FEE_DECLARE + FEE_SEGMENT * made as f64 + FEE_DELETE * (index + 1) as f64;
        let (worth, cost) = weigh(prices, freed, live + upload, fees);
        if worth - cost > best.worth - best.cost {
            best = Choice {
                packs: index + 1,
                freed,
                download: live,
                upload,
                worth,
                cost,
            };
        }
    }
    best
}

/// What to do with `packs`, of which those in `eligible` may be moved, with what `means` there are.
pub(crate) fn plan(
    packs: &[(u64, Tally)],
    eligible: impl Fn(u64, &Tally) -> bool,
    means: &Means,
    prices: &Prices,
) -> ReclaimPlan {
    let describe = |pack: u64, tally: &Tally| ReclaimPack {
        pack,
        segments: tally.segments,
        live_bytes: tally.live_bytes(),
        dead_bytes: tally.dead_bytes,
    };
    let staying = || packs.iter().filter(|(_, tally)| !tally.retired);
    let mut chosen: Vec<ReclaimPack> = staying()
        .filter(|(_, tally)| tally.is_dead())
        .map(|(pack, tally)| describe(*pack, tally))
        .collect();
    let dead: u64 = chosen.iter().map(|pack| u64::from(pack.segments)).sum();
    let mut candidates: Vec<ReclaimPack> = staying()
        .filter(|(pack, tally)| {
            let still = tally.settled && !tally.moving && !tally.is_dead();
            still && is_wasteful(tally) && eligible(*pack, tally)
        })
        .map(|(pack, tally)| describe(*pack, tally))
        .collect();
    let wasteful = staying()
        .filter(|(_, tally)| !tally.is_dead() && is_wasteful(tally))
        .count() as u64;
    candidates.sort_by_key(|pack| (pack.live_bytes / u64::from(pack.segments.max(1)), pack.pack));

    let best = choose(&candidates, means.waiting, prices, |live| {
        means.obstacle(live).is_none()
    });
    let wanted = choose(&candidates, means.waiting, prices, |_| true);
    let held_back = (wanted.packs > best.packs)
        .then(|| means.obstacle(wanted.download))
        .flatten();
    let (dead_worth, dead_cost) = weigh(prices, dead * CHARGE, 0, FEE_DELETE * chosen.len() as f64);
    candidates.truncate(best.packs);
    chosen.append(&mut candidates);
    let tokens = |planck: f64| if prices.unit == 0 { 0.0 } else { planck / 1e18 };
    ReclaimPlan {
        leased_bytes: tally::leased(packs),
        live_bytes: tally::live_bytes(packs),
        freed_bytes: best.freed + dead * CHARGE,
        download_bytes: best.download,
        upload_bytes: best.upload,
        worth: tokens(best.worth + dead_worth),
        cost: tokens(best.cost + dead_cost),
        kept: wasteful.saturating_sub(best.packs as u64),
        price: tokens(prices.unit as f64),
        held_back,
        packs: chosen,
    }
}

/// Whether a pack takes more segments than what lives in it needs, or is about to.
pub(crate) fn is_wasteful(tally: &Tally) -> bool {
    tally.dead_bytes > 0 || tally.live_bytes() < u64::from(tally.segments) * ROOM * 15 / 16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;
    const DAYS: Duration = Duration::from_secs(86_400);

    fn prices() -> Prices {
        Prices {
            unit: 30_000_000_000_000_000_000,
            horizon: 30 * DAYS,
            transfer: 10 * DAYS,
        }
    }

    fn tally(segments: u32, live: u64, dead: u64) -> Tally {
        Tally {
            segments,
            chunks: 10,
            bytes: live + dead,
            dead_chunks: if live == 0 { 10 } else { u64::from(dead > 0) },
            dead_bytes: dead,
            settled: true,
            retired: false,
            moving: false,
        }
    }

    fn decide(tallies: &[Tally], waiting: u64, prices: &Prices) -> ReclaimPlan {
        let packs: Vec<(u64, Tally)> = (1..).zip(tallies.iter().copied()).collect();
        plan(&packs, |_, _| true, &plenty(waiting), prices)
    }

    /// Enough of everything.
    fn plenty(waiting: u64) -> Means {
        Means {
            waiting,
            segments: 1 << 20,
            unpaid: None,
            spare: 1 << 40,
        }
    }

    fn numbers(plan: &ReclaimPlan) -> Vec<u64> {
        plan.packs.iter().map(|pack| pack.pack).collect()
    }

    #[test]
    fn a_full_pack_stays_and_a_dead_one_goes() {
        let plan = decide(&[tally(4, 124 * MIB, 0), tally(4, 0, 124 * MIB)], 0, &prices());
        assert_eq!(numbers(&plan), [2]);
        assert_eq!((plan.freed_bytes, plan.upload_bytes), (4 * CHARGE, 0));
        assert!(plan.worth > plan.cost);
        assert_eq!(plan.kept, 0);
        assert_eq!((plan.leased_bytes, plan.live_bytes), (8 * CHARGE, 124 * MIB));
    }

    #[test]
    fn packs_that_were_closed_early_are_merged_when_there_are_several() {
        assert!(
            decide(&[tally(1, MIB, 0)], 0, &prices()).packs.is_empty(),
            "one stays one"
        );
        let plan = decide(
            &[tally(1, MIB, 0), tally(1, 2 * MIB, 0), tally(1, 3 * MIB, 0)],
            0,
            &prices(),
        );
        assert_eq!(numbers(&plan), [1, 2, 3]);
        assert_eq!((plan.freed_bytes, plan.upload_bytes), (2 * CHARGE, CHARGE));
        assert_eq!(plan.download_bytes, 6 * MIB);
        let alone = decide(&[tally(1, MIB, 0)], 10 * MIB, &prices());
        assert_eq!(numbers(&alone), [1], "it fits beside what waits anyway");
        assert_eq!(alone.upload_bytes, 0);
    }

    #[test]
    fn little_death_does_not_pay_and_much_does() {
        let with = |dead: u64| {
            let packs = vec![tally(4, 124 * MIB - dead, dead); 8];
            decide(&packs, 0, &prices()).packs.len()
        };
        assert_eq!(with(6 * MIB), 0);
        assert_eq!(with(93 * MIB), 8);
    }

    #[test]
    fn dearer_moves_and_shorter_stays_keep_packs() {
        let packs = vec![tally(4, 62 * MIB, 62 * MIB); 4];
        assert_eq!(decide(&packs, 0, &prices()).packs.len(), 4);
        let dear = Prices {
            transfer: 40 * DAYS,
            ..prices()
        };
        let kept = decide(&packs, 0, &dear);
        assert_eq!((kept.packs.len(), kept.kept), (0, 4));
        let short = Prices {
            horizon: 5 * DAYS,
            ..prices()
        };
        assert!(decide(&packs, 0, &short).packs.is_empty());
    }

    #[test]
    fn fees_count_where_space_is_cheap_and_bytes_alone_where_it_is_free() {
        let packs = vec![tally(1, MIB, 0); 2];
        let cheap = Prices {
            unit: 1_000_000,
            ..prices()
        };
        assert!(decide(&packs, 0, &cheap).packs.is_empty());
        let free = Prices { unit: 0, ..prices() };
        assert_eq!(decide(&packs, 0, &free).packs.len(), 2);
    }

    #[test]
    fn what_is_under_way_or_too_much_at_a_time_stays() {
        let mut packs: Vec<(u64, Tally)> = (1..5).map(|pack| (pack, tally(1, 8 * MIB, 0))).collect();
        packs[0].1.settled = false;
        packs[1].1.retired = true;
        let moved = plan(&packs, |_, _| true, &plenty(0), &prices());
        assert_eq!(numbers(&moved), [3, 4]);
        assert_eq!(moved.held_back, None);
        assert!(
            plan(&packs, |pack, _| pack != 3, &plenty(0), &prices())
                .packs
                .is_empty()
        );
    }

    #[test]
    fn a_plan_ends_where_territory_or_staging_does_and_says_so() {
        let small = |count: u64| -> Vec<(u64, Tally)> {
            (1..=count).map(|pack| (pack, tally(1, 10 * MIB, 0))).collect()
        };
        // Six packs of 10 MiB fill two segments.
        let packs = small(6);
        let with = |means: Means| {
            let plan = plan(&packs, |_, _| true, &means, &prices());
            (plan.packs.len(), plan.held_back.unwrap_or_default())
        };
        assert_eq!(with(plenty(0)), (6, String::new()));
        let (moved, why) = with(Means {
            segments: 1,
            ..plenty(0)
        });
        assert_eq!(moved, 3);
        assert!(
            why.contains("room for 1 more segment(s)") && why.contains("take 2 with"),
            "{why}"
        );
        // What waits anyway has to be paid for, too.
        let (moved, why) = with(Means {
            segments: 2,
            ..plenty(60 * MIB)
        });
        assert_eq!(moved, 0);
        assert!(
            why.contains("room for 2 more segment(s)") && why.contains("take 4 with"),
            "{why}"
        );
        let (moved, why) = with(Means {
            segments: 0,
            unpaid: Some("it is frozen".into()),
            ..plenty(0)
        });
        assert_eq!((moved, why.as_str()), (0, "it is frozen"));
        let (moved, why) = with(Means {
            spare: 35 * MIB,
            ..plenty(0)
        });
        assert_eq!(moved, 3);
        assert!(
            why.contains("room for 35 MiB") && why.contains("60 MiB would come"),
            "{why}"
        );
        let round = plan(&small(150), |_, _| true, &plenty(0), &prices());
        assert!(round.download_bytes > ROUND - 50 * MIB && round.download_bytes <= ROUND);
        assert_eq!(round.held_back.unwrap(), "at most 1024 MiB are moved at a time");
        // What is not worth it is in nobody's way.
        let full = [(1, tally(4, 124 * MIB, 0))];
        let nothing = plan(&full, |_, _| true, &Means::default(), &prices());
        assert_eq!((nothing.packs.len(), nothing.held_back), (0, None));
    }

    proptest! {
        #[test]
        fn a_move_is_never_worth_less_than_it_costs(
            packs in prop::collection::vec((1..5u32, 0..=32u64, 0..=32u64), 0..20),
            waiting in 0..100u64,
        ) {
            let tallies: Vec<Tally> = packs
                .iter()
                .map(|(segments, live, dead)| {
                    let each = u64::from(*segments);
                    tally(*segments, each * live * MIB / 2, each * dead * MIB / 2)
                })
                .collect();
            let plan = decide(&tallies, waiting * MIB, &prices());
            if plan.packs.iter().any(|pack| pack.live_bytes > 0) {
                prop_assert!(plan.worth > plan.cost);
                prop_assert!(plan.freed_bytes > 0);
            }
            let moved: u64 = plan.packs.iter().map(|pack| pack.live_bytes).sum();
            prop_assert_eq!(moved, plan.download_bytes);
        }
    }
}
