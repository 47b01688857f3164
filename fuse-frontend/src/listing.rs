//! Listing a directory: `readdir` and `readdirplus`.
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use fuser::{Errno, FileAttr, INodeNo, ReplyDirectory, ReplyDirectoryPlus};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use vfs::{InodeNo, Vfs};

use crate::attributes::{GENERATION, TTL, file_attr};
use crate::directory::{AFTER_DOT, AFTER_DOT_DOT, Cookies, Place};
use crate::errno::Failure;
use crate::request::{REQUEST_DEADLINE, Refuse, Requests, report};

/// Entries asked of the vfs at a time. A reply holds a few hundred; how many is known only once it
/// is full, so what is asked for beyond that is asked for again.
const BATCH: usize = 128;

/// A reply that takes entries until it is full.
pub(crate) trait Entries: Refuse {
    /// Adds one entry; answers whether it did *not* fit.
    fn push(&mut self, attr: &FileAttr, cookie: u64, name: &[u8]) -> bool;
    /// Sends what was added.
    fn send(self);
}

impl Entries for ReplyDirectory {
    fn push(&mut self, attr: &FileAttr, cookie: u64, name: &[u8]) -> bool {
        self.add(attr.ino, cookie, attr.kind, OsStr::from_bytes(name))
    }
    fn send(self) {
        self.ok();
    }
}

impl Entries for ReplyDirectoryPlus {
    fn push(&mut self, attr: &FileAttr, cookie: u64, name: &[u8]) -> bool {
        self.add(attr.ino, cookie, OsStr::from_bytes(name), &TTL, attr, GENERATION)
    }
    fn send(self) {
        self.ok();
    }
}

/// Answers with the entries of `dir` after `cookie`, as many as fit.
pub(crate) fn list<R: Entries>(
    vfs: Vfs,
    requests: &Requests,
    dir: InodeNo,
    cookies: Arc<Mutex<Cookies>>,
    cookie: u64,
    mut reply: R,
) {
    if requests.is_closed() {
        return reply.refuse(Errno::ENOTCONN);
    }
    requests.spawn(async move {
        // Only reads, so it may be torn off at its deadline.
        let deadline = Instant::now() + REQUEST_DEADLINE;
        let result = timeout_at(deadline, fill(&vfs, dir, &cookies, cookie, &mut reply))
            .await
            .unwrap_or_else(|_| Err(Errno::ETIMEDOUT.into()));
        match result {
            Ok(()) => reply.send(),
            Err(failure) => reply.refuse(report("readdir", &failure)),
        }
    });
}

/// Adds entries until the reply is full or the directory ends.
async fn fill<R: Entries>(
    vfs: &Vfs,
    dir: InodeNo,
    cookies: &Mutex<Cookies>,
    cookie: u64,
    reply: &mut R,
) -> Result<(), Failure> {
    let mut empty = true;
    if cookie == 0 {
        cookies.lock().restart();
    }
    if cookie < AFTER_DOT_DOT {
        let attr = file_attr(&vfs.getattr(dir).await?);
        if cookie < AFTER_DOT && reply.push(&attr, AFTER_DOT, b".") {
            return Ok(());
        }
        // A directory that was removed while open has no parent any more.
        let parent = vfs.parent(dir).await.unwrap_or(dir);
        if reply.push(
            &FileAttr {
                ino: INodeNo(parent.0),
                ..attr
            },
            AFTER_DOT_DOT,
            b"..",
        ) {
            return Ok(());
        }
        empty = false;
    }
    let Place::After(mut after) = cookies.lock().place(cookie) else {
        return Err(Errno::EINVAL.into());
    };
    loop {
        let batch = match vfs.readdir(dir, after.clone(), BATCH).await {
            Ok(batch) => batch,
            // What was found so far is answered; the kernel asks again and gets the error then.
            Err(_) if !empty => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let last = batch.len() < BATCH;
        for entry in batch {
            let mut cookies = cookies.lock();
            if reply.push(&file_attr(&entry.attr), cookies.next(), &entry.name) {
                return Ok(());
            }
            cookies.record(entry.position.clone());
            after = Some(entry.position);
            empty = false;
        }
        if last {
            return Ok(());
        }
    }
}
