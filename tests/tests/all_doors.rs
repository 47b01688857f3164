//! All doors against one model (`product_tests::model`): 10,000 operations with 10 kills on each of
//! three seeds. `CESS_MODEL_SEED=7` runs another seed alone, or shows a failure again;
//! `CESS_MODEL_OPS` and `CESS_MODEL_KILLS` make the run longer or shorter.
//!
//! With `CESS_MODEL_KEEP` set, the gateway's data of a failing run stay.
use std::time::{Duration, Instant};

use product_tests::model::shrink::{Bounds, shrink};
use product_tests::model::{generator, run};

/// Seeds of a run without `CESS_MODEL_SEED`.
const SEEDS: [u64; 3] = [1, 2, 3];
/// Operations per seed.
const OPERATIONS: usize = 10_000;
/// Kills among them.
const KILLS: usize = 10;
/// What the search for a shorter failing list may take.
const BOUNDS: Bounds = Bounds {
    tries: 60,
    time: Duration::from_mins(5),
};

#[allow(clippy::panic)] // part of a test
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

#[test]
fn every_door_agrees_with_the_model() {
    let seeds = setting("CESS_MODEL_SEED").map_or(SEEDS.to_vec(), |seed| vec![seed]);
    let count = setting("CESS_MODEL_OPS").map_or(OPERATIONS, |count| count as usize);
    let kills = setting("CESS_MODEL_KILLS").map_or(KILLS, |kills| kills as usize);
    for seed in seeds {
        let operations = generator::operations(seed, count, kills);
        let began = Instant::now();
        let first = match run(&operations) {
            Ok(tally) => {
                eprintln!("seed {seed}: {tally}, in {:.1?}", began.elapsed());
                continue;
            }
            Err(error) => error,
        };
        eprintln!("seed {seed} fails: {first:#}\nlooking for fewer operations that fail");
        let mut last = format!("{first:#}");
        let shortest = shrink(&operations, BOUNDS, |candidate| match run(candidate) {
            Ok(_) => false,
            Err(error) => {
                last = format!("{error:#}");
                true
            }
        });
        let listed: Vec<_> = shortest
            .iter()
            .map(|operation| format!("  {operation:?}"))
            .collect();
        panic!(
            "CESS_MODEL_SEED={seed} CESS_MODEL_OPS={count} CESS_MODEL_KILLS={kills} fails.\n{} operations fail:\n{}\n{last}",
            shortest.len(),
            listed.join("\n")
        );
    }
}
