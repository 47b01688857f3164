//! Makes a failing list of operations shorter.
//!
//! Delta debugging: leave out ever smaller stretches, and keep what still fails. Each try runs on a
//! gateway of its own, so tries are few; the shortest list found when they are used up is the answer.
use std::time::{Duration, Instant};

/// Bounds of the search.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most tries.
    pub tries: usize,
    /// No try begins after this.
    pub time: Duration,
}

/// The shortest failing list that was found. `fails` runs one.
pub fn shrink<T: Clone>(operations: &[T], bounds: Bounds, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let end = Instant::now() + bounds.time;
    let mut tries = bounds.tries;
    let mut shortest = operations.to_vec();
    let mut step = shortest.len().div_ceil(2);
    while step > 0 && shortest.len() > 1 {
        let mut from = 0;
        let mut shorter = false;
        while from < shortest.len() {
            if tries == 0 || Instant::now() > end {
                return shortest;
            }
            tries -= 1;
            let mut candidate = shortest.clone();
            candidate.drain(from..shortest.len().min(from + step));
            if !candidate.is_empty() && fails(&candidate) {
                shortest = candidate;
                shorter = true;
            } else {
                from += step;
            }
        }
        if !shorter || step > 1 {
            step /= 2;
        }
    }
    shortest
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        tries: 1000,
        time: Duration::from_mins(1),
    };

    #[test]
    fn what_is_needed_stays() {
        let operations: Vec<u32> = (0..200).collect();
        let fails = |list: &[u32]| list.contains(&17) && list.contains(&150);
        assert_eq!(shrink(&operations, BOUNDS, fails), [17, 150]);
    }

    #[test]
    fn tries_are_bounded() {
        let operations: Vec<u32> = (0..1000).collect();
        let mut tries = 0;
        let shortest = shrink(&operations, Bounds { tries: 5, ..BOUNDS }, |list| {
            tries += 1;
            list.contains(&0) && list.contains(&999)
        });
        assert_eq!(tries, 5);
        assert!(shortest.contains(&0) && shortest.contains(&999));
    }
}
