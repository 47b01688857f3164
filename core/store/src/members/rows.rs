//! The rows about members.
use std::ops::Bound;

use meta::{Read, Transaction};
use serde::{Deserialize, Serialize};

use crate::tables::{self, MEMBERS};
use crate::{Result, clock};

const MEMBER: u8 = 0;
const BEAT: u8 = 1;
const LEASE: u8 = 2;
const PACK: u8 = 3;

/// Checkpoints that were asked for.
pub(crate) const CHECKPOINTS_ASKED: [u8; 2] = [MEMBERS, 4];
/// Those of them that were taken.
pub(crate) const CHECKPOINTS_TAKEN: [u8; 2] = [MEMBERS, 5];

/// Segments that are to be looked at before their time.
pub(crate) const LOOKS_ASKED: [u8; 2] = [MEMBERS, 6];

/// Key of the wish to have a segment (pack, number) looked at.
pub(crate) fn look_key((pack, number): (u64, u32)) -> Vec<u8> {
    [&LOOKS_ASKED[..], &pack.to_be_bytes(), &number.to_be_bytes()].concat()
}

const FORGOTTEN: u8 = 7;

/// Whether `member` was given up.
pub(crate) fn is_forgotten<R: Read + ?Sized>(read: &R, member: u16) -> Result<bool> {
    Ok(read.get(&key(FORGOTTEN, member))?.is_some())
}

/// Notes that `member` is given up.
pub(crate) fn put_forgotten(tx: &mut dyn Transaction, member: u16) -> Result<()> {
    Ok(tx.put(&key(FORGOTTEN, member), &[])?)
}

/// Where the rows of members begin.
pub(crate) const MEMBER_ROWS: [u8; 2] = [MEMBERS, MEMBER];

/// Who a member is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What its data directory calls it.
    pub identity: [u8; 16],
    /// What its operator calls it.
    pub name: String,
    /// Where other members reach it; empty: nowhere.
    pub address: String,
    /// Fingerprint of its key ([`crate::peers`]).
    pub key: [u8; 32],
    /// Its start, from 1 on.
    pub generation: u64,
    /// That start as the metadata engine numbers it; 0 when it does not.
    pub start: u64,
    /// It has not said goodbye, and nobody has declared it dead.
    pub alive: bool,
}

fn key(part: u8, member: u16) -> [u8; 4] {
    let [high, low] = member.to_be_bytes();
    [MEMBERS, part, high, low]
}

fn decode(value: &[u8]) -> Result<Row> {
    postcard::from_bytes(value).map_err(|error| tables::damaged(&format!("member: {error}")))
}

/// The row of `member`.
pub(crate) fn get<R: Read + ?Sized>(read: &R, member: u16) -> Result<Option<Row>> {
    read.get(&key(MEMBER, member))?
        .map(|value| decode(&value))
        .transpose()
}

/// All members, by number.
pub(crate) fn all<R: Read + ?Sized>(read: &R) -> Result<Vec<(u16, Row)>> {
    read.range(
        Bound::Included(&[MEMBERS, MEMBER]),
        Bound::Excluded(&[MEMBERS, MEMBER + 1]),
        false,
    )?
    .map(|row| {
        let (key, value) = row?;
        let number = key.get(2..).and_then(|number| number.try_into().ok());
        let number = number.ok_or_else(|| tables::damaged("a member's key of a wrong length"))?;
        Ok((u16::from_be_bytes(number), decode(&value)?))
    })
    .collect()
}

/// Writes the row of `member`.
pub(crate) fn put(tx: &mut dyn Transaction, member: u16, row: &Row) -> Result<()> {
    let value = postcard::to_stdvec(row).map_err(|error| tables::damaged(&error.to_string()))?;
    Ok(tx.put(&key(MEMBER, member), &value)?)
}

/// The start of `member` that has to be ended before it counts as over; `own` is the caller's. `None` when nothing
/// of it can be running: it ended well, or its number was given by another database, as another member's shows.
pub(crate) fn to_end(all: &[(u16, Row)], member: u16, own: u64) -> Option<u64> {
    let row = &all.iter().find(|(number, _)| *number == member)?.1;
    let is_anothers = all
        .iter()
        .any(|(number, other)| *number != member && other.start == row.start && other.alive);
    (row.alive && row.start != 0 && row.start != own && !is_anothers).then_some(row.start)
}

/// The last beat of `member` and when it was by the member's clock, in milliseconds.
pub(crate) fn beat<R: Read + ?Sized>(read: &R, member: u16) -> Result<Option<(u64, u64)>> {
    let Some(value) = read.get(&key(BEAT, member))? else {
        return Ok(None);
    };
    let (beat, wall) = value.split_at_checked(8).unwrap_or_default();
    Ok(Some((tables::u64_from(beat)?, tables::u64_from(wall)?)))
}

/// Writes a beat of `member`.
pub(crate) fn put_beat(tx: &mut dyn Transaction, member: u16, beat: u64) -> Result<()> {
    let wall = clock::wall().as_millis() as u64;
    let value = [beat.to_be_bytes(), wall.to_be_bytes()].concat();
    Ok(tx.put(&key(BEAT, member), &value)?)
}

/// Key of what `member` is asked to pack.
pub(crate) fn pack_key(member: u16) -> [u8; 4] {
    key(PACK, member)
}

/// Key of the lease of this name.
pub(crate) fn lease_key(name: &[u8]) -> Vec<u8> {
    [&[MEMBERS, LEASE], name].concat()
}
