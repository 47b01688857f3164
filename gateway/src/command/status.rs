//! `cess-gateway status`: where the data is.
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use bytesize::ByteSize;
use clap::Args;

use super::Target;
use crate::admin::model;

/// Planck in one TCESS.
const PLANCK: u128 = 1_000_000_000_000_000_000;

/// Damaged chunks that are named; the others are counted.
const DAMAGED_SHOWN: usize = 20;

/// Show packs, miners, staging, caches, chain and territory.
#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    target: Target,
}

impl Status {
    /// Shows it.
    pub async fn run(self) -> Result<()> {
        let status: model::Status = self.target.client()?.get("/v1/status").await?;
        if self.target.json {
            println!("{}", serde_json::to_string(&status)?);
        } else {
            print!("{}", render(&status));
        }
        Ok(())
    }
}

fn render(status: &model::Status) -> String {
    let mut out = String::new();
    let size = |bytes: u64| ByteSize(bytes).display().iec();
    let store = &status.store;
    // Writing to a String cannot fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line(format!(
        "cess-gateway {}, up {}",
        status.version,
        humantime::format_duration(Duration::from_secs(status.uptime))
    ));
    if let Some(tls) = &status.s3_tls {
        line(format!("S3 TLS    certificate {}", tls.fingerprint));
        if let Some(error) = &tls.error {
            line(format!(
                "          the files that are there now are not used: {error}"
            ));
        }
    }
    line(format!(
        "chain     {}, account {}",
        status.chain.runtime, status.chain.account
    ));
    if let Some(error) = &status.chain.error {
        line(format!("          cannot be asked now: {error}"));
    }
    if let (Some(block), Some(balance)) = (status.chain.block, &status.chain.balance) {
        line(format!("          block {block}, balance {}", tokens(balance)));
    }
    if let Some(outlook) = &store.chain
        && let Some(reason) = &outlook.reason
    {
        let since = UNIX_EPOCH + Duration::from_secs(outlook.since);
        line(format!(
            "          {} since {}: {reason}",
            outlook.state,
            humantime::format_rfc3339_seconds(since)
        ));
    }
    match &status.chain.territory {
        Some(territory) => line(format!(
            "territory {} ({}), {} used, {} locked, {} free of {}, until block {}",
            territory.name,
            territory.state,
            size(territory.used),
            size(territory.locked),
            size(territory.remaining),
            size(territory.total),
            territory.deadline
        )),
        None if status.chain.error.is_none() => {
            line(format!(
                "territory none of that name belongs to {}: lease one",
                status.chain.owner
            ));
        }
        None => {}
    }
    line(format!(
        "staging   {} of {}, {} not packed yet",
        size(store.staging_bytes),
        size(store.staging_limit),
        size(store.unpacked_bytes)
    ));
    if let Some(trouble) = &store.trouble {
        line(format!("          takes nothing in: {trouble}"));
    }
    if store.gateways.len() > 1 {
        line("gateways".to_owned());
        for gateway in &store.gateways {
            line(self::gateway(gateway));
        }
    }
    // What a restore did not find is summed up below.
    let rotten: Vec<_> = store.damaged.iter().filter(|damaged| damaged.inode > 0).collect();
    for damaged in rotten.iter().take(DAMAGED_SHOWN) {
        line(format!(
            "          damaged: chunk {}, written by inode {} at byte {}",
            damaged.chunk, damaged.inode, damaged.offset
        ));
    }
    if rotten.len() > DAMAGED_SHOWN {
        line(format!("          and {} more", rotten.len() - DAMAGED_SHOWN));
    }
    line(format!(
        "caches    memory {} of {}, disk {} of {}; reading {} of {}",
        size(store.memory_cache.0),
        size(store.memory_cache.1),
        size(store.disk_cache.0),
        size(store.disk_cache.1),
        size(store.read_memory.0),
        size(store.read_memory.1)
    ));
    if let Some((now, most, limit)) = store.upload_memory {
        line(format!(
            "memory    {} of {} for packs on their way, {} at most so far",
            size(now),
            size(limit),
            size(most)
        ));
    }
    if let Some(restored) = &store.restored {
        line(self::restored(restored));
    }
    if let Some(checkpoint) = &store.checkpoint {
        line(self::checkpoint(checkpoint));
    }
    line("workers".to_owned());
    line(super::worker::render(&store.workers).trim_end().to_owned());
    for text in super::scrub::summary(&store.health).lines() {
        line(text.to_owned());
    }
    line(format!("packs     {}{}", store.packs.len(), waste(store)));
    for pack in &store.packs {
        line(format!(
            "  {:>6}  {:<8}  {}  {} segment(s), {} chunks, {}, {} miners{}{}{}",
            pack.id,
            format!("{:?}", pack.state).to_lowercase(),
            pack.fid.as_deref().unwrap_or("(not hashed yet)"),
            pack.segments,
            pack.chunks,
            size(pack.bytes),
            pack.miners.len(),
            pack.good
                .map(|good| format!(", {good}/12 good"))
                .unwrap_or_default(),
            pack.waits_for
                .as_ref()
                .map(|gateway| format!(", waits for gateway {gateway}"))
                .unwrap_or_default(),
            pack.last_error
                .as_ref()
                .map(|error| format!("; {error}"))
                .unwrap_or_default()
        ));
    }
    out
}

/// The restore that the namespace began anew with, and what is still missing since.
fn restored(status: &store::RestoredStatus) -> String {
    let moment = |millis| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(millis));
    let source = match (status.checkpoint, status.taken) {
        (Some(number), Some(taken)) => format!("checkpoint {number} of {}", moment(taken)),
        _ => "what packs say, without a checkpoint".to_owned(),
    };
    let mut text = format!(
        "restored  incarnation {} since {}, from {source}; {} chunks were lost, {} of them are still missing",
        status.incarnation,
        moment(status.at),
        status.lost_chunks,
        status.missing_chunks
    );
    if status.unreadable_packs > 0 {
        text += &format!(", {} packs could not be read", status.unreadable_packs);
    }
    if status.unseen_segments > 0 {
        text += &format!(
            "; {} segments count as placed until the scrubber has looked at them",
            status.unseen_segments
        );
    }
    text
}

/// One of the gateways on the namespace.
pub(super) fn gateway(gateway: &store::MemberStatus) -> String {
    let seen = UNIX_EPOCH + Duration::from_millis(gateway.seen);
    let state = match (gateway.own, gateway.alive) {
        _ if gateway.forgotten => "given up".to_owned(),
        (true, _) => "this one".to_owned(),
        (false, true) => "alive".to_owned(),
        (false, false) => format!("away, seen last {}", humantime::format_rfc3339_seconds(seen)),
    };
    let staged = ByteSize(gateway.staged_bytes).display().iec();
    format!(
        "  {:>6}  {}: {state}{}{}",
        gateway.member,
        gateway.name,
        if gateway.keeper { ", the keeper" } else { "" },
        match (gateway.staged_bytes, gateway.alive) {
            (0, _) => String::new(),
            (_, true) => format!(", {staged} staged"),
            (_, false) => format!(", {staged} wait for it"),
        }
    )
}

/// The newest checkpoint, and what a restore would miss now.
fn checkpoint(status: &store::CheckpointStatus) -> String {
    let seconds = |seconds: u64| humantime::format_duration(Duration::from_secs(seconds)).to_string();
    if status.number == 0 {
        return "checkpoint none yet: nothing can be restored".to_owned();
    }
    let taken = UNIX_EPOCH + Duration::from_millis(status.taken);
    let misses = match status.window {
        Some(window) => format!("a restore misses the last {}", seconds(window)),
        None => "none is placed yet: nothing can be restored".to_owned(),
    };
    format!(
        "checkpoint {} of {}, {} rows, {}; {misses}, {} at most",
        status.number,
        humantime::format_rfc3339_seconds(taken),
        status.rows,
        status.level.map(|level| level.to_string()).unwrap_or_default(),
        seconds(status.window_limit),
    )
}

/// What packs take of the territory beside what lives in them, each byte of which takes three.
fn waste(store: &store::StoreStatus) -> String {
    if store.leased_bytes == 0 {
        return String::new();
    }
    let size = |bytes: u64| ByteSize(bytes).display().iec();
    let needed = store.live_bytes.saturating_mul(3);
    let waste = store.leased_bytes.saturating_sub(needed);
    format!(
        ", {} leased for {} that live: {:.0} % waste ({})",
        size(store.leased_bytes),
        size(store.live_bytes),
        waste as f64 * 100.0 / store.leased_bytes as f64,
        size(waste)
    )
}

/// Planck as TCESS with four digits.
fn tokens(planck: &str) -> String {
    match planck.parse::<u128>() {
        Ok(planck) => format!(
            "{}.{:04} TCESS",
            planck / PLANCK,
            planck % PLANCK / (PLANCK / 10_000)
        ),
        Err(_) => format!("{planck} planck"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waste_is_what_is_leased_beyond_what_lives() {
        let status = |leased: u64, live: u64| store::StoreStatus {
            leased_bytes: leased << 20,
            live_bytes: live << 20,
            ..store::StoreStatus::default()
        };
        assert_eq!(waste(&status(0, 0)), "");
        assert_eq!(
            waste(&status(384, 96)),
            ", 384.0 MiB leased for 96.0 MiB that live: 25 % waste (96.0 MiB)"
        );
        assert!(waste(&status(96, 1)).contains("97 % waste"));
    }

    #[test]
    fn what_a_restore_lost_is_shown() {
        let text = restored(&store::RestoredStatus {
            incarnation: 2,
            checkpoint: Some(7),
            taken: Some(0),
            lost_chunks: 5,
            missing_chunks: 3,
            unseen_segments: 4,
            ..store::RestoredStatus::default()
        });
        for part in [
            "incarnation 2",
            "checkpoint 7 of 1970",
            "5 chunks were lost, 3 of them",
            "4 segments",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_window_of_loss_is_shown() {
        let none = store::CheckpointStatus::default();
        assert!(checkpoint(&none).contains("nothing can be restored"));
        let some = store::CheckpointStatus {
            number: 7,
            taken: 1_000,
            level: Some(store::Level::Placed),
            rows: 12,
            restorable: Some(1_000),
            window: Some(90),
            window_limit: 4_200,
            ..none
        };
        assert_eq!(
            checkpoint(&some),
            "checkpoint 7 of 1970-01-01T00:00:01Z, 12 rows, placed; a restore misses the last 1m 30s, 1h 10m at most"
        );
    }

    #[test]
    fn what_waits_for_a_gateway_is_shown() {
        let away = store::MemberStatus {
            member: 1,
            name: "beta".to_owned(),
            address: String::new(),
            own: false,
            alive: false,
            keeper: false,
            seen: 1_000,
            staged_bytes: 3 << 20,
            forgotten: false,
        };
        assert_eq!(
            gateway(&away),
            "       1  beta: away, seen last 1970-01-01T00:00:01Z, 3.0 MiB wait for it"
        );
        let alive = store::MemberStatus {
            alive: true,
            keeper: true,
            staged_bytes: 0,
            ..away
        };
        assert_eq!(gateway(&alive), "       1  beta: alive, the keeper");
    }

    #[test]
    fn balances_are_shown_in_tokens() {
        assert_eq!(tokens("1500000000000000000"), "1.5000 TCESS");
        assert_eq!(tokens("99999999999999"), "0.0000 TCESS");
        assert_eq!(tokens("many"), "many planck");
    }
}
