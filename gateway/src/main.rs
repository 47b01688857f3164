//! The program `cess-gateway`: configuration, commands, wiring, admin API.
//!
//! - [`config`]: the documented settings of `serve`; [`dev`](command::dev) makes its own.
//! - [`gateway`]: opens metadata, chain, store and namespace, and starts the three doors.
//! - [`admin`]: the API that every other command of this program talks to, and its client.
//! - [`bench`]: measures this build.
//! - [`command`]: one file per command.
//! - [`output`]: what they say, whoever still reads it. First, because its macros hold in what follows.
#[macro_use]
mod output;

mod admin;
mod allocator;
mod bench;
mod command;
mod config;
mod data_dir;
mod gateway;
mod placement;
mod random;
mod ready;

use clap::Parser as _;

/// How long threads may take to end once everything has been stopped.
const STOP_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

fn main() -> std::process::ExitCode {
    allocator::return_freed_memory();
    // Both ring and aws-lc-rs are linked; without a choice made here rustls refuses to start.
    // An error means that a provider was installed already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments = command::Arguments::parse();
    command::start_log(&arguments);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(command::run(arguments));
    // What is still under way on other threads was given up, and may take long to notice.
    runtime.shutdown_timeout(STOP_PATIENCE);
    match ended {
        Ok(()) => match output::failure() {
            None => std::process::ExitCode::SUCCESS,
            Some(error) => {
                eprintln!("error: cannot write to standard output: {error}");
                std::process::ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
