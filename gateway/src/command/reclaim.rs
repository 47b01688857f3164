//! `cess-gateway reclaim`: territory back from packs in which little lives.
use std::fmt::Write as _;

use anyhow::Result;
use bytesize::ByteSize;
use clap::Args;
use store::ReclaimPlan;

use super::Target;
use crate::admin::model;

/// Pack again what lives in packs that are not worth their territory, and delete their files.
#[derive(Args)]
pub struct Reclaim {
    /// Only show what would be done, and what it costs.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

impl Reclaim {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let request = model::Reclaim {
            dry_run: self.dry_run,
        };
        let plan: ReclaimPlan = self.target.client()?.post("/v1/reclaim", &request).await?;
        if self.target.json {
            println!("{}", serde_json::to_string(&plan)?);
        } else {
            print!("{}", render(&plan, self.dry_run));
        }
        Ok(())
    }
}

fn render(plan: &ReclaimPlan, dry_run: bool) -> String {
    let mut out = String::new();
    let size = |bytes: u64| ByteSize(bytes).display().iec().to_string();
    // Writing to a String cannot fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line(format!(
        "leased    {} by packs in which {} live, at {:.4} TCESS per GiB and day",
        size(plan.leased_bytes),
        size(plan.live_bytes),
        plan.price
    ));
    if plan.packs.is_empty() {
        line(format!(
            "nothing {}; {} pack(s) with something dead or empty stay",
            if plan.held_back.is_some() {
                "can be moved now"
            } else {
                "pays"
            },
            plan.kept
        ));
        if let Some(why) = &plan.held_back {
            line(format!("because   {why}"));
        }
        return out;
    }
    line(format!(
        "{:>8}  {:>8}  {:>11}  {:>11}  ",
        "pack", "segments", "lives", "dead"
    ));
    for pack in &plan.packs {
        line(format!(
            "{:>8}  {:>8}  {:>11}  {:>11}  {}",
            pack.pack,
            pack.segments,
            size(pack.live_bytes),
            size(pack.dead_bytes),
            if pack.live_bytes == 0 {
                "delete"
            } else {
                "move, then delete"
            }
        ));
    }
    line(format!(
        "frees {} for {} down and {} up; worth {:.4} TCESS, costs {:.4}; {} pack(s) stay",
        size(plan.freed_bytes),
        size(plan.download_bytes),
        size(plan.upload_bytes),
        plan.worth,
        plan.cost,
        plan.kept
    ));
    if let Some(why) = &plan.held_back {
        line(format!("no more, because {why}"));
    }
    line(
        if dry_run {
            "nothing was done: this is the plan"
        } else {
            "moved; files are deleted as soon as the new packs are verified (see `status`)"
        }
        .to_owned(),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_it_frees_and_what_it_costs() {
        let plan = ReclaimPlan {
            leased_bytes: 288 << 20,
            live_bytes: 1 << 20,
            packs: vec![store::ReclaimPack {
                pack: 7,
                segments: 1,
                live_bytes: 1 << 20,
                dead_bytes: 0,
            }],
            freed_bytes: 192 << 20,
            download_bytes: 1 << 20,
            upload_bytes: 96 << 20,
            worth: 168.75,
            cost: 28.5,
            kept: 2,
            price: 30.0,
            held_back: None,
        };
        let text = render(&plan, true);
        assert!(
            text.contains("frees 192.0 MiB for 1.0 MiB down and 96.0 MiB up"),
            "{text}"
        );
        assert!(
            text.contains("worth 168.7500 TCESS, costs 28.5000; 2 pack(s) stay"),
            "{text}"
        );
        assert!(
            text.contains("move, then delete") && text.contains("this is the plan"),
            "{text}"
        );
        let nothing = ReclaimPlan {
            packs: Vec::new(),
            ..plan
        };
        assert!(render(&nothing, false).contains("nothing pays; 2 pack(s)"));
        let frozen = ReclaimPlan {
            held_back: Some("territory: it is frozen".into()),
            ..nothing
        };
        let text = render(&frozen, true);
        assert!(
            text.contains("nothing can be moved now; 2 pack(s)")
                && text.contains("because   territory: it is frozen"),
            "{text}"
        );
    }
}
