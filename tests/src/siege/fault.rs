//! The table of faults.
use std::path::PathBuf;

use meta::failpoint::{self, Point};
use store::steps;

use crate::disk::Trouble;

/// What is done to a gateway under load.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// kill -9 at any moment.
    Kill,
    /// kill -9 when it comes to a failpoint.
    KillAt(Point),
    /// The disk loses power at any moment.
    PowerCut,
    /// A part of the disk fails for a while.
    Disk {
        /// Which way.
        trouble: fn(PathBuf) -> Trouble,
        /// Which part.
        below: &'static str,
        /// Whether the gateway takes up its work by itself when the disk is well, or needs a start.
        restart: bool,
    },
    /// Several miners have a fault for a while.
    Miners {
        /// How many.
        count: usize,
        /// Which, as `cess-devnet fault` calls it.
        fault: &'static str,
    },
    /// The chain has a fault for a while.
    Chain(&'static str),
    /// The chain retracts blocks and makes others.
    Reorganise,
    /// Territories are frozen for a while.
    Territory,
    /// The wall clock jumps by so many seconds, and back.
    Clock(i64),
    /// The network takes nothing until staging is full.
    Backlog,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What to call it.
    pub name: &'static str,
    /// What is done.
    pub how: How,
    /// Reads work while it lasts.
    pub reads: bool,
    /// Writes work while it lasts.
    pub writes: bool,
    /// Why it is known not to end well yet.
    pub not_yet: Option<&'static str>,
}

const fn death(name: &'static str, how: How) -> Fault {
    Fault {
        name,
        how,
        reads: false,
        writes: false,
        not_yet: None,
    }
}

const fn network(name: &'static str, how: How) -> Fault {
    Fault {
        name,
        how,
        reads: true,
        writes: true,
        not_yet: None,
    }
}

const fn disk(
    name: &'static str,
    trouble: fn(PathBuf) -> Trouble,
    below: &'static str,
    restart: bool,
) -> Fault {
    Fault {
        name,
        how: How::Disk {
            trouble,
            below,
            restart,
        },
        reads: true,
        writes: false,
        not_yet: None,
    }
}

const fn full(below: PathBuf) -> Trouble {
    Trouble::Full { below, limit: 0 }
}

const fn writes(below: PathBuf) -> Trouble {
    Trouble::Writes { below }
}

const fn syncs(below: PathBuf) -> Trouble {
    Trouble::Syncs { below }
}

const STAGING: &str = "store/staging";
const CACHE: &str = "store/cache";
const META: &str = "meta";

/// Every fault.
pub const FAULTS: &[Fault] = &[
    death("kill -9", How::Kill),
    death("kill -9 after staging's sync", How::KillAt(steps::STAGING_SYNCED)),
    death("kill -9 between sync and guard", How::KillAt(failpoint::SYNCED)),
    death("kill -9 with a pack frozen", How::KillAt(steps::PACK_FROZEN)),
    death("kill -9 with a pack hashed", How::KillAt(steps::PACK_HASHED)),
    death(
        "kill -9 with a declaration sent",
        How::KillAt(steps::DECLARE_SENT),
    ),
    death("kill -9 with fragments pushed", How::KillAt(steps::UPLOAD_PUSHED)),
    death("kill -9 with a pack placed", How::KillAt(steps::PLACED)),
    death("kill -9 with a pack verified", How::KillAt(steps::VERIFIED)),
    death(
        "kill -9 with staging half given back",
        How::KillAt(steps::RECLAIM_PUNCHED),
    ),
    death("power cut", How::PowerCut),
    disk("staging disk full", full, STAGING, false),
    disk("cache disk full", full, CACHE, false),
    disk("metadata disk full", full, META, true),
    disk("EIO on writes to staging", writes, STAGING, false),
    disk("EIO on writes to the cache", writes, CACHE, false),
    disk("EIO on writes to the metadata", writes, META, true),
    disk("EIO on syncs of staging", syncs, STAGING, true),
    disk("EIO on syncs of the metadata", syncs, META, true),
    network(
        "1 miner dead",
        How::Miners {
            count: 1,
            fault: "dead",
        },
    ),
    network(
        "8 miners dead",
        How::Miners {
            count: 8,
            fault: "dead",
        },
    ),
    network(
        "8 miners slow (30 s)",
        How::Miners {
            count: 8,
            fault: "slow:30000",
        },
    ),
    network(
        "8 miners corrupting",
        How::Miners {
            count: 8,
            fault: "corrupt",
        },
    ),
    network(
        "4 miners forgetting after report",
        How::Miners {
            count: 4,
            fault: "forget",
        },
    ),
    network(
        "8 miners lying",
        How::Miners {
            count: 8,
            fault: "lie",
        },
    ),
    network(
        "4 miners full",
        How::Miners {
            count: 4,
            fault: "full",
        },
    ),
    network("chain stalled", How::Chain("stall")),
    network("finality stalled", How::Chain("finality-stall")),
    network("chain reorganised", How::Reorganise),
    network("RPC endpoint dead", How::Chain("rpc-dead")),
    network("territory frozen", How::Territory),
    network("clock a day ahead", How::Clock(86_400)),
    network("clock a day behind", How::Clock(-86_400)),
    Fault {
        name: "staging at its limit",
        how: How::Backlog,
        reads: true,
        writes: false,
        not_yet: None,
    },
];
