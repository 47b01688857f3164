//! `cess-gateway member`: the gateways on one namespace.
use std::fmt::Write as _;

use anyhow::Result;
use bytesize::ByteSize;
use clap::{Args, Subcommand};

use super::Target;
use super::restore::range;
use super::status::gateway;
use crate::admin::members::{Forget, Forgotten, Members};

/// List the gateways on this namespace, or give one up for good.
#[derive(Args)]
pub struct Member {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show who lives, who does the work of all, and what waits for whom.
    List(List),
    /// Give a gateway up that never comes back, with what only its disk had.
    Forget(ForgetMember),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct ForgetMember {
    /// Its name, or its number where several have one name.
    member: String,
    /// Do it. Without this it is only shown what would be lost.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

impl Member {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Forget(forget) => forget.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let answer: Members = self.target.client()?.get("/v1/members").await?;
        if self.target.json {
            println!("{}", serde_json::to_string(&answer)?);
        } else {
            for member in &answer.members {
                println!("{}", gateway(member));
            }
        }
        Ok(())
    }
}

impl ForgetMember {
    async fn run(self) -> Result<()> {
        let request = Forget {
            member: self.member,
            really: self.yes,
        };
        let answer: Forgotten = self.target.client()?.post("/v1/members/forget", &request).await?;
        if self.target.json {
            println!("{}", serde_json::to_string(&answer)?);
        } else {
            print!("{}", render(&answer));
        }
        Ok(())
    }
}

fn render(answer: &Forgotten) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    let plan = &answer.plan;
    line(format!(
        "gateway {} ({}): {} chunks are taken over by the gateway that was asked",
        plan.name, plan.member, plan.adopted
    ));
    if plan.lost.is_empty() {
        line("lost     nothing".to_owned());
    } else {
        line(format!(
            "lost     {} chunks, {}, that its disk alone had; reading these ranges is an error:",
            plan.lost.len(),
            ByteSize(plan.lost_bytes).display().iec()
        ));
        for user in &answer.files {
            line(format!("         {}", range(user)));
        }
    }
    line(
        if answer.done {
            "It is given up: should it ever start again, it is refused."
        } else {
            "Nothing was done: --yes does it."
        }
        .to_owned(),
    );
    out
}

#[cfg(test)]
mod tests {
    use store::Forgetting;
    use vfs::ChunkUser;

    use super::*;

    #[test]
    fn what_is_lost_is_listed_and_what_was_done_is_said() {
        let mut answer = Forgotten {
            done: false,
            plan: Forgetting {
                member: 1,
                name: "beta".to_owned(),
                lost: vec![7],
                lost_bytes: 1 << 20,
                adopted: 3,
            },
            files: vec![ChunkUser {
                chunk: 7,
                ino: 9,
                path: Some("papers/a".to_owned()),
                offset: 10,
                len: 5,
            }],
        };
        assert_eq!(
            render(&answer),
            "gateway beta (1): 3 chunks are taken over by the gateway that was asked\n\
             lost     1 chunks, 1.0 MiB, that its disk alone had; reading these ranges is an error:\n         \
             papers/a bytes 10 to 15\n\
             Nothing was done: --yes does it.\n"
        );
        answer.done = true;
        answer.plan.lost.clear();
        let said = render(&answer);
        assert!(
            said.contains("lost     nothing") && said.contains("given up"),
            "{said}"
        );
    }
}
