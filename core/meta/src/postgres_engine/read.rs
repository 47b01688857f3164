//! Reading inside a transaction of the database, which is also what a view is.
//!
//! Ranges are read in pages, so that memory does not grow with them. A page begins small, since many
//! ranges are read for their first rows only, and grows to about [`PAGE_BYTES`].
use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::pool::Lease;
use super::wait;
use crate::bounds::{half_open, is_empty_range, successor};
use crate::{Error, KeyValue, Read, Result};

/// Rows of the first page of a range.
const PAGE_FIRST: usize = 32;
/// Most rows of a page.
const PAGE_ROWS: usize = 2048;
/// Bytes that a page is to have, judged by the rows that came before it.
const PAGE_BYTES: usize = 1 << 20;

/// A transaction of the database that is under way, on a connection of its own.
pub(super) struct Session {
    pub(super) lease: Lease,
    /// Longest wait for an answer.
    pub(super) patience: Duration,
    doomed: Cell<bool>,
    /// Committed, or rolled back by the database.
    ended: Cell<bool>,
}

impl Session {
    pub(super) fn new(lease: Lease, patience: Duration) -> Self {
        Self {
            lease,
            patience,
            doomed: Cell::new(false),
            ended: Cell::new(false),
        }
    }

    /// Whether the transaction has lost to another.
    pub(super) fn is_doomed(&self) -> bool {
        self.doomed.get()
    }

    /// The transaction is over.
    pub(super) fn end(&self) {
        self.ended.set(true);
    }

    /// Waits for a request.
    fn ask<T>(&self, request: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        if self.lease.is_given_up() {
            return Err(Error::Recovering(
                "the connection to the database was lost".into(),
            ));
        }
        let answer = match wait::until(Instant::now() + self.patience, request) {
            Some(answer) => answer.map_err(Failure::from),
            None => Err(Failure::late()),
        };
        answer.map_err(|failure| {
            match &failure {
                Failure::Conflict => self.doomed.set(true),
                Failure::Lost(_) => self.lease.give_up(),
                _ => {}
            }
            Error::from(failure)
        })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let row = self.ask(self.lease.client.query_opt(&self.lease.statements.get, &[&key]))?;
        row.map(|row| column(&row, 0)).transpose()
    }

    /// At most `rows` rows from `first` up to but not including `behind`, in key order or from behind.
    fn page(&self, first: &[u8], behind: Option<&[u8]>, reverse: bool, rows: usize) -> Result<Vec<KeyValue>> {
        let statements = &self.lease.statements;
        let limit = rows as i64;
        let client = &self.lease.client;
        let found = match (behind, reverse) {
            (Some(behind), false) => self.ask(client.query(&statements.forward, &[&first, &behind, &limit])),
            (Some(behind), true) => self.ask(client.query(&statements.backward, &[&first, &behind, &limit])),
            (None, false) => self.ask(client.query(&statements.forward_open, &[&first, &limit])),
            (None, true) => self.ask(client.query(&statements.backward_open, &[&first, &limit])),
        }?;
        found
            .iter()
            .map(|row| Ok((column(row, 0)?, column(row, 1)?)))
            .collect()
    }

    pub(super) fn range(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, reverse: bool) -> Pages<'_> {
        let empty = is_empty_range(from, to);
        let (first, behind) = half_open(from, to);
        Pages {
            session: self,
            first,
            behind,
            reverse,
            rows: PAGE_FIRST,
            page: VecDeque::new(),
            done: empty,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.ended.get() && !self.lease.is_given_up() {
            self.lease.roll_back();
        }
    }
}

fn column(row: &tokio_postgres::Row, at: usize) -> Result<Vec<u8>> {
    row.try_get(at)
        .map_err(|error| Error::Damaged(format!("the table of rows has other columns: {error}")))
}

/// A range, page by page.
pub(super) struct Pages<'a> {
    session: &'a Session,
    /// What is left of it.
    first: Vec<u8>,
    behind: Option<Vec<u8>>,
    reverse: bool,
    /// Rows of the next page.
    rows: usize,
    page: VecDeque<KeyValue>,
    done: bool,
}

impl Pages<'_> {
    fn fetch(&mut self) -> Result<()> {
        let page = self
            .session
            .page(&self.first, self.behind.as_deref(), self.reverse, self.rows)?;
        self.done = page.len() < self.rows;
        if let Some((key, _)) = page.last() {
            if self.reverse {
                self.behind = Some(key.clone());
            } else {
                self.first = successor(key);
            }
            let bytes: usize = page.iter().map(|(key, value)| key.len() + value.len()).sum();
            let fitting = PAGE_BYTES / (bytes / page.len()).max(1);
            self.rows = (4 * self.rows).min(fitting).clamp(1, PAGE_ROWS);
        }
        self.page = page.into();
        Ok(())
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<KeyValue>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && !self.done
            && let Err(error) = self.fetch()
        {
            self.done = true;
            return Some(Err(error));
        }
        self.page.pop_front().map(Ok)
    }
}

/// A view: a transaction that only reads, and sees what was committed when it began.
pub(super) struct View(pub(super) Session);

impl Read for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(key)
    }

    fn range<'a>(
        &'a self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Box<dyn Iterator<Item = Result<KeyValue>> + 'a>> {
        Ok(Box::new(self.0.range(from, to, reverse)))
    }
}
