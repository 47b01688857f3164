//! `cess-gateway explain`: the life of one object.
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use clap::Args;
use store::{ChunkLife, Milestone, PackLife, ReadOutcome, ReadSource, ReadTrace, SegmentHealth};
use vfs::ObjectLife;

use super::Target;
use super::moment::moment;
use super::scrub::word;
use crate::admin::model;

/// Show the life of one object: extents, chunks, packs, miners, blocks, times, health.
#[derive(Args)]
pub struct Explain {
    /// `bucket/key`, or a path in the mount.
    path: String,
    /// Extents to show one by one.
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    extents: usize,
    #[command(flatten)]
    target: Target,
}

/// The path as the local machine means it, for a gateway that mounts there.
pub fn absolute(path: &str) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    path.to_str().map(str::to_owned)
}

impl Explain {
    /// Shows it.
    pub async fn run(self) -> Result<()> {
        let request = model::Explain {
            file: absolute(&self.path),
            path: self.path.clone(),
            details: self.extents,
        };
        let life = self.target.client()?.post("/v1/explain", &request).await;
        let life: ObjectLife = life.with_context(|| self.path.clone())?;
        if self.target.json {
            println!("{}", serde_json::to_string(&life)?);
        } else {
            print!("{}", render(&life));
        }
        Ok(())
    }
}

fn render(life: &ObjectLife) -> String {
    let mut out = String::new();
    let store = &life.store;
    let size = |bytes: u64| ByteSize(bytes).display().iec();
    // Writing to a String cannot fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line(format!("{} (inode {})", life.path, life.ino));
    line(format!(
        "  size     {} ({} bytes), {} without holes",
        size(life.size),
        life.size,
        size(life.allocated)
    ));
    line(match life.level {
        Some(level) => format!("  level    {level}"),
        None => "  level    none yet: some bytes are in the write buffer only".to_owned(),
    });
    line(format!(
        "  chunks   {} in {} extent(s): {} staged, {} placed, {} verified",
        store.count, life.extent_count, store.staged, store.placed, store.verified
    ));
    let grades: Vec<String> = store
        .by_good
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, count)| **count > 0)
        .map(|(good, count)| format!("{count} segment(s) at {good}/12"))
        .collect();
    if !grades.is_empty() {
        let risk = if store.at_risk > 0 {
            format!("; {} at risk", store.at_risk)
        } else {
            String::new()
        };
        line(format!("  health   {}{risk}", grades.join(", ")));
    }
    line(format!("  packs    {}", store.pack_count));
    for pack in &store.packs {
        out.push_str(&one_pack(pack));
    }
    if life.extents.is_empty() {
        return out;
    }
    let _ = writeln!(out, "\n{:>14} {:>9} {:>9}  where", "offset", "bytes", "chunk");
    for extent in &life.extents {
        let place = store
            .chunks
            .iter()
            .find(|chunk| chunk.chunk == extent.chunk)
            .map_or_else(String::new, whereabouts);
        let _ = writeln!(
            out,
            "{:>14} {:>9} {:>9}  {place}",
            extent.offset, extent.len, extent.chunk
        );
    }
    let _ = out.write_str(&last_reads(life));
    let more = life.extent_count.saturating_sub(life.extents.len() as u64);
    if more > 0 {
        let _ = writeln!(out, "{more} more extent(s): --extents COUNT shows them");
    }
    out
}

/// Why the reads of the extents shown took as long as they did: the newest in full.
fn last_reads(life: &ObjectLife) -> String {
    let mut reads: Vec<&ReadTrace> = life
        .store
        .chunks
        .iter()
        .filter_map(|chunk| chunk.last_read.as_ref())
        .collect();
    reads.sort_by_key(|read| std::cmp::Reverse(read.at_ms));
    let mut out = String::new();
    let Some(newest) = reads.first() else { return out };
    let _ = writeln!(out, "\nlast reads that memory could not answer");
    for read in &reads {
        let from = match (&read.error, read.source) {
            (Some(error), _) => format!("failed: {error}"),
            (None, Some(source)) => match source {
                ReadSource::DiskCache => "disk cache",
                ReadSource::Staging => "staging",
                ReadSource::Gateway => "another gateway's staging",
                ReadSource::Range => "miners, one range",
                ReadSource::Rebuilt => "miners, rebuilt from ranges of four others",
                ReadSource::Decoded => "miners, decoded from four whole fragments",
                ReadSource::KeptSegment => "a segment decoded for an earlier read",
            }
            .to_owned(),
            (None, None) => "unknown".to_owned(),
        };
        let _ = writeln!(
            out,
            "  chunk {:>9} {} {:>9.1} ms from {from}{}",
            read.chunk.0,
            moment(read.at_ms),
            read.took_us as f64 / 1000.0,
            if read.ahead { ", ahead of its reader" } else { "" }
        );
    }
    for step in &newest.steps {
        let outcome = match &step.outcome {
            ReadOutcome::Answered => "answered".to_owned(),
            ReadOutcome::Failed(reason) => format!("failed: {reason}"),
            ReadOutcome::GivenUp => "not waited for".to_owned(),
        };
        let _ = writeln!(
            out,
            "    chunk {}: after {:.1} ms, fragment {} ({} bytes) of {}: {:.1} ms, {outcome}",
            newest.chunk.0,
            step.after_us as f64 / 1000.0,
            step.fragment,
            step.bytes,
            step.miner,
            step.took_us as f64 / 1000.0
        );
    }
    out
}

fn whereabouts(chunk: &ChunkLife) -> String {
    let mut places = Vec::new();
    for (here, name) in [
        (chunk.memory, "memory"),
        (chunk.disk, "disk cache"),
        (chunk.staging, "staging"),
    ] {
        if here {
            places.push(name.to_owned());
        }
    }
    if let Some(gateway) = &chunk.staged_by {
        places.push(format!("staging of gateway {gateway}"));
    }
    match chunk.place {
        Some(place) => places.push(format!(
            "pack {} segment {} at {} ({} sealed bytes)",
            place.pack, place.segment, place.offset, place.len
        )),
        None => places.push("no pack yet".to_owned()),
    }
    places.join(", ")
}

fn one_pack(pack: &PackLife) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "\npack {}: {}, {} segment(s)",
        pack.id,
        format!("{:?}", pack.state).to_lowercase(),
        pack.segments
    );
    if let Some(fid) = &pack.fid {
        let _ = writeln!(out, "  FID        {fid} (named {})", pack.file_name);
    }
    for step in &pack.life.steps {
        let block = match step.reached {
            Milestone::Declared => pack.life.declared_in.map(|block| format!(", block {block}")),
            Milestone::Placed => pack.life.completed_in.map(|block| format!(", block {block}")),
            _ => None,
        };
        let _ = writeln!(
            out,
            "  {:<10} {}{}",
            format!("{:?}", step.reached).to_lowercase(),
            moment(step.at),
            block.unwrap_or_default()
        );
    }
    if pack.unverified > 0 {
        let _ = writeln!(out, "  {} fragment(s) could not be verified", pack.unverified);
    }
    if let Some(error) = &pack.last_error {
        let _ = writeln!(out, "  last error {error}");
    }
    for segment in &pack.health {
        out.push_str(&one_segment(segment));
    }
    out
}

fn one_segment(segment: &SegmentHealth) -> String {
    let read_back = segment.fragments.iter().any(|fragment| fragment.state.is_some());
    let mut out = if read_back {
        format!(
            "  segment {}: {}/12 good{}, looked at {}\n",
            segment.segment,
            segment.good,
            if segment.at_risk { ", at risk" } else { "" },
            moment(segment.looked)
        )
    } else {
        format!("  segment {}: not read back yet\n", segment.segment)
    };
    for fragment in &segment.fragments {
        let _ = writeln!(
            out,
            "    {:>2} {} {:<12} {:<20} {} {}",
            fragment.index,
            if fragment.index < 4 { "data  " } else { "parity" },
            fragment.state.map_or("reported", word),
            if fragment.state.is_some() {
                moment(fragment.good)
            } else {
                String::new()
            },
            fragment.miner.as_deref().unwrap_or("nobody"),
            fragment.endpoint.as_deref().unwrap_or("(no endpoint)")
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{ChunkPlace, Explained, Level, Life, LifeStep, PackState};
    use vfs::ExtentLife;

    #[test]
    fn a_life_reads_from_the_object_down_to_its_miners() {
        let fragment = |index: u8| store::FragmentHealth {
            index,
            state: Some(if index == 5 {
                store::FragmentState::Missing
            } else {
                store::FragmentState::Good
            }),
            miner: Some(format!("cXminer{index}")),
            endpoint: Some(format!("http://192.0.2.{index}:15001")),
            zero: false,
            good: 1_700_000_000_000,
            since: 1_700_000_000_000,
        };
        let pack = PackLife {
            id: 7,
            state: PackState::Verified,
            fid: Some("ab".repeat(32)),
            file_name: "0011223344556677".into(),
            segments: 1,
            life: Life {
                steps: vec![
                    LifeStep {
                        reached: Milestone::Declared,
                        at: 1_700_000_000_000,
                    },
                    LifeStep {
                        reached: Milestone::Placed,
                        at: 1_700_000_060_000,
                    },
                ],
                declared_in: Some(41),
                completed_in: Some(51),
            },
            unverified: 0,
            last_error: None,
            health: vec![SegmentHealth {
                pack: 7,
                segment: 0,
                good: 11,
                doubtful: 0,
                lost: 1,
                at_risk: false,
                lost_chunks: 0,
                looked: 1_700_000_000_000,
                fragments: (0..12).map(fragment).collect(),
            }],
        };
        let mut by_good = [0; 13];
        by_good[11] = 1;
        let life = ObjectLife {
            path: "photos/cat.jpg".into(),
            ino: 9,
            size: 3_000,
            allocated: 3_000,
            buffered: false,
            level: Some(Level::Verified),
            extent_count: 2,
            extents: vec![ExtentLife {
                offset: 0,
                len: 3_000,
                chunk: 17,
                start: 0,
            }],
            store: Explained {
                count: 1,
                verified: 1,
                by_good,
                pack_count: 1,
                chunks: vec![ChunkLife {
                    chunk: 17,
                    level: Level::Verified,
                    memory: true,
                    disk: false,
                    staging: false,
                    staged_by: None,
                    place: Some(ChunkPlace {
                        pack: 7,
                        segment: 0,
                        offset: 64,
                        len: 3_048,
                    }),
                    last_read: Some(ReadTrace {
                        chunk: store::ChunkId(17),
                        at_ms: 1_700_000_000_000,
                        took_us: 512_300,
                        source: Some(ReadSource::Rebuilt),
                        error: None,
                        ahead: false,
                        steps: vec![store::ReadStep {
                            miner: "cXminer0".into(),
                            fragment: 0,
                            bytes: 3_048,
                            after_us: 100,
                            took_us: 500_000,
                            outcome: ReadOutcome::GivenUp,
                        }],
                    }),
                }],
                packs: vec![pack],
                ..Explained::default()
            },
        };
        let text = render(&life);
        for expected in [
            "photos/cat.jpg (inode 9)",
            "level    verified",
            "1 segment(s) at 11/12",
            "declared   2023-11-14T22:13:20Z, block 41",
            "placed     2023-11-14T22:14:20Z, block 51",
            " 5 parity missing",
            "cXminer5 http://192.0.2.5:15001",
            "memory, pack 7 segment 0 at 64 (3048 sealed bytes)",
            "512.3 ms from miners, rebuilt from ranges of four others",
            "after 0.1 ms, fragment 0 (3048 bytes) of cXminer0: 500.0 ms, not waited for",
            "1 more extent(s)",
        ] {
            assert!(text.contains(expected), "{expected:?} is not in\n{text}");
        }
    }
}
