//! `cess-gateway bench`: measure this build against a network in a box.
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;

use super::dev::Dev;
use super::somebody_watches;
use crate::bench::{self, Line, Target};

/// Measure this build against a network in a box.
#[derive(Args)]
pub struct Bench {
    /// Measure only these; default all.
    #[arg(value_enum)]
    only: Vec<Group>,
    /// How long each line is measured.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Where the scratch gateway lives; measure the disk that will be used. Default: a temporary directory.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Objects of 4 KiB that `objects` loads, and files that `meta` makes.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Of `meta` only this; default all.
    #[arg(long, value_enum)]
    part: Option<bench::meta::Part>,
    /// For `meta`, of itself: make files in the namespace there, say so, and wait to be killed.
    #[arg(long, value_name = "DIR", hide = true)]
    die_in: Option<PathBuf>,
    /// For `s3`: measure this server in the same run, too. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    /// are the keys of all of them.
    #[arg(long, value_name = "NAME=URL", value_parser = peer)]
    peer: Vec<(String, String)>,
    /// For `s3`, of itself: serve what does nothing but the protocol.
    #[arg(long, hide = true)]
    bare_s3: bool,
    /// Answer in JSON, one line per measurement.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// The library calls, per core, beside the bare ones they wrap.
    Codec,
    /// The S3 door.
    S3,
    /// The mount.
    Fuse,
    /// The NBD door.
    Nbd,
    /// Cold reads from the miners, beside plain HTTP.
    Read,
    /// Placing, beside the hashing that the protocol forces; bytes written per byte stored.
    Place,
    /// Many small objects: memory and disk. Only when it is named: it takes minutes.
    Objects,
    /// The namespace beside its bare engine, and what many files cost. Only when it is named: it takes
    /// minutes.
    Meta,
}

impl Bench {
    /// Measures.
    pub async fn run(self) -> Result<()> {
        if let Some(dir) = &self.die_in {
            return bench::meta::die(dir).await;
        }
        if self.bare_s3 {
            return bench::s3::serve_bare().await;
        }
        let wanted = |group| self.only.is_empty() || self.only.contains(&group);
        let bar = if somebody_watches(self.json) {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        let report = |line: Line| {
            bar.suspend(|| {
                if self.json {
                    println!("{}", serde_json::json!(line));
                } else {
                    println!("{line}");
                }
            });
        };
        if wanted(Group::Codec) {
            bar.set_message("codec");
            let time = self.time;
            // Computes for seconds without a pause: not on the runtime's own threads.
            for line in tokio::task::spawn_blocking(move || bench::codec::measure(time)).await?? {
                report(line);
            }
        }
        if self.only.contains(&Group::Objects) {
            bar.set_message("objects");
            bench::objects::measure(self.scratch()?.path(), self.count, &report).await?;
        }
        if self.only.contains(&Group::Meta) {
            bar.set_message("meta");
            let scratch = self.scratch()?;
            bench::meta::measure(scratch.path(), self.part, self.time, self.count, &report).await?;
        }
        if wanted(Group::Read) {
            bar.set_message("read");
            let scratch = self.scratch()?;
            let running = Dev::scratch(scratch.path()).start().await?;
            bench::read::measure(&running, &report).await?;
            running.stop().await?;
        }
        if wanted(Group::Place) {
            bar.set_message("place");
            bench::place::measure(self.scratch()?.path(), self.time, &report).await?;
        }
        if [Group::S3, Group::Fuse, Group::Nbd].into_iter().any(wanted) {
            let scratch = self.scratch()?;
            let target = Target::start(scratch.path(), self.time).await?;
            if wanted(Group::S3) {
                bench::s3::measure(&target, &self.peers()?, &report).await?;
            }
            if wanted(Group::Fuse) {
                bench::fuse::measure(&target, &report).await?;
            }
            if wanted(Group::Nbd) {
                bench::nbd::measure(&target, &report).await?;
            }
            target.stop().await?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn peers(&self) -> Result<Vec<bench::s3::Peer>> {
        let key = |name: &str| std::env::var(name).with_context(|| format!("--peer needs {name}"));
        let peer = |(name, endpoint): &(String, String)| {
            Ok(bench::s3::Peer {
                name: name.clone(),
                s3: bench::S3 {
                    endpoint: endpoint.clone(),
                    region: "us-east-1".to_owned(),
                    access_key: key("AWS_ACCESS_KEY_ID")?,
                    secret_key: key("AWS_SECRET_ACCESS_KEY")?,
                },
            })
        };
        self.peer.iter().map(peer).collect()
    }

    fn scratch(&self) -> Result<tempfile::TempDir> {
        match &self.scratch {
            Some(dir) => tempfile::tempdir_in(dir),
            None => tempfile::tempdir(),
        }
        .context("cannot make a scratch directory")
    }
}

fn peer(text: &str) -> Result<(String, String), String> {
    let (name, url) = text.split_once('=').ok_or("say NAME=URL")?;
    Ok((name.to_owned(), url.to_owned()))
}
