//! Two gateways on one namespace against the model.
//!
//! Each operation goes to one of the two, by chance; those on an attached device go where it is
//! attached. What the model asks of a gateway when an operation of the other one has been answered is
//! what the product promises ([`Pair::hand_over`]): devices are flushed, and the mount is asked to show
//! what others committed, as fsync of a directory does.
//!
//! Most of what is written lies in the staging of one gateway, and the other one fetches it from there. While one is
//! dead, what the other one shows is looked at as well ([`witness`]).
mod site;
mod witness;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::fs::{Mode, OFlags, fsync, open};
use tokio::runtime::Runtime;

pub use self::site::{Gateway, Site};
use self::witness::Witness;
use super::Tally;
use super::driver::watchdog::Watchdog;
use super::driver::{PATIENCE, S3, block, file, nbd_address};
use super::operation::{BUCKETS, BlockOperation, Event, Operation, SLOTS};
use super::outcome::{Expected, Outcome};
use super::reference::{Reference, Seen};

/// After so long the database has carried out, or forgotten, what a gateway sent before it was killed.
const SETTLED: Duration = Duration::from_secs(1);

/// Two gateways and their clients.
struct Pair {
    // Stops first: it knows the gateways by their process ids.
    watchdog: Watchdog,
    slots: [Option<block_frontend::client::Client>; SLOTS],
    /// Which gateway each slot is attached at.
    at: [usize; SLOTS],
    s3: Vec<S3>,
    site: Site,
    runtime: Runtime,
    /// Where the last operation went.
    last: usize,
}

impl Pair {
    fn start(database: &str) -> Result<Self> {
        let site = Site::start(database)?;
        let s3: Vec<S3> = site
            .gateways
            .iter()
            .map(|gateway| S3::new(&gateway.s3))
            .collect::<Result<_>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(s3[0].create_buckets())?;
        Ok(Self {
            watchdog: Watchdog::start(PATIENCE),
            slots: [const { None }; SLOTS],
            at: [0; SLOTS],
            s3,
            site,
            runtime,
            last: 0,
        })
    }

    /// Where an operation goes: where its device is attached, else anywhere.
    fn choose(&self, operation: &Operation, random: &mut StdRng) -> usize {
        let anywhere = random.random_range(0..self.site.gateways.len());
        match operation {
            Operation::Block(
                BlockOperation::Read { slot, .. }
                | BlockOperation::Write { slot, .. }
                | BlockOperation::Zero { slot, .. }
                | BlockOperation::Trim { slot, .. }
                | BlockOperation::Flush { slot }
                | BlockOperation::Detach { slot },
            ) if self.slots[*slot].is_some() => self.at[*slot],
            _ => anywhere,
        }
    }

    /// The next operation goes to another gateway than the last: has the last one store what its
    /// devices buffer, and the next one show it.
    fn hand_over(&mut self, next: usize, model: &mut Reference) -> Result<()> {
        if next == self.last {
            return Ok(());
        }
        for slot in 0..SLOTS {
            if self.slots[slot].is_some() && self.at[slot] == self.last {
                let flush = Operation::Block(BlockOperation::Flush { slot });
                model.through(self.last);
                let expected = model.apply(&flush);
                let outcome = self.execute(self.last, &flush);
                if !expected.allows(&outcome) {
                    bail!("a flush before another gateway's turn: {outcome:?}");
                }
            }
        }
        self.last = next;
        self.catch_up(next)
    }

    /// Has a mount show everything that was acknowledged at any gateway.
    fn catch_up(&self, gateway: usize) -> Result<()> {
        let mount = &self.site.gateways[gateway].mount;
        let root = open(
            mount,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(fsync(root)?)
    }

    fn execute(&mut self, gateway: usize, operation: &Operation) -> Outcome {
        let site = &self.site.gateways[gateway];
        self.watchdog.watch(site.pid());
        let outcome = match operation {
            Operation::Object(operation) => self.runtime.block_on(self.s3[gateway].execute(operation)),
            Operation::File(operation) => file::execute(&site.mount, operation),
            Operation::Block(operation) => {
                if let BlockOperation::Attach { slot, .. } | BlockOperation::Detach { slot } = operation
                    && let Some(client) = &mut self.slots[*slot]
                {
                    // A client that leaves without it may have its goodbye heard late.
                    let flushed = self.runtime.block_on(client.flush());
                    if let Err(error) = flushed {
                        return Outcome::Broken(format!("a flush before the end: {error}"));
                    }
                }
                if let BlockOperation::Attach { slot, .. } = operation {
                    self.at[*slot] = gateway;
                }
                match nbd_address(&site.nbd) {
                    Ok(address) => self
                        .runtime
                        .block_on(block::execute(address, &mut self.slots, operation)),
                    Err(error) => Outcome::Broken(format!("{error:#}")),
                }
            }
            // Miners and levels are the business of the tests of one gateway.
            Operation::Event(_) => Outcome::Done,
        };
        self.watchdog.rest();
        outcome
    }

    fn execute_and_kill(&mut self, gateway: usize, operation: &Operation, micros: u64) -> Result<Outcome> {
        let process = Pid::from_raw(i32::try_from(self.site.gateways[gateway].pid())?);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(micros));
            kill(process, Signal::SIGKILL)
        });
        let outcome = self.execute(gateway, operation);
        match killer.join() {
            Ok(killed) => killed?,
            Err(_) => bail!("the thread that kills has panicked"),
        }
        Ok(outcome)
    }

    /// kill -9 of one, a look at what the other one shows meanwhile, a start on the same data, and what both
    /// mounts show then, which is the same. Answers how many objects waited for the dead one, too.
    fn kill(&mut self, gateway: usize) -> Result<([Seen; BUCKETS.len()], usize)> {
        self.site.gateways[gateway].kill()?;
        self.watchdog.watch(self.site.gateways[1 - gateway].pid());
        for slot in 0..SLOTS {
            if self.at[slot] == gateway {
                self.slots[slot] = None;
            }
        }
        let living = 1 - gateway;
        // A commit that was on its way is not to fall between two looks.
        std::thread::sleep(SETTLED);
        let witness = self
            .runtime
            .block_on(Witness::look(&self.s3[living], self.site.gateways[gateway].name))?;
        let waited = witness.waited();
        self.watchdog.rest();
        self.site.gateways[gateway].restart()?;
        self.watchdog.watch(self.site.gateways[gateway].pid());
        self.runtime.block_on(witness.compare(&self.s3[living]))?;
        self.s3[gateway] = S3::new(&self.site.gateways[gateway].s3)?;
        let mut seen = Vec::new();
        for bucket in BUCKETS {
            let mut shown = Vec::new();
            for gateway in 0..self.site.gateways.len() {
                self.catch_up(gateway)?;
                let tree = self.site.gateways[gateway].mount.join(bucket);
                shown.push(file::walk(&tree).with_context(|| format!("reading {bucket} after a kill"))?);
            }
            let own = shown.swap_remove(gateway);
            if shown.iter().any(|other| *other != own) {
                bail!("the gateways show different trees in {bucket}: {own:?} and {shown:?}");
            }
            seen.push(own);
        }
        self.watchdog.rest();
        let seen = seen.try_into().ok().context("one tree for each bucket")?;
        Ok((seen, waited))
    }

    fn stop(mut self) -> Result<()> {
        for client in self.slots.iter_mut().filter_map(Option::take) {
            self.runtime.block_on(client.disconnect())?;
        }
        for gateway in &mut self.site.gateways {
            gateway.stop()?;
        }
        Ok(())
    }

    /// What both logged last.
    fn said(&self) -> String {
        let last = |gateway: &Gateway| {
            let said = gateway.said();
            let lines: Vec<&str> = said.lines().collect();
            lines[lines.len().saturating_sub(15)..].join("\n")
        };
        self.site
            .gateways
            .iter()
            .map(last)
            .collect::<Vec<_>>()
            .join("\n--\n")
    }
}

/// Runs operations on two gateways of one namespace, in a new directory, over a database. `seed` says
/// which goes where. The error says where the gateways and the model part.
pub fn run(operations: &[Operation], seed: u64, database: &str) -> Result<Tally> {
    let mut pair = Pair::start(database)?;
    let mut model = Reference::default();
    let mut tally = Tally::default();
    let mut random = StdRng::seed_from_u64(seed);
    for (index, operation) in operations.iter().enumerate() {
        let inner = match operation {
            Operation::Event(Event::KillDuring { operation, .. }) => operation,
            operation => operation,
        };
        let gateway = pair.choose(inner, &mut random);
        let step = pair
            .hand_over(gateway, &mut model)
            .and_then(|()| step(&mut pair, &mut model, &mut tally, gateway, operation));
        step.with_context(|| {
            format!(
                "operation {index} at gateway {gateway}, {operation:?}\n{}",
                pair.said()
            )
        })?;
    }
    pair.stop()?;
    Ok(tally)
}

fn step(
    pair: &mut Pair,
    model: &mut Reference,
    tally: &mut Tally,
    gateway: usize,
    operation: &Operation,
) -> Result<()> {
    model.through(gateway);
    match operation {
        Operation::Event(Event::Kill) => recover(pair, gateway, &mut [model], tally).map(drop),
        Operation::Event(Event::KillDuring { operation, micros }) => {
            let mut before = model.clone();
            let expected = model.apply(operation);
            let outcome = pair.execute_and_kill(gateway, operation, *micros)?;
            if expected.allows(&outcome) {
                return recover(pair, gateway, &mut [model], tally).map(drop);
            }
            tally.cut_off += 1;
            if recover(pair, gateway, &mut [model, &mut before], tally)? == 1 {
                *model = before;
            }
            Ok(())
        }
        Operation::Event(_) => Ok(()),
        operation => {
            let expected = model.apply(operation);
            let outcome = pair.execute(gateway, operation);
            if let Expected::Refused(_) = expected {
                tally.refused += 1;
            } else {
                tally.done += 1;
            }
            if expected.allows(&outcome) {
                return Ok(());
            }
            bail!(
                "expected {expected:?}\n  got      {outcome:?}\n  {}",
                expected.difference(&outcome)
            );
        }
    }
}

/// Kills and restarts a gateway. Answers which of the models goes on from what is there then.
fn recover(
    pair: &mut Pair,
    gateway: usize,
    models: &mut [&mut Reference],
    tally: &mut Tally,
) -> Result<usize> {
    tally.kills += 1;
    let (seen, waited) = pair.kill(gateway)?;
    tally.waited += waited;
    let mut reasons = Vec::new();
    for (index, model) in models.iter_mut().enumerate() {
        match model.recover_after(gateway, &seen) {
            Ok(recovered) => {
                tally.undone.names += recovered.names;
                tally.undone.files += recovered.files;
                return Ok(index);
            }
            Err(reason) => reasons.push(reason),
        }
    }
    bail!(
        "after the restart: {}",
        reasons.join("\n  or, if it did not happen: ")
    )
}
