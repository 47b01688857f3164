//! Carries a checked command out on the device, but for the flush that may belong to it.
use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use vfs::ExtentInfo;

use super::check::Command;
use crate::error::{errno, message};
use crate::export::Device;
use crate::proto::constants::{Errno, allocation};
use crate::proto::reply::Descriptor;

/// Bytes asked of the device at once.
pub const PIECE: u32 = 1 << 20;

/// Structured reads say in units of this many bytes what is zero. Smaller ones would cost more in
/// chunk headers than they save.
const ZERO_UNIT: u32 = 64 << 10;

/// Most runs in one block status reply. Clients ask again for the rest.
const STATUS_RUNS: usize = 1024;

/// How long a request waits in all while the gateway says "slow down".
const PATIENCE: Duration = Duration::from_secs(30);

/// What a command came to.
#[derive(Debug)]
pub enum Outcome {
    /// Done.
    Done,
    /// Bytes read, in order, without gaps.
    Read(Vec<Part>),
    /// Runs of block status.
    Status(Vec<Descriptor>),
}

/// One stretch of a read.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes, in pieces as the device gave them.
    Data { offset: u64, pieces: Vec<Bytes> },
    /// Zeroes.
    Hole { offset: u64, len: u32 },
}

/// A command that failed.
#[derive(Debug)]
pub struct Failure {
    /// For the client's program.
    pub errno: Errno,
    /// For its user.
    pub message: String,
}

impl Failure {
    pub fn new(errno: Errno, message: &str) -> Self {
        Self {
            errno,
            message: message.to_owned(),
        }
    }

    /// A write of one of the connections to the export was lost before.
    pub fn lost() -> Self {
        Self::new(
            Errno::Io,
            "an earlier write was lost: the export only reads until it is connected anew",
        )
    }
}

impl From<vfs::Error> for Failure {
    fn from(error: vfs::Error) -> Self {
        if matches!(
            error,
            vfs::Error::Internal(_) | vfs::Error::Damaged(_) | vfs::Error::WriteLost
        ) {
            tracing::error!(%error, "NBD request failed");
        }
        Self {
            errno: errno(&error),
            message: message(&error),
        }
    }
}

/// Runs one command, without its flush. `block` is the smallest request that the client was told of, in bytes; `data` is
/// the payload of a write.
pub async fn run<D: Device>(
    device: &D,
    block: u32,
    command: Command,
    data: Bytes,
) -> Result<Outcome, Failure> {
    match command {
        Command::Read { offset, len, whole } => {
            let pieces = read(device, offset..offset + u64::from(len)).await?;
            let parts = if whole {
                vec![Part::Data { offset, pieces }]
            } else {
                sparse(offset, pieces)
            };
            return Ok(Outcome::Read(parts));
        }
        Command::Write { offset, .. } => {
            if !data.is_empty() {
                patiently(|| device.write(offset, data.clone())).await?;
            }
        }
        Command::Flush => {}
        Command::Trim { offset, len, .. } => {
            if len > 0 {
                patiently(|| device.punch(offset, u64::from(len))).await?;
            }
        }
        Command::Cache { offset, len } => {
            for piece in pieces(offset..offset + u64::from(len)) {
                device.read(piece.start, (piece.end - piece.start) as u32).await?;
            }
        }
        Command::WriteZeroes {
            offset,
            len,
            allocate,
            fast,
            ..
        } => {
            if allocate && fast {
                return Err(Failure::new(
                    Errno::NotSup,
                    "zeroes that take space are written one by one",
                ));
            }
            if allocate {
                let zeroes = Bytes::from(vec![0; PIECE.min(len) as usize]);
                for piece in pieces(offset..offset + u64::from(len)) {
                    let data = zeroes.slice(..(piece.end - piece.start) as usize);
                    patiently(|| device.write(piece.start, data.clone())).await?;
                }
            } else if len > 0 {
                patiently(|| device.zero(offset, u64::from(len))).await?;
            }
        }
        Command::BlockStatus { offset, len, one } => {
            let most = if one { 1 } else { STATUS_RUNS };
            let runs = runs(device, block, offset, len, most).await?;
            let runs = runs.into_iter().map(|run| Descriptor {
                len: (run.range.end - run.range.start) as u32,
                status: if run.hole {
                    allocation::HOLE | allocation::ZERO
                } else {
                    0
                },
            });
            return Ok(Outcome::Status(runs.collect()));
        }
    }
    Ok(Outcome::Done)
}

/// Tries again while the gateway asks to slow down, because a block device has no other way to pass
/// that on.
pub async fn patiently<F>(mut attempt: impl FnMut() -> F) -> Result<(), vfs::Error>
where
    F: Future<Output = Result<(), vfs::Error>>,
{
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Err(vfs::Error::SlowDown { retry_after }) if Instant::now() + retry_after <= until => {
                tokio::time::sleep(retry_after.max(Duration::from_millis(1))).await;
            }
            done => return done,
        }
    }
}

/// All bytes of a range. Where the file ends early (truncated through another door), zeroes.
async fn read<D: Device>(device: &D, range: Range<u64>) -> Result<Vec<Bytes>, vfs::Error> {
    let mut read = Vec::new();
    for piece in pieces(range) {
        let wanted = (piece.end - piece.start) as usize;
        let mut data = device.read(piece.start, wanted as u32).await?;
        data.truncate(wanted);
        let missing = wanted - data.len();
        if !data.is_empty() {
            read.push(data);
        }
        if missing > 0 {
            read.push(Bytes::from(vec![0; missing]));
        }
    }
    Ok(read)
}

/// Tells zeroes from data. The bytes themselves are asked and not the namespace, because that would
/// have to store what is buffered before it knows.
fn sparse(offset: u64, pieces: Vec<Bytes>) -> Vec<Part> {
    static ZEROES: [u8; ZERO_UNIT as usize] = [0; ZERO_UNIT as usize];
    let mut parts = Vec::new();
    let mut at = offset;
    for mut piece in pieces {
        while !piece.is_empty() {
            let unit = u64::from(ZERO_UNIT);
            let step = piece.len().min((unit - at % unit) as usize);
            let data = piece.split_to(step);
            let zero = data.len() == ZEROES.len() && data[..] == ZEROES;
            match (parts.last_mut(), zero) {
                (Some(Part::Hole { len, .. }), true) => *len += step as u32,
                (Some(Part::Data { pieces, .. }), false) => pieces.push(data),
                (_, true) => parts.push(Part::Hole {
                    offset: at,
                    len: step as u32,
                }),
                (_, false) => parts.push(Part::Data {
                    offset: at,
                    pieces: vec![data],
                }),
            }
            at += step as u64;
        }
    }
    parts
}

#[derive(Debug, PartialEq, Eq)]
struct Run {
    range: Range<u64>,
    hole: bool,
}

/// Data and holes from `offset` on: never empty, without gaps, neighbours differ, not beyond the
/// range; at most `max`, and so perhaps not to its end. Clients may only be told of whole blocks, so
/// a block that is not all hole is data.
async fn runs<D: Device>(
    device: &D,
    block: u32,
    offset: u64,
    len: u32,
    max: usize,
) -> Result<Vec<Run>, vfs::Error> {
    let range = offset..offset + u64::from(len);
    // One more than wanted, so that a single run is seen to its end.
    let extents = device.extents(offset, u64::from(len), max + 1).await?;
    let mut runs = joined(range.clone(), &extents);
    if extents.len() <= max {
        // Everything was told: what is missing at the end is behind the end of the file.
        let told = runs.last().map_or(range.start, |run| run.range.end);
        push(&mut runs, told..range.end, true);
    }
    let mut runs = aligned(range, &runs, u64::from(block));
    runs.truncate(max);
    Ok(runs)
}

fn joined(range: Range<u64>, extents: &[ExtentInfo]) -> Vec<Run> {
    let mut runs = Vec::with_capacity(extents.len());
    let mut at = range.start;
    for extent in extents {
        let end = extent.offset.saturating_add(extent.len).min(range.end);
        push(&mut runs, at..extent.offset.min(range.end), true);
        at = at.max(extent.offset.min(range.end));
        push(&mut runs, at..end, extent.hole);
        at = at.max(end);
    }
    runs
}

/// Shrinks holes to whole blocks, and lets data take what they leave. The ends of the range stay.
fn aligned(range: Range<u64>, runs: &[Run], block: u64) -> Vec<Run> {
    let up = |at: u64| {
        if at == range.start {
            at
        } else {
            at.checked_next_multiple_of(block)
                .map_or(range.end, |up| up.min(range.end))
        }
    };
    let down = |at: u64| if at == range.end { at } else { at - at % block };
    let mut out = Vec::with_capacity(runs.len());
    let mut at = range.start;
    for run in runs {
        if run.hole {
            let hole = up(run.range.start)..down(run.range.end);
            if !hole.is_empty() {
                push(&mut out, at..hole.start, false);
                at = hole.end;
                push(&mut out, hole, true);
            }
        }
    }
    let end = runs.last().map_or(range.start, |run| up(run.range.end));
    push(&mut out, at..end, false);
    out
}

fn push(runs: &mut Vec<Run>, range: Range<u64>, hole: bool) {
    if range.is_empty() {
        return;
    }
    match runs.last_mut() {
        Some(last) if last.hole == hole => last.range.end = range.end,
        _ => runs.push(Run { range, hole }),
    }
}

/// Cuts a range at multiples of [`PIECE`].
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let start = at;
        at = (start - start % u64::from(PIECE))
            .saturating_add(u64::from(PIECE))
            .min(range.end);
        Some(start..at)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extent(offset: u64, len: u64, hole: bool) -> ExtentInfo {
        ExtentInfo {
            offset,
            len,
            hole,
            level: vfs::Level::Staged,
        }
    }

    #[test]
    fn neighbours_are_joined_and_ends_are_cut() {
        let extents = [
            extent(0, 10, false),
            extent(10, 10, false),
            extent(20, 10, true),
            extent(30, 90, false),
        ];
        assert_eq!(
            joined(5..100, &extents),
            [
                Run {
                    range: 5..20,
                    hole: false
                },
                Run {
                    range: 20..30,
                    hole: true
                },
                Run {
                    range: 30..100,
                    hole: false
                },
            ]
        );
        // A gap that the namespace should not leave is a hole.
        assert_eq!(
            joined(0..30, &[extent(10, 10, false)]),
            [
                Run {
                    range: 0..10,
                    hole: true
                },
                Run {
                    range: 10..20,
                    hole: false
                }
            ]
        );
        assert_eq!(joined(0..30, &[]), []);
    }

    #[test]
    fn zeroes_are_told_from_data() {
        let unit = ZERO_UNIT as usize;
        let mut bytes = vec![0; 6 * unit];
        bytes[unit + 5] = 1;
        bytes[3 * unit - 1] = 1;
        // From the middle of the first unit, in two pieces.
        let start = unit / 2;
        let whole = Bytes::from(bytes.clone()).slice(start..);
        let parts = sparse(start as u64, vec![whole.slice(..700), whole.slice(700..)]);
        let mut read = Vec::new();
        let mut holes = Vec::new();
        for part in parts {
            match part {
                Part::Data { offset, pieces } => {
                    assert_eq!(offset as usize, start + read.len());
                    read.extend(pieces.concat());
                }
                Part::Hole { offset, len } => {
                    assert_eq!(offset as usize, start + read.len());
                    holes.push((offset as usize / unit, len as usize / unit));
                    read.resize(read.len() + len as usize, 0);
                }
            }
        }
        assert_eq!(read, bytes[start..]);
        assert_eq!(holes, [(3, 3)], "first unit and count");
    }

    proptest! {
        #[test]
        fn pieces_are_the_range(start in 0_u64..1 << 40, len in 0_u64..20 << 20) {
            let mut at = start;
            for piece in pieces(start..start + len) {
                prop_assert_eq!(piece.start, at);
                prop_assert!(piece.end > at && piece.end - at <= u64::from(PIECE));
                at = piece.end;
            }
            prop_assert_eq!(at, start + len);
        }

        #[test]
        fn runs_have_no_gaps_and_differ(
            start in 0_u64..100,
            len in 1_u64..1000,
            extents in proptest::collection::vec((0_u64..1200, 0_u64..300, any::<bool>()), 0..12),
        ) {
            let extents: Vec<_> = extents.into_iter().map(|(offset, len, hole)| extent(offset, len, hole)).collect();
            let mut at = start;
            let mut before = None;
            for run in joined(start..start + len, &extents) {
                prop_assert_eq!(run.range.start, at);
                prop_assert!(run.range.end > at && run.range.end <= start + len);
                prop_assert_ne!(before, Some(run.hole));
                before = Some(run.hole);
                at = run.range.end;
            }
        }

        #[test]
        fn aligned_runs_call_no_data_a_hole(
            start in 0_u64..100,
            len in 1_u64..1000,
            power in 0_u32..8,
            extents in proptest::collection::vec((0_u64..300, any::<bool>()), 1..12),
        ) {
            let (range, block) = (start..start + len, 1_u64 << power);
            let mut offset = start;
            let mut told = Vec::new();
            for (len, hole) in extents {
                told.push(extent(offset, len, hole));
                offset += len;
            }
            let mut at = start;
            let mut before = None;
            let runs = joined(range.clone(), &told);
            for run in aligned(range.clone(), &runs, block) {
                prop_assert_eq!(run.range.start, at);
                at = run.range.end;
                prop_assert!(at == range.end || at.is_multiple_of(block));
                prop_assert!(run.range.end > run.range.start && at <= range.end);
                prop_assert_ne!(before, Some(run.hole));
                before = Some(run.hole);
                for data in runs.iter().filter(|other| !other.hole && run.hole) {
                    prop_assert!(data.range.end <= run.range.start || data.range.start >= run.range.end);
                }
            }
        }
    }
}
