//! A program of this workspace as a child process that says when it is ready.
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Longest wait for a program to serve. Generous: test machines are slow and shared.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// Longest wait for a clean stop.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// Where a program of this workspace was built: `CESS_BIN_DIR`, or beside the test itself.
pub fn program(name: &str) -> Result<PathBuf> {
    let dir = if let Some(dir) = std::env::var_os("CESS_BIN_DIR") {
        PathBuf::from(dir)
    } else {
        let test = std::env::current_exe()?;
        test.ancestors()
            .nth(2)
            .context("the test runs from an odd place")?
            .to_owned()
    };
    let path = dir.join(name);
    if !path.is_file() {
        bail!("{} is not built; run `cargo build --bins` first", path.display());
    }
    Ok(path)
}

/// A running program. Dropping it kills it.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` and waits for the first line on its standard output, which is answered
    /// too. What it logs goes to the end of `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<(Self, String)> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .context("cannot start the program")?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut process = Self {
            child,
            log: log.to_owned(),
        };
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // The receiver is gone only when the wait below gave up.
            let _ = tell.send(read.map(|_| line));
        });
        let Ok(line) = told.recv_timeout(START_PATIENCE) else {
            bail!("the program does not come up: {}", process.said());
        };
        let line = line?;
        if line.is_empty() {
            let status = process.child.wait()?;
            bail!(
                "the program ended with {status} instead of serving: {}",
                process.said()
            );
        }
        Ok((process, line))
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it runs no more; its last status if so.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("the program still runs after {patience:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// kill -9.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(&mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let deadline = Instant::now() + STOP_PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if !status.success() {
                    bail!("the program ended with {status}: {}", self.said());
                }
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the program does not stop: {}", self.said());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whatever fails here, the test's own verdict stands.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
