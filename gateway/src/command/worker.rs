//! `cess-gateway worker`: background work, and a hand on it.
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use bytesize::ByteSize;
use clap::{Args, Subcommand};
use store::workers::{WorkerState, WorkerStatus};

use super::Target;
use crate::admin::workers::{WorkerLimit, WorkerList, WorkerName};

/// The background workers.
#[derive(Args)]
pub struct Worker {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// What each is doing, what it has done and why it failed last.
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Let a worker finish what is under way and then wait, until it is resumed or the gateway
    /// starts anew.
    Pause {
        /// Name as listed.
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Let a paused worker go on.
    Resume {
        /// Name as listed.
        name: String,
        #[command(flatten)]
        target: Target,
    },
    /// Limit the bytes per second that a worker moves, until the gateway starts anew. Refused for
    /// workers that move none.
    Limit {
        /// Name as listed.
        name: String,
        /// Bytes per second, such as 10MiB, or `none`.
        #[arg(value_parser = parse_limit)]
        limit: Limit,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit(Option<u64>);

fn parse_limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    let bytes: ByteSize = text.parse()?;
    if bytes.as_u64() == 0 {
        return Err("0 bytes per second would stop it: use `worker pause`, or `none`".into());
    }
    Ok(Limit(Some(bytes.as_u64())))
}

impl Worker {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        match self.action {
            Action::List { target } => {
                let list: WorkerList = target.client()?.get("/v1/workers").await?;
                if target.json {
                    println!("{}", serde_json::to_string(&list)?);
                } else {
                    print!("{}", render(&list.workers));
                }
            }
            Action::Pause { name, target } => {
                let request = WorkerName { name };
                target.client()?.act("/v1/workers/pause", &request).await?;
                done(&target, &request.name, "is paused");
            }
            Action::Resume { name, target } => {
                let request = WorkerName { name };
                target.client()?.act("/v1/workers/resume", &request).await?;
                done(&target, &request.name, "goes on");
            }
            Action::Limit { name, limit, target } => {
                let request = WorkerLimit { name, bytes: limit.0 };
                target.client()?.act("/v1/workers/limit", &request).await?;
                let limit = match limit.0 {
                    Some(bytes) => format!("moves {}/s at most", ByteSize(bytes).display().iec()),
                    None => "moves bytes as fast as it can".to_owned(),
                };
                done(&target, &request.name, &limit);
            }
        }
        Ok(())
    }
}

fn done(target: &Target, name: &str, what: &str) {
    if target.json {
        println!("{}", serde_json::json!({ "worker": name }));
    } else {
        println!("{name} {what}");
    }
}

/// A line per worker, and more where there is more to say.
pub(super) fn render(workers: &[WorkerStatus]) -> String {
    let mut out = String::new();
    for worker in workers {
        let state = match worker.state {
            WorkerState::Idle => "idle".to_owned(),
            WorkerState::Working => "working".to_owned(),
            WorkerState::Waiting { seconds } => format!("waiting {seconds}s"),
            WorkerState::Paused => "paused".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = write!(out, "  {:<10} {state}", worker.name);
        if worker.paused && worker.state != WorkerState::Paused {
            out.push_str(", paused after that");
        }
        if let Some(limit) = worker.limit {
            let _ = write!(out, ", at most {}/s", ByteSize(limit).display().iec());
        }
        for (counter, count) in &worker.counters {
            let _ = if let Some(what) = counter.strip_prefix("bytes ") {
                write!(out, ", {} {what}", ByteSize(*count).display().iec())
            } else {
                write!(out, ", {count} {counter}")
            };
        }
        if worker.failures > 0 {
            let _ = write!(out, ", {} failures", worker.failures);
        }
        out.push('\n');
        for work in &worker.working_on {
            let _ = writeln!(out, "             on {work}");
        }
        if let Some(error) = &worker.last_error {
            let at = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(error.at));
            let _ = writeln!(out, "             failed {at}: {}", error.text);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_units_and_an_end() {
        assert_eq!(parse_limit("10MiB"), Ok(Limit(Some(10 << 20))));
        assert_eq!(parse_limit("none"), Ok(Limit(None)));
        assert!(parse_limit("0").is_err());
        assert!(parse_limit("fast").is_err());
    }

    #[test]
    fn a_worker_is_a_line_and_what_needs_more() {
        let workers = store::workers::Workers::default();
        let placer = workers.register_mover("placer");
        placer.count("bytes pushed", 8 << 20);
        placer.count("packs placed", 2);
        workers.pause("placer").unwrap();
        workers.limit("placer", Some(1 << 20)).unwrap();
        let _work = placer.working("pack 3: hashing");
        placer.failed(&"no miners");
        let text = render(&workers.list());
        assert!(
            text.starts_with(
                "  placer     working, paused after that, at most 1.0 MiB/s, 8.0 MiB pushed, \
                 2 packs placed, 1 failures\n             on pack 3: hashing\n             failed 20"
            ),
            "{text}"
        );
    }
}
