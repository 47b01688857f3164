//! `cess-devnet`: a CESS network on one machine.
use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    cess_devnet::command::Command::parse().run().await?;
    Ok(())
}
