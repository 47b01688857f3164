//! `cess-gateway level`: how far one file has come, and waiting for it.
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytesize::ByteSize;
use clap::Args;

use super::Target;
use super::flush::Wait;
use crate::admin::levels::{AskLevel, Asked, FileLevel, SetFile};

/// Show the level that a file, object or volume has reached, or wait for one.
#[derive(Args)]
pub struct Level {
    /// `bucket/key`.
    path: String,
    /// Wait until all that it holds now has this level.
    #[arg(long, value_enum)]
    wait: Option<Wait>,
    /// Longest wait.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Make every fsync, FLUSH and FUA of it stand for at least this level from now on.
    #[arg(long, value_enum)]
    ack: Option<Asked>,
    #[command(flatten)]
    target: Target,
}

impl Level {
    /// Shows it.
    pub async fn run(self) -> Result<()> {
        let client = self.target.client()?;
        if let Some(ack) = self.ack {
            let request = SetFile {
                path: self.path.clone(),
                ack: Some(ack),
            };
            client
                .act("/v1/files/set", &request)
                .await
                .with_context(|| self.path.clone())?;
        }
        let request = AskLevel {
            path: self.path.clone(),
            wait: self.wait.map(Wait::level),
            timeout: self.timeout.as_secs(),
        };
        let file: FileLevel = client
            .post("/v1/files/level", &request)
            .await
            .context(self.path)?;
        if self.target.json {
            println!("{}", serde_json::to_string(&file)?);
        } else {
            println!("{}", render(&file));
        }
        Ok(())
    }
}

fn render(file: &FileLevel) -> String {
    let state = file
        .state
        .map_or_else(|| "buffered".to_owned(), |level| level.to_string());
    let own = file
        .ack
        .map_or_else(|| "default".to_owned(), |level| level.to_string());
    format!(
        "{}  {state}, {}; ack {own}, in force {}",
        file.path,
        ByteSize(file.size).display().iec(),
        file.in_force
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffered_bytes_have_no_level() {
        let file = FileLevel {
            path: "b/k".into(),
            size: 0,
            state: None,
            ack: None,
            in_force: store::Level::Placed,
        };
        assert_eq!(render(&file), "b/k  buffered, 0 B; ack default, in force placed");
    }
}
