//! The clients that the machine has.
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};

/// Where `tests/install-tools` puts the Python clients.
fn tool_dirs() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if let Some(extra) = std::env::var_os("CESS_TEST_TOOLS") {
        dirs.push(PathBuf::from(extra));
    }
    if let Some(path) = std::env::var_os("PATH") {
        dirs.extend(std::env::split_paths(&path));
    }
    dirs
}

/// Packages for node, or says aloud that a test is skipped for want of them, as [`find`] does.
pub fn node_modules() -> Option<PathBuf> {
    let found = tool_dirs()
        .into_iter()
        .map(|dir| dir.join("../node/node_modules"))
        .find(|path| path.join("minio").is_dir());
    if found.is_none() {
        missing("the S3 clients for JavaScript");
    }
    found
}

/// Finds a program, or says aloud that the test is skipped for want of it. With
/// `CESS_TEST_NO_SKIP` set (as `make test` does, which installs every tool) it fails instead.
pub fn find(name: &str) -> Option<PathBuf> {
    let found = tool_dirs()
        .into_iter()
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        missing(name);
    }
    found
}

fn missing(what: &str) {
    assert!(
        std::env::var_os("CESS_TEST_NO_SKIP").is_none(),
        "{what} is missing; run tests/install-tools"
    );
    eprintln!("SKIPPED: {what} is not installed (tests/install-tools installs it)");
}

/// Runs a command to its end; an exit other than 0 is an error that shows what it printed.
pub fn run(command: &mut Command) -> Result<Output> {
    let shown = format!(
        "{} {}",
        command.get_program().to_string_lossy(),
        command
            .get_args()
            .map(OsStr::to_string_lossy)
            .collect::<Vec<_>>()
            .join(" ")
    );
    let output = command.output().with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!(
            "{shown}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}
