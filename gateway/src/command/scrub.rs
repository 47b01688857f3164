//! `cess-gateway scrub`: is everything still there?
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use clap::Args;
use store::{FragmentState, HealthStatus, ScrubReport, SegmentHealth};

use super::Target;
use super::moment::moment;
use crate::admin::model;

/// Show the health of what is on the network, or look at it now.
#[derive(Args)]
pub struct Scrub {
    /// Look only at what this holds: `bucket/key`, or a path in the mount.
    #[arg(conflicts_with_all = ["now", "status"])]
    path: Option<String>,
    /// Look at everything now. Reads about 10 MiB per segment, within the scrubber's limit.
    #[arg(long, conflicts_with = "status")]
    now: bool,
    /// Show what is known without a look (the default).
    #[arg(long)]
    status: bool,
    #[command(flatten)]
    target: Target,
}

impl Scrub {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let client = self.target.client()?;
        if self.now || self.path.is_some() {
            let request = model::Scrub {
                file: self.path.as_deref().and_then(super::explain::absolute),
                path: self.path.clone(),
            };
            let report = client.post("/v1/scrub", &request).await;
            let report: ScrubReport = match &self.path {
                Some(path) => report.with_context(|| path.clone())?,
                None => report?,
            };
            if self.target.json {
                println!("{}", serde_json::to_string(&report)?);
            } else {
                print!("{}", render_report(&report));
            }
            return Ok(());
        }
        let answer: model::HealthAnswer = client.get("/v1/health").await?;
        if self.target.json {
            println!("{}", serde_json::to_string(&answer)?);
        } else {
            print!("{}", render(&answer));
        }
        Ok(())
    }
}

fn render_report(report: &ScrubReport) -> String {
    let mut out = format!(
        "{} segment(s) looked at, {} of them 12/12, {} at risk\n",
        report.looked, report.whole, report.at_risk
    );
    if report.moved_chunks > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{} chunk(s) are being stored again", report.moved_chunks);
    }
    if report.lost_chunks > 0 {
        let _ = writeln!(
            out,
            "{} chunk(s) CANNOT BE REBUILT now: `cess-gateway scrub --status` names the files",
            report.lost_chunks
        );
    }
    for segment in &report.segments {
        out.push_str(&one_segment(segment));
    }
    out
}

fn render(answer: &model::HealthAnswer) -> String {
    let mut out = summary(&answer.status);
    for segment in &answer.segments {
        out.push_str(&one_segment(segment));
    }
    for lost in &answer.lost {
        let _ = writeln!(
            out,
            "CANNOT BE REBUILT now: {} (inode {}), bytes {} to {}, chunk {}",
            lost.path.as_deref().unwrap_or("a file without a name"),
            lost.ino,
            lost.offset,
            lost.offset + u64::from(lost.len),
            lost.chunk
        );
    }
    out
}

/// The lines about everything.
pub fn summary(health: &HealthStatus) -> String {
    if health.segments == 0 {
        return "health    nothing is verified yet\n".to_owned();
    }
    let grades: Vec<String> = health
        .by_good
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, count)| **count > 0)
        .map(|(good, count)| format!("{count} at {good}/12"))
        .collect();
    let mut out = format!("health    {} segment(s): {}", health.segments, grades.join(", "));
    if health.at_risk > 0 {
        let _ = write!(out, "; {} at risk", health.at_risk);
    }
    if health.lost_chunks > 0 {
        let _ = write!(out, "; {} chunk(s) CANNOT BE REBUILT now", health.lost_chunks);
    }
    let _ = write!(
        out,
        "\n          looked at since {}, {} due\n",
        moment(health.oldest_look.unwrap_or(0)),
        health.due
    );
    out
}

fn one_segment(segment: &SegmentHealth) -> String {
    let mut out = format!(
        "pack {} segment {}: {}/12 good, {} in doubt, {} lost{}\n",
        segment.pack,
        segment.segment,
        segment.good,
        segment.doubtful,
        segment.lost,
        if segment.at_risk { ", at risk" } else { "" }
    );
    for fragment in &segment.fragments {
        let Some(state) = fragment.state.filter(|state| *state != FragmentState::Good) else {
            continue;
        };
        let _ = writeln!(
            out,
            "  fragment {:>2} {} since {}, good last {}, at {} {}",
            fragment.index,
            word(state),
            moment(fragment.since),
            moment(fragment.good),
            fragment.miner.as_deref().unwrap_or("nobody"),
            fragment.endpoint.as_deref().unwrap_or("(no endpoint)")
        );
    }
    out
}

/// A state in a word or two.
pub const fn word(state: FragmentState) -> &'static str {
    match state {
        FragmentState::Good => "good",
        FragmentState::OutOfReach => "out of reach",
        FragmentState::Missing => "missing",
        FragmentState::Corrupt => "corrupt",
        FragmentState::Left => "miner left",
        FragmentState::Withdrawn => "withdrawn",
    }
}
