//! Asking the other gateways what they use.
//!
//! A gateway knows who reads what through itself ([`crate::buffer::Nodes`]), and what is open there. Before
//! it removes a nameless inode, or gives back a chunk that an older view of an inode had, it has to know
//! the same of the others. So the one that does such work for all ([`store::Store::keeper`]) writes down a
//! *question*: these inodes. Every other member of the namespace hears of it in the change feed and
//! writes its *answer*: those of them that it uses.
//!
//! - Asked whether an inode is **read**, a member answers for those who read it when it heard the
//!   question: who begins later looks at metadata that are newer than the question. It waits a moment
//!   ([`READERS`]) for those to end.
//! - Asked to **give up** inodes without a name, a member refuses for those that are open or in use, and
//!   lets nobody have the others from that moment on, until the question is taken back.
//!
//! Members that come later see metadata newer than the question, which lead to none of what it is
//! about. Those that die are waited for until they are declared dead.
use std::collections::BTreeSet;
use std::time::Duration;

use meta::Durability;
use serde::{Deserialize, Serialize};
use store::MemberRef;
use tokio::sync::Notify;

use crate::schema::{self, INQUIRY};
use crate::vfs::Core;
use crate::{Error, InodeNo, Result};

/// Longest wait of a member for those who read, before it answers that they do.
const READERS: Duration = Duration::from_secs(2);
/// Pause between two looks at whether they still do.
const TICK: Duration = Duration::from_millis(20);
/// Pause between two looks for answers, when none is heard of.
const LOOK: Duration = Duration::from_secs(1);
/// How long answers are waited for. A member that is silent is declared dead before.
const PATIENCE: Duration = Duration::from_mins(1);

const QUESTION: u8 = 0;
const ANSWER: u8 = 1;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Question {
    by: MemberRef,
    /// Tells it apart from others.
    number: u64,
    /// Whether the inodes are to be given up.
    give_up: bool,
    inodes: BTreeSet<InodeNo>,
}

/// What a member says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    by: MemberRef,
    /// Number of the question.
    number: u64,
    /// Those of its inodes that are used.
    used: BTreeSet<InodeNo>,
}

/// This gateway's part in inquiries.
#[derive(Default)]
pub(crate) struct Inquiries {
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
    /// Told when another gateway wrote or took back a question.
    pub asked: Notify,
    /// Told when another gateway wrote an answer.
    pub heard: Notify,
    done: tokio::sync::Mutex<Done>,
}

/// Inodes that the other gateways gave up.
pub(crate) struct GivenUp<'a> {
    used: BTreeSet<InodeNo>,
    /// Nothing else is asked meanwhile.
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl GivenUp<'_> {
    /// Whether one of them uses the inode.
    pub(crate) fn is_used(&self, ino: InodeNo) -> bool {
        self.used.contains(&ino)
    }

    /// Whether they use any of those that were asked for.
    pub(crate) fn is_any_used(&self) -> bool {
        !self.used.is_empty()
    }
}

/// What was answered last.
#[derive(Default)]
struct Done {
    /// Number of the question.
    answered: u64,
    /// What nobody has here since then.
    given_up: Vec<InodeNo>,
}

fn question_key() -> [u8; 2] {
    [INQUIRY, QUESTION]
}

fn answer_key(member: u16) -> [u8; 4] {
    let [high, low] = member.to_be_bytes();
    [INQUIRY, ANSWER, high, low]
}

/// Whether a row is a question.
pub(crate) fn is_question(key: &[u8]) -> bool {
    key == question_key()
}

/// Whether a row is an answer.
pub(crate) fn is_answer(key: &[u8]) -> bool {
    key.starts_with(&[INQUIRY, ANSWER])
}

impl Core {
    /// Those of the inodes that somebody reads through another gateway, by what the metadata were
    /// before this call.
    pub(crate) async fn read_elsewhere(&self, inodes: &[InodeNo]) -> Result<BTreeSet<InodeNo>> {
        let _turn = self.inquiries.asking.lock().await;
        self.ask(inodes, false).await
    }

    /// Has the other gateways give up inodes without a name, but for those that one of them uses. While
    /// the answer lives nobody there has the rest; afterwards, until the next question or
    /// [`Self::take_back_question`].
    pub(crate) async fn given_up_elsewhere(&self, inodes: &[InodeNo]) -> Result<GivenUp<'_>> {
        let turn = self.inquiries.asking.lock().await;
        let used = self.ask(inodes, true).await?;
        Ok(GivenUp { used, _turn: turn })
    }

    /// What others gave up is theirs again, if it is still there.
    pub(crate) async fn take_back_question(&self) -> Result<()> {
        if !self.store.is_shared() || self.snapshot()?.get(&question_key())?.is_none() {
            return Ok(());
        }
        // Not what somebody else asks now.
        let _turn = self.inquiries.asking.lock().await;
        self.meta
            .write::<_, Error, _>(Durability::Buffered, |tx| Ok(tx.delete(&question_key())?))
            .await
    }

    /// For whoever has the turn.
    async fn ask(&self, inodes: &[InodeNo], give_up: bool) -> Result<BTreeSet<InodeNo>> {
        if inodes.is_empty() || !self.store.is_shared() {
            return Ok(BTreeSet::new());
        }
        if self.others()?.is_empty() {
            return Ok(BTreeSet::new());
        }
        let question = Question {
            by: self.store.me(),
            number: store::random::u64(),
            give_up,
            inodes: inodes.iter().copied().collect(),
        };
        let (number, row) = (question.number, schema::encode(&question)?);
        self.meta
            .write::<_, Error, _>(Durability::Buffered, move |tx| Ok(tx.put(&question_key(), &row)?))
            .await?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let heard = self.inquiries.heard.notified();
            if let Some(used) = self.answers(number)? {
                return Ok(used);
            }
            tokio::select! {
                () = self.stopped() => return Err(Error::ShuttingDown),
                () = tokio::time::sleep_until(deadline) => {
                    return Err(Error::Unavailable("another gateway does not say what it uses".into()));
                }
                () = heard => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// The other members that live.
    fn others(&self) -> Result<Vec<u16>> {
        let members = self.store.members()?.into_iter();
        Ok(members
            .filter(|member| member.alive && !member.own)
            .map(|member| member.member)
            .collect())
    }

    /// What all others use of what was asked; `None` while one has not said.
    fn answers(&self, number: u64) -> Result<Option<BTreeSet<InodeNo>>> {
        let others = self.others()?;
        let view = self.snapshot()?;
        let mut used = BTreeSet::new();
        for member in others {
            let answer = view.get(&answer_key(member))?;
            let answer = answer.map(|row| schema::decode::<Answer>(&row)).transpose()?;
            match answer {
                Some(answer) if answer.number == number && self.store.lives(&*view, answer.by)? => {
                    used.extend(answer.used);
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(used))
    }

    /// Answers the question there is, if another gateway asks.
    pub(crate) async fn answer(&self) -> Result<()> {
        let (question, boundary) = {
            let view = self.snapshot()?;
            let row = view.get(&question_key())?;
            let question: Option<Question> = row.map(|row| schema::decode(&row)).transpose()?;
            // After the view: who begins from here on looks at metadata newer than the question.
            (question, self.nodes.boundary())
        };
        let mut done = self.inquiries.done.lock().await;
        if question
            .as_ref()
            .is_some_and(|question| question.number == done.answered)
        {
            return Ok(());
        }
        for ino in done.given_up.drain(..) {
            self.nodes.purge_ended(ino);
        }
        let Some(question) = question.filter(|question| question.by != self.store.me()) else {
            return Ok(());
        };
        let mut used = question.inodes;
        if question.give_up {
            used.retain(|&ino| {
                let free = self.nodes.give_up(ino);
                if free {
                    done.given_up.push(ino);
                }
                !free
            });
        } else {
            let give_up = tokio::time::Instant::now() + READERS;
            loop {
                used.retain(|&ino| !self.nodes.is_past(ino, boundary));
                if used.is_empty() || tokio::time::Instant::now() >= give_up {
                    break;
                }
                tokio::time::sleep(TICK).await;
            }
        }
        let answer = Answer {
            by: self.store.me(),
            number: question.number,
            used,
        };
        let (key, row) = (answer_key(answer.by.member), schema::encode(&answer)?);
        self.meta
            .write::<_, Error, _>(Durability::Buffered, move |tx| Ok(tx.put(&key, &row)?))
            .await?;
        done.answered = question.number;
        Ok(())
    }
}
